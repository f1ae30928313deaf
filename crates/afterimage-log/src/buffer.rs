//! The append buffer: where records stand between their append and the write of their batch.
//!
//! Pure memory, guarded by one mutex in `log`. The open batch gathers; whoever leads the next flush closes it, which
//! puts it in flight and opens a new one. Bytes stand as they will stand on disk, in chunks of one segment
//! each, from a block boundary on (a block is what the file's durable writes are multiples of, 512 to 4096 bytes): a new chunk begins with a copy of the last, partly filled block, which is then
//! written again with identical bytes, and a segment's first chunk begins with its header. Batches in flight stay readable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use afterimage_io::planted::{self, Bug};

use crate::frame::{self, END, FrameKind, HEAD, WATERMARK};
use crate::identity::Identity;
use crate::options::{BLOCK, HEADER_BYTES};
use crate::segment::{Header, OpenSegment};
use crate::space;

/// Bytes of one segment, from a block boundary on.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub segment: Arc<OpenSegment>,
    /// Where the first byte goes, in the file.
    pub at: u64,
    pub bytes: Vec<u8>,
}

/// What one flush makes durable.
#[derive(Debug)]
pub(crate) struct Batch {
    pub chunks: Vec<Chunk>,
    /// The LSN of the first byte that is not yet written, and the exclusive end.
    pub start: u64,
    pub end: u64,
    /// The durable LSN that the batch's watermark tells, if it has one.
    pub proves: u64,
}

/// A segment that holds log. Its end is known once it is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live {
    pub first: u64,
    pub end: Option<u64>,
    pub epoch: u64,
}

/// Everything the buffer's mutex protects.
#[derive(Debug)]
pub(crate) struct Buffer {
    identity: Identity,
    pub epoch: u64,
    pub segment_bytes: u64,
    /// Where the next frame goes, or before.
    pub next: u64,
    pub last_time: u64,
    /// Whether `last_time` was read from the clock since the open batch began.
    pub clocked: bool,
    current: Arc<OpenSegment>,
    /// Segments with durable names, in the order in which they will be used.
    pub prepared: VecDeque<Arc<OpenSegment>>,
    chunks: Vec<Chunk>,
    /// Where the open batch begins, and where in its last chunk its watermark waits to be filled.
    start: u64,
    watermark: Option<(usize, usize)>,
    /// Batches that are closed and not yet where they are going, oldest first.
    flights: VecDeque<Arc<Batch>>,
    /// Buffers of earlier batches, to be used again.
    free: Vec<Vec<u8>>,
    pub live: BTreeMap<u64, Live>,
    /// The end of the last batch that held more than a watermark: what the heartbeat wants proven.
    pub last_record_end: u64,
    pub records: u64,
    pub bytes: u64,
    /// The log is being closed: its end stays where it is.
    pub sealed: bool,
}

/// Buffers larger than this are given back to the allocator.
const KEEP_BYTES: usize = 1 << 20;

impl Buffer {
    /// A buffer that goes on at `next`; `partial` holds the bytes of the current segment's last, partly filled block.
    pub(crate) fn new(
        header: &Header,
        current: OpenSegment,
        next: u64,
        partial: Vec<u8>,
        last_time: u64,
    ) -> Buffer {
        let current = Arc::new(current);
        let at = next - current.base - partial.len() as u64;
        assert!(
            at.is_multiple_of(current.file.block()),
            "BUFFER-1: chunks begin on block boundaries"
        );
        Buffer {
            identity: header.identity,
            epoch: header.epoch,
            segment_bytes: header.segment_bytes,
            next,
            last_time,
            clocked: false,
            chunks: vec![Chunk {
                segment: Arc::clone(&current),
                at,
                bytes: partial,
            }],
            current,
            prepared: VecDeque::new(),
            start: next,
            watermark: None,
            flights: VecDeque::new(),
            free: Vec::new(),
            live: BTreeMap::new(),
            last_record_end: next,
            records: 0,
            bytes: 0,
            sealed: false,
        }
    }

