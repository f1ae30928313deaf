//! The seeded scheduler: real threads, of which exactly one holds the *baton* and runs. At every lock, wait and I/O
//! call the holder may have to hand it on; the seed says to whom. So a run is one sequence of steps, the same for the
//! same seed, and everything between two such points is atomic.
//!
//! A thread is *ready*, *waiting* (for a primitive, perhaps with a deadline) or *ended*. When nobody is ready, time
//! jumps to the earliest deadline; when there is none, it is a deadlock: the world is abandoned and everybody unwinds.

use std::any::Any;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::chance::{Chance, fold};
use super::is_crash;
use super::world::{SimWorld, held};

/// After a crash threads may wait for each other while they unwind. If that never ends, a guard was leaked.
const UNWIND_ROUNDS_MAX: u32 = 10_000;

/// How long whatever a thread does between two of its yields is taken to last, when nobody else can run.
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(super) struct Scheduler {
    pub(super) running: AtomicBool,
    pub(super) run: Mutex<Run>,
    /// The driver waits here for the last thread to end.
    pub(super) all_ended: Condvar,
}

#[derive(Default)]
pub(super) struct Run {
    pub(super) threads: Vec<Thread>,
    /// Who holds the baton.
    current: usize,
    chance: Option<Chance>,
    /// A ready holder goes on with probability (n - 1) / n. Drawn for each run: many bugs need many switches in a
    /// row, others a long stretch without.
    patience: u64,
    trace: u64,
    pub(super) deadlock: Option<Vec<String>>,
    unwind_rounds: u32,
}

pub(super) struct Thread {
    name: Arc<str>,
    pub(super) state: ThreadState,
    /// Where this thread waits for the baton.
    baton: Arc<Condvar>,
    timed_out: bool,
    /// What others wait on to join it.
    pub(super) end: u64,
    pub(super) panic: Option<Box<dyn Any + Send>>,
    pub(super) handle: Option<std::thread::JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadState {
    Ready,
    Waiting {
        what: &'static str,
        id: u64,
        deadline: Option<Duration>,
    },
    Ended,
}

/// Which simulated thread this real thread is.
#[derive(Clone)]
pub(super) struct Here {
    /// The world's address: a thread of one world may not call another with threads.
    pub(super) world: usize,
    pub(super) index: usize,
    pub(super) name: Arc<str>,
}

thread_local! {
    pub(super) static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

pub(super) fn address(world: &SimWorld) -> usize {
    std::ptr::from_ref(world).addr()
}

impl Scheduler {
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(super) fn trace(&self) -> u64 {
        held(&self.run).trace
    }

    pub(super) fn thread_name(&self) -> Option<Arc<str>> {
        if !self.is_running() {
            return None;
        }
        HERE.with_borrow(|here| here.as_ref().map(|here| Arc::clone(&here.name)))
    }

    /// At a point where others may run: perhaps they do.
    pub(super) fn maybe_switch(&self, world: &SimWorld) {
        let me = here(world);
        let mut run = held(&self.run);
        run.wake_due(world);
        let patience = run.patience;
        if run.below(patience) == 0 {
            drop(self.hand_on(world, run, me));
        }
    }

    /// Somebody else runs, if anybody can.
    pub(super) fn yield_to_others(&self, world: &SimWorld) {
        let me = here(world);
        let mut run = held(&self.run);
        run.wake_due(world);
        if run.ready().any(|index| index != me) {
            let others: Vec<usize> = run.ready().filter(|index| *index != me).collect();
            let next = others[run.below(others.len() as u64) as usize];
            self.give(&mut run, next);
            drop(wait_for_baton(run, me));
        } else if !run.is_over_but_for(me) {
            // Only sleepers. Who yields has more to do, so time passes as if it were doing it, and does not jump to their deadlines.
            run.let_time_pass(world);
        }
    }

    /// Waits until woken or until the time is over; `true` in the latter case.
    pub(super) fn block(
        &self,
        world: &SimWorld,
        what: &'static str,
        id: u64,
        timeout: Option<Duration>,
    ) -> bool {
        let me = here(world);
        let deadline = timeout.map(|timeout| world.now().saturating_add(timeout));
        let mut run = held(&self.run);
        run.threads[me].timed_out = false;
        run.threads[me].state = ThreadState::Waiting { what, id, deadline };
        let run = self.hand_on(world, run, me);
        run.threads[me].timed_out
    }

    pub(super) fn wake_all(&self, id: u64) {
        let mut run = held(&self.run);
        for thread in &mut run.threads {
            thread.wake_if(|waits_for| waits_for == id);
        }
    }

    pub(super) fn wake_one(&self, id: u64) {
        let mut run = held(&self.run);
        let waits = |thread: &Thread| matches!(thread.state, ThreadState::Waiting { id: waits_for, .. } if waits_for == id);
        let threads = run.threads.iter().enumerate();
        let waiting: Vec<usize> = threads
            .filter(|(_, thread)| waits(thread))
            .map(|(i, _)| i)
            .collect();
        if !waiting.is_empty() {
            let chosen = waiting[run.below(waiting.len() as u64) as usize];
            run.threads[chosen].state = ThreadState::Ready;
        }
    }

    /// After a crash: whoever waits has to unwind.
    pub(super) fn wake_everyone(&self) {
        for thread in &mut held(&self.run).threads {
            thread.wake_if(|_| true);
        }
    }

    /// Chooses who runs next and waits until it is this thread's turn again.
    fn hand_on<'a>(
        &self,
        world: &SimWorld,
        mut run: MutexGuard<'a, Run>,
        me: usize,
    ) -> MutexGuard<'a, Run> {
        if let Some(next) = run.choose(world) {
            self.give(&mut run, next);
        }
        wait_for_baton(run, me)
    }

