//! The machine: what goes in, what comes out, and what always happens in between.
//!
//! [`Site::handle`] takes one event and returns what is to be done about it. After every event the machine settles: it
//! releases what can be released, starts a WAL write if something waits, feeds peers that have room, and says where it
//! stands if that is due. All state is in plain values; the only door to the disk is the one handed in.

use std::sync::Arc;

use clock::{HybridClock, Now, Stamp};
use disk::{Disk, DiskError};
use entry::{Entry, EntryError, JournalId, Seq};
use partition::{Logs, LogsError};

use crate::action::{Action, Grown, Refusal};
use crate::behind::Behind;
use crate::config::SiteConfig;
use crate::copy::Copying;
use crate::desk::Desk;
use crate::donor::Giving;
use crate::doubt::Doubt;
use crate::event::Event;
use crate::files::Tasks;
use crate::identity::Identity;
use crate::journals::Journals;
use crate::merge::Merge;
use crate::mutant::Mutant;
use crate::notary::Notary;
use crate::notes::Note;
use crate::peers::Peers;
use crate::pipeline::Pipeline;
use crate::progress::Positions;
use crate::repair::Repairing;
use crate::start::Start;

/// A whole site.
#[derive(Debug)]
pub struct Site {
    pub(crate) config: SiteConfig,
    pub(crate) identity: Identity,
    pub(crate) clock: HybridClock,
    pub(crate) journals: Journals,
    pub(crate) pipeline: Pipeline,
    pub(crate) merge: Merge,
    pub(crate) logs: Logs,
    pub(crate) positions: Positions,
    pub(crate) admission: catalog::Catalog,
    pub(crate) desk: Desk,
    pub(crate) peers: Peers,
    pub(crate) notary: Arc<dyn Notary>,
    pub(crate) state: State,
}

/// What the machine is up to.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Where the start rule stands.
    pub(crate) start: Start,
    /// Why this site's own journal takes nothing more, if it does not.
    pub(crate) halted: Option<String>,
    /// Who says that another process is this site.
    pub(crate) doubt: Doubt,
    /// Why the wall clock is not believed, while it is not.
    pub(crate) clock_jumped: Option<String>,
    /// What is known of the wall clock being behind, while it is.
    pub(crate) clock_behind: Option<Behind>,
    /// Whether the operator asked to stop, and since when (monotonic microseconds).
    pub(crate) stopping_us: Option<u64>,
    /// When the last pulse went out (monotonic microseconds), and whether there is news since.
    pub(crate) pulse: PulseState,
    /// Checkpoints.
    pub(crate) checkpoint: CheckpointState,
    /// Incarnations granted to others, each at most once.
    pub(crate) granted: std::collections::BTreeMap<entry::SiteId, crate::start::Grant>,
    /// Whether another site has seen this one removed, ahead of our own place in the order.
    pub(crate) removed: bool,
    /// Sites that were alive when last looked at.
    pub(crate) alive: Vec<entry::SiteId>,
    /// Members that clients are sent to, as last told.
    pub(crate) for_clients: Vec<entry::SiteId>,
    /// Whether the released catalog has changed, so that logs of deleted topics may have to go.
    pub(crate) deleted: bool,
    /// Logs that grew during this event.
    pub(crate) grown: std::collections::BTreeSet<Grown>,
    /// When it was last looked at who was left behind, in monotonic microseconds.
    pub(crate) looked_behind_us: u64,
    /// The period in which it was last thought of marking the time.
    pub(crate) marked: u64,
    /// What is taken over from others.
    pub(crate) copying: Copying,
    /// What others take over from here.
    pub(crate) giving: Giving,
    /// What is looked at, and repaired.
    pub(crate) repairing: Repairing,
    /// What is being compacted.
    pub(crate) compacting: crate::compaction::Compacting,
    /// Tasks on files under way.
    pub(crate) tasks: Tasks,
    /// A bug on purpose.
    pub(crate) switch: crate::mutant::Switch,
    /// What this site took and no other is known to hold.
    pub(crate) unreplicated: crate::unreplicated::Unreplicated,
    /// The ends of journals.
    pub(crate) seals: crate::seal::Seals,
    /// Which lives origin logs show.
    pub(crate) lives: crate::lives::Lives,
    /// What proves others' journals.
    pub(crate) heads: crate::heads::Heads,
    /// What was signed last, and the certificate that goes with it.
    pub(crate) signed: Option<(crate::wire::SignedHead, bytes::Bytes)>,
    /// Alarms that were raised, each once until it clears.
    pub(crate) alarms: std::collections::BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct PulseState {
    pub(crate) last_us: u64,
    pub(crate) news: bool,
}

