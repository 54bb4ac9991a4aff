//! A producer's records stand in the order in which it sent them.
//!
//! Per process and log, successive sends are held against the log's order; sends of which nobody knows count when they are
//! found. A producer that moves to another site may see two records swapped within the sites' clock bound: where origin
//! logs tell that two records went to different sites, it is `swapped-send`. Where they tell nothing, it is the worse class.

use std::collections::BTreeMap;

use crate::analysis::Analysis;
use crate::class::Class;
use crate::gather::{LogId, Outcome};
use crate::report::{Finding, Report};
use crate::writers::numbered;

/// The last record that a process sent to a log and that stands in it.
#[derive(Debug, Clone, Copy)]
struct Stands {
    value: u64,
    index: u32,
    call: u32,
}

pub(super) fn check(analysis: &Analysis<'_>, report: &mut Report) {
    let mut last: BTreeMap<(u32, LogId), Stands> = BTreeMap::new();
    for (at, call) in numbered(&analysis.history.calls).filter(|(_, call)| call.outcome != Outcome::Fail) {
        for sent in call.sent() {
            let Some(index) = analysis.order(sent.log).first(sent.value) else { continue };
            let stands = Stands { value: sent.value, index, call: at };
            if let Some(before) = last.insert((call.process, sent.log), stands) {
                step(analysis, sent.log, before, stands, report);
            }
        }
    }
}

fn step(analysis: &Analysis<'_>, log: LogId, before: Stands, after: Stands, report: &mut Report) {
    let delta = i64::from(after.index) - i64::from(before.index);
    let within = before.call == after.call;
    let class = match (delta, within) {
        (1, _) | (2.., false) => return,
        (2.., true) => Class::IntSendSkip,
        (_, true) => Class::IntNonmonotonicSend,
        (_, false) if at_different_sites(analysis, log, before.value, after.value) => Class::SwappedSend,
        (_, false) => Class::NonmonotonicSend,
    };
    let (first, second) = (before.value, after.value);
    let said = format!("{first} was sent before {second}, and stands {delta} places from it");
    let calls = vec![before.call, after.call];
    report.add(class, Finding { log: Some(log), values: vec![first, second], calls, said });
}

fn at_different_sites(analysis: &Analysis<'_>, log: LogId, one: u64, other: u64) -> bool {
    let (one, other) = (analysis.origin_of(log, one), analysis.origin_of(log, other));
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::tale::{Tale, none, only};

    #[test]
    fn between_sends() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 11), (1, 10)]);
        assert_eq!(tale.counts(), only(Class::NonmonotonicSend, 1));
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(2, "t", 11).poll(2, "t", &[(0, 11), (1, 10)]);
        assert_eq!(tale.counts(), none(), "they are of different processes");
    }

    #[test]
    fn records_that_went_to_different_sites_may_be_swapped() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 11), (1, 10)]);
        tale.poll(3, "eu.t", &[(0, 10)]).poll(3, "us.t", &[(0, 11)]);
        assert_eq!(tale.counts(), only(Class::SwappedSend, 1));
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 11), (1, 10)]);
        tale.poll(3, "eu.t", &[(0, 11), (1, 10)]);
        assert_eq!(tale.counts(), only(Class::NonmonotonicSend, 1));
    }

    #[test]
    fn within_a_call() {
        let mut tale = Tale::new();
        tale.transaction(1, &[("t", 10), ("t", 11)], &[]).poll(2, "t", &[(0, 11), (1, 10)]);
        assert_eq!(tale.counts(), only(Class::IntNonmonotonicSend, 1));
        let mut tale = Tale::new();
        tale.transaction(1, &[("t", 10), ("t", 11)], &[]).send(3, "t", 12);
        tale.poll(2, "t", &[(0, 10), (1, 12), (2, 11)]);
        assert_eq!(tale.counts(), only(Class::IntSendSkip, 1));
        let mut tale = Tale::new();
        tale.transaction(1, &[("t", 10), ("t", 11)], &[]).poll(2, "t", &[(0, 10), (1, 11)]);
        assert_eq!(tale.counts(), none());
    }
}
