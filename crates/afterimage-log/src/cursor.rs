//! Walks the frames of one segment file, a window at a time.

use std::path::Path;

use afterimage_io::File;

use crate::bytes::get_u32;
use crate::error::{Error, Result};
use crate::frame::{self, Fault, FrameKind, Head};
use crate::lsn::Lsn;
use crate::options::HEADER_BYTES;

/// How much is read at once; grows to the largest frame where one needs it.
const WINDOW: usize = 64 << 10;

/// A place in a segment file, and the bytes around it.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub file: File,
    pub number: u64,
    pub seed: u64,
    segment_bytes: u64,
    /// Where the next frame begins, in the file.
    pub offset: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What stands at the cursor.
#[derive(Debug)]
pub(crate) enum Step {
    /// A frame that is not END; the cursor has moved behind it.
    Frame(Here),
    /// The segment is closed here; the cursor stays.
    Closed,
    /// No frame; the cursor stays.
    Bad(Fault),
}

/// Where a frame was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here {
    pub head: Head,
    pub offset: u64,
    pub lsn: Lsn,
    pub end: Lsn,
    start: usize,
}

impl Cursor {
    /// A cursor at `offset` of the file of segment `number`.
    pub(crate) fn new(
        file: File,
        number: u64,
        seed: u64,
        segment_bytes: u64,
        offset: u64,
    ) -> Cursor {
        debug_assert!(
            offset >= HEADER_BYTES,
            "CURSOR-1: frames begin behind the header"
        );
        Cursor {
            file,
            number,
            seed,
            segment_bytes,
            offset,
            window: Vec::new(),
            window_at: 0,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// The position of the cursor.
    #[inline]
    pub(crate) fn lsn(&self) -> Lsn {
        Lsn::at(self.base() + self.offset)
    }

    #[inline]
    fn base(&self) -> u64 {
        self.number * self.segment_bytes
    }

    /// Forgets what was read, because the file may have grown since.
    pub(crate) fn refresh(&mut self) {
        self.window.clear();
    }

    /// The payload of the frame that the last step found.
    #[inline]
    pub(crate) fn payload(&self, here: &Here) -> &[u8] {
        &self.window[here.start + here.head.payload_at..here.start + here.head.len]
    }

    /// Looks at the frame under the cursor.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<Step> {
        if self.segment_bytes - self.offset < frame::END as u64 {
            return Ok(Step::Bad(Fault::Length(0)));
        }
        let Some(start) = self.load(frame::HEAD)? else {
            return Ok(Step::Bad(Fault::Short));
        };
        let word = get_u32(&self.window, start);
        let len = match frame::bounded_length(word, self.offset, self.segment_bytes) {
            Ok(len) => len,
            Err(fault) => return Ok(Step::Bad(fault)),
        };
        let Some(start) = self.load(len)? else {
            return Ok(Step::Bad(Fault::Short));
        };
        let lsn = self.base() + self.offset;
        match frame::decode(&self.window[start..start + len], lsn, self.seed) {
            Ok(head) if head.kind == FrameKind::End => Ok(Step::Closed),
            Ok(head) => {
                let here = Here {
                    head,
                    offset: self.offset,
                    lsn: Lsn::at(lsn),
                    end: Lsn::at(lsn + len as u64),
                    start,
                };
                self.offset += len as u64;
                Ok(Step::Frame(here))
            }
            Err(Fault::Unknown(word)) => Err(Error::Unsupported {
                path: self.path().to_path_buf(),
                what: format!("{} at byte {}", Fault::Unknown(word), self.offset),
            }),
            Err(fault) => Ok(Step::Bad(fault)),
        }
    }

    /// Sees to it that `len` bytes from the cursor on are in the window; answers where, or none at the file's end.
    #[inline]
    fn load(&mut self, len: usize) -> Result<Option<usize>> {
        let inside = self.offset.checked_sub(self.window_at).map(|n| n as usize);
        if let Some(start) = inside.filter(|start| start + len <= self.window.len()) {
            return Ok(Some(start));
        }
        let want = len
            .max(WINDOW)
            .min((self.segment_bytes - self.offset) as usize);
        self.window.resize(want, 0);
        self.window_at = self.offset;
        let mut filled = 0;
        while filled < want {
            let at = self.offset + filled as u64;
            match self.file.read_at(at, &mut self.window[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.window.clear();
                    return Err(Error::io("read", self.file.path(), at, e));
                }
            }
        }
        self.window.truncate(filled);
        Ok((filled >= len).then_some(0))
    }
}
