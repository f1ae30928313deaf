//! The kernel's side: each request of FUSE becomes a call on the image, if the faults let it.
//!
//! Files are opened past the page cache and nothing is remembered by the kernel, so that after a cut it serves no byte from
//! before: numbers of files are new, names are looked up each time.

use super::faults::{Call, Fault, Faults, Order};
use super::image::{Dir, File, Image, Node};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The kernel is to ask each time.
const NOT_REMEMBERED: Duration = Duration::ZERO;
/// Linux's O_DSYNC; O_SYNC contains it.
const O_DSYNC: i32 = 0o10000;

/// The image and what is done to it.
pub struct Disk {
    /// What there is.
    pub image: Image,
    /// What happens to calls.
    pub faults: Faults,
}

/// A mounted disk; goes with its last handle.
pub struct Mounted {
    disk: Arc<Mutex<Disk>>,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Mounts an empty disk at a directory.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn new(at: &Path) -> std::io::Result<Mounted> {
        let disk = Arc::new(Mutex::new(Disk {
            image: Image::new(),
            faults: Faults::new(0, None, None),
        }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("afterimage-rigs".into())];
        let session = fuser::spawn_mount(Lossy(disk.clone()), at, &config)?;
        Ok(Mounted {
            disk,
            session: Some(session),
        })
    }

    /// The disk.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        held(&self.disk)
    }

    /// Unmounts.
    ///
    /// # Errors
    /// When something still has a file open.
    pub fn unmount(mut self) -> std::io::Result<()> {
        match self.session.take() {
            Some(session) => session.umount_and_join(),
            None => Ok(()),
        }
    }
}

