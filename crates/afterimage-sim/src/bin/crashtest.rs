//! `crashtest`: crashes the real engine in the simulated world until something breaks or the time is up.

use afterimage_sim::engine::Engine;
use afterimage_sim::exhaustive::{self, Config};
use afterimage_sim::failure::{Failure, Gathered, Layer, Mismatch};
use afterimage_sim::kinds::Kinds;
use afterimage_sim::oracle::Layout;
use afterimage_sim::random::found;
use afterimage_sim::reach::Reach;
use afterimage_sim::{corruption, matrix, planted, random};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const HELP: &str = "\
crashtest: crashes the engine in a simulated world, at every I/O call, and checks what recovery makes of it

    crashtest ci [--seconds N]            fixed seeds, the exhaustive driver, corruption: N seconds of it (default 60)
    crashtest long --minutes N [--results FILE]
                                          workloads of up to two operations crashed at every call, and their recoveries at every call; then concurrent
                                          clients. Goes on where the last call that wrote to FILE (default target/sim-results.txt) ended
    crashtest exhaustive [--seconds N] [--longest N] [--deeper-one-in N]
                                          every small workload, every call, every survival
    crashtest random [--seed N] [--seconds S] [--episodes N]
                                          concurrent clients, fresh seeds (or from N on)
    crashtest matrix [--calls N] [--json FILE] [--only TEXT]
                                          each thing that can happen at each site, at N of its calls (default 2)
    crashtest corruption [--seed N] [--stride N]
                                          a changed byte at every N-th position
    crashtest planted [--cap SECONDS] [BUG...]
                                          deliberate bugs, each of which must be caught (needs a build with --cfg planted)
    crashtest killed FILE                 the table of what all layers have killed, as they noted it in FILE (PLANTED_RESULTS)
    crashtest --seed N                    one random episode, exactly as it was
    crashtest --bytes HEX                 one random episode, from choices that were recorded
    crashtest --seconds N                 N seconds of fresh seeds
    crashtest --replay 'WORKLOAD TRAIL'   one crash state of the exhaustive driver

    --workers N                           threads (default: one a core)
    --patience SECONDS                    until something that does not end counts as a failure (default 20)
    --plant BUG                           with this deliberate bug (needs a build with --cfg planted)
    --trace                               every event of every simulated disk on stderr
    --keep-going                          after a failure; each symptom is shown once
    --shrink SECONDS                      how long a failing random episode is made smaller (default 60; 0: not at all)

exit: 0 everything held, 1 something did not, 2 usage";

