//! The start rule: may this site go on where its disk says it was?
//!
//! A site's journal may have gone further than its disk shows: after a restore from a backup, on a copied disk, with a
//! disk that lied about a sync. Writing on from there would give one seq two meanings. So at its start a site first asks
//! all others how much they hold of its journal (those who were given up too, where it is alone), and takes back what is
//! missing here. If some cannot be asked within the configured time it goes on (the directory is intact as far as anyone can
//! tell) and says so; should one of them show more later, the journal is halted on the spot and an operator called.
//!
//! A directory that does not know its incarnation takes no writes until a quorum has granted it a fresh one. A journal
//! that parted writes on, but takes part in the order again only from an opening that another site writes.

use std::collections::{BTreeMap, BTreeSet};

use crdt::Frontier;
use entry::{Body, Incarnation, JournalId, MemberEpoch, OpenBody, Seq, SiteId, StorageId};
use serde::{Deserialize, Serialize};

use crate::action::{Action, Refusal};
use crate::durable::DISK_FULL;
use crate::identity::Identity;
use crate::mutant::Mutant;
use crate::notes::Note;
use crate::peers::Peer;
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::wire::{Hello, Message};

/// How often a request for an opening or an incarnation is repeated, in microseconds.
const REPEAT_US: u64 = 300_000;
/// A site that lacks something for longer than this, and takes over no copy, goes by the catalog that it has, in
/// microseconds.
const TOPICS_US: u64 = 30_000_000;

/// Where the start stands.
#[derive(Debug, Default)]
pub(crate) struct Start {
    phase: Phase,
    /// When the machine started, in monotonic microseconds.
    began_us: Option<u64>,
    /// Who has said how much of our journal they hold.
    heard: BTreeSet<SiteId>,
    /// The most that anyone held of it.
    most_held: Seq,
    /// Whether some could not be asked.
    pub(crate) unconfirmed: bool,
    /// Whether this process has said anything of our journal yet: an entry, or a promise.
    pub(crate) spoke: bool,
    /// Whether others remember more of this storage than it holds: it was put back, and is another one now.
    put_back: bool,
    /// The id that this storage takes then.
    pub(crate) fresh_storage: Option<StorageId>,
    /// Our journal parted: whether it waits for an opening, and when that was last asked for.
    parted: bool,
    asked_us: Option<u64>,
    /// The opening that we wrote last: asked for again, it is on its way.
    sponsored: Option<(JournalId, Seq)>,
    /// The incarnation we ask for, and who granted it.
    claim: Option<(Incarnation, BTreeSet<SiteId>)>,
    /// The incarnation that a quorum granted, until it is taken up.
    won: Option<Incarnation>,
    /// What others held when they were first heard: topics may have been created in it.
    owed: Frontier<JournalId>,
    /// Whether all of that was sorted here.
    knows_topics: bool,
}

/// A number that this site granted to another's data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) incarnation: Incarnation,
    pub(crate) storage: StorageId,
    /// Whether the grant may be told.
    pub(crate) durable: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Asking the others.
    #[default]
    Asking,
    /// Taking back what others hold more of our journal.
    TakingBack,
    /// Writing.
    Open,
}

/// The alarm of a directory that lacks what it once held; it stands until the site holds that again.
pub(crate) const PUT_BACK: &str = "other sites remember more of this data directory than it holds: it was put back from a \
    copy, or its disk lost what it had synced; it counts as a new one from here on";

impl Start {
    /// Why writes must wait, if they must.
    pub(crate) fn holds_writes(&self) -> Option<String> {
        match self.phase {
            Phase::Asking => {
                Some("it has just started and asks the other sites what they hold of its journal".into())
            }
            Phase::TakingBack => Some("it is taking back entries of its own journal from other sites".into()),
            Phase::Open => None,
        }
    }

    /// Whether it leaves its journal for a fresh one, as soon as all of the former one is on the disk.
    fn changes_journals(&self) -> bool {
        self.phase == Phase::Open && self.won.is_some()
    }

    /// When the machine started, in monotonic microseconds.
    pub(crate) fn began_us(&self) -> u64 {
        self.began_us.unwrap_or(u64::MAX)
    }

    pub(crate) fn opened(&mut self) {
        self.parted = false;
    }

    pub(crate) fn parted(&mut self) {
        self.parted = true;
    }

