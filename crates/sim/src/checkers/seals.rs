//! I-30: a journal ends once, at one place, and not below what was released of it or acknowledged by a majority.
//! I-31: nothing beyond that place is readable in a merged log before somebody has written its adoption.

use std::collections::BTreeMap;

use agree::{Said, Verdict as Decision};
use entry::{Body, Cut, Encoded, JournalId, Seq};
use site::wire::Message;

use super::places::Places;
use super::truth::Truth;
use super::{Verdict, ensure};

/// Where journals ended.
#[derive(Debug, Default)]
pub(super) struct Seals {
    cuts: BTreeMap<JournalId, Cut>,
    released: BTreeMap<JournalId, Seq>,
    /// Up to where somebody has adopted them.
    adopted: BTreeMap<JournalId, Seq>,
}

impl Seals {
    /// A site says something.
    pub(super) fn sent(&mut self, (truth, places): (&Truth, &Places), message: &Message) -> Verdict {
        match message {
            Message::Seal(journal, _, Said::Decided(Decision::Ends(cut))) => {
                self.ended((truth, places), *journal, *cut)
            }
            _ => Ok(()),
        }
    }

    /// An entry is durable for the first time.
    pub(super) fn minted(&mut self, (truth, places): (&Truth, &Places), entry: &Encoded) -> Verdict {
        match entry.body() {
            Ok(Body::Seal(seal)) => self.ended((truth, places), seal.journal, seal.cut),
            Ok(Body::Adopt(adopt)) => {
                let upto = self.adopted.entry(adopt.journal).or_default();
                *upto = adopt.upto.next.max(*upto);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Somebody knows where a journal ends.
    pub(super) fn ended(
        &mut self,
        (truth, places): (&Truth, &Places),
        journal: JournalId,
        cut: Cut,
    ) -> Verdict {
        if let Some(known) = self.cuts.get(&journal) {
            return ensure(*known == cut, "I-30", || {
                format!("journal {journal} ends before {} and before {}", known.next, cut.next)
            });
        }
        self.cuts.insert(journal, cut);
        let released = self.released.get(&journal).copied().unwrap_or(0).max(places.next(journal));
        ensure(released <= cut.next, "I-30", || {
            format!("journal {journal} ends before {}, but {released} entries of it were released", cut.next)
        })?;
        let last = cut.next.checked_sub(1);
        let is_held = last.is_none_or(|last| places.is_held_in_some_epoch(truth, journal, last));
        ensure(is_held, "I-30", || {
            format!("journal {journal} ends before {}, which no majority of members ever held", cut.next)
        })
    }

    /// Those who remain go on from their own places, after a majority was given up.
    pub(super) fn go_back(&mut self, places: &Places) {
        self.cuts.retain(|journal, _| places.end(*journal).is_some());
        self.released.iter_mut().for_each(|(journal, end)| *end = places.next(*journal).min(*end));
    }

    /// A batch is readable in a merged log for the first time anywhere.
    pub(super) fn released(&mut self, journal: JournalId, seq: Seq) -> Verdict {
        if self.is_beyond(journal, seq) {
            let adopted = self.adopted.get(&journal).is_some_and(|upto| seq < *upto);
            return ensure(adopted, "I-31", || {
                format!("entry {seq} of {journal} is readable, but beyond its end and adopted by nobody")
            });
        }
        let end = self.released.entry(journal).or_default();
        *end = (*end).max(seq + 1);
        Ok(())
    }

    /// Whether an entry lies beyond its journal's end, as far as anybody has said.
    pub(super) fn is_beyond(&self, journal: JournalId, seq: Seq) -> bool {
        self.cuts.get(&journal).is_some_and(|cut| seq >= cut.next)
    }
}

#[cfg(test)]
mod tests {
    use super::Seals;
    use crate::checkers::places::Places;
    use crate::checkers::truth::Truth;
    use agree::{Said, Verdict as Decision};
    use entry::{ChainHash, Cut, JournalId, SiteId};
    use site::wire::Message;

    #[test]
    fn two_ends_an_end_below_what_was_read_and_an_end_nobody_holds_are_seen() {
        let journal = JournalId::genesis(SiteId(1));
        let said = |next| {
            Message::Seal(journal, 0, Said::Decided(Decision::Ends(Cut { next, hash: ChainHash::START })))
        };
        let (truth, places) = (Truth::default(), Places::new(&[SiteId(1), SiteId(2), SiteId(3)]));
        let known = (&truth, &places);
        let mut twice = Seals::default();
        assert_eq!(twice.sent(known, &said(0)), Ok(()));
        assert_eq!(twice.sent(known, &said(0)), Ok(()));
        assert_eq!(twice.sent(known, &said(1)).unwrap_err().invariant, "I-30");
        let mut low = Seals::default();
        low.released(journal, 4).unwrap();
        assert_eq!(low.sent(known, &said(0)).unwrap_err().invariant, "I-30");
        assert_eq!(Seals::default().sent(known, &said(3)).unwrap_err().invariant, "I-30");
        assert_eq!(twice.released(journal, 0).unwrap_err().invariant, "I-31");
    }
}
