//! The opening of a journal: from this entry on it takes part in the order.
//!
//! Body: site (u16), incarnation (u32), first seq that takes part (u64), all big-endian. Written by the owner of another
//! open journal, after the journal's owner has come back; the first opening in merged order counts, later ones are void.

use bytes::{BufMut, Bytes, BytesMut};

use crate::EntryError;
use crate::ids::{Incarnation, JournalId, Seq, SiteId};

const BYTES: usize = 14;

/// Which journal takes part again, and from which of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenBody {
    /// The journal.
    pub journal: JournalId,
    /// Its first entry after the one that parted: which parting this opening answers.
    pub first: Seq,
}

impl OpenBody {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u16(self.journal.site.0);
        out.put_u32(self.journal.incarnation.0);
        out.put_u64(self.first);
    }

    pub(crate) fn encoded_bytes() -> usize {
        BYTES
    }

    pub(crate) fn decode(body: &Bytes) -> Result<OpenBody, EntryError> {
        let whole =
            |at: usize, len: usize| body[at..at + len].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        if body.len() != BYTES {
            return Err(EntryError::Body("an opening of another length"));
        }
        let site = SiteId(u16::from_be_bytes([body[0], body[1]]));
        let incarnation = Incarnation(u32::from_be_bytes([body[2], body[3], body[4], body[5]]));
        Ok(OpenBody { journal: JournalId { site, incarnation }, first: whole(6, 8) })
    }
}
