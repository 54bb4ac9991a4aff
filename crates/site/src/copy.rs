//! Taking over: a site that lacks what all others have dropped from their WALs copies a checkpoint and the files that it
//! relies on, then follows as usual.
//!
//! Every site that holds as much shows the same logs, so a copy is another's state with this site's own privacy: the
//! ceiling, grants, storage id and incarnation here stay what they are, and all entries that this site still has in its
//! WAL are replayed on top. So nothing that was held here is ever held less, and a copy is only put in force if it joins
//! up with that WAL without a gap. Putting it in force is one new checkpoint, and a start from it: there is no second
//! way into the machine.
//!
//! Files arrive in chunks, a window of them under way at a time, into the folder `copy`, where a cut or a restart finds
//! them again; what is found is written once more, since a sync may have failed that nobody remembers. A file counts when it
//! is synced, every checksum in it is right, and its digest is the donor's. The donor is whoever answers first, which is the
//! nearest; anyone who fails is passed over for a while.
//!
//! How a copy is put in force is in `copy/install.rs`.

mod install;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use disk::FileName;
use entry::{JournalId, Seq, SiteId};
use journal::{Chain, checkpoint};
use serde::Serialize;

use crate::action::Action;
use crate::checkpoint::Checkpoint;
use crate::donor::Ask;
use crate::files::{FileAnswer, FileWork, Purpose, refuse_failure};
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::wire::{Chunk, CopyMessage, Extent, Message};

pub(crate) use install::put_in_place;

/// Files that may be waited for at a time.
const FILES_MAX: usize = 256;
/// How often it is asked who has a checkpoint, in microseconds.
const ASK_US: u64 = 1_000_000;
/// A donor that has sent nothing for this long is given up, in microseconds.
const STALLED_US: u64 = 10_000_000;
/// A donor that failed, or was of no use, is not asked again for this long, in microseconds.
const PASSED_OVER_US: u64 = 5_000_000;
/// How often one file is fetched before its donor is given up.
const TRIES_MAX: u8 = 3;

/// What is taken over, and how far that has come.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    /// Who has dropped what of a journal is not here, and from where on it still has that.
    dropped: BTreeMap<(JournalId, SiteId), Seq>,
    /// Journals of which nobody in touch has more that has not dropped what is not here.
    lacking: BTreeSet<JournalId>,
    phase: Phase,
    /// Until when a donor is not asked again, in monotonic microseconds.
    passed_over: BTreeMap<SiteId, u64>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    Asking {
        asked_us: Option<u64>,
    },
    Fetching(Box<Fetch>),
    Installing {
        done: bool,
        said: bool,
    },
}

#[derive(Debug)]
struct Fetch {
    donor: SiteId,
    /// The donor's state, once it is here.
    state: Option<Checkpoint>,
    files: BTreeMap<FileName, Fetched>,
    /// Files of which something is still to be asked for, in this order.
    queue: VecDeque<FileName>,
    asked: BTreeMap<Chunk, ()>,
    asked_bytes: usize,
    /// Files whose digest was asked for and that are not done.
    under_way: usize,
    /// When something last came, in monotonic microseconds.
    moved_us: u64,
    said_tenths: u64,
}

/// One file on its way, by the name that it has at the donor.
#[derive(Debug, Default)]
struct Fetched {
    bytes: u64,
    /// How much of it was asked for, and how much is written.
    asked: u64,
    written: u64,
    /// How much of it was here when the copy began.
    found: u64,
    asked_sum: bool,
    digest: Option<[u8; 32]>,
    summing: bool,
    done: bool,
    tries: u8,
}

/// How far a copy has come.
#[derive(Debug, Clone, Serialize)]
pub struct CopyStatus {
    /// From whom, once somebody was found.
    pub from: Option<SiteId>,
    /// Files wanted, and how many of them are here and verified.
    pub files: usize,
    /// See `files`.
    pub files_done: usize,
    /// Bytes wanted, and how many of them are here.
    pub bytes: u64,
    /// See `bytes`.
    pub bytes_done: u64,
}

/// Where files wait until they are whole.
pub(crate) fn staged(file: &FileName) -> FileName {
    folder("copy").join(file.as_str())
}

