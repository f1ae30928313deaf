//! Who is granted, who waits, who is woken and who gives way: `State` asked directly, one request at a time, so that each
//! test is one story. After every step all queues are checked.

use std::sync::Arc;

use afterimage_io::Io;

use crate::ids::TableId;
use crate::transaction::locks::Resource;
use crate::transaction::locks::mode::Mode::{
    self, Exclusive as X, IntentExclusive as IX, IntentShared as IS, Shared as S,
};
use crate::transaction::locks::owner::{LockOwner, Name, Verdict};
use crate::transaction::locks::queue::Slot;
use crate::transaction::locks::state::{State, Wakes};

const TABLE: TableId = TableId(16);

/// Owners by number; owner `n` has age `n`, so the larger number is the younger.
struct Desk {
    state: State,
    owners: Vec<(LockOwner, Slot)>,
}

#[derive(PartialEq, Eq, Debug)]
enum Told {
    Granted,
    Waits,
    Victim,
}

impl Desk {
    fn new(owners: usize) -> Desk {
        let io = Io::os();
        let mut state = State::default();
        let owners = (0..owners).map(|age| {
            let owner = LockOwner::new(&io, age as u64);
            let slot = state.admit_owner(&owner.shared);
            (owner, slot)
        });
        let owners = owners.collect();
        Desk { state, owners }
    }

    /// What the asker is told, and who else is woken by it.
    fn ask_all(&mut self, owner: usize, name: &Name, mode: Mode) -> (Told, Vec<usize>) {
        let slot = self.owners[owner].1;
        if self.state.try_grant(slot, name, mode) {
            self.state.check();
            return (Told::Granted, Vec::new());
        }
        let mut wakes = Wakes::new();
        self.state.wait(slot, name, mode, &mut wakes);
        self.state.check();
        let told = match self.verdict(owner) {
            Verdict::Pending => Told::Waits,
            Verdict::Granted => Told::Granted,
            Verdict::Victim => Told::Victim,
            Verdict::Revoked | Verdict::TimedOut => panic!("nobody revokes here, or hurries"),
        };
        let woken = self
            .numbers(&wakes)
            .into_iter()
            .filter(|woken| *woken != owner);
        (told, woken.collect())
    }

    fn ask(&mut self, owner: usize, key: &str, mode: Mode) -> Told {
        let (told, woken) = self.ask_all(owner, &key_name(key), mode);
        assert_eq!(woken, [], "asking for {key} disturbed others");
        told
    }

    fn ask_table(&mut self, owner: usize, mode: Mode) -> Told {
        self.ask_all(owner, &Name::of(&Resource::Table(TABLE)), mode)
            .0
    }

    /// Who is granted what the owner gives back.
    fn release(&mut self, owner: usize, key: &str) -> Vec<usize> {
        self.release_name(owner, &key_name(key))
    }

    fn release_table(&mut self, owner: usize) -> Vec<usize> {
        self.release_name(owner, &Name::of(&Resource::Table(TABLE)))
    }

    fn release_name(&mut self, owner: usize, name: &Name) -> Vec<usize> {
        let mut wakes = Wakes::new();
        self.state.release(self.owners[owner].1, name, &mut wakes);
        self.state.check();
        let woken = self.numbers(&wakes);
        for owner in &woken {
            assert_eq!(self.verdict(*owner), Verdict::Granted);
        }
        woken
    }

    fn verdict(&self, owner: usize) -> Verdict {
        self.owners[owner].0.shared.verdict()
    }

    fn numbers(&self, wakes: &Wakes) -> Vec<usize> {
        let number = |shared| {
            self.owners
                .iter()
                .position(|(owner, _)| Arc::ptr_eq(&owner.shared, shared))
        };
        wakes
            .iter()
            .map(|shared| number(shared).expect("one of ours"))
            .collect()
    }
}

fn key_name(key: &str) -> Name {
    Name::of(&Resource::Key(TABLE, key.as_bytes()))
}

