//! `LockTable` as the rest of the engine calls it: asking again, commits that readers inherit, and threads that wait and
//! are woken, one at a time.

use std::sync::Arc;
use std::time::Duration;

use afterimage_io::sync::Mutex;
use afterimage_io::{Io, JoinHandle};
use afterimage_log::Lsn;

use crate::ids::TableId;
use crate::interval::Interval;
use crate::transaction::locks::mode::Mode::{self, Exclusive as X, Shared as S};
use crate::transaction::locks::{Granted, LockError, LockOwner, LockTable, Resource};

const TABLE: TableId = TableId(16);
const OTHER: TableId = TableId(17);

fn lsn(value: u64) -> Lsn {
    Lsn::new(value).expect("not zero")
}

fn key(key: &str) -> Resource<'_> {
    Resource::Key(TABLE, key.as_bytes())
}

fn lock_key(
    locks: &LockTable,
    owner: &LockOwner,
    name: &str,
    mode: Mode,
) -> Result<Granted, LockError> {
    locks.lock(owner, &key(name), mode)
}

fn lock_range(
    locks: &LockTable,
    owner: &LockOwner,
    (low, high): (&str, &str),
    mode: Mode,
) -> Result<Granted, LockError> {
    let range = Interval::new(low.as_bytes(), Some(high.as_bytes()));
    locks.lock(owner, &Resource::Range(TABLE, &range), mode)
}

/// A transaction that changes one key and commits.
fn change(locks: &LockTable, name: &str, commit: Option<Lsn>) {
    let owner = locks.owner(1);
    lock_key(locks, &owner, name, X).expect("nobody is in the way");
    locks.release_all(&owner, commit);
}

/// What a momentary reader of one key is told.
fn commit_seen(locks: &LockTable, name: &str) -> Option<Lsn> {
    let owner = locks.owner(1);
    let granted = lock_key(locks, &owner, name, S).expect("nobody is in the way");
    locks.release_all(&owner, None);
    assert_eq!(
        locks.last_commit(TABLE, name.as_bytes()),
        Some(granted.last_commit)
    );
    granted.last_commit
}

fn commit_seen_by_scan(locks: &LockTable, table: TableId) -> Option<Lsn> {
    let owner = locks.owner(1);
    let granted = locks
        .lock(&owner, &Resource::Range(table, &Interval::all()), S)
        .expect("nobody is in the way");
    locks.release_all(&owner, None);
    granted.last_commit
}

fn assert_nothing_left(locks: &LockTable) {
    assert_eq!(locks.locks_held(), 0);
    locks.with_state(|state| {
        state.check();
        assert_eq!(state.places(), 0, "what is not locked takes no memory");
        assert_eq!(state.owners(), 0);
    });
}

#[test]
fn asking_again_is_free() {
    let locks = LockTable::new(&Io::os());
    let owner = locks.owner(1);
    change(&locks, "k", Some(lsn(500)));
    assert_eq!(
        lock_key(&locks, &owner, "k", X).expect("free").last_commit,
        Some(lsn(500))
    );
    assert_eq!(locks.locks_held(), 1);
    for mode in [S, X] {
        let again = lock_key(&locks, &owner, "k", mode).expect("held");
        assert_eq!(again.last_commit, None, "told already");
    }
    assert_eq!(locks.locks_held(), 1);
    assert!(locks.try_lock(&owner, &key("k"), S).is_some());
    locks.release_all(&owner, None);
    assert_nothing_left(&locks);
    locks.release_all(&owner, None);
}

#[test]
fn a_range_covers_what_is_in_it() {
    let locks = LockTable::new(&Io::os());
    for (mode, shared, exclusive) in [(S, true, false), (X, true, true)] {
        let owner = locks.owner(1);
        lock_range(&locks, &owner, ("b", "f"), mode).expect("alone");
        assert_eq!(locks.locks_held(), 1);
        lock_key(&locks, &owner, "c", S).expect("alone");
        lock_range(&locks, &owner, ("b", "d"), S).expect("alone");
        assert_eq!(locks.locks_held() == 1, shared, "{mode:?}");
        lock_key(&locks, &owner, "d", X).expect("alone");
        assert_eq!(locks.locks_held() == 1, exclusive, "{mode:?}");
        let before = locks.locks_held();
        lock_key(&locks, &owner, "f", S).expect("alone");
        assert_eq!(locks.locks_held(), before + 1, "its end is not in it");
        locks.release_all(&owner, None);
        assert_nothing_left(&locks);
    }
}

