//! The read-only look at a log before it is opened: where it ends, and whether it may end there.
//!
//! It walks forward from a known place to the first bad frame, and then looks for proof that the log was durable
//! beyond it: watermarks, found by searching for their magic number in the rest of this segment and in every file
//! with a higher number, whatever state its header is in; the control file; and whatever the caller knows. The
//! decision itself is the table in `tail`. Nothing is written here, so a refusal destroys no evidence.

use std::path::Path;

use afterimage_io::{File, Io};

use crate::control::Control;
use crate::cursor::{Cursor, Step};
use crate::error::{Error, Result};
use crate::files::{Files, SegmentInfo, damage};
use crate::frame;
use crate::lsn::Lsn;
use crate::options::{HEADER_BYTES, check_segment_bytes};
use crate::segment::Header;
use crate::tail::{Proof, Seen, Stop, Tail, Verdict, decide};
use crate::walk::{Walk, Witness, walk};

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

impl Examination {
    /// How many segments [`Log::resume`](crate::Log::resume) writes anew: those that hold log which nothing proves to have been
    /// durable, and the last one. None after a clean stop.
    #[must_use]
    pub fn unproven_segments(&self) -> u64 {
        match self.verdict {
            Tail::Clean => 0,
            _ => self.unproven().count() as u64,
        }
    }

    pub(crate) fn unproven(&self) -> impl Iterator<Item = &SegmentInfo> {
        let last = self.segments.last().map(|info| info.number);
        // Proven up to its very end is not enough: END stands behind it, and may have come with the next batch.
        self.segments
            .iter()
            .filter(move |info| Some(info.number) == last || info.end >= self.watermark)
    }
}

/// See `Log::examine`.
pub(crate) fn examine<W: Witness>(
    io: &Io,
    dir: &Path,
    control: &Control,
    scan_from: Lsn,
    proofs: &[(Proof, Lsn)],
    witness: W,
) -> Result<(Examination, W)> {
    check_segment_bytes(control.segment_bytes)?;
    let files = Files::read(io, dir, control)?;
    examine_files(&files, control, scan_from, proofs, witness)
}

pub(crate) fn examine_files<W: Witness>(
    files: &Files,
    control: &Control,
    scan_from: Lsn,
    proofs: &[(Proof, Lsn)],
    witness: W,
) -> Result<(Examination, W)> {
    let walk = walk(files, scan_from, witness)?;
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
    let examination = Examination {
        end: walk.end,
        watermark: proven.min(walk.end),
        verdict,
        segments,
        records: walk.records,
        last_time: walk.last_time,
    };
    Ok((examination, walk.witness))
}

fn keep_higher(best: &mut Option<(Proof, Lsn)>, proof: Proof, lsn: Lsn) {
    if best.as_ref().is_none_or(|(_, b)| lsn > *b) {
        *best = Some((proof, lsn));
    }
}

/// How far the watermarks between `from` and the last whole frame prove the log to have been durable.
pub(crate) fn proven(files: &Files, from: Lsn) -> Result<Lsn> {
    walk(files, from, ()).map(|walk| walk.watermark)
}

/// The segments that can be read from `from` on; the last one ends where reading stops.
pub(crate) fn readable(files: &Files, from: Lsn) -> Result<Vec<SegmentInfo>> {
    walk(files, from, ()).map(|walk| walk.segments)
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

fn torn<W>(files: &Files, walk: &Walk<W>, leftover: Option<Lsn>) -> Tail {
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
