//! `JoinHandle`: a thread started by `Io::spawn`, in the real world or in a simulated one. The simulated world's
//! threads are real ones of which only the holder of the baton runs (`sim::scheduler`).

use std::fmt;
use std::io::Result;
use std::sync::Arc;

use crate::os_thread;
use crate::panicked::Panicked;
use crate::sim::SimWorld;

/// The right to wait for a thread's end.
pub struct JoinHandle(Handle);

enum Handle {
    Real(os_thread::JoinHandle<()>),
    Simulated { world: Arc<SimWorld>, thread: usize },
}

impl fmt::Debug for JoinHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinHandle")
    }
}

impl JoinHandle {
    pub(crate) fn real(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle> {
        Ok(JoinHandle(Handle::Real(os_thread::spawn(name, body)?)))
    }

    pub(crate) fn simulated(
        world: &Arc<SimWorld>,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle> {
        if cfg!(any(loom, shuttle)) {
            return JoinHandle::real(name, body);
        }
        let thread = world.spawn(name, Box::new(body))?;
        let world = Arc::clone(world);
        Ok(JoinHandle(Handle::Simulated { world, thread }))
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
