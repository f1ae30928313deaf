//! The engine as a [`Store`]: how the exhaustive driver opens, works and reads the real thing.

use crate::model::Rows;
use crate::oracle::Layout;
use crate::store::{More, Store, StoreResult, beside};
use crate::workload::Op;
use afterimage::{
    Database, Error, LoadOptions, Options, Progress, RecoveryReport, Savepoint, Table, Transaction,
};
use afterimage_io::Io;

/// The name of the one table.
pub const TABLE: &str = "rows";

/// The smallest legal settings: every border is near.
#[must_use]
pub fn small_options(layout: &Layout, io: &Io) -> Options {
    Options::new()
        .io(io.clone())
        .background(false)
        .page_size(layout.page_size)
        .buffer_pool_size(8 * layout.page_size as u64)
        .unlogged_pool_size(8 * layout.page_size as u64)
        .wal_segment_size(layout.segment_bytes)
        .max_wal_size(4 * layout.segment_bytes)
}

/// The engine with one table and at most one transaction.
pub struct Engine {
    // Before the database, so that it is dropped first.
    transaction: Option<Transaction>,
    savepoint: Option<Savepoint>,
    table: Table,
    database: Database,
}

fn told<T>(result: afterimage::Result<T>) -> StoreResult<T> {
    result.map_err(|e| format!("{e} ({e:?})"))
}

impl Engine {
    /// Goes on with a database that is open.
    #[must_use]
    pub fn with(database: Database, table: Table) -> Engine {
        Engine {
            transaction: None,
            savepoint: None,
            table,
            database,
        }
    }

    /// The rows of the one table alone.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn own_rows(&self) -> StoreResult<Rows> {
        read_all(&self.database, &self.table)
    }

    fn transaction(&mut self) -> &mut Transaction {
        self.transaction
            .get_or_insert_with(|| self.database.begin())
    }
}

impl Store for Engine {
    const OPS: &'static [Op] = &Op::ALL;

