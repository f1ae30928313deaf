//! `cargo xtask`: the project's own commands, so that one tool that everybody already has runs every check.
//!
//! This file reads the arguments and hands over; each command has a file of its own. The crate stands outside the
//! house: nothing imports it, and it may use files, processes and the clock freely because it faces the person.

mod book;
mod cost;
mod crash;
mod deny;
mod fuzz;
mod history;
mod page;
mod report;
mod rigs;
mod rooms;
mod run;
mod sanitize;
mod schedules;
mod suite;
mod tidy;
mod tools;

use run::{Failed, Outcome};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `cargo xtask --help` prints.
const HELP: &str = "\
The project's own commands. Each prints every program it starts before it starts it.

USAGE
    cargo xtask <COMMAND> [OPTIONS]

COMMANDS
    test [--quick] [--seconds S]
        Everything a change must pass: formatting, tidy, clippy, documentation, dependency rules, the loom and shuttle
        builds, the crash simulation (S seconds of it, 120 unless told), the planted bugs, histories, the models of
        loom and shuttle, all tests. Needs nothing but Rust. --quick leaves out all between the builds and the tests.
    tidy
        The house rules that no other tool knows: imports run one way, the outside world is reached through
        afterimage-io alone, every file says what it is for, links in the documents lead somewhere.
    sim [ARGS...]
        The crash simulation, built fast and with every assertion on. ARGS go to `crashtest`:
            cargo xtask sim --seed 7        one run, exactly as it was
            cargo xtask sim --seconds 600   ten minutes of fresh seeds
            cargo xtask sim --minutes 30    the long run: goes on where the last one ended
            cargo xtask sim matrix          each thing that can happen at each I/O call
            cargo xtask sim help            everything crashtest can do
    planted [ARGS...]
        Builds log and engine with their planted bugs, switches on one after another, and shows which layer killed each,
        and how soon. Every one must be killed, else exit 1: one that nobody kills is a hole in the tests.
    fuzz [--seconds S] [--only TARGET]
        Any bytes in place of each thing that log and engine read from a disk, mutated by coverage (cargo-fuzz, installed on
        first use; libFuzzer needs a C++ compiler), S seconds each (60 unless told), and how many executions that were.
    check-history [ARGS...]
        What concurrent clients were told, across kills and crashes, checked for every anomaly that no serializable database
        shows. Works in chunks and goes on where the last call ended. ARGS go to `check-history`:
            cargo xtask check-history                   one million transactions, ten minutes at most
            cargo xtask check-history --quick           some 15 seconds
            cargo xtask check-history weakened          isolation broken on purpose, and what is found
    soak values|rows [ARGS...]
        Large data on real files, killed with SIGKILL again and again, and compared row by row with what was acknowledged.
        Takes minutes and gigabytes; `cargo xtask soak help` says what ARGS there are:
            cargo xtask soak values                     1 GiB of values of 1 KiB to 64 MiB, replaced for a minute
            cargo xtask soak rows                       10 million rows, a pool of a tenth, five minutes
    rigs [NAME...] [--quick] [--minutes N] [--install]
        Real file systems: processes killed, power cut, calls that fail. Goes on where the last call ended; what cannot run
        here is shown as skipped. `cargo xtask rigs help` says what there is; most need root, and Linux:
            cargo xtask rigs --quick                    a look at each, less than ten minutes
            cargo xtask rigs fuse --minutes 20          one of them, twenty minutes
            cargo xtask rigs check                      formatting, clippy, tests, dependency rules of that workspace
    page [--keep]
        The live page in headless Chromium under the demo's load: as a desk and as a phone shows it, light and dark, with every story
        stepped through, compared with /metrics, and judged by axe. Installs what it lacks where it can (Chromium by apt, the
        driver by npm), and says so where it cannot. --keep puts the pictures into docs/img.
    cost [--turns N]
        What measuring costs: gets, puts and transactions by a build with counters and spans and by one without, in turns (300
        of each unless told, some two minutes). Wants a machine that does nothing else.
    report
        RELIABILITY_REPORT.md, and the same as a page, from what sim --minutes, sim matrix, planted, rigs and fuzz have left
        in the target directory, and the ledger of real bugs. What was not run is listed as not run.
    schedules
        The log under the model checkers: small models through all their schedules (loom), the whole log in some
        hundreds (shuttle; SCHEDULES and SCHEDULES_SEED in the environment choose how many and which).
    miri [--toolchain NAME]
        Pages' and records' bytes under the interpreter that notices undefined behaviour. Needs the component `miri`
        (of `nightly` unless told); without it nothing is run, and that is said.
    tsan [--toolchain NAME]
        Tests with real threads under ThreadSanitizer, the standard library with them. Needs the component `rust-src`
        (of `nightly` unless told); without it nothing is run, and that is said.
    book
        The documents as a book, with a table of contents and a search, in target/book (mdBook, installed on first use).
    rooms
        Writes ARCHITECTURE.md's list of files anew, from the first sentence of each.
    deny
        Licences, duplicates and sources of the dependencies (cargo-deny, installed on first use).
    audit [--database DIR]
        Known security advisories of the dependencies, from the database on the network, or from a clone of it in DIR (as
        `~/.cargo/advisory-dbs` has it). Where it cannot be fetched nothing is audited, and that is said.
    help
        This text.

