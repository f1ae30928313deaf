//! The append itself: a frame's place and bytes, under one short mutex, with the checksum made before.

use afterimage_io::sync::MutexGuard;
use afterimage_io::sync::atomic::Ordering;

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::frame::{self, FrameKind, HEAD, TIMED_HEAD};
use crate::lsn::{Appended, Lsn};
use crate::options::max_frame;
use crate::shared::Shared;
use crate::space::{self, Reservation};

/// A frame but for its place: what can be worked out before the mutex.
struct Draft<'a> {
    word: u32,
    crc: u32,
    len: u64,
    time: Time,
    payload: &'a [u8],
}

/// Whether a frame bears a time, and how exact.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    None,
    /// The clock as it was read, in microseconds since the Unix epoch.
    Now(u64),
    /// The clock as it was when the batch's first record came: asking the clock costs as much as the rest of an append.
    Batch,
}

impl Shared {
    /// The largest payload, in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        max_frame(self.segment_bytes) as usize - TIMED_HEAD
    }

    /// See `Log::append`.
    pub(crate) fn append(
        &self,
        reservation: &mut Reservation,
        kind: FrameKind,
        payload: &[u8],
        timed: bool,
        inside: impl FnOnce(Lsn, u64),
    ) -> Result<Appended> {
        let time = if timed {
            Time::Now(self.io.wall_clock())
        } else {
            Time::None
        };
        let draft = self.draft(kind, payload, time)?;
        let mut buffer = self.buffer.lock();
        self.admit(&buffer)?;
        let slack = buffer
            .capacity()
            .saturating_sub(self.reserved.load(Ordering::Acquire));
        reservation.spend(draft.len);
        Ok(self.put(&mut buffer, &draft, slack, inside))
    }

    /// Reserves and appends in one step: for records that nothing else depends on.
    pub(crate) fn append_now(&self, kind: FrameKind, payload: &[u8]) -> Result<Appended> {
        let draft = self.draft(kind, payload, Time::Batch)?;
        {
            let mut buffer = self.buffer.lock();
            self.admit(&buffer)?;
            let room = buffer
                .capacity()
                .saturating_sub(self.reserved.load(Ordering::Acquire));
            if room >= draft.len + space::slack(&self.options) && !self.is_full(&buffer) {
                return Ok(self.put(&mut buffer, &draft, room - draft.len, |_, _| ()));
            }
        }
        let mut reservation = self.reserve(draft.len)?;
        self.append(&mut reservation, kind, payload, true, |_, _| ())
    }

    fn draft<'a>(&self, kind: FrameKind, payload: &'a [u8], time: Time) -> Result<Draft<'a>> {
        let timed = time != Time::None;
        let len = payload.len() + if timed { TIMED_HEAD } else { HEAD };
        if payload.len() > self.max_payload() {
            return Err(Error::TooLarge {
                len: payload.len(),
                max: self.max_payload(),
            });
        }
        let word = frame::word(kind, len, timed);
        Ok(Draft {
            word,
            crc: frame::body_crc(word, payload),
            len: len as u64,
            time,
            payload,
        })
    }

    fn put(
        &self,
        buffer: &mut MutexGuard<'_, Buffer>,
        draft: &Draft<'_>,
        slack: u64,
        inside: impl FnOnce(Lsn, u64),
    ) -> Appended {
        let now = match draft.time {
            Time::None => None,
            Time::Now(now) => Some(now),
            Time::Batch if buffer.clocked => Some(buffer.last_time),
            Time::Batch => Some(self.io.wall_clock()),
        };
        buffer.clocked |= now.is_some();
        let (lsn, seed) = buffer.place(draft.len, slack);
        let time = now.map(|now| buffer.last_time.max(now));
        buffer.last_time = time.unwrap_or(buffer.last_time);
        frame::push(
            buffer.tail(),
            draft.word,
            draft.crc,
            (lsn, seed),
            time,
            draft.payload,
        );
        buffer.advance(draft.len);
        buffer.records += 1;
        buffer.last_record_end = buffer.next;
        // First: whoever reads the log's end sees the effects of all that is before it.
        inside(Lsn::at(lsn), time.unwrap_or(0));
        self.next.store(buffer.next, Ordering::Release);
        Appended {
            lsn: Lsn::at(lsn),
            end: Lsn::at(lsn + draft.len),
        }
    }
}
