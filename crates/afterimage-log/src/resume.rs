//! The way from an examined log to an open one.
//!
//! After a clean stop the log goes on where it ended. After any other stop three things are done, in this order, and
//! a crash between any two of them leads back here (`docs/recovery.md`):
//!
//! 1. What no watermark proves to be on disk may be in the page cache only: a sync of the dead process may have
//!    failed, and ours would say "OK". Those segments are copied up to the end of the log, closed with END, and renamed
//!    over the old ones, oldest first. This also makes a torn tail physically dead.
//! 2. Appending goes on in a *new* segment, numbered above every file there is, so that no position ever handed out
//!    comes back. Its header and a first watermark are durable before the first append.
//! 3. Files that are not part of the log, left by a cut or prepared by the dead process, get future numbers or are removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_io::planted::{self, Bug};
use afterimage_io::{File, Io, OpenMode};

use crate::buffer::{Buffer, Live};
use crate::choice::{self, SyncChoice};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::examine::Examination;
use crate::files::Files;
use crate::files::SegmentInfo;
use crate::frame::{self, END, WATERMARK};
use crate::options::{BLOCK, HEADER_BYTES, LogOptions};
use crate::segment::{self, Header, OpenSegment};
use crate::shared::{Opening, Shared};
use crate::tail::Tail;

/// The name under which a segment is written anew.
const REWRITE: &str = "rewrite.tmp";

/// See `Log::resume`.
pub(crate) fn resume(
    io: &Io,
    dir: &Path,
    control: &Control,
    found: Examination,
    options: &LogOptions,
) -> Result<Arc<Shared>> {
    let options = LogOptions {
        segment_bytes: control.segment_bytes,
        ..options.clone()
    };
    options.check()?;
    let files = Files::read(io, dir, control)?;
    let work = Resume {
        io,
        files,
        control,
        found,
        options,
    };
    if work.found.verdict == Tail::Clean || planted::active(Bug::TailLeftAlive) {
        work.go_on()
    } else {
        work.begin_anew()
    }
}

struct Resume<'a> {
    io: &'a Io,
    files: Files,
    control: &'a Control,
    found: Examination,
    options: LogOptions,
}

