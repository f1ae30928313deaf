//! Single lives of the application on a simulated machine: its setup, the run of its workload with every crash point on the way, and what comes after a crash.

use super::machine::{Client, Machine, Outside, held};
use super::place::Fault;
use super::{App, AppResult};
use crate::choices::{Choices, Record};
use crate::outcome::{self, Outcome};
use crate::watchdog;
use afterimage_io::sim::{
    CallInfo, CallKind, DiskState, Hook, RunEnd, Sim, Survival, SyncFailure, Verdict,
};
use std::sync::{Arc, Mutex};

/// `EIO`.
const EIO: i32 = 5;

/// Something that did not hold: whose fault it is, and what was seen.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) who: Who,
    pub(super) what: String,
}

/// Who says that something did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The application's own invariant.
    Check,
    /// The application does not start.
    Open,
    /// The workload, without any crash.
    Work,
    /// Everybody waits for somebody, or nothing ends.
    Stuck,
    /// Two runs of one seed differ.
    Replay,
    /// There is no such crash state.
    Place,
}

impl Wrong {
    pub(super) fn new(who: Who, what: impl Into<String>) -> Wrong {
        let what = what.into();
        Wrong { who, what }
    }
}

/// One call at which the power may go, before it takes effect; or the end of the run.
#[derive(Clone)]
pub(super) struct Point {
    /// Its number, from 1.
    pub(super) call: u64,
    pub(super) kind: Option<CallKind>,
    /// The call in words, and the simulated thread that makes it.
    pub(super) words: String,
    pub(super) thread: String,
    /// The disk before it.
    pub(super) disk: DiskState,
    /// How much the world outside had been told.
    pub(super) acknowledged: usize,
}

/// A run of the workload.
pub(super) struct Lived {
    pub(super) points: Vec<Point>,
    pub(super) acknowledged: Vec<String>,
    /// Equal for equal runs.
    pub(super) trace: u64,
    /// The choices of the run, as bytes.
    pub(super) record: Record,
}

impl Lived {
    /// Whether clients have chosen something: each has a string of its own, behind the machine's.
    pub(super) fn draws(&self) -> bool {
        self.record.strings().0.len() > 1
    }
}

