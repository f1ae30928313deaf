//! Histories made in the simulated world: a seed chooses the schedule of the clients, when the power goes, and what is left
//! on the disk.

use super::board::{Board, Recorder};
use super::client::{Client, TABLE, read_everything};
use super::history::History;
use crate::choices::{Choices, mix};
use crate::cut::survivals;
use crate::oracle::Layout;
use crate::watchdog;
use afterimage::{Database, Options, Table};
use afterimage_io::sim::{Body, DiskState, RunEnd, Sim, Verdict};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One life of the machine lasts so many transactions at most.
const LIFE: u64 = 150;

/// A history of about so many transactions, over as many lives as they take; and how many of those ended in a crash.
///
/// # Errors
/// What no client should have met, or a recovery that failed: with the seed.
pub fn history(seed: u64, transactions: u64) -> Result<(History, u64), String> {
    make(seed, transactions).map_err(|what| format!("seed {seed}: {what}"))
}

fn make(seed: u64, transactions: u64) -> Result<(History, u64), String> {
    let mut choices = Choices::new(seed);
    let recorder = Arc::new(Mutex::new(Recorder::default()));
    let (mut disk, mut crashes) = (DiskState::default(), 0);
    for life in 1.. {
        let sim = Sim::from_state(mix(seed ^ (life << 32)), &disk);
        let (database, table) = open(&sim, &mut choices)?;
        let (behind, so_far) = {
            let recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
            (recorder.behind(), recorder.len())
        };
        let left = transactions.saturating_sub(so_far);
        let taking = Arc::clone(&recorder);
        let sink = move |event| {
            taking
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(event)
        };
        let board = Arc::new(Board::new(
            behind.0,
            behind.1,
            left.min(LIFE),
            Box::new(sink),
        ));
        if left == 0 {
            let last = read_everything(&database, &table, &board)?;
            let clean = database.verify().map_err(|e| e.to_string())?;
            if !clean.is_clean() {
                return Err(format!("verify finds {:?}", clean.findings));
            }
            database.close().map_err(|e| e.to_string())?;
            drop(board);
            let recorder =
                std::mem::take(&mut *recorder.lock().unwrap_or_else(PoisonError::into_inner));
            return Ok((recorder.finish(last), crashes));
        }
        disk = live(&sim, database, table, &board, &mut choices)?;
        crashes += u64::from(sim.io().has_crashed());
        if let Some(what) = board.wrong() {
            return Err(what);
        }
    }
    unreachable!("lives end when enough was done")
}

fn open(sim: &Sim, choices: &mut Choices) -> Result<(Database, Table), String> {
    let layout = Layout::small();
    let frames = 8 + choices.below(3) * 8;
    let database = Options::new()
        .io(sim.io())
        .background(false)
        .page_size(layout.page_size)
        .buffer_pool_size(frames * layout.page_size as u64)
        .wal_segment_size(layout.segment_bytes)
        .max_wal_size(6 * layout.segment_bytes)
        .checkpoint_timeout(Duration::from_secs(1))
        .open(&layout.directory)
        .map_err(|e| format!("the open: {e}"))?;
    let table = database.table(TABLE).map_err(|e| e.to_string())?;
    Ok((database, table))
}

/// The clients work until they are done, or the power goes. Answers the disk that the next life begins with.
fn live(
    sim: &Sim,
    database: Database,
    table: Table,
    board: &Arc<Board>,
    choices: &mut Choices,
) -> Result<DiskState, String> {
    if choices.chance(4, 5) {
        let until = sim.calls() + 1 + choices.below(*choices.clone().pick(&[40, 300, 1500]));
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index >= until {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
    }
    let mut bodies: Vec<Body> = Vec::new();
    let clients = 3 + choices.below(3) as u32;
    let at_work = Arc::new(std::sync::atomic::AtomicU32::new(clients));
    for number in 0..clients {
        let client = Client {
            number,
            database: database.clone(),
            table: table.clone(),
            board: Arc::clone(board),
            choices: choices.fork(),
            io: sim.io(),
        };
        let at_work = Arc::clone(&at_work);
        bodies.push((
            format!("client {number}"),
            Box::new(move || {
                client.run();
                at_work.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            }),
        ));
    }
    let (keeper, io) = (database.clone(), sim.io());
    bodies.push((
        "keeper".into(),
        Box::new(move || {
            while at_work.load(std::sync::atomic::Ordering::SeqCst) > 0 && keeper.step().is_ok() {
                io.sleep(Duration::from_millis(1));
            }
        }),
    ));
    let (end, astray) = watchdog::watch(sim, || sim.run_threads(bodies));
    if astray {
        return Err("the clients do not come to an end".into());
    }
    sim.set_hook(None);
    match end {
        RunEnd::Deadlock(waits) => return Err(format!("everybody waits: {waits:?}")),
        RunEnd::Crashed => {
            let _ = sim.catch(|| drop((database, table)));
        }
        RunEnd::Finished if choices.chance(1, 3) => {
            drop(table);
            database.close().map_err(|e| e.to_string())?;
        }
        // The process is killed, or the power goes, while nothing is under way.
        RunEnd::Finished => {
            sim.crash_now();
            let _ = sim.catch(|| drop((database, table)));
        }
    }
    let disk = sim.snapshot();
    if choices.chance(1, 4) {
        return Ok(disk.restart());
    }
    let policies = survivals(&disk);
    let policy = choices.pick(&policies);
    Ok(DiskState::from_image(&disk.crash(policy)))
}
