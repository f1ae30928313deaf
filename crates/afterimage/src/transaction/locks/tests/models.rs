//! The lock table under loom: two or three threads in every order of their steps, with few preemptions; and under shuttle. A
//! wake-up that is lost shows as a deadlock of threads, which both report. Built only for them.

use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicBool, Ordering};
use afterimage_log::Lsn;

use crate::ids::TableId;
use crate::interval::Interval;
use crate::models::check;
use crate::transaction::locks::mode::Mode::{Exclusive as X, Shared as S};
use crate::transaction::locks::{LockError, LockTable, Resource};

const TABLE: TableId = TableId(16);

fn key(name: &str) -> Resource<'_> {
    Resource::Key(TABLE, name.as_bytes())
}

fn assert_nothing_left(locks: &LockTable) {
    assert_eq!(locks.locks_held(), 0);
    locks.with_state(|state| {
        state.check();
        assert_eq!((state.places(), state.owners()), (0, 0));
    });
}

/// Two who want each other's key: exactly one gives way, whoever comes last, and the other goes on.
#[test]
fn a_deadlock_has_one_victim() {
    check(|| {
        let io = Io::os();
        let locks = Arc::new(LockTable::new(&io));
        let run = |locks: &LockTable, age: u64, mine: &str, other: &str| {
            let owner = locks.owner(age);
            locks.lock(&owner, &key(mine), X).expect("nobody is older");
            let answer = locks.lock(&owner, &key(other), X);
            let died = answer == Err(LockError::Deadlock);
            if died {
                owner.set_rolling_back();
            }
            locks.release_all(&owner, None);
            died
        };
        let shared = Arc::clone(&locks);
        let younger = move || _ = run(&shared, 2, "b", "a");
        let younger = io.spawn("younger", younger).expect("a thread");
        assert!(!run(&locks, 1, "a", "b"), "the older one lives");
        younger.join().expect("no panic");
        assert!(locks.stats().deadlocks <= 1);
        assert_nothing_left(&locks);
    });
}

/// An owner of many keys goes over to one range while somebody asks whether a key of it is free: at no moment is it.
#[test]
fn a_key_that_goes_over_into_a_range_is_held_all_the_time() {
    check(|| {
        let io = Io::os();
        let shared = Arc::new((LockTable::new(&io), AtomicBool::new(false)));
        let writing = Arc::clone(&shared);
        let writer = move || {
            let (locks, holds) = &*writing;
            let owner = locks.owner(1);
            locks.lock(&owner, &key("a"), X).expect("nobody else");
            holds.store(true, Ordering::Release);
            for name in ["b", "c"] {
                locks.lock(&owner, &key(name), X).expect("nobody else");
            }
            holds.store(false, Ordering::Release);
            locks.release_all(&owner, None);
        };
        let writer = io.spawn("writer", writer).expect("a thread");
        let (locks, holds) = &*shared;
        if holds.load(Ordering::Acquire) {
            let held = locks.is_locked_exclusively(TABLE, b"a");
            assert!(held || !holds.load(Ordering::Acquire), "held, and not seen");
        }
        writer.join().expect("no panic");
        assert_nothing_left(locks);
    });
}

/// A scan and an insert into its range: one waits for the other, and a scan that comes second knows the commit.
#[test]
fn a_range_and_a_key_in_it_exclude_each_other() {
    check(|| {
        let io = Io::os();
        let shared = Arc::new((
            LockTable::new(&io),
            afterimage_io::sync::Mutex::new(&io, 0_u32),
        ));
        let writing = Arc::clone(&shared);
        let writer = move || {
            let (locks, value) = &*writing;
            let owner = locks.owner(1);
            locks.lock(&owner, &key("m"), X).expect("no deadlock");
            for step in [1, 2] {
                *value.lock() = step;
            }
            locks.release_all(&owner, Lsn::new(700));
        };
        let writer = io.spawn("writer", writer).expect("a thread");
        let (locks, value) = &*shared;
        let owner = locks.owner(2);
        let all = Interval::all();
        let granted = locks.lock(&owner, &Resource::Range(TABLE, &all), S);
        let seen = *value.lock();
        assert!(seen != 1, "half a change");
        let told = granted.expect("no deadlock").last_commit;
        assert!(
            seen == 0 || told == Lsn::new(700),
            "the commit was not told"
        );
        locks.release_all(&owner, None);
        writer.join().expect("no panic");
        assert_nothing_left(locks);
    });
}

/// A read without a lock, while its page is latched: it sees what was there before, or the commit, or that it has to wait.
fn momentary_reads_know_the_commit(locked: fn(&Interval) -> Resource<'_>) {
    check(move || {
        let io = Io::os();
        let page = afterimage_io::sync::Mutex::new(&io, false);
        let shared = Arc::new((LockTable::new(&io), page));
        let writing = Arc::clone(&shared);
        let writer = move || {
            let (locks, page) = &*writing;
            let owner = locks.owner(1);
            let range = Interval::all();
            locks.lock(&owner, &locked(&range), X).expect("nobody else");
            *page.lock() = true;
            locks.release_all(&owner, Lsn::new(700));
        };
        let writer = io.spawn("writer", writer).expect("a thread");
        let (locks, page) = &*shared;
        let latched = page.lock();
        let told = locks.last_commit(TABLE, b"k");
        let known = told.is_none() || told == Some(Lsn::new(700));
        assert!(!*latched || known, "the commit was not told");
        drop(latched);
        writer.join().expect("no panic");
        assert_nothing_left(locks);
    });
}

#[test]
fn a_momentary_read_knows_the_commit_of_a_key() {
    momentary_reads_know_the_commit(|_| key("k"));
}

#[test]
fn a_momentary_read_knows_the_commit_of_a_range() {
    momentary_reads_know_the_commit(|range| Resource::Range(TABLE, range));
}

/// Ended from outside while the lock is handed over: it has it or has not, and nobody sleeps for ever.
#[test]
fn being_ended_and_being_granted_meet() {
    check(|| {
        let io = Io::os();
        let locks = Arc::new(LockTable::new(&io));
        let holder = locks.owner(1);
        locks.lock(&holder, &key("k"), X).expect("free");
        let waiter = locks.owner(2);
        let (shared, owner) = (Arc::clone(&locks), Arc::clone(&waiter));
        let wait = move || {
            let answer = shared.lock(&owner, &key("k"), S);
            assert!(
                matches!(answer, Ok(_) | Err(LockError::Revoked(_))),
                "{answer:?}"
            );
            shared.release_all(&owner, None);
        };
        let thread = io.spawn("waiter", wait).expect("a thread");
        let shared = Arc::clone(&locks);
        let end = move || shared.revoke(&waiter, "too old");
        let ender = io.spawn("ender", end).expect("a thread");
        locks.release_all(&holder, None);
        thread.join().expect("no panic");
        ender.join().expect("no panic");
        assert_nothing_left(&locks);
    });
}
