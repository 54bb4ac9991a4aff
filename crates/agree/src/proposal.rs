//! One ballot, as its proposer sees it: who promised, which cut follows from that, who accepted.

use std::collections::BTreeMap;

use entry::{Cut, SiteId, StorageId};

use crate::vote::{Ballot, Storages, Verdict, is_gone};

/// A ballot under way.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Which.
    pub ballot: Ballot,
    promised: BTreeMap<SiteId, Promised>,
    verdict: Option<Verdict>,
    /// With which storage each has accepted, and which ones it knew others to vote with.
    accepted: BTreeMap<SiteId, (StorageId, Storages)>,
}

#[derive(Debug, Clone, Copy)]
struct Promised {
    storage: StorageId,
    held: Cut,
    accepted: Option<(Ballot, Verdict)>,
    consents: bool,
}

impl Proposal {
    /// A ballot that nobody has voted in yet.
    #[must_use]
    pub fn new(ballot: Ballot) -> Proposal {
        Proposal { ballot, promised: BTreeMap::new(), verdict: None, accepted: BTreeMap::new() }
    }

    /// A site has promised. Returns what to ask for, once a quorum has; `ends` says whether that may be the end, where it
    /// is free and all of the quorum consent.
    pub fn promised(
        &mut self,
        (site, storage): (SiteId, StorageId),
        held: Cut,
        (accepted, consents): (Option<(Ballot, Verdict)>, bool),
        (quorum, ends): (usize, bool),
    ) -> Option<Verdict> {
        if self.verdict.is_none() {
            self.promised.insert(site, Promised { storage, held, accepted, consents });
            // With the proposer's own promise among them, it never proposes twice under one number, whatever it forgets.
            if self.promised.len() >= quorum && self.promised.contains_key(&SiteId(self.ballot.by)) {
                self.verdict = self.choose(ends);
            }
        }
        self.verdict
    }

    /// What was accepted in the highest ballot, else the end at the most that a promiser held.
    fn choose(&self, ends: bool) -> Option<Verdict> {
        let accepted = self.promised.values().filter_map(|promised| promised.accepted);
        if let Some((_, verdict)) = accepted.max_by_key(|(ballot, _)| *ballot) {
            return Some(verdict);
        }
        if !ends || !self.promised.values().all(|promised| promised.consents) {
            return Some(Verdict::GoesOn);
        }
        let held = self.promised.values().map(|promised| promised.held);
        held.max_by_key(|held| held.next).map(Verdict::Ends)
    }

    /// What to ask for, once a quorum has promised.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// Who has promised, with which storages.
    #[must_use]
    pub fn promisers(&self) -> Storages {
        self.promised.iter().map(|(site, promised)| (*site, promised.storage)).collect()
    }

    /// A site has accepted. Returns the verdict if that decides: a vote of a storage does not count beside that of a site
    /// which knows of another one, be it a later one or not. Of two that are named nobody here could say which came last.
    pub fn accepted(
        &mut self,
        (site, storage): (SiteId, StorageId),
        renewed: &Storages,
        quorum: usize,
    ) -> Option<Verdict> {
        self.accepted.insert(site, (storage, renewed.clone()));
        if self.counted() >= quorum { self.verdict } else { None }
    }

    /// Whether a quorum has accepted, of which somebody does not count: in this ballot that may be so for ever.
    #[must_use]
    pub fn is_disputed(&self, quorum: usize) -> bool {
        self.counted() < quorum && quorum <= self.accepted.len()
    }

