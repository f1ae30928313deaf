//! What can be asked of the shell: the words of a line as a statement.

use super::help;
use super::words::{Format, Word};
use crate::span::Span;

/// One statement. Where a table is `None`, the one of `use` is meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Statement {
    Tables,
    Create {
        name: String,
        unlogged: bool,
    },
    Drop(String),
    Rename {
        from: String,
        to: String,
    },
    Use(Option<String>),
    Get {
        table: Option<String>,
        key: Vec<u8>,
    },
    Write {
        how: Write,
        table: Option<String>,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        table: Option<String>,
        key: Vec<u8>,
    },
    DeleteRange {
        table: Option<String>,
        span: Span,
    },
    Scan {
        table: Option<String>,
        span: Span,
        limit: u64,
        reverse: bool,
    },
    Count {
        table: Option<String>,
        span: Span,
    },
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    Release(String),
    Stats,
    Set {
        name: String,
        value: String,
    },
    Checkpoint,
    Verify,
    Timing(Option<bool>),
    Format(Option<Format>),
    Width(Option<usize>),
    Help(Option<String>),
    Quit,
}

/// What a write does with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Whatever is there.
    Put,
    /// Only where nothing is.
    Insert,
    /// Only where something is.
    Update,
}

/// The statement that the words are, or what is wrong with them.
pub fn parse(words: Vec<Word>) -> Result<Statement, String> {
    let mut words = words.into_iter();
    let first = words.next().ok_or("nothing to do")?;
    let typed = String::from_utf8_lossy(&first.bytes).to_lowercase();
    let Some(name) = help::command(&typed).filter(|_| first.plain) else {
        let near = help::nearest(&typed);
        let near = near.map_or(String::new(), |name| format!("; did you mean {name}?"));
        return Err(format!("there is no command {typed}{near}"));
    };
    let mut rest = Rest {
        name,
        words: words.collect(),
    };
    let statement = rest.statement()?;
    match rest.words.first() {
        None => Ok(statement),
        Some(_) => Err(rest.wrong()),
    }
}

/// What is left of a statement's words.
struct Rest {
    name: &'static str,
    words: Vec<Word>,
}

impl Rest {
    fn statement(&mut self) -> Result<Statement, String> {
        Ok(match self.name {
            "tables" => Statement::Tables,
            "create" => {
                let name = self.table_name()?;
                let unlogged = self.one_of(&[("unlogged", true)])?.unwrap_or(false);
                Statement::Create { name, unlogged }
            }
            "drop" => Statement::Drop(self.table_name()?),
            "rename" => {
                let from = self.table_name()?;
                if self.words.is_empty() || !self.words.remove(0).is("to") {
                    return Err(self.wrong());
                }
                let to = self.table_name()?;
                Statement::Rename { from, to }
            }
            "use" if self.words.is_empty() => Statement::Use(None),
            "use" => Statement::Use(Some(self.table_name()?)),
            "get" => {
                let table = self.table_before(1)?;
                let key = self.word()?;
                Statement::Get { table, key }
            }
            "put" => self.write(Write::Put)?,
            "insert" => self.write(Write::Insert)?,
            "update" => self.write(Write::Update)?,
            "delete" if self.words.iter().any(|word| word.keyword().is_some()) => {
                let table = self.table_before_keywords()?;
                let part = self.part()?;
                if part.limit.is_some() || part.reverse {
                    return Err(self.wrong());
                }
                let span = part.span;
                Statement::DeleteRange { table, span }
            }
            "delete" => {
                let table = self.table_before(1)?;
                let key = self.word()?;
                Statement::Delete { table, key }
            }
            "scan" => {
                let table = self.table_before_keywords()?;
                let part = self.part()?;
                Statement::Scan {
                    table,
                    span: part.span,
                    limit: part.limit.unwrap_or(u64::MAX),
                    reverse: part.reverse,
                }
            }
            "count" => {
                let table = self.table_before_keywords()?;
                let part = self.part()?;
                if part.limit.is_some() || part.reverse {
                    return Err(self.wrong());
                }
                let span = part.span;
                Statement::Count { table, span }
            }
            "begin" => Statement::Begin,
            "commit" => Statement::Commit,
            "rollback" if self.words.is_empty() => Statement::Rollback,
            "rollback" => {
                if !self.words.remove(0).is("to") {
                    return Err(self.wrong());
                }
                Statement::RollbackTo(self.text()?)
            }
            "savepoint" => Statement::Savepoint(self.text()?),
            "release" => Statement::Release(self.text()?),
            "stats" => Statement::Stats,
            "set" => Statement::Set {
                name: self.text()?,
                value: self.text()?,
            },
            "checkpoint" => Statement::Checkpoint,
            "verify" => Statement::Verify,
            "\\timing" => Statement::Timing(self.one_of(&[("on", true), ("off", false)])?),
            "\\format" => Statement::Format(self.one_of(&[
                ("text", Format::Text),
                ("hex", Format::Hex),
                ("escape", Format::Escape),
            ])?),
            "\\width" if self.words.first().is_some_and(|word| word.is("all")) => {
                self.words.remove(0);
                Statement::Width(None)
            }
            "\\width" => Statement::Width(Some(self.number()?)),
            "\\help" if self.words.is_empty() => Statement::Help(None),
            "\\help" => Statement::Help(Some(self.text()?)),
            "\\quit" => Statement::Quit,
            other => return Err(format!("{other} is not done yet")),
        })
    }

