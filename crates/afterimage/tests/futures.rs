//! A commit's ticket is a future that any runtime can await: tried on tokio, and on a bare executor.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../afterimage-log/tests/executor/mod.rs"]
mod executor;

use afterimage::{Database, Options, Result, Table};
use executor::{block_on, ends, tokio};

const TASKS: u8 = 16;
const EACH: u8 = 10;

fn open(dir: &tempfile::TempDir) -> (Database, Table) {
    let options = Options::new().wal_segment_size(64 << 10);
    let db = options.open(dir.path().join("db")).unwrap();
    let table = db.table("rows").unwrap();
    (db, table)
}

async fn write(db: Database, table: Table, task: u8) -> Result<()> {
    for n in 0..EACH {
        let mut tx = db.begin();
        tx.put(&table, &[task, n], b"row")?;
        let ticket = tx.commit_ticket()?;
        let answer = ticket.clone();
        ticket.await?;
        assert!(answer.is_durable()?, "it was said to be durable");
    }
    // It wrote nothing, so there is nothing to wait for.
    db.begin().commit_ticket()?.await
}

fn rows(db: &Database, table: &Table) -> usize {
    let mut tx = db.begin();
    tx.scan::<[u8], _>(table, ..).unwrap().count()
}

#[test]
fn commits_are_awaited_on_tokio() {
    ends(|| {
        let dir = tempfile::tempdir().unwrap();
        let (db, table) = open(&dir);
        tokio().block_on(async {
            let writing: Vec<_> = (0..TASKS)
                .map(|task| ::tokio::spawn(write(db.clone(), table.clone(), task)))
                .collect();
            for task in writing {
                task.await.unwrap().unwrap();
            }
        });
        assert_eq!(rows(&db, &table), usize::from(TASKS) * usize::from(EACH));
        db.close().unwrap();
    });
}

#[test]
fn commits_are_awaited_on_a_bare_executor() {
    ends(|| {
        let dir = tempfile::tempdir().unwrap();
        let (db, table) = open(&dir);
        let threads: Vec<_> = (0..2)
            .map(|task| {
                let writing = write(db.clone(), table.clone(), task);
                std::thread::spawn(|| block_on(writing))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
        assert_eq!(rows(&db, &table), 2 * usize::from(EACH));
        db.close().unwrap();
    });
}
