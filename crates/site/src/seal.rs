//! Fencing: where a silent site's journal ends, and how what lies beyond comes back.
//!
//! A journal whose promise has not moved for the fence timeout is sealed when a majority finds it so, or when an operator
//! asks; so is the journal of a former life whose owner has moved on. The members agree on the cut (`agree`); every vote is
//! durable before it is told, and an agreement that was begun is carried through by whoever sees it stand still. Who knows
//! the cut waits for no promise of that journal any more. In the merged order the journal closes at a seal entry, and its
//! tail comes in with adoption entries once a majority holds it; both are written by the first live site whose own
//! journal is open, and again by others should that take too long. Data waits for none of this.
//!
//! A wiped site counts and votes nowhere until a majority of the others has told it their votes, has durably noted that
//! its old storage is gone, and it holds what they held.

mod ballots;
mod endings;
mod enter;
mod given_up;
mod rejoin;
mod silent;
mod witness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use agree::{Ballot, NoVote, Proposal, Said, Storages, Verdict, Vote};
use clock::Now;
use entry::{Cut, JournalId, MemberEpoch, Seq, SiteId, StorageId};

use crate::action::Action;
use crate::identity::Identity;
use crate::mutant::Mutant;
use crate::notes::Note;
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::wire::{Freeze, Frozen, GivenUp, Message};

/// A site, and the storage that it votes with.
type Voter = (SiteId, StorageId);

/// What a member had accepted when it promised, and whether it consents to an end.
type Given = (Option<(Ballot, Verdict)>, bool);

/// A ballot that has not decided for so long is given up for a higher one, in microseconds.
const BALLOT_US: u64 = 1_500_000;
/// How much longer each further site waits before it takes a matter up, in microseconds.
const TURN_US: u64 = 700_000;
/// Nothing here is so urgent that it is looked at more often than this, in microseconds.
const TEND_US: u64 = 20_000;
/// What was sent and not answered, or written and not merged, is repeated after this, in microseconds.
const REPEAT_US: u64 = 300_000;

/// All that concerns the ends of journals.
#[derive(Debug, Default)]
pub(crate) struct Seals {
    journals: BTreeMap<JournalId, Ending>,
    /// Storages of sites that lost an earlier one and were told our votes; durable.
    pub(crate) renewed: Storages,
    /// Former storages of theirs that this site has known; durable.
    left: BTreeMap<SiteId, BTreeSet<StorageId>>,
    /// What is to be said when the notes under way are durable, in their order; `None` where nothing is.
    unsaid: VecDeque<Option<(SiteId, Message)>>,
    /// A wiped site's way back.
    rejoin: Rejoin,
    /// The epoch of members in which this site votes and counts; durable.
    entered: MemberEpoch,
    /// The way into the next one.
    entering: enter::Entering,
    /// What concerns the witness.
    witness: witness::Witnessing,
    /// Who was given up, by the epoch in which they were members; durable.
    pub(crate) given_up: BTreeMap<(MemberEpoch, SiteId), GivenUp>,
    /// Decisions that others told and that are to be noted when there is room.
    heard: Vec<GivenUp>,
    /// When others were last told of it, and when it was last written into the merged order, in monotonic microseconds.
    told_us: u64,
    wrote_us: u64,
    /// When all this was looked at last, in monotonic microseconds.
    tended_us: u64,
}

#[derive(Debug, Default)]
struct Rejoin {
    /// Under which members.
    epoch: MemberEpoch,
    noted: bool,
    told: BTreeSet<SiteId>,
    owes: BTreeMap<JournalId, Seq>,
    asked_us: Option<u64>,
}

/// One journal's end.
#[derive(Debug, Default)]
struct Ending {
    vote: Vote,
    cut: Option<Cut>,
    proposal: Option<Proposal>,
    /// Who finds the owner silent, this site among them.
    silent: BTreeSet<SiteId>,
    /// The highest round seen, ours and others'.
    round: u32,
    /// When anybody last tried, in monotonic microseconds.
    tried_us: Option<u64>,
    /// When our ballot was last put about.
    sent_us: u64,
    /// Whether an operator asked here.
    forced: bool,
    /// Whether somebody would not let it end: the next free choice is that it goes on.
    opposed: bool,
    /// Up to where we wrote it into the merged order last, and when.
    written: Option<(Seq, u64)>,
}

