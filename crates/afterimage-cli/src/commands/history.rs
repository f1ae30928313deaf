//! `afterimage history`: every version of a row that the log still has.

use crate::escape;
use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use afterimage::inspect::{self, LoggedValue, Outcome, Version};
use afterimage::{Lsn, Options};
use afterimage_io::Io;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;

/// What `history` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Goes through the log that is there, oldest record first: what checkpoints have given up is gone. A database that was not closed
is recovered in memory first, so what its losers wrote is shown, and shown as taken back. Changes nothing.

An update of some bytes logs only the difference. Its values are known from the records around it; `?` stands where no
record has them. Where the log cannot be read to its end, what was found before that place is shown, and the exit code is 3.

Example:
  afterimage history bank accounts alice")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// The table
    table: String,
    /// The key; \\xNN stands for any byte
    key: OsString,
}

/// Prints them, a line each.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let key = open::argument("key", &args.key)?;
    let told = |e| from_engine(e, &args.dir);
    // One world for both: what recovery adds to the log in memory is read too.
    let io = Io::overlay();
    let options: Options = settings.options()?.create(false).background(false);
    let db = options.io(io.clone()).open(&args.dir).map_err(told)?;
    let table = open::existing_table(&db, &args.dir, &args.table)?;
    let now = match db.get(&table, &key).map_err(told)? {
        Some(value) => LoggedValue::Bytes(value),
        None => LoggedValue::Absent,
    };
    if table.is_unlogged() {
        return Err(
            Failure::usage("the rows of an unlogged table are not in the log")
                .at(format!("table {}", args.table)),
        );
    }
    let history = inspect::history(&io, &args.dir, table.id(), &key, Some(&now)).map_err(told)?;
    // Whoever reads slowly keeps nobody out.
    drop(db);
    print(&history.versions, &now, out)?;
    match history.stopped {
        Some(error) => Err(told(error)),
        None => Ok(()),
    }
}

fn print(versions: &[Version], now: &LoggedValue, out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return out.document(&versions.iter().map(document).collect());
    }
    if versions.is_empty() {
        return out.line(format!(
            "the log has no change of this row; it is {} now. (Rows that a load of a new table has brought are logged by \
             the page, not singly.)",
            shown(now)
        ));
    }
    out.line(format!(
        "{:>12} {:>12}  {:<27}  change",
        "LSN", "transaction", "outcome"
    ))?;
    for version in versions {
        let back = if version.takes_back {
            "  (taken back)"
        } else {
            ""
        };
        out.line(format!(
            "{:>12} {:>12}  {:<27}  {} -> {}{back}",
            version.lsn.get(),
            version.txn.get(),
            outcome(version.outcome),
            shown(&version.before),
            shown(&version.after)
        ))?;
    }
    Ok(())
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Committed(_, Some(micros)) => time(micros),
        Outcome::Committed(lsn, None) => format!("committed at LSN {lsn}"),
        Outcome::RolledBack(_) => "rolled back".to_owned(),
        _ => "unfinished".to_owned(),
    }
}

fn shown(value: &LoggedValue) -> String {
    match value {
        LoggedValue::Absent => "_".to_owned(),
        LoggedValue::Bytes(bytes) => {
            let mut text = Vec::new();
            escape::escape_into(bytes, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        }
        LoggedValue::Large(len) => format!("({len} bytes)"),
        _ => "?".to_owned(),
    }
}

/// A moment, as people write it, in UTC.
fn time(micros: u64) -> String {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{rest:06}Z")
}

/// The date of a day since 1970, by the Gregorian calendar, counted in eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * part + 2) / 5 + 1, (part + 2) % 12 + 1);
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn document(version: &Version) -> Value {
    let value = |value: &LoggedValue| match value {
        LoggedValue::Absent => json!(null),
        LoggedValue::Bytes(bytes) => escape::to_json(bytes),
        LoggedValue::Large(len) => json!({ "bytes": len }),
        _ => json!({ "unknown": true }),
    };
    let (word, at, micros) = match version.outcome {
        Outcome::Committed(lsn, micros) => ("committed", Some(lsn), micros),
        Outcome::RolledBack(lsn) => ("rolled back", Some(lsn), None),
        _ => ("unfinished", None, None),
    };
    json!({
        "lsn": version.lsn.get(),
        "transaction": version.txn.get(),
        "takes_back": version.takes_back,
        "before": value(&version.before),
        "after": value(&version.after),
        "outcome": word,
        "outcome_lsn": at.map(Lsn::get),
        "commit_time_micros": micros,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_people_write_them() {
        assert_eq!(time(0), "1970-01-01 00:00:00.000000Z");
        assert_eq!(time(951_782_399_000_001), "2000-02-28 23:59:59.000001Z");
        assert_eq!(time(951_782_400_000_000), "2000-02-29 00:00:00.000000Z");
        assert_eq!(time(1_767_225_600_000_000), "2026-01-01 00:00:00.000000Z");
        assert_eq!(time(4_107_542_400_000_000), "2100-03-01 00:00:00.000000Z");
    }
}
