//! From what was seen of a recovery to a story of it. What things are called is somebody else's business.

use std::collections::BTreeMap;

use afterimage::inspect::DumpLine;
use afterimage::{Lsn, RedoDecision, TransactionChange};

use crate::story::{Recovery, Rows, State, Step, counted, some};
use crate::watch::Event;

/// What a story calls things.
pub(crate) trait Names {
    /// A position of the log.
    fn lsn(&self, lsn: Lsn) -> String;
    /// A record.
    fn record(&self, record: &DumpLine) -> String;
    /// A transaction.
    fn txn(&self, txn: Lsn) -> String;
    /// A page.
    fn page(&self, page: u64) -> String;
    /// A row of a page, by its key.
    fn row(&self, page: u64, record: &DumpLine) -> String;
    /// What a page holds in the version that the record at `lsn` made, if that is known beforehand.
    fn version(&self, page: u64, lsn: Lsn) -> Option<Rows>;
    /// A value, as the pages of the story have it.
    fn value(&self, value: &[u8]) -> String;
    /// Whether a record is older than what the story shows.
    fn is_before(&self, lsn: Lsn) -> bool;
    /// Whether a record is one that the story leaves out.
    fn left_out(&self, lsn: Lsn) -> bool;
    /// Whether a page is one that the story is about.
    fn is_about(&self, page: u64) -> bool;
    /// Recovery has written a record: it needs a name.
    fn written(&mut self, lsn: Lsn, text: String);
    /// How the log ends, in words.
    fn tail(&self, tail: &str) -> String;
}

pub(crate) struct Narrator<'a> {
    names: &'a mut dyn Names,
    state: State,
    recovery: Recovery,
    /// The begin record of the checkpoint that is being read: its other records go by that name.
    checkpoint: Option<Lsn>,
    /// Whether each step says where the tables stand behind it.
    tables: bool,
    /// Whether that is known: steps were left out, and nothing has told since what came of them.
    known: bool,
}