/// What the person asked for.
#[derive(Default)]
struct Asked {
    command: Option<String>,
    names: Vec<String>,
    seed: Option<u64>,
    seconds: Option<u64>,
    episodes: Option<u64>,
    longest: Option<u64>,
    deeper: Option<u64>,
    stride: Option<u64>,
    minutes: Option<u64>,
    results: Option<String>,
    cap: Option<u64>,
    calls: Option<u64>,
    json: Option<String>,
    only: Option<String>,
    workers: Option<u64>,
    replay: Option<String>,
    bytes: Option<String>,
    shrink: Option<u64>,
    keep_going: bool,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut arguments = arguments.peekable();
    while let Some(word) = arguments.next() {
        let mut number = |slot: &mut Option<u64>| {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{word} needs a number"))?;
            *slot = Some(
                value
                    .parse()
                    .map_err(|_| format!("{word} needs a number, not {value:?}"))?,
            );
            Ok::<(), String>(())
        };
        match word.as_str() {
            "--seed" => number(&mut asked.seed)?,
            "--seconds" => number(&mut asked.seconds)?,
            "--episodes" => number(&mut asked.episodes)?,
            "--longest" => number(&mut asked.longest)?,
            "--deeper-one-in" => number(&mut asked.deeper)?,
            "--stride" => number(&mut asked.stride)?,
            "--minutes" => number(&mut asked.minutes)?,
            "--results" => {
                asked.results = Some(arguments.next().ok_or("--results needs a file")?);
            }
            "--cap" => number(&mut asked.cap)?,
            "--calls" => number(&mut asked.calls)?,
            "--json" => asked.json = Some(arguments.next().ok_or("--json needs a file")?),
            "--only" => asked.only = Some(arguments.next().ok_or("--only needs a text")?),
            "--workers" => number(&mut asked.workers)?,
            "--shrink" => number(&mut asked.shrink)?,
            "--bytes" => asked.bytes = Some(arguments.next().ok_or("--bytes needs digits")?),
            "--replay" => {
                asked.replay = Some(
                    arguments
                        .next()
                        .ok_or("--replay needs a workload and a trail")?,
                )
            }
            "--patience" => {
                let mut seconds = None;
                number(&mut seconds)?;
                afterimage_sim::watchdog::set_patience(seconds.unwrap_or(20));
            }
            "--plant" => {
                let name = arguments.next().ok_or("--plant needs a bug's name")?;
                afterimage_io::planted::plant(planted::named(&[name])?.first().copied());
            }
            "--trace" => afterimage_sim::oracle::TRACE.store(true, Ordering::Relaxed),
            "--keep-going" => asked.keep_going = true,
            "--help" | "-h" => asked.command = Some("help".to_string()),
            other if other.starts_with('-') => return Err(format!("unknown option {other}")),
            other if asked.command.is_none() => asked.command = Some(other.to_string()),
            other => asked.names.push(other.to_string()),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => return usage(&why),
    };
    let outcome = match (asked.command.as_deref(), &asked.replay) {
        (None, Some(replay)) => replay_one(replay),
        (None | Some("long"), None) if asked.minutes.is_some() => return long(&asked),
        (None, None) if asked.bytes.is_some() => one_of_bytes(&asked),
        (None, None) if asked.seed.is_some() || asked.seconds.is_some() => {
            random_runs(&asked).map(told)
        }
        (Some("random"), _) => random_runs(&asked).map(told),
        (Some("ci"), _) => ci(&asked),
        (Some("exhaustive"), _) => {
            exhaustive_run(&asked, asked.seconds.map(Duration::from_secs)).map(told)
        }
        (Some("corruption"), _) => damage(&asked),
        (Some("matrix"), _) => matrix_alone(&asked),
        (Some("planted"), _) => return hunts(&asked),
        (Some("killed"), _) => return killed(&asked),
        (Some("help"), _) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        (Some(other), _) => return usage(&format!("unknown command {other}")),
        (None, None) => return usage("nothing to do"),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{failure}");
            ExitCode::from(1)
        }
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("crashtest: {why}\n\n{HELP}");
    ExitCode::from(2)
}

type Held = Result<(), Box<Failure>>;
/// What was crashed at, redone and undone.
type Covered = Result<Kinds, Box<Failure>>;

fn told(kinds: Kinds) {
    println!("\n{kinds}");
}

fn workers(asked: &Asked) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    asked
        .workers
        .map_or(cores, |w| usize::try_from(w).unwrap_or(1).max(1))
}

fn exhaustive_run(asked: &Asked, limit: Option<Duration>) -> Covered {
    let standard = Config::default();
    let config = Config {
        limit,
        workers: workers(asked),
        longest: asked
            .longest
            .map_or(standard.longest, |n| usize::try_from(n).unwrap_or(3)),
        keep_going: asked.keep_going,
        deeper_one_in: asked.deeper.unwrap_or(standard.deeper_one_in),
        ..standard
    };
    let counts = exhaustive::run::<Engine>(&Layout::small(), &config, &AtomicBool::new(false))?;
    println!("exhaustive\n{counts}");
    Ok(counts.kinds)
}

fn random_from(asked: &Asked, first: u64, count: Option<u64>, limit: Option<Duration>) -> Covered {
    let started = Instant::now();
    let stop = AtomicBool::new(false);
    let mut failures = Gathered::default();
    let tally = random::run_all(first, count, limit, workers(asked), &stop, &mut |failure| {
        stop.store(!asked.keep_going, Ordering::Relaxed);
        failures.add(failure);
    });
    println!(
        "random, seeds from {first} on, {:.1} s\n{tally}",
        started.elapsed().as_secs_f64()
    );
    failures
        .verdict()
        .inspect_err(|f| smaller(asked, f))
        .map(|()| tally.kinds)
}

