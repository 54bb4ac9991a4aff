//! Sites that an operator, or the witness, gives up, where no majority is left to fence them.
//!
//! A decision is a record of its own: who was given up by whom, when and where, in which epoch of members, and how much of
//! its journals was held there. It is durable before it counts, it is told to every site that is greeted, and it is never
//! forgotten. From then on all members that remain are the quorum (`Order::needed`), in every agreement: they end the
//! journals of those who were given up, and write the changes that make them members no more. A majority of the members
//! contains one who remains, as long as no majority was given up, so that who knows of nothing does no harm; what cannot
//! be excluded otherwise is found out when two sites meet again: two halves that each gave the other up, or a majority that
//! was given up and had gone on. Such sites do not link (`crates/order/tests/members` shows both).

use std::collections::{BTreeMap, BTreeSet};

use clock::Now;
use entry::{Body, Change, Incarnation, JournalId, MemberEpoch, MembersBody, OpenBody, Seq, SiteId};

use super::{BALLOT_US, REPEAT_US};
use crate::action::{Action, Refusal};
use crate::notes::Note;
use crate::replicate::control;
use crate::site::{Site, Step};
use crate::wire::{GivenUp, Hello, JOURNALS_MAX, Message, Stand};

/// How many numbers are left out where those who were given up may have granted some: each takes a fence or an empty directory,
/// so that they are fewer.
const UNHEARD_GRANTS: u32 = 1000;
/// How much is kept of an operator's name, in bytes.
const WHO_BYTES_MAX: usize = 200;
/// Most records that are kept: decisions are few.
pub(super) const RECORDS_MAX: usize = 1000;

impl Site {
    /// The members that were not given up.
    pub(crate) fn is_voter(&self, site: SiteId) -> bool {
        self.is_member(site) && !self.merge.order.is_given_up(site)
    }

    /// Whether a member is given up and is to be one no more.
    pub(crate) fn gives_up(&self) -> bool {
        self.members().iter().any(|site| self.merge.order.is_given_up(*site))
    }

    /// The other members that were not given up.
    pub(crate) fn other_voters(&self) -> impl Iterator<Item = SiteId> {
        self.others().filter(|site| self.is_voter(*site))
    }

    /// An operator gives silent sites up: the others go on without them.
    pub(crate) fn give_sites_up(&mut self, sites: &[SiteId], who: &str, now: Now) -> Result<(), Refusal> {
        self.may_give_up(sites, now).map_err(Refusal::Fence)?;
        let mut who = who.to_owned();
        while who.len() > WHO_BYTES_MAX {
            who.pop();
        }
        for site in sites.iter().filter(|site| !self.merge.order.is_given_up(**site)) {
            let record = self.giving_up(*site, who.clone(), now);
            self.pipeline.note(Note::GivenUp(record));
        }
        Ok(())
    }

    /// The record of a decision made here and now.
    pub(super) fn giving_up(&self, site: SiteId, who: String, now: Now) -> GivenUp {
        let held = self.journals.frontier().into_iter().filter(|(journal, _)| journal.site == site);
        GivenUp {
            site,
            epoch: self.merge.order.epoch(),
            by: self.config.own,
            at_ms: now.wall_ms,
            who,
            held: held.collect(),
            witness: None,
        }
    }

    /// Whether it was the witness that let this site be given up last.
    pub(crate) fn gave_up_by_witness(&self) -> bool {
        let records = self.state.seals.given_up.values();
        let last = records.filter(|record| record.site == self.config.own).max_by_key(|record| record.epoch);
        last.is_some_and(|record| record.witness.is_some())
    }

