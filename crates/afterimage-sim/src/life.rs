//! One life of a store under a workload: the base it starts from, the operations with the model beside them, and every crash point on the way.

mod wider;

use crate::bytes::{SEGMENT_HEADER, frame_word};
use crate::check::World;
use crate::failure::{Layer, Mismatch};
use crate::model::{Expectation, Model, Rows};
use crate::oracle::Layout;
use crate::store::{More, Store, StoreResult};
use crate::workload::{Base, Op, Workload};
use afterimage_io::sim::{CallInfo, DiskState, Image, Sim, Verdict};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The seed of every workload's world: the exhaustive driver leaves nothing to chance.
const SEED: u64 = 1;

/// A disk to start from, and what is on it.
#[derive(Clone)]
pub struct Prepared {
    /// Which base.
    pub base: Base,
    image: Image,
    rows: Rows,
}

impl Prepared {
    /// Prepares `base` with the store itself.
    ///
    /// # Errors
    /// When the store does not even do this.
    pub fn new<S: Store>(layout: &Layout, base: Base) -> Result<Prepared, Mismatch> {
        let world = World::of(layout, Sim::new(SEED));
        let mut model = Model::new(Rows::new());
        if base == Base::Empty {
            let image = world.sim.snapshot().page_cache();
            return Ok(Prepared {
                base,
                image,
                rows: Rows::new(),
            });
        }
        let mut store = world.live("preparing the base", || S::open(&world.sim.io()))?;
        world.live("filling the base", || fill(&mut store, &mut model))?;
        if base == Base::Wide {
            world.live("widening the base", || widen(&mut store, &mut model))?;
        }
        if base == Base::Recycled {
            world.live("going round the log", || {
                go_round(layout, &world.sim, &mut store, &mut model)
            })?;
        }
        let image = if base != Base::Crashed {
            world.close(store)?
        } else {
            world.live("leaving a transaction unfinished", || {
                leave_unfinished(&mut store, &mut model)
            })?;
            world.sim.crash_now();
            drop(crate::outcome::run(move || drop(store)));
            world.sim.snapshot().page_cache()
        };
        model.rollback();
        Ok(Prepared {
            base,
            image,
            rows: model.rows().clone(),
        })
    }
}

/// Four rows that nearly fill a page of 4 KiB.
fn fill<S: Store>(store: &mut S, model: &mut Model) -> StoreResult<()> {
    for n in 0..4u8 {
        let (key, value) = (format!("k{n}").into_bytes(), vec![b'0' + n; 880]);
        store.put(&key, &value)?;
        model.put(&key, &value);
    }
    store.commit()?;
    model.issue_commit();
    model.acknowledge();
    Ok(())
}

/// More leaves, in a full one of them a row that was deleted and has room to give; a large value, and a second table.
fn widen<S: Store>(store: &mut S, model: &mut Model) -> StoreResult<()> {
    for n in 4..10u8 {
        let (key, value) = (format!("k{n}").into_bytes(), vec![b'0' + n; 880]);
        store.put(&key, &value)?;
        model.put(&key, &value);
    }
    let (key, value) = (b"kl", vec![b'l'; wider::LARGE]);
    store.put(key, &value)?;
    model.put(key, &value);
    store.commit()?;
    store.delete(b"k2")?;
    model.delete(b"k2");
    store.commit()?;
    model.issue_commit();
    store.more(More::Make(wider::NAMES[0], wider::ROW.0, wider::ROW.1))?;
    model.issue_alone(|rows| wider::make(rows, wider::NAMES[0], true));
    model.acknowledge();
    Ok(())
}

