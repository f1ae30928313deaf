//! Explorations of small applications: bugs that are found by crashing them, and that nothing is found where nothing is wrong.

#[path = "../examples/receipts.rs"]
mod receipts;
#[path = "../examples/shop.rs"]
mod shop;

use afterimage::{Database, Table, Transaction};
use afterimage_sim::{AppResult, Client, Counterexample, Explore, Fault, Machine, explore};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn database() -> Explore<Database> {
    explore(|machine: &Machine| Ok(machine.options().open("bank")?))
}

fn wrong<A: Send + Sync + 'static>(exploration: Explore<A>) -> Box<Counterexample> {
    let end = exploration.try_run();
    end.expect_err("there is a bug to be found")
}

fn count(db: &Database, key: &[u8]) -> AppResult<u64> {
    let bytes = db.get(&db.table("counts")?, key)?;
    Ok(bytes
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

fn set(tx: &mut Transaction, table: &Table, key: &[u8], n: u64) -> afterimage::Result<()> {
    tx.put(table, key, &n.to_be_bytes())
}

fn add(db: &Database, key: &[u8]) -> AppResult {
    let n = count(db, key)?;
    Ok(db.put(&db.table("counts")?, key, &(n + 1).to_be_bytes())?)
}

#[test]
fn an_order_is_sent_when_it_is_one_transaction() {
    let (wrong, right) = shop::both().unwrap_or_else(|e| panic!("{e}"));
    assert!(
        wrong.what().contains("order 1 will never be sent"),
        "{wrong}"
    );
    let told = wrong.to_string();
    for part in [
        "before call",
        "made by client 1",
        "sync shop/log",
        "AFTERIMAGE_REPLAY='0@",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    // The same again by its name, and the same every time.
    let again = shop::exploration(shop::Shop::order).replay(wrong.place());
    assert_eq!(again.try_run().expect_err("as before").what(), wrong.what());
    let (once_more, held) = shop::both().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(once_more.place(), wrong.place());
    let counts = |s: &str| s.split(" in ").next().map(str::to_owned);
    assert_eq!(counts(&held), counts(&right));
}

#[test]
fn a_receipt_is_printed_when_the_payment_is_durable() {
    println!("{}", receipts::all().unwrap_or_else(|e| panic!("{e}")));
}

#[test]
fn what_is_read_in_one_transaction_and_written_in_another_is_lost_between_clients() {
    let work = |db: &Database, client: &Client| {
        add(db, b"n")?;
        client.acknowledge("one more");
        Ok(())
    };
    let check = |db: &Database, told: &[String]| {
        let n = count(db, b"n")?;
        match n >= told.len() as u64 {
            true => Ok(()),
            false => Err(format!("{n} of {} are there", told.len()).into()),
        }
    };
    let clients = || database().work(work).work(work).check(check);
    let told = wrong(clients());
    assert!(told.what().contains("1 of 2 are there"), "{told}");
    assert!(told.explored().runs < 16, "{told}");
    let right = |db: &Database, client: &Client| {
        let table = db.table("counts")?;
        db.transact(|tx| {
            let n = tx.get_for_update(&table, b"n")?.map_or(0, |b| b[7]);
            set(tx, &table, b"n", u64::from(n) + 1)
        })?;
        client.acknowledge("one more");
        Ok(())
    };
    let few = database().work(right).work(right).check(check);
    let report = few.seeds(0..3).at_most(100).run();
    assert_eq!(report.runs, 3);
    assert!(report.checked > 300 && report.distinct > 600, "{report}");
}

/// Moves what is in the queue to the total whenever it starts; in one transaction, or in two.
fn queue(in_one: bool) -> Explore<Database> {
    explore(move |machine: &Machine| {
        let db = machine.options().open("bank")?;
        let table = db.table("counts")?;
        let (waiting, total) = (count(&db, b"waiting")?, count(&db, b"total")?);
        if waiting > 0 {
            let mut tx = db.begin();
            set(&mut tx, &table, b"total", total + waiting)?;
            if !in_one {
                tx.commit()?;
                tx = db.begin();
            }
            set(&mut tx, &table, b"waiting", 0)?;
            tx.commit()?;
        }
        Ok(db)
    })
    .work(|db, _| add(db, b"waiting"))
    .check(|db, _| {
        let (waiting, total) = (count(db, b"waiting")?, count(db, b"total")?);
        assert!(waiting + total <= 1, "{waiting} + {total} of 1");
        Ok(())
    })
}

#[test]
fn a_start_that_is_not_atomic_shows_when_it_is_crashed_in() {
    assert!(queue(false).depth(1).run().in_recovery == 0);
    let told = wrong(queue(false).depth(4));
    assert!(told.what().starts_with("0 + 2 of 1"), "{told}");
    assert!(
        told.to_string().contains("of the start after that"),
        "{told}"
    );
    let again = wrong(queue(false).replay(told.place()));
    assert_eq!(again.what(), told.what());
    let report = queue(true).depth(4).run();
    assert!(report.in_recovery > report.distinct, "{report}");
}

#[test]
fn an_error_that_is_not_looked_at_shows_with_a_failed_sync() {
    // So much that the file has to grow.
    fn store(db: &Database) -> afterimage::Result<()> {
        db.put(&db.table("films")?, b"film", &[1; 100_000])
    }
    let careless = |db: &Database, client: &Client| {
        let _ = store(db);
        client.acknowledge("done");
        Ok(())
    };
    let careful = |db: &Database, client: &Client| {
        store(db)?;
        client.acknowledge("done");
        Ok(())
    };
    let check = |db: &Database, told: &[String]| {
        let there = db.get(&db.table("films")?, b"film")?.is_some();
        assert!(told.is_empty() || there, "told of nothing");
        Ok(())
    };
    let faults = [Fault::SyncFails, Fault::WriteFails, Fault::DiskFull];
    let with = |work: fn(&Database, &Client) -> AppResult| database().work(work).check(check);
    with(careless).run();
    for fault in faults {
        let told = wrong(with(careless).faults([fault]));
        assert!(told.what().starts_with("told of nothing"), "{told}");
        assert!(told.to_string().contains("\nfault "), "{told}");
        let again = wrong(with(careless).replay(told.place()));
        assert_eq!(again.what(), told.what());
    }
    let report = with(careful).faults(faults).run();
    assert!(report.fault_runs > 100, "{report}");
}

#[test]
fn a_long_random_workload_shrinks_to_what_matters() {
    let random = || {
        database()
            .work(|db, client| {
                for _ in 0..client.below(6) {
                    match client.below(5) {
                        4 => {
                            // The bug: two transactions.
                            add(db, b"left")?;
                            add(db, b"right")?;
                        }
                        n => db.put(&db.table("other")?, &[client.pick(b"abc") + n as u8], b"x")?,
                    }
                }
                Ok(())
            })
            .check(|db, _| match count(db, b"left")? == count(db, b"right")? {
                true => Ok(()),
                false => Err("left is not right".into()),
            })
            .depth(1)
    };
    let told = wrong(random().seeds(0..8));
    // Nothing of the machine; of the client: one step, and that is the one that matters.
    assert!(told.place().starts_with("x.0104@"), "{told}");
    assert_eq!(wrong(random().replay(told.place())).what(), told.what());
    let run = told.place().split('@').next().unwrap_or_default();
    assert_eq!(wrong(random().replay(run)).place(), told.place());
}

#[test]
fn what_is_not_simulated_is_noticed() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let told = wrong(database().work(|db, _| {
        let n = RUNS.fetch_add(1, Ordering::Relaxed);
        Ok(db.put(&db.table("counts")?, b"n", &n.to_be_bytes())?)
    }));
    assert!(told.what().contains("not simulated"), "{told}");
}

#[test]
fn a_workload_that_fails_by_itself_says_so() {
    let told = wrong(database().work(|_, _| Err("no such account".into())));
    assert!(
        told.what()
            .contains("client 1 failed, and no crash had been: no such account"),
        "{told}"
    );
    let told = wrong(database().setup(|_| panic!("no setup")).work(|_, _| Ok(())));
    assert!(told.what().contains("no setup"), "{told}");
    let told = wrong(explore(|_| -> AppResult<Database> { Err("no key".into()) }));
    assert!(told.what().contains("no key"), "{told}");
    let told = wrong(database().replay("5@1000.0"));
    assert!(told.what().contains("no call 1000"), "{told}");
    let told = wrong(database().replay("five"));
    assert!(told.what().contains("not a crash state"), "{told}");
}

#[test]
fn clients_that_wait_for_each_other_for_ever_are_seen() {
    let locks = |machine: &Machine| {
        let io = machine.io();
        let lock = || afterimage_io::sync::Mutex::new(&io, ());
        Ok((machine.options().open("bank")?, lock(), lock()))
    };
    let told = wrong(
        explore(locks)
            .work(|(db, a, b), _| {
                let _a = a.lock();
                add(db, b"n")?;
                let _b = b.lock();
                Ok(())
            })
            .work(|(db, a, b), _| {
                let _b = b.lock();
                add(db, b"n")?;
                let _a = a.lock();
                Ok(())
            }),
    );
    assert!(told.what().contains("everybody waits"), "{told}");
}

#[test]
fn a_crash_state_is_what_was_acknowledged_before_it() {
    // Each check sees a beginning of what was acknowledged, and the rows are never behind it.
    static SEEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let report = database()
        .setup(|db| add(db, b"n"))
        .work(|db, client| {
            for n in 2..5 {
                add(db, b"n")?;
                client.acknowledge(n);
            }
            Ok(())
        })
        .check(|db, told| {
            let numbers: Vec<u64> = told.iter().map(|t| t.parse()).collect::<Result<_, _>>()?;
            assert_eq!(numbers, (2..2 + told.len() as u64).collect::<Vec<_>>());
            let n = count(db, b"n")?;
            assert!((1..=2).contains(&(n - told.len() as u64)), "{n}");
            SEEN.lock().map_err(|e| e.to_string())?.push(told.len());
            Ok(())
        })
        .shrink_for(Duration::ZERO)
        .run();
    let seen = SEEN.lock().expect("nobody panicked");
    for told in 0..4 {
        assert!(seen.contains(&told), "{report}");
    }
}
