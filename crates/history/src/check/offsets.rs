//! One offset, one value; one value, one offset.
//!
//! Offsets that were told to anyone, at any site and any time, are held against each other. In a merged log a value stands
//! once. In origin logs a second copy is a retry that reached the log again: the merge passes over it, so it is a class of
//! its own.

use crate::analysis::Analysis;
use crate::class::Class;
use crate::gather::LogId;
use crate::report::{Finding, Report};

pub(super) fn check(analysis: &Analysis<'_>, report: &mut Report) {
    for log in analysis.logs() {
        for (offset, values) in analysis.order(log).contested() {
            let calls = values.iter().filter_map(|v| analysis.writers.of(analysis.home(log), *v)).collect();
            let said = format!("offset {offset} was seen with the values {values:?}");
            report.add(Class::InconsistentOffsets, Finding { log: Some(log), values, calls, said });
        }
        let class = if analysis.is_merged(log) { Class::Duplicate } else { Class::OriginDuplicate };
        for (value, indices) in analysis.order(log).repeated() {
            let offsets: Vec<u64> = indices.iter().map(|index| analysis.order(log).offset(*index)).collect();
            let said = format!("{value} stands at the offsets {offsets:?}");
            report.add(class, repeated(analysis, log, value, said));
        }
        if analysis.is_merged(log) {
            in_several_origins(analysis, log, report);
        }
    }
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
    fn a_copy_in_another_origins_log_is_another_matter() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).poll(2, "t", &[(0, 10)]);
        tale.poll(3, "eu.t", &[(0, 10)]).poll(3, "us.t", &[(0, 10)]);
        assert_eq!(tale.counts(), only(Class::OriginDuplicate, 1));
    }
}
