//! From a data directory to a machine: identity, checkpoint, then the WAL from there, through the same code as live.

use std::sync::Arc;

use catalog::{Actor, Catalog, LoadError};
use clock::{HybridClock, Now, Stamp};
use disk::{Disk, FileName};
use entry::{Incarnation, JournalId, StorageId};
use journal::checkpoint::{self, CheckpointError};
use journal::{ChainError, OpenError, Record, Truncation, Wal, WalOptions, WalPosition};
use order::Order;
use partition::{Logs, LogsError, LogsState};
use thiserror::Error;

use crate::checkpoint::{Checkpoint, Private};
use crate::config::SiteConfig;
use crate::copy;
use crate::desk::Desk;
use crate::heads::{HeadState, Heads};
use crate::identity::{Identity, IdentityError};
use crate::journals::Journals;
use crate::lives::Lives;
use crate::merge::Merge;
use crate::mutant::{Mutant, Switch};
use crate::notary::Notary;
use crate::notes::Note;
use crate::peers::Peers;
use crate::pipeline::Pipeline;
use crate::progress::Positions;
use crate::seal::Seals;
use crate::site::{Fatal, Site, State, Step};

/// Why a data directory does not become a running site.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The directory has no identity.
    #[error(
        "this data directory is empty: `meridian bootstrap` founds a cluster, `meridian join` asks the others for a fresh incarnation"
    )]
    Empty,
    /// The directory of a site that held data.
    #[error(
        "this data directory is that of a site that takes records, and the configuration makes it the witness: a witness starts on an empty one (`meridian join`)"
    )]
    Witness,
    /// The identity is damaged or foreign.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No checkpoint reads.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint's bytes are whole but mean nothing to this version.
    #[error("the checkpoint was written by another version of Meridian: run that one, or one version up")]
    CheckpointVersion,
    /// The WAL is damaged before its end.
    #[error(transparent)]
    Wal(#[from] OpenError),
    /// A log is damaged.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The catalog does not read.
    #[error(transparent)]
    Catalog(#[from] LoadError),
    /// A version that speaks a later protocol wrote to this directory.
    #[error(
        "the WAL holds entries of protocol {theirs}, and this version speaks {ours}: start the version that wrote them, or a newer one"
    )]
    Newer {
        /// The protocol with which they came.
        theirs: u16,
        /// The one spoken here.
        ours: u16,
    },
    /// A record of the WAL is whole but makes no sense here.
    #[error("the WAL holds what cannot follow: {0}")]
    Nonsense(String),
    /// The machine could not take what the WAL holds.
    #[error("{0}")]
    Apply(String),
}

impl RecoverError {
    /// Whether it is only that the disk has no room: when it has, the same directory can be opened.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            RecoverError::Logs(error) => error.is_full(),
            RecoverError::Identity(IdentityError::Disk(error))
            | RecoverError::Checkpoint(CheckpointError::Disk(error))
            | RecoverError::Wal(OpenError::Disk(error)) => error.is_full(),
            _ => false,
        }
    }
}

impl From<Fatal> for RecoverError {
    fn from(fatal: Fatal) -> RecoverError {
        match fatal {
            Fatal::Logs(error) => RecoverError::Logs(error),
            other => RecoverError::Apply(other.to_string()),
        }
    }
}

/// What recovery found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// WAL records read behind the checkpoint.
    pub records: u64,
    /// Whether a write that was under way was cut off.
    pub truncated: Option<Truncation>,
    /// Sentences an operator should read.
    pub remarks: Vec<String>,
}

/// Random numbers that name a fresh data directory, drawn by the shell.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// The directory itself, as others are told it.
    pub storage: StorageId,
    /// The mark of its WAL's frames, told to nobody.
    pub wal_nonce: u128,
}

/// Randomness that a start needs, drawn by the shell.
#[derive(Debug, Clone, Copy)]
pub struct Entropy {
    /// The catalog actor of this process: never used before.
    pub actor: [u8; 16],
}

