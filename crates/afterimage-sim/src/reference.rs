//! A small reader of the log and the control file, for the oracles: who is unfinished, what would a recovery read, what is proven durable.
//!
//! It shares no line with the log's own reader. It reads whatever bytes it is given access to: the durable ones, a page cache, an image.

use crate::bytes::{
    self, FRAME_HEADER, SEGMENT_HEADER, frame_word, kind, u32_at, u64_at, u128_at, varint,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Reads bytes of a file of the database, by its path; `None` where there are not so many.
pub type Read<'a> = &'a dyn Fn(&str, u64, usize) -> Option<Vec<u8>>;

/// What the oracles need of one control copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Raised at each write.
    pub generation: u64,
    /// The checkpoint to recover from.
    pub checkpoint: u64,
    /// Where redo begins.
    pub redo: u64,
    /// How far the log was known to be durable.
    pub durable: u64,
    /// What segment seeds are made of.
    identity: (u128, u128),
}

/// The copies of the control file that are valid.
#[must_use]
pub fn control(path: &str, read: Read<'_>) -> Vec<Copy> {
    [0, 4096]
        .into_iter()
        .filter_map(|at| copy(&read(path, at, 1024)?))
        .collect()
}

fn copy(b: &[u8]) -> Option<Copy> {
    if &b[..8] != b"AFTRCTL1"
        || u32_at(b, 1020)? != bytes::crc32c(&[&b[..1020]])
        || &b[128..136] != b"AFTRENG1"
    {
        return None;
    }
    Some(Copy {
        identity: (u128_at(b, 32)?, u128_at(b, 48)?),
        generation: u64_at(b, 80)?,
        durable: u64_at(b, 104)?.max(u64_at(b, 96)?),
        checkpoint: u64_at(b, 144)?,
        redo: u64_at(b, 152)?,
    })
}

struct Header {
    epoch: u64,
    previous: u64,
    previous_end: u64,
}

/// The log, as one copy of the control file names it.
pub struct Log<'a> {
    read: Read<'a>,
    segment_bytes: u64,
    identity: (u128, u128),
    paths: &'a BTreeMap<u64, String>,
    headers: BTreeMap<u64, Header>,
}

