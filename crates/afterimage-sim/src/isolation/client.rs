//! The clients whose histories are checked: short transactions on few lists, through the public interface of the engine.
//!
//! The lists in use move on as numbers are handed out, so that none grows long; a list gets some twenty appends in its life.

use super::board::Board;
use super::history::{Key, Op, Outcome, Txn, Value};
use super::wire::Event;
use crate::choices::Choices;
use afterimage::{Database, Error, Scan, Table, Transaction};
use afterimage_io::Io;
use std::sync::Arc;

/// The name of the one table.
pub const TABLE: &str = "lists";
/// So many lists are in use at a time, and so many numbers are handed out before they change.
pub(super) const LISTS: u32 = 10;
const NUMBERS: u32 = 10 * 16;

/// Bytes that some values have beside their numbers.
const LARGE: usize = 6000;

/// Why a transaction did not get to its end.
pub(super) enum Halt {
    /// It is rolled back, and life goes on.
    Rolled,
    /// The engine has stopped or was closed.
    Stopped,
    /// It should not have happened.
    Wrong(String),
}

impl From<Error> for Halt {
    fn from(e: Error) -> Halt {
        match e {
            Error::Deadlock
            | Error::LockTimeout { .. }
            | Error::SnapshotTooOld
            | Error::TransactionTooOld { .. }
            | Error::TransactionTooBig { .. } => Halt::Rolled,
            Error::LogFailed { .. }
            | Error::OutcomeUnknown { .. }
            | Error::TransactionEnded { .. } => Halt::Stopped,
            e => Halt::Wrong(format!("{e} ({e:?})")),
        }
    }
}

/// One client.
pub struct Client {
    /// Its number.
    pub number: u32,
    /// The database.
    pub database: Database,
    /// Its table of lists.
    pub table: Table,
    /// What all clients share.
    pub board: Arc<Board>,
    /// Chooses what it does.
    pub choices: Choices,
    /// The world, for letting others run.
    pub io: Io,
}

/// One transaction under way.
struct Work {
    tx: Transaction,
    table: Table,
    ops: Vec<Op>,
}

impl Client {
    /// Does transactions until the board says that it is over, or the engine stops.
    pub fn run(mut self) {
        while self.board.begin() {
            match self.any() {
                Ok(()) | Err(Halt::Rolled) => {}
                Err(Halt::Stopped) => return,
                Err(Halt::Wrong(what)) => return self.board.fail(what),
            }
        }
    }

    /// The lists in use now: those of this part of the numbers, and sometimes those of the part before.
    pub(super) fn key(&mut self) -> Key {
        // Between two steps, so that transactions meet also where there are few processors.
        if self.choices.chance(1, 3) {
            self.io.yield_now();
        }
        let part = self.board.numbers() / NUMBERS;
        let part = part.saturating_sub(u32::from(self.choices.chance(1, 8)));
        part * LISTS + self.choices.below(u64::from(LISTS)) as Key
    }

    fn any(&mut self) -> Result<(), Halt> {
        match self.choices.below(10) {
            0 => self.glance(),
            1 | 2 => self.snapshot(),
            _ => self.transaction(),
        }
    }

    /// A transaction that reads and writes, from its begin to its end.
    pub(super) fn transaction(&mut self) -> Result<(), Halt> {
        let began = self.board.tick();
        let mut work = Work {
            tx: self.database.begin(),
            table: self.table.clone(),
            ops: Vec::new(),
        };
        let done = self.work(&mut work);
        let Work { tx, ops, .. } = work;
        let given_up = done.is_ok() && self.choices.chance(1, 12);
        let outcome = if given_up || done.is_err() {
            Outcome::Aborted
        } else {
            Outcome::Unknown
        };
        let ended = if outcome == Outcome::Aborted {
            self.board.tick()
        } else {
            u64::MAX
        };
        // Told before the end: after a kill nobody asks any more. What is given up may not be seen even now.
        self.board.tell(Event::Asks(Txn {
            client: self.number,
            began,
            ended,
            outcome,
            ops,
        }));
        done?;
        if given_up {
            return tx.rollback().map_err(Halt::from);
        }
        let committed = if self.choices.chance(1, 4) {
            tx.commit_ticket().and_then(|ticket| ticket.wait())
        } else {
            tx.commit()
        };
        let outcome = match &committed {
            Ok(()) => Outcome::Committed,
            Err(
                Error::Deadlock
                | Error::LogFailed { .. }
                | Error::TransactionTooOld { .. }
                | Error::TransactionTooBig { .. },
            ) => Outcome::Aborted,
            Err(_) => Outcome::Unknown,
        };
        let ended = if outcome == Outcome::Unknown {
            u64::MAX
        } else {
            self.board.tick()
        };
        self.board.tell(Event::Ended {
            began,
            ended,
            outcome,
        });
        committed.map_err(Halt::from)
    }

