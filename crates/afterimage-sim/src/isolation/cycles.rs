//! The search for cycles, and their names.
//!
//! Nothing is looked at but strongly connected components: a history without anomalies has none, and costs one pass for each
//! set of edges. In those there are, cycles with few reads of what was overwritten are looked for first.

use super::anomaly::{Finding, Name};
use super::graph::{Edge, Graph, Why, Whys};
use super::history::History;
use std::collections::BTreeSet;

const WW: Whys = Why::Ww as Whys;
const WR: Whys = Why::Wr as Whys;
const RW: Whys = Why::Rw as Whys;
const SCAN: Whys = Why::RwScan as Whys;
const TIME: Whys = Why::Time as Whys;

/// So many cycles of one name are shown.
const SHOWN: usize = 5;
/// So many beginnings are tried in one pass.
const TRIED: usize = 2000;

/// One pass: a cycle begins with an edge of `first` and goes on by `rest`.
struct Pass {
    first: Whys,
    rest: Whys,
    apart: bool,
}

const fn pass(first: Whys, rest: Whys) -> Pass {
    Pass {
        first,
        rest,
        apart: false,
    }
}

const PASSES: [Pass; 11] = [
    pass(WW, WW),
    pass(WR, WW | WR),
    pass(RW, WW | WR),
    pass(SCAN, WW | WR),
    Pass {
        first: RW,
        rest: WW | WR | RW,
        apart: true,
    },
    pass(RW, WW | WR | RW),
    pass(SCAN, WW | WR | RW | SCAN),
    pass(WW, WW | TIME),
    pass(WR, WW | WR | TIME),
    pass(RW | SCAN, WW | WR | TIME),
    pass(RW | SCAN, WW | WR | RW | SCAN | TIME),
];

/// Every kind of cycle that there is, each some times.
#[must_use]
pub fn find(history: &History, graph: &Graph) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut known = BTreeSet::new();
    for Pass { first, rest, apart } in PASSES {
        let components = graph.components(first | rest);
        let begins = graph
            .edges()
            .iter()
            .filter(|edge| edge.why as Whys & first != 0 && components.hold(edge));
        for edge in begins.take(TRIED) {
            let Some(way) = graph.way((edge.to, edge.from), rest, &components, apart) else {
                continue;
            };
            let cycle: Vec<Edge> = [*edge].into_iter().chain(way).collect();
            let (name, realtime) = name(&cycle);
            // With the clock only what is none without it.
            let same = findings.iter().filter(|f| f.name == name);
            let enough = same.clone().filter(|f| f.realtime == realtime).count() >= SHOWN;
            if enough || realtime && same.clone().any(|f| !f.realtime) {
                continue;
            }
            let mut members: Vec<u32> = cycle.iter().map(|edge| edge.from).collect();
            members.sort_unstable();
            if known.insert((name, realtime, members)) {
                findings.push(Finding {
                    name,
                    realtime,
                    what: tell(history, &cycle),
                });
            }
        }
    }
    findings
}

fn name(cycle: &[Edge]) -> (Name, bool) {
    let is_rw = |edge: &Edge| matches!(edge.why, Why::Rw | Why::RwScan);
    let has = |why| cycle.iter().any(|edge| edge.why == why);
    let next = cycle.iter().skip(1).chain(cycle.first());
    let adjacent = cycle
        .iter()
        .zip(next)
        .any(|(edge, next)| is_rw(edge) && is_rw(next));
    let same_list = cycle.iter().all(|edge| edge.key == cycle[0].key);
    let name = match cycle.iter().filter(|edge| is_rw(edge)).count() {
        0 if !has(Why::Wr) => Name::G0,
        0 => Name::G1c,
        1 if cycle.len() == 2 && has(Why::Ww) && same_list => Name::LostUpdate,
        1 => Name::GSingle,
        _ if has(Why::RwScan) => Name::G2,
        _ if adjacent => Name::G2Item,
        _ => Name::LongFork,
    };
    (name, has(Why::Time))
}

/// The cycle in words: who, and why he comes before the next.
fn tell(history: &History, cycle: &[Edge]) -> String {
    let txns = history.txns.len() as u32;
    let mut text = String::new();
    for edge in cycle {
        if edge.from < txns {
            let txn = &history.txns[edge.from as usize];
            text.push_str(&format!("\n    T{} ({txn})", edge.from));
        }
        let why = match edge.why {
            Why::Ww => format!("wrote k{} before", edge.key),
            Why::Wr => format!("wrote k{}, as read by", edge.key),
            Why::Rw => format!("read k{} before it was written by", edge.key),
            Why::RwScan => format!("scanned k{} before it was written by", edge.key),
            Why::Time if edge.to >= txns => continue,
            Why::Time => "ended before the begin of".to_owned(),
        };
        text.push_str(&format!("\n      {why} T{}", edge.to));
    }
    text
}
