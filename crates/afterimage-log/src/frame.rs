//! The frame: how one record, watermark or END stands in a segment.
//!
//! `word (4) | checksum (4) | time (8, if timed) | payload`, without alignment; the word is length + kind + flags.
//! The checksum is crc32c(word, payload) folded with a hash of the position, the segment's seed and the time. The
//! expensive half is therefore done before the position is known, and a frame left over from another position,
//! segment, timeline or database never validates; nor do zeroes, whose length is too small. A length is bounded
//! before it is believed. Bytes: `docs/format.md`, "Frames" and "Watermarks".

use afterimage_io::planted::{self, Bug};
use crc_fast::{CrcAlgorithm, Digest, checksum};

use crate::bytes::{get_u32, get_u64, put_u32, put_u64};
use crate::identity::Identity;
use crate::lsn::Lsn;
use crate::options::max_frame;

/// Word and checksum.
pub(crate) const HEAD: usize = 8;
/// Word, checksum and time.
pub(crate) const TIMED_HEAD: usize = 16;
/// A whole watermark frame: head, magic, durable LSN, epoch.
pub(crate) const WATERMARK: usize = 32;
/// A whole END frame. The last bytes of a segment are kept for it.
pub(crate) const END: usize = 8;

const LENGTH_MASK: u32 = 0x00FF_FFFF;
const KIND_SHIFT: u32 = 24;
const FLAG_TIMED: u32 = 1 << 28;
const FLAGS: u32 = 0xF000_0000;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A record of the log's user.
    Data,
    /// Several records of the log's user, which stand or fall together.
    Batch,
    /// Says how far the log was durable when its batch was written.
    Watermark,
    /// Fills space.
    Pad,
    /// Closes a segment.
    End,
}

impl FrameKind {
    fn code(self) -> u32 {
        match self {
            FrameKind::Data => 1,
            FrameKind::Watermark => 2,
            FrameKind::Pad => 3,
            FrameKind::End => 4,
            FrameKind::Batch => 5,
        }
    }

    /// Whether it is the log's user who put it there.
    #[must_use]
    #[inline]
    pub fn holds_records(self) -> bool {
        matches!(self, FrameKind::Data | FrameKind::Batch)
    }

    #[inline]
    fn of(word: u32) -> Option<FrameKind> {
        match (word >> KIND_SHIFT) & 0xF {
            1 => Some(FrameKind::Data),
            2 => Some(FrameKind::Watermark),
            3 => Some(FrameKind::Pad),
            4 => Some(FrameKind::End),
            5 => Some(FrameKind::Batch),
            _ => None,
        }
    }
}

/// Why the bytes at a place are not a frame of this place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The first word is zero: nothing was written here.
    Nothing,
    /// The length is smaller than a frame or larger than what is left.
    Length(u32),
    /// The checksum does not belong to these bytes at this place.
    Checksum,
    /// The file ends here.
    Short,
    /// The checksum is right, and the frame is of a kind or with a flag that this version does not know.
    Unknown(u32),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Nothing => write!(f, "nothing is written here"),
            Fault::Length(n) => write!(f, "a frame cannot be {n} bytes long here"),
            Fault::Checksum => write!(f, "the checksum does not match"),
            Fault::Short => write!(f, "the file ends too early"),
            Fault::Unknown(word) => write!(
                f,
                "a frame of unknown kind or flags ({:#x})",
                word >> KIND_SHIFT
            ),
        }
    }
}

/// A frame taken apart; the payload stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub kind: FrameKind,
    pub len: usize,
    pub time: Option<u64>,
    /// Where the payload begins.
    pub payload_at: usize,
}

