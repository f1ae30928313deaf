//! What all clients of a database share while they work: one clock, the numbers they append, and who takes their story down.

use super::history::{History, Op, Txn, Value};
use super::wire::Event;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Clients that die have used so many moments and numbers, at most, that nobody was told of.
const UNTOLD: u64 = 1000;

/// Who is told of events.
pub type Sink = Box<dyn FnMut(Event) + Send>;

/// What all clients share: the clock, the numbers, and who is told.
pub struct Board {
    clock: AtomicU64,
    next: AtomicU32,
    begun: AtomicU64,
    over: AtomicBool,
    most: u64,
    wrong: Mutex<Option<String>>,
    sink: Mutex<Sink>,
}

impl Board {
    /// A board whose clock and numbers begin there, for so many transactions at most.
    #[must_use]
    pub fn new(clock: u64, next: Value, most: u64, sink: Sink) -> Board {
        Board {
            clock: AtomicU64::new(clock),
            next: AtomicU32::new(next),
            begun: AtomicU64::new(0),
            over: AtomicBool::new(false),
            most,
            wrong: Mutex::default(),
            sink: Mutex::new(sink),
        }
    }

    /// A moment, later than all before.
    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn tell(&self, event: Event) {
        (self.sink.lock().unwrap_or_else(PoisonError::into_inner))(event);
    }

    /// A transaction begins; false where there are to be no more.
    pub(super) fn begin(&self) -> bool {
        !self.over.load(Ordering::SeqCst) && self.begun.fetch_add(1, Ordering::SeqCst) < self.most
    }

    /// A number that nobody had before.
    pub(super) fn number(&self) -> Value {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// How many numbers were handed out.
    pub(super) fn numbers(&self) -> Value {
        self.next.load(Ordering::SeqCst)
    }

    /// A client has met what none should; the others end.
    pub(super) fn fail(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get_or_insert(what);
        self.over.store(true, Ordering::SeqCst);
    }

    /// What no client should have met.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        self.wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A history that grows as events come.
#[derive(Default)]
pub struct Recorder {
    history: History,
    places: HashMap<u64, usize>,
}

impl Recorder {
    /// Takes one event down.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Asks(txn) => {
                self.places.insert(txn.began, self.history.txns.len());
                self.history.txns.push(txn);
            }
            Event::Ended {
                began,
                ended,
                outcome,
            } => {
                if let Some(place) = self.places.remove(&began) {
                    let txn = &mut self.history.txns[place];
                    (txn.ended, txn.outcome) = (ended, outcome);
                }
            }
        }
    }

    /// How many transactions there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.history.txns.len() as u64
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.history.txns.is_empty()
    }

    /// A moment and a number that were not used: also not by those of whom nothing was told.
    #[must_use]
    pub fn behind(&self) -> (u64, Value) {
        let ended = |txn: &Txn| {
            if txn.ended == u64::MAX {
                txn.began
            } else {
                txn.ended
            }
        };
        let values = |txn: &Txn| {
            let values = txn.ops.iter().map(|op| match op {
                Op::Append { value, .. } | Op::Undone { value, .. } => *value,
                _ => 0,
            });
            values.max().unwrap_or(0)
        };
        let clock = self.history.txns.iter().map(ended).max().unwrap_or(0);
        let value = self.history.txns.iter().map(values).max().unwrap_or(0);
        (clock + UNTOLD, value + UNTOLD as Value)
    }

    /// The history as it is, with the last reading of everything.
    #[must_use]
    pub fn finish(mut self, last: Txn) -> History {
        self.history.txns.push(last);
        self.history.complete = true;
        self.history
    }
}
