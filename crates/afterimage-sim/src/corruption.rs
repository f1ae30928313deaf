//! Damage at rest: one byte is changed, anywhere, and nothing may panic, lie or lose what somebody could prove.
//!
//! The rule, for a database that was not closed: opening it either gives every acknowledged row, or a typed error of corruption that names the place and has
//! changed no byte, or (only for damage at or behind the highest position that a surviving watermark or control copy proves durable) the rows of a prefix, with
//! the cut in the report. For a closed database: reading gives the right rows or a typed error, and `verify` reports every changed byte of a page or a frame.

use crate::bytes;
use crate::check::World;
use crate::choices::Choices;
use crate::engine::{Engine, TABLE, read_all, small_options};
use crate::failure::{Failure, Gathered, Layer, Mismatch};
use crate::model::{Brief, Model, Rows};
use crate::oracle::Layout;
use crate::oracle::segments::number_of;
use crate::outcome::{self, Outcome};
use crate::store::StoreResult;
use afterimage::{Database, Error, RecoveryReport, VerifyReport};
use afterimage_io::sim::{Image, Sim, Survival};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that a bad spot of the disk takes at once.
const BLOCK: usize = 4096;

/// How many positions met which end.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By file, then by what happened.
    pub ends: BTreeMap<(String, End), u64>,
}

/// What one changed byte came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// All rows are there: the byte does not matter, or was repaired.
    AllThere,
    /// Opening was refused with a typed error that names the place.
    Refused,
    /// Reading met a typed error that names the place.
    ReadError,
    /// The unproven tail was cut, and the report says so.
    TailCut,
    /// `verify` names it.
    Verified,
}

impl Counts {
    fn add(&mut self, subject: &Subject, file: &str, end: End) {
        let place = format!("{} {file}", subject.name);
        *self.ends.entry((place, end)).or_default() += 1;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corruption")?;
        for ((file, end), n) in &self.ends {
            write!(f, "\n  {n:>8} {file:<22} {end:?}")?;
        }
        Ok(())
    }
}

/// A database to damage.
struct Subject {
    name: &'static str,
    image: Image,
    /// `states[k]` is what the first k commits left; each with the LSN behind its commit record.
    states: Vec<(u64, Rows)>,
    /// The commits from here on were never acknowledged.
    acknowledged: usize,
    closed: bool,
    /// Below this the log was provably durable.
    proven: u64,
    /// The end of the log.
    end: u64,
}

/// Damages one byte at every `stride`-th position (with a random phase in each stride) of every file.
///
/// Changes that were not handled as the rule says are gathered, one of each symptom. Ends early when `stop` is set.
pub fn run(seed: u64, stride: u64, stop: &AtomicBool) -> (Counts, Gathered) {
    let layout = Layout::small();
    let (mut counts, mut gathered) = (Counts::default(), Gathered::default());
    let replay = format!("crashtest corruption --seed {seed} --stride {stride}");
    let fail = |mismatch, place: String| {
        Box::new(Failure {
            mismatch,
            place,
            replay: replay.clone(),
        })
    };
    for subject in [subject(&layout, true), subject(&layout, false)] {
        let subject = match subject {
            Ok(subject) => subject,
            Err(m) => {
                gathered.add(fail(m, "making a database to damage".to_string()));
                continue;
            }
        };
        if let Err(m) = older_files(&layout, &subject, &mut counts) {
            gathered.add(fail(m, format!("{}: an older file", subject.name)));
        }
        let mut choices = Choices::new(seed);
        for (file, length) in files(&layout, &subject.image) {
            for edit in edits(&layout, &subject, &file, length, stride, &mut choices) {
                if stop.load(Ordering::Relaxed) {
                    return (counts, gathered);
                }
                match damage(&layout, &subject, &file, edit) {
                    Ok(end) => counts.add(&subject, short(&file), end),
                    Err(m) => gathered.add(fail(m, format!("{}: {file} {edit:?}", subject.name))),
                }
            }
        }
        if let Err(m) = both_control_copies(&layout, &subject, &mut counts) {
            gathered.add(fail(m, format!("{}: both control copies", subject.name)));
        }
    }
    (counts, gathered)
}

