//! The trouble that a life is given: a power cut at a call, an I/O error, a failed sync, a full disk, short and interrupted calls.

use super::board::Board;
use crate::choices::Choices;
use afterimage_io::sim::{CallInfo, CallKind, DiskState, Hook, Sim, SyncFailure, Verdict};
use std::sync::Arc;

/// `EIO`.
const EIO: i32 = 5;

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// None: the life ends by itself.
    None,
    /// The power is cut at this call, or right after it.
    Cut {
        /// Counted from the first call of the life.
        call: u64,
        /// After it took effect.
        after: bool,
    },
    /// The power is cut at a call of a certain kind on a certain kind of file: what happens rarely is crashed as often as what happens always.
    Site {
        /// Where.
        site: Site,
        /// After so many of them.
        skip: u64,
        /// After it took effect.
        after: bool,
    },
    /// This call, or the first write behind it, fails with `EIO`.
    Error {
        /// Counted from the first call of the life.
        call: u64,
    },
    /// The first sync at or behind this call fails in this way.
    Sync {
        /// Counted from the first call of the life.
        call: u64,
        /// What the failure leaves.
        failure: SyncFailure,
    },
    /// A sync of the pages (their file may just be growing) or of another kind of file fails.
    SiteSync {
        /// Where.
        site: Site,
        /// After so many of them.
        skip: u64,
        /// What the failure leaves.
        failure: SyncFailure,
    },
    /// So many more bytes fit on the disk.
    Full {
        /// Bytes.
        room: u64,
    },
}

/// Places in the life of a database that are worth a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The first write to a segment: its header and first batch.
    SegmentBegins,
    /// The sync after that.
    SegmentBegun,
    /// A sync of the log.
    LogSync,
    /// A segment is made, or renamed to be used again.
    SegmentMade,
    /// A write or sync of the control file.
    Control,
    /// A write or sync of the doublewrite area.
    Doublewrite,
    /// A write or sync of the pages.
    Pages,
    /// A sync of a directory.
    Directory,
}

impl Site {
    const ALL: [Site; 8] = [
        Site::SegmentBegins,
        Site::SegmentBegun,
        Site::LogSync,
        Site::SegmentMade,
        Site::Control,
        Site::Doublewrite,
        Site::Pages,
        Site::Directory,
    ];

    /// Whether this call is one; `begun` remembers that a segment's first batch was written and not yet synced.
    fn is(self, info: &CallInfo<'_>, begun: &mut bool) -> bool {
        let segment = info.path.ends_with(".log");
        let begins = segment && info.offset == 0 && info.kind == CallKind::Write;
        *begun |= begins;
        let file = info.path.rsplit('/').next().unwrap_or_default();
        match self {
            Site::SegmentBegins => begins,
            Site::SegmentBegun => segment && info.kind == CallKind::Sync && std::mem::take(begun),
            Site::LogSync => segment && info.kind == CallKind::Sync,
            Site::SegmentMade => {
                segment
                    && matches!(
                        info.kind,
                        CallKind::Create | CallKind::Rename | CallKind::Remove | CallKind::Prefill
                    )
            }
            Site::Control => file == "control",
            Site::Doublewrite => file.starts_with("doublewrite"),
            Site::Pages => file == "pages",
            Site::Directory => info.kind == CallKind::SyncDir,
        }
    }
}

impl Trouble {
    /// Chooses the trouble of a life that is expected to make about `calls` calls.
    pub fn choose(choices: &mut Choices, calls: u64) -> Trouble {
        let call = 1 + choices.below(calls.max(2));
        match choices.below(20) {
            0..=3 => Trouble::site(choices, 40),
            4..=9 => Trouble::Cut {
                call,
                after: choices.chance(1, 3),
            },
            10 | 11 => Trouble::Sync {
                call,
                failure: failure(choices),
            },
            12 | 13 => Trouble::SiteSync {
                site: *choices.pick(&[
                    Site::Pages,
                    Site::Pages,
                    Site::Doublewrite,
                    Site::Control,
                    Site::LogSync,
                ]),
                skip: choices.below(12),
                failure: failure(choices),
            },
            14 | 15 => Trouble::Error { call },
            16 | 17 => Trouble::Full {
                room: choices.below(300_000),
            },
            _ => Trouble::None,
        }
    }

