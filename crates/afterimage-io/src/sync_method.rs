//! The ways of making a write durable, by the names that people know from `wal_sync_method`.

use std::fmt;
use std::str::FromStr;

/// How a write is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncMethod {
    /// A write, then `fdatasync`: the bytes, and the length if it has changed.
    Fdatasync,
    /// A write, then `fsync`: the file's times too.
    Fsync,
    /// A write to a file that is open with `O_DSYNC`: one call, and only its own bytes.
    OpenDatasync,
    /// A write to a file that is open with `O_SYNC`.
    OpenSync,
}

impl SyncMethod {
    /// All of them, in the order in which they are tried and told.
    pub const ALL: [SyncMethod; 4] = [
        SyncMethod::Fdatasync,
        SyncMethod::OpenDatasync,
        SyncMethod::Fsync,
        SyncMethod::OpenSync,
    ];

    /// Its place in [`SyncMethod::ALL`], from 0.
    #[must_use]
    pub fn place(self) -> usize {
        SyncMethod::ALL.iter().position(|m| *m == self).unwrap_or(0)
    }

    /// Whether the write itself is durable, so that no sync follows it.
    #[must_use]
    pub fn by_write(self) -> bool {
        matches!(self, SyncMethod::OpenDatasync | SyncMethod::OpenSync)
    }

    /// The name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SyncMethod::Fdatasync => "fdatasync",
            SyncMethod::Fsync => "fsync",
            SyncMethod::OpenDatasync => "open_datasync",
            SyncMethod::OpenSync => "open_sync",
        }
    }
}

impl fmt::Display for SyncMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SyncMethod {
    type Err = String;

    fn from_str(name: &str) -> Result<SyncMethod, String> {
        let found = SyncMethod::ALL.into_iter().find(|m| m.name() == name);
        found.ok_or_else(|| format!("there is no sync method {name:?}"))
    }
}

/// How the durable writes of a file are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DurableWrites {
    /// The call that makes them durable.
    pub method: SyncMethod,
    /// Whether they pass the page cache by (`O_DIRECT`). Such writes are of whole [blocks](crate::File::block) of the file.
    pub direct: bool,
}

impl DurableWrites {
    /// What works everywhere: a write through the page cache, then `fdatasync`.
    pub const PLAIN: DurableWrites = DurableWrites {
        method: SyncMethod::Fdatasync,
        direct: false,
    };

    /// Whether they go through a file description of their own, one call each: no sync of the whole file follows.
    #[must_use]
    pub fn is_by_write(self) -> bool {
        self.direct || self.method.by_write()
    }
}

impl fmt::Display for DurableWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direct = if self.direct { ", direct" } else { "" };
        write!(f, "{}{direct}", self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for method in SyncMethod::ALL {
            assert_eq!(method.name().parse(), Ok(method));
        }
        assert!("fdatasink".parse::<SyncMethod>().is_err());
    }
}
