//! What the shell does with a statement: the database, the transaction that is open, its savepoints.

use super::help;
use super::show::Show;
use super::statement::{Statement, Write, parse};
use super::words::{Word, show, statements};
use crate::commands::{stats, verify};
use crate::failure::{Exit, Failure};
use crate::open::{self, from_engine};
use crate::span::{Bounds, Span};
use crate::units::{counted, duration};
use afterimage::{Database, Savepoint, Table, Transaction};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

type Row = (Vec<u8>, Vec<u8>);

/// Whether to go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    On,
    Quit,
}

/// A database in the hands of somebody who types.
pub struct Session<'a> {
    pub(super) db: Database,
    dir: &'a Path,
    /// Where results go.
    pub show: Show<'a>,
    pub(super) open: Option<Transaction>,
    savepoints: Vec<(String, Savepoint)>,
    /// The table of `use`.
    pub(super) used: Option<String>,
    /// The table used last, so that it is not looked for each time.
    pub(super) last: Option<(String, Table)>,
    /// Raised by Ctrl-C while something runs.
    stop: &'a AtomicBool,
}

impl<'a> Session<'a> {
    /// Works on `db`, which lies in `dir`.
    pub fn new(db: Database, dir: &'a Path, show: Show<'a>, stop: &'a AtomicBool) -> Self {
        Self {
            db,
            dir,
            show,
            open: None,
            savepoints: Vec::new(),
            used: None,
            last: None,
            stop,
        }
    }

    /// What stands before the cursor: the database, the table of `use`, a star while a transaction is open.
    pub fn prompt(&self) -> String {
        let name = self.dir.file_name().unwrap_or(self.dir.as_os_str());
        let used = self.used.as_ref().map(|table| format!("/{table}"));
        let star = if self.open.is_some() { "*" } else { "" };
        format!("{}{}{star}> ", name.display(), used.unwrap_or_default())
    }

    /// The names that completion offers: of tables, and of savepoints.
    pub fn names(&self) -> (Vec<String>, Vec<String>) {
        let savepoints = self.savepoints.iter().map(|(name, _)| name.clone());
        (self.db.tables().unwrap_or_default(), savepoints.collect())
    }

    /// Does what a line says. What stands behind a failure on the line is not done.
    pub fn line(&mut self, line: &[u8]) -> Result<Flow, Failure> {
        for words in statements(line).map_err(Failure::usage)? {
            let flow = self.timed(words);
            self.show.flush()?;
            if flow? == Flow::Quit {
                return Ok(Flow::Quit);
            }
        }
        Ok(Flow::On)
    }

    fn timed(&mut self, words: Vec<Word>) -> Result<Flow, Failure> {
        let statement = parse(words).map_err(Failure::usage)?;
        self.stop.store(false, Ordering::Relaxed);
        let start = Instant::now();
        let timing = self.show.timing;
        let flow = self.run(statement);
        if timing && self.show.timing {
            self.show
                .remark(format_args!("time: {}", duration(start.elapsed())))?;
        }
        flow
    }

