//! One crash state, checked: recovered by the real store, compared with the model, recovered again, worked with, closed, verified.

use crate::choices::Choices;
use crate::cut::{Cut, Trail, cut, survival_count, survivals};
use crate::failure::{Layer, Mismatch};
use crate::kinds::Kinds;
use crate::model::{Brief, Expectation, Rows};
use crate::oracle::{Layout, Oracles};
use crate::outcome::{self, Outcome};
use crate::store::{Store, StoreResult};
use crate::watchdog;
use afterimage_io::sim::{DiskState, Image, Sim, Survival, Verdict};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// How many transactions a recovered store has to do before it is believed.
pub const PROOF_TRANSACTIONS: u32 = 20;

/// A disk as one crash left it, and what may be found on it.
#[derive(Clone)]
pub struct CrashState {
    /// The disk.
    pub image: Image,
    /// The disk before the crash.
    pub before: DiskState,
    /// What recovery may find.
    pub expectation: Expectation,
    /// How it was made.
    pub trail: Trail,
}

/// Disks that were met, each with what may or must be found on it. The engine and its world are the same in every replay: what held once of a pair
/// holds again.
#[derive(Debug, Default)]
pub struct Met(Mutex<HashSet<(u64, u64)>>);

impl Met {
    /// Notes the pair; whether it is met for the first time.
    pub fn is_new(&self, image: &Image, expectation: &Expectation) -> bool {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.insert((image.hash(), expectation.hash()))
    }
}

/// Takes a sample of the crash states inside a recovery that is being checked.
pub struct Deeper<'a> {
    /// Chooses.
    pub choices: &'a mut Choices,
    /// One call in so many gives one state, chosen from all survivals.
    pub one_in: u64,
    /// Every call gives two states as well: nothing survives, everything does.
    pub complete: bool,
    /// The states taken.
    pub taken: Vec<CrashState>,
    /// How many states there were to choose from.
    pub space: u64,
}

/// What [`check`] counts.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Which admitted prefix was found.
    pub prefix: usize,
    /// I/O calls that changed or synced the disk during the first recovery.
    pub recovery_calls: u64,
    /// What the first recovery met, by kinds of records.
    pub kinds: Kinds,
}

/// Recovers `state` with the store `S` and checks all that must hold afterwards. `unclean` says whether the second recovery follows a power cut or a close.
/// Many recoveries leave the same disk: what must hold from there on is checked once of those in `recovered`.
///
/// # Errors
/// The first thing that does not hold.
pub fn check<S: Store>(
    layout: &Layout,
    state: &CrashState,
    unclean: bool,
    deeper: Option<&mut Deeper<'_>>,
    recovered: &Met,
) -> Result<Checked, Mismatch> {
    let world = World::boot(layout, state.image.clone());
    let sampler = Arc::new(Mutex::new(Sampler::default()));
    let sampling = deeper.is_some();
    if let Some(d) = &deeper {
        world.sample(&sampler, d, &state.trail);
    }
    let mut store = world.live("recovery", || S::open(&world.sim.io()))?;
    world.sim.set_hook(None);
    let recovery_calls = world.sim.calls();
    let mut kinds = Kinds::default();
    if let Some(report) = store.recovery() {
        kinds.recovered(layout, report, Some((&state.before, &state.image)));
    }
    let rows = world.live("reading after recovery", || store.rows())?;
    let prefix = admitted(&state.expectation, &rows)?;
    let second = if unclean {
        world.cut_power(store)?
    } else {
        world.close(store)?
    };
    let exactly = Expectation::exactly(rows);
    if recovered.is_new(&second, &exactly) {
        let rows = exactly.admitted()[0];
        check_second::<S>(layout, second, rows)?;
    }
    if let (true, Some(d)) = (sampling, deeper) {
        let mut s = sampler.lock().unwrap_or_else(PoisonError::into_inner);
        d.space += s.space;
        d.choices.word();
        let expectation = &state.expectation;
        d.taken
            .extend(s.taken.drain(..).map(|(before, image, trail)| CrashState {
                image,
                before,
                trail,
                expectation: expectation.clone(),
            }));
    }
    Ok(Checked {
        prefix,
        recovery_calls,
        kinds,
    })
}

