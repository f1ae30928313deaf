//! Rules for dependencies: licences, bans, sources (`deny`) and known vulnerabilities (`audit`), through cargo-deny.
//!
//! cargo-deny is not part of Rust, so it is installed on first use. Offline the check is left out, and says so.

use crate::run::{Failed, Outcome, Program};
use crate::tools;
use std::path::Path;

/// The version that is installed where none is found. It builds with our minimum Rust version.
const VERSION: &str = "0.20.2";

/// Licences, bans and sources of every dependency against `deny.toml`.
///
/// # Errors
/// When a rule is broken.
pub fn check(root: &Path) -> Outcome {
    match program(root)? {
        Some(deny) => deny
            .words(["check", "bans", "licenses", "sources"])
            .run(root),
        None => skipped("cargo-deny is not installed and could not be fetched (offline?)"),
    }
}

/// The same for a workspace of its own.
///
/// # Errors
/// When a rule is broken.
pub fn check_other(root: &Path, manifest: &str) -> Outcome {
    match program(root)? {
        Some(deny) => deny
            .words([
                "--manifest-path",
                manifest,
                "--config",
                "deny.toml",
                "check",
            ])
            .words(["bans", "licenses", "sources"])
            .run(root),
        None => skipped("cargo-deny is not installed and could not be fetched (offline?)"),
    }
}

/// Known security advisories.
///
/// # Errors
/// When a dependency has one.
pub fn audit(root: &Path) -> Outcome {
    let Some(deny) = program(root)? else {
        return skipped("cargo-deny is not installed and could not be fetched (offline?)");
    };
    // Fetching and judging apart: a database that cannot be fetched is no verdict on our dependencies.
    if !deny.clone().words(["fetch", "db"]).succeeds(root)? {
        return skipped("the advisory database could not be fetched: NOTHING WAS AUDITED");
    }
    deny.words(["check", "--disable-fetch", "advisories"])
        .run(root)
}

fn skipped(why: &str) -> Outcome {
    println!("SKIPPED: {why}");
    Ok(())
}

fn program(root: &Path) -> Result<Option<Program>, Failed> {
    tools::find(root, "cargo-deny", VERSION)
}
