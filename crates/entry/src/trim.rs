//! The start of a merged log moves: records before an offset are not wanted any more.
//!
//! Body: topic id (16 bytes), partition (u32), offset (u64), all big-endian. It counts at its place in the merged order,
//! as everything does, so that the log begins at the same offset everywhere. With the nil topic it says nothing but that
//! time has passed, for sites that do not read the kind that says so by itself.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::EntryError;
use crate::ids::{PartitionId, TopicId};

const BYTES: usize = 28;

/// Where a merged log is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimBody {
    /// The topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
    /// The first offset that stays.
    pub before: u64,
}

impl TrimBody {
    /// Time has passed, and nothing else: for sites of protocol 1.
    pub const MARK: TrimBody = TrimBody { topic: TopicId(uuid::Uuid::nil()), partition: 0, before: 0 };

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(self.topic.0.as_bytes());
        out.put_u32(self.partition);
        out.put_u64(self.before);
    }

    pub(crate) fn encoded_bytes() -> usize {
        BYTES
    }

    pub(crate) fn decode(body: &Bytes) -> Result<TrimBody, EntryError> {
        let whole =
            |at: usize, len: usize| body[at..at + len].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        if body.len() != BYTES {
            return Err(EntryError::Body("a trim of another length"));
        }
        let topic =
            uuid::Uuid::from_slice(&body[..16]).map_err(|_| EntryError::Body("a trim of no topic"))?;
        Ok(TrimBody { topic: TopicId(topic), partition: whole(16, 4) as u32, before: whole(20, 8) })
    }
}

#[cfg(test)]
mod tests {
    use super::TrimBody;
    use crate::TopicId;
    use bytes::BytesMut;

    #[test]
    fn a_trim_is_the_same_bytes_for_ever() {
        let trim = TrimBody { topic: TopicId(uuid::Uuid::from_u128(7)), partition: 2, before: 258 };
        let mut out = BytesMut::new();
        trim.encode(&mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "00000000000000000000000000000007000000020000000000000102");
        let bytes = out.freeze();
        assert_eq!(TrimBody::decode(&bytes), Ok(trim));
        assert!(TrimBody::decode(&bytes.slice(..27)).is_err());
    }
}
