//! How far a consumer group has come: a delta of the progress CRDT.
//!
//! Body: postcard of [`ProgressBody`]. Deltas are joined when they arrive; they do not wait for the merged order.

use bytes::{BufMut, Bytes, BytesMut};
use crdt::Progress;
use serde::{Deserialize, Serialize};

use crate::EntryError;
use crate::ids::{PartitionId, TopicId};

/// What one commit of a group said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressBody {
    /// The group's name.
    pub group: String,
    /// One move per partition.
    pub moves: Vec<Move>,
}

/// How far the group has come in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The topic (or origin log) read.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
    /// The position, to be joined.
    pub progress: Progress,
    /// What the client attached; given back with the position.
    pub metadata: String,
}

impl ProgressBody {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&postcard::to_stdvec(self).expect("plain data with known lengths always encodes"));
    }

    pub(crate) fn decode(body: &Bytes) -> Result<ProgressBody, EntryError> {
        postcard::from_bytes(body).map_err(|_| EntryError::Body("progress that does not read"))
    }
}
