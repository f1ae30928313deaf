//! Making a database where there is none, so that a crash at any moment leaves either none or a whole one.
//!
//! A file `creating` comes first and goes last. While it is there without a control file, whatever else is there was
//! made by a creation that did not finish, and may be removed; without it, nothing is ever removed.

use std::path::Path;

use afterimage_io::{Io, OpenMode};
use afterimage_log::{Control, ControlFile, Identity, Log, settings};

use crate::buffer::{Doublewrite, PAGES_FILE, Pager};
use crate::checkpoint::{Checkpointer, EngineArea, Speed};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::recovery::{Recovered, RecoveryReport, doublewrite_cells, log_options, unlogged_file};
use crate::transaction::System;
use crate::tree::format_database;

const CREATING_FILE: &str = "creating";
const CONTROL_FILE: &str = "control";
const LOCK_FILE: &str = "lock";
const LOG_DIRECTORY: &str = "log";
/// Files that may be there before the database is: they make no difference to a creation, and it leaves them alone.
const NOT_OURS: [&str; 2] = [LOCK_FILE, settings::FILE];

/// What a directory holds, as far as opening goes.
pub(super) enum Contents {
    /// A database.
    Database,
    /// Nothing, or what a creation that was cut off has left.
    Nothing,
}

/// Looks into `directory`; changes nothing.
pub(super) fn look(io: &Io, directory: &Path) -> Result<Contents> {
    let names = match io.list_dir(directory) {
        Ok(names) => names,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Contents::Nothing),
        Err(e) => return Err(Error::io(directory, "list", &e)),
    };
    let has = |name: &str| names.iter().any(|found| found == name);
    if has(CONTROL_FILE) {
        return Ok(Contents::Database);
    }
    if has(CREATING_FILE) || names.iter().all(|name| NOT_OURS.contains(&name.as_str())) {
        return Ok(Contents::Nothing);
    }
    let what = if has(LOG_DIRECTORY) || has(PAGES_FILE) {
        "its control file is missing, though its log or its pages are there; restore the control file from a backup"
    } else {
        "the directory has other files in it; choose an empty or a new one"
    };
    Err(Error::NotADatabase {
        path: directory.to_owned(),
        what: what.to_owned(),
    })
}

/// Makes sure that the directory, and its name, are there for good.
pub(super) fn make_directory(io: &Io, directory: &Path) -> Result<()> {
    match io.create_dir(directory) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::io(directory, "create", &e)),
    }
    sync_dir(io, parent(directory))
}

fn parent(directory: &Path) -> &Path {
    match directory.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn sync_dir(io: &Io, directory: &Path) -> Result<()> {
    io.sync_dir(directory)
        .map_err(|e| Error::io(directory, "sync", &e))
}

/// Makes a new database in `directory`, which is locked and holds nothing that counts.
pub(super) fn create(io: &Io, directory: &Path, options: &Options) -> Result<Recovered> {
    let creating = directory.join(CREATING_FILE);
    io.open(&creating, OpenMode::Create)
        .map_err(|e| Error::io(&creating, "create", &e))?;
    sync_dir(io, directory)?;
    remove_leftovers(io, directory)?;

    let id = io.random();
    let identity = Identity {
        database_id: id,
        timeline_id: io.random(),
        timeline_ordinal: 1,
    };
    let began = io.now();
    let log = Log::create(io, directory, &identity, 1, &log_options(options))?;
    let speed = Speed::of_creation(io.now().saturating_sub(began));
    let store = Pager::open_store(io, directory, options.page_size, id, OpenMode::Create)?;
    let doublewrite = Doublewrite::create(
        io,
        directory,
        id,
        options.page_size,
        doublewrite_cells(options),
    )?;
    sync_dir(io, directory)?;
    let system = System::new(
        io,
        Pager::new(io, log, store, doublewrite, options.frames()),
        unlogged_file(io, directory, options, &identity),
        options.lock_timeout,
        options.version_store_size,
    );
    format_database(&system.pager, id)?;
    system.pager.load_map()?;

    // The first checkpoint makes the pages and the log durable; the control file that names it comes after.
    let next = system.pager.log.next_lsn();
    system.pager.clean_below(next)?;
    let control = Control {
        identity,
        epoch: 1,
        generation: 0,
        segment_bytes: options.log.segment_bytes,
        clean_end: None,
        durable_lsn: Some(system.pager.log.durable_lsn()),
        writes: Some(system.pager.log.sync_choice()),
        required_features: 0,
        optional_features: 0,
        client: [0; 512],
    };
    let checkpointer = Checkpointer::create(&system, speed, |area: &EngineArea| {
        let control = Control {
            client: area.encode(),
            ..control
        };
        let file = ControlFile::create(io, directory, &control)?;
        sync_dir(io, directory)?;
        Ok(file)
    })?;
    finish(io, directory)?;
    Ok(Recovered {
        system,
        checkpointer,
        report: RecoveryReport::new(true, true, String::new()),
    })
}

/// The last step of a creation; an open of a whole database takes it again if the first was cut off.
pub(super) fn finish(io: &Io, directory: &Path) -> Result<()> {
    let creating = directory.join(CREATING_FILE);
    match io.remove_file(&creating) {
        Ok(()) => sync_dir(io, directory),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(&creating, "remove", &e)),
    }
}

/// What an earlier, unfinished creation made. `creating` is durable by now, so a crash in here is one more of them.
fn remove_leftovers(io: &Io, directory: &Path) -> Result<()> {
    let log = directory.join(LOG_DIRECTORY);
    if io
        .exists(&log)
        .map_err(|e| Error::io(&log, "look for", &e))?
    {
        remove_all(io, &log, |_| true)?;
    }
    remove_all(io, directory, |name| {
        ![CREATING_FILE, LOG_DIRECTORY].contains(&name) && !NOT_OURS.contains(&name)
    })
}

fn remove_all(io: &Io, directory: &Path, which: impl Fn(&str) -> bool) -> Result<()> {
    let names = io
        .list_dir(directory)
        .map_err(|e| Error::io(directory, "list", &e))?;
    let mut removed = false;
    for name in names.iter().filter(|name| which(name)) {
        let path = directory.join(name);
        if io
            .is_dir(&path)
            .map_err(|e| Error::io(&path, "look at", &e))?
        {
            continue;
        }
        io.remove_file(&path)
            .map_err(|e| Error::io(&path, "remove", &e))?;
        removed = true;
    }
    if removed {
        sync_dir(io, directory)
    } else {
        Ok(())
    }
}
