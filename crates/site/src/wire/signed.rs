//! Entries on their way, and the signed head that vouches for them.
//!
//! Layout of an entries message behind its kind byte: postcard of [`SignedHead`], then the entries, back to back, verbatim as
//! they stand in the journal. The head is that of the last one, so that every message can be checked by itself, whoever
//! sends it.

use bytes::{BufMut, Bytes, BytesMut};
use clock::Stamp;
use entry::{ChainHash, JournalId, Seq};
use serde::{Deserialize, Serialize};

use super::WireError;
use crate::notary::CertificateId;

/// Longest certificates, with those of the authorities between, that are taken from a peer.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// Longest signature: RSA with 8192 bits, and what says how it was made.
pub const SIGNATURE_BYTES_MAX: usize = 1100;

/// Where a journal's chain stands, signed by its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// The journal.
    pub journal: JournalId,
    /// The seq after the last entry that this vouches for.
    pub next: Seq,
    /// Chain hash of that entry: it stands for all before it.
    pub hash: ChainHash,
    /// Stamp of that entry.
    pub stamp: Stamp,
    /// The certificate to check this by.
    pub certificate: CertificateId,
    /// The owner's signature over all this and the cluster.
    pub signature: Bytes,
}

impl SignedHead {
    fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data with known lengths always encodes")
    }
}

/// Entries of one journal, whose last is the signed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// What vouches for them.
    pub head: SignedHead,
    /// Back to back, verbatim.
    pub entries: Bytes,
}

impl Vouched {
    pub(super) fn encode(&self, kind: u8) -> Bytes {
        let head = self.head.encode();
        let mut out = BytesMut::with_capacity(1 + head.len() + self.entries.len());
        out.put_u8(kind);
        out.put_slice(&head);
        out.put_slice(&self.entries);
        out.freeze()
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        1 + self.head.encode().len() + self.entries.len()
    }

    pub(super) fn decode(kind: u8, body: &Bytes) -> Result<Vouched, WireError> {
        match postcard::take_from_bytes::<SignedHead>(body) {
            Ok((head, entries)) if head.signature.len() <= SIGNATURE_BYTES_MAX => {
                Ok(Vouched { head, entries: body.slice_ref(entries) })
            }
            _ => Err(WireError::Body(kind)),
        }
    }
}

#[cfg(test)]
pub(super) fn sample() -> Vouched {
    let head = SignedHead {
        journal: JournalId { site: entry::SiteId(2), incarnation: entry::Incarnation(1) },
        next: 5,
        hash: ChainHash([7; 32]),
        stamp: Stamp::from_raw(300),
        certificate: CertificateId([9; 32]),
        signature: Bytes::from_static(b"signed"),
    };
    Vouched { head, entries: Bytes::from_static(b"entries") }
}

#[cfg(test)]
mod tests {
    use super::{SIGNATURE_BYTES_MAX, Vouched, sample};
    use crate::wire::{Message, WireError};
    use bytes::Bytes;

    #[test]
    fn entries_follow_their_head() {
        let golden =
            [&[5, 2, 1, 5][..], &[7; 32], &[0xac, 2], &[9; 32], &[6], b"signed", b"entries"].concat();
        let message = Message::Entries(sample());
        assert_eq!(message.encode(), golden);
        assert_eq!(Message::decode(golden.into()), Ok(message));
    }

    #[test]
    fn a_signature_beyond_measure_is_refused() {
        let mut long = sample();
        long.head.signature = Bytes::from(vec![1; SIGNATURE_BYTES_MAX + 1]);
        assert_eq!(Vouched::decode(5, &long.encode(5).slice(1..)), Err(WireError::Body(5)));
    }
}