impl<A: Send + Sync + 'static> App<A> {
    /// The disk that the runs begin with: what is durable once the application is set up and closed.
    pub(super) fn set_up(&self) -> Result<DiskState, Wrong> {
        let sim = Sim::new(0);
        if let Some(setup) = &self.setup {
            let (machine, open, setup) = (
                Machine::new(&sim),
                Arc::clone(&self.open),
                Arc::clone(setup),
            );
            live(&sim, move || -> AppResult { setup(&open(&machine)?) })?
                .map_err(|e| Wrong::new(Who::Work, format!("the setup failed: {e}")))?;
        }
        let left = sim.snapshot().crash(&Survival::None);
        Ok(DiskState::from_image(&left))
    }

    /// Runs the workload to its end on a disk like `disk`, perhaps with a fault at one call, and tells every point on the way.
    pub(super) fn run(
        &self,
        disk: &DiskState,
        choices: Choices,
        fault: Option<(Fault, u64)>,
    ) -> Result<Lived, Wrong> {
        let (mut choices, record) = choices.recorded();
        let sim = Sim::from_state(choices.world_seed(), disk);
        let outside = Outside::default();
        let points = Arc::new(Mutex::new(Vec::new()));
        sim.set_hook(Some(watch(&sim, &points, &outside, fault)));
        let clients: Vec<Client> = (1..=self.work.len())
            .map(|n| Client::new(n, &outside, choices.fork()))
            .collect();
        let (machine, app) = (Machine::new(&sim), self.clone());
        let ends = live(&sim, move || app.serve(&machine, clients))?;
        sim.set_hook(None);
        if fault.is_none() {
            ends.map_err(|e| Wrong::new(Who::Work, e.to_string()))?;
        }
        let mut points = std::mem::take(&mut *held(&points));
        points.push(Point {
            call: points.len() as u64 + 1,
            kind: None,
            words: "the end of the run, the application closed".to_string(),
            thread: String::new(),
            disk: sim.snapshot(),
            acknowledged: outside.len(),
        });
        Ok(Lived {
            points,
            acknowledged: outside.told(),
            trace: sim.trace_hash(),
            record,
        })
    }

    /// Opens the application, lets all clients work on it side by side, and closes it.
    fn serve(self, machine: &Machine, clients: Vec<Client>) -> AppResult {
        let app = Arc::new((self.open)(machine).map_err(|e| format!("it does not open: {e}"))?);
        let ends = Arc::new(Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        for (client, work) in clients.into_iter().zip(&self.work) {
            let name = format!("client {}", client.number());
            let (app, work, ends, who) = (
                Arc::clone(&app),
                Arc::clone(work),
                Arc::clone(&ends),
                name.clone(),
            );
            threads.push(machine.io().spawn(&name, move || {
                let wrong = match outcome::run(|| work(&app, &client)) {
                    Outcome::Done(Ok(())) | Outcome::Crashed => return,
                    Outcome::Done(Err(e)) => e.to_string(),
                    Outcome::Panicked(text) => format!("panicked: {text}"),
                };
                held(&ends).push(format!("{who} failed, and no crash had been: {wrong}"));
            })?);
        }
        for thread in threads {
            thread.join()?;
        }
        drop(app);
        let first = held(&ends).drain(..).next();
        first.map_or(Ok(()), |e| Err(e.into()))
    }

    /// Starts the application on what a crash has left and asks whether all is well. `at_call` is told each call of the start.
    pub(super) fn recover(
        &self,
        disk: &DiskState,
        acknowledged: &[String],
        at_call: impl FnMut(&CallInfo<'_>, &DiskState) -> Verdict + Send + 'static,
    ) -> Result<(), Wrong> {
        let sim = Sim::from_state(1, disk);
        sim.set_hook(Some(Box::new(at_call)));
        let (machine, app, switch) = (Machine::new(&sim), self.clone(), sim.clone());
        let told = acknowledged.to_vec();
        live(&sim, move || {
            let opened = match outcome::run(|| (app.open)(&machine)) {
                Outcome::Done(Ok(opened)) => opened,
                Outcome::Done(Err(e)) => return Err(Wrong::new(Who::Open, e.to_string())),
                Outcome::Panicked(text) => return Err(Wrong::new(Who::Open, text)),
                // The hook's wish.
                Outcome::Crashed => return Ok(()),
            };
            switch.set_hook(None);
            let end = match outcome::run(|| (app.check)(&opened, &told)) {
                Outcome::Done(Ok(())) | Outcome::Crashed => Ok(()),
                Outcome::Done(Err(e)) => Err(Wrong::new(Who::Check, e.to_string())),
                Outcome::Panicked(text) => Err(Wrong::new(Who::Check, text)),
            };
            // Nobody needs the rest of this life.
            switch.crash_now();
            drop(outcome::run(move || drop(opened)));
            end
        })?
    }
}

/// Runs `body` as the first thread of a simulated machine, until it and all threads that it started have ended.
fn live<T: Send + 'static>(
    sim: &Sim,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Wrong> {
    let slot = Arc::new(Mutex::new(None));
    let result = Arc::clone(&slot);
    let main = move || {
        let end = outcome::run(body);
        *held(&result) = Some(end);
    };
    let run = || outcome::run(|| sim.run_threads(vec![("main".to_string(), Box::new(main))]));
    let (end, astray) = watchdog::watch(sim, run);
    if astray {
        let patience = watchdog::patience();
        let what = format!("it goes round in circles: no end after {patience:?}");
        return Err(Wrong::new(Who::Stuck, what));
    }
    match end {
        Outcome::Done(RunEnd::Deadlock(who)) => {
            let what = format!("everybody waits for somebody: {}", who.join(", "));
            return Err(Wrong::new(Who::Stuck, what));
        }
        Outcome::Panicked(text) => return Err(Wrong::new(Who::Work, format!("panicked: {text}"))),
        Outcome::Done(RunEnd::Finished | RunEnd::Crashed) | Outcome::Crashed => {}
    }
    let end = held(&slot).take();
    match end {
        Some(Outcome::Done(value)) => Ok(value),
        Some(Outcome::Panicked(text)) => Err(Wrong::new(Who::Work, format!("panicked: {text}"))),
        Some(Outcome::Crashed) | None => Err(Wrong::new(
            Who::Work,
            "a simulated crash that nobody ordered",
        )),
    }
}

/// Notes every call, and makes the fault.
fn watch(
    sim: &Sim,
    into: &Arc<Mutex<Vec<Point>>>,
    outside: &Outside,
    fault: Option<(Fault, u64)>,
) -> Hook {
    let (into, outside, sim) = (Arc::clone(into), outside.clone(), sim.clone());
    Box::new(move |info, disk| {
        let mut points = held(&into);
        let call = points.len() as u64 + 1;
        points.push(Point {
            call,
            kind: Some(info.kind),
            words: words(info),
            thread: info.thread.to_string(),
            disk: disk.clone(),
            acknowledged: outside.len(),
        });
        drop(points);
        match fault {
            Some((Fault::DiskFull, at)) if call == at => {
                sim.set_quota(Some(disk.files().map(|(_, len)| len).sum()));
                Verdict::Continue
            }
            Some((Fault::SyncFails, at)) if call == at => {
                Verdict::FailSync(SyncFailure::CacheKeepsNew)
            }
            Some((Fault::WriteFails, at)) if call == at => Verdict::OsError(EIO),
            _ => Verdict::Continue,
        }
    })
}

impl Fault {
    /// Whether a call of this kind can fail in this way.
    pub(super) fn strikes(self, kind: CallKind) -> bool {
        match self {
            Fault::DiskFull => !kind.syncs() && kind != CallKind::Remove,
            Fault::SyncFails => kind.syncs(),
            Fault::WriteFails => matches!(
                kind,
                CallKind::Write | CallKind::WriteDurably | CallKind::WriteAtomically
            ),
        }
    }
}

/// A call in words.
pub(super) fn words(info: &CallInfo<'_>) -> String {
    let (path, offset, len) = (info.path, info.offset, info.len);
    match info.kind {
        CallKind::Read => format!("read {len} bytes at {offset} of {path}"),
        CallKind::Write => format!("write {len} bytes at {offset} of {path}"),
        CallKind::WriteDurably => format!("write and sync {len} bytes at {offset} of {path}"),
        CallKind::WriteAtomically => format!("write {len} bytes at {offset} of {path}, untorn"),
        CallKind::Prefill => format!("fill {len} bytes at {offset} of {path} with zeroes"),
        CallKind::SetLen => format!("set the length of {path} to {len}"),
        CallKind::Sync => format!("sync {path}"),
        CallKind::Create => format!("create {path}"),
        CallKind::CreateDir => format!("create the directory {path}"),
        CallKind::Rename => format!("rename {path} to {}", info.to.unwrap_or("")),
        CallKind::Remove => format!("remove {path}"),
        CallKind::SyncDir if path.is_empty() => "sync the names in the top directory".to_string(),
        CallKind::Open => format!("open {path}"),
        CallKind::List => format!("list {path}"),
        CallKind::Look => format!("look for {path}"),
        CallKind::SyncDir => format!("sync the names in {path}"),
    }
}
