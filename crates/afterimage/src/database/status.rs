//! The `status` file: the holder's counters and settings, for other processes to look at. Rewritten in place without sync, in
//! one write; advisory: recovery never reads it.
//!
//! Text, a name and its value a line, from [`TEXT_AT`] on: the log keeps its positions before that. The last line has a checksum of
//! the others, so that what is read while it is written, or was torn by a crash, counts for nothing.

use std::fmt::Write as _;
use std::path::Path;

use afterimage_io::{File, Io, OpenMode};
use afterimage_log::Histogram;
use crc_fast::{CrcAlgorithm, checksum};

use super::pins::{self, Pin};
use super::stats::{RecordStats, Stats};
use crate::error::{Error, Result};
use crate::recovery::LastRecovery;

/// The file's name in the database directory.
pub(super) const STATUS_FILE: &str = "status";
/// Where the text begins: behind the log's positions.
const TEXT_AT: u64 = 8192;
/// The text is written in whole blocks, and is never longer than so many bytes.
const BLOCK: usize = 4096;
const TEXT_BYTES_MAX: usize = 8 * BLOCK;
const FIRST_LINE: &str = "afterimage status 2";
/// Before the checksum, in the last line.
const END: &str = "end ";
const END_LINE_BYTES: usize = END.len() + 9;
/// A reason for having stopped is cut off here.
const FAILED_CHARS_MAX: usize = 400;

/// A look at a database: what the `status` file says and when it was written, or [`Database::status`](crate::Database::status).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusFile {
    /// The holder's process id.
    pub pid: u32,
    /// Microseconds since the Unix epoch.
    pub written_at_micros: u64,
    /// Whether the holder has closed the database since.
    pub closed: bool,
    /// Why the engine has stopped, in words, if it has: a write or sync of the log failed, or it panicked. Every call then answers
    /// [`Error::LogFailed`](crate::Error::LogFailed), until the database is closed and opened again.
    pub failed: Option<String>,
    /// The counters.
    pub stats: Stats,
    /// What some of them (of [`Stats::fields`]) were when a setting was last changed by [`Database::set`](crate::Database::set); empty if none
    /// was. Settings are to be judged by what has come since.
    pub at_last_set: Vec<(String, u64)>,
    /// The holder's settings by their names, each as it would be written.
    pub settings: Vec<(String, String)>,
    /// The last recovery that had something to recover.
    pub recovery: Option<LastRecovery>,
    /// Who holds the log back, oldest need first, as many as have room.
    pub pins: Vec<Pin>,
}

