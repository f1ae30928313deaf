//! Group commit: who leads a flush, who is covered by it, who is woken by it.
//!
//! A committer that finds nobody flushing leads. It closes the batch, writes it with one write for each segment it
//! touches, syncs those files, oldest first, and publishes the durable LSN. Those whose records were in the batch
//! sleep on one word and are woken together; those who came later sleep on the next word, and one of them is woken
//! to lead the next flush. Leadership is handed over rather than dropped, so that a newcomer does not flush alone what
//! a whole group is about to join.
//!
//! The leader waits, very briefly, until those who were in the last flush have come back; otherwise two half groups
//! take turns, and each commit waits for two syncs. Where they do not come it soon stops waiting.
//!
//! On a slow device several flushes are under way at once, begun at even distances, so that nobody waits for a whole
//! sync before his own begins (decision 0017). The durable LSN passes a byte only if a sync of the byte's file, begun after
//! its write, was successful, and only when all flushes begun before have succeeded too. After an error of a write or
//! sync the log stops for ever: a second sync would say "OK" without having written anything.

use std::sync::Arc;
use std::time::Duration;

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::MutexGuard;
use afterimage_io::sync::atomic::Ordering;

use crate::buffer::Batch;
use crate::choice::SLOW;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::group::{Flight, Group, Lane, WORDS};
use crate::lsn::Lsn;
use crate::options::{BLOCK, MOST_FLIGHTS};
use crate::segment::OpenSegment;
use crate::shared::Shared;
use crate::ticket;
use crate::units::micros;

impl Shared {
    /// See `Log::wait`.
    pub(crate) fn wait(self: &Arc<Shared>, upto: u64, level: Durability) -> Result<()> {
        match level {
            Durability::Memory => self.note_unforced(),
            Durability::Os => {
                // Armed first: the bytes may not stay without a sync for longer than the delay.
                self.note_unforced();
                if self.written.load(Ordering::Acquire) < upto {
                    let write = || self.write_to(upto);
                    self.times.wait_sync.during(&self.io, write)?;
                }
            }
            Durability::Disk => self.acknowledge(upto, 1)?,
        }
        if self.durable.load(Ordering::Acquire) < upto {
            // After a stop nobody makes it durable any more, however soon that was to be.
            self.check_outcome()?;
        }
        Ok(())
    }

    /// See `Log::note_memory_commit`.
    pub(crate) fn note_unforced(self: &Arc<Shared>) {
        if self.flusher.arm() && self.options.background {
            ticket::start(self);
        }
    }

    /// As [`Shared::flush_to`], and the answer is a promise to the outside.
    pub(crate) fn acknowledge(&self, upto: u64, commits: u32) -> Result<()> {
        if self.durable.load(Ordering::Acquire) < upto {
            let _waiting = tracing::trace_span!("wait_durable", upto).entered();
            let flush = || self.flush(upto, commits);
            self.times.wait_sync.during(&self.io, flush)?;
        }
        self.io.note(afterimage_io::Note::Acknowledged { upto });
        Ok(())
    }

    /// Waits until everything before `upto` is durable, leading the flush where nobody does; on nobody's behalf who is counted.
    pub(crate) fn flush_to(&self, upto: u64) -> Result<()> {
        self.flush(upto, 0)
    }

    /// As [`Shared::flush_to`], for so many commits: one, or none.
    fn flush(&self, upto: u64, commits: u32) -> Result<()> {
        let mut waited = false;
        loop {
            if self.durable.load(Ordering::Acquire) >= upto {
                return Ok(());
            }
            let mut group = self.group.lock();
            // Looked at again under the mutex: it is published under it.
            if self.durable.load(Ordering::Acquire) >= upto {
                return Ok(());
            }
            self.check_outcome()?;
            if let Some(flight) = group.covering(upto) {
                flight.waiters += 1;
                flight.commits += u32::from(!waited);
                if !waited && commits > 0 && flight.counted {
                    self.counters.flush_commits.fetch_add(1, Ordering::Relaxed);
                }
                let epoch = flight.epoch;
                self.sleep_on(group, epoch);
                waited = true;
                continue;
            }
            if (group.handed && waited) || (!group.leading && self.may_begin(&group)) {
                self.lead(group, upto, commits)?;
                continue;
            }
            self.next_waiters.fetch_add(1, Ordering::Relaxed);
            let epoch = group.epoch + 1;
            self.sleep_on(group, epoch);
            waited = true;
        }
    }

