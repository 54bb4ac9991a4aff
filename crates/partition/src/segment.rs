//! One segment of an origin log: a file of batches back to back, and its index.
//!
//! A batch stands in it as its producer sent it, but for the base offset, which is the origin offset, and the leader
//! epoch, which is 0: so the file is the same at every site, and the index can be built again from it.

use std::ops::Range;

use batch::BatchInfo;
use bytes::BytesMut;
use disk::{Disk, FileName};
use entry::JournalId;
use serde::{Deserialize, Serialize};

use crate::error::LogsError;
use crate::index::{Index, make_long, read};
use crate::names;
use crate::record::{OriginRecord, Record as _};

/// How much of a segment counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentState {
    /// Its first offset.
    pub(crate) first: u64,
    /// One past its last offset.
    pub(crate) end: u64,
    /// Its length.
    pub(crate) bytes: u32,
    /// How many batches it holds.
    pub(crate) batches: u64,
    /// The highest timestamp in it.
    pub(crate) newest: i64,
}

/// A segment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) file: FileName,
    pub(crate) index: Index<OriginRecord>,
    state: SegmentState,
    /// Whether there may be gaps between its offsets.
    gaps: bool,
}

impl Segment {
    /// An empty one; its files appear with its first batch.
    pub(crate) fn new(folder: &FileName, journal: JournalId, first: u64) -> Segment {
        Segment {
            file: names::segment(folder, journal, first),
            index: Index::new(names::index(folder, journal, first)),
            state: SegmentState { first, end: first, bytes: 0, batches: 0, newest: i64::MIN },
            gaps: false,
        }
    }

