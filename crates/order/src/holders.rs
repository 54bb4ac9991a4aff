//! Who holds how much of each journal, and what a quorum holds.
//!
//! A frontier counts for the storage that reported it. A site that comes back with another storage starts again from
//! nothing, and what its old storage held counts nowhere, whoever still speaks of it.
//!
//! A report belongs to the epoch of members that its site has entered, and counts for that one and those before it. What
//! a site reports may be less in the next one: it has learned of votes, and must not stand by what it said before.
//!
//! Members that an operator has given up hold nothing that counts, and all the others together are the quorum until the
//! removal of these has its place: they meet every majority of the members, as long as no majority was given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crdt::Frontier;
use entry::{Change, JournalId, MemberEpoch, Seq, SiteId, StorageId};
use serde::{Deserialize, Serialize};

use crate::members::Members;

/// How many of a site's former storages are remembered. A site changes its disk a few times in its life; one that does
/// it more often than this while old reports still travel is not running this code.
const RETIRED_MAX: usize = 64;

/// A bug on purpose: who decides what is released, instead of the members.
#[cfg(feature = "mutants")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deciders {
    /// The founders.
    Founders,
    /// The members before the latest change.
    FormerMembers,
}

/// The counted frontiers of the data-holding members.
///
/// Only the retired storages are kept in a checkpoint: the frontiers themselves are heard again within a moment, from
/// those who know them best.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holders {
    pub(crate) members: Members,
    retired: BTreeMap<SiteId, VecDeque<StorageId>>,
    /// Who was given up, and in which epoch: told to every order that is made from a checkpoint.
    #[serde(skip)]
    given_up: BTreeMap<SiteId, GivenUp>,
    #[serde(skip)]
    counted: BTreeMap<SiteId, Counted>,
    /// How much others said that they have released.
    #[serde(skip)]
    pub(crate) released: Frontier<JournalId>,
    /// What follows from `counted`: the seq below which a quorum holds a journal.
    #[serde(skip)]
    quorum: BTreeMap<JournalId, Seq>,
    #[cfg(feature = "mutants")]
    #[serde(skip)]
    pub(crate) deciders: Option<Deciders>,
}

/// In which epoch a site was given up last: at all, and by an operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct GivenUp {
    at_all: MemberEpoch,
    by_force: MemberEpoch,
}

/// What a site's storage reports, in the epoch it has entered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    storage: StorageId,
    epoch: MemberEpoch,
    frontier: Frontier<JournalId>,
}

impl Holders {
    pub(crate) fn new(members: &[SiteId]) -> Holders {
        Holders {
            members: Members::founders(members),
            retired: BTreeMap::new(),
            given_up: BTreeMap::new(),
            counted: BTreeMap::new(),
            released: Frontier::new(),
            quorum: BTreeMap::new(),
            #[cfg(feature = "mutants")]
            deciders: None,
        }
    }

    /// Whose reports decide what is released, and how many it takes: the present members, once they have entered.
    #[cfg(not(feature = "mutants"))]
    fn deciding(&self) -> (MemberEpoch, &BTreeSet<SiteId>, usize) {
        (self.members.epoch(), self.members.now(), self.needed())
    }

    #[cfg(feature = "mutants")]
    fn deciding(&self) -> (MemberEpoch, &BTreeSet<SiteId>, usize) {
        let epoch = match self.deciders {
            None => return (self.members.epoch(), self.members.now(), self.needed()),
            Some(Deciders::Founders) => MemberEpoch::GENESIS,
            Some(Deciders::FormerMembers) => {
                MemberEpoch((self.members.epoch().0 - 1).max(MemberEpoch::GENESIS.0))
            }
        };
        let members = self.members.of(epoch).unwrap_or(self.members.now());
        (epoch, members, majority(members.len()))
    }

    pub(crate) fn is_member(&self, site: SiteId) -> bool {
        self.members.now().contains(&site)
    }

    /// How many members are a quorum.
    pub(crate) fn needed(&self) -> usize {
        self.needed_of(self.members.now())
    }

    /// How many of these members are a quorum: a majority, or all who remain where some are given up. Where nobody remains
    /// there is none.
    pub(crate) fn needed_of(&self, members: &BTreeSet<SiteId>) -> usize {
        let remain = members.iter().filter(|site| !self.is_given_up(**site)).count();
        match remain {
            0 => members.len() + 1,
            _ if remain == members.len() => majority(members.len()),
            _ => remain,
        }
    }

