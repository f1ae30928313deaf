//! The walk along a log that is not open: from frame to frame and from segment to segment, to the first place where there is no way on.
//!
//! Every segment says where its first frame stands, and its frames prove that they are its own. So several segments are walked at the same
//! time, and what was found is put together in the order of the log; only there is it seen which of them belong to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use afterimage_io::JoinHandle;
use afterimage_io::sync::atomic::{AtomicBool, Ordering};
use afterimage_io::sync::{Condvar, Mutex};

use crate::cursor::{Cursor, Step};
use crate::error::Result;
use crate::files::{Files, SegmentInfo, damage, unusable};
use crate::frame::{self, Fault, FrameKind};
use crate::lsn::Lsn;
use crate::options::HEADER_BYTES;
use crate::reader::FrameView;
use crate::tail::Found;

/// More threads than this would wait for the disk, or for memory.
const THREADS_MAX: usize = 16;

/// Sees the records of a log that is examined ([`Log::examine_with`](crate::Log::examine_with)).
pub trait Witness: Send + 'static {
    /// Sees a record.
    fn see(&mut self, frame: FrameView<'_>);

    /// Another one, who has seen nothing, for a later part of the log that is looked at while this one still looks at its own. None
    /// where one is to see everything, record by record.
    fn another(&self) -> Option<Self>
    where
        Self: Sized;

    /// Takes in what another one has seen of the part that begins where this one's ends.
    fn absorb(&mut self, later: Self)
    where
        Self: Sized;
}

