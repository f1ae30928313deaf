//! `afterimage settings`: every setting with its value, where that came from, and what goes wrong at either end.
//!
//! Reads the settings file and the control file, takes no lock and changes nothing, so it works beside whoever has the
//! directory open; what that process was told in its own code it does not know.

use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use afterimage::{SettingInfo, Source, inspect};
use afterimage_io::Io;
use afterimage_log::settings::FILE;
use afterimage_log::{ControlFile, LogOptions, Wal};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What `settings` takes.
#[derive(clap::Args)]
#[command(after_help = "\
A value comes from --set (or the program's own code), over DIR/settings.toml, over the default; page_size and
wal_segment_size are fixed when the database is made. Without DIR, what a new database would get.

Examples:
  afterimage settings bank
  afterimage settings bank --set max_wal_size=4GiB
  afterimage settings bank --json | jq '.settings[] | select(.source != \"default\")'")]
pub struct Args {
    /// The directory of a database or of a log
    dir: Option<PathBuf>,
}

/// Prints the table.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let shown = match &args.dir {
        Some(dir) => look(dir, settings)?,
        None => settings.options()?.settings(),
    };
    if out.is_json() {
        let all: Vec<Value> = shown.iter().map(document).collect();
        return out.document(&json!({ "settings": all }));
    }
    shown.iter().try_for_each(|info| show(info, out))
}

fn look(dir: &Path, settings: &Settings) -> Result<Vec<SettingInfo>, Failure> {
    let io = Io::overlay();
    if !dir.join(FILE).exists() {
        open::must_be_database(dir)?;
    }
    if is_a_log(&io, dir) {
        return LogOptions::settings(&io, dir, settings.pairs())
            .map_err(|error| from_engine(error.into(), dir));
    }
    inspect::settings(dir, &settings.options()?.io(io)).map_err(|error| from_engine(error, dir))
}

/// Whether a log stands there alone. A control file that cannot be read is told by whoever needs it.
fn is_a_log(io: &Io, dir: &Path) -> bool {
    ControlFile::open(io, dir, false).is_ok_and(|file| Wal::made(file.current()))
}

fn show(info: &SettingInfo, out: &mut Out) -> Result<(), Failure> {
    let from = match info.source {
        Source::File { line } => format!("{FILE} line {line}"),
        source => source.to_string(),
    };
    out.line(format!("{:<30}{:<12}({from})", info.name, info.value))?;
    for (head, text) in [
        ("", info.what),
        ("default", info.default.as_str()),
        ("bounds", info.bounds.as_str()),
        ("unit", info.unit),
        ("too low", info.too_low),
        ("too high", info.too_high),
        ("change", change(info)),
    ] {
        let space = if head.is_empty() { 0 } else { 10 };
        out.line(format!("    {head:<space$}{text}"))?;
    }
    Ok(())
}

fn change(info: &SettingInfo) -> &'static str {
    match info {
        _ if info.fixed_at_creation => "never: fixed at creation",
        _ if info.changes_while_running => "at any time",
        _ => "at the next open",
    }
}

fn document(info: &SettingInfo) -> Value {
    let line = match info.source {
        Source::File { line } => Some(line),
        _ => None,
    };
    json!({
        "name": info.name,
        "value": info.value,
        "source": info.source.to_string(),
        "line": line,
        "default": info.default,
        "unit": info.unit,
        "bounds": info.bounds,
        "what": info.what,
        "too_low": info.too_low,
        "too_high": info.too_high,
        "changes_while_running": info.changes_while_running,
        "fixed_at_creation": info.fixed_at_creation,
    })
}
