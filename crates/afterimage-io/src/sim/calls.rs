//! The I/O calls of a simulated world: the one way in, and the calls on names (those on open files are in `file`). Each that changes the disk or makes it durable goes through `SimWorld::call`:
//! it is numbered, the hook is asked, it takes effect, the observer is told. Each costs a little simulated time.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::chance::{fold, hash_bytes};
use super::content::is_zero;
use super::disk::{DiskState, FileId, Node};
use super::file::SimFile;
use super::names;
use super::observer::{CallInfo, CallKind, Event, SyncFailure, Verdict};
use super::world::{PROCESS_ID, SimWorld, State};
use crate::lock::{LockAttempt, LockFile};
use crate::mode::OpenMode;

/// EIO: what a device that fails answers with.
pub(super) const EIO: i32 = 5;

/// A call before it is numbered.
pub(super) struct Call<'a> {
    pub(super) kind: CallKind,
    pub(super) path: &'a str,
    pub(super) to: Option<&'a str>,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) data: &'a [u8],
}

/// How a call that was let through is to go.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Whole,
    Short(usize),
    SyncFails(SyncFailure),
}

impl<'a> Call<'a> {
    pub(super) fn named(kind: CallKind, path: &'a str) -> Call<'a> {
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
            kind if kind.looks() => 5,
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
    pub(crate) fn open(self: &Arc<Self>, path: &Path, how: OpenMode) -> Result<SimFile> {
        let name = names::whole(path)?;
        self.look()?;
        let found = self.state().disk.node(&name);
        if found.is_some() || !how.creates() {
            self.may_look(CallKind::Open, &name)?;
        }
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
        Ok(SimFile::new(Arc::clone(self), id, how.writes(), open))
    }

    pub(crate) fn open_atomic(self: &Arc<Self>, path: &Path, how: OpenMode) -> Result<SimFile> {
        self.open(path, how).map(SimFile::asked_for_atomic_writes)
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
        self.may_look(CallKind::List, &name)?;
        let state = self.state();
        state.disk.require_dir(&name)?;
        Ok(state.disk.list(&name))
    }

    pub(crate) fn exists(&self, path: &Path) -> Result<bool> {
        let name = names::whole(path)?;
        self.look()?;
        self.may_look(CallKind::Look, &name)?;
        Ok(self.state().disk.node(&name).is_some())
    }

    pub(crate) fn is_dir(&self, path: &Path) -> Result<bool> {
        let name = names::whole(path)?;
        self.look()?;
        self.may_look(CallKind::Look, &name)?;
        Ok(self.state().disk.node(&name) == Some(Node::Dir))
    }

    pub(crate) fn try_lock(self: &Arc<Self>, path: &Path) -> Result<LockAttempt> {
        let name = names::whole(path)?;
        self.look()?;
        if self.state().locks.contains(&*name) {
            let pid = Some(PROCESS_ID);
            return Ok(LockAttempt::Held { pid });
        }
        let claim = SimLock::claim(self, name.into_owned());
        self.open(path, OpenMode::Create)?
            .replace_with(format!("{PROCESS_ID}\n").as_bytes())?;
        Ok(LockAttempt::Acquired(LockFile::new(Some(Box::new(claim)))))
    }

    /// A call that only looks at names: others may run here, and a crash is felt.
    pub(super) fn look(&self) -> Result<()> {
        self.yield_point();
        self.refuse_if_crashed()
    }

    /// Asks the hook about a call that only looks, if it wants to be asked.
    pub(super) fn may_look(&self, kind: CallKind, name: &str) -> Result<()> {
        if !self.hooks_reads() {
            return Ok(());
        }
        match self.ask(&Call::named(kind, name)) {
            Verdict::Crash | Verdict::CrashAfter => self.crash_here(),
            Verdict::Error(kind) => Err(kind.into()),
            Verdict::OsError(number) => Err(Error::from_raw_os_error(number)),
            Verdict::Continue | Verdict::Short(_) | Verdict::FailSync(_) | Verdict::Misread(_) => {
                Ok(())
            }
        }
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
    pub(super) fn call<'e, R>(
        &self,
        call: &Call<'_>,
        apply: impl FnOnce(&mut State, Way) -> Result<R>,
        event: impl FnOnce(&R) -> Event<'e>,
    ) -> Result<R> {
        self.look()?;
        let verdict = self.ask(call);
        let way = match verdict {
            Verdict::Continue | Verdict::CrashAfter | Verdict::Misread(_) => {
                self.planned_fault(call)
            }
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

    pub(super) fn crash_here<R>(&self) -> Result<R> {
        self.crash();
        self.feel_crash();
        Err(Error::other("the simulated world has crashed"))
    }

    pub(super) fn ask(&self, call: &Call<'_>) -> Verdict {
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

impl DiskState {
    fn list(&self, dir: &str) -> Vec<String> {
        let inside = self.cached.keys().filter(|name| names::parent(name) == dir);
        inside.map(|name| names::last(name).to_owned()).collect()
    }
}
