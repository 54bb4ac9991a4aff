//! How much this site may have that no other site has: a topic's bound on what the loss of a site can cost.
//!
//! What counts is what this site took for the topic, durable here or on its way to be, and no other member's data
//! directory (by its storage id) is known to hold durably. Once one holds it, it counts no more, whatever becomes of that
//! one. A write that would go beyond the bound waits its turn behind those that came before it for the same topic, and is
//! refused when its client's patience is over; other topics do not wait. One batch is let through where nothing counts,
//! however large it is.
//!
//! The marks that are kept for this are coarse: entries of one topic are counted in runs, which are few however long a site
//! is alone. A run counts until its last entry is held elsewhere.

use std::collections::{BTreeMap, VecDeque};

use catalog::Settings;
use clock::{Now, Stamp};
use entry::{JournalId, Seq, TopicId};
use serde::{Deserialize, Serialize};

use crate::action::{Action, Refusal};
use crate::append::Taken;
use crate::desk::Pending;
use crate::event::{Append, Request, Ticket};
use crate::mutant::Mutant;
use crate::site::{Site, Step};

/// Runs kept per topic; when there are more, neighbours are joined.
const RUNS_MAX: usize = 512;

/// Some entries of one topic, one after the other in one journal of this site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    journal: JournalId,
    last: Seq,
    bytes: u64,
    /// The stamp of the first of them.
    since: Stamp,
}

/// One batch that this site took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) topic: TopicId,
    pub(crate) journal: JournalId,
    pub(crate) seq: Seq,
    pub(crate) stamp: Stamp,
    pub(crate) bytes: u64,
}

/// What this site took and no other is known to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unreplicated {
    topics: BTreeMap<TopicId, Only>,
}

/// What only this site has of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Only {
    /// What is durable here.
    runs: VecDeque<Run>,
    bytes: u64,
    /// What is on its way to the disk.
    #[serde(skip)]
    coming: VecDeque<Own>,
    #[serde(skip)]
    coming_bytes: u64,
}

/// Writes that wait, by topic, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct HeldBack {
    waiting: BTreeMap<TopicId, VecDeque<Waiting>>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    append: Append,
    /// When it is refused, in monotonic microseconds.
    until_us: u64,
}

/// What of one topic only this site has, and what waits for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UnreplicatedStatus {
    /// Bytes of batches that no other site is known to hold.
    pub bytes: u64,
    /// The stamp of the first of them.
    pub since: Option<Stamp>,
    /// Writes that are held back.
    pub held_back: usize,
}

impl Unreplicated {
    /// Lets go of what others hold.
    fn forget(&mut self, held: impl Fn(JournalId) -> Seq) {
        self.topics.retain(|_, only| {
            while let Some(gone) = only.runs.pop_front_if(|run| held(run.journal) > run.last) {
                only.bytes -= gone.bytes;
            }
            !only.runs.is_empty() || !only.coming.is_empty()
        });
    }

    /// How many bytes there are of a topic, and the stamp of the first; `None` if there is nothing.
    fn of(&self, topic: TopicId) -> Option<(u64, Stamp)> {
        let only = self.topics.get(&topic)?;
        let durable = only.runs.front().map(|run| run.since);
        let since = durable.or_else(|| only.coming.front().map(|own| own.stamp))?;
        Some((only.bytes + only.coming_bytes, since))
    }
}

impl Only {
    /// A batch was given to the WAL.
    fn said(&mut self, own: Own) {
        self.coming_bytes += own.bytes;
        self.coming.push_back(own);
    }

    /// A batch is durable here, and maybe elsewhere too.
    fn durable(&mut self, own: Own, held_elsewhere: bool) {
        if self.coming.pop_front_if(|coming| coming.seq == own.seq).is_some() {
            self.coming_bytes -= own.bytes;
        }
        if held_elsewhere {
            return;
        }
        self.bytes += own.bytes;
        self.runs.push_back(Run { journal: own.journal, last: own.seq, bytes: own.bytes, since: own.stamp });
        if self.runs.len() > RUNS_MAX {
            join_neighbours(&mut self.runs);
        }
    }
}

/// Halves the number of runs, as far as neighbours are of one journal.
fn join_neighbours(runs: &mut VecDeque<Run>) {
    let mut joined: VecDeque<Run> = VecDeque::with_capacity(runs.len());
    let mut whole = true;
    for run in runs.drain(..) {
        match joined.back_mut().filter(|last| !whole && last.journal == run.journal) {
            Some(last) => {
                (last.last, last.bytes) = (run.last, last.bytes + run.bytes);
                whole = true;
            }
            None => {
                joined.push_back(run);
                whole = false;
            }
        }
    }
    *runs = joined;
}

impl HeldBack {
    fn is_waiting(&self, topic: TopicId) -> bool {
        self.waiting.contains_key(&topic)
    }

    fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// The client waits no longer. Returns what it wanted to have written.
    pub(crate) fn forget(&mut self, ticket: Ticket) -> Option<Append> {
        let (topic, at) = self.waiting.iter().find_map(|(topic, waiting)| {
            let at = waiting.iter().position(|waiting| waiting.ticket == ticket)?;
            Some((*topic, at))
        })?;
        let gone = self.waiting.get_mut(&topic).and_then(|waiting| waiting.remove(at))?;
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        self.bytes -= gone.append.records.len();
        Some(gone.append)
    }
}

impl Site {
    /// A batch of this site was given to the WAL.
    pub(crate) fn took(&mut self, own: Own) {
        self.state.unreplicated.topics.entry(own.topic).or_default().said(own);
    }

