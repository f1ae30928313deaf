//! Those who redo: threads, each with a queue of stretches, or, where no thread can be had, whoever reads the log.
//! The queues are short: a stretch is read when there is somebody to take it.

use std::collections::VecDeque;
use std::sync::Arc;

use afterimage_io::sync::{Condvar, Mutex};
use afterimage_io::{Io, JoinHandle};

use super::kinds::Kinds;
use super::redo::{Failed, Redone, Share, Stretch, Work};
use crate::error::Result;

/// Stretches that wait for a worker, at most.
const WAITING_MAX: usize = 1;

pub(super) struct Workers {
    work: Arc<Work>,
    workers: Vec<Worker>,
}

enum Worker {
    Thread(Arc<Inbox>, JoinHandle),
    /// The reader does this one's work itself.
    Here(Box<Share>, std::result::Result<(), Failed>),
}

/// What a thread is given, and what comes of it.
struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Stretch>>,
    /// Nothing more will come.
    closed: bool,
    /// Nothing more will be taken.
    gone: bool,
    outcome: Option<std::result::Result<Box<Share>, Failed>>,
}

impl Inbox {
    fn new(io: &Io) -> Inbox {
        Inbox {
            state: Mutex::new(io, State::default()),
            changed: Condvar::new(io),
        }
    }

    /// Waits until there is room; false if nobody takes any more.
    fn give(&self, stretch: &Arc<Stretch>) -> bool {
        let mut state = self.state.lock();
        while state.waiting.len() >= WAITING_MAX && !state.gone {
            state = self.changed.wait(state);
        }
        state.waiting.push_back(Arc::clone(stretch));
        self.changed.notify_all();
        !state.gone
    }

    fn take(&self) -> Option<Arc<Stretch>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && !state.closed {
            state = self.changed.wait(state);
        }
        self.changed.notify_all();
        state.waiting.pop_front()
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

/// However a worker ends, nobody waits for it any more.
struct Leaving(Arc<Inbox>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.state.lock().gone = true;
        self.0.changed.notify_all();
    }
}

fn live(inbox: Arc<Inbox>, work: &Work, mut share: Box<Share>) {
    let leaving = Leaving(inbox);
    let mut outcome = Ok(());
    while let Some(stretch) = leaving.0.take() {
        outcome = share.redo(&stretch);
        if outcome.is_err() {
            break;
        }
        work.used(stretch);
    }
    leaving.0.state.lock().outcome = Some(outcome.map(|()| share));
}

impl Workers {
    pub(super) fn start(io: &Io, work: &Arc<Work>, count: usize) -> Workers {
        let start = |which| {
            let share = || Box::new(Share::new(work, which));
            if count == 1 {
                return Worker::Here(share(), Ok(()));
            }
            let inbox = Arc::new(Inbox::new(io));
            let (its, about, begun) = (Arc::clone(&inbox), Arc::clone(work), share());
            match io.spawn("afterimage-redo", move || live(its, &about, begun)) {
                Ok(thread) => Worker::Thread(inbox, thread),
                Err(_) => Worker::Here(share(), Ok(())),
            }
        };
        Workers {
            work: Arc::clone(work),
            workers: (0..count).map(start).collect(),
        }
    }

    /// Gives every worker its part of a stretch; false if one of them cannot go on.
    pub(super) fn give(&mut self, stretch: Stretch) -> bool {
        let stretch = Arc::new(stretch);
        let given = self.workers.iter_mut().all(|worker| match worker {
            Worker::Thread(inbox, _) => inbox.give(&stretch),
            Worker::Here(share, outcome) => {
                *outcome = share.redo(&stretch);
                outcome.is_ok()
            }
        });
        self.work.used(stretch);
        given
    }

    /// Waits until all have done all of it, and adds up.
    ///
    /// # Errors
    ///
    /// That of the first record which one of them could not redo.
    ///
    /// # Panics
    ///
    /// If one of them has.
    pub(super) fn finish(mut self, kinds: &mut Kinds) -> Result<Redone> {
        self.close();
        let (mut redone, mut failed) = (Redone::default(), None::<Failed>);
        for worker in std::mem::take(&mut self.workers) {
            let outcome = match worker {
                Worker::Here(share, outcome) => outcome.map(|()| share),
                Worker::Thread(inbox, thread) => {
                    let ended = thread.join();
                    let outcome = inbox.state.lock().outcome.take();
                    outcome.unwrap_or_else(|| panic!("a thread of redo has panicked: {ended:?}"))
                }
            };
            match outcome {
                Ok(share) => {
                    redone.applied += share.redone.applied;
                    redone.already_there += share.redone.already_there;
                    redone.pages += share.redone.pages;
                    kinds.add_redo(&share.kinds);
                }
                Err(error) if failed.as_ref().is_none_or(|(lsn, _)| error.0 < *lsn) => {
                    failed = Some(error);
                }
                Err(_) => {}
            }
        }
        failed.map_or(Ok(redone), |(_, error)| Err(error))
    }

    fn close(&self) {
        for worker in &self.workers {
            if let Worker::Thread(inbox, _) = worker {
                inbox.close();
            }
        }
    }
}

impl Drop for Workers {
    /// Whoever reads has panicked: the threads are not to wait for more.
    fn drop(&mut self) {
        self.close();
    }
}