fn folder(name: &str) -> FileName {
    FileName::root().join(name)
}

/// What is under the donor's state's name here: it differs from donor to donor, so it is fetched under one of ours.
fn state_file() -> FileName {
    folder("copy").join("checkpoint")
}

impl Copying {
    /// Whether nothing is taken over, so that this site can give.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether entries of this journal are of no use before a copy was taken over.
    pub(crate) fn lacks(&self, journal: JournalId) -> bool {
        self.lacking.contains(&journal)
    }

    /// Whether this site has dropped what is not here of this journal.
    pub(crate) fn has_dropped(&self, site: SiteId, journal: JournalId) -> bool {
        self.dropped.contains_key(&(journal, site))
    }

    /// Whether files are on their way, or being put in force.
    fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Fetching(_) | Phase::Installing { .. })
    }

    /// Whether a copy is being put in force.
    pub(crate) fn is_installing(&self) -> bool {
        matches!(self.phase, Phase::Installing { .. })
    }

    fn fetch(&mut self) -> Option<&mut Fetch> {
        match &mut self.phase {
            Phase::Fetching(fetch) => Some(fetch),
            _ => None,
        }
    }

    fn status(&self) -> Option<CopyStatus> {
        let fetch = match &self.phase {
            Phase::Idle => return None,
            Phase::Fetching(fetch) => Some(fetch),
            _ => None,
        };
        let files = || fetch.iter().flat_map(|fetch| fetch.files.values());
        Some(CopyStatus {
            from: fetch.map(|fetch| fetch.donor),
            files: files().count(),
            files_done: files().filter(|file| file.done).count(),
            bytes: files().map(|file| file.bytes).sum(),
            bytes_done: files().map(|file| file.written).sum(),
        })
    }
}

impl Site {
    /// How far a copy has come, if one is being taken over.
    #[must_use]
    pub fn copy_status(&self) -> Option<CopyStatus> {
        self.state.copying.status()
    }

    /// A peer speaks of copies.
    pub(crate) fn copy_message(
        &mut self,
        from: SiteId,
        message: CopyMessage,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        match message {
            CopyMessage::Dropped { journal, first } => self.heard_dropped(from, journal, first),
            CopyMessage::WhoHas(least) => self.who_has(from, &least, step)?,
            CopyMessage::Offer(extent) => self.offered(from, &extent, step)?,
            CopyMessage::Want(chunk) => self.asked(from, Ask::Want(chunk)),
            CopyMessage::Sum(extent) => self.asked(from, Ask::Sum(extent)),
            CopyMessage::Here { chunk, bytes } => self.chunk_came(from, &chunk, bytes, step),
            CopyMessage::Summed { extent, digest } => self.sum_came(from, &extent, digest, step),
        }
        Ok(())
    }

    fn heard_dropped(&mut self, from: SiteId, journal: JournalId, first: Seq) {
        if self.journals.next(journal) < first {
            self.state.copying.dropped.insert((journal, from), first);
        }
    }

    /// What only a copy brings: of which somebody has dropped what is not here, and nobody else in touch has it. Once files are
    /// on their way, whoever turns up changes nothing: half a copy is worth more than what may follow.
    fn lacking(&self, now_us: u64) -> BTreeSet<JournalId> {
        let copying = &self.state.copying;
        let dropped = copying.dropped.keys().map(|(journal, _)| *journal);
        if copying.is_under_way() {
            return dropped.filter(|journal| copying.lacking.contains(journal)).collect();
        }
        dropped.filter(|journal| !self.is_to_be_had(*journal, now_us)).collect()
    }

