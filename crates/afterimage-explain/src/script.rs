//! A script, read: its lines as data. Grammar: `docs/explain.md`. What the lines mean together is `meaning`'s work.

use crate::mistake::Mistake;
use crate::token::{Kind, Token, tokens};

/// A value; `None`: absent.
pub(crate) type Value = Option<String>;

/// What a line is about: a row, and the page that it is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    /// The page, which is a table of one leaf.
    pub(crate) page: String,
    /// The row's key; `None`: the page as such.
    pub(crate) key: Option<String>,
    /// As the script names it.
    pub(crate) name: String,
}

/// Something with the column that it stands at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) it: T,
    pub(crate) column: usize,
}

/// A checkpoint's table of transactions: their names, and the last record of each if it is told.
pub(crate) type Actives = Vec<At<(String, Option<u64>)>>;

/// A checkpoint's table of pages, each with its recLSN.
pub(crate) type Dirties = Vec<At<(Object, u64)>>;

/// One line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: usize,
    /// Where its first word stands.
    pub(crate) column: usize,
    pub(crate) label: Option<At<u64>>,
    pub(crate) what: What,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Checkpoint {
        part: Part,
        active: Option<At<Actives>>,
        dirty: Option<At<Dirties>>,
    },
    Txn {
        txn: String,
        verb: Verb,
    },
    Disk {
        object: Object,
        lsn: Option<At<u64>>,
        value: Option<At<Value>>,
    },
    Torn {
        object: Object,
        lsn: Option<At<u64>>,
        copy: bool,
    },
    Sync,
    Tear,
    Damage(At<u64>),
    Crash,
}

/// A checkpoint on one line, or its begin and its end on two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Begin,
    End,
}

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verb {
    Begin,
    /// Also an insert, of which the value before is absent, and a delete, of which the value after is.
    Change {
        object: At<Object>,
        before: Option<At<Value>>,
        after: Option<At<Value>>,
        word: &'static str,
    },
    Clr {
        object: Option<At<Object>>,
        value: Option<At<Value>>,
        undoes: Option<At<u64>>,
        undo_next: Option<At<Option<u64>>>,
    },
    Commit,
    Abort,
    Savepoint(String),
    End,
}

/// Lines that say something, at most: every step of the story has the tables and the pages behind it.
const LINES_MAX: usize = 300;
/// The highest LSN that a script may name: what recovery writes gets the ones behind it.
const LSN_MAX: u64 = 999_999_999_999_999_999;
/// The longest page name, key and value, in bytes: what a table's name, a key and a row of a page of 4096 bytes may be.
const NAME_BYTES_MAX: usize = 255;
const KEY_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 1024;

/// What may stand behind a transaction's name.
const VERBS: &str = "BEGIN, UPDATE, INSERT, DELETE, COMMIT, ABORT, SAVEPOINT, CLR or END";
/// What a line may begin with.
const STARTS: &str =
    "LSN=NUMBER, a transaction like T1, CHECKPOINT, DISK, TORN, SYNC, TEAR, DAMAGE or CRASH";

/// Reads a script.
pub(crate) fn read(text: &str) -> Result<Vec<Line>, Mistake> {
    let mut lines = Vec::new();
    for (n, text) in text.lines().enumerate() {
        let tokens = tokens(n + 1, text)?;
        if let Some(first) = tokens.first() {
            if lines.len() == LINES_MAX {
                return Err(Mistake::at(n + 1, first.column)
                    .found("one line more than a story has room for")
                    .expected(format!("{LINES_MAX} lines at most, remarks not counted")));
            }
            let end = text.trim_end().chars().count() + 1;
            lines.push(Parser::new(n + 1, &tokens, end).line()?);
        }
    }
    if lines.is_empty() {
        return Err(Mistake::at(1, 1)
            .found("nothing")
            .expected("a line like LSN=1 T1 BEGIN"));
    }
    Ok(lines)
}

struct Parser<'a> {
    line: usize,
    tokens: &'a [Token],
    /// The column behind the last piece.
    end: usize,
}

/// What stood behind a verb, sorted.
#[derive(Default)]
struct Parts {
    object: Option<At<Object>>,
    before: Option<At<Value>>,
    after: Option<At<Value>>,
    value: Option<At<Value>>,
    lsn: Option<At<u64>>,
    undoes: Option<At<u64>>,
    undo_next: Option<At<Option<u64>>>,
    copy: Option<bool>,
    name: Option<String>,
}

