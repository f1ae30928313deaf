//! What happens to one row, with what is needed to take it back.
//!
//! A change knows both directions: [`Change::to_op`] is what redo does, [`Change::inverse`] is what undo does. The three
//! forms are closed under inversion. Undoing an insert leaves a ghost, and undoing a delete turns the ghost back, whose
//! cell still has the room.

use std::borrow::Cow;

use crate::codec::{put_varint, varint_len};
use crate::page::{LARGE, PLAIN, PageOp, Stored};

/// What happens to one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change<'a> {
    /// The row gets a value. `before: None`: there was no row (perhaps a ghost).
    Put {
        before: Option<Stored<'a>>,
        after: Stored<'a>,
    },
    /// The row becomes a ghost.
    Delete { before: Stored<'a> },
    /// Some bytes of the value change, its length does not. Both directions in one.
    Xor { runs: Cow<'a, [u8]> },
}

impl<'a> Change<'a> {
    /// The change from one value to another, in the form that takes fewer bytes.
    ///
    /// # Panics
    ///
    /// If there is no row before and none after: that is no change.
    pub(crate) fn of<V: Into<Stored<'a>>>(before: Option<V>, after: Option<V>) -> Change<'a> {
        match (before.map(Into::into), after.map(Into::into)) {
            (Some(before), Some(after)) => Change::update(before, after),
            (None, Some(after)) => Change::Put {
                before: None,
                after,
            },
            (Some(before), None) => Change::Delete { before },
            (None, None) => panic!("a change from no row to no row"),
        }
    }

    /// As [`Change::of`], for a value that is seen on its page, and there no more when it has changed: of that one the change has
    /// a copy, of what comes it borrows.
    pub(crate) fn of_seen(before: Option<&[u8]>, after: Option<&'a [u8]>) -> Change<'a> {
        let before = match (before, after) {
            (Some(before), Some(after)) => match smaller_runs(before, after) {
                Some(runs) => return Change::Xor { runs: runs.into() },
                None => Some(before),
            },
            _ => before,
        };
        let before = before.map(|before| Stored::from(before.to_vec()));
        match (before, after.map(Stored::from)) {
            (before, Some(after)) => Change::Put { before, after },
            (Some(before), None) => Change::Delete { before },
            (None, None) => panic!("a change from no row to no row"),
        }
    }

    fn update(before: Stored<'a>, after: Stored<'a>) -> Change<'a> {
        // Addresses stay whole, so that whoever reads the log finds them.
        if !before.large
            && !after.large
            && let Some(runs) = smaller_runs(&before.bytes, &after.bytes)
        {
            return Change::Xor { runs: runs.into() };
        }
        Change::Put {
            before: Some(before),
            after,
        }
    }

    /// The operation that makes the change.
    pub(crate) fn to_op<'b>(&'b self, key: &'b [u8]) -> PageOp<'b> {
        let key = Cow::Borrowed(key);
        match self {
            Change::Put { after, .. } => PageOp::PutCell {
                key,
                value: Cow::Borrowed(&after.bytes),
                flags: if after.large { LARGE } else { PLAIN },
            },
            Change::Delete { .. } => PageOp::SetGhost { key, ghost: true },
            Change::Xor { runs } => PageOp::XorValue {
                key,
                runs: Cow::Borrowed(runs),
            },
        }
    }

    /// The change that takes this one back.
    pub(crate) fn inverse(&self) -> Change<'_> {
        match self {
            Change::Put {
                before: Some(before),
                after,
            } => Change::Put {
                before: Some(after.reborrow()),
                after: before.reborrow(),
            },
            Change::Put {
                before: None,
                after,
            } => Change::Delete {
                before: after.reborrow(),
            },
            Change::Delete { before } => Change::Put {
                before: None,
                after: before.reborrow(),
            },
            Change::Xor { runs } => Change::Xor {
                runs: Cow::Borrowed(runs),
            },
        }
    }

    /// The inverse as a CLR logs it: without before-images, for a CLR is never undone.
    pub(crate) fn compensation(&self) -> Change<'_> {
        match self.inverse() {
            Change::Put { after, .. } => Change::Put {
                before: None,
                after,
            },
            Change::Delete { .. } => Change::Delete {
                before: Stored::from(&[]),
            },
            xor @ Change::Xor { .. } => xor,
        }
    }

    /// The value before, where the change has it whole.
    pub(crate) fn before(&self) -> Option<&Stored<'a>> {
        match self {
            Change::Put { before, .. } => before.as_ref(),
            Change::Delete { before } => Some(before),
            Change::Xor { .. } => None,
        }
    }

    /// The value after, where the change has it whole.
    pub(crate) fn after(&self) -> Option<&Stored<'a>> {
        match self {
            Change::Put { after, .. } => Some(after),
            Change::Delete { .. } | Change::Xor { .. } => None,
        }
    }

    /// Whether the value before or after is a large one.
    pub(crate) fn is_large(&self) -> bool {
        let large = |value: Option<&Stored<'a>>| value.is_some_and(|value| value.large);
        large(self.before()) || large(self.after())
    }

    /// The same change, owning what it holds.
    pub(crate) fn into_owned(self) -> Change<'static> {
        match self {
            Change::Put { before, after } => Change::Put {
                before: before.map(Stored::into_owned),
                after: after.into_owned(),
            },
            Change::Delete { before } => Change::Delete {
                before: before.into_owned(),
            },
            Change::Xor { runs } => Change::Xor {
                runs: runs.into_owned().into(),
            },
        }
    }
}

