//! `afterimage demo`: the main promise in one command. A bank runs in a child process, is killed with SIGKILL at
//! random moments, is recovered, and its books are audited against what its clients were told.
//!
//! `bank` is what the books look like, `child` the process that is killed, `process` its handle here, `audit` the
//! judge, `story` what the person reads. This file is the order of events.

mod audit;
mod bank;
pub mod child;
mod process;
mod reader;
pub mod story;

use crate::commands::serve::Page;
use crate::failure::{Exit, Failure};
use crate::open::{self, from_engine};
use crate::out::{Out, Progress};
use crate::rng::Rng;
use crate::scratch::Scratch;
use crate::settings::Settings;
use crate::units;
use audit::Audit;
use process::{Bank, Heard};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use story::Story;

/// How long one client works alone in a hot bank, at most: a fifth of all the time, or this.
const ALONE_MAX: Duration = Duration::from_secs(3);

/// What `demo` takes.
#[derive(clap::Args)]
#[command(after_help = "\
10,000 accounts; each transfer moves money between two of them and inserts a row with its own id, in one
transaction. The bank reports a transfer when its commit has returned. After each kill the database is
recovered and audited: every reported transfer must be there, none half there, and the sum must hold.
The last line is the verdict; the exit code is 0 only if nothing is lost, nothing is half there and the sum is ok.

SIGKILL ends the process, not the machine: what the operating system holds is kept. The command that cuts the
power, in a simulated machine, thousands of times a second, is `cargo xtask sim` in the source tree.

Examples:
  afterimage demo
  afterimage demo --kills 10 --seconds 20 --seed 42
  afterimage demo --hot                     every transfer changes one and the same row
  afterimage demo --readers 4               snapshots are taken meanwhile: in each the sum must hold
  afterimage demo --seconds 300 --http 127.0.0.1:8080       and look on in a browser while it is killed
  afterimage demo --dir bank --kills 1      keeps the database: look with `afterimage scan bank accounts`")]
pub struct Args {
    /// Where the bank keeps its database, new or empty; without it a directory that is removed at the end
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// How long the bank works, in all
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    seconds: f64,
    /// Concurrent clients
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,
    /// How often the bank is killed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(..=10_000))]
    kills: u16,
    /// Threads that look at snapshots meanwhile: the books of each must add up, and what it shows must survive every kill
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=256))]
    readers: u16,
    /// Every transfer also changes the one row of its branch; works with one client first, and compares the rates
    #[arg(long)]
    hot: bool,
    /// Repeats the choices of an earlier run: who pays whom, and when the bank is killed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    #[command(flatten)]
    page: Page,
}

/// Runs the bank, kills it, recovers it, judges it.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let seconds = Duration::try_from_secs_f64(args.seconds)
        .map_err(|_| Failure::usage(format!("--seconds {} is no length of time", args.seconds)))?;
    let seed = args
        .seed
        .unwrap_or_else(|| afterimage_io::Io::os().random() as u64 % 1_000_000_000);
    if let Some(http) = &args.page.http {
        if http.ends_with(":0") {
            return Err(Failure::usage(
                "the bank lives several times, and its page needs one place: name a port",
            ));
        }
        crate::out::note(format!(
            "the page is at http://{http}/ whenever the bank lives"
        ));
    }
    let mut scratch = Scratch::new(args.dir.as_deref(), "afterimage-demo")?;
    let mut demo = Demo {
        args,
        settings,
        seed,
        dir: scratch.path().to_path_buf(),
        heard: Heard::default(),
        audit: Audit::default(),
        rounds: Vec::new(),
        alone: None,
        together: Work::default(),
    };
    let told = demo.play(seconds, &scratch, &mut Story::new(out));
    let is_evidence = match &told {
        Ok(()) => !demo.audit.is_clean(),
        Err(Failure::BrokenPipe) => false,
        Err(_) => true,
    };
    if is_evidence {
        scratch.keep();
        let path = scratch.path().display();
        crate::out::note(format!("the database is kept as evidence: {path}"));
    }
    told?;
    demo.conclude(out)
}

/// A demo on its way.
struct Demo<'a> {
    args: &'a Args,
    settings: &'a Settings,
    seed: u64,
    dir: PathBuf,
    /// Everything that the bank has said so far; the acknowledged transfers sorted.
    heard: Heard,
    audit: Audit,
    /// One JSON object a round.
    rounds: Vec<Value>,
    /// How much of this one client did alone, before the rounds began.
    alone: Option<Work>,
    /// What all clients have done.
    together: Work,
}

