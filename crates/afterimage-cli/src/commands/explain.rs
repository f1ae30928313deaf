//! `afterimage explain`: how a recovery goes, step by step, of a database, a log script or a scenario. The engine recovers; this tells it.

use crate::commands::plan;
use crate::failure::Failure;
use crate::out::Out;
use crate::settings::Settings;
use afterimage_explain::{Story, Trouble, gallery};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// What `explain` takes.
#[derive(clap::Args)]
#[command(after_help = "\
A script is a log in the notation of textbooks, a line a record. It becomes a real log on a simulated disk, with real pages; the
power goes, and the engine recovers. Every step is told, with its reason. docs/explain.md has the notation.

  LSN=1 T1 BEGIN
  LSN=2 T1 UPDATE A before=0 after=1
  CRASH

Examples:
  afterimage explain --list
  afterimage explain fuzzy-checkpoint
  afterimage explain fuzzy-checkpoint --crash-after 1    and the power goes once more, in the middle of undo
  afterimage explain bank                                what a recovery of this database would do
  afterimage explain my.log --step                       a step, and Enter for the next
  printf 'T1 UPDATE A before=0 after=1\\nCRASH\\n' | afterimage explain -")]
pub struct Args {
    /// A database's directory, a file with a script, - for standard input, or the name of a scenario
    #[arg(required_unless_present = "list")]
    what: Option<String>,
    /// List the scenarios that come with the command
    #[arg(long)]
    list: bool,
    /// Let the power go once more when so many compensation records (CLRs) are durable
    #[arg(long, value_name = "N")]
    crash_after: Option<usize>,
    /// Wait for Enter between the steps
    #[arg(long)]
    step: bool,
    /// Of a database: every step, however many there are
    #[arg(long)]
    all: bool,
    /// Print the script itself, and nothing else
    #[arg(long, conflicts_with_all = ["step", "crash_after", "json"])]
    script: bool,
}

/// Explains.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let Some(what) = args.what.as_deref().filter(|_| !args.list) else {
        return list(out);
    };
    if Path::new(what).is_dir() {
        if args.crash_after.is_some() || args.script {
            return Err(Failure::usage(
                "--crash-after and --script are for scripts, not for databases",
            ));
        }
        return plan::run(Path::new(what), args.all, args.step, settings, out);
    }
    let script = script(what)?;
    if args.script {
        return out.bytes(script.as_bytes());
    }
    if args.step && what == "-" {
        return Err(Failure::usage(
            "--step waits for Enter on standard input, where the script is",
        )
        .advise("put the script into a file"));
    }
    let story = afterimage_explain::explain(&script, args.crash_after)
        .map_err(|trouble| refused(what, &script, &trouble))?;
    show(&story, args.step, out)
}

/// Prints a story, whole or step by step.
pub fn show(story: &Story, step: bool, out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return out.document(&story.json());
    }
    let parts = story.parts();
    let last = parts.len().saturating_sub(1);
    let mut waits = step;
    for (n, part) in parts.iter().enumerate() {
        part.iter().try_for_each(|line| out.line(line))?;
        if waits && n < last {
            out.flush()?;
            let mut line = String::new();
            // Nobody there any more: the rest without waiting.
            waits = io::stdin().read_line(&mut line).is_ok_and(|read| read > 0);
        }
    }
    Ok(())
}

fn list(out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        let one = |scenario: &gallery::Scenario| -> Value {
            json!({
                "name": scenario.name,
                "title": scenario.title(),
                "script": scenario.script,
            })
        };
        return out.document(&gallery::ALL.iter().map(one).collect());
    }
    let width = gallery::ALL
        .iter()
        .map(|scenario| scenario.name.len())
        .max();
    let width = width.unwrap_or(0);
    gallery::ALL.iter().try_for_each(|scenario| {
        out.line(format!("{:<width$}  {}", scenario.name, scenario.title()))
    })
}

/// The script that is meant: a file's, standard input's, or a scenario's.
fn script(what: &str) -> Result<String, Failure> {
    let path = Path::new(what);
    if what == "-" {
        let mut script = String::new();
        io::stdin()
            .read_to_string(&mut script)
            .map_err(|e| Failure::io("reading", Path::new("standard input"), &e))?;
        return Ok(script);
    }
    if path.exists() {
        return fs::read_to_string(path).map_err(|e| Failure::io("reading", path, &e));
    }
    gallery::find(what)
        .map(|scenario| scenario.script.to_owned())
        .ok_or_else(|| {
            Failure::usage(format!("there is no file and no scenario {what:?}"))
                .advise("`afterimage explain --list` lists the scenarios")
        })
}

/// A mistake in a script, with the line that it is in.
fn refused(what: &str, script: &str, trouble: &Trouble) -> Failure {
    let name = if what == "-" { "standard input" } else { what };
    match trouble {
        Trouble::Mistake(mistake) => {
            let mut lines = script.trim_start_matches('\u{feff}').lines();
            let text = lines.nth(mistake.line - 1).unwrap_or_default();
            let place = format!("{name}, line {}, column {}", mistake.line, mistake.column);
            // A tab is as wide under itself, wherever that is.
            let before = text.chars().chain(std::iter::repeat(' '));
            let before = before.take(mistake.column.saturating_sub(1));
            let mark: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
            Failure::data(&mistake.found)
                .at(format!("{place}\n    {text}\n    {mark}^"))
                .advise(format!("expected {}", mistake.expected))
        }
        other => Failure::refused(other).at(name),
    }
}