impl StatusFile {
    fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "{FIRST_LINE}\npid {}\nwritten_at_micros {}\nclosed {}\n",
            self.pid,
            self.written_at_micros,
            u8::from(self.closed)
        );
        if let Some(why) = &self.failed {
            let _ = writeln!(text, "failed {}", one_line(why));
        }
        for (name, value) in self.stats.numbers() {
            let _ = writeln!(text, "{name} {value}");
        }
        for (name, value) in &self.at_last_set {
            let _ = writeln!(text, "at_last_set {name} {value}");
        }
        for (name, times) in self.stats.histograms() {
            let _ = writeln!(text, "times {name} {}", times.to_words());
        }
        for RecordStats {
            kind,
            records,
            bytes,
        } in &self.stats.records
        {
            let _ = writeln!(text, "records {records} {bytes} {kind}");
        }
        for (name, value) in &self.settings {
            let _ = writeln!(text, "setting {name} {value}");
        }
        for line in self.recovery.iter().flat_map(LastRecovery::lines) {
            let _ = writeln!(text, "recovery {line}");
        }
        for pin in &self.pins {
            let line = pins::encode(pin);
            if text.len() + line.len() + END_LINE_BYTES > TEXT_BYTES_MAX {
                break;
            }
            text.push_str(&line);
        }
        let crc = crc32c(text.as_bytes());
        let _ = writeln!(text, "{END}{crc:08x}");
        let mut bytes = text.into_bytes();
        assert!(bytes.len() <= TEXT_BYTES_MAX, "the text has its bound");
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        bytes
    }

    /// `None` if the bytes are not a whole status (it may be read while it is being written).
    fn decode(bytes: &[u8]) -> Option<StatusFile> {
        let text = whole(bytes)?;
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut status = StatusFile {
            pid: 0,
            written_at_micros: 0,
            closed: false,
            failed: None,
            stats: Stats::default(),
            at_last_set: Vec::new(),
            settings: Vec::new(),
            recovery: None,
            pins: Vec::new(),
        };
        for (name, value) in lines.filter_map(|line| line.split_once(' ')) {
            status.take(name, value)?;
        }
        Some(status)
    }

    /// What one line says. A name that this version does not know is left out, whatever stands behind it.
    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "pin" => self.pins.extend(pins::decode(value)),
            "recovery" => LastRecovery::take(&mut self.recovery, value)?,
            "setting" => {
                let (name, value) = value.split_once(' ')?;
                self.settings.push((name.to_owned(), value.to_owned()));
            }
            "times" => {
                let (name, words) = value.split_once(' ')?;
                match Histogram::from_words(words) {
                    Some(times) => drop(self.stats.set_histogram(name, times)),
                    None if self.stats.set_histogram(name, Histogram::default()) => return None,
                    None => {}
                }
            }
            "records" => {
                let mut words = value.splitn(3, ' ');
                self.stats.records.push(RecordStats {
                    records: words.next()?.parse().ok()?,
                    bytes: words.next()?.parse().ok()?,
                    kind: words.next()?.to_owned(),
                });
            }
            "pid" => self.pid = value.parse().ok()?,
            "written_at_micros" => self.written_at_micros = value.parse().ok()?,
            "closed" => self.closed = value != "0",
            "failed" => self.failed = Some(value.to_owned()),
            "at_last_set" => {
                let (name, value) = value.split_once(' ')?;
                self.at_last_set
                    .push((name.to_owned(), value.parse().ok()?));
            }
            _ => match value.parse() {
                Ok(value) => drop(self.stats.set(name, value)),
                Err(_) if self.stats.set(name, 0) => return None,
                Err(_) => {}
            },
        }
        Some(())
    }

    /// Reads the status of the database in `directory`, which may be open elsewhere. `None` if there is none, or it is
    /// being written just now.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn read(io: &Io, directory: &Path) -> Result<Option<StatusFile>> {
        let path = directory.join(STATUS_FILE);
        let file = match io.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(&path, "open", &e)),
        };
        let failed = |e| Error::io(&path, "read", &e);
        let there = file.len().map_err(failed)?.saturating_sub(TEXT_AT);
        let mut bytes = vec![0; there.min(TEXT_BYTES_MAX as u64) as usize];
        match file.read_exact_at(TEXT_AT, &mut bytes) {
            Ok(()) => Ok(StatusFile::decode(&bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }
}

/// What is a line of its own, and no longer than it may be.
fn one_line(text: &str) -> String {
    let chars = text.chars().take(FAILED_CHARS_MAX);
    chars
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The text, if it is whole, without its last line. What is behind that is of an earlier, longer one.
fn whole(bytes: &[u8]) -> Option<&str> {
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if let Some(crc) = line.strip_prefix(END.as_bytes()) {
            let crc = std::str::from_utf8(crc).ok()?.trim_end_matches('\n');
            let is_its = u32::from_str_radix(crc, 16) == Ok(crc32c(&bytes[..at]));
            return std::str::from_utf8(&bytes[..at]).ok().filter(|_| is_its);
        }
        at += line.len();
    }
    None
}

fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The holder's side.
pub(super) struct StatusWriter {
    file: File,
}

impl StatusWriter {
    pub(super) fn open(io: &Io, directory: &Path) -> Result<StatusWriter> {
        let path = directory.join(STATUS_FILE);
        let file = io
            .open(&path, OpenMode::Create)
            .map_err(|e| Error::io(&path, "create", &e))?;
        // All of the room that it may ever take: on a full disk it is wanted most.
        let _ = file.prefill(TEXT_AT, TEXT_AT + TEXT_BYTES_MAX as u64);
        Ok(StatusWriter { file })
    }

    /// Best effort: a status that could not be written stops nobody.
    pub(super) fn write(&self, status: &StatusFile) {
        let _ = self.file.write_all_at(TEXT_AT, &status.encode());
    }
}

#[cfg(test)]
mod tests {
    use super::super::pins::PinHolder;
    use super::*;
    use crate::record::RecordKind;

    #[test]
    fn what_is_written_is_read_and_a_part_is_nothing() {
        let pin = Pin {
            holder: PinHolder::DirtyPage { page: 7 },
            lsn: 5,
            bytes: 7,
        };
        let mut stats = Stats {
            next_lsn: 12,
            commits: 5,
            ..Stats::default()
        };
        stats.records.push(RecordStats {
            kind: "replace large".to_owned(),
            records: 3,
            bytes: 4711,
        });
        assert!(stats.set_histogram("wait_lock", histogram(3)));
        let status = StatusFile {
            pid: 7,
            written_at_micros: 99,
            closed: true,
            failed: Some("sync of log/7 failed: input/output error".to_owned()),
            stats,
            at_last_set: vec![("checkpoints_forced".to_owned(), 5)],
            settings: vec![("io_capacity".to_owned(), "unlimited".to_owned())],
            recovery: None,
            pins: vec![pin.clone(); 3],
        };
        let bytes = status.encode();
        assert_eq!(StatusFile::decode(&bytes), Some(status.clone()));
        let many = StatusFile {
            pins: vec![pin; 1000],
            ..status.clone()
        };
        let some = StatusFile::decode(&many.encode()).expect("a whole status");
        assert!(some.pins.len() > 9, "{}", some.pins.len());
        let end = whole(&bytes).expect("it is whole").len();
        for at in [0, 30, 200, end - 2, end + END.len()] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(StatusFile::decode(&damaged), None, "byte {at}");
        }
        assert_eq!(StatusFile::decode(&bytes[..40]), None);
        assert_eq!(StatusFile::decode(&[0; BLOCK]), None);
        assert_eq!(StatusFile::decode(&[]), None);
    }

    #[test]
    fn what_a_later_version_adds_is_left_out() {
        let of = |lines: &str| {
            let text = format!("{FIRST_LINE}\npid 7\n{lines}commits 5\n");
            let text = format!("{text}{END}{:08x}\n", crc32c(text.as_bytes()));
            StatusFile::decode(text.as_bytes())
        };
        let added = "slot standby 4711\ntimes nap 1 2 200:1\nalone\nnaps 3\n";
        assert_eq!(of(added), of(""));
        assert_eq!(of("").map(|status| status.stats.commits), Some(5));
        for broken in ["commits many\n", "times commit 1 2 200:1\n"] {
            assert_eq!(of(broken), None, "{broken}");
        }
    }

    fn histogram(buckets: u32) -> Histogram {
        let many = |bucket: u32| format!(" {bucket}:{}", u64::MAX / 1000);
        let buckets: String = (0..buckets).map(many).collect();
        let words = format!("{} {}{buckets}", u64::MAX, u64::MAX);
        Histogram::from_words(&words).expect("as it is written")
    }

    #[test]
    fn there_is_room_for_the_largest_numbers_and_for_pins_behind_them() {
        let mut stats = Stats::default();
        for (name, _) in Stats::default().numbers() {
            assert!(stats.set(name, u64::MAX), "{name}");
        }
        for (name, _) in Stats::default().histograms() {
            assert!(stats.set_histogram(name, histogram(60)), "{name}");
        }
        stats.records = RecordKind::all()
            .map(|kind| RecordStats {
                kind: kind.name().to_owned(),
                records: u64::MAX,
                bytes: u64::MAX,
            })
            .collect();
        let options = crate::Options::new();
        let settings = options.settings().into_iter();
        let pin = Pin {
            holder: PinHolder::Checkpoint,
            lsn: u64::MAX,
            bytes: u64::MAX,
        };
        let status = StatusFile {
            pid: u32::MAX,
            written_at_micros: u64::MAX,
            closed: true,
            failed: Some("\u{10ffff}\n".repeat(1000)),
            stats,
            at_last_set: vec![("checkpoint_interval_micros".to_owned(), u64::MAX); 20],
            settings: settings
                .map(|info| (info.name.to_owned(), info.value))
                .collect(),
            recovery: None,
            pins: vec![pin; 1000],
        };
        let read = StatusFile::decode(&status.encode()).expect("there is room for it");
        assert!(read.pins.len() > 9, "{}", read.pins.len());
        assert_eq!(read.stats, status.stats);
        assert_eq!(read.settings, status.settings);
    }
}