    fn open(io: &Io) -> StoreResult<Engine> {
        let layout = Layout::small();
        let database = told(small_options(&layout, io).open(&layout.directory))?;
        let table = told(database.table(TABLE))?;
        Ok(Engine {
            transaction: None,
            savepoint: None,
            table,
            database,
        })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> StoreResult<()> {
        let table = self.table.clone();
        told(self.transaction().put(&table, key, value))
    }

    fn delete(&mut self, key: &[u8]) -> StoreResult<bool> {
        let table = self.table.clone();
        told(self.transaction().delete(&table, key))
    }

    fn commit(&mut self) -> StoreResult<()> {
        self.transaction.take().map_or(Ok(()), |t| told(t.commit()))
    }

    fn rollback(&mut self) -> StoreResult<()> {
        self.transaction
            .take()
            .map_or(Ok(()), |t| told(t.rollback()))
    }

    fn checkpoint(&mut self) -> StoreResult<()> {
        told(self.database.checkpoint())
    }

    fn recovery(&self) -> Option<&RecoveryReport> {
        Some(self.database.recovery_report())
    }

    fn log_end(&self) -> Option<u64> {
        Some(self.database.stats().next_lsn)
    }

    fn pages(&self) -> Option<(u64, u64)> {
        let stats = self.database.stats();
        Some((stats.pages, stats.pages_free))
    }

    fn close(mut self) -> StoreResult<()> {
        self.rollback()?;
        told(self.database.close())
    }

    fn rows(&mut self) -> StoreResult<Rows> {
        let mut rows = self.own_rows()?;
        for name in told(self.database.tables())? {
            if name == TABLE {
                continue;
            }
            let table = told(self.database.table(&name))?;
            rows.insert(beside(&name, b""), Vec::new());
            let others = read_all(&self.database, &table)?;
            rows.extend(others.into_iter().map(|(key, v)| (beside(&name, &key), v)));
        }
        Ok(rows)
    }

    fn more(&mut self, more: More<'_>) -> StoreResult<()> {
        let (database, table) = (self.database.clone(), self.table.clone());
        match more {
            More::DeleteRange(from, to) => {
                told(self.transaction().delete_range(&table, from..to)).map(drop)
            }
            More::Savepoint => {
                self.savepoint = Some(told(self.transaction().savepoint())?);
                Ok(())
            }
            More::RollbackTo => {
                let savepoint = self.savepoint.take().ok_or("no savepoint is set")?;
                told(self.transaction().rollback_to(&savepoint))
            }
            More::Auto(key, Some(value)) => told(database.put(&table, key, value)),
            More::Auto(key, None) => told(database.delete(&table, key)).map(drop),
            More::Make(name, key, value) => {
                let table = told(database.table(name))?;
                told(database.put(&table, key, value))
            }
            More::Load(name, rows) => {
                let mut load = told(database.load_table(name, LoadOptions::new().sorted(true)))?;
                for (key, value) in rows {
                    told(load.push(key, value))?;
                }
                told(load.finish()).map(drop)
            }
            More::Unlogged(name) => {
                let table = told(database.unlogged_table(name))?;
                let mut transaction = database.begin();
                told(transaction.put(&table, b"row", b"of no log"))?;
                told(transaction.commit())?;
                told(database.checkpoint())?;
                told(database.delete(&table, b"row")).map(drop)
            }
            More::Rename(from, to) => told(database.rename_table(from, to)),
            More::Drop(name) => match told(database.drop_table(name))? {
                true => Ok(()),
                false => Err(format!("there is no table {name} to drop")),
            },
            More::Settle => {
                while told(database.step())? == Progress::Worked {}
                Ok(())
            }
            More::Shrink => match told(database.shrink_file())? {
                0 => Err("the file has nothing to give back".to_string()),
                _ => Ok(()),
            },
            More::BreakOff(key, bytes) => {
                let none: &mut dyn std::io::Read = &mut std::io::empty();
                match self.transaction().put_reader(&table, key, bytes, none) {
                    Err(Error::Reader { .. }) => Ok(()),
                    other => Err(format!("a value that breaks off: {other:?}")),
                }
            }
        }
    }

    fn verify(&mut self) -> StoreResult<()> {
        let report = told(self.database.verify())?;
        if !report.is_clean() {
            return Err(format!("{:?}", report.findings));
        }
        // Nothing leaks: what waits to be freed is free when the background work is done.
        while told(self.database.step())? == Progress::Worked {}
        let report = told(self.database.verify())?;
        if report.is_clean() && report.pages_pending == 0 {
            Ok(())
        } else {
            let (pages, findings) = (report.pages_pending, report.findings);
            Err(format!(
                "settled, {pages} pages wait to be freed; {findings:?}"
            ))
        }
    }
}

/// Every row of a table, read by a transaction of its own, forwards; backwards must show the same.
///
/// # Errors
/// When the engine refuses, or the two directions differ.
pub fn read_all(database: &Database, table: &Table) -> StoreResult<Rows> {
    let mut transaction = database.begin();
    let forwards = told(
        told(transaction.scan::<[u8], _>(table, ..))?.collect::<afterimage::Result<Vec<_>>>(),
    )?;
    let mut backwards = told(
        told(transaction.scan::<[u8], _>(table, ..))?
            .rev()
            .collect::<afterimage::Result<Vec<_>>>(),
    )?;
    told(transaction.rollback())?;
    backwards.reverse();
    if forwards != backwards {
        return Err(format!(
            "a scan shows {} rows forwards and {} backwards, or in another order",
            forwards.len(),
            backwards.len()
        ));
    }
    if !forwards.windows(2).all(|w| w[0].0 < w[1].0) {
        return Err("a scan shows keys out of order".to_string());
    }
    Ok(forwards.into_iter().collect())
}
