//! The settings: one table says of each its name, kind, bounds and what goes wrong at either end, and how it is read
//! from, and put into, the options.
//!
//! `--set name=value`, `DIR/settings.toml` and `afterimage settings` all go through a table like [`TABLE`]; an engine
//! over the log has one of its own beside it. A new setting is one entry here and one line in `docs/settings.md`.
//! A setting that does nothing yet is in [`LATER`]: it is refused by name, for a limit that is not kept is worse than
//! none.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use afterimage_io::{Io, OpenMode, SyncMethod};

use crate::control::ControlFile;
use crate::error::{Error, Result};
use crate::options::{LogOptions, MOST_FLIGHTS};
use crate::units::{nanos, parse_duration, parse_size, write_duration, write_size};

/// The file with the settings, in the directory that they are for.
pub const FILE: &str = "settings.toml";
/// No settings file is longer than this, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One setting of the options `T`. A value is a number: bytes, nanoseconds, a count, or the index of a word.
pub struct Setting<T> {
    /// Its name, the same everywhere.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub what: &'static str,
    /// What its values look like, and within which bounds they are.
    pub kind: Kind,
    /// A word for one value that the bounds do not matter to: `auto`, `off`, `unlimited`.
    pub word: Option<(&'static str, u64)>,
    /// A bound that depends on other settings; empty for none.
    pub also: &'static str,
    /// What goes wrong when it is too low.
    pub too_low: &'static str,
    /// What goes wrong when it is too high.
    pub too_high: &'static str,
    /// Whether it may change while the log, or the database, is open.
    pub changes_while_running: bool,
    /// Whether it is chosen when the log, or the database, is made, and stays.
    pub fixed_at_creation: bool,
    /// Reads it.
    pub get: fn(&T) -> u64,
    /// Changes it.
    pub set: fn(&mut T, u64),
}

/// What the values of a setting look like. The bounds are inclusive.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Bytes.
    Size(u64, u64),
    /// Bytes, a power of two.
    PowerOfTwo(u64, u64),
    /// A time, at the bounds in nanoseconds.
    Duration(Duration, Duration),
    /// How many.
    Count(u64, u64),
    /// A part of 1, in thousandths.
    Share(u64, u64),
    /// One of some words, by its index. After a `|` stand other words for the same: `disk|on`.
    OneOf(&'static [&'static str]),
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// `DIR/settings.toml`, in this line.
    File {
        /// The line, from 1.
        line: usize,
    },
    /// The program that opens, or `--set`.
    Set,
    /// It was chosen when the log, or the database, was made.
    Creation,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Default => "default",
            Source::File { .. } => "file",
            Source::Set => "set",
            Source::Creation => "fixed at creation",
        })
    }
}

/// One setting and its value, as `afterimage settings` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingInfo {
    /// Its name.
    pub name: &'static str,
    /// Its value, as it would be written.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
    /// The value where nobody says anything.
    pub default: String,
    /// What a value is written in.
    pub unit: &'static str,
    /// Which values are taken.
    pub bounds: String,
    /// What it is.
    pub what: &'static str,
    /// What goes wrong when it is too low.
    pub too_low: &'static str,
    /// What goes wrong when it is too high.
    pub too_high: &'static str,
    /// Whether it may change while the log, or the database, is open.
    pub changes_while_running: bool,
    /// Whether it is chosen once and stays.
    pub fixed_at_creation: bool,
}

impl Kind {
    fn parse(self, text: &str) -> std::result::Result<u64, String> {
        match self {
            Kind::Size(..) | Kind::PowerOfTwo(..) => parse_size(text),
            Kind::Duration(..) => parse_duration(text).map(nanos),
            Kind::Count(..) => text
                .trim()
                .parse()
                .map_err(|_| format!("`{text}` is not a whole number")),
            Kind::Share(..) => parse_share(text.trim())
                .ok_or_else(|| format!("`{text}` is not a part of 1 with three decimals at most")),
            Kind::OneOf(words) => {
                let is = |word: &&str| word.split('|').any(|w| w.eq_ignore_ascii_case(text.trim()));
                let found = words.iter().position(is);
                let found = found.map(|index| index as u64);
                found.ok_or_else(|| format!("`{text}` is not {}", self.bounds()))
            }
        }
    }

