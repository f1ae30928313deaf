//! The table of reach: at which calls of which files, in which phase of life, a driver has crashed the engine or let it meet
//! an error, and what came of it.
//!
//! A *site* is a phase of life, the role of a file, and an operation on it. A *cell* is a site and what happens there: the
//! power goes before the call, behind it, or with the call half done; or one of the errors that such a call can answer with.
//! `sites.rs` lists the sites; what is hit elsewhere fails, as does a cell that is not hit, unless it is named as one
//! that cannot be, with the reason; and one that is named and hit all the same fails too.

mod sites;
mod table;

use crate::oracle::Layout;
use afterimage_io::sim::{CallInfo, CallKind, Misread, SyncFailure, Verdict};
use std::fmt;

pub use sites::{SITES, UNREACHABLE, Unreachable};
pub use table::{Cell, Reach};

/// A phase in the life of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It is made.
    Birth,
    /// It is opened after a clean stop.
    Open,
    /// It is opened after any other stop.
    Recovery,
    /// It is written and read.
    Work,
    /// A transaction is rolled back because somebody asked for that.
    Rollback,
    /// A checkpoint is taken because somebody asked for it.
    Checkpoint,
    /// It is closed.
    Close,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 7] = [
        Phase::Birth,
        Phase::Open,
        Phase::Recovery,
        Phase::Work,
        Phase::Rollback,
        Phase::Checkpoint,
        Phase::Close,
    ];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Birth => "birth",
            Phase::Open => "open",
            Phase::Recovery => "recovery",
            Phase::Work => "work",
            Phase::Rollback => "rollback",
            Phase::Checkpoint => "checkpoint",
            Phase::Close => "close",
        }
    }

    /// Whether the database is being opened: an error refuses the open.
    #[must_use]
    pub fn opens(self) -> bool {
        matches!(self, Phase::Birth | Phase::Open | Phase::Recovery)
    }
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The directory that holds the database's.
    Parent,
    /// The database's directory.
    Directory,
    /// The log's directory.
    LogDirectory,
    /// The mark of a creation.
    Creating,
    /// The lock file.
    Lock,
    /// The settings file.
    Settings,
    /// The control file.
    Control,
    /// The control file of a new database, before it has its name.
    NewControl,
    /// A segment of the log.
    Segment,
    /// A segment that recovery writes anew.
    Rewrite,
    /// The pages.
    Pages,
    /// The pages of unlogged tables.
    Unlogged,
    /// The doublewrite area.
    Doublewrite,
    /// The doublewrite area that recovery writes anew.
    Copy,
    /// Rows that are being sorted.
    Sorting,
    /// The status file.
    Status,
    /// Nothing that this table knows.
    Other,
}

impl Role {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Parent => "parent directory",
            Role::Directory => "directory",
            Role::LogDirectory => "log directory",
            Role::Creating => "creating",
            Role::Lock => "lock",
            Role::Settings => "settings",
            Role::Control => "control",
            Role::NewControl => "control.tmp",
            Role::Segment => "segment",
            Role::Rewrite => "rewritten segment",
            Role::Pages => "pages",
            Role::Unlogged => "unlogged",
            Role::Doublewrite => "doublewrite",
            Role::Copy => "doublewrite.tmp",
            Role::Sorting => "sorting",
            Role::Status => "status",
            Role::Other => "other",
        }
    }

    /// What the file of this name is for.
    #[must_use]
    pub fn of(layout: &Layout, path: &str) -> Role {
        if path.is_empty() {
            return Role::Parent;
        }
        let Some(inside) = path.strip_prefix(layout.directory.as_str()) else {
            return Role::Other;
        };
        match inside.trim_start_matches('/') {
            "" => Role::Directory,
            "log" => Role::LogDirectory,
            "creating" => Role::Creating,
            "lock" => Role::Lock,
            "settings.toml" => Role::Settings,
            "control" => Role::Control,
            "control.tmp" => Role::NewControl,
            "log/rewrite.tmp" => Role::Rewrite,
            "pages" => Role::Pages,
            "unlogged" => Role::Unlogged,
            "doublewrite" => Role::Doublewrite,
            "doublewrite.tmp" => Role::Copy,
            "status" => Role::Status,
            file if file.starts_with("sorting-") => Role::Sorting,
            file if file.starts_with("log/") && file.ends_with(".log") => Role::Segment,
            _ => Role::Other,
        }
    }
}

