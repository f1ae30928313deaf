//! `check-history`: histories of the real engine, checked for every anomaly that no serializable database shows.
//!
//! It works in chunks. Each is the history of one database from its birth to its last reading, made in the simulated world or
//! by a process that is killed again and again; its line is written to a file, so that the next call goes on behind it.

use afterimage_io::planted::{self, Bug};
use afterimage_sim::isolation::history::History;
use afterimage_sim::isolation::killed::{self, Orders};
use afterimage_sim::isolation::{self, Report, simulated};
use afterimage_sim::planted::Kill;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const HELP: &str = "\
check-history: what concurrent clients were told, across kills and crashes, checked for isolation anomalies

    check-history [--transactions N] [--seconds S] [--dir DIR]
                                until N transactions (1000000) have been checked, S seconds (600) at most; goes on where the last
                                call with this DIR (target/check-history) ended
                                (remove DIR to begin anew)
    check-history --quick       some 15 seconds, by themselves
    check-history --seed N      one simulated history, exactly as it was
    check-history weakened      isolation broken on purpose, and what is found (needs a build with --cfg planted)

    --plant BUG                 with this deliberate bug (needs a build with --cfg planted)

exit: 0 no anomaly, 1 an anomaly or a failure, 2 usage";

/// Transactions in one chunk.
const KILLED: u64 = 20_000;
const SIMULATED: u64 = 5_000;
/// Chunks made by killed processes for each one made in the simulated world.
const RATIO: u64 = 3;
/// A process lives for so many transactions, about.
const LIFE: u64 = 4_000;
/// Clients of a process.
const CLIENTS: u32 = 16;

/// What has to be found when isolation is broken so; more may be.
const WEAKENED: [(Bug, &[&str]); 10] = [
    (Bug::ReadNotLocked, &["G1a", "G1b", "G1c", "G-single"]),
    (
        Bug::ReadLockMomentary,
        &["lost update", "G-single", "G2-item", "long fork"],
    ),
    (Bug::ScanNotLocked, &["G1a", "G-single"]),
    (Bug::ScanGapsNotLocked, &["G2"]),
    (Bug::LocksBeforeCommitRecord, &["G2-realtime"]),
    (Bug::AnswerNotVouchedFor, &["G-single-realtime"]),
    (Bug::SnapshotNotDurable, &["G2-realtime"]),
    (Bug::StampedLate, &["internal", "G-single"]),
    (Bug::VersionsGone, &["internal", "G-single"]),
    (Bug::TakenBackTooEarly, &["G1a"]),
];
/// So many chunks are made, in turn of each kind, until all of it was found.
const HUNTED: u64 = 80;

struct Asked {
    transactions: u64,
    seconds: u64,
    dir: PathBuf,
    quick: bool,
    seed: Option<u64>,
    weakened: bool,
}