impl Site {
    /// Founds this site in an empty directory: incarnation 0, open from the start.
    ///
    /// # Errors
    /// [`IdentityError`] if the directory already is somebody, or the disk fails.
    pub fn bootstrap(config: &SiteConfig, fresh: Fresh, disk: &mut dyn Disk) -> Result<(), IdentityError> {
        let incarnation = Some(JournalId::genesis(config.own).incarnation);
        claim(config, fresh, incarnation, disk)
    }

    /// Prepares an empty directory of a known site: it will ask the others for a fresh incarnation.
    ///
    /// # Errors
    /// [`IdentityError`] if the directory already is somebody, or the disk fails.
    pub fn join(config: &SiteConfig, fresh: Fresh, disk: &mut dyn Disk) -> Result<(), IdentityError> {
        claim(config, fresh, None, disk)
    }

    /// Recovers the machine from its data directory.
    ///
    /// # Errors
    /// [`RecoverError`]; nothing was changed on the disk but a torn tail that was cut off.
    pub fn open(
        config: SiteConfig,
        entropy: Entropy,
        notary: Arc<dyn Notary>,
        now: Now,
        disk: &mut dyn Disk,
    ) -> Result<(Site, Recovery), RecoverError> {
        Site::open_with((config, notary), entropy, now, disk, Switch::default())
    }

    /// The same with a bug in it.
    ///
    /// # Errors
    /// As [`Site::open`].
    #[cfg(feature = "mutants")]
    pub fn open_mutant(
        config: SiteConfig,
        entropy: Entropy,
        notary: Arc<dyn Notary>,
        now: Now,
        disk: &mut dyn Disk,
        mutant: Mutant,
    ) -> Result<(Site, Recovery), RecoverError> {
        Site::open_with((config, notary), entropy, now, disk, Switch { mutant: Some(mutant) })
    }

    fn open_with(
        (config, notary): (SiteConfig, Arc<dyn Notary>),
        entropy: Entropy,
        now: Now,
        disk: &mut dyn Disk,
        switch: Switch,
    ) -> Result<(Site, Recovery), RecoverError> {
        let identity = Identity::read(disk)?.ok_or(RecoverError::Empty)?;
        if !switch.has(Mutant::OwnerUnchecked) {
            identity.expect(config.cluster, config.own)?;
        }
        if config.witness == Some(config.own) && identity.incarnation.is_some() {
            return Err(RecoverError::Witness);
        }
        let mut recovery = Recovery::default();
        let found = checkpoint::read(disk, &folder("checkpoint"))?;
        let (position, checkpoint) = match found {
            None => (WalPosition::default(), None),
            Some(found) => {
                recovery.remarks.extend(found.damaged.map(|(file, damage)| {
                    format!("{file} is damaged ({damage}); starting from the checkpoint before it")
                }));
                let found = found.checkpoint;
                let state = Checkpoint::decode(&found.state).ok_or(RecoverError::CheckpointVersion)?;
                (found.position, Some(state))
            }
        };
        let readable = checkpoint.as_ref().map_or(0, |state| state.readable);
        let taken = checkpoint.as_ref().map_or(&[][..], |state| &state.taken);
        copy::put_in_place(disk, taken).map_err(LogsError::from)?;
        let options = WalOptions {
            segment_bytes: config.limits.wal_segment_bytes,
            hot_bytes: config.limits.hot_bytes,
            recycle: config.limits.wal_segments_spare,
            ..WalOptions::new(identity.wal_nonce)
        };
        let opened = Wal::open(disk, &folder("wal"), options, position)?;
        recovery.truncated = opened.truncated;
        let mut site =
            Site::assemble((config, notary), identity.clone(), opened.wal, checkpoint, entropy, disk)?;
        site.state.switch = switch;
        switch.bend(&mut site.merge.order);
        site.state.start.fresh_storage = Some(fresh_storage(&identity, entropy));
        if switch.has(Mutant::ProducersForgotten) {
            site.merge.producers = order::Producers::default();
        }
        if switch.has(Mutant::DecisionsForgotten) {
            site.state.seals.given_up.clear();
        }
        let mut actions = Vec::new();
        site.replay((position, readable), &mut Step { now, disk, out: &mut actions }, &mut recovery)?;
        Ok((site, recovery))
    }

