//! A store at a point, in a process of its own: opens it, does the work, and says what came out.
//!
//! What each piece of work is stands here once, for all engines.

use crate::device::Device;
use crate::keys::{Key, Random, Value, Zipf, key, shuffled};
use crate::load::{self, Client, Load, Subject, cpu};
use crate::plan::{Mix, Plan, Point, StorePlan, TICKET_THREADS, Work};
use crate::scratch;
use crate::stores::{Kind, Part, Session, Setup, Store};
use crate::{Result, Values, median, surge};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rows in a transaction of the load, and reads in one of those that have many.
const MANY: usize = 1000;
/// Rows in a transaction of `Work::Batch`.
const BATCH: usize = 100;
/// The most rows of a scan of YCSB E.
const SCAN_MOST: u64 = 100;
/// Of TPC-B.
const TELLERS: u64 = 100;
const BRANCHES: u64 = 10;
/// Scans that are counted, at least.
const SCANS_LEAST: usize = 5;
/// What says that the last commit before the kill is there.
const LAST: Value = [b'L'; crate::plan::VALUE];
/// Commits between two looks at the log.
const STEP: u64 = 10_000;

fn setup(store: &StorePlan, work: Work) -> Setup {
    let surges = matches!(work, Work::Surge | Work::SurgeTenth);
    let tenth = matches!(work, Work::YcsbTenth(_) | Work::SurgeTenth);
    let payload = store.rows * (size_of::<Key>() + size_of::<Value>()) as u64;
    Setup {
        cache: if tenth { payload / 10 } else { store.cache },
        log: surges.then_some(store.surge_log),
        durable: true,
        transactions: matches!(
            work,
            Work::Transfer | Work::TransferHot | Work::Ycsb(Mix::F) | Work::YcsbTenth(Mix::F)
        ),
    }
}

fn opened(kind: &Kind, dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    kind.open.ok_or("not built")?(dir, setup)
}

/// Makes the store that all points but the loads begin with: rows in random order, tellers and branches, closed.
pub fn preload(kind: &Kind, dir: &Path, plan: &StorePlan) -> Result<()> {
    let setup = Setup {
        durable: false,
        ..setup(plan, Work::Load)
    };
    let store = opened(kind, dir, &setup)?;
    fill(store.as_ref(), plan.rows)?;
    let mut session = store.session()?;
    let some = |count| (0..count).map(|n| (key(n), [0; crate::plan::VALUE]));
    session.put(Part::Tellers, &some(TELLERS).collect::<Vec<_>>())?;
    session.put(Part::Branches, &some(BRANCHES).collect::<Vec<_>>())?;
    drop(session);
    store.settle()?;
    store.close()
}

/// Puts so many rows in random order, in transactions of `MANY`.
fn fill(store: &dyn Store, rows: u64) -> Result<()> {
    let mut session = store.session()?;
    let mut random = Random::new(rows);
    for numbers in shuffled(rows).chunks(MANY) {
        let rows: Vec<_> = numbers.iter().map(|n| (key(*n), random.value())).collect();
        session.put(Part::Rows, &rows)?;
    }
    Ok(())
}