    /// Says why not, if that may not be decided here.
    fn may_give_up(&self, sites: &[SiteId], now: Now) -> Result<(), String> {
        let name = |site: &SiteId| self.config.name_of(*site);
        let remain: Vec<SiteId> = self
            .members()
            .iter()
            .copied()
            .filter(|site| self.is_voter(*site) && !sites.contains(site))
            .collect();
        if let Some(stranger) = sites.iter().find(|site| !self.is_member(**site)) {
            return Err(format!("{} is no member", name(stranger)));
        }
        if !remain.contains(&self.config.own) {
            return Err("this site cannot be given up at itself: ask one that remains".to_owned());
        }
        let alive = self.alive(now.mono_us);
        if let Some(living) = sites.iter().find(|site| alive.contains(site) || self.peers.is_greeted(**site))
        {
            let name = name(living);
            return Err(format!("{name} answers: who can be reached is stopped or fenced without force"));
        }
        if remain.len() > self.members().len() / 2 {
            return Err(format!(
                "the {} sites that remain are a majority: fence without --forced, they agree by themselves",
                remain.len()
            ));
        }
        let out_of_reach = |site: &&SiteId| **site != self.config.own && !self.peers.is_greeted(**site);
        if let Some(missing) = remain.iter().find(out_of_reach) {
            let name = name(missing);
            return Err(format!(
                "{name} cannot be reached either, and all who remain must agree: bring it back, or name it too"
            ));
        }
        if let Some(journal) = self.unreachable_end(&remain) {
            return Err(format!(
                "those who remain lack entries of {} that were agreed on, and would wait for them for ever: bring a site back \
                 that has them until they are here; if there is none, found a new cluster with what `meridian dump segment \
                 --records` reads here",
                self.journal_name(journal)
            ));
        }
        let lost = sites.iter().copied().collect();
        if self.witness().is_some() && self.leaves_half(&lost) && !self.state.seals.witness.refused {
            return Err(
                "the witness answers: fence without --forced, it lets those who remain go on".to_owned()
            );
        }
        self.may_decide(remain.len() == 1)
    }

    /// A journal of which none of those who remain holds all that lies before its end.
    fn unreachable_end(&self, remain: &[SiteId]) -> Option<JournalId> {
        let held = |journal: JournalId| {
            let there = remain.iter().map(|site| self.peers.holds(*site, journal)).max().unwrap_or(0);
            there.max(self.journals.durable(journal))
        };
        let cuts = self.state.seals.cuts();
        cuts.into_iter().find(|(journal, cut)| held(*journal) < cut.next).map(|(journal, _)| journal)
    }

    /// Says why not, if this site is not the one to ask.
    pub(super) fn may_decide(&self, alone: bool) -> Result<(), String> {
        let own = self.identity.journal().filter(|own| self.state.seals.cut(*own).is_none());
        let takes_part = own.is_some_and(|own| self.merge.order.is_open(own));
        if own.is_none() || !(takes_part || alone) {
            return Err("this site's own journal takes no part in the order, so that nothing can be written there: ask \
                        another one that remains"
                .to_owned());
        }
        match self.votes() {
            true => Ok(()),
            false => {
                Err("this site does not vote yet: it has to learn what the others know first".to_owned())
            }
        }
    }

    /// A decision is durable here: it counts.
    pub(crate) fn gave_up(&mut self, record: &GivenUp, step: &mut Step<'_>) {
        self.merge.order.give_up(record.site, record.epoch, record.witness.is_none());
        for ending in self.state.seals.journals.values_mut() {
            // Whoever votes now is another.
            (ending.proposal, ending.tried_us) = (None, None);
            ending.opposed = false;
        }
        self.state.start.ask_others();
        self.state.seals.witness.wanted.remove(&record.site);
        if record.site == self.config.own {
            self.left_out_no_more();
        }
        let key = (record.epoch, record.site);
        if !self.state.seals.given_up.contains_key(&key) {
            let (site, by) = (self.config.name_of(record.site), self.config.name_of(record.by));
            let text =
                format!("{site} was given up by {} at {by}, as of members {}", record.who, record.epoch.0);
            step.out.push(Action::Alarm(text));
            self.state.seals.given_up.insert(key, record.clone());
        }
        if self.is_witness() {
            self.witnessed(record, step);
        }
        self.state.pulse.news = true;
        step.out.push(Action::ViewChanged);
    }