    fn write(self, value: u64) -> String {
        match self {
            Kind::Size(..) | Kind::PowerOfTwo(..) => write_size(value),
            Kind::Duration(..) => write_duration(Duration::from_nanos(value)),
            Kind::Count(..) => value.to_string(),
            Kind::Share(..) => write_share(value),
            Kind::OneOf(words) => usize::try_from(value)
                .ok()
                .and_then(|index| words.get(index))
                .map_or_else(|| value.to_string(), |word| first(word).to_owned()),
        }
    }

    fn takes(self, value: u64) -> bool {
        match self {
            Kind::Size(low, high) | Kind::Count(low, high) | Kind::Share(low, high) => {
                (low..=high).contains(&value)
            }
            Kind::PowerOfTwo(low, high) => value.is_power_of_two() && (low..=high).contains(&value),
            Kind::Duration(low, high) => (nanos(low)..=nanos(high)).contains(&value),
            Kind::OneOf(words) => value < words.len() as u64,
        }
    }

    fn bounds(self) -> String {
        match self {
            Kind::Size(low, high) => format!("from {} to {}", write_size(low), write_size(high)),
            Kind::PowerOfTwo(low, high) => format!(
                "a power of two from {} to {}",
                write_size(low),
                write_size(high)
            ),
            Kind::Duration(low, high) => {
                format!("from {} to {}", write_duration(low), write_duration(high))
            }
            Kind::Count(low, high) => format!("from {low} to {high}"),
            Kind::Share(low, high) => {
                format!("from {} to {}", write_share(low), write_share(high))
            }
            Kind::OneOf(words) => {
                let words: Vec<_> = words.iter().map(|word| first(word)).collect();
                format!("one of {}", words.join(", "))
            }
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Kind::Size(..) | Kind::PowerOfTwo(..) => "B, KiB, MiB, GiB, TiB",
            Kind::Duration(..) => "ns, us, ms, s, min, h",
            Kind::Count(..) => "a number",
            Kind::Share(..) => "a part of 1",
            Kind::OneOf(_) => "a word",
        }
    }
}

/// Thousandths from a decimal number. Not by way of a float: what is said is what counts.
fn parse_share(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
        return None;
    }
    let thousandths: u64 = format!("{decimals:0<3}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(thousandths)
}

fn write_share(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn first(words: &str) -> &str {
    words.split('|').next().unwrap_or(words)
}

impl<T: Default> Setting<T> {
    /// Reads a value from text.
    ///
    /// # Errors
    ///
    /// `BadOption` with what is wrong and which values are taken.
    pub fn parse(&self, text: &str) -> Result<u64> {
        if let Some((word, value)) = self.word
            && word.eq_ignore_ascii_case(text.trim())
        {
            return Ok(value);
        }
        let value = self.kind.parse(text).map_err(|what| {
            let word = self.word.map(|(word, _)| format!(", or {word}"));
            self.bad(what + &word.unwrap_or_default())
        })?;
        self.check_value(value)?;
        Ok(value)
    }

    /// Puts the value that `text` says into the options.
    ///
    /// # Errors
    ///
    /// As [`parse`](Setting::parse).
    pub fn apply(&self, options: &mut T, text: &str) -> Result<()> {
        (self.set)(options, self.parse(text)?);
        Ok(())
    }

    /// Writes a value as [`parse`](Setting::parse) reads it.
    #[must_use]
    pub fn write(&self, value: u64) -> String {
        match self.word {
            Some((word, of)) if of == value => word.to_owned(),
            _ => self.kind.write(value),
        }
    }

    /// Refuses options in which this setting is out of its bounds.
    ///
    /// # Errors
    ///
    /// `BadOption` with the bounds.
    pub fn check(&self, options: &T) -> Result<()> {
        self.check_value((self.get)(options))
    }

    fn check_value(&self, value: u64) -> Result<()> {
        let by_word = self.word.is_some_and(|(_, of)| of == value);
        if by_word || self.kind.takes(value) {
            return Ok(());
        }
        Err(self.bad(format!("{} is not {}", self.write(value), self.bounds())))
    }

    /// Which values are taken, in words.
    #[must_use]
    pub fn bounds(&self) -> String {
        let mut bounds = self.kind.bounds();
        if let Some((word, _)) = self.word {
            bounds = format!("{bounds}, or {word}");
        }
        if !self.also.is_empty() {
            bounds = format!("{bounds}, {}", self.also);
        }
        bounds
    }

    /// The setting, and its value in these options.
    #[must_use]
    pub fn info(&self, options: &T, source: Source) -> SettingInfo {
        SettingInfo {
            name: self.name,
            value: self.write((self.get)(options)),
            source,
            default: self.write((self.get)(&T::default())),
            unit: self.kind.unit(),
            bounds: self.bounds(),
            what: self.what,
            too_low: self.too_low,
            too_high: self.too_high,
            changes_while_running: self.changes_while_running,
            fixed_at_creation: self.fixed_at_creation,
        }
    }

    fn bad(&self, what: String) -> Error {
        Error::BadOption {
            name: self.name,
            what,
        }
    }
}

/// The setting of this name.
#[must_use]
pub fn find<'a, T>(table: &'a [Setting<T>], name: &str) -> Option<&'a Setting<T>> {
    table.iter().find(|setting| setting.name == name)
}

