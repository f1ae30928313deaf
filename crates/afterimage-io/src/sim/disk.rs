//! `DiskState`: the simulated disk in its three views, for files and for names alike:
//!
//! * **durable**: what a power cut cannot take,
//! * **pending**: what was done since, operation by operation, in order; any of it may survive a power cut or not,
//! * **cached**: what reads see; durable and pending together, except after a sync that failed.
//!
//! A sync of a file moves its writes and length from pending to durable; a sync of a directory moves the names in it.
//! Neither does the other's work: a synced file whose name was not synced is lost, a synced name without a synced
//! file is an empty file. Everything is shared copy-on-write, so a snapshot costs a few counters.
//!
//! This file holds the types and the questions; `changes` what calls do; `cut` what a power cut leaves.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::content::Content;
use super::image::{Entry, Image};
use super::names;
use super::ranges::Ranges;

/// A file apart from its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId(pub(super) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Dir,
    File(FileId),
}

pub(super) type Names = BTreeMap<Arc<str>, Node>;

/// A disk at one moment. Cloning is cheap.
#[derive(Clone, Default)]
pub struct DiskState {
    pub(super) inodes: Arc<BTreeMap<FileId, Arc<Inode>>>,
    pub(super) cached: Arc<Names>,
    pub(super) durable: Arc<Names>,
    pub(super) pending: Arc<Vec<PendingOp>>,
    pub(super) next_file: u64,
}

#[derive(Clone)]
pub(super) struct Inode {
    pub(super) cached: Content,
    pub(super) durable: Content,
    /// A sync has failed: cached is no longer durable plus pending.
    pub(super) diverged: bool,
    /// Where the file has space on the disk, in blocks: the quota counts these.
    pub(super) allocated: Ranges,
    /// The name it has now, or had last.
    pub(super) name: Arc<str>,
}

/// Something done to the disk that a power cut may still undo.
#[derive(Clone)]
pub struct PendingOp {
    pub(super) kind: PendingKind,
    pub(super) name: Arc<str>,
    pub(super) file: Option<FileId>,
    pub(super) data: Data,
    /// A write that a power cut leaves whole or undone.
    pub(super) atomic: bool,
}

/// What a pending operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PendingKind {
    /// Bytes of a file, and the length they need.
    Write {
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// A file's length.
    SetLen {
        /// In bytes.
        len: u64,
    },
    /// A new file's name.
    Create,
    /// A new directory's name.
    CreateDir,
    /// A new name instead of an old one.
    Rename {
        /// The old name.
        from: Arc<str>,
    },
    /// The end of a name.
    Remove,
}

/// The bytes of a pending write.
#[derive(Clone)]
pub(super) enum Data {
    None,
    Zeroes,
    /// The write's bytes begin here in a buffer that may be shared with its other parts.
    Bytes(Arc<[u8]>, usize),
}

impl PendingOp {
    /// What it does.
    pub fn kind(&self) -> &PendingKind {
        &self.kind
    }

    /// The file written, by its name at the time; the name made, renamed to, or removed.
    pub fn path(&self) -> &str {
        &self.name
    }

    /// One line for people.
    pub fn label(&self) -> String {
        let name = &self.name;
        match &self.kind {
            PendingKind::Write { offset, len } if self.atomic => {
                format!("write atomically {name} {offset}+{len}")
            }
            PendingKind::Write { offset, len } => format!("write {name} {offset}+{len}"),
            PendingKind::SetLen { len } => format!("set length of {name} to {len}"),
            PendingKind::Create => format!("create {name}"),
            PendingKind::CreateDir => format!("create directory {name}"),
            PendingKind::Rename { from } => format!("rename {from} to {name}"),
            PendingKind::Remove => format!("remove {name}"),
        }
    }

    /// Whether it is a write of bytes.
    pub fn is_write(&self) -> bool {
        matches!(self.kind, PendingKind::Write { .. })
    }

    /// Whether a sync of the file, and not of its directory, makes it durable.
    pub(super) fn is_content(&self) -> bool {
        matches!(
            self.kind,
            PendingKind::Write { .. } | PendingKind::SetLen { .. }
        )
    }

    /// Whether both are made durable by the same sync.
    pub(crate) fn same_place(&self, other: &PendingOp) -> bool {
        match (self.is_content(), other.is_content()) {
            (true, true) => self.file == other.file,
            (false, false) => names::parent(&self.name) == names::parent(&other.name),
            _ => false,
        }
    }

    pub(super) fn write_range(&self) -> Option<Range<u64>> {
        match self.kind {
            PendingKind::Write { offset, len } => Some(offset..offset + len),
            _ => None,
        }
    }
}

impl fmt::Debug for PendingOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

impl fmt::Debug for DiskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.cached.keys().collect();
        let mut debug = f.debug_struct("DiskState");
        debug.field("names", &names);
        debug.field("pending", &self.pending).finish()
    }
}

impl DiskState {
    /// A disk that holds this image, all of it durable.
    pub fn from_image(image: &Image) -> DiskState {
        let mut state = DiskState::default();
        let mut inodes = BTreeMap::new();
        let mut nodes = Names::new();
        for (name, entry) in image.entries() {
            let node = match entry {
                Entry::Dir => Node::Dir,
                Entry::File(content) => {
                    let id = state.new_file();
                    inodes.insert(id, Arc::new(Inode::settled(content, name)));
                    Node::File(id)
                }
            };
            nodes.insert(Arc::clone(name), node);
        }
        state.inodes = Arc::new(inodes);
        state.cached = Arc::new(nodes);
        state.durable = Arc::clone(&state.cached);
        state
    }

