//! I-36: a committed position never goes back but by a rewind, which is a new epoch; an acknowledged commit survives.

use std::collections::BTreeMap;

use crdt::Epoch;
use disk::Disk;
use entry::{PartitionId, SiteId, TopicId};
use site::{Commit, Site};

use super::logs::Readings;
use super::{Verdict, broken, ensure};

type Place = (String, TopicId, PartitionId);
/// An epoch, and a position in it.
type Reached = (Epoch, u64);

/// How far groups have come.
#[derive(Debug, Default)]
pub(super) struct Progresses {
    seen: BTreeMap<SiteId, BTreeMap<Place, Reached>>,
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
        let mut now = BTreeMap::new();
        for group in site.groups() {
            for ((topic, partition), position) in site.positions_of(group) {
                let reached = (position.progress.epoch(), position.progress.committed());
                now.insert((group.to_owned(), *topic, *partition), reached);
            }
        }
        self.stands(id, now, |place| logs.shown(place.1, place.2))
    }

    /// A site's positions are these; `shown` is how much of a log was ever readable.
    fn stands(
        &mut self,
        id: SiteId,
        now: BTreeMap<Place, Reached>,
        shown: impl Fn(&Place) -> u64,
    ) -> Verdict {
        let seen = self.seen.entry(id).or_default();
        for (place, before) in seen.iter() {
            let now = now.get(place);
            ensure(now >= Some(before), "I-36", || {
                format!("{place:?} was at {before:?} at site {id} and is at {now:?}")
            })?;
        }
        for (place, (_, offset)) in &now {
            let end = shown(place);
            ensure(*offset <= end, "I-37", || {
                format!("{place:?} is at {offset} at site {id}, and only {end} were ever readable")
            })?;
        }
        *seen = now;
        Ok(())
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
    use super::{Place, Progresses, Reached};
    use crdt::Epoch;
    use entry::{SiteId, TopicId};
    use std::collections::BTreeMap;
    use uuid::Uuid;

    #[test]
    fn going_back_and_going_too_far_are_flagged() {
        let place: Place = ("group".into(), TopicId(Uuid::nil()), 0);
        let at = |offset: u64| BTreeMap::from([(place.clone(), (Epoch::default(), offset))]);
        let mut progress = Progresses::default();
        let mut stands = |now: BTreeMap<Place, Reached>| progress.stands(SiteId(1), now, |_| 10);
        stands(at(5)).unwrap();
        assert_eq!(stands(at(4)).unwrap_err().invariant, "I-36");
        assert_eq!(stands(at(11)).unwrap_err().invariant, "I-37");
        assert_eq!(stands(BTreeMap::new()).unwrap_err().invariant, "I-36");
    }
}
