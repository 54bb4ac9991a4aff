//! One partition: its merged log, and the origin log of every journal that wrote to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use disk::{Disk, FileName};
use entry::{JournalId, PartitionId, TopicId};
use serde::{Deserialize, Serialize};

use crate::compacted::{Compacted, CompactedState};
use crate::error::{LogsError, OffsetError};
use crate::merged::{MergedLog, MergedState};
use crate::names;
use crate::origin::OriginLog;
use crate::plan::{Picker, Plan, TimeHit};
use crate::row;
use crate::segment::{Segment, SegmentState};

/// How much of each file of a partition counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionState {
    merged: MergedState,
    origins: BTreeMap<JournalId, Vec<SegmentState>>,
    /// Per journal: below this origin offset nothing is left in the merged log.
    passed: BTreeMap<JournalId, u64>,
    compacted: CompactedState,
}

impl PartitionState {
    /// Its merged log and its segments, and how much of each counts.
    pub(crate) fn extents(
        &self,
        (topic, partition): (TopicId, PartitionId),
    ) -> impl Iterator<Item = (FileName, u64)> + '_ {
        let folder = names::folder(topic, partition);
        let merged = (names::merged(&folder), self.merged.bytes());
        let segments = self.origins.iter().flat_map(move |(journal, segments)| {
            let (folder, journal) = (folder.clone(), *journal);
            segments.iter().map(move |segment| {
                (names::segment(&folder, journal, segment.first), u64::from(segment.bytes))
            })
        });
        let folder = names::folder(topic, partition);
        let generation = self.compacted.generation;
        let compacted = self.compacted.segments.iter().map(move |segment| {
            (names::compacted(&folder, generation, segment.first).0, u64::from(segment.bytes))
        });
        [merged].into_iter().chain(segments).chain(compacted).filter(|(_, bytes)| *bytes > 0)
    }
}

/// A partition.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    pub(crate) folder: FileName,
    pub(crate) merged: MergedLog,
    pub(crate) compacted: Compacted,
    origins: BTreeMap<JournalId, OriginLog>,
}

impl Partition {
    pub(crate) fn new(topic: TopicId, partition: PartitionId) -> Partition {
        let folder = names::folder(topic, partition);
        let (merged, compacted) = (MergedLog::new(&folder), Compacted::default());
        Partition { merged, compacted, origins: BTreeMap::new(), folder }
    }

    /// One as a checkpoint left it.
    pub(crate) fn restore(
        disk: &mut dyn Disk,
        (topic, partition): (TopicId, PartitionId),
        state: &PartitionState,
    ) -> Result<Partition, LogsError> {
        let folder = names::folder(topic, partition);
        let mut origins = BTreeMap::new();
        for (journal, segments) in &state.origins {
            origins.insert(*journal, OriginLog::restore(disk, folder.clone(), *journal, segments)?);
        }
        let merged = MergedLog::restore(disk, &folder, state.merged, state.passed.clone())?;
        let compacted = Compacted::restore(disk, &folder, &state.compacted, &state.merged)?;
        Ok(Partition { merged, compacted, origins, folder })
    }

    pub(crate) fn state(&self) -> PartitionState {
        let origins = self.origins.iter().map(|(journal, log)| (*journal, log.state()));
        PartitionState {
            merged: self.merged.state(),
            origins: origins.collect(),
            passed: self.merged.passed().clone(),
            compacted: self.compacted.state(),
        }
    }

    /// All its files.
    pub(crate) fn files(&self) -> BTreeSet<FileName> {
        let origins = self.origins.values().flat_map(OriginLog::files);
        origins.chain(self.compacted.files()).chain([self.merged.file()]).cloned().collect()
    }

