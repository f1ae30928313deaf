//! What is done for the log when nobody asks: late flushes, the idle log's watermark, spare segments. No thread of its
//! own: whoever runs the log calls one step after the other.

use std::time::Duration;

use afterimage_io::Progress;
use afterimage_io::sync::atomic::Ordering;

use crate::error::Result;
use crate::shared::Shared;
use crate::units::micros;

impl Shared {
    /// See `Log::step`.
    pub(crate) fn step(&self) -> Result<Progress> {
        self.check()?;
        let now = micros(self.io.now());
        let delay = micros(self.options.wal_writer_delay);
        if self.flush_if_due()? {
            return Ok(Progress::Worked);
        }
        let next = self.next.load(Ordering::Acquire);
        let durable = self.durable.load(Ordering::Acquire);
        if next > durable && self.flusher.target() > durable {
            self.flush_to(next).or_else(|_| self.check())?;
            return Ok(Progress::Worked);
        }
        if now.saturating_sub(self.last_flush.load(Ordering::Acquire)) >= delay
            && self.heartbeat()?
        {
            return Ok(Progress::Worked);
        }
        if self.switch_late(now)? == Progress::Worked {
            return Ok(Progress::Worked);
        }
        self.keep_spares(now)
    }

    /// Makes durable what nobody waits for, once it has stood in memory for `wal_writer_delay`.
    pub(crate) fn flush_if_due(&self) -> Result<bool> {
        if self.flusher.due_in() != Some(Duration::ZERO) {
            return Ok(false);
        }
        self.flusher.disarm();
        let next = self.buffer.lock().next;
        if next <= self.durable.load(Ordering::Acquire) {
            return Ok(false);
        }
        self.flush_to(next).or_else(|_| self.check())?;
        Ok(true)
    }

    /// Writes a watermark for the last batch, if it has none yet and nothing else is going on.
    fn heartbeat(&self) -> Result<bool> {
        let next = {
            let mut buffer = self.buffer.lock();
            let durable = self.durable.load(Ordering::Acquire);
            let wanted = !buffer.sealed
                && buffer.next == durable
                && self.proven.load(Ordering::Acquire) < buffer.last_record_end;
            let slack = buffer
                .capacity()
                .saturating_sub(self.reserved.load(Ordering::Acquire));
            if !wanted || !buffer.heartbeat(slack) {
                return Ok(false);
            }
            self.next.store(buffer.next, Ordering::Release);
            buffer.next
        };
        self.flush_to(next).or_else(|_| self.check())?;
        Ok(true)
    }
}