/// Measures a point in `dir`.
pub fn measure(
    kind: &Kind,
    dir: &Path,
    plan: &Plan,
    point: &Point,
    device: Option<&Device>,
) -> Result<Values> {
    let of_stores = plan.store.as_ref().ok_or("no plan of stores")?;
    match point.work {
        Work::Load | Work::LoadSpecial => return bulk(kind, dir, of_stores, point.work),
        Work::Recover => return recover(kind, dir, of_stores),
        _ => {}
    }
    let setup = setup(of_stores, point.work);
    let store = opened(kind, dir, &setup)?;
    let subject = Job {
        store: store.as_ref(),
        work: point.work,
        rows: of_stores.rows,
        threads: point.width as u64,
        zipf: match point.work {
            Work::Ycsb(_) | Work::YcsbTenth(_) => Some(Zipf::new(of_stores.rows)),
            _ => None,
        },
    };
    let mut values = match point.work {
        Work::Scan => scans(store.as_ref(), of_stores)?,
        Work::Surge | Work::SurgeTenth => surge::run(&subject, of_stores)?,
        work => {
            let (warm_up, seconds) = match work {
                Work::Ycsb(_) | Work::YcsbTenth(_) => (plan.warm_up_s, of_stores.mix_s),
                Work::Cycle => {
                    let cycle = of_stores.cycle_s.ok_or("no cycle in this plan")?;
                    (cycle, cycle)
                }
                _ => (plan.warm_up_s, plan.measure_s),
            };
            let tickets = work == Work::UpdateTickets;
            let load = Load {
                threads: if tickets { TICKET_THREADS } else { point.width },
                in_flight: if tickets {
                    point.width / TICKET_THREADS
                } else {
                    1
                },
                warm_up: Duration::from_secs_f64(warm_up),
                measure: Duration::from_secs_f64(seconds),
            };
            load::run(&subject, &load, device)?
        }
    };
    let rows_each = match point.work {
        Work::Batch => BATCH,
        Work::GetMany => MANY,
        _ => 1,
    };
    if let Some(rate) = values.get("per_s") {
        values.insert("rows_per_s".into(), rate * rows_each as f64);
    }
    // No clean close: it would be paid by nobody's figure, and the directory goes.
    std::mem::forget(store);
    Ok(values)
}

/// What the threads of a point do.
struct Job<'a> {
    store: &'a dyn Store,
    work: Work,
    rows: u64,
    threads: u64,
    zipf: Option<Zipf>,
}

impl Subject for Job<'_> {
    fn client(&self, thread: usize) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Worker {
            session: self.store.session()?,
            random: Random::new(thread as u64 + 1),
            thread: thread as u64,
            made: 0,
            sum: 0,
            keys: Vec::new(),
            job: self,
        }))
    }

    fn counted(&self) -> Result<Values> {
        self.store.counted()
    }
}

struct Worker<'a> {
    job: &'a Job<'a>,
    session: Box<dyn Session + 'a>,
    random: Random,
    thread: u64,
    /// Rows that this thread has added.
    made: u64,
    /// Of what was seen, so that it is looked at.
    sum: u64,
    keys: Vec<Key>,
}