    fn assemble(
        (config, notary): (SiteConfig, Arc<dyn Notary>),
        identity: Identity,
        wal: Wal,
        checkpoint: Option<Checkpoint>,
        entropy: Entropy,
        disk: &mut dyn Disk,
    ) -> Result<Site, RecoverError> {
        let (own, cluster) = (config.own, config.cluster);
        // A directory that has not been told holds nothing yet: who stands here is put right with the first hello.
        let founders = match &identity.founders[..] {
            [] => config.founders(),
            told => told.to_vec(),
        };
        let (bound, actor) = (config.clock_bound_ms, Actor(entropy.actor));
        let period_ms = config.limits.period_ms;
        let mut state = State::default();
        let mut desk = Desk::default();
        let (mut heads, mut lives) = (HeadState::default(), Lives::default());
        let (journals, mut merge, logs, positions, private) = match checkpoint {
            None => {
                let merge =
                    Merge::new(Order::new(own, &founders), Catalog::genesis(cluster, actor), period_ms);
                // What lies there without a checkpoint is built again from the WAL.
                let logs = Logs::restore(disk, &LogsState::default())?;
                (Journals::default(), merge, logs, Positions::default(), Private::default())
            }
            Some(found) => {
                let catalog = Catalog::load(cluster, &found.merge.catalog, actor)?;
                let logs = Logs::restore(disk, &found.logs)?;
                (heads, lives) = (found.heads, found.lives);
                if found.restated_in == identity.journal() {
                    desk.restated.clone_from(&found.restated);
                    desk.restated_durably = found.restated;
                }
                (
                    Journals::restore(found.chains),
                    Merge::restore(found.merge, catalog, period_ms),
                    logs,
                    found.positions,
                    found.private,
                )
            }
        };
        state.granted = private.granted;
        state.checkpoint.frontier = journals.frontier();
        state.seals = Seals::restore(private.seals, &identity);
        for record in state.seals.given_up.values() {
            merge.order.give_up(record.site, record.epoch, record.witness.is_none());
        }
        // Whoever gave the copy that this site stands on may not have known of an end that was known here.
        state.seals.cuts().into_iter().for_each(|(journal, cut)| merge.order.ends_at(journal, cut.next));
        state.unreplicated = private.unreplicated;
        state.lives = Lives::restore(lives, journals.frontier().into_keys());
        state.heads = Heads::restore(heads);
        let clock = HybridClock::new(bound, private.ceiling);
        let pipeline = Pipeline::new(wal);
        let admission = merge.catalog.clone();
        let peers = Peers::default();
        Ok(Site {
            config,
            identity,
            clock,
            journals,
            pipeline,
            merge,
            logs,
            positions,
            admission,
            desk,
            peers,
            notary,
            state,
        })
    }

    /// Takes everything behind the checkpoint again, in the WAL's order.
    fn replay(
        &mut self,
        (mut at, readable): (WalPosition, u64),
        step: &mut Step<'_>,
        recovery: &mut Recovery,
    ) -> Result<(), RecoverError> {
        let mut reserved = Private { ceiling: self.clock.ceiling(), ..self.private() };
        while let Some(records) = self.pipeline.wal.replay(step.disk, &mut at)? {
            for record in records {
                recovery.records += 1;
                if self.take_again(&record, &mut reserved)? {
                    self.record_durable(&record, step)?;
                }
                step.out.clear();
            }
        }
        // What was readable here stays so, whatever state was taken over meanwhile.
        if readable > self.merge.order.position() {
            let released = Record::Note(Note::Released(readable).encode());
            self.record_durable(&released, step)?;
            step.out.clear();
        }
        self.after_replay(reserved.ceiling);
        Ok(())
    }

