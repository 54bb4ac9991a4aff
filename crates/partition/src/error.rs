//! What can go wrong.

use disk::{DiskError, FileName};
use thiserror::Error;

/// Why logs could not be written, read or restored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogsError {
    /// The disk refused; its own error says what to do.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file does not hold what it must: stop, and copy it from another site.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// The file.
        file: FileName,
        /// What is wrong with it.
        what: String,
    },
    /// Bytes that were to be appended are no record batch: they should have been refused long before.
    #[error("what was to be appended is no record batch: {0}")]
    NotABatch(&'static str),
}

/// Why there is nothing to read at an offset.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OffsetError {
    /// It was there once; reading can start at `start`.
    #[error("offset {offset} is below the log's start at {start}")]
    BelowStart {
        /// What was asked for.
        offset: u64,
        /// The first offset there is.
        start: u64,
    },
    /// It is not readable here yet, or will never be.
    #[error("offset {offset} is above the log's end at {end}")]
    AboveEnd {
        /// What was asked for.
        offset: u64,
        /// One past the last readable offset.
        end: u64,
    },
    /// The log could not be read.
    #[error(transparent)]
    Unreadable(#[from] LogsError),
}