    /// An operator gave a member of this epoch up, or the witness.
    pub(crate) fn give_up(&mut self, site: SiteId, epoch: MemberEpoch, by_force: bool) {
        let known = self.given_up.entry(site).or_default();
        known.at_all = known.at_all.max(epoch);
        if by_force {
            known.by_force = known.by_force.max(epoch);
        }
        self.recount_all();
    }

    /// Whether a site was given up, and not added again since.
    pub(crate) fn is_given_up(&self, site: SiteId) -> bool {
        let since = self.members.since(site);
        let Some(known) = self.given_up.get(&site) else { return false };
        known.by_force >= since || known.at_all >= since && self.word_counts()
    }

    /// Whether those whom only the witness gave up by now are half of the members at most. They were when it did; where a change
    /// that was under way has left more of them, a majority may have gone on that knows nothing of it.
    fn word_counts(&self) -> bool {
        let by_word = |site: &&SiteId| {
            let (since, now) = (self.members.since(**site), self.members.epoch());
            let known = self.given_up.get(site);
            known.is_some_and(|known| (since..=now).contains(&known.at_all) && known.by_force < since)
        };
        2 * self.members.now().iter().filter(by_word).count() <= self.members.now().len()
    }

    fn recount_all(&mut self) {
        let known: Vec<JournalId> = self.quorum.keys().copied().collect();
        known.into_iter().for_each(|journal| self.recount(journal));
    }

    /// The members change; returns whether they do.
    pub(crate) fn change(
        &mut self,
        epoch: MemberEpoch,
        change: Change,
        is_open: impl Fn(SiteId) -> bool,
    ) -> bool {
        let changed = self.members.change(epoch, change, is_open);
        if changed {
            self.recount_all();
        }
        changed
    }

    /// What a site's storage reports from here on is meant for the members of this epoch; what it reported before is not.
    pub(crate) fn entered(&mut self, site: SiteId, storage: StorageId, epoch: MemberEpoch) {
        let is_new = |known: &Counted| known.storage != storage || known.epoch < epoch;
        if !self.counted.get(&site).is_none_or(is_new) || !self.report(site, storage) {
            return;
        }
        let Some(known) = self.counted.get_mut(&site) else { return };
        known.epoch = epoch;
        let before = std::mem::take(&mut known.frontier);
        before.iter().for_each(|(journal, _)| self.recount(journal));
    }

    /// How many sites can be away at once, their newest journals ended by agreement. Each member lets fewer than half the
    /// sites be; an end takes the consent of a majority, and there is consent for no more than so many.
    pub(crate) fn ended_max(&self) -> usize {
        let members = self.members.now().len();
        members * ((members - 1) / 2) / majority(members)
    }

    /// A site's storage holds a journal up to `next`.
    pub(crate) fn counted(&mut self, site: SiteId, storage: StorageId, journal: JournalId, next: Seq) {
        if !self.report(site, storage) {
            return;
        }
        let advanced = self.counted.get_mut(&site).is_some_and(|known| known.frontier.advance(journal, next));
        if advanced {
            self.recount(journal);
        }
    }

    /// Whether a storage may report; if so, there is room for what it reports.
    fn report(&mut self, site: SiteId, storage: StorageId) -> bool {
        if self.is_retired(site, storage) {
            return false;
        }
        if self.counted.get(&site).is_some_and(|known| known.storage != storage) {
            self.retire(site);
        }
        let fresh = || Counted { storage, epoch: MemberEpoch::GENESIS, frontier: Frontier::new() };
        self.counted.entry(site).or_insert_with(fresh);
        true
    }

    /// Whether a site has reported with another storage since.
    pub(crate) fn is_retired(&self, site: SiteId, storage: StorageId) -> bool {
        self.retired.get(&site).is_some_and(|retired| retired.contains(&storage))
    }

    fn retire(&mut self, site: SiteId) {
        let Some(known) = self.counted.remove(&site) else { return };
        let retired = self.retired.entry(site).or_default();
        if retired.len() == RETIRED_MAX {
            retired.pop_front();
        }
        retired.push_back(known.storage);
        for (journal, _) in known.frontier.iter() {
            self.recount(journal);
        }
    }

