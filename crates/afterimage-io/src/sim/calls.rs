//! The I/O calls of a simulated world. Each that changes the disk or makes it durable goes through `SimWorld::call`:
//! it is numbered, the hook is asked, it takes effect, the observer is told. Each costs a little simulated time.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::chance::{fold, hash_bytes};
use super::content::is_zero;
use super::disk::{DiskState, FileId, Node};
use super::names;
use super::observer::{CallInfo, CallKind, Event, SyncFailure, Verdict};
use super::world::{PROCESS_ID, SimWorld, State};
use crate::file::File;
use crate::io::OpenMode;
use crate::lock::{LockAttempt, LockFile};

/// No file is longer than this, as on real systems.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// EIO: what a device that fails answers with.
const EIO: i32 = 5;

/// An open file of a simulated world.
pub(crate) struct SimFile {
    world: Arc<SimWorld>,
    file: FileId,
    writable: bool,
    /// Tells that the file is open, even when it has no name any more.
    _open: Arc<()>,
}

/// A call before it is numbered.
struct Call<'a> {
    kind: CallKind,
    path: &'a str,
    to: Option<&'a str>,
    offset: u64,
    len: u64,
    data: &'a [u8],
}

/// How a call that was let through is to go.
#[derive(Clone, Copy)]
enum Way {
    Whole,
    Short(usize),
    SyncFails(SyncFailure),
}

impl<'a> Call<'a> {
    fn named(kind: CallKind, path: &'a str) -> Call<'a> {
        Call {
            kind,
            path,
            to: None,
            offset: 0,
            len: 0,
            data: &[],
        }
    }

    fn cost(&self) -> Duration {
        Duration::from_micros(match self.kind {
            CallKind::Read => 5,
            CallKind::Sync | CallKind::SyncDir | CallKind::WriteDurably => 100,
            _ => 20,
        })
    }

    fn trace(&self) -> u64 {
        let mut hash = fold(self.kind as u64, hash_bytes(self.path.as_bytes()));
        hash = fold(hash, self.to.map_or(0, |to| hash_bytes(to.as_bytes())));
        hash = fold(fold(hash, self.offset), self.len);
        let data = if is_zero(self.data) {
            0
        } else {
            hash_bytes(self.data)
        };
        fold(hash, data)
    }
}

impl SimWorld {
    pub(crate) fn open(self: &Arc<Self>, path: &Path, how: OpenMode) -> Result<File> {
        let name = names::whole(path)?;
        self.look()?;
        let found = self.state().disk.node(&name);
        let id = match found {
            Some(Node::Dir) => return Err(ErrorKind::IsADirectory.into()),
            Some(Node::File(_)) if how == OpenMode::CreateNew => {
                return Err(ErrorKind::AlreadyExists.into());
            }
            Some(Node::File(id)) => id,
            None if how.creates() => self.create(&name, how)?,
            None => return Err(ErrorKind::NotFound.into()),
        };
        let open = Arc::clone(self.state().open.entry(id).or_default());
        let file = SimFile {
            world: Arc::clone(self),
            file: id,
            writable: how.writes(),
            _open: open,
        };
        Ok(File::simulated(file, path))
    }

    fn create(&self, name: &str, how: OpenMode) -> Result<FileId> {
        let create = |state: &mut State, _| match state.disk.node(name) {
            // Another thread was quicker, at the yield point of this call.
            Some(Node::File(id)) if how == OpenMode::Create => Ok(id),
            _ => state.disk.create(name),
        };
        self.call(&Call::named(CallKind::Create, name), create, |_| {
            Event::Created { path: name }
        })
    }

    pub(crate) fn create_dir(&self, path: &Path) -> Result<()> {
        let name = names::whole(path)?;
        self.call(
            &Call::named(CallKind::CreateDir, &name),
            |state, _| state.disk.create_dir(&name),
            |_| Event::Created { path: &name },
        )
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (names::whole(from)?, names::whole(to)?);
        let mut call = Call::named(CallKind::Rename, &from);
        call.to = Some(&to);
        let renamed = Event::Renamed {
            from: &from,
            to: &to,
        };
        self.call(&call, |state, _| state.disk.rename(&from, &to), |_| renamed)
    }

