//! A producer's records stand in the order in which it sent them.
//!
//! Per process and log, successive sends are held against the log's order; sends of which nobody knows count when they are
//! found. Two that stand the wrong way round may do so for a reason, which the sites' evidence must prove: the earlier one
//! came late, with its journal's tail (`adopted-late`) or its journal's opening (`opened-late`); or its client had given it
//! up and sent the later one under another identity, while the request lay at a site that stood still (`given-up-late`); or
//! two sites took them, and their stamps differ by no more than clocks may (`swapped-send`). Within one journal there is no reason. Without any
//! evidence, origin logs must tell that they went to different sites.

use std::collections::BTreeMap;

use crate::analysis::Analysis;
use crate::class::Class;
use crate::evidence::Reason;
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
        (_, false) => why(analysis, log, before, after),
    };
    let (first, second) = (before.value, after.value);
    let said = format!("{first} was sent before {second}, and stands {delta} places from it");
    let calls = vec![before.call, after.call];
    report.add(class, Finding { log: Some(log), values: vec![first, second], calls, said });
}

/// Why a record stands before one that was sent earlier.
fn why(analysis: &Analysis<'_>, log: LogId, before: Stands, after: Stands) -> Class {
    let placing = |stands: Stands| analysis.placing(log, stands.index);
    let (Some(one), Some(other)) = (placing(before), placing(after)) else {
        let swapped = at_different_sites(analysis, log, before.value, after.value);
        return if swapped { Class::SwappedSend } else { Class::NonmonotonicSend };
    };
    if one.journal == other.journal {
        return Class::NonmonotonicSend;
    }
    let gave_up = analysis.history.calls[before.call as usize].outcome == Outcome::Info;
    match analysis.witness.reason(one) {
        Reason::Adopted => Class::AdoptedLate,
        Reason::Opened => Class::OpenedLate,
        Reason::OwnStamp if one.time_ms <= other.time_ms + analysis.witness.bound_ms => Class::SwappedSend,
        Reason::OwnStamp if gave_up && one.sent_as != other.sent_as => Class::GivenUpLate,
        Reason::OwnStamp | Reason::None => Class::NonmonotonicSend,
    }
}

fn at_different_sites(analysis: &Analysis<'_>, log: LogId, one: u64, other: u64) -> bool {
    let (one, other) = (analysis.origin_of(log, one), analysis.origin_of(log, other));
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::evidence::TurnKind;
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

    /// One producer sends 10, then 11, and the log has them the other way round; (journal, taken, sorted) of 11 and of 10.
    fn reversed(after: (&str, u64, u64), before: (&str, u64, u64)) -> Tale {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 11), (1, 10)]).bound(5);
        tale.placed("t", after.0, after.1, after.2).placed("t", before.0, before.1, before.2);
        tale
    }

    #[test]
    fn an_adopted_tail_comes_late_and_an_opened_journal_too() {
        let late = || reversed(("us.0", 20, 20), ("eu.0", 1, 30));
        let adopted = TurnKind::Adopted { from: 7, upto: 8 };
        assert_eq!(late().turn("eu.0", 30, adopted).counts(), only(Class::AdoptedLate, 1));
        assert_eq!(late().turn("eu.0", 30, TurnKind::Opened).counts(), only(Class::OpenedLate, 1));
        let unproved = late().turn("us.0", 30, adopted).counts();
        assert_eq!(unproved[&Class::NonmonotonicSend], 1, "it was not that journal's tail");
        let unproved = late().turn("eu.0", 25, adopted).counts();
        assert_eq!(unproved[&Class::NonmonotonicSend], 1, "it does not stand where the tail does");
        let mut own = reversed(("us.0", 20, 20), ("eu.0", 30, 30));
        let elsewhere = own.turn("eu.0", 40, adopted).counts();
        assert_eq!(
            elsewhere,
            only(Class::NonmonotonicSend, 1),
            "other records were adopted, this one was not"
        );
    }

    #[test]
    fn what_a_client_gave_up_may_come_late_when_it_goes_on_as_another() {
        let late = |gave_up: bool, epoch: i16| {
            let mut tale = Tale::new();
            tale.send(1, "t", 10);
            if gave_up {
                tale.unsure();
            }
            tale.send(1, "t", 11).poll(2, "t", &[(0, 11), (1, 10)]).bound(5);
            tale.placed("t", "us.0", 20, 20).sent_as(7, epoch).placed("t", "eu.0", 90, 90).sent_as(7, 0);
            tale.counts()
        };
        assert_eq!(late(true, 1), only(Class::GivenUpLate, 1));
        assert_eq!(late(true, 0)[&Class::NonmonotonicSend], 1, "it goes on as the same");
        assert_eq!(late(false, 1)[&Class::NonmonotonicSend], 1, "the earlier one was acknowledged");
    }

    #[test]
    fn within_one_journal_nothing_is_a_reason() {
        let mut tail = reversed(("eu.0", 2, 30), ("eu.0", 1, 30));
        tail.turn("eu.0", 30, TurnKind::Adopted { from: 7, upto: 9 });
        assert_eq!(tail.counts()[&Class::NonmonotonicSend], 1);
    }

    #[test]
    fn stamps_of_two_sites_differ_within_the_bound() {
        assert_eq!(reversed(("us.0", 20, 20), ("eu.0", 25, 25)).counts(), only(Class::SwappedSend, 1));
        assert_eq!(reversed(("us.0", 20, 20), ("eu.0", 26, 26)).counts(), only(Class::NonmonotonicSend, 1));
    }

    #[test]
    fn the_copy_that_counts_decides_not_the_others() {
        let mut tale = reversed(("us.0", 20, 20), ("eu.0", 1, 30));
        // The retry of 11 stands in the tail as well, and is passed over there.
        tale.poll(3, "eu.t", &[(0, 10), (1, 11)]).poll(3, "us.t", &[(0, 11)]);
        tale.turn("eu.0", 30, TurnKind::Adopted { from: 7, upto: 9 });
        let found = tale.counts();
        assert_eq!((found.get(&Class::AdoptedLate), found.get(&Class::NonmonotonicSend)), (Some(&1), None));
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
