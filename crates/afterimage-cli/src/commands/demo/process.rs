//! The bank process as its parent holds it: started, listened to, killed. It never outlives this handle.

use super::bank::TransferId;
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
    listener: Option<JoinHandle<Vec<TransferId>>>,
}

impl Bank {
    /// Starts this same program as the bank of `round`, and waits until its clients are at work.
    pub fn open(
        dir: &Path,
        clients: u16,
        seed: u64,
        round: u16,
        hot: bool,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| {
            Failure::refused(format!("the bank process cannot be started: {e}"))
        };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("demo-child").arg("--dir").arg(dir);
        for (name, value) in [
            ("--clients", clients.to_string()),
            ("--seed", seed.to_string()),
            ("--round", round.to_string()),
        ] {
            command.arg(name).arg(value);
        }
        if hot {
            command.arg("--hot");
        }
        for setting in settings.given() {
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

    /// Kills the process with SIGKILL, and gives every acknowledgement it had sent: those still in the pipe too.
    pub fn kill(mut self) -> Result<Vec<TransferId>, Failure> {
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
        Ok(self.acknowledgements())
    }

    /// Asks the process to end in good order, and gives every acknowledgement.
    pub fn close(mut self) -> Result<Vec<TransferId>, Failure> {
        // If the process has gone already, its exit status says more than a broken pipe does.
        let _ = self.stdin.write_all(b"stop\n");
        let acknowledged = self.acknowledgements();
        match self.child.wait() {
            Ok(status) if status.success() => Ok(acknowledged),
            _ => Err(self.ended_early()),
        }
    }

    fn acknowledgements(&mut self) -> Vec<TransferId> {
        self.listener
            .take()
            .map_or_else(Vec::new, |listener| listener.join().unwrap_or_default())
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects acknowledgements until the pipe ends. A line without its end was never finished, and does not count.
fn listen(stdout: ChildStdout, heard: &AtomicU64, ready: &Sender<()>) -> Vec<TransferId> {
    let mut acknowledged = Vec::new();
    let mut stdout = BufReader::with_capacity(1 << 16, stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match stdout.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => line.truncate(line.len() - 1),
            _ => return acknowledged,
        }
        if line == b"ready" {
            let _ = ready.send(());
        } else if let Some(id) = line.strip_prefix(b"ack ").and_then(TransferId::parse) {
            acknowledged.push(id);
            heard.fetch_add(1, Ordering::Relaxed);
        }
    }
}
