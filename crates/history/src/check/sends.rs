//! A producer's records stand in the order in which it sent them.
//!
//! Per process and log, successive sends are held against the log's order; sends of which nobody knows count when they are
//! found. Two that stand the wrong way round may do so for a reason, which the sites' evidence must prove: the earlier one
//! came late, with its journal's tail (`adopted-late`) or its journal's opening (`opened-late`); or its client had given it
//! up and sent the later one under another identity, while the request lay at a site that stood still (`given-up-late`); or
//! two sites took them, and their stamps differ by no more than clocks may (`swapped-send`), or by no more than that and what
//! the clock of the site that took the later one had been set behind at that moment (`shifted-send`). Within one journal
//! there is no reason. Without any evidence, origin logs must tell that they went to different sites.

use std::collections::BTreeMap;

use crate::analysis::Analysis;
use crate::class::Class;
use crate::evidence::{Placing, Reason};
use crate::gather::{Call, LogId, Outcome};
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
    let reach_ms = shifted_ms(analysis, other, &analysis.history.calls[after.call as usize]);
    match analysis.witness.reason(one) {
        Reason::Adopted => Class::AdoptedLate,
        Reason::Opened => Class::OpenedLate,
        Reason::OwnStamp if one.time_ms <= other.time_ms + analysis.witness.bound_ms => Class::SwappedSend,
        Reason::OwnStamp if one.time_ms <= other.time_ms + reach_ms => Class::ShiftedSend,
        Reason::OwnStamp if gave_up && one.sent_as != other.sent_as => Class::GivenUpLate,
        Reason::OwnStamp | Reason::None => Class::NonmonotonicSend,
    }
}

/// How far the stamp of a record may lie behind those of other sites because its site's clock had been set behind.
fn shifted_ms(analysis: &Analysis<'_>, placing: &Placing, call: &Call) -> u64 {
    let ended_us = if call.outcome == Outcome::Ok { call.completed_us } else { u64::MAX };
    let behind_ms = analysis.witness.behind_ms(placing, (call.invoked_us / 1000, ended_us / 1000));
    let by_itself = behind_ms > 0 && analysis.witness.reason(placing) == Reason::OwnStamp;
    if by_itself { analysis.witness.bound_ms + behind_ms } else { 0 }
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

    /// One producer has 10 taken at 30,000, then sends 11 and is answered between 33,000 and 34,000; 11 is stamped so much lower.
    fn reversed_by(behind_ms: u64) -> Tale {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).since_ms(33_000).send(1, "t", 11).until_ms(34_000).bound(500);
        let later_ms = 30_000 - behind_ms;
        tale.poll(2, "t", &[(0, 11), (1, 10)]).placed("t", "us.0", later_ms, later_ms);
        tale.placed("t", "eu.0", 30_000, 30_000);
        tale
    }

    #[test]
    fn a_clock_that_was_set_behind_reaches_further_back_while_it_was() {
        let verdict = |behind_ms: u64, shift: (&str, u64, u64, i64)| {
            let mut tale = reversed_by(behind_ms);
            tale.shifted(shift.0, shift.1, shift.2, shift.3);
            let counts = tale.counts();
            assert_eq!(counts.values().sum::<u64>(), 1, "{counts:?}");
            counts.into_keys().next().unwrap()
        };
        let shifted = ("us", 20_000, 60_000, -6_700);
        assert_eq!(verdict(3_500, shifted), Class::ShiftedSend);
        assert_eq!(verdict(400, shifted), Class::SwappedSend, "clocks may differ by that much anyway");
        assert_eq!(verdict(3_500, ("eu", 20_000, 60_000, -6_700)), Class::NonmonotonicSend, "another site's");
        assert_eq!(verdict(3_500, ("us", 34_001, 60_000, -6_700)), Class::NonmonotonicSend, "it was later");
        assert_eq!(verdict(3_500, ("us", 20_000, 32_999, -6_700)), Class::NonmonotonicSend, "it was earlier");
        assert_eq!(verdict(3_500, ("us", 20_000, 60_000, -5_900)), Class::NonmonotonicSend, "by less");
        assert_eq!(verdict(3_500, ("us", 20_000, 60_000, 6_700)), Class::NonmonotonicSend, "the other way");
        assert_eq!(reversed_by(3_500).counts(), only(Class::NonmonotonicSend, 1));
    }

    #[test]
    fn a_shift_excuses_no_more_than_itself() {
        let mut tale = reversed_by(600);
        tale.shifted("us", 20_000, 60_000, -500);
        assert_eq!(tale.counts(), only(Class::NonmonotonicSend, 1), "it is not beyond the bound");
        // Stamped 29,900 by a clock 3,600 behind: what another stamped up to 4,100 above may have been sent before it.
        let late = |earlier_ms: u64| {
            let mut tale = Tale::new();
            tale.send(1, "t", 10).since_ms(33_000).send(1, "t", 11).until_ms(34_000).bound(500);
            tale.poll(2, "t", &[(0, 11), (1, 10)]).placed("t", "us.0", 29_900, 29_900);
            tale.placed("t", "eu.0", earlier_ms, earlier_ms).shifted("us", 20_000, 60_000, -3_600);
            tale.counts()
        };
        assert_eq!(late(34_000), only(Class::ShiftedSend, 1));
        assert_eq!(late(34_001), only(Class::NonmonotonicSend, 1));
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