    /// Whether nothing was appended since the last batch was closed.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.next
    }

    /// How many bytes wait for a flush.
    pub(crate) fn waiting(&self) -> u64 {
        let bytes: usize = self.chunks.iter().map(|c| c.bytes.len()).sum();
        bytes as u64
    }

    fn offset(&self) -> u64 {
        self.next - self.current.base
    }

    /// How many bytes can be appended for certain. One prepared segment never counts: recovery may need it.
    pub(crate) fn capacity(&self) -> u64 {
        let spare = self.prepared.len().saturating_sub(1) as u64;
        space::capacity(self.segment_bytes, self.offset(), spare)
    }

    /// Takes a place for a frame of `len` bytes, opening the batch or the next segment where needed; answers the
    /// frame's LSN and its segment's seed. `slack` is the capacity that nobody has reserved.
    pub(crate) fn place(&mut self, len: u64, slack: u64) -> (u64, u64) {
        let watermark = if self.is_empty() && slack >= WATERMARK as u64 {
            WATERMARK as u64
        } else {
            0
        };
        if self.offset() + watermark + len + END as u64 > self.segment_bytes {
            self.roll();
        }
        if watermark > 0 {
            self.lay_watermark();
        }
        (self.next, self.current.seed)
    }

    /// The end of the buffer, for the frame that was placed; `next` moves with [`Buffer::advance`].
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self
            .chunks
            .last_mut()
            .expect("BUFFER-2: a batch has a chunk")
            .bytes
    }

    pub(crate) fn advance(&mut self, len: u64) {
        self.next += len;
        self.bytes += len;
        debug_assert!(
            self.offset() + END as u64 <= self.segment_bytes,
            "BUFFER-3: END fits behind every frame"
        );
    }

    /// A batch that holds nothing but a watermark. False where there is no room in this segment for it.
    pub(crate) fn heartbeat(&mut self, slack: u64) -> bool {
        let len = WATERMARK as u64;
        if !self.is_empty() || slack < len || self.offset() + len + END as u64 > self.segment_bytes
        {
            return false;
        }
        self.lay_watermark();
        true
    }

    /// Keeps the place of the batch's watermark. It is filled when the batch is closed.
    fn lay_watermark(&mut self) {
        let chunk = self.chunks.len() - 1;
        let bytes = self.tail();
        let at = bytes.len();
        bytes.extend_from_slice(&frame::word(FrameKind::Watermark, WATERMARK, false).to_le_bytes());
        bytes.resize(at + WATERMARK, 0);
        self.watermark = Some((chunk, at));
        self.advance(WATERMARK as u64);
    }

    /// Whether the current segment holds a record, as far as that is known: one that was opened again may.
    pub(crate) fn holds_records(&self) -> bool {
        self.last_record_end > self.current.base + HEADER_BYTES + WATERMARK as u64
    }

    /// Whether the next segment can be begun now without taking the place of what is reserved, or the last prepared
    /// segment.
    pub(crate) fn can_switch(&self, reserved: u64) -> bool {
        let spare = (self.prepared.len() as u64).checked_sub(2);
        let begun = HEADER_BYTES + WATERMARK as u64;
        spare.is_some_and(|spare| space::capacity(self.segment_bytes, begun, spare) >= reserved)
    }

    /// Begins the next segment, although there is room in this one.
    pub(crate) fn switch(&mut self) {
        let is_open = !self.is_empty();
        self.roll();
        if !is_open {
            self.lay_watermark();
        }
    }

    /// Fills the last block up, so that the next batch begins in a new one: with a pad frame, or in a segment's last
    /// block by going on in the next segment. Where the room for that is reserved for others, nothing is done, and the
    /// block is written again.
    pub(crate) fn pad(&mut self, reserved: u64) {
        // Also where the file's blocks are smaller: a disk may keep its sectors in blocks of this size, and write those again.
        let partial = self.offset() % BLOCK;
        if partial == 0 {
            return;
        }
        let room = BLOCK - partial;
        let len = if room < HEAD as u64 {
            room + BLOCK
        } else {
            room
        };
        if self.offset() + len + END as u64 <= self.segment_bytes {
            if self.capacity().saturating_sub(reserved) >= len {
                let payload = vec![0; len as usize - HEAD];
                let word = frame::word(FrameKind::Pad, len as usize, false);
                let crc = frame::body_crc(word, &payload);
                let at = (self.next, self.current.seed);
                frame::push(self.tail(), word, crc, at, None, &payload);
                self.advance(len);
            }
        } else if self.can_switch(reserved) {
            self.roll();
        }
    }

    /// Closes the current segment with END and goes on in the next prepared one.
    fn roll(&mut self) {
        let end = self.next;
        let frame = frame::end_frame(end, self.current.seed);
        self.tail().extend_from_slice(&frame);
        self.bytes += END as u64;
        let previous = self.current.number;
        if let Some(live) = self.live.get_mut(&previous) {
            live.end = Some(end);
        }
        let next = self.prepared.pop_front();
        self.current = next.expect("SPACE-4: the reserved capacity holds a prepared segment");
        let header = Header {
            identity: self.identity,
            epoch: self.epoch,
            number: self.current.number,
            previous,
            previous_end: end,
            segment_bytes: self.segment_bytes,
        };
        let mut bytes = self.free.pop().unwrap_or_default();
        bytes.extend_from_slice(&header.encode());
        self.chunks.push(Chunk {
            segment: Arc::clone(&self.current),
            at: 0,
            bytes,
        });
        self.next = header.first_lsn();
        self.live.insert(
            header.number,
            Live {
                first: self.next,
                end: None,
                epoch: header.epoch,
            },
        );
    }

    /// Closes the open batch: it is in flight from now on, and ends on a multiple of `least`, and of the file's blocks. None where there is
    /// nothing to write.
    pub(crate) fn close(&mut self, durable: u64, least: u64) -> Option<Arc<Batch>> {
        if self.is_empty() {
            return None;
        }
        self.clocked = false;
        let proves = if planted::active(Bug::WatermarkTooHigh) {
            self.fill_watermark(self.next)
        } else {
            self.fill_watermark(durable)
        };
        let fresh = self.fresh_chunk();
        let mut chunks = std::mem::replace(&mut self.chunks, vec![fresh]);
        for chunk in &mut chunks {
            let block = chunk.segment.file.block().max(least);
            let end = (chunk.at + chunk.bytes.len() as u64).next_multiple_of(block);
            chunk.bytes.resize((end - chunk.at) as usize, 0);
        }
        let batch = Arc::new(Batch {
            chunks,
            start: self.start,
            end: self.next,
            proves,
        });
        self.start = self.next;
        self.flights.push_back(Arc::clone(&batch));
        Some(batch)
    }

    fn fill_watermark(&mut self, durable: u64) -> u64 {
        let Some((chunk, at)) = self.watermark.take() else {
            return 0;
        };
        let chunk = &mut self.chunks[chunk];
        let lsn = chunk.segment.base + chunk.at + at as u64;
        let frame = frame::watermark_frame(lsn, chunk.segment.seed, durable, self.epoch);
        chunk.bytes[at..at + WATERMARK].copy_from_slice(&frame);
        durable
    }

    /// The first chunk of the next batch: a copy of the block that is only partly filled.
    fn fresh_chunk(&mut self) -> Chunk {
        let mut bytes = self.free.pop().unwrap_or_default();
        let last = self.chunks.last().expect("BUFFER-2: a batch has a chunk");
        let partial = last.bytes.len() % last.segment.file.block() as usize;
        bytes.extend_from_slice(&last.bytes[last.bytes.len() - partial..]);
        let at = last.at + (last.bytes.len() - partial) as u64;
        Chunk {
            segment: Arc::clone(&last.segment),
            at,
            bytes,
        }
    }

    /// The file holds the batch, and reads may go there: its memory can be used again.
    pub(crate) fn landed(&mut self, batch: Arc<Batch>) {
        self.flights.retain(|flight| !Arc::ptr_eq(flight, &batch));
        let Some(batch) = Arc::into_inner(batch) else {
            return;
        };
        for mut chunk in batch.chunks {
            if chunk.bytes.capacity() <= KEEP_BYTES && self.free.len() < 4 {
                chunk.bytes.clear();
                self.free.push(chunk.bytes);
            }
        }
    }

    /// The frame at `lsn`, whole, if it stands in memory.
    pub(crate) fn frame_at(&self, lsn: u64) -> Option<Vec<u8>> {
        let flight = self.flights.iter().find(|b| lsn < b.end);
        let (chunks, start) = match flight {
            Some(batch) => (&batch.chunks, batch.start),
            None => (&self.chunks, self.start),
        };
        if lsn < start || lsn >= self.next {
            return None;
        }
        let chunk = chunks.iter().find(|c| {
            (c.segment.base + c.at..).contains(&lsn) && lsn < c.segment.base + self.segment_bytes
        })?;
        let from = usize::try_from(lsn - chunk.segment.base - chunk.at).ok()?;
        let head = chunk.bytes.get(from..from + HEAD)?;
        // Our own memory, but the caller's number: a position inside a frame may look like any length.
        let len = frame::bounded_length(
            crate::bytes::get_u32(head, 0),
            lsn - chunk.segment.base,
            self.segment_bytes,
        )
        .ok()?;
        Some(chunk.bytes.get(from..from + len)?.to_vec())
    }

    /// The segment that is being appended to.
    pub(crate) fn current(&self) -> &Arc<OpenSegment> {
        &self.current
    }
}
