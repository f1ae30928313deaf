//! A crash-safe key-value store on the log: write the intention, sync, apply, mark applied, replay on start.
//!
//! `cargo run -p afterimage-log --example kv -- DIR` reads commands from stdin, a line each: `put KEY VALUE`, `del KEY`,
//! `get KEY`, `list`. A change is answered once it is on disk. Kill it whenever you like, and start it again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use afterimage_log::{Io, LogOptions, Lsn, Wal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// At most so many changes are replayed at a start.
const SNAPSHOT_EVERY: u32 = 100;

struct Store {
    dir: PathBuf,
    wal: Wal,
    state: BTreeMap<String, String>,
    since_snapshot: u32,
}

impl Store {
    /// Loads the last snapshot, and replays what the log has behind it.
    fn open(dir: &Path) -> Result<Store> {
        let wal = Wal::open(&Io::os(), dir, &LogOptions::from_file(&Io::os(), dir)?)?;
        let (mut state, mut applied) = (BTreeMap::new(), wal.oldest_lsn());
        let snapshot = dir.join("snapshot");
        if snapshot.exists() {
            let text = fs::read_to_string(snapshot)?;
            let (position, changes) = text.split_once('\n').ok_or("the snapshot is empty")?;
            applied = Lsn::new(position.parse()?).ok_or("the snapshot has no position")?;
            changes.lines().for_each(|line| apply(&mut state, line));
        }
        for record in wal.read(applied) {
            apply(&mut state, std::str::from_utf8(&record?.payload)?);
        }
        Ok(Store {
            dir: dir.to_path_buf(),
            wal,
            state,
            since_snapshot: 0,
        })
    }

    /// One change, `put KEY VALUE` or `del KEY`: into the log and onto the disk first, only then into the state. After an
    /// error it may be in the log or not: open the store anew to see.
    fn change(&mut self, change: &str) -> Result<()> {
        self.wal.append(change.as_bytes())?.wait()?;
        apply(&mut self.state, change);
        self.since_snapshot += 1;
        if self.since_snapshot < SNAPSHOT_EVERY {
            return Ok(());
        }
        self.snapshot()
    }

    /// Marks everything so far as applied, in one step: a rename. Only then may the log before it go.
    fn snapshot(&mut self) -> Result<()> {
        let (applied, temporary) = (self.wal.next_lsn(), self.dir.join("snapshot.tmp"));
        let mut file = File::create(&temporary)?;
        writeln!(file, "{applied}")?;
        for (key, value) in &self.state {
            writeln!(file, "put {key} {value}")?;
        }
        file.sync_all()?;
        fs::rename(&temporary, self.dir.join("snapshot"))?;
        Io::os().sync_dir(&self.dir)?;
        self.wal.truncate_before(applied)?;
        self.since_snapshot = 0;
        Ok(())
    }
}

/// Doing the same change twice is doing it once: a replay may begin before what the state has already.
fn apply(state: &mut BTreeMap<String, String>, change: &str) {
    let mut words = change.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("put"), Some(key), Some(value)) => drop(state.insert(key.into(), value.into())),
        (Some("del"), Some(key), None) => drop(state.remove(key)),
        _ => {}
    }
}

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).ok_or("usage: kv DIR")?;
    let mut store = Store::open(Path::new(&dir))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["put", _, _, ..] | ["del", _] => {
                store.change(&line)?;
                println!("done {line}");
            }
            ["get", key] => println!("{}", store.state.get(key).map_or("nothing", |v| v)),
            ["list"] => {
                for (key, value) in &store.state {
                    println!("{key} {value}");
                }
            }
            _ => println!("put KEY VALUE, del KEY, get KEY or list, please"),
        }
    }
    Ok(store.wal.close()?)
}