#[test]
fn first_come_first_served() {
    let mut desk = Desk::new(4);
    assert_eq!(desk.ask(0, "k", S), Told::Granted);
    assert_eq!(desk.ask(1, "k", S), Told::Granted);
    assert_eq!(desk.ask(2, "k", X), Told::Waits);
    assert_eq!(
        desk.ask(3, "k", S),
        Told::Waits,
        "a reader does not pass a writer that came before it"
    );
    assert_eq!(desk.release(0, "k"), []);
    assert_eq!(desk.release(1, "k"), [2]);
    assert_eq!(desk.release(2, "k"), [3]);
    assert_eq!(desk.release(3, "k"), []);
    assert_eq!(desk.state.resources(), 0);
    assert_eq!(desk.state.locks_held, 0);
}

#[test]
fn readers_in_front_are_granted_together_and_woken_once() {
    let mut desk = Desk::new(5);
    assert_eq!(desk.ask(0, "k", X), Told::Granted);
    for (owner, mode) in [(1, S), (2, S), (3, X), (4, S)] {
        assert_eq!(desk.ask(owner, "k", mode), Told::Waits);
    }
    assert_eq!(desk.release(0, "k"), [1, 2]);
    assert_eq!(desk.release(2, "k"), []);
    assert_eq!(desk.release(1, "k"), [3]);
    assert_eq!(desk.release(3, "k"), [4]);
}

#[test]
fn who_stands_in_nobodys_way_may_pass() {
    let mut desk = Desk::new(4);
    assert_eq!(desk.ask_table(0, IX), Told::Granted);
    assert_eq!(desk.ask_table(1, S), Told::Waits);
    assert_eq!(
        desk.ask_table(2, IS),
        Told::Granted,
        "delays neither the writer nor the scan"
    );
    assert_eq!(desk.ask_table(3, IX), Told::Waits, "would delay the scan");
    assert_eq!(desk.release_table(0), [1]);
    assert_eq!(desk.release_table(1), [3]);
}

/// Held `old`, asked for `new`: afterwards exactly those can come who can stand beside the supremum.
#[test]
fn an_upgrade_amounts_to_the_supremum() {
    for old in Mode::ALL {
        for new in Mode::ALL {
            for probe in Mode::ALL {
                let mut desk = Desk::new(2);
                assert_eq!(desk.ask_table(0, old), Told::Granted);
                assert_eq!(
                    desk.ask_table(0, new),
                    Told::Granted,
                    "alone: {old:?} to {new:?}"
                );
                let expected = match old.supremum(new).is_compatible(probe) {
                    true => Told::Granted,
                    false => Told::Waits,
                };
                assert_eq!(
                    desk.ask_table(1, probe),
                    expected,
                    "{probe:?} beside {old:?} and {new:?}"
                );
                assert_eq!(
                    desk.state.locks_held,
                    1 + u64::from(expected == Told::Granted)
                );
            }
        }
    }
}

#[test]
fn an_upgrader_waits_ahead_of_newcomers() {
    let mut desk = Desk::new(4);
    assert_eq!(desk.ask(0, "k", S), Told::Granted);
    assert_eq!(desk.ask(1, "k", S), Told::Granted);
    assert_eq!(desk.ask(2, "k", X), Told::Waits);
    assert_eq!(desk.ask(0, "k", X), Told::Waits);
    assert_eq!(desk.ask(3, "k", S), Told::Waits);
    assert_eq!(desk.release(1, "k"), [0]);
    assert_eq!(desk.release(0, "k"), [2]);
    assert_eq!(desk.release(2, "k"), [3]);
}

#[test]
fn an_upgrade_that_no_holder_minds_is_granted_past_the_queue() {
    let mut desk = Desk::new(3);
    assert_eq!(desk.ask_table(0, IS), Told::Granted);
    assert_eq!(desk.ask_table(1, IS), Told::Granted);
    assert_eq!(desk.ask_table(2, X), Told::Waits);
    assert_eq!(desk.ask_table(0, IX), Told::Granted);
    assert_eq!(desk.ask_table(1, IX), Told::Granted);
    assert_eq!(desk.release_table(0), []);
    assert_eq!(desk.release_table(1), [2]);
}