/// Very many keys become one range, if nobody is in the way: else they stay what they are.
#[test]
fn what_one_owner_holds_stays_bounded() {
    const KEYS: usize = 100_000;
    for mode in [S, X] {
        for in_the_way in [false, true] {
            let locks = LockTable::new(&Io::os());
            let (owner, other) = (locks.owner(1), locks.owner(2));
            let name = |n: usize| format!("key {n:06}");
            if in_the_way {
                lock_key(&locks, &other, "key 000000 and a half", X).expect("alone");
            }
            for n in 0..KEYS {
                lock_key(&locks, &owner, &name(n), mode).expect("free");
            }
            let held = locks.locks_held();
            assert_eq!(held >= KEYS, in_the_way, "{held}");
            assert!(in_the_way || held < 20_000, "{held}");
            let beside = locks.try_lock(&other, &key("key 0000000"), X);
            assert_eq!(beside.is_some(), in_the_way, "the range has no holes");
            assert!(
                locks.try_lock(&other, &key("key 1"), X).is_some(),
                "behind it"
            );
            assert_eq!(locks.try_lock(&other, &key(&name(5)), X), None);
            let shared = locks.try_lock(&other, &key(&name(5)), S);
            assert_eq!(shared.is_some(), mode == S);
            locks.release_all(&other, None);
            locks.release_all(&owner, Some(lsn(77)));
            assert_eq!(
                commit_seen(&locks, &name(5)),
                (mode == X).then_some(lsn(77))
            );
            assert_nothing_left(&locks);
        }
    }
}

#[test]
fn readers_learn_the_commit_of_what_they_read() {
    let locks = LockTable::new(&Io::os());
    assert_eq!(commit_seen(&locks, "k"), None);
    change(&locks, "k", Some(lsn(900)));
    assert_eq!(commit_seen(&locks, "k"), Some(lsn(900)));
    assert_eq!(
        commit_seen(&locks, "untouched"),
        None,
        "unless the buckets collide; these do not"
    );
    assert_eq!(commit_seen_by_scan(&locks, TABLE), Some(lsn(900)));
    assert_eq!(commit_seen_by_scan(&locks, OTHER), None);
    change(&locks, "another", Some(lsn(950)));
    assert_eq!(commit_seen(&locks, "k"), Some(lsn(900)));
    assert_eq!(commit_seen_by_scan(&locks, TABLE), Some(lsn(950)));
    change(&locks, "k", Some(lsn(920)));
    assert_eq!(
        commit_seen_by_scan(&locks, TABLE),
        Some(lsn(950)),
        "only ever raised"
    );
}

#[test]
fn rollback_and_reading_leave_no_commit_behind() {
    let locks = LockTable::new(&Io::os());
    change(&locks, "k", None);
    let reader = locks.owner(1);
    lock_key(&locks, &reader, "k", S).expect("free");
    locks.release_all(&reader, Some(lsn(700)));
    assert_eq!(commit_seen(&locks, "k"), None);
    assert_eq!(commit_seen_by_scan(&locks, TABLE), None);
}

#[test]
fn a_range_that_was_changed_is_seen_at_every_key() {
    let locks = LockTable::new(&Io::os());
    let eraser = locks.owner(1);
    lock_range(&locks, &eraser, ("a", "m"), X).expect("free");
    lock_key(&locks, &eraser, "k", X).expect("covered");
    locks.release_all(&eraser, Some(lsn(640)));
    assert_eq!(commit_seen(&locks, "k"), Some(lsn(640)));
    assert_eq!(commit_seen(&locks, "b"), Some(lsn(640)));
    assert_eq!(commit_seen_by_scan(&locks, TABLE), Some(lsn(640)));
    assert_eq!(commit_seen_by_scan(&locks, OTHER), None);
}

#[test]
fn exclusive_locks_are_seen_without_asking_for_one() {
    let locks = LockTable::new(&Io::os());
    let owner = locks.owner(1);
    assert!(!locks.is_locked_exclusively(TABLE, b"k"));
    lock_key(&locks, &owner, "k", S).expect("free");
    assert!(!locks.is_locked_exclusively(TABLE, b"k"));
    lock_key(&locks, &owner, "k", X).expect("alone");
    assert!(locks.is_locked_exclusively(TABLE, b"k"));
    assert_eq!(
        locks.last_commit(TABLE, b"k"),
        None,
        "it has to be waited for"
    );
    assert_eq!(locks.last_commit(TABLE, b"j"), Some(None));
    assert!(!locks.is_locked_exclusively(TABLE, b"j"));
    assert!(!locks.is_locked_exclusively(OTHER, b"k"));
    lock_range(&locks, &owner, ("i", "k"), X).expect("alone");
    assert!(locks.is_locked_exclusively(TABLE, b"j"), "a range is");
    assert_eq!(locks.last_commit(TABLE, b"j"), None);
    assert!(!locks.is_locked_exclusively(TABLE, b"k\0"));
    locks.release_all(&owner, None);
    assert!(!locks.is_locked_exclusively(TABLE, b"k"));
    assert!(!locks.is_locked_exclusively(TABLE, b"j"));
}

