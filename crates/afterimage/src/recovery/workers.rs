//! Those who redo: threads, each with a queue of stretches, or, where no thread can be had, whoever reads the log.
//! The queues are short: a stretch is read when there is somebody to take it.

use std::sync::Arc;

use afterimage_io::sync::Mutex;
use afterimage_io::{Io, JoinHandle};

use super::kinds::Kinds;
use super::redo::{Failed, Redone, Share, Stretch, Work};
use crate::error::Result;
use crate::queue::{Giver, Taker, queue};

/// Stretches that wait for a worker, at most.
const WAITING_MAX: usize = 1;

pub(super) struct Workers {
    work: Arc<Work>,
    workers: Vec<Worker>,
}

enum Worker {
    Thread(Giver<Arc<Stretch>>, Outcome, JoinHandle),
    /// The reader does this one's work itself.
    Here(Box<Share>, std::result::Result<(), Failed>),
}

/// What comes of a thread.
type Outcome = Arc<Mutex<Option<std::result::Result<Box<Share>, Failed>>>>;

fn live(inbox: &Taker<Arc<Stretch>>, outcome: &Outcome, work: &Work, mut share: Box<Share>) {
    let mut redone = Ok(());
    while let Some(stretch) = inbox.take() {
        redone = share.redo(&stretch);
        if redone.is_err() {
            break;
        }
        work.used(stretch);
    }
    *outcome.lock() = Some(redone.map(|()| share));
}

impl Workers {
    pub(super) fn start(io: &Io, work: &Arc<Work>, count: usize) -> Workers {
        let start = |which| {
            let share = || Box::new(Share::new(work, which));
            if count == 1 {
                return Worker::Here(share(), Ok(()));
            }
            let (giver, inbox) = queue(io, WAITING_MAX);
            let outcome: Outcome = Arc::new(Mutex::new(io, None));
            let (its, about, begun) = (Arc::clone(&outcome), Arc::clone(work), share());
            let live = move || live(&inbox, &its, &about, begun);
            match io.spawn("afterimage-redo", live) {
                Ok(thread) => Worker::Thread(giver, outcome, thread),
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
            Worker::Thread(giver, ..) => giver.give(Arc::clone(&stretch)),
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
    pub(super) fn finish(self, kinds: &mut Kinds) -> Result<Redone> {
        let (mut redone, mut failed) = (Redone::default(), None::<Failed>);
        for worker in self.workers {
            let outcome = match worker {
                Worker::Here(share, outcome) => outcome.map(|()| share),
                Worker::Thread(giver, outcome, thread) => {
                    drop(giver);
                    let ended = thread.join();
                    let outcome = outcome.lock().take();
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
}