/// Makes a failing episode small, prints the regression test that it becomes, and puts that where it belongs.
fn smaller(asked: &Asked, failure: &Failure) {
    let limit = asked.shrink.map_or(found::LIMIT, Duration::from_secs);
    let seed = failure.replay.rsplit_once("--seed ");
    let Some(seed) = seed.and_then(|(_, seed)| seed.parse().ok()) else {
        return;
    };
    if limit.is_zero() {
        return;
    }
    println!("{failure}\n");
    let Some(found) = found::from_seed(seed, limit) else {
        println!("it holds when it is run alone: threads, or the time, have a part in it");
        return;
    };
    let (now, tried) = (found.shrunk.strings.len(), found.shrunk.tried);
    let (before, took) = (found.from.1, found.took.as_secs_f64());
    println!("smaller: {now} of {before} bytes of choices are left, {tried} tries, {took:.1} s\n");
    println!("{}", found.test());
    let directory = Path::new("crates/afterimage-sim/tests/found");
    if !afterimage_io::planted::BUILT_IN && directory.is_dir() {
        match found.write(directory) {
            Ok(path) => println!("it is in {}", path.display()),
            Err(e) => println!("it could not be put into {}: {e}", directory.display()),
        }
    }
}

fn one_of_bytes(asked: &Asked) -> Held {
    let hex = asked.bytes.as_deref().unwrap_or_default();
    let tally = found::from_hex(hex).map(|choices| {
        let name = format!("--bytes {hex}");
        random::episode_of(choices, &name)
    });
    let Some(tally) = tally else {
        eprintln!("crashtest: not hexadecimal digits: {hex}");
        std::process::exit(2);
    };
    println!("{}", tally?);
    Ok(())
}

/// One episode for a seed alone; else seeds from there on, or fresh ones.
fn random_runs(asked: &Asked) -> Covered {
    let first = asked.seed.unwrap_or_else(fresh_seed);
    match (asked.episodes, asked.seconds, asked.seed) {
        (Some(n), limit, _) => random_from(asked, first, Some(n), limit.map(Duration::from_secs)),
        (None, Some(limit), _) => random_from(asked, first, None, Some(Duration::from_secs(limit))),
        (None, None, Some(_)) => random_from(asked, first, Some(1), None),
        (None, None, None) => random_from(asked, first, None, Some(Duration::from_secs(60))),
    }
}

/// Each thing that can happen at each site; the table of reach is printed, and written where that was asked for.
fn matrix_run(asked: &Asked) -> Result<Reach, Box<Failure>> {
    let config = matrix::Config {
        calls: asked.calls.map_or(2, |n| usize::try_from(n).unwrap_or(2)),
        workers: workers(asked),
        only: asked.only.clone(),
        keep_going: asked.keep_going,
    };
    let matrix = matrix::run(&config)?;
    println!("{}\n{matrix}", matrix.reach);
    if let Some(file) = &asked.json
        && let Err(e) = std::fs::write(file, matrix.reach.json())
    {
        eprintln!("crashtest: {file}: {e}");
        std::process::exit(2);
    }
    Ok(matrix.reach)
}

/// The matrix alone: complete, unless only a part was asked for.
fn matrix_alone(asked: &Asked) -> Held {
    let missing = matrix_run(asked)?.missing();
    if missing.is_empty() || asked.only.is_some() {
        return Ok(());
    }
    Err(not_covered(&missing, "cargo xtask sim matrix"))
}

fn not_covered(missing: &[String], replay: &str) -> Box<Failure> {
    Box::new(Failure {
        mismatch: Mismatch::new(Layer::Coverage, missing.join("; ")),
        place: "all of it together: the workloads have to be made such that it happens".to_string(),
        replay: replay.to_string(),
    })
}

fn damage(asked: &Asked) -> Held {
    let (counts, failures) = corruption::run(
        asked.seed.unwrap_or(1),
        asked.stride.unwrap_or(11),
        &AtomicBool::new(false),
    );
    println!("{counts}");
    failures.verdict()
}