impl<'a> Parser<'a> {
    fn new(line: usize, tokens: &'a [Token], end: usize) -> Parser<'a> {
        Parser { line, tokens, end }
    }

    fn peek(&self) -> Option<&'a Kind> {
        self.tokens.first().map(|token| &token.kind)
    }

    fn peek_second(&self) -> Option<&'a Kind> {
        self.tokens.get(1).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn column(&self) -> usize {
        self.tokens.first().map_or(self.end, |token| token.column)
    }

    fn take(&mut self, kind: &Kind) -> bool {
        let is_it = self.peek() == Some(kind);
        if is_it {
            self.next();
        }
        is_it
    }

    /// The next piece is not what it should be.
    fn wrong(&self, expected: impl Into<String>) -> Mistake {
        let found = match self.tokens.first() {
            Some(token) => token.shown(),
            None => "the end of the line".to_owned(),
        };
        Mistake::at(self.line, self.column())
            .found(found)
            .expected(expected)
    }

    fn must(&mut self, kind: &Kind, expected: &str) -> Result<(), Mistake> {
        if self.take(kind) {
            return Ok(());
        }
        Err(self.wrong(expected))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Kind::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_it = self.is_word(word);
        if is_it {
            self.next();
        }
        is_it
    }

    fn word(&mut self, expected: &str) -> Result<At<String>, Mistake> {
        match self.peek() {
            Some(Kind::Word(word)) => {
                let at = At {
                    it: word.clone(),
                    column: self.column(),
                };
                self.next();
                Ok(at)
            }
            _ => Err(self.wrong(expected)),
        }
    }

    fn number(&mut self, expected: &str) -> Result<At<u64>, Mistake> {
        let wrong = self.wrong(expected);
        let word = self.word(expected)?;
        let is_number = word.it.chars().all(|c| c.is_ascii_digit());
        match word.it.parse() {
            Ok(number) if number <= LSN_MAX => Ok(At {
                it: number,
                column: word.column,
            }),
            _ if is_number => Err(Mistake::at(self.line, word.column)
                .found(format!("{}, which is too high", word.it))
                .expected(format!("an LSN up to {LSN_MAX}"))),
            _ => Err(wrong),
        }
    }

    fn value(&mut self) -> Result<At<Value>, Mistake> {
        let column = self.column();
        let it = match self.next().map(|token| &token.kind) {
            Some(Kind::Word(word)) if word == "_" || word.eq_ignore_ascii_case("absent") => None,
            Some(Kind::Word(text) | Kind::Quoted(text)) => Some(text.clone()),
            _ => {
                let wrong = Mistake::at(self.line, column);
                return Err(wrong.found("no value").expected("a value, or _ for absent"));
            }
        };
        let bytes = it.as_ref().map_or(0, String::len);
        if bytes > VALUE_BYTES_MAX {
            return Err(Mistake::at(self.line, column)
                .found(format!("a value of {bytes} bytes"))
                .expected(format!("{VALUE_BYTES_MAX} bytes at most")));
        }
        Ok(At { it, column })
    }

    fn line(mut self) -> Result<Line, Mistake> {
        let (number, column) = (self.line, self.column());
        let label = self.label()?;
        let what = self.what()?;
        if self.peek().is_some() {
            return Err(self.wrong("the end of the line"));
        }
        Ok(Line {
            number,
            column,
            label,
            what,
        })
    }

    fn label(&mut self) -> Result<Option<At<u64>>, Mistake> {
        if self.take_word("LSN") {
            self.must(&Kind::Equals, "= and a number, like LSN=200")?;
            return self.number("a number, like LSN=200").map(Some);
        }
        let numeric = |kind: &Kind| matches!(kind, Kind::Word(word) if word.chars().all(|c| c.is_ascii_digit()));
        match self.peek().is_some_and(numeric) {
            true => self.number("a number").map(Some),
            false => Ok(None),
        }
    }

    fn what(&mut self) -> Result<What, Mistake> {
        let start = self.wrong(STARTS);
        let word = self.word(STARTS)?;
        match word.it.to_ascii_uppercase().as_str() {
            "CHECKPOINT" => self.checkpoint(Part::Whole),
            "BEGIN_CHECKPOINT" => self.checkpoint(Part::Begin),
            "END_CHECKPOINT" => self.checkpoint(Part::End),
            "CRASH" => Ok(What::Crash),
            "SYNC" => Ok(What::Sync),
            "TEAR" => Ok(What::Tear),
            "DAMAGE" => match self.label()? {
                Some(label) => Ok(What::Damage(label)),
                None => Err(self.wrong("the record that is damaged, like LSN=203")),
            },
            "DISK" => {
                let parts = self.parts(&["lsn", "value"])?;
                Ok(What::Disk {
                    object: self.object_of(&parts)?.it,
                    lsn: parts.lsn,
                    value: parts.value,
                })
            }
            "TORN" => {
                let parts = self.parts(&["lsn", "copy"])?;
                Ok(What::Torn {
                    object: self.object_of(&parts)?.it,
                    lsn: parts.lsn,
                    copy: parts.copy.unwrap_or(true),
                })
            }
            _ if is_name(&word.it) && self.is_verb() => self.verb(word.it),
            _ if is_name(&word.it) && word.it.starts_with(['T', 't']) => Err(self.wrong(VERBS)),
            _ => Err(start),
        }
    }

