//! The exhaustive driver: every small workload, the power cut at every I/O call, every survival of a fixed list; and a sample of the crashes inside the
//! recoveries from those. A third of the workloads run on a disk that never tears a page, on bases that were made on one that does.
//!
//! Two crash states with the same image and the same expectation are one: it is checked once. What is counted is printed as it was counted: states made, how
//! many of them were distinct, how many were verified.

use crate::check::{self, CrashState, Deeper, Met};
use crate::choices::{Choices, mix};
use crate::cut::{Cut, Trail, cut, survivals};
use crate::failure::{Failure, Gathered, Layer, Mismatch};
use crate::kinds::Kinds;
use crate::life::{self, AtCall, Prepared};
use crate::model::Expectation;
use crate::oracle::Layout;
use crate::store::Store;
use crate::workload::{Base, Op, Workload};
use afterimage_io::sim::{CallInfo, DiskState, Verdict};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is run, and how long.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bases to start from.
    pub bases: Vec<Base>,
    /// The longest workload; some that tell much are run all the same.
    pub longest: usize,
    /// When to stop, finished or not.
    pub limit: Option<Duration>,
    /// How many threads share the work.
    pub workers: usize,
    /// One call of a recovery in so many gives one deeper state; 0 for none.
    pub deeper_one_in: u64,
    /// Workloads of up to so many operations are crashed again at every call of the recovery, with nothing and with everything surviving.
    pub complete_to: usize,
    /// Workloads left out at the front of the order: an earlier call has done them.
    pub skip: usize,
    /// Whether to go on after a failure, with the next workload.
    pub keep_going: bool,
    /// How deep: 1 only crashes the workload, 2 its recovery, 3 the recovery from that.
    pub depth: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            bases: Base::ALL.to_vec(),
            longest: 3,
            limit: None,
            workers: 1,
            deeper_one_in: 96,
            complete_to: 0,
            skip: 0,
            keep_going: false,
            depth: 3,
        }
    }
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Workloads there are.
    pub workloads_all: u64,
    /// Those that tell much and those of up to two operations, which come first.
    pub short: u64,
    /// Workloads run to their end, with all of their states verified.
    pub workloads: u64,
    /// The first workload, in their order, that is still to be run.
    pub next: usize,
    /// Of the workloads run, those that were crashed at every call of every recovery too.
    pub complete: u64,
    /// I/O calls (and ends of workloads) at which the power was cut.
    pub crash_points: u64,
    /// Crash states made: crash points times survivals.
    pub raw: u64,
    /// Those with an image and an expectation not seen before.
    pub distinct: u64,
    /// Those recovered and verified.
    pub verified: u64,
    /// States inside recoveries that could have been made, by depth (2, 3).
    pub deeper_space: [u64; 2],
    /// Those that were sampled, distinct, and verified.
    pub deeper_verified: [u64; 2],
    /// Wall-clock time.
    pub elapsed: Duration,
    /// Processor time, of all threads; on a machine that does other work too it says more than the clock on the wall.
    /// Where the system does not tell, the wall-clock time of all threads.
    pub processor: Duration,
    /// Threads that worked.
    pub workers: usize,
    /// What the recoveries met, by kinds of records.
    pub kinds: Kinds,
}

impl Counts {
    /// All states verified, at every depth.
    #[must_use]
    pub fn all_verified(&self) -> u64 {
        self.verified + self.deeper_verified.iter().sum::<u64>()
    }

    /// States verified a second of processor time.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.all_verified() as f64 / self.processor.as_secs_f64().max(1e-9)
    }

    /// States verified a second, a thread, by the clock on the wall.
    #[must_use]
    pub fn wall_rate(&self) -> f64 {
        self.all_verified() as f64
            / (self.elapsed.as_secs_f64() * self.workers.max(1) as f64).max(1e-9)
    }
}

/// The processor time that this process has used, as Linux tells it.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th fields behind it, in hundredths.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workloads = percent(self.workloads, self.workloads_all);
        writeln!(
            f,
            "workloads       {:>10} of {} ({workloads:.1} % of the enumerated space)",
            self.workloads, self.workloads_all
        )?;
        writeln!(f, "crash points    {:>10}", self.crash_points)?;
        writeln!(
            f,
            "crash states    {:>10} made, {} distinct, {} verified",
            self.raw, self.distinct, self.verified
        )?;
        if self.complete > 0 {
            writeln!(
                f,
                "crashed again   {:>10} workloads at every call of every recovery, with nothing and with everything surviving",
                self.complete
            )?;
        }
        for (i, depth) in [2, 3].into_iter().enumerate() {
            let (v, s) = (self.deeper_verified[i], self.deeper_space[i]);
            writeln!(
                f,
                "at depth {depth}      {v:>10} verified, sampled from {s} ({:.2} %)",
                percent(v, s)
            )?;
        }
        let (all, secs) = (self.all_verified(), self.elapsed.as_secs_f64());
        write!(
            f,
            "verified        {all:>10} distinct states in {secs:.1} s by {} threads: {:.0} a second a core ({:.0} by the clock on the wall)",
            self.workers,
            self.rate(),
            self.wall_rate()
        )
    }
}

