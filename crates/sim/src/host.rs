//! One machine: its disk, its clocks, and the process on it, if one runs.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};
use entry::{SiteId, StorageId};
use journal::checkpoint::Draft;
use journal::frame::{Frame, FrameHead};
use journal::{Record, WalOp, WalPosition, WalWrite};
use site::{Event, FileAnswer, FileTask, FileWork, Identity, Site, SiteConfig};

use crate::checkers::Actor;
use crate::clock::SimClock;
use crate::disk::SimDisk;

/// Room that is left for the logs when nothing more is taken in.
pub const RESERVE_BYTES: u64 = 512 << 10;

/// A machine.
#[derive(Debug)]
pub struct Host {
    /// What its site is told.
    pub config: SiteConfig,
    /// Its disk.
    pub disk: SimDisk,
    /// Its clocks.
    pub clock: SimClock,
    /// Its data directory's id.
    pub storage: StorageId,
    /// Which process this is, counted.
    pub life: u64,
    /// What runs on it.
    pub process: Option<Process>,
    /// Whether the wall clock has jumped ahead while this process ran.
    pub jumped: bool,
    /// Whether the disk was put back to what it was some time before.
    pub put_back: bool,
    /// Whether its disk is a new one, and it was not seen back in the order since.
    pub disk_is_new: bool,
    /// Whether a copy was put in force since the last start.
    pub took_over: bool,
    /// The disk as it was some time ago: for a mutant.
    pub image: Option<SimDisk>,
    /// The last commit that was given to the disk and is not known to be durable.
    pub flight: Option<Flight>,
    /// Microseconds that a disk operation takes at least.
    pub disk_us: u64,
    /// When something last troubled this machine itself, or will have done so.
    pub troubled_us: u64,
    /// Whether it is dead for good.
    pub is_buried: bool,
    /// Whether the operator keeps it switched off.
    pub is_off: bool,
    /// Whether a sync failed under this process, which may acknowledge nothing any more.
    pub sync_failed: bool,
    /// When it passes on what others never wrote.
    pub forges_us: Range<u64>,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// The machine.
    pub site: Site,
    /// The connection to each peer that this end knows of.
    pub links: BTreeMap<SiteId, u64>,
    /// Bytes of bulk that the connection to a site has been given and that it has not told to have left.
    pub handed: BTreeMap<SiteId, usize>,
    /// The number of the next job.
    pub next_job: u64,
    /// Disk work under way.
    pub jobs: BTreeMap<u64, Job>,
    /// What came and was not looked at yet.
    pub inbox: Vec<Event>,
    /// When the last task on files will be done: they are done in order.
    pub files_until_us: u64,
    /// When a tick is due that was scheduled already.
    pub tick_us: Option<u64>,
    /// Until when the process stands still.
    pub paused_until_us: u64,
    /// After how many actions of one step it dies.
    pub dies_after: Option<usize>,
}

/// Disk work: steps, and what is reported at the end.
#[derive(Debug)]
pub struct Job {
    /// What is left to do.
    pub steps: VecDeque<Step>,
    /// What is said when all is done.
    pub done: Event,
    /// What is said when there was no room.
    pub full: Event,
    /// What the WAL write holds.
    pub flight: Option<Flight>,
}

/// A commit on its way to the platter.
#[derive(Debug, Clone)]
pub struct Flight {
    /// The file.
    pub file: FileName,
    /// Where in it.
    pub offset: u64,
    /// The frame.
    pub bytes: Bytes,
    /// What it holds.
    pub records: Vec<Record>,
}

/// One step of disk work.
#[derive(Debug, Clone)]
pub enum Step {
    /// An operation of the WAL.
    Wal(WalOp),
    /// A sync of a file that a checkpoint relies on.
    Sync(FileName),
    /// The checkpoint itself, beside the ones in use.
    Draft(WalPosition, Bytes),
    /// The checkpoint's sync, and its name.
    Commit(Option<Draft>),
    /// A task on files.
    Files(FileWork),
}

impl Flight {
    /// What a WAL write holds.
    #[must_use]
    pub fn of(write: &WalWrite) -> Option<Flight> {
        let (file, offset, chunks) = write.ops.iter().find_map(|op| match op {
            WalOp::WriteAt { file, offset, chunks } => Some((file, offset, chunks)),
            _ => None,
        })?;
        let bytes = Bytes::from(chunks.concat());
        let head = FrameHead::decode(&bytes).ok()?;
        let frame = Frame::decode(head, bytes.slice(..head.total_bytes())).ok()?;
        let records = frame.records().ok()?;
        Some(Flight { file: file.clone(), offset: *offset, bytes: frame.bytes, records })
    }
}

impl Host {
    /// Whether the disk counts for nothing yet, or what was written since it was put in is in no order yet: as long as
    /// that is so, the loss of it is not over.
    pub fn misses_its_disk(&mut self) -> bool {
        self.disk_is_new &= !self.takes_part();
        self.disk_is_new || !self.votes()
    }

