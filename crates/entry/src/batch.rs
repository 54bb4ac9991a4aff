//! A record batch of one partition.
//!
//! Body: topic id (16 bytes), partition (u32, big-endian), then one Kafka v2 record batch to the end. The batch stays
//! opaque; its base offset is whatever the client sent, since it lies outside the batch's CRC and is set when read.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::EntryError;
use crate::ids::{PartitionId, TopicId};

const FIXED_BYTES: usize = 20;

/// A record batch and the partition it was written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchBody {
    /// The topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
    /// One Kafka record batch, v2.
    pub records: Bytes,
}

impl BatchBody {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(self.topic.0.as_bytes());
        out.put_u32(self.partition);
        out.put_slice(&self.records);
    }

    pub(crate) fn encoded_bytes(&self) -> usize {
        FIXED_BYTES + self.records.len()
    }

    pub(crate) fn decode(body: &Bytes) -> Result<BatchBody, EntryError> {
        let fixed: &[u8; FIXED_BYTES] =
            body.first_chunk().ok_or(EntryError::Body("a batch without its topic"))?;
        let (topic, partition) = fixed.split_at(16);
        Ok(BatchBody {
            topic: TopicId(
                Uuid::from_slice(topic).map_err(|_| EntryError::Body("a topic id of another length"))?,
            ),
            partition: partition.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)),
            records: body.slice(FIXED_BYTES..),
        })
    }
}
