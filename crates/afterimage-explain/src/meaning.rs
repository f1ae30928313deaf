//! What the lines of a script mean together: who has begun and ended, what each row was before, which record a CLR takes back.
//! A script that contradicts itself is answered here, by line and column.

use std::collections::BTreeMap;

use crate::mistake::Mistake;
use crate::script::{Actives, At, Dirties, Line, Object, Part, Value, Verb, What};

/// A script that makes sense.
#[derive(Debug)]
pub(crate) struct Meaning {
    /// In the order of the log.
    pub(crate) acts: Vec<Act>,
    /// The pages, in the order in which they are named, each with its rows likewise.
    pub(crate) pages: Vec<Page>,
    /// Transactions that have a record before the first line, with its label if the script tells it.
    pub(crate) older: Vec<(String, Option<u64>)>,
    /// Records whose last half is not on the disk, records that are damaged.
    pub(crate) torn_record: Option<u64>,
    pub(crate) damaged: Vec<u64>,
    /// How often the power goes.
    pub(crate) crashes: usize,
    /// The first label that the script does not use.
    pub(crate) next_label: u64,
    /// Whether the script says itself when the log is synced.
    pub(crate) syncs: bool,
}

/// A page of the script.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
    /// What the script says of its home.
    pub(crate) disk: Option<Disk>,
    /// The version whose write was cut off, if one was, and whether there is a copy of it.
    pub(crate) torn: Option<(Option<u64>, bool)>,
}

/// A row of a page.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) object: Object,
    /// What it was before the first line that changes it.
    pub(crate) first: Value,
}

/// What a page's home was.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) lsn: u64,
    pub(crate) rows: Vec<(Object, Value)>,
}

/// One line that is a record, or something that happens to the log.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) label: u64,
    pub(crate) kind: ActKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ActKind {
    Begin(String),
    Change {
        txn: String,
        object: Object,
        before: Value,
        after: Value,
    },
    Clr {
        txn: String,
        object: Object,
        /// What the row becomes, and what it was.
        value: Value,
        was: Value,
        /// The label of the record where undo goes on.
        undo_next: Option<u64>,
    },
    Commit(String),
    End(String),
    /// ABORT and SAVEPOINT: there is no record for them.
    Note(String, String),
    Checkpoint {
        part: Part,
        active: Vec<String>,
        dirty: Vec<(String, u64)>,
    },
    Sync,
}

impl Act {
    /// Whether it is about this page.
    fn names(&self, page: &str) -> bool {
        match &self.kind {
            ActKind::Change { object, .. } | ActKind::Clr { object, .. } => object.page == page,
            ActKind::Checkpoint { dirty, .. } => dirty.iter().any(|(name, _)| name == page),
            _ => false,
        }
    }
}

/// What is known of a transaction so far.
#[derive(Debug, Default)]
struct Txn {
    /// It has a record, here or before the first line.
    known: bool,
    /// Labels of its records, and the one before each.
    records: Vec<u64>,
    /// Its changes that are not taken back: label, the record before, object, value before.
    changes: Vec<(u64, Option<u64>, Object, Value, Value)>,
    /// How it ended, and on which line.
    ended: Option<(&'static str, usize)>,
    aborted: bool,
}

struct Reader<'a> {
    lines: &'a [Line],
    txns: BTreeMap<String, Txn>,
    pages: Vec<Page>,
    /// What each row is now, where that is known.
    now: BTreeMap<String, Value>,
    older: Vec<(String, Option<u64>)>,
    acts: Vec<Act>,
    last: Option<u64>,
    first: u64,
    open_checkpoint: bool,
}

/// Makes sense of the lines.
pub(crate) fn read(lines: &[Line]) -> Result<Meaning, Mistake> {
    let first = lines.iter().find_map(|line| match line.what {
        What::Txn { .. } | What::Checkpoint { .. } => line.label.as_ref().map(|label| label.it),
        _ => None,
    });
    let mut reader = Reader {
        lines,
        txns: BTreeMap::new(),
        pages: Vec::new(),
        now: BTreeMap::new(),
        older: Vec::new(),
        acts: Vec::new(),
        last: None,
        first: first.unwrap_or(1),
        open_checkpoint: false,
    };
    reader.homes()?;
    reader.read()
}

fn mistake(line: &Line, column: usize) -> Mistake {
    Mistake::at(line.number, column)
}

fn shown(value: &Value) -> &str {
    value.as_deref().unwrap_or("_ (absent)")
}