    /// Notes what a record reserves; returns whether it is to take effect.
    fn take_again(&mut self, record: &Record, reserved: &mut Private) -> Result<bool, RecoverError> {
        match record {
            Record::Entry(entry) => {
                let (theirs, ours) = (entry.head.kind.since(), self.config.protocol);
                if theirs > ours {
                    return Err(RecoverError::Newer { theirs, ours });
                }
                reserved.ceiling = reserved.ceiling.max(entry.head.stamp);
                // What was taken over as a copy may have come before as an entry.
                if entry.head.seq < self.journals.next(entry.head.journal) {
                    return Ok(false);
                }
                let nonsense = |error: ChainError| {
                    RecoverError::Nonsense(format!("journal {}: {error}", entry.head.journal))
                };
                self.journals.take(entry).map_err(nonsense)?;
                Ok(true)
            }
            Record::Note(bytes) => {
                match Note::decode(bytes)
                    .ok_or_else(|| RecoverError::Nonsense("a note of another version".into()))?
                {
                    Note::Ceiling(_) if self.state.switch.has(Mutant::CeilingForgotten) => {}
                    Note::Released(_) if self.state.switch.has(Mutant::ReleaseForgotten) => {}
                    Note::GivenUp(_) if self.state.switch.has(Mutant::DecisionsForgotten) => {}
                    Note::Ceiling(ceiling) => reserved.ceiling = reserved.ceiling.max(ceiling),
                    Note::Released(position) => return Ok(position > self.merge.order.position()),
                    Note::Granted(..)
                    | Note::Certificate(_)
                    | Note::Vouched(_)
                    | Note::GivenUp(_)
                    | Note::Shown(_) => return Ok(true),
                    Note::Vote(journal, vote) => self.vote_found(journal, vote),
                    Note::Ended(journal, cut) => self.end_found(journal, cut),
                    Note::Entered(epoch) => self.entered(epoch),
                    Note::Renewed(site, storage) => {
                        self.state.seals.renew(site, storage);
                    }
                }
                Ok(false)
            }
        }
    }

    fn after_replay(&mut self, floor: Stamp) {
        self.clock = HybridClock::new(self.config.clock_bound_ms, floor);
        if self.state.switch.has(Mutant::PositionsForgotten) {
            self.positions = Positions::default();
        }
        self.desk.intended = self.positions.clone();
        self.state.grown.clear();
        // A checkpoint may have been taken between a deletion's release and the removal of the logs.
        self.state.deleted = true;
        self.rebuild_admission();
        self.count_own();
        let Some(journal) = self.identity.journal() else { return };
        self.merge.order.forget_promise(journal);
        if self.merge.order.parted_first(journal).is_some() {
            self.state.start.parted();
        }
    }
}

/// The name that this directory takes should it turn out to have been put back: never used before, since the actor of a
/// process never was.
fn fresh_storage(identity: &Identity, entropy: Entropy) -> StorageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"meridian storage");
    hasher.update(&identity.storage.0.to_be_bytes());
    hasher.update(&entropy.actor);
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    StorageId(u128::from_be_bytes(bytes))
}

fn claim(
    config: &SiteConfig,
    fresh: Fresh,
    incarnation: Option<Incarnation>,
    disk: &mut dyn Disk,
) -> Result<(), IdentityError> {
    let Fresh { storage, wal_nonce } = fresh;
    let (cluster, site, synced) = (config.cluster, config.own, incarnation.is_some());
    let mut founders = config.founders();
    founders.sort_unstable();
    founders.retain(|_| synced);
    let identity = Identity { cluster, site, storage, wal_nonce, incarnation, synced, founders };
    match Identity::read(disk)? {
        Some(held) => Err(IdentityError::Foreign { site: held.site, cluster: held.cluster }),
        None => Ok(identity.write(disk)?),
    }
}

fn folder(name: &str) -> FileName {
    FileName::root().join(name)
}
