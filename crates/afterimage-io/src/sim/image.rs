//! `Image`: what is on a disk when nothing is pending, as a power cut leaves it or a copy would show it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Result;
use std::path::Path;
use std::sync::Arc;

use super::chance::{fold, hash_bytes, mix};
use super::content::Content;

/// Directories and files with their bytes. Cloning shares everything; equality is by content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Image {
    entries: Arc<BTreeMap<Arc<str>, Entry>>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Dir,
    File(Content),
}

impl Image {
    /// Keeps what can be reached: an entry whose directory is not there is lost with it.
    pub(crate) fn new(mut entries: BTreeMap<Arc<str>, Entry>) -> Image {
        // In order of names a directory comes before what it holds, so one pass sees the parents first.
        let mut lost: Vec<Arc<str>> = Vec::new();
        for name in entries.keys() {
            let parent = super::names::parent(name);
            let found = entries.get(parent);
            let there = parent.is_empty() || matches!(found, Some(Entry::Dir));
            if !there || lost.iter().any(|lost| **lost == *parent) {
                lost.push(Arc::clone(name));
            }
        }
        for name in lost {
            entries.remove(&name);
        }
        Image {
            entries: Arc::new(entries),
        }
    }

    pub(crate) fn entries(&self) -> &BTreeMap<Arc<str>, Entry> {
        &self.entries
    }

    /// A hash of all names and bytes. Cheap after small changes: blocks remember theirs.
    pub fn hash(&self) -> u64 {
        let mut hash = mix(self.entries.len() as u64);
        for (name, entry) in self.entries.iter() {
            hash = fold(hash, hash_bytes(name.as_bytes()));
            hash = fold(
                hash,
                match entry {
                    Entry::Dir => 1,
                    Entry::File(content) => content.hash(),
                },
            );
        }
        mix(hash)
    }

    /// The files, by whole name in order, with their lengths.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().filter_map(|(name, entry)| match entry {
            Entry::Dir => None,
            Entry::File(content) => Some((&**name, content.len())),
        })
    }

    /// The directories, by whole name in order, without the top.
    pub fn dirs(&self) -> impl Iterator<Item = &str> {
        let dirs = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Dir));
        dirs.map(|(name, _)| &**name)
    }

    /// A file's length, or `None` if there is no such file.
    pub fn len(&self, path: &str) -> Option<u64> {
        self.content(path).map(Content::len)
    }

    /// Whether there is nothing on the disk.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of `offset..offset + len`, or `None` if the file is missing or shorter.
    pub fn read(&self, path: &str, offset: u64, len: usize) -> Option<Vec<u8>> {
        self.content(path)?.read_vec(offset, len)
    }

    /// Writes into a file, for tests of corruption; makes it, and the directories above it, if need be.
    ///
    /// # Panics
    /// If the name is a directory's.
    pub fn write_bytes(&mut self, path: &str, offset: u64, bytes: &[u8]) {
        self.content_mut(path).write(offset, bytes);
    }

    /// Turns one bit of a file around.
    ///
    /// # Panics
    /// If the file does not reach that far, or `bit` is not in `0..8`.
    pub fn flip_bit(&mut self, path: &str, offset: u64, bit: u8) {
        assert!(bit < 8, "a byte has no bit {bit}");
        let byte = self
            .read(path, offset, 1)
            .expect("the file reaches that far");
        self.write_bytes(path, offset, &[byte[0] ^ (1 << bit)]);
    }

    /// Cuts a file, or grows it with zeroes; makes it if need be.
    ///
    /// # Panics
    /// If the name is a directory's.
    pub fn set_len(&mut self, path: &str, len: u64) {
        self.content_mut(path).set_len(len);
    }

    /// Removes a file; `false` if there was none.
    pub fn remove(&mut self, path: &str) -> bool {
        self.content(path).is_some() && Arc::make_mut(&mut self.entries).remove(path).is_some()
    }

    /// Writes everything into a real directory, which is made if need be: to look at with real tools.
    ///
    /// # Errors
    /// What the file system says.
    pub fn dump_to_dir(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        for (name, entry) in self.entries.iter() {
            let target = dir.join(&**name);
            match entry {
                Entry::Dir => fs::create_dir_all(target)?,
                Entry::File(content) => dump(content, &fs::File::create(target)?)?,
            }
        }
        Ok(())
    }

    fn content(&self, path: &str) -> Option<&Content> {
        match self.entries.get(path)? {
            Entry::Dir => None,
            Entry::File(content) => Some(content),
        }
    }

    fn content_mut(&mut self, path: &str) -> &mut Content {
        let entries = Arc::make_mut(&mut self.entries);
        let mut parent = super::names::parent(path);
        while !parent.is_empty() {
            entries.entry(parent.into()).or_insert(Entry::Dir);
            parent = super::names::parent(parent);
        }
        let entry = entries.entry(path.into());
        match entry.or_insert_with(|| Entry::File(Content::default())) {
            Entry::File(content) => content,
            Entry::Dir => panic!("{path} is a directory"),
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.iter().map(|(name, entry)| match entry {
            Entry::Dir => (name, None),
            Entry::File(content) => (name, Some(content.len())),
        });
        f.debug_map().entries(entries).finish()
    }
}

/// Writes the parts that are not zero; the rest stays sparse.
fn dump(content: &Content, target: &fs::File) -> Result<()> {
    target.set_len(content.len())?;
    let mut piece = vec![0; 1 << 16];
    let mut offset = 0;
    while offset < content.len() {
        let count = content.read(offset, &mut piece);
        let mut bytes = &piece[..count];
        if super::content::is_zero(bytes) {
            bytes = &[];
        }
        let mut at = offset;
        while !bytes.is_empty() {
            let written = crate::os::write_at(target, at, bytes)?;
            bytes = &bytes[written..];
            at += written as u64;
        }
        offset += count as u64;
    }
    Ok(())
}
