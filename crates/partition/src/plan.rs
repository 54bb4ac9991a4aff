//! What to read, and reading it: ranges of files, each one batch, with the offset it is to bear.
//!
//! Planning looks at indexes only; reading needs no log, so that a shell can do it elsewhere and at its own pace.

use bytes::{Bytes, BytesMut};
use disk::{Disk, FileName};

use crate::error::LogsError;
use crate::segment::place;

/// How much memory is made ready for what an index says, before it is read.
const AT_ONCE_BYTES: usize = 1 << 20;
/// Where a batch's checksum begins to count.
pub(crate) const CHECKED_FROM: usize = 21;

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
    /// Where its batch begins, or the log, should that begin in the middle of it; the record itself is there or behind it.
    pub offset: u64,
    /// The batch's highest timestamp.
    pub max_timestamp: i64,
}

impl Slice {
    fn follows(&self, before: &Slice) -> bool {
        self.at == before.at + u64::from(before.bytes) && self.file == before.file
    }
}

/// Takes batches until there are enough bytes, but at least one.
#[derive(Debug)]
pub(crate) struct Picker {
    plan: Plan,
    left: usize,
    full: bool,
}

impl Picker {
    pub(crate) fn new(offset: u64, bytes_max: usize) -> Picker {
        Picker { plan: Plan { slices: Vec::new(), next_offset: offset }, left: bytes_max, full: false }
    }

    /// Takes the batch, or says that it has enough.
    pub(crate) fn takes(&mut self, slice: Slice) -> bool {
        let bytes = slice.bytes as usize;
        self.full |= bytes > self.left && !self.plan.slices.is_empty();
        if !self.full {
            self.left = self.left.saturating_sub(bytes);
            self.plan.next_offset = slice.base_offset + u64::from(slice.records);
            self.plan.slices.push(slice);
        }
        !self.full
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    pub(crate) fn plan(self) -> Plan {
        self.plan
    }
}

/// Reads the planned batches and gives each its base offset, with leader epoch 0. Neighbours in one file are read at
/// once.
///
/// # Errors
/// [`LogsError::Damaged`] if a batch is not the one that the index points to, or its checksum is wrong.
pub fn read(disk: &dyn Disk, slices: &[Slice]) -> Result<Bytes, LogsError> {
    let total: usize = slices.iter().map(|slice| slice.bytes as usize).sum();
    let mut out = BytesMut::with_capacity(total.min(AT_ONCE_BYTES));
    for run in slices.chunk_by(|before, slice| slice.follows(before)) {
        let bytes = run.iter().map(|slice| slice.bytes as usize).sum();
        out.extend_from_slice(&disk.read(&run[0].file, run[0].at, bytes)?);
    }
    let mut rest = &mut out[..];
    for slice in slices {
        let (stored, behind) = rest.split_at_mut(slice.bytes as usize);
        check(stored, slice)?;
        place(stored, slice.base_offset);
        rest = behind;
    }
    Ok(out.freeze())
}

/// Reads as many of the planned batches as there are before a damaged one; that one is named beside them.
///
/// # Errors
/// As [`read`], if not even the first batch reads.
pub fn read_sound(disk: &dyn Disk, slices: &[Slice]) -> Result<(Bytes, Option<LogsError>), LogsError> {
    let error = match read(disk, slices) {
        Ok(bytes) => return Ok((bytes, None)),
        Err(error) => error,
    };
    let sound = slices.iter().take_while(|slice| read(disk, std::slice::from_ref(slice)).is_ok()).count();
    if sound == 0 {
        return Err(error);
    }
    Ok((read(disk, &slices[..sound])?, Some(error)))
}

fn check(stored: &[u8], slice: &Slice) -> Result<(), LogsError> {
    let damaged = |what| LogsError::damaged(&slice.file, what);
    let info = batch::parse_kept(stored).map_err(|_| damaged("a batch's header does not read"))?.info();
    if (info.size, info.offsets(), info.crc) != (slice.bytes, slice.records, slice.crc) {
        return Err(damaged("a batch is not the one that the index points to"));
    }
    if crc32c::crc32c(&stored[CHECKED_FROM..]) != slice.crc {
        return Err(damaged("the checksum of a batch is wrong"));
    }
    Ok(())
}
