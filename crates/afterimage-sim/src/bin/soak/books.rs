//! The rows of a soak, and what is known of them: a key is a number, a value says whose it is and how often it has been changed,
//! and the rest of it follows from that. So each row that is found can be judged alone.

use afterimage::{Database, Error, Table};
use afterimage_sim::choices::mix;
use std::io::Read;

use crate::Asked;

/// The one table.
pub const TABLE: &str = "soak";
/// What a small row takes, key and value.
pub const ROW_BYTES: u64 = 128;
const SMALL_BYTES: u64 = ROW_BYTES - 8;
/// Bytes of a value's head: key, change, length.
const HEAD: usize = 24;
const VALUE_MIN: u64 = 1 << 10;
const VALUE_MAX: u64 = 64 << 20;
/// The row is not there.
const DELETED: u64 = u64::MAX;

/// What the rows are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Large values of very different sizes.
    Values,
    /// Small rows.
    Rows,
}

/// The length of a value: for large ones, as often between 1 and 2 KiB as between 32 and 64 MiB; by key, within a tenth.
pub fn length(kind: Kind, seed: u64, key: u64, change: u64) -> u64 {
    if kind == Kind::Rows {
        return SMALL_BYTES;
    }
    let size = class(seed, key);
    let wobble = mix(seed ^ key.rotate_left(17) ^ change) % (size / 10).max(1);
    (size - wobble).max(VALUE_MIN)
}

fn class(seed: u64, key: u64) -> u64 {
    if key == 0 {
        return VALUE_MAX;
    }
    let bits = mix(seed.wrapping_add(key));
    let doublings = bits % 16;
    let low = VALUE_MIN << doublings;
    low + (bits >> 8) % low
}

/// How many values make `bytes`.
pub fn value_count(seed: u64, bytes: u64) -> u64 {
    let (mut sum, mut key) = (0, 0);
    while sum < bytes {
        sum += class(seed, key);
        key += 1;
    }
    key
}

/// A value's bytes, one after the other.
pub struct Bytes {
    head: [u8; HEAD],
    at: u64,
    len: u64,
}

impl Bytes {
    pub fn new(key: u64, change: u64, len: u64) -> Bytes {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&key.to_le_bytes());
        head[8..16].copy_from_slice(&change.to_le_bytes());
        head[16..].copy_from_slice(&len.to_le_bytes());
        Bytes { head, at: 0, len }
    }

    /// What is found, if its head is one: then the rest must be what follows from it.
    fn of(found: &[u8]) -> Option<(u64, u64, Bytes)> {
        let word = |at: usize| {
            let bytes = found.get(at..at + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let (key, change, len) = (word(0)?, word(8)?, word(16)?);
        Some((key, change, Bytes::new(key, change, len)))
    }

    fn word(&self, index: u64) -> u64 {
        let key = u64::from_le_bytes(self.head[..8].try_into().unwrap_or_default());
        let change = u64::from_le_bytes(self.head[8..16].try_into().unwrap_or_default());
        mix(key ^ change.rotate_left(32) ^ index)
    }

    pub fn all(mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len as usize);
        let _ = self.read_to_end(&mut all);
        all
    }
}

impl Read for Bytes {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = (self.len - self.at).min(into.len() as u64) as usize;
        for byte in &mut into[..count] {
            *byte = match self.head.get(self.at as usize) {
                Some(head) => *head,
                None => self.word(self.at / 8).to_le_bytes()[self.at as usize % 8],
            };
            self.at += 1;
        }
        Ok(count)
    }
}

/// The change that a row's value says it is, if every byte of it is right.
pub fn change_of(key: u64, value: &mut dyn Read) -> Result<u64, String> {
    let mut head = [0; HEAD];
    let wrong = |what: &str| Err(format!("the value of key {key} {what}"));
    if value.read_exact(&mut head).is_err() {
        return wrong("is too short");
    }
    let Some((said, change, mut right)) = Bytes::of(&head) else {
        return wrong("has no head");
    };
    if said != key {
        return wrong(&format!("is that of key {said}"));
    }
    right.at = HEAD as u64;
    let (mut found, mut wanted) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = fill(value, &mut found).map_err(|e| format!("key {key}: {e}"))?;
        let should = fill(&mut right, &mut wanted).unwrap_or(0);
        if found[..count] != wanted[..should] {
            return wrong(&format!("(change {change}) is not what was written"));
        }
        if count == 0 {
            return Ok(change);
        }
    }
}

fn fill(from: &mut dyn Read, into: &mut [u8]) -> std::io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match from.read(&mut into[count..])? {
            0 => break,
            read => count += read,
        }
    }
    Ok(count)
}

/// What the child has said.
pub struct Heard {
    pub ready: bool,
    /// (key, change or [`DELETED`]), acknowledged, in each client's order.
    acknowledged: Vec<(u64, u64)>,
    clients: u64,
    pub changes: u64,
    pub reads: u64,
    pub scans: u64,
    pub memory: u64,
    pub log: u64,
    pub log_bound: u64,
    looks: u64,
    too_old: bool,
    pub wrong: Option<String>,
}

impl Heard {
    pub fn new(clients: u64) -> Heard {
        Heard {
            ready: false,
            acknowledged: Vec::new(),
            clients,
            changes: 0,
            reads: 0,
            scans: 0,
            memory: 0,
            log: 0,
            log_bound: 0,
            looks: 0,
            too_old: false,
            wrong: None,
        }
    }

