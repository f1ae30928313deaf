//! The transaction handle.

use std::fmt;
use std::io::Read;
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use afterimage_log::{Lsn, Ticket};

use super::handle::{Database, Shared};
use super::scan::{Reader, Scan};
use super::table::Table;
use super::value::ValueReader;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::interval::{Interval, successor};
use crate::options::Durability;
use crate::transaction::{Mode, NewValue, Outcome, Savepoint, Seat, Txn, Wish, check_value_size};
use crate::tree::{Rows, Wanted};

/// Rows that a range delete reads, and locks, at a time.
const DELETE_BATCH: usize = 256;
/// What is kept of a label, in bytes.
const LABEL_BYTES_MAX: usize = 64;

/// A read-write transaction: all of it happens, or none. Serializable by strict two-phase locking: what it read and wrote
/// stays locked until it ends, conflicts wait, and a deadlock is found at once and ends one of its parties with
/// [`Error::Deadlock`]. Rolled back when dropped.
///
/// # Examples
///
/// ```
/// # let world = afterimage_io::sim::Sim::new(1);
/// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
/// let accounts = db.table("accounts")?;
/// let mut tx = db.begin();
/// tx.put(&accounts, b"alice", b"90")?;
/// tx.put(&accounts, b"bob", b"110")?;
/// tx.commit()?;
/// # Ok::<(), afterimage::Error>(())
/// ```
pub struct Transaction {
    db: Database,
    /// Its state belongs to the engine, which may end it.
    seat: Arc<Seat>,
    durability: Durability,
}

impl Transaction {
    pub(super) fn new(db: Database, seat: Arc<Seat>, durability: Durability) -> Transaction {
        Transaction {
            db,
            seat,
            durability,
        }
    }

    pub(super) fn age(&self) -> u64 {
        self.seat.age()
    }

    /// A name for people who ask [who holds the log back](Database::pins); its first 64 bytes count.
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let mut tx = db.begin();
    /// tx.set_label("nightly interest");
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    pub fn set_label(&mut self, label: &str) {
        let end = (0..=label.len().min(LABEL_BYTES_MAX)).rev();
        let end = end.into_iter().find(|end| label.is_char_boundary(*end));
        self.seat.set_label(label[..end.unwrap_or(0)].to_owned());
    }

