//! Who asks the members to end a journal: which ones are taken up, and how a ballot comes to its decision. How members answer
//! is in `seal`.

use std::collections::BTreeSet;

use agree::{Ballot, Proposal, Said, Storages};
use clock::Now;
use entry::{Cut, JournalId, SiteId, StorageId};

use super::{BALLOT_US, Given, REPEAT_US, Voter};
use crate::mutant::Mutant;
use crate::site::{Site, Step};

impl Site {
    /// Takes up the journals that should end.
    pub(super) fn find_silent(&mut self, step: &mut Step<'_>) {
        let others = self.peers.greeted().filter(|site| self.is_voter(*site)).count();
        if !self.votes() || 1 + others < self.quorum() {
            return;
        }
        for journal in self.to_look_after() {
            let turn_us = self.turn_us(journal);
            let now_us = step.now.mono_us;
            // A journal that was just opened has not been silent for long, whatever is known of it.
            self.peers.moved_us.entry(journal).or_insert(now_us);
            let elsewhere = self.is_begun_elsewhere(journal);
            if elsewhere {
                self.state.seals.of(journal).tried_us.get_or_insert(now_us);
            }
            let ending = self.state.seals.journals.get(&journal);
            if ending.is_some_and(|ending| ending.cut.is_some()) {
                continue;
            }
            let asked = ending.is_some_and(|ending| ending.forced || ending.vote.is_cast());
            let begun = elsewhere || asked || self.merge.order.is_given_up(journal.site);
            let rested = ending
                .and_then(|ending| ending.tried_us)
                .is_none_or(|at| now_us.saturating_sub(at) >= BALLOT_US + turn_us);
            if rested && (begun || self.is_left(journal)) {
                self.propose(journal, step);
            } else if rested && self.is_silent(journal, turn_us, step.now) {
                self.suspect(journal, step);
            }
        }
    }

    /// Journals that take part, and those that have parted while their ends were voted on: what was begun is finished, since
    /// who has not come so far in the order waits for what the voters report.
    fn to_look_after(&self) -> BTreeSet<JournalId> {
        let order = &self.merge.order;
        let voted_on = |journal: &JournalId| self.is_under_vote(*journal) && !order.is_sealed(*journal);
        order.unsealed().chain(self.known_journals().filter(voted_on)).collect()
    }

    pub(super) fn propose(&mut self, journal: JournalId, step: &mut Step<'_>) {
        let (own, epoch) = (self.config.own, self.merge.order.epoch());
        let ending = self.state.seals.of(journal);
        ending.round = ending.round.max(ending.vote.promised.round) + 1;
        let ballot = Ballot { epoch, round: ending.round, by: own.0 };
        ending.proposal = Some(Proposal::new(ballot));
        ending.tried_us = Some(step.now.mono_us);
        ending.sent_us = step.now.mono_us;
        let name = self.journal_name(journal);
        self.tell(format!("asking the members to end {name}, ballot {}", ballot.round), step);
        self.say_to_all(journal, &Said::Prepare { ballot }, step);
    }

    /// Puts a ballot about again: links come and go, and whoever held too little may hold enough by now.
    pub(super) fn repeat_ballots(&mut self, step: &mut Step<'_>) {
        let now_us = step.now.mono_us;
        let mut due = Vec::new();
        for (journal, ending) in &mut self.state.seals.journals {
            let Some(proposal) = ending.proposal.as_ref().filter(|_| ending.cut.is_none()) else { continue };
            if now_us.saturating_sub(ending.sent_us) >= REPEAT_US {
                ending.sent_us = now_us;
                due.push((*journal, ballot_message(proposal)));
            }
        }
        for (journal, said) in due {
            self.say_to_all(journal, &said, step);
        }
    }

    pub(super) fn promised(
        &mut self,
        journal: JournalId,
        ballot: Ballot,
        (by, held, vote): (Voter, Cut, Given),
        step: &mut Step<'_>,
    ) {
        let careless = usize::from(self.state.switch.has(Mutant::MinorityPromises));
        let quorum = self.quorum() - careless;
        let ends = self.should_end(journal, step.now);
        let ending = self.state.seals.of(journal);
        let Some(proposal) = ending.proposal.as_mut().filter(|proposal| proposal.ballot == ballot) else {
            return;
        };
        if proposal.verdict().is_some() || proposal.promised(by, held, vote, (quorum, ends)).is_none() {
            return;
        }
        ending.sent_us = step.now.mono_us;
        let said = ballot_message(proposal);
        self.say_to_all(journal, &said, step);
    }

    /// Whether a journal should end, where this site is free to say.
    fn should_end(&self, journal: JournalId, now: Now) -> bool {
        let ending = self.state.seals.journals.get(&journal);
        let opposed = ending.is_some_and(|ending| ending.opposed);
        let forced = ending.is_some_and(|ending| ending.forced) || self.merge.order.is_given_up(journal.site);
        let is_missed = self.merge.order.is_unsealed(journal) && self.is_silent(journal, 0, now);
        let silent = forced || self.is_left(journal) || is_missed;
        silent && !opposed && self.may_end(journal)
    }

    pub(super) fn accepted(
        &mut self,
        journal: JournalId,
        ballot: Ballot,
        (by, renewed): ((SiteId, StorageId), &Storages),
        step: &mut Step<'_>,
    ) {
        let careless = usize::from(self.state.switch.has(Mutant::MinorityAccepts));
        let quorum = self.quorum() - careless;
        let ending = self.state.seals.of(journal);
        let Some(proposal) = ending.proposal.as_mut().filter(|proposal| proposal.ballot == ballot) else {
            return;
        };
        if let Some(verdict) = proposal.accepted(by, renewed, quorum) {
            self.say_to_all(journal, &Said::Decided(verdict), step);
        } else if proposal.is_disputed(quorum) {
            // In the next ballot whoever is behind refuses the storage that it does not know, and learns of it.
            ending.proposal = None;
            ending.tried_us = Some(step.now.mono_us);
            self.ask_for_storages(step);
        }
    }

    pub(super) fn refused_ballot(
        &mut self,
        journal: JournalId,
        ballot: Ballot,
        promised: Ballot,
        step: &mut Step<'_>,
    ) {
        let ending = self.state.seals.of(journal);
        if ending.proposal.as_ref().is_none_or(|proposal| proposal.ballot != ballot) {
            return;
        }
        // The next try goes above what stood in the way. Who refuses without having promised more opposes the end itself.
        ending.opposed |= promised <= ballot;
        ending.round = ending.round.max(promised.round);
        ending.proposal = None;
        ending.tried_us = Some(step.now.mono_us);
    }
}

fn ballot_message(proposal: &Proposal) -> Said {
    let ballot = proposal.ballot;
    match proposal.verdict() {
        Some(verdict) => Said::Accept { ballot, verdict, promisers: proposal.promisers() },
        None => Said::Prepare { ballot },
    }
}
