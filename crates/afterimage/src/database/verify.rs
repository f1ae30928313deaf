//! The whole-database check: every tree, every page on disk, the allocation map, all of the log.

use crate::buffer::{Found, Pager};
use crate::error::Result;
use crate::ids::{PageId, TableId};
use crate::interval::Interval;
use crate::page::{Kind, Page, USED, is_map_page, map_position};
use crate::record::Record;
use crate::transaction::System;
use crate::tree::check_tree;
use std::collections::BTreeSet;

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

pub(super) fn verify(system: &System) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let pager = &system.pager;
    let mut owned = BTreeSet::from([PageId::FILE_HEADER]);
    for tree in system.catalogue.trees() {
        let check = check_tree(pager, &tree);
        report.tables += 1;
        if tree.id() >= TableId::FIRST_USER {
            report.rows += check.rows;
            report.ghosts += check.ghosts;
        }
        for finding in check.findings {
            report.page_finding(pager, Some(finding.table), finding.page, finding.what);
        }
        for page in check.pages {
            if !owned.insert(page) {
                report.page_finding(
                    pager,
                    Some(tree.name().to_owned()),
                    page,
                    "two tables own this page".to_owned(),
                );
            }
        }
    }
    let pending = pending_pages(system)?;
    report.pages_pending = pending.len() as u64;
    for &page in &pending {
        if !owned.insert(page) {
            let what = "it is in use, and waits to be freed".to_owned();
            report.page_finding(pager, None, page, what);
        }
    }
    check_map(pager, &owned, &mut report)?;
    // What waits to be freed need not ever have been written.
    owned.retain(|page| !pending.contains(page));
    check_homes(pager, &owned, &mut report)?;
    check_log(system, &mut report);
    Ok(report)
}

/// The pages that wait to be freed.
fn pending_pages(system: &System) -> Result<BTreeSet<PageId>> {
    let (mut pages, mut rest) = (BTreeSet::new(), Interval::all());
    while !rest.is_empty() {
        let pending = &system.catalogue.pending;
        let (entries, next) = pending.pending_within(&system.pager, &rest)?;
        pages.extend(entries.iter().flat_map(|(_, extent)| extent.ids()));
        rest = next;
    }
    Ok(pages)
}

impl VerifyReport {
    fn page_finding(&mut self, pager: &Pager, table: Option<String>, page: PageId, what: String) {
        let offset = page.get() * pager.page_size() as u64;
        let place = format!("pages at offset {offset}");
        self.findings.push(VerifyFinding {
            table,
            page: Some(page.get()),
            lsn: None,
            place,
            what,
        });
    }
}

/// What the map calls used is what the trees own, the maps themselves and the file header.
fn check_map(pager: &Pager, owned: &BTreeSet<PageId>, report: &mut VerifyReport) -> Result<()> {
    let (pages, _) = pager.page_counts();
    let mut map: Option<Page> = None;
    for id in (1..pages).map(PageId) {
        if is_map_page(id, pager.page_size()) {
            map = match pager.fetch_shared(id) {
                Ok(page) => Some((*page).clone()),
                Err(error) => {
                    report.page_finding(pager, None, id, error.to_string());
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
        let should_be = owned.contains(&id) || is_map_page(id, pager.page_size());
        if used {
            report.pages += 1;
        }
        if used && !should_be {
            report.page_finding(
                pager,
                None,
                id,
                "the map calls it used, but nothing owns it".to_owned(),
            );
        }
        if !used && should_be {
            report.page_finding(
                pager,
                None,
                id,
                "it is in use, but the map calls it free".to_owned(),
            );
        }
    }
    if let Some(beyond) = owned.iter().find(|page| page.get() >= pages) {
        report.page_finding(
            pager,
            None,
            *beyond,
            format!("it lies beyond the end of the file, {pages} pages"),
        );
    }
    Ok(())
}

/// The copy on disk of every page in use is whole, unless a newer one waits in memory. No page is from the future.
fn check_homes(pager: &Pager, owned: &BTreeSet<PageId>, report: &mut VerifyReport) -> Result<()> {
    let mut home = Page::new(pager.page_size());
    for &id in owned {
        // A newer copy waits in memory, or the page has been reported already.
        let reported = report
            .findings
            .iter()
            .any(|finding| finding.page == Some(id.get()));
        if reported || pager.is_dirty(id) {
            continue;
        }
        match pager.look_at_home(id, &mut home)? {
            Found::Good if home.lsn() >= Some(pager.log.next_lsn()) => {
                report.page_finding(
                    pager,
                    None,
                    id,
                    format!("its LSN {:?} is beyond the log's end", home.lsn()),
                );
            }
            Found::Good => {}
            Found::Never => report.page_finding(pager, None, id, "it was never written".to_owned()),
            Found::Bad(what) => report.page_finding(pager, None, id, what),
        }
    }
    Ok(())
}

/// Every record of the log, from the oldest segment on, what lies before the redo point included.
fn check_log(system: &System, report: &mut VerifyReport) {
    let log = &system.pager.log;
    for frame in log.reader(log.oldest_lsn()) {
        let (lsn, place, what) = match frame {
            Ok(frame) => {
                report.records += 1;
                match Record::decode(&frame.payload) {
                    Ok(_) => continue,
                    Err(error) => (
                        Some(frame.lsn.get()),
                        "the log".to_owned(),
                        error.to_string(),
                    ),
                }
            }
            Err(error) => match &error {
                afterimage_log::Error::Corruption {
                    lsn, path, offset, ..
                } => {
                    let place = format!("{} at offset {offset}", path.display());
                    (Some(lsn.get()), place, error.to_string())
                }
                _ => (None, "the log".to_owned(), error.to_string()),
            },
        };
        report.findings.push(VerifyFinding {
            table: None,
            page: None,
            lsn,
            place,
            what,
        });
    }
}