/// Runs every workload of `config` on the store `S`.
///
/// # Errors
/// The first failure, with its replay.
pub fn run<S: Store>(
    layout: &Layout,
    config: &Config,
    stop: &AtomicBool,
) -> Result<Counts, Box<Failure>> {
    let (started, before) = (Instant::now(), processor_time());
    let prepared = prepare::<S>(layout, &config.bases)?;
    let mut work: Vec<Workload> = config
        .bases
        .iter()
        .flat_map(|b| (0..=config.longest).flat_map(|n| Workload::all_of(*b, n, S::OPS)))
        .filter(Workload::is_affordable)
        .collect();
    let mut first = Workload::telling();
    // What they are to tell is of the engine.
    first.retain(|w| config.bases.contains(&w.base) && S::OPS.len() == Op::ALL.len());
    let too_long = |w: &&Workload| w.ops.len() > config.longest;
    work.extend(first.iter().filter(too_long).cloned());
    // Telling ones first, then short ones, and of the longest those of plain operations; each in a mixed order, so that a
    // limit cuts off a sample and not a corner.
    work.sort_by_key(|w| {
        (
            !first.contains(w),
            w.ops.len(),
            w.ops.len() > 2 && !w.is_plain(),
            w.seed(),
        )
    });
    let run = Run {
        layout,
        config,
        prepared,
        work,
        next: AtomicUsize::new(config.skip),
        done: Mutex::new(BTreeSet::new()),
        stop,
        started,
        minutes: AtomicU64::new(0),
        deadline: config.limit.map(|l| started + l),
        met: Default::default(),
        recovered: Default::default(),
        result: Mutex::new((Counts::default(), Gathered::default())),
    };
    let workers = config.workers.max(1);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| run.worker::<S>());
        }
    });
    let (mut counts, failures) = run
        .result
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    counts.workloads_all = run.work.len() as u64;
    let is_short = |w: &&Workload| first.contains(w) || w.ops.len() <= 2;
    counts.short = run.work.iter().take_while(is_short).count() as u64;
    let done = run
        .done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    counts.next = (config.skip..run.work.len())
        .find(|n| !done.contains(n))
        .unwrap_or(run.work.len());
    counts.elapsed = started.elapsed();
    counts.workers = workers;
    counts.processor = processor_time().zip(before).map_or_else(
        || counts.elapsed * u32::try_from(workers).unwrap_or(1),
        |(after, before)| after.saturating_sub(before),
    );
    if config.keep_going && !failures.is_empty() {
        println!("{counts}");
    }
    failures.verdict().map(|()| counts)
}

fn prepare<S: Store>(layout: &Layout, bases: &[Base]) -> Result<Vec<Prepared>, Box<Failure>> {
    let one = |b: &Base| {
        Prepared::new::<S>(layout, *b).map_err(|mismatch| {
            Box::new(Failure {
                mismatch,
                place: format!("preparing the base {b:?}"),
                replay: "crashtest exhaustive".to_string(),
            })
        })
    };
    bases.iter().map(one).collect()
}

