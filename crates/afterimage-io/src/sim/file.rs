//! `SimFile`: the calls on an open file of a simulated world.

use std::io::{Error, ErrorKind, Result};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::calls::{Call, EIO, Way};
use super::disk::{DiskState, FileId};
use super::observer::{CallKind, Event, Misread, SyncFailure, Verdict};
use super::world::{SimWorld, State};
use crate::atomic;

/// No file is longer than this, as on real systems.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// An open file of a simulated world.
pub(crate) struct SimFile {
    world: Arc<SimWorld>,
    file: FileId,
    writable: bool,
    /// Opened for writes that are never torn.
    atomic: bool,
    /// How many of the file's failures this description has been told of, or came too late for. As on Linux, each is
    /// told once to each description that was open when it happened.
    told: AtomicU64,
    /// Tells that the file is open, even when it has no name any more.
    _open: Arc<()>,
}

impl SimFile {
    pub(super) fn new(
        world: Arc<SimWorld>,
        file: FileId,
        writable: bool,
        open: Arc<()>,
    ) -> SimFile {
        let told = AtomicU64::new(world.state().failures(file));
        SimFile {
            world,
            file,
            writable,
            atomic: false,
            told,
            _open: open,
        }
    }

    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.world.look()?;
        let mut wanted = buf.len();
        let mut misread = None;
        if self.world.hooks_reads() {
            let name = self.name();
            let mut call = Call::named(CallKind::Read, &name);
            (call.offset, call.len) = (offset, wanted as u64);
            match self.world.ask(&call) {
                Verdict::Crash => return self.world.crash_here(),
                Verdict::Error(kind) => return Err(kind.into()),
                Verdict::OsError(number) => return Err(Error::from_raw_os_error(number)),
                Verdict::Short(bytes) => wanted = wanted.min(bytes),
                Verdict::Misread(how) => misread = Some(how),
                Verdict::Continue | Verdict::CrashAfter | Verdict::FailSync(_) => {}
            }
        } else {
            self.world.advance_clock(Duration::from_micros(5));
        }
        let state = self.world.state();
        let buf = &mut buf[..wanted];
        let count = state.disk.read(self.file, offset, buf);
        match misread {
            Some(Misread::Flip(byte)) if count > 0 => buf[byte.min(count - 1)] ^= 0x10,
            Some(Misread::From(other)) => {
                // As long as it ought to be: only the bytes are wrong.
                buf[..count].fill(0);
                state.disk.read(self.file, other, &mut buf[..count]);
            }
            _ => {}
        }
        Ok(count)
    }

    pub(crate) fn write_at(&self, offset: u64, buf: &[u8], durably: bool) -> Result<usize> {
        self.require_writable()?;
        require_range(offset, buf.len() as u64)?;
        let name = self.name();
        let kind = if durably {
            CallKind::WriteDurably
        } else {
            CallKind::Write
        };
        let mut call = Call::named(kind, &name);
        (call.offset, call.len, call.data) = (offset, buf.len() as u64, buf);
        let written = self.world.call(
            &call,
            |state, way| self.write(state, offset, buf, durably, way),
            |written| match *written {
                Written::Pending(count) => Event::Written {
                    path: &name,
                    offset,
                    data: &buf[..count],
                },
                Written::Durably(count) => Event::WrittenDurably {
                    path: &name,
                    offset,
                    data: &buf[..count],
                },
                Written::Failed => Event::SyncFailed { path: &name },
            },
        )?;
        match written {
            Written::Pending(count) | Written::Durably(count) => Ok(count),
            Written::Failed => Err(Error::from_raw_os_error(EIO)),
        }
    }

    fn write(
        &self,
        state: &mut State,
        offset: u64,
        buf: &[u8],
        durably: bool,
        way: Way,
    ) -> Result<Written> {
        let wanted = match way {
            Way::Short(bytes) => buf.len().min(bytes),
            Way::Whole | Way::SyncFails(_) => buf.len(),
        };
        let fits = self.room(state, offset, wanted as u64)?;
        let part = &buf[..usize::try_from(fits).unwrap_or(wanted)];
        Ok(match way {
            Way::SyncFails(failure) if durably => {
                state
                    .disk
                    .fail_write_durably(self.file, offset, part, failure);
                self.remember(state, failure);
                Written::Failed
            }
            _ if durably => {
                state.disk.write_durably(self.file, offset, part);
                Written::Durably(part.len())
            }
            _ => {
                state.disk.write(self.file, offset, part);
                Written::Pending(part.len())
            }
        })
    }

    pub(super) fn asked_for_atomic_writes(mut self) -> SimFile {
        self.atomic = true;
        self
    }

    pub(crate) fn atomic_sizes(&self) -> Option<RangeInclusive<usize>> {
        let sizes = self.world.state().atomic.clone();
        sizes.filter(|_| self.atomic && self.writable)
    }

    pub(crate) fn write_atomic_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.require_writable()?;
        require_range(offset, buf.len() as u64)?;
        let name = self.name();
        let mut call = Call::named(CallKind::WriteAtomically, &name);
        (call.offset, call.len, call.data) = (offset, buf.len() as u64, buf);
        let asked = self.atomic;
        let write = |state: &mut State, _| {
            let sizes = state.atomic.as_ref().filter(|_| asked);
            atomic::require(sizes, offset, buf.len())?;
            if self.room(state, offset, buf.len() as u64)? < buf.len() as u64 {
                return Err(ErrorKind::StorageFull.into());
            }
            state.disk.write_atomically(self.file, offset, buf);
            Ok(())
        };
        self.world
            .call(&call, write, |()| Event::WrittenAtomically {
                path: &name,
                offset,
                data: buf,
            })
    }

    /// How many bytes of a write the quota lets through: at least one, or an error.
    fn room(&self, state: &State, offset: u64, wanted: u64) -> Result<u64> {
        let Some(quota) = state.quota else {
            return Ok(wanted);
        };
        match state
            .disk
            .fitting(self.file, offset..offset + wanted, quota)
        {
            0 if wanted > 0 => Err(ErrorKind::StorageFull.into()),
            fits => Ok(fits),
        }
    }

    pub(crate) fn prefill(&self, from: u64, to: u64) -> Result<()> {
        self.require_writable()?;
        let len = to.saturating_sub(from);
        if len == 0 {
            return Ok(());
        }
        require_range(from, len)?;
        let name = self.name();
        let mut call = Call::named(CallKind::Prefill, &name);
        (call.offset, call.len) = (from, len);
        let fits = self.world.call(
            &call,
            |state, _| {
                let fits = self.room(state, from, len)?;
                state.disk.prefill(self.file, from..from + fits);
                Ok(fits)
            },
            |fits| Event::Prefilled {
                path: &name,
                offset: from,
                len: *fits,
            },
        )?;
        if fits < len {
            Err(ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    pub(crate) fn sync(&self) -> Result<()> {
        let name = self.name();
        let sync = |state: &mut State, way| {
            if let Way::SyncFails(failure) = way {
                state.disk.fail_sync(self.file, failure);
                self.remember(state, failure);
                return Ok(false);
            }
            let failures = state.failures(self.file);
            if self.told.swap(failures, Ordering::Relaxed) < failures {
                return Ok(false);
            }
            state.disk.sync(self.file);
            Ok(true)
        };
        let synced = self
            .world
            .call(&Call::named(CallKind::Sync, &name), sync, |synced| {
                if *synced {
                    Event::Synced { path: &name }
                } else {
                    Event::SyncFailed { path: &name }
                }
            })?;
        if synced {
            Ok(())
        } else {
            Err(Error::from_raw_os_error(EIO))
        }
    }

    pub(crate) fn len(&self) -> Result<u64> {
        self.world.look()?;
        self.world.may_look(CallKind::Look, &self.name())?;
        Ok(self.world.state().disk.len(self.file))
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        self.require_writable()?;
        require_range(0, len)?;
        let name = self.name();
        let mut call = Call::named(CallKind::SetLen, &name);
        call.len = len;
        self.world.call(
            &call,
            |state, _| {
                state.disk.set_len(self.file, len);
                Ok(())
            },
            |()| Event::Resized { path: &name, len },
        )
    }

    /// Makes `content` the whole file, unless it is already: what is opened in vain has then changed nothing.
    pub(super) fn replace_with(&self, content: &[u8]) -> Result<()> {
        let mut found = vec![0; content.len() + 1];
        let len = loop {
            match self.read_at(0, &mut found) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                answer => break answer?,
            }
        };
        if found[..len] == *content {
            return Ok(());
        }
        self.set_len(0)?;
        let mut at = 0;
        while at < content.len() {
            match self.write_at(at as u64, &content[at..], false) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => at += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The file's pages were lost: this description is being told, every other one that is open will be.
    fn remember(&self, state: &mut State, failure: SyncFailure) {
        if failure != SyncFailure::NothingHappened {
            let failures = state.failures.entry(self.file).or_default();
            *failures += 1;
            self.told.store(*failures, Ordering::Relaxed);
        }
    }

    fn name(&self) -> Arc<str> {
        self.world.state().disk.name(self.file)
    }

    fn require_writable(&self) -> Result<()> {
        if self.writable {
            Ok(())
        } else {
            let what = "the file was opened for reading only";
            Err(Error::new(ErrorKind::PermissionDenied, what))
        }
    }
}

enum Written {
    Pending(usize),
    Durably(usize),
    /// A durable write whose sync half failed.
    Failed,
}

fn require_range(offset: u64, len: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= FILE_BYTES_MAX => Ok(()),
        _ => Err(ErrorKind::FileTooLarge.into()),
    }
}

impl DiskState {
    fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> usize {
        self.inode(file).cached.read(offset, buf)
    }

    fn len(&self, file: FileId) -> u64 {
        self.inode(file).cached.len()
    }

    fn name(&self, file: FileId) -> Arc<str> {
        Arc::clone(&self.inode(file).name)
    }

    fn fitting(&self, file: FileId, range: Range<u64>, quota: u64) -> u64 {
        let room = quota.saturating_sub(self.used());
        self.inode(file).allocated.fitting(&range, room)
    }
}