/// The refusal of a change to a setting that stays as it is while the log, or the database, is open.
#[must_use]
pub fn stays<T>(setting: &Setting<T>) -> Error {
    let what = match setting.fixed_at_creation {
        true => "it was fixed when this was made, and never changes".to_owned(),
        false => "it does not change while this is open: close, and open again with the new value"
            .to_owned(),
    };
    Error::BadOption {
        name: setting.name,
        what,
    }
}

/// The refusal of a name that is in no table: it does nothing yet, or is not known at all.
#[must_use]
pub fn refuse(name: &str, later: &[&'static str], known: &[&'static str]) -> Error {
    if let Some(name) = later.iter().find(|found| **found == name) {
        let what = "it does nothing yet in this version, so it is not taken".to_owned();
        return Error::BadOption { name, what };
    }
    let nearest = known.iter().map(|known| (distance(name, known), *known));
    let nearest = nearest
        .min()
        .filter(|(distance, _)| *distance <= name.len() / 3);
    Error::UnknownSetting {
        name: name.to_owned(),
        nearest: nearest.map(|(_, known)| known),
    }
}

/// How many letters must be put in, taken out or exchanged to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let exchanged = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The rows of a table, as `docs/settings.md` has them under this heading; a test that compares them panics with the
/// rows that should be there.
///
/// # Panics
///
/// Where the document says something else.
#[doc(hidden)]
pub fn check_document<T: Default>(document: &str, heading: &str, table: &[Setting<T>]) {
    let section = document.split_once(heading).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or(section);
    let found: Vec<_> = section.lines().filter(|l| l.starts_with("| `")).collect();
    let row = |setting: &Setting<T>| {
        let info = setting.info(&T::default(), Source::Default);
        format!(
            "| `{}` | {} | {} | {} | {} | {} |",
            info.name, info.what, info.default, info.bounds, info.too_low, info.too_high
        )
    };
    let expected: Vec<_> = table.iter().map(row).collect();
    let expected = expected.join("\n");
    assert!(
        found.join("\n") == expected,
        "under `{heading}` docs/settings.md should have these rows:\n{expected}"
    );
}

/// One line of a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    /// The name.
    pub name: String,
    /// The value as text: `true` and `false` are `on` and `off`.
    pub value: String,
    /// The line, from 1.
    pub line: usize,
}