fn admitted(expectation: &Expectation, rows: &Rows) -> Result<usize, Mismatch> {
    expectation.admits(rows).ok_or_else(|| {
        let right: Vec<String> = expectation
            .admitted()
            .iter()
            .map(|r| Brief(r).to_string())
            .collect();
        let (a, i) = (expectation.acknowledged, expectation.issued);
        Mismatch::new(
            Layer::Model,
            format!(
                "after recovery: {}\n  right (acknowledged {a}, issued {i}): {}",
                Brief(rows),
                right.join("\n    or ")
            ),
        )
    })
}

/// The second recovery changes nothing; then transactions, a close, the check of every byte, and the rows are what the model says.
fn check_second<S: Store>(layout: &Layout, image: Image, rows: &Rows) -> Result<(), Mismatch> {
    let world = World::boot(layout, image);
    let mut store = world.live("the second recovery", || S::open(&world.sim.io()))?;
    let again = world.live("reading after the second recovery", || store.rows())?;
    same("a second recovery changed the rows", rows, &again)?;
    let mut model = again;
    world.live("transactions after recovery", || {
        prove(&mut store, &mut model)
    })?;
    let image = world.close(store)?;
    let world = World::boot(layout, image);
    let mut store = world.live("the last open", || S::open(&world.sim.io()))?;
    world.verify(&mut store)?;
    let last = world.live("the last reading", || store.rows())?;
    same("rows after twenty transactions and a close", &model, &last)?;
    world.cut_power(store).map(drop)
}

pub(crate) fn same(what: &str, expected: &Rows, found: &Rows) -> Result<(), Mismatch> {
    if expected == found {
        return Ok(());
    }
    Err(Mismatch::new(
        Layer::Model,
        format!(
            "{what}\n  expected: {}\n  found:    {}",
            Brief(expected),
            Brief(found)
        ),
    ))
}

