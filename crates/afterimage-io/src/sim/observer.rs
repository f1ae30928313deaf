//! The two ways to look into a simulated world from outside: the *hook*, asked before every call that can change the
//! disk and free to let it fail, and the *observer*, told after it took effect. What the calls mean (log, pages) is
//! none of this crate's business; oracles that know live above.

use std::io::ErrorKind;

use super::disk::DiskState;

/// Something a disk cannot see, told by the engine through [`Io::note`](crate::Io::note).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Everything below this position was promised to be durable.
    Acknowledged {
        /// Exclusive end.
        upto: u64,
    },
    /// The engine has stopped after an I/O error: from here on it must write nothing.
    Stopped,
    /// Recovery has begun.
    RecoveryBegan,
    /// Recovery has ended and the database is open.
    RecoveryEnded,
    /// An open was refused: it must have changed nothing.
    RecoveryRefused,
    /// A place in the code was reached.
    Tag(&'static str),
    /// A number the engine wants an oracle to know.
    Value(&'static str, u64),
}

/// What has happened in a simulated world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes were written; they are in the page cache and not yet durable.
    Written {
        /// The file, by the name it has now.
        path: &'a str,
        /// Where in the file.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// Bytes were written, and this range of the file is durable.
    WrittenDurably {
        /// The file, by the name it has now.
        path: &'a str,
        /// Where in the file.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// Bytes were written so that they are never torn; they are not yet durable.
    WrittenAtomically {
        /// The file, by the name it has now.
        path: &'a str,
        /// Where in the file.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// Zeroes were written.
    Prefilled {
        /// The file, by the name it has now.
        path: &'a str,
        /// Where in the file.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// A file's length was set.
    Resized {
        /// The file, by the name it has now.
        path: &'a str,
        /// The new length in bytes.
        len: u64,
    },
    /// A file's content and length were made durable.
    Synced {
        /// The file, by the name it has now.
        path: &'a str,
    },
    /// A sync was answered with an error.
    SyncFailed {
        /// The file or directory.
        path: &'a str,
    },
    /// A file or directory was made.
    Created {
        /// Its name.
        path: &'a str,
    },
    /// A file was renamed.
    Renamed {
        /// Its old name.
        from: &'a str,
        /// Its new name.
        to: &'a str,
    },
    /// A file's name was removed.
    Removed {
        /// The name.
        path: &'a str,
    },
    /// The names in a directory were made durable.
    DirSynced {
        /// The directory; empty for the top.
        path: &'a str,
    },
    /// The engine said something.
    Note(Note),
    /// The world crashed.
    Crashed,
}

/// Told of every event of a simulated world, after it took effect.
///
/// A panic in here is a verdict: it surfaces in the thread that made the call, like a failed assertion of its own.
pub trait Observer: Send + Sync {
    /// One event, and the disk after it.
    fn event(&self, disk: &DiskState, event: &Event<'_>);
}

/// The kinds of calls a hook is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    /// Asked about only if [`Sim::set_hook_reads`](super::Sim::set_hook_reads) says so, as the next three are.
    Read,
    /// Opening a file without making it.
    Open,
    /// Listing a directory.
    List,
    /// Asking whether there is something of this name, what it is, or how long it is.
    Look,
    /// A write, or what is left of one after a short write.
    Write,
    /// A write that is durable when it returns.
    WriteDurably,
    /// A write that is never torn. One that the disk does not promise is asked about too, and then refused.
    WriteAtomically,
    /// Zeroes over a range.
    Prefill,
    /// A change of length.
    SetLen,
    /// A sync of a file.
    Sync,
    /// Making a file, by open or by lock.
    Create,
    /// Making a directory.
    CreateDir,
    /// A rename.
    Rename,
    /// A removal.
    Remove,
    /// A sync of a directory.
    SyncDir,
}

impl CallKind {
    /// Whether the call only looks: then the hook is asked about it only if it wants to be.
    pub fn looks(self) -> bool {
        matches!(
            self,
            CallKind::Read | CallKind::Open | CallKind::List | CallKind::Look
        )
    }

    /// Whether the call makes something durable.
    pub fn syncs(self) -> bool {
        matches!(
            self,
            CallKind::Sync | CallKind::SyncDir | CallKind::WriteDurably
        )
    }
}

/// One I/O call, before it takes effect.
#[derive(Debug, Clone, Copy)]
pub struct CallInfo<'a> {
    /// Its number in this world, from 0. Reads and other looks are numbered only if the hook is asked about them.
    pub index: u64,
    /// What it is.
    pub kind: CallKind,
    /// The file or directory, by the name it has now.
    pub path: &'a str,
    /// A rename's target.
    pub to: Option<&'a str>,
    /// Where in the file, for reads and writes.
    pub offset: u64,
    /// How many bytes are read, written or zeroed; the new length of a `SetLen`.
    pub len: u64,
    /// The bytes of a write.
    pub data: &'a [u8],
    /// The simulated thread that calls; empty outside `run_threads`.
    pub thread: &'a str,
}

/// What a hook decides about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It takes effect.
    Continue,
    /// The world crashes before it takes effect.
    Crash,
    /// It takes effect, and then the world crashes.
    CrashAfter,
    /// It fails with this kind of error and changes nothing. `Interrupted` is retried by reads and writes.
    Error(ErrorKind),
    /// It fails with the operating system's error of this number and changes nothing.
    OsError(i32),
    /// A read or write stops after so many bytes, without an error. Other calls continue.
    Short(usize),
    /// A sync or durable write fails like this. Other calls continue.
    FailSync(SyncFailure),
    /// A read is answered with wrong bytes, without an error. Other calls continue.
    Misread(Misread),
}

/// How a read is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misread {
    /// A bit of this byte of the answer is turned around; of the last one, if the answer is shorter.
    Flip(usize),
    /// The bytes are those from this place of the file on: the disk has read somewhere else.
    From(u64),
}

/// What a failed sync leaves behind. All but `NothingHappened` were seen on real file systems.
///
/// The error is told once to each file description that was open when it happened: the one whose sync failed, and every
/// other at its own next sync. Whoever opens the file later is told nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SyncFailure {
    /// The pages are marked clean and reads go on to show the new bytes, also to a restarted process. The next sync
    /// says OK. The durable bytes, and a longer length, are the old ones: found at the next power cut.
    #[default]
    CacheKeepsNew,
    /// The pages are thrown away: reads show the old durable bytes again.
    CacheReverts,
    /// As `CacheKeepsNew`, but the new length became durable; the bytes it adds are zeroes.
    SizeKeptDataZero,
    /// The writes stay pending: the device refused, and nothing else happened.
    NothingHappened,
}

/// Which sync is to fail, and how. See [`Sim::fail_sync`](super::Sim::fail_sync).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailSync {
    pub(crate) path_contains: String,
    pub(crate) skip: u64,
    pub(crate) failure: SyncFailure,
    pub(crate) for_ever: bool,
}

impl FailSync {
    /// The next sync of any file or directory fails, once, with `EIO` and [`SyncFailure::CacheKeepsNew`]. A directory's
    /// names stay pending then. A durable write counts as a sync of its range.
    pub fn next() -> FailSync {
        FailSync::default()
    }

    /// Only syncs of files and directories whose path contains this count.
    #[must_use]
    pub fn on(mut self, path_contains: &str) -> FailSync {
        path_contains.clone_into(&mut self.path_contains);
        self
    }

    /// So many syncs succeed first.
    #[must_use]
    pub fn after(mut self, syncs: u64) -> FailSync {
        self.skip = syncs;
        self
    }

    /// What the failure leaves behind.
    #[must_use]
    pub fn leaving(mut self, failure: SyncFailure) -> FailSync {
        self.failure = failure;
        self
    }

    /// Every sync from then on fails.
    #[must_use]
    pub fn for_ever(mut self) -> FailSync {
        self.for_ever = true;
        self
    }
}