impl Resume<'_> {
    /// After a clean stop: the same segment, the same epoch, the next byte.
    fn go_on(self) -> Result<Arc<Shared>> {
        let last = self.last()?.clone();
        let header = self
            .files
            .header(last.number)
            .cloned()
            .ok_or_else(|| changed(&last.path))?;
        let end = self.found.end.get();
        let current = self.open_for_writing(last.number)?;
        let offset = end - current.base;
        let mut partial = vec![0; (offset % current.file.block()) as usize];
        let block = offset - partial.len() as u64;
        read_twice(&current.file, block, &mut partial)?;
        let spares = self.adopt_spares(last.number + 1)?;
        let buffer = Buffer::new(&header, current, end, partial, self.found.last_time);
        self.open(buffer, None, spares, self.found.watermark.get())
    }

    /// After any other stop.
    fn begin_anew(self) -> Result<Arc<Shared>> {
        self.last()?;
        for info in self.found.unproven() {
            self.rewrite(info)?;
        }
        let (header, current) = self.new_segment()?;
        let number = current.number;
        // The header's block and the watermark behind it are written already.
        let at = header.first_lsn();
        let partial = first_watermark(&header, current.seed).to_vec();
        let next = at + WATERMARK as u64;
        let mut buffer = Buffer::new(&header, current, next, partial, self.found.last_time);
        let proven = header.previous_end;
        buffer.last_record_end = proven;
        let spares = self.adopt_spares(number + 1)?;
        self.open(buffer, Some(number), spares, proven)
    }

    fn last(&self) -> Result<&SegmentInfo> {
        self.found
            .segments
            .last()
            .ok_or_else(|| changed(&self.files.dir))
    }

    /// The log, with all its segments, ready for appends.
    fn open(
        &self,
        mut buffer: Buffer,
        new: Option<u64>,
        spares: Vec<OpenSegment>,
        proven: u64,
    ) -> Result<Arc<Shared>> {
        for info in &self.found.segments {
            let end = Some(info.end.get());
            buffer.live.insert(
                info.number,
                Live {
                    first: info.first.get(),
                    end,
                    epoch: info.epoch,
                },
            );
        }
        let current = new.unwrap_or(self.last()?.number);
        let base = current * self.control.segment_bytes + HEADER_BYTES;
        buffer.live.insert(
            current,
            Live {
                first: base,
                end: None,
                epoch: buffer.epoch,
            },
        );
        let highest = spares
            .last()
            .map_or(0, |s| s.number)
            .max(self.files.highest)
            .max(current);
        buffer.prepared.extend(spares.into_iter().map(Into::into));
        let opening = Opening {
            dir: self.files.dir.clone(),
            identity: self.control.identity,
            segment_bytes: self.control.segment_bytes,
            durable: buffer.next,
            proven,
            buffer,
            next_number: highest + 1,
            choice: self.writes(),
        };
        Ok(Shared::open(self.io, &self.options, opening))
    }

    fn open_for_writing(&self, number: u64) -> Result<OpenSegment> {
        let path = self.files.path(number);
        let file = self
            .io
            .open(&path, OpenMode::ReadWrite)
            .map_err(|e| Error::io("open", &path, 0, e))?;
        let segment_bytes = self.control.segment_bytes;
        OpenSegment::new(&self.control.identity, number, segment_bytes, path, file)
            .written_by(self.io, self.writes().writes)
    }

    fn writes(&self) -> SyncChoice {
        choice::asked(&self.options, self.control.writes)
    }

    /// Writes a segment anew: its bytes up to its end, END, zeroes; then puts it in the place of the old one.
    fn rewrite(&self, info: &SegmentInfo) -> Result<()> {
        let old = self.files.open(info.number)?;
        let seed = frame::seed(&self.control.identity, info.number);
        let end = info.end.get() - info.number * self.control.segment_bytes;
        if planted::active(Bug::TailNotRewritten) {
            return self.close_in_place(info, end, seed);
        }
        let (temporary, file) = self.temporary()?;
        copy(&old, &file, end)?;
        let failed = |op, e| Error::io(op, &temporary, end, e);
        file.write_all_at(end, &frame::end_frame(info.end.get(), seed))
            .map_err(|e| failed("write", e))?;
        file.prefill(end + END as u64, self.control.segment_bytes)
            .map_err(|e| failed("write", e))?;
        file.sync_all().map_err(|e| failed("sync", e))?;
        let path = self.files.path(info.number);
        self.io
            .rename(&temporary, &path)
            .map_err(|e| failed("rename", e))?;
        self.io
            .sync_dir(&self.files.dir)
            .map_err(|e| Error::io("sync directory", &self.files.dir, 0, e))
    }

    /// What a naive recovery does (planted): it closes the segment and believes the bytes before.
    fn close_in_place(&self, info: &SegmentInfo, end: u64, seed: u64) -> Result<()> {
        let segment = self.open_for_writing(info.number)?;
        let mut bytes = frame::end_frame(info.end.get(), seed).to_vec();
        bytes.resize((self.control.segment_bytes - end) as usize, 0);
        let written = segment
            .file
            .write_all_at(end, &bytes)
            .and_then(|()| segment.file.sync_all());
        written.map_err(|e| Error::io("write", &segment.path, end, e))
    }

    /// A file of full size to write a segment into: a new one, or, on a full disk, the spare one that is kept for this.
    fn temporary(&self) -> Result<(PathBuf, File)> {
        let path = self.files.dir.join(REWRITE);
        match segment::prepare(self.io, &path, self.control.segment_bytes) {
            Ok(file) => Ok((path, file)),
            Err(Error::DiskFull { path, needed }) => match self.spare_as_temporary()? {
                Some(spare) => Ok(spare),
                None => Err(Error::DiskFull { path, needed }),
            },
            Err(e) => Err(e),
        }
    }

    /// A file that holds no log, renamed so that its number stays on record until it is used up.
    fn spare_as_temporary(&self) -> Result<Option<(PathBuf, File)>> {
        let left = self
            .files
            .temporary
            .iter()
            .map(|name| self.files.dir.join(name));
        let spares = self.unused().map(|number| self.files.path(number));
        for path in left.chain(spares) {
            let Ok(file) = self.io.open(&path, OpenMode::ReadWrite) else {
                continue;
            };
            if file.len().map_err(|e| Error::io("read", &path, 0, e))? != self.control.segment_bytes
            {
                continue;
            }
            let to = path.with_extension("tmp");
            if to != path {
                self.io
                    .rename(&path, &to)
                    .map_err(|e| Error::io("rename", &path, 0, e))?;
            }
            return Ok(Some((to, file)));
        }
        Ok(None)
    }

    /// The segment that appending goes on in: above every number there is, header and first watermark durable.
    fn new_segment(&self) -> Result<(Header, OpenSegment)> {
        let number = self.files.highest + 1;
        let last = self.last()?;
        let header = Header {
            identity: self.control.identity,
            epoch: self.control.epoch,
            number,
            previous: last.number,
            previous_end: last.end.get(),
            segment_bytes: self.control.segment_bytes,
        };
        let path = self.files.path(number);
        match segment::prepare(self.io, &path, self.control.segment_bytes) {
            Ok(_) => {}
            // On a full disk a file that holds no log takes the number.
            Err(Error::DiskFull { path: full, needed }) => match self.spare_as_temporary()? {
                Some((from, _)) => self
                    .io
                    .rename(&from, &path)
                    .map_err(|e| Error::io("rename", &from, 0, e))?,
                None => return Err(Error::DiskFull { path: full, needed }),
            },
            Err(e) => return Err(e),
        }
        segment::sync_names(self.io, &self.files.dir)?;
        let segment = self.open_for_writing(number)?;
        let mut bytes = header.encode();
        bytes.extend(first_watermark(&header, segment.seed));
        bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        let written = segment
            .file
            .write_all_at(0, &bytes)
            .and_then(|()| segment.file.sync_all());
        written.map_err(|e| Error::io("write", &segment.path, 0, e))?;
        Ok((header, segment))
    }

    /// The files that bear a segment's name and hold none of the log, from the oldest segment of the log on. Older
    /// ones are left alone: they may be log that someone has still a use for.
    fn unused(&self) -> impl Iterator<Item = u64> + '_ {
        let oldest = self.found.segments.first().map_or(u64::MAX, |s| s.number);
        let in_use = |number: &u64| self.found.segments.iter().any(|s| s.number == *number);
        self.files
            .segments
            .range(oldest..)
            .map(|(number, _)| *number)
            .filter(move |number| !in_use(number))
    }

    /// Makes prepared segments of the files that hold no log, numbered from `first` on, and removes what is too much,
    /// too short or half done.
    fn adopt_spares(&self, first: u64) -> Result<Vec<OpenSegment>> {
        let mut next = first.max(self.files.highest + 1);
        let mut spares = Vec::new();
        let options = &self.options;
        let kept = options.min_wal_size.min(options.max_wal_size) / self.control.segment_bytes;
        let most = (options.spare_segments + 1)
            .max((kept as usize).saturating_sub(self.found.segments.len()));
        let mut changed = false;
        for name in &self.files.temporary {
            changed |= self.remove(&self.files.dir.join(name))?;
        }
        for number in self.unused() {
            let path = self.files.path(number);
            // A recovery on a full disk may have used it up.
            if !self
                .io
                .exists(&path)
                .map_err(|e| Error::io("look for", &path, 0, e))?
            {
                continue;
            }
            if spares.len() >= most || !self.is_whole(&path)? {
                changed |= self.remove(&path)?;
                continue;
            }
            let prepared = number >= first && self.files.header(number).is_none();
            let to = if prepared { number } else { next };
            if !prepared {
                next += 1;
                changed = true;
                self.io
                    .rename(&path, &self.files.path(to))
                    .map_err(|e| Error::io("rename", &path, 0, e))?;
            }
            let spare = self.open_for_writing(to)?;
            // Not all of it may be on disk yet; the syncs of commits are to find no metadata to write.
            spare
                .file
                .sync_all()
                .map_err(|e| Error::io("sync", &spare.path, 0, e))?;
            spares.push(spare);
        }
        // Also where nothing was changed: a failed sync of the process before may have left names that are not on disk.
        if changed || !spares.is_empty() {
            segment::sync_names(self.io, &self.files.dir)?;
        }
        spares.sort_by_key(|s| s.number);
        Ok(spares)
    }

    fn is_whole(&self, path: &Path) -> Result<bool> {
        let file = self
            .io
            .open(path, OpenMode::Read)
            .map_err(|e| Error::io("open", path, 0, e))?;
        Ok(file.len().map_err(|e| Error::io("read", path, 0, e))? == self.control.segment_bytes)
    }

    /// Removes a file; answers whether there was one.
    fn remove(&self, path: &Path) -> Result<bool> {
        match self.io.remove_file(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("remove", path, 0, e)),
        }
    }
}

