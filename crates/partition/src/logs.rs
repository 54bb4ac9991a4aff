//! All logs of a node, by topic and partition.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use clock::Stamp;
use disk::{Disk, DiskError, FileName};
use entry::{JournalId, PartitionId, TopicId};

use crate::SEGMENT_BYTES;
use crate::error::{LogsError, OffsetError};
use crate::leaving::Leaving;
use crate::names;
use crate::origin::Placed;
use crate::partition::Partition;
use crate::pass::Bounds;
use crate::plan::{Plan, TimeHit};
use crate::state::{Checkpoint, LogsState};

/// A topic and one of its partitions.
pub type At = (TopicId, PartitionId);

/// One journal's part of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OriginKey {
    /// The topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
    /// Whose batches.
    pub journal: JournalId,
}

/// All logs of a node.
#[derive(Debug, Clone)]
pub struct Logs {
    pub(crate) partitions: BTreeMap<At, Partition>,
    /// Written since the last checkpoint was taken.
    pub(crate) written: BTreeSet<FileName>,
    /// Named by a checkpoint that is not durable yet.
    syncing: BTreeSet<FileName>,
    /// Merged logs with something that is not readable yet.
    unpublished: BTreeSet<At>,
    /// Topics and segments that are gone, whose files an older checkpoint may still name.
    pub(crate) leaving: Leaving,
    pub(crate) segment_bytes: u32,
    pub(crate) bounds: Bounds,
}

impl Default for Logs {
    fn default() -> Logs {
        Logs {
            partitions: BTreeMap::new(),
            written: BTreeSet::new(),
            syncing: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            leaving: Leaving::default(),
            segment_bytes: SEGMENT_BYTES,
            bounds: Bounds::default(),
        }
    }
}

impl Logs {
    /// No logs.
    #[must_use]
    pub fn new() -> Logs {
        Logs::default()
    }

    /// The same with segments of another length: for tests, which cannot write so much.
    #[cfg(test)]
    pub(crate) fn with_segment_bytes(self, segment_bytes: u32) -> Logs {
        Logs { segment_bytes, ..self }
    }

    /// The same with passes and steps of another size.
    #[cfg(test)]
    pub(crate) fn with_bounds(self, keys: usize, step_bytes: usize) -> Logs {
        Logs { bounds: Bounds { keys, step_bytes }, ..self }
    }

    /// Takes up the logs as a checkpoint left them: cuts what lies beyond it (a crash may have torn that), removes files
    /// that it does not know, builds missing segment indexes again. The default state removes everything.
    ///
    /// # Errors
    /// [`LogsError`] if a file holds less than the checkpoint says, or something else.
    pub fn restore(disk: &mut dyn Disk, state: &LogsState) -> Result<Logs, LogsError> {
        let mut logs = Logs { leaving: state.leaving.clone(), ..Logs::new() };
        for (at, state) in &state.partitions {
            logs.partitions.insert(*at, Partition::restore(disk, *at, state)?);
        }
        let known: BTreeSet<_> = logs.partitions.values().flat_map(Partition::files).collect();
        for file in disk.list(&names::root())? {
            if !known.contains(&file) && !logs.leaving.holds(&file) {
                disk.remove(&file)?;
            }
        }
        let unpublished = logs.partitions.iter().filter(|(_, held)| !held.merged.is_published());
        logs.unpublished = unpublished.map(|(at, _)| *at).collect();
        Ok(logs)
    }

    /// The state to be kept and the files to be synced before it is. Call [`Logs::checkpointed`] when it is durable.
    pub fn checkpoint(&mut self) -> Checkpoint {
        self.syncing.append(&mut self.written);
        let partitions = self.partitions.iter().map(|(at, held)| (*at, held.state())).collect();
        let state = LogsState { partitions, leaving: self.leaving.checkpoint() };
        Checkpoint { state, sync: self.syncing.iter().cloned().collect() }
    }

    /// The files that hold what cannot be built again, and how much of each counts here and now.
    #[must_use]
    pub fn extents(&self) -> BTreeMap<FileName, u64> {
        self.partitions.iter().flat_map(|(at, held)| held.state().extents(*at).collect::<Vec<_>>()).collect()
    }

    /// All files, and how much of each counts here and now.
    #[must_use]
    pub fn all_extents(&self) -> BTreeMap<FileName, u64> {
        let mut all = self.extents();
        all.extend(self.partitions.values().flat_map(Partition::indexes));
        all
    }