    /// Moves a copy on: asks who has one, asks for more, gives a donor up.
    pub(crate) fn advance_copy(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        let (journals, now_us) = (&self.journals, step.now.mono_us);
        self.state.copying.dropped.retain(|(journal, _), first| journals.next(*journal) < *first);
        self.state.copying.lacking = self.lacking(now_us);
        match &mut self.state.copying.phase {
            Phase::Idle if self.state.copying.lacking.is_empty() => {}
            Phase::Idle => {
                let text = "the other sites have dropped entries that are not here: taking over a copy";
                step.out.push(Action::Remark(text.into()));
                self.state.copying.phase = Phase::Asking { asked_us: None };
            }
            _ if self.state.copying.lacking.is_empty() => self.not_needed(step)?,
            Phase::Asking { asked_us } => {
                if asked_us.is_none_or(|at| now_us.saturating_sub(at) >= ASK_US) {
                    *asked_us = Some(now_us);
                    self.ask_for_donors(step);
                }
            }
            Phase::Fetching(fetch) => {
                let (donor, stalled) = (fetch.donor, now_us.saturating_sub(fetch.moved_us) >= STALLED_US);
                if stalled || !self.peers.is_greeted(donor) {
                    self.give_up(donor, "it is not heard any more", step);
                } else {
                    self.ask_for_more(step);
                }
            }
            Phase::Installing { .. } => {}
        }
        Ok(())
    }

    /// What was lacking came in another way.
    fn not_needed(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.state.copying.phase = Phase::Idle;
        let left = step.disk.list(&folder("copy"))?;
        left.iter().try_for_each(|file| step.disk.remove(file))?;
        Ok(())
    }

    fn ask_for_donors(&mut self, step: &mut Step<'_>) {
        let (now_us, least) = (step.now.mono_us, self.least_of_use());
        self.state.copying.passed_over.retain(|_, until| *until > now_us);
        let passed_over = &self.state.copying.passed_over;
        for site in self.peers.greeted().filter(|site| !passed_over.contains_key(site)) {
            step.out.push(control(site, Message::Copy(CopyMessage::WhoHas(least.clone()))));
        }
    }

    /// Somebody has a checkpoint; the first who says so is the nearest.
    fn offered(&mut self, from: SiteId, extent: &Extent, step: &mut Step<'_>) -> Result<(), Fatal> {
        let asking = matches!(self.state.copying.phase, Phase::Asking { .. });
        let Some(file) = crate::wire::shared(&extent.file).filter(|_| asking) else { return Ok(()) };
        // Another donor's state is not this one's, even where both have one name.
        step.disk.remove(&state_file())?;
        let files = BTreeMap::from([(file.clone(), Fetched { bytes: extent.bytes, ..Fetched::default() })]);
        self.state.copying.phase = Phase::Fetching(Box::new(Fetch {
            donor: from,
            state: None,
            files,
            queue: VecDeque::from([file]),
            asked: BTreeMap::new(),
            asked_bytes: 0,
            under_way: 0,
            moved_us: step.now.mono_us,
            said_tenths: 0,
        }));
        Ok(())
    }

    /// Asks for chunks and digests, as much as may be under way.
    fn ask_for_more(&mut self, step: &mut Step<'_>) {
        let chunk_bytes = self.config.limits.message_bytes.min(crate::wire::CHUNK_BYTES_MAX as usize);
        let window_bytes = self.config.limits.peer_window_bytes / 2;
        let Some(fetch) = self.state.copying.fetch() else { return };
        while fetch.under_way < FILES_MAX
            && (fetch.asked_bytes == 0 || fetch.asked_bytes + chunk_bytes <= window_bytes)
            && let Some(name) = fetch.queue.front().cloned()
        {
            let Some(file) = fetch.files.get_mut(&name) else { return };
            let left = file.bytes.saturating_sub(file.asked);
            let message = if left > 0 {
                let bytes = u32::try_from(left.min(chunk_bytes as u64)).expect("at most a chunk");
                let chunk = Chunk { file: name.as_str().to_owned(), offset: file.asked, bytes };
                file.asked += u64::from(bytes);
                fetch.asked_bytes += bytes as usize;
                fetch.asked.insert(chunk.clone(), ());
                CopyMessage::Want(chunk)
            } else {
                file.asked_sum = true;
                fetch.queue.pop_front();
                fetch.under_way += 1;
                CopyMessage::Sum(Extent { file: name.as_str().to_owned(), bytes: file.bytes })
            };
            step.out.push(control(fetch.donor, Message::Copy(message)));
        }
    }

