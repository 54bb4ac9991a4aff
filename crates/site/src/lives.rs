//! Which of a site's lives its origin logs show.
//!
//! An origin log is one row: what a site wrote in one life stands in front of what it wrote in the next. Who follows it goes
//! on to the next life where nothing more is there of the one before, and what came in there later would be passed
//! over. So a life is shown when all before it are whole here: they have ended, and everything is here up to their ends;
//! all that the owner held of them when it began the latest life, which is the first thing that it says there
//! ([`entry::BeginBody`]); and all that others are known to hold. Entries beyond an end come late, after a fence, and
//! may well come after the first of the next life. A member that has lost its disk knows nothing of what others hold: it
//! shows no later life before it counts again.
//!
//! What was shown once is shown for good: a life is noted, durably, before it is.

use std::collections::{BTreeMap, BTreeSet};

use entry::{BeginBody, Incarnation, JournalId, Seq, SiteId};
use serde::{Deserialize, Serialize};

use crate::action::Grown;
use crate::mutant::Mutant;
use crate::notes::Note;
use crate::site::{Site, Step};

/// A life that is not shown for so long is spoken of, in microseconds.
const SPOKEN_OF_US: u64 = 30_000_000;

/// What is shown, and what waits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Lives {
    /// The latest life of each site that is shown; of who is not named here, the first.
    shown: BTreeMap<SiteId, JournalId>,
    /// What owners of later lives held of each former one when they began.
    former: BTreeMap<JournalId, BTreeMap<Incarnation, Seq>>,
    /// Lives of which something is here and nothing shown.
    #[serde(skip)]
    hidden: BTreeSet<JournalId>,
    /// What is being noted: that lives are shown up to these.
    #[serde(skip)]
    noted: BTreeSet<JournalId>,
    /// Since when something is hidden, in monotonic microseconds.
    #[serde(skip)]
    since_us: BTreeMap<SiteId, u64>,
}

impl Lives {
    /// Continues from a checkpoint that holds these journals.
    pub(crate) fn restore(state: Lives, held: impl Iterator<Item = JournalId>) -> Lives {
        let mut lives = state;
        held.for_each(|journal| lives.held(journal));
        lives
    }

    /// The same joined with what another state shows: what was shown in either is whole in both.
    pub(crate) fn joined(mut self, other: &Lives) -> Lives {
        other.shown.values().for_each(|latest| self.reach(*latest));
        self.former.extend(other.former.iter().map(|(journal, former)| (*journal, former.clone())));
        self.forget_former();
        self
    }

    fn shown(&self, site: SiteId) -> JournalId {
        self.shown.get(&site).copied().unwrap_or(JournalId::genesis(site))
    }

    fn reach(&mut self, latest: JournalId) {
        let shown = self.shown(latest.site).max(latest);
        self.shown.insert(latest.site, shown);
    }

    /// Something of this journal is durable here.
    pub(crate) fn held(&mut self, journal: JournalId) {
        if journal > self.shown(journal.site) {
            self.hidden.insert(journal);
        }
    }

    /// A journal begins.
    pub(crate) fn began(&mut self, journal: JournalId, begin: BeginBody) {
        self.former.insert(journal, begin.former);
    }

    /// Whether there is anything that is not shown yet.
    pub(crate) fn hides(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// What the owner said last of its former lives.
    fn said_last(&self, site: SiteId) -> Option<&BTreeMap<Incarnation, Seq>> {
        let own = self.former.iter().rev().find(|(journal, _)| journal.site == site);
        own.map(|(_, former)| former)
    }

    /// A site's lives up to this one are shown; returns those that were not before.
    fn show(&mut self, latest: JournalId) -> Vec<JournalId> {
        self.reach(latest);
        let fresh = self.hidden.range(JournalId::genesis(latest.site)..=latest).copied().collect();
        self.hidden.retain(|journal| journal.site != latest.site || *journal > latest);
        self.noted.retain(|journal| journal.site != latest.site || *journal > latest);
        self.since_us.remove(&latest.site);
        self.forget_former();
        fresh
    }

    fn forget_former(&mut self) {
        let shown = &self.shown;
        self.former.retain(|journal, _| shown.get(&journal.site).is_none_or(|latest| latest < journal));
    }
}

/// No life of a site is later.
pub(crate) fn beyond_all(site: SiteId) -> JournalId {
    JournalId { site, incarnation: Incarnation(u32::MAX) }
}

impl Site {
    /// The latest life of a site that its origin logs show.
    pub(crate) fn latest_shown(&self, site: SiteId) -> JournalId {
        match self.state.switch.has(Mutant::TailsPassedOver) {
            true => beyond_all(site),
            false => self.state.lives.shown(site),
        }
    }

