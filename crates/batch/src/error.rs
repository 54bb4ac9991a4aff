//! Why a batch, or a record in it, is refused. None of these is worth a retry with the same bytes, except
//! [`BatchError::is_corrupt`] ones, which a network may have damaged.

use thiserror::Error;

/// Why a batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// There is no batch at all.
    #[error("there is no record batch")]
    Empty,
    /// The bytes end early.
    #[error("the record batch is cut short: {have} bytes of {need}")]
    Truncated {
        /// How many there are.
        have: usize,
        /// How many there should be.
        need: u64,
    },
    /// The length field cannot be right.
    #[error("the record batch gives its length as {length}, which is less than its own header")]
    BadLength {
        /// What it says.
        length: i32,
    },
    /// Larger than allowed.
    #[error("the record batch has {bytes} bytes, over the limit of {limit}: send smaller batches")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// Not format v2.
    #[error("message format v{magic} is not taken, only v2: use a client that speaks Kafka 0.11 or later")]
    Magic {
        /// Which it is.
        magic: i8,
    },
    /// The content is not what was sent.
    #[error("the record batch is damaged: its CRC-32C is {actual:#010x}, it should be {stored:#010x}")]
    Crc {
        /// What it says.
        stored: u32,
        /// What its bytes have.
        actual: u32,
    },
    /// An attribute that is not known.
    #[error("the record batch has attributes {attributes:#06x}, some of which are not known")]
    Attributes {
        /// All of them.
        attributes: i16,
    },
    /// The number of records does not fit the rest.
    #[error(
        "the record batch says {records} records, its last offset delta {last_offset_delta}, and its size do not go together"
    )]
    RecordCount {
        /// What it says.
        records: i32,
        /// What it says.
        last_offset_delta: i32,
    },
    /// Only brokers write these.
    #[error("control batches are written by brokers only")]
    Control,
    /// The producer's fields do not go together.
    #[error("producer id {id}, epoch {epoch} and sequence {sequence} do not go together")]
    Producer {
        /// Its id.
        id: i64,
        /// Its epoch.
        epoch: i16,
        /// The first record's sequence.
        sequence: i32,
    },
}

impl BatchError {
    /// Whether it may have been damaged on its way, so that sending it again can help.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(
            self,
            BatchError::Empty
                | BatchError::Truncated { .. }
                | BatchError::BadLength { .. }
                | BatchError::Crc { .. }
        )
    }
}

/// Why the records of a batch cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The batch around them.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The compressed bytes are not what their codec writes.
    #[error("the compressed records cannot be unpacked")]
    Unpack,
    /// They unpack to more than allowed.
    #[error("the compressed records unpack to more than {limit} bytes")]
    UnpackedTooLarge {
        /// The limit that was met.
        limit: usize,
    },
    /// A record's own bytes.
    #[error("record {index} is malformed: {what}")]
    Malformed {
        /// Which record.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is more than the batch says.
    #[error("{bytes} bytes follow the last record")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}