/// The watermark that a new segment begins with. It vouches for the log up to the end of the segment before, and names
/// that place by its own LSN: if this header is torn and the watermark is not, the end that is found is the end that
/// is proven. If it named this segment's first LSN, which lies beyond, a torn header would look like damage.
fn first_watermark(header: &Header, seed: u64) -> [u8; WATERMARK] {
    frame::watermark_frame(header.first_lsn(), seed, header.previous_end, header.epoch)
}

/// Reads what is going to be written again. It was found to be right before; were it read wrong just now, the wrong bytes
/// would stand in the place of the right ones for ever.
fn read_twice(file: &File, at: u64, bytes: &mut [u8]) -> Result<()> {
    let failed = |e| Error::io("read", file.path(), at, e);
    let mut again = vec![0; bytes.len()];
    file.read_exact_at(at, bytes).map_err(failed)?;
    file.read_exact_at(at, &mut again).map_err(failed)?;
    if bytes == again {
        return Ok(());
    }
    Err(failed(std::io::Error::other(
        "the same bytes were read twice, and were not the same; have a look at the disk",
    )))
}

fn copy(from: &File, to: &File, upto: u64) -> Result<()> {
    let mut bytes = vec![0; upto.min(1 << 20) as usize];
    let mut at = 0;
    while at < upto {
        let n = bytes.len().min((upto - at) as usize);
        read_twice(from, at, &mut bytes[..n])?;
        to.write_all_at(at, &bytes[..n])
            .map_err(|e| Error::io("write", to.path(), at, e))?;
        at += n as u64;
    }
    Ok(())
}

/// The directory is not as it was examined: another process is at work in it.
fn changed(path: &Path) -> Error {
    Error::io(
        "resume",
        path,
        0,
        std::io::Error::other("the log has changed since it was examined"),
    )
}
