//! How far tickets reach, since when a commit that nobody waits for stands in memory, and whether a thread is at work for
//! them. It does not hold the log, so that the thread does not keep the log from being dropped.

use std::sync::Arc;
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_io::sync::{Condvar, Mutex};

use crate::units::micros;

/// Shared by the tickets and the thread.
pub(crate) struct Flusher {
    pub target: AtomicU64,
    /// How far the thread has flushed for them.
    pub done: AtomicU64,
    /// When the oldest commit that nobody waits for was appended, in microseconds of the monotonic clock, plus one.
    unforced_since: AtomicU64,
    /// How long it may stand there.
    delay: Duration,
    io: Io,
    pub state: Mutex<State>,
    pub work: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    pub running: bool,
    pub closed: bool,
}

impl Flusher {
    pub(crate) fn new(io: &Io, delay: Duration) -> Arc<Flusher> {
        let state = Mutex::new(io, State::default());
        Arc::new(Flusher {
            target: AtomicU64::new(0),
            done: AtomicU64::new(0),
            unforced_since: AtomicU64::new(0),
            delay,
            io: io.clone(),
            state,
            work: Condvar::new(io),
        })
    }

    /// Notes that a commit was appended that nobody waits for; answers whether it is the first since [`Flusher::disarm`].
    /// Called for every such commit: mostly one load.
    pub(crate) fn arm(&self) -> bool {
        if self.unforced_since.load(Ordering::SeqCst) != 0 {
            return false;
        }
        let now = micros(self.io.now()) + 1;
        self.unforced_since
            .compare_exchange(0, now, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// To be called before the log's end is read, and that under the mutex of the appends: whoever appends after that has
    /// seen it disarmed, on any processor, and arms it anew.
    pub(crate) fn disarm(&self) {
        self.unforced_since.store(0, Ordering::SeqCst);
    }

    /// How long it is until the oldest commit that nobody waits for has to be made durable; none where there is none.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let since = self.unforced_since.load(Ordering::Acquire);
        let waited = || micros(self.io.now()).saturating_sub(since - 1);
        (since != 0).then(|| self.delay.saturating_sub(Duration::from_micros(waited())))
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
