//! `rigs`: Afterimage on real file systems while the power goes, calls fail and processes are killed. `cargo xtask rigs` builds
//! and starts it.
//!
//! This file reads the command line, goes through the rigs, and prints the table. A rig is a file of its own; it works in pieces,
//! each of which is a line in a results file, so that a second call goes on where the first was stopped.

#[cfg(target_os = "linux")]
mod blocks;
mod books;
mod child;
#[cfg(target_os = "linux")]
mod device;
mod dice;
#[cfg(target_os = "linux")]
mod fsyncgate;
#[cfg(target_os = "linux")]
mod fuse;
#[cfg(target_os = "linux")]
mod going_down;
mod host;
mod job;
mod kill;
#[cfg(target_os = "linux")]
mod leftovers;
#[cfg(target_os = "linux")]
mod lossy;
#[cfg(target_os = "linux")]
mod mounts;
mod panics;
#[cfg(target_os = "linux")]
mod quiet;
mod results;
mod rows;
#[cfg(target_os = "linux")]
mod shutdown;
#[cfg(target_os = "linux")]
mod strace;
mod table;
mod work;

use afterimage_io::planted::{self, Bug};
use job::{Job, Rig};
use results::{Piece, Results};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::{Outcome, Row};

const HELP: &str = "\
rigs: Afterimage on real file systems while the power goes, calls fail and processes are killed

    rigs [NAME...] [--quick] [--minutes N] [--fresh] [--json] [--seed N] [--dir DIR] [--work DIR]

    NAME                  only these
    --quick               a look at each, less than ten minutes in all; always from the beginning
    --minutes N           stop after so long (default: 60); the next call goes on from there
    --fresh               forget what earlier calls have done
    --json                the table as JSON
    --plant BUG           with this deliberate bug of the engine, which the rig should find (`cargo xtask rigs` builds it in)
    --seed N              the first piece's seed; by default the next that was not used yet
    --dir DIR             where results and evidence are kept (default: target/rigs)
    --work DIR            where databases, images and mounts are made, and removed (default: DIR/work, and /dev/shm for images)

`cargo xtask rigs` also knows: `--install`, which first installs what the rigs need, and `check`, which looks at their code.

exit: 0 nothing went wrong, 1 something did, 2 usage";

/// A piece of work is about so long.
const PIECE: Duration = Duration::from_secs(15);

/// All rigs, the cheapest first.
const RIGS: &[Rig] = &[
    Rig {
        name: "kill",
        what: "SIGKILL at a random moment",
        unit: "cuts",
        aim: 1000,
        quick: 200,
        lacks: || None,
        run: kill::run,
    },
    #[cfg(target_os = "linux")]
    Rig {
        name: "fuse",
        what: "power cuts and failing calls on a file system that forgets",
        unit: "cuts",
        aim: 50_000,
        quick: 2000,
        lacks: || host::lacks(&[host::ROOT, host::FUSE]),
        run: fuse::run,
    },
    #[cfg(target_os = "linux")]
    Rig {
        name: "shutdown-ext4",
        what: "power cuts under ext4 in an image",
        unit: "cuts",
        aim: 1000,
        quick: 60,
        lacks: || host::lacks(&[host::ROOT, host::LOOP, host::EXT4]),
        run: shutdown::ext4,
    },
    #[cfg(target_os = "linux")]
    Rig {
        name: "shutdown-xfs",
        what: "power cuts under XFS in an image",
        unit: "cuts",
        aim: 1000,
        quick: 60,
        lacks: || host::lacks(&[host::ROOT, host::LOOP, host::XFS]),
        run: shutdown::xfs,
    },
    #[cfg(target_os = "linux")]
    Rig {
        name: "strace",
        what: "every system call of every name fails, or kills; then the power goes",
        unit: "sweeps",
        aim: strace::SWEEPS,
        quick: 24,
        lacks: || host::lacks(&[host::ROOT, host::FUSE, host::STRACE]),
        run: strace::run,
    },
    #[cfg(target_os = "linux")]
    Rig {
        name: "fsyncgate",
        what: "a sync that fails once, and a page cache that lies, on ext4, XFS and btrfs",
        unit: "rounds",
        aim: 300,
        quick: 12,
        lacks: || host::lacks(&[host::ROOT, host::FUSE, host::LOOP, host::EXT4]),
        run: fsyncgate::run,
    },
    #[cfg(target_os = "linux")]
    Rig {
        name: "blocks",
        what: "power cuts between the writes of ext4 to its disk, reordered and torn",
        unit: "cuts",
        aim: 500,
        quick: 40,
        lacks: || host::lacks(&[host::ROOT, host::FUSE, host::LOOP, host::EXT4]),
        run: blocks::run,
    },
];

