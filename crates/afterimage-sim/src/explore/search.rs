//! The exploration itself: runs, their crash states, the recoveries inside those, faults; the first counterexample, and a simpler one of the same kind.

use super::place::{Fault, Place, Run};
use super::report::{Counterexample, Counting, Report};
use super::run::{Lived, Who, Wrong};
use super::states::{State, crash_states, in_order, states_after_fault};
use super::{App, Explore};
use crate::choices::{Choices, Strings, mix};
use crate::cut::Trail;
use crate::shrink::shrink;
use afterimage_io::sim::DiskState;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How many runs there are where runs differ, unless somebody says otherwise.
const RUNS: u64 = 16;

/// Crash states by the disk and by what had been acknowledged.
type Seen = HashSet<(u64, u64)>;

pub(super) struct Search<A> {
    pub(super) app: App<A>,
    pub(super) plan: Plan,
    disk: DiskState,
    counting: Counting,
    started: Instant,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seeds: Option<Vec<u64>>,
    pub(super) faults: Vec<Fault>,
    pub(super) depth: usize,
    pub(super) at_most: usize,
    pub(super) shrink: Duration,
    pub(super) replay: Option<String>,
}

/// A failure, and all that is known about its place.
struct Found {
    wrong: Wrong,
    place: Place,
    lived: Option<Lived>,
    state: Option<State>,
}

