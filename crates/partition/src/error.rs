//! What can go wrong.

use disk::{DiskError, FileName};
use thiserror::Error;

/// Why logs could not be written, read or restored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogsError {
    /// The disk refused; its own error says what to do.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file does not hold what it must: stop. A segment's `.index` may be deleted, it is built again at the next
    /// start; anything else must come from another site.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// The file.
        file: FileName,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Bytes that were to be appended are no record batch: they should have been refused long before.
    #[error("what was to be appended is no record batch: {0}")]
    NotABatch(#[from] batch::BatchError),
    /// The merged log was to point at a batch that its origin log does not have: the caller's order is broken, stop.
    #[error("no batch begins at origin offset {origin_offset} of journal {journal}")]
    NoSuchBatch {
        /// Whose origin log.
        journal: entry::JournalId,
        /// Where a batch should begin.
        origin_offset: u64,
    },
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

impl LogsError {
    /// Whether it is only that the disk has no room: the same can be tried again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, LogsError::Disk(error) if error.is_full())
    }

    pub(crate) fn damaged(file: &FileName, what: &'static str) -> LogsError {
        LogsError::Damaged { file: file.clone(), what }
    }
}
