//! What calls do to a `DiskState`. Every change goes to the cached view and, unless it is durable at once, into the
//! list of what is pending; the syncs move things from there to the durable view.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::Arc;

use super::content::Content;
use super::disk::{Data, DiskState, FileId, Inode, Names, Node, PendingKind, PendingOp};
use super::names;
use super::observer::SyncFailure;
use super::ranges::Ranges;

impl DiskState {
    pub(super) fn new_file(&mut self) -> FileId {
        self.next_file += 1;
        FileId(self.next_file)
    }

    pub(super) fn node(&self, name: &str) -> Option<Node> {
        if name.is_empty() {
            return Some(Node::Dir);
        }
        self.cached.get(name).copied()
    }

    pub(super) fn create(&mut self, name: &str) -> Result<FileId> {
        self.require_free(name)?;
        let id = self.new_file();
        let name: Arc<str> = name.into();
        let inode = Inode {
            cached: Content::default(),
            durable: Content::default(),
            diverged: false,
            allocated: Ranges::default(),
            name: Arc::clone(&name),
        };
        Arc::make_mut(&mut self.inodes).insert(id, Arc::new(inode));
        self.change_name(PendingKind::Create, name, Some(id));
        Ok(id)
    }

    pub(super) fn create_dir(&mut self, name: &str) -> Result<()> {
        self.require_free(name)?;
        self.change_name(PendingKind::CreateDir, name.into(), None);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let id = self.require_file(from)?;
        self.require_parent(to)?;
        if self.node(to) == Some(Node::Dir) {
            return Err(ErrorKind::IsADirectory.into());
        }
        if from == to {
            return Ok(());
        }
        let (from, to): (Arc<str>, Arc<str>) = (from.into(), to.into());
        self.inode_mut(id).name = Arc::clone(&to);
        self.change_name(PendingKind::Rename { from }, to, Some(id));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<()> {
        let id = self.require_file(name)?;
        self.change_name(PendingKind::Remove, name.into(), Some(id));
        Ok(())
    }

    pub(super) fn write(&mut self, id: FileId, offset: u64, data: &[u8]) {
        let range = offset..offset + data.len() as u64;
        let inode = self.inode_mut(id);
        inode.cached.write(offset, data);
        inode.allocated.insert(range.clone());
        self.push_write(id, range, Data::Bytes(data.into(), 0));
    }

    /// A write that a power cut leaves whole or undone.
    pub(super) fn write_atomically(&mut self, id: FileId, offset: u64, data: &[u8]) {
        self.write(id, offset, data);
        if let Some(op) = Arc::make_mut(&mut self.pending).last_mut() {
            op.atomic = true;
        }
    }

    pub(super) fn prefill(&mut self, id: FileId, range: Range<u64>) {
        let inode = self.inode_mut(id);
        inode.cached.write_zeroes(range.clone());
        inode.allocated.insert(range.clone());
        self.push_write(id, range, Data::Zeroes);
    }

    pub(super) fn set_len(&mut self, id: FileId, len: u64) {
        let inode = self.inode_mut(id);
        if inode.cached.len() == len {
            return;
        }
        inode.cached.set_len(len);
        inode.allocated.truncate(len);
        self.push(id, PendingKind::SetLen { len }, Data::None);
    }

    /// A write that is durable at once. What else is pending for the file stays pending, except that nothing older
    /// may come back over the new bytes, and the length they stand in is settled with them.
    pub(super) fn write_durably(&mut self, id: FileId, offset: u64, data: &[u8]) {
        self.settle_lengths(id);
        let range = offset..offset + data.len() as u64;
        let inode = self.inode_mut(id);
        inode.cached.write(offset, data);
        inode.durable.write(offset, data);
        inode.allocated.insert(range.clone());
        self.cut_pending(id, &range);
    }

    pub(super) fn sync(&mut self, id: FileId) {
        let ops = self.take_pending(|op| op.file == Some(id) && op.is_content());
        let inode = self.inode_mut(id);
        if inode.diverged {
            ops.iter().for_each(|op| op.apply_to(&mut inode.durable));
        } else {
            // The same bytes, but shared.
            inode.durable = inode.cached.clone();
        }
    }

    pub(super) fn fail_sync(&mut self, id: FileId, failure: SyncFailure) {
        if failure == SyncFailure::NothingHappened {
            return;
        }
        self.take_pending(|op| op.file == Some(id) && op.is_content());
        let inode = self.inode_mut(id);
        match failure {
            SyncFailure::CacheKeepsNew => inode.diverged = true,
            SyncFailure::SizeKeptDataZero => {
                inode.diverged = true;
                let len = inode.durable.len().max(inode.cached.len());
                inode.durable.set_len(len);
            }
            SyncFailure::CacheReverts => {
                inode.cached = inode.durable.clone();
                inode.diverged = false;
            }
            SyncFailure::NothingHappened => {}
        }
    }

    /// A durable write that failed: readers see the bytes, the disk does not have them, nothing is pending.
    pub(super) fn fail_write_durably(
        &mut self,
        id: FileId,
        offset: u64,
        data: &[u8],
        failure: SyncFailure,
    ) {
        match failure {
            SyncFailure::NothingHappened => self.write(id, offset, data),
            SyncFailure::CacheReverts => {}
            SyncFailure::CacheKeepsNew | SyncFailure::SizeKeptDataZero => {
                let range = offset..offset + data.len() as u64;
                self.cut_pending(id, &range);
                let inode = self.inode_mut(id);
                inode.cached.write(offset, data);
                inode.diverged = true;
                if failure == SyncFailure::SizeKeptDataZero {
                    let len = inode.durable.len().max(range.end);
                    inode.durable.set_len(len);
                }
            }
        }
    }

    pub(super) fn sync_dir(&mut self, dir: &str) {
        let ops = self.take_pending(|op| !op.is_content() && names::parent(&op.name) == dir);
        if ops.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        ops.iter().for_each(|op| op.apply_to_names(durable, false));
    }

    /// Bytes that all files together take on the disk.
    pub(super) fn used(&self) -> u64 {
        let files = self.cached.values().filter_map(|node| match node {
            Node::Dir => None,
            Node::File(id) => Some(self.inode(*id).allocated.total()),
        });
        files.sum()
    }

    /// Drops files that no name, no pending operation and no handle can reach any more.
    pub(super) fn forget_unnamed(&mut self, is_open: &dyn Fn(FileId) -> bool) {
        let named = self.cached.values().chain(self.durable.values());
        let named = named.filter_map(|node| match node {
            Node::Dir => None,
            Node::File(id) => Some(*id),
        });
        let used: BTreeSet<FileId> = named
            .chain(self.pending.iter().filter_map(|op| op.file))
            .collect();
        if self
            .inodes
            .keys()
            .any(|id| !used.contains(id) && !is_open(*id))
        {
            Arc::make_mut(&mut self.inodes).retain(|id, _| used.contains(id) || is_open(*id));
        }
    }

    pub(super) fn require_file(&self, name: &str) -> Result<FileId> {
        match self.node(name) {
            Some(Node::File(id)) => Ok(id),
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn require_dir(&self, name: &str) -> Result<()> {
        match self.node(name) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn require_parent(&self, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the top directory has no parent",
            ));
        }
        self.require_dir(names::parent(name))
    }

    fn require_free(&self, name: &str) -> Result<()> {
        if self.node(name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.require_parent(name)
    }

    fn inode_mut(&mut self, id: FileId) -> &mut Inode {
        let inodes = Arc::make_mut(&mut self.inodes);
        let inode = inodes
            .get_mut(&id)
            .expect("a file that is named or open exists");
        Arc::make_mut(inode)
    }

    fn change_name(&mut self, kind: PendingKind, name: Arc<str>, file: Option<FileId>) {
        let data = Data::None;
        let op = PendingOp {
            kind,
            name,
            file,
            data,
            atomic: false,
        };
        op.apply_to_names(Arc::make_mut(&mut self.cached), false);
        Arc::make_mut(&mut self.pending).push(op);
    }

    fn push_write(&mut self, id: FileId, range: Range<u64>, data: Data) {
        let (offset, len) = (range.start, range.end - range.start);
        self.push(id, PendingKind::Write { offset, len }, data);
    }

    fn push(&mut self, id: FileId, kind: PendingKind, data: Data) {
        let name = Arc::clone(&self.inode(id).name);
        let file = Some(id);
        Arc::make_mut(&mut self.pending).push(PendingOp {
            kind,
            name,
            file,
            data,
            atomic: false,
        });
    }

    fn take_pending(&mut self, mut which: impl FnMut(&PendingOp) -> bool) -> Vec<PendingOp> {
        if !self.pending.iter().any(&mut which) {
            return Vec::new();
        }
        let pending = Arc::make_mut(&mut self.pending);
        pending.extract_if(.., |op| which(op)).collect()
    }

    /// Makes pending lengths of the file durable, in order. An older pending write must not grow the file again.
    fn settle_lengths(&mut self, id: FileId) {
        let is_length =
            |op: &PendingOp| op.file == Some(id) && matches!(op.kind, PendingKind::SetLen { .. });
        while let Some(at) = self.pending.iter().position(is_length) {
            let op = Arc::make_mut(&mut self.pending).remove(at);
            let PendingKind::SetLen { len } = op.kind else {
                continue;
            };
            self.inode_mut(id).durable.set_len(len);
            let (older, newer) = self.pending.split_at(at);
            let older = older.iter().flat_map(|op| op.without(id, &(len..u64::MAX)));
            self.pending = Arc::new(older.chain(newer.iter().cloned()).collect());
        }
    }

    /// Takes a range out of the file's pending writes.
    fn cut_pending(&mut self, id: FileId, range: &Range<u64>) {
        if self.pending.iter().any(|op| op.overlaps(id, range)) {
            let left = self.pending.iter().flat_map(|op| op.without(id, range));
            self.pending = Arc::new(left.collect());
        }
    }
}

impl PendingOp {
    /// Does to a file what this operation does; nothing, if it is about names.
    pub(super) fn apply_to(&self, content: &mut Content) {
        match self.kind {
            PendingKind::Write { offset, len } => self.apply_part(content, offset..offset + len),
            PendingKind::SetLen { len } => content.set_len(len),
            _ => {}
        }
    }

    /// Writes the part of this write that lies in `part`, which must be inside it.
    pub(super) fn apply_part(&self, content: &mut Content, part: Range<u64>) {
        let Some(range) = self.write_range() else {
            return;
        };
        match &self.data {
            Data::Bytes(bytes, from) => {
                let start = from + (part.start - range.start) as usize;
                let end = from + (part.end - range.start) as usize;
                content.write(part.start, &bytes[start..end]);
            }
            Data::Zeroes | Data::None => content.write_zeroes(part),
        }
    }

    /// Does to the names what this operation does; a rename may leave the old name too.
    pub(super) fn apply_to_names(&self, names: &mut Names, both: bool) {
        let target = Arc::clone(&self.name);
        match (&self.kind, self.file) {
            (PendingKind::Create, Some(id)) => _ = names.insert(target, Node::File(id)),
            (PendingKind::CreateDir, _) => _ = names.insert(target, Node::Dir),
            (PendingKind::Rename { from }, Some(id)) => {
                // By then the old name may be another file's.
                if !both && names.get(from) == Some(&Node::File(id)) {
                    names.remove(from);
                }
                names.insert(target, Node::File(id));
            }
            (PendingKind::Remove, Some(id)) if names.get(&target) == Some(&Node::File(id)) => {
                names.remove(&target);
            }
            _ => {}
        }
    }

    fn overlaps(&self, id: FileId, range: &Range<u64>) -> bool {
        let own = self.write_range().filter(|_| self.file == Some(id));
        own.is_some_and(|own| own.start < range.end && range.start < own.end)
    }

    /// What is left of this operation without a range of a file: itself, or up to two parts.
    fn without(&self, id: FileId, range: &Range<u64>) -> Vec<PendingOp> {
        match self.write_range() {
            Some(own) if self.overlaps(id, range) => {
                let parts = [
                    own.start..range.start.min(own.end),
                    range.end.max(own.start)..own.end,
                ];
                let parts = parts.into_iter().filter(|part| !part.is_empty());
                parts.map(|part| self.part(&own, part)).collect()
            }
            _ => vec![self.clone()],
        }
    }

    fn part(&self, own: &Range<u64>, part: Range<u64>) -> PendingOp {
        let mut op = self.clone();
        op.kind = PendingKind::Write {
            offset: part.start,
            len: part.end - part.start,
        };
        if let Data::Bytes(_, from) = &mut op.data {
            *from += (part.start - own.start) as usize;
        }
        op
    }
}
