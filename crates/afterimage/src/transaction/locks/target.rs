//! What can be locked, in its own bytes; and when two of those have a key in common.

use std::sync::Arc;

use crate::ids::TableId;
use crate::interval::Interval;

/// What is locked within a table. The bytes of a key are shared with the lock table's index: one allocation serves both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Key(Arc<[u8]>),
    Range(Interval),
}

impl Target {
    /// Is there a key that both name?
    pub(super) fn overlaps(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Key(one), Target::Key(other)) => one == other,
            (Target::Key(key), Target::Range(range)) | (Target::Range(range), Target::Key(key)) => {
                range.contains(key)
            }
            (Target::Range(one), Target::Range(other)) => one.overlaps(other),
        }
    }
}

/// A resource by its own bytes.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) table: TableId,
    pub(super) target: Target,
}