    /// Whether the site runs, counts and writes a journal that takes part in the order, as far as it knows.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.process.as_ref().is_some_and(|process| {
            let site = &process.site;
            site.identity().synced && site.is_writing() && !site.status(0).waits_for_opening
        })
    }

    /// Whether the disk counts for quorums.
    #[must_use]
    pub fn votes(&self) -> bool {
        matches!(Identity::read(&self.disk), Ok(Some(identity)) if identity.synced)
    }

    /// Who acts here.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let journal = self.process.as_ref().and_then(|process| process.site.identity().journal());
        let storage = self.process.as_ref().map_or(self.storage, |process| process.site.identity().storage);
        Actor { site: self.config.own, storage, journal }
    }

    /// Carries out the next step of a job. `Ok(true)` when nothing is left of it.
    pub fn work(&mut self, id: u64, synced: bool) -> Result<bool, DiskError> {
        let Some(process) = &mut self.process else { return Ok(false) };
        let Some(job) = process.jobs.get_mut(&id) else { return Ok(false) };
        let Some(step) = job.steps.pop_front() else { return Ok(true) };
        match &step {
            Step::Wal(WalOp::Sync { .. }) => {}
            Step::Wal(_) | Step::Draft(..) => keep_reserve(&self.disk)?,
            Step::Sync(_) if !synced => return Ok(job.steps.is_empty()),
            Step::Files(work) if work.writes() => keep_reserve(&self.disk)?,
            Step::Sync(_) | Step::Commit(_) | Step::Files(_) => {}
        }
        job.step(step, &mut self.disk)?;
        self.took_over |= matches!(job.done, Event::FilesDone { answer: FileAnswer::Installed, .. });
        Ok(job.steps.is_empty())
    }

    /// Whether what a job was to make durable is on the platter.
    #[must_use]
    pub fn is_durable(&self, flight: &Flight) -> bool {
        self.disk.is_durable(&flight.file, flight.offset, &flight.bytes)
    }
}

impl Process {
    /// A process that has just begun.
    #[must_use]
    pub fn new(site: Site) -> Process {
        Process {
            site,
            links: BTreeMap::new(),
            handed: BTreeMap::new(),
            next_job: 1,
            jobs: BTreeMap::new(),
            inbox: Vec::new(),
            files_until_us: 0,
            tick_us: None,
            paused_until_us: 0,
            dies_after: None,
        }
    }
}

impl Job {
    /// Carries out one step, already taken off the list, on a disk.
    ///
    /// # Errors
    /// [`DiskError`], after which nothing more of this job is to be done.
    pub fn step(&mut self, step: Step, disk: &mut dyn Disk) -> Result<(), DiskError> {
        match step {
            Step::Wal(op) => op.carry_out(disk)?,
            Step::Sync(file) => match disk.sync(&file) {
                Err(DiskError::Missing(_)) => {}
                other => other?,
            },
            Step::Draft(position, state) => {
                let draft = Draft::write(disk, &folder("checkpoint"), position, &state)?;
                if let Some(Step::Commit(slot)) = self.steps.front_mut() {
                    *slot = Some(draft);
                }
            }
            Step::Commit(draft) => {
                let draft = draft.expect("a draft was written in the step before");
                disk.sync(&draft.file())?;
                let position = draft.commit(disk)?;
                if let Event::Checkpointed { drop_before, .. } = &mut self.done {
                    *drop_before = Some(position);
                }
            }
            Step::Files(work) => match work.carry_out(disk) {
                FileAnswer::Failed(error) if work.writes() => return Err(error),
                answered => {
                    if let Event::FilesDone { answer, .. } = &mut self.done {
                        *answer = answered;
                    }
                }
            },
        }
        Ok(())
    }

    /// A write to the WAL.
    #[must_use]
    pub fn write(write: WalWrite) -> Job {
        let flight = Flight::of(&write);
        Job {
            steps: write.ops.into_iter().map(Step::Wal).collect(),
            done: Event::Written { id: write.id },
            full: Event::WriteRefused { id: write.id },
            flight,
        }
    }

    /// A WAL file made ahead of its use.
    #[must_use]
    pub fn prepare(op: WalOp) -> Job {
        Job {
            steps: VecDeque::from([Step::Wal(op)]),
            done: Event::Prepared { done: true },
            full: Event::Prepared { done: false },
            flight: None,
        }
    }

    /// A task on files.
    #[must_use]
    pub fn files(task: FileTask) -> Job {
        let full = FileAnswer::Failed(DiskError::Full(FileName::root()));
        Job {
            steps: VecDeque::from([Step::Files(task.work)]),
            done: Event::FilesDone { id: task.id, answer: FileAnswer::Written },
            full: Event::FilesDone { id: task.id, answer: full },
            flight: None,
        }
    }

    /// A checkpoint.
    #[must_use]
    pub fn checkpoint(id: u64, sync: Vec<FileName>, position: WalPosition, state: Bytes) -> Job {
        let mut steps: VecDeque<Step> = sync.into_iter().map(Step::Sync).collect();
        steps.push_back(Step::Draft(position, state));
        steps.push_back(Step::Commit(None));
        Job {
            steps,
            done: Event::Checkpointed { id, drop_before: None },
            full: Event::Checkpointed { id, drop_before: None },
            flight: None,
        }
    }
}

/// A folder of the data directory.
#[must_use]
pub fn folder(name: &str) -> FileName {
    FileName::root().join(name)
}

/// The shell takes nothing in when little room is left: what it has taken in needs some in the logs.
fn keep_reserve(disk: &SimDisk) -> Result<(), DiskError> {
    let free_bytes = disk.capacity_bytes.saturating_sub(disk.used_bytes());
    if free_bytes < RESERVE_BYTES { Err(DiskError::Full(FileName::root())) } else { Ok(()) }
}