impl<'a> Narrator<'a> {
    pub(crate) fn new(names: &'a mut dyn Names, before: State) -> Narrator<'a> {
        Narrator {
            names,
            recovery: Recovery {
                before: before.clone(),
                ..Recovery::default()
            },
            state: before,
            checkpoint: None,
            tables: true,
            known: true,
        }
    }

    pub(crate) fn finish(self, outcome: String) -> Recovery {
        Recovery {
            outcome,
            ..self.recovery
        }
    }

    /// The power was to go when so many CLRs were durable, and there were not so many.
    pub(crate) fn no_crash(&mut self, clrs: usize) {
        let text = match clrs {
            0 => "there was nothing to undo: the power stays".to_owned(),
            1 => "undo wrote no CLR: the power stays".to_owned(),
            clrs => format!("undo ended before {clrs} CLRs were written: the power stays"),
        };
        self.push(
            "end",
            String::new(),
            "no crash".to_owned(),
            text,
            Vec::new(),
        );
    }

    /// The story is too long for the tables behind each step.
    pub(crate) fn without_tables(mut self) -> Self {
        self.tables = false;
        self
    }

    fn push(
        &mut self,
        phase: &'static str,
        lsn: String,
        what: String,
        text: String,
        facts: Vec<(&'static str, String)>,
    ) {
        self.recovery.steps.push(Step {
            phase,
            lsn,
            what,
            text,
            facts,
            after: (self.tables && self.known).then(|| self.state.clone()),
        });
    }

    fn lsn(&self, lsn: Option<Lsn>) -> String {
        lsn.map_or_else(|| "none".to_owned(), |lsn| self.names.lsn(lsn))
    }

    pub(crate) fn tell(&mut self, event: &Event) {
        match event {
            Event::Analysed {
                record,
                transactions,
                pages,
            } => {
                let lsn = position(record.lsn);
                // A checkpoint of recovery's own is known by its begin record alone.
                let is_part =
                    matches!(record.kind.as_str(), "checkpoint tables" | "checkpoint end");
                if !self.names.left_out(lsn) || is_part && self.checkpoint.is_some() {
                    self.analysed(record, transactions, pages);
                }
            }
            Event::LogEnded { tail } => {
                let tail = self.names.tail(tail);
                let what = "the end of the log".to_owned();
                self.push("analysis", String::new(), what, tail, Vec::new());
            }
            Event::PageRestored { page, .. } if !self.names.is_about(*page) => {}
            Event::PageRestored {
                page,
                lsn: restored,
                torn,
            } => {
                let (name, lsn) = (self.names.page(*page), self.names.lsn(*restored));
                let why = if *torn {
                    "torn"
                } else {
                    "no newer than its copy"
                };
                let text = format!(
                    "its home was {why}: written again from the doublewrite area, with page LSN {lsn}"
                );
                let rows = self.names.version(*page, *restored);
                let home = self.state.pages.entry(name.clone()).or_default();
                home.0.clone_from(&lsn);
                home.1 = rows.unwrap_or_default();
                let facts = vec![("page", name.clone()), ("page_lsn_after", lsn)];
                self.push("safe", String::new(), name, text, facts);
            }
            Event::AnalysisEnded {
                losers,
                dirty,
                redo_from,
            } => {
                let active = losers.iter().map(|line| {
                    let next = self.lsn(line.undo_next);
                    (self.names.txn(line.txn), (self.names.lsn(line.last), next))
                });
                self.state.active = active.collect();
                self.recovery.losers = self.state.active.keys().cloned().collect();
                // T2 before T10.
                self.recovery
                    .losers
                    .sort_by_key(|name| (name.len(), name.clone()));
                let dirty = dirty.iter().filter(|line| self.names.is_about(line.page));
                let mut dirty: Vec<_> = dirty.map(|line| (line.rec_lsn, line.page)).collect();
                dirty.sort_unstable();
                let dirty = dirty
                    .into_iter()
                    .map(|(lsn, page)| (self.names.page(page), self.names.lsn(lsn)));
                self.recovery.dirty = dirty.collect();
                self.state.dirty = self.recovery.dirty.iter().cloned().collect();
                self.known = true;
                self.recovery.redo_from = redo_from.map(|lsn| self.names.lsn(lsn));
                let whole = !self.recovery.left_out.contains(&"analysis");
                let mut found: Vec<String> = Vec::new();
                found.extend(whole.then(|| counted(&self.recovery.winners, "winner")));
                found.push(counted(&self.recovery.losers, "loser"));
                let found = found.join(", ");
                let dirty = self.recovery.dirty.iter();
                let dirty: Vec<_> = dirty.map(|(page, lsn)| format!("{page}:{lsn}")).collect();
                let text = match &self.recovery.redo_from {
                    Some(from) => {
                        format!(
                            "{found}; dirty pages {{{}}}; redo from {from}",
                            some(&dirty)
                        )
                    }
                    None => format!("{found}; no dirty pages: nothing to redo"),
                };
                self.push(
                    "tables",
                    String::new(),
                    "analysis is through".to_owned(),
                    text,
                    Vec::new(),
                );
            }
            Event::Redo { page, .. } if !self.names.is_about(*page) => {}
            Event::Redo {
                record,
                page,
                rec_lsn,
                before,
                after,
                decision,
            } => self.redo(record, *page, *rec_lsn, *before, *after, *decision),
            Event::RedoEnded => {}
            Event::Undo {
                txn,
                record,
                clr,
                next,
            } => self.undo(*txn, record, clr.as_deref(), *next),
            Event::TransactionEnded { txn, lsn } => {
                let name = self.names.txn(*txn);
                self.names.written(*lsn, format!("{name} END"));
                self.state.active.remove(&name);
                self.recovery.written.push(format!("END {name}"));
                let at = self.names.lsn(*lsn);
                let text = format!("END {name}: it is rolled back, as if it had never been");
                let facts = vec![("transaction", name.clone())];
                self.push("undo", at, format!("{name} END"), text, facts);
            }
            Event::LeftOut { phase, counts } => {
                self.recovery.left_out.push(*phase);
                self.known = false;
                let counts = counts.iter().map(|(what, count)| format!("{what} {count}"));
                let text = counts.collect::<Vec<_>>().join(", ");
                self.push(
                    phase,
                    "...".to_owned(),
                    "and more".to_owned(),
                    text,
                    Vec::new(),
                );
                if *phase == "redo" {
                    // The tables are as before; what the pages are, nobody has told.
                    self.state.pages.clear();
                    self.known = true;
                }
            }
            Event::CheckpointTaken { lsn, redo_from } => {
                // Nobody is unfinished any more, told or not.
                self.state.active.clear();
                self.names.written(*lsn, "CHECKPOINT".to_owned());
                let at = self.names.lsn(*lsn);
                let from = self.names.lsn(*redo_from);
                let text = match redo_from == lsn {
                    true => "a checkpoint: a crash now would have nothing to redo".to_owned(),
                    false => format!(
                        "a checkpoint: a crash now would redo from {from} again, for the pages are not home yet"
                    ),
                };
                self.push("end", at, "CHECKPOINT".to_owned(), text, Vec::new());
            }
        }
    }

    fn analysed(
        &mut self,
        record: &DumpLine,
        transactions: &[TransactionChange],
        pages: &[afterimage::PageLine],
    ) {
        let lsn = position(record.lsn);
        let mut told = Vec::new();
        let is_part = matches!(record.kind.as_str(), "checkpoint tables" | "checkpoint end");
        match record.kind.as_str() {
            "checkpoint begin" => {
                told.push(match self.recovery.steps.is_empty() {
                    true => "analysis begins here".to_owned(),
                    false => "a checkpoint begins".to_owned(),
                });
                self.checkpoint = Some(lsn);
            }
            "checkpoint tables" => told.push("its tables are taken in".to_owned()),
            "checkpoint end" => told.push("it is complete".to_owned()),
            "unlogged commit" => told.push("no record of its own: nothing changes".to_owned()),
            _ => {}
        }
        for change in transactions {
            told.push(self.transaction(record, change));
        }
        // It has begun before the checkpoint, whose tables are still to come.
        // Or one record is all of it.
        let is_over =
            matches!(record.kind.as_str(), "commit" | "end") || record.kind.ends_with("+commit");
        if let (true, [], Some(txn)) = (is_over, transactions, record.txn.and_then(Lsn::new)) {
            told.push(self.transaction(record, &TransactionChange::Gone(txn)));
        }
        for line in pages.iter().filter(|line| self.names.is_about(line.page)) {
            let (page, rec_lsn) = (self.names.page(line.page), self.names.lsn(line.rec_lsn));
            told.push(format!("{page} is dirty, recLSN {rec_lsn}"));
            self.state.dirty.insert(page, rec_lsn);
        }
        if pages.is_empty() {
            for page in &record.pages {
                let page = self.names.page(*page);
                if let Some(rec_lsn) = self.state.dirty.get(&page) {
                    told.push(format!("{page} is dirty already, from {rec_lsn} on"));
                }
            }
        }
        let mut facts = vec![("kind", record.kind.clone())];
        facts.extend(
            record
                .txn
                .and_then(Lsn::new)
                .map(|txn| ("transaction", self.names.txn(txn))),
        );
        let shown = match (is_part, self.checkpoint) {
            (true, Some(begin)) if self.names.left_out(lsn) => begin,
            _ => lsn,
        };
        let what = match record.kind.as_str() {
            "checkpoint tables" => "  its tables".to_owned(),
            "checkpoint end" => "  its end".to_owned(),
            _ => self.names.record(record),
        };
        let at = self.names.lsn(shown);
        self.push("analysis", at, what, told.join("; "), facts);
    }

    fn transaction(&mut self, record: &DumpLine, change: &TransactionChange) -> String {
        match change {
            TransactionChange::Set(line) => {
                let name = self.names.txn(line.txn);
                let (last, next) = (self.names.lsn(line.last), self.lsn(line.undo_next));
                let is_new = !self.state.active.contains_key(&name);
                let differs = line.undo_next != Some(line.last);
                let undo = match differs {
                    true => format!(", undoNext {next}"),
                    false => String::new(),
                };
                self.state.active.insert(name.clone(), (last.clone(), next));
                match is_new {
                    true => format!("{name} is active, last {last}{undo}"),
                    false => format!("{name}: last {last}{undo}"),
                }
            }
            TransactionChange::Gone(txn) => {
                let name = self.names.txn(*txn);
                self.state.active.remove(&name);
                if record.kind == "end" {
                    return format!("{name} was rolled back before the crash: no loser");
                }
                self.recovery.winners.push(name.clone());
                format!("{name} has committed: a winner")
            }
        }
    }

    fn redo(
        &mut self,
        record: &DumpLine,
        page: u64,
        rec_lsn: Option<Lsn>,
        before: Option<Lsn>,
        after: Option<Lsn>,
        decision: RedoDecision,
    ) {
        let lsn = position(record.lsn);
        let (at, name) = (self.names.lsn(lsn), self.names.page(page));
        let was = self.lsn(before);
        let (decided, text) = match decision {
            RedoDecision::Applied => {
                let now = self.lsn(after);
                self.put(record, page, &now);
                (
                    "applied",
                    format!("applied: page LSN {was} is older than {at}; now it is {now}"),
                )
            }
            RedoDecision::PageNewer => (
                "page newer",
                format!("there already: page LSN {was} is not older than {at}"),
            ),
            RedoDecision::NotDirty => (
                "not dirty",
                format!("{name} is not in the dirty page table: it is home, and is not even read"),
            ),
            RedoDecision::BeforeRecLsn => (
                "before recLSN",
                format!(
                    "older than the page's recLSN {}: it is home, and the page is not even read",
                    self.lsn(rec_lsn)
                ),
            ),
            _ => (
                "log missing",
                format!(
                    "page LSN {was} is not what the record found: log is missing, or a write of the page"
                ),
            ),
        };
        if decision == RedoDecision::Applied {
            self.recovery.redone.push(at.clone());
        }
        let mut facts = vec![
            ("decision", decided.to_owned()),
            ("page", name),
            ("page_lsn_before", was),
        ];
        facts.extend(after.map(|after| ("page_lsn_after", self.names.lsn(after))));
        let what = self.names.record(record);
        self.push("redo", at, what, text, facts);
    }

    /// A record's change is in the page.
    fn put(&mut self, record: &DumpLine, page: u64, lsn: &str) {
        let name = self.names.page(page);
        let known = self.names.version(page, position(record.lsn));
        let row = record.key.is_some().then(|| self.names.row(page, record));
        let after = record.after.as_ref().map(|value| self.names.value(value));
        let (page_lsn, rows) = self.state.pages.entry(name).or_default();
        *page_lsn = lsn.to_owned();
        match (row, known) {
            (Some(row), _) => match rows.iter_mut().find(|(name, _)| *name == row) {
                Some((_, value)) => *value = after,
                None => rows.push((row, after)),
            },
            (None, Some(known)) => *rows = known,
            (None, None) => {}
        }
    }

    fn undo(&mut self, txn: Lsn, record: &DumpLine, clr: Option<&DumpLine>, next: Option<Lsn>) {
        let name = self.names.txn(txn);
        let at = self.names.lsn(position(record.lsn));
        let what = self.names.record(record);
        let (next, goes_on) = (self.lsn(next), next.is_some());
        let mut facts = vec![("transaction", name.clone()), ("undo_next", next.clone())];
        let is_before = self.names.is_before(position(record.lsn));
        let text = match clr {
            Some(clr) => {
                let page = clr.pages.first().copied().unwrap_or_default();
                let (object, page_name) = (self.names.row(page, clr), self.names.page(page));
                let lsn = position(clr.lsn);
                let value = clr.after.as_ref().map(|value| value_text(value));
                let value = value.unwrap_or_else(|| "_".to_owned());
                self.names
                    .written(lsn, format!("{name} CLR {object} = {value}"));
                let label = self.names.lsn(lsn);
                // As the CLR itself has it.
                let was = clr.page_lsns.first().copied().flatten();
                let was = self.lsn(was.and_then(Lsn::new));
                self.put(clr, page, &label);
                self.state
                    .active
                    .insert(name.clone(), (label.clone(), next.clone()));
                if !self.state.dirty.contains_key(&page_name) {
                    self.state.dirty.insert(page_name.clone(), label.clone());
                }
                let written = format!("CLR {label} ({object}, undoNext {next})");
                self.recovery.undone.push(at.clone());
                self.recovery.written.push(written.clone());
                facts.extend([
                    ("clr", label.clone()),
                    ("page", page_name),
                    ("page_lsn_before", was.clone()),
                    ("page_lsn_after", label.clone()),
                ]);
                format!("taken back: {object} = {value}, {written}; page LSN {was}, now {label}")
            }
            None if is_before && goes_on => format!("before this excerpt: on to undoNext {next}"),
            None if is_before => {
                "before this excerpt: what there may be left to undo is not told".to_owned()
            }
            None if record.kind == "clr" => {
                format!("a CLR is never undone: on to undoNext {next}")
            }
            None => "its first record: nothing is left to undo".to_owned(),
        };
        if let Some((_, undo_next)) = self.state.active.get_mut(&name) {
            *undo_next = next;
        }
        self.push("undo", at, what, text, facts);
    }
}

/// The position of a record that was seen.
pub(crate) fn position(lsn: u64) -> Lsn {
    Lsn::new(lsn).expect("a record has a position")
}

/// Rows as words.
pub(crate) fn words(rows: &[(String, Option<String>)]) -> String {
    let words = rows
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("_")));
    words.collect::<Vec<_>>().join(" ")
}

/// Rows in the order of a map.
pub(crate) fn listed(rows: &BTreeMap<String, Option<String>>) -> Rows {
    rows.iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// A value as a person reads it: text as it is, anything else escaped, and not more than fits a line.
pub(crate) fn value_text(value: &[u8]) -> String {
    const MOST: usize = 60;
    match std::str::from_utf8(value) {
        Ok(text) if text.len() <= MOST && !text.contains(char::is_control) => text.to_owned(),
        _ => {
            let shown = value.iter().take(MOST).flat_map(|byte| byte.escape_ascii());
            let more = if value.len() > MOST { "..." } else { "" };
            shown.map(char::from).chain(more.chars()).collect()
        }
    }
}