/// What of this survives a restart.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct SealState {
    votes: BTreeMap<JournalId, Vote>,
    pub(crate) cuts: BTreeMap<JournalId, Cut>,
    renewed: Storages,
    left: BTreeMap<SiteId, BTreeSet<StorageId>>,
    entered: MemberEpoch,
    given_up: BTreeMap<(MemberEpoch, SiteId), GivenUp>,
}

impl Seals {
    pub(crate) fn restore(state: SealState, identity: &Identity) -> Seals {
        // Founders vote from the start, others once they have learned the votes.
        let first = if identity.synced { MemberEpoch::GENESIS } else { MemberEpoch::default() };
        let entered = state.entered.max(first);
        let (renewed, left, given_up) = (state.renewed, state.left, state.given_up);
        let mut seals = Seals { renewed, left, given_up, entered, ..Seals::default() };
        for (journal, vote) in state.votes {
            seals.journals.entry(journal).or_default().vote = vote;
        }
        for (journal, cut) in state.cuts {
            seals.journals.entry(journal).or_default().cut = Some(cut);
        }
        seals
    }

    /// Votes that are not durable yet may be among them: what is not told binds nobody, and keeping it harms nobody.
    pub(crate) fn snapshot(&self) -> SealState {
        let votes = self.journals.iter().map(|(journal, ending)| (*journal, ending.vote));
        SealState {
            votes: votes.collect(),
            cuts: self.cuts(),
            renewed: self.renewed.clone(),
            left: self.left.clone(),
            entered: self.entered,
            given_up: self.given_up.clone(),
        }
    }

    /// A site votes with another storage from here on. A recovery may find notes again that the checkpoint knew of.
    pub(crate) fn renew(&mut self, site: SiteId, storage: StorageId) {
        let former = self.renewed.insert(site, storage);
        let left = self.left.entry(site).or_default();
        left.extend(former);
        left.remove(&storage);
    }

    pub(crate) fn cut(&self, journal: JournalId) -> Option<Cut> {
        self.journals.get(&journal).and_then(|ending| ending.cut)
    }

    /// How often it was decided that a journal goes on, as far as this site knows.
    pub(crate) fn attempt(&self, journal: JournalId) -> u32 {
        self.journals.get(&journal).map_or(0, |ending| ending.vote.attempt)
    }

    /// The journals that ended, and where.
    pub(crate) fn cuts(&self) -> BTreeMap<JournalId, Cut> {
        self.journals.iter().filter_map(|(journal, ending)| Some((*journal, ending.cut?))).collect()
    }

    /// Up to where this site reports its journals for the quorum of a release, where that is less than it holds.
    pub(crate) fn reports(&self) -> BTreeMap<JournalId, Freeze> {
        let report = |ending: &Ending| match ending.cut {
            Some(cut) => Freeze::ended(cut.next),
            None => Freeze { attempt: ending.vote.attempt, most: ending.vote.reports },
        };
        self.journals.iter().map(|(journal, ending)| (*journal, report(ending))).collect()
    }

    fn of(&mut self, journal: JournalId) -> &mut Ending {
        self.journals.entry(journal).or_default()
    }
}

impl Site {
    /// Whether this site has voted on an end of a journal, and does not know what was decided.
    #[must_use]
    pub fn votes_on(&self, journal: JournalId) -> bool {
        let ending = self.state.seals.journals.get(&journal);
        ending.is_some_and(|ending| ending.cut.is_none() && (ending.forced || ending.vote.is_cast()))
    }

    /// Whether a journal's owner has promised nothing new for half the fence timeout.
    #[must_use]
    pub fn misses(&self, journal: JournalId, now: Now) -> bool {
        let lenient = Now { mono_us: now.mono_us + self.config.fence_timeout_ms * 500, ..now };
        self.is_silent(journal, 0, lenient)
    }