    /// A chunk came: it goes to the disk.
    fn chunk_came(&mut self, from: SiteId, chunk: &Chunk, bytes: Bytes, step: &mut Step<'_>) {
        if self.chunk_for_repair(from, chunk, &bytes, step) {
            return;
        }
        let Some(fetch) = self.state.copying.fetch().filter(|fetch| fetch.donor == from) else { return };
        let Ok(name) = FileName::new(&chunk.file) else { return };
        if fetch.asked.remove(chunk).is_none() {
            return;
        }
        fetch.asked_bytes -= bytes.len();
        fetch.moved_us = step.now.mono_us;
        let file = place_of(&name);
        let work = FileWork::Write { file, offset: chunk.offset, bytes };
        self.state.tasks.order(Purpose::Copy(name), work, step);
    }

    /// The donor has summed a file up, or it has none such.
    fn sum_came(&mut self, from: SiteId, extent: &Extent, digest: Option<[u8; 32]>, step: &mut Step<'_>) {
        if self.donor_proved(from, extent, digest, step.now.mono_us) {
            return;
        }
        let Some(fetch) = self.state.copying.fetch().filter(|fetch| fetch.donor == from) else { return };
        let Ok(name) = FileName::new(&extent.file) else { return };
        let Some(file) = fetch.files.get_mut(&name) else { return };
        fetch.moved_us = step.now.mono_us;
        match digest {
            None => self.give_up(from, &format!("its {name} is gone or damaged"), step),
            Some(digest) if file.asked_sum && extent.bytes == file.bytes => {
                file.digest = Some(digest);
                self.sum_up(&name, step);
            }
            Some(_) => {}
        }
    }

    /// A file of which everything is here is made durable and looked at.
    fn sum_up(&mut self, name: &FileName, step: &mut Step<'_>) {
        let Some(file) = self.state.copying.fetch().and_then(|fetch| fetch.files.get_mut(name)) else {
            return;
        };
        if file.written < file.bytes || file.digest.is_none() || file.summing || file.done {
            return;
        }
        file.summing = true;
        let work = FileWork::Sum { file: place_of(name), bytes: file.bytes, sync: Some(file.found) };
        self.state.tasks.order(Purpose::Copy(name.clone()), work, step);
    }

    /// Something was done to a file of a copy.
    pub(crate) fn copy_file_done(
        &mut self,
        name: &FileName,
        answer: FileAnswer,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        let now_us = step.now.mono_us;
        // What belongs to a copy that was given up is of no interest, but for a disk that failed.
        let Some(fetch) = self.state.copying.fetch() else { return refuse_failure(answer) };
        let donor = fetch.donor;
        let Some(file) = fetch.files.get_mut(name) else { return refuse_failure(answer) };
        match answer {
            FileAnswer::Written => {
                file.written = step.disk.len(&place_of(name))?.unwrap_or(0).min(file.asked);
                self.sum_up(name, step);
            }
            FileAnswer::Summed(proven) if file.summing => {
                file.summing = false;
                fetch.under_way -= 1;
                if proven.damaged.is_empty() && Some(proven.digest) == file.digest {
                    file.done = true;
                    fetch.moved_us = now_us;
                    return self.file_is_here(step);
                }
                file.tries += 1;
                if file.tries >= TRIES_MAX {
                    self.give_up(donor, &format!("its {name} is not what it says"), step);
                } else {
                    *file = Fetched { bytes: file.bytes, tries: file.tries, ..Fetched::default() };
                    fetch.queue.push_back(name.clone());
                    step.disk.remove(&place_of(name))?;
                }
            }
            FileAnswer::Failed(error) if error.is_full() => {
                self.give_up(donor, "there is no room for it here", step);
            }
            other => return refuse_failure(other),
        }
        Ok(())
    }

    /// One more file is here: the donor's state says what else is needed; when all of that is here, it is put in force.
    fn file_is_here(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.say_progress(step);
        let Some(fetch) = self.state.copying.fetch() else { return Ok(()) };
        if fetch.files.values().any(|file| !file.done) {
            return Ok(());
        }
        let donor = fetch.donor;
        if fetch.state.is_none() {
            return self.plan_copy(donor, step);
        }
        if self.state.checkpoint.running.is_some() {
            // Asked again when it is done.
            return Ok(());
        }
        self.install(step)
    }

