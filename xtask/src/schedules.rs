//! The model checkers: loom and shuttle in the place of everything that blocks.
//!
//! Each replaces the primitives of `afterimage-io` for the whole build, so each has a target directory of its own. First the
//! layers are compiled so, then the models run: loom's are small and taken through all their schedules, shuttle's are the
//! whole log in some hundreds.

use crate::run::{Outcome, Program};
use std::path::Path;

/// Both checkers, builds and models.
///
/// # Errors
/// When something does not compile, or a model fails.
pub fn command(root: &Path) -> Outcome {
    build(root, "loom")?;
    loom(root)?;
    build(root, "shuttle")?;
    shuttle(root)
}

/// Checks that the layers still compile when all blocking is switched to the forms of `cfg`.
///
/// # Errors
/// When they do not.
pub fn build(root: &Path, cfg: &str) -> Outcome {
    let check = "check --quiet -p afterimage-io -p afterimage-log -p afterimage";
    switched(Program::cargo(check), root, cfg)
}

/// Loom's models: every schedule within each model's bound.
///
/// # Errors
/// When one fails.
pub fn loom(root: &Path) -> Outcome {
    let beside = "test --quiet -p afterimage-log -p afterimage --lib -- models";
    switched(Program::cargo(beside), root, "loom")?;
    let whole = "test --quiet -p afterimage-io -p afterimage-log --test models -- --nocapture";
    switched(Program::cargo(whole), root, "loom")
}

/// Shuttle's models, in some hundreds of schedules each.
///
/// # Errors
/// When one fails.
pub fn shuttle(root: &Path) -> Outcome {
    for models in [
        "-p afterimage-io --test models",
        "-p afterimage-log --test schedules",
        "-p afterimage --lib models",
    ] {
        let test = format!("test --quiet --profile sim {models} -- --nocapture");
        switched(Program::cargo(&test), root, "shuttle")?;
    }
    Ok(())
}

fn switched(program: Program, root: &Path, cfg: &str) -> Outcome {
    program
        .rust_flags(root, &format!("--cfg {cfg}"), cfg)
        .run(root)
}
