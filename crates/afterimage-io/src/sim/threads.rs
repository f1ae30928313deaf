//! A run of simulated threads from its first to its last: starting real threads that wait for the baton, catching how
//! they end, joining them.

use std::io::{Error, ErrorKind, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::chance::Chance;
use super::scheduler::{HERE, Here, ThreadState, address, wait_for_baton};
use super::world::{SimWorld, held};
use super::{Body, RunEnd};
use crate::panicked::Panicked;

impl SimWorld {
    pub(super) fn run_threads(self: &Arc<Self>, bodies: Vec<Body>) -> RunEnd {
        if self.has_crashed() {
            return RunEnd::Crashed;
        }
        self.begin_run();
        for (name, body) in bodies {
            if let Err(error) = self.start(&name, body) {
                panic!("the system cannot start a thread for the simulation: {error}");
            }
        }
        self.go();
        self.finish_run()
    }

    fn begin_run(&self) {
        let already = self.scheduler.running.swap(true, Ordering::AcqRel);
        assert!(!already, "a simulation runs one set of threads at a time");
        held(&self.scheduler.run).begin(Chance::new(self.next_seed()));
    }

    /// Hands out the baton for the first time and waits for the last thread's end.
    fn go(&self) {
        let mut run = held(&self.scheduler.run);
        if let Some(first) = run.choose(self) {
            self.scheduler.give(&mut run, first);
        }
        while run
            .threads
            .iter()
            .any(|thread| thread.state != ThreadState::Ended)
        {
            run = self
                .scheduler
                .all_ended
                .wait(run)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish_run(&self) -> RunEnd {
        let mut run = held(&self.scheduler.run);
        let mut threads = std::mem::take(&mut run.threads);
        let deadlock = run.deadlock.take();
        drop(run);
        for thread in &mut threads {
            // Its panics were caught; what is left of the thread has nothing more to say.
            drop(thread.handle.take().map(std::thread::JoinHandle::join));
        }
        self.scheduler.running.store(false, Ordering::Release);
        if let Some(panic) = threads.into_iter().find_map(|thread| thread.panic) {
            resume_unwind(panic);
        }
        match deadlock {
            Some(waits) => RunEnd::Deadlock(waits),
            None if self.has_crashed() => RunEnd::Crashed,
            None => RunEnd::Finished,
        }
    }

    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> Result<usize> {
        self.yield_point();
        if !self.scheduler.is_running() {
            let what = "a simulation has threads only inside run_threads";
            return Err(Error::new(ErrorKind::Unsupported, what));
        }
        self.start(name, body)
    }

    /// Starts a real thread that waits for the baton before it does anything.
    fn start(self: &Arc<Self>, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<usize> {
        let index = self.scheduler.add(name, self.new_primitive());
        let world = Arc::clone(self);
        let here = Here {
            world: address(self),
            index,
            name: name.into(),
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || world.live(here, body));
        let mut run = held(&self.scheduler.run);
        match started {
            Ok(handle) => {
                run.threads[index].handle = Some(handle);
                Ok(index)
            }
            Err(error) => {
                run.threads[index].state = ThreadState::Ended;
                Err(error)
            }
        }
    }

    /// A simulated thread's life.
    fn live(&self, here: Here, body: Box<dyn FnOnce() + Send>) {
        let index = here.index;
        HERE.set(Some(here));
        drop(wait_for_baton(held(&self.scheduler.run), index));
        // What the body owns is dropped inside too, also when it never runs.
        let life = AssertUnwindSafe(|| {
            self.feel_crash();
            body();
        });
        let panic = catch_unwind(life).err();
        self.scheduler.end(self, index, panic);
    }

    pub(crate) fn join(&self, thread: usize) -> std::result::Result<(), Panicked> {
        self.yield_point();
        loop {
            let mut run = held(&self.scheduler.run);
            let Some(joined) = run.threads.get_mut(thread) else {
                // The run is over, so the thread has ended; a panic of it was the run's.
                return Ok(());
            };
            if joined.state == ThreadState::Ended {
                let panic = joined.panic.take();
                return panic.map_or(Ok(()), |payload| Err(Panicked::new(&*payload)));
            }
            let end = joined.end;
            drop(run);
            self.block("the end of a thread", end, None);
        }
    }
}