EXIT CODES
    0 all well, 1 a check failed, 2 the command line was not understood
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = workspace_root();
    match dispatch(&root, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Usage(message)) => {
            eprintln!("xtask: {message}\n\nTry `cargo xtask --help`.");
            ExitCode::from(2)
        }
        Err(Failed::Check(message)) => {
            eprintln!("\nxtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(root: &Path, arguments: &[String]) -> Outcome {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(());
    };
    let takes_none = |rest: &[String]| match rest.first() {
        None => Ok(()),
        Some(extra) => Err(Failed::Usage(format!("`{command}` takes no `{extra}`"))),
    };
    let asks_for_help = rest.iter().any(|word| word == "--help" || word == "-h");
    match command.as_str() {
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        // The programs behind these have a help of their own.
        own if asks_for_help
            && !["sim", "planted", "soak", "check-history", "rigs"].contains(&own) =>
        {
            let entry = help_of(own).ok_or_else(|| no_such(own))?;
            print!("{entry}");
            Ok(())
        }
        "test" => suite::test(root, &suite::Choices::parse(rest)?),
        "tidy" => takes_none(rest).and_then(|()| tidy::command(root)),
        "sim" => crash::sim(root, rest),
        "planted" => crash::planted(root, rest),
        "soak" => crash::soak(root, rest),
        "fuzz" => fuzz::command(root, rest),
        "check-history" => history::command(root, rest),
        "page" => page::command(root, rest),
        "rigs" => rigs::command(root, rest),
        "report" => takes_none(rest).and_then(|()| report::command(root)),
        "schedules" => takes_none(rest).and_then(|()| schedules::command(root)),
        "miri" => sanitize::miri(root, rest),
        "tsan" => sanitize::tsan(root, rest),
        "cost" => cost::command(root, rest),
        "book" => takes_none(rest).and_then(|()| book::build(root)),
        "rooms" => takes_none(rest).and_then(|()| rooms::command(root)),
        "deny" => takes_none(rest).and_then(|()| deny::check(root)),
        "audit" => deny::audit(root, rest),
        other => Err(no_such(other)),
    }
}

fn no_such(command: &str) -> Failed {
    Failed::Usage(format!("there is no command `{command}`"))
}

/// What the help says of one command: its line, and those below it that are further in.
fn help_of(command: &str) -> Option<String> {
    let deep = |line: &str| line.len() - line.trim_start().len() > 4;
    let mut lines = HELP
        .split_inclusive('\n')
        .skip_while(|line| deep(line) || line.split_whitespace().next() != Some(command));
    let first = lines.next()?;
    Some(first.to_owned() + &lines.take_while(|line| deep(line)).collect::<String>())
}

/// The directory of the workspace's `Cargo.toml`: this crate lies directly under it.
fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_command_is_its_own_entry() {
        let fuzz = help_of("fuzz").expect("there is one");
        assert!(fuzz.starts_with("    fuzz [--seconds S]") && fuzz.contains("libFuzzer"));
        assert!(!fuzz.contains("check-history"), "{fuzz}");
        assert_eq!(help_of("seconds"), None);
        let main = include_str!("main.rs");
        let commands = main
            .split("        \"")
            .filter_map(|rest| rest.split_once("\" => "));
        let named = commands.filter(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase()));
        assert!(named.clone().count() > 10);
        for (name, _) in named {
            assert!(help_of(name).is_some(), "{name}");
        }
    }
}