    /// This is not how the command is written.
    fn wrong(&self) -> String {
        format!("write it so: {}", help::usage(self.name))
    }

    fn word(&mut self) -> Result<Vec<u8>, String> {
        if self.words.is_empty() {
            return Err(self.wrong());
        }
        Ok(self.words.remove(0).bytes)
    }

    fn text(&mut self) -> Result<String, String> {
        String::from_utf8(self.word()?).map_err(|_| "a name is text".to_owned())
    }

    fn table_name(&mut self) -> Result<String, String> {
        self.text()
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, String> {
        let text = self.text()?;
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }

    fn one_of<T: Copy>(&mut self, choices: &[(&str, T)]) -> Result<Option<T>, String> {
        if self.words.is_empty() {
            return Ok(None);
        }
        let word = self.words.remove(0);
        let chosen = choices.iter().find(|(name, _)| word.is(name));
        chosen
            .map(|(_, choice)| Some(*choice))
            .ok_or_else(|| self.wrong())
    }

    /// The table, where one stands before the `needed` words that must be there.
    fn table_before(&mut self, needed: usize) -> Result<Option<String>, String> {
        match self.words.len().checked_sub(needed) {
            Some(0) => Ok(None),
            Some(1) => self.table_name().map(Some),
            _ => Err(self.wrong()),
        }
    }

    fn table_before_keywords(&mut self) -> Result<Option<String>, String> {
        match self.words.first() {
            Some(word) if word.keyword().is_none() => self.table_name().map(Some),
            _ => Ok(None),
        }
    }

    fn write(&mut self, how: Write) -> Result<Statement, String> {
        let table = self.table_before(2)?;
        Ok(Statement::Write {
            how,
            table,
            key: self.word()?,
            value: self.word()?,
        })
    }

    fn part(&mut self) -> Result<Part, String> {
        let mut part = Part::default();
        while !self.words.is_empty() {
            match self.words.remove(0).keyword() {
                Some("prefix") => part.span.prefix = Some(self.word()?),
                Some("from") => part.span.from = Some(self.word()?),
                Some("to") => part.span.to = Some(self.word()?),
                Some("limit") => part.limit = Some(self.number()?),
                Some("reverse") => part.reverse = true,
                _ => return Err(self.wrong()),
            }
        }
        Ok(part)
    }
}

/// Which rows, how many, from which end.
#[derive(Default)]
struct Part {
    span: Span,
    limit: Option<u64>,
    reverse: bool,
}

#[cfg(test)]
mod tests {
    use super::super::words::statements;
    use super::*;

    fn read(line: &str) -> Result<Statement, String> {
        let mut all = statements(line.as_bytes())?;
        assert_eq!(all.len(), 1);
        parse(all.remove(0))
    }

    #[test]
    fn keywords_may_be_keys_in_quotes() {
        let scan = Statement::Scan {
            table: Some("t".into()),
            span: Span {
                prefix: Some(b"limit".to_vec()),
                ..Span::default()
            },
            limit: 3,
            reverse: true,
        };
        assert_eq!(read("scan t prefix limit LIMIT 3 reverse"), Ok(scan));
        let key = Statement::Delete {
            table: Some("t".into()),
            key: b"prefix".to_vec(),
        };
        assert_eq!(read("delete t \"prefix\""), Ok(key));
        assert!(read("delete t prefix").is_err());
        assert!(matches!(
            read("scan \"from\""),
            Ok(Statement::Scan { table: Some(t), .. }) if t == "from"
        ));
    }

    #[test]
    fn a_table_is_left_out_after_use() {
        let get = |table: Option<&str>| {
            Ok(Statement::Get {
                table: table.map(str::to_owned),
                key: b"k".to_vec(),
            })
        };
        assert_eq!(read("get k"), get(None));
        assert_eq!(read("get t k"), get(Some("t")));
        assert_eq!(read("GET t k"), get(Some("t")));
        assert!(read("get").is_err());
        assert!(read("get a b c").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_how_it_is_written() {
        assert_eq!(
            read("scna t"),
            Err("there is no command scna; did you mean scan?".into())
        );
        assert!(read("put t k").is_ok(), "the table of `use`");
        let wrong = read("put k").expect_err("no value");
        assert!(wrong.contains("put [TABLE] KEY VALUE"), "{wrong}");
        assert!(read("scan t limit x").is_err());
        assert!(read("count t limit 3").is_err());
        assert!(read("rollback now").is_err());
        assert!(read("commit now").is_err());
        assert!(read("\"tables\"").is_err());
    }

    #[test]
    fn every_command_that_has_a_help_is_one() {
        for name in help::names() {
            let words = statements(format!("{name} a b c d").as_bytes()).expect("words");
            let told = parse(words.into_iter().next().expect("one")).expect_err("too many words");
            assert!(!told.contains("no command"), "{name}: {told}");
            assert!(!told.contains("not done yet"), "{name}: {told}");
        }
    }
}