#[test]
fn deadlock_of_two_costs_the_younger_whoever_closes_it() {
    for closer in [0, 1] {
        let mut desk = Desk::new(2);
        let keys = ["a", "b"];
        let first = 1 - closer;
        assert_eq!(desk.ask(0, keys[0], X), Told::Granted);
        assert_eq!(desk.ask(1, keys[1], X), Told::Granted);
        assert_eq!(desk.ask(first, keys[closer], X), Told::Waits);
        let (told, woken) = desk.ask_all(closer, &key_name(keys[first]), X);
        match closer {
            1 => assert_eq!((told, woken), (Told::Victim, vec![])),
            _ => assert_eq!((told, woken), (Told::Waits, vec![1])),
        }
        assert_eq!(desk.verdict(1), Verdict::Victim);
        assert_eq!(desk.verdict(0), Verdict::Pending);
        assert_eq!(
            desk.release(1, "b"),
            [0],
            "the survivor goes on when the victim has rolled back"
        );
        assert_eq!(desk.state.deadlocks, 1);
    }
}

#[test]
fn deadlock_of_three_costs_the_youngest_in_every_order() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        let mut desk = Desk::new(3);
        let keys = ["a", "b", "c"];
        for (owner, key) in keys.into_iter().enumerate() {
            assert_eq!(desk.ask(owner, key, X), Told::Granted);
        }
        for owner in &order[..2] {
            assert_eq!(desk.ask(*owner, keys[(owner + 1) % 3], S), Told::Waits);
        }
        desk.ask_all(order[2], &key_name(keys[(order[2] + 1) % 3]), S);
        assert_eq!(
            [0, 1, 2].map(|owner| desk.verdict(owner) == Verdict::Victim),
            [false, false, true]
        );
        // 0 waits for b, 1 for c, which the victim holds.
        assert_eq!(desk.release(2, "c"), [1], "order {order:?}");
        assert_eq!(desk.release(1, "b"), [0]);
    }
}

#[test]
fn two_readers_that_both_want_to_write_are_a_deadlock() {
    for closer in [0, 1] {
        let mut desk = Desk::new(2);
        assert_eq!(desk.ask(0, "k", S), Told::Granted);
        assert_eq!(desk.ask(1, "k", S), Told::Granted);
        assert_eq!(desk.ask(1 - closer, "k", X), Told::Waits);
        desk.ask_all(closer, &key_name("k"), X);
        assert_eq!(desk.verdict(1), Verdict::Victim);
        assert_eq!(
            desk.verdict(0),
            Verdict::Pending,
            "the victim still holds its shared lock"
        );
        assert_eq!(desk.release(1, "k"), [0]);
    }
}

#[test]
fn a_deadlock_through_a_waiter_ahead_is_seen() {
    let mut desk = Desk::new(3);
    assert_eq!(desk.ask(2, "b", X), Told::Granted);
    assert_eq!(desk.ask(0, "a", S), Told::Granted);
    assert_eq!(desk.ask(1, "a", X), Told::Waits);
    assert_eq!(
        desk.ask(2, "a", S),
        Told::Waits,
        "behind owner 1, though the holder would not mind"
    );
    let (told, woken) = desk.ask_all(0, &key_name("b"), X);
    assert_eq!((told, woken), (Told::Waits, vec![2]));
    assert_eq!(desk.release(2, "b"), [0]);
}

#[test]
fn who_rolls_back_is_never_the_victim() {
    let mut desk = Desk::new(2);
    assert_eq!(desk.ask(0, "a", X), Told::Granted);
    assert_eq!(desk.ask(1, "b", X), Told::Granted);
    assert_eq!(desk.ask(1, "a", X), Told::Waits);
    desk.owners[1].0.set_rolling_back();
    assert_eq!(desk.ask(0, "b", X), Told::Victim, "though it is the older");
    assert_eq!(desk.verdict(1), Verdict::Pending);
    assert_eq!(desk.release(0, "a"), [1]);
}

