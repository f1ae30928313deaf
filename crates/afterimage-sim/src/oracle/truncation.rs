//! The truncation bound: no segment goes away that a recovery could still read.

use super::Layout;
use super::segments::{Segments, number_of};
use afterimage_io::sim::{DiskState, Event};

/// What the rule remembers.
pub struct State {}

impl State {
    /// The state of a machine that boots.
    #[must_use]
    pub fn on(_layout: &Layout, _disk: &DiskState, _segments: &Segments) -> State {
        State {}
    }

    /// Checks one event.
    ///
    /// # Errors
    /// The objection.
    pub fn check(&mut self, layout: &Layout, _segments: &Segments, _disk: &DiskState, event: &Event<'_>) -> Result<(), String> {
        let (Event::Removed { path } | Event::Renamed { from: path, .. }) = *event else { return Ok(()) };
        let Some(_number) = number_of(layout, path) else { return Ok(()) };
        Ok(())
    }
}
