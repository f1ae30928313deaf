//! The whole-database check: every tree, every page on disk, the allocation map, all of the log.

use crate::buffer::{Found, Pager};
use crate::error::Result;
use crate::ids::{PageId, TableId, or_none};
use crate::interval::Interval;
use crate::page::{Kind, Page, USED, is_map_page, map_position};
use crate::record::Record;
use crate::transaction::System;
use crate::tree::{Pending, Tree, check_tree};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something that is not as it must be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyFinding {
    /// The table, if it lies in one.
    pub table: Option<String>,
    /// The page number, if it is a page.
    pub page: Option<u64>,
    /// The log position, if it is in the log.
    pub lsn: Option<u64>,
    /// The file and the offset in it.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// What [`Database::verify`](crate::Database::verify) looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Tables, the engine's own two included.
    pub tables: u64,
    /// Pages in use.
    pub pages: u64,
    /// Of those, pages that wait to be freed. In a quiet database they soon are.
    pub pages_pending: u64,
    /// Rows of the tables, the engine's own not counted.
    pub rows: u64,
    /// Deleted rows not yet removed.
    pub ghosts: u64,
    /// Log records read.
    pub records: u64,
    /// What is wrong; nothing, in a sound database.
    pub findings: Vec<VerifyFinding>,
}

impl VerifyReport {
    /// Is everything as it must be?
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// How often what looks wrong is looked at before it counts, while others write.
const LOOKS: usize = 8;
/// How long is waited before the second look, half; before each next one twice as long.
const PAUSE: Duration = Duration::from_millis(1);
/// How often the home of one page is read before it counts as bad: it may just be being written.
const READS: usize = 16;

/// Works while others write. What a tree looks like is asked piece by piece while it stands still, and is so. Who owns which page,
/// and what is at its home, is asked over some time, and pages change hands meanwhile: what looks wrong then counts if
/// it looks wrong in every one of some looks, or in one during which nobody wrote.
pub(super) fn verify(system: &System) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    verify_file(system, true, &mut report)?;
    if system.catalogue.unlogged().is_some() {
        verify_file(system, false, &mut report)?;
    }
    check_log(system, &mut report);
    Ok(report)
}

/// The file `pages`, or the file `unlogged`.
fn verify_file(system: &System, logged: bool, report: &mut VerifyReport) -> Result<()> {
    let pager = pager(system, logged);
    let mut census = Census::take(system, logged, Look::First(report))?;
    for look in 1..LOOKS {
        if census.doubts.is_empty() || census.quiet {
            break;
        }
        // Who is in the middle of something gets on with it.
        system.pager.io.sleep(PAUSE * (1 << look));
        let again = Census::take(system, logged, Look::Again(&census.doubts))?;
        census.quiet = again.quiet;
        census
            .doubts
            .retain(|page, _| again.doubts.contains_key(page));
    }
    for (page, doubt) in census.doubts {
        report.page_finding(pager, doubt.table, page, doubt.what);
    }
    Ok(())
}

fn pager(system: &System, logged: bool) -> &Pager {
    match system.catalogue.unlogged() {
        Some(unlogged) if !logged => &unlogged.pager,
        _ => &system.pager,
    }
}

