//! Strongly connected components, by Tarjan's algorithm without recursion: histories are deeper than stacks.

use super::graph::Graph;

const UNSEEN: u32 = u32::MAX;

#[derive(Debug)]
struct Search<'g> {
    graph: &'g Graph,
    may: u8,
    /// When a node was first seen.
    seen: Vec<u32>,
    /// The earliest node that it can reach, as far as is known.
    low: Vec<u32>,
    on_stack: Vec<bool>,
    stack: Vec<u32>,
    clock: u32,
    found: Vec<Vec<u32>>,
}

/// Components of more than one node, each sorted, over the edges of `may`.
pub(super) fn components(graph: &Graph, may: u8) -> Vec<Vec<u32>> {
    let nodes = graph.nodes() as usize;
    let mut search = Search {
        graph,
        may,
        seen: vec![UNSEEN; nodes],
        low: vec![0; nodes],
        on_stack: vec![false; nodes],
        stack: Vec::new(),
        clock: 0,
        found: Vec::new(),
    };
    for node in 0..graph.nodes() {
        if search.seen[node as usize] == UNSEEN {
            search.from(node);
        }
    }
    search.found
}

impl Search<'_> {
    fn from(&mut self, root: u32) {
        // A node, and how many of its edges have been followed.
        let mut way = vec![(root, 0_u32)];
        self.enter(root);
        while let Some((node, followed)) = way.last_mut() {
            let node = *node;
            match self.graph.out(node, *followed).first().copied() {
                Some((next, why)) => {
                    *followed += 1;
                    if why.bit() & self.may == 0 {
                        continue;
                    }
                    if self.seen[next as usize] == UNSEEN {
                        self.enter(next);
                        way.push((next, 0));
                    } else if self.on_stack[next as usize] {
                        self.lower(node, self.seen[next as usize]);
                    }
                }
                None => {
                    way.pop();
                    if let Some((before, _)) = way.last() {
                        self.lower(*before, self.low[node as usize]);
                    }
                    if self.low[node as usize] == self.seen[node as usize] {
                        self.close(node);
                    }
                }
            }
        }
    }

    fn enter(&mut self, node: u32) {
        self.seen[node as usize] = self.clock;
        self.low[node as usize] = self.clock;
        self.clock += 1;
        self.stack.push(node);
        self.on_stack[node as usize] = true;
    }

    fn lower(&mut self, node: u32, to: u32) {
        let low = &mut self.low[node as usize];
        *low = to.min(*low);
    }

    fn close(&mut self, root: u32) {
        let from = self.stack.iter().rposition(|node| *node == root).expect("a root is on the stack");
        let mut component = self.stack.split_off(from);
        component.iter().for_each(|node| self.on_stack[*node as usize] = false);
        if component.len() > 1 {
            component.sort_unstable();
            self.found.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::components;
    use crate::cycles::graph::{Graph, Why};

    #[test]
    fn only_edges_that_are_allowed_count() {
        let edges = vec![(0, 1, Why::Ww), (1, 0, Why::Wr), (2, 3, Why::Ww), (3, 2, Why::Ww)];
        let graph = Graph::new(4, 4, edges);
        assert_eq!(components(&graph, Why::Ww.bit()), [[2, 3]]);
        assert_eq!(components(&graph, Why::Ww.bit() | Why::Wr.bit()).len(), 2);
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let mut edges: Vec<_> = (0..200_000).map(|node| (node, node + 1, Why::Ww)).collect();
        edges.push((200_000, 0, Why::Ww));
        let found = components(&Graph::new(200_001, 200_001, edges), Why::Ww.bit());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].len(), 200_001);
    }

    proptest! {
        #[test]
        fn two_nodes_share_a_component_exactly_if_each_reaches_the_other(
            pairs in prop::collection::vec((0_u32..12, 0_u32..12), 0..40)
        ) {
            let edges: Vec<_> = pairs.iter().map(|(from, to)| (*from, *to, Why::Ww)).collect();
            let found = components(&Graph::new(12, 12, edges), Why::Ww.bit());
            let mut reach = [[false; 12]; 12];
            pairs.iter().for_each(|(from, to)| reach[*from as usize][*to as usize] = true);
            for middle in 0..12 {
                for from in 0..12 {
                    for to in 0..12 {
                        reach[from][to] |= reach[from][middle] && reach[middle][to];
                    }
                }
            }
            for one in 0..12_u32 {
                for other in (0..12_u32).filter(|other| *other != one) {
                    let both = reach[one as usize][other as usize] && reach[other as usize][one as usize];
                    let together = found.iter().any(|c| c.contains(&one) && c.contains(&other));
                    prop_assert_eq!(both, together);
                }
            }
        }
    }
}
