//! What a transaction does: read, write, scan, commit. Lock, then reserve, then latch.

use std::ops::Range;
use std::sync::Arc;

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Appended, Log, Lsn};

use super::large::NewValue;
use super::versions::{Status, View};
use super::wish::{Done, Outcome, Wish};
use super::{Chain, Mode, Resource, System, Txn};
use crate::error::{Error, Result};
use crate::ids::TableId;
use crate::interval::Interval;
use crate::limits::{
    LARGE_VALUE_BYTES_MAX, key_bytes_max, row_bytes_max, structure_bytes_max, value_bytes_max,
};
use crate::page::Stored;
use crate::record::{Change, Record, RowRecord};
use crate::tree::{AsIs, CALLED_UP, RowWrite, Rows, Sight, Step, Tree, Wanted, pending_owner};

/// The rows of a tree as a view sees them.
struct InView<'a> {
    system: &'a System,
    view: &'a View,
    tree: &'a Tree,
}

impl Sight for InView<'_> {
    fn is_plain(&self, leaf: Option<Lsn>) -> bool {
        // Pages of unlogged tables bear no LSN that could say so.
        self.tree.is_logged() && self.view.covers(leaf)
    }

    fn see<'v>(
        &self,
        leaf: Option<Lsn>,
        key: &[u8],
        value: Option<Stored<'v>>,
    ) -> Option<Stored<'v>> {
        if self.is_plain(leaf) {
            return value;
        }
        let (view, tree) = (self.view, self.tree.id());
        self.system.versions.seen(view, tree, key, value)
    }
}

/// Structure changes that an undo may need where nobody else gets log space: a leaf, its parent, the root.
const UNDO_CHANGES: usize = 3;
/// Payload bytes of a commit or end record, at most.
const FINISH_BYTES: usize = 64;

impl System {
    /// Refuses keys and values that a page cannot take, before anything else.
    pub(crate) fn check_sizes(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let key_max = key_bytes_max(self.pager.page_size());
        if key.len() > key_max {
            return Err(Error::KeyTooLarge {
                bytes: key.len(),
                max: key_max,
            });
        }
        check_value_size(value.len() as u64)
    }

    /// Whether a value of so many bytes does not stand in its row's cell.
    pub(crate) fn is_large(&self, bytes: u64) -> bool {
        bytes > value_bytes_max(self.pager.page_size()) as u64
    }

    /// Is there anything in the way of this transaction's next call?
    pub(crate) fn check_alive(&self, txn: &Txn) -> Result<()> {
        if let Some(error) = &txn.doomed {
            return Err(match error {
                Error::Deadlock => Error::Deadlock,
                other => Error::TransactionEnded {
                    reason: other.to_string(),
                },
            });
        }
        self.check_running()
    }

    /// After the first failure nobody writes, ever.
    pub(crate) fn check_running(&self) -> Result<()> {
        match self.pager.log.failure() {
            Some(reason) => Err(Error::LogFailed { reason }),
            None => Ok(()),
        }
    }

    /// Puts the value of `key` into `into`, locked shared, or exclusively if it is to be updated. False: there is none.
    pub(crate) fn get(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
        update: bool,
        into: &mut Vec<u8>,
    ) -> Result<bool> {
        self.check_sizes(key, &[])?;
        let mode = if update {
            Mode::Exclusive
        } else {
            Mode::Shared
        };
        if !update && let Some(weak) = self.read_weakly(tree, key)? {
            return self.finish_read(tree, Seen::take(weak, into), into);
        }
        self.lock_row(txn, tree, key, mode)?;
        let seen = tree.read(self.pager_of(tree), key, |_, value| Seen::take(value, into))?;
        self.finish_read(tree, seen, into)
    }

    /// Fetches what was seen to lie elsewhere. False: there is no value.
    fn finish_read(&self, tree: &Tree, seen: Seen, into: &mut Vec<u8>) -> Result<bool> {
        if let Seen::Elsewhere(stored) = &seen {
            *into = self.load(tree, stored.reborrow())?;
        }
        Ok(!matches!(seen, Seen::Nothing))
    }

    /// Locks a row for a transaction that can still go on.
    pub(super) fn lock_row(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
        mode: Mode,
    ) -> Result<()> {
        self.check_alive(txn)?;
        self.lock(txn, &Resource::Key(tree.id(), key), mode)?;
        tree.unless_dropped(Ok(()))
    }

