//! The witness: a site that holds no data, and decides between two halves.
//!
//! Where just half of the members remain, neither half can tell whether the other is dead or only out of reach. So it asks
//! the witness, which lets one of them give the other up and no more: all its decisions together leave at least half of
//! the members, the asker among them. Its word takes the place of an operator's (`given_up`), and what follows from it is
//! the same: all who remain are the quorum. It belongs to no quorum, holds nothing, and asks for nothing but what was decided.
//!
//! What it has let happen is durable before it is told. It votes only with a data directory that the members have told
//! what they know: each then durably takes the word of that directory alone, so that one which was lost, or put back,
//! lets nobody go on who was not heard. The rules are model-checked (`crates/order/tests/witness`).

use std::collections::{BTreeMap, BTreeSet};

use clock::Now;
use entry::{Change, JournalId, MemberEpoch, SiteId, StorageId};
use order::MEMBERS_MAX;

use super::given_up::RECORDS_MAX;
use super::{BALLOT_US, REPEAT_US};
use crate::action::Action;
use crate::identity::Identity;
use crate::mutant::Mutant;
use crate::notes::Note;
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::view::WitnessStatus;
use crate::wire::{AskWitness, GivenUp, Message, Votes};

/// The alarm of a site that the witness has let be given up, until it learns the same from one of those who went on.
const LEFT_OUT: &str = "the witness has let others go on without this site";

/// How the alarm begins that stands while the witness does not vote.
const NO_VOTE: &str = "there is no vote of the witness";
/// Why a witness does not vote that began with an empty directory.
const UNTOLD: &str = "not every member has told it yet what was decided";
/// Why it lets this site go on in no case.
const BEHIND: &str = "it has heard that the members have changed, and this site has not learned how";

/// What concerns the witness: at a member what was asked of it, and at itself what it has heard.
#[derive(Debug, Default)]
pub(super) struct Witnessing {
    /// At a member: when it was asked last, in monotonic microseconds.
    asked_us: Option<u64>,
    /// Whom an operator wants fenced, while only the witness can agree to it.
    pub(super) wanted: BTreeSet<SiteId>,
    /// Since when members answer with a data directory that does not vote, in monotonic microseconds.
    empty_us: BTreeMap<SiteId, u64>,
    /// Whether it has let others go on without this site.
    pub(super) refused: bool,
    /// When who is back was last asked to be a member again, in monotonic microseconds.
    added_us: Option<u64>,
    /// At the witness: decisions whose notes are on their way to the disk.
    pending: Vec<GivenUp>,
    /// Who has told what it knows, and whom each takes for the members that remain.
    told: BTreeMap<SiteId, BTreeSet<SiteId>>,
}

impl Site {
    /// Whether this site is the witness.
    pub(crate) fn is_witness(&self) -> bool {
        self.config.witness == Some(self.config.own)
    }

    /// The witness, and the data directory whose word counts here.
    fn pledged(&self) -> Option<(SiteId, StorageId)> {
        let witness = self.config.witness.filter(|site| !self.is_member(*site))?;
        Some((witness, *self.state.seals.renewed.get(&witness)?))
    }

    /// The witness, if it can be asked.
    pub(super) fn witness(&self) -> Option<(SiteId, StorageId)> {
        self.pledged().filter(|(witness, _)| self.witness_lacks(*witness).is_none())
    }

    /// The data directory that a site in touch speaks for.
    fn greeted_with(&self, site: SiteId) -> Option<StorageId> {
        self.peers.links.get(&site)?.greeted
    }

    /// A bug on purpose: one of two and the witness are a majority.
    pub(crate) fn takes_witness_for_holder(&self) -> bool {
        self.state.switch.has(Mutant::WitnessHolds) && self.members().len() == 2 && self.witness().is_some()
    }

    /// Why the witness cannot be asked, if it cannot.
    fn witness_lacks(&self, witness: SiteId) -> Option<String> {
        let unready = self.peers.frozen.get(&witness).is_none_or(|frozen| frozen.all);
        match self.greeted_with(witness) {
            None => Some("it cannot be reached".to_owned()),
            Some(storage) if !unready && self.pledged() == Some((witness, storage)) => {
                let heard = self.peers.frozen.get(&witness).map(|frozen| frozen.epoch);
                (heard > Some(self.merge.order.epoch())).then(|| BEHIND.to_owned())
            }
            Some(_) => Some(UNTOLD.to_owned()),
        }
    }

    /// The witness and why it does not vote, for an operator; none where there is no witness.
    pub(crate) fn witness_status(&self) -> Option<WitnessStatus> {
        let site = self.config.witness?;
        let lacks = match self.is_witness() {
            true => (!self.identity.synced).then(|| UNTOLD.to_owned()),
            false => self.witness_lacks(site),
        };
        Some(WitnessStatus { site, lacks })
    }

