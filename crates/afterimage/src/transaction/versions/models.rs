//! Version chains under loom and shuttle: a view against a commit, a rollback and a sweep. Built only for them.
//!
//! A row's page is a number behind a latch, and the log a position behind a mutex, as the engine's are.

use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::Mutex;
use afterimage_log::Lsn;

use super::{Status, Versions};
use crate::ids::TableId;
use crate::models::check;
use crate::page::Stored;

const TABLE: TableId = TableId(16);
const KEY: &[u8] = b"row";

fn lsn(n: u64) -> Lsn {
    Lsn::new(n).expect("not zero")
}

/// One row, and the log.
struct World {
    versions: Versions,
    row: Mutex<u8>,
    next: Mutex<u64>,
}

impl World {
    fn new(io: &Io) -> Arc<World> {
        Arc::new(World {
            versions: Versions::new(io, 1 << 20),
            row: Mutex::new(io, 1),
            next: Mutex::new(io, 100),
        })
    }

    /// Changes the row, as its lock's owner.
    fn change(&self, by: &Arc<Status>, to: u8) {
        let mut row = self.row.lock();
        let before = [*row];
        let before = Some(Stored::from(&before));
        self.versions.keep(TABLE, KEY, by, before, self.end());
        *row = to;
    }

    fn commit(&self, status: &Status) -> Lsn {
        let mut next = self.next.lock();
        let commit = lsn(*next);
        status.commit(commit);
        *next += 10;
        commit
    }

    /// Everything that is in this log is durable.
    fn end(&self) -> Lsn {
        lsn(*self.next.lock())
    }

    fn read(&self, view: &super::View) -> u8 {
        let row = self.row.lock();
        let now = [*row];
        let now = Some(Stored::from(&now));
        let seen = self.versions.seen(view, TABLE, KEY, now);
        seen.expect("the row is never deleted").bytes[0]
    }

    fn settle(&self) {
        self.versions.sweep(self.end());
    }
}

#[test]
fn a_view_sees_a_commit_that_is_before_it_and_no_other() {
    check(|| {
        let io = Io::os();
        let world = World::new(&io);
        let shared = Arc::clone(&world);
        let writer = io.spawn("writer", move || {
            let status = Arc::new(Status::default());
            shared.change(&status, 2);
            let commit = shared.commit(&status);
            assert_eq!(commit, lsn(100));
            shared.settle();
        });
        let view = world.versions.open_view(|| {
            let end = world.end();
            (end, lsn(1))
        });
        let right = if view.lsn() > lsn(100) { 2 } else { 1 };
        assert_eq!(world.read(&view), right, "a view at {}", view.lsn());
        writer.expect("a thread").join().expect("no panic");
        assert_eq!(world.read(&view), right, "later, at {}", view.lsn());
        world.versions.close_view(&view);
        world.settle();
        assert!(world.versions.is_empty() || view.lsn() > lsn(100));
    });
}

#[test]
fn nobody_sees_what_is_taken_back() {
    check(|| {
        let io = Io::os();
        let world = World::new(&io);
        let shared = Arc::clone(&world);
        let writer = io.spawn("writer", move || {
            let status = Arc::new(Status::default());
            shared.change(&status, 2);
            *shared.row.lock() = 1;
            status.take_back();
            shared.settle();
        });
        let view = world.versions.open_view(|| (world.end(), lsn(1)));
        assert_eq!(world.read(&view), 1);
        writer.expect("a thread").join().expect("no panic");
        assert_eq!(world.read(&view), 1);
        world.versions.close_view(&view);
    });
}
