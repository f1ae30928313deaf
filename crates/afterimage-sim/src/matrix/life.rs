//! Somebody who does a chapter's units one after another, and what may be in the database meanwhile.

use super::chapters::{Chapter, TABLE, UNLOGGED};
use crate::check::World;
use crate::engine::small_options;
use crate::failure::{Layer, Mismatch};
use crate::model::{Brief, Rows};
use crate::oracle::Layout;
use crate::outcome::Outcome;
use crate::reach::Phase;
use crate::store::beside;
use afterimage::{Database, Error, Options, Table};
use afterimage_io::Io;
use afterimage_io::sim::{DiskState, Image, Sim};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What somebody does.
type Deed = dyn Fn(&mut Actor) -> afterimage::Result<()> + Send + Sync;

/// What is done, in one piece: it happens wholly or not at all.
pub struct Unit {
    /// Its name.
    pub name: &'static str,
    /// The phase that it begins in.
    pub phase: Phase,
    /// Does it.
    pub run: Box<Deed>,
    /// What it changes.
    pub effect: Box<dyn Fn(&mut Rows) + Send + Sync>,
}

impl Unit {
    /// A unit.
    pub fn new(
        name: &'static str,
        phase: Phase,
        run: impl Fn(&mut Actor) -> afterimage::Result<()> + Send + Sync + 'static,
        effect: impl Fn(&mut Rows) + Send + Sync + 'static,
    ) -> Unit {
        Unit {
            name,
            phase,
            run: Box::new(run),
            effect: Box::new(effect),
        }
    }
}

/// Who does it.
pub struct Actor {
    layout: Layout,
    io: Io,
    database: Option<Database>,
    phase: Arc<AtomicUsize>,
    sync_method: &'static str,
}

impl Actor {
    /// Somebody with no database open.
    pub fn new(layout: &Layout, io: Io) -> Actor {
        Actor {
            layout: layout.clone(),
            io,
            database: None,
            phase: Arc::default(),
            sync_method: "auto",
        }
    }

    /// Which phase it is now.
    pub fn phase(&self, phase: Phase) {
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    /// Opens the database.
    pub fn open(&mut self) -> afterimage::Result<()> {
        let options = options(&self.layout, &self.io).set("wal_sync_method", self.sync_method)?;
        self.database = Some(options.open(&self.layout.directory)?);
        Ok(())
    }

    /// Closes it.
    pub fn close(&mut self) -> afterimage::Result<()> {
        self.database.take().map_or(Ok(()), Database::close)
    }

    /// The open database.
    pub fn database(&self) -> afterimage::Result<Database> {
        self.database.clone().ok_or(Error::Closed)
    }

    /// The open database and a table of it, which is there.
    pub fn table(&self, name: &str) -> afterimage::Result<(Database, Table)> {
        let db = self.database()?;
        let unlogged = name == UNLOGGED;
        let all = if unlogged {
            db.unlogged_tables()?
        } else {
            db.tables()?
        };
        if !all.iter().any(|there| there == name) {
            let name = name.to_string();
            return Err(Error::NoSuchTable { name });
        }
        let table = if unlogged {
            db.unlogged_table(name)?
        } else {
            db.table(name)?
        };
        Ok((db, table))
    }

    /// Lets so many milliseconds pass.
    pub fn sleep(&self, millis: u64) {
        self.io.sleep(Duration::from_millis(millis));
    }

    /// The rows of every table.
    pub fn rows(&self) -> afterimage::Result<Rows> {
        read_all(&self.database()?)
    }
}

fn options(layout: &Layout, io: &Io) -> Options {
    small_options(layout, io)
        .unlogged_pool_size(8 * layout.page_size as u64)
        .wal_writer_delay(Duration::from_millis(20))
}

/// The rows of every table, those of others than the one by [`beside`].
pub(super) fn read_all(db: &Database) -> afterimage::Result<Rows> {
    let mut rows = Rows::new();
    let unlogged = db.unlogged_tables()?;
    for name in db.tables()?.into_iter().chain(unlogged.iter().cloned()) {
        let table = if unlogged.contains(&name) {
            db.unlogged_table(&name)?
        } else {
            db.table(&name)?
        };
        if name != TABLE {
            rows.insert(beside(&name, b""), Vec::new());
        }
        let mut tx = db.begin();
        for row in tx.scan::<[u8], _>(&table, ..)? {
            let (key, value) = row?;
            let key = if name == TABLE {
                key
            } else {
                beside(&name, &key)
            };
            rows.insert(key, value);
        }
        drop(tx);
    }
    Ok(rows)
}

/// What may be found: any of these.
pub type Admitted = Arc<Vec<Rows>>;

/// What the hook may look at while a life goes on.
#[derive(Clone)]
pub struct Seen {
    phase: Arc<AtomicUsize>,
    admitted: Arc<Mutex<Admitted>>,
}

impl Seen {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        Phase::ALL[self.phase.load(Ordering::Relaxed)]
    }

