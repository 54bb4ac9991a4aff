//! How a site that lost its disk, and with it its votes, comes back into the quorums.

use agree::Vote;
use entry::{JournalId, Seq, SiteId, StorageId};

use super::REPEAT_US;
use crate::action::Action;
use crate::identity::Identity;
use crate::mutant::Mutant;
use crate::notes::Note;
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::start::PUT_BACK;
use crate::wire::{Message, Votes};

impl Site {
    /// A wiped site's way back into the quorums.
    pub(super) fn come_back(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        if self.identity.synced {
            return Ok(());
        }
        let now_us = step.now.mono_us;
        let switch = self.state.switch;
        let rejoin = &mut self.state.seals.rejoin;
        if rejoin.told.len() >= self.config.quorum() || switch.has(Mutant::WipedVotesAtOnce) {
            let holds = |(journal, next): (&JournalId, &Seq)| self.journals.durable(*journal) >= *next;
            let ready = rejoin.owes.iter().all(holds) && self.state.seals.unsaid.is_empty();
            if ready && self.become_known_as(Identity { synced: true, ..self.identity }, step)? {
                self.state.pulse.news = true;
                self.state.alarms.remove(PUT_BACK);
                self.count_own();
                step.out.push(Action::Remark(
                    "this site holds what the others held: it counts and votes again".into(),
                ));
            }
        } else if rejoin.asked_us.is_none_or(|at| now_us.saturating_sub(at) >= REPEAT_US) {
            rejoin.asked_us = Some(now_us);
            let greeted: Vec<SiteId> = self.peers.greeted().collect();
            let storage = self.identity.storage;
            step.out.extend(greeted.into_iter().map(|site| control(site, Message::AskVotes(storage))));
        }
        Ok(())
    }

    /// A site lost its disk and asks how we have voted.
    pub(crate) fn asked_for_votes(&mut self, from: SiteId, storage: StorageId) {
        if !self.identity.synced || self.pipeline.is_full() {
            return;
        }
        self.state.seals.renewed.insert(from, storage);
        let state = self.state.seals.snapshot();
        let votes = Message::Votes(Votes { storage, votes: state.votes, held: self.journals.frontier() });
        self.state.seals.unsaid.push_back(Some((from, votes)));
        self.pipeline.note(Note::Renewed(from, storage));
    }

    /// A member tells how it has voted.
    pub(crate) fn votes_told(&mut self, from: SiteId, told: Votes) {
        let asked =
            !self.identity.synced && told.storage == self.identity.storage && !self.pipeline.is_full();
        if !asked || !self.state.seals.rejoin.told.insert(from) {
            return;
        }
        for (journal, theirs) in told.votes.iter().filter(|(_, theirs)| **theirs != Vote::default()) {
            let vote = self.state.seals.of(*journal).vote.learned(theirs);
            self.state.seals.of(*journal).vote = vote;
            self.state.seals.unsaid.push_back(None);
            self.pipeline.note(Note::Vote(*journal, vote));
        }
        for (journal, next) in told.held {
            let owed = self.state.seals.rejoin.owes.entry(journal).or_insert(0);
            *owed = (*owed).max(next);
        }
    }
}