    /// Waits until the operating system has everything before `upto`, writing it where nobody does. It is durable later.
    pub(crate) fn write_to(&self, upto: u64) -> Result<()> {
        loop {
            if self.written.load(Ordering::Acquire) >= upto {
                return Ok(());
            }
            let mut group = self.group.lock();
            if self.written.load(Ordering::Acquire) >= upto {
                return Ok(());
            }
            self.check_outcome()?;
            if group.leading {
                group.written_waiters += 1;
                let expected = self.written_word.load();
                drop(group);
                self.written_word.wait(expected);
                continue;
            }
            // By whole pages of the page cache: of a part of one it would have to read the rest first.
            let Some(batch) = self.close_batch(BLOCK) else {
                return Err(beyond(upto));
            };
            group.leading = true;
            drop(group);
            if let Err(e) = self.write(&batch, false) {
                self.stop(e.to_string());
                continue;
            }
            let mut group = self.group.lock();
            add_segments(&mut group.unsynced, &batch);
            group.unsynced_proves = group.unsynced_proves.max(batch.proves);
            self.written_by_now(group);
            self.buffer.lock().landed(batch);
        }
    }

    /// What has gathered, closed and in flight from now on; none where there is nothing.
    /// It ends on a multiple of `least`, and of the file's blocks.
    fn close_batch(&self, least: u64) -> Option<Arc<Batch>> {
        let durable = self.durable.load(Ordering::Acquire);
        let mut buffer = self.buffer.lock();
        if self.options.wal_pad_flush && !buffer.is_empty() {
            buffer.pad(self.reserved.load(Ordering::Acquire));
            self.next.store(buffer.next, Ordering::Release);
        }
        buffer.close(durable, least)
    }

