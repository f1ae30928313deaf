//! A loop of write and fdatasync over a file that was written before: what anybody can have without a log.
//!
//! No checksum, no recovery, no group commit: the threads take turns, fairly.

use super::{Engine, KEEP, Kind, Purpose, Writer};
use crate::Result;
use parking_lot::{Mutex, MutexGuard};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub const KIND: Kind = Kind {
    name: "write+fdatasync",
    version: "",
    settings: "pwrite of the record, fdatasync, under one fair mutex, round and round a file of 64 MiB that was written \
               before (stream: as large as what is written); no checksum, no recovery",
    tickets: false,
    open: Some(open),
    recover: None,
};

struct Plain {
    file: Mutex<(File, u64)>,
    size: u64,
}

fn open(dir: &Path, purpose: Purpose) -> Result<Box<dyn Engine>> {
    let size = match purpose {
        Purpose::Stream(bytes) => bytes,
        Purpose::Durable | Purpose::Fill => KEEP,
    };
    std::fs::create_dir_all(dir)?;
    let file = crate::calibrate::written_file(&dir.join("log"), size, 0)?;
    Ok(Box::new(Plain {
        file: Mutex::new((file, 0)),
        size,
    }))
}

impl Engine for Plain {
    fn writer(&self, _thread: usize) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(Turn { plain: self }))
    }
}

struct Turn<'a> {
    plain: &'a Plain,
}

impl Writer for Turn<'_> {
    fn append(&mut self, record: &[u8], durable: bool) -> Result<()> {
        let mut turn = self.plain.file.lock();
        let (file, at) = &mut *turn;
        if *at + record.len() as u64 > self.plain.size {
            *at = 0;
        }
        file.write_all_at(record, *at)?;
        *at += record.len() as u64;
        if durable {
            file.sync_data()?;
        }
        MutexGuard::unlock_fair(turn);
        Ok(())
    }
}