    pub(super) fn give(&self, run: &mut Run, next: usize) {
        run.current = next;
        run.trace = fold(run.trace, next as u64);
        run.threads[next].baton.notify_one();
    }

    pub(super) fn add(&self, name: &str, end: u64) -> usize {
        let mut run = held(&self.run);
        run.threads.push(Thread {
            name: name.into(),
            state: ThreadState::Ready,
            baton: Arc::new(Condvar::new()),
            timed_out: false,
            end,
            panic: None,
            handle: None,
        });
        run.threads.len() - 1
    }

    /// The last step of a thread.
    pub(super) fn end(&self, world: &SimWorld, me: usize, panic: Option<Box<dyn Any + Send>>) {
        let mut run = held(&self.run);
        run.threads[me].state = ThreadState::Ended;
        run.threads[me].panic = panic.filter(|payload| !is_crash(&**payload));
        let end = run.threads[me].end;
        for thread in &mut run.threads {
            thread.wake_if(|waits_for| waits_for == end);
        }
        match run.choose(world) {
            Some(next) => self.give(&mut run, next),
            None => self.all_ended.notify_all(),
        }
    }
}

impl Thread {
    fn wake_if(&mut self, is_it: impl Fn(u64) -> bool) {
        if let ThreadState::Waiting { id, .. } = self.state
            && is_it(id)
        {
            self.state = ThreadState::Ready;
        }
    }

    fn deadline(&self) -> Option<Duration> {
        match self.state {
            ThreadState::Waiting { deadline, .. } => deadline,
            ThreadState::Ready | ThreadState::Ended => None,
        }
    }

    fn time_out(&mut self) {
        self.timed_out = true;
        self.state = ThreadState::Ready;
    }
}

impl Run {
    /// No threads yet, and nobody has the baton: whoever is added waits until it is first handed out.
    pub(super) fn begin(&mut self, mut chance: Chance) {
        *self = Run {
            patience: [1, 2, 4, 16][chance.below(4) as usize],
            chance: Some(chance),
            trace: self.trace,
            current: usize::MAX,
            ..Run::default()
        };
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.as_mut().map_or(0, |chance| chance.below(bound))
    }

