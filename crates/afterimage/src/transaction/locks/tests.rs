//! The lock table's tests: decisions one call at a time, calls as other modules make them, and many threads at once, in
//! the simulated world under many schedules, in the real one, and under loom.

mod calls;
mod decisions;
#[cfg(any(loom, shuttle))]
mod models;
mod schedules;
