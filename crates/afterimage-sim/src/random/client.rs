//! A simulated client: bank transfers, puts, deletes, scans, rollbacks and long transactions on few keys, so that clients meet in locks, deadlocks and splits.

mod look;

use super::board::Board;
use super::echo::{self, Echo};
use crate::choices::Choices;
use crate::failure::{Layer, Mismatch};
use crate::history::TxnNumber;
use crate::model::Rows;
use afterimage::{Database, Durability, Error, Savepoint, Snapshot, Table, Transaction};
use afterimage_io::Io;
use std::sync::Arc;
use std::time::Duration;

/// How many accounts there are, and what each begins with.
pub const ACCOUNTS: u64 = 6;
/// What an account holds at first.
pub const OPENING_BALANCE: u64 = 1000;
/// How many other keys there are.
const KEYS: u64 = 12;

/// The rows that every random run begins with.
#[must_use]
pub fn opening_rows() -> Rows {
    (0..ACCOUNTS)
        .map(|n| (account(n), OPENING_BALANCE.to_string().into_bytes()))
        .collect()
}

fn account(n: u64) -> Vec<u8> {
    format!("a{n}").into_bytes()
}

/// Why a transaction did not get to its end.
enum Halt {
    /// It was a deadlock's victim, or the disk was full: it is rolled back, and life goes on.
    Rolled,
    /// The engine has stopped, as it must after the trouble that was made.
    Stopped,
    /// Something is wrong.
    Wrong(Mismatch),
}

type Step<T> = Result<T, Halt>;

/// Nobody's transaction takes so long in simulated time: who waits so long for a lock waits for somebody who waits for him.
pub(super) const PATIENCE: Duration = Duration::from_secs(3600);

/// What a client does in one life.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many transactions.
    pub transactions: u64,
    /// Bytes in a large value.
    pub large: usize,
    /// Whether the keys of its large values are long too, and alike: a tree of three levels.
    pub long_keys: bool,
    /// How many of eight transactions are large.
    pub heavy: u64,
    /// Whether this client begins with a transaction that outlasts checkpoints.
    pub sleeper: bool,
}

/// A client at work.
pub struct Client {
    /// The database.
    pub database: Database,
    /// Its one table.
    pub table: Table,
    /// The unlogged table beside it.
    pub echo: Table,
    /// What must be in that.
    pub echoes: Arc<Echo>,
    /// The world, for sleeping.
    pub io: Io,
    /// What all clients share.
    pub board: Arc<Board>,
    /// Chooses what it does.
    pub choices: Choices,
    /// How much it does.
    pub plan: Plan,
}

impl Client {
    /// Works through the plan.
    pub fn run(mut self) {
        for n in 0..self.plan.transactions {
            if self.board.is_over() {
                return;
            }
            self.choices.mark();
            let end = if n == 0 && self.plan.sleeper {
                self.long()
            } else {
                self.any()
            };
            match end {
                Ok(()) | Err(Halt::Rolled) => {}
                Err(Halt::Stopped) => return,
                Err(Halt::Wrong(mismatch)) => return self.board.wrong(mismatch),
            }
        }
    }

    fn any(&mut self) -> Step<()> {
        if self.choices.chance(self.plan.heavy, 8) {
            return match self.choices.below(24) {
                0 => self.giant(),
                1..=7 => self.clear(),
                _ => self.large(),
            };
        }
        match self.choices.below(13) {
            0..=2 => self.transfer(),
            3..=5 => self.rows(),
            6 if self.choices.chance(1, 2) => self.scan(),
            6 => self.look(),
            7 => self.autocommit(),
            8 => self.large(),
            9 | 10 => self.rewind(),
            11 => self.snapshot(),
            _ => self.glance(),
        }
    }

    fn begin(&mut self) -> Step<Open> {
        let durability = if self.choices.chance(1, 4) {
            Durability::Memory
        } else {
            Durability::Disk
        };
        let mut transaction = self.database.begin();
        transaction.set_durability(durability);
        let (number, mark) = self.board.history().begin();
        let mut open = Open {
            transaction,
            number,
            durability,
        };
        self.put(&mut open, &mark, b"")?;
        Ok(open)
    }