impl Reader<'_> {
    fn page(&mut self, name: &str) -> &mut Page {
        let at = self.pages.iter().position(|page| page.name == name);
        let at = at.unwrap_or_else(|| {
            self.pages.push(Page {
                name: name.to_owned(),
                rows: Vec::new(),
                disk: None,
                torn: None,
            });
            self.pages.len() - 1
        });
        &mut self.pages[at]
    }

    /// A row that is mentioned for the first time is this from then on.
    fn row(&mut self, object: &Object, first: Value) {
        let page = self.page(&object.page);
        if !page.rows.iter().any(|row| row.object == *object) {
            let object = object.clone();
            page.rows.push(Row { object, first });
        }
    }

    /// What the script says of homes, wherever it says so.
    fn homes(&mut self) -> Result<(), Mistake> {
        let lines = self.lines;
        for line in lines {
            match &line.what {
                What::Disk { object, lsn, value } => {
                    let Some(lsn) = lsn else {
                        return Err(mistake(line, line.column)
                            .found("a DISK line without a page LSN")
                            .expected("lsn=NUMBER, like DISK A lsn=198 value=0"));
                    };
                    let page = self.page(&object.page);
                    let disk = page.disk.get_or_insert_with(|| Disk {
                        lsn: lsn.it,
                        rows: Vec::new(),
                    });
                    if disk.lsn != lsn.it {
                        return Err(mistake(line, lsn.column)
                            .found(format!("another LSN for the same page, {}", lsn.it))
                            .expected(format!("{}, as above: a page has one LSN", disk.lsn)));
                    }
                    if let Some(value) = value {
                        disk.rows.push((object.clone(), value.it.clone()));
                    }
                }
                What::Torn { object, lsn, copy } => {
                    let lsn = lsn.as_ref().map(|lsn| lsn.it);
                    self.page(&object.page).torn = Some((lsn, *copy));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read(mut self) -> Result<Meaning, Mistake> {
        let (mut crashes, mut crash_label) = (0, None);
        let (mut torn_record, mut damaged, mut syncs) = (None, Vec::new(), false);
        for line in self.lines {
            if crashes > 0 && !matches!(line.what, What::Crash) {
                return Err(mistake(line, line.column)
                    .found("a line behind CRASH")
                    .expected("nothing, or CRASH once more: recovery comes next"));
            }
            match &line.what {
                What::Txn { txn, verb } => {
                    let label = self.label(line)?;
                    let kind = self.verb(line, label, txn, verb)?;
                    self.acts.push(Act { label, kind });
                }
                What::Checkpoint {
                    part,
                    active,
                    dirty,
                } => {
                    let label = self.label(line)?;
                    let kind = self.checkpoint(line, *part, active.as_ref(), dirty.as_ref())?;
                    self.acts.push(Act { label, kind });
                }
                What::Sync => {
                    syncs = true;
                    let label = self.last.unwrap_or(0);
                    let kind = ActKind::Sync;
                    self.acts.push(Act { label, kind });
                }
                What::Tear => torn_record = Some(self.last_record(line)?),
                What::Damage(label) => {
                    if !self.acts.iter().any(|act| act.label == label.it) {
                        return Err(mistake(line, label.column)
                            .found(format!("LSN {}, which no line above has", label.it))
                            .expected("the LSN of a record"));
                    }
                    damaged.push(label.it);
                }
                What::Crash => {
                    crashes += 1;
                    if crashes == 1 && line.label.is_some() {
                        crash_label = Some(self.label(line)?);
                    }
                }
                What::Disk { .. } | What::Torn { .. } => {}
            }
        }
        if self.acts.is_empty() {
            let line = &self.lines[0];
            return Err(mistake(line, line.column)
                .found("a script without a log")
                .expected("a line like LSN=1 T1 BEGIN"));
        }
        for line in self.lines {
            if let What::Disk { object, value, .. } = &line.what {
                self.check_disk(line, object, value.as_ref())?;
            }
        }
        let (acts, pages) = (&self.acts, &mut self.pages);
        pages.sort_by_key(|page| {
            acts.iter()
                .position(|act| act.names(&page.name))
                .unwrap_or(usize::MAX)
        });
        Ok(Meaning {
            next_label: crash_label.unwrap_or_else(|| self.last.map_or(1, |last| last + 1)),
            acts: self.acts,
            pages: self.pages,
            older: self.older,
            torn_record,
            damaged,
            crashes: crashes.max(1),
            syncs,
        })
    }

    fn last_record(&self, line: &Line) -> Result<u64, Mistake> {
        let is_record = |act: &&Act| !matches!(act.kind, ActKind::Sync);
        let last = self.acts.iter().rev().find(is_record);
        last.map(|act| act.label).ok_or_else(|| {
            mistake(line, line.column)
                .found("TEAR before any record")
                .expected("a record above, of which only the first half is on the disk")
        })
    }

    /// A line's label: what it says, or the next.
    fn label(&mut self, line: &Line) -> Result<u64, Mistake> {
        let label = match (&line.label, self.last) {
            (Some(label), Some(last)) if label.it <= last => {
                return Err(mistake(line, label.column)
                    .found(format!("LSN {}, behind LSN {last}", label.it))
                    .expected("a higher one: LSNs only grow"));
            }
            (Some(label), _) => label.it,
            (None, Some(last)) => last + 1,
            (None, None) => self.first,
        };
        self.last = Some(label);
        Ok(label)
    }

    fn verb(
        &mut self,
        line: &Line,
        label: u64,
        name: &str,
        verb: &Verb,
    ) -> Result<ActKind, Mistake> {
        let txn = self.txns.entry(name.to_owned()).or_default();
        if let Some((how, when)) = txn.ended {
            return Err(mistake(line, line.column)
                .found(format!("{name}, which has {how} on line {when}"))
                .expected("a transaction that has not ended; names are not used again"));
        }
        match verb {
            Verb::Begin if txn.known => {
                return Err(mistake(line, line.column)
                    .found(format!("{name} BEGIN, but {name} has begun"))
                    .expected("another transaction's name, or no BEGIN"));
            }
            Verb::Change { .. } if txn.aborted => {
                return Err(mistake(line, line.column)
                    .found(format!("a change by {name}, which is being rolled back"))
                    .expected("CLR or END"));
            }
            Verb::Begin | Verb::Change { .. } => {}
            _ if !txn.known => self.older.push((name.to_owned(), None)),
            _ => {}
        }
        txn.known = true;
        let previous = txn.records.last().copied();
        txn.records.push(label);
        let name = name.to_owned();
        Ok(match verb {
            Verb::Begin => ActKind::Begin(name),
            Verb::Commit => {
                txn.ended = Some(("committed", line.number));
                ActKind::Commit(name)
            }
            Verb::End => {
                txn.ended = Some(("ended", line.number));
                ActKind::End(name)
            }
            Verb::Abort => {
                txn.aborted = true;
                ActKind::Note(name, "ABORT".to_owned())
            }
            Verb::Savepoint(mark) => {
                ActKind::Note(name, format!("SAVEPOINT {mark}").trim_end().to_owned())
            }
            Verb::Change {
                object,
                before,
                after,
                word,
            } => {
                let object_at = object.column;
                let object = object.it.clone();
                let Some(after) = after.as_ref().map(|after| after.it.clone()) else {
                    unreachable!("the grammar asks for it");
                };
                let before = self.before(line, object_at, &object, before.as_ref(), word)?;
                if before.is_none() && after.is_none() {
                    return Err(mistake(line, object_at)
                        .found(format!("{} absent before and after", object.name))
                        .expected("a change"));
                }
                self.now.insert(object.name.clone(), after.clone());
                let txn = self.txns.get_mut(&name).expect("just seen");
                let change = (
                    label,
                    previous,
                    object.clone(),
                    before.clone(),
                    after.clone(),
                );
                txn.changes.push(change);
                ActKind::Change {
                    txn: name,
                    object,
                    before,
                    after,
                }
            }
            Verb::Clr {
                object,
                value,
                undoes,
                undo_next,
            } => self.clr(
                line,
                name,
                object.as_ref(),
                value.as_ref(),
                undoes.as_ref(),
                undo_next.as_ref(),
            )?,
        })
    }

    /// What a row was before a change: what the line says, if that is what the lines above have left.
    fn before(
        &mut self,
        line: &Line,
        column: usize,
        object: &Object,
        said: Option<&At<Value>>,
        word: &str,
    ) -> Result<Value, Mistake> {
        if object.key.is_none() {
            return Err(mistake(line, column)
                .found(format!("{}, which is a whole page", object.name))
                .expected("a row of it, with key= or offset="));
        }
        let known = self.now.get(&object.name).cloned().or_else(|| {
            let page = self.pages.iter().find(|page| page.name == object.page)?;
            let disk = page.disk.as_ref().filter(|_| said.is_none())?;
            let row = disk.rows.iter().find(|(row, _)| row == object)?;
            Some(row.1.clone())
        });
        let before = match (said, known) {
            (Some(said), Some(known)) if said.it != known => {
                let wrong = match word {
                    "INSERT" => mistake(line, column).found(format!(
                        "INSERT of {}, which is there: {}",
                        object.name,
                        shown(&known)
                    )),
                    _ => mistake(line, said.column).found(format!(
                        "before={} for {}",
                        shown(&said.it),
                        object.name
                    )),
                };
                return Err(wrong.expected(match word {
                    "INSERT" => "UPDATE, or another key".to_owned(),
                    _ => format!("{}, which the lines above have left there", shown(&known)),
                }));
            }
            (Some(said), _) => said.it.clone(),
            (None, Some(known)) => known,
            (None, None) => {
                return Err(mistake(line, column)
                    .found(format!("no value before for {}", object.name))
                    .expected("before=VALUE: no line above says what it was"));
            }
        };
        if word == "DELETE" && before.is_none() {
            return Err(mistake(line, column)
                .found(format!("DELETE of {}, which is absent", object.name))
                .expected("a row that is there"));
        }
        self.row(object, before.clone());
        Ok(before)
    }

    fn clr(
        &mut self,
        line: &Line,
        name: String,
        object: Option<&At<Object>>,
        value: Option<&At<Value>>,
        undoes: Option<&At<u64>>,
        undo_next: Option<&At<Option<u64>>>,
    ) -> Result<ActKind, Mistake> {
        let txn = self.txns.get_mut(&name).expect("just seen");
        let which = match (undoes, object) {
            (Some(undoes), _) => txn.changes.iter().rposition(|c| c.0 == undoes.it),
            (None, Some(object)) => txn.changes.iter().rposition(|c| c.2 == object.it),
            (None, None) => None,
        };
        if let (None, Some(undoes)) = (which, undoes) {
            return Err(mistake(line, undoes.column)
                .found(format!(
                    "LSN {}, which is no change of {name} that stands",
                    undoes.it
                ))
                .expected("the LSN of one of its changes above"));
        }
        let undone = which.map(|n| txn.changes.drain(n..).next().expect("it is there"));
        let records = &txn.records[..txn.records.len() - 1];
        let first = self.first;
        if let Some(At {
            it: Some(next),
            column,
        }) = undo_next
            && !records.contains(next)
        {
            let older = self.older.iter_mut().find(|(older, _)| *older == name);
            match older {
                Some((_, label)) if *next < first && label.is_none_or(|label| label == *next) => {
                    *label = Some(*next);
                }
                _ => {
                    return Err(mistake(line, *column)
                        .found(format!(
                            "undoNext={next}, which is no record of {name} above"
                        ))
                        .expected("the LSN of one, or _ where nothing is left to undo"));
                }
            }
        }
        let previous = undone.as_ref().and_then(|undone| undone.1);
        let undo_next = undo_next.map_or(previous, |next| next.it);
        let (object, value) = match (undone, object, value) {
            (Some(undone), _, value) => {
                let (object, before) = (undone.2, undone.3);
                match value {
                    Some(value) if value.it != before => {
                        return Err(mistake(line, value.column)
                            .found(format!("{} for {}", shown(&value.it), object.name))
                            .expected(format!("{}, what it was before", shown(&before))));
                    }
                    _ => (object, before),
                }
            }
            (None, Some(object), Some(value)) => (object.it.clone(), value.it.clone()),
            (None, _, _) => {
                return Err(mistake(line, line.column)
                    .found(format!(
                        "a CLR for a change that no line above has made, by {name}"
                    ))
                    .expected("value=VALUE: what it was before"));
            }
        };
        let was = self.now.get(&object.name).cloned().unwrap_or_default();
        self.row(&object, was.clone());
        self.now.insert(object.name.clone(), value.clone());
        Ok(ActKind::Clr {
            txn: name,
            object,
            value,
            was,
            undo_next,
        })
    }

    fn checkpoint(
        &mut self,
        line: &Line,
        part: Part,
        active: Option<&At<Actives>>,
        dirty: Option<&At<Dirties>>,
    ) -> Result<ActKind, Mistake> {
        let is_end = part == Part::End;
        if is_end != self.open_checkpoint {
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
        self.open_checkpoint = part == Part::Begin;
        if part == Part::Begin {
            return Ok(ActKind::Checkpoint {
                part,
                active: Vec::new(),
                dirty: Vec::new(),
            });
        }
        let unfinished: Vec<String> = self
            .txns
            .iter()
            .filter(|(_, txn)| txn.known && txn.ended.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        let names = match active {
            None => unfinished,
            Some(list) => {
                for At { it, column } in &list.it {
                    self.active(line, *column, &it.0, it.1)?;
                }
                let listed = |name: &String| list.it.iter().any(|at| at.it.0 == *name);
                if let Some(missing) = unfinished.iter().find(|name| !listed(name)) {
                    return Err(mistake(line, list.column)
                        .found(format!("a table without {missing}, which has not ended"))
                        .expected(format!("active={{{}}}", unfinished.join(", "))));
                }
                list.it.iter().map(|at| at.it.0.clone()).collect()
            }
        };
        let mut pages = Vec::new();
        for At { it, column } in dirty.map(|dirty| &dirty.it[..]).unwrap_or_default() {
            let (object, rec_lsn) = it;
            let known = |label: u64| self.acts.iter().any(|act| act.label == label);
            if *rec_lsn >= self.first && !known(*rec_lsn) {
                return Err(mistake(line, *column)
                    .found(format!("recLSN {rec_lsn}, which no line above has"))
                    .expected(format!(
                        "the LSN of a line above, or one below {}: not in this excerpt",
                        self.first
                    )));
            }
            let numbered = format!("page {}", object.page);
            let all = |text: &str| {
                self.lines.iter().any(|line| match &line.what {
                    What::Txn {
                        verb: Verb::Change { object, .. },
                        ..
                    } => object.it.page == text,
                    _ => false,
                })
            };
            let name = match !all(&object.page) && all(&numbered) {
                true => numbered,
                false => object.page.clone(),
            };
            self.page(&name);
            pages.push((name, *rec_lsn));
        }
        Ok(ActKind::Checkpoint {
            part,
            active: names,
            dirty: pages,
        })
    }

    fn active(
        &mut self,
        line: &Line,
        column: usize,
        name: &str,
        last: Option<u64>,
    ) -> Result<(), Mistake> {
        let first = self.first;
        let txn = self.txns.entry(name.to_owned()).or_default();
        if let Some((how, when)) = txn.ended {
            return Err(mistake(line, column)
                .found(format!("{name}, which has {how} on line {when}"))
                .expected("a transaction that has not ended"));
        }
        let real = txn.records.last().copied();
        if !txn.known {
            txn.known = true;
            self.older.push((name.to_owned(), last));
        }
        match (last, real) {
            (Some(last), Some(real)) if last != real => Err(mistake(line, column)
                .found(format!("lastLSN {last} for {name}"))
                .expected(format!("{real}, its last record above"))),
            (Some(last), None) if last >= first => Err(mistake(line, column)
                .found(format!(
                    "lastLSN {last} for {name}, which has no line above"
                ))
                .expected(format!("one below {first}: not in this excerpt"))),
            _ => Ok(()),
        }
    }

    /// A home that says it is as a line has left it, or as the first line finds it, must be that.
    fn check_disk(
        &self,
        line: &Line,
        object: &Object,
        value: Option<&At<Value>>,
    ) -> Result<(), Mistake> {
        let (Some(value), Some(page)) = (
            value,
            self.pages.iter().find(|page| page.name == object.page),
        ) else {
            return Ok(());
        };
        let lsn = page.disk.as_ref().map_or(0, |disk| disk.lsn);
        let changes = self.acts.iter().filter_map(|act| match &act.kind {
            ActKind::Change {
                object: of, after, ..
            } if of == object => Some((act.label, after)),
            ActKind::Clr {
                object: of, value, ..
            } if of == object => Some((act.label, value)),
            _ => None,
        });
        let changes: Vec<_> = changes.collect();
        let between = self.acts.iter().any(|act| match &act.kind {
            // A change that the script does not have came later than this home.
            ActKind::Checkpoint { dirty, .. } => dirty
                .iter()
                .any(|(name, label)| *name == page.name && *label > lsn && *label < self.first),
            _ => false,
        });
        let left = match changes.iter().rev().find(|(label, _)| *label <= lsn) {
            Some((label, left)) if *label == lsn => Some((*left).clone()),
            Some(_) => None,
            None if between => None,
            None => {
                let row = page.rows.iter().find(|row| row.object == *object);
                row.map(|row| row.first.clone())
            }
        };
        match left {
            Some(left) if left != value.it => Err(mistake(line, value.column)
                .found(format!("value={} at LSN {lsn}", shown(&value.it)))
                .expected(format!("{}, by the lines about it", shown(&left)))),
            _ => Ok(()),
        }
    }
}
