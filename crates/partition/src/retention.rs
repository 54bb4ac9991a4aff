//! What is kept: the start of a merged log moves on, and segments go once nothing of them is left in it.
//!
//! Who calls says what goes, at a place in the merged order; here it is carried out, the same everywhere. A segment goes
//! when every batch of it that has a place is below the start. Its files stay until no checkpoint that is kept knows them
//! any more, since a start from one would miss them.

use clock::Stamp;
use disk::Disk;
use entry::{PartitionId, TopicId};

use crate::error::LogsError;
use crate::logs::{At, Logs};

/// What of a merged log is to be kept at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// What was sorted at this stamp or later; `None`: all.
    pub since: Option<Stamp>,
    /// The latest so many bytes; `None`: all.
    pub bytes: Option<u64>,
}

impl Logs {
    /// Drops from the front what need not be kept. Returns whether the start moved.
    ///
    /// # Errors
    /// [`LogsError`] if the index does not read.
    pub fn expire(&mut self, disk: &dyn Disk, at: At, kept: Kept) -> Result<bool, LogsError> {
        let Some(held) = self.partitions.get_mut(&at) else { return Ok(false) };
        let before = held.merged.state().start;
        held.merged.expire(disk, kept)?;
        self.release_segments(at, before)
    }

    /// Lets a merged log begin at `before`, or at its readable end, should that be lower.
    ///
    /// # Errors
    /// [`LogsError`] if the index does not read.
    pub fn trim(&mut self, disk: &dyn Disk, at: At, before: u64) -> Result<bool, LogsError> {
        let Some(held) = self.partitions.get_mut(&at) else { return Ok(false) };
        let start = held.merged.state().start;
        held.merged.trim(disk, before)?;
        self.release_segments(at, start)
    }

    fn release_segments(&mut self, at: At, before: u64) -> Result<bool, LogsError> {
        self.let_segments_go(at);
        Ok(self.partitions.get(&at).is_some_and(|held| held.merged.state().start > before))
    }

    /// Lets go of the segments of which nothing is wanted any more.
    pub(crate) fn let_segments_go(&mut self, at: At) {
        let Some(held) = self.partitions.get_mut(&at) else { return };
        let gone = held.release_segments();
        gone.iter().for_each(|file| self.leaving.add_file(file));
    }

    /// The stamp at which the first batch of a merged log was sorted, if there is one.
    ///
    /// # Errors
    /// [`LogsError`] if the index does not read.
    pub fn oldest_stamp(
        &self,
        disk: &dyn Disk,
        topic: TopicId,
        partition: PartitionId,
    ) -> Result<Option<Stamp>, LogsError> {
        self.partitions.get(&(topic, partition)).map_or(Ok(None), |held| held.merged.oldest_stamp(disk))
    }
}