/// What the person asked for.
struct Asked {
    names: Vec<String>,
    quick: bool,
    minutes: u64,
    fresh: bool,
    json: bool,
    seed: Option<u64>,
    planted: Option<String>,
    dir: PathBuf,
    work: Option<PathBuf>,
}

impl Asked {
    fn work(&self) -> PathBuf {
        let given = self.work.clone();
        given.unwrap_or_else(|| self.dir.join("work"))
    }

    fn images(&self) -> PathBuf {
        let in_memory = PathBuf::from("/dev/shm");
        match &self.work {
            None if in_memory.is_dir() => in_memory.join("afterimage-rigs"),
            _ => self.work(),
        }
    }
}

fn parse(words: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        names: Vec::new(),
        quick: false,
        minutes: 60,
        fresh: false,
        json: false,
        seed: None,
        planted: None,
        dir: PathBuf::from("target/rigs"),
        work: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: &String| {
            text.parse::<u64>()
                .map_err(|_| format!("{text:?} is no number"))
        };
        match word.as_str() {
            "--quick" => asked.quick = true,
            "--fresh" => asked.fresh = true,
            "--plant" => {
                let name = next()?;
                plant(name)?;
                asked.planted = Some(name.clone());
            }
            "--json" => asked.json = true,
            "--minutes" => asked.minutes = number(next()?)?,
            "--seed" => asked.seed = Some(number(next()?)?),
            "--dir" => asked.dir = next()?.into(),
            "--work" => asked.work = Some(next()?.into()),
            name if RIGS.iter().any(|rig| rig.name == name) => asked.names.push(word.clone()),
            other => {
                let known: Vec<&str> = RIGS.iter().map(|rig| rig.name).collect();
                return Err(format!("unknown: {other}; there are {}", known.join(", ")));
            }
        }
    }
    Ok(asked)
}

/// The variable that tells children of a planted bug.
const PLANTED: &str = "RIGS_PLANTED";

/// Switches on a deliberate bug, here and in all children.
fn plant(name: &str) -> Result<(), String> {
    if !planted::BUILT_IN {
        return Err("no bugs are built in: RUSTFLAGS=\"--cfg planted\"".to_owned());
    }
    let bug = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
    planted::plant(Some(bug.ok_or_else(|| format!("no such bug: {name}"))?));
    job::for_children(PLANTED, name);
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Ok(name) = std::env::var(PLANTED)
        && let Err(wrong) = plant(&name)
    {
        eprintln!("rigs: {wrong}");
        return ExitCode::from(2);
    }
    match words.first().map(String::as_str) {
        Some("help" | "--help" | "-h") => {
            println!("{HELP}\n\nThe rigs:");
            for rig in RIGS {
                println!(
                    "    {:<16} {} ({} {})",
                    rig.name, rig.what, rig.aim, rig.unit
                );
            }
            return ExitCode::SUCCESS;
        }
        Some("child") => return ExitCode::from(child::serve(&words[1..])),
        _ => {}
    }
    let asked = match parse(&words) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("rigs: {wrong}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    panics::watch();
    match all(&asked) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("rigs: {wrong}");
            ExitCode::FAILURE
        }
    }
}

/// Goes through the rigs; false if one has failed.
fn all(asked: &Asked) -> Result<bool, String> {
    std::fs::create_dir_all(&asked.dir).map_err(|e| format!("{}: {e}", asked.dir.display()))?;
    #[cfg(target_os = "linux")]
    for place in [asked.work(), asked.images()] {
        leftovers::clean_up(&place);
    }
    let until = Instant::now() + Duration::from_secs(asked.minutes * 60);
    let mut rows = Vec::new();
    for rig in RIGS {
        if asked.names.is_empty() || asked.names.iter().any(|name| name == rig.name) {
            rows.push(one(rig, asked, until)?);
        }
    }
    print!(
        "{}",
        if asked.json {
            table::json(&rows)
        } else {
            table::text(&rows)
        }
    );
    Ok(!rows
        .iter()
        .any(|row| matches!(row.outcome, Outcome::Failed(_))))
}

