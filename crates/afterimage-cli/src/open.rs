//! Opening a database for a command: for writing in the real world, for reading in an overlay that changes no byte.
//!
//! A reading command opens the same engine through `Io::overlay()`: recovery, where it is needed, happens in memory,
//! so an unclean database can be looked at again and again and stays exactly as the crash left it.

use crate::escape;
use crate::failure::Failure;
use crate::settings::Settings;
use afterimage::{Database, Error, Table};
use afterimage_io::Io;
use afterimage_log::LogOptions;
use std::ffi::OsStr;
use std::path::Path;

/// Tables that are named where another one was asked for.
const SHOWN: usize = 20;

/// Opens an existing database without changing a byte of it; refused while another process has it open.
pub fn for_reading(dir: &Path, settings: &Settings) -> Result<Database, Failure> {
    let options = settings
        .options()?
        .create(false)
        .background(false)
        .io(Io::overlay());
    options.open(dir).map_err(|error| from_engine(error, dir))
}

/// Opens an existing database to change it.
pub fn for_writing(dir: &Path, settings: &Settings) -> Result<Database, Failure> {
    settings
        .options()?
        .create(false)
        .open(dir)
        .map_err(|error| from_engine(error, dir))
}

/// Opens a database to change it, and creates it where there is none.
pub fn or_create(dir: &Path, settings: &Settings) -> Result<Database, Failure> {
    settings
        .options()?
        .create(true)
        .open(dir)
        .map_err(|error| from_engine(error, dir))
}

/// The settings of the log in `dir`, or of one that is to be made there: those given, over its file, over the defaults.
pub fn log_options(io: &Io, dir: &Path, settings: &Settings) -> Result<LogOptions, Failure> {
    LogOptions::from_file_and(io, dir, settings.pairs()).map_err(|error| from_log(error, dir))
}

/// Refuses a directory without a database, for commands that read its files themselves.
pub fn must_be_database(dir: &Path) -> Result<(), Failure> {
    if dir.join("control").exists() {
        return Ok(());
    }
    let what = if dir.is_dir() {
        "it has no control file"
    } else {
        "there is no such directory"
    };
    Err(from_engine(
        Error::NotADatabase {
            path: dir.to_owned(),
            what: what.to_string(),
        },
        dir,
    ))
}

/// A table that must be there already: looking must not create one.
pub fn existing_table(db: &Database, dir: &Path, name: &str) -> Result<Table, Failure> {
    let tables = db.tables().map_err(|error| from_engine(error, dir))?;
    if !tables.iter().any(|table| table == name) {
        let there = match tables.len() {
            0 => "the database has no tables yet".to_string(),
            1..=SHOWN => format!("there are: {}", tables.join(", ")),
            more => format!(
                "there are: {}, and {} more",
                tables[..SHOWN].join(", "),
                more - SHOWN
            ),
        };
        return Err(Failure::usage(format!("there is no table {name:?}"))
            .at(dir.display())
            .advise(there));
    }
    db.table(name).map_err(|error| from_engine(error, dir))
}

/// A key or value from the command line, its escapes undone.
pub fn argument(what: &str, text: &OsStr) -> Result<Vec<u8>, Failure> {
    escape::unescape(text.as_encoded_bytes()).map_err(|bad| {
        Failure::usage(format!("the {what} cannot be read: {bad}"))
            .at(format!("{what} {}", text.display()))
    })
}

/// The error of a log that stands alone, told in the same words.
pub fn from_log(error: afterimage_log::Error, dir: &Path) -> Failure {
    from_engine(Error::from(error), dir)
}

/// The engine's error as a command tells it: what, where, what to do; and the exit code that goes with it.
pub fn from_engine(error: Error, dir: &Path) -> Failure {
    match error {
        Error::InUse { path, pid } => {
            let holder = pid.map_or_else(
                || "another process".to_string(),
                |pid| format!("process {pid}"),
            );
            Failure::refused(format!("the database is in use by {holder}"))
                .at(path.display())
                .advise("close it there first; meanwhile `afterimage stats`, `log dump` and `log tail -f` show what happens in it")
        }
        Error::Corruption {
            place,
            what,
            advice,
        } => Failure::refused(format!("damaged: {what}"))
            .at(place)
            .advise(advice),
        Error::PageCorrupt {
            table,
            page,
            file,
            offset,
            what,
        } => {
            let table = table
                .map(|name| format!("table {name}, "))
                .unwrap_or_default();
            let advice = match file.ends_with("unlogged") {
                true => {
                    "only rows of unlogged tables are in this file; remove it to give them up: the tables are empty then, and all else is as it was"
                }
                false => {
                    "other pages stay usable; `afterimage verify` names every damaged place; restore from a backup"
                }
            };
            Failure::refused(format!("page {page} is damaged: {what}"))
                .at(format!("{table}{}, offset {offset}", file.display()))
                .advise(advice)
        }
        Error::NotADatabase { path, what } => {
            // What is missing needs no second sentence; what is in the way does.
            let missing = what.starts_with("there is no database");
            let place = path.display().to_string();
            Failure::usage("there is no database here")
                .at(if missing {
                    place
                } else {
                    format!("{place}: {what}")
                })
                .advise("`afterimage load DIR TABLE` and `afterimage shell DIR --create` make one")
        }
        Error::Unsupported { what } => {
            Failure::refused(format!("not supported by this version: {what}"))
                .at(dir.display())
                .advise("nothing was changed; use a newer version")
        }
        Error::DiskFull { path } => Failure::refused("there is no room on the disk")
            .at(path.display())
            .advise("make room and run the command again"),
        Error::Io {
            path,
            operation,
            message,
        } => Failure::refused(format!("could not {operation}: {message}")).at(path.display()),
        Error::KeyTooLarge { .. }
        | Error::ValueTooLarge { .. }
        | Error::TableExists { .. }
        | Error::DuplicateKey { .. }
        | Error::NotAscending { .. } => Failure::data(error).at(dir.display()),
        Error::SettingsFile { path, line, what } => Failure::usage(what)
            .at(format!("{} line {line}", path.display()))
            .advise(
                "nothing was changed; `afterimage settings` lists the settings, with their bounds",
            ),
        Error::FixedAtCreation { .. } => Failure::usage(error).at(dir.display()),
        Error::BadOption { .. } | Error::UnknownSetting { .. } | Error::BadTableName { .. } => {
            Failure::usage(error)
        }
        other => Failure::refused(other).at(dir.display()),
    }
}
