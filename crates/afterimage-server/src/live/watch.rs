//! The thread that looks once a second, and the last ten minutes of what it saw: so that a page opened now has a past.
//! Whoever asks for the numbers of this moment has a look of its own: some microseconds of plain counters.

use super::look::{Look, Source};
use super::point::Point;
use super::verdict::{self, Verdict};
use afterimage_io::sync::{Condvar, Mutex};
use afterimage_io::{Io, JoinHandle};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Points that are kept: ten minutes of them.
pub const KEPT: usize = 600;
/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// How often a look is tried that found the `status` file half written.
const TRIES: u32 = 10;

/// Watches one database, from a thread of its own, until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle>,
}

struct Shared {
    io: Io,
    source: Source,
    began_micros: u64,
    seen: Mutex<Seen>,
    stop: Condvar,
}

#[derive(Default)]
struct Seen {
    last: Option<Look>,
    points: VecDeque<Point>,
    /// How many points there have ever been.
    count: u64,
    stopping: bool,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// If no thread can be had.
    pub fn start(source: Source) -> std::io::Result<Watch> {
        let io = Io::os();
        let shared = Arc::new(Shared {
            began_micros: io.wall_clock(),
            source,
            seen: Mutex::new(&io, Seen::default()),
            stop: Condvar::new(&io),
            io,
        });
        let working = Arc::clone(&shared);
        let thread = shared
            .io
            .spawn("afterimage-watch", move || working.work())?;
        Ok(Watch {
            shared,
            thread: Some(thread),
        })
    }

    /// What is watched.
    pub fn source(&self) -> &Source {
        &self.shared.source
    }

    /// When this watch began, in microseconds since the Unix epoch: what tells one from the next.
    pub fn began_micros(&self) -> u64 {
        self.shared.began_micros
    }

    /// Looks now. `None` where there is nothing to look at.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn look(&self) -> afterimage::Result<Option<Look>> {
        self.shared.look()
    }

    /// The points from the one with this number on, as far as they are kept, and the number of the one that comes next.
    pub fn points_since(&self, number: u64) -> (Vec<Point>, u64) {
        let seen = self.shared.seen.lock();
        let first = seen.count - seen.points.len() as u64;
        let skipped = number.clamp(first, seen.count) - first;
        let points = seen.points.iter().skip(skipped as usize).cloned();
        (points.collect(), seen.count)
    }

    /// What is to be said, given a look of now.
    pub fn verdict(&self, now: Option<&Look>) -> Verdict {
        let wall = self.shared.io.wall_clock();
        let seen = self.shared.seen.lock();
        let latest: Vec<&Point> = seen.points.iter().rev().take(verdict::POINTS).collect();
        verdict::judge(now, &latest, wall)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.seen.lock().stopping = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            // It only looks and counts; had it panicked, the panic has been told.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn look(&self) -> afterimage::Result<Option<Look>> {
        for _ in 1..TRIES {
            if let Some(look) = self.source.look(&self.io)? {
                return Ok(Some(look));
            }
            self.io.sleep(Duration::from_millis(2));
        }
        self.source.look(&self.io)
    }

    fn work(&self) {
        let mut due = self.io.now();
        loop {
            // What cannot be looked at now can perhaps be in a second; whoever asks is told why not.
            let look = self.look().ok().flatten();
            let mut seen = self.seen.lock();
            if let Some(look) = look {
                seen.take(look);
            }
            due = (due + EVERY).max(self.io.now());
            while !seen.stopping {
                let left = due.saturating_sub(self.io.now());
                if left.is_zero() {
                    break;
                }
                seen = self.stop.wait_timeout(seen, left).0;
            }
            if seen.stopping {
                return;
            }
        }
    }
}

impl Seen {
    fn take(&mut self, look: Look) {
        let point = self
            .last
            .as_ref()
            .and_then(|last| Point::between(last, &look));
        // A status file that has not been rewritten since is no new look.
        if point.is_some()
            || self
                .last
                .as_ref()
                .is_none_or(|last| last.status.pid != look.status.pid || last.clock != look.clock)
        {
            self.last = Some(look);
        }
        let Some(point) = point else { return };
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.count += 1;
    }
}
