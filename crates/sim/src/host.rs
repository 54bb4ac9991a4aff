//! One machine: its disk, its clocks, and the process on it, if one runs.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};
use entry::{Kind, SiteId, StorageId};
use journal::checkpoint::Draft;
use journal::frame::{Frame, FrameHead};
use journal::{Record, WalOp, WalPosition, WalWrite};
use site::{Event, FileAnswer, FileTask, FileWork, Identity, Site, SiteConfig};

use crate::checkers::{Actor, Verdict, ensure, truth};
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
    /// By how many milliseconds the wall clock is set back.
    pub set_back_ms: i64,
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
    /// While its disk is low: what has come of that.
    pub low: Option<Low>,
}

/// A disk that is low.
#[derive(Debug, Clone, Copy, Default)]
pub struct Low {
    /// Until when.
    pub until_us: u64,
    /// When the process heard of it.
    pub heard_us: Option<u64>,
    /// Bytes that had been taken in by then and are not in the WAL yet.
    pub taken_bytes: usize,
    /// How many WAL writes with notes it has begun since.
    pub noted: u64,
    /// Whether one found no room.
    pub refused: bool,
}

/// After how long on a low disk a process that nothing else troubles has noted something, in microseconds: it reserves its
/// stamps ahead, a few seconds at a time.
const NOTES_WITHIN_US: u64 = 4_000_000;

impl Low {
    /// Another process has to be told.
    pub fn begins_anew(&mut self) {
        *self = Low { until_us: self.until_us, ..Low::default() };
    }

    /// The process has heard of it, with so much taken in before.
    pub fn heard(&mut self, now_us: u64, taken_bytes: usize) {
        if self.heard_us.is_none() {
            (self.heard_us, self.taken_bytes) = (Some(now_us), taken_bytes);
        }
    }

    /// A WAL write begins.
    ///
    /// # Errors
    /// A violation of I-08 if it holds what was taken in since and is no word of the sites among themselves.
    pub fn writes(&mut self, site: SiteId, records: &[Record]) -> Verdict {
        if self.heard_us.is_none() {
            return Ok(());
        }
        self.noted += u64::from(records.iter().any(|record| matches!(record, Record::Note(_))));
        let batches = records.iter().filter_map(truth::entry).filter(|entry| entry.head.kind == Kind::Batch);
        let bytes: usize = batches.map(|entry| entry.bytes.len()).sum();
        ensure(bytes <= self.taken_bytes, "I-08", || {
            let taken_bytes = self.taken_bytes;
            format!(
                "site {site} takes records in though its disk is low: {bytes} bytes, {taken_bytes} had come before"
            )
        })?;
        self.taken_bytes -= bytes;
        Ok(())
    }

    /// The disk has room again: the process has not stood still meanwhile.
    ///
    /// # Errors
    /// A violation of I-08 if it has.
    pub fn ends(&self, site: SiteId, troubled_us: u64, now_us: u64) -> Verdict {
        let Some(heard_us) = self.heard_us else { return Ok(()) };
        let is_long = now_us > heard_us + NOTES_WITHIN_US && troubled_us < heard_us && !self.refused;
        ensure(!is_long || self.noted > 0, "I-08", || {
            format!(
                "site {site} has noted nothing since its disk is low, for {} ms",
                (now_us - heard_us) / 1000
            )
        })
    }
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
    /// The longest bulk message that went there.
    pub longest: BTreeMap<SiteId, usize>,
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
    /// Whether the step that it has just made is its last.
    pub halts: bool,
    /// The protocol that it speaks.
    pub protocol: u16,
    /// The protocols that others said they speak.
    pub told: BTreeMap<SiteId, u16>,
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
    pub fn new(site: Site, protocol: u16) -> Process {
        Process {
            site,
            protocol,
            told: BTreeMap::new(),
            links: BTreeMap::new(),
            handed: BTreeMap::new(),
            longest: BTreeMap::new(),
            next_job: 1,
            jobs: BTreeMap::new(),
            inbox: Vec::new(),
            files_until_us: 0,
            tick_us: None,
            paused_until_us: 0,
            dies_after: None,
            halts: false,
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
    if disk.capacity_bytes == u64::MAX {
        return Ok(());
    }
    let free_bytes = disk.capacity_bytes.saturating_sub(disk.used_bytes());
    if free_bytes < RESERVE_BYTES { Err(DiskError::Full(FileName::root())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clock::Stamp;
    use entry::{BatchBody, Body, ChainHash, Entry, JournalId, MemberEpoch, SiteId, TopicId};
    use journal::Record;
    use uuid::Uuid;

    use super::{Low, NOTES_WITHIN_US};

    #[test]
    fn who_takes_records_in_or_stands_still_though_its_disk_is_low_is_flagged() {
        let (site, mut low) = (SiteId(1), Low::default());
        let body =
            BatchBody { topic: TopicId(Uuid::nil()), partition: 0, records: Bytes::from_static(b"many") };
        let entry = Entry {
            journal: JournalId::genesis(site),
            seq: 0,
            stamp: Stamp::from_raw(1),
            epoch: MemberEpoch::GENESIS,
            previous: ChainHash::START,
            body: Body::Batch(body),
        };
        let entry = entry.encode().unwrap();
        low.heard(0, entry.bytes.len());
        let ends = |low: &Low| low.ends(site, 0, NOTES_WITHIN_US + 2).map_err(|it| it.invariant);
        let mut late = Low::default();
        late.heard(1, 0);
        assert_eq!(ends(&late), Err("I-08"));
        late.writes(site, &[Record::Note(Bytes::new())]).unwrap();
        assert_eq!(ends(&late), Ok(()));
        let records = [Record::Entry(entry)];
        assert_eq!(low.writes(site, &records), Ok(()), "it had come before");
        assert_eq!(low.writes(site, &records).unwrap_err().invariant, "I-08");
    }
}
