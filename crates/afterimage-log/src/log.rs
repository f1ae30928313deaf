//! Signatures first.
use crate::control::{Control, Identity};
use crate::error::Result;
use crate::examine::Examination;
use crate::lsn::Lsn;
use crate::options::LogOptions;
use crate::reader::{Frame, Reader, ScanReader};
use crate::space::Reservation;
use crate::stats::LogStats;
use crate::tail::Proof;
use crate::ticket::Ticket;
use afterimage_io::{Io, Progress};
use std::path::Path;
use std::sync::Arc;

/// Where an appended record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its first byte.
    pub lsn: Lsn,
    /// The exclusive end, to wait for.
    pub end: Lsn,
}

/// An open log. Clones are handles on the same log.
#[derive(Debug, Clone)]
pub struct Log {
    _x: Arc<()>,
}

/// What one appended record takes in the log, in bytes: what to reserve for it.
#[must_use]
pub const fn frame_bytes(payload_len: usize, timed: bool) -> usize {
    payload_len + if timed { 16 } else { 8 }
}

impl Log {
    /// Makes a new, empty log under `dir/log`.
    /// # Errors
    /// See `Error`.
    pub fn create(
        io: &Io,
        dir: &Path,
        identity: &Identity,
        epoch: u64,
        options: &LogOptions,
    ) -> Result<Log> {
        let _ = (io, dir, identity, epoch, options);
        unimplemented!()
    }
    /// Looks at a log and changes nothing.
    /// # Errors
    /// See `Error`.
    pub fn examine(
        io: &Io,
        dir: &Path,
        control: &Control,
        scan_from: Lsn,
        proofs: &[(Proof, Lsn)],
    ) -> Result<Examination> {
        let _ = (io, dir, control, scan_from, proofs);
        unimplemented!()
    }
    /// Opens an examined log for appending.
    /// # Errors
    /// See `Error`.
    pub fn resume(
        io: &Io,
        dir: &Path,
        control: &Control,
        found: Examination,
        options: &LogOptions,
    ) -> Result<Log> {
        let _ = (io, dir, control, found, options);
        unimplemented!()
    }
    /// Reads every frame of a log that is not open, damage included.
    /// # Errors
    /// See `Error`.
    pub fn scan(io: &Io, dir: &Path, control: &Control, from: Option<Lsn>) -> Result<ScanReader> {
        let _ = (io, dir, control, from);
        unimplemented!()
    }
    /// Checks a whole log that is not open; everything from the oldest segment on.
    /// # Errors
    /// See `Error`.
    pub fn verify(
        io: &Io,
        dir: &Path,
        control: &Control,
        scan_from: Lsn,
        proofs: &[(Proof, Lsn)],
    ) -> Result<Examination> {
        let _ = (io, dir, control, scan_from, proofs);
        unimplemented!()
    }
    /// Takes space for records of `bytes` in all (the sum of `frame_bytes`).
    /// # Errors
    /// See `Error`.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation> {
        let _ = bytes;
        unimplemented!()
    }
    /// Appends one record.
    /// # Errors
    /// See `Error`.
    pub fn append(
        &self,
        reservation: &mut Reservation,
        payload: &[u8],
        timed: bool,
        inside: impl FnOnce(Lsn, u64),
    ) -> Result<Appended> {
        let _ = (reservation, payload, timed, inside);
        unimplemented!()
    }
    /// See [`frame_bytes`].
    #[must_use]
    pub const fn frame_bytes(payload_len: usize, timed: bool) -> usize {
        frame_bytes(payload_len, timed)
    }
    /// The largest payload.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        unimplemented!()
    }
    /// Next.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        unimplemented!()
    }
    /// Written.
    #[must_use]
    pub fn written_lsn(&self) -> Lsn {
        unimplemented!()
    }
    /// Durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        unimplemented!()
    }
    /// The oldest position that can be read.
    #[must_use]
    pub fn oldest_lsn(&self) -> Lsn {
        unimplemented!()
    }
    /// Waits until everything before `upto` is durable.
    /// # Errors
    /// See `Error`.
    pub fn wait_durable(&self, upto: Lsn) -> Result<()> {
        let _ = upto;
        unimplemented!()
    }
    /// A ticket.
    #[must_use]
    pub fn ticket(&self, end: Lsn) -> Ticket {
        let _ = end;
        unimplemented!()
    }
    /// Reads one record.
    /// # Errors
    /// See `Error`.
    pub fn read(&self, lsn: Lsn) -> Result<Frame> {
        let _ = lsn;
        unimplemented!()
    }
    /// Reads forward.
    #[must_use]
    pub fn reader(&self, from: Lsn) -> Reader {
        let _ = from;
        unimplemented!()
    }
    /// Gives up segments wholly below; answers how many.
    /// # Errors
    /// See `Error`.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<u64> {
        let _ = lsn;
        unimplemented!()
    }
    /// Stops the log for ever.
    pub fn fail(&self, reason: String) {
        let _ = reason;
        unimplemented!()
    }
    /// Why it stopped.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        unimplemented!()
    }
    /// One step of background work.
    /// # Errors
    /// See `Error`.
    pub fn step(&self) -> Result<Progress> {
        unimplemented!()
    }
    /// Something was appended that nobody waits for.
    pub fn note_memory_commit(&self) {
        unimplemented!()
    }
    /// Counters.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        unimplemented!()
    }
}