/// CRC-32C (Castagnoli).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// A bijective mixing of 64 bits (the finisher of SplitMix64).
const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The seed of a segment: a hash of database, timeline and segment number, computed and never stored.
pub(crate) fn seed(identity: &Identity, number: u64) -> u64 {
    if planted::active(Bug::StaleRecordValidates) {
        return 0;
    }
    let (db, line) = (identity.database_id, identity.timeline_id);
    let words = [
        db as u64,
        (db >> 64) as u64,
        line as u64,
        (line >> 64) as u64,
        number,
    ];
    words
        .iter()
        .fold(STEP, |h, w| mix(h.wrapping_add(STEP) ^ w))
}

/// The number that begins every watermark of a segment, so that they can be searched for.
pub(crate) fn watermark_magic(seed: u64) -> u64 {
    mix(seed ^ 0x7761_7465_726D_6172)
}

/// The position's part of the checksum.
#[inline]
fn place(lsn: u64, seed: u64, time: u64) -> u32 {
    if planted::active(Bug::StaleRecordValidates) {
        return 0;
    }
    let h = mix(mix(seed.wrapping_add(lsn.wrapping_mul(STEP))) ^ time);
    (h ^ (h >> 32)) as u32
}

/// A frame's first word.
pub(crate) fn word(kind: FrameKind, len: usize, timed: bool) -> u32 {
    debug_assert!(
        len <= LENGTH_MASK as usize,
        "FRAME-1: the length has 24 bits"
    );
    len as u32 | kind.code() << KIND_SHIFT | if timed { FLAG_TIMED } else { 0 }
}

/// The position-free half of the checksum.
#[inline]
pub(crate) fn body_crc(word: u32, payload: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&word.to_le_bytes());
    digest.update(payload);
    digest.finalize() as u32
}

/// Puts a whole frame behind `out`. `crc` is [`body_crc`] of the same word and payload.
pub(crate) fn push(
    out: &mut Vec<u8>,
    word: u32,
    crc: u32,
    at: (u64, u64),
    time: Option<u64>,
    payload: &[u8],
) {
    let (lsn, seed) = at;
    out.extend_from_slice(&word.to_le_bytes());
    out.extend_from_slice(&(crc ^ place(lsn, seed, time.unwrap_or(0))).to_le_bytes());
    if let Some(time) = time {
        out.extend_from_slice(&time.to_le_bytes());
    }
    out.extend_from_slice(payload);
}

/// Gives the frame that fills `bytes` the checksum of its place: for tests that want to get past it.
#[cfg(any(test, fuzzing))]
pub(crate) fn seal(bytes: &mut [u8], lsn: u64, seed: u64) {
    let word = get_u32(bytes, 0);
    let timed = word & FLAG_TIMED != 0;
    let payload_at = if timed { TIMED_HEAD } else { HEAD };
    if bytes.len() >= payload_at {
        let time = if timed { get_u64(bytes, HEAD) } else { 0 };
        let crc = body_crc(word, &bytes[payload_at..]) ^ place(lsn, seed, time);
        put_u32(bytes, 4, crc);
    }
}

/// The END frame that closes a segment at `lsn`.
pub(crate) fn end_frame(lsn: u64, seed: u64) -> [u8; END] {
    let word = word(FrameKind::End, END, false);
    let mut out = [0; END];
    put_u32(&mut out, 0, word);
    put_u32(&mut out, 4, body_crc(word, &[]) ^ place(lsn, seed, 0));
    out
}

/// The watermark at `lsn`: everything before `durable` was durable when its batch was written.
pub(crate) fn watermark_frame(lsn: u64, seed: u64, durable: u64, epoch: u64) -> [u8; WATERMARK] {
    let word = word(FrameKind::Watermark, WATERMARK, false);
    let mut out = [0; WATERMARK];
    put_u32(&mut out, 0, word);
    put_u64(&mut out, 8, watermark_magic(seed));
    put_u64(&mut out, 16, durable);
    put_u64(&mut out, 24, epoch);
    let crc = body_crc(word, &out[HEAD..]);
    put_u32(&mut out, 4, crc ^ place(lsn, seed, 0));
    out
}