    pub fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.clone().filter_map(|word| word.parse().ok()).collect();
        match (what, &numbers[..]) {
            ("ready", _) => self.ready = true,
            ("put", &[key, change]) => self.acknowledged.push((key, change)),
            ("del", &[key]) => self.acknowledged.push((key, DELETED)),
            ("did", &[reads, scans]) => (self.reads, self.scans) = (reads, scans),
            ("mem", &[bytes]) => self.memory = self.memory.max(bytes),
            ("log", &[bytes, bound]) => {
                (self.log, self.log_bound) = (self.log.max(bytes), bound);
            }
            ("looked", _) => self.looks += 1,
            ("too-old", _) => self.too_old = true,
            _ => {
                self.wrong.get_or_insert_with(|| line.to_string());
            }
        }
        self.changes = self.acknowledged.len() as u64;
    }

    /// How the snapshot fared that was held open.
    pub fn snapshot(&self) -> String {
        let end = if self.too_old {
            ", then SnapshotTooOld"
        } else {
            ""
        };
        format!("held snapshot read right {} times{end}", self.looks)
    }
}

/// For each key the last change that is known to be durable.
pub struct Books {
    kind: Kind,
    known: Vec<u64>,
}

/// What a comparison has found.
#[derive(Default)]
pub struct Found {
    rows: u64,
    /// Bytes of all rows.
    pub live: u64,
    /// Durable, but the kill came before it was told.
    untold: u64,
    wrong: Vec<String>,
}

impl Books {
    pub fn new(kind: Kind, keys: u64) -> Books {
        Books {
            kind,
            known: vec![DELETED; keys as usize],
        }
    }

    pub fn learn(&mut self, heard: &Heard) {
        for &(key, change) in &heard.acknowledged {
            self.known[key as usize] = change;
        }
    }

    /// Reads every row. Each client had at most one change under way when it was killed.
    pub fn compare(&mut self, db: &Database, heard: &Heard) -> Result<Found, String> {
        let told = |e: Error| e.to_string();
        let table = db.table(TABLE).map_err(told)?;
        let snapshot = db.snapshot().map_err(told)?;
        let mut found = Found::default();
        let mut next = 0;
        if self.kind == Kind::Values {
            for key in 0..self.known.len() as u64 {
                let reader = snapshot
                    .get_reader(&table, &key.to_be_bytes())
                    .map_err(told)?;
                match reader {
                    Some(mut reader) => {
                        found.live += reader.len();
                        let change = change_of(key, &mut reader)?;
                        self.meet(key, change, &mut found);
                    }
                    None => self.meet(key, DELETED, &mut found),
                }
            }
        } else {
            for row in snapshot.scan::<[u8], _>(&table, ..).map_err(told)? {
                let (key, value) = row.map_err(told)?;
                let key = key_of(&key)?;
                for missing in next..key {
                    self.meet(missing, DELETED, &mut found);
                }
                next = key + 1;
                found.live += 8 + value.len() as u64;
                let change = change_of(key, &mut &value[..])?;
                self.meet(key, change, &mut found);
            }
            for missing in next..self.known.len() as u64 {
                self.meet(missing, DELETED, &mut found);
            }
        }
        if found.untold > heard.clients {
            let (untold, clients) = (found.untold, heard.clients);
            found.wrong.push(format!(
                "{untold} rows are not as last acknowledged, and {clients} clients had one change each under way"
            ));
        }
        Ok(found)
    }

    fn meet(&mut self, key: u64, change: u64, found: &mut Found) {
        found.rows += u64::from(change != DELETED);
        let known = &mut self.known[key as usize];
        if *known == change {
            return;
        }
        // A later change, or a deletion, that was under way. What is older was given up though it was acknowledged.
        if change != DELETED && *known != DELETED && change < *known {
            found.wrong.push(format!(
                "key {key}: change {known} was acknowledged, change {change} is there"
            ));
        }
        found.untold += 1;
        *known = change;
    }
}

impl Found {
    pub fn told(&self) -> String {
        format!(
            "{} rows, {} untold, {} wrong",
            self.rows,
            self.untold,
            self.wrong.len()
        )
    }

    /// Is all as it must be?
    pub fn judge(&self, asked: &Asked, pages: u64) -> Result<(), String> {
        if let Some(first) = self.wrong.first() {
            return Err(format!("seed {}: {first}", asked.seed));
        }
        if asked.kind == Kind::Values && pages > self.live / 2 * 3 {
            let (pages, live) = (pages >> 20, self.live >> 20);
            return Err(format!(
                "the pages take {pages} MiB, more than 1.5 times the {live} MiB of live data"
            ));
        }
        Ok(())
    }
}

/// The key that a row's key is.
pub fn key_of(key: &[u8]) -> Result<u64, String> {
    let bytes = key.try_into();
    let bytes = bytes.map_err(|_| format!("a key of {} bytes", key.len()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Makes a value of a row.
pub fn put(
    db: &Database,
    table: &Table,
    asked: &Asked,
    key: u64,
    change: u64,
) -> Result<(), Error> {
    let len = length(asked.kind, asked.seed, key, change);
    let mut bytes = Bytes::new(key, change, len);
    if len < 1 << 20 {
        return db.put(table, &key.to_be_bytes(), &bytes.all());
    }
    let mut tx = db.begin();
    tx.put_reader(table, &key.to_be_bytes(), len, &mut bytes)?;
    tx.commit()
}