    /// Money from one account to another; half of the time by reading first and locking later, which makes deadlocks.
    fn transfer(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        let from = self.choices.below(ACCOUNTS);
        let to = (from + 1 + self.choices.below(ACCOUNTS - 1)) % ACCOUNTS;
        let early = self.choices.chance(1, 2);
        let mut balances = [0, 0];
        for (i, n) in [from, to].into_iter().enumerate() {
            let value = self.get(&mut open, &account(n), early)?;
            balances[i] = value
                .and_then(|v| String::from_utf8(v).ok()?.parse::<u64>().ok())
                .unwrap_or(0);
        }
        let amount = self.choices.below(10).min(balances[0]);
        self.put(
            &mut open,
            &account(from),
            (balances[0] - amount).to_string().as_bytes(),
        )?;
        self.put(
            &mut open,
            &account(to),
            (balances[1] + amount).to_string().as_bytes(),
        )?;
        self.end(open)
    }

    /// A few puts, deletes and reads of the common keys.
    fn rows(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        for _ in 0..1 + self.choices.below(5) {
            let key = format!("k{:02}", self.choices.below(KEYS)).into_bytes();
            match self.choices.below(6) {
                0 | 1 => self.delete(&mut open, &key)?,
                2 => drop(self.get(&mut open, &key, false)?),
                _ => {
                    let lengths = [0, 1, 20, 20, 200, self.plan.large, 3000, 13_000];
                    let length = *self.choices.pick(&lengths);
                    let value = self.value(b'k', length);
                    self.put(&mut open, &key, &value)?;
                }
            }
            self.pause(1);
        }
        self.end(open)
    }

    /// So many large rows that pages split, and deletes of old marks, so that they empty again.
    fn large(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        let first = self.choices.below(40);
        for n in 0..2 + self.choices.below(6) {
            let key = self.large_key(first + n);
            let value = self.value(b'L', self.plan.large);
            if !self.put_or_full(&mut open, &key, &value)? {
                break;
            }
        }
        for key in self.old_marks(3) {
            self.delete(&mut open, &key)?;
        }
        self.end(open)
    }

    fn large_key(&self, n: u64) -> Vec<u8> {
        let alike = if self.plan.long_keys { 400 } else { 0 };
        format!("l{:-<alike$}{:03}", "", n % 48).into_bytes()
    }

    /// Deletes neighbours, so that pages empty and are merged.
    fn clear(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        let first = self.choices.below(48);
        for n in 0..4 + self.choices.below(20) {
            let key = self.large_key(first + n);
            self.delete(&mut open, &key)?;
        }
        self.end(open)
    }

    /// The same rows again and again, as long as before and nearly equal, so that they are logged as differences; and mostly rolled back: an undo that comes
    /// twice, or not at all, shows.
    fn rewind(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        let mut savepoints = Vec::new();
        let first = self.choices.below(4);
        for n in 0..3 + self.choices.below(8) {
            let key = format!("x{}", (first + n) % 5).into_bytes();
            // Mostly of one length; a shrunken row leaves its room to others, and its undo has to split. The last is a large value.
            let length = *self
                .choices
                .pick(&[200, 200, 200, 200, 200, 200, 5, 600, 5000]);
            let value = self.value(b'x', length);
            self.put(&mut open, &key, &value)?;
            self.pause(1);
            if self.choices.chance(1, 4) {
                self.savepoint(&mut open, &mut savepoints)?;
            }
        }
        if self.choices.chance(2, 3) {
            self.board.history().aborts(open.number);
            return open
                .transaction
                .rollback()
                .map_err(|e| self.halt("rollback", &e));
        }
        self.end(open)
    }

    /// Sets a savepoint, goes back to one that stands, or forgets one.
    fn savepoint(&mut self, open: &mut Open, set: &mut Vec<(Savepoint, u64)>) -> Step<()> {
        let chosen = self.choices.below(2 + set.len() as u64) as usize;
        let done = if chosen >= set.len() {
            let written = self.board.history().savepoint();
            open.transaction
                .savepoint()
                .map(|savepoint| set.push((savepoint, written)))
        } else if self.choices.chance(1, 4) {
            set.drain(chosen..)
                .next()
                .map_or(Ok(()), |(savepoint, _)| open.transaction.release(savepoint))
        } else {
            set.truncate(chosen + 1);
            let (savepoint, written) = &set[chosen];
            let back = open.transaction.rollback_to(savepoint);
            if back.is_ok() {
                self.board.history().rewound(open.number, *written);
            }
            back
        };
        done.map_err(|e| self.abandon(open, "savepoint", &e))
    }

