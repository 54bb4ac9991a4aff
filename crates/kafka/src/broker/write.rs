//! Writing: one record batch into one partition, and what may speak against it.

use bytes::Bytes;
use uuid::Uuid;

/// How safe a batch must be before its producer hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// The producer is not told.
    None,
    /// On this site's disk.
    Local,
    /// As the topic's settings define `acks=all`.
    All,
}

/// What one Produce request brings for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceBatch {
    /// The topic.
    pub topic: Uuid,
    /// The partition, known to exist when the front looked.
    pub partition: u32,
    /// The bytes as they came, unchecked: one record batch of format 2, if the producer is sane.
    pub records: Bytes,
    /// How safe before the answer.
    pub acks: Acks,
    /// How long the producer will wait for other sites.
    pub timeout_ms: u32,
}

/// A batch that is as safe as was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The first record's offset in the merged log, or a strongly negative number while that is not known.
    pub base_offset: i64,
    /// The time the topic stamped the records with; `None` where they keep the producer's.
    pub log_append_time_ms: Option<i64>,
    /// The merged log's start.
    pub log_start: i64,
}

/// Why a batch was not appended, or not answered for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProduceRefusal {
    /// Refresh metadata, then decide.
    #[error("this topic or partition does not exist here")]
    UnknownTopic,
    /// Do not retry.
    #[error("an origin log is written by its own site only: produce to the topic itself")]
    ReadOnly,
    /// Retry: the bytes were damaged on the way.
    #[error("damaged record batch: {0}")]
    Corrupt(String),
    /// Do not retry.
    #[error("record batch of an old format: only format 2 (magic 2) is kept")]
    OldFormat,
    /// Do not retry this batch.
    #[error("record batch of {bytes} bytes, but the topic allows {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Do not retry.
    #[error("invalid record: {0}")]
    Invalid(String),
    /// Do not retry.
    #[error("records without a key: a compacted topic keeps the latest record of every key")]
    Keyless {
        /// Which records of the batch.
        records: Vec<u32>,
    },
    /// Do not retry.
    #[error("the batch's time is out of the bounds that the topic sets")]
    BadTime,
    /// Do not retry.
    #[error("compression not allowed or not known: {0}")]
    BadCompression(String),
    /// Do not retry.
    #[error("transactions are not offered yet")]
    Transactional,
    /// Do not go on with this producer id.
    #[error("a newer epoch of this producer exists")]
    FencedProducer,
    /// Retry at leisure: an earlier batch of this producer has to come first.
    #[error("an earlier batch of this producer was refused and must be retried first")]
    AfterRefused,
    /// Retry.
    #[error("{0}")]
    NotWritable(String),
    /// Retry.
    #[error("this site's disk is full")]
    DiskFull,
    /// Retry.
    #[error("too much is waiting to be written")]
    Overloaded,
    /// Retry: nothing was appended.
    #[error("held back: {0}")]
    HeldBack(String),
    /// Retry: nothing was appended.
    #[error("fewer sites are in reach than min.insync.sites demands")]
    TooFewSites,
    /// Retry: appended here, but not known to be at enough sites in time.
    #[error("appended, but not held by enough sites within the time")]
    TimedOut,
}

/// A producer's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerId {
    /// The id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// Why no producer id was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerIdRefusal {
    /// Retry.
    #[error("{0}")]
    NotReady(String),
}