/// Whoever wants to know only whether the log is whole.
impl Witness for () {
    fn see(&mut self, _: FrameView<'_>) {}

    fn another(&self) -> Option<()> {
        Some(())
    }

    fn absorb(&mut self, (): ()) {}
}

/// The place where the walk stopped, and what was learned on the way.
pub(crate) struct Walk<W> {
    pub(crate) end: Lsn,
    pub(crate) found: Found,
    pub(crate) fault: String,
    /// How long the frame that could not be read says it is.
    pub(crate) claimed: u64,
    pub(crate) segments: Vec<SegmentInfo>,
    pub(crate) records: u64,
    pub(crate) last_time: u64,
    pub(crate) watermark: Lsn,
    pub(crate) witness: W,
}

/// One segment, walked to its end.
struct Part {
    end: Lsn,
    /// Whether it is closed there; if not, what stands there instead, why that is no frame, and how long it says it is.
    closed: bool,
    found: Found,
    fault: String,
    claimed: u64,
    records: u64,
    last_time: u64,
    watermark: Option<Lsn>,
}

/// Walks from `from` along frames and segments to the first place where there is no way on, and shows each record to the witness.
pub(crate) fn walk<W: Witness>(files: &Files, from: Lsn, witness: W) -> Result<Walk<W>> {
    let (mut number, offset) = (
        from.get() / files.segment_bytes,
        from.get() % files.segment_bytes,
    );
    let missing = |what: String| damage(files, from, what);
    if offset < HEADER_BYTES {
        return Err(missing(
            "no record can stand there, but one is to be read".into(),
        ));
    }
    let mut header = match files.segments.get(&number) {
        None => return Err(missing("the segment is missing".into())),
        Some(file) => file
            .header
            .as_ref()
            .ok_or_else(|| unusable(files, from, file.why_not))?,
    };
    let mut walk = Walk {
        end: from,
        found: Found::Nothing,
        fault: String::new(),
        claimed: 0,
        segments: Vec::new(),
        records: 0,
        last_time: 0,
        watermark: from,
        witness,
    };
    let mut offset = offset;
    let together = Together::start(files, number, offset, &walk.witness);
    loop {
        let part = match &together {
            Some(together) => {
                let (part, witness) = together.part(number)?;
                walk.witness.absorb(witness);
                part
            }
            None => {
                let never = AtomicBool::new(false);
                walk_segment(files, number, offset, &mut walk.witness, &never)?
            }
        };
        walk.end = part.end;
        walk.records += part.records;
        walk.last_time = walk.last_time.max(part.last_time);
        walk.watermark = part
            .watermark
            .map_or(walk.watermark, |lsn| lsn.max(walk.watermark));
        walk.segments.push(SegmentInfo {
            number,
            epoch: header.epoch,
            first: Lsn::at(header.first_lsn()),
            end: walk.end,
            path: files.path(number),
        });
        if !part.closed {
            (walk.found, walk.fault, walk.claimed) = (part.found, part.fault, part.claimed);
            return Ok(walk);
        }
        match files.successor(number, walk.end.get()) {
            Some(next) => {
                header = next;
                number = next.number;
                offset = HEADER_BYTES;
                walk.end = Lsn::at(next.first_lsn());
            }
            None => {
                walk.found = Found::Closed;
                walk.fault = no_successor(files, number);
                return Ok(walk);
            }
        }
    }
}

/// Why a closed segment is the last one that can be read.
fn no_successor(files: &Files, number: u64) -> String {
    let next = files.segments.range(number + 1..).next();
    match next.filter(|(_, f)| f.header.is_none() && !f.why_not.is_empty()) {
        Some((next, f)) => format!(
            "the segment is closed and segment {next} does not follow it: {}",
            f.why_not
        ),
        None => "the segment is closed and none follows it".into(),
    }
}

/// Walks one segment to its end, or until nobody wants to know.
fn walk_segment<W: Witness>(
    files: &Files,
    number: u64,
    offset: u64,
    witness: &mut W,
    unwanted: &AtomicBool,
) -> Result<Part> {
    let seed = frame::seed(&files.identity, number);
    let file = files.open(number)?;
    let mut cursor = Cursor::new(file, number, seed, files.segment_bytes, offset);
    // The segment behind this one most likely follows it.
    let next = files.segments.range(number + 1..).next();
    if let Some(Ok(next)) = next.map(|(next, _)| files.open(*next)) {
        next.will_read(0, files.segment_bytes);
    }
    let mut part = Part {
        end: cursor.lsn(),
        closed: false,
        found: Found::Nothing,
        fault: String::new(),
        claimed: 0,
        records: 0,
        last_time: 0,
        watermark: None,
    };
    while !unwanted.load(Ordering::Relaxed) {
        part.end = cursor.lsn();
        match cursor.step()? {
            Step::Frame(here) => {
                part.last_time = part.last_time.max(here.head.time.unwrap_or(0));
                match here.head.kind {
                    FrameKind::Watermark => {
                        let said = frame::read_watermark(cursor.payload(&here), cursor.seed);
                        part.watermark = part.watermark.max(said.map(|(lsn, _)| lsn));
                    }
                    FrameKind::Data | FrameKind::Batch => {
                        part.records += 1;
                        witness.see(FrameView {
                            lsn: here.lsn,
                            end: here.end,
                            payload: cursor.payload(&here),
                        });
                    }
                    FrameKind::Pad | FrameKind::End => {}
                }
            }
            Step::Closed => {
                part.closed = true;
                break;
            }
            Step::Bad(fault) => {
                if fault != Fault::Nothing {
                    part.found = Found::Bad;
                }
                if let Fault::Length(len) = fault {
                    part.claimed = u64::from(len);
                }
                part.fault = fault.to_string();
                break;
            }
        }
    }
    Ok(part)
}

/// Several who walk segments, this thread one of them.
struct Together<W> {
    shared: Arc<Shared<W>>,
    threads: Vec<JoinHandle>,
}

struct Shared<W> {
    files: Files,
    /// Where the frames that are wanted begin in the first segment.
    offset: u64,
    /// Segments that may belong to the log, in its order.
    numbers: Vec<u64>,
    /// Segments that may be walked before they are asked for.
    ahead: usize,
    state: Mutex<State<W>>,
    changed: Condvar,
    /// The end is found.
    unwanted: AtomicBool,
}

struct State<W> {
    /// Has seen nothing; others are made after it.
    pattern: W,
    /// How many of the numbers have been begun with.
    begun: usize,
    /// Which of them is asked for next.
    asked: usize,
    /// What was found; none where somebody has panicked.
    walked: BTreeMap<u64, Option<Result<(Part, W)>>>,
}

impl<W: Witness> Together<W> {
    /// None where one has to do it, or can as well.
    fn start(files: &Files, first: u64, offset: u64, witness: &W) -> Option<Together<W>> {
        let usable = |(number, file): (&u64, &crate::files::SegmentFile)| {
            file.header.is_some().then_some(*number)
        };
        let numbers: Vec<u64> = files.segments.range(first..).filter_map(usable).collect();
        let threads = files.io.processors().min(THREADS_MAX).min(numbers.len());
        let pattern = witness.another().filter(|_| threads > 1)?;
        let shared = Arc::new(Shared {
            files: files.clone(),
            offset,
            numbers,
            ahead: 2 * threads,
            state: Mutex::new(
                &files.io,
                State {
                    pattern,
                    begun: 0,
                    asked: 0,
                    walked: BTreeMap::new(),
                },
            ),
            changed: Condvar::new(&files.io),
            unwanted: AtomicBool::new(false),
        });
        let mut together = Together {
            shared,
            threads: Vec::new(),
        };
        for _ in 1..threads {
            let shared = Arc::clone(&together.shared);
            let spawned = files.io.spawn("afterimage-examine", move || shared.live());
            // Where there is no thread to be had, there are fewer.
            together.threads.extend(spawned.ok());
        }
        Some(together)
    }

