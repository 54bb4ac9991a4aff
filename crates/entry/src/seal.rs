//! The end of a silent site's journal, and what comes back from beyond it.
//!
//! A *seal* says in the merged order what the members have agreed on: the journal ends at the cut, and from here on it
//! takes no part. An *adoption* gives a run of entries beyond the cut their place: they sort where the adoption does. Both
//! are written by any site with an open journal; the first in merged order counts, copies are void.
//!
//! Bodies, all numbers big-endian. Seal: site (u16), incarnation (u32), first seq beyond the cut (u64), chain hash of the
//! entry before it (32 bytes). Adoption: site, incarnation, first adopted seq (u64), first seq not adopted (u64), chain
//! hash of the last one adopted (32 bytes).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::EntryError;
use crate::head::ChainHash;
use crate::ids::{Incarnation, JournalId, Seq, SiteId};

const JOURNAL_BYTES: usize = 6;
const SEAL_BYTES: usize = JOURNAL_BYTES + 40;
const ADOPT_BYTES: usize = JOURNAL_BYTES + 48;

/// A place in a journal, named so that it can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cut {
    /// The first seq beyond it.
    pub next: Seq,
    /// The chain hash of the entry before it.
    pub hash: ChainHash,
}

/// A journal ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealBody {
    /// The journal.
    pub journal: JournalId,
    /// Its end.
    pub cut: Cut,
}

/// A run of entries beyond a journal's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdoptBody {
    /// The journal.
    pub journal: JournalId,
    /// The first of them.
    pub from: Seq,
    /// Where they end.
    pub upto: Cut,
}

impl SealBody {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_journal(self.journal, out);
        put_cut(self.cut, out);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<SealBody, EntryError> {
        if body.len() != SEAL_BYTES {
            return Err(EntryError::Body("a seal of another length"));
        }
        let mut body = body.clone();
        Ok(SealBody { journal: take_journal(&mut body), cut: take_cut(&mut body) })
    }
}

impl AdoptBody {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_journal(self.journal, out);
        out.put_u64(self.from);
        put_cut(self.upto, out);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<AdoptBody, EntryError> {
        if body.len() != ADOPT_BYTES {
            return Err(EntryError::Body("an adoption of another length"));
        }
        let mut body = body.clone();
        let journal = take_journal(&mut body);
        Ok(AdoptBody { journal, from: body.get_u64(), upto: take_cut(&mut body) })
    }
}

fn put_journal(journal: JournalId, out: &mut BytesMut) {
    out.put_u16(journal.site.0);
    out.put_u32(journal.incarnation.0);
}

fn take_journal(body: &mut Bytes) -> JournalId {
    JournalId { site: SiteId(body.get_u16()), incarnation: Incarnation(body.get_u32()) }
}

fn put_cut(cut: Cut, out: &mut BytesMut) {
    out.put_u64(cut.next);
    out.put_slice(&cut.hash.0);
}

fn take_cut(body: &mut Bytes) -> Cut {
    let next = body.get_u64();
    let mut hash = [0; 32];
    body.copy_to_slice(&mut hash);
    Cut { next, hash: ChainHash(hash) }
}