/// Pieces of one rig's work until its aim is reached, the time is up, or something is wrong.
fn one(rig: &Rig, asked: &Asked, until: Instant) -> Result<Row, String> {
    let aim = if asked.quick { rig.quick } else { rig.aim };
    let planted = asked.planted.as_ref().map(|bug| format!("{bug}-"));
    let file = planted.unwrap_or_else(|| if asked.quick { "quick-" } else { "" }.to_owned());
    let path = asked.dir.join(format!("{file}{}.jsonl", rig.name));
    let row = |outcome: Outcome, results: Option<&Results>| Row {
        name: rig.name,
        outcome,
        unit: rig.unit,
        aim,
        counts: results.map(Results::counts).unwrap_or_default(),
        seconds: results.map_or(0.0, Results::seconds),
    };
    if let Some(lacks) = (rig.lacks)() {
        eprintln!("{}: skipped: {lacks}", rig.name);
        return Ok(row(Outcome::Skipped(lacks), None));
    }
    let anew = asked.fresh || asked.quick || asked.planted.is_some();
    let mut results = Results::open(&path, anew)?;
    loop {
        if let Some(failed) = results.failed() {
            let what = failed.failed.clone().unwrap_or_default();
            return Ok(row(Outcome::Failed(what), Some(&results)));
        }
        let done = results.count(rig.unit);
        if done >= aim {
            return Ok(row(Outcome::Passed, Some(&results)));
        }
        if Instant::now() >= until {
            return Ok(row(Outcome::Unfinished, Some(&results)));
        }
        let seed = asked.seed.unwrap_or(1) + results.pieces.len() as u64;
        piece(rig, asked, &mut results, seed, aim - done, until)?;
        let (done, seconds) = (results.count(rig.unit), results.seconds());
        eprintln!(
            "{}: {done} of {aim} {} in {seconds:.0} s",
            rig.name, rig.unit
        );
    }
}

/// Runs a piece in a thread of its own. What does not come back is a hang: then only the end of the process helps.
fn within(rig: &Rig, job: &Job) -> Result<job::Counts, String> {
    let (send, done) = std::sync::mpsc::channel();
    let (run, theirs) = (rig.run, job.clone());
    std::thread::spawn(move || send.send(run(&theirs)));
    match done.recv_timeout(PIECE + 4 * job::HANG) {
        Ok(done) => done,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => Err(format!(
            "HANG: seed {} did not come back; process {} is left as it is",
            job.seed,
            std::process::id()
        )),
        Err(_) => Err("the rig panicked".into()),
    }
}

fn piece(
    rig: &Rig,
    asked: &Asked,
    results: &mut Results,
    seed: u64,
    wanted: u64,
    until: Instant,
) -> Result<(), String> {
    let place = |within: PathBuf| {
        let dir = within.join(format!("{}-{}", rig.name, std::process::id()));
        let made = std::fs::create_dir_all(&dir).and_then(|()| dir.canonicalize());
        made.map_err(|e| format!("{}: {e}", dir.display()))
    };
    let begun = Instant::now();
    let job = Job {
        dir: place(asked.work())?,
        images: place(asked.images())?,
        seed,
        wanted,
        before: results.counts(),
        until: until.min(begun + PIECE),
        evidence: asked.dir.join("evidence"),
    };
    let done = within(rig, &job);
    let (counts, failed) = match done {
        Ok(counts) => (counts, None),
        Err(wrong) => {
            eprintln!("{}: FAILED: {wrong}", rig.name);
            (job::Counts::new(), Some(wrong))
        }
    };
    // Of a mount that could not be taken down nothing is removed.
    let _ = std::fs::remove_dir_all(&job.dir);
    let _ = std::fs::remove_dir_all(&job.images);
    results.add(Piece {
        seed,
        seconds: begun.elapsed().as_secs_f64(),
        counts,
        failed,
    })
}