    /// A fresh incarnation was granted: nobody can hold anything of its journal, which waits for its opening.
    fn begin_life(&mut self) {
        (self.claim, self.won) = (None, None);
        self.phase = Phase::Open;
        self.parted = true;
    }

    /// Whether it went on without having heard anybody.
    fn is_alone(&self) -> bool {
        self.unconfirmed && self.heard.is_empty()
    }

    /// The members are others: what the former ones granted counts no more towards a number not yet won.
    pub(crate) fn ask_others(&mut self) {
        if let Some((_, grants)) = self.claim.as_mut() {
            grants.clear();
        }
    }

    /// Whether our journal waits for an opening.
    pub(crate) fn waits_for_opening(&self) -> bool {
        self.parted
    }
}

impl Site {
    /// A peer's hello says what it holds of our journal.
    pub(crate) fn start_heard(&mut self, from: SiteId, hello: &Hello) {
        if self.config.witness == Some(from) {
            // It holds nothing of anybody: to have heard it says nothing.
            return;
        }
        if !self.state.start.knows_topics {
            for (journal, (next, _)) in &hello.held {
                self.state.start.owed.advance(*journal, *next);
            }
        }
        let Some(journal) = self.identity.journal() else { return };
        let held = hello.held.get(&journal).map_or(0, |(next, _)| *next);
        self.state.start.heard.insert(from);
        self.state.start.most_held = self.state.start.most_held.max(held);
        self.state.start.put_back |= held > self.journals.durable(journal);
        if let Some(promised) = hello.promised.get(&journal) {
            self.clock.exceed(*promised);
        }
    }

    /// Another site shows more of our journal than is here, and nothing more of it is taken any more. As long as this
    /// process has said nothing of it, that was only too early; otherwise one seq may have two meanings.
    pub(crate) fn more_elsewhere(&mut self, from: SiteId, step: &mut Step<'_>) {
        if self.state.start.spoke {
            let name = self.config.name_of(from).to_owned();
            return self.halt_own(&format!("{name} holds more of it than is here"), step);
        }
        let held = self.identity.journal().map_or(0, |journal| self.peers.holds(from, journal));
        self.state.start.most_held = self.state.start.most_held.max(held);
        self.state.start.phase = Phase::TakingBack;
        step.out.push(Action::ViewChanged);
    }

    /// Whether nothing may be promised of our journal: others show more of it, so that what is missing here may be stamped
    /// below; or nobody was heard, so that they may, and a promise would be of use to nobody.
    pub(crate) fn may_lack_own(&self, journal: JournalId) -> bool {
        let next = self.journals.next(journal);
        let alone = self.state.start.is_alone() && self.other_voters().next().is_some();
        alone || self.others().any(|site| self.peers.holds(site, journal) > next)
    }

    /// Another site says what this storage is known to hold; or that it is known to have been given up for another, since
    /// who greets us knows which one we have now.
    pub(crate) fn remembered(&mut self, storage: StorageId, held: &BTreeMap<JournalId, Seq>) {
        let more = held.iter().any(|(journal, next)| *next > self.journals.durable(*journal));
        self.state.start.put_back |= more || storage != self.identity.storage;
    }

    /// A storage that holds less than it once said was put back, or its disk lied. What others remember of it counts
    /// no more: it goes on under another id, which has said nothing yet. Returns whether it may go on: not while there is no
    /// room for that id.
    pub(crate) fn renew_storage(&mut self, step: &mut Step<'_>) -> Result<bool, Fatal> {
        if !self.state.start.put_back || self.state.switch.has(Mutant::StorageKept) {
            return Ok(true);
        }
        let Some(storage) = self.state.start.fresh_storage else { return Ok(true) };
        // With the entries, votes may be missing.
        if !self.become_known_as(Identity { storage, synced: false, ..self.identity.clone() }, step)? {
            self.alarm(DISK_FULL.to_owned(), step);
            return Ok(false);
        }
        self.state.start.fresh_storage = None;
        // What was granted was so to the directory that it was.
        (self.state.start.claim, self.state.start.won) = (None, None);
        self.state.pulse.news = true;
        self.alarm(PUT_BACK.to_owned(), step);
        Ok(true)
    }