    /// One as a checkpoint left it. What lies behind that is cut off; a lost or damaged index is built again. If the segment is
    /// damaged too, both stay as they are until another site has given back what is missing.
    pub(crate) fn restore(
        disk: &mut dyn Disk,
        (file, name): (FileName, FileName),
        state: SegmentState,
        gaps: bool,
    ) -> Result<Segment, LogsError> {
        make_long(disk, &file, u64::from(state.bytes))?;
        let mut index = Index::restore(disk, name.clone(), state.batches)?;
        if !index.has_tail() || !ends_well(disk, &index, state)? {
            match rebuild(disk, &file, name, (state, gaps)) {
                Ok(rebuilt) => index = rebuilt,
                Err(LogsError::Damaged { .. }) if !index.has_tail() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Segment { file, index, state, gaps })
    }

    pub(crate) fn state(&self) -> SegmentState {
        self.state
    }

    /// Its index, and how much of that counts.
    pub(crate) fn index_extent(&self) -> (FileName, u64) {
        (self.index.file.clone(), self.state.batches * OriginRecord::BYTES as u64)
    }

    /// Builds its index again.
    pub(crate) fn rebuild_index(&mut self, disk: &mut dyn Disk) -> Result<(), LogsError> {
        self.index = rebuild(disk, &self.file, self.index.file.clone(), (self.state, self.gaps))?;
        Ok(())
    }

    /// Which offsets lie in a range of its bytes.
    pub(crate) fn offsets_of(&self, disk: &dyn Disk, bytes: &Range<u64>) -> Result<Range<u64>, LogsError> {
        let count = self.index.count();
        let behind = |at: u64, record: &OriginRecord| u64::from(record.at) + u64::from(record.bytes) <= at;
        let first = self.index.search(disk, count, |record| behind(bytes.start, record))?;
        let last = self.index.search(disk, count, |record| u64::from(record.at) < bytes.end)?;
        let start = if first < count { self.index.get(disk, first)?.offset } else { self.state.end };
        let end = if last < count { self.index.get(disk, last)?.offset } else { self.state.end };
        Ok(start..end)
    }

    pub(crate) fn first(&self) -> u64 {
        self.state.first
    }

    pub(crate) fn end(&self) -> u64 {
        self.state.end
    }

    /// Whether a batch of this length still goes into a segment of at most `limit` bytes.
    pub(crate) fn takes(&self, bytes: u32, limit: u32) -> bool {
        self.state.bytes == 0 || u64::from(self.state.bytes) + u64::from(bytes) <= u64::from(limit)
    }

    /// Appends a batch.
    pub(crate) fn append(
        &mut self,
        disk: &mut dyn Disk,
        info: &BatchInfo,
        batch: &[u8],
    ) -> Result<OriginRecord, LogsError> {
        let record = next_record(&self.state, info, false);
        let mut stored = BytesMut::from(batch);
        place(&mut stored, record.offset);
        disk.write(&self.file, u64::from(record.at), &stored)?;
        self.index.push(disk, record.clone())?;
        self.state = after(&self.state, &record);
        Ok(record)
    }
}

/// Gives a batch its base offset, and leader epoch 0.
pub(crate) fn place(stored: &mut [u8], base_offset: u64) {
    batch::set_base_offset(stored, i64::try_from(base_offset).expect("logs do not grow to 2^63 records"));
    batch::set_leader_epoch(stored, 0);
}

/// What the index says of the next batch: it follows without a gap, or stands where its own header says.
pub(crate) fn next_record(state: &SegmentState, info: &BatchInfo, gaps: bool) -> OriginRecord {
    let own = u64::try_from(info.base_offset).unwrap_or(state.end);
    OriginRecord {
        offset: if gaps { own } else { state.end },
        records: info.offsets(),
        bytes: info.size,
        at: state.bytes,
        crc: info.crc,
        max_timestamp: info.max_timestamp,
        newest: state.newest.max(info.max_timestamp),
    }
}

pub(crate) fn after(state: &SegmentState, record: &OriginRecord) -> SegmentState {
    SegmentState {
        first: state.first,
        end: record.end(),
        bytes: state.bytes + record.bytes,
        batches: state.batches + 1,
        newest: record.newest,
    }
}

/// Whether an index ends where its segment does.
fn ends_well(disk: &dyn Disk, index: &Index<OriginRecord>, state: SegmentState) -> Result<bool, LogsError> {
    let Some(last) = state.batches.checked_sub(1) else { return Ok(state.end == state.first) };
    let last = index.get(disk, last)?;
    Ok((last.end(), last.at + last.bytes, last.newest) == (state.end, state.bytes, state.newest))
}

fn rebuild(
    disk: &mut dyn Disk,
    file: &FileName,
    index: FileName,
    (state, gaps): (SegmentState, bool),
) -> Result<Index<OriginRecord>, LogsError> {
    let records = match scan(disk, (file, None), state, gaps) {
        Err(LogsError::Damaged { .. }) => scan(disk, (file, Some(&index)), state, gaps)?,
        records => records?,
    };
    Index::rebuild(disk, index, records)
}

/// Reads the batches' headers, one after the other; or, of those that the old index still knows, what that says, so that it is
/// enough if each batch is known to either.
fn scan(
    disk: &dyn Disk,
    (file, index): (&FileName, Option<&FileName>),
    state: SegmentState,
    gaps: bool,
) -> Result<Vec<OriginRecord>, LogsError> {
    let damaged = |what| LogsError::damaged(file, what);
    let mut reached = SegmentState { end: state.first, bytes: 0, batches: 0, newest: i64::MIN, ..state };
    let mut records = Vec::new();
    while reached.bytes < state.bytes {
        let left = (state.bytes - reached.bytes) as usize;
        let number = reached.batches;
        let known = index.and_then(|index| read(disk, index, number..number + 1).ok()?.pop());
        let follows = |known: &OriginRecord| {
            let in_order = known.offset == reached.end || (gaps && known.offset > reached.end);
            in_order && known.at == reached.bytes && known.bytes as usize <= left
        };
        if let Some(known) = known.filter(follows) {
            records.push(OriginRecord { newest: reached.newest.max(known.max_timestamp), ..known });
            reached = after(&reached, &records[records.len() - 1]);
            continue;
        }
        let header = disk.read(file, u64::from(reached.bytes), left.min(batch::HEADER_BYTES))?;
        let info = batch::parse_kept(&header).map_err(|_| damaged("a batch's header does not read"))?.info();
        let at = u64::try_from(info.base_offset).ok();
        if at != Some(reached.end) && !(gaps && at > Some(reached.end)) {
            return Err(damaged("a batch does not follow the one before it"));
        }
        if info.size as usize > left {
            return Err(damaged("its last batch is cut short"));
        }
        records.push(next_record(&reached, &info, gaps));
        reached = after(&reached, &records[records.len() - 1]);
    }
    if reached == state { Ok(records) } else { Err(damaged("it does not hold what its checkpoint says")) }
}
