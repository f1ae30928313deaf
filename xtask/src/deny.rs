//! Rules for dependencies: licences, bans, sources (`deny`) and known vulnerabilities (`audit`), through cargo-deny.
//!
//! cargo-deny is not part of Rust, so it is installed on first use. Offline the check is left out, and says so.

use crate::run::{Failed, Outcome, Program, target_dir};
use crate::tools;
use std::path::Path;

/// The version that is installed where none is found. It builds with our minimum Rust version.
const VERSION: &str = "0.20.2";
/// What cargo-deny calls its clone of the advisory database, in a directory of databases.
const CLONE: &str = "advisory-db-3157b0e258782691";

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

/// Known security advisories: from the database on the network, from the copy that an earlier call has left, or from one
/// that the person has.
///
/// # Errors
/// `Usage`; `Check` when a dependency has an advisory, or there is no database where it was said to be.
pub fn audit(root: &Path, arguments: &[String]) -> Outcome {
    let database = database(arguments)?;
    let Some(deny) = program(root)? else {
        return skipped("cargo-deny is not installed and could not be fetched (offline?)");
    };
    let Some(database) = database else {
        // Fetching and judging apart: a database that cannot be fetched is no verdict on our dependencies.
        if !deny.clone().words(["fetch", "db"]).succeeds(root)? {
            return skipped(
                "the advisory database could not be fetched: NOTHING WAS AUDITED (`--database DIR` takes a copy)",
            );
        }
        return deny.words(["--offline", "check", "advisories"]).run(root);
    };
    let database = root.join(database);
    if !database.join(CLONE).is_dir() {
        let (place, url) = (database.display(), "https://github.com/RustSec/advisory-db");
        return Err(Failed::Check(format!(
            "NOTHING WAS AUDITED: {place} has no `{CLONE}` in it, a clone of {url}"
        )));
    }
    let rules = std::fs::read_to_string(root.join("deny.toml")).unwrap_or_default();
    let config = target_dir(root).join("deny-offline.toml");
    std::fs::write(&config, with_database(&rules, &database))
        .map_err(|error| Failed::Check(format!("cannot write {}: {error}", config.display())))?;
    deny.words(["--offline", "--config", &config.display().to_string()])
        .words(["check", "advisories"])
        .run(root)
}

/// The directory of databases that was asked for on the command line.
fn database(arguments: &[String]) -> Result<Option<&String>, Failed> {
    match arguments {
        [] => Ok(None),
        [option, directory] if option == "--database" => Ok(Some(directory)),
        [option] if option == "--database" => {
            Err(Failed::Usage("--database needs a directory".to_owned()))
        }
        _ => {
            let rest = arguments.join(" ");
            Err(Failed::Usage(format!("`audit` takes no `{rest}`")))
        }
    }
}

/// `deny.toml` with this directory of databases.
fn with_database(rules: &str, database: &Path) -> String {
    let path = format!(
        "[advisories]\ndb-path = {:?}",
        database.display().to_string()
    );
    rules.replace("[advisories]", &path)
}

fn skipped(why: &str) -> Outcome {
    println!("SKIPPED: {why}");
    Ok(())
}

fn program(root: &Path) -> Result<Option<Program>, Failed> {
    tools::find(root, "cargo-deny", VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_read_and_the_rest_is_refused() {
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        assert_eq!(database(&[]).expect("nothing is legal"), None);
        let given = words("--database dbs");
        assert_eq!(database(&given).expect("legal"), Some(&given[1]));
        for wrong in ["--database", "dbs", "--database a b"] {
            let read = database(&words(wrong)).map(|_| ());
            assert!(matches!(read, Err(Failed::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn the_rules_name_the_database_once() {
        let rules = include_str!("../../deny.toml");
        let with = with_database(rules, Path::new("/some/dbs"));
        assert_eq!(with.matches("db-path = \"/some/dbs\"").count(), 1);
        assert_eq!(with.lines().count(), rules.lines().count() + 1);
    }
}