    /// Says that the witness does not vote, as long as that is so.
    pub(super) fn watch_witness(&mut self, step: &mut Step<'_>) {
        let awake = step.now.mono_us.saturating_sub(self.state.start.began_us());
        let Some(witness) = self.config.witness.filter(|_| awake >= self.config.start_wait_ms * 1000) else {
            return;
        };
        // For a moment that is so whenever the members change.
        let text = self.witness_lacks(witness).filter(|why| why != BEHIND).map(|why| {
            let name = self.config.name_of(witness);
            format!("{NO_VOTE} {name}: {why}; should half of the members be lost meanwhile, an operator has to decide")
        });
        self.state.alarms.retain(|known| !known.starts_with(NO_VOTE) || Some(known) == text.as_ref());
        if let Some(text) = text {
            self.alarm(text, step);
        }
    }

    /// Whether the members without these are just half: as many as the witness lets go on.
    pub(super) fn leaves_half(&self, lost: &BTreeSet<SiteId>) -> bool {
        let remain = self.members().iter().filter(|site| self.is_voter(**site) && !lost.contains(site));
        !lost.is_empty() && 2 * remain.count() == self.members().len()
    }

    /// Asks the witness to let this site, and all who are in touch with it, go on without the others.
    pub(super) fn ask_witness(&mut self, step: &mut Step<'_>) {
        let now_us = step.now.mono_us;
        self.find_empty(now_us);
        // Who is back is not fenced for what an operator wanted before.
        self.state.seals.witness.wanted.retain(|site| !self.peers.is_greeted(*site));
        let rested =
            self.state.seals.witness.asked_us.is_none_or(|at| now_us.saturating_sub(at) >= REPEAT_US);
        let Some((witness, storage)) = self.witness().filter(|_| rested && self.votes()) else { return };
        let lost: BTreeSet<SiteId> =
            self.other_voters().filter(|site| self.is_lost(*site, step.now)).collect();
        let remain: Vec<SiteId> = self.other_voters().filter(|site| !lost.contains(site)).collect();
        let alone = remain.is_empty();
        // All of them are needed.
        let unready = remain.into_iter().any(|site| !self.peers.is_greeted(site) || self.is_empty(site));
        if unready || !self.leaves_half(&lost) || self.may_decide(alone).is_err() || self.may_write().is_err()
        {
            return;
        }
        self.state.seals.witness.asked_us = Some(now_us);
        let who = format!("the witness {}", self.config.name_of(witness));
        let record = |site| GivenUp { witness: Some(witness), ..self.giving_up(site, who.clone(), step.now) };
        let since = |site: &SiteId| (*site, self.merge.order.since(*site));
        let ask = AskWitness {
            storage,
            members: self.members().iter().map(since).collect(),
            decisions: lost.into_iter().map(record).collect(),
        };
        step.out.push(control(witness, Message::AskWitness(ask)));
    }

    /// Whether another member is out of touch and has been silent for the fence timeout, or an operator wants it fenced; or it
    /// has been there for as long with a data directory that does not vote, though it may have begun a journal.
    fn is_lost(&self, site: SiteId, now: Now) -> bool {
        let timeout_us = self.config.fence_timeout_ms * 1000;
        let is_long = |since: u64| timeout_us > 0 && now.mono_us.saturating_sub(since) >= timeout_us;
        let witnessing = &self.state.seals.witness;
        if self.peers.is_greeted(site) {
            return witnessing.empty_us.get(&site).is_some_and(|since| is_long(*since));
        }
        if witnessing.wanted.contains(&site) {
            return true;
        }
        let heard_us = self.peers.heard_us.get(&site).copied().unwrap_or(0).max(self.state.start.began_us());
        let mut journals = self.merge.order.unsealed().filter(|journal| journal.site == site);
        is_long(heard_us) && journals.all(|journal: JournalId| self.is_silent(journal, 0, now))
    }

    /// Whether a site's data directory does not vote.
    pub(super) fn is_empty(&self, site: SiteId) -> bool {
        self.peers.frozen.get(&site).is_some_and(|frozen| frozen.all)
    }

    /// Who is in touch, and whose data directory does not vote.
    fn find_empty(&mut self, now_us: u64) {
        let empty = self.other_voters().filter(|site| self.peers.is_greeted(*site) && self.is_empty(*site));
        let known = &self.state.seals.witness.empty_us;
        let since = empty.map(|site| (site, known.get(&site).copied().unwrap_or(now_us)));
        self.state.seals.witness.empty_us = since.collect();
    }

