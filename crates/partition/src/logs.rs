//! All logs of a node, by topic and partition.

use clock::Stamp;
use disk::{Disk, FileName};
use entry::{JournalId, PartitionId, SiteId, TopicId};

use crate::error::{LogsError, OffsetError};
use crate::plan::{Plan, TimeHit};
use crate::state::{Checkpoint, LogsState};

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

/// All logs of a node.
#[derive(Debug, Clone, Default)]
pub struct Logs {}

impl Logs {
    /// No logs.
    #[must_use]
    pub fn new() -> Logs {
        Logs::default()
    }

    /// Takes up the logs as a checkpoint left them: cuts what lies beyond it (a crash may have torn that), removes files
    /// that it does not know, builds missing segment indexes again. The default state removes everything.
    ///
    /// # Errors
    /// [`LogsError`] if a file holds less than the checkpoint says, or something else.
    pub fn restore(disk: &mut dyn Disk, state: &LogsState) -> Result<Logs, LogsError> {
        let _ = (disk, state);
        unimplemented!()
    }

    /// The state to be kept and the files to be synced before it is. Call [`Logs::checkpointed`] when it is durable.
    pub fn checkpoint(&mut self) -> Checkpoint {
        unimplemented!()
    }

    /// The last checkpoint is durable: the files it named need not be named again.
    pub fn checkpointed(&mut self) {
        unimplemented!()
    }

    /// Appends one record batch to its journal's origin log, where it is readable at once.
    ///
    /// # Errors
    /// [`LogsError`]; after it the origin log must not be written any more.
    pub fn append_origin(
        &mut self,
        disk: &mut dyn Disk,
        key: OriginKey,
        batch: &[u8],
    ) -> Result<Placed, LogsError> {
        let _ = (disk, key, batch);
        unimplemented!()
    }

    /// Gives the batch at `origin_offset` the next place in the merged log, sorted at `stamp`; returns its base offset.
    /// Not readable before [`Logs::publish`].
    ///
    /// # Errors
    /// [`LogsError`]; after it the merged log must not be written any more.
    pub fn append_merged(
        &mut self,
        disk: &mut dyn Disk,
        key: OriginKey,
        origin_offset: u64,
        stamp: Stamp,
    ) -> Result<u64, LogsError> {
        let _ = (disk, key, origin_offset, stamp);
        unimplemented!()
    }

    /// Makes everything appended to merged logs readable; returns which grew.
    pub fn publish(&mut self) -> Vec<(TopicId, PartitionId)> {
        unimplemented!()
    }

    /// The first offset of the merged log.
    #[must_use]
    pub fn merged_start(&self, topic: TopicId, partition: PartitionId) -> u64 {
        let _ = (topic, partition);
        unimplemented!()
    }

    /// One past the last readable offset of the merged log.
    #[must_use]
    pub fn merged_end(&self, topic: TopicId, partition: PartitionId) -> u64 {
        let _ = (topic, partition);
        unimplemented!()
    }

    /// The first offset of a site's origin log.
    #[must_use]
    pub fn origin_start(&self, topic: TopicId, partition: PartitionId, site: SiteId) -> u64 {
        let _ = (topic, partition, site);
        unimplemented!()
    }

    /// One past the last offset of a site's origin log.
    #[must_use]
    pub fn origin_end(&self, topic: TopicId, partition: PartitionId, site: SiteId) -> u64 {
        let _ = (topic, partition, site);
        unimplemented!()
    }

    /// What to read of the merged log from `offset` on: at least one batch, if there is one, even above `bytes_max`.
    ///
    /// # Errors
    /// [`OffsetError`].
    pub fn plan_merged(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId),
        offset: u64,
        bytes_max: usize,
    ) -> Result<Plan, OffsetError> {
        let _ = (disk, at, offset, bytes_max);
        unimplemented!()
    }

    /// What to read of a site's origin log from `offset` on. Where one incarnation ends, the next one follows.
    ///
    /// # Errors
    /// [`OffsetError`].
    pub fn plan_origin(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId),
        site: SiteId,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Plan, OffsetError> {
        let _ = (disk, at, site, offset, bytes_max);
        unimplemented!()
    }

    /// The first batch of the merged log with a timestamp of at least `timestamp`; `None` if there is none.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn merged_by_time(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId),
        timestamp: i64,
    ) -> Result<Option<TimeHit>, LogsError> {
        let _ = (disk, at, timestamp);
        unimplemented!()
    }

    /// The first batch of the merged log with the highest timestamp of all.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn merged_newest(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId),
    ) -> Result<Option<TimeHit>, LogsError> {
        let _ = (disk, at);
        unimplemented!()
    }

    /// The first batch of a site's origin log with a timestamp of at least `timestamp`.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn origin_by_time(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId),
        site: SiteId,
        timestamp: i64,
    ) -> Result<Option<TimeHit>, LogsError> {
        let _ = (disk, at, site, timestamp);
        unimplemented!()
    }

    /// The first batch of a site's origin log with the highest timestamp of all.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn origin_newest(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId),
        site: SiteId,
    ) -> Result<Option<TimeHit>, LogsError> {
        let _ = (disk, at, site);
        unimplemented!()
    }

    /// A digest of all merged batches that end at or below `upto`, appended ones included: equal at two sites exactly
    /// where order and content are.
    ///
    /// # Errors
    /// [`LogsError`] if the index cannot be read.
    pub fn digest(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId),
        upto: u64,
    ) -> Result<[u8; 16], LogsError> {
        let _ = (disk, at, upto);
        unimplemented!()
    }

    /// The partitions of a topic that hold anything.
    #[must_use]
    pub fn partitions(&self, topic: TopicId) -> Vec<PartitionId> {
        let _ = topic;
        unimplemented!()
    }

    /// Forgets a topic. Returns its files, to be removed when the next checkpoint is durable.
    pub fn remove_topic(&mut self, topic: TopicId) -> Vec<FileName> {
        let _ = topic;
        unimplemented!()
    }
}