#[derive(Debug, Default)]
pub(crate) struct CheckpointState {
    pub(crate) next_id: u64,
    pub(crate) running: Option<u64>,
    pub(crate) bytes_since: u64,
    /// Whether somebody needs a newer one than there is.
    pub(crate) wanted: bool,
    /// How far the last durable one reaches in every journal, and how far the one under way does.
    pub(crate) frontier: std::collections::BTreeMap<JournalId, Seq>,
    pub(crate) writing: std::collections::BTreeMap<JournalId, Seq>,
}

/// How many entries one event may release: what keeps a long backlog from stopping the machine.
const RELEASE_AT_ONCE: usize = 4096;

/// Why a site writes nothing while another machine is about to take its place.
pub(crate) const INSTALLS: &str = "it is putting a copy of another site's logs in force";

/// The machine cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fatal {
    #[error("the disk failed: {0}")]
    Disk(#[from] DiskError),
    #[error("a log cannot be kept: {0}")]
    Logs(#[from] LogsError),
    #[error("the WAL cannot be read: {0}")]
    Wal(#[from] journal::ReadError),
    #[error("an entry that was taken in does not read: {0}")]
    Entry(#[from] EntryError),
    #[error("the WAL holds a note that this version does not know")]
    Note,
}

impl Fatal {
    /// Whether it is only that the disk has no room: what was not done can be done later.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Fatal::Disk(error) => error.is_full(),
            Fatal::Logs(error) => error.is_full(),
            Fatal::Wal(_) | Fatal::Entry(_) | Fatal::Note => false,
        }
    }
}

/// What every step is given: the time, the disk, and where its actions go.
pub(crate) struct Step<'a> {
    pub(crate) now: Now,
    pub(crate) disk: &'a mut dyn Disk,
    pub(crate) out: &'a mut Vec<Action>,
}

impl Site {
    /// Takes events in order; appends what is to be done, in order. What comes in one call shares one WAL write.
    pub fn handle(
        &mut self,
        now: Now,
        events: impl IntoIterator<Item = Event>,
        disk: &mut dyn Disk,
        out: &mut Vec<Action>,
    ) {
        self.drop_deleted();
        let mut step = Step { now, disk, out };
        let taken = events.into_iter().try_for_each(|event| self.dispatch(event, &mut step));
        if let Err(fatal) = taken.and_then(|()| self.settle(&mut step)) {
            step.out.push(Action::Halt(fatal.to_string()));
        }
    }

    fn dispatch(&mut self, event: Event, step: &mut Step<'_>) -> Result<(), Fatal> {
        let Some(event) = self.unless_installing(event, step) else { return Ok(()) };
        match event {
            Event::Request { ticket, request } => self.request(ticket, request, step),
            Event::Forget(ticket) => self.forget(ticket),
            Event::LinkUp { site } => self.link_up(site, step),
            Event::LinkDown { site } => self.link_down(site),
            Event::CalledDuplicate { by, reason } => self.called_duplicate(by, reason, step),
            Event::Message { from, message } => self.message(from, message, step)?,
            Event::Room { site, bytes } => self.room(site, bytes),
            Event::Written { id } => self.written(id, step)?,
            Event::WriteRefused { id } => self.write_refused(id, step),
            Event::DiskLow(low) => self.disk_low(low, step),
            Event::Prepared { done } => self.pipeline.prepared(done, step.now.mono_us),
            Event::Checkpointed { id, drop_before } => self.checkpointed(id, drop_before, step)?,
            Event::FilesDone { id, answer } => self.files_done(id, answer, step)?,
            Event::Damaged(file) => self.came_upon_damage(&file, step),
            Event::Tick => {}
            Event::AcceptClock => self.accept_clock(step),
            Event::Stop => self.stop(step),
        }
        Ok(())
    }