struct Run<'a> {
    layout: &'a Layout,
    config: &'a Config,
    prepared: Vec<Prepared>,
    work: Vec<Workload>,
    next: AtomicUsize,
    done: Mutex<BTreeSet<usize>>,
    stop: &'a AtomicBool,
    started: Instant,
    /// Of which progress was told.
    minutes: AtomicU64,
    deadline: Option<Instant>,
    /// By whether the disk tears pages.
    met: [Met; 2],
    recovered: [Met; 2],
    result: Mutex<(Counts, Gathered)>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run<'_> {
    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|d| Instant::now() >= d)
    }

    fn worker<S: Store>(&self) {
        while !self.over() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(workload) = self.work.get(number) else {
                return;
            };
            match self.workload::<S>(workload) {
                Ok(true) => drop(lock(&self.done).insert(number)),
                Ok(false) => {}
                Err(failure) => {
                    if !self.config.keep_going {
                        self.stop.store(true, Ordering::Relaxed);
                    }
                    lock(&self.result).1.add(failure);
                }
            }
        }
    }

    /// Makes the crash states of one workload, then verifies the new ones and those of the crashes inside their recoveries. False when the time was up
    /// before the end.
    fn workload<S: Store>(&self, workload: &Workload) -> Result<bool, Box<Failure>> {
        let Some(from) = self.prepared.iter().find(|p| p.base == workload.base) else {
            return Ok(true);
        };
        let layout = &self.layout.on_disk_of(workload.seed());
        let complete = workload.ops.len() <= self.config.complete_to;
        let made = Arc::new(Mutex::new(Made::default()));
        let sink = Arc::clone(&made);
        let at_call: Arc<Mutex<AtCall<'static>>> = Arc::new(Mutex::new(
            move |_: Option<&CallInfo<'_>>,
                  call: u64,
                  disk: &DiskState,
                  expectation: &Expectation| {
                lock(&sink).crash_point(call, disk, expectation);
                Verdict::Continue
            },
        ));
        let fail = |mismatch, trail: &Trail| {
            Box::new(failure::<S>(layout, from, workload, trail, mismatch))
        };
        life::run::<S>(layout, from, workload, false, at_call)
            .map_err(|m| fail(m, &Trail::default()))?;
        let made = std::mem::take(&mut *lock(&made));
        let is_new = |s: &CrashState| self.is_new(layout, s);
        let fresh: Vec<CrashState> = made.states.into_iter().filter(is_new).collect();
        {
            let counts = &mut lock(&self.result).0;
            counts.crash_points += made.points;
            counts.raw += made.raw;
            counts.distinct += fresh.len() as u64;
        }
        let mut choices = Choices::new(workload.seed());
        let mut queue = fresh;
        while let Some(state) = queue.pop() {
            if self.over() {
                return Ok(false);
            }
            let deeper = self
                .verify::<S>(layout, &state, complete, &mut choices)
                .map_err(|m| fail(m, &state.trail))?;
            queue.extend(deeper.into_iter().filter(is_new));
        }
        let counts = &mut lock(&self.result).0;
        counts.workloads += 1;
        counts.complete += u64::from(complete);
        Ok(true)
    }

    fn is_new(&self, layout: &Layout, state: &CrashState) -> bool {
        self.met[usize::from(layout.atomic)].is_new(&state.image, &state.expectation)
    }

    fn verify<S: Store>(
        &self,
        layout: &Layout,
        state: &CrashState,
        complete: bool,
        choices: &mut Choices,
    ) -> Result<Vec<CrashState>, Mismatch> {
        let depth = state.trail.depth();
        let unclean = mix(state.image.hash()) & 1 == 0;
        let complete = complete && depth == 1;
        let sampling = depth < self.config.depth && (complete || self.config.deeper_one_in > 0);
        let mut deeper = Deeper {
            choices,
            one_in: self.config.deeper_one_in,
            complete,
            taken: Vec::new(),
            space: 0,
        };
        let checked = check::check::<S>(
            layout,
            state,
            unclean,
            sampling.then_some(&mut deeper),
            &self.recovered[usize::from(layout.atomic)],
        )?;
        let (space, taken) = (deeper.space, deeper.taken);
        let counts = &mut lock(&self.result).0;
        counts.kinds.add(&checked.kinds);
        match depth {
            1 => counts.verified += 1,
            d => counts.deeper_verified[d.clamp(2, 3) - 2] += 1,
        }
        if sampling {
            counts.deeper_space[depth.clamp(1, 2) - 1] += space;
        }
        self.tell(counts.all_verified());
        Ok(taken)
    }

    /// Once a minute a line for those who wait.
    fn tell(&self, verified: u64) {
        let minutes = self.started.elapsed().as_secs() / 60;
        if self.minutes.fetch_max(minutes, Ordering::Relaxed) < minutes {
            let (next, all) = (self.next.load(Ordering::Relaxed), self.work.len());
            eprintln!(
                "{minutes} min: {verified} crash states verified, at workload {next} of {all}"
            );
        }
    }
}

#[derive(Default)]
struct Made {
    states: Vec<CrashState>,
    local: HashSet<(u64, u64)>,
    points: u64,
    raw: u64,
}

impl Made {
    fn crash_point(&mut self, call: u64, disk: &DiskState, expectation: &Expectation) {
        self.points += 1;
        let expected = expectation.hash();
        for (index, how) in survivals(disk).iter().enumerate() {
            self.raw += 1;
            let image = disk.crash(how);
            if self.local.insert((image.hash(), expected)) {
                let trail = Trail::default().then(Cut {
                    call,
                    survival: index,
                });
                self.states.push(CrashState {
                    image,
                    before: disk.clone(),
                    expectation: expectation.clone(),
                    trail,
                });
            }
        }
    }
}

