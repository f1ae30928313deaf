//! Deadlock detection: a cycle in the waits-for graph, and whom it costs. Pure functions over edges that the caller
//! names; `state` calls them whenever a request is about to wait.
//!
//! A new edge appears only when somebody begins to wait, and every edge that appears then starts or ends at that owner.
//! So if there was no cycle before, each new one runs through it, and a search from it alone finds them all, at once.

use std::collections::VecDeque;

use super::line::Slot;

/// What decides who is sacrificed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Begin order; larger is younger.
    pub(super) age: u64,
    /// It undoes its work already and must be let through.
    pub(super) rolling_back: bool,
}

/// A shortest cycle through `start`, as the owners on it beginning with `start`; `None` if there is none.
///
/// `blockers` adds the owners that one owner waits for. `owners` bounds the slots. Breadth first, in the order in which
/// `blockers` names them, so equal graphs give equal cycles.
pub(super) fn find_cycle(
    start: Slot,
    owners: usize,
    mut blockers: impl FnMut(Slot, &mut Vec<Slot>),
) -> Option<Vec<Slot>> {
    let mut reached_from: Vec<Option<Slot>> = vec![None; owners];
    let mut frontier = VecDeque::from([start]);
    let mut found = Vec::new();
    while let Some(waiting) = frontier.pop_front() {
        found.clear();
        blockers(waiting, &mut found);
        for &blocker in &found {
            if blocker == start {
                return Some(path(start, waiting, &reached_from));
            }
            if reached_from[blocker.0].is_none() {
                reached_from[blocker.0] = Some(waiting);
                frontier.push_back(blocker);
            }
        }
    }
    None
}

/// The way by which the search came from `start` to `end`.
fn path(start: Slot, end: Slot, reached_from: &[Option<Slot>]) -> Vec<Slot> {
    let mut path = vec![end];
    let mut at = end;
    while at != start {
        at = reached_from[at.0].expect("every owner but the first was reached from another");
        path.push(at);
    }
    path.reverse();
    path
}

/// The youngest of the cycle that is not rolling back; `None` if all of them are.
pub(super) fn victim(cycle: &[Slot], candidate: impl Fn(Slot) -> Candidate) -> Option<Slot> {
    let may_die = cycle.iter().filter(|slot| !candidate(**slot).rolling_back);
    may_die
        .copied()
        .max_by_key(|slot| (candidate(*slot).age, *slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNERS: usize = 4;

    fn edges(graph: u32, from: Slot) -> impl Iterator<Item = Slot> {
        (0..OWNERS)
            .filter(move |to| graph & (1 << (from.0 * OWNERS + to)) != 0)
            .map(Slot)
    }

    /// Can `from` reach `to` by at least one edge? By closure, the slow and obvious way.
    fn reaches(graph: u32, from: Slot, to: Slot) -> bool {
        let mut reached = [false; OWNERS];
        edges(graph, from).for_each(|next| reached[next.0] = true);
        for _ in 0..OWNERS {
            for middle in 0..OWNERS {
                if reached[middle] {
                    edges(graph, Slot(middle)).for_each(|next| reached[next.0] = true);
                }
            }
        }
        reached[to.0]
    }

    /// All 4096 graphs of four owners without edges to oneself.
    #[test]
    fn finds_a_cycle_exactly_where_there_is_one() {
        let loops: u32 = (0..OWNERS).map(|owner| 1 << (owner * OWNERS + owner)).sum();
        for graph in (0..1_u32 << (OWNERS * OWNERS)).filter(|graph| graph & loops == 0) {
            let start = Slot(0);
            let cycle = find_cycle(start, OWNERS, |slot, found| {
                found.extend(edges(graph, slot))
            });
            assert_eq!(
                cycle.is_some(),
                reaches(graph, start, start),
                "graph {graph:#06x}"
            );
            if let Some(cycle) = cycle {
                assert_eq!(cycle[0], start);
                for (place, slot) in cycle.iter().enumerate() {
                    let next = cycle[(place + 1) % cycle.len()];
                    assert!(
                        edges(graph, *slot).any(|to| to == next),
                        "graph {graph:#06x}: {cycle:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_youngest_pays_unless_it_is_rolling_back() {
        let candidates = |rolling_back: [bool; 3]| {
            move |slot: Slot| Candidate {
                age: [10, 30, 20][slot.0],
                rolling_back: rolling_back[slot.0],
            }
        };
        let cycle = [Slot(0), Slot(1), Slot(2)];
        assert_eq!(
            victim(&cycle, candidates([false, false, false])),
            Some(Slot(1))
        );
        assert_eq!(
            victim(&cycle, candidates([false, true, false])),
            Some(Slot(2))
        );
        assert_eq!(
            victim(&cycle, candidates([false, true, true])),
            Some(Slot(0))
        );
        assert_eq!(victim(&cycle, candidates([true, true, true])), None);
    }
}