    fn settle(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        if self.state.copying.is_installing() {
            self.finish_installing(step);
            return Ok(());
        }
        self.retry_due(step)?;
        self.watch_clock(step);
        self.watch_behind(step);
        self.keep_ceiling(step);
        if !self.renew_storage(step)? {
            return Ok(());
        }
        self.watch_doubt(step);
        self.advance_start(step)?;
        self.show_lives(step);
        self.tend_seals(step)?;
        self.retry_deferred(step);
        self.retry_held_back(step);
        self.checkpoint_if_due(step);
        self.release(step);
        self.answer_met(step);
        self.choose_sources(step);
        self.pump(step)?;
        self.advance_copy(step)?;
        self.look_back(step);
        self.advance_repair(step)?;
        self.advance_compaction(step)?;
        self.mark_time(step)?;
        self.give(step);
        self.pulse_if_due(step);
        self.finish_stop(step);
        self.watch_liveness(step);
        self.watch_left_behind(step);
        self.watch_topics(step);
        if !self.state.grown.is_empty() {
            let grown = std::mem::take(&mut self.state.grown);
            step.out.push(Action::Readable(grown.into_iter().collect()));
        }
        let is_low = self.pipeline.is_low() && !self.pipeline.is_full();
        let stands = is_low && self.state.switch.has(Mutant::LowNotesNothing);
        let write = if stands { None } else { self.pipeline.start_write(step.now.mono_us) };
        if let Some(write) = write {
            step.out.push(Action::Write(write));
        }
        if let Some(spare) = self.pipeline.order_spare(step.now.mono_us) {
            step.out.push(Action::Prepare(spare));
        }
        Ok(())
    }

    /// Reserves stamps ahead, so that no stamp or promise is ever above what is durably recorded.
    fn keep_ceiling(&mut self, step: &Step<'_>) {
        if self.pipeline.is_full() {
            return;
        }
        if let Some(ceiling) = self.clock.wanted_ceiling(step.now) {
            self.pipeline.note(Note::Ceiling(ceiling));
            if self.state.switch.has(Mutant::CeilingNotAwaited) {
                self.clock.ceiling_durable(ceiling);
            }
        }
    }

    fn release(&mut self, step: &Step<'_>) {
        if self.merge.unreleased() == 0 || self.pipeline.is_full() {
            return;
        }
        self.promise_to_self(step.now);
        let few = self.state.alive.len() < self.quorum();
        let careless =
            self.state.switch.has(Mutant::QuorumOfTheLiving) && few || self.takes_witness_for_holder();
        if let Some(position) = self.merge.release(RELEASE_AT_ONCE, self.state.switch, careless) {
            self.pipeline.note(Note::Released(position));
        }
    }

    /// This site's own promise counts in its own order like everybody's.
    pub(crate) fn promise_to_self(&mut self, now: Now) {
        if let Some((journal, w, head)) = self.own_promise(now) {
            self.merge.order.promised(journal, w, head);
        }
    }

    /// "All my entries stamped at most w are durable and below head, and nothing later will be."
    pub(crate) fn own_promise(&mut self, now: Now) -> Option<(JournalId, Stamp, Seq)> {
        let journal = self.identity.journal()?;
        let start = &self.state.start;
        if start.holds_writes().is_some() || self.changes_journals() || self.may_lack_own(journal) {
            // Others may hold entries of ours that are to come back here: below them nothing can be promised.
            return None;
        }
        let head = self.journals.durable(journal);
        let w = match self.pipeline.first_own_stamp() {
            Some(waiting) if !self.state.switch.has(Mutant::PromiseOverWaiting) => waiting.pred(),
            _ => self.clock.promise(now).ok()?,
        };
        self.state.start.spoke = true;
        Some((journal, w, head))
    }

    /// Appends an entry to this site's own journal; it is durable after the next sync.
    ///
    /// The stamp was drawn by the caller, which may have needed it in the body.
    pub(crate) fn say(&mut self, stamp: Stamp, body: entry::Body) -> Result<Seq, EntryError> {
        let journal = self.identity.journal().expect("only a site with an incarnation is asked to write");
        let tip = self.journals.tip(journal);
        let entry = Entry {
            journal,
            seq: tip.next,
            stamp,
            epoch: self.merge.order.epoch(),
            previous: tip.hash,
            body,
        }
        .encode()?;
        self.journals.take(&entry).expect("an entry made from the tip continues it");
        self.state.start.spoke = true;
        self.pipeline.own_entry(&entry);
        Ok(tip.next)
    }