/// Where a failure happened, told in words by making its crash states once more.
fn failure<S: Store>(
    layout: &Layout,
    from: &Prepared,
    workload: &Workload,
    trail: &Trail,
    mismatch: Mismatch,
) -> Failure {
    let story =
        retrace::<S>(layout, from, workload, trail).map_or_else(|m| m.what, |(_, story)| story);
    Failure {
        mismatch,
        place: format!("{workload} {trail}{story}"),
        replay: format!("cargo xtask sim --replay '{workload} {trail}'"),
    }
}

/// Makes the crash state that `trail` names, and tells how.
fn retrace<S: Store>(
    layout: &Layout,
    from: &Prepared,
    workload: &Workload,
    trail: &Trail,
) -> Result<(Option<CrashState>, String), Mismatch> {
    let Some(first) = trail.0.first().copied() else {
        return Ok((None, String::new()));
    };
    let found: Arc<Mutex<(Option<CrashState>, String)>> = Arc::default();
    let sink = Arc::clone(&found);
    let at_call: Arc<Mutex<AtCall<'static>>> = Arc::new(Mutex::new(
        move |info: Option<&CallInfo<'_>>,
              call: u64,
              disk: &DiskState,
              expectation: &Expectation| {
            if call != first.call {
                return Verdict::Continue;
            }
            let state = CrashState {
                image: cut(disk, first.survival),
                before: disk.clone(),
                expectation: expectation.clone(),
                trail: Trail(vec![first]),
            };
            *lock(&sink) = (Some(state), tell(info, disk, first));
            Verdict::Crash
        },
    ));
    life::run::<S>(layout, from, workload, true, at_call)?;
    let (mut state, mut story) = std::mem::take(&mut *lock(&found));
    for next in &trail.0[1..] {
        let Some(before) = state.take() else { break };
        let (after, told) = crash_recovery::<S>(layout, &before, *next);
        story.push_str(&told);
        state = after;
    }
    Ok((state, story))
}

fn tell(info: Option<&CallInfo<'_>>, disk: &DiskState, at: Cut) -> String {
    let pending = disk.pending();
    let call = info.map_or_else(|| "the end".to_string(), |i| format!("{i:?}"));
    let list: String = pending
        .iter()
        .enumerate()
        .map(|(i, p)| format!("\n            {i}: {p:?}"))
        .collect();
    format!(
        "\n          power cut before call {} ({call}), surviving {:?} of {} pending:{list}",
        at.call,
        survivals(disk).get(at.survival),
        pending.len()
    )
}

/// Recovers `from` with the power cut at `at`.
fn crash_recovery<S: Store>(
    layout: &Layout,
    from: &CrashState,
    at: Cut,
) -> (Option<CrashState>, String) {
    let world = check::World::boot(layout, from.image.clone());
    let found: Arc<Mutex<(Option<CrashState>, String)>> = Arc::default();
    let (sink, expectation, trail) = (
        Arc::clone(&found),
        from.expectation.clone(),
        from.trail.then(at),
    );
    let mut calls = 0;
    world.sim.set_hook(Some(Box::new(move |info, disk| {
        calls += 1;
        if calls != at.call {
            return Verdict::Continue;
        }
        let state = CrashState {
            image: cut(disk, at.survival),
            before: disk.clone(),
            expectation: expectation.clone(),
            trail: trail.clone(),
        };
        *lock(&sink) = (Some(state), tell(Some(info), disk, at));
        Verdict::Crash
    })));
    drop(crate::outcome::run(|| S::open(&world.sim.io()).map(drop)));
    std::mem::take(&mut *lock(&found))
}

/// Makes one crash state again and checks it, both ways.
///
/// # Errors
/// What does not hold, or that there is no such state.
pub fn replay<S: Store>(
    layout: &Layout,
    workload: &Workload,
    trail: &Trail,
) -> Result<String, Box<Failure>> {
    let prepared = prepare::<S>(layout, &[workload.base])?;
    let layout = &layout.on_disk_of(workload.seed());
    let from = &prepared[0];
    let fail = |m| Box::new(failure::<S>(layout, from, workload, trail, m));
    let (state, story) = retrace::<S>(layout, from, workload, trail).map_err(fail)?;
    if trail.0.is_empty() {
        let at_call: Arc<Mutex<AtCall<'static>>> = Arc::new(Mutex::new(
            |_: Option<&CallInfo<'_>>, _: u64, _: &DiskState, _: &Expectation| Verdict::Continue,
        ));
        life::run::<S>(layout, from, workload, true, at_call).map_err(fail)?;
        return Ok(format!("{workload}: runs to its end"));
    }
    let Some(state) = state else {
        return Err(fail(Mismatch::new(
            Layer::Replay,
            "the workload makes no such call",
        )));
    };
    for unclean in [true, false] {
        check::check::<S>(layout, &state, unclean, None, &Met::default()).map_err(fail)?;
    }
    Ok(format!("{workload} {trail}{story}\n  holds"))
}
