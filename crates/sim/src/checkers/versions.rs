//! I-58: a site writes a kind of entry once all members have told it that they read it, and takes in none that it does not
//! read itself. (That who does not read it yet costs nobody anything, I-12 and I-16 see.)

use std::collections::{BTreeMap, BTreeSet};

use entry::{Encoded, SiteId};
use journal::Record;

use super::truth::{self, Truth};
use super::{Actor, Verdict, ensure};

/// What a process reads, and what it was told that others read.
#[derive(Debug)]
pub struct Reads<'a> {
    /// The protocol that it speaks.
    pub own: u16,
    /// The members that it knows.
    pub members: &'a BTreeSet<SiteId>,
    /// The protocols that others said they speak.
    pub told: &'a BTreeMap<SiteId, u16>,
}

/// A site gives these records to its disk; what of its own was durable before comes back from others.
pub(super) fn wrote(truth: &Truth, by: Actor, reads: &Reads<'_>, records: &[Record]) -> Verdict {
    let newer = records.iter().filter_map(truth::entry).filter(|entry| entry.head.kind.since() > 1);
    newer.into_iter().try_for_each(|entry| read(by, reads, entry, truth.known(entry).is_some()))
}

fn read(by: Actor, reads: &Reads<'_>, entry: &Encoded, comes_back: bool) -> Verdict {
    let (site, needed, own) = (by.site, entry.head.kind.since(), reads.own);
    ensure(own >= needed, "I-58", || {
        format!("site {site} speaks protocol {own} and takes in what came with {needed}: {:?}", entry.head)
    })?;
    if Some(entry.head.journal) != by.journal || comes_back {
        return Ok(());
    }
    let reads_it =
        |other: &SiteId| *other == site || reads.told.get(other).is_some_and(|told| *told >= needed);
    let unread = reads.members.iter().find(|other| !reads_it(other));
    ensure(unread.is_none(), "I-58", || {
        format!(
            "site {site} writes what came with protocol {needed}, and {unread:?} has not said that it reads that"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clock::Stamp;
    use entry::{Body, ChainHash, Entry, JournalId, MemberEpoch, SiteId, StorageId};
    use journal::Record;

    use super::{Reads, Truth, wrote};
    use crate::checkers::Actor;
    use crate::checkers::histories::breaks;

    #[test]
    fn what_somebody_does_not_read_is_flagged_when_it_is_written_and_when_it_is_taken_in() {
        let journal = JournalId::genesis(SiteId(1));
        let (stamp, epoch, previous) = (Stamp::from_raw(1), MemberEpoch(1), ChainHash::START);
        let record =
            |body| Record::Entry(Entry { journal, seq: 0, stamp, epoch, previous, body }.encode().unwrap());
        let members: BTreeSet<SiteId> = [1, 2].map(SiteId).into();
        let truth = Truth::default();
        let writes = |by: u16, own, told: &[(SiteId, u16)], body| {
            let told: BTreeMap<SiteId, u16> = told.iter().copied().collect();
            let reads = Reads { own, members: &members, told: &told };
            let site = SiteId(by);
            let by = Actor { site, storage: StorageId(1), journal: Some(JournalId::genesis(site)) };
            breaks(wrote(&truth, by, &reads, &[record(body)]))
        };
        assert_eq!(writes(1, 2, &[(SiteId(2), 2)], Body::Mark), "nothing");
        assert_eq!(writes(1, 2, &[(SiteId(2), 1)], Body::Mark), "I-58");
        assert_eq!(writes(1, 2, &[], Body::Mark), "I-58");
        assert_eq!((writes(2, 1, &[], Body::Mark), writes(2, 2, &[], Body::Mark)), ("I-58", "nothing"));
        assert_eq!(writes(1, 1, &[], Body::Part), "nothing");
    }

    #[test]
    fn what_comes_back_to_its_owner_was_written_before() {
        let journal = JournalId::genesis(SiteId(1));
        let (stamp, epoch, previous) = (Stamp::from_raw(1), MemberEpoch(1), ChainHash::START);
        let mark = Entry { journal, seq: 0, stamp, epoch, previous, body: Body::Mark }.encode().unwrap();
        let (members, told) = ([1, 2].map(SiteId).into(), BTreeMap::new());
        let by = Actor { site: SiteId(1), storage: StorageId(1), journal: Some(journal) };
        let reads = Reads { own: 2, members: &members, told: &told };
        let mut truth = Truth::default();
        assert_eq!(breaks(wrote(&truth, by, &reads, &[Record::Entry(mark.clone())])), "I-58");
        truth.add(SiteId(2), &mark);
        assert_eq!(breaks(wrote(&truth, by, &reads, &[Record::Entry(mark)])), "nothing");
    }
}
