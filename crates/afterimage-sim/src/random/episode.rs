//! One episode: birth, lives under trouble, recoveries under trouble, the end.

use super::Tally;
use super::board::Board;
use super::client::{Client, PATIENCE, Plan, opening_rows};
use super::echo::{ECHO, Echo};
use super::loads::Loads;
use super::side;
use super::trouble::Trouble;
use crate::check::{World, prove, same};
use crate::choices::{Choices, mix};
use crate::cut::survivals;
use crate::engine::{Engine, TABLE, read_all};
use crate::failure::{Failure, Layer, Mismatch};
use crate::history::History;
use crate::model::Rows;
use crate::oracle::Layout;
use crate::outcome::{self, Outcome};
use crate::store::{Store, StoreResult};
use afterimage::{Database, Options, Progress, Table};
use afterimage_io::Io;
use afterimage_io::sim::{Body, DiskState, Image, RunEnd, Sim, Survival, Verdict};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most crashes inside recoveries, after the one before: four in a row.
const DEEPEST: usize = 3;

/// Runs the episode that `seed` names.
///
/// # Errors
/// The first thing that did not hold, with the command that shows it again.
pub fn episode(seed: u64) -> Result<Tally, Box<Failure>> {
    episode_of(Choices::new(seed), &format!("--seed {seed}"))
}

/// Runs the episode that `choices` make, whatever they are made from; `name` names it for `cargo xtask sim`.
///
/// # Errors
/// The first thing that did not hold.
pub fn episode_of(choices: Choices, name: &str) -> Result<Tally, Box<Failure>> {
    let mut e = Episode::new(choices);
    match e.run() {
        Ok(()) => Ok(Tally {
            episodes: 1,
            ..e.tally
        }),
        Err(mismatch) => Err(Box::new(Failure {
            mismatch,
            place: e.story.join("; "),
            replay: format!("cargo xtask sim {name}"),
        })),
    }
}

struct Episode {
    seed: u64,
    choices: Choices,
    layout: Layout,
    frames: u64,
    max_wal_segments: u64,
    delay: Duration,
    timeout: Duration,
    history: History,
    loads: Arc<Loads>,
    echo: Arc<Echo>,
    tally: Tally,
    worlds: u64,
    /// Crashes since the database was last open without trouble.
    in_a_row: usize,
    /// The disk before the last power cut, and after it.
    cut: Option<(DiskState, Image)>,
    story: Vec<String>,
}

/// A machine that runs, and the database open on it.
struct Running {
    world: World,
    database: Database,
    table: Table,
}

