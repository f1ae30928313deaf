//! The child: fills the table in its first life, changes rows in each that follows, and says what is durable.
//!
//! Lines on stdout: `put KEY CHANGE` and `del KEY` when the commit has returned; `did READS SCANS`, `mem BYTES`, `log BYTES BOUND`
//! now and then; `looked` when the snapshot that is held shows what it showed before; anything else is an accusation.

use std::io::{Read, Write, stdin, stdout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use afterimage::{Database, Error, Snapshot, Table};
use afterimage_sim::choices::Choices;

use crate::Asked;
use crate::books::{self, Kind, change_of, key_of};

/// Rows in a transaction that fills.
const BATCH: u64 = 500;
/// Rows that the held snapshot is asked for, spread over the table.
const SAMPLE: u64 = 500;
const SCAN_ROWS: usize = 50;

type Done<T = ()> = Result<T, String>;

fn told(error: Error) -> String {
    error.to_string()
}

fn say(line: &str) -> Done {
    let mut stdout = stdout().lock();
    let written = stdout.write_all(format!("{line}\n").as_bytes());
    written
        .and_then(|()| stdout.flush())
        .map_err(|e| e.to_string())
}

/// What all threads share.
struct Child<'a> {
    asked: &'a Asked,
    db: Database,
    table: Table,
    stop: AtomicBool,
    reads: AtomicU64,
    scans: AtomicU64,
}

/// Works until its stdin ends.
pub fn run(asked: &Asked) -> Done {
    let db = asked.options().open(asked.database()).map_err(told)?;
    let table = db.table(books::TABLE).map_err(told)?;
    let child = Child {
        asked,
        db,
        table,
        stop: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        scans: AtomicU64::new(0),
    };
    say("ready")?;
    thread::scope(|scope| {
        let child = &child;
        let clients: Vec<_> = (0..asked.clients)
            .map(|client| scope.spawn(move || child.client(client)))
            .collect();
        let watcher = scope.spawn(move || child.watch());
        if asked.round > 0 {
            // Ends when the parent closes it, or has gone.
            let _ = stdin().read(&mut [0]);
            child.stop.store(true, Relaxed);
        }
        let all = clients
            .into_iter()
            .try_for_each(|thread| join(thread.join()));
        child.stop.store(true, Relaxed);
        all.and(join(watcher.join()))
    })?;
    child.report()?;
    child.db.close().map_err(told)
}

fn join(ended: thread::Result<Done>) -> Done {
    ended.unwrap_or_else(|_| Err("a thread of the child panicked".to_string()))
}

