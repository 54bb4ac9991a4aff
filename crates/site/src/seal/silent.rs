//! Which journals should end: those whose owners are silent, and those that an operator names.

use std::collections::BTreeSet;

use agree::Said;
use clock::Now;
use entry::{JournalId, SiteId};

use super::TURN_US;
use crate::action::Refusal;
use crate::replicate::control;
use crate::site::{Site, Step};
use crate::wire::{Freeze, Frozen, Message};

impl Site {
    /// How long this site lets others go first.
    pub(super) fn turn_us(&self, journal: JournalId) -> u64 {
        let before = self.peers.greeted().filter(|site| *site < self.config.own && *site != journal.site);
        TURN_US * before.count() as u64
    }

    /// Whether a journal's owner has promised nothing new for the fence timeout and `more_us`.
    pub(super) fn is_silent(&self, journal: JournalId, more_us: u64, now: Now) -> bool {
        let timeout_us = self.config.fence_timeout_ms * 1000;
        let began = self.state.start.began_us();
        let moved = self.peers.moved_us.get(&journal).copied().unwrap_or(0).max(began);
        timeout_us > 0
            && Some(journal) != self.identity.journal()
            && now.mono_us.saturating_sub(moved) >= timeout_us + more_us
    }

    /// Whether a journal's owner writes another one by now.
    pub(super) fn is_outlived(&self, journal: JournalId) -> bool {
        let later = |other: &JournalId| other.site == journal.site && other.incarnation > journal.incarnation;
        self.journals.frontier().keys().any(later)
            || self.peers.promises.keys().any(later)
            || self.peers.frontiers.values().any(|(_, held)| held.keys().any(later))
    }

    /// Whether a journal's owner has lost it: the data directory that it has now was granted a later one. It may not take that
    /// up before this one has ended: the order waits for what was promised of it, and behind that the members may be others.
    fn is_abandoned(&self, journal: JournalId) -> bool {
        let now = self.peers.frontiers.get(&journal.site).map(|(storage, _)| *storage);
        let granted = self.state.granted.get(&journal.site);
        granted.is_some_and(|grant| grant.incarnation > journal.incarnation && Some(grant.storage) == now)
    }

    /// Whether nobody will write in a journal any more: its owner writes another one by now, or is about to.
    pub(super) fn is_left(&self, journal: JournalId) -> bool {
        self.is_outlived(journal) || self.is_abandoned(journal)
    }

    /// Whether another member is known to have voted on a journal's end. Should it have lost that vote before it was durable,
    /// it does not know of it, and yet is not counted: then somebody else has to carry the agreement through.
    pub(super) fn is_begun_elsewhere(&self, journal: JournalId) -> bool {
        let (epoch, attempt) = (self.merge.order.epoch(), self.state.seals.attempt(journal));
        let ended = Freeze::ended(0).attempt;
        let voted = |frozen: &Frozen| {
            let freeze = frozen.journals.get(&journal).filter(|_| frozen.epoch == epoch);
            freeze.is_some_and(|freeze| freeze.most.is_some() && (attempt..ended).contains(&freeze.attempt))
        };
        self.peers.frozen.iter().any(|(site, frozen)| self.is_member(*site) && voted(frozen))
    }

    /// Whether anybody is known to have voted on a journal's end, and what was decided is not.
    pub(super) fn is_under_vote(&self, journal: JournalId) -> bool {
        let ending = self.state.seals.journals.get(&journal);
        let is_cast = ending.is_some_and(|ending| ending.vote.is_cast());
        self.state.seals.cut(journal).is_none() && (is_cast || self.is_begun_elsewhere(journal))
    }

    /// Asks whether others find a journal's owner silent too.
    pub(super) fn suspect(&mut self, journal: JournalId, step: &mut Step<'_>) {
        let own = self.config.own;
        let ending = self.state.seals.of(journal);
        ending.tried_us = Some(step.now.mono_us);
        ending.silent = BTreeSet::from([own]);
        let greeted: Vec<SiteId> = self.peers.greeted().collect();
        let attempt = ending.vote.attempt;
        let ask = |site| control(site, Message::Seal(journal, attempt, Said::Suspect));
        step.out.extend(greeted.into_iter().map(ask));
    }

    pub(super) fn suspected(&mut self, from: SiteId, journal: JournalId, step: &mut Step<'_>) {
        // Half the time is enough to agree with another who waited all of it: clocks and links differ a little.
        if self.votes() && self.misses(journal, step.now) {
            self.say_of(from, journal, Said::Silent, step);
        }
    }

    pub(super) fn found_silent(&mut self, from: SiteId, journal: JournalId, step: &mut Step<'_>) {
        let quorum = self.quorum();
        let still = self.is_silent(journal, 0, step.now);
        let ending = self.state.seals.of(journal);
        if ending.silent.insert(from) && still && ending.silent.len() == quorum {
            self.propose(journal, step);
        }
    }

    /// An operator wants a site fenced.
    pub(crate) fn fence(&mut self, site: SiteId) -> Result<(), Refusal> {
        let name = self.config.name_of(site);
        let seals = &self.state.seals;
        let ends = |journal: &JournalId| journal.site == site && seals.cut(*journal).is_none();
        let open: Vec<JournalId> = self.merge.order.open().filter(ends).collect();
        if open.is_empty() {
            return Err(Refusal::Fence(format!(
                "{name} has no open journal: it is fenced, has left, or is no member"
            )));
        }
        let hearing = 1 + self.peers.greeted().filter(|site| self.is_voter(*site)).count();
        let quorum = self.quorum();
        if hearing < quorum && self.witness().is_some() && self.leaves_half(&BTreeSet::from([site])) {
            self.may_decide(hearing == 1).map_err(Refusal::Fence)?;
            self.state.seals.witness.wanted.insert(site);
            return Ok(());
        }
        if hearing < quorum {
            let text = format!(
                "{name} cannot be fenced from here: that takes {quorum} sites, and {hearing} can be reached; where the others \
                 are lost for good, --forced decides without them"
            );
            return Err(Refusal::Fence(text));
        }
        for journal in &open {
            let ending = self.state.seals.of(*journal);
            ending.forced = true;
            ending.tried_us = None;
        }
        Ok(())
    }
}