    /// Another site tells of all decisions that it knows of.
    pub(crate) fn told_given_up(&mut self, from: SiteId, records: Vec<GivenUp>, step: &mut Step<'_>) {
        if self.gave_each_other_up(from, &records) {
            let reason = self.apart(from);
            self.alarm(reason.clone(), step);
            return step.out.push(Action::Hangup { to: from, reason });
        }
        let room = RECORDS_MAX.saturating_sub(self.state.seals.given_up.len());
        let fresh: Vec<GivenUp> =
            records.into_iter().filter(|record| self.is_fresh(record)).take(room).collect();
        if self.is_witness() {
            return self.note_as_witness(fresh);
        }
        if self.config.witness == Some(from) {
            return self.told_by_witness(from, fresh, step);
        }
        for record in fresh {
            // Who was added again since may well be heard.
            let added = self.merge.order.added_with(record.site);
            let stands = added.is_none_or(|(since, _)| record.epoch >= since);
            let heard = stands && self.peers.is_greeted(record.site) && self.is_voter(record.site);
            if record.witness.is_none() && heard {
                let (from, site) = (self.config.name_of(from), self.config.name_of(record.site));
                let text = format!("{from} has given {site} up, which answers here: {from} waits");
                self.alarm(text, step);
            } else {
                self.note_given_up(record);
            }
        }
    }

    /// Notes a decision that was told, at once or when there is room.
    pub(super) fn note_given_up(&mut self, record: GivenUp) {
        if !self.pipeline.is_full() {
            self.pipeline.note(Note::GivenUp(record));
        } else if self.state.seals.heard.len() < RECORDS_MAX {
            self.state.seals.heard.push(record);
        }
    }

    /// Notes what was heard while there was no room.
    pub(super) fn note_heard(&mut self) {
        for record in std::mem::take(&mut self.state.seals.heard) {
            if self.is_fresh(&record) {
                self.pipeline.note(Note::GivenUp(record));
            }
        }
    }

    /// Whether a decision says something new, in few enough words.
    pub(super) fn is_fresh(&self, record: &GivenUp) -> bool {
        let known = self.state.seals.given_up.contains_key(&(record.epoch, record.site));
        !known && record.who.len() <= WHO_BYTES_MAX && record.held.len() <= JOURNALS_MAX
    }

    /// Whether this site knows of a decision against another that this one has not heard of, and the other way round:
    /// each went on without the other.
    fn gave_each_other_up(&self, from: SiteId, theirs: &[GivenUp]) -> bool {
        let ours = &self.state.seals.given_up;
        // Two operators may have decided the same at two sites.
        let heard =
            |key: &(MemberEpoch, SiteId)| theirs.iter().any(|record| (record.epoch, record.site) == *key);
        let unheard = |record: &GivenUp| !ours.contains_key(&(record.epoch, record.site));
        ours.keys().any(|key| key.1 == from && !heard(key)) && theirs.iter().any(unheard)
    }

    /// From which number on incarnations of a site are granted, if enough were given up with it to have granted it some that
    /// nobody heard of who remains.
    pub(crate) fn grants_from(&self, site: SiteId) -> Option<Incarnation> {
        let records = &self.state.seals.given_up;
        let unheard = |record: &&GivenUp| {
            let members = self.merge.order.members_of(record.epoch).map_or(0, BTreeSet::len);
            let lost = records.keys().filter(|(epoch, _)| *epoch == record.epoch).count();
            record.site == site && lost > members / 2 + 1
        };
        let last = |record: &GivenUp| record.held.keys().map(|journal| journal.incarnation.0).max();
        let last = records.values().filter(unheard).map(|record| last(record).unwrap_or(0)).max()?;
        Some(Incarnation(last + UNHEARD_GRANTS))
    }