#[test]
fn one_wait_can_close_several_cycles() {
    let mut desk = Desk::new(3);
    assert_eq!(desk.ask(0, "mine", X), Told::Granted);
    assert_eq!(desk.ask(1, "both", S), Told::Granted);
    assert_eq!(desk.ask(2, "both", S), Told::Granted);
    assert_eq!(desk.ask(1, "mine", S), Told::Waits);
    assert_eq!(desk.ask(2, "mine", S), Told::Waits);
    let (told, mut woken) = desk.ask_all(0, &key_name("both"), X);
    woken.sort_unstable();
    assert_eq!((told, woken), (Told::Waits, vec![1, 2]));
    assert_eq!(desk.state.deadlocks, 2);
    assert_eq!(desk.release(1, "both"), []);
    assert_eq!(desk.release(2, "both"), [0]);
}

#[test]
fn a_victim_lets_those_behind_it_pass_at_once() {
    let mut desk = Desk::new(4);
    assert_eq!(desk.ask(0, "k", S), Told::Granted);
    assert_eq!(desk.ask(3, "other", X), Told::Granted);
    assert_eq!(desk.ask(3, "k", X), Told::Waits);
    assert_eq!(desk.ask(1, "k", S), Told::Waits);
    let (told, woken) = desk.ask_all(0, &key_name("other"), X);
    assert_eq!((told, woken), (Told::Waits, vec![3, 1]));
    assert_eq!(desk.verdict(3), Verdict::Victim);
    assert_eq!(desk.verdict(1), Verdict::Granted);
}

#[test]
fn who_is_revoked_lets_those_behind_it_pass_at_once() {
    let mut desk = Desk::new(4);
    assert_eq!(desk.ask(0, "k", S), Told::Granted);
    assert_eq!(desk.ask(1, "k", X), Told::Waits);
    assert_eq!(desk.ask(2, "k", S), Told::Waits);
    let mut wakes = Wakes::new();
    let slot = desk.owners[1].1;
    desk.state.end_wait(slot, Verdict::Revoked, &mut wakes);
    desk.state.check();
    assert_eq!(desk.numbers(&wakes), [1, 2]);
    assert_eq!(desk.verdict(1), Verdict::Revoked);
    assert_eq!(desk.verdict(2), Verdict::Granted);
    desk.state.end_wait(slot, Verdict::Revoked, &mut wakes);
    assert_eq!(wakes.len(), 2, "it waits no more");
}

/// The victim's going may be all that the requester waited for.
#[test]
fn breaking_the_cycle_can_grant_the_request() {
    let mut desk = Desk::new(3);
    assert_eq!(desk.ask(0, "a", X), Told::Granted);
    assert_eq!(desk.ask(1, "k", S), Told::Granted);
    assert_eq!(desk.ask(2, "k", X), Told::Waits);
    // Owner 2 waits for owner 1, who will wait for owner 0, who then asks for `k` behind owner 2.
    assert_eq!(desk.ask(1, "a", S), Told::Waits);
    let (told, woken) = desk.ask_all(0, &key_name("k"), S);
    assert_eq!((told, woken), (Told::Granted, vec![2]));
    assert_eq!(desk.verdict(2), Verdict::Victim);
}

#[test]
fn owners_and_their_places_are_used_again() {
    let mut desk = Desk::new(2);
    let io = Io::os();
    let (_, freed) = desk.owners.remove(0);
    desk.state.dismiss_owner(freed);
    assert_eq!(desk.state.owners(), 1);
    let next = LockOwner::new(&io, 7);
    assert_eq!(desk.state.admit_owner(&next.shared), freed);
    assert_eq!(desk.state.owners(), 2);
}