    /// What a power cut could take or leave, oldest first.
    pub fn pending(&self) -> &[PendingOp] {
        &self.pending
    }

    /// What a reader sees now, as an image: the disk after a clean shutdown of the machine (if every sync told the
    /// truth).
    pub fn page_cache(&self) -> Image {
        let entry = |node: &Node| match node {
            Node::Dir => Entry::Dir,
            Node::File(id) => Entry::File(self.inode(*id).cached.clone()),
        };
        let entries = self
            .cached
            .iter()
            .map(|(name, node)| (Arc::clone(name), entry(node)));
        Image::new(entries.collect())
    }

    /// The disk as the next process on this machine finds it when this one is killed: the page cache lives on, and
    /// what was not durable still is not. For [`Sim::from_state`](super::Sim::from_state).
    #[must_use]
    pub fn restart(&self) -> DiskState {
        let mut state = self.clone();
        state.forget_unnamed(&|_| false);
        state
    }

    /// Whether a power cut now would leave the file's name and the bytes of this range as a reader sees them.
    pub fn is_durable(&self, path: &Path, range: Range<u64>) -> bool {
        let Some((name, id)) = self.file_at(path) else {
            return false;
        };
        self.is_durable_name(&name, Node::File(id)) && self.is_durable_content(id, range)
    }

    /// Whether a power cut now would leave this file or directory under this name.
    pub fn is_name_durable(&self, path: &Path) -> bool {
        let Ok(name) = names::whole(path) else {
            return false;
        };
        let node = self.cached.get(&*name).copied();
        name.is_empty() || node.is_some_and(|node| self.is_durable_name(&name, node))
    }

    /// Bytes of a file as a power cut with no survivors would leave them; `None` if the file is missing there, or
    /// shorter.
    pub fn read_durable(&self, path: &Path, offset: u64, len: usize) -> Option<Vec<u8>> {
        match self.durable.get(&*names::whole(path).ok()?)? {
            Node::Dir => None,
            Node::File(id) => self.inode(*id).durable.read_vec(offset, len),
        }
    }

    /// Bytes of a file as a reader sees them; `None` if there is no such file, or it is shorter.
    pub fn read_cached(&self, path: &Path, offset: u64, len: usize) -> Option<Vec<u8>> {
        let (_, id) = self.file_at(path)?;
        self.inode(id).cached.read_vec(offset, len)
    }

    /// Whether a power cut with no survivors would leave under this name the bytes that a reader sees there, all of them within the file.
    pub fn reads_as_durable(&self, path: &Path, range: Range<u64>) -> bool {
        let Some((name, id)) = self.file_at(path) else {
            return false;
        };
        let Some(Node::File(durable)) = self.durable.get(&*name) else {
            return false;
        };
        let (there, here) = (&self.inode(*durable).durable, &self.inode(id).cached);
        range.end <= there.len().min(here.len()) && there.same_in(here, range)
    }

    /// A file's length as a reader sees it; `None` if there is no such file.
    pub fn cached_len(&self, path: &Path) -> Option<u64> {
        let (_, id) = self.file_at(path)?;
        Some(self.inode(id).cached.len())
    }

    /// The files a reader sees, by whole name in order, with their lengths.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.cached.iter().filter_map(|(name, node)| match node {
            Node::Dir => None,
            Node::File(id) => Some((&**name, self.inode(*id).cached.len())),
        })
    }

    pub(super) fn inode(&self, id: FileId) -> &Inode {
        self.inodes
            .get(&id)
            .expect("a file that is named or open exists")
    }

    fn file_at<'a>(&self, path: &'a Path) -> Option<(Cow<'a, str>, FileId)> {
        let name = names::whole(path).ok()?;
        match self.cached.get(&*name)? {
            Node::Dir => None,
            Node::File(id) => Some((name, *id)),
        }
    }

    fn is_durable_name(&self, name: &str, node: Node) -> bool {
        let above = names::parent(name);
        let settled = self.durable.get(name) == Some(&node) && !self.is_name_pending(name);
        settled && (above.is_empty() || self.is_durable_name(above, Node::Dir))
    }

    fn is_name_pending(&self, name: &str) -> bool {
        self.pending.iter().any(|op| match &op.kind {
            PendingKind::Write { .. } | PendingKind::SetLen { .. } => false,
            PendingKind::Rename { from } => **from == *name || *op.name == *name,
            PendingKind::Create | PendingKind::CreateDir | PendingKind::Remove => *op.name == *name,
        })
    }

    fn is_durable_content(&self, id: FileId, range: Range<u64>) -> bool {
        let inode = self.inode(id);
        let pending = self.pending.iter().filter(|op| op.file == Some(id));
        let mut in_doubt = pending.filter(|op| match op.kind {
            PendingKind::Write { offset, len } => offset < range.end && range.start < offset + len,
            PendingKind::SetLen { len } => len < range.end,
            _ => false,
        });
        range.end <= inode.durable.len()
            && in_doubt.next().is_none()
            && (!inode.diverged || inode.durable.same_in(&inode.cached, range))
    }
}

impl Inode {
    /// A file of which everything is durable.
    fn settled(content: &Content, name: &Arc<str>) -> Inode {
        let mut allocated = Ranges::default();
        allocated.insert(0..content.len());
        Inode {
            cached: content.clone(),
            durable: content.clone(),
            diverged: false,
            allocated,
            name: Arc::clone(name),
        }
    }
}
