//! The real world: the only file that touches `std::fs` and the real clocks for writing. Files are made 0600 and
//! directories 0700; a directory is synced by opening it and syncing the handle (Unix; elsewhere a directory cannot
//! be synced and the call does nothing).

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::atomic::{self, AtomicFile};
use crate::direct;
use crate::lock::{LockAttempt, LockFile, parse_pid};
use crate::mode::OpenMode;
use crate::os_thread;
use crate::sync_method::{DurableWrites, SyncMethod};

pub(crate) struct OsWorld {
    began: Instant,
    sync_delay: Duration,
}

/// An open real file.
pub(crate) struct OsFile {
    file: fs::File,
    /// Every sync takes this much longer than the disk needs.
    sync_delay: Duration,
    /// How durable writes are made, through a description of their own; reads and other writes stay ordinary.
    durable: Option<(DurableWrites, fs::File)>,
    /// For writes that are never torn, where the file was opened for them and they are promised.
    atomic: Option<AtomicFile>,
}

impl OsWorld {
    pub(crate) fn new() -> OsWorld {
        OsWorld {
            began: Instant::now(),
            sync_delay: Duration::ZERO,
        }
    }

    /// The same world on a disk whose every sync takes this much longer.
    pub(crate) fn with_sync_delay(&self, sync_delay: Duration) -> OsWorld {
        OsWorld {
            began: self.began,
            sync_delay,
        }
    }

    pub(crate) fn open(&self, path: &Path, how: OpenMode) -> Result<OsFile> {
        Ok(OsFile {
            file: open_options(how).open(path)?,
            sync_delay: self.sync_delay,
            durable: None,
            atomic: None,
        })
    }

    pub(crate) fn open_durable(
        &self,
        path: &Path,
        how: OpenMode,
        writes: DurableWrites,
    ) -> Result<OsFile> {
        let mut file = self.open(path, how)?;
        if writes != DurableWrites::PLAIN {
            file.durable = Some((writes, direct::open(path, writes)?));
        }
        Ok(file)
    }

    pub(crate) fn open_atomic(&self, path: &Path, how: OpenMode) -> Result<OsFile> {
        let mut file = self.open(path, how)?;
        if how.writes() {
            file.atomic = AtomicFile::open(path, &file.file);
        }
        Ok(file)
    }

