//! One life of the worker under test: opens (recovers), judges every row, verifies, works with several clients until told to
//! stop or something fails, and closes. It uses the ordinary public interface, on real files.
//!
//! What happens is told at once to whoever keeps the books: in the same process, or through a pipe (`child`).

use crate::dice::{Dice, mixed_of};
use crate::rows::{self, CLIENTS, GROUP, Last, WINDOW};
use afterimage::{Database, Error, Options, Table, Transaction};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The table.
const TABLE: &str = "rig";

/// What a life is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The database's directory.
    pub dir: PathBuf,
    /// Chooses the settings of this life, and what its clients do.
    pub seed: u64,
    /// Clients, up to `CLIENTS`.
    pub clients: usize,
    /// After so many acknowledged transactions the life ends by itself, with a close.
    pub transactions: u64,
    /// Transactions between two checkpoints that are asked for.
    pub checkpoint_every: u64,
    /// A full disk is waited for, not an end.
    pub full_is_no_end: bool,
}

/// What happens in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is open, and this is what all rows together say.
    Found(Last),
    /// `verify` has looked at all of it.
    Verified,
    /// A commit has returned.
    Acknowledged(usize, u64),
    /// A checkpoint that was asked for has returned.
    Checkpoint,
    /// It was full, and the transaction was given up.
    Full,
    /// It was closed.
    Closed,
}

/// Why a life ended before its time.
#[derive(Clone, Debug)]
pub enum Cut {
    /// The engine said so. Right where something was done to it, and only there.
    Error {
        /// What was being done.
        stage: &'static str,
        /// The engine's words.
        error: Error,
    },
    /// `verify` has found something. Right while calls fail: it tells of a read that failed as of any other damage.
    Damage(String),
    /// Something is there that may not be, whatever was done.
    Wrong(String),
}

impl Cut {
    fn at(stage: &'static str) -> impl Fn(Error) -> Cut {
        move |error| Cut::Error { stage, error }
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cut::Error { stage, error } => write!(f, "{stage}: {error}"),
            Cut::Damage(what) => write!(f, "verify: {what}"),
            Cut::Wrong(what) => write!(f, "WRONG: {what}"),
        }
    }
}

/// Whom everything is told to; what is returned ends the life.
pub type Listener<'a> = &'a (dyn Fn(Told) -> Result<(), String> + Sync);

/// The settings of this life: small, so that all of the engine's machinery turns within some hundred transactions.
pub fn options(seed: u64) -> Result<Options, Error> {
    let mut dice = Dice::new(mixed_of(&[seed, 1]));
    let options = Options::new()
        .page_size(4096)
        .buffer_pool_size(64 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(512 << 10)
        .checkpoint_timeout(std::time::Duration::from_secs(1))
        .background(in_background(seed));
    let methods = ["fdatasync", "open_datasync", "fsync", "open_sync"];
    let method = methods[dice.below(methods.len() as u64) as usize];
    let direct = ["off", "on"][dice.below(2) as usize];
    options
        .set("wal_sync_method", method)?
        .set("wal_direct_io", direct)
}

/// Whether the engine has a thread for its background work in this life; else the clients do it.
fn in_background(seed: u64) -> bool {
    !seed.is_multiple_of(4)
}

/// Lives. `stop` ends it from outside, in order.
///
/// # Errors
/// Why it ended before its time.
pub fn live(plan: &Plan, stop: &AtomicBool, tell: Listener<'_>) -> Result<(), Cut> {
    let options = options(plan.seed).map_err(Cut::at("settings"))?;
    let db = options.open(&plan.dir).map_err(Cut::at("open"))?;
    let lived = live_in(&db, plan, stop, tell);
    // Also where it failed: a close must come back, whatever has happened.
    let closed = db.close();
    lived?;
    closed.map_err(Cut::at("close"))?;
    tell(Told::Closed).map_err(Cut::Wrong)
}

fn live_in(db: &Database, plan: &Plan, stop: &AtomicBool, tell: Listener<'_>) -> Result<(), Cut> {
    let table = db.table(TABLE).map_err(Cut::at("table"))?;
    let found = look(db, &table)?;
    tell(Told::Found(found)).map_err(Cut::Wrong)?;
    let report = db.verify().map_err(Cut::at("verify"))?;
    if let Some(first) = report.findings.first() {
        let count = report.findings.len();
        return Err(Cut::Damage(format!("{count} findings: {first:?}")));
    }
    tell(Told::Verified).map_err(Cut::Wrong)?;
    let worker = Worker {
        db,
        table,
        plan,
        tell,
        stop,
        acknowledged: AtomicU64::new(0),
        cut: Mutex::new(None),
    };
    if plan.clients == 1 {
        // In this thread: who traces it has one to look at.
        worker.client(0, found[0]);
        return worker
            .cut
            .into_inner()
            .unwrap_or_default()
            .map_or(Ok(()), Err);
    }
    std::thread::scope(|scope| {
        for (client, last) in found.iter().enumerate().take(plan.clients) {
            let worker = &worker;
            scope.spawn(move || worker.client(client, *last));
        }
    });
    let cut = worker.cut.into_inner().unwrap_or_default();
    cut.map_or(Ok(()), Err)
}

/// Reads and judges all rows.
fn look(db: &Database, table: &Table) -> Result<Last, Cut> {
    let snapshot = db.snapshot().map_err(Cut::at("snapshot"))?;
    let scan = snapshot
        .scan::<&[u8], _>(table, ..)
        .map_err(Cut::at("scan"))?;
    let rows: Result<BTreeMap<_, _>, _> = scan.collect();
    rows::judge(&rows.map_err(Cut::at("scan"))?).map_err(Cut::Wrong)
}

struct Worker<'a> {
    db: &'a Database,
    table: Table,
    plan: &'a Plan,
    tell: Listener<'a>,
    stop: &'a AtomicBool,
    acknowledged: AtomicU64,
    /// The first reason to end: of a proof and an error, the proof.
    cut: Mutex<Option<Cut>>,
}

