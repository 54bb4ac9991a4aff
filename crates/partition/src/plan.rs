//! What to read, and reading it: ranges of files, each one batch, with the offset it is to bear.

use bytes::Bytes;
use disk::{Disk, FileName};

use crate::error::LogsError;

/// One batch as it stands in a segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The segment file.
    pub file: FileName,
    /// Where the batch begins in it.
    pub at: u64,
    /// How long it is.
    pub bytes: u32,
    /// The base offset it is to bear when it is served.
    pub base_offset: u64,
    /// How many offsets it takes.
    pub records: u32,
    /// The checksum in its header.
    pub crc: u32,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Batches, in order; none if the log ends at the asked offset.
    pub slices: Vec<Slice>,
    /// Where reading goes on.
    pub next_offset: u64,
}

/// Where a timestamp is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeHit {
    /// Base offset of the batch; the record itself is in it.
    pub base_offset: u64,
    /// The batch's highest timestamp.
    pub max_timestamp: i64,
}

/// Reads the planned batches and gives each its base offset, with leader epoch 0. Neighbours in one file are read at
/// once.
///
/// # Errors
/// [`LogsError::Damaged`] if a batch is not the one that the index points to, or its checksum is wrong.
pub fn read(disk: &dyn Disk, slices: &[Slice]) -> Result<Bytes, LogsError> {
    let _ = (disk, slices);
    unimplemented!()
}
