//! Crash states: all those that a run of the workload could leave behind, simplest first; and each of them checked.

use super::App;
use super::place::Fault;
use super::run::{Lived, Point, Who, Wrong, words};
use crate::choices::{Choices, mix};
use crate::cut::{Cut, Trail, survivals};
use afterimage_io::sim::{DiskState, Survival, Verdict};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One power cut: where, and what survived.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) call: u64,
    pub(super) survival: usize,
    pub(super) how: Survival,
    /// The call before which it came, in words.
    pub(super) words: String,
    pub(super) thread: String,
    /// The disk before it.
    pub(super) before: DiskState,
}

/// A disk as one or more power cuts have left it, and what the world outside had been told before.
#[derive(Clone)]
pub(super) struct State {
    disk: DiskState,
    hash: u64,
    pub(super) acknowledged: usize,
    pub(super) steps: Vec<Step>,
}

impl State {
    pub(super) fn trail(&self) -> Trail {
        let cut = |s: &Step| Cut {
            call: s.call,
            survival: s.survival,
        };
        Trail(self.steps.iter().map(cut).collect())
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    fn after(point: &Point, survival: usize, how: &Survival, earlier: &[Step]) -> State {
        let image = point.disk.crash(how);
        let step = Step {
            call: point.call,
            survival,
            how: how.clone(),
            words: point.words.clone(),
            thread: point.thread.clone(),
            before: point.disk.clone(),
        };
        State {
            hash: image.hash(),
            disk: DiskState::from_image(&image),
            acknowledged: point.acknowledged,
            steps: earlier.iter().cloned().chain([step]).collect(),
        }
    }
}

/// Every survival that is tried of `disk`: those of the engine's own crash tests, and two random subsets with tears in them. After a fault only the two
/// extremes: what the fault did is what is looked at.
fn survivals_of(disk: &DiskState, fault: bool) -> Vec<Survival> {
    if fault {
        return vec![Survival::None, Survival::All];
    }
    let mut list = survivals(disk);
    if disk.pending().len() > 1 {
        list.extend([1, 2].map(|seed| Survival::Random { seed }));
    }
    list
}

/// Every crash state of `points`, simplest first: nothing survives, all survives, then the rest; each at every call. How many there were before those that
/// are equal were taken together is counted; `is_new` is asked of a disk's hash and the number of acknowledgements.
pub(super) fn crash_states(
    points: &[Point],
    is_new: &mut dyn FnMut(u64, usize) -> bool,
) -> (u64, Vec<State>) {
    let lists: Vec<_> = points
        .iter()
        .map(|p| survivals_of(&p.disk, false))
        .collect();
    let raw = lists.iter().map(|l| l.len() as u64).sum();
    let deepest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut states = Vec::new();
    for survival in 0..deepest {
        for (point, list) in points.iter().zip(&lists) {
            let Some(how) = list.get(survival) else {
                continue;
            };
            let state = State::after(point, survival, how, &[]);
            if is_new(state.hash, state.acknowledged) {
                states.push(state);
            }
        }
    }
    (raw, states)
}

/// What a run with a fault leaves: the machine loses its power at the end, or only the process ends.
pub(super) fn states_after_fault(lived: &Lived) -> Vec<State> {
    let Some(end) = lived.points.last() else {
        return Vec::new();
    };
    let survivals = survivals_of(&end.disk, true);
    let mut states: Vec<State> = survivals
        .iter()
        .enumerate()
        .map(|(n, how)| State::after(end, n, how, &[]))
        .collect();
    // The page cache, lies and all.
    let mut killed = State::after(end, survivals.len(), &Survival::All, &[]);
    killed.disk = end.disk.restart();
    states.push(killed);
    states
}

impl<A: Send + Sync + 'static> App<A> {
    /// Checks one state; answers a state inside its recovery, chosen by its content, if a deeper one is wanted and there is one.
    pub(super) fn check(
        &self,
        state: &State,
        told: &[String],
        deeper: bool,
    ) -> Result<Option<State>, Wrong> {
        let found: Arc<Mutex<(u64, Option<State>)>> = Arc::default();
        let (sink, from) = (Arc::clone(&found), state.clone());
        let mut choices = Choices::new(mix(state.hash ^ state.steps.len() as u64));
        let told = &told[..state.acknowledged.min(told.len())];
        self.recover(&state.disk, told, move |info, disk| {
            if !deeper {
                return Verdict::Continue;
            }
            let mut found = sink.lock().unwrap_or_else(PoisonError::into_inner);
            found.0 += 1;
            // Of n calls each is kept with the same chance.
            if choices.chance(1, found.0) {
                let point = Point {
                    call: found.0,
                    kind: Some(info.kind),
                    words: words(info),
                    thread: info.thread.to_string(),
                    disk: disk.clone(),
                    acknowledged: from.acknowledged,
                };
                let list = survivals_of(disk, false);
                let n = choices.index(list.len());
                found.1 = Some(State::after(&point, n, &list[n], &from.steps));
            }
            Verdict::Continue
        })?;
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(found.1.take())
    }

