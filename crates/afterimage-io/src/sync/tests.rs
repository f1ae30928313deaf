//! The primitives in the real world: real threads, no scheduler.

use std::sync::Arc;
use std::time::Duration;

use super::atomic::{AtomicU32, Ordering};
use super::{Condvar, Mutex, RwLock, WaitWord};
use crate::Io;

#[test]
fn a_mutex_excludes_and_is_not_poisoned() {
    let io = Io::os();
    let count = Arc::new(Mutex::new(&io, 0));
    let add = |_: u32| {
        let count = Arc::clone(&count);
        let work = move || (0..1000).for_each(|_| *count.lock() += 1);
        io.spawn("adder", work).expect("a thread")
    };
    let threads: Vec<_> = (0..4).map(add).collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(*count.lock(), 4000);

    let shared = Arc::clone(&count);
    let bad = io.spawn("bad", move || {
        let _guard = shared.lock();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(bad.expect("a thread").join().is_err());
    assert_eq!(*count.lock(), 4000, "usable after its owner's panic");
    let guard = count.lock();
    assert!(count.try_lock().is_none());
    drop(guard);
    assert!(count.try_lock().is_some());
}

#[test]
fn a_latch_lets_readers_share() {
    let latch = RwLock::new(&Io::os(), 1);
    let (first, second) = (latch.read(), latch.try_read().expect("shared"));
    assert_eq!(*first + *second, 2);
    assert!(latch.try_write().is_none());
    drop((first, second));
    *latch.try_write().expect("free") = 5;
    let writing = latch.write();
    assert!(latch.try_read().is_none());
    drop(writing);
    assert_eq!(latch.into_inner(), 5);
}

#[test]
fn waits_end() {
    let io = Io::os();
    let place = Arc::new((Mutex::new(&io, false), Condvar::new(&io)));
    let (guard, timed_out) = place
        .1
        .wait_timeout(place.0.lock(), Duration::from_millis(5));
    assert!(timed_out);
    drop(guard);
    let other = Arc::clone(&place);
    let waker = io.spawn("waker", move || {
        *other.0.lock() = true;
        other.1.notify_all();
    });
    let mut ready = place.0.lock();
    while !*ready {
        ready = place.1.wait(ready);
    }
    waker.expect("a thread").join().expect("no panic");
}

#[test]
fn a_word_wakes_all_who_saw_the_old_value() {
    let io = Io::os();
    let word = Arc::new(WaitWord::new(&io));
    let go = Arc::new(AtomicU32::new(0));
    let wait = |_: u32| {
        let (word, go) = (Arc::clone(&word), Arc::clone(&go));
        let work = move || loop {
            let before = word.load();
            if go.load(Ordering::Acquire) == 1 {
                break;
            }
            word.wait(before);
        };
        io.spawn("waiter", work).expect("a thread")
    };
    let threads: Vec<_> = (0..4).map(wait).collect();
    go.store(1, Ordering::Release);
    word.wake_one();
    word.wake_all();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(word.load(), 2);
    word.wait(0);
}