    pub(crate) fn remove_file(&self, path: &Path) -> Result<()> {
        let name = names::whole(path)?;
        self.call(
            &Call::named(CallKind::Remove, &name),
            |state, _| state.disk.remove(&name),
            |_| Event::Removed { path: &name },
        )
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<()> {
        let name = names::whole(path)?;
        let sync = |state: &mut State, way| {
            state.disk.require_dir(&name)?;
            if let Way::SyncFails(_) = way {
                return Ok(false);
            }
            state.disk.sync_dir(&name);
            let open = &mut state.open;
            open.retain(|_, token| Arc::strong_count(token) > 1);
            state.disk.forget_unnamed(&|id| open.contains_key(&id));
            Ok(true)
        };
        let synced = self.call(&Call::named(CallKind::SyncDir, &name), sync, |synced| {
            if *synced {
                Event::DirSynced { path: &name }
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

    pub(crate) fn list_dir(&self, path: &Path) -> Result<Vec<String>> {
        let name = names::whole(path)?;
        self.look()?;
        let state = self.state();
        state.disk.require_dir(&name)?;
        Ok(state.disk.list(&name))
    }

    pub(crate) fn exists(&self, path: &Path) -> Result<bool> {
        let name = names::whole(path)?;
        self.look()?;
        Ok(self.state().disk.node(&name).is_some())
    }

    pub(crate) fn is_dir(&self, path: &Path) -> Result<bool> {
        let name = names::whole(path)?;
        self.look()?;
        Ok(self.state().disk.node(&name) == Some(Node::Dir))
    }

    pub(crate) fn try_lock(self: &Arc<Self>, path: &Path) -> Result<LockAttempt> {
        let name = names::whole(path)?;
        self.look()?;
        if self.state().locks.contains(&name) {
            let pid = Some(PROCESS_ID);
            return Ok(LockAttempt::Held { pid });
        }
        let claim = SimLock::claim(self, name);
        let file = self.open(path, OpenMode::Create)?;
        // Written only if it says something else: an open that is refused later has then changed nothing.
        let content = format!("{PROCESS_ID}\n");
        let mut found = vec![0; content.len()];
        let same = file.len()? == content.len() as u64
            && file.read_exact_at(0, &mut found).is_ok()
            && found == content.as_bytes();
        if !same {
            file.set_len(0)?;
            file.write_all_at(0, content.as_bytes())?;
        }
        Ok(LockAttempt::Acquired(LockFile::new(Some(Box::new(claim)))))
    }

    /// A call that only looks at names: others may run here, and a crash is felt.
    fn look(&self) -> Result<()> {
        self.yield_point();
        self.refuse_if_crashed()
    }

    /// In a drop during an unwind a crashed world cannot unwind again: its I/O fails instead.
    fn refuse_if_crashed(&self) -> Result<()> {
        if self.has_crashed() {
            Err(Error::other("the simulated world has crashed"))
        } else {
            Ok(())
        }
    }

    /// The one way in: numbers the call, asks the hook, lets it take effect, tells the observer.
    fn call<'e, R>(
        &self,
        call: &Call<'_>,
        apply: impl FnOnce(&mut State, Way) -> Result<R>,
        event: impl FnOnce(&R) -> Event<'e>,
    ) -> Result<R> {
        self.look()?;
        let verdict = self.ask(call);
        let way = match verdict {
            Verdict::Continue | Verdict::CrashAfter => self.planned_fault(call),
            Verdict::Crash => return self.crash_here(),
            Verdict::Error(kind) => return Err(kind.into()),
            Verdict::OsError(number) => return Err(Error::from_raw_os_error(number)),
            Verdict::Short(bytes) => Way::Short(bytes),
            Verdict::FailSync(failure) => Way::SyncFails(failure),
        };
        let result = apply(&mut self.state(), way);
        if let Ok(result) = &result {
            self.tell(&event(result));
        }
        if verdict == Verdict::CrashAfter {
            return self.crash_here();
        }
        result
    }

    fn crash_here<R>(&self) -> Result<R> {
        self.crash();
        self.feel_crash();
        Err(Error::other("the simulated world has crashed"))
    }

    fn ask(&self, call: &Call<'_>) -> Verdict {
        self.advance_clock(call.cost());
        let mut state = self.state();
        let index = state.calls;
        state.calls += 1;
        state.trace(call.trace());
        drop(state);
        let Some(mut hook) = self.take_hook() else {
            return Verdict::Continue;
        };
        let thread = self.scheduler.thread_name();
        let info = CallInfo {
            index,
            kind: call.kind,
            path: call.path,
            to: call.to,
            offset: call.offset,
            len: call.len,
            data: call.data,
            thread: thread.as_deref().unwrap_or(""),
        };
        let verdict = hook(&info, &self.snapshot());
        self.return_hook(hook);
        verdict
    }

    /// The failure that [`Sim::fail_sync`](super::Sim::fail_sync) has in store for this call.
    fn planned_fault(&self, call: &Call<'_>) -> Way {
        if !call.kind.syncs() {
            return Way::Whole;
        }
        let mut state = self.state();
        let faults = &mut state.sync_faults;
        let Some(at) = faults
            .iter()
            .position(|fault| call.path.contains(&fault.path_contains))
        else {
            return Way::Whole;
        };
        if faults[at].skip > 0 {
            faults[at].skip -= 1;
            return Way::Whole;
        }
        let failure = faults[at].failure;
        if !faults[at].for_ever {
            faults.remove(at);
        }
        Way::SyncFails(failure)
    }
}

impl SimFile {
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.world.look()?;
        let mut wanted = buf.len();
        if self.world.hooks_reads() {
            let name = self.name();
            let mut call = Call::named(CallKind::Read, &name);
            (call.offset, call.len) = (offset, wanted as u64);
            match self.world.ask(&call) {
                Verdict::Crash => return self.world.crash_here(),
                Verdict::Error(kind) => return Err(kind.into()),
                Verdict::OsError(number) => return Err(Error::from_raw_os_error(number)),
                Verdict::Short(bytes) => wanted = wanted.min(bytes),
                Verdict::Continue | Verdict::CrashAfter | Verdict::FailSync(_) => {}
            }
        } else {
            self.world.advance_clock(Duration::from_micros(5));
        }
        let state = self.world.state();
        Ok(state.disk.read(self.file, offset, &mut buf[..wanted]))
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
    fn list(&self, dir: &str) -> Vec<String> {
        let inside = self.cached.keys().filter(|name| names::parent(name) == dir);
        inside.map(|name| names::last(name).to_owned()).collect()
    }

    fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> usize {
        self.inode(file).cached.read(offset, buf)
    }

    fn len(&self, file: FileId) -> u64 {
        self.inode(file).cached.len()
    }

    fn name(&self, file: FileId) -> Arc<str> {
        Arc::clone(&self.inode(file).name)
    }

    fn fitting(&self, file: FileId, range: std::ops::Range<u64>, quota: u64) -> u64 {
        let room = quota.saturating_sub(self.used());
        self.inode(file).allocated.fitting(&range, room)
    }
}

/// A held simulated lock.
struct SimLock {
    world: Arc<SimWorld>,
    name: String,
}

impl SimLock {
    fn claim(world: &Arc<SimWorld>, name: String) -> SimLock {
        world.state().locks.insert(name.clone());
        SimLock {
            world: Arc::clone(world),
            name,
        }
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.world.state().locks.remove(&self.name);
    }
}
