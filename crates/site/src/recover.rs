//! From a data directory to a machine: identity, checkpoint, then the WAL from there, through the same code as live.

use catalog::{Catalog, CatalogError};
use clock::{HybridClock, Now, Stamp};
use disk::{Disk, FileName};
use entry::{Encoded, JournalId, StorageId};
use journal::checkpoint::{self, CheckpointError};
use journal::{Record, Truncation, Wal, WalError, WalOptions, WalPosition};
use order::Order;
use partition::{Logs, LogsError};
use thiserror::Error;

use crate::checkpoint::{Checkpoint, Private};
use crate::config::SiteConfig;
use crate::desk::{Desk, ProducerIds};
use crate::identity::{Identity, IdentityError};
use crate::journals::Journals;
use crate::merge::Merge;
use crate::notes::Note;
use crate::peers::Peers;
use crate::pipeline::{Pipeline, Staged};
use crate::progress::Positions;
use crate::site::{Fatal, Site, State, Step};

/// Why a data directory does not become a running site.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The directory has no identity.
    #[error("this data directory is empty: `meridian bootstrap` founds a cluster, `meridian join` asks the others for a fresh incarnation")]
    Empty,
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
    Wal(#[from] WalError),
    /// A log is damaged.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The catalog does not read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A record of the WAL is whole but makes no sense here.
    #[error("the WAL holds what cannot follow: {0}")]
    Nonsense(String),
    /// The machine could not take what the WAL holds.
    #[error("{0}")]
    Apply(String),
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
    pub fn bootstrap(config: &SiteConfig, storage: StorageId, disk: &mut dyn Disk) -> Result<(), IdentityError> {
        let incarnation = Some(JournalId::genesis(config.own).incarnation);
        claim(Identity { cluster: config.cluster, site: config.own, storage, incarnation }, disk)
    }

    /// Prepares an empty directory of a known site: it will ask the others for a fresh incarnation.
    ///
    /// # Errors
    /// [`IdentityError`] if the directory already is somebody, or the disk fails.
    pub fn join(config: &SiteConfig, storage: StorageId, disk: &mut dyn Disk) -> Result<(), IdentityError> {
        claim(Identity { cluster: config.cluster, site: config.own, storage, incarnation: None }, disk)
    }

    /// Recovers the machine from its data directory.
    ///
    /// # Errors
    /// [`RecoverError`]; nothing was changed on the disk but a torn tail that was cut off.
    pub fn open(
        config: SiteConfig,
        entropy: Entropy,
        now: Now,
        disk: &mut dyn Disk,
    ) -> Result<(Site, Recovery), RecoverError> {
        let identity = Identity::read(disk)?.ok_or(RecoverError::Empty)?;
        identity.expect(config.cluster, config.own)?;
        let mut recovery = Recovery::default();
        let found = checkpoint::read(disk, &folder("checkpoint"))?;
        let (position, checkpoint) = match found {
            None => (WalPosition::default(), None),
            Some(found) => {
                recovery.remarks.extend(found.remark.clone());
                let state = postcard::from_bytes(&found.state).map_err(|_| RecoverError::CheckpointVersion)?;
                (found.position, Some(state))
            }
        };
        let options = WalOptions {
            segment_bytes: config.limits.wal_segment_bytes,
            hot_bytes: config.limits.hot_bytes,
            storage: identity.storage,
        };
        let opened = Wal::open(disk, &folder("wal"), options, position)?;
        recovery.truncated = opened.truncated;
        let mut site = Site::assemble(config, identity, opened.wal, checkpoint, entropy, disk)?;
        site.state.checkpoint.last = position;
        site.replay(opened.records, now, disk, &mut recovery)?;
        Ok((site, recovery))
    }

    fn assemble(
        config: SiteConfig,
        identity: Identity,
        wal: Wal,
        checkpoint: Option<Checkpoint>,
        entropy: Entropy,
        disk: &mut dyn Disk,
    ) -> Result<Site, RecoverError> {
        let (own, cluster) = (config.own, config.cluster);
        let founders: Vec<_> = config.members.iter().map(|member| member.site).collect();
        let bound = config.clock_bound_ms;
        let mut state = State::default();
        let mut desk = Desk::default();
        let (journals, merge, logs, positions, private) = match checkpoint {
            None => {
                let merge = Merge::new(Order::new(own, &founders), Catalog::genesis(cluster, entropy.actor));
                (Journals::default(), merge, Logs::new(), Positions::default(), Private::default())
            }
            Some(found) => {
                let catalog = Catalog::load(cluster, &found.merge.catalog, entropy.actor)?;
                let logs = Logs::restore(disk, found.logs)?;
                desk.restated = found.restated;
                (Journals::restore(found.chains), Merge::restore(found.merge, catalog), logs, found.positions, found.private)
            }
        };
        state.granted = private.granted;
        desk.producer_ids = ProducerIds { next: 0, reserved: private.producer_ids, asked: 0 };
        let clock = HybridClock::new(bound, private.ceiling);
        let pipeline = Pipeline::new(wal);
        let admission = merge.catalog.fork(entropy.actor);
        let peers = Peers::default();
        Ok(Site { config, identity, clock, journals, pipeline, merge, logs, positions, admission, desk, peers, state })
    }

    fn replay(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        now: Now,
        disk: &mut dyn Disk,
        recovery: &mut Recovery,
    ) -> Result<(), RecoverError> {
        let mut floor = self.clock.ceiling();
        let mut ids = self.desk.producer_ids.reserved;
        let mut actions = Vec::new();
        for record in records {
            recovery.records += 1;
            let staged = self.staged_again(record, &mut floor, &mut ids)?;
            let mut step = Step { now, disk, out: &mut actions };
            if let Some(staged) = staged {
                self.take_durable(staged, &mut step).map_err(|fatal: Fatal| RecoverError::Apply(fatal.to_string()))?;
            }
            actions.clear();
        }
        self.after_replay(floor, ids);
        Ok(())
    }

    /// A record of the WAL, as it was when it waited for its write.
    fn staged_again(
        &mut self,
        record: Record,
        floor: &mut Stamp,
        ids: &mut u32,
    ) -> Result<Option<Staged>, RecoverError> {
        match record {
            Record::Entry(entry) => {
                let journal = entry.head.journal;
                if entry.head.seq < self.journals.next(journal) {
                    return Ok(None);
                }
                *floor = (*floor).max(entry.head.stamp);
                let nonsense = |what: String| RecoverError::Nonsense(format!("journal {journal}: {what}"));
                let info = header_of(&entry).map_err(nonsense)?;
                self.journals.take(&entry).map_err(|error| nonsense(error.to_string()))?;
                Ok(Some(Staged::Entry(entry, info)))
            }
            Record::Note(bytes) => {
                let note = Note::decode(&bytes).ok_or_else(|| RecoverError::Nonsense("a note that does not read".into()))?;
                match note {
                    Note::Ceiling(ceiling) => *floor = (*floor).max(ceiling),
                    Note::ProducerIds(upto) => *ids = (*ids).max(upto),
                    Note::Released(position) if position <= self.merge.order.position() => return Ok(None),
                    Note::Released(_) | Note::Granted(..) => return Ok(Some(Staged::Note(note))),
                }
                Ok(None)
            }
        }
    }

    fn after_replay(&mut self, floor: Stamp, ids: u32) {
        self.clock = HybridClock::new(self.config.clock_bound_ms, floor);
        self.desk.producer_ids = ProducerIds { next: ids, reserved: ids, asked: ids };
        self.desk.intended = self.positions.clone();
        self.state.grown.clear();
        self.rebuild_admission();
        self.count_own();
        if let Some(journal) = self.identity.journal()
            && self.merge.order.parted_first(journal).is_some()
        {
            self.state.start.parted();
        }
    }
}

fn header_of(entry: &Encoded) -> Result<Option<batch::BatchInfo>, String> {
    match entry.body().map_err(|error| error.to_string())? {
        entry::Body::Batch(body) => {
            batch::parse(&body.records).map(|header| Some(header.info())).map_err(|error| error.to_string())
        }
        _ => Ok(None),
    }
}

fn claim(identity: Identity, disk: &mut dyn Disk) -> Result<(), IdentityError> {
    match Identity::read(disk)? {
        Some(held) => Err(IdentityError::Foreign { site: held.site, cluster: held.cluster }),
        None => Ok(identity.write(disk)?),
    }
}

fn folder(name: &str) -> FileName {
    FileName::root().join(name)
}
