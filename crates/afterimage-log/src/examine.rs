//! The read-only look at a log before it is opened: where it ends, and whether it may end there.
//!
//! It walks forward from a known place to the first bad frame, and then looks for proof that the log was durable
//! beyond it: watermarks, found by searching for their magic number in the rest of this segment and in every file
//! with a higher number, whatever state its header is in; the control file; and whatever the caller knows. The
//! decision itself is the table in `tail`. Nothing is written here, so a refusal destroys no evidence.

use std::path::{Path, PathBuf};

use afterimage_io::{File, Io};

use crate::control::Control;
use crate::cursor::{Cursor, Step};
use crate::error::{Error, Result};
use crate::files::Files;
use crate::frame::{self, Fault, FrameKind};
use crate::lsn::Lsn;
use crate::options::{HEADER_BYTES, check_segment_bytes};
use crate::reader::FrameView;
use crate::segment::Header;
use crate::tail::{Found, Proof, Seen, Stop, Tail, Verdict, decide};

/// One segment of a log, as found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The segment's number.
    pub number: u64,
    /// The epoch it was begun in.
    pub epoch: u64,
    /// The position of its first frame.
    pub first: Lsn,
    /// The exclusive end of its last frame, END not counted.
    pub end: Lsn,
    /// The file.
    pub path: PathBuf,
}

/// The result of a read-only look at a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Examination {
    /// The exclusive end of the log: the first position that holds no whole record.
    pub end: Lsn,
    /// Everything before this is proven to have been durable. Never beyond `end`.
    pub watermark: Lsn,
    /// How the log ends.
    pub verdict: Tail,
    /// The segments that hold log, oldest first; the last one holds `end`.
    pub segments: Vec<SegmentInfo>,
    /// How many records there are from where the look began.
    pub records: u64,
    /// The latest time seen, in microseconds since the Unix epoch; 0 for none.
    pub last_time: u64,
}

/// The place where the walk stopped, and what was learned on the way.
struct Walk {
    end: Lsn,
    found: Found,
    fault: String,
    /// How long the frame that could not be read says it is.
    claimed: u64,
    segments: Vec<SegmentInfo>,
    records: u64,
    last_time: u64,
    watermark: Lsn,
}

