//! Lock modes: which two can stand side by side, and what holding two of them amounts to.
//!
//! The bottom of the lock table: knows no resource, no owner and no line.

/// How a key or a range of keys is locked. Ordered: the greater permits all that the smaller does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Mode {
    /// It is read: what is there and what is not stays as it is.
    Shared,
    /// It is changed; nobody else sees it.
    Exclusive,
}

impl Mode {
    /// Every mode.
    #[cfg(test)]
    pub(super) const ALL: [Mode; 2] = [Mode::Shared, Mode::Exclusive];

    /// May another owner hold `other` while this mode is held?
    pub(crate) fn is_compatible(self, other: Mode) -> bool {
        self == Mode::Shared && other == Mode::Shared
    }

    /// Does holding this mode make asking for `other` needless?
    pub(crate) fn covers(self, other: Mode) -> bool {
        self >= other
    }
}