    /// Whether it leaves its journal for a fresh one, or has not begun that yet.
    pub(crate) fn changes_journals(&self) -> bool {
        self.state.start.changes_journals() || self.has_to_begin()
    }

    /// Moves the start on, and repeats what was asked for and not answered.
    pub(crate) fn advance_start(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.state.start.began_us.get_or_insert(step.now.mono_us);
        let ended = |journal| self.state.seals.cut(journal).is_some();
        let Some(journal) = self.identity.journal().filter(|journal| !ended(*journal)) else {
            return self.begin_anew(step);
        };
        match self.state.start.phase {
            Phase::Open if self.has_to_begin() => self.begin(journal, step),
            Phase::Open => self.ask_for_opening(journal, step),
            Phase::Asking | Phase::TakingBack => self.confirm_start(journal, step),
        }
        Ok(())
    }

    /// Whether this site knows the topics that the others knew when it started. Before that, a topic that it has not heard
    /// of may well exist.
    #[must_use]
    pub fn knows_topics(&self) -> bool {
        self.state.start.knows_topics
    }

    /// Takes its topics for all there are once what the others held at the start was sorted here, or does not come.
    pub(crate) fn watch_topics(&mut self, step: &mut Step<'_>) {
        let start = &self.state.start;
        if start.knows_topics || start.phase != Phase::Open || !self.state.copying.is_idle() {
            return;
        }
        let sorted = |(journal, next): (JournalId, Seq)| {
            let end = self.state.seals.cut(journal).map_or(next, |cut| cut.next.min(next));
            self.merge.order.next_unreleased(journal) >= end
        };
        if start.owed.iter().all(sorted) || step.now.mono_us.saturating_sub(start.began_us()) >= TOPICS_US {
            (self.state.start.knows_topics, self.state.start.owed) = (true, Frontier::new());
            step.out.push(Action::ViewChanged);
        }
    }

    /// Whom a start asks: the other members. Where there is none, those who were given up: they may be members again by now, if this
    /// directory is one that was put back.
    fn asked_at_start(&self) -> BTreeSet<SiteId> {
        let others: BTreeSet<SiteId> = self.others().collect();
        let removed = self.merge.order.removed();
        let given_up = self.state.seals.given_up.keys().map(|(_, site)| *site);
        let may_be_back = |site: &SiteId| *site != self.config.own && !removed.contains(site);
        if others.is_empty() { given_up.filter(may_be_back).collect() } else { others }
    }

    /// Asks all others, takes back what is missing here, and goes on.
    fn confirm_start(&mut self, journal: JournalId, step: &mut Step<'_>) {
        let now = step.now.mono_us;
        let began = self.state.start.began_us();
        let skipped = self.state.switch.has(Mutant::StartRuleSkipped);
        let asked = self.asked_at_start();
        let missing: Vec<SiteId> =
            asked.into_iter().filter(|site| !self.state.start.heard.contains(site)).collect();
        let all_heard = skipped || missing.is_empty();
        let waited = now.saturating_sub(began) >= self.config.start_wait_ms * 1000;
        if !all_heard && !waited {
            return;
        }
        // All of it, and nothing more of it on its way to the disk.
        let wanted = self.state.start.most_held.max(self.journals.next(journal));
        if self.journals.durable(journal) < wanted && !skipped {
            self.state.start.phase = Phase::TakingBack;
            return;
        }
        self.state.start.phase = Phase::Open;
        self.peers.sources.remove(&journal);
        if !all_heard {
            self.state.start.unconfirmed = true;
            let names: Vec<_> = missing.iter().map(|site| self.config.name_of(*site)).collect();
            let text = format!(
                "writing on without having heard {}: should one of them hold more of this site's journal, it is halted",
                names.join(", ")
            );
            step.out.push(Action::Alarm(text));
        }
        step.out.push(Action::ViewChanged);
    }

    /// Whether a journal is our own and nothing of it is taken from others any more.
    pub(crate) fn is_own_and_closed(&self, journal: JournalId) -> bool {
        Some(journal) == self.identity.journal() && self.state.start.phase == Phase::Open
    }

    /// Our journal was seen elsewhere with more, or with another history: not one entry more.
    pub(crate) fn halt_own(&mut self, reason: &str, step: &mut Step<'_>) {
        self.halt(reason, "start it on an empty directory to get a fresh one", step);
    }

