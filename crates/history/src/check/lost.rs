//! Acknowledged and gone.
//!
//! A *lost write* is one that was acknowledged, or shown to have happened by a sibling that was read, and that nobody read
//! although something behind it was: a later place of the log, or a later record of the same process. *Unseen* is the same
//! with nothing behind it: after final reads it is lost all the same. Each says where in its writer's records the hole is:
//! a lost prefix, middle, postfix or the whole tell different bugs apart. *Lost on site* compares the sites' final reads
//! with all that anyone ever read. A disk that was lost excuses what it alone can have held, unless its topic is kept twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::Analysis;
use crate::class::Class;
use crate::gather::{Call, LogId};
use crate::report::{Finding, Promises, Report};
use crate::writers::numbered;

/// A write that must be in its log.
#[derive(Debug, Clone, Copy)]
struct Write {
    value: u64,
    call: u32,
    is_read: bool,
}

pub(super) fn check(analysis: &Analysis<'_>, promises: &Promises, report: &mut Report) {
    for ((log, _), writes) in &by_writer(analysis) {
        of_writer(analysis, promises, *log, writes, report);
    }
    on_sites(analysis, promises, report);
    missing_in_origins(analysis, report);
}

/// What each process wrote to each log, in its order.
fn by_writer(analysis: &Analysis<'_>) -> BTreeMap<(LogId, u32), Vec<Write>> {
    let mut writes: BTreeMap<(LogId, u32), Vec<Write>> = BTreeMap::new();
    for (at, call) in numbered(&analysis.history.calls).filter(|(at, _)| analysis.writers.happened(*at)) {
        for sent in call.sent() {
            let is_read = analysis.writers.is_read(sent.log, sent.value);
            let write = Write { value: sent.value, call: at, is_read };
            writes.entry((sent.log, call.process)).or_default().push(write);
        }
    }
    writes
}

fn of_writer(
    analysis: &Analysis<'_>,
    promises: &Promises,
    log: LogId,
    writes: &[Write],
    report: &mut Report,
) {
    let order = analysis.order(log);
    let bound = analysis.writers.read_of(log).filter_map(|value| order.first(value)).max();
    let first = writes.iter().position(|write| write.is_read);
    let last = writes.iter().rposition(|write| write.is_read);
    for (at, write) in writes.iter().enumerate().filter(|(_, write)| !write.is_read) {
        let part = match (first, last) {
            (Some(first), _) if at < first => "the prefix",
            (_, Some(last)) if at > last => "the postfix",
            (Some(_), Some(_)) => "the middle",
            _ => "all",
        };
        let place = order.places(write.value).last();
        let is_behind = place.is_some_and(|place| Some(place) <= bound) || last.is_some_and(|last| at < last);
        let call = &analysis.history.calls[write.call as usize];
        let class = match (is_excused(analysis, promises, log, call), is_behind) {
            (true, _) => Class::ExcusedLoss,
            (false, true) => Class::LostWrite,
            (false, false) => Class::Unseen,
        };
        let said =
            format!("{} was acknowledged and nobody read it: {part} of its writer's records", write.value);
        let calls = vec![write.call];
        report.add(class, Finding { log: Some(log), values: vec![write.value], calls, said });
    }
}

fn is_excused(analysis: &Analysis<'_>, promises: &Promises, log: LogId, call: &Call) -> bool {
    let topic = &analysis.history.logs[log.0 as usize].topic;
    let when = call.completed_us;
    let covers = promises.excuses.iter().any(|excuse| (excuse.from_us..=excuse.until_us).contains(&when));
    covers && !promises.kept_twice.contains(topic)
}

