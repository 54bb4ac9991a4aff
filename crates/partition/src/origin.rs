//! One journal's origin log: a row of segments.

use disk::{Disk, FileName};
use entry::{JournalId, origin_base};

use crate::error::LogsError;
use crate::names;
use crate::plan::{Picker, TimeHit};
use crate::record::OriginRecord;
use crate::row;
use crate::segment::{Segment, SegmentState};

/// Where a batch was put in its origin log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its first origin offset.
    pub origin_offset: u64,
    /// How many offsets it takes.
    pub records: u32,
    /// Its length.
    pub bytes: u32,
}

/// What one journal wrote to a partition.
#[derive(Debug, Clone)]
pub(crate) struct OriginLog {
    journal: JournalId,
    folder: FileName,
    segments: Vec<Segment>,
}

impl OriginLog {
    pub(crate) fn new(folder: FileName, journal: JournalId) -> OriginLog {
        OriginLog { journal, folder, segments: Vec::new() }
    }

    /// One as a checkpoint left it.
    pub(crate) fn restore(
        disk: &mut dyn Disk,
        folder: FileName,
        journal: JournalId,
        states: &[SegmentState],
    ) -> Result<OriginLog, LogsError> {
        let mut log = OriginLog::new(folder, journal);
        for state in states {
            if let Some(before) = log.segments.last_mut() {
                before.index.close();
            }
            let segment = names::segment(&log.folder, journal, state.first);
            let index = names::index(&log.folder, journal, state.first);
            log.segments.push(Segment::restore(disk, (segment, index), *state, false)?);
        }
        Ok(log)
    }

    pub(crate) fn state(&self) -> Vec<SegmentState> {
        self.segments.iter().map(Segment::state).collect()
    }

    /// Its first offset.
    pub(crate) fn start(&self) -> u64 {
        self.segments.first().map_or(origin_base(self.journal.incarnation), Segment::first)
    }

    /// Where a reader may begin: nothing is missing below an untouched log, so that one who began before a later life of
    /// its site wrote goes on there.
    pub(crate) fn first_readable(&self) -> u64 {
        if self.start() == origin_base(self.journal.incarnation) { 0 } else { self.start() }
    }

    /// One past its last offset.
    pub(crate) fn end(&self) -> u64 {
        self.segments.last().map_or(origin_base(self.journal.incarnation), Segment::end)
    }

    pub(crate) fn segments(&self) -> std::slice::Iter<'_, Segment> {
        self.segments.iter()
    }

    pub(crate) fn segments_mut(&mut self) -> std::slice::IterMut<'_, Segment> {
        self.segments.iter_mut()
    }

    /// Lets go of the segments that end at or below `passed`, but for the last one; returns their files.
    pub(crate) fn release(&mut self, passed: u64) -> Vec<FileName> {
        let most = self.segments.len().saturating_sub(1);
        let count = self.segments.iter().take(most).take_while(|segment| segment.end() <= passed).count();
        let gone = self.segments.drain(..count);
        gone.flat_map(|segment| [segment.file, segment.index.file]).collect()
    }

    /// Its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileName> {
        self.segments.iter().flat_map(|segment| [&segment.file, &segment.index.file])
    }

    /// The files that were written last.
    pub(crate) fn open_files(&self) -> impl Iterator<Item = &FileName> {
        self.segments.last().into_iter().flat_map(|segment| [&segment.file, &segment.index.file])
    }

    /// Appends a batch; a new segment begins where the last one would grow over `segment_bytes`.
    pub(crate) fn append(
        &mut self,
        disk: &mut dyn Disk,
        batch: &[u8],
        segment_bytes: u32,
    ) -> Result<Placed, LogsError> {
        let info = batch::parse(batch)?.info();
        if info.size as usize != batch.len() {
            return Err(batch::BatchError::Truncated { have: batch.len(), need: u64::from(info.size) }.into());
        }
        if self.segments.last().is_none_or(|last| !last.takes(info.size, segment_bytes)) {
            let next = Segment::new(&self.folder, self.journal, self.end());
            if let Some(last) = self.segments.last_mut() {
                last.index.close();
            }
            self.segments.push(next);
        }
        let last = self.segments.last_mut().expect("there is one now");
        let record = last.append(disk, &info, batch)?;
        Ok(Placed { origin_offset: record.offset, records: record.records, bytes: record.bytes })
    }

    /// The batch that begins at `offset`, and its segment.
    pub(crate) fn find(&self, disk: &dyn Disk, offset: u64) -> Result<(&Segment, OriginRecord), LogsError> {
        let missing = || LogsError::NoSuchBatch { journal: self.journal, origin_offset: offset };
        let segment = self.segments.get(row::holding(&self.segments, offset)).ok_or_else(missing)?;
        let at = segment.index.search(disk, segment.index.count(), |record| record.offset < offset)?;
        let found = if at < segment.index.count() { Some(segment.index.get(disk, at)?) } else { None };
        let found = found.filter(|record| record.offset == offset).ok_or_else(missing)?;
        Ok((segment, found))
    }

    /// Offers the batches from the one that holds `offset` on, until the picker has enough.
    pub(crate) fn offer(&self, disk: &dyn Disk, offset: u64, picker: &mut Picker) -> Result<(), LogsError> {
        row::offer(&self.segments, disk, offset, picker)
    }

    /// The first batch with a timestamp of at least `timestamp`.
    pub(crate) fn by_time(&self, disk: &dyn Disk, timestamp: i64) -> Result<Option<TimeHit>, LogsError> {
        row::by_time(&self.segments, disk, timestamp, 0)
    }

    /// The highest timestamp in it, if it holds anything.
    pub(crate) fn newest(&self) -> Option<i64> {
        row::newest(&self.segments)
    }
}
