//! What measuring costs: the same work by two builds of the engine, one that counts and has spans, one that does neither, in turns of some
//! tens of milliseconds, so that whatever else the machine does meets both.

use crate::run::{Failed, Outcome, Program, target_dir};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What is done, by the example's names.
const WORKS: [&str; 4] = ["get", "put", "transaction of 3", "durable transaction of 3"];
/// Turns of each, unless told.
const TURNS: usize = 300;

/// Builds both, runs them in turns, and tells the difference.
///
/// # Errors
///
/// `Usage`; `Check` when one of them cannot be built or ends.
pub fn command(root: &Path, arguments: &[String]) -> Outcome {
    let turns = match arguments {
        [] => TURNS,
        [word, turns] if word == "--turns" => turns
            .parse()
            .map_err(|_| Failed::Usage(format!("--turns {turns}: a number is wanted")))?,
        _ => {
            let words = arguments.join(" ");
            return Err(Failed::Usage(format!("`cost` takes no `{words}`")));
        }
    };
    const BUILD: &str = "build --quiet --release -p afterimage --example cost";
    Program::cargo(BUILD).run(root)?;
    let without = Program::cargo(BUILD).words(["--features", "tracing/release_max_level_off"]);
    without
        .rust_flags(root, "--cfg unmeasured", "unmeasured")
        .run(root)?;
    let target = target_dir(root);
    let example = |target: &Path| target.join("release/examples/cost");
    let mut with = Side::start(&example(&target), target.join("cost-with"))?;
    let mut without = Side::start(
        &example(&target.join("unmeasured")),
        target.join("cost-without"),
    )?;
    println!("\n{turns} turns of each; half of them are between the quarters\n");
    println!(
        "{:<26}{:>10}{:>10}{:>10}   quarters",
        "", "without", "with", "cost"
    );
    for work in WORKS {
        let mut pairs = Vec::new();
        for turn in 0..turns {
            let pair = match turn % 2 {
                0 => (with.batch(work)?, without.batch(work)?),
                _ => {
                    let first = without.batch(work)?;
                    (with.batch(work)?, first)
                }
            };
            pairs.push(pair);
        }
        let middle = |mut all: Vec<f64>, part: usize| {
            all.sort_by(f64::total_cmp);
            all[(all.len() - 1) * part / 4]
        };
        let costs = || {
            let cost = |(with, without): &(f64, f64)| (with / without - 1.0) * 100.0;
            pairs.iter().map(cost).collect::<Vec<f64>>()
        };
        println!(
            "{work:<26}{:>7.0} ns{:>7.0} ns{:>8.1} %   {:.1} to {:.1} %",
            middle(pairs.iter().map(|pair| pair.1).collect(), 2),
            middle(pairs.iter().map(|pair| pair.0).collect(), 2),
            middle(costs(), 2),
            middle(costs(), 1),
            middle(costs(), 3),
        );
    }
    Ok(())
}

/// One build at work. Ends with its directory when it is dropped.
struct Side {
    child: Child,
    ask: ChildStdin,
    hear: BufReader<ChildStdout>,
    directory: PathBuf,
}

impl Side {
    fn start(program: &Path, directory: PathBuf) -> Result<Side, Failed> {
        let told = |error: std::io::Error| Failed::Check(format!("{}: {error}", program.display()));
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(told)?;
        }
        println!("$ {} {}", program.display(), directory.display());
        let mut child = Command::new(program)
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(told)?;
        let (Some(ask), Some(hear)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failed::Check("a child without pipes".to_owned()));
        };
        let mut side = Side {
            child,
            ask,
            hear: BufReader::new(hear),
            directory,
        };
        side.line()?;
        Ok(side)
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        match self.hear.read_line(&mut line) {
            Ok(read) if read > 0 => Ok(line.trim().to_owned()),
            _ => Err(Failed::Check("one of the two has ended".to_owned())),
        }
    }

    /// Nanoseconds of one operation.
    fn batch(&mut self, work: &str) -> Result<f64, Failed> {
        let told = |error| Failed::Check(format!("one of the two has ended: {error}"));
        writeln!(self.ask, "{work}").map_err(told)?;
        let line = self.line()?;
        line.parse()
            .map_err(|_| Failed::Check(format!("`{line}` is no number")))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // Whatever goes wrong here leaves a directory in `target`.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