    /// The state that further cuts make of `state`.
    fn deepen(&self, state: &State, told: &[String], cut: Cut) -> Result<State, Wrong> {
        let found: Arc<Mutex<Option<State>>> = Arc::default();
        let (sink, from) = (Arc::clone(&found), state.clone());
        let mut calls = 0;
        self.recover(&state.disk, told, move |info, disk| {
            calls += 1;
            if calls != cut.call {
                return Verdict::Continue;
            }
            let point = Point {
                call: calls,
                kind: Some(info.kind),
                words: words(info),
                thread: info.thread.to_string(),
                disk: disk.clone(),
                acknowledged: from.acknowledged,
            };
            let list = survivals_of(disk, false);
            let made = list.get(cut.survival);
            let made = made.map(|how| State::after(&point, cut.survival, how, &from.steps));
            *sink.lock().unwrap_or_else(PoisonError::into_inner) = made;
            Verdict::Crash
        })?;
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.take().ok_or_else(|| no_such(cut))
    }

    /// Makes the state that `trail` names again.
    pub(super) fn retrace(
        &self,
        lived: &Lived,
        fault: Option<(Fault, u64)>,
        trail: &Trail,
    ) -> Result<State, Wrong> {
        let Some((first, further)) = trail.0.split_first() else {
            return Err(Wrong::new(Who::Place, "it names no power cut"));
        };
        let state = if fault.is_some() {
            states_after_fault(lived).into_iter().nth(first.survival)
        } else {
            let at = lived.points.iter().find(|p| p.call == first.call);
            at.and_then(|point| {
                let list = survivals_of(&point.disk, false);
                let how = list.get(first.survival)?;
                Some(State::after(point, first.survival, how, &[]))
            })
        };
        let mut state = state.ok_or_else(|| no_such(*first))?;
        let told = &lived.acknowledged[..state.acknowledged];
        for cut in further {
            state = self.deepen(&state, told, *cut)?;
        }
        Ok(state)
    }
}

fn no_such(cut: Cut) -> Wrong {
    let what = format!(
        "there is no call {} with a survival {}: the application, the workload or the engine has changed since",
        cut.call, cut.survival
    );
    Wrong::new(Who::Place, what)
}

/// Does `work` for `0..count` on several threads, until one fails or `stop` says so: answers what the first that did not go on says, with its number, and all
/// that came before it.
pub(super) fn in_order<T: Send, E: Send>(
    workers: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> (Vec<T>, Option<(usize, E)>) {
    let (next, first) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let done = Mutex::new((Vec::new(), Vec::new()));
    let worker = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count || n > first.load(Ordering::Relaxed) {
                return;
            }
            let end = work(n);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match end {
                Ok(value) => done.0.push((n, value)),
                Err(e) => {
                    first.fetch_min(n, Ordering::Relaxed);
                    done.1.push((n, e));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, count.max(1)) {
            scope.spawn(worker);
        }
    });
    let (mut good, mut bad) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    bad.sort_by_key(|(n, _)| *n);
    let bad = bad.into_iter().next();
    let until = bad.as_ref().map_or(usize::MAX, |(n, _)| *n);
    good.retain(|(n, _)| *n < until);
    good.sort_by_key(|(n, _)| *n);
    (good.into_iter().map(|(_, value)| value).collect(), bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_counts_whoever_comes_first() {
        for _ in 0..50 {
            let (good, bad) = in_order(
                4,
                100,
                |n| {
                    if n % 7 == 6 || n == 31 { Err(n) } else { Ok(n) }
                },
            );
            assert_eq!((good, bad), ((0..6).collect(), Some((6, 6))));
        }
        let (good, bad) = in_order(3, 10, Ok::<usize, ()>);
        assert_eq!((good.len(), bad), (10, None));
    }
}
