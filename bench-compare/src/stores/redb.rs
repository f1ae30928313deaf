//! redb: a copy-on-write B-tree; one writer at a time.

use super::{Body, Kind, Part, See, Session, Setup, Store, Tx, found};
use crate::Result;
use crate::keys::{Key, Value};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use std::path::Path;

pub const KIND: Kind = Kind {
    name: "redb",
    version: "4.5.0",
    settings: "set_cache_size; a table of byte slices; durable = Durability::Immediate (one phase and checksums); \
               load: Durability::None in transactions of 1000 rows, then an Immediate one; it has no log",
    tickets: false,
    loads: false,
    open: Some(open),
};

fn table(part: Part) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(part.name())
}

struct Redb {
    db: Database,
    durability: Durability,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let db = Database::builder()
        .set_cache_size(usize::try_from(setup.cache)?)
        .create(dir.join("rows.redb"))?;
    let durability = if setup.durable {
        Durability::Immediate
    } else {
        Durability::None
    };
    let tx = db.begin_write()?;
    for part in Part::ALL {
        tx.open_table(table(part))?;
    }
    tx.commit()?;
    Ok(Box::new(Redb { db, durability }))
}

impl Redb {
    fn write(&self, work: &mut dyn FnMut(&WriteTransaction) -> Result<()>) -> Result<u64> {
        let mut tx = self.db.begin_write()?;
        tx.set_durability(self.durability)?;
        work(&tx)?;
        tx.commit()?;
        // One writer at a time: nobody is in the way of another.
        Ok(0)
    }
}

impl Store for Redb {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Seat { store: self }))
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.begin_write()?.commit()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}

struct Seat<'a> {
    store: &'a Redb,
}

impl Session for Seat<'_> {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        self.store.write(&mut |tx| {
            let mut table = tx.open_table(table(part))?;
            for (key, value) in rows {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        self.store.write(&mut |tx| {
            let tables = [const { None }; Part::ALL.len()];
            body(&mut Open { tx, tables })
        })
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        Ok(self.get_many(std::slice::from_ref(key), see)? == 1)
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.db.begin_read()?;
        let table = tx.open_table(table(Part::Rows))?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = table.get(key.as_slice())? {
                see(key, value.value());
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.db.begin_read()?;
        let table = tx.open_table(table(part))?;
        let mut found = 0;
        for row in table.range(from.as_slice()..)?.take(most) {
            let (key, value) = row?;
            see(key.value(), value.value());
            found += 1;
        }
        Ok(found)
    }
}

type Opened<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// Each table is opened when it is first wanted: it can be open only once.
struct Open<'a> {
    tx: &'a WriteTransaction,
    tables: [Option<Opened<'a>>; Part::ALL.len()],
}

impl<'a> Open<'a> {
    fn table(&mut self, part: Part) -> Result<&mut Opened<'a>> {
        let place = &mut self.tables[part as usize];
        if place.is_none() {
            *place = Some(self.tx.open_table(table(part))?);
        }
        Ok(place.as_mut().ok_or("the table was opened")?)
    }
}

impl Tx for Open<'_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        let value = self.table(part)?.get(key.as_slice())?;
        found(value.as_ref().map(|value| value.value()))
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        self.table(part)?.insert(key.as_slice(), value.as_slice())?;
        Ok(())
    }
}
