//! Where results go: stdout, buffered, with a broken pipe told apart from every other failure; and progress, on stderr.
//!
//! Results are what a script would want to read, so they are alone on stdout. Progress and warnings go to stderr;
//! progress that rewrites its line is shown only where stderr is a terminal.

use crate::failure::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::{Duration, Instant};

/// Standard output, and whether the person asked for one JSON document instead of text.
pub struct Out {
    stdout: BufWriter<Stdout>,
    json: bool,
}

impl Out {
    /// Standard output; `json` is the `--json` flag.
    pub fn new(json: bool) -> Self {
        Self {
            stdout: BufWriter::with_capacity(1 << 16, io::stdout()),
            json,
        }
    }

    /// Whether the result is to be one JSON document.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(Failure::output)
    }

    /// Writes one line of text.
    pub fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}").map_err(Failure::output)
    }

    /// Writes the JSON document, and a newline.
    pub fn document(&mut self, document: &Value) -> Result<(), Failure> {
        writeln!(self.stdout, "{document:#}").map_err(Failure::output)
    }

    /// Hands everything written so far to the reader.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::output)
    }

    /// Whether a pipe's reader has gone. A write would say so too, but a command that waits has nothing to write.
    pub fn reader_has_gone(&self) -> bool {
        let stdout = io::stdout();
        let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec::default();
        poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().contains(PollFlags::ERR)
    }
}

/// Writes a line of progress to stderr, whether or not it is a terminal; a stderr that nobody reads is not our failure.
pub fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A line on a terminal's stderr that is rewritten as work goes on, a few times a second.
pub struct Progress {
    shown: bool,
    due: Option<Instant>,
}

impl Progress {
    const EVERY: Duration = Duration::from_millis(100);

    /// Shows nothing yet; shows nothing ever where stderr is not a terminal.
    pub fn new() -> Self {
        Self {
            shown: false,
            due: io::stderr().is_terminal().then(Instant::now),
        }
    }

    /// Shows `text()` instead of what was shown, unless that was a moment ago.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        let Some(due) = self.due else { return };
        let now = Instant::now();
        if now < due {
            return;
        }
        self.due = Some(now + Self::EVERY);
        self.shown = true;
        let _ = write!(io::stderr(), "\r\x1b[K{}", text());
        let _ = io::stderr().flush();
    }

    /// Wipes the line, so that what follows stands alone.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
