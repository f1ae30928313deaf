//! Opening a log whose process was killed: filled by a child that ends without a word, copied, opened cold and warm.
//!
//! Opening changes a log, so each open gets a copy of its own. "Cold" means that the page cache holds nothing of it.

use crate::engines::{Kind, Purpose, Recovered};
use crate::keys::Record;
use crate::scratch::{self, Scratch};
use crate::{Result, Values};
use std::path::Path;
use std::process::Command;

/// How much is appended between two looks at how much log there is, in bytes.
const STEP: u64 = 4 << 20;
/// What a child says when it has filled its log: it is not there to say more.
const KILLED: i32 = 17;

/// Fills the log, has it opened, and says what came out.
pub fn run(kind: &Kind, scratch: &Scratch, bytes: u64) -> Result<Values> {
    let recover = kind.recover.ok_or("nothing to recover")?;
    let (filled, copy) = (scratch.fresh("filled")?, scratch.fresh("copy")?);
    let mut child = Command::new(std::env::current_exe()?);
    child.args([
        "fill",
        "--engine",
        kind.name,
        "--bytes",
        &bytes.to_string(),
        "--dir",
    ]);
    let output = child.arg(&filled).output()?;
    if output.status.code() != Some(KILLED) {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("filling the log failed: {} {said}", output.status).into());
    }
    // What the child says: bytes of prepared files, which are no log; and how many records it has appended.
    let said = String::from_utf8(output.stdout)?;
    let mut said = said.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(prepared)), Some(Ok(records))) = (said.next(), said.next()) else {
        return Err("the child that filled the log did not say how".into());
    };
    let log = scratch::size(&filled)?.saturating_sub(prepared);
    let mut values = Values::from([("log_mb".into(), log as f64 / 1e6)]);
    for (name, cold) in [("cold", true), ("warm", false)] {
        scratch::copy(&filled, &copy)?;
        scratch.settle()?;
        if cold {
            scratch::chill(&copy)?;
        }
        let found = recover(&copy)?;
        std::fs::remove_dir_all(&copy)?;
        if found.records != records {
            return Err(format!("{} of {records} records came back", found.records).into());
        }
        note(&mut values, name, &found);
    }
    std::fs::remove_dir_all(&filled)?;
    Ok(values)
}

fn note(values: &mut Values, name: &str, found: &Recovered) {
    values.insert("records".into(), found.records as f64);
    let mut put = |what: &str, seconds: Option<f64>| {
        if let Some(seconds) = seconds {
            values.insert(format!("{what}_{name}_s"), seconds);
        }
    };
    put("open", Some(found.open));
    put("read", found.read);
    put("verify", found.verify);
}

/// The child's part: fills the log until there are `bytes` of it, makes the last record durable, and is gone.
pub fn fill(kind: &Kind, dir: &Path, bytes: u64) -> Result<()> {
    let open = kind.open.ok_or("not built")?;
    let engine = open(dir, Purpose::Fill)?;
    let mut writer = engine.writer(0)?;
    let mut record = Record::new(128, 0);
    let (prepared, mut records) = (scratch::size(dir)?, 0u64);
    while scratch::size(dir)? < bytes + prepared {
        for _ in 0..STEP / 128 {
            writer.append(record.next(), false)?;
            records += 1;
        }
    }
    writer.append(record.next(), true)?;
    println!("{prepared} {}", records + 1);
    // As a kill would have it: no destructor, no clean stop.
    std::process::exit(KILLED)
}
