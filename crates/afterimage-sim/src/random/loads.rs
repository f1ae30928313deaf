//! Tables that are loaded as a whole, under trouble, by one who works alone: a load that was acknowledged is there, one that
//! was cut off may be there, and what is there is whole.

use crate::choices::{Choices, mix};
use crate::engine::read_all;
use crate::model::Rows;
use crate::store::StoreResult;
use afterimage::{Database, Error, LoadOptions};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a table holds: all of its rows follow from this, and each names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contents {
    rows: u64,
    seed: u64,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// There is this table, or none.
    Surely(Option<Contents>),
    /// There is this table, or none: a load or a drop of it was not answered.
    Perhaps(Contents),
}

/// What must be there, from life to life.
#[derive(Debug, Default)]
pub struct Loads {
    known: Mutex<BTreeMap<String, Known>>,
}

impl Contents {
    fn choose(choices: &mut Choices) -> Contents {
        Contents {
            rows: *choices.pick(&[1, 9, 60, 300, 500]),
            seed: choices.word() >> 16,
        }
    }

    /// Row `n` in key order: many small ones, some that fill a page with three others, some large ones.
    fn row(self, n: u64) -> (Vec<u8>, Vec<u8>) {
        let bits = mix(self.seed ^ n);
        let length = match bits % 64 {
            0 => 5000,
            1 => 20_000,
            2..8 => 900,
            _ => bits as usize % 100,
        };
        let mut value = format!("{} {} ", self.rows, self.seed).into_bytes();
        value.resize(value.len() + length, bits as u8);
        (format!("{n:06}").into_bytes(), value)
    }

    fn all(self) -> Rows {
        (0..self.rows).map(|n| self.row(n)).collect()
    }

    /// What a table with these rows says of itself.
    fn of(rows: &Rows) -> Option<Contents> {
        let text = String::from_utf8_lossy(rows.values().next()?);
        let mut numbers = text.split(' ').map_while(|word| word.parse().ok());
        let (rows, seed) = (numbers.next()?, numbers.next()?);
        Some(Contents { rows, seed })
    }
}

impl Loads {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, name: &str, known: Known) {
        self.known().insert(name.to_owned(), known);
    }

    /// Loads a table, gives up loading it, or drops it.
    ///
    /// # Errors
    /// What the engine says.
    pub fn work(&self, database: &Database, choices: &mut Choices) -> afterimage::Result<()> {
        let name = format!("load{}", choices.below(2));
        let known = self.known().get(&name).copied();
        let known = known.unwrap_or(Known::Surely(None));
        if let Known::Surely(Some(contents)) | Known::Perhaps(contents) = known {
            self.set(&name, Known::Perhaps(contents));
            database.drop_table(&name)?;
            self.set(&name, Known::Surely(None));
        }
        let contents = Contents::choose(choices);
        let mut numbers: Vec<u64> = (0..contents.rows).collect();
        let sorted = choices.chance(1, 2);
        let options = if sorted {
            LoadOptions::new().sorted(true)
        } else {
            numbers.sort_by_key(|n| mix(contents.seed.rotate_left(7) ^ n));
            LoadOptions::new().sort_memory(64 << 10)
        };
        let mut load = database.load_table(&name, options)?;
        for n in numbers {
            let (key, value) = contents.row(n);
            load.push(&key, &value)?;
        }
        match choices.below(8) {
            0 => drop(load),
            1 if !sorted => {
                let (key, _) = contents.row(contents.rows / 2);
                load.push(&key, b"twice")?;
                match load.finish() {
                    Err(Error::DuplicateKey { key: twice }) if twice == key => {}
                    Err(other) => return Err(other),
                    Ok(_) => panic!("a load took the key {key:?} twice"),
                }
            }
            _ => {
                self.set(&name, Known::Perhaps(contents));
                load.finish()?;
                self.set(&name, Known::Surely(Some(contents)));
            }
        }
        Ok(())
    }

    /// What is there is what may be there; from now on it is known.
    ///
    /// # Errors
    /// What the engine refuses; a table that is gone, half there, or never was loaded.
    pub fn check(&self, database: &Database) -> StoreResult<()> {
        let told = |e: afterimage::Error| format!("{e} ({e:?})");
        let mut found = BTreeMap::new();
        for name in database.tables().map_err(told)? {
            if name.starts_with("load") {
                let table = database.table(&name).map_err(told)?;
                found.insert(name, read_all(database, &table)?);
            }
        }
        let mut known = self.known();
        if let Some(name) = found.keys().find(|name| !known.contains_key(*name)) {
            return Err(format!("table {name} was never loaded"));
        }
        for (name, known) in known.iter_mut() {
            let rows = found.get(name);
            let there = rows.and_then(Contents::of);
            let may_be = match *known {
                Known::Surely(contents) => there == contents,
                Known::Perhaps(contents) => there.is_none_or(|there| there == contents),
            };
            let whole = there.map(Contents::all);
            if !may_be || rows != whole.as_ref() {
                let count = rows.map_or(0, Rows::len);
                return Err(format!(
                    "table {name} has {count} rows, of {there:?}, where {known:?} was loaded"
                ));
            }
            *known = Known::Surely(there);
        }
        Ok(())
    }
}
