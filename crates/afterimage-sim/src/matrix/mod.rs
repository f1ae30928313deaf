//! The directed driver: fixed lives that make every call there is; at each site, each thing that can happen there, once, in
//! order. Nothing is left to chance, so the table of reach is complete or names what is missing.

mod bases;
mod chapters;
mod expected;
mod life;

use crate::failure::{Failure, Gathered, Layer, Mismatch};
use crate::oracle::Layout;
use crate::reach::{Phase, Reach, Response, Role, Site, What};
use afterimage_io::sim::{CallInfo, CallKind, DiskState, Fate, Sim, Survival, Verdict};
use chapters::Chapter;
use life::{Admitted, End, Seen, lock};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much is tried.
#[derive(Clone, Debug)]
pub struct Config {
    /// At how many calls of a site each thing happens; spread over all of them.
    pub calls: usize,
    /// Threads.
    pub workers: usize,
    /// Only what has this in its description.
    pub only: Option<String>,
    /// Whether to go on after a failure.
    pub keep_going: bool,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// The table.
    pub reach: Reach,
    /// Calls in all the lives together.
    pub calls: u64,
    /// Lives with an error in them.
    pub errors: u64,
    /// Crash states.
    pub crashes: u64,
    /// Wall-clock time.
    pub elapsed: Duration,
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "matrix          {:>10} calls of fixed lives; {} lives with an error, {} crash states, in {:.1} s",
            self.calls,
            self.errors,
            self.crashes,
            self.elapsed.as_secs_f64()
        )
    }
}

/// A call of a life without any trouble.
#[derive(Clone, Debug)]
struct Call {
    site: Site,
    path: String,
    offset: u64,
    len: u64,
}

/// One thing to try: what happens at which call of which chapter, and whether it goes on happening.
#[derive(Clone, Debug)]
struct Trial {
    chapter: usize,
    call: usize,
    what: What,
    lasting: bool,
}