fn short(file: &str) -> &str {
    if file.ends_with(".log") {
        "log"
    } else {
        file.rsplit('/').next().unwrap_or(file)
    }
}

/// The files that hold data.
fn files(layout: &Layout, image: &Image) -> Vec<(String, u64)> {
    let passive = [layout.path("lock"), layout.path("status")];
    image
        .files()
        .filter(|(p, len)| *len > 0 && !passive.iter().any(|q| q == p))
        .map(|(p, len)| (p.to_string(), len))
        .collect()
}

fn told<T>(result: afterimage::Result<T>) -> StoreResult<T> {
    result.map_err(|e| format!("{e} ({e:?})"))
}

/// A database of a few dozen commits with a checkpoint in their middle; closed, or crashed with two commits in flight.
fn subject(layout: &Layout, closed: bool) -> Result<Subject, Mismatch> {
    let world = World::of(layout, Sim::new(3));
    let (database, table) = world.live("create", || {
        let db = told(small_options(layout, &world.sim.io()).open(&layout.directory))?;
        let table = told(db.table(TABLE))?;
        Ok((db, table))
    })?;
    let mut model = Model::new(Rows::new());
    let mut states = vec![(0, Rows::new())];
    for n in 0..24u32 {
        world.live("fill", || {
            let mut tx = database.begin();
            for i in 0..3 {
                let (key, value) = (
                    format!("r{:02}", (n * 3 + i) % 29).into_bytes(),
                    vec![b'a' + (n % 26) as u8; if n % 5 == 0 { 400 } else { 30 }],
                );
                told(tx.put(&table, &key, &value))?;
                model.put(&key, &value);
            }
            let ticket = told(tx.commit_ticket())?;
            told(ticket.wait())?;
            model.issue_commit();
            states.push((ticket.lsn().map_or(0, |l| l.get()), model.rows().clone()));
            if n == 9 {
                told(database.checkpoint())
            } else {
                Ok(())
            }
        })?;
    }
    let acknowledged = states.len();
    if closed {
        let end = u64::MAX;
        let image = world.close(Engine::with(database, table))?;
        return Ok(Subject {
            name: "closed",
            image,
            states,
            acknowledged,
            closed,
            proven: end,
            end,
        });
    }
    // Two commits that nobody waits for reach the disk with the third, whose sync never happens: the power goes right before it.
    world.sim.set_hook(Some(Box::new(|info, _| {
        if info.kind.syncs() && info.path.contains("/log/") {
            afterimage_io::sim::Verdict::Crash
        } else {
            afterimage_io::sim::Verdict::Continue
        }
    })));
    let unfinished = outcome::run(|| {
        let mut tx = database.begin();
        told(tx.put(&table, b"tail", b"unacknowledged"))?;
        model.put(b"tail", b"unacknowledged");
        model.issue_commit();
        told(tx.commit())
    });
    if !matches!(unfinished, Outcome::Crashed) {
        return Err(Mismatch::new(
            Layer::Replay,
            "the commit in flight was not cut off",
        ));
    }
    states.push((u64::MAX, model.rows().clone()));
    drop(outcome::run(move || drop((database, table))));
    let image = world.sim.snapshot().crash(&Survival::All);
    let (proven, end) = proven(layout, &image, None);
    Ok(Subject {
        name: "crashed",
        image,
        states,
        acknowledged,
        closed,
        proven,
        end,
    })
}

/// The highest position that any watermark in the log proves, and the end of the log, read by code of our own.
fn proven(layout: &Layout, image: &Image, damaged: Option<(&str, &Range<u64>)>) -> (u64, u64) {
    let (mut proven, mut end) = (0, 0);
    let segments: BTreeMap<u64, String> = image
        .files()
        .filter_map(|(p, _)| Some((number_of(layout, p)?, p.to_string())))
        .collect();
    for (number, path) in segments {
        let base = number * layout.segment_bytes;
        let mut at = bytes::SEGMENT_HEADER;
        while let Some(frame) = image
            .read(&path, at, 32)
            .and_then(|b| Some((bytes::frame_word(&b)?, b)))
        {
            let (word, head) = frame;
            // A watermark that is damaged itself proves nothing.
            let hit = damaged.is_some_and(|(file, range)| {
                file == path && range.start < at + u64::from(word.length) && at < range.end
            });
            if word.kind == bytes::kind::WATERMARK && !hit {
                proven = proven.max(bytes::u64_at(&head, 16).unwrap_or(0));
            }
            at += u64::from(word.length);
            end = end.max(base + at);
            if word.kind == bytes::kind::END {
                break;
            }
        }
    }
    (proven, end)
}

