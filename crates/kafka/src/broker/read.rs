//! Reading: record bytes from a position on, and positions by time.

use bytes::Bytes;
use uuid::Uuid;

/// Whether records of open and aborted transactions are to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All of them.
    Uncommitted,
    /// Up to the first open transaction, with a list of what was aborted.
    Committed,
}

/// A read of several partitions, in order.
///
/// Partitions share `bytes_max` first come, first served. The first batch found in the whole read is given whatever its
/// size, so that a reader never stands still before a large one; after that, only what fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What to read.
    pub partitions: Vec<ReadPartition>,
    /// Bytes in all.
    pub bytes_max: usize,
    /// Which records are to be seen.
    pub isolation: Isolation,
}

/// One partition of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPartition {
    /// The topic, or an origin log's id.
    pub topic: Uuid,
    /// The partition, known to exist when the front looked.
    pub partition: u32,
    /// From here; the batch around an offset comes whole.
    pub offset: i64,
    /// Bytes of this partition.
    pub bytes_max: usize,
}

/// What a partition has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadData {
    /// Whole record batches, cut anywhere: their bytes in order are what the client gets. Not copied on their way out.
    pub chunks: Vec<Bytes>,
    /// The released end.
    pub high_watermark: i64,
    /// The end of what a reader of committed records may see.
    pub last_stable: i64,
    /// The first offset that still exists.
    pub log_start: i64,
    /// Aborted transactions among the chunks.
    pub aborted: Vec<Aborted>,
}

/// A transaction to be left out by the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Whose.
    pub producer_id: i64,
    /// From which offset on.
    pub first_offset: i64,
}

/// What the front has seen of a partition's end, to be told when it has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownEnd {
    /// The topic, or an origin log's id.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// The end it knows: the high watermark, or for [`Isolation::Committed`] the last stable offset.
    pub end: i64,
    /// Which of the two.
    pub isolation: Isolation,
}

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// The log's start.
    Earliest,
    /// The released end (for [`Isolation::Committed`]: the last stable offset).
    Latest,
    /// The record with the greatest time.
    MaxTime,
    /// The first record at or after this Unix time.
    TimeMs(i64),
}

/// A question for an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetQuery {
    /// The topic, or an origin log's id.
    pub topic: Uuid,
    /// The partition, known to exist when the front looked.
    pub partition: u32,
    /// What is asked for.
    pub at: OffsetAt,
    /// For whom.
    pub isolation: Isolation,
}

/// An offset and the time of the record there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The record's time; `None` for the two ends, which are no records.
    pub time_ms: Option<i64>,
}

/// Why a partition was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefusal {
    /// Refresh metadata, then decide.
    #[error("this topic or partition does not exist here")]
    UnknownTopic,
    /// Below the start, or above every end that any site has spoken of. (Above only this site's own end is no refusal:
    /// that read finds nothing yet.)
    #[error("offset {offset} is outside the log, which starts at {log_start}")]
    OutOfRange {
        /// What was asked for.
        offset: i64,
        /// Where the log starts.
        log_start: i64,
    },
    /// Retry.
    #[error("this site cannot read now: {0}")]
    NotReady(String),
    /// Retry elsewhere: this site's copy is damaged.
    #[error("this site's copy is damaged: {0}")]
    Damaged(String),
}
