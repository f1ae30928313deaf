//! What a database handle does with whole tables: make, find, drop, rename, list. Each is one step of its own, outside of
//! transactions.

use super::handle::Database;
use super::load;
use super::table::Table;
use crate::error::{Error, Result};

impl Database {
    /// The table `name`, created if there is none. A name has 1 to 255 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::BadTableName`], [`Error::DiskFull`], [`Error::LogFailed`], [`Error::Io`].
    pub fn table(&self, name: &str) -> Result<Table> {
        self.open_table(name, true)
    }

    /// The unlogged table `name`, created if there is none: one whose rows are not in the log. Writing them is cheaper, and
    /// commits that changed nothing else wait for no sync; but after a crash, a power failure, a kill, or an end of the
    /// process without [`close`](Database::close), **the table is empty**. After a clean close it is whole. For what can be had again: caches,
    /// sessions, the results of work that can be done again.
    ///
    /// The table itself is as safe as any: it is there, under its name, however the last stop was. Its rows follow the same
    /// rules while the database is open: a transaction may change both kinds, commits both or takes both back, and reads
    /// are as isolated. A [`snapshot`](Database::snapshot), which shows what is durable, shows a commit that changed unlogged rows alone as
    /// soon as the log is durable beyond its record: at most `wal_writer_delay` later. What unfinished transactions have changed is
    /// kept in memory, all of them together at most `unlogged_pool_size`: where that runs short, the transaction that keeps most is
    /// rolled back, and its next call returns [`Error::TransactionTooBig`].
    ///
    /// # Errors
    ///
    /// [`Error::TableExists`] if the table `name` is a logged one; else as [`table`](Database::table), which opens a table of either
    /// kind, and [`Error::Io`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("shop")?;
    /// let (orders, sessions) = (db.table("orders")?, db.unlogged_table("sessions")?);
    /// db.transact(|tx| {
    ///     tx.put(&orders, b"1", b"a kettle, for alice")?;
    ///     tx.put(&sessions, b"alice", b"has ordered 1")
    /// })?;
    /// db.close()?;
    ///
    /// # let options = afterimage::Options::new().io(world.io()).background(false);
    /// let db = options.clone().open("shop")?;
    /// let sessions = db.table("sessions")?;
    /// assert!(sessions.is_unlogged());
    /// assert!(db.get(&sessions, b"alice")?.is_some());
    ///
    /// # drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.crash_now())));
    /// # drop((db, sessions));
    /// # let world = afterimage_io::sim::Sim::from_state(2, &world.snapshot());
    /// # let options = options.io(world.io());
    /// // The lights go out; and on again.
    /// let db = options.open("shop")?;
    /// assert!(db.get(&db.table("orders")?, b"1")?.is_some());
    /// assert!(db.get(&db.table("sessions")?, b"alice")?.is_none());
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    pub fn unlogged_table(&self, name: &str) -> Result<Table> {
        let table = self.open_table(name, false)?;
        match table.is_unlogged() {
            true => Ok(table),
            false => Err(Error::TableExists {
                name: name.to_owned(),
            }),
        }
    }

    fn open_table(&self, name: &str, logged: bool) -> Result<Table> {
        let shared = self.enter()?;
        let system = &shared.system;
        if system.catalogue.by_name(name).is_none() {
            system.check_running()?;
        }
        let (tree, created) = system.catalogue.open(&system.pager, name, logged)?;
        if created {
            shared.wait(
                Some(shared.system.pager.log.next_lsn()),
                shared.options.synchronous_commit,
            )?;
        }
        let table = Table::new(tree, shared.instance);
        load::wait_loaded(&shared, &table)?;
        Ok(table)
    }

    /// Drops the table `name`: waits until no transaction uses it, then it is gone, with all its rows, as durably as commits
    /// are. A snapshot that is older still sees it. Its pages become free in the background. False if there was no such
    /// table.
    ///
    /// # Errors
    ///
    /// [`Error::LockTimeout`] and [`Error::Deadlock`] where somebody goes on using it, [`Error::DiskFull`],
    /// [`Error::LogFailed`], [`Error::Io`]: the table is there.
    ///
    /// # Examples
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let old = db.table("accounts of 2019")?;
    /// db.rename_table("accounts of 2019", "old accounts")?;
    /// db.put(&old, b"alice", b"100")?;
    /// assert!(db.drop_table("old accounts")?);
    /// assert!(db.get(&old, b"alice").is_err());
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    pub fn drop_table(&self, name: &str) -> Result<bool> {
        let shared = self.enter()?;
        shared.system.check_running()?;
        let end = shared.system.drop_table(name)?;
        shared.wait(end, shared.options.synchronous_commit)?;
        Ok(end.is_some())
    }

    /// Gives the table `from` the name `to`, as durably as commits are. Handles and transactions that have it go on.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchTable`], [`Error::TableExists`], [`Error::BadTableName`], [`Error::DiskFull`], [`Error::LogFailed`],
    /// [`Error::Io`].
    pub fn rename_table(&self, from: &str, to: &str) -> Result<()> {
        let shared = self.enter()?;
        shared.system.check_running()?;
        let system = &shared.system;
        system.catalogue.rename_table(&system.pager, from, to)?;
        shared.wait(
            Some(system.pager.log.next_lsn()),
            shared.options.synchronous_commit,
        )
    }

    /// The names of all tables, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn tables(&self) -> Result<Vec<String>> {
        Ok(self.enter()?.system.catalogue.names())
    }

    /// The names of the [unlogged](Database::unlogged_table) tables among them, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn unlogged_tables(&self) -> Result<Vec<String>> {
        Ok(self.enter()?.system.catalogue.unlogged_names())
    }
}
