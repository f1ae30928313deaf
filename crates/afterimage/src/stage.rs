//! A crash laid out by hand, in a simulated world: records with the transactions and chains that somebody wants, checkpoints with the
//! tables that he wants, pages at home in the state that he wants. For `afterimage explain`, which opens what comes out of it.
//!
//! Everything is real: the records are encoded and appended as ever, a page's versions come of applying them, the control file
//! names the checkpoint. Only who decides is another: nobody locks, and no page goes home by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use afterimage_io::sim::{Image, Sim, Survival};
use afterimage_io::{Io, OpenMode};
use afterimage_log::{ControlFile, Log, Lsn};

use crate::buffer::{Doublewrite, DoublewriteCopy, Pager, Store};
use crate::checkpoint::EngineArea;
use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};
use crate::limits::TABLES_CHUNK_BYTES_MAX;
use crate::options::Options;
use crate::page::{Page, PageOp, apply};
use crate::record::{
    AttEntry, Change, ClrRecord, PagePart, Record, RowRecord, Structure, StructureKind,
    encode_tables,
};
use crate::recovery::{Recovered, recover};
use crate::transaction::System;

/// The directory of the staged database in its world.
pub const DIRECTORY: &str = "staged";
const PAGE_BYTES: usize = 4096;

/// A database whose last moments are being laid out.
pub struct Stage {
    sim: Sim,
    system: System,
    control: ControlFile,
    tables: BTreeMap<String, Staged>,
    /// Pages that are at home in another version than the first.
    homes: BTreeMap<PageId, Page>,
    /// Pages whose homes are half this version, half nothing.
    torn: BTreeMap<PageId, Page>,
    /// Whole copies of some of them, for the doublewrite area.
    copies: Vec<DoublewriteCopy>,
    /// Where each record ends.
    ends: BTreeMap<Lsn, Lsn>,
    /// Records of which only the first half is on disk.
    cut: BTreeSet<Lsn>,
    /// Records of which one bit is another.
    flipped: BTreeSet<Lsn>,
}

/// A table, which is one leaf.
struct Staged {
    tree: TableId,
    root: PageId,
    now: Page,
    versions: BTreeMap<Lsn, Page>,
}

/// A row's change: its table, its key, the value before and after.
#[derive(Debug, Clone, Copy)]
pub struct RowChange<'a> {
    /// The table's name.
    pub table: &'a str,
    /// The row's key.
    pub key: &'a [u8],
    /// Its value before; `None`: there was no row.
    pub before: Option<&'a [u8]>,
    /// Its value after; `None`: there is none.
    pub after: Option<&'a [u8]>,
}

/// Rows: keys and values.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// An unfinished transaction, for a checkpoint: its first record, its last one, and what undo would visit next.
pub type Active = (Lsn, Lsn, Option<Lsn>);

/// How to open a staged database, and how it was made.
#[must_use]
pub fn options(io: Io) -> Options {
    Options::new()
        .io(io)
        .background(false)
        .page_size(PAGE_BYTES)
        .buffer_pool_size(256 * PAGE_BYTES as u64)
        .wal_segment_size(64 << 10)
}

impl Stage {
    /// A database with these tables, each with rows that are at home.
    ///
    /// # Errors
    ///
    /// A table's name or a row is not legal.
    pub fn new(tables: &BTreeMap<String, Rows>) -> Result<Stage> {
        let sim = Sim::new(1);
        let (io, directory) = (sim.io(), Path::new(DIRECTORY));
        let db = options(io.clone()).open(directory)?;
        for (name, rows) in tables {
            let table = db.table(name)?;
            for (key, value) in rows {
                db.put(&table, key, value)?;
            }
        }
        db.close()?;
        let file = ControlFile::open(&io, directory, true)?;
        let id = file.current().identity.database_id;
        let Recovered { system, .. } = recover(&io, directory, file, &options(io.clone()))?;
        let store = Pager::open_store(&io, directory, PAGE_BYTES, id, OpenMode::Read)?;
        let staged = tables.keys().map(|name| {
            let tree = system.catalogue.by_name(name).expect("just made");
            let mut now = Page::new(PAGE_BYTES);
            store.read(tree.root(), &mut now)?;
            let versions = now
                .lsn()
                .map(|lsn| (lsn, now.clone()))
                .into_iter()
                .collect();
            let staged = Staged {
                tree: tree.id(),
                root: tree.root(),
                now,
                versions,
            };
            Ok((name.clone(), staged))
        });
        let tables = staged.collect::<Result<_>>()?;
        Ok(Stage {
            control: ControlFile::open(&io, directory, true)?,
            sim,
            system,
            tables,
            homes: BTreeMap::new(),
            torn: BTreeMap::new(),
            copies: Vec::new(),
            ends: BTreeMap::new(),
            cut: BTreeSet::new(),
            flipped: BTreeSet::new(),
        })
    }

