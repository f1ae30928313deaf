//! An unlogged table beside the one that the clients share. Who changes certain rows of that changes the same rows of this, in the
//! same transaction, and takes both back together: so, at any moment that a reader may see, the rows here are those there, as
//! far as they have changed since this table was last emptied. A stop that was not clean empties it; nothing else does.

use crate::choices::Choices;
use crate::engine::read_all;
use crate::model::Rows;
use crate::store::StoreResult;
use afterimage::{Database, Snapshot, Table, Transaction};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The unlogged table's name.
pub const ECHO: &str = "echo";
/// Two rows that are in this table alone, and always equal.
const PAIR: [&[u8]; 2] = [b"u1", b"u2"];

/// Whether a row of the clients' table is changed here as well.
fn is_echoed(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'a' | b'l' | b's' | b'x'))
}

/// What must be in the table, from life to life.
#[derive(Debug, Default)]
pub struct Echo {
    /// The clients' rows when this table was last empty.
    since: Mutex<Rows>,
}

impl Echo {
    fn since(&self) -> MutexGuard<'_, Rows> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table is empty, and the clients' rows are these.
    pub fn emptied(&self, rows: &Rows) {
        *self.since() = rows.clone();
    }

    /// After an open: empty, or whole, and which of both the report must say.
    ///
    /// # Errors
    /// What the engine refuses, and what does not hold.
    pub fn check_opened(&self, database: &Database, rows: &Rows) -> StoreResult<()> {
        let told = |e: afterimage::Error| format!("{e} ({e:?})");
        let table = database.table(ECHO).map_err(told)?;
        if !table.is_unlogged() {
            return Err("the unlogged table has become a logged one".to_owned());
        }
        let echo = read_all(database, &table)?;
        let report = database.recovery_report();
        if report.clean && report.unlogged_emptied == 0 {
            return self.check(rows, &echo);
        }
        if report.clean {
            return Err("an unlogged table was emptied after a clean stop".to_owned());
        }
        if !echo.is_empty() {
            let count = echo.len();
            return Err(format!(
                "an unlogged table has {count} rows after a stop that was not clean"
            ));
        }
        self.emptied(rows);
        Ok(())
    }

    /// Are these, seen at one moment, the rows of both tables?
    ///
    /// # Errors
    /// The first that differs.
    pub fn check(&self, rows: &Rows, echo: &Rows) -> StoreResult<()> {
        let since = self.since();
        let key = |key: &[u8]| key.escape_ascii().to_string();
        for (row, value) in echo.iter().filter(|(row, _)| is_echoed(row)) {
            if rows.get(row) != Some(value) {
                return Err(format!(
                    "the unlogged row {} is not as the logged one beside it",
                    key(row)
                ));
            }
        }
        let changed = rows.iter().filter(|(row, value)| {
            is_echoed(row) && since.get(*row) != Some(value) && !echo.contains_key(*row)
        });
        if let Some((row, _)) = changed.into_iter().next() {
            return Err(format!("the unlogged row {} is missing", key(row)));
        }
        let [one, other] = PAIR.map(|row| echo.get(row));
        match one == other {
            true => Ok(()),
            false => Err("two unlogged rows that are put together differ".to_owned()),
        }
    }
}

/// As [`read_all`], in a snapshot.
///
/// # Errors
/// What the engine says.
pub fn rows_of(snapshot: &Snapshot, table: &Table) -> afterimage::Result<Rows> {
    snapshot.scan::<[u8], _>(table, ..)?.collect()
}

/// Changes the row here too, if it is one of those.
///
/// # Errors
/// What the engine says.
pub fn change(
    transaction: &mut Transaction,
    echo: &Table,
    key: &[u8],
    value: Option<&[u8]>,
) -> afterimage::Result<()> {
    match value {
        _ if !is_echoed(key) => Ok(()),
        Some(value) => transaction.put(echo, key, value),
        None => transaction.delete(echo, key).map(drop),
    }
}

/// A transaction of this table alone; half of them are rolled back.
///
/// # Errors
/// What the engine says.
pub fn pair(database: &Database, echo: &Table, choices: &mut Choices) -> afterimage::Result<()> {
    let mut transaction = database.begin();
    let length = *choices.pick(&[0, 8, 800, 9000]);
    let value = vec![choices.below(256) as u8; length];
    let savepoint = transaction.savepoint()?;
    if choices.chance(1, 3) {
        transaction.put(echo, PAIR[0], b"not for long")?;
        transaction.delete(echo, PAIR[1])?;
        transaction.rollback_to(&savepoint)?;
    }
    for row in PAIR {
        transaction.put(echo, row, &value)?;
    }
    match choices.chance(1, 2) {
        true => transaction.commit(),
        false => transaction.rollback(),
    }
}