impl Worker<'_> {
    fn any(&mut self) -> Key {
        key(self.random.below(self.job.rows))
    }

    fn wanted(&mut self) -> Key {
        let zipf = self.job.zipf.as_ref();
        key(zipf.map_or(0, |zipf| zipf.next(&mut self.random)))
    }

    fn update(&mut self, key: Key) -> Result<u64> {
        let value = self.random.value();
        self.session.put(Part::Rows, &[(key, value)])
    }

    fn get(&mut self, key: Key) -> Result<u64> {
        let sum = &mut self.sum;
        let there = self.session.get(&key, &mut |_, value| look(sum, value))?;
        if there {
            Ok(0)
        } else {
            Err("a row is missing".into())
        }
    }

    fn get_many(&mut self) -> Result<u64> {
        self.keys.clear();
        for _ in 0..MANY {
            let key = self.any();
            self.keys.push(key);
        }
        let sum = &mut self.sum;
        let found = self
            .session
            .get_many(&self.keys, &mut |_, value| look(sum, value))?;
        if found == MANY as u64 {
            Ok(0)
        } else {
            Err("a row is missing".into())
        }
    }

    /// The five steps of TPC-B, the balance in the first eight bytes of each row.
    fn transfer(&mut self, branches: u64) -> Result<u64> {
        let amount = self.random.below(10_000);
        let account = self.any();
        let teller = self.random.below(TELLERS);
        let steps = [
            (Part::Rows, account),
            (Part::Tellers, key(teller)),
            (Part::Branches, key(teller % branches)),
        ];
        self.made += 1;
        let history = key(self.thread * 1_000_000_000 + self.made);
        let mut entry = self.random.value();
        entry[..8].copy_from_slice(&amount.to_le_bytes());
        self.session.transact(&mut |tx| {
            for (part, key) in &steps {
                let mut value = tx.take(*part, key)?;
                add(&mut value, amount);
                tx.put(*part, key, &value)?;
            }
            tx.put(Part::History, &history, &entry)
        })
    }

    fn modify(&mut self) -> Result<u64> {
        let (key, amount) = (self.wanted(), self.random.next());
        self.session.transact(&mut |tx| {
            let mut value = tx.take(Part::Rows, &key)?;
            add(&mut value, amount);
            tx.put(Part::Rows, &key, &value)
        })
    }

    fn mix(&mut self, mix: Mix) -> Result<u64> {
        let percent = self.random.below(100);
        let wanted = self.wanted();
        match mix {
            Mix::A if percent < 50 => self.update(wanted),
            Mix::B if percent < 5 => self.update(wanted),
            Mix::F if percent < 50 => self.modify(),
            Mix::E if percent < 5 => {
                let number = self.job.rows + self.made * self.job.threads + self.thread;
                self.made += 1;
                self.update(key(number))
            }
            Mix::E => {
                let most = self.random.below(SCAN_MOST) as usize + 1;
                let sum = &mut self.sum;
                self.session
                    .scan(Part::Rows, &wanted, most, &mut |_, value| look(sum, value))?;
                Ok(0)
            }
            Mix::A | Mix::B | Mix::C | Mix::F => self.get(wanted),
        }
    }
}

