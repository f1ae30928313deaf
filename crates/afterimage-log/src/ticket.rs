//! Tickets: durability as a promise. And the thread that keeps the promises nobody waits for.
//!
//! A ticket is asked with one atomic load, never with input or output. While tickets are open and nobody is blocked,
//! one lazily started thread leads the flushes; it ends when it has been idle for a second.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use afterimage_io::sync::atomic::Ordering;

use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::flusher::Flusher;
use crate::lsn::{Appended, Lsn};
use crate::shared::Shared;

/// A promise that everything before [`Ticket::end`] will be durable.
#[derive(Clone)]
#[must_use = "a ticket says nothing unless it is asked"]
pub struct Ticket {
    log: Arc<Shared>,
    lsn: Lsn,
    end: Lsn,
}

impl Ticket {
    /// A ticket that is kept when somebody waits, or by the log's writer after its delay.
    pub(crate) fn unasked(log: &Arc<Shared>, appended: Appended) -> Ticket {
        Ticket {
            log: Arc::clone(log),
            lsn: appended.lsn,
            end: appended.end,
        }
    }

    pub(crate) fn new(log: &Arc<Shared>, end: Lsn) -> Ticket {
        if log.durable.load(Ordering::Acquire) < end.get()
            && log.flusher.want(end.get())
            && log.options.background
        {
            start(log);
        }
        Ticket {
            log: Arc::clone(log),
            lsn: end,
            end,
        }
    }

    /// Where the record stands; for a ticket on a position, that position.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
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
        if self.log.durable.load(Ordering::Acquire) >= self.end.get() {
            return Ok(true);
        }
        match self.log.check() {
            Ok(()) => Ok(false),
            // It may have become durable just before the stop.
            Err(_) if self.log.durable.load(Ordering::Acquire) >= self.end.get() => Ok(true),
            Err(_) => Err(Error::OutcomeUnknown {
                reason: self.log.reason(),
            }),
        }
    }

    /// Waits until the record is durable.
    ///
    /// # Errors
    ///
    /// As `Log::wait_durable`.
    pub fn wait(&self) -> Result<()> {
        self.log.acknowledge(self.end.get())
    }

    /// Waits until the record has come as far as `level` says.
    ///
    /// # Errors
    ///
    /// As `Log::wait_durable`.
    pub fn wait_level(&self, level: Durability) -> Result<()> {
        self.log.wait(self.end.get(), level)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.end)
    }
}

/// How long the thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(1);

/// Sees to it that a thread is at work.
fn start(log: &Arc<Shared>) {
    let flusher = &log.flusher;
    let mut state = flusher.state.lock();
    if state.running {
        flusher.work.notify_one();
        return;
    }
    let (flusher, weak) = (Arc::clone(flusher), Arc::downgrade(log));
    let spawned = log
        .io
        .spawn("afterimage-flush", move || run(&flusher, &weak));
    // Where no thread can be had, whoever asks or steps next does the work.
    state.running = spawned.is_ok();
}

fn run(flusher: &Flusher, log: &Weak<Shared>) {
    while let Some(target) = wait_for_work(flusher) {
        let flushed = log.upgrade().map(|log| log.flush_to(target));
        if !matches!(flushed, Some(Ok(()))) {
            // The log has gone; or an error has stopped it, and the tickets tell it.
            flusher.state.lock().running = false;
            return;
        }
        flusher.done.store(target, Ordering::Release);
    }
}

/// Waits until a ticket reaches further than what was flushed; answers how far. None where the thread is to end. The
/// log is not touched under the mutex: it may be on its way out, and closes the flusher then.
fn wait_for_work(flusher: &Flusher) -> Option<u64> {
    let mut state = flusher.state.lock();
    let mut timed_out = false;
    loop {
        let target = flusher.target();
        if target > flusher.done.load(Ordering::Acquire) && !state.closed {
            return Some(target);
        }
        if state.closed || timed_out {
            // Under the mutex: a ticket that comes now finds no thread running and starts one.
            state.running = false;
            return None;
        }
        (state, timed_out) = flusher.work.wait_timeout(state, IDLE);
    }
}
