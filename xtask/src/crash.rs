//! The crash simulation and the planted bugs: both are the program `crashtest` of `afterimage-sim`, built two ways.
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

/// The part of the simulation that every change passes: fixed seeds and exhaustive small workloads for `seconds`.
///
/// # Errors
/// When it cannot be built, or found something.
pub fn ci(root: &Path, seconds: u64) -> Outcome {
    crashtest()
        .words(["ci", "--seconds", &seconds.to_string()])
        .run(root)
}

/// Builds with the planted bugs and lets the simulation catch each.
///
/// # Errors
/// When it cannot be built, or a bug escaped.
pub fn planted(root: &Path, arguments: &[String]) -> Outcome {
    crashtest()
        .words(["planted"])
        .words(arguments)
        .rust_flags(root, "--cfg planted", "planted")
        .run(root)
}