impl Episode {
    fn new(mut choices: Choices) -> Episode {
        let seed = choices.world_seed();
        let layout = Layout {
            threads: 6,
            ..Layout::small()
        };
        // By the seed alone, so that the other choices stay what they were.
        let layout = layout.on_disk_of(seed);
        Episode {
            seed,
            frames: 8 + choices.below(3) * 8,
            max_wal_segments: 4 + choices.below(3) * 2,
            delay: Duration::from_millis(*choices.pick(&[1, 20, 200])),
            timeout: Duration::from_secs(1 + choices.below(5)),
            choices,
            layout,
            history: History::default(),
            loads: Arc::default(),
            echo: Arc::default(),
            tally: Tally::default(),
            worlds: 0,
            in_a_row: 0,
            cut: None,
            story: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Mismatch> {
        let mut running = self.birth()?;
        for _ in 0..1 + self.choices.below(4) {
            self.choices.mark();
            let disk = self.work(running)?;
            running = self.recover(disk)?;
            let rows = running.world.live("reading after recovery", || {
                side::read(&running.database)?;
                self.loads.check(&running.database)?;
                read_all(&running.database, &running.table)
            })?;
            self.history.check(&rows)?;
            running
                .world
                .live("reading unlogged rows after recovery", || {
                    self.echo.check_opened(&running.database, &rows)
                })?;
            self.tally.verified += 1;
            self.history = self.history.continued(rows);
        }
        self.finale(running)
    }

    fn world(&mut self, disk: &DiskState) -> World {
        self.worlds += 1;
        World::of(
            &self.layout,
            Sim::from_state(mix(self.seed ^ (self.worlds << 32)), disk),
        )
    }

    fn options(&self, io: &Io) -> StoreResult<Options> {
        let told = |e: afterimage::Error| e.to_string();
        // By the seed alone, so that the other choices stay what they were.
        let bits = mix(self.seed);
        let pad = if bits.is_multiple_of(4) { "on" } else { "off" };
        let kept = if (bits >> 8).is_multiple_of(2) {
            "0"
        } else {
            "80MiB"
        };
        let old = if (bits >> 16).is_multiple_of(3) {
            "64KiB"
        } else {
            "64MiB"
        };
        let direct = if (bits >> 40).is_multiple_of(4) {
            "on"
        } else {
            "auto"
        };
        let unlogged = 8 << ((bits >> 24) % 3);
        let options = Options::new()
            .set("wal_pad_flush", pad)
            .and_then(|o| o.set("wal_direct_io", direct))
            .and_then(|o| o.set("min_wal_size", kept))
            .and_then(|o| o.set("version_store_size", old))
            .map_err(told)?;
        Ok(options
            .io(io.clone())
            .background(false)
            .page_size(self.layout.page_size)
            .buffer_pool_size(self.frames * self.layout.page_size as u64)
            .unlogged_pool_size(unlogged * self.layout.page_size as u64)
            .wal_segment_size(self.layout.segment_bytes)
            .max_wal_size(self.max_wal_segments * self.layout.segment_bytes)
            .lock_timeout(match (bits >> 32).is_multiple_of(2) {
                true => PATIENCE,
                false => Duration::from_secs(10),
            })
            .wal_writer_delay(self.delay)
            .checkpoint_timeout(self.timeout))
    }

    fn open(&self, io: &Io) -> impl FnOnce() -> StoreResult<(Database, Table)> + Send + 'static {
        let (options, directory) = (self.options(io), self.layout.directory.clone());
        move || {
            let told = |e: afterimage::Error| format!("{e} ({e:?})");
            let database = options?.open(&directory).map_err(told)?;
            let table = database.table(TABLE).map_err(told)?;
            database.unlogged_table(ECHO).map_err(told)?;
            Ok((database, table))
        }
    }

    /// Opens the database: for every other seed in a world with threads, so that recovery has helpers, which the seed schedules.
    fn reopen(&self, world: &World) -> Result<Outcome<StoreResult<(Database, Table)>>, Mismatch> {
        let open = self.open(&world.sim.io());
        if (mix(self.seed) >> 40).is_multiple_of(2) {
            return world.run("recovery", open);
        }
        let slot = Arc::new(Mutex::new(None));
        let opened = Arc::clone(&slot);
        let body = move || {
            let end = outcome::run(open);
            *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        };
        let bodies: Vec<Body> = vec![("recovery".to_string(), Box::new(body))];
        match world.run("recovery", || world.sim.run_threads(bodies))? {
            Outcome::Done(RunEnd::Deadlock(who)) => Err(Mismatch::new(
                Layer::Deadlock,
                format!("recovery: everybody waits: {}", who.join(", ")),
            )),
            Outcome::Panicked(text) => Ok(Outcome::Panicked(text)),
            Outcome::Done(_) | Outcome::Crashed => {
                let end = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(end.unwrap_or(Outcome::Crashed))
            }
        }
    }

    fn birth(&mut self) -> Result<Running, Mismatch> {
        let world = self.world(&DiskState::default());
        let (database, table) = world.live("birth", self.open(&world.sim.io()))?;
        let rows = opening_rows();
        let mut engine = Engine::with(database.clone(), table.clone());
        world.live("the opening rows", || {
            rows.iter().try_for_each(|(k, v)| engine.put(k, v))?;
            engine.commit()
        })?;
        drop(engine);
        self.echo.emptied(&rows);
        self.history = History::new(rows);
        Ok(Running {
            world,
            database,
            table,
        })
    }

    /// Clients work until they are done or trouble stops them; then the life ends, and the disk is left.
    fn work(&mut self, running: Running) -> Result<DiskState, Mismatch> {
        let about = *self.choices.pick(&[30, 150, 600]);
        let trouble = Trouble::choose(&mut self.choices, about);
        let clients = 2 + self.choices.index(3);
        let plan = Plan {
            transactions: *self.choices.pick(&[0, 3, 12, 30]),
            large: *self.choices.pick(&[100, 500, 950]),
            long_keys: self.choices.chance(1, 4),
            heavy: self.choices.below(8),
            sleeper: false,
        };
        self.story
            .push(format!("{clients} clients, {plan:?}, {trouble:?}"));
        let board = Arc::new(Board::new(std::mem::take(&mut self.history)));
        let noise = self.choices.chance(1, 5).then(|| self.choices.fork());
        trouble.arm(&running.world.sim, &board, noise);
        let end = self.run_threads(&running, &board, clients, plan);
        running.world.sim.set_hook(None);
        self.tally.lives += 1;
        self.tally.deadlocks += board.deadlocks();
        self.tally.too_much += board.rolled_for_log();
        let end = self.judge(&running, &board, end);
        let full = matches!(trouble, Trouble::Full { .. });
        if full && end.is_ok() {
            self.tally.full += 1;
            self.room_again(&running, &board, plan)?;
        }
        self.history = board.take_history();
        let stats = running.database.stats();
        self.tally.merged += stats.pages_merged;
        self.tally.purged += stats.pages_purged;
        let (begun, acknowledged) = self.history.counts();
        self.tally.transactions += begun as u64;
        self.tally.acknowledged += acknowledged as u64;
        let crashed = match end {
            Ok(end) => end == RunEnd::Crashed,
            Err(mismatch) => {
                // What is broken may break once more as it is closed. That is no news.
                let _ = catch_unwind(AssertUnwindSafe(move || drop(running)));
                return Err(mismatch);
            }
        };
        let failed = board.trouble() && !crashed;
        self.tally.stops += u64::from(failed);
        if crashed || failed || self.choices.chance(2, 3) {
            self.crash(
                running.world,
                Some((running.database, running.table)),
                failed,
            )
        } else {
            self.close(running)
        }
    }

    fn run_threads(
        &mut self,
        running: &Running,
        board: &Arc<Board>,
        clients: usize,
        plan: Plan,
    ) -> Result<Outcome<RunEnd>, Mismatch> {
        let sleeper = self.choices.chance(1, 2);
        let mut bodies: Vec<Body> = Vec::new();
        let echo = running.database.table(ECHO);
        let echo = echo.map_err(|e| Mismatch::new(Layer::Refused, e.to_string()))?;
        board.begin_work(clients);
        for n in 0..clients {
            let client = Client {
                database: running.database.clone(),
                table: running.table.clone(),
                echo: echo.clone(),
                echoes: Arc::clone(&self.echo),
                io: running.world.sim.io(),
                board: Arc::clone(board),
                choices: self.choices.fork(),
                plan: Plan {
                    sleeper: sleeper && n == 0,
                    ..plan
                },
            };
            let board = Arc::clone(board);
            let name = format!("client {n}");
            bodies.push((
                name.clone(),
                Box::new(move || {
                    let _present = board.present();
                    outcome::run_thread(
                        || client.run(),
                        |text| {
                            board.wrong(Mismatch::new(Layer::Assertion, format!("{name}: {text}")))
                        },
                    );
                }),
            ));
        }
        let housekeeper = Housekeeper {
            database: running.database.clone(),
            io: running.world.sim.io(),
            board: Arc::clone(board),
            loads: Arc::clone(&self.loads),
            choices: self.choices.fork(),
            segment_bytes: self.layout.segment_bytes,
        };
        let board = Arc::clone(board);
        bodies.push((
            "housekeeper".to_string(),
            Box::new(move || {
                outcome::run_thread(
                    || housekeeper.run(),
                    |text| {
                        board.wrong(Mismatch::new(
                            Layer::Assertion,
                            format!("housekeeper: {text}"),
                        ))
                    },
                );
            }),
        ));
        running
            .world
            .run("the clients", || running.world.sim.run_threads(bodies))
    }

    fn judge(
        &mut self,
        running: &Running,
        board: &Board,
        end: Result<Outcome<RunEnd>, Mismatch>,
    ) -> Result<RunEnd, Mismatch> {
        self.tally.trace ^= running
            .world
            .sim
            .trace_hash()
            .rotate_left(u32::try_from(self.worlds % 64).unwrap_or(0));
        board.mismatch().map_or(Ok(()), Err)?;
        running.world.oracles.verdict()?;
        match end? {
            Outcome::Done(RunEnd::Deadlock(who)) => Err(Mismatch::new(
                Layer::Deadlock,
                format!("everybody waits: {}", who.join(", ")),
            )),
            Outcome::Done(end) => Ok(end),
            Outcome::Crashed => Ok(RunEnd::Crashed),
            Outcome::Panicked(text) => Err(Mismatch::new(Layer::Assertion, text)),
        }
    }

    /// There is room on the disk again: writing resumes by itself.
    fn room_again(
        &mut self,
        running: &Running,
        board: &Arc<Board>,
        plan: Plan,
    ) -> Result<(), Mismatch> {
        running.world.sim.set_quota(None);
        board.end_trouble();
        let end = self.run_threads(
            running,
            board,
            1,
            Plan {
                transactions: 4,
                ..plan
            },
        );
        self.judge(running, board, end).map(drop)
    }

    fn close(&mut self, running: Running) -> Result<DiskState, Mismatch> {
        self.story.push("closed".to_string());
        let Running {
            world,
            database,
            table,
        } = running;
        if self.choices.chance(1, 3) {
            let last = world.sim.calls() + self.choices.below(24);
            world
                .sim
                .set_hook(Some(Box::new(move |call, _| match call.index == last {
                    true => Verdict::Crash,
                    false => Verdict::Continue,
                })));
        }
        let end = world.run("close", || Engine::with(database, table).close())?;
        world.sim.set_hook(None);
        world.oracles.verdict()?;
        match end {
            Outcome::Done(Ok(())) => {}
            Outcome::Done(Err(refusal)) => {
                return Err(Mismatch::new(Layer::Refused, format!("close: {refusal}")));
            }
            Outcome::Panicked(text) => {
                return Err(Mismatch::new(Layer::Assertion, format!("close: {text}")));
            }
            Outcome::Crashed => {
                self.story.push("the power went in it".to_string());
                return self.crash(world, (), false);
            }
        }
        self.history.closed();
        Ok(DiskState::from_image(
            &world.sim.snapshot().crash(&Survival::None),
        ))
    }

    /// The power goes, or only the process. After a failed sync it is the process more often: then the page cache lies to the next one.
    fn crash<T>(
        &mut self,
        world: World,
        left: T,
        after_failure: bool,
    ) -> Result<DiskState, Mismatch> {
        self.tally.crashes += 1;
        self.in_a_row += 1;
        world.sim.crash_now();
        if let Outcome::Panicked(text) = outcome::run(move || drop(left)) {
            return Err(Mismatch::new(
                Layer::Assertion,
                format!("drop after a crash: {text}"),
            ));
        }
        world.oracles.verdict()?;
        let disk = world.sim.snapshot();
        if self.choices.chance(if after_failure { 3 } else { 1 }, 5) {
            self.story.push("process killed".to_string());
            self.cut = None;
            return Ok(disk.restart());
        }
        let pending = disk.pending().len();
        let survival = match self.choices.below(10) {
            0..=2 => Survival::None,
            3 => Survival::All,
            4 => Survival::Prefix(self.choices.index(pending + 1)),
            5 => Survival::NewestOnly,
            6 => Survival::TornLast {
                unit: *self.choices.pick(&[1, 512, 4096]),
                seed: self.choices.word(),
            },
            // One of the exhaustive driver's list: tears at frame borders are among them.
            7 => self.choices.pick(&survivals(&disk)).clone(),
            _ => Survival::Random {
                seed: self.choices.word(),
            },
        };
        self.story
            .push(format!("power cut with {pending} pending, {survival:?}"));
        let left = disk.crash(&survival);
        let after = DiskState::from_image(&left);
        self.cut = Some((disk, left));
        Ok(after)
    }

    /// Opens what a life left, under trouble up to three times in a row.
    fn recover(&mut self, mut disk: DiskState) -> Result<Running, Mismatch> {
        let mut interrupted = 0;
        loop {
            let about = *self.choices.pick(&[8, 30, 90]);
            let trouble = if interrupted < DEEPEST && self.choices.chance(2, 5) {
                Trouble::choose_in_recovery(&mut self.choices, about)
            } else {
                Trouble::None
            };
            let board = Arc::new(Board::default());
            let world = self.world(&disk);
            let noise = self.choices.chance(1, 8).then(|| self.choices.fork());
            trouble.arm(&world.sim, &board, noise);
            let end = self.reopen(&world)?;
            world.sim.set_hook(None);
            world.oracles.verdict()?;
            let failed = match end {
                Outcome::Done(Ok((database, table))) if !board.trouble() => {
                    let (report, cut) = (database.recovery_report(), self.cut.take());
                    let crash = cut.as_ref().map(|(before, left)| (before, left));
                    self.tally.kinds.recovered(&self.layout, report, crash);
                    if let Some(n) = std::mem::take(&mut self.in_a_row).checked_sub(1) {
                        self.tally.in_a_row[n.min(DEEPEST)] += 1;
                    }
                    return Ok(Running {
                        world,
                        database,
                        table,
                    });
                }
                Outcome::Done(Ok(left)) => {
                    disk = self.crash(world, left, true)?;
                    interrupted += 1;
                    continue;
                }
                Outcome::Done(Err(_)) if board.trouble() => true,
                Outcome::Done(Err(refusal)) => {
                    return Err(Mismatch::new(
                        Layer::Refused,
                        format!("recovery: {refusal}"),
                    ));
                }
                Outcome::Crashed => false,
                Outcome::Panicked(text) => {
                    return Err(Mismatch::new(Layer::Assertion, format!("recovery: {text}")));
                }
            };
            interrupted += 1;
            self.story.push(format!("recovery under {trouble:?}"));
            disk = self.crash(world, (), failed)?;
        }
    }

    /// Twenty more transactions, a close, the check of every byte, and the rows are there.
    fn finale(&mut self, running: Running) -> Result<(), Mismatch> {
        self.story.push("finale".to_string());
        let Running {
            world,
            database,
            table,
        } = running;
        let mut rows: Rows = self.history.base().clone();
        let mut engine = Engine::with(database, table);
        world.live("transactions after recovery", || {
            prove(&mut engine, &mut rows)
        })?;
        let image = world.close(engine)?;
        let world = World::boot(&self.layout, image);
        let mut engine = world.live("the last open", || Engine::open(&world.sim.io()))?;
        world.verify(&mut engine)?;
        let last = world.live("the last reading", || engine.own_rows())?;
        same("rows after twenty transactions and a close", &rows, &last)?;
        world.cut_power(engine).map(drop)
    }
}

/// The background work, as one more simulated thread; and checkpoints whenever it likes.
struct Housekeeper {
    database: Database,
    io: Io,
    board: Arc<Board>,
    loads: Arc<Loads>,
    choices: Choices,
    segment_bytes: u64,
}

impl Housekeeper {
    fn run(mut self) {
        while self.board.is_working() && !self.board.is_over() {
            // The least choice is the plainest.
            let end = match self.choices.below(48) {
                47 => self.database.shrink_file().map(|_| Progress::Idle),
                44..=46 => self.database.checkpoint().map(|()| Progress::Idle),
                41 => {
                    let done = self.loads.work(&self.database, &mut self.choices);
                    done.map(|()| Progress::Idle)
                }
                40 => self.change_settings().map(|()| Progress::Idle),
                42 | 43 => side::work(&self.database, &mut self.choices).map(|()| Progress::Idle),
                _ => self.database.step(),
            };
            match end {
                Ok(Progress::Worked) => {}
                Ok(Progress::Idle) => self.rest(),
                Err(_) if self.board.trouble() => self.rest(),
                Err(e) => {
                    return self.board.wrong(Mismatch::new(
                        Layer::Refused,
                        format!("background work: {e} ({e:?})"),
                    ));
                }
            }
        }
    }

    /// Other limits for whoever is at work.
    fn change_settings(&mut self) -> Result<(), afterimage::Error> {
        let max = (4 + self.choices.below(5)) * self.segment_bytes;
        self.database.set("max_wal_size", &format!("{max}B"))?;
        let pages = *self.choices.pick(&["unlimited", "100", "10000"]);
        self.database.set("io_capacity_max", "unlimited")?;
        self.database.set("io_capacity", pages)
    }

    fn rest(&mut self) {
        let most = *self.choices.pick(&[300_000, 1_000, 1_000, 100]);
        let rest = most - self.choices.below(most);
        self.io.sleep(Duration::from_micros(rest));
    }
}