    pub(crate) fn create_dir(&self, path: &Path) -> Result<()> {
        #[cfg_attr(not(unix), expect(unused_mut, reason = "modes exist on Unix only"))]
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to)
    }

    pub(crate) fn remove_file(&self, path: &Path) -> Result<()> {
        fs::remove_file(path)
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<()> {
        let path = or_current(path);
        if cfg!(unix) {
            fs::File::open(path)?.sync_all()?;
            delay(self.sync_delay);
            Ok(())
        } else {
            fs::metadata(path).map(|_| ())
        }
    }

    pub(crate) fn list_dir(&self, path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        // The standard library makes most interrupted calls again, but not this one.
        let entries = loop {
            match fs::read_dir(or_current(path)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        for entry in entries {
            let name = entry?.file_name().into_string().map_err(|name| {
                let what = format!("the name {name:?} in {} is not Unicode", path.display());
                Error::new(ErrorKind::InvalidData, what)
            })?;
            names.push(name);
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn exists(&self, path: &Path) -> Result<bool> {
        fs::exists(or_current(path))
    }

    pub(crate) fn is_dir(&self, path: &Path) -> Result<bool> {
        match fs::metadata(or_current(path)) {
            Ok(metadata) => Ok(metadata.is_dir()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn try_lock(&self, path: &Path) -> Result<LockAttempt> {
        let mut file = open_options(OpenMode::Create).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(held_by(&mut file)),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(LockAttempt::Acquired(LockFile::new(Some(Box::new(file)))))
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn wall_clock(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        // A clock set before 1970 reads as 1970: times are information for people, never an order.
        since.map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
    }

    pub(crate) fn random(&self) -> u128 {
        system_random().unwrap_or_else(|| {
            // Without /dev/urandom: the standard library keys its hashers from the operating system's randomness.
            let half = || u128::from(RandomState::new().build_hasher().finish());
            let mixed = |salt: u64| u128::from(RandomState::new().hash_one(salt));
            (half() << 64)
                ^ mixed(1)
                ^ (mixed(2) << 64)
                ^ mixed(self.began.elapsed().subsec_nanos().into())
        })
    }
}

impl OsFile {
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        read_at(&self.file, offset, buf)
    }

    /// What the system makes of it is its own affair.
    pub(crate) fn will_read(&self, offset: u64, len: u64) {
        #[cfg(target_os = "linux")]
        if let Some(len) = std::num::NonZeroU64::new(len) {
            let _ =
                rustix::fs::fadvise(&self.file, offset, Some(len), rustix::fs::Advice::WillNeed);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
    }

    pub(crate) fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        write_at(&self.file, offset, buf)
    }

    /// All of `buf`, durable when this returns.
    pub(crate) fn write_durably(&self, offset: u64, buf: &[u8]) -> Result<()> {
        let (writes, file) = match &self.durable {
            Some((writes, file)) => (*writes, file),
            None => (DurableWrites::PLAIN, &self.file),
        };
        if writes.direct {
            direct::aligned(buf, |buf| write_all_at(file, offset, buf))?;
        } else {
            write_all_at(file, offset, buf)?;
        }
        match writes.method {
            SyncMethod::Fdatasync => file.sync_data()?,
            SyncMethod::Fsync => file.sync_all()?,
            SyncMethod::OpenDatasync | SyncMethod::OpenSync => {}
        }
        delay(self.sync_delay);
        Ok(())
    }

    /// What durable writes are whole multiples of, where they pass the page cache by.
    pub(crate) fn direct_block(&self) -> Option<usize> {
        let durable = self.durable.as_ref();
        durable.and_then(|(writes, file)| writes.direct.then(|| direct::block(file)))
    }

    pub(crate) fn atomic_sizes(&self) -> Option<RangeInclusive<usize>> {
        self.atomic.as_ref().map(AtomicFile::sizes)
    }

    pub(crate) fn write_atomic(&self, writes: &[(u64, &[u8])]) -> Result<()> {
        match &self.atomic {
            Some(file) => file.write(writes),
            None => atomic::require_all(None, writes),
        }
    }

    pub(crate) fn sync_data(&self) -> Result<()> {
        match &self.durable {
            Some((writes, _)) if writes.method == SyncMethod::Fsync => self.file.sync_all()?,
            _ => self.file.sync_data()?,
        }
        delay(self.sync_delay);
        Ok(())
    }

    pub(crate) fn sync_all(&self) -> Result<()> {
        self.file.sync_all()?;
        delay(self.sync_delay);
        Ok(())
    }

    pub(crate) fn len(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }
}

/// Makes a sync that has succeeded take longer; costs nothing where there is no delay.
fn delay(sync_delay: Duration) {
    if !sync_delay.is_zero() {
        os_thread::sleep(sync_delay);
    }
}

/// A shared claim on a lock file that exists already: for readers that change nothing.
pub(crate) fn try_lock_shared(path: &Path) -> Result<LockAttempt> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(LockAttempt::Acquired(LockFile::new(None)));
        }
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(LockAttempt::Acquired(LockFile::new(Some(Box::new(file))))),
        Err(fs::TryLockError::WouldBlock) => Ok(held_by(&mut file)),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn held_by(file: &mut fs::File) -> LockAttempt {
    let mut content = Vec::new();
    // Unreadable is not an error: where locks are mandatory the holder's file cannot be read.
    let read = file.take(32).read_to_end(&mut content);
    LockAttempt::Held {
        pid: read.ok().and_then(|_| parse_pid(&content)),
    }
}

fn open_options(how: OpenMode) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(how.writes());
    match how {
        OpenMode::Read | OpenMode::ReadWrite => {}
        OpenMode::Create => _ = options.create(true).truncate(false),
        OpenMode::CreateNew => _ = options.create_new(true),
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn or_current(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

fn system_random() -> Option<u128> {
    if !cfg!(unix) {
        return None;
    }
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .ok()?
        .read_exact(&mut bytes)
        .ok()?;
    Some(u128::from_le_bytes(bytes))
}

fn write_all_at(file: &fs::File, mut offset: u64, mut buf: &[u8]) -> Result<()> {
    while !buf.is_empty() {
        match write_at(file, offset, buf) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                buf = &buf[written..];
                offset += written as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(unix)]
pub(crate) fn read_at(file: &fs::File, offset: u64, buf: &mut [u8]) -> Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(unix)]
pub(crate) fn write_at(file: &fs::File, offset: u64, buf: &[u8]) -> Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, buf, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &fs::File, offset: u64, buf: &mut [u8]) -> Result<usize> {
    match std::os::windows::fs::FileExt::seek_read(file, buf, offset) {
        // ERROR_HANDLE_EOF: reading beyond the end is zero bytes everywhere else.
        Err(error) if error.raw_os_error() == Some(38) => Ok(0),
        other => other,
    }
}

#[cfg(windows)]
pub(crate) fn write_at(file: &fs::File, offset: u64, buf: &[u8]) -> Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, buf, offset)
}