/// A change of a file at rest.
#[derive(Clone, Copy, Debug)]
enum Edit {
    /// Some bits of one byte.
    Flip { offset: u64, change: u8 },
    /// A block becomes zeroes.
    Zero { offset: u64, len: usize },
}

/// The changes to try on one file: a bit at every `stride`-th position, every third byte around the end of the log, and
/// every block that holds anything.
fn edits(
    layout: &Layout,
    subject: &Subject,
    file: &str,
    length: u64,
    stride: u64,
    choices: &mut Choices,
) -> Vec<Edit> {
    let mut flip = |offset: u64| Edit::Flip {
        offset: offset.min(length - 1),
        change: 1 << choices.below(8),
    };
    let mut list = Vec::new();
    for at in (0..length).step_by(usize::try_from(stride).unwrap_or(1)) {
        let Edit::Flip { change, .. } = flip(at) else {
            continue;
        };
        let offset = (at + u64::from(change) * 31 % stride).min(length - 1);
        list.push(Edit::Flip { offset, change });
    }
    let blocks = (0..length).step_by(BLOCK);
    let full = |at: &u64| {
        let block = subject.image.read(file, *at, BLOCK);
        block.is_some_and(|b| b.iter().any(|b| *b != 0))
    };
    list.extend(
        blocks
            .filter(full)
            .map(|offset| Edit::Zero { offset, len: BLOCK }),
    );
    if let (Some(number), false) = (number_of(layout, file), subject.closed) {
        let inside = |lsn: u64| {
            lsn.saturating_sub(number * layout.segment_bytes)
                .min(length)
        };
        let tail = inside(subject.proven.saturating_sub(64))..inside(subject.end + 8);
        list.extend(tail.step_by(3).map(flip));
    }
    list
}

/// Changes a file and opens, reads, verifies.
fn damage(layout: &Layout, subject: &Subject, file: &str, edit: Edit) -> Result<End, Mismatch> {
    let mut image = subject.image.clone();
    let range = match edit {
        Edit::Flip { offset, change } => {
            let byte = image
                .read(file, offset, 1)
                .and_then(|b| b.first().copied())
                .unwrap_or(0);
            image.write_bytes(file, offset, &[byte ^ change]);
            offset..offset + 1
        }
        Edit::Zero { offset, len } => {
            image.write_bytes(file, offset, &vec![0; len]);
            offset..offset + len as u64
        }
    };
    let verified = if subject.closed {
        verify_says(layout, &image)?
    } else {
        false
    };
    if subject.closed && !verified && matters(layout, subject, file, range.start) {
        return Err(Mismatch::new(Layer::Verify, "verify finds nothing wrong"));
    }
    let end = open_and_read(layout, subject, &image, file, &range)?;
    Ok(if verified && end == End::AllThere {
        End::Verified
    } else {
        end
    })
}

/// Whether `verify` has to see a change of this byte: bytes of pages in use, and of frames.
fn matters(layout: &Layout, subject: &Subject, file: &str, offset: u64) -> bool {
    if file == layout.path("pages") {
        let size = layout.page_size;
        let start = offset / size as u64 * size as u64;
        return subject
            .image
            .read(file, start, size)
            .is_some_and(|p| p.iter().any(|b| *b != 0));
    }
    let Some(number) = number_of(layout, file) else {
        return false;
    };
    let in_frames = frames_end(layout, &subject.image, file);
    offset >= bytes::SEGMENT_HEADER
        && offset < in_frames
        && number * layout.segment_bytes + offset < subject.end
}

