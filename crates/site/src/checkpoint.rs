//! Checkpoints: the machine's state at one position of the WAL, so that recovery starts there.
//!
//! A checkpoint is taken between two events, when no release is under way. The files it relies on are synced before it
//! is written. What is private to this site (ceiling, grants) is in it too, since the WAL that
//! held the notes may be dropped behind it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use clock::Stamp;
use disk::FileName;
use entry::{JournalId, SiteId, TopicId};
use journal::{Chain, WalPosition};
use partition::LogsState;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::heads::HeadState;
use crate::lives::Lives;
use crate::merge::MergeState;
use crate::progress::Positions;
use crate::seal::SealState;
use crate::site::{Fatal, Site, Step};
use crate::start::Grant;
use crate::unreplicated::Unreplicated;

/// The state at a position of the WAL.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) chains: BTreeMap<JournalId, Chain>,
    pub(crate) merge: MergeState,
    pub(crate) logs: LogsState,
    pub(crate) positions: Positions,
    /// Topics that this site's own journal has restated, and which journal that was.
    pub(crate) restated: BTreeSet<TopicId>,
    pub(crate) restated_in: Option<JournalId>,
    pub(crate) private: Private,
    /// What vouches for the journals.
    pub(crate) heads: HeadState,
    /// Which lives origin logs show.
    pub(crate) lives: Lives,
    /// Files that were taken over with this state and wait for their names.
    pub(crate) taken: Vec<String>,
    /// What was readable here before this state was taken over: so many released entries at least.
    pub(crate) readable: u64,
}

/// What only this site adds to another's state.
pub(crate) struct Own<'a> {
    pub(crate) journal: Option<JournalId>,
    pub(crate) private: Private,
    pub(crate) restated: &'a BTreeSet<TopicId>,
    pub(crate) lives: &'a Lives,
    pub(crate) readable: u64,
}

impl Checkpoint {
    /// The same state in another site's hands: only what is private to the one that wrote it is replaced.
    pub(crate) fn handed_to(self, site: SiteId, own: Own<'_>, taken: &[FileName]) -> Checkpoint {
        Checkpoint {
            merge: self.merge.handed_to(site),
            heads: self.heads.handed_over(&self.chains),
            lives: self.lives.joined(own.lives),
            restated: own.restated.clone(),
            restated_in: own.journal,
            private: own.private,
            readable: own.readable,
            taken: taken.iter().map(|file| file.as_str().to_owned()).collect(),
            ..self
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("plain data with known lengths always encodes").into()
    }

    /// Reads a state; `None` if the bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        match postcard::take_from_bytes(bytes) {
            Ok((state, [])) => Some(state),
            _ => None,
        }
    }
}

/// What only this site knows of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Private {
    pub(crate) ceiling: Stamp,
    pub(crate) granted: BTreeMap<SiteId, Grant>,
    pub(crate) seals: SealState,
    pub(crate) unreplicated: Unreplicated,
}

impl Site {
    /// Takes a checkpoint if enough was written since the last one.
    pub(crate) fn checkpoint_if_due(&mut self, step: &mut Step<'_>) {
        let state = &self.state.checkpoint;
        let due = state.bytes_since >= self.config.limits.checkpoint_bytes || state.wanted;
        // It bears the WAL's end, so what stands there must have taken effect.
        let is_whole = !self.merge.is_releasing() && !self.pipeline.is_behind();
        if !due || state.running.is_some() || !is_whole {
            return;
        }
        let logs = self.logs.checkpoint();
        let checkpoint = Checkpoint {
            chains: self.journals.durable_chains(),
            merge: self.merge.snapshot(),
            logs: logs.state,
            positions: self.positions.clone(),
            restated: self.desk.restated_durably.clone(),
            restated_in: self.identity.journal(),
            private: self.private(),
            heads: self.proofs(),
            lives: self.state.lives.clone(),
            taken: Vec::new(),
            readable: 0,
        };
        let state = checkpoint.encode();
        let position = self.pipeline.wal.position();
        let id = self.state.checkpoint.next_id;
        self.state.checkpoint.next_id += 1;
        self.state.checkpoint.bytes_since = 0;
        self.state.checkpoint.wanted = false;
        self.state.checkpoint.running = Some(id);
        self.state.checkpoint.writing = self.journals.frontier();
        step.out.push(Action::Checkpoint { id, sync: logs.sync, position, state });
    }

    /// What vouches for all that is durable here, so that another site may take it over.
    fn proofs(&mut self) -> HeadState {
        let mut heads = self.state.heads.snapshot();
        for (journal, chain) in self.journals.durable_chains() {
            if journal.site == self.config.own && chain.next > 0 {
                heads.add(self.signed(journal, chain));
            }
        }
        heads
    }

    pub(crate) fn private(&self) -> Private {
        let granted = self.state.granted.iter().filter(|(_, grant)| grant.durable);
        Private {
            ceiling: self.clock.ceiling(),
            granted: granted.map(|(site, grant)| (*site, *grant)).collect(),
            seals: self.state.seals.snapshot(),
            unreplicated: self.state.unreplicated.clone(),
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
        self.logs.checkpointed(step.disk)?;
        self.state.checkpoint.frontier = std::mem::take(&mut self.state.checkpoint.writing);
        self.drop_wal(position, step)?;
        self.resume_install(step)
    }
}