    /// Chooses the trouble of a recovery.
    pub fn choose_in_recovery(choices: &mut Choices, calls: u64) -> Trouble {
        let call = 1 + choices.below(calls.max(2));
        match choices.below(8) {
            0 | 1 => Trouble::site(choices, 4),
            2..=5 => Trouble::Cut {
                call,
                after: choices.chance(1, 3),
            },
            6 => Trouble::Sync {
                call,
                failure: failure(choices),
            },
            _ => Trouble::Error { call },
        }
    }

    fn site(choices: &mut Choices, most: u64) -> Trouble {
        let skip = choices.below(most);
        // Of what is rare, the first few.
        let site = *choices.pick(&Site::ALL);
        let rare = matches!(
            site,
            Site::SegmentBegins | Site::SegmentBegun | Site::SegmentMade | Site::Directory
        );
        Trouble::Site {
            site,
            skip: if rare { skip / 4 } else { skip },
            after: choices.chance(1, 3),
        }
    }

    /// Sets a world up for this trouble, with `noise` of short and interrupted calls beside it.
    pub fn arm(self, sim: &Sim, board: &Arc<Board>, noise: Option<Choices>) {
        if let Trouble::Full { room } = self {
            let used: u64 = sim
                .snapshot()
                .page_cache()
                .files()
                .map(|(_, len)| len)
                .sum();
            sim.set_quota(Some(used + room));
            board.make_trouble();
        }
        sim.set_hook_reads(noise.is_some());
        sim.set_hook(Some(self.hook(Arc::clone(board), noise)));
    }

    fn hook(self, board: Arc<Board>, mut noise: Option<Choices>) -> Hook {
        let (mut calls, mut done) = (0, false);
        let (mut seen, mut begun) = (0, false);
        Box::new(move |info: &CallInfo<'_>, _: &DiskState| {
            if let Some(verdict) = noise.as_mut().and_then(|c| disturb(c, info)) {
                return verdict;
            }
            if info.kind.looks() || done {
                return Verdict::Continue;
            }
            calls += 1;
            let verdict = match self {
                Trouble::Site { site, skip, after } if site.is(info, &mut begun) => {
                    seen += 1;
                    match (seen > skip, after) {
                        (false, _) => Verdict::Continue,
                        (true, false) => Verdict::Crash,
                        (true, true) => Verdict::CrashAfter,
                    }
                }
                Trouble::SiteSync {
                    site,
                    skip,
                    failure,
                } if info.kind == CallKind::Sync && site.is(info, &mut begun) => {
                    seen += 1;
                    if seen > skip {
                        Verdict::FailSync(failure)
                    } else {
                        Verdict::Continue
                    }
                }
                _ => self.at(calls, info),
            };
            if verdict != Verdict::Continue {
                done = true;
                board.make_trouble();
            }
            verdict
        })
    }

    fn at(self, calls: u64, info: &CallInfo<'_>) -> Verdict {
        match self {
            Trouble::Cut { call, after: false } if calls == call => Verdict::Crash,
            Trouble::Cut { call, after: true } if calls == call => Verdict::CrashAfter,
            Trouble::Error { call }
                if calls >= call
                    && matches!(info.kind, CallKind::Write | CallKind::WriteAtomically) =>
            {
                Verdict::OsError(EIO)
            }
            Trouble::Sync { call, failure }
                if calls >= call
                    && matches!(info.kind, CallKind::Sync | CallKind::WriteDurably) =>
            {
                Verdict::FailSync(failure)
            }
            _ => Verdict::Continue,
        }
    }
}

fn failure(choices: &mut Choices) -> SyncFailure {
    *choices.pick(&[
        SyncFailure::CacheKeepsNew,
        SyncFailure::CacheKeepsNew,
        SyncFailure::CacheReverts,
        SyncFailure::SizeKeptDataZero,
        SyncFailure::NothingHappened,
    ])
}

/// Now and then a read or write is cut short or interrupted; whoever called goes on with the rest.
fn disturb(choices: &mut Choices, info: &CallInfo<'_>) -> Option<Verdict> {
    // The lock file is written by the world itself when the lock is taken; nobody loops over that.
    if !matches!(info.kind, CallKind::Read | CallKind::Write)
        || info.path.ends_with("lock")
        || !choices.chance(1, 6)
    {
        return None;
    }
    if choices.chance(1, 3) {
        return Some(Verdict::Error(std::io::ErrorKind::Interrupted));
    }
    (info.len > 1)
        .then(|| Verdict::Short(usize::try_from(1 + choices.below(info.len - 1)).unwrap_or(1)))
}
