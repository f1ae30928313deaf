//! The rules of silence: after a stop nothing is written, and an open that is refused has written nothing.
//!
//! A stop finds other threads in the middle of something. Each may end the call that it is in; and a cleaner whose batch
//! has its log durable already may bring that one batch home, unless it was the pages or their copies that failed.

use super::Layout;
use afterimage_io::Note;
use afterimage_io::sim::Event;

/// What was heard so far.
#[derive(Default)]
pub struct State {
    stopped: bool,
    /// Changes after the stop. A call that another thread had begun before may still end: one a thread.
    after_stop: usize,
    /// Batches of copies written after the stop.
    batches: usize,
    /// A sync of the pages or of their copies failed.
    homes_failed: bool,
    /// Changes since the machine booted or recovery ended.
    changes: u64,
    first_change: String,
}

impl State {
    /// Checks one event.
    ///
    /// # Errors
    /// The objection.
    pub fn check(&mut self, layout: &Layout, event: &Event<'_>) -> Result<(), String> {
        match *event {
            Event::Note(Note::Stopped) => self.stopped = true,
            Event::Note(Note::RecoveryEnded) => self.changes = 0,
            Event::SyncFailed { path } => self.homes_failed |= is_home(layout, path),
            Event::Note(Note::RecoveryRefused) if self.changes > 0 => {
                return Err(format!(
                    "an open was refused after {} changes to the disk, the first: {}",
                    self.changes, self.first_change
                ));
            }
            Event::Written { path, .. }
            | Event::WrittenDurably { path, .. }
            | Event::WrittenAtomically { path, .. }
            | Event::Prefilled { path, .. }
            | Event::Resized { path, .. }
            | Event::Created { path }
            | Event::Removed { path }
            | Event::Renamed { from: path, .. } => return self.change(layout, path),
            _ => {}
        }
        Ok(())
    }

    fn change(&mut self, layout: &Layout, path: &str) -> Result<(), String> {
        // The lock says who is there, the status file what is going on; rows that are sorted are no table's yet, and whoever
        // loads them finds out later.
        let no_data = ["lock", "status", "status.tmp"];
        if no_data.iter().any(|f| layout.is(path, f)) || path.contains("/sorting-") {
            return Ok(());
        }
        if self.changes == 0 {
            self.first_change = path.to_string();
        }
        self.changes += 1;
        if self.stopped && layout.threads > 1 && !self.homes_failed && is_home(layout, path) {
            self.batches += usize::from(layout.is(path, "doublewrite"));
            if self.batches > 1 {
                return Err(format!(
                    "{path} was changed, again, after the engine had stopped"
                ));
            }
        } else if self.stopped {
            self.after_stop += 1;
            if self.after_stop >= layout.threads {
                return Err(format!("{path} was changed after the engine had stopped"));
            }
        }
        Ok(())
    }
}

fn is_home(layout: &Layout, path: &str) -> bool {
    layout.is(path, "pages") || layout.is(path, "doublewrite")
}
