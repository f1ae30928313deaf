//! The storage of a replicated log, as Raft asks for it: append what the leader sends; where it contradicts what is
//! here, cut there and take the leader's entries; answer when they are on disk.
//!
//! `cargo run -p afterimage-log --example replicated -- DIR` reads the leader's messages from stdin, a line each:
//! `append PREVIOUS_INDEX PREVIOUS_TERM ENTRY...`, each entry being `TERM:DATA`. It answers `ok LAST_INDEX LSN`, or
//! `no LAST_INDEX` where it does not have the previous entry. `list` prints all entries. Indices count from 1.
//!
//! A vote and the current term are not part of the log: they belong in a small file that is written anew and renamed.

use std::io::BufRead;
use std::path::Path;

use afterimage_log::{Io, LogOptions, Lsn, Wal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Entry {
    term: u64,
    lsn: Lsn,
    data: String,
}

struct Replica {
    wal: Wal,
    /// The entry of index 1 comes first. A larger log would keep terms and LSNs only, and read data back by LSN.
    entries: Vec<Entry>,
}

impl Replica {
    fn open(dir: &Path) -> Result<Replica> {
        let wal = Wal::open(&Io::os(), dir, &LogOptions::from_file(&Io::os(), dir)?)?;
        let mut entries = Vec::new();
        for record in wal.read(wal.oldest_lsn()) {
            let record = record?;
            let (term, data) = parse(std::str::from_utf8(&record.payload)?)?;
            let (lsn, data) = (record.lsn, data.to_owned());
            entries.push(Entry { term, lsn, data });
        }
        Ok(Replica { wal, entries })
    }

    /// Whether the entry of this index is here, with this term. Before the first entry all logs agree.
    fn has(&self, index: usize, term: u64) -> bool {
        index == 0 || self.entries.get(index - 1).is_some_and(|e| e.term == term)
    }

    /// Takes the entries behind `previous`; false where that one is not here. On disk when it returns.
    fn append(&mut self, previous: usize, previous_term: u64, new: &[&str]) -> Result<bool> {
        if !self.has(previous, previous_term) {
            return Ok(false);
        }
        for (at, text) in (previous..).zip(new) {
            let (term, data) = parse(text)?;
            if self.has(at + 1, term) {
                continue; // a message that came twice
            }
            if let Some(conflict) = self.entries.get(at) {
                // It was never committed. A crash leaves all of it or nothing; its LSNs do not come back.
                self.wal.truncate_after(conflict.lsn)?;
                self.entries.truncate(at);
            }
            // Each entry is a record of its own, so that the log can be cut before any of them.
            let lsn = self.wal.append(text.as_bytes())?.lsn();
            let data = data.to_owned();
            self.entries.push(Entry { term, lsn, data });
        }
        // One sync for them all.
        self.wal.sync()?;
        Ok(true)
    }
}

fn parse(entry: &str) -> Result<(u64, &str)> {
    let (term, data) = entry.split_once(':').ok_or("an entry is TERM:DATA")?;
    Ok((term.parse()?, data))
}

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).ok_or("usage: replicated DIR")?;
    let mut replica = Replica::open(Path::new(&dir))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["append", index, term, ref entries @ ..] => {
                let taken = replica.append(index.parse()?, term.parse()?, entries)?;
                let (count, lsn) = (replica.entries.len(), replica.wal.next_lsn());
                if taken {
                    println!("ok {count} {lsn}");
                } else {
                    println!("no {count}");
                }
            }
            ["list"] => {
                for (index, entry) in (1..).zip(&replica.entries) {
                    println!("{index} {}:{} at {}", entry.term, entry.data, entry.lsn);
                }
            }
            _ => println!("append PREVIOUS_INDEX PREVIOUS_TERM TERM:DATA..., or list, please"),
        }
    }
    Ok(replica.wal.close()?)
}
