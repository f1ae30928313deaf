//! The log sequence number: a byte position in the endless log.
//!
//! LSN = segment number x segment size + offset in the segment's file. Segments are numbered from 1, so no LSN is
//! ever zero, and zero can stand for "none" on disk. An LSN that names a record is the position of its first byte;
//! the durable, written and next LSNs are exclusive ends and stand on record boundaries.

use std::fmt;
use std::num::NonZeroU64;

/// A byte position in the log. Ordered; never zero; never used twice on one timeline.
///
/// ```
/// use afterimage_log::Lsn;
/// let lsn = Lsn::new(16_781_312).unwrap();
/// assert_eq!(lsn.to_string(), "16781312");
/// assert!(Lsn::new(0).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(NonZeroU64);

impl Lsn {
    /// The position `value`, in bytes; none where it is zero.
    #[must_use]
    pub const fn new(value: u64) -> Option<Lsn> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Lsn(value)),
            None => None,
        }
    }

    /// The position as a number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// A position that the caller knows not to be zero.
    ///
    /// # Panics
    ///
    /// Where `value` is zero: positions begin in segment 1.
    #[inline]
    pub(crate) fn at(value: u64) -> Lsn {
        Lsn::new(value).expect("LSN-1: positions begin in segment 1 and are never zero")
    }
}

/// Where an appended record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its first byte.
    pub lsn: Lsn,
    /// Its exclusive end: what to wait for.
    pub end: Lsn,
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_none_and_order_is_numeric() {
        assert!(Lsn::new(0).is_none());
        assert!(Lsn::at(9) < Lsn::at(10));
        assert_eq!(format!("{:?}", Lsn::at(7)), "Lsn(7)");
        assert_eq!(size_of::<Option<Lsn>>(), 8);
    }
}
