//! `afterimage test-sync`: what a durable write costs in a directory, by every way of making it durable.
//!
//! Two parts, each in rounds so that every row gets its share of a disk's moods: first all ways at all block sizes; then,
//! by the way that a log would choose here, what can be made of a sync: a hundred commits, pages at random, several
//! threads. `row` measures, `file` is what is written to, `place` finds out what it stands on, `report` prints, `advice` says
//! what follows.

mod advice;
mod file;
mod place;
mod report;
mod row;

use crate::failure::Failure;
use crate::out::{self, Out, Progress};
use crate::units::duration;
use advice::Seen;
use afterimage_io::{DurableWrites, SyncMethod};
use afterimage_log::SyncChoice;
use file::{FILE_BYTES, TestFile};
use place::Place;
use row::{GROUP, Row, Shape};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The sizes of a sequential durable write: a block, which is the least that a log writes, be it a sector of the disk or a page of the page
/// cache; and more.
const SIZES: [usize; 3] = [1, 8 << 10, 64 << 10];
/// The size of the page that is written at random places.
const PAGE: usize = 8 << 10;
/// So many times every row has its turn, or more often, where a turn would become longer than the next.
const ROUNDS: u32 = 8;
/// Also how long a signal may go unheard.
const LONGEST_TURN: Duration = Duration::from_millis(100);
/// The part of the time that goes to the ways and sizes; the rest goes to what can be made of them.
const WAYS_PART: f64 = 0.6;

/// What `test-sync` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Writes to a temporary file of 64 MiB in DIR, prepared with zeroes as a log's files are, and removes it. Each write is
durable before the next begins; the figures are the middle (p50), what 1 write in 100 exceeds (p99), and writes a
second. A block is the least that a log writes by that way: a sector of the disk where writes are direct, else 4 KiB. A way
that the system or the file system does not offer is shown with the reason. Then: what a hundred commits in one sync,
pages at random places, and two and four threads come to; and what to set.

Name a directory on the disk that is to hold the log or the database; other work on the disk shows in the figures.

Examples:
  afterimage test-sync .
  afterimage test-sync /var/lib/app --seconds 60
  afterimage test-sync /mnt/fast --json | jq .recommendation")]
pub struct Args {
    /// The directory to measure in
    dir: PathBuf,
    /// Seconds of measuring in all; preparing the file is not counted
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    seconds: f64,
}

/// Measures, prints the tables, and says what follows from them.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    if !(args.seconds > 0.0 && args.seconds <= 86_400.0) {
        let what = format!(
            "--seconds {} is not above 0 and at most a day",
            args.seconds
        );
        return Err(Failure::usage(what));
    }
    let length = Duration::from_secs_f64(args.seconds);
    let stop = Stop::on_signals()?;
    let place = Place::of(&args.dir)?;
    out::note(format!("preparing 64 MiB in {}", args.dir.display()));
    let file = TestFile::new(&args.dir, &stop)?;

    let mut ways = all_ways(&file)?;
    out::note(format!("measuring for {} s", args.seconds));
    measure(&mut ways, length.mul_f64(WAYS_PART), &args.dir, &stop)?;
    let choice = SyncChoice::among(&blocks(&ways));
    let mut uses = uses(&file, choice.writes)?;
    measure(&mut uses, length.mul_f64(1.0 - WAYS_PART), &args.dir, &stop)?;
    drop(file);

    let advice = advice::advice(&seen(&ways, &uses, choice, &place));
    if out.is_json() {
        return out.document(&report::document(
            args.seconds,
            &place,
            &ways,
            &uses,
            choice,
            &advice,
        ));
    }
    report::print(&place, &ways, &uses, &advice, out)
}

/// Every way at every size.
fn all_ways(file: &TestFile) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for method in SyncMethod::ALL {
        for direct in [false, true] {
            // In this order: each way's row for a block is the first.
            for bytes in SIZES {
                let writes = DurableWrites { method, direct };
                rows.push(Row::new(file, Shape::Sequential, writes, bytes)?);
            }
        }
    }
    Ok(rows)
}

/// What can be made of a durable write. A log's group goes the log's way; pages and overlapping flushes go the plain one,
/// which is the one that an engine's pages and a log's overlapping flushes go.
fn uses(file: &TestFile, chosen: DurableWrites) -> Result<Vec<Row>, Failure> {
    let plain = DurableWrites::PLAIN;
    [
        (Shape::Commits(1), chosen, row::group_bytes(1)),
        (Shape::Commits(GROUP), chosen, row::group_bytes(GROUP)),
        (Shape::Random, plain, PAGE),
        (Shape::Threads(1), plain, SIZES[0]),
        (Shape::Threads(2), plain, SIZES[0]),
        (Shape::Threads(4), plain, SIZES[0]),
    ]
    .into_iter()
    .map(|(shape, writes, bytes)| Row::new(file, shape, writes, bytes))
    .collect()
}

/// Lets the rows take turns for `length`, in whole rounds, and in one at least.
fn measure(rows: &mut [Row], length: Duration, dir: &Path, stop: &Stop) -> Result<(), Failure> {
    let offered = rows.iter().filter(|row| row.offered().is_ok()).count();
    let turn = length / ROUNDS / u32::try_from(offered.max(1)).unwrap_or(u32::MAX);
    let turn = turn.min(LONGEST_TURN);
    let mut progress = Progress::new();
    let begun = Instant::now();
    while begun.elapsed() < length {
        for row in rows.iter_mut() {
            progress.show(|| {
                let left = length.saturating_sub(begun.elapsed());
                format!("{} to go: {}", duration(left), row.label())
            });
            row.run(turn)
                .map_err(|e| Failure::io("a durable write", dir, &e))?;
            stop.check()?;
        }
    }
    Ok(())
}

/// The middle of each way's durable writes of one block, which is what a log goes by.
fn blocks(ways: &[Row]) -> Vec<(DurableWrites, u64)> {
    ways.iter()
        .step_by(SIZES.len())
        .filter_map(|row| Some((row.writes, row.result()?.p50_nanos())))
        .collect()
}

fn seen(ways: &[Row], uses: &[Row], choice: SyncChoice, place: &Place) -> Seen {
    let result = |shape| {
        let row = uses.iter().find(|row| row.shape == shape);
        row.and_then(Row::result).unwrap_or_default()
    };
    Seen {
        choice,
        blocks: blocks(ways),
        single: result(Shape::Commits(1)),
        group: result(Shape::Commits(GROUP)),
        random: result(Shape::Random),
        threads: [1, 2, 4].map(|n| result(Shape::Threads(n))),
        memory: place.memory(),
        dir: place.dir.clone(),
    }
}

/// Whether somebody wants it to end before its time: it then ends in order, so that no file stays behind.
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on, Ctrl-C and the request to terminate are noted; a second one ends the process at once.
    fn on_signals() -> Result<Stop, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in signal_hook::consts::TERM_SIGNALS {
            // In this order: the first signal finds the flag down, and raises it.
            signal_hook::flag::register_conditional_shutdown(*signal, 130, Arc::clone(&asked))
                .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&asked)))
                .map_err(|e| Failure::refused(format!("signals cannot be watched for: {e}")))?;
        }
        Ok(Stop(asked))
    }

    fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) {
            return Err(
                Failure::refused("stopped by a signal before the measuring was done")
                    .advise("the temporary file has been removed"),
            );
        }
        Ok(())
    }
}
