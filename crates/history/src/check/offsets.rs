//! One offset, one value; one value, one offset.
//!
//! Offsets that were told to anyone, at any site and any time, are held against each other. In a merged log a value stands
//! once, unless its client sent it twice: a producer that gives up on a record takes a fresh epoch or id, and sends under it
//! whatever else it has no answer for. No broker can know such a copy, so it is excused where the batches bear different
//! identities and the client says that it had given something up. In origin logs a second copy is a retry that reached the log again: the merge passes over it, so it is a class of
//! its own.

use std::collections::BTreeSet;

use crate::analysis::Analysis;
use crate::class::Class;
use crate::gather::{Call, LogId, Outcome};
use crate::report::{Finding, Report};

pub(super) fn check(analysis: &Analysis<'_>, report: &mut Report) {
    for log in analysis.logs() {
        for (offset, values) in analysis.order(log).contested() {
            let calls = values.iter().filter_map(|v| analysis.writers.of(analysis.home(log), *v)).collect();
            let said = format!("offset {offset} was seen with the values {values:?}");
            report.add(Class::InconsistentOffsets, Finding { log: Some(log), values, calls, said });
        }
        for (value, indices) in analysis.order(log).repeated() {
            let class = match analysis.is_merged(log) {
                true if is_resent(analysis, log, value, &indices) => Class::Resent,
                true => Class::Duplicate,
                false => Class::OriginDuplicate,
            };
            let offsets: Vec<u64> = indices.iter().map(|index| analysis.order(log).offset(*index)).collect();
            let said = format!("{value} stands at the offsets {offsets:?}");
            report.add(class, repeated(analysis, log, value, said));
        }
        if analysis.is_merged(log) {
            in_several_origins(analysis, log, report);
        }
    }
}

fn is_resent(analysis: &Analysis<'_>, merged: LogId, value: u64, indices: &[u32]) -> bool {
    let identity = |index: &u32| analysis.placing(merged, *index).and_then(|placing| placing.sent_as);
    let Some(identities) = indices.iter().map(identity).collect::<Option<BTreeSet<_>>>() else {
        return false;
    };
    let Some(writer) = analysis.writers.of(merged, value) else { return false };
    let calls = &analysis.history.calls;
    let writer = &calls[writer as usize];
    let gave_up = |call: &Call| {
        call.process == writer.process
            && call.outcome != Outcome::Ok
            && !call.sent().is_empty()
            && call.invoked_us < writer.completed_us
    };
    identities.len() == indices.len() && calls.iter().any(gave_up)
}

fn in_several_origins(analysis: &Analysis<'_>, merged: LogId, report: &mut Report) {
    for value in analysis.writers.read_of(merged) {
        let holding =
            analysis.origins(merged).iter().filter(|log| analysis.order(**log).first(value).is_some());
        let count = holding.count();
        if count > 1 {
            let said = format!("{value} stands in the logs of {count} origins");
            report.add(Class::OriginDuplicate, repeated(analysis, merged, value, said));
        }
    }
}

fn repeated(analysis: &Analysis<'_>, log: LogId, value: u64, said: String) -> Finding {
    let calls = analysis.writers.of(analysis.home(log), value).into_iter().collect();
    Finding { log: Some(log), values: vec![value], calls, said }
}

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::tale::{Tale, none, only};

    #[test]
    fn an_offset_has_one_value_at_every_site() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(2, "t", 11);
        tale.at("eu").poll(3, "t", &[(0, 10), (1, 11)]).at("us").poll(4, "t", &[(0, 11), (1, 10)]);
        let counts = tale.counts();
        assert_eq!(counts[&Class::InconsistentOffsets], 2);
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(2, "t", 11);
        tale.at("eu").poll(3, "t", &[(0, 10), (1, 11)]).at("us").poll(4, "t", &[(0, 10), (1, 11)]);
        assert_eq!(tale.counts(), none());
    }

    #[test]
    fn an_acknowledged_offset_counts_as_much_as_a_polled_one() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).told(3).send(2, "t", 11).poll(3, "t", &[(3, 11)]);
        assert_eq!(tale.counts()[&Class::InconsistentOffsets], 1);
        let mut tale = Tale::new();
        tale.send(1, "t", 10).told(3).send(2, "t", 11).told(4).poll(3, "t", &[(3, 10), (4, 11)]);
        assert_eq!(tale.counts(), none());
    }

    #[test]
    fn a_value_stands_once_in_a_merged_log() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 10), (1, 11), (2, 10)]);
        assert_eq!(tale.counts()[&Class::Duplicate], 1);
    }

    #[test]
    fn a_second_copy_is_excused_only_where_the_client_made_it() {
        let twice = |gave_up: bool, epochs: [i16; 2]| {
            let mut tale = Tale::new();
            tale.send(1, "t", 9);
            if gave_up {
                tale.unsure();
            }
            tale.send(1, "t", 10).poll(2, "t", &[(0, 10), (1, 10)]);
            for (at, epoch) in (1..).zip(epochs) {
                tale.placed("t", "eu.0", at, at).sent_as(7, epoch);
            }
            tale.counts()
        };
        assert_eq!(twice(true, [0, 1]).get(&Class::Resent), Some(&1));
        assert_eq!(twice(true, [0, 1]).get(&Class::Duplicate), None);
        assert_eq!(twice(true, [1, 1])[&Class::Duplicate], 1, "the broker must know a retry");
        assert_eq!(twice(false, [0, 1])[&Class::Duplicate], 1, "nobody had a reason to send it twice");
    }

    #[test]
    fn a_copy_in_another_origins_log_is_another_matter() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).poll(2, "t", &[(0, 10)]);
        tale.poll(3, "eu.t", &[(0, 10)]).poll(3, "us.t", &[(0, 10)]);
        assert_eq!(tale.counts(), only(Class::OriginDuplicate, 1));
    }
}