    /// Whether a site's reports count for the present members.
    fn counts(&self, site: SiteId, known: &Counted) -> bool {
        known.epoch >= self.members.epoch() && self.is_member(site) && !self.is_given_up(site)
    }

    fn recount(&mut self, journal: JournalId) {
        let (epoch, members, needed) = self.deciding();
        let counts = |(site, known): &(&SiteId, &Counted)| {
            known.epoch >= epoch && members.contains(*site) && !self.is_given_up(**site)
        };
        let counted = self.counted.iter().filter(counts);
        let mut held: Vec<Seq> = counted.map(|(_, known)| known.frontier.get(journal)).collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let below = held.get(needed - 1).copied().unwrap_or(0);
        self.quorum.insert(journal, below);
    }

    /// The seq below which a site counts this journal that votes under later members already. It has released everything
    /// in front of the change, which a majority held then, though some of those may be gone by now; and of a journal that
    /// ended it counts nothing beyond the end. Or what a site has said that it has released, in front of ends.
    pub(crate) fn passed(&self, journal: JournalId) -> Seq {
        let later = self.counted.values().filter(|known| known.epoch > self.members.epoch());
        later.map(|known| known.frontier.get(journal)).max().unwrap_or(0).max(self.released.get(journal))
    }

    /// The seq below which a quorum holds this journal.
    pub(crate) fn quorum(&self, journal: JournalId) -> Seq {
        self.quorum.get(&journal).copied().unwrap_or(0)
    }

    /// Who is known to hold an entry.
    pub(crate) fn of(&self, journal: JournalId, seq: Seq) -> Vec<SiteId> {
        let holds = |(site, known): (&SiteId, &Counted)| {
            (self.counts(*site, known) && known.frontier.get(journal) > seq).then_some(*site)
        };
        self.counted.iter().filter_map(holds).collect()
    }

    /// Forgets what one site has counted: another is to go on from here.
    pub(crate) fn forget(&mut self) {
        self.retired.clear();
        self.given_up.clear();
        self.counted.clear();
        self.released = Frontier::new();
        self.quorum.clear();
    }
}

fn majority(members: usize) -> usize {
    members / 2 + 1
}

#[cfg(test)]
mod tests {
    use entry::{Change, JournalId, MemberEpoch, SiteId, StorageId};

    use super::Holders;

    const SITES: [SiteId; 3] = [SiteId(1), SiteId(2), SiteId(3)];

    #[test]
    fn a_majority_of_the_members_is_a_quorum() {
        let (mut holders, journal) = (Holders::new(&SITES), JournalId::genesis(SiteId(1)));
        holders.counted(SiteId(1), StorageId(1), journal, 5);
        assert_eq!(holders.quorum(journal), 0);
        holders.counted(SiteId(9), StorageId(9), journal, 5);
        assert_eq!(holders.quorum(journal), 0, "who is no member does not count");
        holders.counted(SiteId(3), StorageId(3), journal, 4);
        assert_eq!(holders.quorum(journal), 4);
        assert_eq!(holders.of(journal, 3), [SiteId(1), SiteId(3)]);
        assert_eq!(holders.of(journal, 4), [SiteId(1)]);
        holders.counted(SiteId(3), StorageId(3), journal, 2);
        assert_eq!(holders.quorum(journal), 4, "a report that comes late takes nothing back");
    }

    #[test]
    fn behind_a_change_only_reports_of_those_who_entered_count() {
        let (mut holders, journal) = (Holders::new(&SITES), JournalId::genesis(SiteId(1)));
        let added = Change::Add { site: SiteId(4), storage: StorageId(4) };
        for site in 1..=4 {
            holders.counted(SiteId(site), StorageId(site.into()), journal, 5);
        }
        assert_eq!(holders.quorum(journal), 5);
        assert!(holders.change(MemberEpoch(2), added, |_| true));
        assert_eq!((holders.quorum(journal), holders.needed()), (0, 3), "nobody has entered");
        for site in [1, 4] {
            holders.entered(SiteId(site), StorageId(site.into()), MemberEpoch(2));
            holders.counted(SiteId(site), StorageId(site.into()), journal, 4);
        }
        assert_eq!(holders.of(journal, 3), [SiteId(1), SiteId(4)]);
        holders.entered(SiteId(2), StorageId(2), MemberEpoch(2));
        assert_eq!(holders.quorum(journal), 0, "what it reported before is not meant for these members");
        holders.counted(SiteId(2), StorageId(2), journal, 3);
        assert_eq!(holders.quorum(journal), 3);
        holders.entered(SiteId(2), StorageId(2), MemberEpoch(1));
        assert_eq!(holders.quorum(journal), 3, "an older word takes nothing back");
        assert_eq!(holders.passed(journal), 0);
        holders.entered(SiteId(2), StorageId(2), MemberEpoch(3));
        assert_eq!(
            holders.passed(journal),
            0,
            "it has released the next change, and has not said yet what it counts"
        );
        holders.counted(SiteId(2), StorageId(2), journal, 3);
        assert_eq!(holders.passed(journal), 3);
        holders.released.advance(journal, 4);
        assert_eq!(holders.passed(journal), 4, "what somebody has released was held by a majority");
    }