    /// A member asks the witness, perhaps this site, to be let go on without others.
    pub(crate) fn asked_as_witness(&mut self, from: SiteId, ask: &AskWitness, step: &mut Step<'_>) {
        let room = self.state.seals.given_up.len() + ask.decisions.len() <= RECORDS_MAX;
        let free = self.state.seals.witness.pending.is_empty() && !self.pipeline.is_full();
        let votes = self.is_witness() && self.identity.synced && ask.storage == self.identity.storage;
        if !votes || !free || !room || !self.is_sound(from, ask) {
            return;
        }
        self.heard_as_witness(ask.decisions.iter().map(|record| record.epoch).max());
        let careless = self.state.switch.has(Mutant::WitnessVotesTwice);
        let fresh: Vec<GivenUp> = match careless || self.lets_go_on(from, ask) {
            true => ask.decisions.iter().filter(|record| self.is_fresh(record)).cloned().collect(),
            false => Vec::new(),
        };
        if fresh.is_empty() {
            return self.tell_decisions(from, step);
        }
        if self.state.switch.has(Mutant::WitnessTellsEarly) {
            step.out.push(control(from, Message::GivenUp(fresh.clone())));
        }
        self.note_as_witness(fresh);
    }

    /// The witness hears which epoch of members a site has entered. Who asks from an earlier one may be a member no more.
    pub(crate) fn heard_as_witness(&mut self, epoch: Option<MemberEpoch>) {
        let later = epoch.filter(|epoch| *epoch > self.state.seals.entered && self.is_witness());
        if let Some(epoch) = later.filter(|_| !self.pipeline.is_full()) {
            self.entered(epoch);
            self.pipeline.note(Note::Entered(epoch));
        }
    }

    /// Whether what is asked makes sense at all.
    fn is_sound(&self, from: SiteId, ask: &AskWitness) -> bool {
        let own = self.config.own;
        let sound = |record: &GivenUp| {
            let since = ask.members.get(&record.site);
            record.witness == Some(own)
                && record.by == from
                && since.is_some_and(|since| record.epoch >= *since)
        };
        ask.members.len() <= MEMBERS_MAX
            && ask.members.contains_key(&from)
            && ask.decisions.len() <= ask.members.len()
            && ask.decisions.iter().all(sound)
    }

    /// Whether all that was decided and still stands leaves at least half of the members, the one that asks among them, and no
    /// later members are known of.
    fn lets_go_on(&self, from: SiteId, ask: &AskWitness) -> bool {
        if ask.decisions.iter().any(|record| record.epoch < self.state.seals.entered) {
            return false;
        }
        let decided = self.state.seals.given_up.values().chain(&ask.decisions);
        let stands =
            |record: &&GivenUp| ask.members.get(&record.site).is_some_and(|since| record.epoch >= *since);
        let lost: BTreeSet<SiteId> = decided.filter(stands).map(|record| record.site).collect();
        !lost.contains(&from) && 2 * (ask.members.len() - lost.len()) >= ask.members.len()
    }

    /// The witness notes decisions, its own and those that it is told; it votes on nothing before they are durable.
    pub(super) fn note_as_witness(&mut self, records: Vec<GivenUp>) {
        for record in records {
            self.state.seals.witness.pending.push(record.clone());
            self.pipeline.note(Note::GivenUp(record));
        }
    }

    /// A decision is durable at the witness: who asked for it is told when all of them are.
    pub(super) fn witnessed(&mut self, record: &GivenUp, step: &mut Step<'_>) {
        let pending = &mut self.state.seals.witness.pending;
        pending.retain(|known| known != record);
        if pending.is_empty() && self.peers.is_greeted(record.by) {
            self.tell_decisions(record.by, step);
        }
    }

    fn tell_decisions(&self, to: SiteId, step: &mut Step<'_>) {
        let records = self.state.seals.given_up.values().cloned().collect();
        step.out.push(control(to, Message::GivenUp(records)));
    }

    /// The witness tells what it has let happen.
    pub(super) fn told_by_witness(&mut self, from: SiteId, fresh: Vec<GivenUp>, step: &mut Step<'_>) {
        let own = self.config.own;
        let left_out = |record: &&GivenUp| record.site == own && record.epoch >= self.merge.order.since(own);
        if let Some(record) = fresh.iter().find(left_out) {
            return self.left_out(record, step);
        }
        for record in fresh {
            if record.site != own && self.is_word_of_witness(from, &record) {
                self.note_given_up(record);
            }
        }
    }

    /// Whether a decision comes from the witness, and from a directory of it whose word counts here.
    fn is_word_of_witness(&self, from: SiteId, record: &GivenUp) -> bool {
        record.witness == Some(from)
            && self.pledged() == self.greeted_with(from).map(|storage| (from, storage))
    }

