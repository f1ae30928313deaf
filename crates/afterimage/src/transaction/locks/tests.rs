//! The lock table's tests: decisions one call at a time, calls as other modules make them, and many threads at once, in
//! the simulated world under many schedules, in the real one, and under loom.

mod calls;
mod decisions;
#[cfg(loom)]
mod models;
mod schedules;
