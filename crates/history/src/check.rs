//! The checker: each class of anomaly in the file that says what it means.

mod lost;
mod offsets;
mod places;
mod polls;
mod reads;
mod sends;

use std::collections::BTreeMap;

use crate::analysis::Analysis;
use crate::class::Class;
use crate::gather::{Deed, History, LogId, Outcome};
use crate::report::{Finding, Promises, Report};
use crate::writers::numbered;
use crate::{cycles, lag};

/// Looks for everything that is wrong with a history.
///
/// `promises` decides what a lost value may be excused by; which classes are allowed is asked of the report afterwards
/// ([`Report::broken`]).
#[must_use]
pub fn check(history: &History, promises: &Promises) -> Report {
    let analysis = Analysis::new(history);
    let mut report = Report { calls: history.calls.len(), ..Report::default() };
    count(history, &mut report);
    reads::check(&analysis, &mut report);
    offsets::check(&analysis, &mut report);
    places::check(&analysis, &mut report);
    lost::check(&analysis, promises, &mut report);
    polls::check(&analysis, &mut report);
    sends::check(&analysis, &mut report);
    cycles::check(&analysis, &mut report);
    consumed(&analysis, promises, &mut report);
    report.lag = lag::of(&analysis);
    report
}

fn count(history: &History, report: &mut Report) {
    for call in &history.calls {
        let sent = call.sent().len() as u64;
        match call.outcome {
            Outcome::Ok => report.acked += sent,
            Outcome::Fail => report.refused += sent,
            Outcome::Info => report.unsure += sent,
        }
        report.polled += call.polled().len() as u64;
    }
}

/// How often each acknowledged value was polled by a group: never, once, or again after a rebalance. Only topics that the
/// group read anything of count. What a group that has read to the end passed over is a finding.
fn consumed(analysis: &Analysis<'_>, promises: &Promises, report: &mut Report) {
    let history = analysis.history;
    let mut member: BTreeMap<u32, u32> = BTreeMap::new();
    let mut times: BTreeMap<(u32, LogId), BTreeMap<u64, u64>> = BTreeMap::new();
    for call in &history.calls {
        if let Deed::Subscribe(group) = call.deed {
            member.insert(call.process, group);
        }
        let Some(group) = member.get(&call.process) else { continue };
        for polled in call.polled().iter().filter(|_| call.outcome == Outcome::Ok) {
            *times.entry((*group, polled.log)).or_default().entry(polled.value).or_default() += 1;
        }
    }
    for (at, call) in numbered(&history.calls).filter(|(_, call)| call.outcome == Outcome::Ok) {
        for sent in call.sent() {
            for (group, name) in (0..).zip(&history.groups) {
                let Some(times) = times.get(&(group, sent.log)) else { continue };
                let often = times.get(&sent.value).copied().unwrap_or(0);
                *report.consumed.entry(name.clone()).or_default().entry(often).or_default() += 1;
                let is_there = analysis.writers.is_read(sent.log, sent.value);
                if often == 0 && is_there && promises.drained.contains(name) {
                    let said = format!("{} was passed over by group {name}", sent.value);
                    let (log, values, calls) = (Some(sent.log), vec![sent.value], vec![at]);
                    report.add(Class::Unconsumed, Finding { log, values, calls, said });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::report::Promises;
    use crate::tale::{Tale, none, only};

    #[test]
    fn a_quiet_history_has_no_findings() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 10), (1, 11)]);
        let report = tale.report();
        assert_eq!(tale.counts(), none());
        assert_eq!((report.acked, report.polled, report.refused, report.unsure), (2, 2, 0, 0));
    }

    #[test]
    fn consumption_is_counted_by_group() {
        let mut tale = Tale::new();
        for value in [10, 11, 12] {
            tale.send(1, "t", value);
        }
        tale.subscribe(2, "g").poll(2, "t", &[(0, 10), (1, 11)]);
        tale.subscribe(3, "g").poll(3, "t", &[(1, 11)]);
        tale.poll(4, "t", &[(0, 10), (1, 11), (2, 12)]);
        let consumed = tale.report().consumed;
        assert_eq!(consumed["g"].iter().collect::<Vec<_>>(), [(&0, &1), (&1, &1), (&2, &1)]);
        assert_eq!(tale.counts(), none());
        tale.promising(Promises { drained: ["g".to_owned()].into(), ..Promises::default() });
        assert_eq!(tale.counts(), only(Class::Unconsumed, 1));
    }
}