    /// Builds the index of a segment again.
    ///
    /// # Errors
    /// [`LogsError`] if the segment does not read; the index is then as it was.
    pub fn rebuild_index(&mut self, disk: &mut dyn Disk, index: &FileName) -> Result<(), LogsError> {
        for held in self.partitions.values_mut() {
            held.rebuild_index(disk, index)?;
        }
        self.written.insert(index.clone());
        Ok(())
    }

    /// Which offsets lie in a range of bytes of a file, in words: for who must be told that they are gone.
    ///
    /// # Errors
    /// [`LogsError`] if an index does not read.
    pub fn offsets_of(
        &self,
        disk: &dyn Disk,
        file: &FileName,
        bytes: &Range<u64>,
    ) -> Result<String, LogsError> {
        let found = self.partitions.iter().find_map(|((topic, partition), held)| {
            let said = held.offsets_of(disk, file, bytes)?;
            Some(said.map(|said| format!("topic {topic}, partition {partition}, {said}")))
        });
        found.unwrap_or_else(|| Ok("nothing that is in any log".into()))
    }

    /// The last checkpoint is durable: the files it named need not be named again, and those that no checkpoint names
    /// any more are removed.
    ///
    /// # Errors
    /// [`DiskError`] if the file system refuses to remove a file.
    pub fn checkpointed(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.syncing.clear();
        self.leaving.checkpointed(disk)
    }

    /// Appends one record batch to its journal's origin log, where it is readable at once.
    ///
    /// # Errors
    /// [`LogsError`]; nothing was appended then. After a full disk the same can be tried again.
    pub fn append_origin(
        &mut self,
        disk: &mut dyn Disk,
        key: OriginKey,
        batch: &[u8],
    ) -> Result<Placed, LogsError> {
        let held = self.partitions.entry((key.topic, key.partition));
        let held = held.or_insert_with(|| Partition::new(key.topic, key.partition));
        let log = held.origin_mut(key.journal);
        let placed = log.append(disk, batch, self.segment_bytes)?;
        self.written.extend(log.open_files().cloned());
        Ok(placed)
    }

    /// Gives the batch at `origin_offset` the next place in the merged log, sorted at `stamp`; returns its base offset.
    /// Not readable before [`Logs::publish`].
    ///
    /// # Errors
    /// [`LogsError`]; nothing was appended then. After a full disk the same can be tried again.
    pub fn append_merged(
        &mut self,
        disk: &mut dyn Disk,
        key: OriginKey,
        origin_offset: u64,
        stamp: Stamp,
    ) -> Result<u64, LogsError> {
        let at = (key.topic, key.partition);
        let missing = || LogsError::NoSuchBatch { journal: key.journal, origin_offset };
        let held = self.partitions.get_mut(&at).ok_or_else(missing)?;
        let (segment, batch) = held.origin(key.journal).ok_or_else(missing)?.find(disk, origin_offset)?;
        let first = segment.first();
        let base_offset = held.merged.append(disk, key.journal, (first, &batch), stamp)?;
        self.written.insert(held.merged.file().clone());
        self.unpublished.insert(at);
        Ok(base_offset)
    }

    /// Makes everything appended to merged logs readable; returns which grew.
    pub fn publish(&mut self) -> Vec<At> {
        let grown = std::mem::take(&mut self.unpublished);
        for at in &grown {
            if let Some(held) = self.partitions.get_mut(at) {
                held.merged.publish();
            }
        }
        grown.into_iter().collect()
    }

    /// The first offset of the merged log.
    #[must_use]
    pub fn merged_start(&self, topic: TopicId, partition: PartitionId) -> u64 {
        self.partitions.get(&(topic, partition)).map_or(0, |held| held.merged.state().start)
    }

    /// One past the last readable offset of the merged log.
    #[must_use]
    pub fn merged_end(&self, topic: TopicId, partition: PartitionId) -> u64 {
        self.partitions.get(&(topic, partition)).map_or(0, |held| held.merged.state().readable_end)
    }

    /// The first offset of an origin log, which is what a site wrote in its lives up to this one.
    #[must_use]
    pub fn origin_start(&self, topic: TopicId, partition: PartitionId, latest: JournalId) -> u64 {
        self.partitions.get(&(topic, partition)).map_or(0, |held| held.origin_start(latest))
    }

