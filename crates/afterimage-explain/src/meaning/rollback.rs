//! What a CLR means: which change it takes back, and where undo goes on. Changes are taken back newest first, and none is passed over.

use super::{ActKind, Next, Reader, UNKNOWN, mistake, shown};
use crate::mistake::Mistake;
use crate::script::{At, Line, Object, Value};

/// A change that stands.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) label: u64,
    /// Where undo goes on behind it.
    pub(super) previous: Next,
    pub(super) object: Object,
    pub(super) before: Value,
}

/// What a line says of a CLR.
pub(super) struct Clr<'a> {
    pub(super) object: Option<&'a At<Object>>,
    pub(super) value: Option<&'a At<Value>>,
    pub(super) undoes: Option<&'a At<u64>>,
    pub(super) undo_next: Option<&'a At<Option<u64>>>,
}

impl Reader<'_> {
    /// Where undo of this transaction would begin.
    pub(super) fn undo_from(&self, name: &str) -> Next {
        let txn = &self.txns[name];
        match txn.records.last() {
            Some(label) => Next::At(*label),
            None if txn.older => self.newest_older(name).map_or(Next::Oldest, Next::At),
            None => Next::Nothing,
        }
    }

    /// Its newest record from before the first line, as far as the script tells.
    pub(super) fn newest_older(&self, name: &str) -> Option<u64> {
        let (_, labels) = self.older.iter().find(|(older, _)| older == name)?;
        labels.last().copied()
    }

    pub(super) fn clr(
        &mut self,
        line: &Line,
        label: u64,
        name: &str,
        said: &Clr<'_>,
    ) -> Result<ActKind, Mistake> {
        let undone = self.undone(line, name, said)?;
        let undo_next = self.undo_next(line, name, said.undo_next, undone.as_ref())?;
        let (object, value) = match (undone, said.object, said.value) {
            (Some(undone), _, Some(value)) if value.it != undone.before => {
                return Err(mistake(line, value.column)
                    .found(format!("{} for {}", shown(&value.it), undone.object.name))
                    .expected(format!("{}, what it was before", shown(&undone.before))));
            }
            (Some(undone), _, _) => (undone.object, undone.before),
            (None, Some(object), Some(value)) => (object.it.clone(), value.it.clone()),
            (None, _, _) => {
                return Err(mistake(line, line.column)
                    .found(format!(
                        "a CLR for a change that no line above has made, by {name}"
                    ))
                    .expected("value=VALUE: what it was before"));
            }
        };
        let was = self.value(&object, label);
        let was = was.unwrap_or_else(|| Some(UNKNOWN.to_owned()));
        let column = said.object.map_or(line.column, |object| object.column);
        self.fits(line, column, &object, &[&was, &value])?;
        self.row(&object, was.clone());
        self.now.insert(object.name.clone(), value.clone());
        Ok(ActKind::Clr {
            txn: name.to_owned(),
            object,
            value,
            was,
            undo_next,
        })
    }

    /// The change that it takes back; `None`: one from before the first line.
    fn undone(
        &mut self,
        line: &Line,
        name: &str,
        said: &Clr<'_>,
    ) -> Result<Option<Change>, Mistake> {
        let txn = self.txns.get_mut(name).expect("just seen");
        let column = said.undoes.map(|at| at.column);
        let column = column.or(said.object.map(|at| at.column));
        let wrong = mistake(line, column.unwrap_or(line.column));
        let which = match (said.undoes, said.object) {
            (Some(undoes), _) => txn.changes.iter().rposition(|c| c.label == undoes.it),
            (None, Some(object)) => txn.changes.iter().rposition(|c| c.object == object.it),
            (None, None) => None,
        };
        match (which, said.undoes) {
            (None, Some(undoes)) => {
                return Err(wrong
                    .found(format!(
                        "LSN {}, which is no change of {name} that stands",
                        undoes.it
                    ))
                    .expected("the LSN of one of its changes above"));
            }
            (None, None) if !txn.older => {
                return Err(wrong
                    .found(format!(
                        "a CLR for a change that no line above has made, by {name}"
                    ))
                    .expected(format!(
                        "a change that stands: {name} has begun in these lines, so it has no others"
                    )));
            }
            _ => {}
        }
        if let (Some(n), Some(object)) = (which, said.object) {
            let changed = &txn.changes[n].object;
            if *changed != object.it {
                return Err(mistake(line, object.column)
                    .found(format!(
                        "{}, and LSN {} has changed another",
                        object.it.name, txn.changes[n].label
                    ))
                    .expected(changed.name.as_str()));
            }
        }
        match txn.changes.last() {
            Some(newest) if which != Some(txn.changes.len() - 1) => Err(wrong
                .found(format!(
                    "a CLR out of turn: a later change of {name} stands"
                ))
                .expected(format!("that of LSN {} first", newest.label))),
            _ => {
                let undone = which.and_then(|_| txn.changes.pop());
                txn.taken_back
                    .extend(undone.as_ref().map(|change| change.label));
                Ok(undone)
            }
        }
    }

    /// Where undo goes on: what the line says, if nothing that stands is passed over and nothing is taken back twice.
    fn undo_next(
        &mut self,
        line: &Line,
        name: &str,
        said: Option<&At<Option<u64>>>,
        undone: Option<&Change>,
    ) -> Result<Next, Mistake> {
        let first = self.first;
        let txn = self.txns.get_mut(name).expect("just seen");
        let stands = txn.changes.last().map(|change| change.label);
        let Some(At { it, column }) = said else {
            return Ok(undone.map_or(Next::Oldest, |undone| undone.previous));
        };
        let wrong = mistake(line, *column);
        let Some(said) = *it else {
            return match stands {
                None => Ok(Next::Nothing),
                Some(label) => Err(wrong
                    .found(format!("nothing left, and LSN {label} of {name} stands"))
                    .expected(format!("undoNext={label}"))),
            };
        };
        let older = self.older.iter_mut().find(|(older, _)| older == name);
        if let (true, Some((_, labels))) = (said < first, older) {
            if let Some(label) = stands {
                return Err(wrong
                    .found(format!("undoNext={said}, and LSN {label} of {name} stands"))
                    .expected(format!("undoNext={label}")));
            }
            if let Some(below) = txn.undone_to.filter(|below| said >= *below) {
                return Err(wrong
                    .found(format!(
                        "undoNext={said}, where undo has gone on at {below} already"
                    ))
                    .expected(format!("an LSN below {below}")));
            }
            labels.insert(said);
            txn.undone_to = Some(said);
            return Ok(Next::At(said));
        }
        if !txn.lines.contains(&said) {
            return Err(wrong
                .found(format!(
                    "undoNext={said}, which is no record of {name} above"
                ))
                .expected("the LSN of one, or _ where nothing is left to undo"));
        }
        // A line that is no record means the one before it.
        let before = undone.map_or(first, |undone| undone.label);
        let record = txn.records.iter().rfind(|label| **label <= said).copied();
        let next = match (record, stands) {
            (Some(record), _) if record >= before || txn.taken_back.contains(&record) => None,
            (Some(record), Some(label)) if record >= label => Some(Next::At(record)),
            (None, Some(_)) | (Some(_), Some(_)) => None,
            (Some(record), None) => Some(Next::At(record)),
            (None, None) => Some(undone.map_or(Next::Oldest, |undone| undone.previous)),
        };
        next.ok_or_else(|| {
            let found = format!(
                "undoNext={said}, which passes over a change that stands, or comes to one again"
            );
            wrong.found(found).expected(match (stands, undone) {
                (Some(label), _) => format!("undoNext={label}"),
                (None, Some(_)) => "a record before its first change, or _".to_owned(),
                (None, None) => format!("an LSN below {first}, or _"),
            })
        })
    }
}
