//! Where a majority was given up, those who remain go on from their own places (decision 0014): what only the others had
//! released is remembered, to tell whose history is another one.

use std::collections::BTreeSet;

use entry::{JournalId, MemberEpoch, SiteId};

use super::{Places, Turn};
use crate::checkers::truth::Truth;

impl Places {
    /// Whether a majority of the members was given up: what these have released need not be held by anybody who remains.
    pub(in crate::checkers) fn is_majority_given_up(&self) -> bool {
        let (epoch, members) = self.latest();
        self.remain(epoch).len() < members.len().div_ceil(2)
    }

    /// Those who remain go on from what they have released and from the ends that they know. What only those whom they gave up
    /// had released beyond that may have other places from now on, and ends that only these knew may be others.
    pub(in crate::checkers) fn go_back(&mut self, truth: &Truth, knows_end: impl Fn(JournalId) -> bool) {
        let remain = self.remain(self.latest().0);
        let position =
            remain.iter().filter_map(|site| self.noted.get(site)).max().map_or(0, |it| *it as usize);
        self.remember_former(&remain, position);
        let sealed: BTreeSet<JournalId> = self.seals_held(truth, &remain).collect();
        let founders: Vec<SiteId> = self.epochs[&MemberEpoch::GENESIS].iter().copied().collect();
        let mut again = Places::new(&founders);
        for (id, lane) in std::mem::take(&mut self.lanes) {
            let known = again.lanes.entry(id).or_default();
            known.cut = lane.cut.filter(|_| knows_end(id) || sealed.contains(&id));
            known.said = lane.said;
        }
        while again.sequence.len() < position
            && let Some((at, id)) = again.sorts_next()
        {
            again.place(at, id);
        }
        (again.forced, again.noted) = (std::mem::take(&mut self.forced), std::mem::take(&mut self.noted));
        again.former = std::mem::take(&mut self.former);
        *self = again;
    }

    /// Journals whose seals are on a platter of one of these.
    fn seals_held<'a>(
        &'a self,
        truth: &'a Truth,
        sites: &'a BTreeSet<SiteId>,
    ) -> impl Iterator<Item = JournalId> + 'a {
        self.lanes.iter().flat_map(move |(by, lane)| {
            let held = sites.iter().map(|site| truth.held(*site, *by)).max().unwrap_or(0);
            lane.said.iter().take(held as usize).filter_map(|(_, turn)| match turn {
                Turn::Seal(journal, _) => Some(*journal),
                _ => None,
            })
        })
    }

    /// What the others have released from a position on is remembered, as theirs.
    fn remember_former(&mut self, remain: &BTreeSet<SiteId>, position: usize) {
        for (site, upto) in self.noted.iter().filter(|(site, _)| !remain.contains(site)) {
            let (from, rest) = self.former.entry(*site).or_insert((*upto as usize, Vec::new()));
            if *from > position {
                let theirs = self.sequence[position..(*from).min(self.sequence.len())].iter().copied();
                *rest = theirs.chain(std::mem::take(rest)).collect();
                *from = position;
            }
        }
    }

    /// Whether a site that was given up has released otherwise than those who remained; none while these have not come as far.
    pub(in crate::checkers) fn is_apart(&self, site: SiteId) -> Option<bool> {
        let Some((from, theirs)) = self.former.get(&site) else { return Some(false) };
        let ours = self.sequence.get(*from..).unwrap_or_default();
        match theirs.iter().zip(ours).all(|(theirs, ours)| theirs == ours) {
            false => Some(true),
            true => (theirs.len() <= ours.len()).then_some(false),
        }
    }

    /// A site is back that has released nothing otherwise.
    pub(in crate::checkers) fn is_back(&mut self, site: SiteId) {
        self.former.remove(&site);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use entry::{Body, JournalId, MemberEpoch, SiteId, TrimBody};
    use site::wire::GivenUp;

    use super::Places;
    use crate::checkers::places::tests::{FOUNDERS, breaks, entry};
    use crate::checkers::truth::Truth;

    fn given_up(site: u16) -> GivenUp {
        let (site, epoch, by) = (SiteId(site), MemberEpoch::GENESIS, SiteId(1));
        GivenUp { site, epoch, by, at_ms: 0, who: "eve".to_owned(), held: BTreeMap::new(), witness: None }
    }

    #[test]
    fn where_a_majority_is_given_up_what_remained_counts_and_what_the_lost_have_released_is_apart() {
        let mark = |site, seq, raw| entry(site, seq, raw, Body::Trim(TrimBody::MARK));
        let (mut places, mut truth) = (Places::new(&FOUNDERS), Truth::default());
        let all = [(mark(2, 0, 10), &[1, 2, 3][..]), (mark(2, 1, 20), &[2, 3]), (mark(1, 0, 30), &[1])];
        for (entry, holders) in &all {
            places.minted(entry);
            holders.iter().for_each(|site| {
                truth.add(SiteId(*site), entry);
            });
        }
        assert_eq!(breaks(&places.released(&truth, SiteId(1), 1)), "nothing");
        assert_eq!(breaks(&places.released(&truth, SiteId(2), 2)), "nothing");
        assert_eq!(breaks(&places.released(&truth, SiteId(1), 3)), "I-21", "one of three");
        places.forced.noted(SiteId(1), &given_up(2));
        assert!(!places.is_majority_given_up(), "one of three");
        places.forced.noted(SiteId(1), &given_up(3));
        assert!(places.is_majority_given_up());
        places.noted.insert(SiteId(1), 1);
        places.go_back(&truth, |_| false);
        let apart = |places: &Places| [2, 3].map(|site| places.is_apart(SiteId(site)));
        assert_eq!((places.position(), apart(&places)), (1, [None, Some(false)]));
        places.ended(JournalId::genesis(SiteId(2)), 1);
        assert_eq!(breaks(&places.released(&truth, SiteId(1), 2)), "nothing", "it is all who remain");
        assert_eq!(apart(&places), [Some(true), Some(false)]);
    }

    #[test]
    fn who_was_given_up_is_back_and_no_member_is_flagged() {
        let mut places = Places::new(&FOUNDERS);
        assert_eq!(breaks(&places.is_taken_back(SiteId(3))), "nothing");
        places.forced.noted(SiteId(1), &given_up(3));
        assert_eq!(breaks(&places.is_taken_back(SiteId(3))), "I-32");
    }
}
