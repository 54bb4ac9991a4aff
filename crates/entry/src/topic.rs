//! A topic's creation, restated.
//!
//! Body: postcard of [`TopicBody`]. Every incarnation restates a topic before its first batch of it, so that in no
//! merge can a record come before its topic.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::EntryError;
use crate::ids::TopicId;

/// What a topic was when this journal first wrote to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicBody {
    /// The id.
    pub id: TopicId,
    /// The name that clients use.
    pub name: String,
    /// How many topics of this name were deleted before it.
    pub generation: u32,
    /// Number of partitions.
    pub partitions: u32,
    /// Settings that differ from the defaults.
    pub settings: BTreeMap<String, String>,
}

impl TopicBody {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&postcard::to_stdvec(self).expect("plain data with known lengths always encodes"));
    }

    pub(crate) fn decode(body: &Bytes) -> Result<TopicBody, EntryError> {
        postcard::from_bytes(body).map_err(|_| EntryError::Body("a topic that does not read"))
    }
}
