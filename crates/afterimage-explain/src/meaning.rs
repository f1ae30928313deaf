//! What the lines of a script mean together: who has begun and ended, what each row was before, which record a CLR takes back.
//! A script that contradicts itself is answered here, by line and column.

mod checkpoint;
mod rollback;

use std::collections::{BTreeMap, BTreeSet};

use crate::mistake::Mistake;
use crate::script::{At, Line, Object, Part, Value, Verb, What};
use checkpoint::Checkpoints;
use rollback::{Change, Clr};

/// Every step of a story has the tables and the pages behind it: so there may not be any number of them.
const PAGES_MAX: usize = 100;
const TXNS_MAX: usize = 100;
const CRASHES_MAX: usize = 10;
/// What the rows of a page may come to, each with the longest value that it ever has and what it takes beside that: a page is
/// one leaf of 4096 bytes, and nothing that a recovery does may have to split it.
const PAGE_BYTES_MAX: usize = 3600;
const ROW_BYTES: usize = 32;
/// A value that no line tells.
const UNKNOWN: &str = "?";

/// A script that makes sense.
#[derive(Debug)]
pub(crate) struct Meaning {
    /// In the order of the log.
    pub(crate) acts: Vec<Act>,
    /// The pages, in the order in which they are named, each with its rows likewise.
    pub(crate) pages: Vec<Page>,
    /// Transactions that have records before the first line, with the labels of those that the script tells.
    pub(crate) older: Vec<(String, BTreeSet<u64>)>,
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
    /// None for what is no record.
    pub(crate) label: Option<u64>,
    pub(crate) kind: ActKind,
}

/// Where undo goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// At the record with this label, which may be before the first line.
    At(u64),
    /// At the transaction's first record, which is before the first line, and has no label that is known yet.
    Oldest,
    /// Nowhere: nothing is left.
    Nothing,
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
        undo_next: Next,
    },
    Commit(String),
    End(String),
    /// ABORT, SAVEPOINT, and END behind a COMMIT: there is no record for them.
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
    /// It has records before the first line.
    older: bool,
    /// Labels of its lines, and of those that are records that undo may visit.
    lines: Vec<u64>,
    records: Vec<u64>,
    /// Its changes that are not taken back.
    changes: Vec<Change>,
    /// Labels of those that are.
    taken_back: BTreeSet<u64>,
    /// Undo has gone on behind this record from before the first line.
    undone_to: Option<u64>,
    /// How it ended, on which line, with which label.
    ended: Option<(&'static str, usize, u64)>,
    /// The line of its ABORT.
    aborted: Option<usize>,
}

struct Reader<'a> {
    lines: &'a [Line],
    txns: BTreeMap<String, Txn>,
    pages: Vec<Page>,
    /// What each row is now, where that is known.
    now: BTreeMap<String, Value>,
    /// Bytes of each row with the longest value that it ever has, by page.
    sizes: BTreeMap<String, BTreeMap<String, usize>>,
    older: Vec<(String, BTreeSet<u64>)>,
    acts: Vec<Act>,
    last: Option<u64>,
    first: u64,
    checkpoints: Checkpoints,
}

