//! The table itself: counted by drivers, added up, compared with the list of sites, printed for people and for programs.

use super::{Phase, Response, Role, SITES, Site, UNREACHABLE, Unreachable, What, operation_name};
use crate::oracle::Layout;
use afterimage_io::sim::{CallInfo, CallKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How often something happened at a site, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Times it happened.
    pub hits: u64,
    /// What came of it; less than `hits` in all where a driver only counts.
    pub responses: BTreeMap<Response, u64>,
}

/// The table of reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    cells: BTreeMap<(Site, What), Cell>,
}

impl Reach {
    /// Something happened at a site; what came of it is known to some drivers.
    pub fn hit(&mut self, site: Site, what: What, response: Option<Response>) {
        let cell = self.cells.entry((site, what)).or_default();
        cell.hits += 1;
        if let Some(response) = response {
            *cell.responses.entry(response).or_default() += 1;
        }
    }

    /// As [`Reach::hit`], at the site of this call.
    pub fn hit_call(&mut self, layout: &Layout, phase: Phase, info: &CallInfo<'_>, what: What) {
        self.hit(Site::of(layout, phase, info), what, None);
    }

    /// Adds another table.
    pub fn add(&mut self, other: &Reach) {
        for (key, theirs) in &other.cells {
            let mine = self.cells.entry(*key).or_default();
            mine.hits += theirs.hits;
            for (response, n) in &theirs.responses {
                *mine.responses.entry(*response).or_default() += n;
            }
        }
    }

    /// The cells that were hit.
    pub fn cells(&self) -> impl Iterator<Item = (Site, What, &Cell)> {
        self.cells.iter().map(|((s, w), cell)| (*s, *w, cell))
    }

    /// Every cell that there is, with why it cannot be reached if it cannot.
    #[must_use]
    pub fn universe() -> BTreeMap<(Site, What), Option<&'static str>> {
        let mut all = BTreeMap::new();
        for (role, operation, phases) in SITES {
            for phase in *phases {
                let site = Site {
                    phase: *phase,
                    role: *role,
                    operation: *operation,
                };
                for what in What::all_of(*operation) {
                    all.insert((site, *what), reason(site, *what));
                }
            }
        }
        all
    }

    /// What is wrong with the table, in words: cells that were not hit and can be, ones that were hit and cannot be, and
    /// calls at sites that nobody has listed.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let universe = Reach::universe();
        let mut wrong = Vec::new();
        for ((site, what), reason) in &universe {
            match (self.cells.contains_key(&(*site, *what)), reason) {
                (false, None) => wrong.push(format!("{site}, {}: never", what.name())),
                (true, Some(_)) => wrong.push(format!(
                    "{site}, {}: listed as one that cannot happen, and it has",
                    what.name()
                )),
                _ => {}
            }
        }
        let sites: BTreeSet<Site> = universe.keys().map(|(site, _)| *site).collect();
        let found: BTreeSet<Site> = self.cells.keys().map(|(site, _)| *site).collect();
        let unlisted = found.difference(&sites);
        wrong.extend(unlisted.map(|site| format!("{site}: not in the list of sites")));
        wrong
    }

    /// The table as JSON: `cells` (phase, file, operation, what, hits, responses), `unreachable` (with the reason), and
    /// `missing` (in words).
    #[must_use]
    pub fn json(&self) -> String {
        let universe = Reach::universe();
        let mut rows = Vec::new();
        let mut out = Vec::new();
        let keys: BTreeSet<_> = universe.keys().chain(self.cells.keys()).collect();
        for key in keys {
            let (site, what) = key;
            let place = format!(
                "\"phase\":\"{}\",\"file\":\"{}\",\"operation\":\"{}\",\"what\":\"{}\"",
                site.phase.name(),
                site.role.name(),
                operation_name(site.operation),
                what.name()
            );
            if let Some(Some(reason)) = universe.get(key) {
                out.push(format!("{{{place},\"reason\":\"{reason}\"}}"));
                continue;
            }
            let cell = self.cells.get(key).cloned().unwrap_or_default();
            let responses: Vec<String> = cell
                .responses
                .iter()
                .map(|(r, n)| format!("\"{}\":{n}", r.name()))
                .collect();
            rows.push(format!(
                "{{{place},\"hits\":{},\"responses\":{{{}}}}}",
                cell.hits,
                responses.join(",")
            ));
        }
        let missing: Vec<String> = self.missing().iter().map(|m| format!("\"{m}\"")).collect();
        format!(
            "{{\"cells\":[\n{}\n],\"unreachable\":[\n{}\n],\"missing\":[{}]}}\n",
            rows.join(",\n"),
            out.join(",\n"),
            missing.join(",")
        )
    }
}

/// Why a cell cannot be reached.
fn reason(site: Site, what: What) -> Option<&'static str> {
    let is = |u: &&Unreachable| {
        (u.phases.is_empty() || u.phases.contains(&site.phase))
            && u.role == site.role
            && u.operation == site.operation
            && u.what.contains(&what)
    };
    UNREACHABLE.iter().find(is).map(|u| u.reason)
}

/// A line for each file and operation, a column for each phase: cells hit of cells there are, and hits.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let universe = Reach::universe();
        write!(f, "{:<34}", "cells hit, of those there are")?;
        for phase in Phase::ALL {
            write!(f, "{:>11}", phase.name())?;
        }
        writeln!(f, "{:>9}", "hits")?;
        let mut lines: BTreeMap<(Role, CallKind), [(u64, u64); Phase::ALL.len()]> = BTreeMap::new();
        for ((site, what), reason) in &universe {
            if reason.is_none() {
                let cell =
                    &mut lines.entry((site.role, site.operation)).or_default()[site.phase as usize];
                cell.1 += 1;
                cell.0 += u64::from(self.cells.contains_key(&(*site, *what)));
            }
        }
        for ((role, operation), phases) in &lines {
            write!(f, "{:<18}{:<16}", role.name(), operation_name(*operation))?;
            for (hit, all) in phases {
                let text = if *all == 0 {
                    String::new()
                } else {
                    format!("{hit}/{all}")
                };
                write!(f, "{text:>11}")?;
            }
            let hits = self
                .cells
                .iter()
                .filter(|((s, _), _)| (s.role, s.operation) == (*role, *operation));
            writeln!(f, "{:>9}", hits.map(|(_, c)| c.hits).sum::<u64>())?;
        }
        let reachable = universe.iter().filter(|(_, r)| r.is_none());
        let (all, hit) = reachable.fold((0, 0), |(all, hit), (key, _)| {
            (all + 1, hit + u64::from(self.cells.contains_key(key)))
        });
        let unreachable = universe.values().flatten().count();
        write!(
            f,
            "reach           {hit:>10} of {all} cells hit; {unreachable} more cannot be"
        )?;
        for reason in UNREACHABLE {
            let what: Vec<&str> = reason.what.iter().map(|w| w.name()).collect();
            let phases: Vec<&str> = reason.phases.iter().map(|p| p.name()).collect();
            write!(
                f,
                "\n  {} {}, {} of {}: {}",
                phases.join(", "),
                what.join(", "),
                operation_name(reason.operation),
                reason.role.name(),
                reason.reason
            )?;
        }
        let missing = self.missing();
        missing
            .iter()
            .try_for_each(|m| write!(f, "\nNOT COVERED: {m}"))
    }
}