/// Reads `DIR/settings.toml`: pairs of a name and a string, a whole number, `true` or `false`. No file is no lines.
///
/// # Errors
///
/// `SettingsFile` where it is not that, with the line; `Io`.
pub fn read_file(io: &Io, dir: &Path) -> Result<Vec<FileLine>> {
    let path = dir.join(FILE);
    let file = match io.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("open", &path, 0, e)),
    };
    let bad = |line, what: String| Err(in_file(dir, line, what));
    let failed = |e| Error::io("read", &path, 0, e);
    let len = file.len().map_err(failed)?;
    if len > FILE_BYTES_MAX {
        return bad(1, format!("the file has {len} bytes, more than 1MiB"));
    }
    let mut bytes = vec![0; len as usize];
    let mut read = 0;
    // Half a file would be other settings. One that has become shorter meanwhile ends where it ends.
    while read < bytes.len() {
        match file.read_at(read as u64, &mut bytes[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
    bytes.truncate(read);
    match String::from_utf8(bytes) {
        Ok(text) => parse_file(&text).or_else(|(line, what)| bad(line, what)),
        Err(e) => {
            let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|b| **b == b'\n').count();
            bad(line, "the text is not UTF-8".to_owned())
        }
    }
}

/// Says of an error that it is in this line of the settings file of `dir`.
#[must_use]
pub fn in_file(dir: &Path, line: usize, what: impl fmt::Display) -> Error {
    Error::SettingsFile {
        path: dir.join(FILE),
        line,
        what: what.to_string(),
    }
}

/// The lines of a settings file, or the line that is wrong and why.
fn parse_file(text: &str) -> std::result::Result<Vec<FileLine>, (usize, String)> {
    use toml::de::{DeTable, DeValue};
    let line_of = |offset: usize| {
        let before = text.as_bytes().iter().take(offset);
        1 + before.filter(|b| **b == b'\n').count()
    };
    let table = DeTable::parse(text).map_err(|e| {
        let offset = e.span().map_or(0, |span| span.start);
        (line_of(offset), e.message().to_owned())
    })?;
    let mut lines = Vec::new();
    for (name, value) in table.get_ref() {
        let line = line_of(name.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(true) => "on".to_owned(),
            DeValue::Boolean(false) => "off".to_owned(),
            _ => {
                let what = "write the value in quotation marks, as in \"64MiB\"";
                return Err((line, format!("setting {}: {what}", name.get_ref())));
            }
        };
        lines.push(FileLine {
            name: name.get_ref().to_string(),
            value,
            line,
        });
    }
    lines.sort_by_key(|found| found.line);
    Ok(lines)
}

/// The setting that is chosen when a log is made, and stays.
const SEGMENT_SIZE: &str = "wal_segment_size";

/// The segment size of the log in `dir`, if there is one.
fn fixed_segment_bytes(io: &Io, dir: &Path) -> Result<Option<u64>> {
    if !ControlFile::exists(io, dir)? {
        return Ok(None);
    }
    let file = ControlFile::open(io, dir, false)?;
    Ok(Some(file.current().segment_bytes))
}

impl LogOptions {
    /// Sets a setting by its name: `options.set("wal_buffers", "16MiB")`.
    ///
    /// # Errors
    ///
    /// `UnknownSetting` with the nearest name; `BadOption` for a value that is not taken, or a setting that does nothing
    /// yet.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        LogOptions::setting(name)?.apply(self, value)
    }

    /// The defaults, and over them what `DIR/settings.toml` says: change what the program knows better, then open. Of a
    /// log that is there the segment size is its own.
    ///
    /// # Errors
    ///
    /// `SettingsFile` with the line that is refused, also where it says another segment size than the log has;
    /// `ControlCorrupt`, `Io`.
    pub fn from_file(io: &Io, dir: &Path) -> Result<LogOptions> {
        LogOptions::from_file_and(io, dir, &[])
    }

    /// As [`from_file`](LogOptions::from_file), and over the file what `given` says, names and values: as `--set` does.
    ///
    /// # Errors
    ///
    /// As [`from_file`](LogOptions::from_file), and for what is given as [`set`](LogOptions::set).
    pub fn from_file_and(io: &Io, dir: &Path, given: &[(String, String)]) -> Result<LogOptions> {
        let fixed = fixed_segment_bytes(io, dir)?;
        let mut options = LogOptions::default();
        options.segment_bytes = fixed.unwrap_or(options.segment_bytes);
        let set = |options: &mut LogOptions, name: &str, value: &str| {
            options.set(name, value)?;
            match fixed {
                Some(fixed) if options.segment_bytes != fixed => Err(Error::BadOption {
                    name: SEGMENT_SIZE,
                    what: format!(
                        "{value} was asked for, but the log was made with {}",
                        write_size(fixed)
                    ),
                }),
                _ => Ok(()),
            }
        };
        for found in read_file(io, dir)? {
            set(&mut options, &found.name, &found.value)
                .map_err(|e| in_file(dir, found.line, e))?;
        }
        for (name, value) in given {
            set(&mut options, name, value)?;
        }
        options.check()?;
        Ok(options)
    }

    /// The settings of the log in `dir`, with what `given` (names and values) puts over its file, and where each came
    /// from.
    ///
    /// # Errors
    ///
    /// As [`from_file_and`](LogOptions::from_file_and).
    pub fn settings(io: &Io, dir: &Path, given: &[(String, String)]) -> Result<Vec<SettingInfo>> {
        let options = LogOptions::from_file_and(io, dir, given)?;
        let lines = read_file(io, dir)?;
        let exists = ControlFile::exists(io, dir)?;
        let source = |name: &str| match lines.iter().find(|found| found.name == name) {
            _ if exists && name == SEGMENT_SIZE => Source::Creation,
            _ if given.iter().any(|(found, _)| found == name) => Source::Set,
            Some(found) => Source::File { line: found.line },
            None => Source::Default,
        };
        let info = |setting: &Setting<_>| setting.info(&options, source(setting.name));
        Ok(TABLE.iter().map(info).collect())
    }

    /// Refuses settings outside their bounds.
    pub(crate) fn check(&self) -> Result<()> {
        TABLE.iter().try_for_each(|setting| setting.check(self))
    }

    pub(crate) fn setting(name: &str) -> Result<&'static Setting<LogOptions>> {
        let known = || TABLE.iter().map(|s| s.name).collect::<Vec<_>>();
        find(TABLE, name).ok_or_else(|| refuse(name, LATER, &known()))
    }
}

