//! How far behind polls were, in real time.
//!
//! A record is known to exist from the moment anyone was told its offset, or that of a later one. A poll that ends below it
//! and began after that moment was at least that late. A lower bound, and a figure, not a finding: reading is allowed to be
//! behind.

use std::collections::BTreeMap;

use crate::analysis::Analysis;
use crate::gather::{Deed, LogId, Outcome};
use crate::writers::numbered;

/// The lag of many polls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lag {
    /// Polls of a log, each counted once per log.
    pub polls: usize,
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The worst.
    pub max_ms: f64,
}

/// By site, over merged logs; final reads do not count.
pub(crate) fn of(analysis: &Analysis<'_>) -> BTreeMap<String, Lag> {
    let known = known_since(analysis);
    let mut lags: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for call in analysis.history.calls.iter().filter(|call| call.outcome == Outcome::Ok && !call.last) {
        let Deed::Work { polled, .. } = &call.deed else { continue };
        let mut ends: BTreeMap<LogId, u64> = BTreeMap::new();
        for polled in polled.iter().filter(|polled| analysis.is_merged(polled.log)) {
            ends.insert(polled.log, polled.offset);
        }
        for (log, offset) in ends {
            let next = analysis.order(log).index_of_offset(offset).map_or(0, |index| index as usize + 1);
            let since = known[log.0 as usize].get(next).copied().unwrap_or(u64::MAX);
            lags.entry(call.site).or_default().push(call.invoked_us.saturating_sub(since));
        }
    }
    let named = |(site, lags)| (analysis.history.sites[usize::from(site)].clone(), summary(lags));
    lags.into_iter().map(named).collect()
}

/// By log and index: since when it is known to exist.
fn known_since(analysis: &Analysis<'_>) -> Vec<Vec<u64>> {
    let mut known: Vec<Vec<u64>> =
        analysis.orders.iter().map(|order| vec![u64::MAX; order.values().len()]).collect();
    let mut learn = |log: LogId, offset: u64, at_us: u64| {
        if let Some(index) = analysis.order(log).index_of_offset(offset) {
            let since = &mut known[log.0 as usize][index as usize];
            *since = at_us.min(*since);
        }
    };
    for (at, call) in numbered(&analysis.history.calls).filter(|(_, call)| !call.last) {
        call.polled().iter().for_each(|polled| learn(polled.log, polled.offset, call.completed_us));
        for sent in call.sent().iter().filter(|_| analysis.writers.happened(at)) {
            sent.offset.into_iter().for_each(|offset| learn(sent.log, offset, call.completed_us));
        }
    }
    for since in &mut known {
        let mut earliest = u64::MAX;
        for at in since.iter_mut().rev() {
            earliest = earliest.min(*at);
            *at = earliest;
        }
    }
    known
}

fn summary(mut lags_us: Vec<u64>) -> Lag {
    lags_us.sort_unstable();
    let at = |share: f64| {
        // Exact for any history that fits in memory.
        let index = (share * (lags_us.len() - 1) as f64).round() as usize;
        lags_us[index] as f64 / 1_000.0
    };
    Lag { polls: lags_us.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
}

#[cfg(test)]
mod tests {
    use crate::tale::Tale;

    #[test]
    fn a_poll_is_late_by_the_age_of_what_it_did_not_see() {
        let mut tale = Tale::new();
        tale.send(1, "t", 10).send(1, "t", 11);
        tale.at("eu").poll(2, "t", &[(0, 10), (1, 11)]);
        tale.at("us").poll(3, "t", &[(0, 10)]).poll(3, "t", &[(1, 11)]);
        let lag = tale.report().lag;
        assert_eq!((lag["eu"].polls, lag["eu"].max_ms), (1, 0.0));
        // The first poll at `us` began 2 µs after `eu` was told of offset 1.
        assert_eq!((lag["us"].polls, lag["us"].max_ms, lag["us"].p50_ms), (2, 0.002, 0.002));
    }
}