    /// What of this site's frontier does not count for the quorum of a release.
    pub(crate) fn frozen(&self) -> Frozen {
        let mut journals = self.state.seals.reports();
        let (seals, switch) = (&self.state.seals, self.state.switch);
        journals.retain(|journal, _| match seals.cut(*journal) {
            Some(_) => !switch.has(Mutant::ThawedAtEnd),
            None => !switch.has(Mutant::VoteNotFrozen),
        });
        let order = &self.merge.order;
        for (journal, freeze) in &mut journals {
            if seals.cut(*journal).is_none() && order.is_sealed(*journal) {
                // It ended with the removal of its site, and nobody votes on it any more.
                *freeze = Freeze::ended(order.next_unreleased(*journal));
            }
        }
        Frozen { all: !self.identity.synced, epoch: self.state.seals.entered, journals }
    }

    /// Moves every agreement on, and writes into the merged order what was agreed.
    pub(crate) fn tend_seals(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        let rested = step.now.mono_us.saturating_sub(self.state.seals.tended_us) >= TEND_US;
        if !rested || self.pipeline.is_full() || self.state.stopping_us.is_some() {
            return Ok(());
        }
        self.state.seals.tended_us = step.now.mono_us;
        self.note_heard();
        if self.is_witness() {
            return self.tend_witness(step);
        }
        self.enter_epoch(step)?;
        self.come_back(step)?;
        self.pledge_anew();
        self.watch_witness(step);
        self.ask_witness(step);
        self.find_silent(step);
        self.repeat_ballots(step);
        self.write_endings(step);
        self.carry_out_given_up(step);
        self.take_back(step);
        Ok(())
    }

    fn say_to_all(&mut self, journal: JournalId, said: &Said, step: &mut Step<'_>) {
        let attempt = self.state.seals.of(journal).vote.attempt;
        let greeted: Vec<SiteId> = self.peers.greeted().collect();
        for site in greeted {
            step.out.push(control(site, Message::Seal(journal, attempt, said.clone())));
        }
        self.seal_said(self.config.own, journal, (attempt, said.clone()), step);
    }

    fn say_of(&mut self, to: SiteId, journal: JournalId, said: Said, step: &mut Step<'_>) {
        let attempt = self.state.seals.of(journal).vote.attempt;
        self.say_in(attempt, to, journal, said, step);
    }

    fn say_in(&mut self, attempt: u32, to: SiteId, journal: JournalId, said: Said, step: &mut Step<'_>) {
        if to == self.config.own {
            self.seal_said(to, journal, (attempt, said), step);
        } else if self.peers.is_greeted(to) {
            step.out.push(control(to, Message::Seal(journal, attempt, said)));
        }
    }

    /// A member, perhaps this one, says something about a journal's end.
    pub(crate) fn seal_said(
        &mut self,
        from: SiteId,
        journal: JournalId,
        (attempt, said): (u32, Said),
        step: &mut Step<'_>,
    ) {
        if !self.config.knows(from) {
            return;
        }
        if let Said::Decided(Verdict::Ends(cut)) = said {
            return self.ended(journal, cut, step);
        }
        if !self.is_voter(from) {
            return;
        }
        if let Some(cut) = self.state.seals.cut(journal) {
            if from != self.config.own {
                self.say_of(from, journal, Said::Decided(Verdict::Ends(cut)), step);
            }
            return;
        }
        match said {
            Said::Suspect => return self.suspected(from, journal, step),
            Said::Silent => return self.found_silent(from, journal, step),
            _ => {}
        }
        let known = self.state.seals.of(journal).vote.attempt;
        if attempt < known && matches!(said, Said::Decided(_)) {
            return;
        }
        if attempt < known {
            // Of that attempt it was decided that the journal goes on.
            return self.say_in(attempt, from, journal, Said::Decided(Verdict::GoesOn), step);
        }
        if attempt > known {
            self.goes_on(journal, attempt);
        }
        match said {
            Said::Prepare { ballot } => self.prepare(from, journal, ballot, step),
            Said::Promised { ballot, storage, held, accepted, consents } => {
                self.promised(journal, ballot, ((from, storage), held, (accepted, consents)), step);
            }
            Said::Accept { ballot, verdict, promisers } => {
                self.accept(from, journal, (ballot, verdict), &promisers, step);
            }
            Said::Accepted { ballot, storage, renewed } => {
                self.accepted(journal, ballot, ((from, storage), &renewed), step);
            }
            Said::Refused { ballot, promised } => self.refused_ballot(journal, ballot, promised, step),
            Said::Decided(_) => self.goes_on(journal, attempt + 1),
            Said::Suspect | Said::Silent => {}
        }
    }

