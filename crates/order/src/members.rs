//! Who the members are, at the order's position: a function of the order, like everything that is sorted.
//!
//! A change is made by an entry, one site at a time, and counts from its place on. A removed site's id is never used again:
//! an old disk of it could come back and speak in the name of a new one. A site that an operator gave up may be added again:
//! the entry that adds it names the data directory with which it comes back.

use std::collections::{BTreeMap, BTreeSet};

use entry::{Change, MemberEpoch, SiteId, StorageId};
use serde::{Deserialize, Serialize};

/// Most members: every one is named in every frontier, so the number has to end somewhere.
pub const MEMBERS_MAX: usize = 64;

/// The members of every epoch so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    /// From the founders' on, without a gap.
    epochs: BTreeMap<MemberEpoch, BTreeSet<SiteId>>,
    /// The data directories with which sites were added.
    added: BTreeMap<SiteId, (MemberEpoch, StorageId)>,
    removed: BTreeSet<SiteId>,
    /// Those that were given up and have not been added again.
    gone: BTreeSet<SiteId>,
}

impl Members {
    pub(crate) fn founders(founders: &[SiteId]) -> Members {
        Members {
            epochs: BTreeMap::from([(MemberEpoch::GENESIS, founders.iter().copied().collect())]),
            added: BTreeMap::new(),
            removed: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn forget_changes(&mut self) {
        self.epochs.retain(|epoch, _| *epoch == MemberEpoch::GENESIS);
    }

    pub(crate) fn epoch(&self) -> MemberEpoch {
        *self.epochs.last_key_value().expect("there were founders").0
    }

    /// The members of the present epoch.
    pub(crate) fn now(&self) -> &BTreeSet<SiteId> {
        self.epochs.last_key_value().expect("there were founders").1
    }

    /// The members of an epoch; none if it has not come.
    pub(crate) fn of(&self, epoch: MemberEpoch) -> Option<&BTreeSet<SiteId>> {
        self.epochs.get(&epoch)
    }

    pub(crate) fn removed(&self) -> &BTreeSet<SiteId> {
        &self.removed
    }

    pub(crate) fn is_gone(&self, site: SiteId) -> bool {
        self.gone.contains(&site)
    }

    /// From which epoch on a site is, or was last, a member.
    pub(crate) fn since(&self, site: SiteId) -> MemberEpoch {
        self.added.get(&site).map_or(MemberEpoch::GENESIS, |(epoch, _)| *epoch)
    }

    /// With which epoch and data directory a site was added.
    pub(crate) fn added_with(&self, site: SiteId) -> Option<(MemberEpoch, StorageId)> {
        self.added.get(&site).copied()
    }

    /// Makes an epoch, if it may follow; `is_open` says whether a site still has a journal that takes part.
    pub(crate) fn change(
        &mut self,
        epoch: MemberEpoch,
        change: Change,
        is_open: impl Fn(SiteId) -> bool,
    ) -> bool {
        let now = self.now();
        let fits = match change {
            Change::Add { site, .. } => {
                !now.contains(&site) && !self.removed.contains(&site) && now.len() < MEMBERS_MAX
            }
            Change::Remove { site } | Change::GiveUp { site } => {
                now.contains(&site) && now.len() > 1 && !is_open(site)
            }
        };
        if !fits || epoch != self.epoch().next() {
            return false;
        }
        let mut members = now.clone();
        match change {
            Change::Add { site, storage } => {
                members.insert(site);
                self.gone.remove(&site);
                self.added.insert(site, (epoch, storage));
            }
            Change::Remove { site } => {
                members.remove(&site);
                self.removed.insert(site);
            }
            Change::GiveUp { site } => {
                members.remove(&site);
                self.gone.insert(site);
            }
        }
        self.epochs.insert(epoch, members);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Members;
    use entry::{Change, MemberEpoch, SiteId, StorageId};

    #[test]
    fn who_was_given_up_may_be_added_again_and_who_was_removed_may_not() {
        let mut members = Members::founders(&[SiteId(1), SiteId(2)]);
        let site = SiteId(2);
        assert!(!members.change(MemberEpoch(2), Change::GiveUp { site }, |_| true), "its journal is open");
        assert!(members.change(MemberEpoch(2), Change::GiveUp { site }, |_| false));
        assert!(members.is_gone(site) && !members.removed().contains(&site));
        let add = Change::Add { site, storage: StorageId(2) };
        assert!(members.change(MemberEpoch(3), add, |_| false));
        assert!(!members.is_gone(site));
        assert_eq!((members.since(site), members.since(SiteId(1))), (MemberEpoch(3), MemberEpoch::GENESIS));
    }

    #[test]
    fn one_change_makes_one_epoch_and_the_first_one_wins() {
        let mut members = Members::founders(&[SiteId(1), SiteId(2)]);
        let add = |site| Change::Add { site: SiteId(site), storage: StorageId(9) };
        let remove = |site| Change::Remove { site: SiteId(site) };
        let second = MemberEpoch(2);
        assert!(!members.change(second, add(1), |_| false), "it is one");
        assert!(!members.change(MemberEpoch(3), add(3), |_| false), "an epoch is left out");
        assert!(members.change(second, add(3), |_| true));
        assert!(!members.change(second, add(4), |_| false), "the epoch is made");
        assert_eq!(members.added_with(SiteId(3)), Some((second, StorageId(9))));
        assert!(!members.change(MemberEpoch(3), remove(1), |site| site == SiteId(1)), "its journal is open");
        assert!(members.change(MemberEpoch(3), remove(1), |site| site != SiteId(1)));
        assert!(!members.change(MemberEpoch(4), add(1), |_| false), "ids are not used again");
        assert_eq!(members.now().iter().map(|site| site.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(members.of(MemberEpoch::GENESIS).map(std::collections::BTreeSet::len), Some(2));
        assert!(members.change(MemberEpoch(4), remove(2), |_| false));
        assert!(!members.change(MemberEpoch(5), remove(3), |_| false), "one has to stay");
    }
}
