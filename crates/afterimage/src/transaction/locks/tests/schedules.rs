//! Many clients at once, at random: no two incompatible holders ever coexist, every reader learns the commits that it
//! sees, nobody waits without a reason, and every run ends, so no wake-up is lost and no deadlock is left standing. Under many seeds in the simulated
//! world, where a schedule is one seed; and with real threads.
//!
//! What is held is written down independently of the lock table: after a lock is granted, and until just before it is
//! given back. So the ledger never shows a lock that is not held, and any two that it shows at once did coexist.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sim::{RunEnd, Sim};
use afterimage_io::sync::Mutex;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::Lsn;

use crate::ids::TableId;
use crate::interval::Interval;
use crate::transaction::locks::mode::Mode;
use crate::transaction::locks::state::State;
use crate::transaction::locks::{LockError, LockOwner, LockTable, Resource};

const TABLES: u64 = 2;
const KEYS: u8 = 6;

/// A key by its number; what is locked is a run of them.
type Place = (TableId, u8);

/// What is known to be held, by whom (age), and the highest commit that changed each place.
#[derive(Default)]
struct Ledger {
    held: BTreeMap<Place, BTreeMap<u64, Mode>>,
    commits: BTreeMap<Place, Lsn>,
    most_at_once: usize,
}

impl Ledger {
    fn granted(&mut self, place: Place, age: u64, mode: Mode) {
        let holders = self.held.entry(place).or_default();
        let now = holders.get(&age).map_or(mode, |held| mode.max(*held));
        holders.insert(age, now);
        let others = holders.iter().filter(|(other, _)| **other != age);
        for (other, held) in others {
            assert!(
                held.is_compatible(now),
                "LOCK-1: {place:?}: {age} has {now:?}, {other} has {held:?}"
            );
        }
        self.most_at_once = self.most_at_once.max(holders.len());
    }

    fn released(&mut self, age: u64, commit: Option<Lsn>) {
        for (place, holders) in &mut self.held {
            if let (Some(Mode::Exclusive), Some(lsn)) = (holders.remove(&age), commit) {
                let known = self.commits.entry(*place).or_insert(lsn);
                *known = lsn.max(*known);
            }
        }
    }
}

/// One lock table and everybody who uses it.
struct World {
    io: Io,
    locks: LockTable,
    ledger: Mutex<Ledger>,
    living: Mutex<BTreeMap<u64, Arc<LockOwner>>>,
    ages: AtomicU64,
    lsns: AtomicU64,
}

impl World {
    fn new(io: &Io) -> Arc<World> {
        Arc::new(World {
            io: io.clone(),
            locks: LockTable::new(io),
            ledger: Mutex::new(io, Ledger::default()),
            living: Mutex::new(io, BTreeMap::new()),
            ages: AtomicU64::new(1),
            lsns: AtomicU64::new(1),
        })
    }

    fn assert_all_ended(&self) {
        assert_eq!(self.locks.locks_held(), 0);
        self.locks.with_state(|state| {
            state.check();
            assert_eq!((state.places(), state.owners()), (0, 0));
        });
    }
}

/// Choices from a seed (splitmix64).
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One attempt at one transaction.
struct Attempt<'a> {
    world: &'a World,
    owner: Arc<LockOwner>,
    age: u64,
    /// The highest commit it was told of.
    told: Option<Lsn>,
}

impl Attempt<'_> {
    fn lock(
        &mut self,
        table: TableId,
        keys: std::ops::Range<u8>,
        mode: Mode,
    ) -> Result<(), LockError> {
        let (low, high) = ([keys.start], [keys.end]);
        let open = keys.end == KEYS;
        let interval = Interval::new(&low, (!open).then_some(&high[..]));
        let resource = match keys.len() {
            1 => Resource::Key(table, &low),
            _ => Resource::Range(table, &interval),
        };
        let granted = self.world.locks.lock(&self.owner, &resource, mode)?;
        self.told = self.told.max(granted.last_commit);
        let mut ledger = self.world.ledger.lock();
        for key in keys {
            ledger.granted((table, key), self.age, mode);
            let must_know = ledger.commits.get(&(table, key)).copied();
            assert!(
                self.told >= must_know,
                "{resource:?}: told {:?}, not {must_know:?}",
                self.told
            );
        }
        Ok(())
    }

    /// Locks a random key or range; now and then goes through a range bit by bit, as scans do.
    fn step(&mut self, choices: &mut Choices) -> Result<(), LockError> {
        let table = TableId(16 + choices.below(TABLES) as u32);
        let mode = Mode::ALL[choices.below(2) as usize];
        let low = choices.below(u64::from(KEYS)) as u8;
        let high = low + 1 + choices.below(u64::from(KEYS - low)) as u8;
        match choices.below(4) {
            0 | 1 => self.lock(table, low..low + 1, mode),
            2 => self.lock(table, low..high, mode),
            _ if choices.below(2) == 0 => {
                (low..high).try_for_each(|key| self.lock(table, key..key + 1, Mode::Shared))
            }
            _ => (low..high).try_for_each(|key| {
                let end = (key + 2).min(high);
                self.lock(table, key..end, Mode::Shared)
            }),
        }
    }

    fn end(self, commit: Option<Lsn>) {
        self.world.living.lock().remove(&self.age);
        self.world.ledger.lock().released(self.age, commit);
        self.world.locks.release_all(&self.owner, commit);
        self.world.locks.with_state(State::check);
    }
}