    /// The number of the page that a table is.
    #[must_use]
    pub fn page(&self, table: &str) -> Option<u64> {
        self.tables.get(table).map(|staged| staged.root.get())
    }

    fn append(&mut self, record: &Record<'_>) -> Result<Lsn> {
        let mut payload = Vec::new();
        record.encode(&mut payload);
        self.append_payload(&payload, matches!(record, Record::Commit { .. }))
    }

    fn append_payload(&mut self, payload: &[u8], timed: bool) -> Result<Lsn> {
        let log = &self.system.pager.log;
        let mut space = log.reserve(Log::frame_bytes(payload.len(), timed))?;
        let appended = log.append(&mut space, payload, timed, |_, _| ())?;
        self.ends.insert(appended.lsn, appended.end);
        Ok(appended.lsn)
    }

    fn staged(&mut self, table: &str) -> &mut Staged {
        self.tables
            .get_mut(table)
            .expect("the stage was made with this table")
    }

    /// A transaction's first record, which changes nothing.
    ///
    /// # Errors
    ///
    /// The log is full, as with every record here.
    pub fn begin(&mut self) -> Result<Lsn> {
        self.append(&Record::Begin)
    }

    /// A record that means nothing to a recovery: it holds a place.
    ///
    /// # Errors
    ///
    /// As [`begin`](Stage::begin).
    pub fn note(&mut self) -> Result<Lsn> {
        self.append(&Record::UnloggedCommit)
    }

    /// A change of a row by the transaction whose first record is `txn`: this one, if none is named.
    ///
    /// # Errors
    ///
    /// The page cannot take it; as [`begin`](Stage::begin).
    pub fn row(&mut self, chain: Option<(Lsn, Lsn)>, change: &RowChange<'_>) -> Result<Lsn> {
        let staged = self.staged(change.table);
        let record = Record::Row(RowRecord {
            commit: false,
            txn: chain.map(|(txn, _)| txn),
            prev: chain.map(|(_, prev)| prev),
            table: staged.tree,
            page: staged.root,
            page_prev: staged.now.lsn(),
            key: change.key.into(),
            change: change.of(),
        });
        self.change(change.table, &record)
    }

    /// The compensation of `undone`.
    ///
    /// # Errors
    ///
    /// As [`row`](Stage::row).
    pub fn clr(
        &mut self,
        (txn, prev): (Lsn, Lsn),
        undo_next: Option<Lsn>,
        undone: &RowChange<'_>,
    ) -> Result<Lsn> {
        let staged = self.staged(undone.table);
        let change = undone.of();
        let record = Record::Clr(ClrRecord {
            txn,
            prev,
            undo_next,
            table: staged.tree,
            page: staged.root,
            page_prev: staged.now.lsn(),
            key: undone.key.into(),
            change: change.compensation(),
        });
        self.change(undone.table, &record)
    }

