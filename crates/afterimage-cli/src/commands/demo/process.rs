//! The bank process as its parent holds it: started, listened to, killed. It never outlives this handle.

use super::bank::TransferId;
use crate::commands::serve::Page;
use crate::failure::Failure;
use crate::settings::Settings;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a bank may take to open, or to close in good order.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running bank process. Dropping it kills it.
pub struct Bank {
    child: Child,
    /// Held open: its end tells the child that we have gone.
    stdin: ChildStdin,
    ready: Receiver<()>,
    heard: Arc<AtomicU64>,
    listener: Option<JoinHandle<Heard>>,
}

/// What the bank process has said.
#[derive(Default)]
pub struct Heard {
    /// Transfers that clients were told are durable.
    pub acknowledged: Vec<TransferId>,
    /// Transfers that readers have seen, and so are durable.
    pub seen: Vec<TransferId>,
    /// How often readers have looked.
    pub looks: u64,
    /// What they found wrong first.
    pub wrong: Option<String>,
}

/// What the bank is to do.
pub struct Work<'a> {
    /// Which life of the bank this is.
    pub round: u16,
    /// Concurrent clients.
    pub clients: u16,
    /// Readers of snapshots.
    pub readers: u16,
    /// The demo's seed.
    pub seed: u64,
    /// Whether every transfer changes one row.
    pub hot: bool,
    /// The settings of its database.
    pub settings: &'a Settings,
    /// Whether, and where, it serves the page.
    pub page: &'a Page,
}

impl Bank {
    /// Starts this same program as the bank, and waits until its clients are at work.
    pub fn open(dir: &Path, work: &Work<'_>) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| {
            Failure::refused(format!("the bank process cannot be started: {e}"))
        };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("demo-child").arg("--dir").arg(dir);
        for (name, value) in [
            ("--clients", work.clients.to_string()),
            ("--readers", work.readers.to_string()),
            ("--seed", work.seed.to_string()),
            ("--round", work.round.to_string()),
        ] {
            command.arg(name).arg(value);
        }
        if work.hot {
            command.arg("--hot");
        }
        for (name, value) in [("--http", &work.page.http), ("--token", &work.page.token)] {
            command.args(value.iter().flat_map(|value| [name, value]));
        }
        for setting in work.settings.given() {
            command.arg("--set").arg(setting);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped")
        };
        let heard = Arc::new(AtomicU64::new(0));
        let (announce, ready) = mpsc::channel();
        let counter = Arc::clone(&heard);
        let listener = Some(thread::spawn(move || listen(stdout, &counter, &announce)));
        let mut bank = Self {
            child,
            stdin,
            ready,
            heard,
            listener,
        };
        bank.wait_ready()?;
        Ok(bank)
    }

    fn wait_ready(&mut self) -> Result<(), Failure> {
        match self.ready.recv_timeout(PATIENCE) {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended_early()),
            Err(RecvTimeoutError::Timeout) => Err(Failure::refused(
                "the bank process did not open its database",
            )),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many acknowledgements have arrived so far.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Fails if the process has ended by itself.
    pub fn check_alive(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.ended_early()),
        }
    }

    fn ended_early(&mut self) -> Failure {
        let status = self
            .child
            .wait()
            .map_or_else(|e| e.to_string(), |status| status.to_string());
        Failure::refused(format!("the bank process ended by itself ({status})"))
            .advise("what it said stands above")
    }

    /// Kills the process with SIGKILL, and gives everything it had said: what is still in the pipe too.
    pub fn kill(mut self) -> Result<Heard, Failure> {
        self.child
            .kill()
            .map_err(|e| Failure::refused(format!("the bank process cannot be killed: {e}")))?;
        let status = self
            .child
            .wait()
            .map_err(|e| Failure::refused(format!("the bank process cannot be waited for: {e}")))?;
        if status.code().is_some() && cfg!(unix) {
            return Err(Failure::refused(format!(
                "the bank process had ended by itself ({status})"
            )));
        }
        Ok(self.all_heard())
    }

    /// Asks the process to end in good order, and gives everything it has said.
    pub fn close(mut self) -> Result<Heard, Failure> {
        // If the process has gone already, its exit status says more than a broken pipe does.
        let _ = self.stdin.write_all(b"stop\n");
        let heard = self.all_heard();
        match self.child.wait() {
            Ok(status) if status.success() => Ok(heard),
            _ => Err(self.ended_early()),
        }
    }

    fn all_heard(&mut self) -> Heard {
        let listener = self.listener.take();
        listener.map_or_else(Heard::default, |listener| {
            listener.join().unwrap_or_default()
        })
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects what is said until the pipe ends. A line without its end was never finished, and does not count.
fn listen(stdout: ChildStdout, counter: &AtomicU64, ready: &Sender<()>) -> Heard {
    let mut heard = Heard::default();
    let mut stdout = BufReader::with_capacity(1 << 16, stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match stdout.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => line.truncate(line.len() - 1),
            _ => return heard,
        }
        if line == b"ready" {
            let _ = ready.send(());
        } else if let Some(id) = line.strip_prefix(b"ack ").and_then(TransferId::parse) {
            heard.acknowledged.push(id);
            counter.fetch_add(1, Ordering::Relaxed);
        } else if let Some(last) = line.strip_prefix(b"saw ") {
            heard.looks += 1;
            heard.seen.extend(TransferId::parse(last));
        } else if let Some(what) = line.strip_prefix(b"wrong ") {
            heard.looks += 1;
            let what = String::from_utf8_lossy(what).into_owned();
            heard.wrong.get_or_insert(what);
        }
    }
}