fn frames_end(_layout: &Layout, image: &Image, path: &str) -> u64 {
    let mut at = bytes::SEGMENT_HEADER;
    while let Some(frame) = image.read(path, at, 8).and_then(|b| bytes::frame_word(&b)) {
        at += u64::from(frame.length);
    }
    at
}

/// As `inspect::verify`, with a pool that suits so small a database.
fn verify(layout: &Layout, world: &World) -> afterimage::Result<VerifyReport> {
    let options = small_options(layout, &world.sim.io()).create(false);
    options.open(&layout.directory)?.verify()
}

/// Whether `verify` reports something; it must not fail in any other way.
fn verify_says(layout: &Layout, image: &Image) -> Result<bool, Mismatch> {
    let world = World::unwatched(layout, image.clone());
    match outcome::run(|| verify(layout, &world)) {
        Outcome::Done(Ok(report)) => Ok(!report.is_clean()),
        Outcome::Done(Err(e)) if e.is_corruption() => names_a_place(&e).map(|()| true),
        Outcome::Done(Err(e)) => Err(Mismatch::new(
            Layer::Refused,
            format!("verify: {e} ({e:?})"),
        )),
        Outcome::Panicked(text) => Err(Mismatch::new(Layer::Assertion, format!("verify: {text}"))),
        Outcome::Crashed => Err(Mismatch::new(
            Layer::Assertion,
            "a crash that nobody ordered",
        )),
    }
}

enum Opened {
    Refused(Error),
    Open(Database, Box<RecoveryReport>),
}

fn open_and_read(
    layout: &Layout,
    subject: &Subject,
    image: &Image,
    file: &str,
    range: &Range<u64>,
) -> Result<End, Mismatch> {
    let world = World::unwatched(layout, image.clone());
    let opened = world.live("open", || {
        match small_options(layout, &world.sim.io())
            .create(false)
            .open(&layout.directory)
        {
            Ok(db) => Ok(Opened::Open(
                db.clone(),
                Box::new(db.recovery_report().clone()),
            )),
            Err(e) => Ok(Opened::Refused(e)),
        }
    })?;
    let (database, report) = match opened {
        Opened::Refused(e) => {
            corruption(&e)?;
            unchanged(layout, image, &world)?;
            return Ok(End::Refused);
        }
        Opened::Open(database, report) => (database, report),
    };
    let read = world.live("read", || {
        Ok(database
            .table(TABLE)
            .and_then(|table| read_typed(&database, &table)))
    })?;
    let rows = match read {
        Ok(rows) => rows,
        Err(e) => {
            corruption(&e)?;
            world.cut_power(database)?;
            return Ok(End::ReadError);
        }
    };
    world.cut_power(database)?;
    judge(layout, subject, &rows, &report, file, range)
}

fn read_typed(database: &Database, table: &afterimage::Table) -> afterimage::Result<Rows> {
    let mut tx = database.begin();
    let rows = tx
        .scan::<[u8], _>(table, ..)?
        .collect::<afterimage::Result<Rows>>()?;
    drop(tx);
    drop(read_all(database, table));
    Ok(rows)
}

fn judge(
    layout: &Layout,
    subject: &Subject,
    rows: &Rows,
    report: &RecoveryReport,
    file: &str,
    range: &Range<u64>,
) -> Result<End, Mismatch> {
    let Some(k) = subject.states.iter().position(|(_, s)| s == rows) else {
        return Err(Mismatch::new(
            Layer::Model,
            format!("the rows are no prefix of the commits: {}", Brief(rows)),
        ));
    };
    if k + 1 == subject.states.len() {
        return Ok(End::AllThere);
    }
    if report.clean || !report.tail.contains("torn") {
        return Err(Mismatch::new(
            Layer::Model,
            format!("the tail was cut off, and the report does not say so: {report}"),
        ));
    }
    if k + 1 >= subject.acknowledged {
        return Ok(End::TailCut);
    }
    let position = number_of(layout, file).map(|n| n * layout.segment_bytes + range.start);
    let lost = subject.states[k + 1].0;
    let proven = proven(layout, &subject.image, Some((file, range))).0;
    if position.is_none_or(|p| p < proven) || lost < proven {
        return Err(Mismatch::new(
            Layer::Model,
            format!(
                "silent loss: commits from LSN {lost} on are gone, and the log was provably durable up to {proven}"
            ),
        ));
    }
    Ok(End::TailCut)
}

