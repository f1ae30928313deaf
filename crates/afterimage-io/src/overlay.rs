//! The overlay world: reads real files, keeps every change in memory.
//!
//! For looking at a database that must not be touched: "changes no byte". Files are opened for reading only; a block
//! that is written is copied into memory first and read from there ever after; new names, renames and removals are
//! entries in a table in front of the real directories. Syncs do nothing. The world is dropped with its last handle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lock::LockAttempt;
use crate::mode::OpenMode;
use crate::os::{self, OsWorld};

const BLOCK_BYTES: usize = 4096;

pub(crate) struct OverlayWorld {
    os: OsWorld,
    /// By absolute path: what differs from the real directories, and every file that was opened.
    nodes: Mutex<BTreeMap<PathBuf, Node>>,
}

#[derive(Clone)]
enum Node {
    File(Arc<Mutex<Content>>),
    Dir,
    Removed,
}

/// An open file of the overlay.
pub(crate) struct OverlayFile {
    content: Arc<Mutex<Content>>,
    writable: bool,
}

/// A file's bytes: blocks in memory over a real file that is only ever read.
struct Content {
    real: Option<fs::File>,
    /// Real bytes count below this offset only; a truncation lowers it for good.
    real_end: u64,
    len: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl OverlayWorld {
    pub(crate) fn new() -> OverlayWorld {
        OverlayWorld {
            os: OsWorld::new(),
            nodes: Mutex::new(BTreeMap::new()),
        }
    }

    /// The real world, for what an overlay does not change: clocks and chance.
    pub(crate) fn os(&self) -> &OsWorld {
        &self.os
    }

    pub(crate) fn open(&self, path: &Path, how: OpenMode) -> Result<OverlayFile> {
        let key = key(path)?;
        let mut nodes = held(&self.nodes);
        let content = match lookup(&nodes, &key)? {
            Some(Node::File(_)) if how == OpenMode::CreateNew => {
                return Err(ErrorKind::AlreadyExists.into());
            }
            Some(Node::File(content)) => content,
            Some(Node::Dir) => return Err(ErrorKind::IsADirectory.into()),
            Some(Node::Removed) | None if !how.creates() => return Err(ErrorKind::NotFound.into()),
            Some(Node::Removed) | None => {
                require_parent(&nodes, &key)?;
                Arc::new(Mutex::new(Content::empty()))
            }
        };
        nodes.insert(key, Node::File(Arc::clone(&content)));
        let writable = how.writes();
        Ok(OverlayFile { content, writable })
    }

    pub(crate) fn create_dir(&self, path: &Path) -> Result<()> {
        let key = key(path)?;
        let mut nodes = held(&self.nodes);
        if is_there(lookup(&nodes, &key)?) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        require_parent(&nodes, &key)?;
        nodes.insert(key, Node::Dir);
        Ok(())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (key(from)?, key(to)?);
        let mut nodes = held(&self.nodes);
        let content = match lookup(&nodes, &from)? {
            Some(Node::File(content)) => content,
            Some(Node::Dir) => {
                let what = "the overlay cannot rename directories";
                return Err(Error::new(ErrorKind::Unsupported, what));
            }
            Some(Node::Removed) | None => return Err(ErrorKind::NotFound.into()),
        };
        if matches!(lookup(&nodes, &to)?, Some(Node::Dir)) {
            return Err(ErrorKind::IsADirectory.into());
        }
        require_parent(&nodes, &to)?;
        nodes.insert(from, Node::Removed);
        // Last, so that a rename to its own name leaves the file.
        nodes.insert(to, Node::File(content));
        Ok(())
    }

    pub(crate) fn remove_file(&self, path: &Path) -> Result<()> {
        let key = key(path)?;
        let mut nodes = held(&self.nodes);
        match lookup(&nodes, &key)? {
            Some(Node::File(_)) => {
                nodes.insert(key, Node::Removed);
                Ok(())
            }
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            Some(Node::Removed) | None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<()> {
        if self.is_dir(path)? {
            Ok(())
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    pub(crate) fn list_dir(&self, path: &Path) -> Result<Vec<String>> {
        self.sync_dir(path)?;
        let key = key(path)?;
        let nodes = held(&self.nodes);
        let real = match self.os.list_dir(&key) {
            Ok(real) => real,
            // A directory that is in the overlay only.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut names: BTreeSet<String> = real.into_iter().collect();
        for (path, node) in nodes.iter().filter(|(path, _)| path.parent() == Some(&key)) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if matches!(node, Node::Removed) {
                names.remove(name);
            } else {
                names.insert(name.to_owned());
            }
        }
        Ok(names.into_iter().collect())
    }

    pub(crate) fn exists(&self, path: &Path) -> Result<bool> {
        Ok(is_there(lookup(&held(&self.nodes), &key(path)?)?))
    }

    pub(crate) fn is_dir(&self, path: &Path) -> Result<bool> {
        let node = lookup(&held(&self.nodes), &key(path)?)?;
        Ok(matches!(node, Some(Node::Dir)))
    }

    pub(crate) fn try_lock(&self, path: &Path) -> Result<LockAttempt> {
        os::try_lock_shared(path)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_there(node: Option<Node>) -> bool {
    !matches!(node, None | Some(Node::Removed))
}

/// Names are compared as absolute paths, without asking the file system about links.
fn key(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return std::path::absolute(".");
    }
    std::path::absolute(path)
}

/// What is at a path: the overlay's word first, then the real file system's.
fn lookup(nodes: &BTreeMap<PathBuf, Node>, path: &Path) -> Result<Option<Node>> {
    if let Some(node) = nodes.get(path) {
        return Ok(Some(node.clone()));
    }
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        return Ok(Some(Node::Dir));
    }
    let content = Content::over(fs::File::open(path)?)?;
    Ok(Some(Node::File(Arc::new(Mutex::new(content)))))
}

fn require_parent(nodes: &BTreeMap<PathBuf, Node>, path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    match lookup(nodes, parent)? {
        Some(Node::Dir) => Ok(()),
        Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
        Some(Node::Removed) | None => Err(ErrorKind::NotFound.into()),
    }
}

impl OverlayFile {
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        held(&self.content).read_at(offset, buf)
    }

    pub(crate) fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        self.require_writable()?;
        held(&self.content).write_at(offset, buf)
    }

    pub(crate) fn len(&self) -> u64 {
        held(&self.content).len
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        self.require_writable()?;
        held(&self.content).set_len(len)
    }

    fn require_writable(&self) -> Result<()> {
        if self.writable {
            Ok(())
        } else {
            let what = "the file was opened for reading only";
            Err(Error::new(ErrorKind::PermissionDenied, what))
        }
    }
}

impl Content {
    fn empty() -> Content {
        Content {
            real: None,
            real_end: 0,
            len: 0,
            blocks: BTreeMap::new(),
        }
    }

    fn over(real: fs::File) -> Result<Content> {
        let len = real.metadata()?.len();
        Ok(Content {
            real: Some(real),
            real_end: len,
            len,
            blocks: BTreeMap::new(),
        })
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = self.len.saturating_sub(offset);
        let (block, within) = place(offset);
        let end = buf.len().min(BLOCK_BYTES - within);
        let end = usize::try_from(left).map_or(end, |left| end.min(left));
        let buf = &mut buf[..end];
        match self.blocks.get(&block) {
            Some(bytes) => buf.copy_from_slice(&bytes[within..within + end]),
            None => self.read_real(offset, buf)?,
        }
        Ok(end)
    }

    /// Fills `buf` from the real file; zeroes where it has nothing (any more).
    fn read_real(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        while let (Some(real), false) = (&self.real, buf.is_empty()) {
            let left = self.real_end.saturating_sub(offset);
            let piece = usize::try_from(left).map_or(buf.len(), |left| buf.len().min(left));
            let read = match os::read_at(real, offset, &mut buf[..piece]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            buf = &mut buf[read..];
            offset += read as u64;
        }
        buf.fill(0);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> Result<usize> {
        let (block, within) = place(offset);
        let piece = buf.len().min(BLOCK_BYTES - within);
        let bytes = self.load(block)?;
        bytes[within..within + piece].copy_from_slice(&buf[..piece]);
        self.len = self.len.max(offset + piece as u64);
        Ok(piece)
    }

    /// The block in memory, copied from the real file on first use.
    fn load(&mut self, block: u64) -> Result<&mut [u8]> {
        if !self.blocks.contains_key(&block) {
            let mut bytes = vec![0; BLOCK_BYTES].into_boxed_slice();
            self.read_real(block * BLOCK_BYTES as u64, &mut bytes)?;
            self.blocks.insert(block, bytes);
        }
        Ok(self.blocks.entry(block).or_default())
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        if len < self.len {
            let (block, within) = place(len);
            if within > 0 {
                self.load(block)?[within..].fill(0);
            }
            self.blocks
                .retain(|&number, _| number < block || (number == block && within > 0));
            self.real_end = self.real_end.min(len);
        }
        self.len = len;
        Ok(())
    }
}

/// The block an offset is in, and where in it.
fn place(offset: u64) -> (u64, usize) {
    let block = offset / BLOCK_BYTES as u64;
    (block, (offset % BLOCK_BYTES as u64) as usize)
}
