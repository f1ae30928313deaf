//! A block device of our own: a FUSE file in memory under a loop device. It lets one write fail, and remembers every write and flush in
//! order, so that what a power cut could have left at any moment can be put together afterwards.

use crate::dice::Dice;
use crate::mounts::{run, said_by};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

/// What is kept in one piece.
const BLOCK: usize = 4096;
/// What the disk writes whole or not at all. Of less, ext4 itself does not come back: its superblock has two sectors of 512. All that it
/// writes is of whole ones.
const SECTOR: usize = 4096;
/// The same of what is not: a log that is written past the page cache.
const SMALL_SECTOR: usize = 512;
const FILE: u64 = 2;
const NAME: &str = "disk";
const REMEMBERED: Duration = Duration::from_secs(1);

/// The bytes of a disk; what was never written is zeroes.
#[derive(Clone, Default)]
pub struct Blocks(HashMap<u64, Box<[u8; BLOCK]>>);

impl Blocks {
    fn read(&self, at: u64, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let (block, inside, length) = piece(at + done as u64, into.len() - done);
            let to = &mut into[done..done + length];
            match self.0.get(&block) {
                Some(bytes) => to.copy_from_slice(&bytes[inside..inside + length]),
                None => to.fill(0),
            }
            done += length;
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (block, inside, length) = piece(at + done as u64, bytes.len() - done);
            let from = &bytes[done..done + length];
            done += length;
            if from.iter().all(|&byte| byte == 0) && !self.0.contains_key(&block) {
                continue;
            }
            let block = self.0.entry(block).or_insert_with(|| Box::new([0; BLOCK]));
            block[inside..inside + length].copy_from_slice(from);
        }
    }
}

/// The block at `at`, the place in it, and how much of `left` bytes is in it.
fn piece(at: u64, left: usize) -> (u64, usize, usize) {
    let inside = (at % BLOCK as u64) as usize;
    (at / BLOCK as u64, inside, left.min(BLOCK - inside))
}

/// What the kernel asked of the disk.
pub enum Entry {
    /// Bytes at a place.
    Write(u64, Vec<u8>),
    /// Everything before is to be durable.
    Flush,
}

/// The disk behind the device.
pub struct Disk {
    blocks: Blocks,
    size: u64,
    fail_next_write: bool,
    failed: u64,
    /// Since the recording began.
    pub log: Option<Vec<Entry>>,
}

impl Disk {
    /// The next write answers EIO, once.
    pub fn fail_next_write(&mut self) {
        self.fail_next_write = true;
    }

    /// No write is to fail any more; how many have.
    pub fn stop_failing(&mut self) -> u64 {
        self.fail_next_write = false;
        self.failed
    }

    /// From now on writes and flushes are remembered; returns what there is before them.
    pub fn record(&mut self) -> Blocks {
        self.log = Some(Vec::new());
        self.blocks.clone()
    }

    /// How many writes and flushes have been remembered.
    pub fn recorded(&self) -> usize {
        self.log.as_ref().map_or(0, Vec::len)
    }
}

/// What a power cut behind the first `end` entries can leave: all that a flush covers, and of the writes after the last flush
/// any, wholly or by sectors.
pub fn after_cut(before: &Blocks, log: &[Entry], end: usize, dice: &mut Dice) -> Blocks {
    let flushed = log[..end]
        .iter()
        .rposition(|entry| matches!(entry, Entry::Flush));
    let flushed = flushed.unwrap_or(0);
    let (mut blocks, kept) = (before.clone(), dice.below(4));
    for (index, entry) in log[..end].iter().enumerate() {
        let Entry::Write(at, bytes) = entry else {
            continue;
        };
        match kept {
            _ if index <= flushed => blocks.write(*at, bytes),
            0 => {}
            1 => blocks.write(*at, bytes),
            2 if dice.one_in(2) => blocks.write(*at, bytes),
            2 => {}
            _ => {
                let of_whole = |n: u64| n.is_multiple_of(SECTOR as u64);
                let size = match of_whole(*at) && of_whole(bytes.len() as u64) {
                    true => SECTOR,
                    false => SMALL_SECTOR,
                };
                for (number, sector) in bytes.chunks(size).enumerate() {
                    if dice.one_in(2) {
                        blocks.write(at + (number * size) as u64, sector);
                    }
                }
            }
        }
    }
    blocks
}

/// A device with a disk behind it; both go when it is let go of.
pub struct Device {
    disk: Arc<Mutex<Disk>>,
    session: Option<BackgroundSession>,
    /// `/dev/loopN`.
    pub path: PathBuf,
}

impl Device {
    /// A device of `size` bytes; its file is mounted at `at`.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(at: &Path, size: u64, blocks: Blocks) -> Result<Device, String> {
        std::fs::create_dir_all(at).map_err(|e| e.to_string())?;
        let disk = Arc::new(Mutex::new(Disk {
            blocks,
            size,
            fail_next_write: false,
            failed: 0,
            log: None,
        }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("afterimage-rigs".into())];
        let session = fuser::spawn_mount(Served(disk.clone()), at, &config)
            .map_err(|e| format!("mount {}: {e}", at.display()))?;
        let file = at.join(NAME).display().to_string();
        let path = said_by("losetup", &["--find", "--show", &file])?;
        Ok(Device {
            disk,
            session: Some(session),
            path: path.into(),
        })
    }

    /// The disk.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        held(&self.disk)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = run("losetup", &["--detach", &self.path.display().to_string()]);
        // The loop device lets go of the file a moment later.
        for _ in 0..100 {
            let backing = Path::new("/sys/block")
                .join(self.path.file_name().unwrap_or_default())
                .join("loop/backing_file");
            if !backing.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

fn held(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Served(Arc<Mutex<Disk>>);

impl Served {
    fn attributes(&self, ino: u64) -> FileAttr {
        let size = held(&self.0).size;
        let (kind, size) = match ino {
            FILE => (FileType::RegularFile, size),
            _ => (FileType::Directory, 0),
        };
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        }
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&REMEMBERED, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&REMEMBERED, &self.attributes(ino.0));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = held(&self.0);
        let length = u64::from(size).min(disk.size.saturating_sub(offset));
        let mut bytes = vec![0; length as usize];
        disk.blocks.read(offset, &mut bytes);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut disk = held(&self.0);
        if std::mem::take(&mut disk.fail_next_write) {
            disk.failed += 1;
            return reply.error(Errno::EIO);
        }
        disk.blocks.write(offset, data);
        if let Some(log) = &mut disk.log {
            log.push(Entry::Write(offset, data.to_vec()));
        }
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some(log) = &mut held(&self.0).log {
            log.push(Entry::Flush);
        }
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(blocks: &Blocks, at: u64) -> u8 {
        let mut byte = [0];
        blocks.read(at, &mut byte);
        byte[0]
    }

    #[test]
    fn what_was_flushed_is_there_after_every_cut() {
        let log = [
            Entry::Write(5000, vec![1; 5000]),
            Entry::Flush,
            Entry::Write(5000, vec![2; 1000]),
            Entry::Write(20_000, vec![3; 10]),
        ];
        let (mut old, mut new) = (0, 0);
        for seed in 0..100 {
            let blocks = after_cut(&Blocks::default(), &log, 3, &mut Dice::new(seed));
            assert_eq!(byte(&blocks, 9999), 1);
            assert_eq!(byte(&blocks, 20_000), 0, "behind the cut");
            match byte(&blocks, 5000) {
                1 => old += 1,
                2 => new += 1,
                other => panic!("{other}"),
            }
        }
        assert!(old > 10 && new > 10);
    }
}