/// Commits of equal size, with checkpoints whenever a segment is full, until a split will need the next segment, and that is one full of
/// old records.
fn go_round<S: Store>(
    layout: &Layout,
    sim: &Sim,
    store: &mut S,
    model: &mut Model,
) -> StoreResult<()> {
    let near_the_end = |end: u64| {
        let next = format!(
            "{}/log/{:08X}-{:016X}.log",
            layout.directory,
            1,
            end / layout.segment_bytes + 1
        );
        let old = sim
            .snapshot()
            .read_cached(Path::new(&next), SEGMENT_HEADER, 8)
            .is_some_and(|b| frame_word(&b).is_some());
        old && (1100..2200).contains(&(layout.segment_bytes - end % layout.segment_bytes))
    };
    let mut last = 0;
    for n in 0..4000u32 {
        let (key, value) = (b"k0", (n % 10).to_string().repeat(880).into_bytes());
        store.put(key, &value)?;
        model.put(key, &value);
        store.commit()?;
        model.issue_commit();
        model.acknowledge();
        let end = store.log_end();
        let segment = end.map_or(u64::from(n) / 64, |e| e / layout.segment_bytes);
        if segment > last {
            // A segment was used up just now: the one that is given up takes its place among the prepared ones.
            store.checkpoint()?;
            store.checkpoint()?;
            last = segment;
        }
        match store.log_end() {
            Some(end) if !near_the_end(end) => {}
            _ if n < 300 => {}
            _ => return Ok(()),
        }
    }
    Err("the log does not come near the end of a segment".to_string())
}

/// A committed row, and a transaction whose changes reach the disk in part: a checkpoint comes in the middle of it.
fn leave_unfinished<S: Store>(store: &mut S, model: &mut Model) -> StoreResult<()> {
    store.put(b"c0", b"committed")?;
    model.put(b"c0", b"committed");
    store.commit()?;
    model.issue_commit();
    model.acknowledge();
    store.put(b"k1", &[b'u'; 880])?;
    store.delete(b"k2")?;
    store.put(b"u0", &[b'u'; 900])?;
    store.checkpoint()?;
    store.put(b"u1", b"unfinished")?;
    store.delete(b"k3")?;
    store.checkpoint()
}

/// What is told at each crash point: the call about to be made (none at the end of the life), its number, the disk, what may be found on it.
pub type AtCall<'a> =
    dyn FnMut(Option<&CallInfo<'_>>, u64, &DiskState, &Expectation) -> Verdict + Send + 'a;

/// Runs `workload` once from its base, telling `at_call` each crash point of its last operation (of its opening, if it has none): the earlier ones are the
/// crash points of shorter workloads. With `whole`, every crash point is told.
///
/// # Errors
/// What did not hold on the way. A crash that `at_call` ordered is no error.
pub fn run<S: Store>(
    layout: &Layout,
    from: &Prepared,
    workload: &Workload,
    whole: bool,
    at_call: Arc<Mutex<AtCall<'static>>>,
) -> Result<(), Mismatch> {
    let world = World::of(layout, Sim::from_image(SEED, &from.image));
    let shared = Arc::new(Mutex::new(Shared {
        expectation: Expectation::exactly(from.rows.clone()),
        calls: 0,
        telling: whole || workload.ops.is_empty(),
    }));
    let (told, tell) = (Arc::clone(&shared), Arc::clone(&at_call));
    world.sim.set_hook(Some(Box::new(move |info, disk| {
        let mut s = told.lock().unwrap_or_else(PoisonError::into_inner);
        s.calls += 1;
        if !s.telling {
            return Verdict::Continue;
        }
        (tell.lock().unwrap_or_else(PoisonError::into_inner))(
            Some(info),
            s.calls,
            disk,
            &s.expectation,
        )
    })));
    let mut life = Life::<S> {
        world: &world,
        store: None,
        model: Model::new(from.rows.clone()),
        shared: &shared,
    };
    let end = life.all(&workload.ops);
    let store = life.store.take();
    let crashed = world.sim.io().has_crashed();
    world.sim.set_hook(None);
    if !crashed {
        end?;
        let mut s = shared.lock().unwrap_or_else(PoisonError::into_inner);
        s.calls += 1;
        let disk = world.sim.snapshot();
        let _ = (at_call.lock().unwrap_or_else(PoisonError::into_inner))(
            None,
            s.calls,
            &disk,
            &s.expectation,
        );
    }
    world.oracles.verdict()?;
    world.cut_power(store).map(drop)
}

struct Shared {
    expectation: Expectation,
    calls: u64,
    telling: bool,
}

struct Life<'a, S> {
    world: &'a World,
    store: Option<S>,
    model: Model,
    shared: &'a Mutex<Shared>,
}

