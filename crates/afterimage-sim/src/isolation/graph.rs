//! The graph of what depends on what: transactions, and for the passing of time one node for each end of one.
//!
//! Everything here takes time in proportion to the edges, except the search for a cycle with a given beginning, which stays
//! inside one strongly connected component: where nothing is wrong there is none.

use super::history::Key;
use std::collections::{HashMap, VecDeque};

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Why {
    /// It wrote the version that the other one overwrote.
    Ww = 1,
    /// It wrote what the other one read.
    Wr = 2,
    /// It read, by key, the version that the other one overwrote.
    Rw = 4,
    /// It did so by a scan, which may have found nothing there.
    RwScan = 8,
    /// It ended before the other one began.
    Time = 16,
}

/// A set of reasons.
pub type Whys = u8;

/// One dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Who comes first.
    pub from: u32,
    /// Who comes later.
    pub to: u32,
    /// Why.
    pub why: Why,
    /// By which list; 0 for time.
    pub key: Key,
}

/// Nodes and edges, by the node they leave.
pub struct Graph {
    starts: Vec<usize>,
    edges: Vec<Edge>,
}

/// Which strongly connected component each node belongs to; `None` for those that are alone.
pub struct Components(Vec<Option<u32>>);

impl Components {
    /// Whether an edge stays inside one component.
    #[must_use]
    pub fn hold(&self, edge: &Edge) -> bool {
        let from = self.0[edge.from as usize];
        from.is_some() && from == self.0[edge.to as usize]
    }
}

impl Graph {
    /// A graph of so many nodes.
    #[must_use]
    pub fn new(nodes: usize, mut edges: Vec<Edge>) -> Graph {
        edges.sort_unstable_by_key(|edge| (edge.from, edge.to, edge.why));
        edges.dedup_by_key(|edge| (edge.from, edge.to, edge.why));
        let mut starts = vec![0; nodes + 1];
        for edge in &edges {
            starts[edge.from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Graph { starts, edges }
    }

    /// All edges.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    fn out(&self, node: u32) -> &[Edge] {
        &self.edges[self.starts[node as usize]..self.starts[node as usize + 1]]
    }

    /// The strongly connected components by these edges alone (Tarjan, without recursion).
    #[must_use]
    pub fn components(&self, whys: Whys) -> Components {
        const NEW: u32 = u32::MAX;
        let nodes = self.starts.len() - 1;
        let mut index = vec![NEW; nodes];
        let mut low = vec![0; nodes];
        let mut on_stack = vec![false; nodes];
        let mut component = vec![None; nodes];
        let (mut stack, mut next, mut found) = (Vec::new(), 0, 0);
        // Each call: the node, and how many of its edges it has looked at.
        let mut calls: Vec<(u32, usize)> = Vec::new();
        for root in 0..nodes {
            if index[root] != NEW {
                continue;
            }
            calls.push((root as u32, 0));
            while let Some((node, seen)) = calls.pop() {
                let at = node as usize;
                if seen == 0 {
                    (index[at], low[at]) = (next, next);
                    next += 1;
                    stack.push(node);
                    on_stack[at] = true;
                }
                let edges = &self.out(node)[seen..];
                let mut deeper = None;
                for (n, edge) in edges.iter().enumerate() {
                    let to = edge.to as usize;
                    if edge.why as u8 & whys == 0 {
                        continue;
                    }
                    if index[to] == NEW {
                        deeper = Some((seen + n + 1, edge.to));
                        break;
                    }
                    if on_stack[to] {
                        low[at] = low[at].min(index[to]);
                    }
                }
                if let Some((seen, to)) = deeper {
                    calls.push((node, seen));
                    calls.push((to, 0));
                    continue;
                }
                if low[at] == index[at] {
                    let begin = stack.iter().rposition(|n| *n == node).unwrap_or(0);
                    let members = stack.split_off(begin);
                    for member in &members {
                        on_stack[*member as usize] = false;
                        component[*member as usize] = (members.len() > 1).then_some(found);
                    }
                    found += 1;
                }
                if let Some((caller, _)) = calls.last() {
                    let caller = *caller as usize;
                    low[caller] = low[caller].min(low[at]);
                }
            }
        }
        Components(component)
    }

    /// A shortest way from `from` to `to` by these edges, inside one component. With `apart` no two reads of what was
    /// overwritten follow each other, and the way neither begins nor ends with one: what goes before it and behind it is one.
    #[must_use]
    pub fn way(
        &self,
        (from, to): (u32, u32),
        whys: Whys,
        inside: &Components,
        apart: bool,
    ) -> Option<Vec<Edge>> {
        let is_rw = |edge: &Edge| matches!(edge.why, Why::Rw | Why::RwScan);
        // A state is a node, and whether a read of what was overwritten has led there.
        let begin = (from, apart);
        let mut came: HashMap<State, (Edge, State)> = HashMap::new();
        let mut queue = VecDeque::from([begin]);
        while let Some(state) = queue.pop_front() {
            for edge in self.out(state.0) {
                if edge.why as u8 & whys == 0 || !inside.hold(edge) {
                    continue;
                }
                let rw = apart && is_rw(edge);
                if rw && (state.1 || edge.to == to) {
                    continue;
                }
                let next = (edge.to, rw);
                if next == begin || came.contains_key(&next) {
                    continue;
                }
                came.insert(next, (*edge, state));
                if edge.to == to {
                    return Some(walk_back(&came, next));
                }
                queue.push_back(next);
            }
        }
        None
    }
}

type State = (u32, bool);

fn walk_back(came: &HashMap<State, (Edge, State)>, mut state: State) -> Vec<Edge> {
    let mut way = Vec::new();
    while let Some((edge, before)) = came.get(&state) {
        way.push(*edge);
        state = *before;
    }
    way.reverse();
    way
}