    fn is_verb(&self) -> bool {
        const ALL: [&str; 10] = [
            "BEGIN",
            "UPDATE",
            "INSERT",
            "DELETE",
            "COMMIT",
            "ABORT",
            "SAVEPOINT",
            "CLR",
            "END",
            "ROLLBACK",
        ];
        ALL.iter().any(|verb| self.is_word(verb))
    }

    fn verb(&mut self, txn: String) -> Result<What, Mistake> {
        let verb = self.word(VERBS)?;
        let verb = match verb.it.to_ascii_uppercase().as_str() {
            "BEGIN" => Verb::Begin,
            "COMMIT" => Verb::Commit,
            "ABORT" | "ROLLBACK" => Verb::Abort,
            "END" => Verb::End,
            "SAVEPOINT" => {
                let parts = self.parts(&["name"])?;
                let name = parts.object.map(|object| object.it.name).or(parts.name);
                Verb::Savepoint(name.unwrap_or_default())
            }
            "UPDATE" => self.change("UPDATE")?,
            "INSERT" => self.change("INSERT")?,
            "DELETE" => self.change("DELETE")?,
            _ => {
                let parts = self.parts(&["value", "after", "undoes", "undonext"])?;
                if parts.object.is_none() && parts.undoes.is_none() {
                    return Err(
                        self.wrong("what is undone: undoes=LSN, or an object and its value")
                    );
                }
                Verb::Clr {
                    object: parts.object,
                    value: parts.value.or(parts.after),
                    undoes: parts.undoes,
                    undo_next: parts.undo_next,
                }
            }
        };
        Ok(What::Txn { txn, verb })
    }

    fn change(&mut self, word: &'static str) -> Result<Verb, Mistake> {
        let absent = |column| Some(At { it: None, column });
        let column = self.column();
        let names: &[&str] = match word {
            "UPDATE" => &["before", "after", "value"],
            "INSERT" => &["after", "value", "before"],
            _ => &["before", "value", "after"],
        };
        let parts = self.parts(names)?;
        let object = self.object_of(&parts)?;
        let value_is = match word {
            "DELETE" => ("before", &parts.before),
            _ => ("after", &parts.after),
        };
        if let (Some(value), (name, Some(_))) = (&parts.value, value_is) {
            return Err(Mistake::at(self.line, value.column)
                .found(format!("value= beside {name}="))
                .expected(format!(
                    "one of the two: with {word} they are the same thing"
                )));
        }
        let too_much = match word {
            "INSERT" => Some(("before", &parts.before, "what it comes in place of")),
            "DELETE" => Some(("after", &parts.after, "what it leaves")),
            _ => None,
        };
        if let Some((
            name,
            Some(At {
                it: Some(value),
                column,
            }),
            what,
        )) = too_much
        {
            return Err(Mistake::at(self.line, *column)
                .found(format!("{name}={value} with {word}, {what}"))
                .expected(format!("UPDATE, or no {name}=")));
        }
        let (before, after) = match word {
            "INSERT" => (parts.before.or(absent(column)), parts.after.or(parts.value)),
            "DELETE" => (parts.before.or(parts.value), parts.after.or(absent(column))),
            _ => (parts.before, parts.after.or(parts.value)),
        };
        if after.is_none() {
            return Err(self.wrong(match word {
                "INSERT" => "value=VALUE",
                _ => "after=VALUE",
            }));
        }
        Ok(Verb::Change {
            object,
            before,
            after,
            word,
        })
    }

    fn object_of(&self, parts: &Parts) -> Result<At<Object>, Mistake> {
        match &parts.object {
            Some(object) => Ok(object.clone()),
            None => {
                Err(self
                    .wrong("what is meant, like A, A.x, table=users, key=1, or page=10 offset=5"))
            }
        }
    }

