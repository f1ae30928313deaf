//! What a recovery did, as data for people and for pages: steps with the state behind each, and what came of it all.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// Rows by name, each with its value; none where there is no row.
pub type Rows = Vec<(String, Option<String>)>;

/// Where recovery stands: its two tables, and the pages that the story is about. LSNs are as the story names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// Unfinished transactions by name: the last record, and what undo would visit next.
    pub active: BTreeMap<String, (String, String)>,
    /// Dirty pages by name, each with its recLSN.
    pub dirty: BTreeMap<String, String>,
    /// Pages by name: the page LSN, and what is in them as far as the story knows.
    pub pages: BTreeMap<String, (String, Rows)>,
}

/// One step of a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// `analysis`, `safe`, `tables`, `redo`, `undo`, `end`.
    pub phase: &'static str,
    /// The record that it is about, as the story names it; empty where there is none.
    pub lsn: String,
    /// What the record is.
    pub what: String,
    /// What was done, and why, in a sentence.
    pub text: String,
    /// More of it, by name: `decision`, `reason`, `page`, `page_lsn_before`, `page_lsn_after`, `clr`, `undo_next`, `transaction`.
    pub facts: Vec<(&'static str, String)>,
    /// Where recovery stands behind this step; `None` where that is not told: the story leaves steps out, or is too long.
    pub after: Option<State>,
}

/// One recovery: from the crash to the open database, or to the next crash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Where it stands before the first step.
    pub before: State,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Phases of which not every step is told: what is listed by them below is not all.
    pub left_out: Vec<&'static str>,
    /// Transactions that had committed.
    pub winners: Vec<String>,
    /// Transactions that were unfinished.
    pub losers: Vec<String>,
    /// The dirty page table at the end of analysis, in the order of the recLSNs.
    pub dirty: Vec<(String, String)>,
    /// Where redo began.
    pub redo_from: Option<String>,
    /// The records that redo applied again.
    pub redone: Vec<String>,
    /// The records that undo visited and took back.
    pub undone: Vec<String>,
    /// The compensation records, as `CLR 206 (C, undoNext 203)`, and the ends.
    pub written: Vec<String>,
    /// The whole in a few lines, where it is not to be made of the above.
    pub told: Vec<String>,
    /// How it ended: `open`, `crashed`, or why it was refused.
    pub outcome: String,
}

/// A whole story.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Story {
    /// What it is about.
    pub title: String,
    /// The script, if it is a script's.
    pub script: String,
    /// The log as the crash left it: LSN, text, the record before it of the same transaction, a remark.
    pub log: Vec<(String, String, String, String)>,
    /// The pages at home before the first recovery: page LSN and contents, in words.
    pub homes: Vec<(String, String, String)>,
    /// The recoveries, one after each crash.
    pub recoveries: Vec<Recovery>,
    /// What is in the database in the end, by page.
    pub values: Vec<(String, Rows)>,
    /// What is in the database, on one line.
    pub result: String,
}

impl State {
    fn json(&self) -> Json {
        let active = self.active.iter().map(|(name, (last, next))| {
            json!({ "transaction": name, "last_lsn": last, "undo_next": next })
        });
        let dirty = self
            .dirty
            .iter()
            .map(|(page, rec_lsn)| json!({ "page": page, "rec_lsn": rec_lsn }));
        let pages = self.pages.iter().map(|(page, (lsn, rows))| {
            let rows = rows
                .iter()
                .map(|(name, value)| json!({ "name": name, "value": value }));
            json!({ "page": page, "page_lsn": lsn, "rows": rows.collect::<Vec<_>>() })
        });
        json!({
            "active": active.collect::<Vec<_>>(),
            "dirty": dirty.collect::<Vec<_>>(),
            "pages": pages.collect::<Vec<_>>(),
        })
    }
}

impl Recovery {
    /// The first recovery's summary as lines.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        if !self.told.is_empty() {
            return self.told.clone();
        }
        let dirty = self.dirty.iter().map(|(page, lsn)| format!("{page}:{lsn}"));
        let dirty: Vec<_> = dirty.collect();
        let mut lines = vec![
            format!(
                "{}, {}",
                counted(&self.winners, "winner"),
                counted(&self.losers, "loser")
            ),
            format!("dirty pages {{{}}}", dirty.join(", ")),
        ];
        lines.push(match (&self.redo_from, &self.redone[..]) {
            (None, _) => "redo: nothing to do".to_owned(),
            (Some(from), []) => format!("redo from {from}: everything was there"),
            (Some(from), redone) => format!("redo from {from}: {}", redone.join(", ")),
        });
        if !self.undone.is_empty() {
            lines.push(format!("undo: {}", self.undone.join(", ")));
        }
        if !self.written.is_empty() {
            lines.push(self.written.join(", "));
        }
        lines
    }

    fn json(&self) -> Json {
        let mut before = Some(&self.before);
        let tables = |state: Option<&State>| state.map_or(Json::Null, State::json);
        // A list that is not whole would be taken for one that is.
        let list = |phase: &str, names: &[String]| match self.left_out.contains(&phase) {
            true => Json::Null,
            false => json!(names),
        };
        let steps = self.steps.iter().enumerate().map(|(n, step)| {
            let mut json = json!({
                "number": n + 1,
                "phase": step.phase,
                "lsn": step.lsn,
                "what": step.what,
                "text": step.text,
                "before": tables(before),
                "after": tables(step.after.as_ref()),
            });
            for (name, value) in &step.facts {
                json[*name] = json!(value);
            }
            before = step.after.as_ref();
            json
        });
        let steps: Vec<Json> = steps.collect();
        let dirty = self
            .dirty
            .iter()
            .map(|(page, rec_lsn)| json!({ "page": page, "rec_lsn": rec_lsn }));
        json!({
            "winners": list("analysis", &self.winners),
            "losers": self.losers,
            "dirty": dirty.collect::<Vec<_>>(),
            "redo_from": self.redo_from,
            "redone": list("redo", &self.redone),
            "undone": list("undo", &self.undone),
            "written": list("undo", &self.written),
            "outcome": self.outcome,
            "summary": self.summary(),
            "steps": steps,
        })
    }
}

