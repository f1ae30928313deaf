//! `soak`: real files, large data, SIGKILL. A child process changes rows as fast as it can, is killed at random moments, and
//! what recovery finds is compared, row by row, with what the child had been told is durable.
//!
//! `work` is the child, `books` the rows and what is known of them, this file the order of events. The crash simulation is
//! the sharper tool; this one is for sizes that it cannot have: gigabytes of large values, tables ten times the pool.

mod books;
mod work;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use afterimage::{Database, Options};
use afterimage_sim::choices::Choices;
use books::{Books, Heard, Kind};

const HELP: &str = "\
soak: large data on real files, killed again and again, compared row by row with what was acknowledged

    soak values [OPTIONS]     values of 1 KiB to 64 MiB, replaced at random
    soak rows [OPTIONS]       many small rows: reads, updates, deletes, inserts, scans; a snapshot held open meanwhile

    --dir DIR                 where the database is made, new (default: target/soak); removed at the end if all is well
    --bytes N                 values: how much of them (default 1073741824)
    --rows N                  rows: how many (default 10000000)
    --seconds S               how long the child works, all rounds together (default 60; rows: 300)
    --kills K                 how often it is killed (default 5)
    --clients N               concurrent clients (default 4)
    --pool BYTES              buffer pool (default: a tenth of the data)
    --seed N                  repeats the choices of an earlier run

exit: 0 everything held, 1 something did not, 2 usage";

/// What the person asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    kind: Kind,
    dir: PathBuf,
    bytes: u64,
    rows: u64,
    seconds: u64,
    kills: u64,
    clients: u64,
    pool: u64,
    seed: u64,
    /// In the child: which life this is, from 1.
    round: u64,
}