    /// A record that makes the table's page whole, with these rows in it: it stands for changes that nobody has written down.
    ///
    /// # Errors
    ///
    /// As [`row`](Stage::row).
    pub fn page_image(&mut self, table: &str, rows: &[RowChange<'_>]) -> Result<Lsn> {
        let staged = self.staged(table);
        let page_prev = staged.now.lsn();
        let mut image = staged.now.clone();
        for row in rows {
            set(&mut image, row)?;
        }
        let record = Record::Structure(Structure {
            kind: StructureKind::PageImage,
            parts: vec![PagePart {
                page: staged.root,
                page_prev,
                op: PageOp::format_from(
                    image.id(),
                    &image,
                    0..image.cell_count(),
                    None,
                    None,
                    None,
                ),
            }],
        });
        self.change(table, &record)
    }

    /// Lets the record at `lsn`, which says nothing, be the one that has made these rows what they are.
    ///
    /// # Errors
    ///
    /// The page cannot take them.
    pub fn as_of(&mut self, table: &str, lsn: Lsn, rows: &[RowChange<'_>]) -> Result<()> {
        let staged = self.staged(table);
        for row in rows {
            set(&mut staged.now, row)?;
        }
        staged.now.set_lsn(lsn);
        staged.versions.insert(lsn, staged.now.clone());
        Ok(())
    }

    fn change(&mut self, table: &str, record: &Record<'_>) -> Result<Lsn> {
        let mut page = self.staged(table).now.clone();
        for (_, _, op) in record.pages() {
            apply_to(&mut page, &op)?;
        }
        let lsn = self.append(record)?;
        page.set_lsn(lsn);
        let staged = self.staged(table);
        staged.versions.insert(lsn, page.clone());
        staged.now = page;
        Ok(lsn)
    }

    /// A transaction's commit.
    ///
    /// # Errors
    ///
    /// As [`begin`](Stage::begin).
    pub fn commit(&mut self, (txn, prev): (Lsn, Lsn)) -> Result<Lsn> {
        self.append(&Record::Commit { txn, prev })
    }

    /// The end of a transaction that was rolled back.
    ///
    /// # Errors
    ///
    /// As [`begin`](Stage::begin).
    pub fn end(&mut self, (txn, prev): (Lsn, Lsn)) -> Result<Lsn> {
        self.append(&Record::End { txn, prev })
    }

    /// The begin record of a checkpoint.
    ///
    /// # Errors
    ///
    /// As [`begin`](Stage::begin).
    pub fn checkpoint_begin(&mut self) -> Result<Lsn> {
        self.append(&Record::CheckpointBegin)
    }

    /// The tables and the end record of a checkpoint, the log synced, and the control file, which names it from now on. Returns its records, the
    /// end record last.
    ///
    /// # Errors
    ///
    /// As [`begin`](Stage::begin).
    pub fn checkpoint_end(
        &mut self,
        begin: Lsn,
        active: &[Active],
        dirty: &[(&str, Lsn)],
    ) -> Result<Vec<Lsn>> {
        let entry = |&(txn, last, undo_next): &Active| AttEntry {
            txn,
            last,
            undo_next,
        };
        let att: Vec<_> = active.iter().map(entry).collect();
        let mut dpt: Vec<_> = dirty
            .iter()
            .map(|(table, rec_lsn)| (self.tables[*table].root, *rec_lsn))
            .collect();
        dpt.sort_unstable();
        let mut records = Vec::new();
        for chunk in encode_tables(&att, &dpt, TABLES_CHUNK_BYTES_MAX) {
            records.push(self.append_payload(&chunk, false)?);
        }
        let end = Record::CheckpointEnd {
            begin,
            last_commit_time: 0,
        };
        records.push(self.append(&end)?);
        self.sync()?;
        let redo = dpt.iter().map(|(_, lsn)| *lsn).fold(begin, Lsn::min);
        let scan = att.iter().map(|entry| entry.txn).fold(redo, Lsn::min);
        let mut control = self.control.current().clone();
        control.client = EngineArea {
            checkpoint_lsn: begin,
            redo_lsn: redo,
            scan_lsn: scan,
            ..EngineArea::decode(&control.client)?
        }
        .encode();
        control.durable_lsn = Some(self.system.pager.log.durable_lsn());
        self.control.write(&control)?;
        Ok(records)
    }

    /// Makes the log durable as far as it goes: what comes later is lost in the crash, unless it is synced too.
    ///
    /// # Errors
    ///
    /// None, on this disk.
    pub fn sync(&self) -> Result<()> {
        let log = &self.system.pager.log;
        Ok(log.wait_durable(log.next_lsn())?)
    }

    /// Lets a table's page be at home as the record at `lsn` has left it, or the newest before that.
    pub fn at_home(&mut self, table: &str, lsn: Lsn) {
        let staged = self.staged(table);
        let version = staged.versions.range(..=lsn).next_back();
        if let Some((_, page)) = version {
            let (root, page) = (staged.root, page.clone());
            self.homes.insert(root, page);
        }
    }

    /// Lets a table's page be at home with an LSN that the log never reached: as if it had been written before its log.
    pub fn at_home_too_early(&mut self, table: &str) {
        let beyond = Lsn::new(self.system.pager.log.next_lsn().get() + (1 << 20));
        let staged = self.staged(table);
        let (root, mut page) = (staged.root, staged.now.clone());
        page.set_lsn(beyond.expect("not zero"));
        self.homes.insert(root, page);
    }

    /// Lets the write of a table's page, as the record at `lsn` has left it, be cut off in the middle: half of its home is that
    /// version, and the other half is nothing. Whole it is in the doublewrite area, if there is a copy.
    pub fn torn(&mut self, table: &str, lsn: Lsn, copy: bool) {
        let staged = &self.tables[table];
        let Some((_, page)) = staged.versions.range(..=lsn).next_back() else {
            return;
        };
        let (root, mut page) = (staged.root, page.clone());
        page.seal(self.id());
        if copy {
            self.copies.push(DoublewriteCopy {
                page: root,
                lsn: page.lsn().expect("stamped"),
                image: page.bytes().to_vec(),
            });
        }
        self.torn.insert(root, page);
    }

    /// Lets only the first half of the record at `lsn` be on disk.
    pub fn cut(&mut self, lsn: Lsn) {
        self.cut.insert(lsn);
    }

    /// Lets the disk have one bit of the record at `lsn` wrong.
    pub fn flip(&mut self, lsn: Lsn) {
        self.flipped.insert(lsn);
    }

    fn id(&self) -> u128 {
        self.control.current().identity.database_id
    }

    /// The power goes: what is on the disk then.
    ///
    /// # Errors
    ///
    /// None, on this disk.
    pub fn crash(mut self) -> Result<Image> {
        if !self.copies.is_empty() {
            let directory = Path::new(DIRECTORY);
            let (io, id, cells) = (self.sim.io(), self.id(), self.copies.len());
            drop(Doublewrite::create(&io, directory, id, PAGE_BYTES, cells)?);
            Doublewrite::replace(&io, directory, id, PAGE_BYTES, cells, &self.copies)?;
        }
        let mut image = self.sim.snapshot().crash(&Survival::None);
        let id = self.id();
        let pages = format!("{DIRECTORY}/pages");
        let place = |page: PageId| page.get() * PAGE_BYTES as u64;
        for (root, page) in &mut self.homes {
            page.seal(id);
            image.write_bytes(&pages, place(*root), page.bytes());
        }
        for (root, page) in &self.torn {
            let mut home = page.bytes().to_vec();
            home[PAGE_BYTES / 2..].fill(0xA5);
            image.write_bytes(&pages, place(*root), &home);
        }
        let segment_bytes = self.control.current().segment_bytes;
        for (lsn, from, with) in self.wounds() {
            let number = lsn.get() / segment_bytes;
            let ending = format!("-{number:016X}.log");
            let name = image.files().find(|(name, _)| name.ends_with(&ending));
            if let Some(name) = name.map(|(name, _)| name.to_owned()) {
                let offset = from % segment_bytes;
                let was = image.read(&name, offset, with.len()).unwrap_or_default();
                let bytes: Vec<u8> = was
                    .iter()
                    .zip(&with)
                    .map(|(was, with)| was & with)
                    .collect();
                image.write_bytes(&name, offset, &bytes);
            }
        }
        Ok(image)
    }

    /// What is wrong in the log: of which record, from where on, and the bits that are left.
    fn wounds(&self) -> Vec<(Lsn, u64, Vec<u8>)> {
        let half = |lsn: &Lsn| {
            let len = self.ends[lsn].get() - lsn.get();
            (lsn.get() + len / 2, len - len / 2)
        };
        let cut = self.cut.iter().map(|lsn| {
            let (from, len) = half(lsn);
            (*lsn, from, vec![0; len as usize])
        });
        // Of a byte in the middle everything is lost: a record has bytes that are not zero throughout.
        let flipped = self.flipped.iter().map(|lsn| {
            let (from, _) = half(lsn);
            (*lsn, from - 2, vec![0, 0, 0, 0])
        });
        cut.chain(flipped).collect()
    }
}

impl<'a> RowChange<'a> {
    fn of(&self) -> Change<'a> {
        match (self.before, self.after) {
            (before, Some(after)) => Change::Put {
                before: before.map(Into::into),
                after: after.into(),
            },
            (before, None) => Change::Delete {
                before: before.unwrap_or_default().into(),
            },
        }
    }
}

/// Makes a row what it is after the change, whatever it was.
fn set(page: &mut Page, row: &RowChange<'_>) -> Result<()> {
    match row.after {
        Some(value) => apply_to(page, &PageOp::put_cell(row.key, value)),
        None if page.search(row.key).is_ok() => apply_to(
            page,
            &PageOp::SetGhost {
                key: row.key.into(),
                ghost: true,
            },
        ),
        None => Ok(()),
    }
}

fn apply_to(page: &mut Page, op: &PageOp<'_>) -> Result<()> {
    apply(page, op).map_err(|e| Error::corruption(format!("page {}", page.id()), e.to_string()))
}

/// A look at homes as they are on the disk, without a database.
pub struct Homes {
    store: Store,
}

impl Homes {
    /// The homes of a staged database.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn new(io: &Io) -> Result<Homes> {
        let directory = Path::new(DIRECTORY);
        let id = ControlFile::open(io, directory, false)?
            .current()
            .identity
            .database_id;
        let store = Pager::open_store(io, directory, PAGE_BYTES, id, OpenMode::Read)?;
        Ok(Homes { store })
    }

    /// The LSN of a page at home; `None` if it cannot be read.
    #[must_use]
    pub fn lsn(&self, page: u64) -> Option<Lsn> {
        let mut home = Page::new(PAGE_BYTES);
        self.store.read(PageId(page), &mut home).ok()?;
        home.lsn()
    }
}