/// Where in the life of a database a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// When.
    pub phase: Phase,
    /// On what; of a rename, what is renamed.
    pub role: Role,
    /// Which call.
    pub operation: CallKind,
}

impl Site {
    /// The site of a call.
    #[must_use]
    pub fn of(layout: &Layout, phase: Phase, info: &CallInfo<'_>) -> Site {
        Site {
            phase,
            role: Role::of(layout, info.path),
            operation: info.kind,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, role) = (self.phase.name(), self.role.name());
        write!(f, "{phase}: {} of {role}", operation_name(self.operation))
    }
}

/// An operation's word.
#[must_use]
pub fn operation_name(operation: CallKind) -> &'static str {
    match operation {
        CallKind::Read => "read",
        CallKind::Open => "open",
        CallKind::List => "list",
        CallKind::Look => "look",
        CallKind::Write => "write",
        CallKind::WriteDurably => "durable write",
        CallKind::WriteAtomically => "atomic write",
        CallKind::Prefill => "prefill",
        CallKind::SetLen => "set length",
        CallKind::Sync => "sync",
        CallKind::Create => "create",
        CallKind::CreateDir => "make directory",
        CallKind::Rename => "rename",
        CallKind::Remove => "remove",
        CallKind::SyncDir => "sync directory",
    }
}

/// What happens at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The power goes before the call.
    Before,
    /// The power goes behind it.
    After,
    /// The power goes, and a part of the call is done.
    Torn,
    /// The call is interrupted (`EINTR`).
    Interrupted,
    /// It does a part and says so.
    Short,
    /// It fails with `EIO`, and has done nothing.
    Eio,
    /// `ENOSPC`.
    Full,
    /// `EDQUOT`.
    Quota,
    /// `EFBIG`.
    TooBig,
    /// `EMFILE`.
    Files,
    /// `EROFS`.
    ReadOnly,
    /// `EACCES`.
    Denied,
    /// The disk or the system does not do such a call, or not any more (`EOPNOTSUPP`).
    Unsupported,
    /// It cannot be done at this moment (`EAGAIN`).
    Again,
    /// A read is answered with a bit turned around.
    Flip,
    /// A read is answered with other bytes of the same file.
    Astray,
    /// A sync fails; readers see the new bytes, the disk has the old ones, the next sync says that all is well.
    Keeps,
    /// A sync fails; readers see the old bytes again.
    Reverts,
    /// A sync fails; the length is new, the bytes are zeroes.
    Zeroes,
}