    /// It was decided that a journal goes on: it thaws, and what follows is another attempt.
    fn goes_on(&mut self, journal: JournalId, attempt: u32) {
        let ending = self.state.seals.of(journal);
        *ending = Ending { vote: Vote::attempt(attempt), tried_us: ending.tried_us, ..Ending::default() };
        self.state.pulse.news = true;
        self.pipeline.note(Note::Vote(journal, Vote::attempt(attempt)));
        self.state.seals.unsaid.push_back(None);
        self.count_own();
        let heard: Vec<SiteId> = self.others().collect();
        heard.into_iter().for_each(|site| self.count_peer(site));
    }

    fn prepare(&mut self, from: SiteId, journal: JournalId, ballot: Ballot, step: &mut Step<'_>) {
        if !self.votes_in(ballot) || self.pipeline.is_full() {
            return;
        }
        let chain = self.journals.durable_chain(journal);
        let mut held = Cut { next: chain.next, hash: chain.hash };
        if self.state.switch.has(Mutant::CutBelowReports) {
            held = Cut { next: 0, hash: entry::ChainHash::START };
        }
        let consents = self.may_end(journal);
        let vote = self.state.seals.of(journal).vote;
        let released = self.merge.order.next_unreleased(journal);
        match vote.promise(ballot, held, released, consents) {
            Ok(voted) => {
                self.state.seals.of(journal).tried_us = Some(step.now.mono_us);
                let held = voted.held.unwrap_or(held);
                let storage = self.identity.storage;
                let forgets = self.state.switch.has(Mutant::AcceptedForgotten);
                let (accepted, consents) = (voted.accepted.filter(|_| !forgets), voted.consents);
                let said = Said::Promised { ballot, storage, held, accepted, consents };
                self.vote(from, journal, voted, said);
            }
            Err(NoVote::Promised(promised)) => {
                self.say_of(from, journal, Said::Refused { ballot, promised }, step);
            }
            Err(NoVote::NotHeld | NoVote::Gone) => {}
        }
    }

    /// Notes a vote; it is told when the note is durable.
    fn vote(&mut self, to: SiteId, journal: JournalId, vote: Vote, said: Said) {
        self.state.seals.of(journal).vote = vote;
        let attempt = vote.attempt;
        self.state.seals.unsaid.push_back(Some((to, Message::Seal(journal, attempt, said))));
        self.pipeline.note(Note::Vote(journal, vote));
    }

    fn accept(
        &mut self,
        from: SiteId,
        journal: JournalId,
        (ballot, verdict): (Ballot, Verdict),
        promisers: &Storages,
        step: &mut Step<'_>,
    ) {
        if !self.votes_in(ballot) || self.pipeline.is_full() {
            return;
        }
        let vote = self.state.seals.of(journal).vote;
        if verdict != Verdict::GoesOn && !vote.consents && !self.may_end(journal) {
            let promised = vote.promised;
            return self.say_of(from, journal, Said::Refused { ballot, promised }, step);
        }
        let switch = self.state.switch;
        let unheld = switch.has(Mutant::EndUnheld);
        let held = if unheld { Seq::MAX } else { self.journals.durable(journal) };
        let renewed = self.state.seals.renewed.clone();
        let ending = self.state.seals.of(journal);
        if switch.has(Mutant::OlderBallotsAccepted) {
            ending.vote.promised = Ballot::default();
        }
        match ending.vote.accept((ballot, verdict), held, promisers, &renewed) {
            Ok(voted) => {
                ending.tried_us = Some(step.now.mono_us);
                let said = Said::Accepted { ballot, storage: self.identity.storage, renewed };
                self.vote(from, journal, voted, said);
            }
            Err(NoVote::Promised(promised)) => {
                self.say_of(from, journal, Said::Refused { ballot, promised }, step);
            }
            // It is asked again.
            Err(NoVote::NotHeld) => {}
            Err(NoVote::Gone) => self.ask_for_storages(step),
        }
    }