    /// Not one entry more, for this reason; `advice` is what an operator can do.
    pub(crate) fn halt(&mut self, reason: &str, advice: &str, step: &mut Step<'_>) {
        if self.state.halted.is_none() {
            self.state.halted = Some(format!("{reason}; {advice}"));
            self.alarm(format!("this site's journal is halted: {reason}; {advice}"), step);
            step.out.push(Action::ViewChanged);
        }
    }

    fn ask_for_opening(&mut self, journal: JournalId, step: &mut Step<'_>) {
        let start = &mut self.state.start;
        let recently = start.asked_us.is_some_and(|at| step.now.mono_us.saturating_sub(at) < REPEAT_US);
        if !start.parted || recently || self.state.stopping_us.is_some() {
            return;
        }
        start.asked_us = Some(step.now.mono_us);
        if self.merge.order.is_open(journal) {
            // It came in alone, where nobody was left to let it in.
            return self.state.start.opened();
        }
        let Some(first) = self.merge.order.parted_first(journal) else { return };
        for site in self.peers.greeted() {
            step.out.push(control(site, Message::OpenMe { journal, first }));
        }
    }

    /// Another site's journal parted and it is back: say so in ours, if ours is open.
    pub(crate) fn sponsor(&mut self, journal: JournalId, first: Seq, step: &mut Step<'_>) {
        let Some(own) = self.identity.journal() else { return };
        let wanted = self.merge.order.parted_first(journal) == Some(first);
        if !wanted || self.merge.order.parted_first(own).is_some() || self.may_write().is_err() {
            return;
        }
        let repeated = self.state.start.sponsored == Some((journal, first));
        if repeated || self.pipeline.is_full() {
            return;
        }
        if let Ok(Some(stamp)) = self.mint(step.now)
            && self.say(stamp, Body::Open(OpenBody { journal, first })).is_ok()
        {
            self.state.start.sponsored = Some((journal, first));
        }
    }

    /// There is no journal to go on with: none was granted yet, or it was fenced. A fenced one is written on (what it
    /// takes comes in by adoption) until a quorum has granted a fresh one.
    fn begin_anew(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        if self.pipeline.is_full() {
            // A fresh journal could not even promise.
            return Ok(());
        }
        let Some(granted) = self.state.start.won else {
            self.claim_incarnation(step);
            return Ok(());
        };
        // What is on its way to the disk belongs to the former journal.
        if self.pipeline.first_own_stamp().is_some() {
            return Ok(());
        }
        // All of that is on the disk, and so much is true of it, whatever becomes of its place.
        self.answer_met(step);
        if !self.become_known_as(Identity { incarnation: Some(granted), ..self.identity.clone() }, step)? {
            return Ok(());
        }
        self.state.halted = None;
        self.state.start.begin_life();
        for pending in self.desk.begin_anew() {
            let refusal = Refusal::NotReady("it was fenced; what was not answered may come in later".into());
            step.out.push(Action::Reply { ticket: pending.ticket, answer: Err(refusal) });
        }
        step.out.push(Action::Remark(format!("this site begins its journal {granted}", granted = granted.0)));
        step.out.push(Action::ViewChanged);
        Ok(())
    }

    /// Makes this the directory's identity; returns whether there was room for it.
    pub(crate) fn become_known_as(&mut self, identity: Identity, step: &mut Step<'_>) -> Result<bool, Fatal> {
        match identity.write(step.disk) {
            Ok(()) => self.identity = identity,
            Err(error) if error.is_full() => return Ok(false),
            Err(failed) => return Err(failed.into()),
        }
        Ok(true)
    }

    fn claim_incarnation(&mut self, step: &mut Step<'_>) {
        if !self.is_voter(self.config.own) {
            return;
        }
        if self.other_voters().next().is_none()
            && let Some(last) = self.identity.incarnation
        {
            // Nobody is left to ask: the number behind all that this directory has had, or has heard of.
            let heard = self.known_journals().filter(|journal| journal.site == self.config.own);
            let latest = heard.map(|journal| journal.incarnation).max().map_or(last, |heard| heard.max(last));
            self.state.start.won = Some(Incarnation(latest.0 + 1));
            step.out.push(Action::ViewChanged);
            return;
        }
        let first = self.identity.incarnation.map_or(1, |last| last.0 + 1);
        let start = &mut self.state.start;
        if start.asked_us.is_some_and(|at| step.now.mono_us.saturating_sub(at) < REPEAT_US) {
            return;
        }
        start.asked_us = Some(step.now.mono_us);
        let asked = start.claim.get_or_insert((Incarnation(first), BTreeSet::new())).0;
        let storage = self.identity.storage;
        for site in self.peers.greeted() {
            step.out.push(control(site, Message::AskIncarnation(asked, storage)));
        }
    }

