//! An episode that failed once (refused), made small.
//!
//! transactions after recovery: page 3 is damaged (table (pending free)): the page was never written;
//! db/pages at offset 12288; other pages stay usable; restore the page from a backup (PageCorrupt { table: ...
//!
//! From seed 1, with the planted bug T22 (a dirty page's recLSN taken too late): 23 of 377 bytes of choices are left.
//! 2 clients, Plan { transactions: 3, large: 100, long_keys: false, heavy: 5, sleeper: false }, Cut { call: 16,
//! after: false }; power cut with 9 pending, None; finale

use afterimage_sim::random::found;

#[test]
fn refused_0a99892e() {
    found("00000000000000000000000000000f04000001000005.03");
}
