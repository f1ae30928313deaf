//! Taking log space: the one step of a write that may have to wait, or to make room.

use std::sync::Arc;

use afterimage_io::sync::atomic::Ordering;

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::shared::Shared;
use crate::space::{self, Reservation};

impl Shared {
    /// Whether so much waits in the buffer that it must be written before more is taken.
    pub(crate) fn is_full(&self, buffer: &Buffer) -> bool {
        buffer.waiting() > self.options.wal_buffers
    }

    /// See `Log::reserve`.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let max = space::largest_reservation(self.segment_bytes);
        if bytes > max {
            return Err(Error::TooLarge {
                len: bytes as usize,
                max: max as usize,
            });
        }
        loop {
            self.check()?;
            let made = self.counters.made.load(Ordering::Acquire);
            let full = {
                let buffer = self.buffer.lock();
                let reserved = self.reserved.load(Ordering::Acquire);
                let full = self.is_full(&buffer);
                if !full && buffer.capacity() >= reserved + bytes + space::slack(&self.options) {
                    self.reserved.fetch_add(bytes, Ordering::AcqRel);
                    return Ok(Reservation::new(Arc::clone(&self.reserved), bytes));
                }
                full
            };
            if full {
                self.counters.buffers_full.fetch_add(1, Ordering::Relaxed);
                let write = || self.write_to(self.next.load(Ordering::Acquire));
                let written = self.times.wait_buffer.during(&self.io, write);
                written.or_else(|_| self.check())?;
            } else {
                let prepare = || self.prepare_one(made);
                self.times.wait_space.during(&self.io, prepare)?;
            }
        }
    }
}