impl Child<'_> {
    fn client(&self, client: u64) -> Done {
        let ended = if self.asked.round == 0 {
            self.fill(client)
        } else {
            self.change(client)
        };
        ended.inspect_err(|wrong| drop(say(&format!("wrong: {wrong}"))))
    }

    /// The keys of a client: every so-manieth.
    fn own(&self, client: u64) -> impl Iterator<Item = u64> {
        (client..self.asked.keys()).step_by(self.asked.clients as usize)
    }

    fn fill(&self, client: u64) -> Done {
        if self.asked.kind == Kind::Values {
            for key in self.own(client) {
                books::put(&self.db, &self.table, self.asked, key, 0).map_err(told)?;
                say(&format!("put {key} 0"))?;
            }
            return Ok(());
        }
        // Neighbouring keys, so that it is quick.
        let (keys, clients) = (self.asked.keys(), self.asked.clients);
        let (first, end) = (keys * client / clients, keys * (client + 1) / clients);
        for from in (first..end).step_by(BATCH as usize) {
            let batch = from..(from + BATCH).min(end);
            let put = self.db.transact(|tx| {
                batch.clone().try_for_each(|key| {
                    let value = books::Bytes::new(key, 0, self.length(key, 0)).all();
                    tx.put(&self.table, &key.to_be_bytes(), &value)
                })
            });
            put.map_err(told)?;
            let lines: Vec<String> = batch.map(|key| format!("put {key} 0")).collect();
            say(&lines.join("\n"))?;
        }
        Ok(())
    }

    fn length(&self, key: u64, change: u64) -> u64 {
        books::length(self.asked.kind, self.asked.seed, key, change)
    }

    /// Changes, reads and scans at random. A change's number is larger than all of the lives before.
    fn change(&self, client: u64) -> Done {
        let Asked {
            round,
            clients,
            seed,
            ..
        } = *self.asked;
        let mut choices = Choices::new(seed ^ round << 32 ^ client);
        let mut change = round << 40;
        let own = self.own(client).count() as u64;
        while !self.stop.load(Relaxed) && own > 0 {
            let key = client + choices.below(own) * clients;
            change += 1;
            match choices.below(100) {
                _ if self.asked.kind == Kind::Values => self.put(key, change)?,
                0..50 => self.read(key)?,
                50..85 => self.put(key, change)?,
                85..95 => {
                    self.db
                        .delete(&self.table, &key.to_be_bytes())
                        .map_err(told)?;
                    say(&format!("del {key}"))?;
                }
                _ => self.scan(key)?,
            }
        }
        Ok(())
    }

    fn put(&self, key: u64, change: u64) -> Done {
        books::put(&self.db, &self.table, self.asked, key, change).map_err(told)?;
        say(&format!("put {key} {change}"))
    }

    fn read(&self, key: u64) -> Done {
        let value = self.db.get(&self.table, &key.to_be_bytes()).map_err(told)?;
        if let Some(value) = value {
            change_of(key, &mut &value[..])?;
        }
        self.reads.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Some rows from a key on, as a transaction sees them.
    fn scan(&self, key: u64) -> Done {
        let mut tx = self.db.begin();
        let rows = tx
            .scan(&self.table, key.to_be_bytes().as_slice()..)
            .map_err(told)?;
        let mut before = None;
        for row in rows.take(SCAN_ROWS) {
            let (key, value) = match row {
                Ok(row) => row,
                // Somebody else's scan and this one's: it is tried another time.
                Err(error) if error.is_retryable() => return Ok(()),
                Err(error) => return Err(told(error)),
            };
            let key = key_of(&key)?;
            if before.is_some_and(|before| before >= key) {
                return Err(format!("a scan shows key {key} too late"));
            }
            before = Some(key);
            change_of(key, &mut &value[..])?;
        }
        tx.commit().map_err(told)?;
        self.scans.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Holds one snapshot all the time, looks whether it changes, and tells what the child takes.
    fn watch(&self) -> Done {
        let ended = self.hold();
        ended.inspect_err(|wrong| drop(say(&format!("wrong: {wrong}"))))
    }

    fn hold(&self) -> Done {
        // Not of large values: it would keep all that are replaced, on disk.
        let wanted = self.asked.round > 0 && self.asked.kind == Kind::Rows;
        let mut held = match wanted {
            true => Some(self.db.snapshot().map_err(told)?),
            false => None,
        };
        let mut shown = None;
        while !self.stop.load(Relaxed) {
            thread::sleep(Duration::from_millis(200));
            self.report()?;
            let Some(snapshot) = &held else { continue };
            match self.sample(snapshot)? {
                Some(sample) if shown.is_none() => shown = Some(sample),
                Some(sample) if shown.as_ref() == Some(&sample) => say("looked")?,
                Some(_) => return Err("a snapshot shows something else than before".to_string()),
                None => {
                    say("too-old")?;
                    held = None;
                }
            }
        }
        Ok(())
    }

    /// The changes that a snapshot shows of some keys; none if it is too old.
    fn sample(&self, snapshot: &Snapshot) -> Done<Option<Vec<Option<u64>>>> {
        let keys = self.asked.keys();
        let mut sample = Vec::new();
        for n in 0..SAMPLE.min(keys) {
            let key = n * keys / SAMPLE.min(keys);
            match snapshot.get_reader(&self.table, &key.to_be_bytes()) {
                Ok(Some(mut reader)) => {
                    let mut head = [0; 24];
                    match reader.read_at(0, &mut head) {
                        Ok(_) => sample.push(Some(u64::from_le_bytes(
                            head[8..16].try_into().map_err(|_| "no head")?,
                        ))),
                        Err(Error::SnapshotTooOld) => return Ok(None),
                        Err(error) => return Err(told(error)),
                    }
                }
                Ok(None) => sample.push(None),
                Err(Error::SnapshotTooOld) => return Ok(None),
                Err(error) => return Err(told(error)),
            }
        }
        Ok(Some(sample))
    }

    fn report(&self) -> Done {
        let stats = self.db.stats();
        let (reads, scans) = (self.reads.load(Relaxed), self.scans.load(Relaxed));
        say(&format!(
            "did {reads} {scans}\nmem {}\nlog {} {}",
            memory(),
            stats.checkpoint_age,
            stats.max_wal_size
        ))
    }
}

/// The most memory that this process has had, in bytes; zero where the system does not say.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
