//! A merged log: an index of which batch of which origin log stands where in the order that all sites share.

use std::collections::BTreeMap;
use std::ops::Range;

use clock::Stamp;
use disk::{Disk, FileName};
use entry::JournalId;
use serde::{Deserialize, Serialize};

use crate::error::LogsError;
use crate::index::Index;
use crate::names;
use crate::plan::{Picker, Slice, TimeHit};
use crate::record::{MergedRecord, OriginRecord, Record as _};
use crate::retention::Kept;

/// The digest of a log that holds nothing.
const NOTHING: [u8; 16] = [0; 16];

/// How much of a merged log counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MergedState {
    /// How many batches it holds.
    pub(crate) batches: u64,
    /// How many of them are readable.
    pub(crate) readable: u64,
    /// Its first offset; later ones begin the log once retention moves it.
    pub(crate) start: u64,
    /// One past its last offset.
    pub(crate) end: u64,
    /// One past its last readable offset.
    pub(crate) readable_end: u64,
    /// How many batches lie wholly below the start.
    pub(crate) gone: u64,
    /// How many bytes the others have.
    pub(crate) kept_bytes: u64,
    /// How many bytes all of them had.
    pub(crate) appended: u64,
    /// The highest timestamp in it.
    pub(crate) newest: i64,
    /// The digest of it all.
    pub(crate) digest: [u8; 16],
}

impl MergedState {
    /// How much of its file counts.
    pub(crate) fn bytes(&self) -> u64 {
        self.batches.saturating_mul(MergedRecord::BYTES as u64)
    }

    /// Whether its numbers can be those of one log.
    pub(crate) fn is_possible(&self) -> bool {
        let batches = self.gone <= self.readable && self.readable <= self.batches;
        let offsets = self.start <= self.readable_end && self.readable_end <= self.end;
        batches && offsets && self.kept_bytes <= self.appended && i64::try_from(self.appended).is_ok()
    }
}

/// A merged log.
#[derive(Debug, Clone)]
pub(crate) struct MergedLog {
    index: Index<MergedRecord>,
    state: MergedState,
    /// Per journal: below this origin offset nothing is left in the log.
    passed: BTreeMap<JournalId, u64>,
}

impl MergedLog {
    pub(crate) fn new(folder: &FileName) -> MergedLog {
        let state = MergedState {
            batches: 0,
            readable: 0,
            start: 0,
            gone: 0,
            kept_bytes: 0,
            appended: 0,
            end: 0,
            readable_end: 0,
            newest: i64::MIN,
            digest: NOTHING,
        };
        MergedLog { index: Index::new(names::merged(folder)), state, passed: BTreeMap::new() }
    }

    /// One as a checkpoint left it.
    pub(crate) fn restore(
        disk: &mut dyn Disk,
        folder: &FileName,
        state: MergedState,
        passed: BTreeMap<JournalId, u64>,
    ) -> Result<MergedLog, LogsError> {
        let file = names::merged(folder);
        if !state.is_possible() {
            return Err(LogsError::damaged(&file, "its checkpoint says of it what can be so of no log"));
        }
        let index: Index<MergedRecord> = Index::restore(disk, file, state.batches)?;
        let told = match state.batches {
            0 => Some((0, i64::MIN, NOTHING)),
            // If the last record is damaged, the checkpoint knows what it said.
            _ => index.last().map(|last| (last.end(), last.newest, last.digest)),
        };
        if told.is_some_and(|told| told != (state.end, state.newest, state.digest)) {
            return Err(LogsError::damaged(&index.file, "it does not hold what its checkpoint says"));
        }
        Ok(MergedLog { index, state, passed })
    }

    pub(crate) fn state(&self) -> MergedState {
        self.state
    }

    pub(crate) fn file(&self) -> &FileName {
        &self.index.file
    }

