//! The sites there are, and the cells among theirs that nothing can reach, each with the reason.

use super::Phase::{Birth, Checkpoint, Close, Open, Recovery, Rollback, Work};
use super::{Phase, Role, What};
use afterimage_io::sim::CallKind;

/// The calls that the engine makes: on which file, which operation, in which phases.
#[rustfmt::skip]
pub const SITES: &[(Role, CallKind, &[Phase])] = &[
    (Role::Parent, CallKind::SyncDir, &[Birth]),
    (Role::Directory, CallKind::List, &[Birth, Open, Recovery]),
    (Role::Directory, CallKind::CreateDir, &[Birth]),
    (Role::Directory, CallKind::SyncDir, &[Birth, Recovery, Work]),
    (Role::LogDirectory, CallKind::List, &[Birth, Open, Recovery]),
    (Role::LogDirectory, CallKind::Look, &[Birth]),
    (Role::LogDirectory, CallKind::CreateDir, &[Birth]),
    (Role::LogDirectory, CallKind::SyncDir, &[Birth, Open, Recovery, Work, Checkpoint]),
    (Role::Creating, CallKind::Open, &[Birth]),
    (Role::Creating, CallKind::Create, &[Birth]),
    (Role::Creating, CallKind::Remove, &[Birth, Open, Recovery]),
    (Role::Lock, CallKind::Read, &[Birth, Open, Recovery]),
    (Role::Lock, CallKind::Open, &[Birth, Open, Recovery]),
    (Role::Lock, CallKind::Write, &[Birth, Open]),
    (Role::Lock, CallKind::SetLen, &[Birth, Open]),
    (Role::Lock, CallKind::Create, &[Birth]),
    (Role::Settings, CallKind::Read, &[Open, Recovery]),
    (Role::Settings, CallKind::Open, &[Birth, Open, Recovery]),
    (Role::Settings, CallKind::Look, &[Open, Recovery]),
    (Role::Control, CallKind::Read, &[Open, Recovery]),
    (Role::Control, CallKind::Open, &[Birth, Open, Recovery]),
    (Role::Control, CallKind::Look, &[Birth]),
    (Role::Control, CallKind::Write, &[Open, Recovery, Work, Checkpoint, Close]),
    (Role::Control, CallKind::Sync, &[Open, Recovery, Work, Checkpoint, Close]),
    (Role::Segment, CallKind::Read, &[Open, Recovery, Rollback]),
    (Role::Segment, CallKind::Open, &[Open, Recovery, Work, Rollback, Checkpoint]),
    (Role::Segment, CallKind::Look, &[Birth, Open, Recovery, Work]),
    (Role::Segment, CallKind::Write, &[Birth, Recovery, Work, Rollback, Checkpoint, Close]),
    (Role::Segment, CallKind::WriteDurably, &[Work, Checkpoint, Close]),
    (Role::Segment, CallKind::Prefill, &[Birth, Recovery, Work]),
    (Role::Segment, CallKind::Sync, &[Birth, Open, Recovery, Work, Rollback, Checkpoint, Close]),
    (Role::Segment, CallKind::Create, &[Birth, Recovery, Work]),
    (Role::Segment, CallKind::Rename, &[Recovery, Work, Checkpoint]),
    (Role::Segment, CallKind::Remove, &[Birth, Recovery, Work, Checkpoint]),
    (Role::Rewrite, CallKind::Look, &[Recovery]),
    (Role::Rewrite, CallKind::Write, &[Recovery]),
    (Role::Rewrite, CallKind::Prefill, &[Recovery]),
    (Role::Rewrite, CallKind::Sync, &[Recovery]),
    (Role::Rewrite, CallKind::Create, &[Recovery]),
    (Role::Rewrite, CallKind::Rename, &[Recovery]),
    (Role::Pages, CallKind::Read, &[Open, Recovery, Work, Rollback, Close]),
    (Role::Pages, CallKind::Open, &[Open, Recovery]),
    (Role::Pages, CallKind::Look, &[Birth, Open, Recovery, Close]),
    (Role::Pages, CallKind::Write, &[Birth, Recovery, Work, Rollback, Checkpoint, Close]),
    (Role::Pages, CallKind::WriteAtomically, &[Recovery, Work, Rollback, Checkpoint, Close]),
    (Role::Pages, CallKind::Prefill, &[Birth, Recovery, Work]),
    (Role::Pages, CallKind::SetLen, &[Work]),
    (Role::Pages, CallKind::Sync, &[Birth, Recovery, Work, Rollback, Checkpoint, Close]),
    (Role::Pages, CallKind::Create, &[Birth]),
    (Role::Pages, CallKind::Remove, &[Birth]),
    (Role::Unlogged, CallKind::Read, &[Open, Work, Close]),
    (Role::Unlogged, CallKind::Open, &[Open]),
    (Role::Unlogged, CallKind::Look, &[Open, Recovery, Work]),
    (Role::Unlogged, CallKind::Write, &[Work, Close]),
    (Role::Unlogged, CallKind::Prefill, &[Recovery, Work]),
    (Role::Unlogged, CallKind::Sync, &[Recovery, Work, Close]),
    (Role::Unlogged, CallKind::Create, &[Recovery, Work]),
    (Role::Unlogged, CallKind::Remove, &[Recovery, Work]),
    (Role::Doublewrite, CallKind::Read, &[Recovery]),
    (Role::Doublewrite, CallKind::Open, &[Open, Recovery]),
    (Role::Doublewrite, CallKind::Look, &[Birth, Open, Recovery]),
    (Role::Doublewrite, CallKind::Write, &[Birth, Recovery, Work, Rollback, Checkpoint, Close]),
    (Role::Doublewrite, CallKind::Prefill, &[Birth]),
    (Role::Doublewrite, CallKind::Sync, &[Birth, Recovery, Work, Rollback, Checkpoint, Close]),
    (Role::Doublewrite, CallKind::Create, &[Birth]),
    (Role::Doublewrite, CallKind::Remove, &[Birth]),
    (Role::Copy, CallKind::Open, &[Recovery]),
    (Role::Copy, CallKind::Look, &[Birth]),
    (Role::Copy, CallKind::Write, &[Recovery]),
    (Role::Copy, CallKind::Prefill, &[Birth, Recovery]),
    (Role::Copy, CallKind::Sync, &[Recovery]),
    (Role::Copy, CallKind::Create, &[Birth, Recovery]),
    (Role::Copy, CallKind::Rename, &[Recovery]),
    (Role::Copy, CallKind::Remove, &[Birth]),
    (Role::Sorting, CallKind::Read, &[Work]),
    (Role::Sorting, CallKind::Write, &[Work]),
    (Role::Sorting, CallKind::Create, &[Work]),
    (Role::Sorting, CallKind::Remove, &[Recovery, Work]),
    (Role::Status, CallKind::Open, &[Birth, Open, Recovery]),
    (Role::Status, CallKind::Look, &[Birth, Open]),
    (Role::Status, CallKind::Read, &[Open]),
    (Role::Status, CallKind::Prefill, &[Birth, Open, Recovery]),
    (Role::Status, CallKind::Write, &[Birth, Open, Recovery, Work, Rollback, Checkpoint, Close]),
    (Role::Status, CallKind::Create, &[Birth]),
    (Role::Status, CallKind::Remove, &[Birth]),
    (Role::NewControl, CallKind::Write, &[Birth]),
    (Role::NewControl, CallKind::SetLen, &[Birth]),
    (Role::NewControl, CallKind::Sync, &[Birth]),
    (Role::NewControl, CallKind::Create, &[Birth]),
    (Role::NewControl, CallKind::Rename, &[Birth]),
];

/// Cells that cannot be reached.
#[derive(Clone, Copy, Debug)]
pub struct Unreachable {
    /// In these phases; in every one that the site has, where the list is empty.
    pub phases: &'static [Phase],
    /// Of these files.
    pub role: Role,
    /// At this call.
    pub operation: CallKind,
    /// These.
    pub what: &'static [What],
    /// Why.
    pub reason: &'static str,
}

/// The list. It is empty: the fixed lives of the matrix make every call.
pub const UNREACHABLE: &[Unreachable] = &[];