    /// Lives of which something is here, and which origin logs do not show yet.
    pub fn hidden_lives(&self) -> impl Iterator<Item = JournalId> {
        self.state.lives.hidden.iter().copied()
    }

    /// Notes which lives can be shown by now.
    pub(crate) fn show_lives(&mut self, step: &mut Step<'_>) {
        if !self.state.lives.hides() || self.pipeline.is_full() {
            return;
        }
        let sites: BTreeSet<SiteId> = self.state.lives.hidden.iter().map(|journal| journal.site).collect();
        for site in sites {
            self.speak_of_hidden(site, step);
            let Some(latest) = self.latest_whole(site) else { continue };
            if self.state.lives.noted.insert(latest) {
                self.pipeline.note(Note::Shown(latest));
            }
        }
    }

    /// The latest hidden life of a site with nothing missing in front of it.
    fn latest_whole(&self, site: SiteId) -> Option<JournalId> {
        let hidden = self.state.lives.hidden.iter().filter(|journal| journal.site == site);
        hidden.take_while(|journal| self.may_show(**journal)).last().copied()
    }

    fn may_show(&self, latest: JournalId) -> bool {
        if self.merge.order.removed().contains(&latest.site) {
            return true;
        }
        if !self.identity.synced && self.is_voter(self.config.own) {
            return false;
        }
        let said = self.state.lives.said_last(latest.site);
        let said_of = |journal: JournalId| said.and_then(|said| said.get(&journal.incarnation)).copied();
        let told = said.into_iter().flat_map(|said| said.keys());
        let told = told.map(|incarnation| JournalId { site: latest.site, incarnation: *incarnation });
        // Who has lost its disk knows of its own former lives by others only.
        let known = self.known_journals().chain(self.peers.journals()).chain(told);
        let mut former = known.filter(|journal| journal.site == latest.site && *journal < latest);
        former.all(|journal| self.is_whole(journal, said_of(journal).unwrap_or(0)))
    }

    /// Whether all that is known of a former life is here, if anything is, its owner having held this much of it.
    fn is_whole(&self, journal: JournalId, owned: Seq) -> bool {
        if self.journals.is_quarantined(journal) {
            // More of it is never taken.
            return true;
        }
        let (held, cut) = (self.journals.durable(journal), self.state.seals.cut(journal));
        let order = &self.merge.order;
        let ended = cut.is_some() || order.is_sealed(journal) || order.parted_first(journal).is_some();
        let others = self.peers.greeted().chain(self.others());
        let elsewhere = others.map(|site| self.peers.holds(site, journal)).max();
        let known = cut.map_or(0, |cut| cut.next).max(owned).max(elsewhere.unwrap_or(0));
        held >= known && (ended || held == 0)
    }

    fn speak_of_hidden(&mut self, site: SiteId, step: &mut Step<'_>) {
        let since_us = *self.state.lives.since_us.entry(site).or_insert(step.now.mono_us);
        if step.now.mono_us.saturating_sub(since_us) >= SPOKEN_OF_US {
            self.alarm(self.hides(site), step);
        }
    }

    fn hides(&self, site: SiteId) -> String {
        let name = self.config.name_of(site);
        format!(
            "origin logs of {name} stand still here: it has begun another journal, and not all of the one before has come; \
             they go on when that has come, or when the site that has it is removed"
        )
    }

    /// It is noted that lives can be shown: what waited in the logs is readable.
    pub(crate) fn lives_shown(&mut self, latest: JournalId) {
        let hides = self.hides(latest.site);
        self.state.alarms.remove(&hides);
        for journal in self.state.lives.show(latest) {
            let places = self.logs.places_of(journal);
            let origin = Some(journal.site);
            self.state.grown.extend(places.map(|(topic, partition)| Grown { topic, partition, origin }));
        }
    }

    /// Whether this site has yet to begin its journal, with what it holds of its former ones.
    pub(crate) fn has_to_begin(&self) -> bool {
        let own = self.identity.journal().filter(|journal| *journal > JournalId::genesis(journal.site));
        own.is_some_and(|journal| self.journals.next(journal) == 0)
    }

    /// Begins this site's journal.
    pub(crate) fn begin(&mut self, journal: JournalId, step: &mut Step<'_>) {
        if self.may_write_soon().is_err() {
            return;
        }
        let former = self.journals.former(journal);
        let former = former.map(|journal| (journal.incarnation, self.journals.durable(journal)));
        let begin = BeginBody { former: former.collect() };
        if let Ok(Some(stamp)) = self.mint(step.now) {
            self.say(stamp, entry::Body::Begin(begin)).expect("a few numbers are no long entry");
        }
    }
}