    fn run(&mut self, statement: Statement) -> Result<Flow, Failure> {
        match statement {
            Statement::Tables => self.tables(),
            Statement::Create { name, unlogged } => self.create(&name, unlogged),
            Statement::Drop(name) => self.drop_table(&name),
            Statement::Rename { from, to } => self.rename(&from, to),
            Statement::Use(name) => self.use_table(name),
            Statement::Get { table, key } => self.get(table, &key),
            Statement::Write {
                how,
                table,
                key,
                value,
            } => self.write(how, table, &key, &value),
            Statement::Delete { table, key } => self.delete(table, &key),
            Statement::DeleteRange { table, span } => self.delete_range(table, span),
            Statement::Scan {
                table,
                span,
                limit,
                reverse,
            } => self.scan(table, span, limit, reverse),
            Statement::Count { table, span } => self.count(table, span),
            Statement::Begin => self.begin(),
            Statement::Commit => self.commit(),
            Statement::Rollback => self.rollback(),
            Statement::Savepoint(name) => self.savepoint(name),
            Statement::RollbackTo(name) => self.rollback_to(&name),
            Statement::Release(name) => self.release(&name),
            Statement::Stats => self.stats(),
            Statement::Set { name, value } => self.set(&name, &value),
            Statement::Checkpoint => self.checkpoint(),
            Statement::Verify => self.verify(),
            Statement::Timing(on) => {
                self.show.timing = on.unwrap_or(!self.show.timing);
                let state = if self.show.timing { "on" } else { "off" };
                self.show.aside(format_args!("timing is {state}"))
            }
            Statement::Format(Some(format)) => {
                self.show.format = format;
                Ok(())
            }
            Statement::Format(None) => {
                let name = format!("{:?}", self.show.format).to_lowercase();
                self.show.remark(format_args!("bytes are shown as {name}"))
            }
            Statement::Width(bytes) => {
                self.show.set_width(bytes);
                Ok(())
            }
            Statement::Help(about) => {
                let text = help::text(about.as_deref()).map_err(Failure::usage)?;
                self.show.lines([text])
            }
            Statement::Quit => return Ok(Flow::Quit),
        }?;
        Ok(Flow::On)
    }

