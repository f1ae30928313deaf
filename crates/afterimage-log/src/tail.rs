//! Signatures first.
use crate::lsn::Lsn;

/// Who knew that the log was durable up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// A watermark frame in the log.
    Watermark,
    /// The control file.
    Control,
    /// A page in the doublewrite area.
    Doublewrite,
    /// The replication slot of this name.
    Slot(String),
}

/// How the log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tail {
    /// Exactly where the last clean stop left it.
    Clean,
    /// The last stop was not clean, and nothing stands beyond the last whole record.
    Open,
    /// The last stop was not clean, and what stands beyond the last whole record is a torn write.
    Torn {
        /// The first byte that is discarded.
        at: Lsn,
        /// What stood there.
        reason: String,
        /// How many bytes of torn log there are, as far as they can be told from zeroes.
        discarded: u64,
    },
}