    /// A batch of one of this site's journals is durable here.
    pub(crate) fn keeps(&mut self, own: Own) {
        let held_elsewhere = self.held_elsewhere(own.journal) > own.seq;
        self.state.unreplicated.topics.entry(own.topic).or_default().durable(own, held_elsewhere);
    }

    /// How much of a journal some other member is known to hold.
    fn held_elsewhere(&self, journal: JournalId) -> Seq {
        self.others().map(|site| self.peers.holds(site, journal)).max().unwrap_or(0)
    }

    /// Whether a write has to wait: its topic's bound is reached, or others wait already.
    pub(crate) fn is_held_back(&self, append: &Append, settings: &Settings, now: Now) -> bool {
        self.desk.held_back.is_waiting(append.topic) || self.is_beyond(append, settings, now).is_some()
    }

    /// What speaks against writing more, if something does.
    fn is_beyond(&self, append: &Append, settings: &Settings, now: Now) -> Option<Refusal> {
        let (bytes_max, ms_max) = (settings.unreplicated_bytes_max, settings.unreplicated_ms_max);
        if bytes_max.or(ms_max).is_none() || self.state.switch.has(Mutant::UnreplicatedUnbounded) {
            return None;
        }
        let (bytes, since) = self.state.unreplicated.of(append.topic)?;
        let age_ms = now.wall_ms.saturating_sub(since.unix_ms());
        let too_much = bytes_max.is_some_and(|most| bytes + append.records.len() as u64 > most);
        let forever = self.state.switch.has(Mutant::UnreplicatedForever);
        let too_old = ms_max.is_some_and(|most| age_ms > most) && !forever;
        (too_much || too_old).then_some(Refusal::Unreplicated { bytes, age_ms })
    }

    /// Lets a write wait, unless too many do.
    pub(crate) fn hold_back(&mut self, ticket: Ticket, append: &Append, step: &mut Step<'_>) {
        let limits = &self.config.limits;
        let held_back = &mut self.desk.held_back;
        if held_back.len() >= limits.waiting_appends_max
            || held_back.bytes + append.records.len() > limits.waiting_bytes_max
        {
            self.remember_refusal(append);
            return step.out.push(Action::Reply { ticket, answer: Err(Refusal::Busy) });
        }
        held_back.bytes += append.records.len();
        let until_us = step.now.mono_us + u64::from(append.patience_ms) * 1000;
        let waiting = Waiting { ticket, append: append.clone(), until_us };
        held_back.waiting.entry(append.topic).or_default().push_back(waiting);
    }

    /// The client waits no longer. What was held back for it was never written.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.desk.forget(ticket);
        if let Some(append) = self.desk.held_back.forget(ticket) {
            self.remember_refusal(&append);
        }
    }

    /// Looks again at what waited, as far as others hold more by now or patience is over.
    pub(crate) fn retry_held_back(&mut self, step: &mut Step<'_>) {
        let mut unreplicated = std::mem::take(&mut self.state.unreplicated);
        unreplicated.forget(|journal| self.held_elsewhere(journal));
        self.state.unreplicated = unreplicated;
        for (topic, mut waiting) in std::mem::take(&mut self.desk.held_back.waiting) {
            self.let_through(&mut waiting, step);
            if !waiting.is_empty() {
                self.desk.held_back.waiting.insert(topic, waiting);
            }
        }
    }

    /// Takes what waits for one topic, in its order, as far as the bound allows.
    fn let_through(&mut self, waiting: &mut VecDeque<Waiting>, step: &mut Step<'_>) {
        while let Some(first) = waiting.front() {
            let settings = self.admission.topic(first.append.topic).map(|topic| &topic.settings);
            let beyond = settings.and_then(|settings| self.is_beyond(&first.append, settings, step.now));
            let answer = match beyond.filter(|_| self.may_write().is_ok()) {
                Some(_) if step.now.mono_us < first.until_us => return,
                Some(beyond) => {
                    self.remember_refusal(&waiting[0].append);
                    Err(beyond)
                }
                None => self.take_request(&Request::Append(first.append.clone()), step.now),
            };
            if matches!(answer, Ok(Taken::Deferred | Taken::HeldBack)) {
                return;
            }
            let Some(Waiting { ticket, append, .. }) = waiting.pop_front() else { return };
            self.desk.held_back.bytes -= append.records.len();
            match answer {
                Ok(Taken::Waits(seq, answer, until)) => {
                    self.desk.wait(seq, Pending { ticket, answer, until });
                }
                Ok(Taken::Done(answer)) => step.out.push(Action::Reply { ticket, answer: Ok(answer) }),
                Err(refusal) => step.out.push(Action::Reply { ticket, answer: Err(refusal) }),
                Ok(Taken::Deferred | Taken::HeldBack) => unreachable!("those are left where they are"),
            }
        }
    }

    /// Of every topic that bounds it: what only this site has.
    #[must_use]
    pub fn unreplicated(&self) -> BTreeMap<TopicId, UnreplicatedStatus> {
        let bounded = self.admission.live().filter(|topic| {
            topic.settings.unreplicated_bytes_max.or(topic.settings.unreplicated_ms_max).is_some()
        });
        let status = |id: TopicId| {
            let only = self.state.unreplicated.of(id);
            let held_back = self.desk.held_back.waiting.get(&id).map_or(0, VecDeque::len);
            let (bytes, since) = only.map_or((0, None), |(bytes, since)| (bytes, Some(since)));
            UnreplicatedStatus { bytes, since, held_back }
        };
        bounded.map(|topic| (topic.id, status(topic.id))).collect()
    }
}
