//! I-22: after any restart, whatever the clock did, what a site stamps exceeds every promise that it sent; where its disk was put
//! back since, every one that another site with data has heard.
//! I-24: what a site writes is stamped later than everything that it held by then: causes stand before effects.
//! I-26: a site's stamps increase strictly over its whole life, also past stamps of entries that a crash took away.
//! I-27: a stamp is never further ahead than the site's own clock ever was, and the bound.

use std::collections::BTreeMap;

use clock::Stamp;
use entry::{Encoded, JournalId, Seq, SiteId};
use site::wire::Message;

use super::{Actor, Verdict, ensure};

/// How far a stamp may be ahead of the site's wall clock, in milliseconds: the bound that all sites are given.
const BOUND_MS: u64 = 500;

/// What was promised and stamped.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    promised: BTreeMap<JournalId, BTreeMap<Stamp, Seq>>,
    /// The same of those whose disk was put back since, and the most that others with data have said they heard.
    put_back: BTreeMap<JournalId, BTreeMap<Stamp, Seq>>,
    heard: BTreeMap<JournalId, Stamp>,
    stamped: BTreeMap<JournalId, Stamp>,
    /// The highest stamp on each site's platter.
    held: BTreeMap<SiteId, Stamp>,
    /// The most that each site's wall clock ever showed, in milliseconds.
    wall_ms: BTreeMap<SiteId, u64>,
}

impl Clocks {
    /// A site's wall clock shows this.
    pub(super) fn shows(&mut self, site: SiteId, wall_ms: u64) {
        let most = self.wall_ms.entry(site).or_default();
        *most = (*most).max(wall_ms);
    }

    /// An entry is on a site's platter.
    pub(super) fn durable(&mut self, site: SiteId, entry: &Encoded) {
        let highest = self.held.entry(site).or_default();
        *highest = (*highest).max(entry.head.stamp);
    }

    /// What was on a site's platter is not any more.
    pub(super) fn forget(&mut self, site: SiteId) {
        self.held.remove(&site);
    }

    /// A site's disk was put back: of what it promised, it can learn again only what others heard.
    pub(super) fn put_back(&mut self, site: SiteId) {
        let own = self.promised.extract_if(.., |journal, _| journal.site == site);
        for (journal, promised) in own {
            self.put_back.entry(journal).or_default().extend(promised);
        }
        self.forget(site);
    }

    /// A site that holds data sends its promise, and what it has heard of others.
    pub(super) fn sent(&mut self, by: Actor, message: &Message) {
        match message {
            Message::Pulse(pulse) => {
                for (journal, (w, head)) in &pulse.promises {
                    match Some(*journal) == by.journal {
                        true => self.promised(*journal, *w, *head),
                        false => self.heard(by.site, *journal, *w),
                    }
                }
            }
            Message::Hello(hello) => {
                hello.promised.iter().for_each(|(journal, w)| self.heard(by.site, *journal, *w));
            }
            _ => {}
        }
    }

    fn promised(&mut self, own: JournalId, w: Stamp, head: Seq) {
        let known = self.promised.entry(own).or_default();
        let slot = known.entry(w).or_insert(head);
        *slot = (*slot).min(head);
    }

    fn heard(&mut self, by: SiteId, journal: JournalId, w: Stamp) {
        if by != journal.site {
            let most = self.heard.entry(journal).or_default();
            *most = (*most).max(w);
        }
    }

    /// A promise that a stamp of this entry breaks.
    fn broken(&self, journal: JournalId, seq: Seq, stamp: Stamp) -> Option<(Stamp, Seq)> {
        let breaks = |(w, head): (&Stamp, &Seq)| (*head <= seq).then_some((*w, *head));
        let promised = self.promised.get(&journal);
        let heard = self.heard.get(&journal).copied().unwrap_or_default();
        let put_back = self.put_back.get(&journal).filter(|_| stamp <= heard);
        let promised = promised.and_then(|known| known.range(stamp..).find_map(breaks));
        promised.or_else(|| put_back.and_then(|known| known.range(stamp..=heard).find_map(breaks)))
    }

