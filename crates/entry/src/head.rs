//! The 64-byte head of every entry, and the chain that ties an entry to all before it.
//!
//! Big-endian, fixed offsets:
//!
//! | bytes | field |
//! | --- | --- |
//! | 0 | format version, 1 |
//! | 1 | kind of body |
//! | 2..4 | site |
//! | 4..8 | incarnation |
//! | 8..16 | seq |
//! | 16..24 | stamp |
//! | 24..28 | membership epoch |
//! | 28..32 | length of the body in bytes |
//! | 32..64 | chain hash of the entry before (all zero for seq 0) |
//!
//! The chain hash of an entry is BLAKE3 over head and body. Since the head holds the hash before it, two entries with
//! one hash have one history.

use std::fmt;

use clock::Stamp;
use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, JournalId, MemberEpoch, Seq, SiteId};
use crate::{ENTRY_BYTES_MAX, EntryError};

/// Length of the head in bytes.
pub const HEAD_BYTES: usize = 64;

/// The format version written by this code.
const VERSION: u8 = 1;

/// What an entry is about; the byte is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A Kafka record batch of one partition.
    Batch = 1,
    /// How far a consumer group has come.
    Progress = 2,
    /// Changes to the catalog document.
    Catalog = 3,
    /// A topic's creation, restated before this journal's first batch of it.
    Topic = 4,
    /// The owner leaves in good order.
    Part = 5,
    /// Another journal takes part in the order from here.
    Open = 6,
    /// The agreed end of a silent site's journal.
    Seal = 7,
    /// What lies beyond a sealed journal's end takes its place after all.
    Adopt = 8,
    /// The members change.
    Members = 9,
    /// A journal that was granted to a site begins.
    Begin = 10,
    /// The start of a merged log moves.
    Trim = 20,
    /// Time has passed, and nothing else.
    Mark = 21,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::{Adopt, Batch, Begin, Catalog, Mark, Members, Open, Part, Progress, Seal, Topic, Trim};
        let kinds = [Batch, Progress, Catalog, Topic, Part, Open, Seal, Adopt, Members, Begin, Trim, Mark];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The protocol between sites with which it came: who speaks an earlier one does not read it. A kind whose body
    /// changes is another kind.
    #[must_use]
    pub fn since(self) -> u16 {
        if self == Kind::Mark { 2 } else { 1 }
    }
}

/// BLAKE3 over an entry's head and body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What stands before a journal's first entry.
    pub const START: ChainHash = ChainHash([0; 32]);

    /// The chain hash of an entry's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> ChainHash {
        ChainHash(*blake3::hash(bytes).as_bytes())
    }
}

/// The head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What the body is about.
    pub kind: Kind,
    /// Whose journal.
    pub journal: JournalId,
    /// Position in the journal.
    pub seq: Seq,
    /// The owner's clock reading; strictly increasing along the journal.
    pub stamp: Stamp,
    /// The membership that the owner knew.
    pub epoch: MemberEpoch,
    /// Length of the body in bytes.
    pub body_bytes: u32,
    /// Chain hash of the entry before.
    pub previous: ChainHash,
}

impl Head {
    /// The head's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        out[0] = VERSION;
        out[1] = self.kind as u8;
        out[2..4].copy_from_slice(&self.journal.site.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.journal.incarnation.0.to_be_bytes());
        out[8..16].copy_from_slice(&self.seq.to_be_bytes());
        out[16..24].copy_from_slice(&self.stamp.raw().to_be_bytes());
        out[24..28].copy_from_slice(&self.epoch.0.to_be_bytes());
        out[28..32].copy_from_slice(&self.body_bytes.to_be_bytes());
        out[32..64].copy_from_slice(&self.previous.0);
        out
    }

    /// Reads the head that `bytes` begin with.
    ///
    /// # Errors
    /// [`EntryError`] if the bytes are too few, of another version, of an unknown kind, or announce too long a body.
    pub fn decode(bytes: &[u8]) -> Result<Head, EntryError> {
        let bytes: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or(EntryError::Cut { bytes: bytes.len() })?;
        if bytes[0] != VERSION {
            return Err(EntryError::Version(bytes[0]));
        }
        let head = Head {
            kind: Kind::from_byte(bytes[1]).ok_or(EntryError::Kind(bytes[1]))?,
            journal: JournalId {
                site: SiteId(u16::from_be_bytes(field(bytes, 2))),
                incarnation: Incarnation(u32::from_be_bytes(field(bytes, 4))),
            },
            seq: u64::from_be_bytes(field(bytes, 8)),
            stamp: Stamp::from_raw(u64::from_be_bytes(field(bytes, 16))),
            epoch: MemberEpoch(u32::from_be_bytes(field(bytes, 24))),
            body_bytes: u32::from_be_bytes(field(bytes, 28)),
            previous: ChainHash(field(bytes, 32)),
        };
        if head.total_bytes() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { bytes: head.total_bytes() });
        }
        Ok(head)
    }

    /// Length of the whole entry in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        HEAD_BYTES + self.body_bytes as usize
    }
}

fn field<const N: usize>(bytes: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