/// Equal bytes between two differences that are cheaper to take into the run than to end it: a new run costs two lengths.
const GAP_MIN: usize = 3;

/// The runs between two values of one length, where they take fewer bytes than the two.
fn smaller_runs(before: &[u8], after: &[u8]) -> Option<Vec<u8>> {
    if before.len() != after.len() {
        return None;
    }
    let images = 2 * (varint_len(before.len() as u64) + before.len());
    let runs = xor_runs(before, after);
    (varint_len(runs.len() as u64) + runs.len() < images).then_some(runs)
}

/// Bytes that are compared at once.
const WORD: usize = size_of::<u64>();

/// The differences of two values of equal length, as runs of `gap varint | length varint | bytes`.
fn xor_runs(before: &[u8], after: &[u8]) -> Vec<u8> {
    // Mostly there is one run, or few.
    let mut runs = Vec::with_capacity(before.len() + 2 * WORD);
    let (mut end_of_last, mut next) = (0, first_difference(before, after, 0));
    while let Some(start) = next {
        let end;
        (end, next) = end_of_run(before, after, start + 1);
        put_varint(&mut runs, (start - end_of_last) as u64);
        put_varint(&mut runs, (end - start) as u64);
        let (before, after) = (&before[start..end], &after[start..end]);
        runs.extend(before.iter().zip(after).map(|(a, b)| a ^ b));
        end_of_last = end;
    }
    runs
}

/// The differences of the word at `from`, if there is a whole one.
fn word(before: &[u8], after: &[u8], from: usize) -> Option<u64> {
    let word = |bytes: &[u8]| {
        let word = bytes.get(from..)?.first_chunk::<WORD>()?;
        Some(u64::from_le_bytes(*word))
    };
    Some(word(before)? ^ word(after)?)
}

/// The first place from `from` on where the two differ.
fn first_difference(before: &[u8], after: &[u8], mut from: usize) -> Option<usize> {
    while let Some(word) = word(before, after, from) {
        if word != 0 {
            return Some(from + word.trailing_zeros() as usize / 8);
        }
        from += WORD;
    }
    (from..before.len()).find(|at| before[*at] != after[*at])
}

/// Where a run ends that goes on to `end` at least, and the first difference behind it.
fn end_of_run(before: &[u8], after: &[u8], mut end: usize) -> (usize, Option<usize>) {
    loop {
        while word(before, after, end).is_some_and(|word| !has_zero_byte(word)) {
            end += WORD;
        }
        match first_difference(before, after, end) {
            Some(next) if next - end < GAP_MIN => end = next + 1,
            next => return (end, next),
        }
    }
}

fn has_zero_byte(word: u64) -> bool {
    const LOW: u64 = u64::from_le_bytes([0x01; WORD]);
    const HIGH: u64 = u64::from_le_bytes([0x80; WORD]);
    word.wrapping_sub(LOW) & !word & HIGH != 0
}
