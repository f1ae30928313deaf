//! The lock table's tests: decisions one call at a time, calls as other modules make them, and many threads at once, in
//! the simulated world under many schedules and in the real one.

mod calls;
mod decisions;
mod schedules;