    /// Fulfils `wish` for the row of `key`, if what is there allows it.
    pub(crate) fn write(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
        wish: Wish<'_>,
    ) -> Result<Outcome> {
        self.check_sizes(key, wish.value().unwrap_or_default())?;
        self.lock_row(txn, tree, key, Mode::Exclusive)?;
        let result = self.write_locked(txn, tree, key, wish);
        self.versions.relieve(self.pager.log.durable_lsn());
        self.doom_unless_harmless(txn, &result);
        result
    }

    /// After an error that left something half done only rollback is left.
    pub(super) fn doom_unless_harmless<R>(&self, txn: &mut Txn, result: &Result<R>) {
        if let Err(error) = result
            && !matches!(error, Error::DiskFull { .. } | Error::Reader { .. })
        {
            txn.doomed = Some(error.clone());
        }
    }

    fn write_locked(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
        wish: Wish<'_>,
    ) -> Result<Outcome> {
        let value = wish.value();
        if let Some(mut bytes) = value.filter(|value| self.is_large(value.len() as u64)) {
            let (len, bytes) = (bytes.len() as u64, &mut bytes);
            let large = NewValue { len, bytes };
            return self.write_large(txn, tree, key, wish, Some(large));
        }
        let (mut outcome, mut meets_large) = (Outcome::default(), false);
        let mut decide = |before: Option<Stored<'_>>| {
            meets_large = before.as_ref().is_some_and(|before| before.large);
            if meets_large {
                return None;
            }
            let before = before.as_ref().map(|before| &*before.bytes);
            outcome = wish.outcome(before);
            change(before, value, outcome)
        };
        let after_len = value.map_or(0, <[u8]>::len);
        self.write_row(txn, tree, key, after_len, &mut decide)?;
        if meets_large {
            return self.write_large(txn, tree, key, wish, None);
        }
        Ok(outcome)
    }

    /// Logs a change of one row, which is locked, as the transaction's next record.
    pub(super) fn write_row<'a>(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &'a [u8],
        after_len: usize,
        decide: &mut dyn FnMut(Option<Stored<'_>>) -> Option<Change<'a>>,
    ) -> Result<()> {
        debug_assert!(
            tree.id() < TableId::FIRST_USER || self.locks.is_locked_exclusively(tree.id(), key),
            "LOCK-2: a row is changed under its lock"
        );
        if !tree.is_logged() {
            return self.write_unlogged(txn, tree, key, decide);
        }
        txn.durable = true;
        let log = &self.pager.log;
        let before_max = value_bytes_max(self.pager.page_size());
        let clr_max = Log::frame_bytes(row_bytes_max(key.len(), 0, before_max), false);
        let finish = if txn.undo_space.is_none() {
            self.finish_bytes()
        } else {
            0
        };
        let row_max = Log::frame_bytes(row_bytes_max(key.len(), before_max, after_len), false);
        let mut space = log.reserve(row_max + clr_max + finish)?;

        let chain = txn.chain;
        let status = Arc::clone(txn.status.get_or_insert_default());
        let (mut before_len, mut appended) = (0, None);
        let mut write = RowWrite {
            key,
            decide: &mut |before| {
                before_len = before.as_ref().map_or(0, |before| before.bytes.len());
                let change = decide(before.as_ref().map(Stored::reborrow))?;
                self.keep_version(tree, key, &status, before);
                Some(change)
            },
            record: &|place, change| {
                Record::Row(RowRecord {
                    commit: false,
                    txn: chain.map(|chain| chain.id),
                    prev: chain.map(|chain| match planted::active(Bug::ChainToWrongRecord) {
                        true => chain.id,
                        false => chain.last,
                    }),
                    table: place.table,
                    page: place.page,
                    page_prev: place.page_prev,
                    key: key.into(),
                    change,
                })
            },
            inside: &mut |lsn, _| {
                self.active.wrote(chain.map_or(lsn, |chain| chain.id), lsn);
                appended = Some(lsn);
            },
            timed: false,
            undoing: false,
            purgeable: &|ghost| self.is_purgeable(tree, ghost),
        };
        let written = tree.write_row(&self.pager, &mut space, &mut write)?;
        if let Some(page) = written.as_ref().and_then(|written| written.ghost_on) {
            self.sparse.note(tree.id(), page, key);
        }
        let appended_bytes = written
            .and_then(|written| written.appended)
            .map_or(0, |appended| appended.end.get() - appended.lsn.get());
        if let Some(lsn) = appended {
            txn.chain = Some(Chain {
                id: chain.map_or(lsn, |chain| chain.id),
                last: lsn,
            });
            txn.logged += appended_bytes;
            let clr = Log::frame_bytes(row_bytes_max(key.len(), 0, before_len), false);
            let clr = match planted::active(Bug::UndoSpaceNotKept) {
                true => 0,
                false => clr,
            };
            let kept = space.split(clr + finish);
            match &mut txn.undo_space {
                Some(undo_space) => undo_space.absorb(kept),
                None => txn.undo_space = Some(kept),
            }
        }
        Ok(())
    }

    /// A row is about to be changed, under its lock and its leaf's latch.
    pub(super) fn keep_version(
        &self,
        tree: &Tree,
        key: &[u8],
        by: &Arc<Status>,
        before: Option<Stored<'_>>,
    ) {
        // Snapshots do not look into the engine's own tables.
        if tree.id() >= TableId::FIRST_USER {
            let durable = self.pager.log.durable_lsn();
            self.versions.keep(tree.id(), key, by, before, durable);
        }
    }

    /// Whether nobody can want a ghost back: no unfinished transaction has made it one, and no snapshot sees its row.
    pub(super) fn is_purgeable(&self, tree: &Tree, ghost: &[u8]) -> bool {
        if [TableId::PENDING_FREE, TableId::UNLOGGED_PENDING].contains(&tree.id()) {
            return pending_owner(ghost).is_none_or(|owner| !self.active.is_unfinished(owner));
        }
        !self.locks.is_locked_exclusively(tree.id(), ghost)
            && (planted::active(Bug::GhostsGone) || !self.versions.holds(tree.id(), ghost))
    }

    /// What the end of a transaction may take: its commit or end record, and the structure changes of an undo that needs
    /// room.
    pub(super) fn finish_bytes(&self) -> usize {
        let structure = structure_bytes_max(self.pager.page_size());
        Log::frame_bytes(FINISH_BYTES, true) + UNDO_CHANGES * Log::frame_bytes(structure, false)
    }

    /// One row in a transaction of its own: change and commit are one record. Returns whether there was a value before,
    /// and up to where the log must be durable before that may be told.
    pub(crate) fn autocommit(&self, tree: &Tree, key: &[u8], wish: Wish<'_>) -> Result<Done> {
        self.check_sizes(key, wish.value().unwrap_or_default())?;
        self.check_running()?;
        let mut txn = self.begin(None);
        let value_len = wish.value().map_or(0, <[u8]>::len);
        let result = if self.is_large(value_len as u64) || !tree.is_logged() {
            Ok(None)
        } else {
            self.autocommit_locked(&mut txn, tree, key, wish)
        };
        if let Ok(None) = result {
            return self.commit_one(txn, tree, key, wish);
        }
        let result = result.map(|done| done.expect("what takes more has been seen to"));
        let commit = result.as_ref().ok().and_then(|(_, commit)| *commit);
        self.locks
            .release_all(&txn.owner, commit.map(|commit| commit.lsn));
        self.versions.relieve(self.pager.log.durable_lsn());
        let (outcome, commit) = result?;
        if commit.is_some() {
            self.counters.commits.add(1);
        }
        Ok(Done {
            outcome,
            has_committed: commit.is_some(),
            // With nothing to change, the answer still rests on the last commit that it saw.
            end: commit
                .map(|commit| commit.end)
                .or_else(|| txn.seen.map(after_record)),
        })
    }

    /// `None`, and nothing done, where a large value is replaced: that takes more than one record.
    fn autocommit_locked(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
        wish: Wish<'_>,
    ) -> Result<Option<(Outcome, Option<Appended>)>> {
        self.lock_row(txn, tree, key, Mode::Exclusive)?;
        let before_max = value_bytes_max(self.pager.page_size());
        let after = wish.value();
        let row_max = row_bytes_max(key.len(), before_max, after.map_or(0, <[u8]>::len));
        let mut space = self.pager.log.reserve(Log::frame_bytes(row_max, true))?;
        let (mut outcome, mut meets_large) = (Outcome::default(), false);
        let status = Arc::<Status>::default();
        let mut write = RowWrite {
            key,
            decide: &mut |before| {
                meets_large = before.as_ref().is_some_and(|before| before.large);
                if meets_large {
                    return None;
                }
                let bytes = before.as_ref().map(|before| &*before.bytes);
                outcome = wish.outcome(bytes);
                let change = change(bytes, after, outcome)?;
                self.keep_version(tree, key, &status, before);
                Some(change)
            },
            record: &|place, change| {
                Record::Row(RowRecord {
                    commit: true,
                    txn: None,
                    prev: None,
                    table: place.table,
                    page: place.page,
                    page_prev: place.page_prev,
                    key: key.into(),
                    change,
                })
            },
            inside: &mut |lsn, _| status.commit(lsn),
            timed: true,
            undoing: false,
            purgeable: &|ghost| self.is_purgeable(tree, ghost),
        };
        let written = tree.write_row(&self.pager, &mut space, &mut write);
        if !matches!(written, Ok(Some(_))) {
            // It may have come as far as keeping a version, and then no farther.
            status.take_back();
        }
        let written = written?;
        if let Some(page) = written.as_ref().and_then(|written| written.ghost_on) {
            self.sparse.note(tree.id(), page, key);
        }
        let appended = written.and_then(|written| written.appended);
        Ok((!meets_large).then_some((outcome, appended)))
    }

    /// One row in a transaction of its own, of as many records as it takes.
    fn commit_one(&self, mut txn: Txn, tree: &Tree, key: &[u8], wish: Wish<'_>) -> Result<Done> {
        match self.write(&mut txn, tree, key, wish) {
            Ok(outcome) => {
                let (lsn, end) = self.commit(txn)?;
                Ok(Done {
                    outcome,
                    has_committed: lsn.is_some(),
                    end,
                })
            }
            Err(error) => {
                self.rollback(txn)?;
                Err(error)
            }
        }
    }

    /// Puts the latest committed value of `key` into `into`; says whether there is one, and up to where the log must be durable before
    /// that may be told.
    ///
    /// The lock is momentary: while the leaf is latched, a key that nobody holds exclusively has its last committed
    /// value, for a writer locks before it latches and unlocks after its commit is in the log. Otherwise the call
    /// waits in line like everybody else.
    pub(crate) fn read_committed(
        &self,
        tree: &Tree,
        key: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<(bool, Option<Lsn>)> {
        self.check_sizes(key, &[])?;
        let looked = tree.read(self.pager_of(tree), key, |_, value| {
            // A large value is not read at once: its key stays locked until it is.
            let large = value.as_ref().is_some_and(|value| value.large);
            if large {
                return None;
            }
            let last_commit = self.locks.last_commit(tree.id(), key)?;
            let there = !matches!(Seen::take(value, into), Seen::Nothing);
            Some((there, last_commit))
        });
        let looked = tree.unless_dropped(looked)?;
        // A rollback that could not be finished has stopped the engine before it let go of its locks.
        self.check_running()?;
        if let Some((there, seen)) = looked {
            return Ok((there, seen.map(after_record)));
        }
        let mut txn = self.begin(None);
        let there = self.get(&mut txn, tree, key, false, into);
        self.locks.release_all(&txn.owner, None);
        Ok((there?, txn.seen.map(after_record)))
    }

    /// The next of the wanted rows, perhaps none, and what is then left of their interval. Locked is exactly what they show: from
    /// where the step began to the last of them, or as far as there is none. They stand in the memory of `used`.
    pub(crate) fn scan(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        wanted: Wanted<'_>,
        mode: Mode,
        used: &mut Rows,
    ) -> Result<Step> {
        self.check_alive(txn)?;
        loop {
            let mut refused = None;
            let allow = &mut |seen: &Interval| {
                // How far it goes is known only here, with the leaf latched: so nobody can be waited for.
                let allowed = self.scans_weakly()
                    || self.try_lock(txn, &Resource::Range(tree.id(), seen), mode);
                if !allowed {
                    refused = Some(seen.clone());
                }
                allowed
            };
            let step = tree.rows_within(
                self.pager_of(tree),
                wanted,
                &AsIs,
                std::mem::take(used),
                allow,
            );
            let step = tree.unless_dropped(step)?;
            match (step, refused) {
                (Some(mut step), _) => {
                    self.check_running()?;
                    self.lock_rows_only(txn, tree, &mut step)?;
                    return Ok(step);
                }
                // Locked now, it may still show something else than before: a row more, or none.
                (None, Some(seen)) => self.lock(txn, &Resource::Range(tree.id(), &seen), mode)?,
                (None, None) => unreachable!("it is refused where the lock is"),
            }
        }
    }

    /// As [`System::scan`], as `view` sees it: a leaf's worth of rows, and nothing is locked.
    pub(crate) fn scan_view(
        &self,
        view: &View,
        tree: &Tree,
        within: &Interval,
        backwards: bool,
        used: Rows,
    ) -> Result<Step> {
        if is_before_load(view, tree) {
            let (rows, rest) = (Rows::default(), Interval::new(&[], Some(&[])));
            return Ok(Step { rows, rest });
        }
        let system = self;
        let sight = InView { system, view, tree };
        let wanted = Wanted {
            within,
            backwards,
            limit: usize::MAX,
        };
        let step = tree.rows_within(self.pager_of(tree), wanted, &sight, used, &mut |_| true);
        self.check_view(view)?;
        Ok(in_view(view, tree, step)?.expect("nobody says no"))
    }

    /// Puts the value of `key` as `view` sees it into `into`. False: there is none.
    pub(crate) fn read_view(
        &self,
        view: &View,
        tree: &Tree,
        key: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<bool> {
        into.clear();
        let take = |stored: Option<Stored<'_>>| Seen::take(stored, into);
        let seen = self.look(view, tree, key, Seen::Nothing, take)?;
        let there = self.finish_read(tree, seen, into);
        self.check_view(view)?;
        there
    }

    /// As [`System::read_view`] for each of these keys, [`CALLED_UP`] of them at most: what was seen, and where in `values` it stands.
    pub(crate) fn read_many(
        &self,
        view: &View,
        tree: &Tree,
        keys: &[&[u8]],
        values: &mut Vec<u8>,
    ) -> Result<[(Seen, Range<usize>); CALLED_UP]> {
        keys.iter().try_for_each(|key| self.check_sizes(key, &[]))?;
        values.clear();
        let mut found = [const { (Seen::Nothing, 0..0) }; CALLED_UP];
        if is_before_load(view, tree) {
            return Ok(found);
        }
        let system = self;
        let sight = InView { system, view, tree };
        let read = tree.read_many(self.pager_of(tree), keys, |place, lsn, value| {
            let stored = sight.see(lsn, keys[place], value);
            let start = values.len();
            let seen = Seen::append(stored, values);
            found[place] = (seen, start..values.len());
        });
        self.check_view(view)?;
        in_view(view, tree, read)?;
        Ok(found)
    }

    /// A value that `view` has seen to lie elsewhere.
    pub(crate) fn load_seen(
        &self,
        view: &View,
        tree: &Tree,
        stored: Stored<'_>,
    ) -> Result<Vec<u8>> {
        let value = self.load(tree, stored);
        self.check_view(view)?;
        value
    }

    /// What is stored for `key`, as `view` sees it.
    pub(crate) fn stored_in_view(
        &self,
        view: &View,
        tree: &Tree,
        key: &[u8],
    ) -> Result<Option<Stored<'static>>> {
        self.look(view, tree, key, None, |stored| {
            stored.map(Stored::into_owned)
        })
    }

    /// Shows `see` the row of `key` as `view` sees it; `none` is what comes of a table that is not yet there. Takes no lock, and works
    /// on when writing has ended for ever: what is durable is true.
    fn look<R>(
        &self,
        view: &View,
        tree: &Tree,
        key: &[u8],
        none: R,
        see: impl FnOnce(Option<Stored<'_>>) -> R,
    ) -> Result<R> {
        self.check_sizes(key, &[])?;
        if is_before_load(view, tree) {
            return Ok(none);
        }
        let system = self;
        let sight = InView { system, view, tree };
        let value = tree.read(self.pager_of(tree), key, |lsn, value| {
            see(sight.see(lsn, key, value))
        });
        self.check_view(view)?;
        in_view(view, tree, value)
    }

    /// What was read from pages before this, as `view` saw them, is right.
    pub(crate) fn check_view(&self, view: &View) -> Result<()> {
        if view.is_gone() {
            return Err(Error::SnapshotTooOld);
        }
        Ok(())
    }

    /// Appends the commit and releases the locks. Returns the commit's LSN, if it wrote, and up to where the log must be
    /// durable before the commit may be acknowledged.
    pub(crate) fn commit(&self, mut txn: Txn) -> Result<(Option<Lsn>, Option<Lsn>)> {
        if let Some(error) = txn.doomed.clone() {
            self.rollback(txn)?;
            return Err(error);
        }
        let Some(chain) = txn.chain else {
            if txn.kept.is_some() {
                return self.commit_unlogged(txn);
            }
            self.locks.release_all(&txn.owner, None);
            let seen = txn
                .seen
                .filter(|_| !planted::active(Bug::AnswerNotVouchedFor));
            return Ok((None, seen.map(after_record)));
        };
        let log = &self.pager.log;
        let record = Record::Commit {
            txn: chain.id,
            prev: chain.last,
        };
        let mut space = txn
            .undo_space
            .take()
            .expect("a transaction that wrote has space for its end");
        if planted::active(Bug::LocksBeforeCommitRecord) {
            self.locks.release_all(&txn.owner, None);
        }
        let appended = self.pager.append(&mut space, &record, true, |lsn, _| {
            self.active.finished(chain.id, lsn, log.durable_lsn());
            if let Some(status) = &txn.status
                && !planted::active(Bug::StampedLate)
            {
                status.commit(match planted::active(Bug::StampedByLastChange) {
                    true => chain.last,
                    false => lsn,
                });
            }
        });
        if let (Ok(appended), Some(status), true) =
            (&appended, &txn.status, planted::active(Bug::StampedLate))
        {
            self.pager.io.yield_now();
            status.commit(appended.lsn);
        }
        if let (Ok(appended), true) = (&appended, txn.leaves_pages) {
            self.purge.owner_ended(chain.id, appended.lsn);
        }
        self.forget_kept(&mut txn);
        let commit = appended.as_ref().ok();
        let commit = commit.and_then(|appended| System::rests_on(&txn, appended.lsn));
        self.locks.release_all(&txn.owner, commit);
        drop(space);
        let appended = appended?;
        self.counters.commits.add(1);
        if !txn.durable {
            self.let_it_be_synced(appended)?;
            return Ok((Some(appended.lsn), txn.seen_end()));
        }
        let end = if planted::active(Bug::AckBelowCommitRecord) {
            after_record(chain.last)
        } else {
            appended.end
        };
        Ok((Some(appended.lsn), Some(end)))
    }
}

/// What a read has seen of a row, while its leaf was latched.
pub(crate) enum Seen {
    Nothing,
    /// The value, which is where it was to go.
    Value,
    /// Where the value lies.
    Elsewhere(Stored<'static>),
}

impl Seen {
    /// Puts a value that stands in its cell into `into`, in place of what was there.
    fn take(stored: Option<Stored<'_>>, into: &mut Vec<u8>) -> Seen {
        into.clear();
        Seen::append(stored, into)
    }

    /// As [`Seen::take`], behind what is there.
    fn append(stored: Option<Stored<'_>>, into: &mut Vec<u8>) -> Seen {
        match stored {
            None => Seen::Nothing,
            Some(stored) if stored.large => Seen::Elsewhere(stored.into_owned()),
            Some(stored) => {
                into.extend_from_slice(&stored.bytes);
                Seen::Value
            }
        }
    }
}

/// What `view` has seen of the table, if it was not dropped before: its pages are kept for older views only.
fn in_view<R>(view: &View, tree: &Tree, seen: Result<R>) -> Result<R> {
    match tree.dropped_at() {
        Some(dropped) if dropped < view.lsn() => tree.unless_dropped(seen),
        _ => seen,
    }
}

/// Is `view` older than the table, which was loaded as a whole? Then it sees it empty, as it sees any table that is younger.
fn is_before_load(view: &View, tree: &Tree) -> bool {
    tree.loaded_at().is_some_and(|loaded| loaded >= view.lsn())
}

/// Refuses values that are too long for any page size.
pub(crate) fn check_value_size(bytes: u64) -> Result<()> {
    if bytes > LARGE_VALUE_BYTES_MAX {
        return Err(Error::ValueTooLarge {
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            max: LARGE_VALUE_BYTES_MAX as usize,
        });
    }
    Ok(())
}

/// The change that makes `after` of `before`, if that is to be and is one. It borrows what is to be, and keeps what was.
fn change<'a>(
    before: Option<&[u8]>,
    after: Option<&'a [u8]>,
    outcome: Outcome,
) -> Option<Change<'a>> {
    let is_one = before.is_some() || after.is_some();
    (outcome.fulfilled && is_one).then(|| Change::of_seen(before, after))
}

/// A position that is reached when the record at `lsn` is: its first byte is below it, and ends lie between records.
pub(crate) fn after_record(lsn: Lsn) -> Lsn {
    Lsn::new(lsn.get().saturating_add(1)).expect("more than zero")
}
