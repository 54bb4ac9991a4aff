//! Checkpoints: the machine's state at one position of the WAL, so that recovery starts there.
//!
//! A checkpoint is taken between two events, when no release is under way. The files it relies on are synced before it
//! is written. What is private to this site (ceiling, grants) is in it too, since the WAL that
//! held the notes may be dropped behind it.

use std::collections::BTreeMap;

use bytes::Bytes;
use clock::Stamp;
use entry::{JournalId, Seq, SiteId, TopicId};
use journal::{Chain, WalPosition};
use partition::LogsState;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::merge::MergeState;
use crate::mutant::Mutant;
use crate::progress::Positions;
use crate::site::{Fatal, Site, Step};
use crate::start::Grant;

/// The state at a position of the WAL.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) chains: BTreeMap<JournalId, Chain>,
    pub(crate) merge: MergeState,
    pub(crate) logs: LogsState,
    pub(crate) positions: Positions,
    pub(crate) restated: std::collections::BTreeSet<TopicId>,
    pub(crate) private: Private,
}

/// What only this site knows of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Private {
    pub(crate) ceiling: Stamp,
    pub(crate) granted: BTreeMap<SiteId, Grant>,
}

impl Site {
    /// Takes a checkpoint if enough was written since the last one.
    pub(crate) fn checkpoint_if_due(&mut self, step: &mut Step<'_>) {
        let state = &self.state.checkpoint;
        let due = state.bytes_since >= self.config.limits.checkpoint_bytes;
        if !due || state.running.is_some() || self.merge.is_releasing() {
            return;
        }
        let logs = self.logs.checkpoint();
        let checkpoint = Checkpoint {
            chains: self.journals.durable_chains(),
            merge: self.merge.snapshot(),
            logs: logs.state,
            positions: self.positions.clone(),
            restated: self.desk.restated_durably.clone(),
            private: self.private(),
        };
        let bytes = postcard::to_stdvec(&checkpoint).expect("plain data with known lengths always encodes");
        let position = self.pipeline.wal.position();
        let id = self.state.checkpoint.next_id;
        self.state.checkpoint.next_id += 1;
        self.state.checkpoint.bytes_since = 0;
        self.state.checkpoint.running = Some(id);
        step.out.push(Action::Checkpoint { id, sync: logs.sync, position, state: Bytes::from(bytes) });
    }

    pub(crate) fn private(&self) -> Private {
        let granted = self.state.granted.iter().filter(|(_, grant)| grant.durable);
        Private {
            ceiling: self.clock.ceiling(),
            granted: granted.map(|(site, grant)| (*site, *grant)).collect(),
        }
    }

    /// A checkpoint is on the disk: the WAL that no recovery needs may go, as far as every member holds its entries.
    pub(crate) fn checkpointed(
        &mut self,
        id: u64,
        drop_before: Option<WalPosition>,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        let running = self.state.checkpoint.running.take();
        assert_eq!(running, Some(id), "checkpoints are written one at a time");
        let Some(position) = drop_before else { return Ok(()) };
        self.logs.checkpointed();
        let careless = self.state.switch.has(Mutant::DroppedWhileNeeded);
        let held_by_all = |journal: JournalId, last: Seq| {
            careless || self.config.others().all(|site| self.peers.holds(site, journal) > last)
        };
        self.pipeline.wal.drop_before(step.disk, position, &held_by_all)?;
        Ok(())
    }
}