    /// What a power cut now may leave.
    pub fn admitted(&self) -> Admitted {
        Arc::clone(&lock(&self.admitted))
    }
}

pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a life ended that met at most one kind of error.
pub struct End {
    /// What each unit answered.
    pub answers: Vec<(&'static str, Phase, Result<(), Error>)>,
    /// Whether the engine had stopped at the end.
    pub stopped: bool,
    /// What may be found.
    pub admitted: Admitted,
    /// The disk.
    pub disk: DiskState,
}

/// Lives a chapter on a new machine. `arm` sets its hook; `failed` is told of each unit that failed, and how many have by then.
///
/// # Errors
/// What must not be, whatever the disk says: a panic, an oracle's objection, rows from nowhere, an acknowledgement after a stop.
pub fn live(
    layout: &Layout,
    chapter: &Chapter,
    arm: impl FnOnce(&Sim, &Seen),
    mut failed: impl FnMut(&Sim, usize),
) -> Result<End, Mismatch> {
    let world = World::of(layout, Sim::from_image(1, &chapter.image));
    let mut actor = Actor {
        sync_method: chapter.sync_method,
        ..Actor::new(layout, world.sim.io())
    };
    let seen = Seen {
        phase: Arc::clone(&actor.phase),
        admitted: Arc::new(Mutex::new(Arc::new(vec![chapter.rows.clone()]))),
    };
    arm(&world.sim, &seen);
    let mut answers: Vec<(&'static str, Phase, Result<(), Error>)> = Vec::new();
    let mut failures = 0;
    for unit in &chapter.units {
        if actor.database.is_none() && !unit.phase.opens() {
            // It could not be opened, or was not closed well: this life is over.
            break;
        }
        if unit.phase == Phase::Close {
            check_rows(&world, &actor, &seen.admitted())?;
        }
        actor.phase(unit.phase);
        let before = seen.admitted();
        let mut after: Vec<Rows> = before.to_vec();
        after.iter_mut().for_each(|rows| (unit.effect)(rows));
        *lock(&seen.admitted) = Arc::new(before.iter().chain(&after).cloned().collect());
        let answer = told(&world, unit.name, || (unit.run)(&mut actor))?;
        world.oracles.verdict()?;
        let left = unit.phase == Phase::Close;
        if left {
            world.oracles.reopened();
        }
        let recovered = |db: &Database| !keeps_unlogged(db);
        if unit.phase.opens() && actor.database.as_ref().is_some_and(recovered) {
            after = after.into_iter().map(without_unlogged).collect();
        }
        match &answer {
            Ok(()) => *lock(&seen.admitted) = Arc::new(after),
            Err(Error::OutcomeUnknown { .. }) => {}
            Err(_) => *lock(&seen.admitted) = before,
        }
        if answer.is_err() {
            failures += 1;
            failed(&world.sim, failures);
        }
        let over = left && answer.is_err();
        answers.push((unit.name, unit.phase, answer));
        if over {
            break;
        }
    }
    let stopped = match &actor.database {
        Some(_) => check_rows(&world, &actor, &seen.admitted())?,
        None => false,
    };
    world.sim.set_hook(None);
    let admitted = seen.admitted();
    let disk = world.sim.snapshot();
    told(&world, "drop", || drop(actor))?;
    Ok(End {
        answers,
        stopped,
        admitted,
        disk,
    })
}

fn told<T>(world: &World, what: &str, life: impl FnOnce() -> T) -> Result<T, Mismatch> {
    match world.run(what, life)? {
        Outcome::Done(answer) => Ok(answer),
        Outcome::Panicked(text) => Err(Mismatch::new(Layer::Assertion, format!("{what}: {text}"))),
        Outcome::Crashed => Err(Mismatch::new(
            Layer::Assertion,
            "a crash that nobody ordered",
        )),
    }
}

/// What an open database shows is what may be there; true if it has stopped and shows nothing.
fn check_rows(world: &World, actor: &Actor, admitted: &Admitted) -> Result<bool, Mismatch> {
    world.sim.set_hook_reads(false);
    let rows = told(world, "reading", || actor.rows())?;
    world.sim.set_hook_reads(true);
    match rows {
        Ok(rows) if admitted.contains(&rows) => Ok(false),
        Ok(rows) => Err(wrong("the open database shows", &rows, admitted)),
        Err(Error::LogFailed { .. }) => Ok(true),
        Err(e) => Err(Mismatch::new(
            Layer::Refused,
            format!("reading, when all is well again: {e} ({e:?})"),
        )),
    }
}

fn wrong(what: &str, rows: &Rows, admitted: &Admitted) -> Mismatch {
    let right: Vec<String> = admitted.iter().map(|r| Brief(r).to_string()).collect();
    let found = Brief(rows);
    Mismatch::new(
        Layer::Model,
        format!("{what} {found}\n  right: {}", right.join("\n    or ")),
    )
}

/// What the next process finds: the rows are admitted, one more power cut changes nothing, and every byte is sound.
///
/// # Errors
/// What does not hold.
pub fn recovers(layout: &Layout, disk: &DiskState, admitted: &Admitted) -> Result<(), Mismatch> {
    let world = World::of(layout, Sim::from_state(2, disk));
    let (db, rows) = reopened(layout, &world, admitted)?;
    let image = world.cut_power(db)?;
    let world = World::boot(layout, image);
    let (db, again) = reopened(layout, &world, &Arc::new(vec![rows.clone()]))?;
    let first = without_unlogged(rows);
    if without_unlogged(again) != first {
        return Err(Mismatch::new(
            Layer::Model,
            "a second recovery changed the rows",
        ));
    }
    let clean = |db: &Database| match db.verify() {
        Ok(report) if report.is_clean() => Ok(()),
        Ok(report) => Err(format!("{:?}", report.findings)),
        Err(e) => Err(format!("{e} ({e:?})")),
    };
    world.live("verify", || clean(&db))?;
    world.cut_power(db).map(drop)
}

fn reopened(
    layout: &Layout,
    world: &World,
    admitted: &Admitted,
) -> Result<(Database, Rows), Mismatch> {
    let says = |e: Error| format!("{e} ({e:?})");
    let open = || options(layout, &world.sim.io()).open(&layout.directory);
    let db = world.live("the next open", || open().map_err(says))?;
    let rows = world.live("reading what was recovered", || read_all(&db).map_err(says))?;
    // Unlogged rows live through a clean stop alone.
    let right = |a: &Rows| match keeps_unlogged(&db) {
        true => *a == rows,
        false => without_unlogged(a.clone()) == rows,
    };
    if admitted.iter().any(right) {
        Ok((db, rows))
    } else {
        Err(wrong("recovery brought back", &rows, admitted))
    }
}

/// Whether unlogged rows are still there: after a clean stop, if their file is what it was then. The report says so.
fn keeps_unlogged(db: &Database) -> bool {
    let report = db.recovery_report();
    report.clean && report.unlogged_emptied == 0
}

fn without_unlogged(mut rows: Rows) -> Rows {
    let (name, first) = (beside(UNLOGGED, b""), beside(UNLOGGED, b""));
    rows.retain(|key, _| *key == name || !key.starts_with(&first));
    rows
}

/// Whether two disks show a reader the same bytes, but for what is no data: who has the lock, and the status.
pub fn same_files(layout: &Layout, before: &Image, after: &Image) -> Result<(), String> {
    let mut images = [before.clone(), after.clone()];
    for image in &mut images {
        image.remove(&layout.path("lock"));
        image.remove(&layout.path("status"));
    }
    if images[0] == images[1] {
        return Ok(());
    }
    let files = |image: &Image| {
        image
            .files()
            .map(|(p, l)| format!("{p} {l}"))
            .collect::<Vec<_>>()
    };
    Err(format!(
        "before: {:?}\n  after: {:?}",
        files(&images[0]),
        files(&images[1])
    ))
}