/// Transfers, and how long they took.
#[derive(Clone, Copy, Default)]
struct Work {
    transfers: u64,
    time: Duration,
}

impl Work {
    fn a_second(self) -> f64 {
        self.transfers as f64 / self.time.as_secs_f64().max(0.001)
    }
}

impl<'a> Demo<'a> {
    /// All rounds; stops after the first audit that finds something wrong.
    fn play(
        &mut self,
        seconds: Duration,
        scratch: &Scratch,
        story: &mut Story,
    ) -> Result<(), Failure> {
        story.title(self.args, self.seed, seconds, scratch)?;
        let opening = open_bank(&self.dir, self.settings)?;
        story.opening_day(opening)?;
        let mut left = seconds;
        if self.args.hot {
            let alone = (seconds / 5).min(ALONE_MAX);
            left -= alone;
            story.alone()?;
            let one = process::Work {
                clients: 1,
                readers: 0,
                ..self.bank_of(0)
            };
            let alone = self.work(&one, alone, false, story)?;
            self.alone = Some(alone);
            self.reopen(false, story)?;
            if !self.audit.is_clean() {
                return story.moral();
            }
        }
        let lengths = round_lengths(self.seed, left, self.args.kills);
        for (round, &length) in (1..).zip(&lengths) {
            let killed = round <= self.args.kills;
            story.round(round, self.args.kills)?;
            let work = self.work(&self.bank_of(round), length, killed, story)?;
            self.together.transfers += work.transfers;
            self.together.time += work.time;
            self.reopen(killed, story)?;
            if !self.audit.is_clean() {
                break;
            }
        }
        if let Some(alone) = self.alone {
            story.hot(
                self.args.clients,
                alone.a_second(),
                self.together.a_second(),
            )?;
        }
        story.moral()
    }

    /// One life of the bank process.
    fn work(
        &mut self,
        work: &process::Work<'_>,
        length: Duration,
        killed: bool,
        story: &mut Story,
    ) -> Result<Work, Failure> {
        let mut bank = Bank::open(&self.dir, work)?;
        let pid = bank.pid();
        let start = Instant::now();
        watch(&mut bank, start + length)?;
        let new = if killed { bank.kill()? } else { bank.close()? };
        let worked = start.elapsed();
        let transfers = new.acknowledged.len() as u64;
        story.worked(transfers, worked, killed.then_some(pid))?;
        if work.readers > 0 {
            story.looked_on(work.readers, new.looks)?;
        }
        self.rounds.push(json!({
            "round": work.round,
            "clients": work.clients,
            "readers": work.readers,
            "killed": killed,
            "seconds": worked.as_secs_f64(),
            "acknowledged": transfers,
            "snapshots": new.looks,
        }));
        let heard = &mut self.heard;
        heard.acknowledged.extend(new.acknowledged);
        heard.acknowledged.sort_unstable();
        heard.seen.extend(new.seen);
        heard.seen.sort_unstable();
        heard.seen.dedup();
        heard.looks += new.looks;
        heard.wrong = heard.wrong.take().or(new.wrong);
        Ok(Work {
            transfers,
            time: worked,
        })
    }

