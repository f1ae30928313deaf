//! A command that goes on while the test looks at what it prints, writes to it, and kills it.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use super::command;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// A command that goes on, and the lines it prints.
pub struct Running {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        let mut child = command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (send, lines) = channel();
        thread::spawn(move || {
            loop {
                let mut line = String::new();
                // Whoever is killed may leave half a line: that is none.
                if !matches!(stdout.read_line(&mut line), Ok(n) if n > 0) || !line.ends_with('\n') {
                    return;
                }
                line.pop();
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self {
            child,
            stdin,
            lines,
        }
    }

    /// The next line; far above what it takes, and below what a test run bears.
    pub fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(60))
            .expect("a line comes")
    }

    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("piped");
        stdin.write_all(text.as_bytes()).expect("it reads");
        stdin.flush().expect("it reads");
    }

    /// Waits until it ends by itself: its exit code and what it said on stderr.
    pub fn end(mut self) -> (Option<i32>, String) {
        drop(self.stdin.take());
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut().expect("piped");
        std::io::Read::read_to_string(stderr, &mut said).expect("text");
        (self.child.wait().expect("it ends").code(), said)
    }

    /// Ends it with SIGKILL; gives what it had printed.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        self.lines.iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
