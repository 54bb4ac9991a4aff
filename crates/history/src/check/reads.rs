//! What polls may never show: writes that failed, writes that nobody made, a transaction's own uncommitted writes.

use crate::analysis::Analysis;
use crate::class::Class;
use crate::gather::{Call, Outcome, Polled};
use crate::report::{Finding, Report};
use crate::writers::numbered;

pub(super) fn check(analysis: &Analysis<'_>, report: &mut Report) {
    for (at, call) in numbered(&analysis.history.calls).filter(|(_, call)| call.outcome == Outcome::Ok) {
        for polled in call.polled() {
            aborted(analysis, at, polled, report);
        }
        precommitted(at, call, report);
    }
}

/// G1a, and values from nowhere.
fn aborted(analysis: &Analysis<'_>, reader: u32, polled: &Polled, report: &mut Report) {
    let Polled { log, offset, value } = *polled;
    let finding = |calls, said| Finding { log: Some(log), values: vec![value], calls, said };
    match analysis.writers.of(analysis.home(log), value) {
        None => {
            let said = format!("{value} was read at offset {offset}, and nobody wrote it");
            report.add(Class::Unexpected, finding(vec![reader], said));
        }
        Some(writer) if analysis.history.calls[writer as usize].outcome == Outcome::Fail => {
            let said = format!("{value} was read at offset {offset}, and its write had failed for certain");
            report.add(Class::AbortedRead, finding(vec![writer, reader], said));
        }
        Some(_) => {}
    }
}

/// A queue shows a transaction to nobody before it is committed, not even to itself.
fn precommitted(at: u32, call: &Call, report: &mut Report) {
    for sent in call.sent() {
        if call.polled().iter().any(|polled| (polled.log, polled.value) == (sent.log, sent.value)) {
            let said = format!("{} was read by the transaction that wrote it", sent.value);
            report.add(
                Class::PrecommittedRead,
                Finding { log: Some(sent.log), values: vec![sent.value], calls: vec![at], said },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::tale::{Tale, none, only};

    #[test]
    fn a_failed_write_must_not_be_read_but_an_unsure_one_may() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).failed().poll(2, "t", &[(0, 10)]);
        assert_eq!(tale.counts(), only(Class::AbortedRead, 1));
        let mut tale = Tale::new();
        tale.send(1, "t", 10).unsure().poll(2, "t", &[(0, 10)]);
        assert_eq!(tale.counts(), none());
    }

    #[test]
    fn a_failed_poll_is_no_witness_of_a_failed_write() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).failed().poll(2, "t", &[(0, 10)]).failed();
        assert_eq!(tale.counts(), none());
    }

    #[test]
    fn what_nobody_wrote_is_unexpected_in_origin_logs_too() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).poll(2, "t", &[(0, 10)]).poll(2, "eu.t", &[(0, 10), (1, 11)]);
        assert_eq!(tale.counts(), only(Class::Unexpected, 1));
    }

    #[test]
    fn a_transaction_reads_others_writes_but_not_its_own() {
        let mut tale = Tale::new();
        tale.transaction(1, &[("t", 10)], &[("t", 0, 10)]);
        assert_eq!(tale.counts(), only(Class::PrecommittedRead, 1));
        let mut tale = Tale::new();
        tale.send(2, "t", 9).transaction(1, &[("t", 10)], &[("t", 0, 9)]).poll(3, "t", &[(0, 9), (1, 10)]);
        assert_eq!(tale.counts(), none());
    }
}
