//! The operations of a workload that are more than plain: large values, ranges, savepoints, changes without a transaction,
//! tables made, loaded, renamed and dropped, pages that merge, a file that outgrows its first map.

use super::Life;
use crate::failure::Mismatch;
use crate::model::Rows;
use crate::store::{More, Store, beside};
use crate::workload::Op;

/// Bytes of a value that has pages of its own.
pub(super) const LARGE: usize = 9000;
/// The names that the table beside the one has in turn.
pub(super) const NAMES: [&str; 2] = ["side", "edis"];
/// Its row.
pub(super) const ROW: (&[u8], &[u8]) = (b"s", b"beside the others");
/// The name of the table without a log.
const UNLOGGED: &str = "unlogged";
/// One map speaks for so many pages of 4 KiB.
const MAP_PAGES: u64 = 8192;
/// Bytes of a value that breaks off: the log has to have room for it.
const PIECE: u64 = 90_000;

/// The table is there, perhaps with its row.
pub(super) fn make(rows: &mut Rows, name: &str, filled: bool) {
    rows.insert(beside(name, b""), Vec::new());
    if filled {
        rows.insert(beside(name, ROW.0), ROW.1.to_vec());
    }
}

/// The table is not there.
fn remove(rows: &mut Rows, name: &str) {
    rows.remove(&beside(name, b""));
    rows.remove(&beside(name, ROW.0));
}

/// Does `op`, the `n`-th.
pub(super) fn one<S: Store>(life: &mut Life<'_, S>, n: usize, op: Op) -> Result<(), Mismatch> {
    let fill = b'A' + u8::try_from(n).unwrap_or(25);
    match op {
        Op::Large => life.put(b"k1".to_vec(), vec![fill; LARGE]),
        Op::Range => range(life, b"k2", b"kz"),
        Op::Detour => {
            // The first is logged as a difference, and nothing comes behind it for its key: an undo of it that comes twice shows.
            life.with("savepoint", |s| s.more(More::Savepoint))?;
            for (key, value) in [
                (b"k1", vec![b'd'; 880]),
                (b"k0", vec![b'd'; 500]),
                (b"k0", vec![fill; LARGE]),
                (b"d0", vec![fill; 1000]),
            ] {
                life.with("put", |s| s.put(key, &value))?;
            }
            life.with("delete", |s| s.delete(b"k0"))?;
            life.with("rollback_to", |s| s.more(More::RollbackTo))
        }
        Op::Auto => {
            for value in [
                Some(vec![fill; 90]),
                Some(vec![fill + 1; 90]),
                Some(vec![fill; 30]),
                None,
            ] {
                let change = |rows: &mut Rows| match &value {
                    Some(value) => drop(rows.insert(b"a0".to_vec(), value.clone())),
                    None => drop(rows.remove(b"a0".as_slice())),
                };
                life.alone("autocommit", More::Auto(b"a0", value.as_deref()), change)?;
            }
            Ok(())
        }
        Op::Rename | Op::Drop => table(life, op),
        Op::Clear => {
            life.commit()?;
            range(life, b"a", b"kz")?;
            life.commit()?;
            life.with("background work", |s| s.more(More::Settle))?;
            flush(life)
        }
        Op::Load => load(life),
        Op::Unlogged => life.alone("an unlogged table", More::Unlogged(UNLOGGED), |rows| {
            make(rows, UNLOGGED, false);
        }),
        Op::Shrink => shrink(life),
        _ => vast(life),
    }
}

/// A table of three leaves comes as a whole; or goes.
fn load<S: Store>(life: &mut Life<'_, S>) -> Result<(), Mismatch> {
    const NAME: &str = "load";
    let table: Vec<(Vec<u8>, Vec<u8>)> = (b'a'..b'k').map(|n| (vec![n], vec![n; 880])).collect();
    if life.model.rows().contains_key(&beside(NAME, b"")) {
        return life.alone("drop_table", More::Drop(NAME), |rows| {
            rows.retain(|key, _| !key.starts_with(&beside(NAME, b"")));
        });
    }
    life.alone("load_table", More::Load(NAME, &table), |rows| {
        make(rows, NAME, false);
        rows.extend(
            table
                .iter()
                .map(|(key, value)| (beside(NAME, key), value.clone())),
        );
    })
}

/// Makes the log durable up to here.
fn flush<S: Store>(life: &mut Life<'_, S>) -> Result<(), Mismatch> {
    let change = |rows: &mut Rows| drop(rows.insert(b"f0".to_vec(), Vec::new()));
    life.alone("autocommit", More::Auto(b"f0", Some(b"")), change)
}

/// The crash points from the call on that cuts the file are told. What went with the end of the file had been home, and
/// changed again.
fn shrink<S: Store>(life: &mut Life<'_, S>) -> Result<(), Mismatch> {
    life.tell(false);
    for n in 0..200 {
        life.put(format!("z{n:03}").into_bytes(), vec![b'z'; 880])?;
        if n % 40 == 39 {
            life.commit()?;
        }
    }
    // The last of them change behind the last checkpoint.
    for (from, to) in [(b"z00", b"z08"), (b"z08", b"z16"), (b"z16", b"z20")] {
        life.with("checkpoint", S::checkpoint)?;
        range(life, from, to)?;
        life.commit()?;
    }
    life.with("background work", |s| s.more(More::Settle))?;
    flush(life)?;
    life.tell(true);
    life.with("shrink_file", |s| s.more(More::Shrink))?;
    flush(life)
}

/// Only the crash points from shortly before the border on are told: before it the file only grows. There each step's log is
/// made durable by itself.
fn vast<S: Store>(life: &mut Life<'_, S>) -> Result<(), Mismatch> {
    let begin = |s: &mut S| s.more(More::BreakOff(b"vast", PIECE));
    life.tell(false);
    while !life
        .with("the pages", |s| Ok(s.pages()))?
        .is_some_and(is_near)
    {
        life.with("a value that breaks off", begin)?;
    }
    life.with("checkpoint", S::checkpoint)?;
    life.tell(true);
    for _ in 0..4 {
        life.with("a value that breaks off", begin)?;
        flush(life)?;
    }
    Ok(())
}

/// Whether the file, of so many pages of which so many are free, has to grow beyond the border soon.
fn is_near((pages, free): (u64, u64)) -> bool {
    pages + 1024 > MAP_PAGES && free < 4 * PIECE / 4096
}

fn range<S: Store>(life: &mut Life<'_, S>, from: &[u8], to: &[u8]) -> Result<(), Mismatch> {
    life.model.delete_range(from, to);
    life.with("delete_range", |s| s.more(More::DeleteRange(from, to)))
}

/// Renames or drops the table beside the one; makes it, where there is none: first the table, then its row.
fn table<S: Store>(life: &mut Life<'_, S>, op: Op) -> Result<(), Mismatch> {
    let there = |name: &&str| life.model.rows().contains_key(&beside(name, b""));
    let Some(name) = NAMES.into_iter().find(there) else {
        life.model.issue_alone(|rows| make(rows, NAMES[0], false));
        return life.alone("make a table", More::Make(NAMES[0], ROW.0, ROW.1), |rows| {
            make(rows, NAMES[0], true)
        });
    };
    if op == Op::Drop {
        return life.alone("drop_table", More::Drop(name), |rows| remove(rows, name));
    }
    let other = if name == NAMES[0] { NAMES[1] } else { NAMES[0] };
    life.alone("rename_table", More::Rename(name, other), |rows| {
        let filled = rows.contains_key(&beside(name, ROW.0));
        remove(rows, name);
        make(rows, other, filled);
    })
}
