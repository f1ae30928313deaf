//! What an exploration says: the counts of one that held, and a counterexample in words.

use super::machine::held;
use super::place::{Fault, Place};
use super::run::{Lived, Who, Wrong};
use super::states::{State, Step};
use afterimage_io::sim::{DiskState, Fate, PendingKind, PendingOp, Survival};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// How much an exploration has looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Runs of the workload without a fault, each with a seed of its own.
    pub runs: u64,
    /// Runs of the workload with a fault at one call.
    pub fault_runs: u64,
    /// I/O calls before which the power was cut, and ends of runs.
    pub crash_points: u64,
    /// Crash states that there were in the workload's runs: at each crash point every survival of a fixed list.
    pub states: u64,
    /// Those of them that differ, by the bytes of the disk or by what had been acknowledged. Only these are checked.
    pub distinct: u64,
    /// States inside recoveries that were sampled, and differed.
    pub in_recovery: u64,
    /// States in which the application was started again, and its check held: those of workloads, of recoveries, and of runs with faults.
    pub checked: u64,
    /// Wall-clock time.
    pub elapsed: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} crash points, {} crash states ({} distinct), {} more in recoveries, {} runs with a fault: {} states checked in {:.1} s",
            self.runs,
            self.crash_points,
            self.states,
            self.distinct,
            self.in_recovery,
            self.fault_runs,
            self.checked,
            self.elapsed.as_secs_f64()
        )
    }
}

/// A crash after which the application's check does not hold, or a run that does not even end well without one.
///
/// Its [`Display`](fmt::Display) tells all of it in words.
#[derive(Clone, Debug)]
pub struct Counterexample {
    what: String,
    place: String,
    story: String,
    explored: Report,
}

impl Counterexample {
    /// What did not hold, as the check said it (or the panic).
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The name of the crash state, for [`Explore::replay`](super::Explore::replay).
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What had been looked at before.
    pub fn explored(&self) -> &Report {
        &self.explored
    }

    pub(super) fn new(
        wrong: &Wrong,
        place: &Place,
        lived: Option<&Lived>,
        state: Option<&State>,
        explored: Report,
    ) -> Counterexample {
        let mut story = String::new();
        let line = |story: &mut String, head: &str, text: &str| {
            let _ = writeln!(story, "{head:<13}{}", text.replace('\n', "\n             "));
        };
        line(&mut story, said(wrong.who), &wrong.what);
        if let (Some(lived), Some(state)) = (lived, state) {
            let told = &lived.acknowledged[..state.acknowledged];
            line(&mut story, "acknowledged", &list(told));
            if let Some((fault, call)) = place.fault {
                line(&mut story, "fault", &at_fault(lived, fault, call));
            }
            for (n, step) in state.steps.iter().enumerate() {
                let whose = match n {
                    0 => "of the run",
                    _ => "of the start after that",
                };
                line(&mut story, "power cut", &cut(step, whose));
                if n == 0 {
                    line(&mut story, "just before", &before(lived, step.call));
                }
                line(
                    &mut story,
                    "on the disk",
                    &survived(&step.before, &step.how),
                );
            }
        }
        // The test's name, where there is one: libtest gives it to the thread.
        let thread = std::thread::current();
        let again = match thread.name().unwrap_or("main") {
            "main" => format!("AFTERIMAGE_REPLAY='{place}' in the environment"),
            test => format!("AFTERIMAGE_REPLAY='{place}' cargo test {test}"),
        };
        line(&mut story, "again", &again);
        line(&mut story, "until then", &explored.to_string());
        Counterexample {
            what: wrong.what.clone(),
            place: place.to_string(),
            story,
            explored,
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a crash breaks the application\n\n{}", self.story)
    }
}

impl std::error::Error for Counterexample {}

fn said(who: Who) -> &'static str {
    match who {
        Who::Check => "check",
        Who::Open => "no start",
        Who::Work => "workload",
        Who::Stuck => "stuck",
        Who::Replay => "no replay",
        Who::Place => "no such state",
    }
}

fn list(words: &[String]) -> String {
    if words.is_empty() {
        return "nothing".to_string();
    }
    words.join(", ")
}

fn at_fault(lived: &Lived, fault: Fault, call: u64) -> String {
    let at = lived.points.iter().find(|p| p.call == call);
    let words = at.map_or("", |p| p.words.as_str());
    match fault {
        Fault::DiskFull => format!("the disk is full from call {call} on ({words})"),
        Fault::SyncFails => format!("call {call} fails with EIO, once ({words})"),
        Fault::WriteFails => format!("call {call} fails with EIO, once ({words})"),
    }
}

fn cut(step: &Step, whose: &str) -> String {
    let who = match step.thread.as_str() {
        "" => String::new(),
        "main" => ", made by the opening or closing of the application".to_string(),
        thread => format!(", made by {thread}"),
    };
    format!("before call {} {whose}: {}{who}", step.call, step.words)
}

/// The last calls that were made.
fn before(lived: &Lived, call: u64) -> String {
    let made: Vec<String> = lived
        .points
        .iter()
        .filter(|p| p.call < call && p.call + 4 >= call)
        .map(|p| format!("{} ({})", p.words, p.thread))
        .collect();
    if made.is_empty() {
        "nothing".to_string()
    } else {
        made.join("\n")
    }
}

/// What became of the operations that were not synced.
fn survived(disk: &DiskState, how: &Survival) -> String {
    let pending = disk.pending();
    let head = match (pending.len(), how) {
        (0, _) => return "everything had been synced".to_string(),
        (n, Survival::None) => format!("lost: all {n} operations that were not synced"),
        (n, Survival::All) => format!("kept: all {n} operations, though not synced"),
        (n, _) => format!("of {n} operations that were not synced:"),
    };
    let fates = how.fates(pending);
    let uniform = matches!(how, Survival::None | Survival::All);
    let tell = |(op, fate): (&PendingOp, &Fate)| match uniform {
        true => format!("  {}", operation(op)),
        false => format!("  {:<5} {}", fate_in_words(fate), operation(op)),
    };
    let mut lines: Vec<String> = Vec::new();
    for line in pending.iter().zip(&fates).map(tell) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let shown = lines.len().min(12);
    let more = match lines.len() - shown {
        0 => String::new(),
        _ => "\n  and others".to_string(),
    };
    format!("{head}\n{}{more}", lines[..shown].join("\n"))
}

fn fate_in_words(fate: &Fate) -> &'static str {
    match fate {
        Fate::Lost => "lost",
        Fate::Kept | Fate::BothNames => "kept",
        Fate::Torn { .. } | Fate::TornPrefix { .. } => "torn",
        Fate::LengthOnly => "empty",
        _ => "else",
    }
}

fn operation(op: &PendingOp) -> String {
    match op.kind() {
        PendingKind::Write { offset, len } => {
            format!("{len} bytes at {offset} of {}", op.path())
        }
        _ => op.label(),
    }
}

/// The shared part of a report that several threads add to.
#[derive(Debug, Default)]
pub(super) struct Counting(std::sync::Mutex<Report>);

impl Counting {
    pub(super) fn add(&self, change: impl FnOnce(&mut Report)) {
        change(&mut held(&self.0));
    }

    pub(super) fn so_far(&self, elapsed: Duration) -> Report {
        let mut report = held(&self.0).clone();
        report.elapsed = elapsed;
        report
    }
}
