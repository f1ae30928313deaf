//! Views: the LSNs that snapshots read at, oldest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use afterimage_io::sync::atomic::{AtomicBool, Ordering};
use afterimage_log::Lsn;

/// A moment of the database, as a snapshot sees it.
pub(crate) struct View {
    lsn: Lsn,
    /// The first record of the oldest transaction that was unfinished at `lsn`: whatever was logged before it, is seen.
    low: Lsn,
    number: u64,
    /// Versions that it needs have been given up.
    gone: AtomicBool,
}

impl View {
    /// Commits before this are seen.
    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Whether all that is on a page of this LSN is seen, so that no versions need to be looked for.
    pub(crate) fn covers(&self, page_lsn: Option<Lsn>) -> bool {
        page_lsn.is_none_or(|lsn| lsn < self.low)
    }

    /// Asked after reading: what was read while this was false is right.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// Those that are open and still right.
#[derive(Default)]
pub(super) struct Views {
    open: BTreeMap<(Lsn, u64), Arc<View>>,
    opened: u64,
}

impl Views {
    pub(super) fn open(&mut self, lsn: Lsn, low: Lsn) -> Arc<View> {
        self.opened += 1;
        let view = Arc::new(View {
            lsn,
            low: low.min(lsn),
            number: self.opened,
            gone: AtomicBool::new(false),
        });
        self.open.insert((lsn, self.opened), Arc::clone(&view));
        view
    }

    pub(super) fn close(&mut self, view: &View) {
        self.open.remove(&(view.lsn, view.number));
    }

    pub(super) fn oldest(&self) -> Option<Lsn> {
        self.open.first_key_value().map(|((lsn, _), _)| *lsn)
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Takes the oldest view's right to its versions, if it holds back more than the durable LSN does.
    pub(super) fn give_up_oldest(&mut self, durable: Lsn) -> bool {
        let Some(oldest) = self.open.first_entry() else {
            return false;
        };
        if oldest.key().0 >= durable {
            return false;
        }
        oldest.remove().gone.store(true, Ordering::Release);
        true
    }
}