    /// A value that differs from others of its length in its first bytes, and in those of every further kilobyte.
    fn value(&mut self, fill: u8, length: usize) -> Vec<u8> {
        let mut value = vec![fill; length];
        let tag = format!("{:08}", self.choices.below(100_000_000)).into_bytes();
        for piece in value.chunks_mut(1024) {
            let end = piece.len().min(tag.len());
            piece[..end].copy_from_slice(&tag[..end]);
        }
        value
    }

    /// A transaction longer than a segment of the log: it ends while checkpoints come and go, or is rolled back.
    fn giant(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        for n in 0..70 + self.choices.below(40) {
            let key = format!("g{:02}", n % 50).into_bytes();
            let fill = if n < 50 { b'g' } else { b'G' };
            let value = self.value(fill, 900);
            if !self.put_or_full(&mut open, &key, &value)? {
                break;
            }
        }
        self.end(open)
    }

    /// Keys of marks that the last life left behind.
    fn old_marks(&mut self, most: u64) -> Vec<Vec<u8>> {
        let history = self.board.history();
        let marks: Vec<&Vec<u8>> = history
            .base()
            .keys()
            .filter(|k| k.starts_with(b"m"))
            .collect();
        let count = self.choices.below(most + 1).min(marks.len() as u64);
        (0..count)
            .map(|_| marks[self.choices.index(marks.len())].clone())
            .collect()
    }

    /// A transaction that is still unfinished when several checkpoints have come and the log has moved on.
    fn long(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        for _ in 0..3 + self.choices.below(4) {
            let key = format!("s{}", self.choices.below(8)).into_bytes();
            let value = vec![b's'; *self.choices.pick(&[10, 300])];
            self.put(&mut open, &key, &value)?;
            self.pause(2000);
        }
        self.end(open)
    }