/// What a watermark's payload says: durable LSN and epoch. None where it is not one of this seed.
pub(crate) fn read_watermark(payload: &[u8], seed: u64) -> Option<(Lsn, u64)> {
    if payload.len() != WATERMARK - HEAD || get_u64(payload, 0) != watermark_magic(seed) {
        return None;
    }
    Some((Lsn::new(get_u64(payload, 8))?, get_u64(payload, 16)))
}

/// Whether these bytes begin like a watermark frame, so that [`decode`] may look at [`WATERMARK`] bytes of them.
pub(crate) fn is_watermark_word(bytes: &[u8]) -> bool {
    get_u32(bytes, 0) == word(FrameKind::Watermark, WATERMARK, false)
}

/// The length of the frame that begins with `word` at `offset`, if a frame there can be that long.
#[inline]
pub(crate) fn bounded_length(word: u32, offset: u64, segment_bytes: u64) -> Result<usize, Fault> {
    if word == 0 {
        if planted::active(Bug::ZeroesValidate) {
            return Ok(HEAD);
        }
        return Err(Fault::Nothing);
    }
    let len = word & LENGTH_MASK;
    if planted::active(Bug::LengthBelieved) {
        return Ok(len as usize);
    }
    let rest = segment_bytes.saturating_sub(offset);
    // Only END may reach into the bytes that are kept for it.
    let room = if FrameKind::of(word) == Some(FrameKind::End) {
        rest
    } else {
        rest.saturating_sub(END as u64)
    };
    let room = room - u64::from(planted::active(Bug::ExactFitRefused) && room > 0);
    if (len as usize) < HEAD || u64::from(len) > room.min(max_frame(segment_bytes)) {
        return Err(Fault::Length(len));
    }
    Ok(len as usize)
}

/// Takes a frame apart without its checksum: for bytes in our own memory only.
#[inline]
pub(crate) fn split(bytes: &[u8]) -> Option<Head> {
    let word = get_u32(bytes, 0);
    let (kind, len) = (FrameKind::of(word)?, (word & LENGTH_MASK) as usize);
    let timed = word & FLAG_TIMED != 0;
    let payload_at = if timed { TIMED_HEAD } else { HEAD };
    if word & FLAGS & !FLAG_TIMED != 0 || len < payload_at {
        return None;
    }
    let shape_fits = match kind {
        FrameKind::Data | FrameKind::Batch | FrameKind::Pad => true,
        FrameKind::Watermark => len == WATERMARK && !timed,
        FrameKind::End => len == END && !timed,
    };
    if !shape_fits || bytes.len() < payload_at {
        return None;
    }
    let time = timed.then(|| get_u64(bytes, HEAD));
    Some(Head {
        kind,
        len,
        time,
        payload_at,
    })
}

/// Takes apart and checks the frame that fills `bytes` (its length already bounded) and stands at `lsn`.
#[inline]
pub(crate) fn decode(bytes: &[u8], lsn: u64, seed: u64) -> Result<Head, Fault> {
    let word = get_u32(bytes, 0);
    if word == 0 && planted::active(Bug::ZeroesValidate) {
        return Ok(Head {
            kind: FrameKind::Pad,
            len: HEAD,
            time: None,
            payload_at: HEAD,
        });
    }
    debug_assert_eq!(
        bytes.len(),
        (word & LENGTH_MASK) as usize,
        "FRAME-2: the caller cut the frame out"
    );
    let timed = word & FLAG_TIMED != 0;
    let payload_at = if timed { TIMED_HEAD } else { HEAD };
    if bytes.len() < payload_at {
        return Err(Fault::Length(bytes.len() as u32));
    }
    let time = if timed { get_u64(bytes, HEAD) } else { 0 };
    if get_u32(bytes, 4) != body_crc(word, &bytes[payload_at..]) ^ place(lsn, seed, time) {
        return Err(Fault::Checksum);
    }
    split(bytes).ok_or(Fault::Unknown(word))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
