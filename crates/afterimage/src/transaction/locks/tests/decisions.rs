//! Who is granted, who waits, who is woken and who gives way: `State` asked directly, one request at a time, so that each
//! test is one story. After every step all lines are checked.

use std::sync::Arc;

use afterimage_io::Io;

use crate::ids::TableId;
use crate::interval::Interval;
use crate::transaction::locks::line::Slot;
use crate::transaction::locks::mode::Mode::{self, Exclusive as X, Shared as S};
use crate::transaction::locks::owner::{LockOwner, Verdict};
use crate::transaction::locks::state::{State, Wakes};
use crate::transaction::locks::target::{Name, Target};

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

    fn ask(&mut self, owner: usize, what: &str, mode: Mode) -> Told {
        let (told, woken) = self.ask_all(owner, &name(what), mode);
        assert_eq!(woken, [], "asking for {what} disturbed others");
        told
    }

    /// Who is granted what the owner gives back.
    fn release(&mut self, owner: usize, what: &str) -> Vec<usize> {
        let mut wakes = Wakes::new();
        let Name { table, target } = name(what);
        self.state
            .release(self.owners[owner].1, table, &target, &mut wakes);
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

/// A key, or a range: `b..f`, or with an end left open, `b..`, `..f`, `..`.
fn name(what: &str) -> Name {
    let target = match what.split_once("..") {
        None => Target::Key(what.as_bytes().into()),
        Some((low, high)) => {
            let high = (!high.is_empty()).then_some(high.as_bytes());
            Target::Range(Interval::new(low.as_bytes(), high))
        }
    };
    Name {
        table: TABLE,
        target,
    }
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
    assert_eq!((desk.state.places(), desk.state.locks_held()), (0, 0));
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
    let mut desk = Desk::new(5);
    assert_eq!(desk.ask(0, "c", X), Told::Granted);
    assert_eq!(desk.ask(1, "b..f", S), Told::Waits);
    assert_eq!(
        desk.ask(2, "d", S),
        Told::Granted,
        "does not delay the scan"
    );
    assert_eq!(desk.ask(2, "f", X), Told::Granted, "just beside it");
    assert_eq!(desk.ask(3, "d..e", S), Told::Granted, "nor does this one");
    assert_eq!(desk.ask(4, "e", X), Told::Waits, "would delay the scan");
    assert_eq!(desk.release(0, "c"), [1]);
    assert_eq!(desk.release(1, "b..f"), [4]);
}

/// Every pair of a key or a range held and one asked for, in every pair of modes.
#[test]
fn what_has_a_key_in_common_and_one_writer_waits() {
    let held = ["c", "b..d", "b..", "..d", "..", "c..c\0"];
    for held in held {
        for (asked, meets_key, meets_bd) in [
            ("a", false, false),
            ("b", false, true),
            ("c", true, true),
            ("c\0", false, true),
            ("d", false, false),
            ("a..b", false, false),
            ("a..c", false, true),
            ("a..c\0", true, true),
            ("c..z", true, true),
            ("c\0..", false, true),
            ("d..", false, false),
        ] {
            // How the other ranges meet it follows from the borders.
            let meets = match held {
                "c" | "c..c\0" => meets_key,
                "b..d" => meets_bd,
                "b.." => !matches!(asked, "a" | "a..b"),
                "..d" => !matches!(asked, "d" | "d.."),
                _ => true,
            };
            for (mode, other) in [(S, S), (S, X), (X, S), (X, X)] {
                let mut desk = Desk::new(2);
                assert_eq!(desk.ask(0, held, mode), Told::Granted);
                let told = desk.ask(1, asked, other);
                let waits = meets && (mode, other) != (S, S);
                let expected = if waits { Told::Waits } else { Told::Granted };
                assert_eq!(told, expected, "{asked} {other:?} beside {held} {mode:?}");
            }
        }
    }
}

/// Held `old`, asked for `new`: afterwards exactly those can come who can stand beside the stronger of the two.
#[test]
fn an_upgrade_amounts_to_the_stronger_mode() {
    for what in ["k", "a..z"] {
        for (old, new, probe) in [S, X].into_iter().flat_map(|old| {
            let pairs = [(S, S), (S, X), (X, S), (X, X)];
            pairs.map(|(new, probe)| (old, new, probe))
        }) {
            let mut desk = Desk::new(2);
            assert_eq!(desk.ask(0, what, old), Told::Granted);
            assert_eq!(desk.ask(0, "k", new), Told::Granted, "alone");
            let free = old.max(new).is_compatible(probe);
            let expected = if free { Told::Granted } else { Told::Waits };
            assert_eq!(
                desk.ask(1, "k", probe),
                expected,
                "{what}: {old:?}, {new:?}"
            );
        }
    }
}

#[test]
fn ranges_of_one_owner_that_touch_are_one() {
    let mut desk = Desk::new(2);
    for (low, high) in [("a", "c"), ("e", "g"), ("c", "e"), ("b", "f")] {
        assert_eq!(desk.ask(0, &format!("{low}..{high}"), S), Told::Granted);
    }
    assert_eq!(desk.state.places(), 2, "where it begins and where it ends");
    assert_eq!(desk.ask(1, "d..h", S), Told::Granted);
    assert_eq!(desk.ask(1, "i", X), Told::Granted);
    assert_eq!(desk.release(0, "a..g"), []);
    assert_eq!(desk.ask(0, "g", X), Told::Waits);
    assert_eq!(desk.release(1, "d..h"), [0]);
}

/// A scan goes on, step by step, past one who waits for what it has read already.
#[test]
fn a_scan_goes_on_past_whoever_waits_for_it() {
    let mut desk = Desk::new(4);
    assert_eq!(desk.ask(0, "a..d", S), Told::Granted);
    // One who wants to clear what it has read and what it will read; a reader and a writer behind that.
    assert_eq!(desk.ask(1, "b..h", X), Told::Waits);
    assert_eq!(desk.ask(2, "c..m", S), Told::Waits);
    assert_eq!(
        desk.ask(3, "k", X),
        Told::Waits,
        "does not overtake the reader"
    );
    assert_eq!(
        desk.ask(0, "d..p", S),
        Told::Granted,
        "all three wait for it anyway"
    );
    assert_eq!(desk.state.deadlocks, 0);
    assert_eq!(desk.release(0, "a..p"), [1]);
    assert_eq!(desk.release(1, "b..h"), [2]);
    assert_eq!(desk.release(2, "c..m"), [3]);
}

#[test]
fn a_waiting_writer_is_not_overtaken_by_scans_that_come_later() {
    let mut desk = Desk::new(5);
    assert_eq!(desk.ask(0, "a..m", S), Told::Granted);
    assert_eq!(desk.ask(1, "k", X), Told::Waits);
    for scan in [2, 3] {
        assert_eq!(desk.ask(scan, "j..z", S), Told::Waits);
    }
    assert_eq!(desk.ask(4, "l..z", S), Told::Granted, "beside the writer");
    assert_eq!(desk.release(0, "a..m"), [1]);
    assert_eq!(desk.release(1, "k"), [2, 3]);
}

#[test]
fn two_scans_that_then_insert_into_each_others_ranges_are_a_deadlock() {
    let mut desk = Desk::new(2);
    assert_eq!(desk.ask(0, "a..m", S), Told::Granted);
    assert_eq!(desk.ask(1, "c..z", S), Told::Granted);
    assert_eq!(desk.ask(0, "p", X), Told::Waits);
    let (told, woken) = desk.ask_all(1, &name("d"), X);
    assert_eq!((told, woken), (Told::Victim, vec![]));
    assert_eq!(desk.release(1, "c..z"), [0]);
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
fn deadlock_of_two_costs_the_younger_whoever_closes_it() {
    for closer in [0, 1] {
        let mut desk = Desk::new(2);
        let keys = ["a", "b"];
        let first = 1 - closer;
        assert_eq!(desk.ask(0, keys[0], X), Told::Granted);
        assert_eq!(desk.ask(1, keys[1], X), Told::Granted);
        assert_eq!(desk.ask(first, keys[closer], X), Told::Waits);
        let (told, woken) = desk.ask_all(closer, &name(keys[first]), X);
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
        desk.ask_all(order[2], &name(keys[(order[2] + 1) % 3]), S);
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
        desk.ask_all(closer, &name("k"), X);
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
    let (told, woken) = desk.ask_all(0, &name("b"), X);
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
    let (told, mut woken) = desk.ask_all(0, &name("both"), X);
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
    let (told, woken) = desk.ask_all(0, &name("other"), X);
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

/// Whoever is ahead and waits for the asker, by whatever detour, is passed: nobody has to die.
#[test]
fn who_waits_for_the_asker_by_a_detour_is_passed() {
    let mut desk = Desk::new(3);
    assert_eq!(desk.ask(0, "a", X), Told::Granted);
    assert_eq!(desk.ask(1, "k", S), Told::Granted);
    assert_eq!(desk.ask(2, "k", X), Told::Waits);
    assert_eq!(desk.ask(1, "a", S), Told::Waits);
    // Owner 2 waits for owner 1, who waits for owner 0, who would stand behind owner 2.
    assert_eq!(desk.ask(0, "k", S), Told::Granted);
    assert_eq!(desk.state.deadlocks, 0);
    assert_eq!(desk.release(0, "a"), [1]);
    assert_eq!(desk.release(1, "k"), []);
    assert_eq!(desk.release(0, "k"), [2]);
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
