//! I-33: what an operator decides by force is on a platter before it counts, and is never forgotten there.
//! I-32: who knows that it was given up takes no more writes.

use std::collections::{BTreeMap, BTreeSet};

use entry::{MemberEpoch, SiteId};
use site::wire::GivenUp;

use super::{Verdict, ensure};

/// Who was given up, and in which epoch of members.
type Decision = (SiteId, MemberEpoch);

/// What operators have decided by force, as far as it is on any platter.
#[derive(Debug, Default)]
pub(super) struct Forced {
    all: BTreeSet<Decision>,
    /// Those that the witness has let happen.
    words: BTreeSet<Decision>,
    /// What is on each site's platter.
    noted: BTreeMap<SiteId, BTreeSet<Decision>>,
}

impl Forced {
    /// A decision is on a site's platter. Says whether it was on none before.
    pub(super) fn noted(&mut self, by: SiteId, record: &GivenUp) -> bool {
        let decision = (record.site, record.epoch);
        self.noted.entry(by).or_default().insert(decision);
        self.words.extend(record.witness.map(|_| decision));
        self.all.insert(decision)
    }

    /// What a site has noted.
    pub(super) fn noted_by(&self, by: SiteId) -> impl Iterator<Item = &Decision> {
        self.noted.get(&by).into_iter().flatten()
    }

    /// What the witness has noted of what it has let happen itself.
    pub(super) fn words_of(&self, witness: SiteId) -> impl Iterator<Item = &Decision> {
        self.noted_by(witness).filter(|decision| self.words.contains(decision))
    }

    /// The witness's disk is lost: what it had decided and nobody has noted is void.
    pub(super) fn void(&mut self, witness: SiteId) {
        let decided = self.noted.remove(&witness).unwrap_or_default();
        let is_noted = |decision: &Decision| self.noted.values().any(|noted| noted.contains(decision));
        self.all.retain(|decision| !decided.contains(decision) || is_noted(decision));
    }

    /// Whether a site was ever given up.
    pub(super) fn was_given_up(&self, site: SiteId) -> bool {
        self.is_given_up(site, MemberEpoch::default())
    }

    /// A site's disk is lost, or was put back.
    pub(super) fn lose(&mut self, site: SiteId) {
        self.noted.remove(&site);
    }

    /// Whether a site has noted any decision.
    pub(super) fn has_noted(&self, by: SiteId) -> bool {
        self.noted.contains_key(&by)
    }

    /// Whether anybody has decided to give up a site that is a member since this epoch.
    pub(super) fn is_given_up(&self, site: SiteId, since: MemberEpoch) -> bool {
        self.all.range((site, since)..).next().is_some_and(|(other, _)| *other == site)
    }

    /// Whether a site has noted, about itself or another, a decision that still stands.
    pub(super) fn knows(&self, by: SiteId, site: SiteId, since: MemberEpoch) -> bool {
        let noted = self.noted.get(&by);
        noted.is_some_and(|noted| noted.iter().any(|(other, epoch)| *other == site && *epoch >= since))
    }

    /// A look at a site: these decisions it shows, and this is whether it takes writes. It is a member since that epoch, as
    /// far as it has come.
    pub(super) fn looked(
        &self,
        by: SiteId,
        shown: impl Iterator<Item = Decision>,
        (writes, since): (bool, MemberEpoch),
    ) -> Verdict {
        let Some(noted) = self.noted.get(&by) else { return Ok(()) };
        let shown: BTreeSet<Decision> = shown.collect();
        let forgotten = noted.difference(&shown).next();
        ensure(forgotten.is_none(), "I-33", || {
            format!("site {by} has noted that {forgotten:?} was given up, and shows {shown:?}")
        })?;
        ensure(!writes || !self.knows(by, by, since), "I-32", || {
            format!("site {by} has noted that it was given up, and takes writes")
        })
    }
}

#[cfg(test)]
mod tests {
    use entry::{MemberEpoch, SiteId};
    use site::wire::GivenUp;

    use super::Forced;
    use crate::checkers::Verdict;

    fn breaks(verdict: Verdict) -> &'static str {
        verdict.map_or_else(|violation| violation.invariant, |()| "nothing")
    }

    #[test]
    fn a_decision_that_is_forgotten_and_one_that_its_site_does_not_heed_are_flagged() {
        let (one, two, first) = (SiteId(1), SiteId(2), MemberEpoch::GENESIS);
        let held = std::collections::BTreeMap::new();
        let record = GivenUp {
            site: two,
            epoch: first,
            by: one,
            at_ms: 0,
            who: "eve".to_owned(),
            held,
            witness: None,
        };
        let mut forced = Forced::default();
        let looked = |forced: &Forced, by, shows: bool, writes, since| {
            let shown = shows.then_some((two, first));
            breaks(forced.looked(by, shown.into_iter(), (writes, since)))
        };
        assert!(forced.noted(one, &record) && !forced.noted(two, &record));
        assert!(forced.is_given_up(two, first) && !forced.is_given_up(two, first.next()));
        assert_eq!(looked(&forced, one, true, true, first), "nothing");
        assert_eq!(looked(&forced, one, false, true, first), "I-33");
        assert_eq!(looked(&forced, two, true, false, first), "nothing");
        assert_eq!(looked(&forced, two, true, true, first), "I-32");
        assert_eq!(looked(&forced, two, true, true, first.next()), "nothing", "it was added again");
        forced.lose(one);
        assert_eq!(looked(&forced, one, false, true, first), "nothing");
    }
}
