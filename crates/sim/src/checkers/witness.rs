//! I-33: a witness lets one half go on at most, tells nothing before it is on its platter, and holds nothing (I-14); in the end
//! it votes (I-16).

use std::collections::BTreeSet;

use entry::SiteId;
use site::Site;
use site::wire::Message;

use super::places::Places;
use super::{Verdict, ensure};

/// A decision is on the witness's platter: all that stand there leave at least half of the members.
pub(super) fn noted(places: &Places, witness: SiteId) -> Verdict {
    let (epoch, members) = places.latest();
    let stands = |site: &SiteId, of| of >= places.since(*site, epoch) && members.contains(site);
    let decided = places.forced.words_of(witness).filter(|(site, of)| stands(site, *of));
    let lost: BTreeSet<SiteId> = decided.map(|(site, _)| *site).collect();
    ensure(2 * lost.len() <= members.len(), "I-33", || {
        format!("the witness has let {lost:?} of {members:?} be given up")
    })
}

/// The witness says something.
pub(super) fn sent(places: &Places, witness: SiteId, message: &Message) -> Verdict {
    let Message::GivenUp(records) = message else { return Ok(()) };
    let noted: BTreeSet<_> = places.forced.noted_by(witness).collect();
    let untold = records.iter().find(|record| !noted.contains(&(record.site, record.epoch)));
    ensure(untold.is_none(), "I-33", || {
        format!("the witness tells what is not on its platter: {untold:?}, but {noted:?}")
    })
}

/// The faults have ended, and all are back.
pub(super) fn agrees(site: &Site) -> Verdict {
    let identity = site.identity();
    ensure(identity.synced, "I-16", || format!("the witness does not vote: {:?}", site.status(0).alarms))?;
    ensure(site.frontier().is_empty() && identity.incarnation.is_none(), "I-14", || {
        format!("the witness holds {:?} and writes {:?}", site.frontier(), identity.incarnation)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use entry::{MemberEpoch, SiteId};
    use site::wire::{GivenUp, Message};

    use super::{noted, sent};
    use crate::checkers::places::Places;

    const WITNESS: SiteId = SiteId(3);

    fn record(site: u16) -> GivenUp {
        GivenUp {
            site: SiteId(site),
            epoch: MemberEpoch::GENESIS,
            by: SiteId(3 - site),
            at_ms: 0,
            who: "the witness".to_owned(),
            held: BTreeMap::new(),
            witness: Some(WITNESS),
        }
    }

    #[test]
    fn a_witness_that_tells_too_early_and_one_that_lets_both_go_on_are_flagged() {
        let mut places = Places::new(&[SiteId(1), SiteId(2)]);
        let tells = |places: &Places| sent(places, WITNESS, &Message::GivenUp(vec![record(2)]));
        assert_eq!(tells(&places).unwrap_err().invariant, "I-33");
        places.forced.noted(WITNESS, &record(2));
        assert_eq!((tells(&places), noted(&places, WITNESS)), (Ok(()), Ok(())));
        places.forced.noted(WITNESS, &record(1));
        assert_eq!(noted(&places, WITNESS).unwrap_err().invariant, "I-33");
    }

    #[test]
    fn what_a_lost_witness_had_decided_counts_if_somebody_has_noted_it() {
        let mut places = Places::new(&[SiteId(1), SiteId(2)]);
        places.forced.noted(WITNESS, &record(2));
        places.forced.void(WITNESS);
        assert!(!places.forced.was_given_up(SiteId(2)));
        places.forced.noted(WITNESS, &record(2));
        places.forced.noted(SiteId(1), &record(2));
        places.forced.void(WITNESS);
        assert!(places.forced.was_given_up(SiteId(2)));
    }
}
