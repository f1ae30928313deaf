//! Watching a database: looks at its counters, what happened between two of them, and what to say about it.
//!
//! `look` is one look, `point` what happened between two, `verdict` the sentence about the last few, `watch` the thread that
//! does it once a second and keeps ten minutes of it. The page, its JSON and `afterimage top` all show what is made here.

mod look;
mod point;
mod verdict;
mod watch;

pub use look::{Look, Source, State};
pub use point::{Checkpoints, Point};
pub use verdict::{Level, Verdict};
pub use watch::{KEPT, Watch};