    /// Everything behind a verb: an object, and what is said of it. `names`: what may be said.
    fn parts(&mut self, names: &[&str]) -> Result<Parts, Mistake> {
        let mut parts = Parts::default();
        let (mut page, mut key): (Option<At<String>>, Option<String>) = (None, None);
        let mut shape = "";
        while self.peek().is_some() {
            if self.take(&Kind::Comma) {
                continue;
            }
            let allowed = || format!("{}=", names.join("=, "));
            if self.peek_second() != Some(&Kind::Equals) {
                // A bare object, or, behind it, "0 -> 1" or "0 to 1".
                let nothing = parts.object.is_none() && page.is_none();
                let from_to =
                    names.contains(&"before") && parts.before.is_none() && parts.after.is_none();
                if nothing {
                    let word = self.word("what is meant, like A or A.x")?;
                    parts.object = Some(self.legal(bare(&word.it), word.column)?);
                } else if from_to && matches!(self.peek(), Some(Kind::Word(_) | Kind::Quoted(_))) {
                    parts.before = Some(self.value()?);
                    if !self.take(&Kind::Arrow) && !self.take_word("to") {
                        return Err(self.wrong("-> and the value after"));
                    }
                    parts.after = Some(self.value()?);
                } else {
                    return Err(self.wrong(format!("{}, or the end of the line", allowed())));
                }
                continue;
            }
            let wrong = self.wrong(allowed());
            let name = self.word(&allowed())?;
            self.next();
            let column = self.column();
            let lower = name.it.to_ascii_lowercase().replace(['_', '-'], "");
            let told = match lower.as_str() {
                "table" | "page" => page.is_some() || parts.object.is_some(),
                "key" | "offset" | "field" | "row" | "slot" => key.is_some(),
                "before" => parts.before.is_some(),
                "after" => parts.after.is_some(),
                "value" => parts.value.is_some(),
                "lsn" => parts.lsn.is_some(),
                "undoes" => parts.undoes.is_some(),
                "undonext" => parts.undo_next.is_some(),
                "copy" => parts.copy.is_some(),
                _ => parts.name.is_some(),
            };
            if told {
                return Err(Mistake::at(self.line, name.column)
                    .found(format!("{}= a second time", name.it))
                    .expected("each thing once"));
            }
            match lower.as_str() {
                "table" | "page" => {
                    shape = if lower == "table" { "table" } else { "page" };
                    let it = self.text("a name")?;
                    page = Some(At {
                        it,
                        column: name.column,
                    });
                }
                "key" | "offset" | "field" | "row" | "slot" => key = Some(self.text("a key")?),
                found if !names.contains(&found) => return Err(wrong),
                "before" => parts.before = Some(self.value()?),
                "after" => parts.after = Some(self.value()?),
                "value" => parts.value = Some(self.value()?),
                "lsn" => parts.lsn = Some(self.number("a number")?),
                "undoes" => parts.undoes = Some(self.number("the LSN that is undone")?),
                "undonext" => {
                    let none = ["_", "none", "nil", "null", "-"];
                    let it = match none.iter().any(|none| self.take_word(none)) {
                        true => None,
                        false => Some(self.number("an LSN, or _ for none")?.it),
                    };
                    parts.undo_next = Some(At { it, column });
                }
                "copy" => match self.word("yes or no")?.it.as_str() {
                    "yes" => parts.copy = Some(true),
                    "no" => parts.copy = Some(false),
                    _ => {
                        return Err(Mistake::at(self.line, column)
                            .found("neither")
                            .expected("yes or no"));
                    }
                },
                _ => parts.name = Some(self.text("a name")?),
            }
        }
        if let Some(page) = page {
            let it = placed(shape, &page.it, key.as_deref());
            parts.object = Some(self.legal(it, page.column)?);
        } else if let (Some(object), Some(key)) = (&mut parts.object, key) {
            let it = placed("table", &object.it.page, Some(&key));
            *object = self.legal(it, object.column)?;
        }
        Ok(parts)
    }

    /// A thing that a table can have: its page has a name, and its key is not too long.
    fn legal(&self, object: Object, column: usize) -> Result<At<Object>, Mistake> {
        let wrong = Mistake::at(self.line, column);
        let key = object.key.as_ref().map_or(0, String::len);
        if object.page.is_empty() {
            return Err(wrong
                .found(format!("\"{}\", which names no page", object.name))
                .expected("a page's name, like A or A.x"));
        }
        if object.page.len() > NAME_BYTES_MAX || key > KEY_BYTES_MAX {
            return Err(wrong
                .found(format!(
                    "a page's name of {} bytes, a key of {key}",
                    object.page.len()
                ))
                .expected(format!(
                    "{NAME_BYTES_MAX} and {KEY_BYTES_MAX} bytes at most"
                )));
        }
        Ok(At { it: object, column })
    }

