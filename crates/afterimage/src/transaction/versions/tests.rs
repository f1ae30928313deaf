//! Histories at random, beside a model that keeps everything: each view sees, of each row, what the last commit before it
//! left, whatever was swept in between; and what is kept is no more than somebody needs.

use std::collections::BTreeMap;

use super::*;

const TABLE: u32 = 7;
const ROWS: u64 = 5;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

type Row = Option<Vec<u8>>;

struct Writer {
    status: Arc<Status>,
    /// What it has changed, and what was there before.
    rows: BTreeMap<u64, Row>,
}

/// The versions, and beside them all that there ever was.
struct World {
    versions: Versions,
    /// The rows as on their pages.
    now: BTreeMap<u64, Row>,
    /// (commit LSN, all rows as committed).
    commits: Vec<(u64, BTreeMap<u64, Row>)>,
    writers: Vec<Writer>,
    views: Vec<Arc<View>>,
    next: u64,
    durable: u64,
}

fn lsn(n: u64) -> Lsn {
    Lsn::new(n).expect("not zero")
}

fn table() -> TableId {
    TableId(TABLE)
}

impl World {
    fn new(limit: u64) -> World {
        World {
            versions: Versions::new(&Io::os(), limit),
            now: BTreeMap::new(),
            commits: vec![(0, BTreeMap::new())],
            writers: Vec::new(),
            views: Vec::new(),
            next: 10,
            durable: 10,
        }
    }

    fn committed(&self, row: u64) -> Row {
        self.commits
            .last()
            .and_then(|(_, rows)| rows.get(&row).cloned())
            .flatten()
    }

    fn write(&mut self, writer: usize, row: u64, value: Row) {
        let now = self.now.get(&row).cloned().flatten();
        let status = &self.writers[writer].status;
        let key = row.to_be_bytes();
        self.versions.keep(
            table(),
            &key,
            status,
            now.as_deref().map(Stored::from),
            lsn(self.durable),
        );
        self.writers[writer].rows.entry(row).or_insert(now);
        self.now.insert(row, value);
    }

    fn commit(&mut self, writer: usize) {
        let writer = self.writers.swap_remove(writer);
        self.next += 5;
        writer.status.commit(lsn(self.next));
        let mut rows = self.commits.last().expect("the first").1.clone();
        rows.extend(writer.rows.keys().map(|row| (*row, self.now[row].clone())));
        self.commits.push((self.next, rows));
        self.next += 5;
    }

    fn roll_back(&mut self, writer: usize) {
        let writer = self.writers.swap_remove(writer);
        self.now.extend(writer.rows);
        writer.status.take_back();
    }

    fn check(&self, view: &View) {
        let seen_commits = self
            .commits
            .iter()
            .rev()
            .find(|(at, _)| *at < view.lsn().get());
        let right = &seen_commits.expect("the first is before all").1;
        for row in 0..ROWS {
            let now = self.now.get(&row).cloned().flatten();
            let (key, now) = (row.to_be_bytes(), now.as_deref().map(Stored::from));
            let seen = self.versions.seen(view, table(), &key, now);
            let seen = seen.map(|seen| seen.bytes.into_owned());
            let right = right.get(&row).cloned().flatten();
            assert!(
                view.is_gone() || seen.as_deref() == right.as_deref(),
                "row {row} at {}",
                view.lsn()
            );
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        match dice.below(10) {
            0 => self.writers.push(Writer {
                status: Arc::default(),
                rows: BTreeMap::new(),
            }),
            1..=4 if !self.writers.is_empty() => {
                let writer = dice.below(self.writers.len() as u64) as usize;
                let row = dice.below(ROWS);
                let taken = |w: &Writer| w.rows.contains_key(&row);
                if self
                    .writers
                    .iter()
                    .enumerate()
                    .any(|(n, w)| n != writer && taken(w))
                {
                    return;
                }
                let value = (dice.below(4) > 0)
                    .then(|| vec![dice.below(250) as u8; dice.below(30) as usize]);
                self.write(writer, row, value);
            }
            5 if !self.writers.is_empty() => {
                let writer = dice.below(self.writers.len() as u64) as usize;
                self.commit(writer);
            }
            6 if !self.writers.is_empty() => {
                let writer = dice.below(self.writers.len() as u64) as usize;
                self.roll_back(writer);
            }
            7 => {
                let at = if dice.below(2) == 0 {
                    self.durable
                } else {
                    self.next
                };
                self.views
                    .push(self.versions.open_view(|| (lsn(at), lsn(at))));
            }
            8 if !self.views.is_empty() => {
                let view = self
                    .views
                    .swap_remove(dice.below(self.views.len() as u64) as usize);
                self.versions.close_view(&view);
            }
            _ => {
                self.durable += dice.below(self.next - self.durable + 1);
                if dice.below(2) == 0 {
                    self.versions.sweep(lsn(self.durable));
                }
            }
        }
    }
}

#[test]
fn every_view_sees_the_rows_of_its_moment() {
    for seed in 0..40 {
        let (mut world, mut dice) = (World::new(u64::MAX / 4), Dice(seed));
        for _ in 0..400 {
            world.step(&mut dice);
            for view in &world.views {
                assert!(!view.is_gone());
                world.check(view);
            }
        }
        // All is over: nothing is kept.
        while !world.writers.is_empty() {
            world.roll_back(0);
        }
        for view in world.views.drain(..) {
            world.versions.close_view(&view);
        }
        world.next += 1;
        world.durable = world.next;
        world.versions.sweep(lsn(world.durable));
        world.durable += 1;
        world.versions.sweep(lsn(world.durable));
        assert_eq!(world.versions.stats(), VersionStats::default());
        assert_eq!(world.committed(0), world.now.get(&0).cloned().flatten());
    }
}

#[test]
fn beyond_the_bound_the_oldest_views_go_and_the_others_stay_right() {
    let mut gone = 0;
    for seed in 0..20 {
        let (mut world, mut dice) = (World::new(3000), Dice(seed));
        for _ in 0..600 {
            world.step(&mut dice);
            world.versions.relieve(lsn(world.durable));
            for view in &world.views {
                world.check(view);
            }
        }
        gone += world.versions.too_old.get();
        let alive = world
            .views
            .iter()
            .filter(|view| !view.is_gone())
            .map(|view| view.lsn())
            .min();
        let dead = world
            .views
            .iter()
            .filter(|view| view.is_gone())
            .map(|view| view.lsn())
            .max();
        assert!(alive.is_none() || dead <= alive, "the oldest go first");
    }
    assert!(gone > 10, "{gone} views were given up");
}

#[test]
fn of_one_transactions_changes_the_first_is_kept() {
    let mut world = World::new(1 << 20);
    world.writers.push(Writer {
        status: Arc::default(),
        rows: BTreeMap::new(),
    });
    for n in 0..100 {
        world.write(0, 1, Some(vec![n]));
    }
    assert_eq!(world.versions.stats().versions, 1);
    assert!(world.versions.holds(table(), &1u64.to_be_bytes()));
    assert!(!world.versions.holds(table(), &2u64.to_be_bytes()));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "VER-1")]