/// The first look sees everything; the others only what was in doubt.
enum Look<'a> {
    First(&'a mut VerifyReport),
    Again(&'a BTreeMap<PageId, Doubt>),
}

/// What may be wrong with a page.
struct Doubt {
    table: Option<String>,
    what: String,
}

/// Who owns which page, as it was over some time.
struct Census {
    owned: BTreeSet<PageId>,
    doubts: BTreeMap<PageId, Doubt>,
    /// Nothing was written meanwhile, and nobody stood between two records of one change: it was so at one moment.
    quiet: bool,
}

impl Census {
    fn take(system: &System, logged: bool, mut look: Look<'_>) -> Result<Census> {
        let pager = pager(system, logged);
        let begun = pager.moment();
        let mut census = Census {
            owned: BTreeSet::from([PageId::FILE_HEADER]),
            doubts: BTreeMap::new(),
            quiet: false,
        };
        for tree in system.catalogue.trees(logged) {
            census.tree(pager, &tree, &mut look);
        }
        let pending = match logged {
            true => pending_pages(system)?,
            false => unlogged_pending_pages(system)?,
        };
        for &page in &pending {
            if !census.owned.insert(page) {
                census.doubt(None, page, "it is in use, and waits to be freed");
            }
        }
        let used = census.check_map(pager)?;
        // What waits to be freed need not ever have been written.
        census.owned.retain(|page| !pending.contains(page));
        match look {
            Look::First(report) => {
                report.pages += used;
                report.pages_pending += pending.len() as u64;
                let name = pager.file_name();
                let here = report
                    .findings
                    .iter()
                    .filter(|f| f.place.starts_with(&name));
                let found: BTreeSet<_> = here.filter_map(|f| f.page).collect();
                census.check_homes(pager, |page| !found.contains(&page.get()))?;
            }
            Look::Again(doubts) => census.check_homes(pager, |page| doubts.contains_key(&page))?,
        }
        census.quiet = begun == pager.moment() && system.active.count() == 0;
        Ok(census)
    }

    fn doubt(&mut self, table: Option<&str>, page: PageId, what: impl Into<String>) {
        let doubt = || Doubt {
            table: table.map(str::to_owned),
            what: what.into(),
        };
        self.doubts.entry(page).or_insert_with(doubt);
    }

    fn tree(&mut self, pager: &Pager, tree: &Tree, look: &mut Look<'_>) {
        let check = check_tree(pager, tree, matches!(look, Look::First(_)));
        // Dropped meanwhile: its pages wait to be freed, or are already, and it need not be a whole tree any more.
        if tree.dropped_at().is_some() {
            return;
        }
        let name = tree.name();
        let name = Some(&*name);
        if let Look::First(report) = look {
            report.tables += 1;
            if tree.id() >= TableId::FIRST_USER {
                report.rows += check.rows;
                report.ghosts += check.ghosts;
            }
            for finding in check.findings {
                report.page_finding(pager, Some(finding.table), finding.page, finding.what);
            }
        }
        for page in check.twice {
            self.doubt(name, page, "two links lead to this page");
        }
        for page in check.pages {
            if !self.owned.insert(page) {
                self.doubt(name, page, "two tables own this page");
            }
        }
    }

    /// What the map calls used is what the trees own, the maps themselves and the file header. How many are used.
    fn check_map(&mut self, pager: &Pager) -> Result<u64> {
        let (pages, _) = pager.page_counts();
        let mut map: Option<Page> = None;
        let mut count = 0;
        for id in (1..pages).map(PageId) {
            if is_map_page(id, pager.page_size()) {
                map = match pager.fetch_shared(id) {
                    Ok(page) => Some((*page).clone()),
                    Err(error) => {
                        self.doubt(None, id, error.to_string());
                        None
                    }
                };
            }
            let (Some(map), Some((_, index))) = (&map, map_position(id, pager.page_size())) else {
                continue;
            };
            if map.kind() != Some(Kind::Map) {
                continue;
            }
            let used = map.map_get(index) & USED != 0;
            let should_be = self.owned.contains(&id) || is_map_page(id, pager.page_size());
            count += u64::from(used);
            if used && !should_be {
                self.doubt(None, id, "the map calls it used, but nothing owns it");
            }
            if !used && should_be {
                self.doubt(None, id, "it is in use, but the map calls it free");
            }
        }
        let beyond = self.owned.iter().copied().find(|page| page.get() >= pages);
        if let Some(beyond) = beyond {
            let what = format!("it lies beyond the end of the file, {pages} pages");
            self.doubt(None, beyond, what);
        }
        Ok(count)
    }

    /// The copy on disk of every page in use is whole, unless a newer one waits in memory. No page is from the future.
    fn check_homes(&mut self, pager: &Pager, wanted: impl Fn(PageId) -> bool) -> Result<()> {
        let mut home = Page::new(pager.page_size());
        let owned: Vec<_> = self
            .owned
            .iter()
            .copied()
            .filter(|id| wanted(*id))
            .collect();
        for id in owned {
            if let Some(what) = look_at_home(pager, id, &mut home)? {
                self.doubt(None, id, what);
            }
        }
        Ok(())
    }
}

/// What is wrong with the copy on disk, if anything is.
fn look_at_home(pager: &Pager, id: PageId, home: &mut Page) -> Result<Option<String>> {
    let mut wrong = None;
    for _ in 0..READS {
        // A newer copy waits in memory, or is on its way.
        if pager.is_dirty(id) {
            return Ok(None);
        }
        wrong = match pager.look_at_home(id, home)? {
            Found::Good if home.lsn() >= Some(pager.log.next_lsn()) => Some(format!(
                "its LSN {} is beyond the log's end",
                or_none(home.lsn())
            )),
            Found::Good
                if !pager.is_logged() && home.lsn().is_some() && id != PageId::FILE_HEADER =>
            {
                Some(format!(
                    "it has the LSN {}, though nothing logs it",
                    or_none(home.lsn())
                ))
            }
            Found::Good => return Ok(None),
            Found::Never => Some("it was never written".to_owned()),
            Found::Bad(what) => Some(what),
        };
    }
    Ok(wrong)
}

/// The pages that wait to be freed.
fn pending_pages(system: &System) -> Result<BTreeSet<PageId>> {
    let (mut pages, mut rest) = (BTreeSet::new(), Interval::all());
    while !rest.is_empty() {
        let pending = &system.catalogue.pending;
        let (entries, next) = pending.pending_within(&system.pager, &rest)?;
        for (_, pending) in entries {
            match pending {
                Pending::Extent(extent) => pages.extend(extent.ids()),
                Pending::Tree { table, root } => {
                    let tree = system.catalogue.dropped(table, root, true);
                    pages.extend(tree.pages_left(&system.pager)?);
                }
            }
        }
        rest = next;
    }
    Ok(pages)
}

/// The pages of `unlogged` that wait to be freed: those of large values, and of tables that were dropped.
fn unlogged_pending_pages(system: &System) -> Result<BTreeSet<PageId>> {
    let (mut pages, mut rest) = (BTreeSet::new(), Interval::all());
    let Some(unlogged) = system.catalogue.unlogged() else {
        return Ok(pages);
    };
    while !rest.is_empty() {
        let (entries, next) = unlogged.pending.pending_within(&unlogged.pager, &rest)?;
        for (_, pending) in entries {
            if let Pending::Extent(extent) = pending {
                pages.extend(extent.ids());
            }
        }
        rest = next;
    }
    for (table, root) in unlogged.all_roots()? {
        if system.catalogue.by_id(table).is_none() {
            let tree = system.catalogue.dropped(table, root, false);
            pages.extend(tree.pages_left(&unlogged.pager)?);
        }
    }
    Ok(pages)
}

impl VerifyReport {
    fn page_finding(&mut self, pager: &Pager, table: Option<String>, page: PageId, what: String) {
        let offset = page.get().saturating_mul(pager.page_size() as u64);
        let place = format!("{} at offset {offset}", pager.file_name());
        self.findings.push(VerifyFinding {
            table,
            page: Some(page.get()),
            lsn: None,
            place,
            what,
        });
    }
}

/// Every record of the log, from the oldest segment on, what lies before the redo point included.
fn check_log(system: &System, report: &mut VerifyReport) {
    let log = &system.pager.log;
    let (mut oldest, mut last) = (log.oldest_lsn(), None);
    'oldest: loop {
        for frame in log.reader(oldest) {
            let found = match frame {
                Ok(frame) if last >= Some(frame.lsn) => continue,
                Ok(frame) => {
                    last = Some(frame.lsn);
                    report.records += 1;
                    let record = Record::decode(&frame.payload);
                    let lsn = Some(frame.lsn.get());
                    record
                        .err()
                        .map(|e| (lsn, "the log".to_owned(), e.to_string()))
                }
                // It was given up under the reader's eyes.
                Err(_) if log.oldest_lsn() > oldest => {
                    oldest = log.oldest_lsn();
                    continue 'oldest;
                }
                Err(error) => Some(log_finding(&error)),
            };
            if let Some((lsn, place, what)) = found {
                report.findings.push(VerifyFinding {
                    table: None,
                    page: None,
                    lsn,
                    place,
                    what,
                });
            }
        }
        return;
    }
}

fn log_finding(error: &afterimage_log::Error) -> (Option<u64>, String, String) {
    match error {
        afterimage_log::Error::Corruption {
            lsn, path, offset, ..
        } => {
            let place = format!("{} at offset {offset}", path.display());
            (Some(lsn.get()), place, error.to_string())
        }
        _ => (None, "the log".to_owned(), error.to_string()),
    }
}