/// What every change passes: replays, the matrix, the exhaustive driver (two thirds of the time, if it needs it), corruption, fixed seeds, and fresh ones until the time is
/// up.
fn ci(asked: &Asked) -> Held {
    let started = Instant::now();
    let limit = Duration::from_secs(asked.seconds.unwrap_or(60));
    for seed in [11, 12, 13] {
        random::replays(seed)?;
    }
    println!("replay: three episodes run twice have the same trace");
    let reach = matrix_run(asked)?;
    let mut kinds = exhaustive_run(asked, Some(limit * 2 / 3))?;
    damage(&Asked {
        stride: Some(asked.stride.unwrap_or(31)),
        seed: asked.seed,
        ..Asked::default()
    })?;
    let rest = limit.saturating_sub(started.elapsed()).max(limit / 10);
    kinds.add(&random_from(asked, 1, None, Some(rest / 2))?);
    kinds.add(&random_from(asked, fresh_seed(), None, Some(rest / 2))?);
    told(kinds.clone());
    let mut missing = kinds.missing();
    missing.extend(reach.missing());
    match missing.is_empty() {
        true => Ok(()),
        false => Err(not_covered(&missing, "cargo xtask sim ci")),
    }
}

fn fresh_seed() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |d| d.as_nanos() as u64 >> 8)
}

fn replay_one(replay: &str) -> Held {
    let parsed = replay.split_once(' ').unwrap_or((replay, ""));
    let (workload, trail) = match (parsed.0.parse(), parsed.1.trim().parse()) {
        (Ok(workload), Ok(trail)) => (workload, trail),
        (Err(why), _) | (_, Err(why)) => {
            eprintln!("crashtest: {why}");
            std::process::exit(2);
        }
    };
    let story = exhaustive::replay::<Engine>(&Layout::small(), &workload, &trail)?;
    println!("{story}");
    Ok(())
}

fn hunts(asked: &Asked) -> ExitCode {
    if !afterimage_io::planted::BUILT_IN {
        return usage(
            "this build has no planted bugs: build with --cfg planted (cargo xtask planted)",
        );
    }
    let bugs = match planted::named(&asked.names) {
        Ok(bugs) => bugs,
        Err(why) => return usage(&why),
    };
    println!(
        "{:<13} {:<22} {:>7} {:>9}  what it is, and how it showed",
        "bug", "caught by", "states", "time"
    );
    let cap = Duration::from_secs(asked.cap.unwrap_or(60));
    let hunts: Vec<planted::Hunt> = bugs
        .into_iter()
        .map(|bug| planted::hunt(bug, cap, workers(asked)))
        .inspect(|h| println!("{h}"))
        .collect();
    let caught = hunts.iter().filter(|h| h.caught.is_some()).count();
    println!("{caught} of {} caught", hunts.len());
    ExitCode::from(u8::from(caught < hunts.len()))
}

/// Every bug, and who killed it.
fn killed(asked: &Asked) -> ExitCode {
    let [file] = &asked.names[..] else {
        return usage("killed needs the file that the layers noted their kills in");
    };
    match std::fs::read_to_string(file) {
        Ok(noted) => {
            let verdict = planted::Verdict::of(&noted);
            println!("{verdict}");
            if let Err(error) = std::fs::write(file, noted + &verdict.alive_lines()) {
                return usage(&format!("{file}: {error}"));
            }
            ExitCode::from(u8::from(!verdict.alive().is_empty()))
        }
        Err(error) => usage(&format!("{file}: {error}")),
    }
}

/// What earlier calls of `long` did, a line each; the next call goes on from there.
const RESULTS: &str = "target/sim-results.txt";

fn long(asked: &Asked) -> ExitCode {
    let file = asked.results.clone().unwrap_or_else(|| RESULTS.to_string());
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    let limit = Duration::from_secs(60 * asked.minutes.unwrap_or(30));
    match long_run(asked, &Done::read(&before), limit) {
        Ok(lines) => {
            let all = format!("{before}{lines}");
            if let Err(error) = std::fs::write(&file, &all) {
                return usage(&format!("{file}: {error}"));
            }
            println!("\nin all calls so far ({file}): {}", Done::read(&all));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            // So that nobody takes what earlier calls have left for all there is.
            match std::fs::write(&file, before + "failed\n") {
                Ok(()) => ExitCode::from(1),
                Err(error) => usage(&format!("{file}: {error}")),
            }
        }
    }
}