impl<S: Store> Life<'_, S> {
    fn all(&mut self, ops: &[Op]) -> Result<(), Mismatch> {
        self.open()?;
        for (n, op) in ops.iter().enumerate() {
            if n + 1 == ops.len() {
                self.tell(true);
            }
            self.one(n, *op)?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Mismatch> {
        self.store = Some(self.world.live("open", || S::open(&self.world.sim.io()))?);
        Ok(())
    }

    fn one(&mut self, n: usize, op: Op) -> Result<(), Mismatch> {
        match op {
            // As long as before and mostly equal: logged as a difference, whose undo must not come twice.
            Op::Put => self.put(
                b"k1".to_vec(),
                [format!("small {n} ").into_bytes(), vec![b'1'; 872]].concat(),
            ),
            Op::PutBig => self.put(
                format!("k1.{n}").into_bytes(),
                vec![b'A' + u8::try_from(n).unwrap_or(25); 1000],
            ),
            Op::Delete => {
                let key = format!("k{n}").into_bytes();
                let expected = self.model.delete(&key);
                match self.with("delete", |s| s.delete(&key))? == expected {
                    true => Ok(()),
                    false => Err(Mismatch::new(
                        Layer::Model,
                        format!("delete of {} should say {expected}", key.escape_ascii()),
                    )),
                }
            }
            Op::Commit => self.commit(),
            Op::Rollback => {
                self.model.rollback();
                self.with("rollback", S::rollback)
            }
            Op::Checkpoint => self.with("checkpoint", S::checkpoint),
            Op::Close => {
                self.model.rollback();
                let store = self.store.take();
                self.world
                    .live("close", || store.map_or(Ok(()), S::close))?;
                self.world.oracles.reopened();
                self.open()
            }
            Op::Large
            | Op::Range
            | Op::Detour
            | Op::Auto
            | Op::Rename
            | Op::Drop
            | Op::Clear
            | Op::Load
            | Op::Unlogged
            | Op::Shrink
            | Op::Vast => wider::one(self, n, op),
        }
    }

    /// Whether the crash points from here on are told.
    fn tell(&self, telling: bool) {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .telling = telling;
    }

    fn commit(&mut self) -> Result<(), Mismatch> {
        self.model.issue_commit();
        self.publish();
        self.with("commit", S::commit)?;
        self.model.acknowledge();
        self.publish();
        Ok(())
    }

    /// A change that is a transaction of its own.
    fn alone(
        &mut self,
        what: &str,
        more: More<'_>,
        change: impl Fn(&mut Rows),
    ) -> Result<(), Mismatch> {
        self.model.issue_alone(change);
        self.publish();
        self.with(what, |s| s.more(more))?;
        self.model.acknowledge();
        self.publish();
        Ok(())
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Mismatch> {
        self.model.put(&key, &value);
        self.with("put", |s| s.put(&key, &value))
    }

    fn with<T>(
        &mut self,
        what: &str,
        f: impl FnOnce(&mut S) -> StoreResult<T>,
    ) -> Result<T, Mismatch> {
        let store = &mut self.store;
        self.world.live(what, || {
            store
                .as_mut()
                .map_or_else(|| Err("no store is open".to_string()), f)
        })
    }

    fn publish(&self) {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .expectation = self.model.expectation();
    }
}