    /// Tells all members and the witness, and makes members no more of who was given up, once their journals are sealed. Who was
    /// given up may have been greeted before that was decided; if it did not hear it, a later decision of its own would look like
    /// one of two histories.
    pub(super) fn carry_out_given_up(&mut self, step: &mut Step<'_>) {
        let due: Vec<SiteId> =
            self.members().iter().copied().filter(|site| self.merge.order.is_given_up(*site)).collect();
        let now_us = step.now.mono_us;
        let told_us = self.state.seals.told_us;
        if due.is_empty() || now_us.saturating_sub(told_us) < REPEAT_US {
            return;
        }
        self.state.seals.told_us = now_us;
        let records: Vec<GivenUp> = self.state.seals.given_up.values().cloned().collect();
        let told = self.others().chain(self.config.witness);
        let told: Vec<SiteId> = told.filter(|site| self.peers.is_greeted(*site)).collect();
        step.out.extend(told.into_iter().map(|site| control(site, Message::GivenUp(records.clone()))));
        if now_us.saturating_sub(self.state.seals.wrote_us) < BALLOT_US || self.may_write().is_err() {
            return;
        }
        let Some(body) = self.next_of_given_up(&due) else { return };
        if let Ok(Some(stamp)) = self.mint(step.now) {
            self.state.seals.wrote_us = now_us;
            let _ = self.say(stamp, body);
        }
    }

    /// What this site has to write into the merged order next, for those who were given up to be members no more.
    fn next_of_given_up(&self, given_up: &[SiteId]) -> Option<Body> {
        let own = self.identity.journal().filter(|own| self.state.seals.cut(*own).is_none())?;
        let order = &self.merge.order;
        if self.merge.is_releasing() || !self.votes() {
            return None;
        }
        if !order.is_open(own) {
            // It was stopped cleanly, and whoever could open it is gone.
            let first = order.parted_first(own).filter(|_| !order.opens_itself(own))?;
            let alone = self.other_voters().next().is_none();
            return alone.then_some(Body::Open(OpenBody { journal: own, first }));
        }
        if order.unsealed().any(|journal| self.holds_up(journal)) {
            return None;
        }
        let left = |site: &&SiteId| !order.unsealed().any(|journal| journal.site == **site);
        let changes = given_up.iter().filter(left).map(|site| Change::GiveUp { site: *site });
        let change = changes.into_iter().find(|change| order.may_change(*change))?;
        Some(Body::Members(MembersBody { epoch: order.epoch().next(), change }))
    }

    /// Whether who remains and has released less of a journal, with those who are lost, might not follow the others behind a
    /// change: one that has voted on its end counts no more of it than it held then, and they vote in the former epoch no more.
    fn holds_up(&self, journal: JournalId) -> bool {
        let held = self.journals.durable(journal);
        let differs = || self.other_voters().any(|site| self.peers.holds(site, journal) != held);
        self.is_under_vote(journal) || (self.merge.order.is_given_up(journal.site) && differs())
    }

    /// Where each journal stands here, for another site to compare.
    pub(crate) fn stands(&self) -> BTreeMap<JournalId, Stand> {
        let stand = |journal: JournalId| {
            let sorted = self.merge.order.sorted(journal);
            (journal, Stand { sorted, cut: self.state.seals.cut(journal) })
        };
        self.known_journals().map(stand).collect()
    }

    /// Why another site's history and this one's cannot be one, if an operator's decision has made two of them.
    pub(crate) fn is_apart(&self, from: SiteId, hello: &Hello) -> Option<String> {
        if hello.given_up.is_empty() && self.state.seals.given_up.is_empty() {
            return None;
        }
        let mutual = self.gave_each_other_up(from, &hello.given_up);
        let beyond = |sorted: Option<Seq>, cut: Seq| sorted.is_some_and(|sorted| sorted > cut);
        let differs = |(journal, theirs): (&JournalId, &Stand)| {
            let (sorted, cut) = (self.merge.order.sorted(*journal), self.state.seals.cut(*journal));
            let read_on = theirs.cut.is_some_and(|cut| beyond(sorted, cut.next));
            let they_read_on = cut.is_some_and(|cut| beyond(theirs.sorted, cut.next));
            read_on || they_read_on || theirs.cut.zip(cut).is_some_and(|(theirs, ours)| theirs != ours)
        };
        (mutual || hello.stands.iter().any(differs)).then(|| self.apart(from))
    }

    fn apart(&self, from: SiteId) -> String {
        let name = self.config.name_of(from);
        format!(
            "{name} and this site have each gone on without the other, after an operator gave one of them up: their two \
             histories cannot be one. Choose one: stop the other, keep its data directory aside (`meridian dump` reads \
             it), and start it again on an empty one with `meridian join`"
        )
    }
}