    fn counted(&self) -> usize {
        let knows_another =
            |site, storage| self.accepted.values().any(|(_, renewed)| is_gone(site, storage, renewed));
        self.accepted.iter().filter(|(site, (storage, _))| !knows_another(**site, *storage)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::Proposal;
    use crate::{Ballot, NoVote, Storages, Verdict, Vote};
    use entry::{ChainHash, Cut, MemberEpoch, SiteId, StorageId};

    fn cut(next: u64) -> Cut {
        Cut { next, hash: ChainHash([next as u8; 32]) }
    }

    fn ballot(round: u32) -> Ballot {
        Ballot { epoch: MemberEpoch(1), round, by: 1 }
    }

    fn of(site: u16) -> (SiteId, StorageId) {
        (SiteId(site), StorageId(site.into()))
    }

    const WILLING: (Option<(Ballot, Verdict)>, bool) = (None, true);

    fn ends(next: u64) -> Verdict {
        Verdict::Ends(cut(next))
    }

    #[test]
    fn the_highest_frontier_of_a_quorum_is_the_cut_unless_something_was_accepted() {
        let mut free = Proposal::new(ballot(2));
        assert_eq!(free.promised(of(1), cut(3), WILLING, (2, true)), None);
        assert_eq!(free.promised(of(2), cut(5), WILLING, (2, true)), Some(ends(5)));
        assert_eq!(free.promised(of(3), cut(9), WILLING, (2, true)), Some(ends(5)), "a choice stands");
        for accepted in [ends(4), Verdict::GoesOn] {
            let mut bound = Proposal::new(ballot(2));
            bound.promised(of(1), cut(3), (Some((ballot(1), accepted)), true), (2, true));
            assert_eq!(bound.promised(of(2), cut(5), WILLING, (2, false)), Some(accepted));
        }
        let mut mild = Proposal::new(ballot(2));
        mild.promised(of(1), cut(3), WILLING, (2, false));
        assert_eq!(mild.promised(of(2), cut(5), WILLING, (2, false)), Some(Verdict::GoesOn));
    }

    /// Who would refuse says so before anything is accepted that could then neither be carried through nor given up.
    #[test]
    fn an_end_is_not_asked_for_where_one_of_the_quorum_would_refuse_it() {
        let mut proposal = Proposal::new(ballot(1));
        proposal.promised(of(1), cut(3), WILLING, (2, true));
        assert_eq!(proposal.promised(of(2), cut(3), (None, false), (2, true)), Some(Verdict::GoesOn));
        let first = Vote::default().promise(ballot(1), cut(3), 0, false).unwrap();
        let second = first.promise(ballot(2), cut(3), 0, true).unwrap();
        let third = second.promise(ballot(3), cut(3), 0, false).unwrap();
        assert_eq!((first.consents, second.consents, third.consents), (false, true, true), "said is said");
    }

    #[test]
    fn a_vote_freezes_once_and_never_goes_back() {
        let first = Vote::default().promise(ballot(1), cut(3), 0, true).unwrap();
        let second = first.promise(ballot(2), cut(7), 0, true).unwrap();
        assert_eq!((second.reports, second.held), (Some(3), Some(cut(3))));
        let third = second.promise(ballot(2), cut(8), 5, true).unwrap();
        assert_eq!((third.reports, third.held), (Some(3), Some(cut(8))), "no less than it has released");
        assert_eq!(second.promise(ballot(1), cut(7), 0, true), Err(NoVote::Promised(ballot(2))));
        let none = Storages::new();
        assert_eq!(second.accept((ballot(1), ends(4)), 9, &none, &none), Err(NoVote::Promised(ballot(2))));
        assert_eq!(second.accept((ballot(2), ends(4)), 3, &none, &none), Err(NoVote::NotHeld));
        let accepted = second.accept((ballot(2), ends(4)), 4, &none, &none).unwrap();
        assert_eq!(accepted.accepted, Some((ballot(2), ends(4))));
        let mild = second.accept((ballot(2), Verdict::GoesOn), 3, &none, &none).unwrap();
        assert_eq!(mild.accepted, Some((ballot(2), Verdict::GoesOn)));
    }

    #[test]
    fn what_a_gone_storage_promised_or_accepted_does_not_count() {
        let renewed = Storages::from([(SiteId(2), StorageId(22))]);
        let promisers = Storages::from([of(1), of(2)]);
        let asked = (ballot(1), ends(0));
        assert_eq!(Vote::default().accept(asked, 0, &promisers, &renewed), Err(NoVote::Gone));
        let mut proposal = Proposal::new(ballot(1));
        proposal.promised(of(1), cut(0), WILLING, (2, true));
        proposal.promised(of(3), cut(0), WILLING, (2, true));
        assert_eq!(proposal.accepted(of(2), &Storages::new(), 2), None);
        assert_eq!(proposal.accepted(of(1), &renewed, 2), None, "only one of the two still counts");
        assert!(proposal.is_disputed(2));
        assert_eq!(proposal.accepted((SiteId(2), StorageId(22)), &renewed, 2), Some(ends(0)));
        assert!(!proposal.is_disputed(2));
    }

    /// It depended on who was heard last whether the vote of a storage counted that one of two acceptors knew to be gone.
    #[test]
    fn whoever_speaks_last_of_two_storages_settles_nothing() {
        let (one, other) = (StorageId(22), StorageId(23));
        let knows = |storage| Storages::from([(SiteId(2), storage)]);
        for (first, last, behind) in [(one, other, of(3)), (other, one, of(1))] {
            let mut proposal = Proposal::new(ballot(1));
            for site in 1..=3 {
                proposal.promised(of(site), cut(0), WILLING, (3, true));
            }
            assert_eq!(proposal.accepted(of(1), &knows(first), 3), None);
            assert_eq!(proposal.accepted((SiteId(2), one), &Storages::new(), 3), None);
            assert_eq!(proposal.accepted(of(3), &knows(last), 3), None, "one of them knows another storage");
            assert!(proposal.is_disputed(3));
            assert_eq!(proposal.accepted(behind, &knows(one), 3), Some(ends(0)), "it has learned of it");
        }
    }

    #[test]
    fn who_lost_its_votes_learns_those_of_others() {
        let theirs = Vote::attempt(2).promise(ballot(3), cut(2), 0, true).unwrap();
        let learned = Vote::default().learned(&theirs);
        assert_eq!((learned.attempt, learned.promised, learned.reports), (2, ballot(3), Some(0)));
        let again = learned.promise(ballot(4), cut(6), 0, true).unwrap();
        assert_eq!((again.reports, again.held), (Some(0), Some(cut(6))));
        assert_eq!(learned.learned(&Vote::attempt(1).promise(ballot(9), cut(2), 0, true).unwrap()), learned);
        assert_eq!(Vote::default().learned(&Vote::attempt(3)), Vote::attempt(3));
        assert!(theirs.consents && !theirs.carried().consents, "what was only said binds no other members");
        let obliged = theirs.accept((ballot(3), ends(2)), 2, &Storages::new(), &Storages::new()).unwrap();
        assert_eq!((obliged.is_obliged(), obliged.carried()), (true, obliged));
    }
}