    /// Whether this site may append to its own journal now; if not, what a client is told.
    pub(crate) fn may_write(&self) -> Result<JournalId, Refusal> {
        let journal = self.may_write_soon()?;
        match self.changes_journals() {
            true => Err(Refusal::NotReady("it begins a fresh journal".into())),
            false => Ok(journal),
        }
    }

    /// The same, or it may in a moment, when it has begun its next journal.
    pub(crate) fn may_write_soon(&self) -> Result<JournalId, Refusal> {
        self.is_fit_to_write()?;
        let too_much = self.pipeline.wal.waiting_bytes() > self.config.limits.waiting_bytes_max;
        if too_much && !self.state.switch.has(Mutant::QueueUnbounded) {
            return Err(Refusal::Busy);
        }
        self.identity.journal().ok_or_else(|| Refusal::NotReady("no incarnation was granted yet".into()))
    }

    /// Whether nothing that lasts keeps it from writing; that too much waits for its WAL does not.
    fn is_fit_to_write(&self) -> Result<(), Refusal> {
        if let Some(reason) = &self.state.halted {
            return Err(Refusal::Halted(reason.clone()));
        }
        if self.state.stopping_us.is_some() {
            return Err(Refusal::Stopping);
        }
        if self.state.copying.is_installing() {
            return Err(Refusal::NotReady(INSTALLS.into()));
        }
        if let Some(refusal) = self.no_member() {
            return Err(refusal);
        }
        if let Some(reason) = self.state.start.holds_writes().or_else(|| self.state.doubt.holds_writes()) {
            return Err(Refusal::NotReady(reason));
        }
        if let Some(reason) = &self.state.clock_jumped {
            return Err(Refusal::Clock(reason.clone()));
        }
        if let Some(reason) = &self.pipeline.damaged {
            return Err(Refusal::NotReady(reason.clone()));
        }
        if self.pipeline.is_full() {
            return Err(Refusal::DiskFull);
        }
        Ok(())
    }

    /// Whether clients may write here: as [`Site::may_write`], or a moment later, and there is room for what they write.
    pub(crate) fn may_take(&self) -> Result<JournalId, Refusal> {
        let journal = self.may_write_soon()?;
        self.is_fit_for_records()?;
        let waiting = self.merge.unreleased();
        let too_many = waiting >= self.config.limits.unreleased_max;
        if too_many && !self.state.switch.has(Mutant::BacklogUnbounded) {
            return Err(Refusal::Backlog { waiting, holder: self.held_back_by() });
        }
        Ok(journal)
    }

    /// Whether what it may write may be clients' records, too: its clock is right, and its disk has room.
    fn is_fit_for_records(&self) -> Result<(), Refusal> {
        let behind = self.state.clock_behind.as_ref();
        if let Some(behind) = behind.filter(|_| !self.state.switch.has(Mutant::BehindWrites)) {
            return Err(Refusal::Clock(behind.text.clone()));
        }
        if self.pipeline.is_low() && !self.state.switch.has(Mutant::LowTakesRecords) {
            return Err(Refusal::DiskFull);
        }
        Ok(())
    }

    /// Whether clients are to be sent here: it takes writes, or does not only because too much waits at this moment.
    pub(crate) fn takes_clients(&self) -> bool {
        self.is_fit_to_write().is_ok()
            && self.identity.journal().is_some()
            && self.is_fit_for_records().is_ok()
    }

    /// Who holds the order back, in words.
    fn held_back_by(&self) -> String {
        match self.merge.order.blocker() {
            Some(blocker) => self.config.name_of(blocker.journal.site).to_owned(),
            None => "a quorum that is out of reach".to_owned(),
        }
    }

    /// Raises an alarm, once until it is cleared.
    pub(crate) fn alarm(&mut self, text: String, step: &mut Step<'_>) {
        if self.state.alarms.insert(text.clone()) {
            step.out.push(Action::Alarm(text));
        }
    }

    /// When the machine wants a tick at the latest, in monotonic microseconds.
    #[must_use]
    pub fn next_tick_us(&self) -> u64 {
        self.next_pulse_us()
    }

    /// Bytes of own entries and notes that wait for the WAL.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.pipeline.wal.waiting_bytes()
    }

    /// Bytes of others' entries that wait for the WAL: a shell that reads more from its peers while this is high only fills
    /// memory.
    #[must_use]
    pub fn replica_bytes(&self) -> usize {
        self.pipeline.wal.replica_bytes()
    }
}
