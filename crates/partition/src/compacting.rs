//! Compaction as the site drives it: marks, passes, and generations that take the place of those before them.

use disk::{Disk, DiskError};
use entry::{PartitionId, TopicId};

use crate::compacted::Terms;
use crate::error::LogsError;
use crate::logs::{At, Logs};
use crate::pass::Pass;
use crate::rewriting::CompactWork;

impl Logs {
    /// Sets a mark for compaction at this place of the merged order, if the log has grown since the last one.
    pub fn mark(&mut self, at: At, at_ms: u64, terms: Terms) {
        if let Some(held) = self.partitions.get_mut(&at) {
            let merged = held.merged.state();
            held.compacted.mark(&merged, at_ms, terms);
        }
    }

    /// Whether a log has grown since its last mark.
    #[must_use]
    pub fn grew_since_mark(&self, topic: TopicId, partition: PartitionId) -> bool {
        self.partitions.get(&(topic, partition)).is_some_and(|held| held.compacted.grew(&held.merged.state()))
    }

    /// The next pass that a mark leads to, if one does.
    pub fn next_pass(&mut self) -> Option<Pass> {
        let behind = self.partitions.iter().filter(|(_, held)| held.compacted.is_behind());
        for at in behind.map(|(at, _)| *at).collect::<Vec<_>>() {
            let held = self.partitions.get_mut(&at)?;
            if let Some(mark) = held.compacted.next_mark() {
                return Some(Pass::begin(at, held, mark, self.segment_bytes, self.bounds));
            }
            self.let_segments_go(at);
        }
        None
    }

    /// The next step of a pass; `None` when all is written, or there is nothing left to write it for.
    ///
    /// # Errors
    /// [`LogsError`] if an index does not read.
    pub fn next_step(&self, disk: &dyn Disk, pass: &mut Pass) -> Result<Option<CompactWork>, LogsError> {
        self.partitions.get(&pass.at).map_or(Ok(None), |held| pass.next_step(held, disk))
    }

    /// The generation that a pass wrote takes the place of the one before.
    ///
    /// # Errors
    /// [`LogsError`] if it is not there as it should be; the one before is then still in place.
    pub fn finish_pass(&mut self, disk: &mut dyn Disk, pass: &Pass) -> Result<(), LogsError> {
        let made = pass.made();
        let Some(held) = self.partitions.get_mut(&pass.at) else {
            return Ok(self.clear_up(disk, pass)?);
        };
        let folder = held.folder.clone();
        let gone = held.compacted.replace(disk, &folder, &pass.mark, &made)?;
        held.merged.pass(&pass.passed);
        self.written.extend(held.compacted.files().cloned());
        for file in &gone {
            self.leaving.add_file(file);
            self.written.remove(file);
        }
        self.let_segments_go(pass.at);
        Ok(())
    }

    /// The topic was deleted meanwhile.
    fn clear_up(&self, disk: &mut dyn Disk, pass: &Pass) -> Result<(), DiskError> {
        pass.files().iter().try_for_each(|file| disk.remove(file))
    }

    /// Which generation of a log is in place, and its digest: equal at any two sites.
    #[must_use]
    pub fn generation(&self, topic: TopicId, partition: PartitionId) -> (u64, [u8; 16]) {
        self.partitions.get(&(topic, partition)).map_or((0, [0; 16]), |held| held.compacted.generation())
    }
}
