//! Every batch of a merged log stands where its own stamp puts it, or where its journal's turn does.
//!
//! This needs evidence from the sites, and no client. Stamps must not fall along a log, nor along a journal. A batch that
//! is sorted at another stamp than its own must be sorted at the stamp of an opening or an adoption of its journal, which
//! all sites agree on; an adoption lets in no more than it names; and nothing of a journal sorts by its own stamp behind
//! that journal's end. What is *allowed* to come late can so be told from what just stands wrong.

use std::collections::BTreeMap;

use crate::analysis::Analysis;
use crate::class::Class;
use crate::evidence::{Placing, Reason};
use crate::gather::LogId;
use crate::report::{Finding, Report};

pub(super) fn check(analysis: &Analysis<'_>, report: &mut Report) {
    let mut adopted: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for (place, placings) in analysis.witness.logs() {
        let log = analysis.log_of(place);
        for pair in placings.windows(2).filter(|pair| pair[1].stamp < pair[0].stamp) {
            misplaced(log, pair[1], "is sorted at a stamp below the one before it", report);
        }
        for placing in placings {
            match analysis.witness.reason(placing) {
                Reason::OwnStamp => {}
                Reason::Adopted => *adopted.entry((&placing.journal, placing.stamp)).or_default() += 1,
                Reason::Opened => report.late.opened += 1,
                Reason::None => {
                    misplaced(log, placing, "stands neither by its own stamp nor by a turn", report);
                }
            }
        }
        journals(log, placings, report);
    }
    for ((journal, stamp), batches) in adopted {
        report.late.adopted += batches;
        let most = analysis.witness.adopted(journal, stamp);
        if batches > most {
            let said = format!("{batches} batches of {journal} came in by an adoption of {most} entries");
            report.add(Class::Misplaced, Finding { log: None, values: Vec::new(), calls: Vec::new(), said });
        }
    }
}

/// What one site took later in one journal, stands later.
fn journals(log: Option<LogId>, placings: &[&Placing], report: &mut Report) {
    let mut latest: BTreeMap<&str, u64> = BTreeMap::new();
    for placing in placings {
        let before = latest.insert(&placing.journal, placing.time_ms);
        if before.is_some_and(|before| before > placing.time_ms) {
            misplaced(log, placing, "was taken before what stands before it in its journal", report);
        }
    }
}

fn misplaced(log: Option<LogId>, placing: &Placing, why: &str, report: &mut Report) {
    let Placing { place, offset, journal, time_ms, sorted_ms, .. } = placing;
    let said = format!(
        "offset {offset} of {}/{} {why}: {journal} took it at {time_ms} ms, sorted at {sorted_ms} ms",
        place.0, place.1
    );
    report.add(Class::Misplaced, Finding { log, values: Vec::new(), calls: Vec::new(), said });
}

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::evidence::TurnKind;
    use crate::tale::{Tale, none, only};

    /// Values 10, 11, … stand in this order; each batch is (journal, its own time, when it is sorted).
    fn placed(batches: &[(&str, u64, u64)]) -> Tale {
        let mut tale = Tale::new();
        for (value, (journal, time_ms, sorted_ms)) in (10..).zip(batches) {
            tale.send(value, "t", u64::from(value)).placed("t", journal, *time_ms, *sorted_ms);
        }
        tale.poll(9, "t", &[(0, 10), (1, 11), (2, 12)][..batches.len()]);
        tale
    }

    #[test]
    fn by_their_own_stamps() {
        assert_eq!(placed(&[("eu.0", 1, 1), ("us.0", 2, 2), ("eu.0", 3, 3)]).counts(), none());
        let early = placed(&[("eu.0", 5, 3), ("us.0", 4, 4)]);
        assert_eq!(early.counts(), only(Class::Misplaced, 1));
        let falling = placed(&[("eu.0", 5, 5), ("us.0", 4, 4)]);
        assert_eq!(falling.counts(), only(Class::Misplaced, 1));
    }

    #[test]
    fn late_only_at_a_turn_of_their_own_journal() {
        let late = || placed(&[("us.0", 2, 2), ("eu.0", 1, 5), ("us.0", 6, 6)]);
        assert_eq!(late().counts(), only(Class::Misplaced, 1), "nothing let it in late");
        let adopted = TurnKind::Adopted { from: 4, upto: 5 };
        assert_eq!(late().turn("eu.0", 5, adopted).counts(), none());
        assert_eq!(late().turn("eu.0", 5, TurnKind::Opened).counts(), none());
        assert_eq!(late().turn("us.0", 5, adopted).counts(), only(Class::Misplaced, 1), "another's turn");
        assert_eq!(late().turn("eu.0", 4, adopted).counts(), only(Class::Misplaced, 1), "another moment");
        assert_eq!(late().turn("eu.0", 5, TurnKind::Parted).counts(), only(Class::Misplaced, 1));
        let report = late().turn("eu.0", 5, adopted).report();
        assert_eq!((report.late.adopted, report.late.opened), (1, 0));
    }

    #[test]
    fn no_more_than_an_adoption_names() {
        let adopted = TurnKind::Adopted { from: 4, upto: 5 };
        let mut two = placed(&[("eu.0", 1, 5), ("eu.0", 2, 5)]);
        assert_eq!(two.turn("eu.0", 5, adopted).counts(), only(Class::Misplaced, 1));
        let mut two = placed(&[("eu.0", 1, 5), ("eu.0", 2, 5)]);
        assert_eq!(two.turn("eu.0", 5, TurnKind::Adopted { from: 4, upto: 6 }).counts(), none());
    }

    #[test]
    fn nothing_by_its_own_stamp_behind_its_journals_end() {
        let sealed = TurnKind::Sealed { cut: 1 };
        let mut behind = placed(&[("eu.0", 1, 1), ("eu.0", 5, 5)]);
        assert_eq!(behind.turn("eu.0", 3, sealed).counts(), only(Class::Misplaced, 1));
        let mut before = placed(&[("eu.0", 1, 1), ("eu.0", 2, 2)]);
        assert_eq!(before.turn("eu.0", 3, sealed).counts(), none());
    }

    #[test]
    fn a_journal_stays_in_its_order() {
        let mut swapped = placed(&[("eu.0", 2, 5), ("eu.0", 1, 5)]);
        swapped.turn("eu.0", 5, TurnKind::Adopted { from: 0, upto: 2 });
        assert_eq!(swapped.counts(), only(Class::Misplaced, 1));
    }
}
