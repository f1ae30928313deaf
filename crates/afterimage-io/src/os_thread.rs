//! Real threads: the standard library's, or those of the model checker this build is for.

use std::io::Result;
use std::panic::resume_unwind;
use std::time::Duration;

#[cfg(loom)]
use loom::thread as real;
#[cfg(all(shuttle, not(loom)))]
use shuttle::thread as real;
#[cfg(not(any(loom, shuttle)))]
use std::thread as real;

pub(crate) use real::JoinHandle;

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    real::Builder::new().name(name.to_owned()).spawn(body)
}

pub(crate) fn sleep(duration: Duration) {
    #[cfg(loom)]
    {
        // Model checkers have no clock: a sleep is a chance for the others to run.
        let _ = duration;
        real::yield_now();
    }
    #[cfg(not(loom))]
    real::sleep(duration);
}

pub(crate) fn yield_now() {
    real::yield_now();
}

/// Does every part below `parts`, side by side as far as threads are to be had, and waits for all of them. The first error, by their numbers.
pub(crate) fn side_by_side(parts: usize, part: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let part = &part;
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..parts)
            .map(|n| std::thread::Builder::new().spawn_scoped(scope, move || part(n)))
            .collect();
        let mut end = part(0);
        for (n, thread) in (1..parts).zip(others) {
            let one = match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => part(n),
            };
            end = end.and(one);
        }
        end
    })
}

/// The calling thread's number: threads are counted as they first ask.
pub(crate) fn number() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local! {
        static NUMBER: usize = COUNT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// How many threads can run at the same time; one where the system does not say.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_part_is_done_once_and_the_first_error_is_told() {
        for parts in 1..9 {
            let done: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
            let end = side_by_side(parts, |n| {
                done[n].fetch_add(1, Ordering::Relaxed);
                match n {
                    2 => Err(ErrorKind::Unsupported.into()),
                    5 => Err(ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            });
            assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 1));
            let error = end.err().map(|e| e.kind());
            assert_eq!(error, (parts > 2).then_some(ErrorKind::Unsupported));
        }
    }
}