impl What {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            What::Before => "before",
            What::After => "after",
            What::Torn => "torn",
            What::Interrupted => "EINTR",
            What::Short => "short",
            What::Eio => "EIO",
            What::Full => "ENOSPC",
            What::Quota => "EDQUOT",
            What::TooBig => "EFBIG",
            What::Files => "EMFILE",
            What::ReadOnly => "EROFS",
            What::Denied => "EACCES",
            What::Unsupported => "EOPNOTSUPP",
            What::Again => "EAGAIN",
            What::Flip => "bit flip",
            What::Astray => "misread",
            What::Keeps => "EIO, cache keeps new",
            What::Reverts => "EIO, cache reverts",
            What::Zeroes => "EIO, zeroes left",
        }
    }

    /// Whether it is a loss of power; else it is an error.
    #[must_use]
    pub fn is_crash(self) -> bool {
        matches!(self, What::Before | What::After | What::Torn)
    }

    /// What can happen at a call of this kind: the cells of its sites.
    #[must_use]
    pub fn all_of(operation: CallKind) -> &'static [What] {
        use What::*;
        match operation {
            CallKind::Read => &[Interrupted, Short, Eio, Flip, Astray],
            CallKind::Open => &[Eio, Files, Denied],
            CallKind::List => &[Eio, Files, Denied],
            CallKind::Look => &[Eio],
            CallKind::Write => &[
                Before,
                After,
                Torn,
                Interrupted,
                Short,
                Eio,
                Full,
                Quota,
                TooBig,
                ReadOnly,
            ],
            CallKind::WriteDurably => &[
                Before,
                After,
                Interrupted,
                Short,
                Eio,
                Full,
                Keeps,
                Reverts,
                Zeroes,
                ReadOnly,
            ],
            CallKind::WriteAtomically => &[
                Before,
                After,
                Interrupted,
                Eio,
                Full,
                Quota,
                ReadOnly,
                Unsupported,
                Again,
            ],
            CallKind::Prefill => &[
                Before,
                After,
                Torn,
                Interrupted,
                Eio,
                Full,
                Quota,
                TooBig,
                ReadOnly,
            ],
            CallKind::SetLen => &[Before, After, Eio, Full, TooBig, ReadOnly],
            CallKind::Sync => &[
                Before,
                After,
                Interrupted,
                Eio,
                Full,
                Keeps,
                Reverts,
                Zeroes,
                ReadOnly,
            ],
            CallKind::Create => &[Before, After, Eio, Full, Quota, Files, ReadOnly, Denied],
            CallKind::CreateDir => &[Before, After, Eio, Full, Quota, ReadOnly, Denied],
            CallKind::Rename => &[Before, After, Torn, Eio, Full, Quota, ReadOnly, Denied],
            CallKind::Remove => &[Before, After, Eio, ReadOnly, Denied],
            CallKind::SyncDir => &[Before, After, Eio],
        }
    }

    /// How the simulated disk makes a call of `len` bytes at `offset` meet this; none for a crash.
    #[must_use]
    pub fn verdict(self, offset: u64, len: u64) -> Option<Verdict> {
        Some(match self {
            What::Before | What::After | What::Torn => return None,
            What::Interrupted => Verdict::OsError(4),
            What::Short => Verdict::Short(usize::try_from(len / 2).unwrap_or(usize::MAX)),
            What::Eio => Verdict::OsError(5),
            What::Full => Verdict::OsError(28),
            What::Quota => Verdict::OsError(122),
            What::TooBig => Verdict::OsError(27),
            What::Files => Verdict::OsError(24),
            What::ReadOnly => Verdict::OsError(30),
            What::Denied => Verdict::OsError(13),
            What::Unsupported => Verdict::OsError(95),
            What::Again => Verdict::OsError(11),
            What::Flip => Verdict::Misread(Misread::Flip(
                usize::try_from(len / 3).unwrap_or(usize::MAX),
            )),
            What::Astray => {
                let other = if offset < 4096 {
                    offset + 4096
                } else {
                    offset - 4096
                };
                Verdict::Misread(Misread::From(other))
            }
            What::Keeps => Verdict::FailSync(SyncFailure::CacheKeepsNew),
            What::Reverts => Verdict::FailSync(SyncFailure::CacheReverts),
            What::Zeroes => Verdict::FailSync(SyncFailure::SizeKeptDataZero),
        })
    }
}

/// What came of a fault, in the words of the fault catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Response {
    /// The next open brings back a prefix of the commits with all that was acknowledged.
    Recover,
    /// Nobody notices: the call was made again, or nothing depends on it.
    Unseen,
    /// The one thing that was asked for failed, with a typed error; the engine goes on, without a restart.
    Abort,
    /// The engine goes on without something, and says so, until the next open: there are no new segments for the log.
    Degrade,
    /// The engine does no more, and says so; the next open recovers.
    Stop,
    /// The open fails with a typed error; the next one, without the fault, finds everything.
    Refuse,
}

impl Response {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Response::Recover => "RECOVER",
            Response::Unseen => "UNSEEN",
            Response::Abort => "ABORT",
            Response::Degrade => "DEGRADE",
            Response::Stop => "STOP",
            Response::Refuse => "REFUSE",
        }
    }
}
