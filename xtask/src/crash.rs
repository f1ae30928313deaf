//! The crash simulation and the planted bugs: both are the program `crashtest` of `afterimage-sim`, built two ways.
//!
//! Profile `sim` is as fast as a release and keeps every assertion. `--cfg planted` compiles the deliberate bugs in; it
//! never goes into the ordinary target directory, so no build that a person uses can hold one.

use crate::history;
use crate::run::{Outcome, Program, target_dir};
use std::path::Path;

fn crashtest() -> Program {
    Program::cargo("run --profile sim -p afterimage-sim --bin crashtest --")
}

/// `crashtest` with the person's own arguments. What the long run and the matrix leave for the report goes to the target directory unless they say otherwise.
///
/// # Errors
/// When it cannot be built, or found something.
pub fn sim(root: &Path, arguments: &[String]) -> Outcome {
    let mut words = arguments.to_vec();
    for (asked, option, file) in [
        ("--minutes", "--results", "sim-results.txt"),
        ("matrix", "--json", "matrix.json"),
    ] {
        let has = |word: &str| arguments.iter().any(|argument| argument == word);
        if has(asked) && !has(option) {
            let file = target_dir(root).join(file).display().to_string();
            words.extend([option.to_string(), file]);
        }
    }
    crashtest().words(words).run(root)
}

/// Large data on real files, under SIGKILL.
///
/// # Errors
/// When it cannot be built, or found something.
pub fn soak(root: &Path, arguments: &[String]) -> Outcome {
    Program::cargo("run --release -p afterimage-sim --bin soak --")
        .words(arguments)
        .run(root)
}

/// The part of the simulation that every change passes: fixed seeds and exhaustive small workloads for `seconds`.
///
/// # Errors
/// When it cannot be built, or found something.
pub fn ci(root: &Path, seconds: u64) -> Outcome {
    crashtest()
        .words(["ci", "--seconds", &seconds.to_string()])
        .words([
            "--json".into(),
            target_dir(root).join("matrix.json").display().to_string(),
        ])
        .run(root)
}

/// Builds with the planted bugs and lets every layer hunt: the log's scenarios, the crash simulation, the checker of histories. Each bug has to be killed by
/// one of them. What they killed stays in `planted.tsv` of the target directory. With arguments only the simulation, as they say.
///
/// # Errors
/// When it cannot be built, or a bug escaped.
pub fn planted(root: &Path, arguments: &[String]) -> Outcome {
    let with_bugs = |program: Program| program.rust_flags(root, "--cfg planted", "planted");
    if !arguments.is_empty() {
        return with_bugs(crashtest().words(["planted"]).words(arguments)).run(root);
    }
    let results = target_dir(root).join("planted.tsv");
    let _ = std::fs::remove_file(&results);
    let results = results.display().to_string();
    let scenarios = "test --quiet --profile sim -p afterimage-log --test planted -- --nocapture";
    for layer in [
        Program::cargo(scenarios),
        crashtest().words(["planted"]),
        history::check_history(root, &["weakened".into()]),
    ] {
        // One that misses a bug has not failed yet: another layer may kill it.
        with_bugs(layer)
            .env("PLANTED_RESULTS", &results)
            .succeeds(root)?;
    }
    with_bugs(crashtest().words(["killed", &results])).run(root)
}