    /// The witness has let others go on without this site. It learns the rest from them, also who else was left out: until
    /// then it stays what it is, so that those who were can still decide otherwise, with an operator, where the others are
    /// lost for good.
    fn left_out(&mut self, record: &GivenUp, step: &mut Step<'_>) {
        if !self.is_voter(self.config.own) || self.peers.is_greeted(record.by) {
            return;
        }
        self.state.seals.witness.refused = true;
        let by = self.config.name_of(record.by);
        let text = format!(
            "{LEFT_OUT}: {by} has gone on, and what is written here comes in when the two meet. Where {by} is lost for \
             good, `meridian site fence {by} --forced` decides otherwise"
        );
        self.alarm(text, step);
    }

    /// This site has learned from others what became of it.
    pub(super) fn left_out_no_more(&mut self) {
        self.state.seals.witness.refused = false;
        self.state.alarms.retain(|text| !text.starts_with(LEFT_OUT));
    }

    /// The witness learns from every member what was decided, before it votes.
    pub(super) fn tend_witness(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        if self.identity.synced {
            return Ok(());
        }
        let witnessing = &self.state.seals.witness;
        let told = |remain: &BTreeSet<SiteId>| {
            !remain.is_empty() && remain.iter().all(|site| witnessing.told.contains_key(site))
        };
        let careless = self.state.switch.has(Mutant::WitnessVotesAtOnce) && !witnessing.told.is_empty();
        let is_told = witnessing.told.values().any(told) || careless;
        if is_told && witnessing.pending.is_empty() {
            if self.become_known_as(Identity { synced: true, ..self.identity.clone() }, step)? {
                self.state.pulse.news = true;
                step.out.push(Action::Remark("this site is the witness: it votes".to_owned()));
                step.out.push(Action::ViewChanged);
            }
            return Ok(());
        }
        let now_us = step.now.mono_us;
        if witnessing.asked_us.is_none_or(|at| now_us.saturating_sub(at) >= REPEAT_US) {
            self.state.seals.witness.asked_us = Some(now_us);
            self.ask_for_votes(None, step);
        }
        Ok(())
    }

    /// A member has told the witness what it knows, and takes the word of no other directory from here on.
    pub(super) fn told_as_witness(&mut self, from: SiteId, told: &Votes) {
        self.heard_as_witness(Some(told.entered));
        if told.remain.len() <= MEMBERS_MAX {
            self.state.seals.witness.told.insert(from, told.remain.clone());
        }
    }

    /// Who asks may be told votes: the witness too, if this site takes it for one, but no directory of it that was left.
    pub(super) fn may_be_told(&self, from: SiteId, storage: StorageId) -> bool {
        let was_left = self.state.seals.left.get(&from).is_some_and(|left| left.contains(&storage));
        self.is_member(from) || self.config.witness == Some(from) && !was_left
    }

    /// A member that votes and takes nobody's word, though the witness votes, was put back to before it noted whose: what it had
    /// told is known to that directory, and who was told of another one tells it.
    pub(super) fn pledge_anew(&mut self) {
        let Some(witness) = self.config.witness.filter(|_| self.votes()) else { return };
        let Some(storage) = self.greeted_with(witness) else { return };
        let knows = self.state.seals.renewed.contains_key(&witness) || self.is_member(witness);
        let is_told = self.peers.frozen.get(&witness).is_some_and(|frozen| !frozen.all);
        if is_told && !knows && self.may_be_told(witness, storage) {
            self.take_for_valid(witness, storage);
        }
    }

    /// Who was given up by the witness's word and is back becomes a member again, as soon as it holds what the others hold and
    /// all who were given up are out: until then it would be one more of those who are needed.
    pub(super) fn take_back(&mut self, step: &Step<'_>) {
        let now_us = step.now.mono_us;
        let recently =
            self.state.seals.witness.added_us.is_some_and(|at| now_us.saturating_sub(at) < BALLOT_US);
        let unready = self.gives_up() || self.merge.is_releasing() || !self.votes();
        if recently || self.config.witness.is_none() || unready {
            return;
        }
        let back = |record: &&GivenUp| {
            let site = record.site;
            let stands = self.merge.order.is_given_up(site) && !self.is_member(site);
            record.witness.is_some() && stands && self.peers.is_greeted(site) && self.may_add(site)
        };
        let Some(site) = self.state.seals.given_up.values().find(back).map(|record| record.site) else {
            return;
        };
        if self.may_write().is_ok() {
            self.state.seals.witness.added_us = Some(now_us);
            let _ = self.change_members(true, site, step.now);
        }
    }

    fn may_add(&self, site: SiteId) -> bool {
        let Some((storage, _)) = self.peers.frontiers.get(&site) else { return false };
        self.merge.order.may_change(Change::Add { site, storage: *storage })
    }
}
