//! Who holds how much of each journal, and what a quorum holds.
//!
//! A frontier counts for the storage that reported it. A site that comes back with another storage starts again from
//! nothing, and what its old storage held counts nowhere, whoever still speaks of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crdt::Frontier;
use entry::{JournalId, Seq, SiteId, StorageId};
use serde::{Deserialize, Serialize};

/// How many of a site's former storages are remembered. A site changes its disk a few times in its life; one that does
/// it more often than this while old reports still travel is not running this code.
const RETIRED_MAX: usize = 64;

/// The counted frontiers of the data-holding members.
///
/// Only the retired storages are kept in a checkpoint: the frontiers themselves are heard again within a moment, from
/// those who know them best.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holders {
    members: BTreeSet<SiteId>,
    retired: BTreeMap<SiteId, VecDeque<StorageId>>,
    #[serde(skip)]
    counted: BTreeMap<SiteId, (StorageId, Frontier<JournalId>)>,
    /// What follows from `counted`: the seq below which a quorum holds a journal.
    #[serde(skip)]
    quorum: BTreeMap<JournalId, Seq>,
}

impl Holders {
    pub(crate) fn new(members: &[SiteId]) -> Holders {
        Holders {
            members: members.iter().copied().collect(),
            retired: BTreeMap::new(),
            counted: BTreeMap::new(),
            quorum: BTreeMap::new(),
        }
    }

    pub(crate) fn is_member(&self, site: SiteId) -> bool {
        self.members.contains(&site)
    }

    /// A majority of the members.
    pub(crate) fn needed(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// How many sites can be away at once, their newest journals ended by agreement. Each member lets fewer than half the
    /// sites be; an end takes the consent of a majority, and there is consent for no more than so many.
    pub(crate) fn ended_max(&self) -> usize {
        let members = self.members.len();
        members * ((members - 1) / 2) / self.needed()
    }

    /// A site's storage holds a journal up to `next`.
    pub(crate) fn counted(&mut self, site: SiteId, storage: StorageId, journal: JournalId, next: Seq) {
        let is_retired = self.retired.get(&site).is_some_and(|retired| retired.contains(&storage));
        if !self.is_member(site) || is_retired {
            return;
        }
        if self.counted.get(&site).is_some_and(|(known, _)| *known != storage) {
            self.retire(site);
        }
        let (_, frontier) = self.counted.entry(site).or_insert_with(|| (storage, Frontier::new()));
        if frontier.advance(journal, next) {
            self.recount(journal);
        }
    }

    fn retire(&mut self, site: SiteId) {
        let Some((storage, frontier)) = self.counted.remove(&site) else { return };
        let retired = self.retired.entry(site).or_default();
        if retired.len() == RETIRED_MAX {
            retired.pop_front();
        }
        retired.push_back(storage);
        for (journal, _) in frontier.iter() {
            self.recount(journal);
        }
    }

    fn recount(&mut self, journal: JournalId) {
        let mut held: Vec<Seq> = self.counted.values().map(|(_, frontier)| frontier.get(journal)).collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let below = held.get(self.needed() - 1).copied().unwrap_or(0);
        self.quorum.insert(journal, below);
    }

    /// The seq below which a quorum holds this journal.
    pub(crate) fn quorum(&self, journal: JournalId) -> Seq {
        self.quorum.get(&journal).copied().unwrap_or(0)
    }

    /// Who is known to hold an entry.
    pub(crate) fn of(&self, journal: JournalId, seq: Seq) -> Vec<SiteId> {
        let holds = |(site, (_, frontier)): (&SiteId, &(StorageId, Frontier<JournalId>))| {
            (frontier.get(journal) > seq).then_some(*site)
        };
        self.counted.iter().filter_map(holds).collect()
    }

    /// Forgets what one site has counted: another is to go on from here.
    pub(crate) fn forget(&mut self) {
        self.retired.clear();
        self.counted.clear();
        self.quorum.clear();
    }
}

#[cfg(test)]
mod tests {
    use entry::{JournalId, SiteId, StorageId};

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