/// Whatever was read of a log anywhere, every site's final read has.
fn on_sites(analysis: &Analysis<'_>, promises: &Promises, report: &mut Report) {
    let mut sites: BTreeSet<u16> = BTreeSet::new();
    let mut reads: BTreeMap<(LogId, u16), Vec<u64>> = BTreeMap::new();
    for call in analysis.history.calls.iter().filter(|call| call.last) {
        sites.insert(call.site);
        for polled in call.polled() {
            reads.entry((polled.log, call.site)).or_default().push(polled.offset);
        }
    }
    reads.values_mut().for_each(|offsets| offsets.sort_unstable());
    let of_origins = reads.keys().any(|(log, _)| !analysis.is_merged(*log));
    for log in analysis.logs().filter(|log| analysis.is_merged(*log) || of_origins) {
        for (index, value) in (0..).zip(analysis.order(log).values()) {
            let offset = analysis.order(log).offset(index);
            for site in &sites {
                let has = reads.get(&(log, *site)).is_some_and(|read| read.binary_search(&offset).is_ok());
                if !has {
                    lost_on_site(
                        analysis,
                        promises,
                        Missing { log, site: *site, offset, value: *value },
                        report,
                    );
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Missing {
    log: LogId,
    site: u16,
    offset: u64,
    value: u64,
}

fn lost_on_site(analysis: &Analysis<'_>, promises: &Promises, missing: Missing, report: &mut Report) {
    let Missing { log, site, offset, value } = missing;
    let writer = analysis.writers.of(analysis.home(log), value);
    // The merged log shows only what a majority holds: no one disk excuses a loss there.
    let excused = !analysis.is_merged(log)
        && writer.is_some_and(|writer| {
            is_excused(analysis, promises, log, &analysis.history.calls[writer as usize])
        });
    let class = if excused { Class::ExcusedLoss } else { Class::LostOnSite };
    let site = &analysis.history.sites[usize::from(site)];
    let said = format!("{value} at offset {offset} was read elsewhere, and not in {site}'s final read");
    report.add(
        class,
        Finding { log: Some(log), values: vec![value], calls: writer.into_iter().collect(), said },
    );
}

/// The merged log is an index over origin logs: what it has, one of them has. Told only by histories whose final reads read
/// the origin logs as well.
fn missing_in_origins(analysis: &Analysis<'_>, report: &mut Report) {
    let finals = analysis.history.calls.iter().filter(|call| call.last).flat_map(|call| call.polled());
    let read: BTreeSet<LogId> =
        finals.map(|polled| polled.log).filter(|log| !analysis.is_merged(*log)).collect();
    let merged: BTreeSet<LogId> = read.iter().map(|log| analysis.home(*log)).collect();
    for log in merged.into_iter().filter(|log| analysis.is_merged(*log)) {
        for value in analysis.order(log).values() {
            let there =
                analysis.origins(log).iter().any(|origin| analysis.order(*origin).first(*value).is_some());
            if !there {
                let said = format!("{value} is in the merged log, and in no origin log");
                let calls = analysis.writers.of(log, *value).into_iter().collect();
                report
                    .add(Class::OriginMissing, Finding { log: Some(log), values: vec![*value], calls, said });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::class::Class;
    use crate::report::{Excuse, Promises};
    use crate::tale::{Tale, none, only};

    fn said(tale: &Tale, class: Class) -> String {
        tale.report().found[&class].findings[0].said.clone()
    }

    #[test]
    fn an_acknowledged_offset_below_what_was_read_must_have_been_read() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).told(0).send(2, "t", 11).told(1).poll(3, "t", &[(1, 11)]);
        assert_eq!(tale.counts(), only(Class::LostWrite, 1));
        let mut tale = Tale::new();
        tale.send(1, "t", 10).told(0).send(2, "t", 11).told(1).poll(3, "t", &[(0, 10)]);
        assert_eq!(tale.counts(), only(Class::Unseen, 1));
    }

    #[test]
    fn a_hole_in_a_writers_records_is_a_loss_even_without_offsets() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).send(1, "t", 12).poll(2, "t", &[(0, 10), (1, 12)]);
        assert_eq!(tale.counts(), only(Class::LostWrite, 1));
        assert!(said(&tale, Class::LostWrite).contains("the middle"));
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 11)]);
        assert!(said(&tale, Class::LostWrite).contains("the prefix"));
    }

    #[test]
    fn an_end_that_nobody_read_is_unseen() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 10)]);
        assert_eq!(tale.counts(), only(Class::Unseen, 1));
        assert!(said(&tale, Class::Unseen).contains("the postfix"));
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(2, "t", 11).poll(3, "t", &[(0, 10)]);
        assert!(said(&tale, Class::Unseen).contains("all of its writer's"));
    }

    #[test]
    fn an_unsure_write_may_be_lost_unless_its_sibling_was_read() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).unsure().send(2, "t", 11).poll(3, "t", &[(0, 11)]);
        assert_eq!(tale.counts(), none());
        let mut tale = Tale::new();
        tale.transaction(1, &[("t", 10), ("u", 11)], &[]).unsure();
        tale.poll(3, "u", &[(0, 11)]);
        assert_eq!(tale.counts(), only(Class::Unseen, 1));
    }

    #[test]
    fn a_lost_disk_excuses_what_it_alone_may_have_had() {
        let excuses = vec![Excuse { from_us: 0, until_us: 3 }];
        let mut tale = Tale::new();
        tale.promising(Promises { excuses: excuses.clone(), ..Promises::default() });
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 11)]);
        assert_eq!(tale.counts(), only(Class::ExcusedLoss, 1));
        let kept_twice = ["t".to_owned()].into();
        tale.promising(Promises { excuses, kept_twice, ..Promises::default() });
        assert_eq!(tale.counts(), only(Class::LostWrite, 1));
        let later = vec![Excuse { from_us: 3, until_us: 5 }];
        tale.promising(Promises { excuses: later, ..Promises::default() });
        assert_eq!(tale.counts(), only(Class::LostWrite, 1), "it was acknowledged before the excuse begins");
    }

    #[test]
    fn every_site_has_in_the_end_what_anyone_ever_read() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 10), (1, 11)]);
        tale.at("eu").poll(3, "t", &[(0, 10), (1, 11)]).last();
        tale.at("us").poll(4, "t", &[(0, 10)]).last();
        assert_eq!(tale.counts(), only(Class::LostOnSite, 1));
        assert!(said(&tale, Class::LostOnSite).contains("not in us's final read"));
        tale.at("us").poll(4, "t", &[(1, 11)]).last();
        assert_eq!(tale.counts(), none());
    }

    #[test]
    fn what_is_merged_has_an_origin() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11).poll(2, "t", &[(0, 10), (1, 11)]).last();
        tale.poll(2, "eu.t", &[(0, 10)]).last();
        assert_eq!(tale.counts(), only(Class::OriginMissing, 1));
        tale.poll(2, "us.t", &[(0, 11)]).last();
        assert_eq!(tale.counts(), none());
    }
}