    /// Grants a number at most once, durably before it says so: to one data directory, which says itself who it is, since what
    /// others know may be of one that it was before; and over one link, since a directory that was put back may be the same
    /// one again.
    pub(crate) fn asked_for_incarnation(
        &mut self,
        from: SiteId,
        asked: Incarnation,
        storage: StorageId,
        step: &mut Step<'_>,
    ) {
        if !self.votes() || !self.is_voter(from) {
            return;
        }
        let seen = self.peers.journals().into_iter().chain(self.journals.frontier().into_keys());
        let highest = seen.filter(|journal| journal.site == from).map(|journal| journal.incarnation).max();
        let last = self.state.granted.get(&from).copied();
        let next = last
            .map(|grant| grant.incarnation)
            .max(highest)
            .map_or(Incarnation(1), |it| Incarnation(it.0 + 1))
            .max(self.grants_from(from).unwrap_or(Incarnation(1)));
        let Some(peer) = self.peers.links.get_mut(&from) else { return };
        if asked >= next && !self.pipeline.is_full() {
            let grant = Grant { incarnation: asked, storage, durable: false };
            peer.granted = Some((asked, storage));
            self.state.granted.insert(from, grant);
            self.pipeline.note(Note::Granted(from, asked, storage));
            return;
        }
        let twice = self.state.switch.has(Mutant::GrantedAgain)
            && last.is_some_and(|grant| grant.incarnation == asked && grant.durable);
        let again = twice || peer.granted == Some((asked, storage));
        if !again || last.is_some_and(|grant| grant.durable) {
            let epoch = self.merge.order.epoch();
            let answer = Message::Incarnation { asked, storage, granted: again, next, epoch };
            step.out.push(control(from, answer));
        }
    }

    /// A grant is durable here: now it may be told.
    pub(crate) fn granted(
        &mut self,
        site: SiteId,
        incarnation: Incarnation,
        storage: StorageId,
        step: &mut Step<'_>,
    ) {
        let newer = self.state.granted.get(&site).is_some_and(|grant| grant.incarnation > incarnation);
        if newer {
            return;
        }
        self.state.granted.insert(site, Grant { incarnation, storage, durable: true });
        let to_this_link = |peer: &Peer| peer.granted == Some((incarnation, storage));
        if self.peers.links.get(&site).is_some_and(to_this_link) && self.votes() {
            let epoch = self.merge.order.epoch();
            let (asked, next) = (incarnation, incarnation);
            let answer = Message::Incarnation { asked, storage, granted: true, next, epoch };
            step.out.push(control(site, answer));
        }
    }

    /// A site answered our claim. It granted it as a member of an epoch, which is to be the one known here; a number that is taken
    /// is so in all of them, and to ask for one that is not may be what it takes to come to know the next epoch: as long as
    /// nobody is granted a later journal, the former one does not end.
    pub(crate) fn incarnation_answer(
        &mut self,
        from: SiteId,
        asked: Incarnation,
        granted: Option<MemberEpoch>,
        next: Incarnation,
        step: &mut Step<'_>,
    ) {
        // Nobody grants itself anything: of two members, the other decides.
        let quorum = self.quorum().min(self.other_voters().count());
        if !self.is_voter(from) {
            return;
        }
        let here = self.merge.order.epoch();
        let start = &mut self.state.start;
        let Some((claimed, grants)) = start.claim.as_mut().filter(|_| start.won.is_none()) else { return };
        match granted {
            Some(epoch) if epoch == here && asked == *claimed => {
                grants.insert(from);
                if grants.len() >= quorum {
                    start.won = Some(asked);
                    step.out.push(Action::ViewChanged);
                }
            }
            None if next > *claimed => {
                start.claim = Some((next, BTreeSet::new()));
                start.asked_us = None;
            }
            _ => {}
        }
    }
}