/// Runs transactions one after another; each is tried again with its first age until it commits or is revoked.
fn client(world: &World, seed: u64, transactions: u64) {
    let mut choices = Choices(seed);
    for _ in 0..transactions {
        let age = world.ages.fetch_add(1, Ordering::Relaxed);
        while run(world, age, &mut choices) == Err(LockError::Deadlock) {}
    }
}

fn run(world: &World, age: u64, choices: &mut Choices) -> Result<(), LockError> {
    let owner = world.locks.owner(age);
    world.living.lock().insert(age, Arc::clone(&owner));
    let mut attempt = Attempt {
        world,
        owner,
        age,
        told: None,
    };
    for _ in 0..=choices.below(5) {
        if let Err(why) = attempt.step(choices) {
            attempt.owner.set_rolling_back();
            attempt.end(None);
            return Err(why);
        }
        if choices.below(8) == 0 {
            world.io.sleep(Duration::from_micros(10));
        }
    }
    let lsn = Lsn::new(world.lsns.fetch_add(1, Ordering::Relaxed));
    attempt.end(if choices.below(8) == 0 { None } else { lsn });
    Ok(())
}

/// Revokes whoever is the oldest, a few times.
fn revoker(world: &World, times: u64) {
    for _ in 0..times {
        world.io.sleep(Duration::from_micros(50));
        let oldest = world.living.lock().values().next().cloned();
        if let Some(owner) = oldest {
            world.locks.revoke(&owner, "in a test");
            world.locks.with_state(State::check);
        }
    }
}

/// One simulated run: how it came out in numbers, to be compared with another of the same seed.
fn simulate(seed: u64) -> (u64, u64, u64) {
    let sim = Sim::new(seed);
    let world = World::new(&sim.io());
    let clients = 2 + Choices(seed).below(5);
    let mut bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
    for number in 0..clients {
        let world = Arc::clone(&world);
        let body = move || client(&world, seed ^ (number << 32), 6);
        bodies.push((format!("client {number}"), Box::new(body)));
    }
    if seed.is_multiple_of(4) {
        let world = Arc::clone(&world);
        bodies.push(("revoker".to_owned(), Box::new(move || revoker(&world, 5))));
    }
    let end = sim.run_threads(bodies);
    assert_eq!(end, RunEnd::Finished, "seed {seed}");
    world.assert_all_ended();
    let stats = world.locks.stats();
    (stats.waits, stats.deadlocks, sim.trace_hash())
}

#[test]
fn every_schedule_is_safe_and_ends() {
    let (mut waits, mut deadlocks) = (0, 0);
    for seed in 0..400 {
        let run = simulate(seed);
        waits += run.0;
        deadlocks += run.1;
    }
    assert!(
        waits > 1000 && deadlocks > 100,
        "the test has teeth: {waits} waits, {deadlocks} deadlocks"
    );
}

#[test]
fn one_seed_is_one_schedule() {
    for seed in 0..8 {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
}

#[test]
fn real_threads_are_safe_and_end() {
    let io = Io::os();
    let world = World::new(&io);
    let clients = (0..8).map(|number| {
        let world = Arc::clone(&world);
        io.spawn("client", move || client(&world, number, 400))
            .expect("a thread")
    });
    let mut threads: Vec<_> = clients.collect();
    let revoking = Arc::clone(&world);
    threads.push(
        io.spawn("revoker", move || revoker(&revoking, 20))
            .expect("a thread"),
    );
    for thread in threads {
        thread.join().expect("it does not panic");
    }
    world.assert_all_ended();
    assert!(
        world.ledger.lock().most_at_once > 1,
        "some locks were shared"
    );
}
