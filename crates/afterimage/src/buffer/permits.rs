//! How many operations may pin frames at once: as many as the pool can serve if each pins its most. A pool of eight
//! frames serves one at a time, and it ends; a pool of thousands never makes anyone wait here.

use afterimage_io::Io;
use afterimage_io::sync::{Condvar, Mutex};

pub(super) struct Permits {
    state: Mutex<State>,
    returned: Condvar,
    /// With more permits than there can be threads, nobody counts.
    counted: bool,
}

struct State {
    left: usize,
    /// Who wait for one: a wake-up costs a call of the system, though nobody sleeps.
    waiting: usize,
}

/// More operations than this are never under way at once.
const THREADS_MAX: usize = 1 << 10;

pub(crate) struct Permit<'p> {
    permits: &'p Permits,
}

impl Permits {
    pub(super) fn new(io: &Io, count: usize) -> Permits {
        Permits {
            state: Mutex::new(
                io,
                State {
                    left: count.max(1),
                    waiting: 0,
                },
            ),
            returned: Condvar::new(io),
            counted: count < THREADS_MAX,
        }
    }

    /// Whether somebody may have to wait for one: then nobody holds more frames than a permit is for.
    pub(super) fn are_counted(&self) -> bool {
        self.counted
    }

    pub(super) fn take(&self) -> Permit<'_> {
        if self.counted {
            let mut state = self.state.lock();
            while state.left == 0 {
                state.waiting += 1;
                state = self.returned.wait(state);
                state.waiting -= 1;
            }
            state.left -= 1;
        }
        Permit { permits: self }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.permits.counted {
            let mut state = self.permits.state.lock();
            state.left += 1;
            let is_awaited = state.waiting > 0;
            drop(state);
            if is_awaited {
                self.permits.returned.notify_one();
            }
        }
    }
}