    /// The donor's state is here: is it of use, and what else is needed for it?
    fn plan_copy(&mut self, donor: SiteId, step: &mut Step<'_>) -> Result<(), Fatal> {
        let bytes = step.disk.len(&state_file())?.unwrap_or(0);
        let bytes = step.disk.read(&state_file(), 0, usize::try_from(bytes).unwrap_or(0))?;
        let read = checkpoint::decode(&state_file(), &bytes).ok().and_then(Result::ok);
        let Some(state) = read.and_then(|found| Checkpoint::decode(&found.state)) else {
            self.give_up(donor, "its checkpoint does not read: does another version run there?", step);
            return Ok(());
        };
        if let Err(why) = self.is_worth_taking(&state) {
            self.give_up(donor, &why, step);
            return Ok(());
        }
        let here = self.logs.extents();
        let mut files = BTreeMap::new();
        for (file, bytes) in state.logs.files().filter(|(file, bytes)| here.get(file) < Some(bytes)) {
            let held = step.disk.len(&staged(&file))?.unwrap_or(0).min(bytes);
            let found = Fetched { bytes, asked: held, written: held, found: held, ..Fetched::default() };
            files.insert(file, found);
        }
        if files.values().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes)).is_none() {
            self.give_up(donor, "its checkpoint counts on more bytes than there can be", step);
            return Ok(());
        }
        let bytes: u64 = files.values().map(|file| file.bytes - file.written).sum();
        let name = self.config.name_of(donor);
        let text = format!("copying {} files ({bytes} bytes) from {name}", files.len());
        step.out.push(Action::Remark(text));
        let Some(fetch) = self.state.copying.fetch() else { return Ok(()) };
        fetch.queue = files.keys().cloned().collect();
        (fetch.files, fetch.state) = (files, Some(state));
        if fetch.files.is_empty() { self.file_is_here(step) } else { Ok(()) }
    }

    /// The least that another's state must hold: what is lacking here, and enough to join up with what this site's WAL
    /// still holds.
    fn least_of_use(&self) -> BTreeMap<JournalId, Seq> {
        let wal = &self.pipeline.wal;
        let joins = |(journal, next): (JournalId, Seq)| {
            // What came with an earlier copy is not in the WAL, and what the WAL holds in front of that joins up with nothing.
            let first = wal.first_on_disk(journal).filter(|_| wal.next(journal) >= Some(next));
            (journal, first.map_or(next, |first| first.min(next)))
        };
        let mut least: BTreeMap<JournalId, Seq> = self.journals.frontier().into_iter().map(joins).collect();
        for journal in &self.state.copying.lacking {
            least.insert(*journal, self.journals.next(*journal) + 1);
        }
        least
    }

    pub(crate) fn is_of_use(&self, chains: &BTreeMap<JournalId, Chain>) -> bool {
        let there = |journal: &JournalId| chains.get(journal).map_or(0, |chain| chain.next);
        self.least_of_use().iter().all(|(journal, least)| there(journal) >= *least)
    }

    fn say_progress(&mut self, step: &mut Step<'_>) {
        let Some(status) = self.copy_status() else { return };
        let Some(fetch) = self.state.copying.fetch().filter(|fetch| fetch.state.is_some()) else { return };
        let tenths = status.bytes_done * 10 / status.bytes.max(1);
        if tenths > fetch.said_tenths {
            fetch.said_tenths = tenths;
            let CopyStatus { files, files_done, bytes, bytes_done, .. } = status;
            let text =
                format!("copied {bytes_done} of {bytes} bytes, {files_done} of {files} files are verified");
            step.out.push(Action::Remark(text));
        }
    }

    fn give_up(&mut self, donor: SiteId, why: &str, step: &mut Step<'_>) {
        let name = self.config.name_of(donor);
        step.out.push(Action::Remark(format!("the copy from {name} is interrupted: {why}")));
        self.state.copying.passed_over.insert(donor, step.now.mono_us + PASSED_OVER_US);
        self.state.copying.phase = Phase::Asking { asked_us: None };
    }
}

/// Where a file of the donor's waits here.
fn place_of(name: &FileName) -> FileName {
    if name.is_below(&folder("checkpoint")) { state_file() } else { staged(name) }
}