    /// A site stamps a new entry.
    pub(super) fn minted(&mut self, by: SiteId, entry: &Encoded) -> Verdict {
        let (journal, seq, stamp) = (entry.head.journal, entry.head.seq, entry.head.stamp);
        self.stamps(by, journal, seq, stamp)
    }

    fn stamps(&mut self, by: SiteId, journal: JournalId, seq: Seq, stamp: Stamp) -> Verdict {
        let against = self.broken(journal, seq, stamp);
        ensure(against.is_none(), "I-22", || {
            let (w, head) = against.unwrap_or_default();
            format!(
                "entry {seq} of journal {journal} is stamped {stamp}, but {w} was promised with head {head}"
            )
        })?;
        let last = self.stamped.insert(journal, stamp);
        ensure(last.is_none_or(|last| last < stamp), "I-26", || {
            let last = last.unwrap_or_default();
            format!("entry {seq} of journal {journal} is stamped {stamp}, not later than {last} before it")
        })?;
        let held = self.held.get(&by).copied().unwrap_or_default();
        ensure(stamp > held, "I-24", || {
            format!("entry {seq} of journal {journal} is stamped {stamp}, and site {by} held {held} already")
        })?;
        let wall_ms = self.wall_ms.get(&by).copied().unwrap_or(u64::MAX - BOUND_MS);
        ensure(stamp.unix_ms() <= wall_ms + BOUND_MS, "I-27", || {
            let ahead_ms = stamp.unix_ms() - wall_ms;
            format!("entry {seq} of journal {journal} is stamped {ahead_ms} ms ahead of its site's clock")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUND_MS, Clocks};
    use crate::checkers::Verdict;
    use crate::clock::BASE_UNIX_MS;
    use clock::Stamp;
    use entry::{JournalId, SiteId};

    const SITE: SiteId = SiteId(1);

    /// What the last of these stamps breaks, after a promise of 50 with head 2.
    fn stamped(seqs_and_stamps: &[(u64, u64)]) -> Verdict {
        let (mut clocks, own) = (Clocks::default(), JournalId::genesis(SITE));
        clocks.promised(own, Stamp::from_raw(50), 2);
        clocks.held.insert(SITE, Stamp::from_raw(10));
        seqs_and_stamps
            .iter()
            .try_for_each(|(seq, raw)| clocks.stamps(SITE, own, *seq, Stamp::from_raw(*raw)))
    }

    fn breaks(verdict: &Verdict) -> &str {
        verdict.as_ref().map_or_else(|violation| violation.invariant, |()| "nothing")
    }

    #[test]
    fn who_was_put_back_keeps_what_others_heard_of_it() {
        let (mut clocks, own) = (Clocks::default(), JournalId::genesis(SITE));
        for w in [50, 60] {
            clocks.promised(own, Stamp::from_raw(w), 2);
        }
        clocks.heard(SiteId(2), own, Stamp::from_raw(50));
        assert_eq!(breaks(&clocks.stamps(SITE, own, 2, Stamp::from_raw(55))), "I-22");
        clocks.put_back(SITE);
        assert_eq!(breaks(&clocks.stamps(SITE, own, 2, Stamp::from_raw(55))), "nothing");
        assert_eq!(breaks(&clocks.stamps(SITE, own, 2, Stamp::from_raw(50))), "I-22");
    }

    #[test]
    fn each_history_is_flagged_by_its_number() {
        assert_eq!(breaks(&stamped(&[(0, 20), (1, 30), (2, 51)])), "nothing");
        assert_eq!(breaks(&stamped(&[(0, 20), (2, 50)])), "I-22");
        assert_eq!(breaks(&stamped(&[(0, 20), (1, 20)])), "I-26");
        assert_eq!(breaks(&stamped(&[(0, 10)])), "I-24");
        let (mut clocks, own) = (Clocks::default(), JournalId::genesis(SITE));
        clocks.shows(SITE, BASE_UNIX_MS);
        let at = |ms: u64| Stamp::from_unix_ms(ms);
        assert_eq!(breaks(&clocks.stamps(SITE, own, 0, at(BASE_UNIX_MS + BOUND_MS))), "nothing");
        assert_eq!(breaks(&clocks.stamps(SITE, own, 1, at(BASE_UNIX_MS + 2 + BOUND_MS))), "I-27");
    }
}