/// Twenty transactions of every kind: they put, grow, delete, roll back, split pages, and one checkpoint comes between.
pub(crate) fn prove<S: Store>(store: &mut S, model: &mut Rows) -> StoreResult<()> {
    for n in 0..PROOF_TRANSACTIONS {
        let key = format!("p{:02}", n % 11).into_bytes();
        let value = vec![
            b'a' + u8::try_from(n % 26).unwrap_or(0);
            [700, 20, 20, 700, 9000, 20][n as usize % 6]
        ];
        // Kept where the rows are to go back to it.
        let before = (n % 5 == 2).then(|| model.clone());
        store.put(&key, &value)?;
        model.insert(key, value);
        if n % 4 == 1 {
            let gone = format!("p{:02}", (n * 7) % 11).into_bytes();
            let was = store.delete(&gone)?;
            if was != model.remove(&gone).is_some() {
                return Err(format!("delete of {} says {was}", gone.escape_ascii()));
            }
        }
        if let Some(before) = before {
            store.rollback()?;
            *model = before;
            continue;
        }
        store.commit()?;
        if n == 10 {
            store.checkpoint()?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Sampler {
    taken: Vec<(DiskState, Image, Trail)>,
    space: u64,
}

/// One life of a simulated machine, with the oracles watching.
pub struct World {
    /// The machine.
    pub sim: Sim,
    /// Who watches.
    pub oracles: Arc<Oracles>,
}

impl World {
    /// Boots a machine on `image`.
    #[must_use]
    pub fn boot(layout: &Layout, image: Image) -> World {
        World::of(layout, Sim::from_image(image.hash(), &image))
    }

    /// Boots a machine that no oracle watches: where the disk itself has lost what was durable, there is no rule to
    /// break.
    #[must_use]
    pub fn unwatched(layout: &Layout, image: Image) -> World {
        let sim = Sim::from_image(image.hash(), &image);
        sim.set_atomic_writes(layout.atomic_writes());
        let oracles = Arc::new(Oracles::new(layout, &sim.snapshot()));
        World { sim, oracles }
    }

    /// Watches `sim`, which nobody has used yet.
    #[must_use]
    pub fn of(layout: &Layout, sim: Sim) -> World {
        sim.set_atomic_writes(layout.atomic_writes());
        let oracles = Arc::new(Oracles::new(layout, &sim.snapshot()));
        sim.set_observer(Some(oracles.clone()));
        World { sim, oracles }
    }

    /// Runs a piece of this world's life; a panic, a refusal and an oracle's objection are mismatches.
    ///
    /// # Errors
    /// What was seen.
    pub fn live<T>(
        &self,
        what: &str,
        life: impl FnOnce() -> StoreResult<T>,
    ) -> Result<T, Mismatch> {
        let end = self.run(what, life)?;
        self.oracles.verdict()?;
        match end {
            Outcome::Done(Ok(value)) => Ok(value),
            Outcome::Done(Err(refusal)) => {
                Err(Mismatch::new(Layer::Refused, format!("{what}: {refusal}")))
            }
            Outcome::Panicked(text) => {
                Err(Mismatch::new(Layer::Assertion, format!("{what}: {text}")))
            }
            Outcome::Crashed => Err(Mismatch::new(
                Layer::Assertion,
                format!("{what}: a crash that nobody ordered"),
            )),
        }
    }

    /// Runs a piece of this world's life, and lets the watchdog watch it.
    ///
    /// # Errors
    /// When it does not come to an end.
    pub fn run<T>(&self, what: &str, life: impl FnOnce() -> T) -> Result<Outcome<T>, Mismatch> {
        match watchdog::watch(&self.sim, || outcome::run(life)) {
            (end, false) => Ok(end),
            (_, true) => Err(Mismatch::new(
                Layer::Deadlock,
                format!(
                    "{what}: goes round in circles, no end after {:?}",
                    watchdog::patience()
                ),
            )),
        }
    }

    /// Cuts the power: nothing pending survives.
    ///
    /// # Errors
    /// When a drop does more than forget.
    pub fn cut_power<T>(&self, store: T) -> Result<Image, Mismatch> {
        self.sim.crash_now();
        match outcome::run(move || drop(store)) {
            Outcome::Panicked(text) => Err(Mismatch::new(
                Layer::Assertion,
                format!("drop after a crash: {text}"),
            )),
            Outcome::Done(()) | Outcome::Crashed => Ok(cut(&self.sim.snapshot(), 0)),
        }
    }

    /// Closes the store and then cuts the power: a closed store has nothing to lose.
    ///
    /// # Errors
    /// When the close fails.
    pub fn close<S: Store>(&self, store: S) -> Result<Image, Mismatch> {
        self.live("close", || store.close())?;
        Ok(cut(&self.sim.snapshot(), 0))
    }

    /// Verifies every byte of an open store.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify<S: Store>(&self, store: &mut S) -> Result<(), Mismatch> {
        self.live("verify", || store.verify())
            .map_err(|m| match m.layer {
                Layer::Refused => Mismatch::new(Layer::Verify, m.what),
                _ => m,
            })
    }

    fn sample(&self, into: &Arc<Mutex<Sampler>>, deeper: &Deeper<'_>, trail: &Trail) {
        let (into, trail) = (Arc::clone(into), trail.clone());
        let (mut choices, one_in) = (deeper.choices.clone(), deeper.one_in);
        let complete = deeper.complete;
        let mut call = 0;
        self.sim.set_hook(Some(Box::new(move |_, disk| {
            call += 1;
            let count = survival_count(disk.pending().len());
            let mut s = into.lock().unwrap_or_else(PoisonError::into_inner);
            s.space += count as u64;
            // Nothing and everything are the first two of the list.
            let mut survivals_taken = match complete {
                true => (0..count.min(2)).collect(),
                false => Vec::new(),
            };
            if one_in > 0 && choices.chance(1, one_in) {
                let survival = choices.index(survivals(disk).len());
                if !survivals_taken.contains(&survival) {
                    survivals_taken.push(survival);
                }
            }
            for survival in survivals_taken {
                let image = match survival {
                    0 => disk.crash(&Survival::None),
                    1 => disk.crash(&Survival::All),
                    _ => cut(disk, survival),
                };
                let trail = trail.then(Cut { call, survival });
                s.taken.push((disk.clone(), image, trail));
            }
            Verdict::Continue
        })));
    }
}
