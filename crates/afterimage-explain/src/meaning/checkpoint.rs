//! What a checkpoint's line means: whom its tables may and must list. Where it stands on two lines, its tables may be as of the
//! first, as of the second, or of any moment between: a fuzzy checkpoint stops nobody.

use std::collections::BTreeSet;

use super::{ActKind, Reader, mistake};
use crate::mistake::Mistake;
use crate::script::{Actives, At, Dirties, Line, Part, Verb, What};

/// What is known of checkpoints so far.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// One that has begun and not ended: its label, and who was unfinished.
    open: Option<(u64, Vec<String>)>,
    /// The last complete one: where it began, and its dirty pages.
    last: Option<(u64, Vec<(String, u64)>)>,
}

fn rec_lsn_of(pages: &[(String, u64)], page: &str) -> Option<u64> {
    let line = pages.iter().find(|(name, _)| name == page);
    line.map(|(_, rec_lsn)| *rec_lsn)
}

impl Reader<'_> {
    /// Whoever a table lists with a record from before the first line has begun before it, wherever the table stands.
    pub(super) fn older_by_the_tables(&mut self) {
        for line in self.lines {
            let What::Checkpoint {
                active: Some(list), ..
            } = &line.what
            else {
                continue;
            };
            for At {
                it: (name, last), ..
            } in &list.it
            {
                if let Some(last) = last.filter(|last| *last < self.first) {
                    let txn = self.txns.entry(name.clone()).or_default();
                    if !txn.known {
                        (txn.known, txn.older) = (true, true);
                        self.older.push((name.clone(), BTreeSet::from([last])));
                    }
                }
            }
        }
    }

    pub(super) fn checkpoint(
        &mut self,
        line: &Line,
        label: u64,
        part: Part,
        active: Option<&At<Actives>>,
        dirty: Option<&At<Dirties>>,
    ) -> Result<ActKind, Mistake> {
        let is_end = part == Part::End;
        let open = self.checkpoints.open.take();
        if is_end != open.is_some() {
            let wrong = mistake(line, line.column);
            return Err(match is_end {
                true => wrong
                    .found("CHECKPOINT END without a beginning")
                    .expected("CHECKPOINT BEGIN above"),
                false => wrong
                    .found("a checkpoint inside another")
                    .expected("CHECKPOINT END first"),
            });
        }
        let unfinished = self.unfinished();
        if part == Part::Begin {
            self.checkpoints.open = Some((label, unfinished));
            return Ok(ActKind::Checkpoint {
                part,
                active: Vec::new(),
                dirty: Vec::new(),
            });
        }
        let (begin, were) = open.unwrap_or_else(|| (label, unfinished.clone()));
        let active = match active {
            None => unfinished,
            Some(list) => {
                for At { it, column } in &list.it {
                    self.active(line, *column, begin, &it.0, it.1)?;
                }
                let listed = |name: &&String| list.it.iter().any(|at| at.it.0 == **name);
                // In between, a transaction may have begun or ended.
                let must = unfinished.iter().filter(|name| were.contains(name));
                if let Some(missing) = must.clone().find(|name| !listed(name)) {
                    let must: Vec<&str> = must.map(String::as_str).collect();
                    return Err(mistake(line, list.column)
                        .found(format!("a table without {missing}, which has not ended"))
                        .expected(format!("active={{{}}}", must.join(", "))));
                }
                list.it.iter().map(|at| at.it.0.clone()).collect()
            }
        };
        let mut pages: Vec<(String, u64)> = Vec::new();
        for At { it, column } in dirty.map(|dirty| &dirty.it[..]).unwrap_or_default() {
            let name = self.page_meant(&it.0.page);
            self.dirty(line, *column, &name, it.1)?;
            self.page(&name);
            match pages.iter_mut().find(|(page, _)| *page == name) {
                Some((_, known)) => *known = it.1.min(*known),
                None => pages.push((name, it.1)),
            }
        }
        let dirty = pages.clone();
        self.checkpoints.last = Some((begin, pages));
        Ok(ActKind::Checkpoint {
            part,
            active,
            dirty,
        })
    }

    fn unfinished(&self) -> Vec<String> {
        self.txns
            .iter()
            .filter(|(_, txn)| txn.known && txn.ended.is_none())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// `10`, where the lines have a `page=10`.
    fn page_meant(&self, said: &str) -> String {
        let numbered = format!("page {said}");
        let is_changed = |text: &str| {
            self.lines.iter().any(|line| match &line.what {
                What::Txn {
                    verb: Verb::Change { object, .. },
                    ..
                } => object.it.page == text,
                _ => false,
            })
        };
        match !is_changed(said) && is_changed(&numbered) {
            true => numbered,
            false => said.to_owned(),
        }
    }

    fn dirty(&self, line: &Line, column: usize, page: &str, rec_lsn: u64) -> Result<(), Mistake> {
        if rec_lsn >= self.first && !self.is_line(rec_lsn) {
            return Err(mistake(line, column)
                .found(format!("recLSN {rec_lsn}, which no line above has"))
                .expected(format!(
                    "the LSN of a line above, or one below {}: not in this excerpt",
                    self.first
                )));
        }
        let Some((begin, pages)) = &self.checkpoints.last else {
            return Ok(());
        };
        // It was written home since and changed again, or is what it was.
        let then = rec_lsn_of(pages, page);
        if rec_lsn > *begin || then == Some(rec_lsn) {
            return Ok(());
        }
        let then = match then {
            Some(then) => format!("{then}, as at the checkpoint before, or"),
            None => "the page was home then:".to_owned(),
        };
        Err(mistake(line, column)
            .found(format!("recLSN {rec_lsn} for {page}"))
            .expected(format!("{then} one behind the checkpoint at {begin}")))
    }

    fn active(
        &mut self,
        line: &Line,
        column: usize,
        begin: u64,
        name: &str,
        last: Option<u64>,
    ) -> Result<(), Mistake> {
        let first = self.first;
        let newest = self.newest_older(name);
        let txn = self.txns.entry(name.to_owned()).or_default();
        if let Some((how, when, _)) = txn.ended.filter(|(.., label)| *label < begin) {
            return Err(mistake(line, column)
                .found(format!("{name}, which has {how} on line {when}"))
                .expected("a transaction that has not ended"));
        }
        if !txn.known {
            (txn.known, txn.older) = (true, true);
            self.older.push((name.to_owned(), BTreeSet::new()));
        }
        let Some(last) = last else {
            return Ok(());
        };
        // Its last record when the checkpoint began, or any of its lines since.
        let at_begin = txn.records.iter().rfind(|label| **label < begin).copied();
        let since = at_begin.unwrap_or(begin);
        if txn
            .lines
            .iter()
            .any(|label| *label >= since && *label == last)
        {
            return Ok(());
        }
        let wrong = mistake(line, column).found(format!("lastLSN {last} for {name}"));
        match (at_begin, newest) {
            (Some(record), _) => Err(wrong.expected(format!("{record}, its last record above"))),
            (None, _) if last >= first => Err(wrong.expected(format!(
                "one below {first}: no line above has a record of it"
            ))),
            (None, Some(newest)) if last != newest => {
                Err(wrong.expected(format!("{newest}, which it was before the first line")))
            }
            _ => {
                let older = self.older.iter_mut().find(|(older, _)| older == name);
                if let Some((_, labels)) = older {
                    labels.insert(last);
                }
                Ok(())
            }
        }
    }
}
