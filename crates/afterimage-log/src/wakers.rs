//! Who is to be woken when the log reaches a position: the registry behind everything that waits without a thread
//! of its own.
//!
//! Where nobody waits it costs one load at each flush. The protocol of a waiter: look, register, look again; of the
//! log: move the position, then wake. A fence on both sides sees to it that one of the two notices the other.

use std::task::{Wake, Waker};
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use afterimage_io::sync::{Condvar, Mutex};

/// Those who wait for one kind of position.
pub(crate) struct Wakers {
    waiting: AtomicUsize,
    list: Mutex<Vec<Entry>>,
    next_id: AtomicU64,
}

struct Entry {
    id: u64,
    target: u64,
    waker: Waker,
}

impl Wakers {
    pub(crate) fn new(io: &Io) -> Wakers {
        Wakers {
            waiting: AtomicUsize::new(0),
            list: Mutex::new(io, Vec::new()),
            next_id: AtomicU64::new(0),
        }
    }

    /// A number for one waiter, who has at most one registration at a time.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Wakes `waker` when the position reaches `target`, instead of what this waiter had registered before. The caller
    /// looks at the position once more afterwards.
    pub(crate) fn register(&self, id: u64, target: u64, waker: &Waker) {
        let mut list = self.list.lock();
        match list.iter_mut().find(|entry| entry.id == id) {
            Some(entry) => {
                entry.target = target;
                entry.waker.clone_from(waker);
            }
            None => list.push(Entry {
                id,
                target,
                waker: waker.clone(),
            }),
        }
        self.waiting.store(list.len(), Ordering::SeqCst);
        drop(list);
        fence(Ordering::SeqCst);
    }

    /// The waiter does not wait any more.
    pub(crate) fn forget(&self, id: u64) {
        let mut list = self.list.lock();
        list.retain(|entry| entry.id != id);
        self.waiting.store(list.len(), Ordering::SeqCst);
    }

    /// The position has reached `reached`.
    pub(crate) fn wake(&self, reached: u64) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut due = Vec::new();
        {
            let mut list = self.list.lock();
            due.extend(list.extract_if(.., |entry| entry.target <= reached));
            self.waiting.store(list.len(), Ordering::SeqCst);
        }
        // Outside the mutex: a waker runs what its owner likes.
        for entry in due {
            entry.waker.wake();
        }
    }

    /// The position will not move any more.
    pub(crate) fn wake_all(&self) {
        self.wake(u64::MAX);
    }
}

/// What a thread sleeps on that waits as a task would.
pub(crate) struct Parker {
    io: Io,
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Parker {
    pub(crate) fn new(io: &Io) -> Parker {
        Parker {
            io: io.clone(),
            woken: Mutex::new(io, false),
            changed: Condvar::new(io),
        }
    }

    /// Sleeps until somebody wakes, or until `deadline` (of the monotonic clock). False where the time has run out.
    pub(crate) fn park(&self, deadline: Option<Duration>) -> bool {
        let mut woken = self.woken.lock();
        while !std::mem::take(&mut *woken) {
            woken = match deadline {
                None => self.changed.wait(woken),
                Some(deadline) => match deadline.checked_sub(self.io.now()) {
                    None | Some(Duration::ZERO) => return false,
                    Some(left) => self.changed.wait_timeout(woken, left).0,
                },
            };
        }
        true
    }
}

impl Wake for Parker {
    fn wake(self: std::sync::Arc<Self>) {
        *self.woken.lock() = true;
        self.changed.notify_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_those_are_woken_whose_position_is_reached() {
        let io = Io::os();
        let wakers = Wakers::new(&io);
        let parkers: Vec<_> = (0..3).map(|_| Arc::new(Parker::new(&io))).collect();
        for (n, parker) in (0..).zip(&parkers) {
            let id = wakers.new_id();
            // The second registration takes the place of the first.
            wakers.register(id, 0, &Waker::noop().clone());
            wakers.register(id, 10 * n + 10, &Waker::from(Arc::clone(parker)));
        }
        let woken = || -> Vec<bool> {
            parkers
                .iter()
                .map(|p| p.park(Some(Duration::ZERO)))
                .collect()
        };
        wakers.wake(9);
        assert_eq!(woken(), [false, false, false]);
        wakers.wake(20);
        assert_eq!(woken(), [true, true, false]);
        wakers.forget(2);
        wakers.wake_all();
        assert_eq!(woken(), [false, false, false]);
    }
}

/// The protocol in every order that loom knows: a wake-up that is lost is a deadlock.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn who_looks_registers_and_looks_again_is_woken() {
        loom::model(|| {
            let io = Io::os();
            let shared = Arc::new((AtomicU64::new(0), Wakers::new(&io)));
            let other = Arc::clone(&shared);
            let mover = io.spawn("model", move || {
                for to in 1..=2 {
                    other.0.store(to, Ordering::Release);
                    other.1.wake(to);
                }
            });
            let (position, wakers) = &*shared;
            let parker = Arc::new(Parker::new(&io));
            let (id, waker) = (wakers.new_id(), Waker::from(Arc::clone(&parker)));
            while position.load(Ordering::Acquire) < 2 {
                wakers.register(id, 2, &waker);
                if position.load(Ordering::Acquire) >= 2 {
                    break;
                }
                parker.park(None);
            }
            wakers.forget(id);
            mover.expect("a thread").join().expect("no panic");
        });
    }

    #[test]
    fn a_stop_wakes_everybody_who_registered() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let io = Io::os();
            let shared = Arc::new((AtomicU64::new(0), Wakers::new(&io)));
            let wait = |target: u64| {
                let (shared, io) = (Arc::clone(&shared), io.clone());
                move || {
                    let (position, wakers) = &*shared;
                    let parker = Arc::new(Parker::new(&io));
                    let (id, waker) = (wakers.new_id(), Waker::from(Arc::clone(&parker)));
                    while position.load(Ordering::Acquire) < target {
                        wakers.register(id, target, &waker);
                        if position.load(Ordering::Acquire) >= target {
                            break;
                        }
                        parker.park(None);
                    }
                    wakers.forget(id);
                }
            };
            let waiters = [io.spawn("model", wait(1)), io.spawn("model", wait(9))];
            shared.0.store(1, Ordering::Release);
            shared.1.wake(1);
            shared.0.store(9, Ordering::Release);
            shared.1.wake_all();
            for waiter in waiters {
                waiter.expect("a thread").join().expect("no panic");
            }
        });
    }
}