/// Settings of the log that do nothing yet, and are refused by name.
pub const LATER: &[&str] = &["wal_level"];

/// The settings of a log.
pub const TABLE: &[Setting<LogOptions>] = &[
    Setting {
        name: SEGMENT_SIZE,
        what: "the size of a log file",
        kind: Kind::PowerOfTwo(64 << 10, 1 << 30),
        word: None,
        also: "and for a database at least 8 pages",
        too_low: "a new file every moment; a record larger than a quarter of it is refused",
        too_high: "log is given back, and archived, in large pieces; two such files are kept ready",
        changes_while_running: false,
        fixed_at_creation: true,
        get: |o| o.segment_bytes,
        set: |o, value| o.segment_bytes = value,
    },
    Setting {
        name: "wal_buffers",
        what: "how much log may wait in memory before an append writes it out",
        kind: Kind::Size(64 << 10, 1 << 30),
        word: None,
        also: "",
        too_low: "appends wait for the disk although nobody asked for it",
        too_high: "memory that is seldom used; as much again while it is being written",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.wal_buffers,
        set: |o, value| o.wal_buffers = value,
    },
    Setting {
        name: "wal_writer_delay",
        what: "how long a commit that does not wait for the disk stays in memory, or with the operating system",
        kind: Kind::Duration(Duration::from_millis(1), Duration::from_secs(10)),
        word: None,
        also: "",
        too_low: "a sync every moment, for commits that did not ask for one",
        too_high: "a crash loses more of the commits that did not wait",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| nanos(o.wal_writer_delay),
        set: |o, value| o.wal_writer_delay = Duration::from_nanos(value),
    },
    Setting {
        name: "commit_delay",
        what: "how long the leader of a flush waits for more commits to join it",
        kind: Kind::Duration(Duration::ZERO, Duration::from_millis(100)),
        word: None,
        also: "",
        too_low: "more syncs than necessary, where a sync costs the disk much",
        too_high: "every commit waits that long, and mostly for nothing",
        changes_while_running: true,
        fixed_at_creation: false,
        get: |o| nanos(o.commit_delay),
        set: |o, value| o.commit_delay = Duration::from_nanos(value),
    },
    Setting {
        name: "commit_siblings",
        what: "how many others must wait before commit_delay is waited for",
        kind: Kind::Count(0, 1000),
        word: None,
        also: "",
        too_low: "a commit that is alone waits for company",
        too_high: "commit_delay is never waited for",
        changes_while_running: true,
        fixed_at_creation: false,
        get: |o| o.commit_siblings as u64,
        set: |o, value| o.commit_siblings = value as usize,
    },
    Setting {
        name: "flushes_in_flight",
        what: "how many flushes of the log may be under way at once",
        kind: Kind::Count(1, MOST_FLIGHTS as u64),
        word: Some(("auto", 0)),
        also: "",
        too_low: "a disk that can do several syncs at once is left idle",
        too_high: "smaller groups, more syncs for the same commits",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.flushes_in_flight as u64,
        set: |o, value| o.flushes_in_flight = value as usize,
    },
    Setting {
        name: "wal_sync_method",
        what: "how a flush is made durable; auto: what was found to be the fastest when the log was made",
        kind: Kind::OneOf(&["auto", "fdatasync", "open_datasync", "fsync", "open_sync"]),
        word: None,
        also: "",
        too_low: "fsync, open_sync: the disk also writes the file's times, for nothing",
        too_high: "open_datasync, open_sync: one flush at a time, which wastes a slow disk that could do several",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| {
            o.wal_sync_method
                .map_or(0, |method| 1 + method.place() as u64)
        },
        set: |o, value| {
            let place = usize::try_from(value).unwrap_or(usize::MAX);
            let method = place
                .checked_sub(1)
                .and_then(|place| SyncMethod::ALL.get(place));
            o.wal_sync_method = method.copied();
        },
    },
    Setting {
        name: "wal_direct_io",
        what: "whether flushes pass the page cache by; auto: what was found to be the fastest when the log was made",
        kind: Kind::OneOf(&["auto", "off", "on"]),
        word: None,
        also: "",
        too_low: "every flush costs a copy into the page cache, and writes whole pages of 4 KiB where sectors of the disk would do",
        too_high: "an open is refused where the file system cannot; whoever reads the log just behind its writer reads it from the disk",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.wal_direct_io.map_or(0, |direct| 1 + u64::from(direct)),
        set: |o, value| o.wal_direct_io = value.checked_sub(1).map(|direct| direct == 1),
    },
    Setting {
        name: "spare_segments",
        what: "how many log files are kept prepared ahead of the one in use",
        kind: Kind::Count(1, 64),
        word: None,
        also: "",
        too_low: "a burst of writing waits for a file to be made",
        too_high: "room on the disk that stays unused",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.spare_segments as u64,
        set: |o, value| o.spare_segments = value as usize,
    },
    Setting {
        name: "min_wal_size",
        what: "how much log is kept by using old files again instead of removing them",
        kind: Kind::Size(0, 1024 << 40),
        word: None,
        also: "and no more than max_wal_size counts",
        too_low: "files are removed and made anew, and a new file costs its size in writing",
        too_high: "room on the disk that nothing else can use",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.min_wal_size,
        set: |o, value| o.min_wal_size = value,
    },
    Setting {
        name: "max_wal_size",
        what: "how much log is kept so where that much was needed lately",
        kind: Kind::Size(0, 1024 << 40),
        word: None,
        also: "",
        too_low: "after every burst files are removed, and made anew for the next one",
        too_high: "after a burst the disk stays full of old files",
        changes_while_running: true,
        fixed_at_creation: false,
        get: |o| o.max_wal_size,
        set: |o, value| o.max_wal_size = value,
    },
    Setting {
        name: "archive_timeout",
        what: "how long records may stand in a file before it is closed, so that it can be archived",
        kind: Kind::Duration(Duration::from_secs(1), Duration::from_secs(365 * 24 * 3600)),
        word: Some(("off", u64::MAX)),
        also: "",
        too_low: "a whole file for a few records, again and again",
        too_high: "records of a quiet time reach the archive late",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| nanos(o.archive_timeout),
        set: |o, value| {
            o.archive_timeout = match value {
                u64::MAX => Duration::MAX,
                nanos => Duration::from_nanos(nanos),
            };
        },
    },
    Setting {
        name: "wal_pad_flush",
        what: "whether a flush fills its last block, so that no block is ever written twice",
        kind: Kind::OneOf(&["off", "on"]),
        word: None,
        also: "",
        too_low: "off: a disk that damages what it writes again unchanged can damage acknowledged records",
        too_high: "on: every flush takes whole blocks of 4 KiB from the log",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| u64::from(o.wal_pad_flush),
        set: |o, value| o.wal_pad_flush = value != 0,
    },
    Setting {
        name: "max_slot_wal_keep_size",
        what: "how much log one slot may hold back before it is given up",
        kind: Kind::Size(64 << 10, 1 << 50),
        word: Some(("unlimited", u64::MAX)),
        also: "",
        too_low: "a reader that pauses loses its place",
        too_high: "a reader that never comes back fills the disk, until the full disk gives its slot up",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.max_slot_wal_keep_size,
        set: |o, value| o.max_slot_wal_keep_size = value,
    },
    Setting {
        name: "idle_replication_slot_timeout",
        what: "how long a slot may go without being owned or moved before it is given up",
        kind: Kind::Duration(
            Duration::from_secs(1),
            Duration::from_secs(10 * 365 * 24 * 3600),
        ),
        word: Some(("off", u64::MAX)),
        also: "",
        too_low: "a reader that is down for a while loses its place",
        too_high: "a forgotten slot holds log back until it comes to max_slot_wal_keep_size",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| nanos(o.idle_replication_slot_timeout),
        set: |o, value| o.idle_replication_slot_timeout = Duration::from_nanos(value),
    },
    Setting {
        name: "recycle_behind_slots",
        what: "whether what all slots have passed is given up by itself",
        kind: Kind::OneOf(&["off", "on"]),
        word: None,
        also: "",
        too_low: "log is kept until truncate_before is called",
        too_high: "log that only its writer would still read is gone once every slot has passed it",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| u64::from(o.recycle_behind_slots),
        set: |o, value| o.recycle_behind_slots = value != 0,
    },
];

#[cfg(test)]
mod tests;