fn held(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    // A panic in between leaves the image as it is; what comes of it is judged anyway.
    disk.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Lossy(Arc<Mutex<Disk>>);

/// What a call answers: `None` of the image becomes ENOENT.
type Done<T = ()> = Result<T, Errno>;

fn there<T>(found: Option<T>) -> Done<T> {
    found.ok_or(Errno::ENOENT)
}

impl Disk {
    /// A call that changes something and has no fault of its own but EIO and ENOSPC.
    fn change<T>(&mut self, call: Call, change: impl FnOnce(&mut Image) -> Option<T>) -> Done<T> {
        match self.faults.next(call) {
            Order::Proceed => there(change(&mut self.image)),
            Order::Fault(Fault::Full) => Err(Errno::ENOSPC),
            Order::Die { in_cache: true } => {
                change(&mut self.image);
                Err(Errno::EIO)
            }
            Order::Fault(_) | Order::Die { .. } | Order::Dead => Err(Errno::EIO),
        }
    }

    fn write(&mut self, ino: u64, at: u64, bytes: &[u8], durably: bool) -> Done<usize> {
        let call = if durably {
            Call::WriteDurably
        } else {
            Call::Write
        };
        let image = &mut self.image;
        match self.faults.next(call) {
            Order::Proceed => {
                there(image.write(ino, at, bytes))?;
                if durably {
                    there(image.sync_last(ino))?;
                }
                Ok(bytes.len())
            }
            Order::Fault(Fault::Full) => Err(Errno::ENOSPC),
            Order::Fault(Fault::Short) if bytes.len() > 1 => {
                // Whole sectors where there are some: what a direct write can do.
                let half = bytes.len() / 2;
                let half = if half > 512 { half / 512 * 512 } else { half };
                there(image.write(ino, at, &bytes[..half]))?;
                if durably {
                    there(image.sync_last(ino))?;
                }
                Ok(half)
            }
            Order::Fault(Fault::Sync) => {
                there(image.write(ino, at, bytes))?;
                there(image.forget_pending(ino))?;
                Err(Errno::EIO)
            }
            Order::Die { in_cache: true } => {
                image.write(ino, at, bytes);
                Err(Errno::EIO)
            }
            Order::Fault(_) | Order::Die { .. } | Order::Dead => Err(Errno::EIO),
        }
    }

    fn sync(&mut self, ino: u64) -> Done {
        match self.faults.next(Call::Sync) {
            Order::Proceed => there(self.image.sync(ino)),
            Order::Fault(Fault::Sync) => {
                self.image.forget_pending(ino);
                Err(Errno::EIO)
            }
            // Durable, but nobody was told.
            Order::Die { in_cache: true } => {
                self.image.sync(ino);
                Err(Errno::EIO)
            }
            Order::Fault(_) | Order::Die { .. } | Order::Dead => Err(Errno::EIO),
        }
    }

    fn read(&mut self, ino: u64, at: u64, size: usize) -> Done<Vec<u8>> {
        let file = there(self.image.file(ino))?;
        let bytes = |at: usize| {
            let from = at.min(file.bytes.len());
            file.bytes[from..(from + size).min(file.bytes.len())].to_vec()
        };
        // The pages file alone grows beyond a segment of the log.
        let call = if self.is_pages(ino) {
            Call::ReadPages
        } else {
            Call::Read
        };
        match self.faults.next(call) {
            Order::Proceed => Ok(bytes(at as usize)),
            Order::Fault(Fault::Flip) => {
                let mut read = bytes(at as usize);
                if !read.is_empty() {
                    let bit = self.faults.below(read.len() as u64 * 8) as usize;
                    read[bit / 8] ^= 1 << (bit % 8);
                }
                Ok(read)
            }
            Order::Fault(Fault::Misdirected) => {
                let blocks = file.bytes.len() as u64 / 4096;
                let other = self.faults.below(blocks.max(1)) * 4096;
                Ok(bytes(other as usize))
            }
            _ => Err(Errno::EIO),
        }
    }

    fn is_pages(&self, ino: u64) -> bool {
        let root = self.image.dir(super::image::ROOT);
        let dirs = root.into_iter().flat_map(|dir| dir.names.values());
        dirs.filter_map(|dir| self.image.dir(*dir))
            .any(|dir| dir.names.get(OsStr::new("pages")) == Some(&ino))
    }

    fn attributes(&self, ino: u64) -> Done<FileAttr> {
        if self.faults.is_dead() {
            return Err(Errno::EIO);
        }
        let (kind, size) = match there(self.image.node(ino))? {
            Node::File(file) => (FileType::RegularFile, file.bytes.len() as u64),
            Node::Dir(_) => (FileType::Directory, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn lookup(&self, parent: u64, name: &OsStr) -> Done<FileAttr> {
        let dir = there(self.image.dir(parent))?;
        self.attributes(*there(dir.names.get(name))?)
    }

    fn make(&mut self, parent: u64, name: &OsStr, node: Node) -> Done<FileAttr> {
        if self.lookup(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let ino = self.change(Call::Grow, |image| image.create(parent, name, node))?;
        self.attributes(ino)
    }
}

impl Filesystem for Lossy {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match held(&self.0).lookup(parent.0, name) {
            Ok(attributes) => reply.entry(&NOT_REMEMBERED, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match held(&self.0).attributes(ino.0) {
            Ok(attributes) => reply.attr(&NOT_REMEMBERED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = held(&self.0);
        let done = match size {
            Some(size) => disk.change(Call::Grow, |image| image.set_length(ino.0, size)),
            None => Ok(()),
        };
        match done.and_then(|()| disk.attributes(ino.0)) {
            Ok(attributes) => reply.attr(&NOT_REMEMBERED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        match held(&self.0).make(parent.0, name, Node::Dir(Dir::default())) {
            Ok(attributes) => reply.entry(&NOT_REMEMBERED, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match held(&self.0).make(parent.0, name, Node::File(File::default())) {
            Ok(attributes) => reply.created(
                &NOT_REMEMBERED,
                &attributes,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut disk = held(&self.0);
        answer(
            disk.change(Call::Rename, |image| image.remove(parent.0, name)),
            reply,
        );
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut disk = held(&self.0);
        answer(
            disk.change(Call::Rename, |image| image.remove(parent.0, name)),
            reply,
        );
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut disk = held(&self.0);
        let done = disk.change(Call::Rename, |image| {
            image.rename((parent.0, name), (newparent.0, newname))
        });
        answer(done, reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match held(&self.0).attributes(ino.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match held(&self.0).read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let durably = flags.0 & O_DSYNC != 0;
        match held(&self.0).write(ino.0, offset, data, durably) {
            Ok(written) => reply.written(written as u32),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(held(&self.0).sync(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(held(&self.0).sync(ino.0), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let disk = held(&self.0);
        if disk.faults.is_dead() {
            return reply.error(Errno::EIO);
        }
        let Some(dir) = disk.image.dir(ino.0) else {
            return reply.error(Errno::ENOENT);
        };
        let before = [(OsStr::new("."), ino.0), (OsStr::new(".."), ino.0)];
        let names = dir.names.iter().map(|(name, ino)| (name.as_os_str(), *ino));
        let all = before.into_iter().chain(names).enumerate();
        for (at, (name, ino)) in all.skip(offset as usize) {
            let kind = match disk.image.node(ino) {
                Some(Node::File(_)) => FileType::RegularFile,
                _ => FileType::Directory,
            };
            if reply.add(INodeNo(ino), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096, 255, 4096);
    }
}

fn answer(done: Done, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
