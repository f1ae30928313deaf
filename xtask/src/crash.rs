//! The crash simulation and the planted bugs: both are the program `crashtest` of `afterimage-sim`, built two ways. The
//! log's own planted bugs are hunted by its own scenarios first.
//!
//! Profile `sim` is as fast as a release and keeps every assertion. `--cfg planted` compiles the deliberate bugs in; it
//! never goes into the ordinary target directory, so no build that a person uses can hold one.

use crate::run::{Outcome, Program};
use std::path::Path;

fn crashtest() -> Program {
    Program::cargo("run --profile sim -p afterimage-sim --bin crashtest --")
}

/// `crashtest` with the person's own arguments.
///
/// # Errors
/// When it cannot be built, or found something.
pub fn sim(root: &Path, arguments: &[String]) -> Outcome {
    crashtest().words(arguments).run(root)
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
        .run(root)
}

/// Builds with the planted bugs; lets the log's scenarios catch each of the log's, and the simulation all that it can.
/// With arguments only the simulation, as they say.
///
/// # Errors
/// When it cannot be built, or a bug escaped.
pub fn planted(root: &Path, arguments: &[String]) -> Outcome {
    if arguments.is_empty() {
        Program::cargo(
            "test --quiet --profile sim -p afterimage-log --test planted -- --nocapture",
        )
        .rust_flags(root, "--cfg planted", "planted")
        .run(root)?;
    }
    crashtest()
        .words(["planted"])
        .words(arguments)
        .rust_flags(root, "--cfg planted", "planted")
        .run(root)
}