    /// Whether this site may consent to an end of a journal: it does so for fewer than half the sites at a time, until it
    /// is decided that they go on, or their next lives are in the order. Which partings count is judged by that (`Order`), so
    /// that there always is a journal to write seals and openings in. A site that is away already is taken away no further. Who was
    /// given up writes nothing anyway; of those who remain, one has to.
    fn may_end(&self, journal: JournalId) -> bool {
        let back = |gone: &JournalId| {
            self.merge.order.open().any(|open| open.site == gone.site && open.incarnation > gone.incarnation)
        };
        let ended = |(other, ending): &(&JournalId, &Ending)| {
            let ends = ending.cut.is_some() || ending.vote.consents;
            other.site != journal.site && self.is_voter(other.site) && ends && !back(other)
        };
        let away: BTreeSet<SiteId> =
            self.state.seals.journals.iter().filter(ended).map(|(other, _)| other.site).collect();
        let remain = self.members().iter().filter(|site| self.is_voter(**site)).count();
        let away_max = ((self.members().len() - 1) / 2).min(remain.saturating_sub(1));
        let last = self.merge.order.open().all(|open| open == journal);
        if self.state.switch.has(Mutant::TooManyEnd) {
            return true;
        }
        // Nobody will write again in the journal of a former life, or of a site that was given up: its end takes nothing away.
        self.merge.order.is_given_up(journal.site)
            || !last && (self.is_outlived(journal) || away.len() < away_max)
    }

    /// A member says where a journal ends.
    fn ended(&mut self, journal: JournalId, cut: Cut, step: &mut Step<'_>) {
        if self.state.seals.cut(journal).is_none() {
            self.pipeline.note(Note::Ended(journal, cut));
            self.end_known(journal, cut, step);
        }
    }

    /// A journal's end is known, from a message or from a seal that is durable here.
    pub(crate) fn end_known(&mut self, journal: JournalId, cut: Cut, step: &mut Step<'_>) {
        self.check_cut(journal, cut, step);
        let ending = self.state.seals.of(journal);
        if ending.cut.is_some() {
            return;
        }
        ending.cut = Some(cut);
        ending.proposal = None;
        self.merge.order.ends_at(journal, cut.next);
        self.state.pulse.news = true;
        self.count_own();
        let name = self.journal_name(journal);
        let next = cut.next;
        self.tell(
            format!("{name} is fenced: it ends before entry {next}; what it wrote beyond comes in later"),
            step,
        );
        step.out.push(Action::ViewChanged);
    }

    /// Whoever holds exactly what is named must hold the same.
    pub(crate) fn check_cut(&mut self, journal: JournalId, cut: Cut, step: &mut Step<'_>) {
        let chain = self.journals.durable_chain(journal);
        if chain.next == cut.next && chain.hash != cut.hash {
            self.quarantine(journal, "others agreed on another history of it", step);
        }
    }

    /// Something an operator may want to read, that is no alarm.
    fn tell(&self, text: String, step: &mut Step<'_>) {
        step.out.push(Action::Remark(text));
    }

    /// A note of ours about votes is durable: what waited for it is said.
    pub(crate) fn vote_durable(&mut self, step: &mut Step<'_>) {
        let Some(Some((to, message))) = self.state.seals.unsaid.pop_front() else { return };
        match message {
            Message::Seal(journal, attempt, said) => self.say_in(attempt, to, journal, said, step),
            other if self.peers.is_greeted(to) => step.out.push(control(to, other)),
            _ => {}
        }
    }

    /// Recovery: a vote that was noted.
    pub(crate) fn vote_found(&mut self, journal: JournalId, vote: Vote) {
        if !self.state.switch.has(Mutant::VotesForgotten) {
            self.state.seals.of(journal).vote = vote;
        }
    }

    /// Recovery: an end that was noted.
    pub(crate) fn end_found(&mut self, journal: JournalId, cut: Cut) {
        self.state.seals.of(journal).cut = Some(cut);
        self.merge.order.ends_at(journal, cut.next);
    }

    /// A newly greeted site learns what ended; it may have been away.
    pub(crate) fn tell_endings(&self, to: SiteId, step: &mut Step<'_>) {
        for (journal, cut) in self.state.seals.cuts() {
            let said = Said::Decided(Verdict::Ends(cut));
            step.out.push(control(to, Message::Seal(journal, 0, said)));
        }
    }
}