#[test]
fn trying_never_waits() {
    let locks = LockTable::new(&Io::os());
    let (holder, other) = (locks.owner(1), locks.owner(2));
    lock_key(&locks, &holder, "k", X).expect("free");
    assert_eq!(locks.try_lock(&other, &key("k"), S), None);
    let all = Interval::all();
    let scan = locks.try_lock(&other, &Resource::Range(TABLE, &all), S);
    assert_eq!(scan, None, "the scan would");
    assert_eq!(locks.stats().waits, 0);
    locks.release_all(&holder, None);
    assert!(locks.try_lock(&other, &key("k"), X).is_some());
    locks.release_all(&other, None);
    assert_nothing_left(&locks);
}

/// A thread that asks for one lock and keeps the answer.
struct Asker {
    owner: Arc<LockOwner>,
    thread: JoinHandle,
    answer: Arc<Mutex<Option<Result<Granted, LockError>>>>,
}

fn ask(
    io: &Io,
    locks: &Arc<LockTable>,
    owner: Arc<LockOwner>,
    name: &'static str,
    mode: Mode,
) -> Asker {
    let waits = locks.stats().waits;
    let answer = Arc::new(Mutex::new(io, None));
    let thread = {
        let (locks, owner, answer) = (Arc::clone(locks), Arc::clone(&owner), Arc::clone(&answer));
        let ask = move || *answer.lock() = Some(lock_key(&locks, &owner, name, mode));
        io.spawn("asker", ask).expect("a thread")
    };
    while locks.stats().waits == waits {
        io.sleep(Duration::from_millis(1));
    }
    Asker {
        owner,
        thread,
        answer,
    }
}

impl Asker {
    fn answer(self) -> (Arc<LockOwner>, Result<Granted, LockError>) {
        self.thread.join().expect("it does not panic");
        let answer = self.answer.lock().take().expect("it has asked");
        (self.owner, answer)
    }
}

#[test]
fn release_wakes_the_waiter_and_tells_it_the_commit() {
    let io = Io::os();
    let locks = Arc::new(LockTable::new(&io));
    let holder = locks.owner(1);
    lock_key(&locks, &holder, "k", X).expect("free");
    let waiter = ask(&io, &locks, locks.owner(2), "k", S);
    io.sleep(Duration::from_millis(5));
    locks.release_all(&holder, Some(lsn(333)));
    let (waiter, answer) = waiter.answer();
    assert_eq!(
        answer,
        Ok(Granted {
            last_commit: Some(lsn(333))
        })
    );
    assert_eq!(locks.stats().waits, 1);
    assert!(locks.waited().0.max() >= Duration::from_millis(4));
    locks.release_all(&waiter, None);
    assert_nothing_left(&locks);
}

#[test]
fn a_waiting_victim_is_woken_and_the_survivor_goes_on() {
    let io = Io::os();
    let locks = Arc::new(LockTable::new(&io));
    let (older, younger) = (locks.owner(1), locks.owner(2));
    lock_key(&locks, &older, "a", X).expect("free");
    lock_key(&locks, &younger, "b", X).expect("free");
    let waiter = ask(&io, &locks, younger, "a", X);
    let closer = ask(&io, &locks, older, "b", X);
    let (younger, answer) = waiter.answer();
    assert_eq!(answer, Err(LockError::Deadlock));
    younger.set_rolling_back();
    locks.release_all(&younger, None);
    let (older, answer) = closer.answer();
    assert!(answer.is_ok());
    assert_eq!(locks.stats().deadlocks, 1);
    locks.release_all(&older, None);
    assert_nothing_left(&locks);
}

#[test]
fn revoking_ends_the_wait_and_every_later_request() {
    let io = Io::os();
    let locks = Arc::new(LockTable::new(&io));
    let holder = locks.owner(1);
    lock_key(&locks, &holder, "k", X).expect("free");
    let waiter = ask(&io, &locks, locks.owner(2), "k", X);
    locks.revoke(&waiter.owner, "too old");
    locks.revoke(&waiter.owner, "the second reason");
    let (waiter, answer) = waiter.answer();
    let too_old = LockError::Revoked("too old".to_owned());
    assert_eq!(answer, Err(too_old.clone()));
    assert_eq!(lock_key(&locks, &waiter, "free", S), Err(too_old));
    assert_eq!(locks.try_lock(&waiter, &key("free"), S), None);
    locks.release_all(&waiter, None);
    locks.release_all(&holder, None);
    assert_nothing_left(&locks);
}

/// More locks than one release batch: nobody is forgotten at the border, and order is kept per key.
#[test]
fn a_large_transaction_gives_everything_back() {
    let io = Io::os();
    let locks = Arc::new(LockTable::new(&io));
    let large = locks.owner(1);
    for number in 0..1000 {
        lock_key(&locks, &large, &format!("key {number}"), X).expect("free");
    }
    let waiters =
        ["key 0", "key 64", "key 999"].map(|name| ask(&io, &locks, locks.owner(2), name, S));
    locks.release_all(&large, Some(lsn(10)));
    for waiter in waiters {
        let (owner, answer) = waiter.answer();
        assert_eq!(
            answer,
            Ok(Granted {
                last_commit: Some(lsn(10))
            })
        );
        locks.release_all(&owner, None);
    }
    assert_nothing_left(&locks);
}
