//! Rules for dependencies: licences, bans, sources (`deny`) and known vulnerabilities (`audit`), through cargo-deny.
//!
//! cargo-deny is not part of Rust, so it is installed on first use, once per machine, into a cache directory of our own:
//! nothing appears among the person's own tools. Offline the check is left out, and says so.

use crate::run::{Failed, Outcome, Program};
use std::path::{Path, PathBuf};

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

/// cargo-deny from the path, from our cache, or freshly installed; `None` where that failed.
fn program(root: &Path) -> Result<Option<Program>, Failed> {
    let installed = Program::named("cargo-deny");
    if installed.clone().words(["--version"]).answers(root) {
        return Ok(Some(installed));
    }
    let home = cache_dir(root);
    let path = home
        .join("bin")
        .join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    let cached = Program::named(&path.display().to_string());
    if cached.clone().words(["--version"]).answers(root) {
        return Ok(Some(cached));
    }
    println!(
        "cargo-deny is missing: installing it into {} (once; some minutes)",
        home.display()
    );
    let install =
        Program::cargo("install --locked --quiet cargo-deny --version").words([VERSION, "--root"]);
    let install = install.words([home.display().to_string()]);
    // Its build must not lock or fill the target directory that we are being built in.
    let built = install
        .env(
            "CARGO_TARGET_DIR",
            &home.join("build").display().to_string(),
        )
        .succeeds(root)?;
    let _ = std::fs::remove_dir_all(home.join("build"));
    Ok(built.then_some(cached))
}

/// Where tools of ours are kept between runs and between checkouts.
fn cache_dir(root: &Path) -> PathBuf {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| root.join("target"));
    base.join("afterimage-xtask")
}
