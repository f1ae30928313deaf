//! Which log this is: what every file of it names, so that nothing of another database is ever believed.

/// Which database, and which line of its history, a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The database, given at its creation.
    pub database_id: u128,
    /// The timeline: a new one begins at every promotion or restore to an earlier point.
    pub timeline_id: u128,
    /// The timeline's place in the order of timelines; part of segment names.
    pub timeline_ordinal: u32,
}