impl Story {
    /// The whole story as one document. Every step has the tables and the pages before and behind it.
    #[must_use]
    pub fn json(&self) -> Json {
        let log = self.log.iter().map(|(lsn, text, prev, remark)| {
            json!({ "lsn": lsn, "text": text, "prev": prev, "remark": remark })
        });
        let homes = self
            .homes
            .iter()
            .map(|(page, lsn, rows)| json!({ "page": page, "page_lsn": lsn, "contents": rows }));
        let values = self.values.iter().map(|(page, rows)| {
            let rows = rows
                .iter()
                .map(|(name, value)| json!({ "name": name, "value": value }));
            json!({ "page": page, "rows": rows.collect::<Vec<_>>() })
        });
        json!({
            "title": self.title,
            "script": self.script,
            "log": log.collect::<Vec<_>>(),
            "homes": homes.collect::<Vec<_>>(),
            "recoveries": self.recoveries.iter().map(Recovery::json).collect::<Vec<_>>(),
            "values": values.collect::<Vec<_>>(),
            "result": self.result,
        })
    }

    /// The whole story as lines, in parts: somebody may want to stop between two.
    #[must_use]
    pub fn parts(&self) -> Vec<Vec<String>> {
        let mut parts = vec![self.opening()];
        for (n, recovery) in self.recoveries.iter().enumerate() {
            let (mut phase, mut first) = ("", true);
            let width = recovery.steps.iter().map(|s| s.what.chars().count()).max();
            let width = width.unwrap_or(0).min(44);
            for step in &recovery.steps {
                let mut part = Vec::new();
                if first && self.recoveries.len() > 1 {
                    part.extend([String::new(), format!("Recovery {}", n + 1)]);
                }
                first = false;
                if phase != step.phase {
                    phase = step.phase;
                    part.extend([String::new(), heading(phase, recovery)]);
                }
                part.push(
                    format!("  {:>6}  {:<width$}  {}", step.lsn, step.what, step.text)
                        .trim_end()
                        .to_owned(),
                );
                parts.push(part);
            }
            if recovery.outcome == "crashed" {
                parts.push(vec![
                    String::new(),
                    format!("CRASH, with {} on the disk", on_the_disk(&recovery.written)),
                ]);
            }
            if let Some(why) = recovery.outcome.strip_prefix("refused: ") {
                parts.push(vec![
                    String::new(),
                    format!("The database does not open: {why}"),
                ]);
            }
        }
        parts.push(self.ending());
        parts
    }

    fn opening(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.title.is_empty() {
            lines.extend([self.title.clone(), String::new()]);
        }
        if !self.log.is_empty() {
            lines.push("The log, as the crash found it".to_owned());
        }
        let width = self
            .log
            .iter()
            .map(|(_, text, ..)| text.chars().count())
            .max()
            .unwrap_or(0);
        for (lsn, text, prev, remark) in &self.log {
            let prev = match prev.as_str() {
                "" => String::new(),
                prev => format!("prev {prev}"),
            };
            let line = format!("  {lsn:>6}  {text:<width$}  {prev:<9} {remark}");
            lines.push(line.trim_end().to_owned());
        }
        if !self.homes.is_empty() {
            lines.extend([String::new(), "The pages on the disk".to_owned()]);
        }
        for (page, lsn, rows) in &self.homes {
            lines.push(
                format!("  {page:<10} page LSN {lsn:<8} {rows}")
                    .trim_end()
                    .to_owned(),
            );
        }
        lines
    }

    fn ending(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (n, recovery) in self.recoveries.iter().enumerate() {
            let title = match self.recoveries.len() {
                1 => "Result".to_owned(),
                _ => format!("Result of recovery {}", n + 1),
            };
            lines.extend([String::new(), title]);
            if recovery.outcome.starts_with("refused: ") {
                lines.push("  the database does not open".to_owned());
                continue;
            }
            lines.extend(
                recovery
                    .summary()
                    .into_iter()
                    .map(|line| format!("  {line}")),
            );
        }
        if !self.result.is_empty() {
            lines.push(format!("  {}", self.result));
        }
        lines
    }
}

/// Names on a line, with what they are in front.
pub(crate) fn counted(names: &[String], one: &str) -> String {
    match names {
        [] => format!("no {one}"),
        [name] => format!("{one} {name}"),
        names => format!("{one}s {}", some(names)),
    }
}

/// As many of them as fit a line, and how many there are beside.
pub(crate) fn some(names: &[String]) -> String {
    const MOST: usize = 24;
    let shown = names[..names.len().min(MOST)].join(", ");
    match names.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

fn on_the_disk(written: &[String]) -> String {
    match written.is_empty() {
        true => "no CLR".to_owned(),
        false => written.join(", "),
    }
}

fn heading(phase: &str, recovery: &Recovery) -> String {
    match phase {
        "analysis" => "Analysis: who was unfinished, which pages may be old on the disk".to_owned(),
        "redo" => format!(
            "Redo: history again, from {}, the lowest recLSN",
            recovery.redo_from.as_deref().unwrap_or("the checkpoint")
        ),
        "safe" => "Made safe: what the crash can have left half written".to_owned(),
        "tables" => "The tables that analysis leaves".to_owned(),
        "undo" => "Undo: the losers, newest record first".to_owned(),
        "end" => "Done".to_owned(),
        other => other.to_owned(),
    }
}
