//! The shell at a terminal: line editing, history, completion, Ctrl-C.

use super::help;
use super::session::{Flow, Session};
use super::words::{Format, KEYWORDS, show};
use crate::failure::Failure;
use crate::out::note;
use rustyline::completion::Completer;
use rustyline::config::{BellStyle, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Context, Editor, Helper};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Lines that are remembered.
const REMEMBERED: usize = 1000;

/// Reads lines at the prompt and does what they say, until Ctrl-D or `\quit`.
pub fn run(
    mut session: Session<'_>,
    stop: &Arc<AtomicBool>,
    remember: bool,
) -> Result<(), Failure> {
    // While a line is typed Ctrl-C is a key; while a statement runs it raises the flag that a scan looks at.
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(stop))
        .map_err(|e| Failure::refused(format!("signals cannot be watched for: {e}")))?;
    let mut editor = editor()?;
    let history = remember.then(history_file).flatten();
    if let Some(path) = &history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    loop {
        let (tables, savepoints) = session.names();
        editor.set_helper(Some(Names { tables, savepoints }));
        let line = match editor.readline(&session.prompt()) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(e) => {
                let _ = session.close();
                return Err(Failure::refused(format!(
                    "the terminal cannot be read: {e}"
                )));
            }
        };
        if editor.add_history_entry(&line).unwrap_or(false)
            && let Some(path) = &history
            && let Err(e) = editor.append_history(path)
        {
            note(format_args!(
                "what is typed cannot be kept in {}: {e}",
                path.display()
            ));
        }
        match session.line(line.as_bytes()) {
            Ok(Flow::On) => {}
            Ok(Flow::Quit) => break,
            Err(Failure::BrokenPipe) => break,
            // It has been shown.
            Err(Failure::Told(_)) => {}
            Err(failure) => note(failure),
        }
    }
    session.close().map(drop)
}

fn editor() -> Result<Editor<Names, FileHistory>, Failure> {
    let told = |e: ReadlineError| Failure::refused(format!("the terminal cannot be used: {e}"));
    let config = Config::builder()
        .max_history_size(REMEMBERED)
        .map_err(told)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .bell_style(BellStyle::None)
        .build();
    Editor::with_config(config).map_err(told)
}

/// Where what is typed is kept: the user's state directory, never the database. None where there is no such place.
fn history_file() -> Option<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let dir = state?.join("afterimage");
    match std::fs::create_dir_all(&dir) {
        Ok(()) => Some(dir.join("history")),
        Err(e) => {
            note(format_args!(
                "what is typed cannot be kept in {}: {e}",
                dir.display()
            ));
            None
        }
    }
}

/// What completion offers beside the commands.
struct Names {
    tables: Vec<String>,
    savepoints: Vec<String>,
}

impl Names {
    /// What may stand behind the words typed before.
    fn choices(&self, before: &[&str]) -> Vec<String> {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let tables = || {
            let names = self.tables.iter();
            names.map(|name| show(name.as_bytes(), Format::Text))
        };
        let Some(first) = before.first() else {
            return help::names().map(str::to_owned).collect();
        };
        match (help::command(&first.to_lowercase()), before.len()) {
            (Some("get" | "put" | "insert" | "update" | "use" | "drop" | "rename"), 1) => {
                tables().collect()
            }
            (Some("delete" | "scan" | "count"), 1) => tables().chain(own(&KEYWORDS)).collect(),
            (Some("delete" | "scan" | "count"), _) => own(&KEYWORDS),
            (Some("rollback"), 1) | (Some("rename"), 2) => own(&["to"]),
            (Some("rollback"), 2) | (Some("release"), 1) => self.savepoints.clone(),
            (Some("\\timing"), 1) => own(&["on", "off"]),
            (Some("\\format"), 1) => own(&["text", "hex", "escape"]),
            (Some("\\width"), 1) => own(&["all"]),
            (Some("\\help"), 1) => help::names().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..at];
        let statement = typed.rsplit(';').next().unwrap_or(typed);
        let word = statement
            .rsplit(char::is_whitespace)
            .next()
            .unwrap_or(statement);
        let before: Vec<&str> = statement[..statement.len() - word.len()]
            .split_whitespace()
            .collect();
        let mut choices = self.choices(&before);
        choices.retain(|choice| choice.starts_with(word));
        choices.iter_mut().for_each(|choice| choice.push(' '));
        Ok((at - word.len(), choices))
    }
}

impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_offers_what_may_stand_there() {
        let names = Names {
            tables: vec!["accounts".into(), "a b".into(), "orders".into()],
            savepoints: vec!["before".into()],
        };
        let history = FileHistory::new();
        let offered = |line: &str| {
            let (from, choices) = names
                .complete(line, line.len(), &Context::new(&history))
                .expect("no I/O");
            let whole = |choice: String| format!("{}{}", &line[..from], choice.trim_end());
            choices.into_iter().map(whole).collect::<Vec<_>>()
        };
        assert_eq!(offered("sc"), ["scan"]);
        assert_eq!(offered("begin; sa"), ["begin; savepoint"]);
        assert_eq!(offered("get a"), ["get accounts"]);
        assert_eq!(offered("get \""), ["get \"a b\""]);
        assert_eq!(offered("scan accounts l"), ["scan accounts limit"]);
        assert_eq!(offered("rollback to "), ["rollback to before"]);
        assert_eq!(offered("\\f"), ["\\format"]);
        assert_eq!(offered("get accounts "), [""; 0]);
    }
}
