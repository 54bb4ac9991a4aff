//! A whole entry, and its bytes.

use bytes::{Bytes, BytesMut};
use clock::Stamp;
use thiserror::Error;

use crate::body::Body;
use crate::head::{ChainHash, HEAD_BYTES, Head};
use crate::ids::{JournalId, MemberEpoch, Seq};
use crate::{ENTRY_BYTES_MAX, TopicBody};

/// Why bytes are no entry. All of these mean: refuse what was sent, or call what was stored damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    /// Fewer bytes than the head, or than the head announces.
    #[error("an entry was cut short after {bytes} bytes")]
    Cut {
        /// How many there were.
        bytes: usize,
    },
    /// More bytes than the head announces.
    #[error("{extra} bytes follow an entry where nothing should")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A format this code does not know.
    #[error("entry format {0} is not known here: is another site newer?")]
    Version(u8),
    /// A kind this code does not know.
    #[error("entries of kind {0} are not known here: is another site newer?")]
    Kind(u8),
    /// Longer than any entry may be.
    #[error("an entry of {bytes} bytes is over the limit of {ENTRY_BYTES_MAX}")]
    TooLong {
        /// How long it says it is.
        bytes: usize,
    },
    /// The body does not read as its kind says.
    #[error("an entry holds {0}")]
    Body(&'static str),
}

impl EntryError {
    /// Whether a later version may read it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, EntryError::Version(_) | EntryError::Kind(_))
    }
}

/// One thing a site said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose journal.
    pub journal: JournalId,
    /// Position in the journal.
    pub seq: Seq,
    /// The owner's clock reading.
    pub stamp: Stamp,
    /// The membership that the owner knew.
    pub epoch: MemberEpoch,
    /// Chain hash of the entry before.
    pub previous: ChainHash,
    /// What it says.
    pub body: Body,
}

/// An entry's bytes with its head read: what is written, sent and relayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The head.
    pub head: Head,
    /// Head and body, verbatim.
    pub bytes: Bytes,
}

impl Entry {
    /// The entry's bytes.
    ///
    /// # Errors
    /// [`EntryError::TooLong`] if the body is over the limit.
    pub fn encode(&self) -> Result<Encoded, EntryError> {
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + self.body.size_hint());
        bytes.resize(HEAD_BYTES, 0);
        self.body.encode(&mut bytes);
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { bytes: bytes.len() });
        }
        let head = Head {
            kind: self.body.kind(),
            journal: self.journal,
            seq: self.seq,
            stamp: self.stamp,
            epoch: self.epoch,
            body_bytes: (bytes.len() - HEAD_BYTES) as u32,
            previous: self.previous,
        };
        bytes[..HEAD_BYTES].copy_from_slice(&head.encode());
        Ok(Encoded { head, bytes: bytes.freeze() })
    }
}

impl Encoded {
    /// Takes one whole entry's bytes; reads the head, not the body.
    ///
    /// # Errors
    /// [`EntryError`] if the head does not read or the length is not what it announces.
    pub fn new(bytes: Bytes) -> Result<Encoded, EntryError> {
        let head = Head::decode(&bytes)?;
        match bytes.len().checked_sub(head.total_bytes()) {
            Some(0) => Ok(Encoded { head, bytes }),
            Some(extra) => Err(EntryError::Trailing { extra }),
            None => Err(EntryError::Cut { bytes: bytes.len() }),
        }
    }

    /// Splits the first entry off `bytes`.
    ///
    /// # Errors
    /// [`EntryError`] if no whole entry stands at the front; `bytes` are then as they were.
    pub fn split_from(bytes: &mut Bytes) -> Result<Encoded, EntryError> {
        let head = Head::decode(bytes)?;
        if bytes.len() < head.total_bytes() {
            return Err(EntryError::Cut { bytes: bytes.len() });
        }
        Ok(Encoded { head, bytes: bytes.split_to(head.total_bytes()) })
    }

    /// The chain hash.
    #[must_use]
    pub fn hash(&self) -> ChainHash {
        ChainHash::of(&self.bytes)
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`EntryError::Body`] if it does not read as the head says.
    pub fn body(&self) -> Result<Body, EntryError> {
        Body::decode(self.head.kind, &self.bytes.slice(HEAD_BYTES..))
    }

    /// The topic that this entry restates, if it is one that does.
    #[must_use]
    pub fn restated(&self) -> Option<TopicBody> {
        match self.body() {
            Ok(Body::Topic(topic)) => Some(topic),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
