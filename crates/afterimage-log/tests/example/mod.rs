//! Running an example program as a child process: telling it lines, reading what it prints, killing it at a line.
//!
//! Also included by the engine's tests. Cargo builds examples for `cargo test`, beside the tests.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A directory of the test's own, removed at the end.
pub struct Home(pub PathBuf);

impl Home {
    pub fn new(name: &str) -> Home {
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Home(path)
    }

    /// Small segments for the log or database that will be made in this directory of it.
    pub fn small_segments(&self, dir: &str) {
        let path = self.0.join(dir);
        std::fs::create_dir_all(&path).unwrap();
        let text = "wal_segment_size = \"64KiB\"\n";
        std::fs::write(path.join("settings.toml"), text).unwrap();
    }

    /// Starts an example with this directory and `words` as its arguments.
    pub fn start(&self, example: &str, words: &[&str]) -> Program {
        let test = std::env::current_exe().unwrap();
        let target = test.parent().and_then(Path::parent).unwrap();
        let name = format!("{example}{}", std::env::consts::EXE_SUFFIX);
        let path = target.join("examples").join(name);
        assert!(
            path.exists(),
            "{} is not there: `cargo test` builds it, `cargo test --test NAME` does not (`cargo build --examples` does)",
            path.display()
        );
        let mut child = Command::new(path)
            .arg(&self.0)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Program {
            stdin: child.stdin.take(),
            child,
            lines,
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An example that is running.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Writes lines to its stdin, all at once: together shorter than a pipe takes, so that this does not wait.
    pub fn tell(&mut self, lines: &[impl AsRef<str>]) {
        let mut text = String::new();
        for line in lines {
            text += line.as_ref();
            text.push('\n');
        }
        assert!(text.len() < 32 << 10, "{} bytes at once", text.len());
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// The next line that it prints; it must come.
    pub fn line(&mut self) -> String {
        self.lines.next().expect("it has ended").unwrap()
    }

    /// The next `count` lines.
    pub fn read(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    /// Reads `count` lines and kills it with SIGKILL, wherever it is by then. Answers all that it had printed.
    pub fn kill_after(mut self, count: usize) -> Vec<String> {
        let mut printed = self.read(count);
        // Not always at the step behind the line: some a little later.
        for _ in 0..count * 7919 % 32 * 512 {
            std::hint::spin_loop();
        }
        self.child.kill().unwrap();
        printed.extend(self.lines.by_ref().map(Result::unwrap));
        printed
    }

    /// Tells it that its input has ended, and answers all that it printed until it ended well.
    pub fn finish(mut self) -> Vec<String> {
        drop(self.stdin.take());
        let printed = self.lines.by_ref().map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success());
        printed
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
