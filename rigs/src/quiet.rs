//! A life to which nothing is done: it must open what is there, judge it, go on working, and close.

use crate::books::Books;
use crate::work::{self, Plan, Told};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Lives for some transactions in this process.
///
/// # Errors
/// Whatever ends it: nothing may.
pub fn life(dir: &Path, seed: u64, transactions: u64, books: &mut Books) -> Result<(), String> {
    let plan = Plan {
        dir: dir.to_path_buf(),
        seed,
        clients: 1,
        transactions,
        checkpoint_every: 2,
        full_is_no_end: false,
    };
    let books = Mutex::new(books);
    let tell = |told: Told| -> Result<(), String> {
        let mut books = books.lock().map_err(|_| "a listener panicked")?;
        match told {
            Told::Found(last) => books.found(&last),
            Told::Acknowledged(client, n) => books.acknowledged(client, n),
            Told::Verified | Told::Checkpoint | Told::Full | Told::Closed => Ok(()),
        }
    };
    let ended = work::live(&plan, &AtomicBool::new(false), &tell);
    if let Some(panic) = crate::panics::first() {
        return Err(format!("PANIC: {panic}"));
    }
    ended.map_err(|cut| format!("nothing was done to it, and it ended: {cut}"))
}
