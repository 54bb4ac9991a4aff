//! What sites say to each other about files: the checkpoint and the logs that a site which is far behind takes over, and
//! the ranges that a damaged one takes back.
//!
//! Who copies asks, for one chunk at a time, and may ask anybody: what is named `logs/…` holds the same bytes everywhere.
//! Nothing else but checkpoints may be named at all.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use disk::FileName;
use serde::{Deserialize, Serialize};

use super::{JournalId, Message, Seq, WireError, framed, read};

/// The largest chunk of a file in one message, in bytes.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;

/// Kinds of messages that speak of copies.
pub(super) const FIRST_KIND: u8 = 20;
pub(super) const LAST_KIND: u8 = 26;

/// About copies of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyMessage {
    /// What you need of this journal has left my WAL, which begins at `first`: take it over as a copy.
    Dropped {
        /// The journal.
        journal: JournalId,
        /// The first entry of it that can still be sent.
        first: Seq,
    },
    /// Who has a checkpoint that holds at least this? I could take it over.
    WhoHas(BTreeMap<JournalId, Seq>),
    /// I have this one, and all that it relies on.
    Offer(Extent),
    /// Send me this much of a file.
    Want(Chunk),
    /// Here it is.
    Here {
        /// Which file, and from where on.
        chunk: Chunk,
        /// Its bytes.
        bytes: Bytes,
    },
    /// What is the digest of this much of a file, from its front? Look at every byte first.
    Sum(Extent),
    /// This is; none if the file is not here, or is shorter, or damaged.
    Summed {
        /// How much of which file.
        extent: Extent,
        /// The digest.
        digest: Option<[u8; 32]>,
    },
}

/// A file, from its front.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Extent {
    /// Its name, below the data directory.
    pub file: String,
    /// How much of it.
    pub bytes: u64,
}

/// A range of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Chunk {
    /// The file's name, below the data directory.
    pub file: String,
    /// Where the range begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u32,
}

/// The file that a peer may be given: a checkpoint or a log, named plainly.
pub(crate) fn shared(name: &str) -> Option<FileName> {
    let file = FileName::new(name).ok()?;
    let folder = |name: &str| FileName::root().join(name);
    (file.is_below(&folder("logs")) || file.is_below(&folder("checkpoint"))).then_some(file)
}

impl CopyMessage {
    pub(super) fn encode(&self) -> Bytes {
        match self {
            CopyMessage::Dropped { journal, first } => framed(20, &(journal, first)),
            CopyMessage::WhoHas(least) => framed(21, least),
            CopyMessage::Offer(extent) => framed(22, extent),
            CopyMessage::Want(chunk) => framed(23, chunk),
            CopyMessage::Here { chunk, bytes } => {
                let front = framed(24, chunk);
                let mut out = BytesMut::with_capacity(front.len() + bytes.len());
                out.put_slice(&front);
                out.put_slice(bytes);
                out.freeze()
            }
            CopyMessage::Sum(extent) => framed(25, extent),
            CopyMessage::Summed { extent, digest } => framed(26, &(extent, digest)),
        }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        match self {
            CopyMessage::Here { chunk, bytes } => framed(24, chunk).len() + bytes.len(),
            small => small.encode().len(),
        }
    }

    pub(super) fn decode(kind: u8, body: &Bytes) -> Result<Message, WireError> {
        let message = match kind {
            20 => read(kind, body).map(|(journal, first)| CopyMessage::Dropped { journal, first }),
            21 => read(kind, body).map(CopyMessage::WhoHas),
            22 => read(kind, body).map(CopyMessage::Offer),
            23 => read(kind, body).map(CopyMessage::Want),
            24 => here(kind, body),
            25 => read(kind, body).map(CopyMessage::Sum),
            26 => read(kind, body).map(|(extent, digest)| CopyMessage::Summed { extent, digest }),
            other => Err(WireError::Kind(other)),
        };
        message.map(Message::Copy)
    }
}

fn here(kind: u8, body: &Bytes) -> Result<CopyMessage, WireError> {
    let (chunk, rest): (Chunk, &[u8]) = postcard::take_from_bytes(body).map_err(|_| WireError::Body(kind))?;
    if rest.len() != chunk.bytes as usize || chunk.bytes > CHUNK_BYTES_MAX {
        return Err(WireError::Body(kind));
    }
    Ok(CopyMessage::Here { chunk, bytes: body.slice_ref(rest) })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<Message> {
    use entry::{Incarnation, SiteId};
    let journal = JournalId { site: SiteId(2), incarnation: Incarnation(1) };
    let extent = Extent { file: "logs/a/0/merged.index".into(), bytes: 96 };
    let chunk = Chunk { file: extent.file.clone(), offset: 5, bytes: 3 };
    let all = vec![
        CopyMessage::Dropped { journal, first: 7 },
        CopyMessage::WhoHas(BTreeMap::from([(journal, 3)])),
        CopyMessage::Offer(extent.clone()),
        CopyMessage::Want(chunk.clone()),
        CopyMessage::Here { chunk, bytes: Bytes::from_static(b"abc") },
        CopyMessage::Sum(extent.clone()),
        CopyMessage::Summed { extent, digest: Some([3; 32]) },
    ];
    all.into_iter().map(Message::Copy).collect()
}

#[cfg(test)]
mod tests {
    use super::shared;

    #[test]
    fn only_logs_and_checkpoints_may_be_asked_for() {
        for name in [
            "identity",
            "owner",
            "wal/1.wal",
            "logs",
            "../x",
            "/etc/passwd",
            "logs/../identity",
            "copy/logs/a",
        ] {
            assert_eq!(shared(name), None, "{name}");
        }
        assert!(shared("logs/a/0/merged.index").is_some() && shared("checkpoint/1.checkpoint").is_some());
    }
}
