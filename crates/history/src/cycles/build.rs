//! From a history to its graph.

use std::collections::BTreeMap;

use crate::analysis::Analysis;
use crate::gather::{LogId, Outcome};
use crate::writers::numbered;

use super::graph::{Edge, Graph, Why};

/// Calls are nodes 0, 1, …; moments come after them.
pub(super) fn graph(analysis: &Analysis<'_>) -> Graph {
    let calls = u32::try_from(analysis.history.calls.len()).expect("a history fits in memory");
    let mut draft = Draft { edges: Vec::new(), nodes: calls };
    for log in analysis.logs() {
        neighbours(analysis, log, &mut draft);
    }
    reads(analysis, &mut draft);
    processes(analysis, &mut draft);
    realtime(analysis, &mut draft);
    Graph::new(calls, draft.nodes, draft.edges)
}

struct Draft {
    edges: Vec<Edge>,
    nodes: u32,
}

impl Draft {
    fn moment(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }
}

/// Each life of a site has a journal of its own, and a range of offsets in its origin logs.
const OFFSETS_PER_LIFE: u64 = 1 << 40;

/// ww: successive values of a log. In an origin log those of one life: a former life's tail may come into the merged log
/// after the next life has begun. A value that stands twice is where it stood first.
fn neighbours(analysis: &Analysis<'_>, log: LogId, draft: &mut Draft) {
    let home = analysis.home(log);
    let is_merged = analysis.is_merged(log);
    let mut before = None;
    for (index, value) in (0..).zip(analysis.order(log).values()) {
        let is_copy = analysis.order(log).first(*value) != Some(index);
        if is_copy || (!is_merged && analysis.origin_of(home, *value) != Some(log)) {
            continue;
        }
        let life = if is_merged { 0 } else { analysis.order(log).offset(index) / OFFSETS_PER_LIFE };
        let Some(writer) = analysis.writers.of(home, *value) else { continue };
        if let Some((_, last)) = before.filter(|(former, _)| *former == life) {
            draft.edges.push((last, writer, Why::Ww));
        }
        before = Some((life, writer));
    }
}

/// wr and rw: what is highest in a poll, and what comes after it.
fn reads(analysis: &Analysis<'_>, draft: &mut Draft) {
    for (at, call) in numbered(&analysis.history.calls).filter(|(_, call)| call.outcome == Outcome::Ok) {
        let mut highest: BTreeMap<LogId, u32> = BTreeMap::new();
        for polled in call.polled().iter().filter(|polled| analysis.is_merged(polled.log)) {
            let index = analysis.order(polled.log).index_of_offset(polled.offset).unwrap_or(0);
            let high = highest.entry(polled.log).or_default();
            *high = index.max(*high);
        }
        for (log, index) in highest {
            let order = analysis.order(log);
            let writer = |value: &u64| analysis.writers.of(log, *value);
            if let Some(writer) = order.values().get(index as usize).and_then(writer) {
                draft.edges.push((writer, at, Why::Wr));
            }
            let after = (index + 1..).zip(order.values().iter().skip(index as usize + 1));
            let next = after.into_iter().find(|(index, value)| order.first(**value) == Some(*index));
            if let Some(next) = next.and_then(|(_, value)| writer(value)) {
                draft.edges.push((at, next, Why::Rw));
            }
        }
    }
}

/// process: from each poll to what its process asked for after it, through a chain of moments.
fn processes(analysis: &Analysis<'_>, draft: &mut Draft) {
    let calls = &analysis.history.calls;
    let mut of_process: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (at, call) in numbered(calls) {
        of_process.entry(call.process).or_default().push(at);
    }
    for calls_of in of_process.into_values() {
        let polls = calls_of.iter().copied().filter(|at| {
            let call = &calls[*at as usize];
            call.outcome == Outcome::Ok && !call.polled().is_empty()
        });
        let polls: Vec<u32> = polls.collect();
        chain(analysis, &polls, &calls_of, Why::Process, draft);
    }
}

/// realtime: from each call that was answered to those asked for later.
fn realtime(analysis: &Analysis<'_>, draft: &mut Draft) {
    let all: Vec<u32> = numbered(&analysis.history.calls).map(|(at, _)| at).collect();
    let answered = all.iter().copied().filter(|at| analysis.writers.happened(*at));
    let answered: Vec<u32> =
        answered.filter(|at| analysis.history.calls[*at as usize].completed_us < u64::MAX).collect();
    chain(analysis, &answered, &all, Why::Realtime, draft);
}

/// One moment per end, each leading to the next; a call follows the last moment before it began. So n calls need 3n edges.
fn chain(analysis: &Analysis<'_>, ends: &[u32], begins: &[u32], why: Why, draft: &mut Draft) {
    let calls = &analysis.history.calls;
    let mut ends: Vec<(u64, u32)> = ends.iter().map(|at| (calls[*at as usize].completed_us, *at)).collect();
    ends.sort_unstable();
    let moments: Vec<u32> = ends.iter().map(|_| draft.moment()).collect();
    for (moment, (_, call)) in moments.iter().zip(&ends) {
        draft.edges.push((*call, *moment, why));
    }
    for pair in moments.windows(2) {
        draft.edges.push((pair[0], pair[1], why));
    }
    for call in begins {
        let over = ends.partition_point(|(end, _)| *end < calls[*call as usize].invoked_us);
        if over > 0 {
            draft.edges.push((moments[over - 1], *call, why));
        }
    }
}