impl Asked {
    fn parse(words: &[String]) -> Result<Asked, String> {
        let mut words = words.iter();
        let kind = match words.next().map(String::as_str) {
            Some("values") => Kind::Values,
            Some("rows") => Kind::Rows,
            Some(other) => return Err(format!("`{other}` is neither `values` nor `rows`")),
            None => return Err("`values` or `rows`?".to_string()),
        };
        let mut asked = Asked {
            kind,
            dir: PathBuf::from("target/soak"),
            bytes: 1 << 30,
            rows: 10_000_000,
            seconds: if kind == Kind::Values { 60 } else { 300 },
            kills: 5,
            clients: 4,
            pool: 0,
            seed: u64::from(std::process::id()),
            round: 0,
        };
        while let Some(word) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| format!("{word} needs a value"))?;
            let number = value
                .parse()
                .map_err(|_| format!("{word} needs a whole number"));
            match word.as_str() {
                "--dir" => asked.dir = PathBuf::from(value),
                "--bytes" => asked.bytes = number?,
                "--rows" => asked.rows = number?,
                "--seconds" => asked.seconds = number?,
                "--kills" => asked.kills = number?,
                "--clients" => asked.clients = number?,
                "--pool" => asked.pool = number?,
                "--seed" => asked.seed = number?,
                "--round" => asked.round = number?,
                other => return Err(format!("there is no `{other}`")),
            }
        }
        if asked.clients == 0 || asked.bytes < 1 << 20 || asked.rows < 1000 {
            return Err("at least one client, 1 MiB, 1,000 rows".to_string());
        }
        if asked.pool == 0 {
            let data = match kind {
                Kind::Values => asked.bytes,
                Kind::Rows => asked.rows * books::ROW_BYTES,
            };
            asked.pool = (data / 10).max(1 << 20);
        }
        Ok(asked)
    }

    /// The same for the child, as words.
    fn for_child(&self, round: u64) -> Vec<String> {
        let kind = if self.kind == Kind::Values {
            "values"
        } else {
            "rows"
        };
        let mut words = vec!["child".to_string(), kind.to_string()];
        words.extend(["--dir".to_string(), self.dir.display().to_string()]);
        for (name, value) in [
            ("--bytes", self.bytes),
            ("--rows", self.rows),
            ("--clients", self.clients),
            ("--pool", self.pool),
            ("--seed", self.seed),
            ("--round", round),
        ] {
            words.extend([name.to_string(), value.to_string()]);
        }
        words
    }

    fn database(&self) -> PathBuf {
        self.dir.join("db")
    }

    fn options(&self) -> Options {
        Options::new().buffer_pool_size(self.pool)
    }

    fn keys(&self) -> u64 {
        match self.kind {
            Kind::Values => books::value_count(self.seed, self.bytes),
            Kind::Rows => self.rows,
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (is_child, words) = match words.split_first() {
        Some((first, rest)) if first == "child" => (true, rest),
        _ => (false, &words[..]),
    };
    if words
        .first()
        .is_none_or(|word| word == "help" || word == "--help")
    {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let asked = match Asked::parse(words) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("soak: {wrong}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let ended = if is_child {
        work::run(&asked)
    } else {
        soak(&asked)
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("soak: {wrong}");
            ExitCode::from(1)
        }
    }
}

/// Kills and compares, until the time is up or something is wrong.
fn soak(asked: &Asked) -> Result<(), String> {
    if asked.dir.exists() {
        let dir = asked.dir.display();
        return Err(format!(
            "{dir} is there already: give another --dir, or remove it"
        ));
    }
    fs::create_dir_all(&asked.dir).map_err(|e| e.to_string())?;
    let mut books = Books::new(asked.kind, asked.keys());
    println!(
        "seed {}, {} keys, pool {} MiB",
        asked.seed,
        asked.keys(),
        asked.pool >> 20
    );
    let start = Instant::now();
    let (_, heard) = live(asked, 0, None)?;
    books.learn(&heard);
    println!(
        "filled in {:.1} s: pages file {} MiB, most memory {} MiB",
        start.elapsed().as_secs_f64(),
        pages_bytes(asked) >> 20,
        heard.memory >> 20
    );
    let mut choices = Choices::new(asked.seed);
    let mean = Duration::from_secs(asked.seconds) / (asked.kills as u32 + 1);
    for round in 1..=asked.kills + 1 {
        let length = mean.mul_f64(0.5 + choices.below(1000) as f64 / 1000.0);
        let is_last = round > asked.kills;
        let (worked, heard) = live(asked, round, (!is_last).then_some(length))?;
        books.learn(&heard);
        let opening = Instant::now();
        let db = open(asked)?;
        let opened = opening.elapsed();
        let found = books.compare(&db, &heard)?;
        verify(&db)?;
        db.close().map_err(|e| e.to_string())?;
        println!(
            "round {round}: {} after {:.1} s; {} changes, {} reads, {} scans; recovered in {:.2} s, {}; pages file {} MiB, live data {} MiB; most memory {} MiB; log at most {} MiB of {}; {}",
            if is_last { "closed" } else { "killed" },
            worked.as_secs_f64(),
            heard.changes,
            heard.reads,
            heard.scans,
            opened.as_secs_f64(),
            found.told(),
            pages_bytes(asked) >> 20,
            found.live >> 20,
            heard.memory >> 20,
            heard.log >> 20,
            heard.log_bound >> 20,
            heard.snapshot(),
        );
        found.judge(asked, pages_bytes(asked))?;
    }
    fs::remove_dir_all(&asked.dir).map_err(|e| e.to_string())?;
    println!("ok: nothing lost, nothing half there, nothing leaked");
    Ok(())
}

/// One life of the child. Killed after `length`; without, it ends by itself: when all is filled, or after the mean length.
fn live(asked: &Asked, round: u64, length: Option<Duration>) -> Result<(Duration, Heard), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut child = Command::new(program)
        .args(asked.for_child(round))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("the child cannot be started: {e}"))?;
    let stdout = child.stdout.take().ok_or("no pipe")?;
    let (announce, ready) = std::sync::mpsc::channel();
    let clients = asked.clients;
    let listener = thread::spawn(move || {
        let mut heard = Heard::new(clients);
        let mut announce = Some(announce);
        let mut stdout = BufReader::with_capacity(1 << 16, stdout);
        let mut line = Vec::new();
        loop {
            line.clear();
            match stdout.read_until(b'\n', &mut line) {
                // A line without its end was never finished, and does not count.
                Ok(_) if line.ends_with(b"\n") => heard.line(&line[..line.len() - 1]),
                _ => return heard,
            }
            if heard.ready
                && let Some(announce) = announce.take()
            {
                let _ = announce.send(());
            }
        }
    });
    // It opens what a kill has left: that takes as long as it takes.
    let _ = ready.recv();
    let start = Instant::now();
    match length {
        Some(length) => {
            thread::sleep(length);
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("the child ended by itself: {status}"));
            }
            child.kill().map_err(|e| e.to_string())?;
            let _ = child.wait();
        }
        None => end_in_order(asked, round, &mut child)?,
    }
    let worked = start.elapsed();
    let heard = listener.join().map_err(|_| "the listener panicked")?;
    match &heard.wrong {
        Some(wrong) => Err(wrong.clone()),
        None => Ok((worked, heard)),
    }
}

fn end_in_order(asked: &Asked, round: u64, child: &mut Child) -> Result<(), String> {
    if round > 0 {
        thread::sleep(Duration::from_secs(asked.seconds) / (asked.kills as u32 + 1));
        drop(child.stdin.take());
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.success() {
        return Ok(());
    }
    Err(format!("the child failed: {status}"))
}

fn open(asked: &Asked) -> Result<Database, String> {
    asked
        .options()
        .open(asked.database())
        .map_err(|e| format!("the database does not open after the kill: {e}"))
}

/// Every page, every tree, and that every page in use can be reached.
fn verify(db: &Database) -> Result<(), String> {
    let report = db.verify().map_err(|e| e.to_string())?;
    match report.findings.first() {
        None => Ok(()),
        Some(first) => {
            let count = report.findings.len();
            Err(format!("verify has {count} findings; the first: {first:?}"))
        }
    }
}

fn pages_bytes(asked: &Asked) -> u64 {
    size_of_file(&asked.database().join("pages"))
}

fn size_of_file(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}
