//! The same log in a real directory, with real threads.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::PathBuf;

use afterimage_io::Io;
use afterimage_log::{Log, LogOptions};
use common::{Db, Model};

/// A directory that is gone when the test is.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        let path =
            std::env::temp_dir().join(format!("afterimage-log-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Temporary(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_real_log_is_found_again() {
    let home = Temporary::new("again");
    let dir = home.0.join("db");
    let model = Model::default();
    for round in 0..4 {
        let io = Io::os();
        let mut db = Db::open_in(&io, &dir, &model, &common::options()).unwrap();
        for len in [0, 5000, 16_000, 16_000, 16_000] {
            db.put(len).unwrap();
        }
        let numbers = db.numbers();
        assert_eq!(numbers.last().unwrap() + 1, (round + 1) * 5);
        if round == 2 {
            db.checkpoint().unwrap();
        }
        if round % 2 == 0 {
            db.close().unwrap();
        }
    }
}

#[test]
fn real_threads_share_their_syncs() {
    let home = Temporary::new("threads");
    let dir = home.0.join("db");
    let options = LogOptions {
        background: true,
        ..LogOptions::default()
    };
    let db = Db::open_in(&Io::os(), &dir, &Model::default(), &options).unwrap();
    let from = db.log.next_lsn();
    let log = &db.log;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut space = log.reserve(Log::frame_bytes(100, true)).unwrap();
                    let end = log
                        .append(&mut space, &[3; 100], true, |_, _| ())
                        .unwrap()
                        .end;
                    log.wait_durable(end).unwrap();
                }
            });
        }
    });
    assert_eq!(log.reader(from).count(), 1600);
    let stats = log.stats();
    assert!(stats.syncs < 1600, "{stats:?}");
    let mut space = log.reserve(1000).unwrap();
    let ticket = log.ticket(
        log.append(&mut space, b"later", false, |_, _| ())
            .unwrap()
            .end,
    );
    for _ in 0..1000 {
        if ticket.is_durable().unwrap() {
            return;
        }
        db.io.sleep(std::time::Duration::from_millis(10));
    }
    panic!("nobody has kept the ticket");
}
