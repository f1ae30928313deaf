//! The names of what may be wrong with a history, and one finding.

use std::fmt;

/// What is wrong. The names with a G are Adya's; those of the others say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Dirty write: a cycle of writes that overwrite each other.
    G0,
    /// Aborted read: somebody has seen what was rolled back, or what was never asked to be committed.
    G1a,
    /// Intermediate read: somebody has seen a list between two appends of one transaction.
    G1b,
    /// Circular information flow: a cycle of writes and reads of them.
    G1c,
    /// Two transactions have read the same version of a list, and both have written it.
    LostUpdate,
    /// A cycle with exactly one read of what another transaction overwrites: read skew.
    GSingle,
    /// Two transactions have seen two writes in opposite orders.
    LongFork,
    /// A cycle with several such reads, all of keys: write skew.
    G2Item,
    /// As `G2Item`, with a read of what a scan did not find, or found older: a phantom.
    G2,
    /// A transaction has not seen its own writes, or two values of one list.
    Internal,
    /// Two transactions have seen a list with different beginnings.
    IncompatibleOrder,
    /// A number is twice in a list.
    Duplicate,
    /// A number that nobody has appended.
    FromNowhere,
    /// An append was acknowledged and is not there.
    Lost,
}

impl Name {
    /// How it is printed.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Name::G0 => "G0",
            Name::G1a => "G1a",
            Name::G1b => "G1b",
            Name::G1c => "G1c",
            Name::LostUpdate => "lost update",
            Name::GSingle => "G-single",
            Name::LongFork => "long fork",
            Name::G2Item => "G2-item",
            Name::G2 => "G2",
            Name::Internal => "internal",
            Name::IncompatibleOrder => "incompatible order",
            Name::Duplicate => "duplicate",
            Name::FromNowhere => "from nowhere",
            Name::Lost => "lost",
        }
    }
}

/// One anomaly, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub name: Name,
    /// Whether it is one only because a transaction ended before another began.
    pub realtime: bool,
    /// The transactions and what holds between them.
    pub what: String,
}

impl Finding {
    /// The name, and whether it needs the clock to be seen.
    #[must_use]
    pub fn title(&self) -> String {
        let suffix = if self.realtime { "-realtime" } else { "" };
        format!("{}{suffix}", self.name.text())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title(), self.what)
    }
}
