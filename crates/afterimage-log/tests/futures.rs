//! Tickets and followers are futures that any runtime can await: tried on tokio and on a bare executor, with the real
//! machine behind the log; and in a simulated one for a log that stops.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, missing_docs)]

mod example;
mod executor;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use afterimage_io::Io;
use afterimage_io::sim::{FailSync, Sim};
use afterimage_log::{Error, Horizon, LogOptions, Result, Wal};
use example::Home;
use executor::{block_on, ends, tokio};

/// Writers, and records of each.
const TASKS: u8 = 32;
const EACH: u8 = 20;

fn open(home: &Home) -> Wal {
    let options = LogOptions {
        segment_bytes: 64 << 10,
        ..LogOptions::default()
    };
    Wal::open(&Io::os(), &home.0.join("log"), &options).unwrap()
}

/// One writer of many: each record is durable before the next is appended.
async fn write(wal: Wal, task: u8) -> Result<()> {
    for n in 0..EACH {
        let ticket = wal.append(&[task, n])?;
        let end = ticket.end();
        ticket.await?;
        assert!(wal.durable_lsn() >= end, "it was said to be durable");
    }
    Ok(())
}

/// Sees all that the writers write, and nothing twice.
async fn watch(wal: Wal) -> Result<()> {
    let mut follower = wal.follow(wal.oldest_lsn(), Horizon::Durable);
    // Whoever keeps a handle keeps the log open; a follower alone does not.
    drop(wal);
    let mut next = [0; TASKS as usize];
    for _ in 0..usize::from(TASKS) * usize::from(EACH) {
        let payload = follower.next_async().await?.payload;
        let place = &mut next[usize::from(payload[0])];
        assert_eq!(payload[1], *place);
        *place += 1;
    }
    Ok(())
}

#[test]
fn tasks_on_tokio_share_one_thread() {
    ends(|| {
        let home = Home::new("futures-tokio");
        let wal = open(&home);
        tokio().block_on(async {
            let watching = ::tokio::spawn(watch(wal.clone()));
            let writing: Vec<_> = (0..TASKS)
                .map(|task| ::tokio::spawn(write(wal.clone(), task)))
                .collect();
            for task in writing {
                task.await.unwrap().unwrap();
            }
            watching.await.unwrap().unwrap();
        });
        let records = u64::from(TASKS) * u64::from(EACH);
        assert_eq!(wal.stats().records, records);
        wal.close().unwrap();
    });
}

#[test]
fn a_bare_executor_is_enough() {
    ends(|| {
        let home = Home::new("futures-bare");
        let wal = open(&home);
        let watcher = wal.clone();
        let watching = std::thread::spawn(move || block_on(watch(watcher)));
        for task in 0..TASKS {
            block_on(write(wal.clone(), task)).unwrap();
        }
        watching.join().unwrap().unwrap();
        wal.close().unwrap();
    });
}

/// Tickets become durable in order, so the last one answers for all; the others are there then, whoever asks.
#[test]
fn tickets_can_be_awaited_in_any_order_and_dropped() {
    ends(|| {
        let home = Home::new("futures-order");
        let wal = open(&home);
        let mut tickets: Vec<_> = (0..100).map(|n| wal.append(&[n]).unwrap()).collect();
        let last = tickets.pop().unwrap();
        // Polled once and dropped: nobody is woken for it, and nothing is lost.
        let mut dropped = tickets.pop().unwrap();
        let _ = Pin::new(&mut dropped).poll(&mut Context::from_waker(Waker::noop()));
        drop(dropped);
        block_on(last).unwrap();
        for ticket in tickets {
            assert!(ticket.is_durable().unwrap());
            block_on(ticket).unwrap();
        }
        let mut follower = wal.follow(wal.oldest_lsn(), Horizon::Durable);
        assert_eq!(
            follower.records().take(100).filter(Result::is_ok).count(),
            100
        );
        // The end wakes too.
        let watching = std::thread::spawn(move || block_on(follower.next_async()));
        wal.close().unwrap();
        assert!(matches!(
            watching.join().unwrap(),
            Err(Error::Failed { .. })
        ));
    });
}

struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_log_that_stops_tells_those_who_await() {
    let sim = Sim::new(1);
    let options = LogOptions {
        background: false,
        ..LogOptions::default()
    };
    let wal = Wal::open(&sim.io(), Path::new("log"), &options).unwrap();
    let count = Arc::new(Counting(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut follower = wal.follow(wal.oldest_lsn(), Horizon::Durable);
    let mut ticket = wal.append(b"never").unwrap();
    assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
    assert!(follower.poll_next(&mut context).is_pending());
    assert_eq!(count.0.load(Relaxed), 0);
    sim.fail_sync(FailSync::next());
    assert!(wal.sync().unwrap_err().outcome_unknown());
    assert_eq!(count.0.load(Relaxed), 2, "both are woken");
    let Poll::Ready(Err(e)) = Pin::new(&mut ticket).poll(&mut context) else {
        panic!("the log has stopped")
    };
    assert!(e.outcome_unknown(), "{e}");
    let Poll::Ready(Err(e)) = follower.poll_next(&mut context) else {
        panic!("the log has stopped")
    };
    assert!(matches!(e, Error::Failed { .. }), "{e}");
}