fn parse(words: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        transactions: 1_000_000,
        seconds: 600,
        dir: PathBuf::from("target/check-history"),
        quick: false,
        seed: None,
        weakened: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: &String| {
            text.parse::<u64>()
                .map_err(|_| format!("{text:?} is no number"))
        };
        match word.as_str() {
            "--transactions" => asked.transactions = number(next()?)?,
            "--seconds" => asked.seconds = number(next()?)?,
            "--seed" => asked.seed = Some(number(next()?)?),
            "--dir" => asked.dir = next()?.into(),
            "--quick" => asked.quick = true,
            "--plant" => {
                let name = next()?;
                let bug = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
                planted::plant(Some(bug.ok_or_else(|| format!("no such bug: {name}"))?));
            }
            "weakened" => asked.weakened = true,
            other => return Err(format!("unknown: {other}")),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.first().map(String::as_str) {
        Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some("serve") => serve(&words[1..]),
        _ => match parse(&words) {
            Err(why) => {
                eprintln!("check-history: {why}\n\n{HELP}");
                return ExitCode::from(2);
            }
            Ok(asked) if asked.weakened => weakened(&asked.dir),
            Ok(asked) => match asked.seed {
                Some(seed) => one(seed),
                None => run(&asked),
            },
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// What a process that will be killed does: `serve DIR ORDERS... [BUG]`.
fn serve(words: &[String]) -> Result<(), String> {
    let orders = words
        .get(1..)
        .and_then(Orders::parse)
        .ok_or("serve DIR ORDERS")?;
    if let Some(name) = words.get(6) {
        planted::plant(Bug::ALL.iter().copied().find(|bug| bug.name() == name));
    }
    killed::serve(Path::new(&words[0]), orders)
}

fn one(seed: u64) -> Result<(), String> {
    let began = Instant::now();
    let (history, crashes) = simulated::history(seed, SIMULATED)?;
    let report = isolation::check(&history);
    println!(
        "{}",
        line("simulated", seed, crashes, &report, began.elapsed())
    );
    tell(&report)
}

/// Chunk after chunk.
fn run(asked: &Asked) -> Result<(), String> {
    let told = |e: std::io::Error| format!("{}: {e}", asked.dir.display());
    std::fs::create_dir_all(&asked.dir).map_err(told)?;
    let results = asked
        .dir
        .join(if asked.quick { "quick" } else { "results" });
    if asked.quick {
        let _ = std::fs::remove_file(&results);
    }
    let text = std::fs::read_to_string(&results).unwrap_or_default();
    let (mut chunks, mut done) = (
        text.lines().count() as u64,
        text.lines().map(checked).sum::<u64>(),
    );
    let (seconds, most) = if asked.quick {
        (12, u64::MAX)
    } else {
        (asked.seconds, asked.transactions)
    };
    if chunks > 0 {
        println!("{done} transactions in {chunks} chunks were checked before");
    }
    let begun = Instant::now();
    while done < most && begun.elapsed() < Duration::from_secs(seconds) {
        let began = Instant::now();
        let chunk = chunk(asked, chunks)?;
        let report = isolation::check(&chunk.history);
        let line = line(
            chunk.world,
            chunk.seed,
            chunk.kills,
            &report,
            began.elapsed(),
        );
        println!("{line}");
        if let Err(what) = tell(&report) {
            // A history of real threads does not come again: what was found stays.
            let kept = asked.dir.join(format!("anomalies-{chunks}"));
            std::fs::write(&kept, evidence(&report)).map_err(told)?;
            return Err(format!("{what}\nall of it: {}", kept.display()));
        }
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&results)
            .map_err(told)?;
        writeln!(file, "{line}").map_err(told)?;
        chunks += 1;
        done += checked(&line);
    }
    println!(
        "{done} transactions checked in {chunks} chunks, no anomaly; this call took {} s; {}",
        begun.elapsed().as_secs(),
        results.display()
    );
    Ok(())
}

struct Chunk {
    world: &'static str,
    seed: u64,
    kills: u64,
    history: History,
}

fn chunk(asked: &Asked, number: u64) -> Result<Chunk, String> {
    if number.is_multiple_of(RATIO + 1) {
        let (history, kills) = simulated::history(number, SIMULATED)?;
        return Ok(Chunk {
            world: "simulated",
            seed: number,
            kills,
            history,
        });
    }
    let transactions = if asked.quick { KILLED / 4 } else { KILLED };
    let (history, kills) = kill(&asked.dir, number, transactions, None)?;
    Ok(Chunk {
        world: "killed",
        seed: number,
        kills,
        history,
    })
}

/// A history made by processes that are killed.
fn kill(
    dir: &Path,
    seed: u64,
    transactions: u64,
    bug: Option<Bug>,
) -> Result<(History, u64), String> {
    let directory = dir.join(format!("database-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let orders = Orders {
        seed,
        clock: 0,
        next: 0,
        transactions,
        clients: CLIENTS,
    };
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let history = killed::history(&directory, orders, LIFE, |orders| {
        let mut command = Command::new(&own);
        command.arg("serve").arg(&directory).args(orders.words());
        command.args(bug.map(Bug::name));
        command
    });
    let _ = std::fs::remove_dir_all(&directory);
    history
}

fn line(world: &str, seed: u64, kills: u64, report: &Report, took: Duration) -> String {
    format!(
        "{world} seed {seed}: {} committed, {} aborted, {} unknown, {kills} crashes, {} dependencies, {} anomalies, {:.1} s",
        report.committed,
        report.aborted,
        report.unknown,
        report.edges,
        report.findings.len(),
        took.as_secs_f64()
    )
}

/// How many transactions a line of the results tells of: those that have committed, and those that have not.
fn checked(line: &str) -> u64 {
    let words: Vec<&str> = line.split_whitespace().collect();
    let before = |name: &str| {
        words
            .iter()
            .position(|word| word.trim_end_matches(',') == name)
    };
    let number =
        |name| before(name).and_then(|at| words.get(at.checked_sub(1)?)?.parse::<u64>().ok());
    ["committed", "aborted", "unknown"]
        .into_iter()
        .filter_map(number)
        .sum()
}

fn evidence(report: &Report) -> String {
    let all: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    all.join("\n")
}

fn tell(report: &Report) -> Result<(), String> {
    if report.findings.is_empty() {
        return Ok(());
    }
    let findings: Vec<String> = report
        .findings
        .iter()
        .take(10)
        .map(ToString::to_string)
        .collect();
    Err(format!(
        "{} anomalies\n{}",
        report.findings.len(),
        findings.join("\n")
    ))
}

/// Isolation broken on purpose, in each way that is built in.
fn weakened(dir: &Path) -> Result<(), String> {
    if !planted::BUILT_IN {
        return Err("this build has no planted bugs: RUSTFLAGS=\"--cfg planted\"".into());
    }
    std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut escaped = Vec::new();
    for (bug, wanted) in WEAKENED {
        planted::plant(Some(bug));
        let began = Instant::now();
        let (mut found, mut transactions) = (BTreeMap::<String, u64>::new(), 0);
        let missing =
            |found: &BTreeMap<String, u64>| wanted.iter().any(|name| !found.contains_key(*name));
        for number in 0..HUNTED {
            if !missing(&found) {
                break;
            }
            let made = std::panic::catch_unwind(|| {
                if number.is_multiple_of(2) {
                    return simulated::history(number, SIMULATED);
                }
                kill(dir, number, KILLED / 4, Some(bug))
            });
            let made = made.unwrap_or_else(|_| Err("a panic".into()));
            match made {
                Ok((history, _)) => {
                    let report = isolation::check(&history);
                    transactions += report.committed + report.aborted + report.unknown;
                    for finding in report.findings {
                        *found.entry(finding.title()).or_default() += 1;
                    }
                }
                Err(what) => {
                    let first = what.lines().next().unwrap_or_default();
                    *found
                        .entry(format!(
                            "failure: {}",
                            first.chars().take(60).collect::<String>()
                        ))
                        .or_default() += 1;
                }
            }
        }
        planted::plant(None);
        let list: Vec<String> = found
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!(
            "{:<18} {transactions:>7} transactions: {}",
            bug.name(),
            list.join(", ")
        );
        if !missing(&found) {
            let kill = Kill {
                bug: bug.name().to_string(),
                layer: format!("histories: {}", wanted.join(", ")),
                states: 0,
                seconds: began.elapsed().as_secs_f64(),
            };
            kill.note();
        } else {
            escaped.push(format!("{}: of {wanted:?} not all were found", bug.name()));
        }
    }
    if escaped.is_empty() {
        println!(
            "each of {} ways to break isolation was found",
            WEAKENED.len()
        );
        return Ok(());
    }
    Err(escaped.join("\n"))
}