    /// What was found in this segment; the numbers asked for ascend.
    fn part(&self, number: u64) -> Result<(Part, W)> {
        let shared = &*self.shared;
        let asked = shared.numbers.binary_search(&number);
        let asked = asked.expect("SCAN-2: a successor is a segment with a header");
        shared.state.lock().asked = asked;
        shared.changed.notify_all();
        loop {
            let mut state = shared.state.lock();
            if let Some(walked) = state.walked.remove(&number) {
                return walked.expect("a thread that reads the log has panicked");
            }
            match shared.begin(&mut state) {
                Some((next, witness)) => {
                    drop(state);
                    shared.walk(next, witness);
                }
                None => drop(shared.changed.wait(state)),
            }
        }
    }
}

impl<W: Witness> Shared<W> {
    /// A thread's life.
    fn live(&self) {
        let mut state = self.state.lock();
        while !self.unwanted.load(Ordering::Relaxed) && state.begun < self.numbers.len() {
            match self.begin(&mut state) {
                Some((next, witness)) => {
                    drop(state);
                    self.walk(next, witness);
                    state = self.state.lock();
                }
                None => state = self.changed.wait(state),
            }
        }
    }

    /// The next segment that somebody can begin with, and its witness.
    fn begin(&self, state: &mut State<W>) -> Option<(u64, W)> {
        // Segments that do not belong to the log are passed over.
        let next = state.begun.max(state.asked);
        let number = *self.numbers.get(next)?;
        if next >= state.asked + self.ahead {
            return None;
        }
        let witness = state.pattern.another()?;
        state.begun = next + 1;
        Some((number, witness))
    }

    fn walk(&self, number: u64, mut witness: W) {
        let mut leaving = Leaving {
            shared: self,
            number,
            walked: None,
        };
        let offset = match number == self.numbers[0] {
            true => self.offset,
            false => HEADER_BYTES,
        };
        let walked = walk_segment(&self.files, number, offset, &mut witness, &self.unwanted);
        leaving.walked = Some(walked.map(|part| (part, witness)));
    }
}

/// However somebody comes back from a segment, nobody waits for it any more.
struct Leaving<'a, W> {
    shared: &'a Shared<W>,
    number: u64,
    walked: Option<Result<(Part, W)>>,
}

impl<W> Drop for Leaving<'_, W> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.walked.insert(self.number, self.walked.take());
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl<W> Drop for Together<W> {
    fn drop(&mut self) {
        self.shared.unwanted.store(true, Ordering::Relaxed);
        // Under the lock: whoever has not seen it yet is not to fall asleep over it.
        drop(self.shared.state.lock());
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // One that has panicked was found out when its segment was asked for, or did not matter.
            let _ = thread.join();
        }
    }
}
