//! A user of the log, as small as can be: a control file, a log of numbered records, and the protocol of opening and
//! stopping them. The tests crash it everywhere and compare what is found with what was acknowledged.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub mod clients;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use afterimage_io::Io;
use afterimage_log::{
    Control, ControlFile, Error, Examination, Identity, Log, LogOptions, Lsn, Result,
};

pub const SEGMENT: u64 = 64 << 10;

pub fn dir() -> &'static Path {
    Path::new("db")
}

pub fn identity() -> Identity {
    Identity {
        database_id: 0x1111,
        timeline_id: 0x2222,
        timeline_ordinal: 1,
    }
}

pub fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        spare_segments: 1,
        // What is given up and not needed at once is removed.
        min_wal_size: 0,
        max_wal_size: 0,
        wal_writer_delay: Duration::from_millis(200),
        background: false,
        ..LogOptions::default()
    }
}

/// What the world outside knows: how many records were appended, and how many were acknowledged.
#[derive(Clone, Default)]
pub struct Model {
    pub appended: Arc<AtomicU64>,
    pub acknowledged: Arc<AtomicU64>,
}

pub struct Db {
    pub io: Io,
    pub dir: std::path::PathBuf,
    pub control: ControlFile,
    pub log: Log,
    pub found: Option<Examination>,
    pub model: Model,
}

/// The payload of record `n`: its number, then bytes that tell it from others, in a length that varies.
pub fn payload(n: u64, len: usize) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + len, n as u8 ^ 0x5A);
    bytes
}

fn scan_from(control: &Control) -> Lsn {
    Lsn::new(u64::from_le_bytes(control.client[..8].try_into().unwrap())).unwrap()
}

impl Db {
    pub fn open(io: &Io, model: &Model) -> Result<Db> {
        Db::open_in(io, dir(), model, &options())
    }

    /// Opens, or makes, the database: the protocol of the engine without the engine.
    pub fn open_in(io: &Io, dir: &Path, model: &Model, options: &LogOptions) -> Result<Db> {
        if !io.exists(dir).unwrap() {
            io.create_dir(dir).unwrap();
        }
        // Also where it was there: who made it may have died before this.
        io.sync_dir(dir.parent().unwrap()).unwrap();
        if !ControlFile::exists(io, dir)? {
            let log = Log::create(io, dir, &identity(), 1, options)?;
            let mut control = Control::new(identity(), options.segment_bytes);
            control.client[..8].copy_from_slice(&log.next_lsn().get().to_le_bytes());
            let control = ControlFile::create(io, dir, &control)?;
            return Ok(Db {
                io: io.clone(),
                dir: dir.into(),
                control,
                log,
                found: None,
                model: model.clone(),
            });
        }
        let mut control = ControlFile::open(io, dir, true)?;
        let found = Log::examine(
            io,
            dir,
            control.current(),
            scan_from(control.current()),
            &[],
        )?;
        let clean = control.current().clean_end.is_some();
        if !clean {
            control.rewrite_in_place()?;
        }
        let epoch = control.current().epoch + u64::from(!clean);
        let next = Control {
            clean_end: None,
            epoch,
            ..control.current().clone()
        };
        control.write(&next)?;
        let log = Log::resume(io, dir, control.current(), found.clone(), options)?;
        Ok(Db {
            io: io.clone(),
            dir: dir.into(),
            control,
            log,
            found: Some(found),
            model: model.clone(),
        })
    }

    /// Appends the next record, of 8 + `len` bytes.
    pub fn append(&self, len: usize) -> Result<Lsn> {
        let mut space = self
            .log
            .reserve(Log::frame_bytes(8 + len, len.is_multiple_of(2)))?;
        let n = self.model.appended.fetch_add(1, Ordering::Relaxed);
        Ok(self
            .log
            .append(
                &mut space,
                &payload(n, len),
                len.is_multiple_of(2),
                |_, _| (),
            )?
            .end)
    }

    /// Makes everything appended durable, and tells the model.
    pub fn sync(&self) -> Result<()> {
        let count = self.model.appended.load(Ordering::Relaxed);
        self.log.wait_durable(self.log.next_lsn())?;
        self.model.acknowledged.fetch_max(count, Ordering::Relaxed);
        Ok(())
    }

    pub fn put(&self, len: usize) -> Result<()> {
        self.append(len)?;
        self.sync()
    }

    /// A checkpoint, as far as the log is concerned: nothing before the last record is needed any more.
    pub fn checkpoint(&mut self) -> Result<u64> {
        self.sync()?;
        let last = self.log.reader(self.scan_from()).last().unwrap()?.lsn;
        let mut control = self.control.current().clone();
        control.client[..8].copy_from_slice(&last.get().to_le_bytes());
        control.durable_lsn = Some(self.log.durable_lsn());
        self.control.write(&control)?;
        // Both copies, so that neither needs what is given up.
        self.control.write(&control)?;
        self.log.truncate_before(last)
    }

    pub fn scan_from(&self) -> Lsn {
        scan_from(self.control.current())
    }

    /// A clean stop.
    pub fn close(mut self) -> Result<()> {
        self.sync()?;
        let end = self.log.next_lsn();
        let next = Control {
            clean_end: Some(end),
            durable_lsn: Some(end),
            ..self.control.current().clone()
        };
        self.control.write(&next)
    }

    /// The numbers of the records that can be read; asserts that each is whole and that they follow each other.
    pub fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        for frame in self.log.reader(self.scan_from()) {
            let frame = frame.unwrap();
            let n = u64::from_le_bytes(frame.payload[..8].try_into().unwrap());
            assert_eq!(frame.payload, payload(n, frame.payload.len() - 8));
            assert!(
                numbers.last().is_none_or(|last| last + 1 == n),
                "{n} after {numbers:?}"
            );
            assert_eq!(self.log.read(frame.lsn).unwrap(), frame);
            numbers.push(n);
        }
        numbers
    }
}

/// Recovers and compares with the model: a prefix of what was appended, with everything that was acknowledged.
pub fn recover_and_check(io: &Io, model: &Model, context: &str) -> Db {
    let db = match Db::open(io, &Model::default()) {
        Ok(db) => db,
        Err(e) => panic!("{context}: recovery refuses: {e}"),
    };
    let numbers = db.numbers();
    let count = numbers.last().map_or(0, |n| n + 1);
    let (acknowledged, appended) = (
        model.acknowledged.load(Ordering::Relaxed),
        model.appended.load(Ordering::Relaxed),
    );
    assert!(
        count >= acknowledged,
        "{context}: {acknowledged} acknowledged, {count} found: {:?}",
        db.found
    );
    assert!(
        count <= appended,
        "{context}: {appended} appended, {count} found"
    );
    db.model.appended.store(count, Ordering::Relaxed);
    db
}

/// What an error that is to be seen looks like.
pub fn is_full(e: &Error) -> bool {
    matches!(e, Error::DiskFull { .. })
}
