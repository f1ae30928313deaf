//! Tickets: durability as a promise. And the thread that keeps the promises nobody waits for.
//!
//! A ticket is asked with one atomic load, never with input or output. While tickets are open and nobody is blocked,
//! one lazily started thread leads the flushes; it ends when it has been idle for a second.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_io::sync::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::log::{Log, Shared};
use crate::lsn::Lsn;

/// A promise that everything before [`Ticket::end`] will be durable.
#[derive(Clone)]
#[must_use = "a ticket says nothing unless it is asked"]
pub struct Ticket {
    log: Log,
    end: Lsn,
}

impl Ticket {
    pub(crate) fn new(log: Log, end: Lsn) -> Ticket {
        if log.durable_lsn() < end
            && log.shared.flusher.want(end.get())
            && log.shared.options.background
        {
            log.shared.flusher.start(&log.shared);
        }
        Ticket { log, end }
    }

    /// The exclusive end of what it promises.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// Whether it is kept by now. Never does input or output, never blocks.
    ///
    /// # Errors
    ///
    /// `OutcomeUnknown` where the log stopped before.
    pub fn is_durable(&self) -> Result<bool> {
        if self.log.durable_lsn() >= self.end {
            return Ok(true);
        }
        match self.log.shared.check() {
            Ok(()) => Ok(false),
            // It may have become durable just before the stop.
            Err(_) if self.log.durable_lsn() >= self.end => Ok(true),
            Err(_) => Err(Error::OutcomeUnknown {
                reason: self.log.shared.reason(),
            }),
        }
    }

    /// Waits until it is kept.
    ///
    /// # Errors
    ///
    /// As [`Log::wait_durable`].
    pub fn wait(&self) -> Result<()> {
        self.log.wait_durable(self.end)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.end)
    }
}

/// The state that the tickets and the flusher's thread share. It does not hold the log, so that the log can be dropped.
pub(crate) struct Flusher {
    target: AtomicU64,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    running: bool,
    closed: bool,
}

/// How long the thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(1);

impl Flusher {
    pub(crate) fn new(io: &Io) -> Arc<Flusher> {
        let state = Mutex::new(io, State::default());
        Arc::new(Flusher {
            target: AtomicU64::new(0),
            state,
            work: Condvar::new(io),
        })
    }

    /// How far tickets reach.
    pub(crate) fn target(&self) -> u64 {
        self.target.load(Ordering::Acquire)
    }

    /// Notes that a ticket reaches to `end`; answers whether that is further than any before.
    fn want(&self, end: u64) -> bool {
        self.target.fetch_max(end, Ordering::AcqRel) < end
    }

    /// Sees to it that a thread is at work.
    fn start(self: &Arc<Self>, log: &Arc<Shared>) {
        let mut state = self.state.lock();
        if state.running {
            self.work.notify_one();
            return;
        }
        let (flusher, log) = (Arc::clone(self), Arc::downgrade(log));
        let io = log.upgrade().map(|log| log.io.clone());
        let spawned = io.map(|io| io.spawn("afterimage-flush", move || flusher.run(&log)));
        // Where no thread can be had, whoever asks or steps next does the work.
        state.running = matches!(spawned, Some(Ok(_)));
    }

    fn run(&self, log: &Weak<Shared>) {
        while self.wait_for_work(log) {
            let Some(log) = log.upgrade() else { break };
            // An error has stopped the log, and the tickets tell it.
            if log.flush_to(self.target()).is_err() {
                break;
            }
        }
        self.state.lock().running = false;
    }

    /// Waits until a ticket reaches beyond the durable log. False where the thread is to end.
    fn wait_for_work(&self, log: &Weak<Shared>) -> bool {
        let mut state = self.state.lock();
        let mut timed_out = false;
        loop {
            let behind = log
                .upgrade()
                .map(|log| self.target() > log.durable.load(Ordering::Acquire));
            match behind {
                Some(true) if !state.closed => return true,
                Some(false) if !state.closed && !timed_out => {}
                _ => {
                    // Under the mutex: a ticket that comes now finds no thread running and starts one.
                    state.running = false;
                    return false;
                }
            }
            (state, timed_out) = self.work.wait_timeout(state, IDLE);
        }
    }

    /// Lets the thread end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }
}
