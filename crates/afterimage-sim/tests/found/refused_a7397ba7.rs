//! An episode that failed once (refused), made small.
//!
//! recovery: damaged data at db/pages, page 0: this is not the file that the last clean stop has left, with LSN
//! 794656 and 29 pages, or what came of it, but one with LSN 794656 and 32 pages: another copy of it was put ...
//!
//! From seed 7012895980683137: 58 of 261 bytes of choices are left.
//! 4 clients, Plan { transactions: 3, large: 950, long_keys: true, heavy: 0, sleeper: false }, Sync { call: 61,
//! failure: CacheKeepsNew }; process killed; 2 clients, Plan { transactions: 0, large: 100, long_keys: false,
//! heavy: 0, sleeper: false }, Site { site: SegmentBegins, skip: 0, after: false }; closed

use afterimage_sim::random::found;

#[test]
fn refused_a7397ba7() {
    found(
        "00000015000000000100000001013c0a000201020300000002..0015.0008000101.0003000200000000000200000103d7.00280000030
         02c0100002f",
    );
}
