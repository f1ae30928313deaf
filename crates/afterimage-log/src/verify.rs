//! The check of a whole log: also of the part that no recovery would read any more.

use std::path::Path;

use afterimage_io::Io;

use crate::control::Control;
use crate::error::Result;
use crate::examine::{Examination, examine_files};
use crate::files::{Files, damage, unusable};
use crate::lsn::Lsn;
use crate::options::{HEADER_BYTES, check_segment_bytes};
use crate::tail::Proof;

/// See `Log::verify`.
pub(crate) fn verify(
    io: &Io,
    dir: &Path,
    control: &Control,
    scan_from: Lsn,
    proofs: &[(Proof, Lsn)],
) -> Result<Examination> {
    check_segment_bytes(control.segment_bytes)?;
    let files = Files::read(io, dir, control)?;
    let here = scan_from.get() / control.segment_bytes;
    let Some(mut oldest) = files.header(here) else {
        // Says what is wrong with the segment that recovery itself needs.
        return examine_files(&files, control, scan_from, proofs, ()).map(|(found, ())| found);
    };
    while let Some(previous) = files
        .header(oldest.previous)
        .filter(|p| p.number < oldest.number)
    {
        oldest = previous;
    }
    // Its predecessor is there, and cannot be used.
    let previous = files.segments.get(&oldest.previous);
    if let Some(previous) = previous.filter(|_| oldest.previous < oldest.number) {
        let first = Lsn::at(oldest.previous * files.segment_bytes + HEADER_BYTES);
        return Err(unusable(&files, first, previous.why_not));
    }
    // Older log that no link leads to: a segment between has gone, or its header.
    let stray = files
        .segments
        .range(..oldest.number)
        .rev()
        .find_map(|(_, file)| file.header.as_ref());
    if let Some(stray) = stray {
        let what = format!(
            "segment {} is missing or cannot be read, but segment {} before it is there",
            oldest.previous, stray.number
        );
        return Err(damage(&files, Lsn::at(oldest.first_lsn()), what));
    }
    // Where recovery begins to read, all before is durable: the control file says so.
    let mut known = proofs.to_vec();
    known.push((Proof::Control, scan_from));
    let oldest = Lsn::at(oldest.first_lsn());
    examine_files(&files, control, oldest, &known, ()).map(|(found, ())| found)
}