fn corruption(error: &Error) -> Result<(), Mismatch> {
    if error.is_corruption()
        || matches!(
            error,
            Error::Unsupported { .. } | Error::NotADatabase { .. }
        )
    {
        return names_a_place(error);
    }
    Err(Mismatch::new(
        Layer::Refused,
        format!("not an error of corruption: {error} ({error:?})"),
    ))
}

/// An error of corruption names a file, and where in it.
fn names_a_place(error: &Error) -> Result<(), Mismatch> {
    let text = error.to_string();
    let names = ["control", "pages", "doublewrite", ".log", "db"]
        .iter()
        .any(|f| text.contains(f));
    if names {
        Ok(())
    } else {
        Err(Mismatch::new(
            Layer::Refused,
            format!("the error does not say where: {text}"),
        ))
    }
}

/// A refused open has changed no byte, but for the lock file.
fn unchanged(layout: &Layout, before: &Image, world: &World) -> Result<(), Mismatch> {
    let after = world.sim.snapshot().page_cache();
    let lock = layout.path("lock");
    let list = |image: &Image| -> Vec<(String, u64)> {
        image
            .files()
            .filter(|(p, _)| *p != lock)
            .map(|(p, l)| (p.to_string(), l))
            .collect()
    };
    let files = list(before);
    if files != list(&after) {
        return Err(Mismatch::new(
            Layer::Oracle,
            "a refused open added, removed or resized a file",
        ));
    }
    for (path, length) in files {
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        if before.read(&path, 0, whole) != after.read(&path, 0, whole) {
            return Err(Mismatch::new(
                Layer::Oracle,
                format!("a refused open changed {path}"),
            ));
        }
    }
    Ok(())
}

/// Each file of a clean stop, put behind the next one.
fn older_files(layout: &Layout, older: &Subject, counts: &mut Counts) -> Result<(), Mismatch> {
    if !older.closed {
        return Ok(());
    }
    let world = World::of(layout, Sim::from_image(5, &older.image));
    let (database, table, rows) = world.live("the next life", || {
        let database = told(small_options(layout, &world.sim.io()).open(&layout.directory))?;
        let table = told(database.table(TABLE))?;
        for n in (0..29).step_by(4) {
            told(database.put(&table, format!("r{n:02}").as_bytes(), &[b'n'; 40]))?;
        }
        let rows = told(read_typed(&database, &table))?;
        Ok((database, table, rows))
    })?;
    let newer = Subject {
        name: "older",
        image: world.close(Engine::with(database, table))?,
        states: vec![(0, rows)],
        acknowledged: 1,
        ..*older
    };
    for (file, length) in files(layout, &older.image) {
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        let mut image = newer.image.clone();
        image.set_len(&file, length);
        image.write_bytes(
            &file,
            0,
            &older.image.read(&file, 0, whole).unwrap_or_default(),
        );
        let end = open_and_read(layout, &newer, &image, &file, &(0..length))?;
        counts.add(&newer, short(&file), end);
    }
    Ok(())
}

fn both_control_copies(
    layout: &Layout,
    subject: &Subject,
    counts: &mut Counts,
) -> Result<(), Mismatch> {
    let file = layout.path("control");
    for offset in (0..512).step_by(7) {
        let mut image = subject.image.clone();
        for copy in [0, 4096] {
            let byte = image
                .read(&file, copy + offset, 1)
                .and_then(|b| b.first().copied())
                .unwrap_or(0);
            image.write_bytes(&file, copy + offset, &[byte ^ 0x10]);
        }
        let end = open_and_read(layout, subject, &image, &file, &(offset..offset + 1))?;
        if end != End::Refused && offset < 64 {
            return Err(Mismatch::new(
                Layer::Model,
                format!("both control copies are bad at offset {offset}, and it opened"),
            ));
        }
        counts.add(subject, "control twice", end);
    }
    Ok(())
}
