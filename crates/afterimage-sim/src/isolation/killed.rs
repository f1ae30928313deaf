//! Histories made by a real process on a real directory, which is killed again and again.
//!
//! The process tells its history through a pipe: what it has written there stays when it is killed. A transaction is told
//! before it asks to commit, so nothing that can be in the database is unknown here.

use super::board::{Board, Recorder};
use super::client::{Client, TABLE, read_everything};
use super::history::History;
use super::wire;
use crate::choices::Choices;
use crate::watchdog;
use afterimage::{Database, Options, Table};
use afterimage_io::Io;
use std::io::{BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the process is told.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Chooses what the clients do.
    pub seed: u64,
    /// Where the clock and the numbers begin.
    pub clock: u64,
    /// See `clock`.
    pub next: u32,
    /// How many transactions at most.
    pub transactions: u64,
    /// How many clients.
    pub clients: u32,
}

impl Orders {
    /// As words on a command line.
    #[must_use]
    pub fn words(&self) -> [String; 5] {
        [
            self.seed,
            self.clock,
            self.next.into(),
            self.transactions,
            self.clients.into(),
        ]
        .map(|n| n.to_string())
    }

    /// From the words of a command line.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Orders> {
        let n = |at: usize| words.get(at)?.parse::<u64>().ok();
        Some(Orders {
            seed: n(0)?,
            clock: n(1)?,
            next: n(2)?.try_into().ok()?,
            transactions: n(3)?,
            clients: n(4)?.try_into().ok()?,
        })
    }
}

fn open(directory: &Path) -> Result<(Database, Table), String> {
    let database = Options::new()
        .buffer_pool_size(1 << 20)
        .wal_segment_size(1 << 20)
        .max_wal_size(8 << 20)
        .open(directory)
        .map_err(|e| format!("the open: {e}"))?;
    let table = database.table(TABLE).map_err(|e| e.to_string())?;
    Ok((database, table))
}

/// What the process does: clients, whose history goes to standard output. It is killed, or ends when they are done.
///
/// # Errors
/// What no client should have met.
pub fn serve(directory: &Path, orders: Orders) -> Result<(), String> {
    let (database, table) = open(directory)?;
    let mut out = std::io::stdout();
    // Each event is in the pipe before its client goes on. Where the reader has gone, nobody asks for the history any more.
    let sink = move |event| drop(wire::write(&mut out, &event).and_then(|()| out.flush()));
    let board = Arc::new(Board::new(
        orders.clock,
        orders.next,
        orders.transactions,
        Box::new(sink),
    ));
    let mut choices = Choices::new(orders.seed);
    std::thread::scope(|scope| {
        for number in 0..orders.clients {
            let client = Client {
                number,
                database: database.clone(),
                table: table.clone(),
                board: Arc::clone(&board),
                choices: choices.fork(),
                io: Io::os(),
            };
            let board = Arc::clone(&board);
            scope.spawn(move || {
                let life = AssertUnwindSafe(|| client.run());
                if catch_unwind(life).is_err() {
                    // The others end too, and the process before it is killed: so it is seen.
                    board.fail("a client has panicked".into());
                }
            });
        }
    });
    board.wrong().map_or(Ok(()), Err)
}

/// A history of so many transactions on the database in `directory`, which is made anew; `process` starts a process that
/// calls [`serve`]. It is killed about every `life` transactions.
///
/// # Errors
/// What went wrong with the processes, the recovery or the verification.
pub fn history(
    directory: &Path,
    orders: Orders,
    life: u64,
    process: impl Fn(&Orders) -> Command,
) -> Result<(History, u64), String> {
    let mut choices = Choices::new(orders.seed);
    let mut recorder = Recorder::default();
    let mut kills = 0;
    while recorder.len() < orders.transactions {
        let (clock, next) = recorder.behind();
        let orders = Orders {
            seed: choices.word(),
            clock,
            next,
            transactions: orders.transactions - recorder.len(),
            ..orders
        };
        let until = recorder.len() + life / 2 + choices.below(life);
        let before = recorder.len();
        kills += u64::from(listen(&mut recorder, until, process(&orders))?);
        if recorder.len() == before {
            return Err("a process has done nothing".into());
        }
    }
    let (clock, next) = recorder.behind();
    let board = Board::new(clock, next, 0, Box::new(|_| ()));
    let (database, table) = open(directory)?;
    let last = read_everything(&database, &table, &board)?;
    let report = database.verify().map_err(|e| e.to_string())?;
    if !report.is_clean() {
        return Err(format!("verify finds {:?}", report.findings));
    }
    drop(table);
    database.close().map_err(|e| e.to_string())?;
    Ok((recorder.finish(last), kills))
}

/// Takes down what the process says, kills it after so many transactions, and takes down the rest. Answers whether it was
/// killed.
fn listen(recorder: &mut Recorder, until: u64, mut command: Command) -> Result<bool, String> {
    let told = |e: std::io::Error| format!("the process: {e}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(told)?;
    let pipe = child.stdout.take().ok_or("the process is silent")?;
    let mut pipe = BufReader::with_capacity(1 << 16, pipe);
    let (child, heard, over) = (Mutex::new(child), AtomicU64::new(0), AtomicBool::new(false));
    let kill = || child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    let mut killed = false;
    let astray = std::thread::scope(|scope| {
        let patrol = scope.spawn(|| {
            let (mut before, mut since) = (0, Instant::now());
            while !over.load(Ordering::SeqCst) {
                let now = heard.load(Ordering::SeqCst);
                if now != before {
                    (before, since) = (now, Instant::now());
                } else if since.elapsed() > watchdog::patience() {
                    // It is alive and says nothing: everybody in it waits.
                    let _ = kill();
                    return true;
                }
                std::thread::park_timeout(Duration::from_secs(1));
            }
            false
        });
        let all = take_down(recorder, &mut pipe, |recorder| {
            heard.fetch_add(1, Ordering::SeqCst);
            if !killed && recorder.len() >= until {
                killed = true;
                kill()?;
            }
            Ok(())
        });
        over.store(true, Ordering::SeqCst);
        patrol.thread().unpark();
        all.map(|()| patrol.join().unwrap_or(false))
    });
    let mut child = child.into_inner().unwrap_or_else(PoisonError::into_inner);
    let status = child.wait();
    if astray.map_err(told)? {
        return Err("the process has said nothing for too long".into());
    }
    let status = status.map_err(told)?;
    if !killed && !status.success() {
        return Err(format!("the process has failed: {status}"));
    }
    Ok(killed)
}

fn take_down(
    recorder: &mut Recorder,
    pipe: &mut impl Read,
    mut after: impl FnMut(&Recorder) -> std::io::Result<()>,
) -> std::io::Result<()> {
    while let Some(event) = wire::read(pipe)? {
        recorder.take(event);
        after(recorder)?;
    }
    Ok(())
}