    /// Appends a batch of an origin log; returns its merged offset.
    pub(crate) fn append(
        &mut self,
        disk: &mut dyn Disk,
        journal: JournalId,
        (segment, batch): (u64, &OriginRecord),
        stamp: Stamp,
    ) -> Result<u64, LogsError> {
        let mut record = MergedRecord {
            offset: self.state.end,
            records: batch.records,
            bytes: batch.bytes,
            journal,
            origin_offset: batch.offset,
            segment,
            at: batch.at,
            crc: batch.crc,
            stamp,
            max_timestamp: batch.max_timestamp,
            newest: self.state.newest.max(batch.max_timestamp),
            digest: NOTHING,
        };
        record.digest = record.digest_after(&self.state.digest);
        self.index.push(disk, record.clone())?;
        self.state.batches += 1;
        self.state.kept_bytes += u64::from(record.bytes);
        self.state.appended += u64::from(record.bytes);
        self.state.end = record.end();
        self.state.newest = record.newest;
        self.state.digest = record.digest;
        Ok(record.offset)
    }

    /// Per journal: below this origin offset nothing is left in the log.
    pub(crate) fn passed(&self) -> &BTreeMap<JournalId, u64> {
        &self.passed
    }

    /// Below these origin offsets what is left in the log is kept elsewhere.
    pub(crate) fn pass(&mut self, passed: &BTreeMap<JournalId, u64>) {
        for (journal, below) in passed {
            let known = self.passed.entry(*journal).or_default();
            *known = (*known).max(*below);
        }
    }

    /// Some batches from the one numbered `at` on, none only if there are none below `end`.
    pub(crate) fn block(&self, disk: &dyn Disk, at: u64, end: u64) -> Result<Vec<MergedRecord>, LogsError> {
        self.index.block(disk, at, end)
    }

    /// Lets the log begin behind what need not be kept.
    pub(crate) fn expire(&mut self, disk: &dyn Disk, kept: Kept) -> Result<(), LogsError> {
        self.drop_while(disk, |state, record| {
            let too_old = kept.since.is_some_and(|since| record.stamp < since);
            let enough = kept
                .bytes
                .is_some_and(|least| state.kept_bytes.saturating_sub(u64::from(record.bytes)) >= least);
            too_old || enough
        })
    }

    /// Lets the log begin at `before`, or at its readable end.
    pub(crate) fn trim(&mut self, disk: &dyn Disk, before: u64) -> Result<(), LogsError> {
        let before = before.min(self.state.readable_end);
        self.drop_while(disk, |_, record| record.end() <= before)?;
        self.state.start = self.state.start.max(before);
        Ok(())
    }

    fn drop_while(
        &mut self,
        disk: &dyn Disk,
        goes: impl Fn(&MergedState, &MergedRecord) -> bool,
    ) -> Result<(), LogsError> {
        while self.state.gone < self.state.readable {
            for record in self.index.block(disk, self.state.gone, self.state.readable)? {
                if !goes(&self.state, &record) {
                    return Ok(());
                }
                self.state.gone += 1;
                self.state.kept_bytes = self.state.kept_bytes.saturating_sub(u64::from(record.bytes));
                self.state.start = self.state.start.max(record.end());
                self.passed.insert(record.journal, record.origin_offset + u64::from(record.records));
            }
        }
        Ok(())
    }

    /// The stamp at which the first batch was sorted.
    pub(crate) fn oldest_stamp(&self, disk: &dyn Disk) -> Result<Option<Stamp>, LogsError> {
        if self.state.gone == self.state.batches {
            return Ok(None);
        }
        self.index.get(disk, self.state.gone).map(|record| Some(record.stamp))
    }

    /// Makes readable what was appended.
    pub(crate) fn publish(&mut self) {
        self.state.readable = self.state.batches;
        self.state.readable_end = self.state.end;
    }

    /// Whether all that was appended is readable.
    pub(crate) fn is_published(&self) -> bool {
        self.state.readable == self.state.batches
    }

