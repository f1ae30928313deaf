//! Signatures first.
use crate::{error::Result, log::Log, lsn::Lsn};
/// A promise that can be asked, or waited on, for durability.
#[derive(Debug, Clone)]
pub struct Ticket {
    log: Log,
    end: Lsn,
}
impl Ticket {
    /// The exclusive end of what it stands for.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.end
    }
    /// Whether it is durable now. Never does input or output.
    /// # Errors
    /// `OutcomeUnknown` if the log stopped before it was.
    pub fn is_durable(&self) -> Result<bool> {
        let _ = &self.log;
        unimplemented!()
    }
    /// Waits until it is durable.
    /// # Errors
    /// As `Log::wait_durable`.
    pub fn wait(&self) -> Result<()> {
        unimplemented!()
    }
}