impl<A: Send + Sync + 'static> Search<A> {
    pub(super) fn new(explore: Explore<A>) -> Search<A> {
        Search {
            app: explore.app,
            plan: explore.plan,
            disk: DiskState::default(),
            counting: Counting::default(),
            started: Instant::now(),
        }
    }

    fn so_far(&self) -> Report {
        self.counting.so_far(self.started.elapsed())
    }

    fn told(&self, found: &Found) -> Counterexample {
        self.told_after(found, self.so_far())
    }

    fn told_after(&self, found: &Found, explored: Report) -> Counterexample {
        Counterexample::new(
            &found.wrong,
            &found.place,
            found.lived.as_ref(),
            found.state.as_ref(),
            explored,
        )
    }

    pub(super) fn all(mut self) -> Result<Report, Box<Counterexample>> {
        let nowhere = |run| Place {
            run,
            fault: None,
            trail: Trail::default(),
        };
        let asked = self.plan.replay.clone().map(|text| {
            let place = text.parse::<Place>();
            place.map_err(|e| (nowhere(Run::Seed(0)), Wrong::new(Who::Place, e)))
        });
        let fail = |search: &Search<A>, (place, wrong): (Place, Wrong)| {
            let found = Found {
                wrong,
                place,
                lived: None,
                state: None,
            };
            Box::new(search.told(&found))
        };
        let asked = asked.transpose().map_err(|e| fail(&self, e))?;
        let disk = self.app.set_up();
        self.disk = disk.map_err(|wrong| fail(&self, (nowhere(Run::Seed(0)), wrong)))?;
        let mut seen = Seen::new();
        match asked {
            Some(place) if !place.trail.0.is_empty() => {
                self.one(&place).map_err(|f| Box::new(self.told(&f)))?;
            }
            Some(place) => {
                let end = self.run(&place.run, &mut seen);
                end.map_err(|f| Box::new(self.told(&f)))?;
            }
            None => self.runs(&mut seen)?,
        }
        Ok(self.so_far())
    }

    fn runs(&self, seen: &mut Seen) -> Result<(), Box<Counterexample>> {
        let mut seeds = self.plan.seeds.clone().unwrap_or_else(|| vec![0]);
        let mut n = 0;
        while let Some(seed) = seeds.get(n).copied() {
            let run = self.run(&Run::Seed(seed), seen);
            let varies = match run {
                Ok(varies) => varies,
                Err(found) => {
                    let explored = self.so_far();
                    let found = self.simpler(*found);
                    return Err(Box::new(self.told_after(&found, explored)));
                }
            };
            if n == 0 && self.plan.seeds.is_none() && varies {
                seeds.extend(1..RUNS);
            }
            n += 1;
        }
        Ok(())
    }

    /// One run, its crash states, the recoveries from them, and then the faults. Says whether another seed would run otherwise.
    fn run(&self, run: &Run, seen: &mut Seen) -> Result<bool, Box<Found>> {
        let place = |fault, trail| Place {
            run: run.clone(),
            fault,
            trail,
        };
        let nowhere = |wrong| {
            Box::new(Found {
                wrong,
                place: place(None, Trail::default()),
                lived: None,
                state: None,
            })
        };
        let lives = || self.app.run(&self.disk, run.choices(), None);
        let lived = lives().map_err(nowhere)?;
        if lived.trace != lives().map_err(nowhere)?.trace {
            let what = "two runs of one seed differ: something in the application is not simulated (a clock, a thread, \
                        the order of a HashMap, chance), so nothing that is found could be shown again";
            return Err(nowhere(Wrong::new(Who::Replay, what)));
        }
        self.counting.add(|r| r.runs += 1);
        let varies = self.app.work.len() > 1 || lived.draws();
        let told = fold_told(&lived);
        let (raw, mut states) = crash_states(&lived.points, &mut |hash, n| {
            seen.insert((hash, told[n.min(told.len() - 1)]))
        });
        self.counting.add(|r| {
            r.crash_points += lived.points.len() as u64;
            r.states += raw;
            r.distinct += states.len() as u64;
        });
        thin(&mut states, self.plan.at_most);
        let found = |wrong, lived, state: State| {
            Box::new(Found {
                wrong,
                place: place(None, state.trail()),
                lived: Some(lived),
                state: Some(state),
            })
        };
        for depth in 1..=self.plan.depth {
            let deeper = depth < self.plan.depth;
            let (next, bad) = in_order(workers(), states.len(), |n| {
                let end = self.app.check(&states[n], &lived.acknowledged, deeper);
                self.counting.add(|r| r.checked += u64::from(end.is_ok()));
                end
            });
            if let Some((n, wrong)) = bad {
                return Err(found(wrong, lived, states.swap_remove(n)));
            }
            states = next.into_iter().flatten().collect();
            states.retain(|s| seen.insert((s.hash(), told[s.acknowledged.min(told.len() - 1)])));
            self.counting.add(|r| r.in_recovery += states.len() as u64);
        }
        self.with_faults(run, &lived)?;
        Ok(varies)
    }

    /// Each fault that was asked for, at each call where it can happen.
    fn with_faults(&self, run: &Run, whole: &Lived) -> Result<(), Box<Found>> {
        let mut at: Vec<(Fault, u64)> = Vec::new();
        for fault in &self.plan.faults {
            let strikes = |p: &&super::run::Point| p.kind.is_some_and(|k| fault.strikes(k));
            at.extend(
                whole
                    .points
                    .iter()
                    .filter(strikes)
                    .map(|p| (*fault, p.call)),
            );
        }
        thin(&mut at, self.plan.at_most);
        let (_, bad) = in_order(workers(), at.len(), |n| self.one_fault(run, at[n]));
        bad.map_or(Ok(()), |(_, found)| Err(found))
    }

    fn one_fault(&self, run: &Run, fault: (Fault, u64)) -> Result<(), Box<Found>> {
        let found = |wrong, trail, lived, state| {
            Box::new(Found {
                wrong,
                place: Place {
                    run: run.clone(),
                    fault: Some(fault),
                    trail,
                },
                lived,
                state,
            })
        };
        let lived = self.app.run(&self.disk, run.choices(), Some(fault));
        let lived = lived.map_err(|wrong| found(wrong, Trail::default(), None, None))?;
        self.counting.add(|r| r.fault_runs += 1);
        for state in states_after_fault(&lived) {
            if let Err(wrong) = self.app.check(&state, &lived.acknowledged, false) {
                return Err(found(wrong, state.trail(), Some(lived), Some(state)));
            }
            self.counting.add(|r| r.checked += 1);
        }
        Ok(())
    }

    /// One crash state alone.
    fn one(&self, place: &Place) -> Result<(), Box<Found>> {
        let found = |wrong, lived, state| {
            Box::new(Found {
                wrong,
                place: place.clone(),
                lived,
                state,
            })
        };
        let lived = self.app.run(&self.disk, place.run.choices(), place.fault);
        let lived = lived.map_err(|wrong| found(wrong, None, None))?;
        let state = match self.app.retrace(&lived, place.fault, &place.trail) {
            Ok(state) => state,
            Err(wrong) => return Err(found(wrong, Some(lived), None)),
        };
        match self.app.check(&state, &lived.acknowledged, false) {
            Err(wrong) => Err(found(wrong, Some(lived), Some(state))),
            Ok(_) => {
                self.counting.add(|r| r.checked += 1);
                Ok(())
            }
        }
    }

    /// The same kind of failure in a simpler run, where clients have made choices.
    fn simpler(&self, found: Found) -> Found {
        let Some(lived) = found.lived.as_ref().filter(|l| l.draws()) else {
            return found;
        };
        // What has held once is not looked at again: most of two runs is the same.
        let mut held = Seen::new();
        let mut fails = |strings: &Strings| {
            let mut seen = held.clone();
            match self.run(&Run::Strings(strings.clone()), &mut seen) {
                Err(other) if other.wrong.who == found.wrong.who => return Some(*other),
                Err(_) => {}
                Ok(_) => held = seen,
            }
            None
        };
        let strings = lived.record.strings();
        let mut still = |s: &Strings| fails(s).map(|_| Vec::new());
        let shrunk = shrink(&strings, self.plan.shrink, &mut still);
        fails(&shrunk.strings).unwrap_or(found)
    }
}

impl Run {
    fn choices(&self) -> Choices {
        match self {
            Run::Seed(seed) => Choices::new(*seed),
            Run::Strings(strings) => Choices::from_strings(strings),
        }
    }
}

/// For each number of acknowledgements, a hash of these.
fn fold_told(lived: &Lived) -> Vec<u64> {
    let mut hashes = vec![0];
    let mut hash = 0u64;
    for word in &lived.acknowledged {
        hash = word
            .bytes()
            .fold(mix(hash ^ 1), |h, b| mix(h ^ u64::from(b)));
        hashes.push(hash);
    }
    hashes
}

/// Leaves `most` of a list, evenly.
fn thin<T>(list: &mut Vec<T>, most: usize) {
    let len = list.len();
    if len > most {
        let mut n = 0;
        list.retain(|_| {
            n += 1;
            n * most / len != (n - 1) * most / len
        });
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::thin;

    #[test]
    fn thinning_is_even_and_exact() {
        for (len, most) in [(100, 7), (5, 5), (5, 100), (10_000, 9_999), (3, 1)] {
            let mut list: Vec<usize> = (0..len).collect();
            thin(&mut list, most);
            assert_eq!(list.len(), len.min(most));
        }
    }
}
