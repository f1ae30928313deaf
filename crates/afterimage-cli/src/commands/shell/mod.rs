//! `afterimage shell`: a prompt for looking and trying; and the same from a pipe, for scripts.
//!
//! `words` reads and writes bytes, `statement` makes a statement of words, `session` and `tables` do it, `show` says what came of
//! it, `help` knows every command, `prompt` is the line editor.

mod help;
mod prompt;
mod session;
mod show;
mod statement;
mod tables;
mod words;

use crate::commands::demo::story;
use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use crate::units::counted;
use session::{Flow, Session};
use show::Show;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use words::Format;

/// What `shell` takes.
#[derive(clap::Args)]
#[command(after_help = "\
At a terminal: a prompt with history (arrows, Ctrl-R) and completion (Tab). `\\help` lists what can be typed. Ctrl-C
takes back the line or ends a scan, Ctrl-D leaves; an open transaction is then rolled back. A star in the prompt says
that one is open. What is typed is kept in $XDG_STATE_HOME/afterimage/history (~/.local/state/...), except lines that
begin with a space.

From a pipe: no prompt, results alone on stdout, remarks on stderr, rows as KEY<TAB>VALUE, or one JSON document a line
with --json. It ends at the first failure, with its exit code, and says in which line; what was not committed is not there.

Keys and values are written as they are printed: plainly, \"in quotes\" with \\xNN for any byte, or as 0x00ff.

Examples:
  afterimage shell bank
  echo 'scan accounts prefix 00 limit 10' | afterimage shell bank
  echo 'begin; put accounts alice 90; put accounts bob 110; commit' | afterimage shell bank
  afterimage shell bank --dry-run           try anything; nothing is kept")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// Make the database where there is none
    #[arg(long, conflicts_with = "dry_run")]
    create: bool,
    /// Change no byte of it: what is written stays in memory, and is gone at the end
    #[arg(long)]
    dry_run: bool,
    /// How bytes are shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Neither read nor write the file with what was typed before
    #[arg(long)]
    no_history: bool,
}

/// Reads statements and does them, until the end of the input.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let start = Instant::now();
    let db = match args {
        Args { dry_run: true, .. } => open::for_reading(&args.dir, settings),
        Args { create: true, .. } => open::or_create(&args.dir, settings),
        _ => open::for_writing(&args.dir, settings),
    };
    let db = db?;
    let took = start.elapsed();
    let prompt = io::stdin().is_terminal() && io::stdout().is_terminal();
    let stop = Arc::new(AtomicBool::new(false));
    let mut show = Show::new(out, prompt, args.format);
    if !db.recovery_report().clean {
        for line in story::tell_recovery(db.recovery_report(), took) {
            show.remark(line)?;
        }
    }
    let tables = db.tables().map_err(|e| from_engine(e, &args.dir))?.len();
    let tables = counted(tables as u64, "table", "tables");
    let kept = if args.dry_run {
        ", of which no byte is changed"
    } else {
        ""
    };
    show.aside(format_args!(
        "{tables}{kept}; \\help lists what can be typed, Ctrl-D leaves"
    ))?;
    show.flush()?;
    let session = Session::new(db, &args.dir, show, &stop);
    if prompt {
        return prompt::run(session, &stop, !args.no_history);
    }
    script(session)
}

/// The statements of standard input, to its end or to the first that fails.
fn script(mut session: Session<'_>) -> Result<(), Failure> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let read = read.map_err(|e| Failure::refused(e).at("standard input"))?;
        if read == 0 {
            break;
        }
        match session.line(&line) {
            Ok(Flow::On) => {}
            Ok(Flow::Quit) => break,
            Err(failure) => {
                let failure = failure.within(format_args!("line {number}"));
                // The first failure is the one to tell.
                let _ = session.close();
                return Err(failure);
            }
        }
    }
    if session.close()? {
        return Err(
            Failure::data("the input ended inside a transaction: it was rolled back")
                .at("standard input")
                .advise("end it with `commit` or `rollback`"),
        );
    }
    Ok(())
}