    fn ready(&self) -> impl Iterator<Item = usize> {
        let threads = self.threads.iter().enumerate();
        threads
            .filter(|(_, thread)| thread.state == ThreadState::Ready)
            .map(|(index, _)| index)
    }

    fn is_over_but_for(&self, me: usize) -> bool {
        let others = self
            .threads
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != me);
        others
            .into_iter()
            .all(|(_, thread)| thread.state == ThreadState::Ended)
    }

    /// Whose deadline has passed while others ran is ready.
    fn wake_due(&mut self, world: &SimWorld) {
        let now = world.now();
        for thread in &mut self.threads {
            if thread.deadline().is_some_and(|deadline| deadline <= now) {
                thread.time_out();
            }
        }
    }

    /// A moment passes, or what is left until the earliest deadline, and whoever waited for no longer is ready.
    fn let_time_pass(&mut self, world: &SimWorld) {
        let deadlines = self.threads.iter().filter_map(Thread::deadline);
        if let Some(earliest) = deadlines.min() {
            world.advance_clock_to(earliest.min(world.now().saturating_add(MOMENT)));
            self.wake_due(world);
        }
    }

    /// Jumps to the earliest deadline; `false` if nobody has one.
    fn wake_earliest(&mut self, world: &SimWorld) -> bool {
        let waiting = self
            .threads
            .iter_mut()
            .filter(|thread| thread.deadline().is_some());
        let Some(first) = waiting.min_by_key(|thread| thread.deadline()) else {
            return false;
        };
        world.advance_clock_to(first.deadline().unwrap_or_default());
        first.time_out();
        true
    }

    /// The next to run, by chance; `None` if all have ended.
    pub(super) fn choose(&mut self, world: &SimWorld) -> Option<usize> {
        self.wake_due(world);
        loop {
            let ready: Vec<usize> = self.ready().collect();
            if !ready.is_empty() {
                return Some(ready[self.below(ready.len() as u64) as usize]);
            }
            if self
                .threads
                .iter()
                .all(|thread| thread.state == ThreadState::Ended)
            {
                return None;
            }
            if !self.wake_earliest(world) {
                self.break_deadlock(world);
            }
        }
    }

    /// Everybody waits for somebody: remembers who for what, and lets all unwind.
    fn break_deadlock(&mut self, world: &SimWorld) {
        if !world.has_crashed() {
            self.deadlock = Some(self.threads.iter().filter_map(Thread::waits_for).collect());
            world.abandon();
        }
        self.unwind_rounds += 1;
        if self.unwind_rounds > UNWIND_ROUNDS_MAX {
            // A panic here would meet threads that unwind already, and abort without a word.
            let waits: Vec<String> = self.threads.iter().filter_map(Thread::waits_for).collect();
            eprintln!("simulated deadlock while unwinding: {}", waits.join("; "));
            std::process::abort();
        }
        for thread in &mut self.threads {
            thread.wake_if(|_| true);
        }
    }
}

impl Thread {
    fn waits_for(&self) -> Option<String> {
        match self.state {
            ThreadState::Waiting { what, id, .. } => {
                Some(format!("{} waits for {what} {id}", self.name))
            }
            ThreadState::Ready | ThreadState::Ended => None,
        }
    }
}

pub(super) fn wait_for_baton(mut run: MutexGuard<'_, Run>, me: usize) -> MutexGuard<'_, Run> {
    let baton = Arc::clone(&run.threads[me].baton);
    while run.current != me {
        run = baton.wait(run).unwrap_or_else(PoisonError::into_inner);
    }
    run
}

/// This thread's place in the world's run.
fn here(world: &SimWorld) -> usize {
    let here = HERE.with_borrow(|here| here.as_ref().map(|here| (here.world, here.index)));
    match here {
        Some((address_of_world, index)) if address_of_world == address(world) => index,
        _ => panic!("a thread that is not of this simulation called into it while its threads run"),
    }
}