    /// What this transaction's commit waits for, in place of the database's `synchronous_commit`.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    fn with<R>(
        &mut self,
        table: &Table,
        work: impl FnOnce(&Shared, &mut Txn) -> Result<R>,
    ) -> Result<R> {
        self.inside(|shared, txn| {
            shared.check_table(table)?;
            work(shared, txn)
        })
    }

    fn inside<R>(&mut self, work: impl FnOnce(&Shared, &mut Txn) -> Result<R>) -> Result<R> {
        let shared = self.db.enter()?;
        let result = self.seat.with(|txn| work(&shared, txn));
        if let Err(error) = &result
            && error.is_for_log()
        {
            shared.system.end_from_outside(&self.seat, error.clone())?;
        }
        result
    }

    /// Makes `value` the value of `key`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::LockTimeout`] and [`Error::DiskFull`] leave the transaction
    /// as it was. After [`Error::Deadlock`] and all others it can only be rolled back; after
    /// [`Error::TransactionTooOld`] and [`Error::TransactionTooBig`] it has been.
    pub fn put(&mut self, table: &Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(table, key, Wish::Put(value)).map(drop)
    }

    /// Makes the `len` bytes that `reader` gives the value of `key`. Takes memory for a page of them, so a value may be larger
    /// than memory allows [`put`](Transaction::put); the bounds are 1 GiB, and about half of `max_wal_size`, which has to hold
    /// the transaction's log. See [`ValueReader`] for an example.
    ///
    /// # Errors
    ///
    /// [`Error::Reader`] where the reader fails or ends early: the transaction goes on as it was. Else as
    /// [`put`](Transaction::put).
    pub fn put_reader(
        &mut self,
        table: &Table,
        key: &[u8],
        len: u64,
        reader: &mut dyn Read,
    ) -> Result<()> {
        self.keep_memory(table)?;
        self.with(table, |shared, txn| {
            if !txn.has_written() {
                shared.before_first_write(table)?;
            }
            check_value_size(len)?;
            let to_log = if table.is_unlogged() { 0 } else { len };
            shared.keep_bound(Some(txn), to_log)?;
            let value = NewValue { len, bytes: reader };
            shared.system.put_reader(txn, &table.tree, key, value)
        })
    }

    /// The value of `key`, to be read piece by piece: for values that are too large to be wanted whole. The transaction can
    /// do nothing else meanwhile.
    ///
    /// # Errors
    ///
    /// As [`get`](Transaction::get).
    pub fn get_reader(&mut self, table: &Table, key: &[u8]) -> Result<Option<ValueReader<'_>>> {
        let found = self.with(table, |shared, txn| {
            shared.system.get_reader(txn, &table.tree, key)
        })?;
        Ok(found.map(|found| ValueReader::new(&self.db, found, None)))
    }

    /// Gives `key` a value, if it has none.
    ///
    /// # Errors
    ///
    /// [`Error::KeyExists`] where it has one: the transaction goes on as it was. Else as [`put`](Transaction::put).
    pub fn insert(&mut self, table: &Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(table, key, Wish::Insert(value))?.must()
    }

    /// Changes the value of `key`, if it has one.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotFound`] where it has none: the transaction goes on as it was. Else as [`put`](Transaction::put).
    pub fn update(&mut self, table: &Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(table, key, Wish::Update(value))?.must()
    }

    /// Makes `new` of `expected`; `None` is no value. False, and nothing changed, where something else is there.
    ///
    /// # Errors
    ///
    /// As [`put`](Transaction::put).
    #[must_use = "false: something else is there"]
    pub fn compare_and_swap(
        &mut self,
        table: &Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let outcome = self.write(table, key, Wish::Swap(expected, new))?;
        Ok(outcome.fulfilled)
    }

    /// Deletes `key`. True if it was there.
    ///
    /// # Errors
    ///
    /// As [`put`](Transaction::put).
    pub fn delete(&mut self, table: &Table, key: &[u8]) -> Result<bool> {
        Ok(self.write(table, key, Wish::Delete)?.existed)
    }

    /// Deletes the rows of `range`, and says how many there were. The range is locked against all others, bit by bit from
    /// its beginning on, what is not there included.
    ///
    /// # Errors
    ///
    /// As [`put`](Transaction::put). After [`Error::DiskFull`] or [`Error::LockTimeout`] some of the rows are deleted.
    pub fn delete_range<K, R>(&mut self, table: &Table, range: R) -> Result<u64>
    where
        K: AsRef<[u8]> + ?Sized,
        R: RangeBounds<K>,
    {
        let (mut rest, mut deleted) = (interval(&range), 0);
        let mut used = Rows::default();
        while !rest.is_empty() {
            let step = self.with(table, |shared, txn| {
                let wanted = Wanted {
                    within: &rest,
                    backwards: false,
                    limit: DELETE_BATCH,
                };
                let system = &shared.system;
                system.scan(txn, &table.tree, wanted, Mode::Exclusive, &mut used)
            })?;
            for row in step.rows.iter() {
                deleted += u64::from(self.delete(table, row.key)?);
            }
            (rest, used) = (step.rest, step.rows);
        }
        Ok(deleted)
    }

    fn write(&mut self, table: &Table, key: &[u8], wish: Wish<'_>) -> Result<Outcome> {
        self.keep_memory(table)?;
        self.with(table, |shared, txn| {
            if !txn.has_written() {
                shared.before_first_write(table)?;
            }
            shared.keep_bound(Some(txn), table.log_bytes(wish))?;
            shared.system.write(txn, &table.tree, key, wish)
        })
    }

    fn keep_memory(&self, table: &Table) -> Result<()> {
        match table.is_unlogged() {
            true => self.db.enter()?.keep_memory(Some(&self.seat)),
            false => Ok(()),
        }
    }

    /// The value of `key`, as this transaction sees it. It cannot change until the transaction ends.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`], [`Error::Deadlock`], [`Error::PageCorrupt`], [`Error::Io`], [`Error::LogFailed`].
    pub fn get(&mut self, table: &Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let there = self.get_into(table, key, &mut value)?;
        Ok(there.then_some(value))
    }

    /// As [`get`](Transaction::get), into a buffer of the caller's, in place of what is in it; false, and nothing in it, where there is
    /// no value. After an error what is in it means nothing.
    ///
    /// # Errors
    ///
    /// As [`get`](Transaction::get).
    pub fn get_into(&mut self, table: &Table, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        self.with(table, |shared, txn| {
            shared.system.get(txn, &table.tree, key, false, value)
        })
    }

    /// As [`get`](Transaction::get), and locks the key for writing at once: two transactions that both read first and
    /// write later then wait for each other instead of deadlocking.
    ///
    /// # Errors
    ///
    /// As [`get`](Transaction::get).
    pub fn get_for_update(&mut self, table: &Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let there = self.with(table, |shared, txn| {
            let system = &shared.system;
            system.get(txn, &table.tree, key, true, &mut value)
        })?;
        Ok(there.then_some(value))
    }

    /// The values of several keys, in the order of `keys`. Locks them in their own order, so that two transactions that do
    /// this do not deadlock.
    ///
    /// # Errors
    ///
    /// As [`get`](Transaction::get).
    pub fn get_many<K: AsRef<[u8]>>(
        &mut self,
        table: &Table,
        keys: &[K],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let mut order: Vec<_> = (0..keys.len()).collect();
        order.sort_by_key(|place| keys[*place].as_ref());
        let mut values = vec![None; keys.len()];
        for place in order {
            values[place] = self.get(table, keys[place].as_ref())?;
        }
        Ok(values)
    }

    /// The rows whose keys begin with `prefix`, in key order; `.rev()` for the other way. As [`scan`](Transaction::scan).
    ///
    /// # Errors
    ///
    /// As [`scan`](Transaction::scan).
    pub fn scan_prefix(&mut self, table: &Table, prefix: &[u8]) -> Result<Scan<'_>> {
        let high = behind_prefix(prefix);
        let high = high.map_or(Bound::Unbounded, Bound::Excluded);
        self.scan::<Vec<u8>, _>(table, (Bound::Included(prefix.to_vec()), high))
    }

    /// Sets a savepoint: a place to come back to with [`rollback_to`](Transaction::rollback_to). Savepoints nest.
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let orders = db.table("orders")?;
    /// let mut tx = db.begin();
    /// tx.put(&orders, b"1", b"a chair")?;
    /// let before = tx.savepoint()?;
    /// tx.put(&orders, b"2", b"a table")?;
    /// tx.rollback_to(&before)?;
    /// tx.commit()?;
    /// assert_eq!(db.get(&orders, b"2")?, None);
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What an earlier error left of the transaction; [`Error::LogFailed`].
    pub fn savepoint(&mut self) -> Result<Savepoint> {
        self.inside(|shared, txn| shared.system.savepoint(txn))
    }

    /// Takes back what was done since `savepoint`. It stays, and can be rolled back to again; savepoints set after it are
    /// gone. Every lock stays until the transaction ends.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSavepoint`] and [`Error::DiskFull`] leave the transaction as it was; after all others it can only be
    /// rolled back.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        self.inside(|shared, txn| shared.system.rollback_to(txn, savepoint))
    }

    /// Forgets `savepoint` and those set after it; what was done stays done.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSavepoint`]; what an earlier error left of the transaction.
    pub fn release(&mut self, savepoint: Savepoint) -> Result<()> {
        self.inside(|shared, txn| shared.system.release(txn, &savepoint))
    }

    /// How long each of this transaction's calls waits for a lock from now on, in place of the database's `lock_timeout`;
    /// [`Duration::MAX`] for ever, zero for not at all.
    pub fn set_lock_timeout(&mut self, timeout: Duration) {
        self.seat.set_lock_timeout(timeout);
    }

    /// The rows of `range` in key order; `.rev()` for the other way. Keys are anything that is bytes; the full range is
    /// `..`, written `scan::<[u8], _>(&t, ..)`.
    ///
    /// What it shows cannot change until the transaction ends: who would write there, be it a key that does not exist
    /// yet, waits. That is so from where the scan begins to the last row that was asked for, and no farther: beyond, and
    /// beside the range, others go on. (Only a scan longer than 64 rows locks ahead, by one row in 64.)
    ///
    /// # Errors
    ///
    /// What an earlier error left of the transaction; [`Error::LogFailed`]. Each row may bring [`Error::Deadlock`],
    /// [`Error::LockTimeout`], [`Error::PageCorrupt`] or [`Error::Io`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let accounts = db.table("accounts")?;
    /// let mut tx = db.begin();
    /// tx.put(&accounts, b"alice", b"90")?;
    /// tx.put(&accounts, b"bob", b"110")?;
    /// let from_b: Vec<_> = tx.scan(&accounts, b"b".as_slice()..)?.collect::<Result<_, _>>()?;
    /// assert_eq!(from_b, [(b"bob".to_vec(), b"110".to_vec())]);
    /// let last = tx.scan::<[u8], _>(&accounts, ..)?.rev().next().transpose()?;
    /// assert_eq!(last.map(|(key, _)| key), Some(b"bob".to_vec()));
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    pub fn scan<K, R>(&mut self, table: &Table, range: R) -> Result<Scan<'_>>
    where
        K: AsRef<[u8]> + ?Sized,
        R: RangeBounds<K>,
    {
        let range = interval(&range);
        self.with(table, |shared, txn| shared.system.check_alive(txn))?;
        let reader = Reader::Locking(&self.seat);
        Ok(Scan::new(&self.db, reader, table.tree.clone(), range))
    }

    /// Commits. When this returns, the transaction is as durable as `synchronous_commit`, or
    /// [`set_durability`](Transaction::set_durability), says. A transaction that wrote nothing waits until what it read is
    /// that durable.
    ///
    /// # Errors
    ///
    /// [`Error::Deadlock`], and whatever else had already failed in it: then it is rolled back. [`Error::LogFailed`]: it
    /// was not committed. [`Error::OutcomeUnknown`]: the engine stopped before the commit was known to be durable.
    pub fn commit(mut self) -> Result<()> {
        let _committing = tracing::trace_span!("commit").entered();
        let db = self.db.clone();
        let inside = db.enter()?;
        let commit = self.append_commit(&inside)?;
        inside.wait(commit.end, self.durability)?;
        if commit.wrote {
            // Rows of unlogged tables alone: there is no log that would have to be durable.
            let logged = commit.end > commit.lsn;
            inside
                .commits
                .acknowledged(self.durability, logged, commit.began);
        }
        Ok(())
    }

    /// Commits without waiting: the ticket tells when the commit is on stable storage. Everybody else sees the
    /// transaction's effects at once.
    ///
    /// # Errors
    ///
    /// As [`commit`](Transaction::commit), except that the outcome is told by the ticket.
    pub fn commit_ticket(mut self) -> Result<CommitTicket> {
        let db = self.db.clone();
        let inside = db.enter()?;
        let commit = self.append_commit(&inside)?;
        if commit.lsn.is_some() {
            inside.commits.ticketed();
        }
        Ok(CommitTicket {
            lsn: commit.lsn,
            ticket: commit.end.map(|end| inside.system.pager.log.ticket(end)),
        })
    }

    fn append_commit(&mut self, inside: &Shared) -> Result<Commit> {
        let txn = self.seat.take()?;
        let wrote = txn.has_written();
        let began = wrote.then(|| inside.commits.begin(self.durability));
        let result = match self.seat.ended() {
            Some(why) => inside.system.rollback(txn).and(Err(why.clone())),
            None => inside.system.commit(txn),
        };
        inside.system.leave(&self.seat);
        let (lsn, end) = result?;
        Ok(Commit {
            lsn,
            end,
            wrote,
            began: began.flatten(),
        })
    }

    /// Takes everything back and releases the locks.
    ///
    /// # Errors
    ///
    /// [`Error::LogFailed`] if the engine has stopped: then recovery takes it back.
    pub fn rollback(mut self) -> Result<()> {
        self.undo()
    }

    fn undo(&mut self) -> Result<()> {
        // Where the database is being closed, the transaction stays in its seat, with its locks: the close takes it back, or
        // recovery does, and until then nobody who is still inside may see what it wrote, or write over it.
        let inside = self.db.enter()?;
        let Ok(txn) = self.seat.take() else {
            return Ok(());
        };
        inside.system.leave(&self.seat);
        let seen = txn.seen_end();
        inside.system.rollback(txn)?;
        // What it has read is vouched for, even as it goes: the caller may act on it.
        if inside.system.check_running().is_err() {
            return Ok(());
        }
        inside.wait(seen, self.durability)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // In a simulated world that has lost its power nothing can be appended any more.
        if !self.db.shared().io.has_crashed() {
            // An error here has stopped the engine, or found it closed: recovery does the rest.
            let _ = self.undo();
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// A commit whose record is in the log.
struct Commit {
    /// Of the record; none where the transaction wrote nothing.
    lsn: Option<Lsn>,
    /// Up to where the log must be durable before it may be acknowledged.
    end: Option<Lsn>,
    /// Whether there was anything to commit.
    wrote: bool,
    /// When the call began, by the world's clock, where that is counted.
    began: Option<Duration>,
}

/// A commit on its way to stable storage; got by [`Transaction::commit_ticket`]. Dropping it changes nothing.
///
/// # Examples
///
/// ```
/// # let world = afterimage_io::sim::Sim::new(1);
/// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
/// let accounts = db.table("accounts")?;
/// let mut tickets = Vec::new();
/// for name in [b"alice", b"bruno"] {
///     let mut tx = db.begin();
///     tx.put(&accounts, name, b"100")?;
///     tickets.push(tx.commit_ticket()?);
/// }
/// for ticket in &tickets {
///     ticket.wait()?;
/// }
/// # Ok::<(), afterimage::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CommitTicket {
    lsn: Option<Lsn>,
    ticket: Option<Ticket>,
}

impl CommitTicket {
    /// The LSN of the commit record; commits are in the order of these. `None` if the transaction wrote nothing.
    pub fn lsn(&self) -> Option<Lsn> {
        self.lsn
    }

    /// Is the commit on stable storage? Never does I/O.
    ///
    /// # Errors
    ///
    /// [`Error::OutcomeUnknown`] if the engine stopped before it was.
    pub fn is_durable(&self) -> Result<bool> {
        match &self.ticket {
            Some(ticket) => Ok(ticket.is_durable()?),
            None => Ok(true),
        }
    }

    /// Waits until the commit is on stable storage.
    ///
    /// # Errors
    ///
    /// As [`is_durable`](CommitTicket::is_durable).
    pub fn wait(&self) -> Result<()> {
        match &self.ticket {
            Some(ticket) => Ok(ticket.wait()?),
            None => Ok(()),
        }
    }
}

/// Ready when the commit is on stable storage; for any runtime, and without a thread of its own.
impl Future for CommitTicket {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.ticket {
            Some(ticket) => Pin::new(ticket).poll(context).map_err(Into::into),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// The keys of `range`.
pub(super) fn interval<K: AsRef<[u8]> + ?Sized>(range: &impl RangeBounds<K>) -> Interval {
    let low = match range.start_bound() {
        Bound::Included(key) => key.as_ref().to_vec(),
        Bound::Excluded(key) => successor(key.as_ref()),
        Bound::Unbounded => Vec::new(),
    };
    let high = match range.end_bound() {
        Bound::Included(key) => Some(successor(key.as_ref())),
        Bound::Excluded(key) => Some(key.as_ref().to_vec()),
        Bound::Unbounded => None,
    };
    Interval::new(&low, high.as_deref())
}

/// The first key behind all that begin with `prefix`; none where there is no such key.
pub(super) fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}
