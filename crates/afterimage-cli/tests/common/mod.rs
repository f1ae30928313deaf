//! What the tests of the command share: running the built binary, scratch directories, a database that was killed,
//! and a fingerprint of every byte of a directory.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod running;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of the test's own, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "cli-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    /// A path inside, as text for a command line.
    pub fn path(&self, name: &str) -> String {
        self.0
            .join(name)
            .to_str()
            .expect("a path of plain text")
            .to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_string).collect()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|e| panic!("not one JSON document: {e}\n{}", self.text()))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.text(),
            self.stderr
        );
        self
    }
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterimage"));
    command.args(args);
    command
}

/// Runs the command to its end.
pub fn run(args: &[&str]) -> Ended {
    run_with_input(args, b"")
}

/// Runs the command to its end, with `input` on its stdin.
pub fn run_with_input(args: &[&str], input: &[u8]) -> Ended {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the built binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it ends");
    feeder.join().expect("the feeder ends");
    Ended {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the command, which must end with 0, and gives its stdout.
#[track_caller]
pub fn ok(args: &[&str]) -> Ended {
    run(args).expect(0)
}

/// A row a number: keys that do not come in order, values of several lengths.
pub fn row(number: u64) -> (String, String) {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let value = format!("{number} ").repeat(1 + (mixed % 12) as usize);
    (format!("{mixed:011x}-{number}"), value)
}

/// The lines of rows `from..to`, in the order in which they are loaded.
pub fn rows_text(from: u64, to: u64) -> String {
    (from..to)
        .map(row)
        .map(|(key, value)| format!("{key}\t{value}\n"))
        .collect()
}

/// What `export` must print when rows `0..count` are there.
pub fn sorted_rows(count: u64) -> String {
    let rows: BTreeMap<String, String> = (0..count).map(row).collect();
    rows.iter()
        .map(|(key, value)| format!("{key}\t{value}\n"))
        .collect()
}

/// A `load` that has acknowledged rows and waits for more: it holds the database open.
pub struct Holder {
    pub child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Holder {
    /// Loads rows `0..count` in batches of `batch`, and stays there.
    pub fn with_rows(dir: &str, table: &str, count: u64, batch: u64) -> Self {
        let batch = batch.to_string();
        let mut child = command(&["load", dir, table, "--progress", "--batch", &batch])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut holder = Self { child, stderr };
        let stdin = holder.child.stdin.as_mut().expect("piped");
        stdin
            .write_all(rows_text(0, count).as_bytes())
            .expect("the rows are read");
        stdin.flush().expect("the rows are read");
        while holder.next_acknowledged().expect("it goes on") < count {}
        holder
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next number on a line `acknowledged N`, or none if the process has ended.
    pub fn next_acknowledged(&mut self) -> Option<u64> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stderr.read_line(&mut line).ok()? == 0 || !line.ends_with('\n') {
                return None;
            }
            if let Some(number) = line.trim_end().strip_prefix("acknowledged ") {
                return Some(number.parse().expect("a number"));
            }
        }
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database whose process was killed after `count` acknowledged rows.
pub fn killed(dir: &str, table: &str, count: u64) {
    Holder::with_rows(dir, table, count, 50).kill();
}

/// Name, length, time of change and hash of the contents of everything under a directory.
pub fn fingerprint(dir: &str) -> BTreeMap<PathBuf, (u64, std::time::SystemTime, u64)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::from(dir)];
    while let Some(path) = waiting.pop() {
        let metadata = fs::metadata(&path).expect("it is there");
        let mut hash = DefaultHasher::new();
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).expect("a directory") {
                waiting.push(entry.expect("an entry").path());
            }
        } else {
            fs::read(&path).expect("a file").hash(&mut hash);
        }
        let changed = metadata.modified().expect("a time of change");
        found.insert(path, (metadata.len(), changed, hash.finish()));
    }
    found
}
