//! What a call wants a row to be, decided when its value is seen: under the row's lock and the leaf's latch, so that
//! looking and changing are one step.

use afterimage_log::Lsn;

use crate::error::{Error, Result};

/// What is to become of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish<'a> {
    /// This value, whatever was there.
    Put(&'a [u8]),
    /// No value.
    Delete,
    /// This value, if there was none.
    Insert(&'a [u8]),
    /// This value, if there was one.
    Update(&'a [u8]),
    /// The second, if the first is what is there; `None` is no value.
    Swap(Option<&'a [u8]>, Option<&'a [u8]>),
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Whether there was a value before.
    pub existed: bool,
    /// Whether it is now as it was wished for.
    pub fulfilled: bool,
}

/// A call that was a transaction of its own.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    /// Something was changed, and that is committed.
    pub(crate) has_committed: bool,
    /// Up to where the log must be durable before the outcome may be told.
    pub(crate) end: Option<Lsn>,
}

impl<'a> Wish<'a> {
    /// The value that is to be there if the wish is fulfilled.
    pub(super) fn value(&self) -> Option<&'a [u8]> {
        match *self {
            Wish::Put(value) | Wish::Insert(value) | Wish::Update(value) => Some(value),
            Wish::Delete => None,
            Wish::Swap(_, value) => value,
        }
    }

    /// Bytes of that value.
    pub(crate) fn bytes(&self) -> u64 {
        self.value().map_or(0, |value| value.len() as u64)
    }

    /// Whether it is fulfilled where `before` is there.
    pub(super) fn outcome(&self, before: Option<&[u8]>) -> Outcome {
        let fulfilled = match self {
            Wish::Put(_) | Wish::Delete => true,
            Wish::Insert(_) => before.is_none(),
            Wish::Update(_) => before.is_some(),
            Wish::Swap(expected, _) => before == *expected,
        };
        Outcome {
            existed: before.is_some(),
            fulfilled,
        }
    }
}

impl Outcome {
    /// For calls whose wish must be fulfilled: an insert that found a value, an update that found none.
    pub(crate) fn must(self) -> Result<()> {
        match self {
            Outcome {
                fulfilled: true, ..
            } => Ok(()),
            Outcome { existed: true, .. } => Err(Error::KeyExists),
            Outcome { existed: false, .. } => Err(Error::KeyNotFound),
        }
    }
}
