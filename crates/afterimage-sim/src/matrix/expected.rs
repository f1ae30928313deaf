//! Which response each error must meet: the fault catalogue, site by site.
//!
//! Where two responses are right, the site stands for two places in the code, and the reason is beside it.

use crate::reach::{Phase, Response, Role, Site, What};
use Response::{Abort, Degrade, Refuse, Stop, Unseen};
use afterimage_io::sim::CallKind;

/// The right ones.
pub fn responses(site: Site, what: What, lasting: bool) -> Vec<Response> {
    let mut right = once(site, what).to_vec();
    if lasting {
        right.extend(goes_on(site, what));
    }
    right
}

/// What may come later of something that does not end, though its first call was answered as it should be. A disk without
/// room never stops the engine, and what needs none goes on.
fn goes_on(site: Site, what: What) -> &'static [Response] {
    match (site.phase.opens(), what) {
        (true, What::Full) => &[Unseen, Refuse, Abort],
        (false, What::Full) => &[Unseen, Abort],
        (true, What::Files) => &[Refuse, Abort],
        // A rollback reads its own log again, and cannot wait.
        (false, What::Files) => &[Abort, Stop],
        // The open does without the status; whoever then wants a page has what an error of a read comes to.
        (true, _)
            if site.role == Role::Status
                && matches!(site.operation, CallKind::Read | CallKind::Look) =>
        {
            &[Refuse, Abort, Stop]
        }
        (true, _) => &[Refuse, Stop],
        (false, _) => &[Stop],
    }
}

fn once(site: Site, what: What) -> &'static [Response] {
    let opens = site.phase.opens();
    let room = matches!(what, What::Full | What::Quota | What::TooBig);
    match (site.operation, what) {
        // The pages go by way of the doublewrite area then.
        (
            CallKind::WriteAtomically,
            What::Interrupted | What::Full | What::Quota | What::Unsupported | What::Again,
        ) => &[Unseen],
        // Made again, or gone on with.
        (
            CallKind::Read | CallKind::Write | CallKind::WriteDurably | CallKind::Prefill,
            What::Interrupted | What::Short,
        ) => &[Unseen],
        (CallKind::Read, What::Flip | What::Astray) => misread(site),
        _ if site.role == Role::Status => status(site),
        (CallKind::Read | CallKind::Open | CallKind::List | CallKind::Look, _) => look(site),
        // Segments and areas that are prepared for later can wait until there is room.
        (CallKind::Create | CallKind::Prefill | CallKind::Sync, _)
            if opens && room && is_prepared(site.role) =>
        {
            &[Unseen, Refuse]
        }
        _ if opens => &[Refuse],
        // A segment that was being made for later is given up; with the one in use the log stops.
        (CallKind::Sync, _) if site.phase == Phase::Work && site.role == Role::Segment => {
            &[Abort, Stop]
        }
        (CallKind::Remove, _) if site.role == Role::Sorting => &[Unseen],
        // Rows on their way into a table that is loaded.
        (CallKind::Write, _) if site.role == Role::Sorting => &[Abort],
        (
            CallKind::Write
            | CallKind::WriteDurably
            | CallKind::WriteAtomically
            | CallKind::Sync
            | CallKind::SetLen,
            _,
        ) => &[Stop],
        // What a sync that failed has left of the names is not known: no segment is made until the next open.
        (CallKind::SyncDir, _) if site.role == Role::LogDirectory => &[Abort, Degrade],
        // A segment that cannot be recycled is removed instead.
        (CallKind::Rename, _) if room => &[Unseen, Abort],
        _ => &[Abort],
    }
}

fn is_prepared(role: Role) -> bool {
    matches!(role, Role::Segment | Role::Rewrite | Role::Copy)
}

/// The status is advisory: a read or a write that fails stops nobody, nor does one that only takes room. Opening it, for those who read along, is tried and given up; for
/// the status itself it must go well, and so must the removal of what a creation has left.
fn status(site: Site) -> &'static [Response] {
    match site.operation {
        CallKind::Read | CallKind::Write | CallKind::Prefill => &[Unseen],
        // Whether a creation has left one must be known; what the last stop has told need not be.
        CallKind::Look => &[Unseen, Refuse],
        CallKind::Open | CallKind::Create => &[Unseen, Refuse],
        _ => &[Refuse],
    }
}

/// A call that only looks, and fails.
fn look(site: Site) -> &'static [Response] {
    match site.phase {
        // How large the area was before is worth a look, and no refusal.
        Phase::Recovery if site.role == Role::Doublewrite => &[Unseen, Refuse],
        Phase::Birth | Phase::Open | Phase::Recovery => &[Refuse],
        // A rollback that cannot be finished must not be seen half done; a close is the end in any case.
        Phase::Rollback | Phase::Close => &[Stop],
        Phase::Work | Phase::Checkpoint => &[Abort],
    }
}

/// A read that was answered with other bytes. Some bytes say nothing, and then nobody can notice.
fn misread(site: Site) -> &'static [Response] {
    match (site.phase, site.role) {
        // There is another copy.
        (_, Role::Control) => &[Unseen],
        (Phase::Birth | Phase::Open | Phase::Recovery, _) => &[Unseen, Refuse],
        (Phase::Rollback | Phase::Close, _) => &[Unseen, Stop],
        (Phase::Work | Phase::Checkpoint, _) => &[Unseen, Abort],
    }
}
