//! How long a recovery would take if it came now, and how much log there may be for it to take no longer than
//! `target_recovery_time`.

use std::time::Duration;

use super::handle::Shared;
use crate::checkpoint::Limits;

impl Shared {
    /// How long a recovery would take now.
    pub(super) fn estimated_recovery(&self) -> Duration {
        let (speed, load) = self.checkpointer.recovery(&self.system.pager);
        speed.time(&load)
    }

    /// What decides which pages go home, and when a checkpoint is due.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            horizon: self.recovery_horizon(),
            ..self.live.limits()
        }
    }

    /// Bytes of log that a recovery within `target_recovery_time` can read.
    fn recovery_horizon(&self) -> u64 {
        let (speed, load) = self.checkpointer.recovery(&self.system.pager);
        let segment = self.system.pager.log.stats().segment_bytes;
        speed.log_within(self.options.target_recovery_time, &load, segment)
    }
}