/// Makes sense of the lines.
pub(crate) fn read(lines: &[Line]) -> Result<Meaning, Mistake> {
    let records = lines
        .iter()
        .filter(|line| matches!(line.what, What::Txn { .. } | What::Checkpoint { .. }));
    // Lines without a label that come before the first that has one have those below it.
    let labels = records.map(|line| line.label.as_ref().map(|label| label.it));
    let first = labels
        .enumerate()
        .find_map(|(n, label)| Some(label?.saturating_sub(n as u64)));
    let mut reader = Reader {
        lines,
        txns: BTreeMap::new(),
        pages: Vec::new(),
        now: BTreeMap::new(),
        sizes: BTreeMap::new(),
        older: Vec::new(),
        acts: Vec::new(),
        last: None,
        first: first.unwrap_or(1),
        checkpoints: Checkpoints::default(),
    };
    reader.homes()?;
    reader.older_by_the_tables();
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
                        self.fits(line, value.column, object, &[&value.it])?;
                    }
                }
                What::Torn { object, lsn, copy } => {
                    let lsn = lsn.as_ref().map(|lsn| lsn.it);
                    if self.page(&object.page).torn.replace((lsn, *copy)).is_some() {
                        return Err(mistake(line, line.column)
                            .found(format!("{} torn a second time", object.page))
                            .expected("each page once"));
                    }
                }
                _ => {}
            }
            self.few(line)?;
        }
        Ok(())
    }

    /// The page of this row has room for these values, whatever else is in it.
    fn fits(
        &mut self,
        line: &Line,
        column: usize,
        object: &Object,
        values: &[&Value],
    ) -> Result<(), Mistake> {
        let key = object.key.as_ref().map_or(0, String::len);
        let longest = values.iter().filter_map(|value| value.as_ref());
        let longest = longest.map(String::len).max().unwrap_or(0);
        let rows = self.sizes.entry(object.page.clone()).or_default();
        let bytes = rows.entry(object.name.clone()).or_default();
        *bytes = (*bytes).max(key + longest + ROW_BYTES);
        let all: usize = rows.values().sum();
        if all > PAGE_BYTES_MAX {
            return Err(mistake(line, column)
                .found(format!("rows of {all} bytes on {}", object.page))
                .expected(format!(
                    "at most {PAGE_BYTES_MAX}, which is what a page holds: another page"
                )));
        }
        Ok(())
    }

    /// There are not more pages and transactions than a story has room for.
    fn few(&self, line: &Line) -> Result<(), Mistake> {
        let bounds = [
            (self.pages.len(), PAGES_MAX, "pages"),
            (self.txns.len(), TXNS_MAX, "transactions"),
        ];
        match bounds.iter().find(|(count, most, _)| count > most) {
            Some((_, most, what)) => Err(mistake(line, line.column)
                .found(format!("more {what} than a story has room for"))
                .expected(format!("{most} {what} at most"))),
            None => Ok(()),
        }
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
                    self.record(label, kind);
                }
                What::Checkpoint {
                    part,
                    active,
                    dirty,
                } => {
                    let label = self.label(line)?;
                    let kind =
                        self.checkpoint(line, label, *part, active.as_ref(), dirty.as_ref())?;
                    self.record(label, kind);
                }
                What::Sync => {
                    syncs = true;
                    self.sync();
                }
                What::Tear => {
                    torn_record = Some(self.torn(line)?);
                    // What is half there was on its way to the disk, and all before it is there.
                    self.sync();
                }
                What::Damage(label) => {
                    if !self.is_line(label.it) {
                        return Err(mistake(line, label.column)
                            .found(format!("LSN {}, which no line above has", label.it))
                            .expected("the LSN of a record"));
                    }
                    damaged.push(label.it);
                }
                What::Crash => {
                    crashes += 1;
                    if crashes > CRASHES_MAX {
                        return Err(mistake(line, line.column)
                            .found("one crash more than a story has room for")
                            .expected(format!("{CRASHES_MAX} at most")));
                    }
                    if crashes == 1 && line.label.is_some() {
                        crash_label = Some(self.label(line)?);
                    }
                }
                What::Disk { .. } | What::Torn { .. } => {}
            }
            self.few(line)?;
        }
        if self.acts.is_empty() {
            let line = &self.lines[0];
            return Err(mistake(line, line.column)
                .found("a script without a log")
                .expected("a line like LSN=1 T1 BEGIN"));
        }
        for line in self.lines {
            match &line.what {
                What::Disk { object, value, .. } => {
                    self.check_disk(line, object, value.as_ref())?;
                }
                What::Torn { object, lsn, .. } => self.check_torn(line, object, lsn.as_ref())?,
                _ => {}
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

    fn record(&mut self, label: u64, kind: ActKind) {
        let label = Some(label);
        self.acts.push(Act { label, kind });
    }

    fn sync(&mut self) {
        self.acts.push(Act {
            label: None,
            kind: ActKind::Sync,
        });
    }

    fn is_line(&self, label: u64) -> bool {
        self.acts.iter().any(|act| act.label == Some(label))
    }

    /// The record of which TEAR leaves half.
    fn torn(&self, line: &Line) -> Result<u64, Mistake> {
        let wrong = mistake(line, line.column);
        match self.acts.last() {
            Some(Act {
                kind:
                    ActKind::Checkpoint {
                        part: Part::Whole | Part::End,
                        ..
                    },
                ..
            })
            | Some(Act { label: None, .. })
                if self.last.is_some() =>
            {
                Err(wrong
                    .found("TEAR where everything above is durable")
                    .expected("a record that is not durable; DAMAGE is for one that is"))
            }
            Some(Act {
                label: Some(label), ..
            }) => Ok(*label),
            _ => Err(wrong
                .found("TEAR before any record")
                .expected("a record above, of which only the first half is on the disk")),
        }
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
        let is_end = matches!(verb, Verb::End);
        match txn.ended {
            // The commit was the end. Elsewhere there is a record that says so.
            Some(("committed", ..)) if is_end => {
                txn.ended = Some(("ended", line.number, label));
                return Ok(ActKind::Note(name.to_owned(), "END".to_owned()));
            }
            Some((how, when, _)) => {
                return Err(mistake(line, line.column)
                    .found(format!("{name}, which has {how} on line {when}"))
                    .expected("a transaction that has not ended; names are not used again"));
            }
            None => {}
        }
        match verb {
            Verb::Begin if txn.known => {
                return Err(mistake(line, line.column)
                    .found(format!("{name} BEGIN, but {name} has begun"))
                    .expected("another transaction's name, or no BEGIN"));
            }
            Verb::Clr { .. } | Verb::End => {}
            _ => {
                if let Some(when) = txn.aborted {
                    return Err(mistake(line, line.column)
                        .found(format!("{name}, which is rolled back from line {when} on"))
                        .expected("CLR or END"));
                }
            }
        }
        if let (true, Some(change)) = (is_end, txn.changes.last()) {
            let label = change.label;
            return Err(mistake(line, line.column)
                .found(format!("{name} END, and LSN {label} is not taken back"))
                .expected(format!("{name} CLR undoes={label}, before the end")));
        }
        if !txn.known && !matches!(verb, Verb::Begin | Verb::Change { .. }) {
            txn.older = true;
            self.older.push((name.to_owned(), BTreeSet::new()));
        }
        txn.known = true;
        let previous = self.undo_from(name);
        let name = name.to_owned();
        let kind = match verb {
            Verb::Begin => ActKind::Begin(name.clone()),
            Verb::Commit => ActKind::Commit(name.clone()),
            Verb::End => ActKind::End(name.clone()),
            Verb::Abort => ActKind::Note(name.clone(), "ABORT".to_owned()),
            Verb::Savepoint(mark) => {
                let what = format!("SAVEPOINT {mark}").trim_end().to_owned();
                ActKind::Note(name.clone(), what)
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
                let before = self.before(line, label, object_at, &object, before.as_ref(), word)?;
                if before.is_none() && after.is_none() {
                    return Err(mistake(line, object_at)
                        .found(format!("{} absent before and after", object.name))
                        .expected("a change"));
                }
                self.fits(line, object_at, &object, &[&before, &after])?;
                self.now.insert(object.name.clone(), after.clone());
                let change = Change {
                    label,
                    previous,
                    object: object.clone(),
                    before: before.clone(),
                };
                self.txns
                    .get_mut(&name)
                    .expect("just seen")
                    .changes
                    .push(change);
                ActKind::Change {
                    txn: name.clone(),
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
            } => {
                let said = Clr {
                    object: object.as_ref(),
                    value: value.as_ref(),
                    undoes: undoes.as_ref(),
                    undo_next: undo_next.as_ref(),
                };
                self.clr(line, label, &name, &said)?
            }
        };
        let txn = self.txns.get_mut(&name).expect("just seen");
        txn.lines.push(label);
        match verb {
            Verb::Begin | Verb::Change { .. } | Verb::Clr { .. } => txn.records.push(label),
            Verb::Commit => txn.ended = Some(("committed", line.number, label)),
            Verb::End => txn.ended = Some(("ended", line.number, label)),
            Verb::Abort => txn.aborted = Some(line.number),
            Verb::Savepoint(_) => {}
        }
        Ok(kind)
    }

    /// What a row was before a change: what the line says, if that is what the lines above have left.
    fn before(
        &mut self,
        line: &Line,
        label: u64,
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
        let known = match said {
            Some(_) => self.now.get(&object.name).cloned(),
            None => self.value(object, label),
        };
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

    /// What a row is in front of the record with this label: by the lines above, or by a home that is older.
    fn value(&self, object: &Object, label: u64) -> Option<Value> {
        self.now.get(&object.name).cloned().or_else(|| {
            let page = self.pages.iter().find(|page| page.name == object.page)?;
            let disk = page.disk.as_ref().filter(|disk| disk.lsn < label)?;
            let row = disk.rows.iter().find(|(row, _)| row == object)?;
            Some(row.1.clone())
        })
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
            } if of == object => Some((act.label?, after)),
            ActKind::Clr {
                object: of, value, ..
            } if of == object => Some((act.label?, value)),
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

    /// A write that was cut off was one of a version that there was.
    fn check_torn(
        &self,
        line: &Line,
        object: &Object,
        lsn: Option<&At<u64>>,
    ) -> Result<(), Mistake> {
        let page = self.pages.iter().find(|page| page.name == object.page);
        let home = page.and_then(|page| Some(page.disk.as_ref()?.lsn));
        let listed = |label: u64| {
            self.acts.iter().any(|act| match &act.kind {
                ActKind::Checkpoint { dirty, .. } => dirty.contains(&(object.page.clone(), label)),
                _ => false,
            })
        };
        match lsn {
            Some(lsn) if !self.is_line(lsn.it) && home != Some(lsn.it) && !listed(lsn.it) => {
                Err(mistake(line, lsn.column)
                    .found(format!("LSN {}, which is no version of the page", lsn.it))
                    .expected("the LSN of a line, or the page's recLSN"))
            }
            _ => Ok(()),
        }
    }
}