impl Worker<'_> {
    fn client(&self, client: usize, last: u64) {
        if let Err(cut) = self.work(client, last) {
            self.stop.store(true, Relaxed);
            if let Ok(mut first) = self.cut.lock()
                && (first.is_none() || matches!(cut, Cut::Wrong(_)))
            {
                *first = Some(cut);
            }
        }
    }

    fn work(&self, client: usize, last: u64) -> Result<(), Cut> {
        let mut dice = Dice::new(mixed_of(&[self.plan.seed, client as u64]));
        let mut n = last + 1;
        while !self.stop.load(Relaxed) {
            if dice.one_in(12) {
                self.changed_mind(client, n)?;
            }
            if !self.transaction(client, n, dice.one_in(6))? {
                continue;
            }
            (self.tell)(Told::Acknowledged(client, n)).map_err(Cut::Wrong)?;
            n += 1;
            let so_far = self.acknowledged.fetch_add(1, Relaxed) + 1;
            if so_far >= self.plan.transactions {
                self.stop.store(true, Relaxed);
            }
            if so_far.is_multiple_of(self.plan.checkpoint_every) {
                self.checkpoint()?;
            }
            if !in_background(self.plan.seed) {
                self.step()?;
            }
        }
        Ok(())
    }

    /// Transaction `n`; false if the disk was full, and it is to be tried again.
    fn transaction(&self, client: usize, n: u64, with_savepoint: bool) -> Result<bool, Cut> {
        let done = self.db.transact(|tx| {
            if with_savepoint {
                let before = tx.savepoint()?;
                self.nonsense(tx, client)?;
                tx.rollback_to(&before)?;
            }
            self.changes(tx, client, n)
        });
        match done {
            Ok(()) => Ok(true),
            Err(Error::Deadlock) => Ok(false),
            Err(Error::DiskFull { .. }) if self.plan.full_is_no_end => {
                (self.tell)(Told::Full).map_err(Cut::Wrong)?;
                Ok(false)
            }
            Err(error @ (Error::KeyExists | Error::KeyNotFound)) => Err(Cut::Wrong(format!(
                "transaction {n} of client {client} meets {error}"
            ))),
            Err(error) => Err(Cut::at("transaction")(error)),
        }
    }

    fn changes(&self, tx: &mut Transaction, client: usize, n: u64) -> Result<(), Error> {
        let (from, to, amount) = rows::carried(client, n);
        for row in 0..GROUP {
            let key = rows::group_key(client, row);
            tx.put(&self.table, &key, &rows::value(&key, client, n))?;
        }
        let key = rows::journal_key(client, n);
        tx.insert(&self.table, &key, &rows::value(&key, client, n))?;
        if n > WINDOW && !tx.delete(&self.table, &rows::journal_key(client, n - WINDOW))? {
            return Err(Error::KeyNotFound);
        }
        let mut both = [(from, -amount), (to, amount)];
        both.sort_unstable();
        for (account, change) in both {
            let key = rows::account_key(account);
            let before = tx.get_for_update(&self.table, &key)?;
            let before = before.map_or(Ok(0), |value| rows::balance_of(&value));
            let before = before.map_err(|_| Error::KeyNotFound)?;
            tx.put(&self.table, &key, &rows::balance_value(before + change))?;
        }
        Ok(())
    }

    /// A transaction that is rolled back: nothing of it may ever be seen.
    fn changed_mind(&self, client: usize, n: u64) -> Result<(), Cut> {
        let mut tx = self.db.begin();
        let changed = self
            .changes(&mut tx, client, n)
            .and_then(|()| self.nonsense(&mut tx, client));
        let back = tx.rollback();
        match changed.and(back) {
            Ok(()) | Err(Error::Deadlock) => Ok(()),
            Err(Error::DiskFull { .. }) if self.plan.full_is_no_end => Ok(()),
            Err(error) => Err(Cut::at("rollback")(error)),
        }
    }

    fn nonsense(&self, tx: &mut Transaction, client: usize) -> Result<(), Error> {
        tx.put(&self.table, &rows::group_key(client, 1), b"nonsense")?;
        tx.put(&self.table, &rows::journal_key(client, u64::MAX), &[7; 700])
    }

    fn step(&self) -> Result<(), Cut> {
        match self.db.step() {
            Ok(_) => Ok(()),
            Err(Error::DiskFull { .. }) if self.plan.full_is_no_end => Ok(()),
            Err(error) => Err(Cut::at("step")(error)),
        }
    }

    fn checkpoint(&self) -> Result<(), Cut> {
        match self.db.checkpoint() {
            Ok(()) => (self.tell)(Told::Checkpoint).map_err(Cut::Wrong),
            Err(Error::DiskFull { .. }) if self.plan.full_is_no_end => Ok(()),
            Err(error) => Err(Cut::at("checkpoint")(error)),
        }
    }
}

/// As many clients as this seed gives a life.
pub fn clients(dice: &mut Dice) -> usize {
    1 + dice.below(CLIENTS as u64) as usize
}
