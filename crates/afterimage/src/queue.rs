//! A short queue between two threads: who gives waits while it is full, who takes while it is empty, and neither waits for
//! one who has gone. As a bounded channel of the standard library, which a simulation cannot look into.

use std::collections::VecDeque;
use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::{Condvar, Mutex};

/// The end that things go in at. Dropped, it says that nothing more will come.
pub(crate) struct Giver<T>(Arc<Queue<T>>);

/// The end that things come out of. Dropped, it says that nothing more will be taken.
pub(crate) struct Taker<T>(Arc<Queue<T>>);

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    room: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
    gone: bool,
}

/// A queue with room for so many.
pub(crate) fn queue<T>(io: &Io, room: usize) -> (Giver<T>, Taker<T>) {
    let state = State {
        waiting: VecDeque::with_capacity(room),
        closed: false,
        gone: false,
    };
    let queue = Arc::new(Queue {
        state: Mutex::new(io, state),
        changed: Condvar::new(io),
        room,
    });
    (Giver(Arc::clone(&queue)), Taker(queue))
}

impl<T> Giver<T> {
    /// Waits until there is room; false if nobody takes any more.
    pub(crate) fn give(&self, thing: T) -> bool {
        let Queue {
            state,
            changed,
            room,
        } = &*self.0;
        let mut state = state.lock();
        while state.waiting.len() >= *room && !state.gone {
            state = changed.wait(state);
        }
        if state.gone {
            return false;
        }
        state.waiting.push_back(thing);
        changed.notify_all();
        true
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl<T> Taker<T> {
    /// Waits for the next; `None` if nothing more comes.
    pub(crate) fn take(&self) -> Option<T> {
        let Queue { state, changed, .. } = &*self.0;
        let mut state = state.lock();
        while state.waiting.is_empty() && !state.closed {
            state = changed.wait(state);
        }
        changed.notify_all();
        state.waiting.pop_front()
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.state.lock();
            state.gone = true;
            std::mem::take(&mut state.waiting)
        };
        self.0.changed.notify_all();
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage_io::sim::{RunEnd, Sim};
    use afterimage_io::sync::atomic::{AtomicUsize, Ordering};

    const THINGS: usize = 9;
    const ROOM: usize = 2;

    /// One gives, one takes at most `taken` things; in many orders.
    fn try_out(taken: usize) {
        for seed in 0..200 {
            let sim = Sim::new(seed);
            let (giver, taker) = queue(&sim.io(), ROOM);
            let under_way = Arc::new(AtomicUsize::new(0));
            let (giving, taking) = (Arc::clone(&under_way), under_way);
            let give = move || {
                let given = (0..THINGS).take_while(|n| {
                    let given = giver.give(*n);
                    let more = giving.fetch_add(1, Ordering::SeqCst);
                    assert!(
                        !given || more <= ROOM,
                        "seed {seed}: more than there is room for"
                    );
                    given
                });
                assert!(
                    (taken..=taken + ROOM).contains(&given.count()),
                    "seed {seed}"
                );
            };
            let take = move || {
                for n in 0..taken {
                    assert_eq!(taker.take(), Some(n), "seed {seed}");
                    taking.fetch_sub(1, Ordering::SeqCst);
                }
                if taken == THINGS {
                    assert_eq!(taker.take(), None, "seed {seed}");
                }
            };
            let bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = vec![
                ("giver".to_owned(), Box::new(give)),
                ("taker".to_owned(), Box::new(take)),
            ];
            assert_eq!(sim.run_threads(bodies), RunEnd::Finished, "seed {seed}");
        }
    }

    #[test]
    fn what_is_given_is_taken_in_order_and_the_end_is_seen() {
        try_out(THINGS);
    }

    #[test]
    fn nobody_waits_for_one_who_has_gone() {
        for taken in 0..=3 {
            try_out(taken);
        }
    }
}
