//! Threads: started by `Io::spawn`, ended by `JoinHandle::join`. The simulated world's threads are real ones of which
//! only the holder of the baton runs (`sim::scheduler`).

use std::any::Any;
use std::fmt;
use std::io::Result;
use std::sync::Arc;
use std::time::Duration;

use crate::sim::world::SimWorld;

#[cfg(loom)]
use loom::thread as real;
#[cfg(shuttle)]
use shuttle::thread as real;
#[cfg(not(any(loom, shuttle)))]
use std::thread as real;

/// The right to wait for a thread's end.
pub struct JoinHandle(Handle);

enum Handle {
    Real(real::JoinHandle<()>),
    Simulated { world: Arc<SimWorld>, thread: usize },
}

impl fmt::Debug for JoinHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinHandle")
    }
}

impl JoinHandle {
    pub(crate) fn simulated(world: Arc<SimWorld>, thread: usize) -> JoinHandle {
        JoinHandle(Handle::Simulated { world, thread })
    }

    /// Waits until the thread has ended.
    ///
    /// # Errors
    /// [`Panicked`] if the thread ended by a panic.
    pub fn join(self) -> std::result::Result<(), Panicked> {
        match self.0 {
            Handle::Real(handle) => handle.join().map_err(|payload| Panicked::new(&*payload)),
            Handle::Simulated { world, thread } => world.join(thread),
        }
    }
}

/// A thread ended by a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    message: String,
}

impl Panicked {
    pub(crate) fn new(payload: &(dyn Any + Send)) -> Panicked {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Panicked {
            message: text.unwrap_or("a panic without a message").to_owned(),
        }
    }

    /// What the panic said.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a thread panicked: {}", self.message)
    }
}

impl std::error::Error for Panicked {}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle> {
    let handle = real::Builder::new().name(name.to_owned()).spawn(body)?;
    Ok(JoinHandle(Handle::Real(handle)))
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

/// Is this thread unwinding, from a panic or from the crash of its simulated world? For guards that must know, when they
/// are dropped, whether their work was done.
pub fn is_unwinding() -> bool {
    std::thread::panicking()
}