    /// Offers the readable batches from the one that holds `offset` on, until the picker has enough.
    pub(crate) fn offer(
        &self,
        disk: &dyn Disk,
        folder: &FileName,
        offset: u64,
        picker: &mut Picker,
    ) -> Result<(), LogsError> {
        let end = self.state.readable;
        let mut at = self.index.search(disk, end, |record| record.end() <= offset)?;
        while at < end {
            for record in self.index.block(disk, at, end)? {
                at += 1;
                if !picker.takes(slice(folder, &record)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The first readable batch that ends behind the start, and `from`, with a timestamp of at least `timestamp`.
    pub(crate) fn by_time(
        &self,
        disk: &dyn Disk,
        timestamp: i64,
        from: u64,
    ) -> Result<Option<TimeHit>, LogsError> {
        let (start, end) = (self.state.start.max(from), self.state.readable);
        // What lies below the start may be newer than all above it, so above it each batch is looked at.
        let mut at =
            self.index.search(disk, end, |record| record.newest < timestamp || record.end() <= start)?;
        while at < end {
            for record in self.index.block(disk, at, end)? {
                at += 1;
                if record.max_timestamp >= timestamp {
                    let (offset, max_timestamp) = (record.offset.max(start), record.max_timestamp);
                    return Ok(Some(TimeHit { offset, max_timestamp }));
                }
            }
        }
        Ok(None)
    }

    /// The highest timestamp in the log, or in what of it was compacted away.
    pub(crate) fn newest(&self, disk: &dyn Disk) -> Result<Option<i64>, LogsError> {
        let Some(last) = self.state.readable.checked_sub(1) else { return Ok(None) };
        self.index.get(disk, last).map(|record| Some(record.newest))
    }

    /// The highest timestamp of the readable batches from the one numbered `at` on.
    pub(crate) fn newest_from(&self, disk: &dyn Disk, mut at: u64) -> Result<Option<i64>, LogsError> {
        let mut newest = None;
        while at < self.state.readable {
            for record in self.index.block(disk, at, self.state.readable)? {
                at += 1;
                newest = newest.max(Some(record.max_timestamp));
            }
        }
        Ok(newest)
    }

    /// Which offsets' places lie in a range of bytes of its file, in words.
    pub(crate) fn offsets_of(&self, disk: &dyn Disk, bytes: &Range<u64>) -> String {
        let len = MergedRecord::BYTES as u64;
        let (first, last) = (bytes.start / len, bytes.end.div_ceil(len));
        let before = first.checked_sub(1).and_then(|at| self.index.get(disk, at).ok());
        let behind = self.index.get(disk, last).ok();
        let start = before.map_or("?".to_owned(), |record| record.end().to_string());
        let start = if first == 0 { "0".to_owned() } else { start };
        let end = if last >= self.index.count() { Some(self.state.end) } else { behind.map(|it| it.offset) };
        let end = end.map_or("?".to_owned(), |end| end.to_string());
        format!("merged offsets {start}..{end}")
    }

    /// Which merged offsets have their batches in a range of bytes of a segment, in words.
    pub(crate) fn places_of(
        &self,
        disk: &dyn Disk,
        folder: &FileName,
        segment: &FileName,
        bytes: &Range<u64>,
    ) -> Result<String, LogsError> {
        let (mut found, mut at) = (Vec::<Range<u64>>::new(), 0);
        while at < self.state.batches {
            for record in self.index.block(disk, at, self.state.batches)? {
                at += 1;
                let begins = u64::from(record.at);
                let overlaps = begins < bytes.end && bytes.start < begins + u64::from(record.bytes);
                if overlaps && names::segment(folder, record.journal, record.segment) == *segment {
                    match found.last_mut().filter(|last| last.end == record.offset) {
                        Some(last) => last.end = record.end(),
                        None => found.push(record.offset..record.end()),
                    }
                }
            }
        }
        let said: Vec<_> = found.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
        Ok(if said.is_empty() { "none".into() } else { said.join(", ") })
    }

    /// The digest of what ends at or below `upto`.
    pub(crate) fn digest(&self, disk: &dyn Disk, upto: u64) -> Result<[u8; 16], LogsError> {
        let below = self.index.search(disk, self.state.batches, |record| record.end() <= upto)?;
        match below.checked_sub(1) {
            Some(last) => Ok(self.index.get(disk, last)?.digest),
            None => Ok(NOTHING),
        }
    }
}

pub(crate) fn slice(folder: &FileName, record: &MergedRecord) -> Slice {
    Slice {
        file: names::segment(folder, record.journal, record.segment),
        at: u64::from(record.at),
        bytes: record.bytes,
        base_offset: record.offset,
        records: record.records,
        crc: record.crc,
    }
}
