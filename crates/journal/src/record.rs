//! What a commit is made of.

use bytes::Bytes;
use entry::{Encoded, EntryError};

/// One thing kept in the WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An entry of some journal, own or remote.
    Entry(Encoded),
    /// Private to this site and never replicated: ceiling, release point, grants.
    Note(Bytes),
}

impl Record {
    pub(crate) const ENTRY: u8 = 1;
    pub(crate) const NOTE: u8 = 2;

    /// The bytes kept.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Record::Entry(entry) => &entry.bytes,
            Record::Note(note) => note,
        }
    }

    pub(crate) fn kind(&self) -> u8 {
        match self {
            Record::Entry(_) => Record::ENTRY,
            Record::Note(_) => Record::NOTE,
        }
    }

    pub(crate) fn decode(kind: u8, bytes: Bytes) -> Result<Record, BadRecord> {
        match kind {
            Record::ENTRY => Ok(Record::Entry(Encoded::new(bytes)?)),
            Record::NOTE => Ok(Record::Note(bytes)),
            other => Err(BadRecord::Kind(other)),
        }
    }
}

/// Why a record with a good checksum does not read: a newer version wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// A kind of record that this code does not know.
    #[error("records of kind {0} are not known here")]
    Kind(u8),
    /// An entry that this code cannot read.
    #[error(transparent)]
    Entry(#[from] EntryError),
}