/// See `Log::examine`.
pub(crate) fn examine(
    io: &Io,
    dir: &Path,
    control: &Control,
    scan_from: Lsn,
    proofs: &[(Proof, Lsn)],
    see: &mut dyn FnMut(FrameView<'_>),
) -> Result<Examination> {
    check_segment_bytes(control.segment_bytes)?;
    let files = Files::read(io, dir, control)?;
    examine_files(&files, control, scan_from, proofs, see)
}

pub(crate) fn examine_files(
    files: &Files,
    control: &Control,
    scan_from: Lsn,
    proofs: &[(Proof, Lsn)],
    see: &mut dyn FnMut(FrameView<'_>),
) -> Result<Examination> {
    let walk = walk(files, scan_from, see)?;
    let mut best: Option<(Proof, Lsn)> = control.durable_lsn.map(|lsn| (Proof::Control, lsn));
    for (proof, lsn) in proofs {
        keep_higher(&mut best, proof.clone(), *lsn);
    }
    let mut leftover = None;
    if control.clean_end != Some(walk.end) {
        for (at, durable) in search_beyond(files, walk.end)? {
            leftover = leftover.max(Some(at));
            keep_higher(&mut best, Proof::Watermark, durable);
        }
    }
    let stop = match control.clean_end {
        None => Stop::Unclean,
        Some(end) if end == walk.end => Stop::CleanHere,
        Some(_) => Stop::CleanElsewhere,
    };
    let proof = best.as_ref().filter(|(_, lsn)| *lsn > walk.end);
    let seen = Seen {
        found: walk.found,
        stop,
        proof: proof.is_some(),
        leftover: leftover.is_some(),
    };
    let verdict = match decide(seen) {
        Verdict::Clean => Tail::Clean,
        Verdict::Open => Tail::Open,
        Verdict::Torn => torn(files, &walk, leftover),
        Verdict::DamageProven => {
            let what = proof.map(|(who, lsn)| {
                format!(
                    "{}; {who} proves that the log was durable up to LSN {lsn}",
                    walk.fault
                )
            });
            return Err(damage(files, walk.end, what.unwrap_or_default()));
        }
        Verdict::DamageCleanEnd => {
            let end = control.clean_end.map_or(0, Lsn::get);
            let what = format!(
                "{}; but the log was stopped cleanly at LSN {end}",
                walk.fault
            );
            return Err(damage(files, walk.end, what));
        }
    };
    let proven = best.map_or(walk.watermark, |(_, lsn)| lsn.max(walk.watermark));
    let mut segments = older_segments(files, &walk.segments);
    segments.extend(walk.segments);
    Ok(Examination {
        end: walk.end,
        watermark: proven.min(walk.end),
        verdict,
        segments,
        records: walk.records,
        last_time: walk.last_time,
    })
}

fn keep_higher(best: &mut Option<(Proof, Lsn)>, proof: Proof, lsn: Lsn) {
    if best.as_ref().is_none_or(|(_, b)| lsn > *b) {
        *best = Some((proof, lsn));
    }
}

/// How far the watermarks between `from` and the last whole frame prove the log to have been durable.
pub(crate) fn proven(files: &Files, from: Lsn) -> Result<Lsn> {
    walk(files, from, &mut |_| ()).map(|walk| walk.watermark)
}

/// The segments that can be read from `from` on; the last one ends where reading stops.
pub(crate) fn readable(files: &Files, from: Lsn) -> Result<Vec<SegmentInfo>> {
    walk(files, from, &mut |_| ()).map(|walk| walk.segments)
}

/// Every valid watermark of a segment from `offset` on: its own place, and what it says.
pub(crate) fn watermarks(files: &Files, number: u64, offset: u64) -> Result<Vec<(Lsn, Lsn)>> {
    let mut found = Vec::new();
    search_segment(files, number, offset, &mut found)?;
    Ok(found)
}

/// What there is of the log before `at`, whatever stands behind it: for a cut, which may have been begun before.
pub(crate) fn cut(files: &Files, at: Lsn) -> Result<Examination> {
    let number = at.get() / files.segment_bytes;
    let missing = || {
        damage(
            files,
            at,
            "the log is to be cut there, and cannot be read".into(),
        )
    };
    let header = files.header(number).ok_or_else(missing)?;
    let last = SegmentInfo {
        number,
        epoch: header.epoch,
        first: Lsn::at(header.first_lsn()),
        end: at,
        path: files.path(number),
    };
    let mut segments = older_segments(files, std::slice::from_ref(&last));
    segments.push(last);
    let (mut records, mut last_time) = (0, 0);
    // The last two: times grow, and the last segment may hold none.
    for segment in &segments[segments.len().saturating_sub(2)..] {
        let seed = frame::seed(&files.identity, segment.number);
        let file = files.open(segment.number)?;
        let mut cursor = Cursor::new(
            file,
            segment.number,
            seed,
            files.segment_bytes,
            HEADER_BYTES,
        );
        while cursor.lsn() < segment.end {
            let Step::Frame(here) = cursor.step()? else {
                return Err(missing());
            };
            records += u64::from(here.head.kind.holds_records());
            last_time = last_time.max(here.head.time.unwrap_or(0));
        }
        if cursor.lsn() != segment.end {
            return Err(missing());
        }
    }
    Ok(Examination {
        end: at,
        watermark: at,
        verdict: Tail::Open,
        segments,
        records,
        last_time,
    })
}

/// Walks from `from` along frames and segments to the first place where there is no way on, and shows each record.
fn walk(files: &Files, from: Lsn, see: &mut dyn FnMut(FrameView<'_>)) -> Result<Walk> {
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
    };
    let mut offset = offset;
    loop {
        let seed = frame::seed(&files.identity, number);
        let mut cursor = Cursor::new(
            files.open(number)?,
            number,
            seed,
            files.segment_bytes,
            offset,
        );
        // The segment behind this one most likely follows it.
        let next = files.segments.range(number + 1..).next();
        if let Some(Ok(next)) = next.map(|(next, _)| files.open(*next)) {
            next.will_read(0, files.segment_bytes);
        }
        let closed = walk_segment(&mut walk, &mut cursor, see)?;
        walk.segments.push(SegmentInfo {
            number,
            epoch: header.epoch,
            first: Lsn::at(header.first_lsn()),
            end: walk.end,
            path: files.path(number),
        });
        if !closed {
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

/// Walks to the end of one segment; answers whether it is closed.
fn walk_segment(
    walk: &mut Walk,
    cursor: &mut Cursor,
    see: &mut dyn FnMut(FrameView<'_>),
) -> Result<bool> {
    loop {
        walk.end = cursor.lsn();
        match cursor.step()? {
            Step::Frame(here) => {
                walk.last_time = walk.last_time.max(here.head.time.unwrap_or(0));
                match here.head.kind {
                    FrameKind::Watermark => {
                        let said = frame::read_watermark(cursor.payload(&here), cursor.seed);
                        walk.watermark = walk
                            .watermark
                            .max(said.map_or(walk.watermark, |(lsn, _)| lsn));
                    }
                    FrameKind::Data | FrameKind::Batch => {
                        walk.records += 1;
                        see(FrameView {
                            lsn: here.lsn,
                            end: here.end,
                            payload: cursor.payload(&here),
                        });
                    }
                    FrameKind::Pad | FrameKind::End => {}
                }
            }
            Step::Closed => return Ok(true),
            Step::Bad(fault) => {
                walk.found = if fault == Fault::Nothing {
                    Found::Nothing
                } else {
                    Found::Bad
                };
                if let Fault::Length(len) = fault {
                    walk.claimed = u64::from(len);
                }
                walk.fault = fault.to_string();
                return Ok(false);
            }
        }
    }
}

/// The segments before the first one walked, as far back as the links lead. Where a header is damaged that nothing but the
/// way back needs, its successor knows the segment's number and end, and the way goes on at the next older file: what is
/// left of the log can still be read, and nothing of it goes without a word.
fn older_segments(files: &Files, walked: &[SegmentInfo]) -> Vec<SegmentInfo> {
    let mut older = Vec::new();
    let mut header = walked.first().and_then(|s| files.header(s.number));
    while let Some(h) = header {
        let end = Lsn::new(h.previous_end);
        let there = files.segments.contains_key(&h.previous) && h.previous < h.number;
        let Some(end) = end.filter(|_| there) else {
            break;
        };
        let previous = files.header(h.previous);
        older.push(older_segment(files, h.previous, end, previous));
        header = previous;
        if previous.is_none() {
            let before = files.segments.range(..h.previous).rev();
            header = before.filter_map(|(_, file)| file.header.as_ref()).next();
            if let Some(h) = header {
                let end = Lsn::at(h.first_lsn());
                older.push(older_segment(files, h.number, end, header));
            }
        }
    }
    older.reverse();
    older
}

fn older_segment(files: &Files, number: u64, end: Lsn, header: Option<&Header>) -> SegmentInfo {
    SegmentInfo {
        number,
        epoch: header.map_or(0, |header| header.epoch),
        first: Lsn::at(number * files.segment_bytes + HEADER_BYTES),
        end,
        path: files.path(number),
    }
}

/// Every valid watermark beyond `end`: its own place, and what it says.
fn search_beyond(files: &Files, end: Lsn) -> Result<Vec<(Lsn, Lsn)>> {
    let mut found = Vec::new();
    let here = end.get() / files.segment_bytes;
    for &number in files.segments.range(here..).map(|(number, _)| number) {
        let from = if number == here {
            end.get() % files.segment_bytes
        } else {
            HEADER_BYTES
        };
        search_segment(files, number, from, &mut found)?;
    }
    Ok(found)
}

fn search_segment(
    files: &Files,
    number: u64,
    from: u64,
    found: &mut Vec<(Lsn, Lsn)>,
) -> Result<()> {
    const CHUNK: u64 = 256 << 10;
    let file = files.open(number)?;
    let seed = frame::seed(&files.identity, number);
    let magic = frame::watermark_magic(seed).to_le_bytes();
    let base = number.saturating_mul(files.segment_bytes);
    let mut at = from;
    let mut bytes = vec![0; CHUNK.min(files.segment_bytes) as usize];
    while at < files.segment_bytes {
        let n = read_some(&file, at, &mut bytes)?;
        let window = &bytes[..n];
        if n < frame::WATERMARK {
            break;
        }
        // A match's frame begins 8 bytes before it; frames that the chunk cuts are met again in the next one.
        for start in positions(&window[frame::HEAD..], magic) {
            let Some(whole) = window.get(start..start + frame::WATERMARK) else {
                continue;
            };
            let lsn = base + at + start as u64;
            let valid = frame::is_watermark_word(whole) && frame::decode(whole, lsn, seed).is_ok();
            if let Some((durable, _)) =
                frame::read_watermark(&whole[frame::HEAD..], seed).filter(|_| valid)
            {
                found.push((Lsn::at(lsn), durable));
            }
        }
        at += (n - frame::WATERMARK + 1) as u64;
    }
    Ok(())
}

/// Where the eight bytes occur. Most of what is searched is zeroes or other records: a block of which no two neighbours are the first two is left
/// out, which takes a few instructions for all of it.
fn positions(bytes: &[u8], magic: [u8; 8]) -> impl Iterator<Item = usize> + '_ {
    const BLOCK: usize = 64;
    let starts = bytes.len().saturating_sub(magic.len() - 1);
    let possible = move |from: &usize| {
        let pairs = &bytes[*from..bytes.len().min(from + BLOCK + 1)];
        let both = pairs.iter().zip(&pairs[1..]);
        both.fold(false, |hit, (a, b)| {
            hit | ((*a == magic[0]) & (*b == magic[1]))
        })
    };
    (0..starts)
        .step_by(BLOCK)
        .filter(possible)
        .flat_map(move |from| from..starts.min(from + BLOCK))
        .filter(move |at| bytes[*at..*at + magic.len()] == magic)
}

/// Reads as much as there is, up to the buffer's length.
fn read_some(file: &File, at: u64, bytes: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(at + filled as u64, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", file.path(), at, e)),
        }
    }
    Ok(filled)
}

fn torn(files: &Files, walk: &Walk, leftover: Option<Lsn>) -> Tail {
    let same =
        leftover.filter(|l| l.get() / files.segment_bytes == walk.end.get() / files.segment_bytes);
    let behind = same.map_or(0, |l| l.get() + frame::WATERMARK as u64 - walk.end.get());
    let discarded = behind.max(walk.claimed).max(frame::HEAD as u64);
    Tail::Torn {
        at: walk.end,
        reason: walk.fault.clone(),
        discarded,
    }
}

/// The refusal of a segment whose header, at the file's first byte, is damaged.
pub(crate) fn unusable(files: &Files, at: Lsn, why: &str) -> Error {
    let mut error = damage(files, at, format!("the segment cannot be used: {why}"));
    if let Error::Corruption { offset, .. } = &mut error {
        *offset = 0;
    }
    error
}

/// The refusal, with the place and what can be done.
pub(crate) fn damage(files: &Files, at: Lsn, what: String) -> Error {
    let (number, offset) = (
        at.get() / files.segment_bytes,
        at.get() % files.segment_bytes,
    );
    Error::Corruption {
        lsn: at,
        path: files.path(number),
        offset,
        what,
        advice: format!(
            "Nothing was changed. Put segment {number} back from an archive, a backup or a standby and open again; \
             keep a copy of the damaged file, it is evidence."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::positions;

    #[test]
    fn a_magic_number_is_found_wherever_it_begins() {
        let magic = *b"magicnum";
        for len in [0, 7, 8, 63, 64, 65, 71, 72, 130, 200] {
            for at in 0..len {
                let mut bytes = vec![b'm'; len];
                let end = len.min(at + magic.len());
                bytes[at..end].copy_from_slice(&magic[..end - at]);
                let slow: Vec<usize> = (0..len)
                    .filter(|n| bytes[*n..].starts_with(&magic))
                    .collect();
                assert_eq!(
                    positions(&bytes, magic).collect::<Vec<_>>(),
                    slow,
                    "{at} of {len}"
                );
            }
        }
    }
}
