//! The histories of concurrent clients, across kills and crashes: made, checked, and made to be found wanting.
//!
//! The work is in `check-history` (crates/afterimage-sim); this file builds it, with and without the planted bugs.

use crate::run::{Outcome, Program, target_dir};
use std::path::Path;

/// `check-history` with the person's own arguments; what it writes goes to `target/check-history` unless they say otherwise.
///
/// # Errors
/// When it cannot be built, or found something.
pub fn command(root: &Path, arguments: &[String]) -> Outcome {
    let program = check_history(root, arguments);
    if arguments
        .iter()
        .any(|word| word == "weakened" || word == "--plant")
    {
        return program
            .rust_flags(root, "--cfg planted", "planted")
            .run(root);
    }
    program.run(root)
}

/// What every change passes: some seconds of histories. (That broken isolation is found is for `cargo xtask planted` to say.)
///
/// # Errors
/// When something was found.
pub fn quick(root: &Path) -> Outcome {
    command(root, &["--quick".into()])
}

/// The program, with these arguments.
pub fn check_history(root: &Path, arguments: &[String]) -> Program {
    let directory = target_dir(root).join("check-history");
    let program = Program::cargo("run --profile sim -p afterimage-sim --bin check-history --");
    if arguments
        .iter()
        .any(|word| word == "--dir" || word == "help")
    {
        return program.words(arguments);
    }
    program
        .words(arguments)
        .words(["--dir", &directory.display().to_string()])
}