/// A valid frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where it begins.
    pub lsn: u64,
    /// Where it ends.
    pub end: u64,
    /// One of [`kind`].
    pub kind: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl<'a> Log<'a> {
    /// The segments of `paths` that bear a header of this database.
    #[must_use]
    pub fn new(
        read: Read<'a>,
        segment_bytes: u64,
        copy: &Copy,
        paths: &'a BTreeMap<u64, String>,
    ) -> Log<'a> {
        let header = |number: u64, path: &str| {
            let b = read(path, 0, 256)?;
            let valid = &b[..8] == b"AFTRLOG1" && u32_at(&b, 252)? == bytes::crc32c(&[&b[..252]]);
            let ours =
                (u128_at(&b, 32)?, u128_at(&b, 48)?) == copy.identity && u64_at(&b, 80)? == number;
            (valid && ours).then_some(Header {
                epoch: u64_at(&b, 72)?,
                previous: u64_at(&b, 96)?,
                previous_end: u64_at(&b, 104)?,
            })
        };
        let headers = paths
            .iter()
            .filter_map(|(n, p)| Some((*n, header(*n, p)?)))
            .collect();
        Log {
            read,
            segment_bytes,
            identity: copy.identity,
            paths,
            headers,
        }
    }

    /// The numbers of the segments that a recovery walks through, the one that holds `from` among them: back along the links as far as they go, and forward to
    /// the newest epoch.
    #[must_use]
    pub fn chain(&self, from: u64) -> Vec<u64> {
        let middle = from / self.segment_bytes;
        let mut chain: Vec<u64> = std::iter::successors(Some(middle), |n| {
            let before = self.headers.get(n)?.previous;
            (before < *n && self.headers.contains_key(&before)).then_some(before)
        })
        .collect();
        chain.reverse();
        let mut last = middle;
        while let Some(next) = self
            .headers
            .iter()
            .filter(|(n, h)| h.previous == last && **n > last)
            .max_by_key(|(_, h)| h.epoch)
            .map(|(n, _)| *n)
        {
            chain.push(next);
            last = next;
        }
        chain
    }

    /// Where segment `number` ended, as its successor of the newest epoch says.
    #[must_use]
    pub fn end(&self, number: u64) -> Option<u64> {
        self.headers
            .iter()
            .filter(|(n, h)| h.previous == number && **n > number)
            .max_by_key(|(_, h)| h.epoch)
            .map(|(_, h)| h.previous_end)
    }

    /// The valid frames of segment `number`, up to the first that is none.
    #[must_use]
    pub fn frames(&self, number: u64) -> Vec<Frame> {
        let (mut found, mut at) = (Vec::new(), SEGMENT_HEADER);
        // The whole of it, if it is so long; else frame by frame.
        let bytes = self
            .paths
            .get(&number)
            .and_then(|path| (self.read)(path, 0, usize::try_from(self.segment_bytes).ok()?));
        while let Some(frame) = self.frame(number, at, bytes.as_deref()) {
            at += frame.end - frame.lsn;
            let last = frame.kind == kind::END;
            found.push(frame);
            if last {
                break;
            }
        }
        found
    }

    fn frame(&self, number: u64, at: u64, segment: Option<&[u8]>) -> Option<Frame> {
        let path = self.paths.get(&number)?;
        let read = |len: usize| match segment {
            Some(bytes) => {
                let from = usize::try_from(at).ok()?;
                bytes.get(from..from.checked_add(len)?).map(Cow::Borrowed)
            }
            None => (self.read)(path, at, len).map(Cow::Owned),
        };
        let word = frame_word(&read(8)?)?;
        if at + u64::from(word.length) > self.segment_bytes {
            return None;
        }
        let b = read(word.length as usize)?;
        let head = FRAME_HEADER as usize + if word.timed { 8 } else { 0 };
        let time = if word.timed { u64_at(&b, 8)? } else { 0 };
        let lsn = number * self.segment_bytes + at;
        if u32_at(&b, 4)?
            != bytes::crc32c(&[&b[..4], &b[head..]]) ^ place(lsn, self.seed(number), time)
        {
            return None;
        }
        Some(Frame {
            lsn,
            end: lsn + u64::from(word.length),
            kind: word.kind,
            payload: b[head..].to_vec(),
        })
    }

    fn seed(&self, number: u64) -> u64 {
        let (db, line) = self.identity;
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
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn place(lsn: u64, seed: u64, time: u64) -> u32 {
    let h = mix(mix(seed.wrapping_add(lsn.wrapping_mul(STEP))) ^ time);
    (h ^ (h >> 32)) as u32
}

/// What a record says about its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It goes on.
    Goes(u64),
    /// It is over: committed, or rolled back to its end.
    Over(u64),
    /// The record is no transaction's.
    Nothing,
}

/// What the record at `lsn` says.
#[must_use]
pub fn said(lsn: u64, payload: &[u8]) -> Said {
    const COMMITS: u8 = 0b1000;
    let txn = |from: usize| {
        payload
            .get(from..)
            .and_then(varint)
            .map(|(n, _)| if n == 0 { lsn } else { n })
    };
    match (payload.first(), payload.get(1)) {
        (Some(1), Some(flags)) if flags & COMMITS != 0 => txn(2).map_or(Said::Nothing, Said::Over),
        (Some(1 | 2), Some(_)) => txn(2).map_or(Said::Nothing, Said::Goes),
        (Some(9), None) => Said::Goes(lsn),
        (Some(3 | 4), _) => txn(1).map_or(Said::Nothing, Said::Over),
        _ => Said::Nothing,
    }
}

/// Reads on in `frames`: `open` holds the transactions that are unfinished, each by the LSN of its first record.
pub fn follow(open: &mut BTreeSet<u64>, frames: &[Frame]) {
    for frame in frames.iter().filter(|f| f.kind == kind::DATA) {
        match said(frame.lsn, &frame.payload) {
            Said::Goes(txn) => drop(open.insert(txn)),
            Said::Over(txn) => drop(open.remove(&txn)),
            Said::Nothing => {}
        }
    }
}