    /// The indexes of its segments, and how much of each counts.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = (FileName, u64)> + '_ {
        let origins = self.origins.values().flat_map(OriginLog::segments);
        origins.chain(&self.compacted.segments).map(Segment::index_extent)
    }

    /// Builds the index of one of its segments again, if it is one.
    pub(crate) fn rebuild_index(&mut self, disk: &mut dyn Disk, index: &FileName) -> Result<(), LogsError> {
        let origins = self.origins.values_mut().flat_map(OriginLog::segments_mut);
        match origins.chain(&mut self.compacted.segments).find(|segment| segment.index.file == *index) {
            Some(segment) => segment.rebuild_index(disk),
            None => Ok(()),
        }
    }

    /// Which offsets lie in a range of bytes of one of its files, in words; `None` if it is none of its files.
    pub(crate) fn offsets_of(
        &self,
        disk: &dyn Disk,
        file: &FileName,
        bytes: &Range<u64>,
    ) -> Option<Result<String, LogsError>> {
        if self.merged.file() == file {
            return Some(Ok(self.merged.offsets_of(disk, bytes)));
        }
        if let Some(segment) = self.compacted.segments.iter().find(|segment| segment.file == *file) {
            let offsets = segment.offsets_of(disk, bytes);
            return Some(offsets.map(|offsets| format!("merged offsets {}..{}", offsets.start, offsets.end)));
        }
        let mut segments = self.origins.values().flat_map(OriginLog::segments);
        let segment = segments.find(|segment| segment.file == *file)?;
        Some(segment.offsets_of(disk, bytes).and_then(|offsets| {
            let merged = self.merged.places_of(disk, &self.folder, file, bytes)?;
            Ok(format!("origin offsets {}..{}, merged offsets {merged}", offsets.start, offsets.end))
        }))
    }

    /// Lets go of segments of which nothing is left in the merged log; returns their files.
    pub(crate) fn release_segments(&mut self) -> Vec<FileName> {
        // A pass of compaction may read them yet.
        if self.compacted.is_behind() {
            return Vec::new();
        }
        let passed = self.merged.passed().clone();
        let logs = self.origins.iter_mut();
        logs.filter_map(|(journal, log)| Some(log.release(*passed.get(journal)?))).flatten().collect()
    }

    pub(crate) fn origin(&self, journal: JournalId) -> Option<&OriginLog> {
        self.origins.get(&journal)
    }

    pub(crate) fn origin_mut(&mut self, journal: JournalId) -> &mut OriginLog {
        let folder = &self.folder;
        self.origins.entry(journal).or_insert_with(|| OriginLog::new(folder.clone(), journal))
    }

    /// What a site wrote in its lives up to this one, in their order.
    fn lives(&self, latest: JournalId) -> impl DoubleEndedIterator<Item = &OriginLog> {
        let lives = JournalId::genesis(latest.site)..=latest;
        self.origins.range(lives).map(|(_, log)| log).filter(|log| log.start() < log.end())
    }

    /// Whether anything of a journal is here.
    pub(crate) fn has_of(&self, journal: JournalId) -> bool {
        self.origins.get(&journal).is_some_and(|log| log.start() < log.end())
    }

    pub(crate) fn origin_start(&self, latest: JournalId) -> u64 {
        self.lives(latest).next().map_or(0, OriginLog::first_readable)
    }

    pub(crate) fn origin_end(&self, latest: JournalId) -> u64 {
        self.lives(latest).next_back().map_or(0, OriginLog::end)
    }

    pub(crate) fn plan_merged(
        &self,
        disk: &dyn Disk,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Plan, OffsetError> {
        let state = self.merged.state();
        check(offset, state.start, state.readable_end)?;
        let mut picker = Picker::new(offset, bytes_max);
        let upto = self.compacted.upto();
        if offset < upto {
            row::offer(&self.compacted.segments, disk, offset, &mut picker)?;
        }
        if !picker.is_full() {
            self.merged.offer(disk, &self.folder, offset.max(upto), &mut picker)?;
        }
        Ok(picker.plan())
    }

    pub(crate) fn merged_by_time(
        &self,
        disk: &dyn Disk,
        timestamp: i64,
    ) -> Result<Option<TimeHit>, LogsError> {
        let (start, upto) = (self.merged.state().start, self.compacted.upto());
        match row::by_time(&self.compacted.segments, disk, timestamp, start)? {
            Some(hit) => Ok(Some(hit)),
            None => self.merged.by_time(disk, timestamp, upto),
        }
    }

    /// The first readable batch of the merged log with the highest timestamp.
    pub(crate) fn merged_newest(&self, disk: &dyn Disk) -> Result<Option<TimeHit>, LogsError> {
        let newest = if self.compacted.batches() == 0 {
            self.merged.newest(disk)?
        } else {
            let behind = self.merged.newest_from(disk, self.compacted.batches())?;
            row::newest(&self.compacted.segments).max(behind)
        };
        newest.map_or(Ok(None), |newest| self.merged_by_time(disk, newest))
    }

    pub(crate) fn plan_origin(
        &self,
        disk: &dyn Disk,
        latest: JournalId,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Plan, OffsetError> {
        check(offset, self.origin_start(latest), self.origin_end(latest))?;
        let mut picker = Picker::new(offset, bytes_max);
        for log in self.lives(latest).filter(|log| log.end() > offset) {
            if !picker.is_full() {
                log.offer(disk, offset, &mut picker)?;
            }
        }
        Ok(picker.plan())
    }

    pub(crate) fn origin_by_time(
        &self,
        disk: &dyn Disk,
        latest: JournalId,
        timestamp: i64,
    ) -> Result<Option<TimeHit>, LogsError> {
        for log in self.lives(latest) {
            if let Some(hit) = log.by_time(disk, timestamp)? {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    pub(crate) fn origin_newest(
        &self,
        disk: &dyn Disk,
        latest: JournalId,
    ) -> Result<Option<TimeHit>, LogsError> {
        match self.lives(latest).filter_map(OriginLog::newest).max() {
            Some(newest) => self.origin_by_time(disk, latest, newest),
            None => Ok(None),
        }
    }
}

fn check(offset: u64, start: u64, end: u64) -> Result<(), OffsetError> {
    if offset < start {
        return Err(OffsetError::BelowStart { offset, start });
    }
    if offset > end { Err(OffsetError::AboveEnd { offset, end }) } else { Ok(()) }
}
