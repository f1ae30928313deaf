//! `Gate`: what ties a primitive to its world. In the real world it is `None` and costs one predictable branch.

use std::sync::Arc;

use crate::io::Io;
use crate::sim::SimWorld;

pub(crate) struct Gate(Option<Simulated>);

/// A primitive's place in a simulated world.
pub(crate) struct Simulated {
    pub(crate) world: Arc<SimWorld>,
    /// Names the primitive to the scheduler: handed out in order of creation, so the same in every replay.
    pub(crate) id: u64,
}

impl Gate {
    pub(crate) fn new(io: &Io) -> Gate {
        // A model checker has a scheduler of its own: of a simulated world it uses the disk only.
        let scheduled = io.sim_world().filter(|_| !cfg!(any(loom, shuttle)));
        Gate(scheduled.map(|world| Simulated {
            world: Arc::clone(world),
            id: world.new_primitive(),
        }))
    }

    #[inline]
    pub(crate) fn simulated(&self) -> Option<&Simulated> {
        self.0.as_ref()
    }

    /// The part of a guard that tells the scheduler, when dropped, that the lock is free.
    #[inline]
    pub(crate) fn release(&self) -> Release<'_> {
        Release(self.simulated())
    }
}

impl Simulated {
    /// Takes a lock by trying: nobody else runs between the attempt and the block, so no wake-up can be missed.
    pub(crate) fn acquire<G>(&self, what: &'static str, attempt: impl Fn() -> Option<G>) -> G {
        self.world.lock_point();
        loop {
            if let Some(guard) = attempt() {
                return guard;
            }
            self.world.block(what, self.id, None);
        }
    }

    /// Tries once; a crash of the world is felt here as at every other call.
    pub(crate) fn attempt<G>(&self, attempt: impl Fn() -> Option<G>) -> Option<G> {
        self.world.lock_point();
        attempt()
    }
}

/// Dropped after the real guard beside it (fields drop in order of declaration): marks the waiters ready. Quiet: it
/// never blocks, yields or unwinds, so that it may run during an unwind.
pub(crate) struct Release<'a>(Option<&'a Simulated>);

impl Drop for Release<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(simulated) = self.0 {
            simulated.world.wake_all(simulated.id);
        }
    }
}