    #[test]
    fn all_who_remain_are_the_quorum_until_who_was_given_up_is_out() {
        let four = [SiteId(1), SiteId(2), SiteId(3), SiteId(4)];
        let (mut holders, journal) = (Holders::new(&four), JournalId::genesis(SiteId(1)));
        for (site, next) in [(1, 9), (2, 7), (3, 9), (4, 9)] {
            holders.counted(SiteId(site), StorageId(site.into()), journal, next);
        }
        assert_eq!((holders.needed(), holders.quorum(journal)), (3, 9));
        holders.give_up(SiteId(3), MemberEpoch::GENESIS, true);
        holders.give_up(SiteId(4), MemberEpoch::GENESIS, false);
        assert_eq!(
            (holders.needed(), holders.quorum(journal)),
            (2, 7),
            "what the lost ones hold does not count"
        );
        for (epoch, site) in [(2, 3), (3, 4)] {
            let site = SiteId(site);
            assert!(holders.change(MemberEpoch(epoch), Change::GiveUp { site }, |_| false));
        }
        assert_eq!(holders.needed(), 2, "a majority of two");
        let none = std::collections::BTreeSet::from([SiteId(3), SiteId(4)]);
        assert_eq!(holders.needed_of(&none), 3, "of those who were all given up nobody is enough");
        let back = Change::Add { site: SiteId(4), storage: StorageId(4) };
        assert!(holders.change(MemberEpoch(4), back, |_| false));
        assert!(!holders.is_given_up(SiteId(4)) && holders.is_given_up(SiteId(3)));
        holders.give_up(SiteId(4), MemberEpoch::GENESIS, false);
        assert!(!holders.is_given_up(SiteId(4)), "an old word says nothing of it");
    }

    #[test]
    fn the_witness_s_word_counts_while_it_leaves_half() {
        let four = [SiteId(1), SiteId(2), SiteId(3), SiteId(4)];
        let mut holders = Holders::new(&four);
        let lost = |holders: &Holders| four.map(|site| holders.is_given_up(site));
        for site in [1, 2] {
            holders.give_up(SiteId(site), MemberEpoch::GENESIS, false);
        }
        // What comes later says nothing about this epoch.
        holders.give_up(SiteId(3), MemberEpoch(2), false);
        assert_eq!((holders.needed(), lost(&holders)), (1, [true, true, true, false]));
        let removed = Change::Remove { site: SiteId(4) };
        assert!(holders.change(MemberEpoch(2), removed, |_| false));
        assert_eq!((holders.needed(), lost(&holders)), (2, [false; 4]), "two of three go on beside it");
        for site in [1, 2] {
            holders.give_up(SiteId(site), MemberEpoch::GENESIS, true);
        }
        assert_eq!(lost(&holders), [true, true, true, false], "an operator knows what is left");
    }

    #[test]
    fn a_wiped_storage_counts_nowhere_again() {
        let (mut holders, journal) = (Holders::new(&SITES), JournalId::genesis(SiteId(1)));
        holders.counted(SiteId(1), StorageId(1), journal, 5);
        holders.counted(SiteId(2), StorageId(2), journal, 5);
        holders.counted(SiteId(2), StorageId(22), journal, 1);
        assert_eq!(holders.quorum(journal), 1);
        holders.counted(SiteId(2), StorageId(2), journal, 5);
        assert_eq!(holders.quorum(journal), 1);
    }
}
