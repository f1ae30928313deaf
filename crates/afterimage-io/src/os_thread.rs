//! Real threads: the standard library's, or those of the model checker this build is for.

use std::io::Result;
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
