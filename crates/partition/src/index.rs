//! A file of index records, and its tail in memory.
//!
//! Most reads are near the end; what is further back is read from the file, where the page cache has it. So the memory
//! one log takes does not grow with its length.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};

use crate::error::LogsError;
use crate::record::Record;

/// Records kept in memory per index: some tens of kilobytes.
pub(crate) const TAIL_RECORDS: usize = 512;
/// Records read at once by who reads on.
const BLOCK_RECORDS: u64 = 64;

/// An append-only file of records.
#[derive(Debug, Clone)]
pub(crate) struct Index<R> {
    pub(crate) file: FileName,
    count: u64,
    tail: VecDeque<R>,
}

impl<R: Record> Index<R> {
    /// One that is empty.
    pub(crate) fn new(file: FileName) -> Index<R> {
        Index { file, count: 0, tail: VecDeque::new() }
    }

    /// One of which `count` records count. What lies behind them is cut off; what is missing of them is damaged. The tail is what
    /// lies behind the last damaged one: that one and those before are read from the file when they are needed.
    pub(crate) fn restore(disk: &mut dyn Disk, file: FileName, count: u64) -> Result<Index<R>, LogsError> {
        let len = count.saturating_mul(R::BYTES as u64);
        make_long(disk, &file, len)?;
        let tail = match read_bytes::<R>(disk, &file, count.saturating_sub(TAIL_RECORDS as u64)..count) {
            // What the device does not read is damaged as well.
            Err(DiskError::Failed { .. }) => Bytes::new(),
            read => read?,
        };
        let sound = tail.rchunks(R::BYTES).map_while(R::decode).collect::<Vec<R>>();
        Ok(Index { file, count, tail: sound.into_iter().rev().collect() })
    }

    /// The last record, unless it is damaged.
    pub(crate) fn last(&self) -> Option<&R> {
        self.tail.back()
    }

    /// Whether all of the tail read well when it was restored.
    pub(crate) fn has_tail(&self) -> bool {
        self.tail.len() as u64 == self.count.min(TAIL_RECORDS as u64)
    }

    /// One that holds exactly these records, written anew.
    pub(crate) fn rebuild(
        disk: &mut dyn Disk,
        file: FileName,
        records: Vec<R>,
    ) -> Result<Index<R>, LogsError> {
        let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        disk.write(&file, 0, &bytes)?;
        disk.set_len(&file, bytes.len() as u64)?;
        let count = records.len() as u64;
        let mut tail = VecDeque::from(records);
        tail.drain(..tail.len().saturating_sub(TAIL_RECORDS));
        Ok(Index { file, count, tail })
    }

    /// How many records there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Appends a record.
    pub(crate) fn push(&mut self, disk: &mut dyn Disk, record: R) -> Result<(), LogsError> {
        disk.write(&self.file, self.count * R::BYTES as u64, &record.encode())?;
        self.count += 1;
        self.tail.push_back(record);
        if self.tail.len() > TAIL_RECORDS {
            self.tail.pop_front();
        }
        Ok(())
    }

    /// Nothing more will be appended: its tail is like the rest of it.
    pub(crate) fn close(&mut self) {
        self.tail = VecDeque::new();
    }

    /// The record at `at`.
    pub(crate) fn get(&self, disk: &dyn Disk, at: u64) -> Result<R, LogsError> {
        match self.in_tail(at) {
            Some(record) => Ok(record.clone()),
            None => Ok(read(disk, &self.file, at..at + 1)?.remove(0)),
        }
    }

    /// Some records from `at` on, none only if there are none below `end`.
    pub(crate) fn block(&self, disk: &dyn Disk, at: u64, end: u64) -> Result<Vec<R>, LogsError> {
        let end = end.min(self.count).min(at.saturating_add(BLOCK_RECORDS));
        if at >= end {
            return Ok(Vec::new());
        }
        if self.in_tail(at).is_some() {
            return Ok((at..end).filter_map(|at| self.in_tail(at).cloned()).collect());
        }
        read(disk, &self.file, at..end)
    }

    /// The first of the first `end` records for which `is_before` does not hold, or `end`; it holds for a prefix.
    pub(crate) fn search(
        &self,
        disk: &dyn Disk,
        end: u64,
        is_before: impl Fn(&R) -> bool,
    ) -> Result<u64, LogsError> {
        let (mut low, mut high) = (0, end.min(self.count));
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(&self.get(disk, middle)?) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn in_tail(&self, at: u64) -> Option<&R> {
        let first = self.count - self.tail.len() as u64;
        at.checked_sub(first).and_then(|at| self.tail.get(usize::try_from(at).ok()?))
    }
}

/// Reads records by number, all of them or none.
pub(crate) fn read<R: Record>(
    disk: &dyn Disk,
    file: &FileName,
    range: Range<u64>,
) -> Result<Vec<R>, LogsError> {
    let bytes = read_bytes::<R>(disk, file, range)?;
    let records = bytes.chunks(R::BYTES).map(R::decode).collect::<Option<Vec<R>>>();
    records.ok_or_else(|| {
        LogsError::damaged(file, "the checksum of a record is wrong, or what it says cannot be")
    })
}

fn read_bytes<R: Record>(disk: &dyn Disk, file: &FileName, range: Range<u64>) -> Result<Bytes, DiskError> {
    let count = usize::try_from(range.end - range.start).expect("a few records at a time");
    match count {
        0 => Ok(Bytes::new()),
        _ => disk.read(file, range.start * R::BYTES as u64, count * R::BYTES),
    }
}

/// Cuts off what lies behind the first `len` bytes, or puts zeros in the place of those that are missing: reading them fails until
/// they are taken back from another site.
pub(crate) fn make_long(disk: &mut dyn Disk, file: &FileName, len: u64) -> Result<(), DiskError> {
    match disk.len(file)? {
        Some(there) if there != len => disk.set_len(file, len),
        None if len > 0 => disk.write(file, len - 1, &[0]),
        _ => Ok(()),
    }
}