    fn check_outcome(&self) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::OutcomeUnknown {
                reason: self.reason(),
            });
        }
        Ok(())
    }

    fn word(&self, epoch: u64) -> &afterimage_io::sync::WaitWord {
        &self.words[(epoch % WORDS as u64) as usize]
    }

    /// Sleeps until the flush of `epoch` is done, or its leader is wanted. The word is read under the mutex, and
    /// whoever wakes has held it since: no wake-up is lost.
    fn sleep_on(&self, group: MutexGuard<'_, Group>, epoch: u64) {
        let word = self.word(epoch);
        let expected = word.load();
        drop(group);
        word.wait(expected);
    }

    /// Whether a flush may begin now, next to those under way.
    fn may_begin(&self, group: &Group) -> bool {
        if group.flights.is_empty() {
            return true;
        }
        if self.is_by_write() {
            // Two of them would write the block that they share in any order.
            return false;
        }
        let fixed = self.options.flushes_in_flight;
        if fixed > 0 {
            return group.flights.len() < fixed;
        }
        self.is_slow() && group.flights.len() < MOST_FLIGHTS
    }

    /// Whether syncs take so long that they overlap.
    fn is_slow(&self) -> bool {
        self.sync_nanos.load(Ordering::Relaxed) >= SLOW
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.io.now().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Makes durable what has gathered, or stops the log; wakes those who wait for it, and the next leader.
    fn lead<'a>(&'a self, mut group: MutexGuard<'a, Group>, upto: u64, commits: u32) -> Result<()> {
        let handed = std::mem::replace(&mut group.handed, false);
        group.leading = true;
        // Whoever was handed the lead has waited for it, and is counted.
        let me = u32::from(!handed);
        group = self.gather(group, me);
        if let Err(e) = self.check_outcome() {
            group.leading = false;
            return Err(e);
        }
        let batch = self.close_batch(1);
        let mut segments = std::mem::take(&mut group.unsynced);
        let proves = std::mem::take(&mut group.unsynced_proves);
        if batch.is_none() && segments.is_empty() {
            // Somebody has asked for a position that was never handed out, or has written all there was meanwhile.
            group.leading = false;
            self.hand_over(group, &[]);
            return Err(beyond(upto));
        }
        if let Some(batch) = &batch
            && !self.is_by_write()
        {
            add_segments(&mut segments, batch);
        }
        let epoch = group.epoch + 1;
        group.epoch = epoch;
        let waiters = self.next_waiters.swap(0, Ordering::Relaxed);
        group.began = if self.options.flushes_in_flight == 0 {
            self.nanos()
        } else {
            0
        };
        let counted = waiters + me.min(commits);
        self.count_flush(&group, counted);
        group.flights.push_back(Flight {
            epoch,
            end: batch
                .as_ref()
                .map_or_else(|| self.written.load(Ordering::Acquire), |b| b.end),
            proves: batch.as_ref().map_or(proves, |b| b.proves.max(proves)),
            commits: waiters + me,
            waiters,
            counted: counted > 0,
            synced: false,
        });
        let mut lane = group.take_lane();
        drop(group);
        let bytes = batch.as_ref().map_or(0, |batch| batch.end - batch.start);
        let _flushing = tracing::debug_span!("flush", commits = counted, bytes).entered();
        if let Err(e) = lane.open(&self.io, &segments) {
            self.stop(e.to_string());
            return Ok(());
        }
        if let Some(batch) = &batch
            && let Err(e) = self.write(batch, self.is_by_write())
            && !planted::active(Bug::HalfRecordKept)
        {
            self.stop(e.to_string());
            return Ok(());
        }
        self.written_by_now(self.group.lock());
        let mut synced = self.sync(&lane, &segments);
        if planted::active(Bug::SyncRetried) && synced.is_err() {
            synced = self.sync(&lane, &segments);
        }
        if let Err(e) = synced {
            self.stop(e.to_string());
            return Ok(());
        }
        self.publish(epoch, lane);
        if let Some(batch) = batch {
            // Not before: after a failed sync the file may show older bytes than were written to it.
            self.buffer.lock().landed(batch);
        }
        Ok(())
    }

    /// A flush begins that carries so many commits, beside those under way. One that carries none is somebody else's: the
    /// background's, a cleaner's.
    fn count_flush(&self, group: &Group, commits: u32) {
        if commits == 0 {
            return;
        }
        let beside: u32 = group.flights.iter().map(|flight| flight.commits).sum();
        for (counter, n) in [
            (&self.counters.flushes, 1),
            (&self.counters.flush_commits, commits),
            (&self.counters.flush_writers, commits + beside),
        ] {
            counter.fetch_add(u64::from(n), Ordering::Relaxed);
        }
    }

    /// Gives others time to join: for `commit_delay`, if that is set and at least `commit_siblings` wait; else until
    /// those who were in the last flush are back, a sync's time at most. That is by yielding, not by sleeping: the others
    /// need a processor and are about to come, and a sleep would take longer than all of it. Where syncs are slow and
    /// overlap, it is the even distance to the flush before that is waited for.
    fn gather<'a>(&'a self, mut group: MutexGuard<'a, Group>, me: u32) -> MutexGuard<'a, Group> {
        let waiting = || self.next_waiters.load(Ordering::Relaxed);
        let delay = self.changing.commit_delay();
        if !delay.is_zero() {
            if u64::from(waiting()) >= self.changing.commit_siblings() {
                drop(group);
                self.io.sleep(delay);
                group = self.group.lock();
            }
            return group;
        }
        let sync = self.sync_nanos.load(Ordering::Relaxed);
        if self.is_slow() {
            let even = sync / MOST_FLIGHTS as u64;
            let since = self.nanos().saturating_sub(group.began);
            if since < even {
                drop(group);
                self.io.sleep(Duration::from_nanos(even - since));
                group = self.group.lock();
            }
            return group;
        }
        if sync == 0 || !group.gather.wanted(waiting() + me) {
            return group;
        }
        let expected = group.gather.expected;
        drop(group);
        let until = self.nanos() + sync;
        while waiting() + me < expected && self.nanos() < until {
            self.io.yield_now();
        }
        group = self.group.lock();
        group.gather.tell(waiting() + me >= expected);
        group
    }

    /// The leader has written: others may begin.
    fn written_by_now(&self, mut group: MutexGuard<'_, Group>) {
        group.leading = false;
        let waiters = std::mem::take(&mut group.written_waiters);
        self.hand_over(group, &[]);
        if waiters > 0 {
            self.written_word.wake_all();
        }
    }

    /// Wakes those whose flushes are done, and the leader of the next flush if there may be one.
    fn hand_over(&self, mut group: MutexGuard<'_, Group>, done: &[u64]) {
        let next = group.epoch + 1;
        let waiting = self.next_waiters.load(Ordering::Relaxed) > 0;
        let hand = waiting && !group.leading && self.may_begin(&group);
        if hand {
            group.leading = true;
            group.handed = true;
        }
        drop(group);
        // The group first: it has gathered again by the time the next leader runs. The other order was measured, and
        // settles in two half groups that take turns (decision 0009).
        for epoch in done {
            self.word(*epoch).wake_all();
        }
        if hand {
            self.word(next).wake_one();
        }
    }

    /// Whether a flush is durable by its write alone.
    fn is_by_write(&self) -> bool {
        self.choice.writes.is_by_write()
    }

    fn write(&self, batch: &Batch, durably: bool) -> Result<()> {
        let began = self.nanos();
        for chunk in &batch.chunks {
            let file = &chunk.segment.file;
            let written = if durably && !planted::active(Bug::AckBeforeSync) {
                self.counters.syncs.fetch_add(1, Ordering::Relaxed);
                file.write_all_at_durably(chunk.at, &chunk.bytes)
            } else {
                file.write_all_at(chunk.at, &chunk.bytes)
            };
            written.map_err(|e| Error::io("write", &chunk.segment.path, chunk.at, e))?;
            self.counters.writes.fetch_add(1, Ordering::Relaxed);
            self.counters
                .bytes_written
                .fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        }
        if durably {
            self.took(began);
        }
        self.written.store(batch.end, Ordering::Release);
        self.written_wakers.wake(batch.end);
        Ok(())
    }

    fn sync(&self, lane: &Lane, segments: &[Arc<OpenSegment>]) -> Result<()> {
        if planted::active(Bug::AckBeforeSync) {
            return Ok(());
        }
        let began = self.nanos();
        for segment in segments {
            lane.sync(segment)?;
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        }
        if !segments.is_empty() {
            self.took(began);
        }
        Ok(())
    }

    /// Something was made durable, and it began then.
    fn took(&self, began: u64) {
        let took = self.nanos().saturating_sub(began);
        let average = self.sync_nanos.load(Ordering::Relaxed);
        let average = if average == 0 {
            took
        } else {
            average - average / 8 + took / 8
        };
        self.sync_nanos.store(average, Ordering::Relaxed);
        self.times.sync.add(Duration::from_nanos(took));
    }

    /// One flush is synced: the durable LSN passes it when all before it are.
    fn publish(&self, epoch: u64, lane: Lane) {
        let mut done = Vec::new();
        let mut advanced = false;
        let mut group = self.group.lock();
        group.give_back(lane);
        for flight in &mut group.flights {
            flight.synced |= flight.epoch == epoch
                || (flight.epoch < epoch && planted::active(Bug::DurableOverHole));
        }
        while group.flights.front().is_some_and(|flight| flight.synced)
            && let Some(flight) = group.flights.pop_front()
        {
            let durable = self.durable.swap(flight.end, Ordering::AcqRel);
            assert!(
                durable <= flight.end,
                "LOG-2: the durable LSN only grows, flush by flush"
            );
            advanced = true;
            self.proven.fetch_max(flight.proves, Ordering::AcqRel);
            group.gather.expected = flight.commits + self.next_waiters.load(Ordering::Relaxed);
            if flight.waiters > 0 {
                done.push(flight.epoch);
            }
        }
        self.last_flush
            .store(micros(self.io.now()), Ordering::Release);
        self.hand_over(group, &done);
        if advanced {
            self.published();
        }
    }

    /// Stops the log for ever and wakes everybody, to be told so.
    pub(crate) fn stop(&self, reason: String) {
        tracing::error!(
            reason,
            "the log has stopped for ever: close it and open it again, which recovers what is durable"
        );
        self.failure.lock().get_or_insert(reason);
        self.failed.store(true, Ordering::Release);
        // Whoever has looked at `failed` before holds the mutex until it has read its word: it will not sleep through this.
        drop(self.group.lock());
        self.io.note(afterimage_io::Note::Stopped);
        if planted::active(Bug::StopNotTold) {
            return;
        }
        for word in self.words.iter().chain([&self.written_word]) {
            word.wake_all();
        }
        self.durable_wakers.wake_all();
        self.written_wakers.wake_all();
    }
}

/// Adds the files that a batch was written to.
fn add_segments(segments: &mut Vec<Arc<OpenSegment>>, batch: &Batch) {
    for chunk in &batch.chunks {
        if !segments.iter().any(|s| s.number == chunk.segment.number) {
            segments.push(Arc::clone(&chunk.segment));
        }
    }
}

fn beyond(upto: u64) -> Error {
    Error::NotFound {
        lsn: Lsn::at(upto),
        what: "the log does not reach that far".into(),
    }
}
