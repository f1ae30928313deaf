//! The table of the kinds of log records: how often a crash hit at each, how often a recovery made it again or took it back.
//!
//! The list of kinds and what was redone and undone are the engine's own, from its recovery reports. At which record the
//! crash hit is seen on the two disks, before the crash and after it.

use crate::bytes::{FRAME_HEADER, SEGMENT_HEADER, frame_word, kind};
use crate::oracle::Layout;
use afterimage::{RecoveryReport, inspect};
use afterimage_io::sim::{DiskState, Image};
use std::fmt;
use std::path::Path;

/// Kinds that no recovery can meet, each with the reason.
const NEVER: [(&str, &str); 2] = [
    (
        "create database",
        "the control file comes behind the first checkpoint: before that there is no database, and the next open begins anew",
    ),
    ("page image", "nothing writes it"),
];

/// One kind's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    kind: &'static str,
    changes_pages: bool,
    undoable: bool,
    /// It was the last record of the log that was left.
    last: u64,
    /// It was the first that was not left, with all of its bytes.
    lost: u64,
    /// It was the first that was not left, and some of its bytes were.
    torn: u64,
    redone: u64,
    already_there: u64,
    undone: u64,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds(Vec<Line>);

/// The two disks of one crash: before it, with what was written and not synced; and what was left.
pub type Crash<'a> = (&'a DiskState, &'a Image);

impl Kinds {
    /// Takes in one recovery, and the crash that it followed if that cut anything off.
    pub fn recovered(
        &mut self,
        layout: &Layout,
        report: &RecoveryReport,
        crash: Option<Crash<'_>>,
    ) {
        if report.created || report.clean {
            return;
        }
        for kind in &report.kinds {
            let line = self.line(kind.kind);
            (line.changes_pages, line.undoable) = (kind.changes_pages, kind.undoable);
            line.redone += kind.redone;
            line.already_there += kind.already_there;
            line.undone += kind.undone;
        }
        if let Some(last) = report.last_record {
            self.line(last).last += 1;
        }
        let end = report.end_lsn.map(afterimage::Lsn::get);
        match end
            .zip(crash)
            .and_then(|(end, crash)| first_lost(layout, crash, end))
        {
            Some((kind, true)) => self.line(kind).torn += 1,
            Some((kind, false)) => self.line(kind).lost += 1,
            None => {}
        }
    }

    /// Adds another table.
    pub fn add(&mut self, other: &Kinds) {
        for theirs in &other.0 {
            let mine = self.line(theirs.kind);
            mine.changes_pages = theirs.changes_pages;
            mine.undoable = theirs.undoable;
            mine.last += theirs.last;
            mine.lost += theirs.lost;
            mine.torn += theirs.torn;
            mine.redone += theirs.redone;
            mine.already_there += theirs.already_there;
            mine.undone += theirs.undone;
        }
    }

    /// What has not happened though it can, in words.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for line in &self.0 {
            if NEVER.iter().any(|never| never.0 == line.kind) {
                continue;
            }
            let crashed = line.last + line.lost + line.torn;
            for (can, times, said) in [
                (true, crashed, "never crashed at"),
                (line.changes_pages, line.redone, "never redone"),
                (line.undoable, line.undone, "never undone"),
            ] {
                if can && times == 0 {
                    missing.push(format!("{}: {said}", line.kind));
                }
            }
        }
        missing
    }

    fn line(&mut self, kind: &'static str) -> &mut Line {
        let place = self.0.iter().position(|line| line.kind == kind);
        let place = place.unwrap_or_else(|| {
            self.0.push(Line {
                kind,
                ..Line::default()
            });
            self.0.len() - 1
        });
        &mut self.0[place]
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "kind of record", "last left", "lost", "torn", "redone", "was there", "undone"
        )?;
        for line in &self.0 {
            let if_can = |can: bool, times: u64| match can {
                true => times.to_string(),
                false => "-".to_string(),
            };
            writeln!(
                f,
                "{:<18} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
                line.kind,
                line.last,
                line.lost,
                line.torn,
                if_can(line.changes_pages, line.redone),
                if_can(line.changes_pages, line.already_there),
                if_can(line.undoable, line.undone),
            )?;
        }
        let missing = self.missing();
        if missing.is_empty() {
            write!(
                f,
                "each kind was crashed at, redone and undone where it can be"
            )?;
        } else {
            write!(f, "NOT COVERED: {}", missing.join("; "))?;
        }
        NEVER
            .iter()
            .try_for_each(|(kind, why)| write!(f, "\n{kind} cannot be met: {why}"))
    }
}

/// The record that would have followed where the log ends that was left, at `end`: what it is, and whether some of it was
/// left. `None` if none had been written when the power went.
fn first_lost(
    layout: &Layout,
    (before, left): Crash<'_>,
    end: u64,
) -> Option<(&'static str, bool)> {
    let mut at = end;
    loop {
        let (number, offset) = (at / layout.segment_bytes, at % layout.segment_bytes);
        let name = layout.path(&format!("log/{:08X}-{number:016X}.log", 1));
        let path = Path::new(&name);
        let word = frame_word(&before.read_cached(path, offset, 8)?)?;
        let len = word.length as usize;
        let written = before.read_cached(path, offset, len)?;
        let durable = before.read_durable(path, offset, len).unwrap_or_default();
        if written == durable {
            // Left over from an earlier use of the segment.
            return None;
        }
        match word.kind {
            kind::DATA => {
                let head = FRAME_HEADER as usize + if word.timed { 8 } else { 0 };
                let left = left.read(&name, offset, len).unwrap_or_default();
                return Some((inspect::kind(written.get(head..)?)?, left != durable));
            }
            kind::END => at = (number + 1) * layout.segment_bytes + SEGMENT_HEADER,
            _ => at += u64::from(word.length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &'static str, undoable: bool) -> Line {
        Line {
            kind,
            changes_pages: true,
            undoable,
            torn: 1,
            redone: 1,
            ..Line::default()
        }
    }

    #[test]
    fn what_never_happened_is_named() {
        let mut kinds = Kinds(vec![
            line("insert", true),
            line("split", false),
            line("page image", false),
        ]);
        assert_eq!(kinds.missing(), ["insert: never undone"]);
        kinds.0[1].torn = 0;
        kinds.0[2].redone = 0;
        assert_eq!(
            kinds.missing(),
            ["insert: never undone", "split: never crashed at"]
        );
        let other = Kinds(vec![
            Line {
                undone: 3,
                ..line("insert", true)
            },
            line("split", false),
        ]);
        kinds.add(&other);
        assert!(kinds.missing().is_empty(), "{kinds}");
        assert_eq!(kinds.0[0].redone, 2);
    }
}
