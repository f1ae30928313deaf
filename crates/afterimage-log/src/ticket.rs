//! Tickets: durability as a promise. And the thread that keeps the promises nobody waits for.
//!
//! A ticket is asked with one atomic load, never with input or output. While tickets are open and nobody is blocked,
//! one lazily started thread leads the flushes; it is also the timer of the commits that nobody waits for, so that nothing
//! that takes long keeps it from being on time. It ends when it has been idle for a second.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::Ordering;

use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::flusher::Flusher;
use crate::lsn::{Appended, Lsn};
use crate::shared::Shared;

/// A promise that everything before [`Ticket::end`] will be durable.
///
/// It is also a `Future` that any runtime can await: `ticket.await` answers as [`Ticket::wait`] does, without a thread
/// of its own.
#[must_use = "a ticket says nothing unless it is asked"]
pub struct Ticket {
    log: Arc<Shared>,
    lsn: Lsn,
    end: Lsn,
    /// Its number among those who wait to be woken, once it was polled.
    waker: Option<u64>,
}

impl Ticket {
    /// A ticket that is kept when somebody waits, or by the log's writer after its delay.
    pub(crate) fn unasked(log: &Arc<Shared>, appended: Appended) -> Ticket {
        Ticket {
            log: Arc::clone(log),
            lsn: appended.lsn,
            end: appended.end,
            waker: None,
        }
    }

    pub(crate) fn new(log: &Arc<Shared>, end: Lsn) -> Ticket {
        let ticket = Ticket {
            log: Arc::clone(log),
            lsn: end,
            end,
            waker: None,
        };
        ticket.ask();
        ticket
    }

    /// Sees to it that somebody flushes, without waiting for it.
    fn ask(&self) {
        let log = &self.log;
        if log.durable.load(Ordering::Acquire) < self.end.get()
            && log.flusher.want(self.end.get())
            && log.options.background
        {
            start(log);
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

    /// Whether it is kept by now. Never does input or output, never blocks; but who asks wants it kept soon, so that
    /// the log's flushing thread sets to work if nobody else does.
    ///
    /// # Errors
    ///
    /// `OutcomeUnknown` where the log stopped before.
    pub fn is_durable(&self) -> Result<bool> {
        if self.log.durable.load(Ordering::Acquire) >= self.end.get() {
            return Ok(true);
        }
        match self.log.check() {
            Ok(()) => {
                self.ask();
                Ok(false)
            }
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
        self.log.acknowledge(self.end.get(), 1)
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

impl Future for Ticket {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let answer = |answer: Result<bool>| match answer {
            Ok(true) => {
                self.log.io.note(afterimage_io::Note::Acknowledged {
                    upto: self.end.get(),
                });
                Poll::Ready(Ok(()))
            }
            Ok(false) => Poll::Pending,
            Err(e) => Poll::Ready(Err(e)),
        };
        let early = answer(self.is_durable());
        if early.is_ready() {
            return early;
        }
        let wakers = &self.log.durable_wakers;
        let id = self.waker.unwrap_or_else(|| wakers.new_id());
        wakers.register(id, self.end.get(), context.waker());
        // Asked again: it may have become durable, or the log stopped, before the registration.
        let late = if planted::active(Bug::LookedTooEarly) {
            Poll::Pending
        } else {
            answer(self.is_durable())
        };
        self.waker = Some(id);
        late
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Ticket {
        Ticket {
            log: Arc::clone(&self.log),
            lsn: self.lsn,
            end: self.end,
            waker: None,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(id) = self.waker {
            self.log.durable_wakers.forget(id);
        }
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
pub(crate) fn start(log: &Arc<Shared>) {
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
    while let Some(work) = wait_for_work(flusher) {
        let flushed = log.upgrade().map(|log| match work {
            Work::Tickets(target) => log.flush_to(target),
            Work::Unforced => log.check().and_then(|()| log.flush_if_due()).map(|_| ()),
        });
        if !matches!(flushed, Some(Ok(()))) {
            // The log has gone; or an error has stopped it, and the tickets tell it.
            flusher.state.lock().running = false;
            return;
        }
        if let Work::Tickets(target) = work {
            flusher.done.store(target, Ordering::Release);
        }
    }
}

enum Work {
    /// A ticket reaches this far, which is further than what was flushed.
    Tickets(u64),
    /// A commit that nobody waits for has stood in memory long enough.
    Unforced,
}

/// Waits for work. None where the thread is to end. The log is not touched under the mutex: it may be on its way out,
/// and closes the flusher then.
fn wait_for_work(flusher: &Flusher) -> Option<Work> {
    let mut state = flusher.state.lock();
    let mut timed_out = false;
    loop {
        let target = flusher.target();
        if target > flusher.done.load(Ordering::Acquire) && !state.closed {
            return Some(Work::Tickets(target));
        }
        let due = flusher.due_in();
        if due == Some(Duration::ZERO) && !state.closed {
            return Some(Work::Unforced);
        }
        if state.closed || (timed_out && due.is_none()) {
            // Under the mutex: whoever has work now finds no thread running and starts one.
            state.running = false;
            return None;
        }
        (state, timed_out) = flusher.work.wait_timeout(state, due.unwrap_or(IDLE));
    }
}