impl Client for Worker<'_> {
    fn once(&mut self) -> Result<u64> {
        match self.job.work {
            Work::Batch => {
                let mut rows = Vec::with_capacity(BATCH);
                for _ in 0..BATCH {
                    rows.push((self.any(), self.random.value()));
                }
                self.session.put(Part::Rows, &rows)
            }
            Work::Transfer => self.transfer(BRANCHES),
            Work::TransferHot => self.transfer(1),
            Work::Get => {
                let key = self.any();
                self.get(key)
            }
            Work::GetMany => self.get_many(),
            Work::Ycsb(mix) | Work::YcsbTenth(mix) => self.mix(mix),
            _ => {
                let key = self.any();
                self.update(key)
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        let (key, value) = (self.any(), self.random.value());
        self.session.start(&key, &value)
    }

    fn finish(&mut self) -> Result<()> {
        self.session.finish()
    }
}

fn look(sum: &mut u64, value: &[u8]) {
    *sum = sum.wrapping_add(u64::from(std::hint::black_box(value)[0]));
}

fn add(value: &mut Value, amount: u64) {
    let mut balance = [0; 8];
    balance.copy_from_slice(&value[..8]);
    let balance = u64::from_le_bytes(balance).wrapping_add(amount);
    value[..8].copy_from_slice(&balance.to_le_bytes());
}

/// Every row, again and again: the first scan after the open, and the median of those after it.
fn scans(store: &dyn Store, plan: &StorePlan) -> Result<Values> {
    let mut session = store.session()?;
    let (mut rates, mut sum) = (Vec::new(), 0);
    let (mut first, begun) = (None, Instant::now());
    let longest = Duration::from_secs_f64(plan.mix_s);
    while rates.len() < SCANS_LEAST || begun.elapsed() < longest {
        let start = Instant::now();
        let rows = session.scan(Part::Rows, &key(0), usize::MAX, &mut |_, value| {
            look(&mut sum, value);
        })?;
        if rows != plan.rows {
            return Err(format!("{rows} of {} rows were seen", plan.rows).into());
        }
        let rate = rows as f64 / start.elapsed().as_secs_f64();
        if first.is_none() {
            first = Some(rate);
        } else {
            rates.push(rate);
        }
    }
    Ok(Values::from([
        ("rows_per_s".into(), median(&rates)),
        ("first_rows_per_s".into(), first.unwrap_or(f64::NAN)),
    ]))
}

/// An empty store is filled; what counts is the time until all of it is durable.
fn bulk(kind: &Kind, dir: &Path, plan: &StorePlan, work: Work) -> Result<Values> {
    let setup = Setup {
        durable: false,
        ..setup(plan, work)
    };
    let store = opened(kind, dir, &setup)?;
    let rows = plan.bulk_rows;
    let order = shuffled(rows);
    let (begun, cpu_before) = (Instant::now(), cpu());
    if work == Work::LoadSpecial {
        let mut random = Random::new(rows);
        store.load(&mut order.iter().map(|n| (key(*n), random.value())))?;
    } else {
        fill(store.as_ref(), rows)?;
        store.settle()?;
    }
    let (took, cpu_took) = (begun.elapsed().as_secs_f64(), cpu() - cpu_before);
    store.close()?;
    let bytes = scratch::size(dir)? as f64;
    let store = opened(kind, dir, &setup)?;
    let mut session = store.session()?;
    let found = session.scan(Part::Rows, &key(0), usize::MAX, &mut |_, _| {})?;
    if found != rows {
        return Err(format!("{found} of {rows} rows are there").into());
    }
    Ok(Values::from([
        ("rows_per_s".into(), rows as f64 / took),
        ("seconds".into(), took),
        ("cpu_us".into(), cpu_took * 1e6 / rows as f64),
        ("bytes_each".into(), bytes / rows as f64),
    ]))
}

/// The setup in which a log is made that recovery then finds: nothing of it is given up before.
fn keeping(plan: &StorePlan, bytes: u64) -> Setup {
    Setup {
        log: Some(bytes * 16),
        durable: false,
        ..setup(plan, Work::Recover)
    }
}

/// Updates single rows until there is so much log, makes the last durable; how many, and how much log it was.
pub fn fill_log(kind: &Kind, dir: &Path, plan: &StorePlan, bytes: u64) -> Result<(u64, u64)> {
    let store = opened(kind, dir, &keeping(plan, bytes))?;
    let mut session = store.session()?;
    let log_now = || -> Result<Option<f64>> { Ok(store.counted()?.get("log_bytes").copied()) };
    let (log_before, size_before) = (log_now()?, scratch::size(dir)?);
    let (mut random, mut updates, mut log) = (Random::new(7), 0, 0);
    let begun = Instant::now();
    while log < bytes && begun.elapsed().as_secs_f64() < plan.fill_longest_s {
        for _ in 0..STEP {
            let row = (key(random.below(plan.rows)), random.value());
            session.put(Part::Rows, &[row])?;
        }
        updates += STEP;
        log = match (log_before, log_now()?) {
            (Some(before), Some(now)) => (now - before) as u64,
            _ => scratch::size(dir)?.saturating_sub(size_before),
        };
    }
    session.put(Part::Rows, &[(key(0), LAST)])?;
    store.settle()?;
    std::mem::forget(session);
    std::mem::forget(store);
    Ok((updates + 1, log))
}

/// Opens a store whose process was killed: time until it is open, and until a first row has been read.
fn recover(kind: &Kind, dir: &Path, plan: &StorePlan) -> Result<Values> {
    let begun = Instant::now();
    let store = opened(kind, dir, &setup(plan, Work::Recover))?;
    let open = begun.elapsed().as_secs_f64();
    let mut session = store.session()?;
    let mut last = false;
    session.get(&key(0), &mut |_, value| last = value == LAST)?;
    let first_read = begun.elapsed().as_secs_f64();
    if !last {
        return Err("the last durable commit is not there".into());
    }
    Ok(Values::from([
        ("open".into(), open),
        ("first_read".into(), first_read),
    ]))
}
