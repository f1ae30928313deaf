//! How far tickets reach, and whether a thread is at work for them. It does not hold the log, so that the thread does
//! not keep the log from being dropped.

use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_io::sync::{Condvar, Mutex};

/// Shared by the tickets and the thread.
pub(crate) struct Flusher {
    pub target: AtomicU64,
    /// How far the thread has flushed for them.
    pub done: AtomicU64,
    pub state: Mutex<State>,
    pub work: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    pub running: bool,
    pub closed: bool,
}

impl Flusher {
    pub(crate) fn new(io: &Io) -> Arc<Flusher> {
        let state = Mutex::new(io, State::default());
        Arc::new(Flusher {
            target: AtomicU64::new(0),
            done: AtomicU64::new(0),
            state,
            work: Condvar::new(io),
        })
    }

    /// How far tickets reach.
    pub(crate) fn target(&self) -> u64 {
        self.target.load(Ordering::Acquire)
    }

    /// Notes that a ticket reaches to `end`; answers whether that is further than any before.
    pub(crate) fn want(&self, end: u64) -> bool {
        self.target.fetch_max(end, Ordering::AcqRel) < end
    }

    /// Lets the thread end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }
}