    fn work(&mut self, work: &mut Work) -> Result<(), Halt> {
        match self.choices.below(16) {
            // Looks at some lists.
            0..=3 => {
                for _ in 0..2 + self.choices.below(3) {
                    work.read(self.key(), false)?;
                }
            }
            // Looks at some, writes another: two of those can meet crosswise.
            4..=7 => {
                for _ in 0..1 + self.choices.below(2) {
                    work.read(self.key(), false)?;
                }
                self.append(work, false)?;
            }
            // Writes some, one perhaps twice.
            8..=12 => {
                for _ in 0..1 + self.choices.below(3) {
                    let update = self.choices.chance(1, 2);
                    self.append(work, update)?;
                }
            }
            // Takes a part of it back.
            13 => {
                self.append(work, true)?;
                let savepoint = work.tx.savepoint()?;
                let kept = work.ops.len();
                self.append(work, false)?;
                work.tx.rollback_to(&savepoint)?;
                for op in &mut work.ops[kept..] {
                    if let Op::Append { key, value } = *op {
                        *op = Op::Undone { key, value };
                    }
                }
                work.read(self.key(), false)?;
            }
            // Looks at a stretch of lists, those that are not there too, and sometimes writes one.
            _ => {
                let from = self.key() / LISTS * LISTS;
                let to = from + LISTS + self.choices.below(3) as Key;
                work.scan(from, to)?;
                if self.choices.chance(1, 2) {
                    self.append(work, false)?;
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, work: &mut Work, update: bool) -> Result<(), Halt> {
        let key = self.key();
        let mut list = work.read(key, update)?;
        let value = self.board.number();
        let before = (!list.is_empty()).then(|| bytes(key, &list));
        list.push(value);
        let (table, after) = (&work.table, bytes(key, &list));
        let name = key.to_be_bytes();
        // Told before it is done: what came of it is not known if it fails.
        work.ops.push(Op::Append { key, value });
        match self.choices.below(4) {
            0 => {
                let swapped =
                    work.tx
                        .compare_and_swap(table, &name, before.as_deref(), Some(&after))?;
                if !swapped {
                    // Somebody has written what this transaction has read: the checker will say who.
                    return Err(Halt::Rolled);
                }
            }
            1 if before.is_none() => match work.tx.insert(table, &name, &after) {
                Err(Error::KeyExists) => return Err(Halt::Rolled),
                inserted => inserted?,
            },
            _ => work.tx.put(table, &name, &after)?,
        }
        Ok(())
    }
}

impl Work {
    fn read(&mut self, key: Key, update: bool) -> Result<Vec<Value>, Halt> {
        let name = key.to_be_bytes();
        let found = if update {
            self.tx.get_for_update(&self.table, &name)?
        } else {
            self.tx.get(&self.table, &name)?
        };
        let list = parse(key, found)?;
        self.ops.push(Op::Read {
            key,
            list: list.clone(),
        });
        Ok(list)
    }

    fn scan(&mut self, from: Key, to: Key) -> Result<(), Halt> {
        let range = from.to_be_bytes()..to.to_be_bytes();
        let found = rows(self.tx.scan::<[u8; 4], _>(&self.table, range)?)?;
        self.ops.push(Op::Scan { from, to, found });
        Ok(())
    }
}

/// The lists that a scan shows.
pub(super) fn rows(scan: Scan<'_>) -> Result<Vec<(Key, Vec<Value>)>, Halt> {
    let rows = scan.map(|row| {
        let (key, list) = row?;
        let key: [u8; 4] = key
            .try_into()
            .map_err(|_| Halt::Wrong("a key of another length".into()))?;
        let key = Key::from_be_bytes(key);
        Ok((key, parse(key, Some(list))?))
    });
    rows.collect()
}

/// Reads every list there is, in one transaction.
///
/// # Errors
/// What the engine says.
pub fn read_everything(database: &Database, table: &Table, board: &Board) -> Result<Txn, String> {
    let began = board.tick();
    let mut work = Work {
        tx: database.begin(),
        table: table.clone(),
        ops: Vec::new(),
    };
    let scanned = work.scan(0, Key::MAX);
    scanned.map_err(|halt| match halt {
        Halt::Wrong(what) => what,
        Halt::Rolled | Halt::Stopped => "the last scan was refused".to_owned(),
    })?;
    work.tx.commit().map_err(|e| e.to_string())?;
    Ok(Txn {
        client: u32::MAX,
        began,
        ended: board.tick(),
        outcome: Outcome::Committed,
        ops: work.ops,
    })
}

/// A list as a value: how long it is, its numbers, and for some lists so much more that it does not fit into a page.
fn bytes(key: Key, list: &[Value]) -> Vec<u8> {
    let words = [list.len() as u32].into_iter().chain(list.iter().copied());
    let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    if key % 7 == 3 {
        bytes.resize(bytes.len() + LARGE, padding(list));
    }
    bytes
}

fn padding(list: &[Value]) -> u8 {
    list.last().copied().unwrap_or_default() as u8
}

pub(super) fn parse(key: Key, found: Option<Vec<u8>>) -> Result<Vec<Value>, Halt> {
    let Some(found) = found else {
        return Ok(Vec::new());
    };
    let (words, _) = found.as_chunks::<4>();
    let mut words = words.iter().map(|word| Value::from_le_bytes(*word));
    let count = words.next().unwrap_or_default() as usize;
    let list: Vec<Value> = words.take(count).collect();
    // Byte by byte what was put there.
    if bytes(key, &list) != found {
        return Err(Halt::Wrong(format!(
            "a value of {} bytes that nobody has put",
            found.len()
        )));
    }
    Ok(list)
}
