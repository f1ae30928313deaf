//! What the closures of an exploration are given: the machine that the application runs on, and the client that a piece of work is.

use super::AppResult;
use crate::choices::Choices;
use afterimage::{Io, Options};
use afterimage_io::sim::Sim;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A simulated machine: a disk that will lose power, a clock that moves only when somebody waits, threads that run when the seed says so.
///
/// ```no_run
/// # fn open(machine: &afterimage_sim::Machine) -> afterimage_sim::AppResult<afterimage::Database> {
/// let options = machine.options().lock_timeout(std::time::Duration::from_secs(1));
/// Ok(options.open("bank")?)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Machine {
    sim: Sim,
}

impl Machine {
    pub(super) fn new(sim: &Sim) -> Machine {
        Machine { sim: sim.clone() }
    }

    /// Options for a database on this machine's disk. They are small, so that a short workload meets many borders: pages of 4 KiB, 64 of them in memory
    /// (256 KiB), log segments of 64 KiB, 1 MiB of log; and without a background thread, whose work the calls then do themselves. Change what your
    /// application needs, the rest stays.
    pub fn options(&self) -> Options {
        Options::new()
            .io(self.io())
            .background(false)
            .page_size(4 << 10)
            .buffer_pool_size(64 * (4 << 10))
            .wal_segment_size(64 << 10)
            .max_wal_size(1 << 20)
    }

    /// The machine's files, clock, random numbers and threads: [`Io::now`], [`Io::sleep`], [`Io::random`], [`Io::spawn`]. What goes through here is
    /// simulated and comes again in a replay.
    pub fn io(&self) -> Io {
        self.sim.io()
    }
}

/// One client of the application: what a piece of work is handed to say what it has promised, and to choose what it does.
///
/// What a client is told lives outside of the machine: no crash takes it back.
#[derive(Debug)]
pub struct Client {
    number: usize,
    outside: Outside,
    choices: Mutex<Choices>,
}

impl Client {
    pub(super) fn new(number: usize, outside: &Outside, choices: Choices) -> Client {
        Client {
            number,
            outside: outside.clone(),
            choices: Mutex::new(choices),
        }
    }

    /// Tells the world outside something that it will rely on: the answer 200 to a request, an e-mail, a line on a receipt. From here on the check gets it
    /// in its list, whatever is lost.
    ///
    /// ```no_run
    /// # fn work(db: &afterimage::Database, client: &afterimage_sim::Client) -> afterimage_sim::AppResult {
    /// # let orders = db.table("orders")?;
    /// db.put(&orders, b"17", b"paid")?;
    /// client.acknowledge(17);
    /// # Ok(())
    /// # }
    /// ```
    pub fn acknowledge(&self, what: impl Display) {
        held(&self.outside.0).push(what.to_string());
    }

    /// This client's number, from 1, in the order of the calls of [`Explore::work`](super::Explore::work).
    pub fn number(&self) -> usize {
        self.number
    }

    /// A number in `0..bound`, chosen by the seed; 0 if the bound is 0. A failure is looked for again with smaller numbers, so let 0 be the simplest.
    pub fn below(&self, bound: u64) -> u64 {
        held(&self.choices).below(bound)
    }

    /// One of `from`, chosen by the seed. Let the simplest be the first.
    ///
    /// # Panics
    /// If `from` is empty.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        held(&self.choices).pick(from)
    }
}

/// What the world outside has been told.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside(Arc<Mutex<Vec<String>>>);

impl Outside {
    pub(super) fn len(&self) -> usize {
        held(&self.0).len()
    }

    pub(super) fn told(&self) -> Vec<String> {
        held(&self.0).clone()
    }
}

pub(super) fn held<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the application is opened.
pub(super) type Open<A> = dyn Fn(&Machine) -> AppResult<A> + Send + Sync;
/// What is done before the first crash.
pub(super) type Setup<A> = dyn Fn(&A) -> AppResult + Send + Sync;
/// What a client does.
pub(super) type Work<A> = dyn Fn(&A, &Client) -> AppResult + Send + Sync;
/// What must hold after a crash.
pub(super) type Check<A> = dyn Fn(&A, &[String]) -> AppResult + Send + Sync;
