//! Whoever looks on at a recovery and writes down what it sees; and cuts the power in the middle of undo, if asked to.

use std::collections::BTreeMap;

use afterimage::inspect::{self, DumpLine};
use afterimage::{
    AfterStep, Lsn, PageLine, RecoveryObserver, RecoveryStep, RedoDecision, SeenRecord,
    TransactionChange, TransactionLine,
};
use afterimage_io::Io;
use afterimage_io::sim::Sim;
use afterimage_io::sync::Mutex;

/// A step, kept.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Analysed {
        record: DumpLine,
        transactions: Vec<TransactionChange>,
        pages: Vec<PageLine>,
    },
    LogEnded {
        tail: String,
    },
    PageRestored {
        page: u64,
        lsn: Lsn,
        torn: bool,
    },
    AnalysisEnded {
        losers: Vec<TransactionLine>,
        dirty: Vec<PageLine>,
        redo_from: Option<Lsn>,
    },
    Redo {
        record: DumpLine,
        page: u64,
        rec_lsn: Option<Lsn>,
        before: Option<Lsn>,
        after: Option<Lsn>,
        decision: RedoDecision,
    },
    RedoEnded,
    Undo {
        txn: Lsn,
        record: DumpLine,
        clr: Option<Box<DumpLine>>,
        next: Option<Lsn>,
    },
    TransactionEnded {
        txn: Lsn,
        lsn: Lsn,
    },
    CheckpointTaken {
        lsn: Lsn,
        redo_from: Lsn,
    },
    /// So many steps of a pass that were counted and not kept, by what they were.
    LeftOut {
        phase: &'static str,
        counts: BTreeMap<String, u64>,
    },
}

/// Keeps every step.
pub(crate) struct Watch {
    seen: Mutex<Seen>,
    /// Steps of each pass that are kept; the rest is counted.
    most: usize,
    crash: Option<Crash>,
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    /// Steps of the pass that is under way, and those of it that were left out.
    steps: usize,
    left_out: BTreeMap<String, u64>,
    clrs: usize,
    /// The log is durable as far as was asked for: the next step is one too many.
    ripe: bool,
    phase: &'static str,
}

impl Seen {
    /// Tells what was left out of the pass that is over.
    fn end_pass(&mut self) {
        self.steps = 0;
        if !self.left_out.is_empty() {
            let counts = std::mem::take(&mut self.left_out);
            let phase = self.phase;
            self.events.push(Event::LeftOut { phase, counts });
        }
    }
}

/// The pass of a step of which there may be many, and what it is counted as.
fn counted(step: &RecoveryStep<'_>) -> Option<(&'static str, &'static str)> {
    let kind = |record: &SeenRecord<'_>| inspect::kind(record.payload).unwrap_or("unknown");
    match step {
        RecoveryStep::Analysed { record, .. } => Some(("analysis", kind(record))),
        RecoveryStep::Redo { decision, .. } => Some((
            "redo",
            match decision {
                RedoDecision::Applied => "applied",
                RedoDecision::PageNewer => "there already",
                RedoDecision::NotDirty => "page not in the dirty page table",
                RedoDecision::BeforeRecLsn => "older than the page's recLSN",
                _ => "log missing",
            },
        )),
        RecoveryStep::Undo { clr, .. } => Some((
            "undo",
            if clr.is_some() {
                "taken back"
            } else {
                "passed over"
            },
        )),
        RecoveryStep::TransactionEnded { .. } => Some(("undo", "transactions ended")),
        RecoveryStep::PageRestored { .. } => Some(("safe", "pages restored")),
        _ => None,
    }
}

/// When the power is to go.
struct Crash {
    sim: Sim,
    clrs: usize,
}

impl Watch {
    /// Keeps what it sees. Its own lock is none of the world that it looks at, which may crash.
    pub(crate) fn new(most: usize) -> Watch {
        Watch {
            seen: Mutex::new(&Io::os(), Seen::default()),
            most,
            crash: None,
        }
    }

    /// Lets the world crash when so many CLRs are durable.
    pub(crate) fn with_crash(sim: Sim, clrs: usize) -> Watch {
        Watch {
            crash: Some(Crash { sim, clrs }),
            ..Watch::new(usize::MAX)
        }
    }

    /// What was seen.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut seen = self.seen.lock();
        seen.end_pass();
        std::mem::take(&mut seen.events)
    }
}

impl RecoveryObserver for Watch {
    fn step(&self, step: &RecoveryStep<'_>) -> AfterStep {
        let mut seen = self.seen.lock();
        // Undo is over, and there were no CLRs: then the power stays.
        let is_open = matches!(step, RecoveryStep::CheckpointTaken { .. });
        if let Some(crash) = self.crash.as_ref().filter(|_| seen.ripe && !is_open) {
            // Not told of: what this step has written is in memory only, and goes with it.
            crash.sim.crash_now();
            return AfterStep::GoOn;
        }
        if let Some((phase, what)) = counted(step) {
            seen.steps += 1;
            if seen.steps > self.most {
                *seen.left_out.entry(what.to_owned()).or_default() += 1;
                seen.phase = phase;
                return AfterStep::GoOn;
            }
        } else {
            seen.end_pass();
        }
        let Some(event) = Event::of(step) else {
            return AfterStep::GoOn;
        };
        seen.clrs += usize::from(matches!(event, Event::Undo { clr: Some(_), .. }));
        let is_undo = matches!(event, Event::Undo { .. } | Event::RedoEnded);
        seen.events.push(event);
        match &self.crash {
            Some(crash) if is_undo && seen.clrs == crash.clrs => {
                seen.ripe = true;
                AfterStep::MakeLogDurable
            }
            _ => AfterStep::GoOn,
        }
    }
}

impl Event {
    fn of(step: &RecoveryStep<'_>) -> Option<Event> {
        Some(match *step {
            RecoveryStep::Analysed {
                record,
                transactions,
                pages,
            } => Event::Analysed {
                record: inspect::record(&record),
                transactions: transactions.to_vec(),
                pages: pages.to_vec(),
            },
            RecoveryStep::LogEnded { tail, .. } => Event::LogEnded {
                tail: tail.to_owned(),
            },
            RecoveryStep::PageRestored { page, lsn, torn } => {
                Event::PageRestored { page, lsn, torn }
            }
            RecoveryStep::AnalysisEnded {
                losers,
                dirty,
                redo_from,
                ..
            } => Event::AnalysisEnded {
                losers: losers.to_vec(),
                dirty: dirty.to_vec(),
                redo_from,
            },
            RecoveryStep::Redo {
                record,
                page,
                rec_lsn,
                before,
                after,
                decision,
            } => Event::Redo {
                record: inspect::record(&record),
                page,
                rec_lsn,
                before,
                after,
                decision,
            },
            RecoveryStep::RedoEnded { .. } => Event::RedoEnded,
            RecoveryStep::Undo {
                txn,
                record,
                clr,
                next,
            } => Event::Undo {
                txn,
                record: inspect::record(&record),
                clr: clr.as_ref().map(inspect::record).map(Box::new),
                next,
            },
            RecoveryStep::TransactionEnded { txn, lsn } => Event::TransactionEnded { txn, lsn },
            RecoveryStep::CheckpointTaken { lsn, redo_from } => {
                Event::CheckpointTaken { lsn, redo_from }
            }
            _ => return None,
        })
    }
}