    /// The bank of a round, as the person wants it.
    fn bank_of(&self, round: u16) -> process::Work<'a> {
        process::Work {
            round,
            clients: self.args.clients,
            readers: self.args.readers,
            seed: self.seed,
            hot: self.args.hot,
            settings: self.settings,
            page: &self.args.page,
        }
    }

    /// Recovers the database in this process, and audits it.
    fn reopen(&mut self, killed: bool, story: &mut Story) -> Result<(), Failure> {
        let start = Instant::now();
        let db = open::for_writing(&self.dir, self.settings)?;
        let took = start.elapsed();
        let report = db.recovery_report().clone();
        story.recovery(&report, took, killed)?;
        self.audit = audit::audit(&db, &self.dir, &self.heard, self.args.hot)?;
        story.audit(&self.audit)?;
        db.close().map_err(|e| from_engine(e, &self.dir))?;
        if let Some(Value::Object(round)) = self.rounds.last_mut() {
            round.insert("open_seconds".to_string(), json!(took.as_secs_f64()));
            round.insert("recovery".to_string(), story::report_json(&report));
            round.insert("recovered".to_string(), json!(self.audit.recovered));
            round.insert("lost".to_string(), json!(self.audit.lost));
            round.insert("half".to_string(), json!(self.audit.half));
        }
        Ok(())
    }

    /// The verdict: the last line, and the exit code.
    fn conclude(self, out: &mut Out) -> Result<(), Failure> {
        let audit = &self.audit;
        let sum = if audit.sum_ok() { "ok" } else { "wrong" };
        let looks = match self.args.readers {
            0 => String::new(),
            _ => format!(" snapshots={} taken-back={}", audit.looks, audit.unseen),
        };
        let verdict = format!(
            "kills={} acknowledged={} recovered={} lost={} half={} sum={sum}{looks}",
            self.rounds
                .iter()
                .filter(|round| round["killed"] == json!(true))
                .count(),
            audit.acknowledged,
            audit.recovered,
            audit.lost,
            audit.half,
        );
        if out.is_json() {
            out.document(&json!({
                "seed": self.seed,
                "clients": self.args.clients,
                "accounts": bank::ACCOUNT_COUNT,
                "rounds": self.rounds,
                "kills": self.args.kills,
                "acknowledged": audit.acknowledged,
                "recovered": audit.recovered,
                "lost": audit.lost,
                "half": audit.half,
                "snapshots": audit.looks,
                "taken_back": audit.unseen,
                "sum": sum,
                "first_wrong": audit.first_wrong,
                "verdict": verdict,
                "hot": self.alone.map(|alone| json!({
                    "one_client_per_second": alone.a_second(),
                    "all_clients_per_second": self.together.a_second(),
                    "times": self.together.a_second() / alone.a_second(),
                })),
            }))?;
        } else {
            out.line(verdict)?;
        }
        if audit.is_clean() {
            Ok(())
        } else {
            Err(Failure::Told(Exit::Data))
        }
    }
}

/// Opening day: the accounts, in one transaction a thousand. Gives the time it took.
fn open_bank(dir: &Path, settings: &Settings) -> Result<Duration, Failure> {
    let told = |e| from_engine(e, dir);
    let start = Instant::now();
    let db = open::or_create(dir, settings)?;
    let accounts = db.table(bank::ACCOUNTS).map_err(told)?;
    db.table(bank::TRANSFERS).map_err(told)?;
    let opening = bank::balance_value(bank::OPENING_BALANCE);
    for first in (0..bank::ACCOUNT_COUNT).step_by(1000) {
        let batch = first..(first + 1000).min(bank::ACCOUNT_COUNT);
        db.transact(|tx| {
            batch
                .clone()
                .try_for_each(|account| tx.put(&accounts, &bank::account_key(account), &opening))
        })
        .map_err(told)?;
    }
    db.close().map_err(told)?;
    Ok(start.elapsed())
}

/// Lets the bank work until `end`, watching that it lives.
fn watch(bank: &mut Bank, end: Instant) -> Result<(), Failure> {
    let mut progress = Progress::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        progress.show(|| format!("  {} transfers acknowledged", units::count(bank.heard())));
        thread::sleep(left.min(Duration::from_millis(20)));
        bank.check_alive()?;
    }
}

/// Cuts the working time at seeded random moments: a round before each kill, and one more that ends in good order.
fn round_lengths(seed: u64, seconds: Duration, kills: u16) -> Vec<Duration> {
    let mut rng = Rng::for_stream(seed, u64::MAX);
    let weights: Vec<f64> = (0..=kills).map(|_| 0.4 + 1.2 * rng.fraction()).collect();
    let total: f64 = weights.iter().sum();
    weights
        .iter()
        .map(|weight| seconds.mul_f64(weight / total))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_fill_the_time_and_repeat_with_their_seed() {
        let lengths = round_lengths(7, Duration::from_secs(10), 3);
        assert_eq!(lengths.len(), 4);
        assert_eq!(lengths, round_lengths(7, Duration::from_secs(10), 3));
        assert_ne!(lengths, round_lengths(8, Duration::from_secs(10), 3));
        let total: Duration = lengths.iter().sum();
        assert!(total.abs_diff(Duration::from_secs(10)) < Duration::from_millis(1));
    }
}