/// Runs all of it.
///
/// # Errors
/// What did not hold, with the command that shows it again.
pub fn run(config: &Config) -> Result<Matrix, Box<Failure>> {
    let started = Instant::now();
    let layout = Layout::small();
    let prepared = |mismatch| {
        Box::new(Failure {
            mismatch,
            place: "the matrix: the lives without any trouble".to_string(),
            replay: "cargo xtask sim matrix".to_string(),
        })
    };
    let chapters = chapters::all(&layout).map_err(prepared)?;
    let calls: Vec<Vec<Call>> = chapters
        .iter()
        .map(|chapter| listen(&layout, chapter))
        .collect::<Result<_, _>>()
        .map_err(prepared)?;
    let mut trials = trials(&calls, config.calls);
    let named = |t: &Trial| describe(&chapters, &calls, t);
    if let Some(only) = &config.only {
        trials.retain(|t| named(t).contains(only.as_str()));
    }
    let next = AtomicUsize::new(0);
    let result = Mutex::new((Matrix::default(), Gathered::default()));
    std::thread::scope(|scope| {
        for _ in 0..config.workers.max(1) {
            scope.spawn(|| {
                while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let chapter = &chapters[trial.chapter];
                    let call = &calls[trial.chapter][trial.call];
                    let end = attempt(&layout, chapter, call, trial);
                    let (matrix, gathered) = &mut *lock(&result);
                    match trial.what.is_crash() {
                        true => matrix.crashes += 1,
                        false => matrix.errors += 1,
                    }
                    match end {
                        Ok(response) => matrix.reach.hit(call.site, trial.what, Some(response)),
                        Err(mismatch) => {
                            let place = named(trial);
                            gathered.add(Box::new(Failure {
                                mismatch,
                                replay: format!("cargo xtask sim matrix --only '{place}'"),
                                place,
                            }));
                            if !config.keep_going {
                                next.store(trials.len(), Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let (mut matrix, gathered) = result.into_inner().unwrap_or_else(PoisonError::into_inner);
    matrix.calls = calls.iter().map(|calls| calls.len() as u64).sum();
    matrix.elapsed = started.elapsed();
    gathered.verdict().map(|()| matrix)
}

fn describe(chapters: &[Chapter], calls: &[Vec<Call>], trial: &Trial) -> String {
    let (chapter, call) = (&chapters[trial.chapter], &calls[trial.chapter][trial.call]);
    format!(
        "{} {} {}: {}, {}{} at {}+{}",
        chapter.name,
        trial.call,
        call.path,
        call.site,
        trial.what.name(),
        if trial.lasting { " for long" } else { "" },
        call.offset,
        call.len,
    )
}

/// Lives a chapter without trouble and notes its calls.
fn listen(layout: &Layout, chapter: &Chapter) -> Result<Vec<Call>, Mismatch> {
    let layout = &chapter.layout(layout);
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let sink = Arc::clone(&calls);
    let arm = |sim: &Sim, seen: &Seen| {
        let (layout, seen) = (layout.clone(), seen.clone());
        sim.set_hook_reads(true);
        sim.set_hook(Some(Box::new(move |info, _| {
            lock(&sink).push(Call {
                site: Site::of(&layout, seen.phase(), info),
                path: info.path.to_string(),
                offset: info.offset,
                len: info.len,
            });
            Verdict::Continue
        })));
    };
    let end = life::live(layout, chapter, arm, |_, _| {})?;
    if let Some((name, _, Err(e))) = end.answers.iter().find(|(_, _, answer)| answer.is_err()) {
        return Err(Mismatch::new(
            Layer::Refused,
            format!("{}: {name}: {e}", chapter.name),
        ));
    }
    life::recovers(layout, &end.disk, &end.admitted)?;
    Ok(std::mem::take(&mut *lock(&calls)))
}

/// What to try: each thing at so many calls of each site.
fn trials(calls: &[Vec<Call>], most: usize) -> Vec<Trial> {
    let mut places: BTreeMap<Site, Vec<(usize, usize)>> = BTreeMap::new();
    for (chapter, calls) in calls.iter().enumerate() {
        for (n, call) in calls.iter().enumerate() {
            places.entry(call.site).or_default().push((chapter, n));
        }
    }
    let mut trials = Vec::new();
    for (site, places) in &places {
        for what in What::all_of(site.operation) {
            let fits = |(chapter, n): &&(usize, usize)| {
                let call = &calls[*chapter][*n];
                match what {
                    What::Short | What::Torn if call.site.operation != CallKind::Rename => {
                        call.len > 1
                    }
                    _ => true,
                }
            };
            let fit: Vec<&(usize, usize)> = places.iter().filter(fits).collect();
            let picked: BTreeSet<usize> = match (fit.len(), most) {
                (0, _) => continue,
                (all, most) if all <= most => (0..all).collect(),
                (_, 1) => [0].into(),
                (all, most) => (0..most).map(|n| n * (all - 1) / (most - 1)).collect(),
            };
            let trial = |n: usize, lasting| Trial {
                chapter: fit[n].0,
                call: fit[n].1,
                what: *what,
                lasting,
            };
            trials.extend(picked.iter().map(|n| trial(*n, false)));
            if matches!(what, What::Eio | What::Full | What::Files | What::ReadOnly) {
                trials.extend(picked.iter().take(2).map(|n| trial(*n, true)));
            }
        }
    }
    trials
}

fn attempt(
    layout: &Layout,
    chapter: &Chapter,
    call: &Call,
    trial: &Trial,
) -> Result<Response, Mismatch> {
    let layout = &chapter.layout(layout);
    if trial.what.is_crash() {
        return crash(layout, chapter, trial);
    }
    let response = err(layout, chapter, trial)?;
    let right = expected::responses(call.site, trial.what, trial.lasting);
    if right.contains(&response) {
        return Ok(response);
    }
    let right: Vec<&str> = right.iter().map(|r| r.name()).collect();
    Err(Mismatch::new(
        Layer::Model,
        format!(
            "{}, and {} was expected",
            response.name(),
            right.join(" or ")
        ),
    ))
}

/// Cuts the power at a call, and recovers from what several survivals leave.
fn crash(layout: &Layout, chapter: &Chapter, trial: &Trial) -> Result<Response, Mismatch> {
    type Found = Option<(DiskState, Admitted)>;
    let found: Arc<Mutex<Found>> = Arc::default();
    let sink = Arc::clone(&found);
    // What is true behind a call is what is true before the next one.
    let at = trial.call + usize::from(trial.what != What::Before);
    let arm = |sim: &Sim, seen: &Seen| {
        let seen = seen.clone();
        let mut n = 0;
        sim.set_hook_reads(true);
        sim.set_hook(Some(Box::new(move |_: &CallInfo<'_>, disk: &DiskState| {
            n += 1;
            if n == at + 1 {
                *lock(&sink) = Some((disk.clone(), seen.admitted()));
                return Verdict::Crash;
            }
            Verdict::Continue
        })));
    };
    let end = life::live(layout, chapter, arm, |_, _| {});
    let state = lock(&found).take();
    let (disk, admitted) = match (state, end) {
        (Some(state), _) => state,
        (None, Ok(end)) => (end.disk, end.admitted),
        (None, Err(mismatch)) => return Err(mismatch),
    };
    for survival in survivals(&disk, trial.what) {
        let image = disk.crash(&survival);
        life::recovers(layout, &DiskState::from_image(&image), &admitted)
            .map_err(|m| Mismatch::new(m.layer, format!("{}\n  surviving {survival:?}", m.what)))?;
    }
    Ok(Response::Recover)
}

fn survivals(disk: &DiskState, what: What) -> Vec<Survival> {
    let torn = |unit, seed| Survival::TornLast { unit, seed };
    match what {
        What::Torn => {
            let pending = disk.pending();
            if let Some(last) = pending.last()
                && !last.is_write()
            {
                let mut fates = vec![Fate::Kept; pending.len()];
                fates[pending.len() - 1] = Fate::BothNames;
                return vec![Survival::Fates(fates)];
            }
            vec![torn(512, 1), torn(4096, 2), torn(1, 3)]
        }
        _ => vec![Survival::None, Survival::All, Survival::Random { seed: 9 }],
    }
}

/// Lets a call fail, once or from then on, and tells what came of it.
fn err(layout: &Layout, chapter: &Chapter, trial: &Trial) -> Result<Response, Mismatch> {
    // Whether anything had been changed before the call failed, or by it.
    let changed = Arc::new(Mutex::new(false));
    let sink = Arc::clone(&changed);
    let met: Arc<Mutex<Option<Site>>> = Arc::default();
    let first = Arc::clone(&met);
    let (at, what, lasting) = (trial.call + 1, trial.what, trial.lasting);
    let arm = |sim: &Sim, seen: &Seen| {
        let (inner, layout, seen) = (sim.clone(), layout.clone(), seen.clone());
        let mut n = 0;
        sim.set_hook_reads(true);
        sim.set_hook(Some(Box::new(move |info: &CallInfo<'_>, _: &DiskState| {
            n += 1;
            let site = Site::of(&layout, seen.phase(), info);
            let mut verdict = Verdict::Continue;
            let before = *lock(&first);
            if n == at {
                *lock(&first) = Some(site);
                if lasting && what == What::Full {
                    fill(&inner);
                } else {
                    verdict = what
                        .verdict(info.offset, info.len)
                        .unwrap_or(Verdict::Continue);
                }
            } else if let (Some(first), true) = (before, lasting && what != What::Full)
                && again(first, what, info)
            {
                verdict = what
                    .verdict(info.offset, info.len)
                    .unwrap_or(Verdict::Continue);
            }
            let data = !info.kind.looks() && site.role != Role::Lock;
            if n <= at && data && verdict == Verdict::Continue {
                *lock(&sink) = true;
            }
            verdict
        })));
    };
    // Whatever it was is over when it has been met three times.
    let over = |sim: &Sim, failures: usize| {
        if failures == 3 {
            sim.set_quota(None);
            if matches!(what, What::Full | What::Files) {
                sim.set_hook(None);
            }
        }
    };
    let end = life::live(layout, chapter, arm, over)?;
    let response = judge(&end, lasting)?;
    lock(&met).ok_or_else(|| Mismatch::new(Layer::Replay, "no such call was made"))?;
    if response == Response::Refuse && !*lock(&changed) {
        life::same_files(layout, &chapter.image, &end.disk.page_cache()).map_err(|files| {
            Mismatch::new(
                Layer::Oracle,
                format!("a refused open has changed something\n  {files}"),
            )
        })?;
    }
    let killed = end.disk.restart();
    life::recovers(layout, &killed, &end.admitted).map_err(|m| {
        Mismatch::new(
            m.layer,
            format!("{}\n  after the process was killed", m.what),
        )
    })?;
    let image = end.disk.crash(&Survival::None);
    life::recovers(layout, &DiskState::from_image(&image), &end.admitted)
        .map_err(|m| Mismatch::new(m.layer, format!("{}\n  after a power cut", m.what)))?;
    Ok(response)
}

/// From now on nothing more fits on the disk.
fn fill(sim: &Sim) {
    sim.set_quota(Some(0));
}

/// Whether a fault that lasts meets this call too, when it began at `first`.
fn again(first: Site, what: What, info: &CallInfo<'_>) -> bool {
    match what {
        What::Files => matches!(
            info.kind,
            CallKind::Open | CallKind::Create | CallKind::List
        ),
        What::Eio if first.operation.looks() => info.kind == first.operation,
        _ => !info.kind.looks(),
    }
}

/// What came of it, by what the units answered.
fn judge(end: &End, lasting: bool) -> Result<Response, Mismatch> {
    let mut failed: Vec<&(&str, Phase, Result<(), afterimage::Error>)> =
        end.answers.iter().filter(|(_, _, a)| a.is_err()).collect();
    // What a table's absence prevents is no failure of its own.
    let needs =
        |a: &Result<(), afterimage::Error>| matches!(a, Err(afterimage::Error::NoSuchTable { .. }));
    failed.retain(|(_, _, a)| !needs(a));
    let Some((name, phase, _)) = failed.first() else {
        return match end.stopped {
            true => Err(Mismatch::new(
                Layer::Model,
                "it has stopped and told nobody",
            )),
            false => Ok(Response::Unseen),
        };
    };
    if phase.opens() {
        return Ok(Response::Refuse);
    }
    let has_stopped = |e: &afterimage::Error| {
        use afterimage::Error::{LogFailed, OutcomeUnknown};
        matches!(e, LogFailed { .. } | OutcomeUnknown { .. })
    };
    let stopped = failed
        .iter()
        .any(|(_, _, a)| a.as_ref().is_err_and(has_stopped));
    if end.stopped || stopped || *phase == Phase::Close {
        let says =
            |(_, _, a): &(_, _, Result<(), afterimage::Error>)| a.as_ref().is_err_and(has_stopped);
        let first = end
            .answers
            .iter()
            .position(says)
            .unwrap_or(end.answers.len());
        if let Some((later, ..)) = end.answers[first..].iter().find(|(_, _, a)| a.is_ok()) {
            return Err(Mismatch::new(
                Layer::Model,
                format!("{name} failed, the engine has stopped, and {later} went well"),
            ));
        }
        return Ok(Response::Stop);
    }
    // A sync of the log's directory that failed is not tried again: there are no new segments until the next open.
    let no_segments = |(_, _, a): &&(&str, Phase, Result<(), afterimage::Error>)| {
        let told = a.as_ref().err().map(ToString::to_string);
        told.is_some_and(|e| e.contains("sync directory"))
    };
    if failed.len() > 1 && failed.iter().all(no_segments) {
        return Ok(Response::Degrade);
    }
    if !lasting && failed.len() > 1 {
        let list: Vec<String> = failed
            .iter()
            .map(|(n, _, a)| format!("{n}: {a:?}"))
            .collect();
        return Err(Mismatch::new(
            Layer::Model,
            format!(
                "one call failed once, and more than one thing: {}",
                list.join("; ")
            ),
        ));
    }
    Ok(Response::Abort)
}