    fn scan(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        let backwards = self.choices.chance(1, 2);
        let scan = open.transaction.scan::<[u8], _>(&self.table, ..);
        let rows = match scan {
            Err(e) => Err(e),
            Ok(scan) if backwards => scan.rev().collect::<afterimage::Result<Vec<_>>>(),
            Ok(scan) => scan.collect::<afterimage::Result<Vec<_>>>(),
        };
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(e) => return Err(self.abandon(&open, "scan", &e)),
        };
        if backwards {
            rows.reverse();
        }
        if !rows.windows(2).all(|w| w[0].0 < w[1].0) {
            return Err(wrong("a scan shows keys out of order"));
        }
        let rows: Rows = rows.into_iter().collect();
        let sum: u64 = (0..ACCOUNTS)
            .filter_map(|n| {
                String::from_utf8(rows.get(&account(n))?.clone())
                    .ok()?
                    .parse::<u64>()
                    .ok()
            })
            .sum();
        if sum != ACCOUNTS * OPENING_BALANCE {
            return Err(wrong(format!(
                "a scan inside a transaction sums the accounts to {sum}, not {}",
                ACCOUNTS * OPENING_BALANCE
            )));
        }
        self.end(open)
    }

    /// The database at one moment, twice: a prefix of what was committed, and the same however much later it is read.
    fn snapshot(&mut self) -> Step<()> {
        let durable = self.board.history().durable();
        let latest = self.choices.chance(1, 2);
        let snapshot = if latest {
            self.database.snapshot_latest()
        } else {
            self.database.snapshot()
        };
        let snapshot = snapshot.map_err(|e| self.halt("snapshot", &e))?;
        let mut first = None;
        for _ in 0..1 + self.choices.below(3) {
            let rows = match self.rows_of(&snapshot) {
                Ok(rows) => rows,
                Err(Error::SnapshotTooOld) => return Ok(()),
                Err(e) => return Err(self.halt("read a snapshot", &e)),
            };
            self.board
                .history()
                .check_snapshot(&rows, &durable)
                .map_err(Halt::Wrong)?;
            if !latest {
                self.board.history().shown_durable(&rows);
            }
            if first.get_or_insert_with(|| rows.clone()) != &rows {
                return Err(wrong("a snapshot shows other rows than before"));
            }
            match echo::rows_of(&snapshot, &self.echo) {
                Ok(echo) => self.echoes.check(&rows, &echo).map_err(wrong)?,
                Err(Error::SnapshotTooOld) => return Ok(()),
                Err(e) => return Err(self.halt("read unlogged rows in a snapshot", &e)),
            }
            self.pause(20);
        }
        if latest {
            let waited = snapshot.wait(Durability::Disk);
            waited.map_err(|e| self.halt("wait for a snapshot", &e))?;
        }
        Ok(())
    }

    fn rows_of(&mut self, snapshot: &Snapshot) -> afterimage::Result<Rows> {
        let scan = snapshot.scan::<[u8], _>(&self.table, ..)?;
        let rows: Rows = if self.choices.chance(1, 2) {
            scan.collect::<afterimage::Result<_>>()?
        } else {
            scan.rev().collect::<afterimage::Result<_>>()?
        };
        let n = self.choices.below(ACCOUNTS);
        let one = snapshot.get(&self.table, &account(n))?;
        assert_eq!(
            one.as_ref(),
            rows.get(&account(n)),
            "a get and a scan agree"
        );
        let keys: Vec<_> = rows.keys().collect();
        let together = snapshot.get_many(&self.table, &keys)?;
        assert!(
            together
                .iter()
                .map(Option::as_ref)
                .eq(rows.values().map(Some)),
            "gets together and a scan agree"
        );
        Ok(rows)
    }

    /// One mark, as a change and its commit in one frame.
    fn autocommit(&mut self) -> Step<()> {
        let (number, mark) = {
            let mut history = self.board.history();
            let (number, mark) = history.begin();
            // From the call on it may be there, whatever the answer.
            history.asks(number);
            history.wrote(number, &mark, Some(b""));
            (number, mark)
        };
        self.database
            .put(&self.table, &mark, b"")
            .map_err(|e| self.halt("autocommit", &e))?;
        self.board.history().acknowledged(number, true);
        Ok(())
    }

    /// A read outside of any transaction shows some committed value: an account is never without a balance.
    fn glance(&mut self) -> Step<()> {
        if self.choices.chance(1, 2) {
            let done = echo::pair(&self.database, &self.echo, &mut self.choices);
            return done.map_err(|e| self.halt("change unlogged rows", &e));
        }
        let n = self.choices.below(ACCOUNTS);
        match self.database.get(&self.table, &account(n)) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(wrong(format!("account {n} is not there"))),
            Err(e) => Err(self.halt("get", &e)),
        }
    }

    fn get(&mut self, open: &mut Open, key: &[u8], for_update: bool) -> Step<Option<Vec<u8>>> {
        let answer = if for_update {
            open.transaction.get_for_update(&self.table, key)
        } else {
            open.transaction.get(&self.table, key)
        };
        match answer {
            Ok(value) => {
                self.board
                    .history()
                    .read(open.number, key, value.as_deref())
                    .map_err(Halt::Wrong)?;
                Ok(value)
            }
            Err(e) => Err(self.abandon(open, "get", &e)),
        }
    }

    fn put(&mut self, open: &mut Open, key: &[u8], value: &[u8]) -> Step<()> {
        match open.transaction.put(&self.table, key, value) {
            Ok(()) => {
                self.board.history().wrote(open.number, key, Some(value));
                self.echo(open, key, Some(value))
            }
            Err(e) => Err(self.abandon(open, "put", &e)),
        }
    }

    /// Puts; false if the disk was full and the put did nothing. The rest of the transaction can still commit.
    fn put_or_full(&mut self, open: &mut Open, key: &[u8], value: &[u8]) -> Step<bool> {
        match open.transaction.put(&self.table, key, value) {
            Ok(()) => {
                self.board.history().wrote(open.number, key, Some(value));
                self.echo(open, key, Some(value))?;
                Ok(true)
            }
            Err(Error::DiskFull { .. }) if self.board.trouble() => Ok(false),
            Err(e) => Err(self.abandon(open, "put", &e)),
        }
    }

    fn delete(&mut self, open: &mut Open, key: &[u8]) -> Step<()> {
        match open.transaction.delete(&self.table, key) {
            Ok(_) => {
                self.board.history().wrote(open.number, key, None);
                self.echo(open, key, None)
            }
            Err(e) => Err(self.abandon(open, "delete", &e)),
        }
    }

    /// The same change in the unlogged table, for some rows.
    fn echo(&mut self, open: &mut Open, key: &[u8], value: Option<&[u8]>) -> Step<()> {
        let done = echo::change(&mut open.transaction, &self.echo, key, value);
        done.map_err(|e| self.abandon(open, "change an unlogged row", &e))
    }

    /// Commits (by call or by ticket) or rolls back.
    fn end(&mut self, open: Open) -> Step<()> {
        let Open {
            transaction,
            number,
            durability,
        } = open;
        if self.choices.chance(1, 7) {
            self.board.history().aborts(number);
            return transaction
                .rollback()
                .map_err(|e| self.halt("rollback", &e));
        }
        self.board.history().asks(number);
        let durable = durability == Durability::Disk;
        if self.choices.chance(1, 2) {
            transaction
                .commit()
                .map_err(|e| self.refused(number, "commit", &e))?;
            self.board.history().acknowledged(number, durable);
            return Ok(());
        }
        let ticket = transaction
            .commit_ticket()
            .map_err(|e| self.refused(number, "commit_ticket", &e))?;
        if let Some(lsn) = ticket.lsn() {
            self.board.history().placed(number, lsn.get());
        }
        self.pause(3);
        match self.choices.below(4) {
            // A client that never asks.
            0 => Ok(()),
            1 => {
                if ticket.is_durable().map_err(|e| self.halt("ticket", &e))? {
                    self.board.history().acknowledged(number, true);
                }
                Ok(())
            }
            _ => {
                ticket.wait().map_err(|e| self.halt("ticket wait", &e))?;
                self.board.history().acknowledged(number, durable);
                Ok(())
            }
        }
    }

    /// An operation failed: the transaction will not ask for its commit. Its handle is dropped by the caller, which rolls it back.
    fn abandon(&mut self, open: &Open, what: &str, error: &Error) -> Halt {
        self.board.history().aborts(open.number);
        self.halt(what, error)
    }

    /// A commit failed; of a transaction that was rolled back for the log's sake nothing may be seen.
    fn refused(&mut self, number: TxnNumber, what: &str, error: &Error) -> Halt {
        if let Error::TransactionTooOld { .. } | Error::TransactionTooBig { .. } = error {
            self.board.history().aborts(number);
        }
        self.halt(what, error)
    }

    fn halt(&mut self, what: &str, error: &Error) -> Halt {
        if error.is_retryable() {
            self.board.deadlock();
            return Halt::Rolled;
        }
        match error {
            Error::LockTimeout { waited } if *waited >= PATIENCE => {
                wrong(format!("{what}: {error}: a deadlock that was not seen"))
            }
            // Somebody sleeps in a long transaction.
            Error::LockTimeout { .. } => Halt::Rolled,
            // Long, or large, where there is little log.
            Error::TransactionTooOld { .. } | Error::TransactionTooBig { .. } => {
                self.board.too_much();
                Halt::Rolled
            }
            Error::DiskFull { .. } if self.board.trouble() => Halt::Rolled,
            Error::LogFailed { .. } | Error::OutcomeUnknown { .. } | Error::Io { .. }
                if self.board.trouble() =>
            {
                Halt::Stopped
            }
            _ => Halt::Wrong(Mismatch::new(
                Layer::Refused,
                format!("{what}: {error} ({error:?})"),
            )),
        }
    }

    fn pause(&mut self, most_milliseconds: u64) {
        if self.choices.chance(1, 3) {
            self.io.sleep(Duration::from_micros(
                self.choices.below(most_milliseconds * 1000),
            ));
        }
    }
}

struct Open {
    transaction: Transaction,
    number: TxnNumber,
    durability: Durability,
}

fn wrong(what: impl Into<String>) -> Halt {
    Halt::Wrong(Mismatch::new(Layer::Model, what))
}
