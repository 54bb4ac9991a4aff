//! I-36: a committed position never goes back but by a rewind, which is a new epoch; an acknowledged commit survives.

use std::collections::BTreeMap;

use crdt::Epoch;
use disk::Disk;
use entry::{PartitionId, SiteId, TopicId};
use site::{Commit, Position, Site};

use super::logs::Readings;
use super::{Verdict, broken, ensure};

type Place = (String, TopicId, PartitionId);
/// An epoch, and a position in it.
type Reached = (Epoch, u64);
/// Where a group stands.
type Positions = BTreeMap<(TopicId, PartitionId), Reached>;

/// How far groups have come.
#[derive(Debug, Default)]
pub(super) struct Progresses {
    seen: BTreeMap<SiteId, BTreeMap<String, Positions>>,
    /// What each site has acknowledged since it has its disk.
    acknowledged: BTreeMap<(SiteId, Place), Reached>,
}

fn reached(site: &Site, place: &Place) -> Option<Reached> {
    let position = site.position(&place.0, place.1, place.2)?;
    Some((position.progress.epoch(), position.progress.committed()))
}

impl Progresses {
    /// What was seen at a site binds it no more.
    pub(super) fn forget(&mut self, site: SiteId) {
        self.seen.remove(&site);
    }

    /// A site's disk is lost, and with it may be what it acknowledged last.
    pub(super) fn lose(&mut self, site: SiteId) {
        self.forget(site);
        self.acknowledged.retain(|(by, _), _| *by != site);
    }

    /// A look at all positions of a site: none is below what was seen there before.
    pub(super) fn looked(&mut self, id: SiteId, site: &Site, logs: &Readings) -> Verdict {
        let all = site.groups().flat_map(|group| {
            let reached = |position: &Position| (position.progress.epoch(), position.progress.committed());
            site.positions_of(group).map(move |(at, position)| (group, *at, reached(position)))
        });
        self.stands(id, all, |(topic, partition)| logs.shown(topic, partition))
    }

    /// A site's positions are these; `shown` is how much of a log was ever readable.
    fn stands<'a>(
        &mut self,
        id: SiteId,
        now: impl Iterator<Item = (&'a str, (TopicId, PartitionId), Reached)>,
        shown: impl Fn((TopicId, PartitionId)) -> u64,
    ) -> Verdict {
        let seen = self.seen.entry(id).or_default();
        let before: usize = seen.values().map(BTreeMap::len).sum();
        let mut found = 0;
        for (group, at, now) in now {
            let end = shown(at);
            ensure(now.1 <= end, "I-37", || {
                format!("{group} of {at:?} is at {now:?} at site {id}, and only {end} were ever readable")
            })?;
            if !seen.contains_key(group) {
                seen.insert(group.to_owned(), BTreeMap::new());
            }
            let known = seen.get_mut(group).and_then(|positions| positions.insert(at, now));
            ensure(known <= Some(now), "I-36", || {
                format!("{group} of {at:?} was at {known:?} at site {id} and is at {now:?}")
            })?;
            found += usize::from(known.is_some());
        }
        ensure(found == before, "I-36", || {
            format!("of {before} positions that were known at site {id} {found} are")
        })
    }

    /// A site acknowledges a commit: it stands at what was asked, or a later rewind has moved it.
    pub(super) fn committed(
        &mut self,
        id: SiteId,
        site: &Site,
        commit: &Commit,
        stood: &[Option<Reached>],
    ) -> Verdict {
        for (index, (topic, partition, offset, _)) in commit.positions.iter().enumerate() {
            let place = (commit.group.clone(), *topic, *partition);
            let Some(now) = reached(site, &place) else {
                return broken("I-36", format!("site {id} acknowledges a commit of {place:?} and has none"));
            };
            ensure(now.1 >= *offset || now.0.rewinds > 0, "I-36", || {
                format!("site {id} acknowledges a commit of {place:?} at {offset} and is at {now:?}")
            })?;
            let rewinds = stood.get(index).copied().flatten().filter(|(_, stood)| stood > offset);
            ensure(rewinds.is_none_or(|(epoch, _)| now.0 > epoch), "I-36", || {
                format!(
                    "site {id} acknowledges a rewind of {place:?} to {offset} from {rewinds:?} and is at {now:?}"
                )
            })?;
            let known = self.acknowledged.entry((id, place)).or_insert(now);
            *known = (*known).max(now);
        }
        Ok(())
    }

    /// In the end every site has every acknowledged commit.
    pub(super) fn finish(&self, sites: &[(&Site, &dyn Disk)]) -> Verdict {
        for ((_, place), least) in &self.acknowledged {
            for (site, _) in sites {
                let now = reached(site, place);
                ensure(now >= Some(*least), "I-36", || {
                    let id = site.identity().site;
                    format!("{place:?} was acknowledged at {least:?} and is at {now:?} at site {id}")
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Progresses;
    use crdt::Epoch;
    use entry::{SiteId, TopicId};
    use uuid::Uuid;

    #[test]
    fn going_back_and_going_too_far_are_flagged() {
        let at = |offset: u64| Some(("group", (TopicId(Uuid::nil()), 0), (Epoch::default(), offset)));
        let stands = |all: &[Option<u64>]| {
            let mut progress = Progresses::default();
            let mut looks =
                all.iter().map(|offset| progress.stands(SiteId(1), offset.and_then(at).into_iter(), |_| 10));
            looks.find_map(Result::err).map(|violation| violation.invariant)
        };
        assert_eq!(stands(&[None, Some(5), Some(5), Some(10)]), None);
        assert_eq!(stands(&[Some(5), Some(4)]), Some("I-36"));
        assert_eq!(stands(&[Some(5), Some(11)]), Some("I-37"));
        assert_eq!(stands(&[Some(5), None]), Some("I-36"));
    }
}
