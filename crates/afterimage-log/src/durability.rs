//! How far a record must have come before somebody is told that it is there.

/// What is waited for. At every level what a crash leaves is a prefix of the log, never a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The log buffer: a crash of the process loses at most the last `wal_writer_delay` (200 ms by default).
    Memory,
    /// The operating system: a crash of the process loses nothing, a power failure at most the last `wal_writer_delay`.
    Os,
    /// Stable storage: nothing is lost unless the disk is. The default.
    #[default]
    Disk,
}
