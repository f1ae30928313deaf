//! Models for the checkers: the primitives in every order that loom knows, and in many that shuttle draws. Built only
//! with `--cfg loom` or `--cfg shuttle`.
#![cfg(any(loom, shuttle))]

use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU32, Ordering};
use afterimage_io::sync::{Condvar, Mutex, RwLock, WaitWord};

#[cfg(loom)]
fn check(model: impl Fn() + Send + Sync + 'static) {
    loom::model(model);
}

#[cfg(all(shuttle, not(loom)))]
fn check(model: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(model, 1000);
}

#[test]
fn who_sees_the_word_move_sees_what_was_written_before() {
    check(|| {
        let io = Io::os();
        let shared = Arc::new((WaitWord::new(&io), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let waker = io.spawn("waker", move || {
            other.1.store(7, Ordering::Relaxed);
            other.0.wake_all();
        });
        while shared.0.load() == 0 {
            shared.0.wait(0);
        }
        assert_eq!(shared.1.load(Ordering::Relaxed), 7);
        waker.expect("a thread").join().expect("no panic");
    });
}

#[test]
fn a_condition_hands_over() {
    check(|| {
        let io = Io::os();
        let shared = Arc::new((Mutex::new(&io, false), Condvar::new(&io)));
        let other = Arc::clone(&shared);
        let waker = io.spawn("waker", move || {
            *other.0.lock() = true;
            other.1.notify_one();
        });
        let mut ready = shared.0.lock();
        while !*ready {
            ready = shared.1.wait(ready);
        }
        drop(ready);
        waker.expect("a thread").join().expect("no panic");
    });
}

#[test]
fn a_latch_excludes() {
    check(|| {
        let io = Io::os();
        let latch = Arc::new(RwLock::new(&io, 0));
        let other = Arc::clone(&latch);
        let adder = io.spawn("adder", move || *other.write() += 1);
        *latch.write() += 1;
        assert!(*latch.read() >= 1);
        adder.expect("a thread").join().expect("no panic");
        assert_eq!(*latch.read(), 2);
    });
}