/// Nearly all of the time for the exhaustive driver: workloads of up to two operations, and then as many of three as there is time for. The rest is
/// for fresh episodes.
fn long_run(asked: &Asked, done: &Done, limit: Duration) -> Result<String, Box<Failure>> {
    let started = Instant::now();
    let mut lines = String::new();
    let config = Config {
        limit: Some(limit * 19 / 20),
        workers: workers(asked),
        longest: 3,
        complete_to: 3,
        skip: done.workloads,
        ..Config::default()
    };
    let counts = exhaustive::run::<Engine>(&Layout::small(), &config, &AtomicBool::new(false))?;
    if counts.workloads > 0 || counts.raw > 0 {
        println!(
            "exhaustive, workloads from number {} on\n{counts}",
            done.workloads
        );
        lines += &format!(
            "exhaustive next={} short={} of={} points={} made={} distinct={} verified={} deeper={} seconds={:.0} processor={:.0}\n",
            counts.next,
            counts.short,
            counts.workloads_all,
            counts.crash_points,
            counts.raw,
            counts.distinct,
            counts.verified,
            counts.deeper_verified.iter().sum::<u64>(),
            counts.elapsed.as_secs_f64(),
            counts.processor.as_secs_f64(),
        );
    }
    let rest = limit.saturating_sub(started.elapsed());
    let begun = Instant::now();
    let mut failures = Gathered::default();
    let first = done.next_seed.unwrap_or_else(fresh_seed);
    let stop = AtomicBool::new(false);
    let tally = random::run_all(
        first,
        None,
        Some(rest),
        workers(asked),
        &stop,
        &mut |failure| {
            stop.store(true, Ordering::Relaxed);
            failures.add(failure);
        },
    );
    println!("random, seeds from {first} on\n{tally}");
    failures.verdict()?;
    lines += &format!(
        "random next={} episodes={} crashes={} verified={} seconds={:.0}\n",
        first.wrapping_add(tally.episodes),
        tally.episodes,
        tally.crashes,
        tally.verified,
        begun.elapsed().as_secs_f64(),
    );
    Ok(lines)
}

/// What the lines of the results file come to.
#[derive(Default)]
struct Done {
    workloads: usize,
    workloads_short: usize,
    workloads_all: usize,
    next_seed: Option<u64>,
    made: u64,
    verified: u64,
    deeper: u64,
    episodes: u64,
    recoveries: u64,
    seconds: u64,
}

impl Done {
    fn read(text: &str) -> Done {
        let mut done = Done::default();
        for line in text.lines() {
            let number = |name: &str| -> u64 {
                let mut words = line.split(' ').filter_map(|word| word.split_once('='));
                let found = words.find(|(key, _)| *key == name);
                found.and_then(|(_, n)| n.parse().ok()).unwrap_or(0)
            };
            done.seconds += number("seconds");
            if line.starts_with("exhaustive ") {
                let count = |name| usize::try_from(number(name)).unwrap_or(usize::MAX);
                done.workloads = count("next");
                done.workloads_short = count("short");
                done.workloads_all = count("of");
                done.made += number("made");
                done.verified += number("verified");
                done.deeper += number("deeper");
            } else if line.starts_with("random ") {
                done.next_seed = Some(number("next"));
                done.episodes += number("episodes");
                done.recoveries += number("verified");
            }
        }
        done
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} crash states verified in {} s\n  workloads of up to two operations: {} of {}; of three: {} of {}\n  \
             {} states made, {} distinct ones verified, and {} inside recoveries\n  \
             concurrent clients: {} episodes, {} recovered databases verified",
            self.verified + self.deeper + self.recoveries,
            self.seconds,
            self.workloads.min(self.workloads_short),
            self.workloads_short,
            self.workloads.saturating_sub(self.workloads_short),
            self.workloads_all.saturating_sub(self.workloads_short),
            self.made,
            self.verified,
            self.deeper,
            self.episodes,
            self.recoveries
        )
    }
}
