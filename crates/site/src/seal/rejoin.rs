//! How a site that lost its disk, and with it its votes, comes back into the quorums.

use std::collections::{BTreeMap, BTreeSet};

use entry::{JournalId, MemberEpoch, Seq, SiteId, StorageId};

use super::{REPEAT_US, Rejoin, Seals};
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
        if self.identity.synced || !self.is_voter(self.config.own) || self.was_added_here() {
            return Ok(());
        }
        let (now_us, quorum, epoch) = (step.now.mono_us, self.quorum(), self.merge.order.epoch());
        let switch = self.state.switch;
        let rejoin = &mut self.state.seals.rejoin;
        if rejoin.epoch != epoch {
            *rejoin = Rejoin { epoch, ..Rejoin::default() };
        }
        if rejoin.told.len() >= quorum || switch.has(Mutant::WipedVotesAtOnce) {
            let holds = |(journal, next): (&JournalId, &Seq)| self.journals.durable(*journal) >= *next;
            let unsynced = switch.has(Mutant::WipedVotesUnsynced);
            let ready = (unsynced || rejoin.owes.iter().all(holds)) && self.state.seals.unsaid.is_empty();
            if ready && self.state.seals.entered < epoch {
                if !std::mem::replace(&mut self.state.seals.rejoin.noted, true) {
                    self.note_entered(epoch);
                }
                return Ok(());
            }
            if ready && self.become_known_as(Identity { synced: true, ..self.identity.clone() }, step)? {
                self.state.pulse.news = true;
                self.state.alarms.remove(PUT_BACK);
                self.count_own();
                step.out.push(Action::Remark(
                    "this site holds what the others held: it counts and votes again".into(),
                ));
            }
        } else if rejoin.asked_us.is_none_or(|at| now_us.saturating_sub(at) >= REPEAT_US) {
            rejoin.asked_us = Some(now_us);
            self.ask_for_votes(None, step);
        }
        Ok(())
    }

    /// A site lost its disk, or enters an epoch, and asks how we have voted.
    pub(crate) fn asked_for_votes(
        &mut self,
        from: SiteId,
        storage: StorageId,
        enters: Option<MemberEpoch>,
        step: &mut Step<'_>,
    ) {
        if let Some(to) = enters {
            return self.asked_by_entering(from, storage, to, step);
        }
        if !self.votes() || !self.may_be_told(from, storage) || self.pipeline.is_full() {
            return;
        }
        self.state.seals.renew(from, storage);
        let votes = Message::Votes(self.votes_for(storage, None));
        self.state.seals.unsaid.push_back(Some((from, votes)));
        self.pipeline.note(Note::Renewed(from, storage));
    }

    /// A member tells how it has voted.
    pub(crate) fn votes_told(&mut self, from: SiteId, told: &Votes) {
        if told.storage != self.identity.storage || self.pipeline.is_full() {
            return;
        }
        if self.is_witness() {
            return self.told_as_witness(from, told);
        }
        self.learn_storages(&told.storages);
        if let Some(to) = told.enters {
            return self.told_for_entering(from, to, told);
        }
        let epoch = self.merge.order.epoch();
        let counts = told.entered == epoch && self.state.seals.rejoin.epoch == epoch && self.is_voter(from);
        if self.identity.synced || !counts || !self.state.seals.rejoin.told.insert(from) {
            return;
        }
        self.learn_votes(told);
        self.learn_storage(from);
        for (journal, next) in &told.held {
            let owed = self.state.seals.rejoin.owes.entry(*journal).or_insert(0);
            *owed = (*owed).max(*next);
        }
    }

    /// What this site takes no word of, and of what instead.
    pub(super) fn storages(&self) -> BTreeMap<SiteId, (StorageId, BTreeSet<StorageId>)> {
        let Seals { renewed, left, .. } = &self.state.seals;
        let left = |site| left.get(site).cloned().unwrap_or_default();
        renewed.iter().map(|(site, storage)| (*site, (*storage, left(site)))).collect()
    }

    /// An end was agreed on with a storage that does not count here. A site that lost its disk again tells a majority of the new
    /// one; who was not among them knows of the one before, and learns from the others that it was left.
    pub(super) fn ask_for_storages(&self, step: &mut Step<'_>) {
        self.ask_for_votes(Some(self.state.seals.entered), step);
    }

    /// Asks everybody in touch how they have voted: before an epoch, or at all.
    pub(super) fn ask_for_votes(&self, before: Option<MemberEpoch>, step: &mut Step<'_>) {
        let ask = Message::AskVotes(self.identity.storage, before);
        step.out.extend(self.peers.greeted().map(|site| control(site, ask.clone())));
    }

    /// Another member takes the word of these storages. So does this site, where what it takes was left; and the witness's,
    /// where it takes none.
    fn learn_storages(&mut self, theirs: &BTreeMap<SiteId, (StorageId, BTreeSet<StorageId>)>) {
        for (site, (storage, left)) in theirs {
            let pledges = self.config.witness == Some(*site) && !self.is_member(*site);
            let is_left = self.state.seals.renewed.get(site).map_or(pledges, |own| left.contains(own));
            if is_left {
                left.iter().chain([storage]).for_each(|storage| self.take_for_valid(*site, *storage));
            }
        }
    }

    /// A site votes with this storage from here on.
    pub(super) fn take_for_valid(&mut self, site: SiteId, storage: StorageId) {
        self.state.seals.renew(site, storage);
        self.state.seals.unsaid.push_back(None);
        self.pipeline.note(Note::Renewed(site, storage));
    }

    /// The storage with which a site told its votes is the one it votes with: what a data directory that was put back knows
    /// of others' storages may be out of date.
    fn learn_storage(&mut self, from: SiteId) {
        let Some((storage, _)) = self.peers.frontiers.get(&from) else { return };
        let storage = *storage;
        if self.state.seals.renewed.get(&from).is_some_and(|known| *known != storage) {
            self.take_for_valid(from, storage);
        }
    }
}
