//! Events as bytes, from a process that is going to be killed to the one that kills it.
//!
//! Each is a number of 32-bit words, behind their count. What is cut off at the end was never told.

use super::history::{Op, Outcome, Txn};
use std::io::{Read, Result, Write};

/// What a client tells, in the order of its transactions' moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transaction asks to commit, or has been given up: everything but its end.
    Asks(Txn),
    /// The transaction that began then has ended.
    Ended {
        /// Names the transaction.
        began: u64,
        /// When.
        ended: u64,
        /// How.
        outcome: Outcome,
    },
}

fn put_u64(words: &mut Vec<u32>, n: u64) {
    words.extend([n as u32, (n >> 32) as u32]);
}

fn put_list(words: &mut Vec<u32>, list: &[u32]) {
    words.push(list.len() as u32);
    words.extend_from_slice(list);
}

/// Writes one event, in one write.
///
/// # Errors
/// What the writer says.
pub fn write(to: &mut impl Write, event: &Event) -> Result<()> {
    let mut words = vec![0];
    match event {
        Event::Asks(txn) => {
            words.extend([1, txn.client, outcome_code(txn.outcome)]);
            put_u64(&mut words, txn.began);
            put_u64(&mut words, txn.ended);
            for op in &txn.ops {
                match op {
                    Op::Append { key, value } => words.extend([1, *key, *value]),
                    Op::Undone { key, value } => words.extend([2, *key, *value]),
                    Op::Read { key, list } => {
                        words.extend([3, *key]);
                        put_list(&mut words, list);
                    }
                    Op::Scan { from, to, found } => {
                        words.extend([4, *from, *to, found.len() as u32]);
                        for (key, list) in found {
                            words.push(*key);
                            put_list(&mut words, list);
                        }
                    }
                }
            }
        }
        Event::Ended {
            began,
            ended,
            outcome,
        } => {
            words.extend([2, 0, outcome_code(*outcome)]);
            put_u64(&mut words, *began);
            put_u64(&mut words, *ended);
        }
    }
    words[0] = words.len() as u32 - 1;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    to.write_all(&bytes)
}

fn outcome_code(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Committed => 0,
        Outcome::Aborted => 1,
        Outcome::Unknown => 2,
    }
}

/// Reads the next event; none where the writer has gone, in the middle of one or between two.
///
/// # Errors
/// What the reader says, and for bytes that are no event.
pub fn read(from: &mut impl Read) -> Result<Option<Event>> {
    let Some(count) = words(from, 1)? else {
        return Ok(None);
    };
    let Some(all) = words(from, count[0] as usize)? else {
        return Ok(None);
    };
    let event = decode(&mut all.into_iter());
    event
        .map(Some)
        .ok_or_else(|| std::io::Error::other("this is no event"))
}

fn words(from: &mut impl Read, count: usize) -> Result<Option<Vec<u32>>> {
    let mut bytes = vec![0; count * 4];
    match from.read_exact(&mut bytes) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let (words, _) = bytes.as_chunks::<4>();
    Ok(Some(
        words.iter().map(|word| u32::from_le_bytes(*word)).collect(),
    ))
}

fn decode(words: &mut impl Iterator<Item = u32>) -> Option<Event> {
    let (kind, client) = (words.next()?, words.next()?);
    let outcome = match words.next()? {
        0 => Outcome::Committed,
        1 => Outcome::Aborted,
        _ => Outcome::Unknown,
    };
    let (began, ended) = (get_u64(words)?, get_u64(words)?);
    if kind == 2 {
        return Some(Event::Ended {
            began,
            ended,
            outcome,
        });
    }
    let mut ops = Vec::new();
    while let Some(kind) = words.next() {
        let key = words.next()?;
        ops.push(match kind {
            1 => Op::Append {
                key,
                value: words.next()?,
            },
            2 => Op::Undone {
                key,
                value: words.next()?,
            },
            3 => Op::Read {
                key,
                list: get_list(words)?,
            },
            _ => {
                let (to, count) = (words.next()?, words.next()?);
                let found = (0..count).map(|_| Some((words.next()?, get_list(words)?)));
                Op::Scan {
                    from: key,
                    to,
                    found: found.collect::<Option<_>>()?,
                }
            }
        });
    }
    Some(Event::Asks(Txn {
        client,
        began,
        ended,
        outcome,
        ops,
    }))
}

fn get_u64(words: &mut impl Iterator<Item = u32>) -> Option<u64> {
    let low = words.next()?;
    Some(u64::from(low) | u64::from(words.next()?) << 32)
}

fn get_list(words: &mut impl Iterator<Item = u32>) -> Option<Vec<u32>> {
    let count = words.next()?;
    (0..count).map(|_| words.next()).collect()
}
