//! Two ways to run a future that have nothing in common: a bare executor in a few lines, and tokio on one thread. Neither
//! gives the log a thread or a timer: what wakes a task is the log alone.
//!
//! Also included by the engine's tests.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a program of its own: the threads are its user's"
)]

use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls the future on this thread, which sleeps in between.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// tokio on this thread: no timer, no input or output of its own.
pub fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

/// Fails where `body` never ends: a task that nobody wakes would otherwise hang the tests.
pub fn ends(body: impl FnOnce() + Send + 'static) {
    let (tell, told) = channel();
    let running = thread::spawn(move || {
        body();
        tell.send(()).unwrap();
    });
    let told = told.recv_timeout(Duration::from_secs(60));
    assert!(
        told.is_ok() || running.is_finished(),
        "a task sleeps for ever"
    );
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}