    /// Tells an error of the engine.
    pub(super) fn told(&self) -> impl Fn(afterimage::Error) -> Failure + Copy + use<'a> {
        let dir = self.dir;
        move |error| from_engine(error, dir)
    }

    /// The table named, or that of `use`.
    pub(super) fn table(&mut self, name: Option<String>) -> Result<Table, Failure> {
        let Some(name) = name.or_else(|| self.used.clone()) else {
            return Err(Failure::usage("which table?")
                .advise("name it before the key, or say `use TABLE` first"));
        };
        if let Some((last, table)) = &self.last
            && *last == name
        {
            return Ok(table.clone());
        }
        let table = open::existing_table(&self.db, self.dir, &name)
            .map_err(|failure| failure.advise("`create TABLE` makes one"))?;
        self.last = Some((name, table.clone()));
        Ok(table)
    }

    fn get(&mut self, table: Option<String>, key: &[u8]) -> Result<(), Failure> {
        let table = self.table(table)?;
        let value = match &mut self.open {
            Some(tx) => tx.get(&table, key),
            None => self.db.get(&table, key),
        };
        match value.map_err(self.told())? {
            Some(value) => self.show.value(key, &value),
            None => Err(self.no_such_key(key)),
        }
    }

    fn no_such_key(&self, key: &[u8]) -> Failure {
        Failure::data("there is no such key").at(show(key, self.show.format))
    }

    fn write(
        &mut self,
        how: Write,
        table: Option<String>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Failure> {
        let table = self.table(table)?;
        let written = match (&mut self.open, how) {
            (Some(tx), Write::Put) => tx.put(&table, key, value),
            (Some(tx), Write::Insert) => tx.insert(&table, key, value),
            (Some(tx), Write::Update) => tx.update(&table, key, value),
            (None, Write::Put) => self.db.put(&table, key, value),
            (None, Write::Insert) => self.db.insert(&table, key, value),
            (None, Write::Update) => self.db.update(&table, key, value),
        };
        match written {
            Err(afterimage::Error::KeyExists) => Err(Failure::data(
                "there is such a key already; nothing was changed",
            )
            .at(show(key, self.show.format))
            .advise("`update` changes it, `put` sets it in any case")),
            Err(afterimage::Error::KeyNotFound) => Err(self
                .no_such_key(key)
                .advise("nothing was changed; `insert` makes it, `put` sets it in any case")),
            other => other.map_err(self.told()),
        }
    }

    fn delete(&mut self, table: Option<String>, key: &[u8]) -> Result<(), Failure> {
        let table = self.table(table)?;
        let deleted = match &mut self.open {
            Some(tx) => tx.delete(&table, key),
            None => self.db.delete(&table, key),
        };
        if deleted.map_err(self.told())? {
            return Ok(());
        }
        Err(self.no_such_key(key))
    }

    fn delete_range(&mut self, table: Option<String>, span: Span) -> Result<(), Failure> {
        let table = self.table(table)?;
        let deleted = match (span.bounds(), &mut self.open) {
            (None, _) => Ok(0),
            (Some(bounds), Some(tx)) => tx.delete_range::<Vec<u8>, _>(&table, bounds),
            (Some(bounds), None) => self
                .db
                .transact(|tx| tx.delete_range::<Vec<u8>, _>(&table, bounds.clone())),
        };
        let deleted = deleted.map_err(self.told())?;
        self.show
            .remark(format_args!("{} deleted", counted(deleted, "row", "rows")))
    }

    fn scan(
        &mut self,
        table: Option<String>,
        span: Span,
        limit: u64,
        reverse: bool,
    ) -> Result<(), Failure> {
        let table = self.table(table)?;
        let mut rows = 0;
        let stopped = if let Some(bounds) = span.bounds() {
            let stop = self.stop;
            let told = self.told();
            let mut alone = None;
            let tx = transaction(&self.db, &mut self.open, &mut alone);
            let mut listing = self.show.listing();
            let stopped = each(tx, (&table, bounds), limit, reverse, stop, |row| {
                let (key, value) = row.map_err(told)?;
                rows += 1;
                listing.row(&key, &value)
            });
            listing.end()?;
            stopped?
        } else {
            false
        };
        self.counted_rows(rows, stopped)
    }

    fn counted_rows(&mut self, rows: u64, stopped: bool) -> Result<(), Failure> {
        let more = if stopped {
            ", then stopped by Ctrl-C"
        } else {
            ""
        };
        self.show
            .remark(format_args!("{}{more}", counted(rows, "row", "rows")))
    }

    fn count(&mut self, table: Option<String>, span: Span) -> Result<(), Failure> {
        let table = self.table(table)?;
        let mut rows = 0_u64;
        if let Some(bounds) = span.bounds() {
            let stop = self.stop;
            let told = self.told();
            let mut alone = None;
            let tx = transaction(&self.db, &mut self.open, &mut alone);
            let part = (&table, bounds);
            if each(tx, part, u64::MAX, false, stop, |row| {
                rows += 1;
                row.map(drop).map_err(told)
            })? {
                return self.counted_rows(rows, true);
            }
        }
        self.show.result(&json!({ "count": rows }), |show| {
            show.lines([rows.to_string()])
        })
    }

    fn begin(&mut self) -> Result<(), Failure> {
        if self.open.is_some() {
            return Err(Failure::usage("a transaction is open already")
                .advise("`commit` or `rollback` ends it; `savepoint NAME` is a place inside it to go back to"));
        }
        let mut tx = self.db.begin();
        // So `afterimage pins` names it.
        tx.set_label("shell");
        self.open = Some(tx);
        Ok(())
    }

    fn ended(&mut self) -> Result<Transaction, Failure> {
        self.savepoints.clear();
        self.open.take().ok_or_else(none_open)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let tx = self.ended()?;
        tx.commit().map_err(self.told())?;
        self.show.aside("committed")
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        let tx = self.ended()?;
        tx.rollback().map_err(self.told())?;
        self.show.aside("rolled back")
    }

    fn savepoint(&mut self, name: String) -> Result<(), Failure> {
        let tx = self.open.as_mut().ok_or_else(none_open)?;
        let savepoint = tx.savepoint().map_err(|e| from_engine(e, self.dir))?;
        self.savepoints.push((name, savepoint));
        Ok(())
    }

    /// The last savepoint of this name: a name may be used again, and then hides the one before.
    fn place(&self, name: &str) -> Result<usize, Failure> {
        if self.open.is_none() {
            return Err(none_open());
        }
        let found = self.savepoints.iter().rposition(|(set, _)| set == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.savepoints.iter().map(|(name, _)| &name[..]).collect();
            let there = if names.is_empty() {
                "there are none; `savepoint NAME` sets one".to_owned()
            } else {
                format!("there are: {}", names.join(", "))
            };
            Failure::usage(format!("there is no savepoint {name}")).advise(there)
        })
    }

    fn rollback_to(&mut self, name: &str) -> Result<(), Failure> {
        let place = self.place(name)?;
        let tx = self.open.as_mut().ok_or_else(none_open)?;
        let done = tx.rollback_to(&self.savepoints[place].1);
        done.map_err(|e| from_engine(e, self.dir))?;
        self.savepoints.truncate(place + 1);
        Ok(())
    }

    fn release(&mut self, name: &str) -> Result<(), Failure> {
        let place = self.place(name)?;
        let tx = self.open.as_mut().ok_or_else(none_open)?;
        let mut gone = self.savepoints.drain(place..);
        let (_, savepoint) = gone.next().expect("found there");
        tx.release(savepoint).map_err(|e| from_engine(e, self.dir))
    }

    fn stats(&mut self) -> Result<(), Failure> {
        let stats = self.db.stats();
        let fields = stats.fields().into_iter();
        let document = fields.map(|(name, value)| (name.to_owned(), json!(value)));
        self.show
            .result(&document.collect(), |show| show.lines(stats::lines(&stats)))
    }

    /// Until the shell is left: nothing is written down.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.db.set(name, value).map_err(self.told())?;
        let settings = self.db.settings();
        let now = settings.iter().find(|info| info.name == name);
        let now = now.map_or(value, |info| &info.value);
        self.show.remark(format_args!("{name} is {now}"))
    }

    fn checkpoint(&mut self) -> Result<(), Failure> {
        self.db.checkpoint().map_err(self.told())?;
        let lsn = self.db.stats().checkpoint_lsn;
        self.show.remark(format_args!("checkpoint at LSN {lsn}"))
    }

    fn verify(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let report = self.db.verify().map_err(self.told())?;
        let took = start.elapsed();
        let document = verify::document(&report, took);
        self.show
            .result(&document, |show| show.lines(verify::lines(&report, took)))?;
        if report.is_clean() {
            return Ok(());
        }
        Err(Failure::Told(Exit::Data))
    }

    /// Rolls back what is open, says so, and closes the database. True if something was open.
    pub fn close(mut self) -> Result<bool, Failure> {
        let told = self.told();
        let open = self.open.take();
        let was_open = open.is_some();
        if let Some(tx) = open {
            tx.rollback().map_err(told)?;
            self.show.aside("the open transaction was rolled back")?;
        }
        self.show.flush()?;
        self.db.close().map_err(told)?;
        Ok(was_open)
    }
}

fn none_open() -> Failure {
    Failure::usage("no transaction is open").advise("`begin` begins one")
}

/// The open transaction, or one for this statement alone, which goes with `alone`.
fn transaction<'t>(
    db: &Database,
    open: &'t mut Option<Transaction>,
    alone: &'t mut Option<Transaction>,
) -> &'t mut Transaction {
    match open {
        Some(tx) => tx,
        None => alone.insert(db.begin()),
    }
}

/// Goes through the rows of a part of a table. True if Ctrl-C ended it.
fn each(
    tx: &mut Transaction,
    part: (&Table, Bounds),
    limit: u64,
    reverse: bool,
    stop: &AtomicBool,
    mut row: impl FnMut(afterimage::Result<Row>) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let mut scan = match tx.scan(part.0, part.1) {
        Ok(scan) => scan,
        Err(error) => return row(Err(error)).map(|()| false),
    };
    for _ in 0..limit {
        if stop.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let next = if reverse {
            scan.next_back()
        } else {
            scan.next()
        };
        match next {
            Some(next) => row(next)?,
            None => break,
        }
    }
    Ok(false)
}
