//! Log space: an append may only happen where its place is certain to be there.
//!
//! An LSN is handed out only inside a segment whose file and name are durable. Making segments is slow and can fail,
//! appending is neither; so every writer first *reserves*, which may make a segment, and only then takes latches and
//! appends. A reservation is a budget, not a place. The capacity behind the budgets is counted so that even the worst
//! sequence of appends fits: each segment counts for what is left after the largest frame and a watermark have just
//! failed to fit.

use std::fmt;
use std::sync::Arc;

use afterimage_io::sync::atomic::{AtomicU64, Ordering};

use crate::frame::{END, HEAD, WATERMARK};
use crate::options::{BLOCK, HEADER_BYTES, LogOptions, max_frame};

/// Free capacity that a new reservation leaves for watermarks. Where it is used up all the same, batches go without.
const SLACK: u64 = 64 * WATERMARK as u64;
/// The same where every flush also fills its last block.
const PADDED_SLACK: u64 = 64 * (WATERMARK as u64 + BLOCK + HEAD as u64);

/// The free capacity that a new reservation leaves.
pub(crate) fn slack(options: &LogOptions) -> u64 {
    if options.wal_pad_flush {
        PADDED_SLACK
    } else {
        SLACK
    }
}

/// How many bytes can be appended for certain, with `offset` the place in the current segment and `spare` further
/// segments prepared.
pub(crate) fn capacity(segment_bytes: u64, offset: u64, spare: u64) -> u64 {
    let waste = max_frame(segment_bytes) + WATERMARK as u64;
    let usable = |from: u64| {
        (segment_bytes - END as u64)
            .saturating_sub(from)
            .saturating_sub(waste)
    };
    usable(offset) + spare * usable(HEADER_BYTES)
}

/// The largest single reservation: what a handful of segments hold.
pub(crate) fn largest_reservation(segment_bytes: u64) -> u64 {
    1024 * capacity(segment_bytes, HEADER_BYTES, 0)
}

/// Log space that is certain to be there. What is left of it returns when it is dropped.
pub struct Reservation {
    pool: Arc<AtomicU64>,
    bytes: u64,
}

impl Reservation {
    /// `bytes` were already added to the pool's sum.
    pub(crate) fn new(pool: Arc<AtomicU64>, bytes: u64) -> Reservation {
        Reservation { pool, bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Takes over what is left of another reservation of the same log.
    ///
    /// # Panics
    ///
    /// Where the other one is of another log.
    pub fn absorb(&mut self, mut other: Reservation) {
        assert!(
            Arc::ptr_eq(&self.pool, &other.pool),
            "SPACE-2: reservations of two logs cannot be joined"
        );
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Cuts `bytes` off into a reservation of their own.
    ///
    /// # Panics
    ///
    /// Where fewer are left.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Reservation {
        assert!(
            bytes as u64 <= self.bytes,
            "SPACE-3: {bytes} bytes cannot be split off {}",
            self.bytes
        );
        self.bytes -= bytes as u64;
        Reservation {
            pool: Arc::clone(&self.pool),
            bytes: bytes as u64,
        }
    }

    /// Spends `bytes`; called under the buffer's mutex, in the step that takes them from the capacity.
    pub(crate) fn spend(&mut self, bytes: u64) {
        assert!(
            bytes <= self.bytes,
            "SPACE-1: an append of {bytes} bytes has only {} reserved",
            self.bytes
        );
        self.bytes -= bytes;
        self.pool.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_counts_the_worst_waste() {
        let segment = 64 << 10;
        let waste = (16 << 10) + 32;
        assert_eq!(capacity(segment, 4096, 0), segment - 8 - 4096 - waste);
        assert_eq!(capacity(segment, segment - 8 - waste, 0), 0);
        assert_eq!(
            capacity(segment, segment - 8, 1),
            capacity(segment, 4096, 0)
        );
    }

    #[test]
    fn what_is_left_returns_to_the_pool() {
        let pool = Arc::new(AtomicU64::new(100));
        let mut a = Reservation::new(Arc::clone(&pool), 100);
        let b = a.split(30);
        a.spend(50);
        assert_eq!(
            (a.bytes(), b.bytes(), pool.load(Ordering::Relaxed)),
            (20, 30, 50)
        );
        a.absorb(b);
        assert_eq!(a.bytes(), 50);
        drop(a);
        assert_eq!(pool.load(Ordering::Relaxed), 0);
    }
}
