//! The birth of a log: its directory, its first segment, one more prepared; everything durable, names included.

use std::path::Path;
use std::sync::Arc;

use afterimage_io::{Io, OpenMode};

use crate::buffer::{Buffer, Live};
use crate::choice;
use crate::cursor::{Cursor, Step};
use crate::error::{Error, Result};
use crate::frame;
use crate::identity::Identity;
use crate::options::{HEADER_BYTES, LogOptions};
use crate::segment::{self, Header, HeaderFound, OpenSegment, file_name, log_dir, parse_name};
use crate::shared::{Opening, Shared};

/// See `Log::create`.
pub(crate) fn create(
    io: &Io,
    dir: &Path,
    identity: &Identity,
    epoch: u64,
    options: &LogOptions,
) -> Result<Arc<Shared>> {
    options.check()?;
    let logs = log_dir(dir);
    let number = options.first_segment;
    make_directory(io, dir, &logs, identity, options)?;
    let header = Header {
        identity: *identity,
        epoch,
        number,
        previous: 0,
        previous_end: 0,
        segment_bytes: options.segment_bytes,
    };
    let first = prepare(io, &logs, identity, number, options.segment_bytes)?;
    let written = first.file.write_all_at(0, &header.encode());
    written.map_err(|e| Error::io("write", &first.path, 0, e))?;
    first
        .file
        .sync_all()
        .map_err(|e| Error::io("sync", &first.path, 0, e))?;
    let second = prepare(io, &logs, identity, number + 1, options.segment_bytes)?;
    segment::sync_names(io, &logs)?;
    let choice = choice::choose(io, options, &second.path);
    let (first, second) = (
        first.written_by(io, choice.writes)?,
        second.written_by(io, choice.writes)?,
    );

    let next = header.first_lsn();
    let mut buffer = Buffer::new(&header, first, next, Vec::new(), 0);
    buffer.live.insert(
        number,
        Live {
            first: next,
            end: None,
            epoch: header.epoch,
        },
    );
    buffer.prepared.push_back(second.into());
    let opening = Opening {
        dir: logs,
        identity: *identity,
        segment_bytes: options.segment_bytes,
        buffer,
        durable: next,
        proven: next,
        next_number: number + 2,
        choice,
    };
    Ok(Shared::open(io, options, opening))
}

fn prepare(
    io: &Io,
    logs: &Path,
    identity: &Identity,
    number: u64,
    segment_bytes: u64,
) -> Result<OpenSegment> {
    let path = logs.join(file_name(identity.timeline_ordinal, number));
    let file = segment::prepare(io, &path, segment_bytes)?;
    Ok(OpenSegment::new(
        identity,
        number,
        segment_bytes,
        path,
        file,
    ))
}

/// Makes the directory; or takes one that an interrupted creation has left, after a look that no record is lost.
fn make_directory(
    io: &Io,
    dir: &Path,
    logs: &Path,
    identity: &Identity,
    options: &LogOptions,
) -> Result<()> {
    let (first, segment_bytes) = (options.first_segment, options.segment_bytes);
    let failed = |op, e| Error::io(op, logs, 0, e);
    match io.create_dir(logs) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            for name in io.list_dir(logs).map_err(|e| failed("list", e))? {
                let path = logs.join(&name);
                // Only files that creation itself makes, and only empty ones, may be replaced.
                let ours = matches!(parse_name(&name), Some((ordinal, number, false))
                    if ordinal == identity.timeline_ordinal && (first..=first + 1).contains(&number));
                if !ours || holds_records(io, &path, segment_bytes)? {
                    return Err(Error::AlreadyExists { path });
                }
                io.remove_file(&path).map_err(|e| failed("remove", e))?;
            }
        }
        Err(e) => return Err(failed("make", e)),
    }
    io.sync_dir(dir)
        .map_err(|e| Error::io("sync directory", dir, 0, e))
}

/// Whether a file holds a record, of whatever database: anything behind its header counts.
fn holds_records(io: &Io, path: &Path, segment_bytes: u64) -> Result<bool> {
    let file = io
        .open(path, OpenMode::Read)
        .map_err(|e| Error::io("open", path, 0, e))?;
    if file.len().map_err(|e| Error::io("read", path, 0, e))? <= HEADER_BYTES {
        return Ok(false);
    }
    let nobody = Identity {
        database_id: 0,
        timeline_id: 0,
        timeline_ordinal: 0,
    };
    if matches!(
        Header::read(&file, &nobody, 0, segment_bytes)?,
        HeaderFound::Unknown(_)
    ) {
        return Ok(true);
    }
    let mut cursor = Cursor::new(
        file,
        0,
        frame::seed(&nobody, 0),
        segment_bytes,
        HEADER_BYTES,
    );
    Ok(!matches!(
        cursor.step()?,
        Step::Bad(frame::Fault::Nothing | frame::Fault::Short)
    ))
}
