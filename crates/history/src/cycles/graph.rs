//! The graph: calls and moments, edges by where they start, and shortest ways through it.

use std::collections::VecDeque;

/// Why one call came before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Both wrote, and it stands before.
    Ww,
    /// It wrote what the other read.
    Wr,
    /// It read, and the other wrote what comes next.
    Rw,
    /// The same process did this first.
    Process,
    /// It was over when the other began.
    Realtime,
}

impl Why {
    pub(super) fn bit(self) -> u8 {
        1 << (self as u8)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Why::Ww => "ww",
            Why::Wr => "wr",
            Why::Rw => "rw",
            Why::Process => "process",
            Why::Realtime => "realtime",
        }
    }
}

/// An edge.
pub(super) type Edge = (u32, u32, Why);

/// Edges, by the node they start at.
#[derive(Debug)]
pub(super) struct Graph {
    calls: u32,
    starts: Vec<u32>,
    ends: Vec<(u32, Why)>,
}

impl Graph {
    /// Of `nodes` nodes, of which the first `calls` are calls and the others moments.
    pub(super) fn new(calls: u32, nodes: u32, mut edges: Vec<Edge>) -> Self {
        edges.retain(|(from, to, _)| from != to);
        edges.sort_unstable_by_key(|(from, to, why)| (*from, *to, why.bit()));
        edges.dedup();
        let mut starts = vec![0; nodes as usize + 1];
        for (from, _, _) in &edges {
            starts[*from as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Self { calls, starts, ends: edges.into_iter().map(|(_, to, why)| (to, why)).collect() }
    }

    pub(super) fn nodes(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).expect("nodes are numbered so")
    }

    pub(super) fn is_call(&self, node: u32) -> bool {
        node < self.calls
    }

    /// Edges out of a node, from its `skip`-th on, with their place.
    pub(super) fn out(&self, node: u32, skip: u32) -> &[(u32, Why)] {
        let (from, to) = (self.starts[node as usize], self.starts[node as usize + 1]);
        &self.ends[(from + skip).min(to) as usize..to as usize]
    }

    /// Edges inside a sorted component, of one kind or any.
    pub(super) fn within<'g>(
        &'g self,
        component: &'g [u32],
        may: u8,
        kind: Option<Why>,
    ) -> impl Iterator<Item = Edge> + 'g {
        let wanted = move |why: Why| why.bit() & may != 0 && kind.is_none_or(|kind| kind == why);
        component.iter().flat_map(move |from| {
            let out = self.out(*from, 0).iter().filter(move |(_, why)| wanted(*why));
            out.filter(|(to, _)| component.binary_search(to).is_ok()).map(|(to, why)| (*from, *to, *why))
        })
    }

    /// The shortest cycle through an edge inside a sorted component: nodes, each with the edge that leaves it.
    pub(super) fn cycle(&self, component: &[u32], may: u8, first: Edge) -> Option<Vec<(u32, Why)>> {
        let (from, to, why) = first;
        let place = |node: &u32| component.binary_search(node).ok();
        let mut came: Vec<Option<(u32, Why)>> = vec![None; component.len()];
        let mut waiting = VecDeque::from([to]);
        while let Some(node) = waiting.pop_front() {
            if node == from {
                return Some(way_back(component, &came, (from, to, why)));
            }
            for (next, why) in self.out(node, 0).iter().filter(|(_, why)| why.bit() & may != 0) {
                let Some(at) = place(next) else { continue };
                if came[at].is_none() && *next != to {
                    came[at] = Some((node, *why));
                    waiting.push_back(*next);
                }
            }
        }
        None
    }
}

fn way_back(component: &[u32], came: &[Option<(u32, Why)>], (from, to, why): Edge) -> Vec<(u32, Why)> {
    let mut cycle = Vec::new();
    let mut node = from;
    while node != to {
        let at = component.binary_search(&node).expect("the way stays in the component");
        let (before, why) = came[at].expect("the way was found from its start");
        cycle.push((before, why));
        node = before;
    }
    cycle.push((from, why));
    cycle.reverse();
    cycle
}
