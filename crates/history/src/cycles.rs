//! Cycles of dependencies between calls: each edge says "this happened before that", so a cycle is a contradiction.
//!
//! Edges, as Elle draws them: *ww*, neighbours in a log's order; *wr*, from the writer of the highest record a poll saw to
//! the poll; *rw*, from that poll to the writer of the next record. Then two kinds that do not come from data: *process*,
//! from a poll to what its process did afterwards, and *realtime*, from a call that was over to one that began later.
//! A cycle is named by its worst edges: only ww is G0, with wr G1c, with one rw G-single, with more G2.
//!
//! Origin logs add ww edges only, and only for values that stand once in one of them: the merged log must keep their order.
//! Between two sends of one process there is no edge here; `nonmonotonic-send` judges those, knowing the sites.

mod build;
mod graph;
mod tarjan;

use crate::analysis::Analysis;
use crate::class::{Class, Span};
use crate::report::{Finding, Report};
use graph::{Graph, Why};

/// Edges of a kind that are tried as the start of a cycle to show, per component.
const TRIES_MAX: usize = 64;

/// Steps of a long cycle that are said from its start, and from its end.
const ENDS_SHOWN: usize = 5;

/// A kind of cycle: which edges it may use, and which it must.
struct Kind {
    class: fn(Span) -> Class,
    may: &'static [Why],
    must: Option<Why>,
}

const KINDS: [Kind; 3] = [
    Kind { class: Class::G0, may: &[Why::Ww], must: None },
    Kind { class: Class::G1c, may: &[Why::Ww, Why::Wr], must: Some(Why::Wr) },
    Kind { class: Class::GSingle, may: &[Why::Ww, Why::Wr, Why::Rw], must: Some(Why::Rw) },
];

pub(crate) fn check(analysis: &Analysis<'_>, report: &mut Report) {
    let graph = build::graph(analysis);
    let spans: [(Span, &[Why]); 3] = [
        (Span::Data, &[]),
        (Span::Process, &[Why::Process]),
        (Span::Realtime, &[Why::Process, Why::Realtime]),
    ];
    for (span, more) in spans {
        for kind in &KINDS {
            let may = mask(kind.may) | mask(more);
            let must: Vec<Why> = kind.must.into_iter().chain(more.last().copied()).collect();
            for component in tarjan::components(&graph, may) {
                if let Some(cycle) = shown(&graph, &component, may, &must) {
                    let class = named(&graph, kind, span, &cycle);
                    report.add(class, finding(analysis, &cycle));
                }
            }
        }
    }
}

fn mask(kinds: &[Why]) -> u8 {
    kinds.iter().fold(0, |mask, why| mask | why.bit())
}

/// A cycle of the component that uses every kind of edge it must; `None` if no try finds one.
fn shown(graph: &Graph, component: &[u32], may: u8, must: &[Why]) -> Option<Vec<(u32, Why)>> {
    let uses = |cycle: &[(u32, Why)]| must.iter().all(|why| cycle.iter().any(|(_, edge)| edge == why));
    let mut kinds: Vec<Option<Why>> = must.iter().rev().copied().map(Some).collect();
    if kinds.is_empty() {
        kinds.push(None);
    }
    let mut best: Option<Vec<(u32, Why)>> = None;
    for kind in kinds {
        for (from, to, why) in graph.within(component, may, kind).take(TRIES_MAX) {
            let Some(cycle) = graph.cycle(component, may, (from, to, why)).filter(|cycle| uses(cycle)) else {
                continue;
            };
            if best.as_ref().is_none_or(|best| misses(&cycle) < misses(best)) {
                best = Some(cycle);
            }
        }
        if best.is_some() {
            return best;
        }
    }
    best
}

/// Reads that missed a later write, on a cycle.
fn misses(cycle: &[(u32, Why)]) -> usize {
    cycle.iter().filter(|(_, why)| *why == Why::Rw).count()
}

fn named(graph: &Graph, kind: &Kind, span: Span, cycle: &[(u32, Why)]) -> Class {
    debug_assert!(cycle.iter().any(|(node, _)| graph.is_call(*node)), "a chain of moments is no cycle");
    if misses(cycle) > 1 { Class::G2(span) } else { (kind.class)(span) }
}

fn finding(analysis: &Analysis<'_>, cycle: &[(u32, Why)]) -> Finding {
    let calls = &analysis.history.calls;
    let steps = cycle.iter().filter(|(node, _)| (*node as usize) < calls.len());
    let calls_on: Vec<u32> = steps.clone().map(|(node, _)| *node).collect();
    let values =
        calls_on.iter().flat_map(|call| calls[*call as usize].sent()).map(|sent| sent.value).collect();
    let mut said: Vec<String> = steps
        .map(|(node, why)| {
            let call = &calls[*node as usize];
            let what = match (call.sent().first(), call.polled().last()) {
                (Some(sent), _) => format!("send {}", sent.value),
                (None, Some(polled)) => format!("poll to {}", polled.value),
                (None, None) => "call".to_owned(),
            };
            format!("{what} by {} -{}->", call.process, why.name())
        })
        .collect();
    if said.len() > 2 * ENDS_SHOWN {
        let between = said.len() - 2 * ENDS_SHOWN;
        said.splice(ENDS_SHOWN..said.len() - ENDS_SHOWN, [format!("… {between} more …")]);
    }
    said.push("the first again".to_owned());
    Finding { log: None, values, calls: calls_on, said: said.join(" ") }
}

#[cfg(test)]
mod tests;
