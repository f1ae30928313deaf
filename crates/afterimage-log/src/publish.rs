//! What happens when the log's positions have moved: those who wait without a thread are woken, other processes are told.

use afterimage_io::sync::atomic::Ordering;

use crate::lsn::Lsn;
use crate::positions::Positions;
use crate::shared::Shared;

impl Shared {
    /// A flush has become durable.
    pub(crate) fn published(&self) {
        self.durable_wakers
            .wake(self.durable.load(Ordering::Acquire));
        self.publish_positions();
    }

    /// Tells other processes where the log stands.
    pub(crate) fn publish_positions(&self) {
        self.publisher.write(|oldest, pid| {
            // Durable before written: they may move meanwhile.
            let durable = Lsn::at(self.durable.load(Ordering::Acquire));
            Positions {
                identity: self.identity,
                durable,
                written: Lsn::at(self.written.load(Ordering::Acquire)),
                oldest,
                pid,
                written_at_micros: self.io.wall_clock(),
            }
        });
    }

    /// A segment is about to be given up: others are told before its file becomes something else.
    pub(crate) fn publish_oldest(&self, oldest: u64) {
        self.publisher.give_up(oldest);
        self.publish_positions();
    }
}
