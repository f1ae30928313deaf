//! An episode that failed once (refused), made small.
//!
//! background work: page 9 is damaged: it is in use, and its allocation map says that it is free; db/pages at
//! offset 36864; other pages stay usable; restore the page from a backup (PageCorrupt { table: None, page: 9, ...
//!
//! From seed 175: 51 of 108 bytes of choices are left.
//! 3 clients, Plan { transactions: 3, large: 500, long_keys: true, heavy: 0, sleeper: false }, Cut { call: 15,
//! after: false }

use afterimage_sim::random::found;

#[test]
fn refused_c9588cdf() {
    found(
        "af000000000000000100000000000e040001010103.0008000001.000300010003000000000000010307.0008000301.002a000002",
    );
}