    /// One past the last offset of an origin log, which is what a site wrote in its lives up to this one.
    #[must_use]
    pub fn origin_end(&self, topic: TopicId, partition: PartitionId, latest: JournalId) -> u64 {
        self.partitions.get(&(topic, partition)).map_or(0, |held| held.origin_end(latest))
    }

    /// Where anything of a journal is.
    pub fn places_of(&self, journal: JournalId) -> impl Iterator<Item = At> {
        let here = self.partitions.iter().filter(move |(_, held)| held.has_of(journal));
        here.map(|(at, _)| *at)
    }

    /// What to read of the merged log from `offset` on: at least one batch, if there is one, even above `bytes_max`.
    ///
    /// # Errors
    /// [`OffsetError`].
    pub fn plan_merged(
        &self,
        disk: &dyn Disk,
        at: At,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Plan, OffsetError> {
        self.partitions.get(&at).map_or(nothing(offset), |held| held.plan_merged(disk, offset, bytes_max))
    }

    /// What to read from `offset` on of what a site wrote in its lives up to this one. Where one ends, the next one follows.
    ///
    /// # Errors
    /// [`OffsetError`].
    pub fn plan_origin(
        &self,
        disk: &dyn Disk,
        at: At,
        latest: JournalId,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Plan, OffsetError> {
        self.partitions
            .get(&at)
            .map_or(nothing(offset), |held| held.plan_origin(disk, latest, offset, bytes_max))
    }

    /// The first batch of the merged log with a timestamp of at least `timestamp`; `None` if there is none.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn merged_by_time(
        &self,
        disk: &dyn Disk,
        at: At,
        timestamp: i64,
    ) -> Result<Option<TimeHit>, LogsError> {
        self.partitions.get(&at).map_or(Ok(None), |held| held.merged_by_time(disk, timestamp))
    }

    /// The first batch of the merged log with the highest timestamp of all.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn merged_newest(&self, disk: &dyn Disk, at: At) -> Result<Option<TimeHit>, LogsError> {
        self.partitions.get(&at).map_or(Ok(None), |held| held.merged_newest(disk))
    }

    /// The first batch that a site wrote in its lives up to this one with a timestamp of at least `timestamp`.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn origin_by_time(
        &self,
        disk: &dyn Disk,
        at: At,
        latest: JournalId,
        timestamp: i64,
    ) -> Result<Option<TimeHit>, LogsError> {
        self.partitions.get(&at).map_or(Ok(None), |held| held.origin_by_time(disk, latest, timestamp))
    }

    /// The first batch that a site wrote in its lives up to this one with the highest timestamp of all.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn origin_newest(
        &self,
        disk: &dyn Disk,
        at: At,
        latest: JournalId,
    ) -> Result<Option<TimeHit>, LogsError> {
        self.partitions.get(&at).map_or(Ok(None), |held| held.origin_newest(disk, latest))
    }

    /// A digest of all merged batches that end at or below `upto`, appended ones included: equal at two sites exactly
    /// where order and content are.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn digest(&self, disk: &dyn Disk, at: At, upto: u64) -> Result<[u8; 16], LogsError> {
        self.partitions.get(&at).map_or(Ok([0; 16]), |held| held.merged.digest(disk, upto))
    }

    /// The partitions of a topic that hold anything.
    #[must_use]
    pub fn partitions(&self, topic: TopicId) -> Vec<PartitionId> {
        self.partitions
            .range((topic, 0)..=(topic, PartitionId::MAX))
            .map(|((_, partition), _)| *partition)
            .collect()
    }

    /// Forgets a topic that is never written again. Its files go once no checkpoint that is kept needs them.
    pub fn remove_topic(&mut self, topic: TopicId) {
        let partitions = self.partitions(topic);
        if partitions.is_empty() {
            return;
        }
        for partition in partitions {
            self.partitions.remove(&(topic, partition));
            self.unpublished.remove(&(topic, partition));
        }
        self.leaving.add(topic);
        self.written.retain(|file| !self.leaving.holds(file));
        self.syncing.retain(|file| !self.leaving.holds(file));
    }
}

/// What there is to read where nobody wrote anything.
fn nothing(offset: u64) -> Result<Plan, OffsetError> {
    if offset > 0 {
        return Err(OffsetError::AboveEnd { offset, end: 0 });
    }
    Ok(Plan::default())
}
