//! A consumer goes forward, one record at a time.
//!
//! Per process and log: between two polls (`poll-skip`, `nonmonotonic-poll`) and within one (`int-…`). A fresh assignment or
//! subscription forgets where the process was, and so does its group when it moves a partition: where a group goes on is
//! its committed progress, and what it skips there shows in the consumption counts. A poll that failed moves nobody.

use std::collections::BTreeMap;

use crate::analysis::Analysis;
use crate::class::Class;
use crate::gather::{Deed, LogId, Outcome, Polled};
use crate::report::{Finding, Report};
use crate::writers::numbered;

/// Where a process stands in a log, and since which call.
type Positions = BTreeMap<LogId, (Polled, u32)>;

pub(super) fn check(analysis: &Analysis<'_>, report: &mut Report) {
    let mut processes: BTreeMap<u32, Positions> = BTreeMap::new();
    for (at, call) in numbered(&analysis.history.calls) {
        let positions = processes.entry(call.process).or_default();
        match &call.deed {
            Deed::Assign(_) | Deed::Subscribe(_) if call.outcome != Outcome::Fail => positions.clear(),
            Deed::Assign(_) | Deed::Subscribe(_) => {}
            Deed::Work { polled, moved, .. } => {
                positions.retain(|log, _| !moved.contains(log));
                let mut after = positions.clone();
                for polled in polled {
                    if let Some((before, since)) = after.insert(polled.log, (*polled, at))
                        && !(since == at && moved.contains(&polled.log))
                    {
                        step(analysis, before, since, *polled, at, report);
                    }
                }
                if call.outcome == Outcome::Ok {
                    *positions = after;
                }
            }
        }
    }
}

/// One step of a process in a log.
fn step(analysis: &Analysis<'_>, before: Polled, since: u32, after: Polled, at: u32, report: &mut Report) {
    let order = analysis.order(after.log);
    let index = |polled: Polled| i64::from(order.index_of_offset(polled.offset).unwrap_or(0));
    let delta = index(after) - index(before);
    let class = match (delta, since == at) {
        (1, _) => return,
        (2.., false) => Class::PollSkip,
        (2.., true) => Class::IntPollSkip,
        (_, false) => Class::NonmonotonicPoll,
        (_, true) => Class::IntNonmonotonicPoll,
    };
    let (from, to) = (before.offset, after.offset);
    let said = match delta {
        2.. => format!("from offset {from} to {to}, past {} records", delta - 1),
        _ => format!("from offset {from} back to {to}"),
    };
    let values = vec![before.value, after.value];
    report.add(class, Finding { log: Some(after.log), values, calls: vec![since, at], said });
}

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::tale::{Tale, none, only};

    fn tale() -> Tale {
        let mut tale = Tale::new();
        for value in 10..14 {
            tale.send(1, "t", value);
        }
        tale.poll(9, "t", &[(0, 10), (1, 11), (2, 12), (3, 13)]);
        tale
    }

    #[test]
    fn between_polls() {
        let mut skip = tale();
        skip.poll(2, "t", &[(0, 10)]).poll(2, "t", &[(2, 12)]);
        assert_eq!(skip.counts(), only(Class::PollSkip, 1));
        let mut back = tale();
        back.poll(2, "t", &[(0, 10), (1, 11)]).poll(2, "t", &[(1, 11)]);
        assert_eq!(back.counts(), only(Class::NonmonotonicPoll, 1));
        let mut steady = tale();
        steady.poll(2, "t", &[(1, 11)]).poll(2, "t", &[(2, 12)]).poll(3, "t", &[(1, 11)]);
        assert_eq!(steady.counts(), none());
    }

    #[test]
    fn within_a_poll() {
        let mut skip = tale();
        skip.poll(2, "t", &[(0, 10), (2, 12)]);
        assert_eq!(skip.counts(), only(Class::IntPollSkip, 1));
        let mut back = tale();
        back.poll(2, "t", &[(1, 11), (0, 10)]);
        assert_eq!(back.counts(), only(Class::IntNonmonotonicPoll, 1));
    }

    #[test]
    fn a_new_assignment_or_subscription_starts_anew() {
        let mut tale = tale();
        tale.poll(2, "t", &[(0, 10), (1, 11)]).assign(2, &["t"]).poll(2, "t", &[(0, 10)]);
        tale.subscribe(2, "g").poll(2, "t", &[(2, 12)]);
        assert_eq!(tale.counts(), none());
        tale.subscribe(2, "g").failed().poll(2, "t", &[(2, 12)]);
        assert_eq!(tale.counts(), only(Class::NonmonotonicPoll, 1));
    }

    #[test]
    fn a_partition_that_its_group_moved_starts_anew() {
        let mut tale = tale();
        tale.poll(2, "t", &[(0, 10), (1, 11)]).poll(2, "t", &[(0, 10), (2, 12)]).moved("t");
        assert_eq!(tale.counts(), none());
        tale.poll(2, "t", &[(3, 13)]).moved("u");
        assert_eq!(tale.counts(), none());
        tale.poll(2, "t", &[(3, 13)]).moved("u");
        assert_eq!(tale.counts(), only(Class::NonmonotonicPoll, 1));
    }

    #[test]
    fn a_failed_poll_moves_nobody() {
        let mut tale = tale();
        tale.poll(2, "t", &[(0, 10)]).poll(2, "t", &[(1, 11), (2, 12)]).failed().poll(2, "t", &[(1, 11)]);
        assert_eq!(tale.counts(), none());
    }

    #[test]
    fn gaps_that_nobody_ever_saw_filled_are_no_skip() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 10), (5, 11)]);
        assert_eq!(tale.counts(), none());
    }
}
