//! Group commit: who leads a flush, who is covered by it, who is woken by it.
//!
//! A committer that finds nobody flushing leads. It closes the batch, writes it with one write for each segment it
//! touches, syncs those files, oldest first, and publishes the durable LSN. Those whose records were in the batch
//! sleep on one word and are woken together; those who came later sleep on the other word, and one of them is woken
//! to lead the next flush. Leadership is handed over rather than dropped, so that a newcomer does not flush alone what
//! a whole group is about to join.
//!
//! The durable LSN passes a byte only if a sync of the byte's file, begun after its write, was successful. After an
//! error of a write or sync the log stops for ever: a second sync would say "OK" without having written anything.

use std::sync::Arc;

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::Ordering;

use crate::buffer::Batch;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::shared::{Group, Shared, micros};

impl Shared {
    /// As [`Shared::flush_to`], and the answer is a promise to the outside.
    pub(crate) fn acknowledge(&self, upto: u64) -> Result<()> {
        self.flush_to(upto)?;
        self.io.note(afterimage_io::Note::Acknowledged { upto });
        Ok(())
    }

    /// Waits until everything before `upto` is durable, leading the flush where nobody does.
    pub(crate) fn flush_to(&self, upto: u64) -> Result<()> {
        let mut waited = false;
        loop {
            if self.durable.load(Ordering::Acquire) >= upto {
                return Ok(());
            }
            let mut group = self.group.lock();
            // Looked at again under the mutex: the leader publishes before it takes it.
            if self.durable.load(Ordering::Acquire) >= upto {
                return Ok(());
            }
            if self.failed.load(Ordering::Acquire) {
                return Err(Error::OutcomeUnknown {
                    reason: self.reason(),
                });
            }
            if !group.leading || (group.handed && waited) {
                let durable = self.durable.load(Ordering::Acquire);
                let Some(batch) = self.buffer.lock().close(durable) else {
                    let what = "the log does not reach that far".into();
                    return Err(Error::NotFound {
                        lsn: Lsn::at(upto),
                        what,
                    });
                };
                let epoch = group.epoch + 1;
                *group = Group {
                    leading: true,
                    handed: false,
                    epoch,
                    target: batch.end,
                    next_waiters: 0,
                };
                drop(group);
                self.lead(batch, epoch);
                continue;
            }
            let covered = !group.handed && upto <= group.target;
            let flush = if covered {
                group.epoch
            } else {
                group.epoch + 1
            };
            if !covered {
                group.next_waiters += 1;
            }
            let word = &self.words[(flush & 1) as usize];
            let expected = word.load();
            drop(group);
            word.wait(expected);
            waited = true;
        }
    }

    /// Makes one batch durable, or stops the log; wakes those who wait for it, and the next leader.
    fn lead(&self, batch: Arc<Batch>, epoch: u64) {
        match self.write(&batch) {
            Ok(()) => self.publish(batch),
            Err(e) => return self.stop(e.to_string()),
        }
        let handed = {
            let mut group = self.group.lock();
            group.handed = group.next_waiters > 0;
            group.leading = group.handed;
            group.handed
        };
        // The group first: it has gathered again by the time the next leader runs. The other order was measured, and
        // settles in two half groups that take turns (8.2 commits a sync instead of 10.3 with 16 threads).
        self.words[(epoch & 1) as usize].wake_all();
        if handed {
            self.words[((epoch + 1) & 1) as usize].wake_one();
        }
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        for chunk in &batch.chunks {
            let written = chunk.segment.file.write_all_at(chunk.at, &chunk.bytes);
            written.map_err(|e| Error::io("write", &chunk.segment.path, chunk.at, e))?;
            self.counters.writes.fetch_add(1, Ordering::Relaxed);
            self.counters
                .bytes_written
                .fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        }
        self.written.store(batch.end, Ordering::Release);
        if planted::active(Bug::AckBeforeSync) {
            return Ok(());
        }
        for chunk in &batch.chunks {
            let synced = chunk.segment.file.sync();
            synced.map_err(|e| Error::io("sync", &chunk.segment.path, chunk.at, e))?;
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn publish(&self, batch: Arc<Batch>) {
        let durable = self.durable.swap(batch.end, Ordering::AcqRel);
        assert!(
            durable <= batch.start,
            "LOG-2: the durable LSN only grows, batch by batch"
        );
        self.proven.fetch_max(batch.proves, Ordering::AcqRel);
        self.last_flush
            .store(micros(self.io.now()), Ordering::Release);
        self.buffer.lock().landed(batch);
    }

    /// Stops the log for ever and wakes everybody, to be told so.
    pub(crate) fn stop(&self, reason: String) {
        self.failure.lock().get_or_insert(reason);
        self.failed.store(true, Ordering::Release);
        // Whoever has looked at `failed` before holds the mutex until it has read its word: it will not sleep through this.
        drop(self.group.lock());
        self.io.note(afterimage_io::Note::Stopped);
        for word in &self.words {
            word.wake_all();
        }
    }
}