    fn text(&mut self, expected: &str) -> Result<String, Mistake> {
        match self.peek() {
            Some(Kind::Word(text) | Kind::Quoted(text)) => {
                self.next();
                Ok(text.clone())
            }
            _ => Err(self.wrong(expected)),
        }
    }

    fn checkpoint(&mut self, part: Part) -> Result<What, Mistake> {
        let part = match part {
            Part::Whole if self.take_word("BEGIN") => Part::Begin,
            Part::Whole if self.take_word("END") => Part::End,
            part => part,
        };
        let (mut active, mut dirty) = (None, None);
        while self.peek().is_some() {
            if self.take(&Kind::Comma) {
                continue;
            }
            let column = self.column();
            if part != Part::Begin && self.take_word("active") {
                let it = self.list(Parser::active)?;
                active = Some(At { it, column });
            } else if part != Part::Begin && self.take_word("dirty") {
                let it = self.list(Parser::dirty)?;
                dirty = Some(At { it, column });
            } else {
                return Err(self.wrong(match part {
                    Part::Begin => "the end of the line: the tables stand with CHECKPOINT END",
                    _ => "active={...}, dirty={...} or the end of the line",
                }));
            }
        }
        Ok(What::Checkpoint {
            part,
            active,
            dirty,
        })
    }

    fn list<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T, Mistake>,
    ) -> Result<Vec<At<T>>, Mistake> {
        self.must(&Kind::Equals, "= and a list in { }")?;
        self.must(&Kind::Open, "{")?;
        let mut all = Vec::new();
        while !self.take(&Kind::Close) {
            if self.take(&Kind::Comma) {
                continue;
            }
            let column = self.column();
            let it = one(self)?;
            all.push(At { it, column });
            if !matches!(self.peek(), Some(Kind::Comma | Kind::Close)) {
                return Err(self.wrong("a comma or }"));
            }
        }
        Ok(all)
    }

    fn active(&mut self) -> Result<(String, Option<u64>), Mistake> {
        let name = self.word("a transaction, or }")?;
        let mut last = None;
        if self.take(&Kind::Colon) || self.take(&Kind::Equals) {
            if self.take_word("lastLSN") {
                self.must(&Kind::Equals, "= and an LSN")?;
            }
            last = Some(self.number("the LSN of its last record")?.it);
        }
        Ok((name.it, last))
    }

    fn dirty(&mut self) -> Result<(Object, u64), Mistake> {
        let column = self.column();
        let mut object = bare(&self.word("a page, or }")?.it);
        let named = ["page", "table"].contains(&object.name.to_ascii_lowercase().as_str());
        if named && self.take(&Kind::Equals) {
            let shape = object.name.to_ascii_lowercase();
            object = placed(&shape, &self.text("a page")?, None);
        }
        let object = self.legal(object, column)?.it;
        if !self.take(&Kind::Colon) && !self.take(&Kind::Equals) {
            return Err(self.wrong(": and its recLSN, like A:recLSN=198"));
        }
        if self.take_word("recLSN") {
            self.must(&Kind::Equals, "= and an LSN")?;
        }
        Ok((object, self.number("its recLSN, a number")?.it))
    }
}

/// Whether a word can be a transaction's name.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic())
        && word.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// An object that is named by one word: `A`, `A.x`, `users/1`.
fn bare(word: &str) -> Object {
    if let Some((page, key)) = word.split_once('/') {
        return placed("table", page, Some(key));
    }
    let page = word.split('.').next().unwrap_or(word);
    Object {
        page: page.to_owned(),
        key: Some(word.to_owned()),
        name: word.to_owned(),
    }
}

/// An object that is named by its page and its place there.
fn placed(shape: &str, page: &str, key: Option<&str>) -> Object {
    match (shape, key) {
        ("page", Some(key)) => Object {
            page: format!("page {page}"),
            key: Some(format!("offset {key}")),
            name: format!("page {page} offset {key}"),
        },
        ("page", None) => Object {
            page: format!("page {page}"),
            key: None,
            name: format!("page {page}"),
        },
        (_, key) => Object {
            page: page.to_owned(),
            key: key.map(str::to_owned),
            name: match key {
                Some(key) => format!("{page}/{key}"),
                None => page.to_owned(),
            },
        },
    }
}
