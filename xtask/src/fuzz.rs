//! `cargo xtask fuzz`: runs the programs in `fuzz/` for a given time each and says how many executions that were.
//!
//! cargo-fuzz is installed on first use. It asks the compiler for options that are not stable, so it is told to take them
//! all the same; another toolchain is not needed. The corpus is kept between runs, in the target directory. What makes
//! a target fail is printed by libFuzzer, and stays in `fuzz/artifacts` to be run again.

use crate::run::{Failed, Outcome, Program, target_dir};
use crate::tools;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// The version that is installed where none is found.
const VERSION: &str = "0.13.2";

/// The programs, each of which is named like its target.
pub const TARGETS: [&str; 12] = [
    "frame",
    "header",
    "directory",
    "control",
    "slot",
    "positions",
    "settings",
    "episode",
    "record",
    "page",
    "words",
    "database",
];

/// What the person chose on the command line.
#[derive(Debug, PartialEq, Eq)]
struct Choices {
    seconds: u64,
    only: Option<String>,
}

impl Choices {
    fn parse(arguments: &[String]) -> Result<Choices, Failed> {
        let mut choices = Choices {
            seconds: 60,
            only: None,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let value = rest
                .next()
                .ok_or_else(|| Failed::Usage(format!("{argument} needs a value")))?;
            match argument.as_str() {
                "--seconds" => {
                    choices.seconds = value
                        .parse()
                        .map_err(|_| Failed::Usage("--seconds needs a whole number".into()))?;
                }
                "--only" if TARGETS.contains(&value.as_str()) => choices.only = Some(value.clone()),
                "--only" => {
                    let known = TARGETS.join(", ");
                    return Err(Failed::Usage(format!("--only takes one of {known}")));
                }
                other => return Err(Failed::Usage(format!("`fuzz` takes no `{other}`"))),
            }
        }
        Ok(choices)
    }
}

/// Runs every target, or the one that was asked for.
///
/// # Errors
/// `Usage`; `Check` where cargo-fuzz cannot be had, or a target failed.
pub fn command(root: &Path, arguments: &[String]) -> Outcome {
    let choices = Choices::parse(arguments)?;
    let Some(fuzz) = tools::find(root, "cargo-fuzz", VERSION)? else {
        return Err(Failed::Check(
            "cargo-fuzz is not installed and could not be fetched (offline?)".into(),
        ));
    };
    let target = target_dir(root).join("fuzz");
    let corpus = target.join("corpus").display().to_string();
    let seeds = Program::cargo("run --quiet --release --manifest-path fuzz/Cargo.toml --bin seeds");
    seeds
        .words(["--", &corpus])
        .rust_flags(root, "--cfg fuzzing", "fuzz")
        .run(root)?;
    let mut table = Vec::new();
    for name in TARGETS {
        if choices.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        // Our code has no `unsafe`, so a sanitizer would find nothing and cost half the speed.
        let run = fuzz.clone().words(["run", "--sanitizer", "none"]);
        let run = run.words([name, &format!("{corpus}/{name}"), "--"]);
        let run = run.words([
            &format!("-max_total_time={}", choices.seconds),
            "-print_final_stats=1",
            "-max_len=4200",
            "-timeout=20",
            "-verbosity=0",
        ]);
        let run = run
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", &target.display().to_string());
        let (passed, said) = run.succeeds_and_says(root)?;
        let notes = target.with_file_name("fuzz.txt");
        if !passed {
            note(&notes, &format!("{name} failed"))?;
            eprint!("{said}");
            return Err(Failed::Check(format!("target {name} failed")));
        }
        let row = format!("{name:<10} {:>12} executions", executions(&said));
        println!("{row}");
        table.push(row);
        let line = format!("{name} {} {}", executions(&said), choices.seconds);
        note(&notes, &line)?;
    }
    println!("\n{} seconds each, nothing found:", choices.seconds);
    table.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// A line for the report (`cargo xtask report`).
fn note(path: &Path, line: &str) -> Outcome {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .map_err(|error| Failed::Check(format!("{}: {error}", path.display())))
}

/// What libFuzzer counted.
fn executions(said: &str) -> u64 {
    let of = |line: &str| {
        line.strip_prefix("stat::number_of_executed_units:")?
            .trim()
            .parse()
            .ok()
    };
    said.lines().find_map(of).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Choices, Failed> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Choices::parse(&words)
    }

    #[test]
    fn choices_are_read_and_the_rest_is_refused() {
        let only = Some(String::from("slot"));
        let all = parse("--seconds 7 --only slot").expect("both are legal");
        assert_eq!(all, Choices { seconds: 7, only });
        for wrong in ["--seconds", "--seconds many", "--only pages", "--fast 1"] {
            assert!(matches!(parse(wrong), Err(Failed::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn every_program_is_run() {
        let manifest = include_str!("../../fuzz/Cargo.toml");
        let programs = manifest.matches("path = \"fuzz_targets/").count();
        assert_eq!(programs, TARGETS.len());
        for name in TARGETS {
            assert!(manifest.contains(&format!("\"fuzz_targets/{name}.rs\"")));
        }
    }

    #[test]
    fn executions_are_found_in_what_the_fuzzer_says() {
        let said =
            "INFO: seed\nstat::number_of_executed_units: 4711\nstat::average_exec_per_sec: 1\n";
        assert_eq!(executions(said), 4711);
    }
}
