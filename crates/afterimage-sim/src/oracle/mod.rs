//! The oracles: they watch the simulated disk and object when a rule of write-ahead logging is broken, whether or not it does harm in this run.
//!
//! They trust nothing that the engine believes: they read the bytes on the simulated disk with the little code of [`crate::bytes`], and ask the disk, not the
//! engine, what is durable.
//!
//! | rule | it is broken when |
//! |---|---|
//! | [`wal`] | a page image is written to `pages` or `doublewrite`, and the frame that its page LSN names is not wholly durable |
//! | [`ack`] | a promise "durable up to here" is given, and a byte of the log below it, or a name on its path, is not durable |
//! | [`doublewrite`] | a home that was written before is overwritten without a durable copy of the same image listed in `doublewrite`, and not by a write that the disk never tears; or `doublewrite` is overwritten while a home of its batch is not durable; or lists an older copy of what is written without |
//! | [`truncation`] | a segment is removed or renamed that recovery, from either control copy, would read |
//! | [`silence`] | anything is written after the engine said that it stopped; or an open that is refused has written |

pub mod ack;
pub mod doublewrite;
pub mod segments;
pub mod silence;
pub mod truncation;
pub mod wal;

use crate::choices::mix;
use crate::failure::{Layer, Mismatch};
use afterimage_io::sim::{DiskState, Event, Observer};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the oracles must know of the database that they watch.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Its directory.
    pub directory: String,
    /// Bytes in a page.
    pub page_size: usize,
    /// Bytes in a segment.
    pub segment_bytes: u64,
    /// How many threads may be inside a call at the moment when the engine stops.
    pub threads: usize,
    /// Whether the disk never tears the write of a page, where it is asked not to.
    pub atomic: bool,
}

impl Layout {
    /// The small database that the drivers crash: 4 KiB pages, 64 KiB segments, one thread.
    #[must_use]
    pub fn small() -> Layout {
        Layout {
            directory: "db".to_string(),
            page_size: 4096,
            segment_bytes: 64 << 10,
            threads: 1,
            atomic: false,
        }
    }

    /// The same database on the kind of disk that `seed` chooses: one in three never tears the write of a page.
    #[must_use]
    pub fn on_disk_of(&self, seed: u64) -> Layout {
        Layout {
            atomic: mix(seed ^ 0xA70).is_multiple_of(3),
            ..self.clone()
        }
    }

    /// What the machine is told of the disk.
    #[must_use]
    pub fn atomic_writes(&self) -> Option<RangeInclusive<usize>> {
        self.atomic.then_some(self.page_size..=4 * self.page_size)
    }

    /// Whether `path` is that of `file` of the database.
    #[must_use]
    pub fn is(&self, path: &str, file: &str) -> bool {
        path.strip_prefix(self.directory.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            == Some(file)
    }

    /// The path of a file of the database, as the disk names it.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.directory)
    }
}

/// All oracles, watching one life of one machine.
pub struct Oracles {
    layout: Layout,
    state: Mutex<State>,
}

struct State {
    segments: segments::Segments,
    ack: ack::State,
    silence: silence::State,
    objection: Option<String>,
}

impl Oracles {
    /// Oracles for a machine whose disk is `disk` as it boots.
    #[must_use]
    pub fn new(layout: &Layout, disk: &DiskState) -> Oracles {
        let segments = segments::Segments::on(layout, disk);
        let state = State {
            segments,
            ack: ack::State::default(),
            silence: silence::State::default(),
            objection: None,
        };
        Oracles {
            layout: layout.clone(),
            state: Mutex::new(state),
        }
    }

    /// The first objection, if there is one.
    ///
    /// # Errors
    /// The rule that was broken, and where.
    pub fn verdict(&self) -> Result<(), Mismatch> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .objection
            .clone()
            .map_or(Ok(()), |what| Err(Mismatch::new(Layer::Oracle, what)))
    }
}

impl Oracles {
    /// The store was closed and is opened again on the same machine: its silence is over.
    pub fn reopened(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .silence = silence::State::default();
    }
}

impl Observer for Oracles {
    fn event(&self, disk: &DiskState, event: &Event<'_>) {
        if TRACE.load(Ordering::Relaxed) {
            trace(event);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let layout = &self.layout;
        let verdict = wal::check(layout, &state.segments, disk, event)
            .and_then(|()| doublewrite::check(layout, disk, event))
            .and_then(|()| state.ack.check(layout, &state.segments, disk, event))
            .and_then(|()| state.silence.check(layout, event))
            .and_then(|()| truncation::check(layout, &state.segments, disk, event));
        state.segments.follow(layout, event);
        if let Err(objection) = verdict {
            state.objection.get_or_insert(objection);
        }
    }
}

/// Whether every event is told on stderr: for a person who looks into a replay.
pub static TRACE: AtomicBool = AtomicBool::new(false);

fn trace(event: &Event<'_>) {
    match *event {
        Event::Written { path, offset, data } => {
            eprintln!("  write    {path} {offset}+{}", data.len())
        }
        Event::WrittenDurably { path, offset, data } => {
            eprintln!("  write!   {path} {offset}+{}", data.len())
        }
        Event::WrittenAtomically { path, offset, data } => {
            eprintln!("  write1   {path} {offset}+{}", data.len())
        }
        ref other => eprintln!("  {other:?}"),
    }
}

/// What a write event wrote, and where.
fn written<'a>(event: &Event<'a>) -> Option<(&'a str, u64, &'a [u8])> {
    match *event {
        Event::Written { path, offset, data }
        | Event::WrittenDurably { path, offset, data }
        | Event::WrittenAtomically { path, offset, data } => Some((path, offset, data)),
        _ => None,
    }
}