fn a_transaction_ends_once() {
    let status = Status::default();
    status.commit(lsn(5));
    status.take_back();
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "VER-2")]
fn a_view_is_not_opened_below_the_horizon() {
    let world = World::new(1 << 20);
    world.versions.advance_horizon(lsn(100));
    let _view = world.versions.open_view(|| (lsn(50), lsn(50)));
}

#[test]
#[should_panic(expected = "VER-3")]
fn the_order_names_versions_that_are_there() {
    let mut shard = Shard::default();
    let status = Arc::<Status>::default();
    status.commit(lsn(5));
    shard.push(shard::Row::of(table(), b"k"), &status, None);
    shard.forget_chains();
    shard.sweep(lsn(9), 1);
}

/// What has gone leaves memory for what comes, and nothing of itself.
#[test]
fn memory_is_used_again_and_little_is_kept() {
    let mut shard = Shard::default();
    let status = Arc::<Status>::default();
    let keys: Vec<_> = (0..300_u64).map(u64::to_be_bytes).collect();
    let value = |n: usize| vec![n as u8; n * 7 % 900];
    for (n, key) in keys.iter().enumerate() {
        let row = shard::Row::of(table(), key);
        shard.push(row, &status, Some(Stored::from(&value(n)[..])));
    }
    status.commit(lsn(5));
    assert_eq!(shard.sweep(lsn(9), 1000).removed, 300);
    let spare = shard.spare();
    assert_eq!(spare.len(), 64);
    assert!(spare.iter().all(|bytes| *bytes <= 512), "{spare:?}");
    let later = Arc::<Status>::default();
    for (n, key) in keys.iter().enumerate().take(100) {
        let (row, is) = (shard::Row::of(table(), key), value(300 - n));
        let memory = shard.spare().last().copied().unwrap_or_default();
        let added = shard.push(row, &later, Some(Stored::from(&is[..])));
        assert!(
            added.bytes_added >= memory.max(8 + is.len()) as u64 + 128,
            "{added:?}"
        );
        let before = shard.before(row, lsn(9)).flatten().expect("a version");
        assert_eq!(before.bytes, is);
        assert!(shard.holds(row));
    }
    assert!(shard.spare().is_empty());
}

/// Rows of one hash are told apart.
#[test]
fn rows_of_one_hash_have_their_own_versions() {
    let mut shard = Shard::default();
    let row = |table, key| shard::Row {
        hash: 1,
        table: TableId(table),
        key,
    };
    let (one, other) = (row(TABLE, &b"a"[..]), row(TABLE, &b"b"[..]));
    let elsewhere = row(TABLE + 1, &b"a"[..]);
    let (first, second) = (Arc::<Status>::default(), Arc::<Status>::default());
    let value = |text: &'static str| Some(Stored::from(text.as_bytes()));
    assert_eq!(shard.push(one, &first, value("a1")).added, 1);
    assert_eq!(shard.push(other, &first, None).added, 1);
    assert_eq!(shard.push(one, &first, value("never")).added, 0);
    first.commit(lsn(20));
    assert_eq!(shard.push(other, &second, value("b2")).added, 1);
    assert_eq!(shard.push(one, &second, value("a2")).added, 1);
    assert!(!shard.holds(elsewhere) && shard.before(elsewhere, lsn(10)).is_none());
    let seen = |shard: &Shard, row, at| {
        let before = shard.before(row, lsn(at)).expect("there is a change");
        before.map(|before| before.bytes.into_owned())
    };
    assert_eq!(seen(&shard, one, 10).as_deref(), Some(&b"a1"[..]));
    assert_eq!(seen(&shard, one, 21).as_deref(), Some(&b"a2"[..]));
    assert_eq!(seen(&shard, other, 10), None);
    assert_eq!(seen(&shard, other, 21).as_deref(), Some(&b"b2"[..]));
    // Those of the first are settled, those of the second are not.
    assert_eq!(shard.sweep(lsn(30), 100).removed, 2);
    assert_eq!(seen(&shard, other, 21).as_deref(), Some(&b"b2"[..]));
    second.take_back();
    let sum = shard.sweep(lsn(30), 100);
    assert_eq!((sum.removed, shard.len()), (2, 0));
    assert!(!shard.holds(one) && !shard.holds(other));
}
