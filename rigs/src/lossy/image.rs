//! Files and directories as programs see them and as they are on stable storage, with the changes between the two in order.
//!
//! A sync of a file makes all of its changes durable, a sync of a directory all of its names; nothing else does, and neither does
//! the other's part: a durable file may have no name, and a durable name an empty file. That is weaker than any real file system.

use crate::dice::Dice;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};

/// The root's inode number.
pub const ROOT: u64 = 1;
/// Bytes that a device writes or does not write.
const SECTOR: usize = 512;

/// What a cut leaves of the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survive {
    /// Nothing.
    None,
    /// All of them.
    All,
    /// Each file's and directory's changes up to some moment of its own.
    Prefix,
    /// Any of them, each by chance.
    Some,
    /// Any of them, and of each write any of its sectors, or its first or last bytes.
    Torn,
}

impl Survive {
    /// All policies.
    pub const ALL: [Survive; 5] = [
        Survive::None,
        Survive::All,
        Survive::Prefix,
        Survive::Some,
        Survive::Torn,
    ];
}

/// A change to a file.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(at, new) => {
                let end = at + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(new);
            }
            Change::Length(length) => bytes.resize(*length, 0),
        }
    }
}

/// A change to a directory; both names of a rename change at once.
#[derive(Clone, Debug)]
enum Renaming {
    Put(OsString, u64),
    Remove(OsString),
    Move(OsString, OsString, u64),
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<OsString, u64>) {
        match self {
            Renaming::Put(name, ino) => _ = names.insert(name.clone(), *ino),
            Renaming::Remove(name) => _ = names.remove(name),
            Renaming::Move(from, to, ino) => {
                names.remove(from);
                names.insert(to.clone(), *ino);
            }
        }
    }
}

/// A file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// As programs see it.
    pub bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A directory.
#[derive(Clone, Debug, Default)]
pub struct Dir {
    /// As programs see it.
    pub names: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    pending: Vec<Renaming>,
}

/// Either.
#[derive(Clone, Debug)]
pub enum Node {
    /// A file.
    File(File),
    /// A directory.
    Dir(Dir),
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Image {
    nodes: HashMap<u64, Node>,
    /// Numbers are never used again, so that the kernel cannot take one file for another.
    next: u64,
}

impl Image {
    /// An empty root.
    pub fn new() -> Image {
        Image {
            nodes: HashMap::from([(ROOT, Node::Dir(Dir::default()))]),
            next: ROOT + 1,
        }
    }

    /// An empty root; numbers go on.
    pub fn begin_anew(&mut self) {
        *self = Image {
            next: self.next,
            ..Image::new()
        };
    }

    /// What another image holds, under numbers that were not used before.
    pub fn become_like(&mut self, other: &Image) {
        let next = self.next.max(other.next);
        *self = Image {
            next,
            ..other.clone()
        };
        // All of it was durable there, or is here from now on: nothing depends on chance.
        self.cut(Survive::All, &mut Dice::new(0));
    }

    /// The node of that number.
    pub fn node(&self, ino: u64) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    /// The file of that number.
    pub fn file(&self, ino: u64) -> Option<&File> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    /// The directory of that number.
    pub fn dir(&self, ino: u64) -> Option<&Dir> {
        match self.nodes.get(&ino) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    fn file_mut(&mut self, ino: u64) -> Option<&mut File> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    fn dir_mut(&mut self, ino: u64) -> Option<&mut Dir> {
        match self.nodes.get_mut(&ino) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    fn change_names(&mut self, dir: u64, change: Renaming) -> Option<()> {
        let dir = self.dir_mut(dir)?;
        change.apply(&mut dir.names);
        dir.pending.push(change);
        Some(())
    }

    /// Makes a node under a name that is free; none if it is not, or there is no such directory.
    pub fn create(&mut self, parent: u64, name: &OsStr, node: Node) -> Option<u64> {
        if self.dir(parent)?.names.contains_key(name) {
            return None;
        }
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        self.change_names(parent, Renaming::Put(name.to_owned(), ino))?;
        Some(ino)
    }

    /// Takes a name away.
    pub fn remove(&mut self, parent: u64, name: &OsStr) -> Option<()> {
        self.dir(parent)?.names.get(name)?;
        self.change_names(parent, Renaming::Remove(name.to_owned()))
    }

    /// Renames within a directory, or from one to another.
    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Option<()> {
        let ino = *self.dir(from.0)?.names.get(from.1)?;
        if from.0 == to.0 {
            let change = Renaming::Move(from.1.to_owned(), to.1.to_owned(), ino);
            return self.change_names(from.0, change);
        }
        self.dir(to.0)?;
        self.change_names(to.0, Renaming::Put(to.1.to_owned(), ino))?;
        self.change_names(from.0, Renaming::Remove(from.1.to_owned()))
    }

    /// Writes into the cache.
    pub fn write(&mut self, ino: u64, at: u64, bytes: &[u8]) -> Option<()> {
        let change = Change::Write(at as usize, bytes.to_vec());
        self.change(ino, change)
    }

    /// Cuts off or fills up with zeroes, in the cache.
    pub fn set_length(&mut self, ino: u64, length: u64) -> Option<()> {
        self.change(ino, Change::Length(length as usize))
    }

    fn change(&mut self, ino: u64, change: Change) -> Option<()> {
        let file = self.file_mut(ino)?;
        change.apply(&mut file.bytes);
        file.pending.push(change);
        Some(())
    }

    /// Makes the last change of a file durable, and only that: what a write to a file with `O_DSYNC` promises.
    pub fn sync_last(&mut self, ino: u64) -> Option<()> {
        let file = self.file_mut(ino)?;
        if let Some(change) = file.pending.pop() {
            change.apply(&mut file.durable);
        }
        Some(())
    }

    /// Makes all of a file or directory durable, names of a directory or bytes of a file.
    pub fn sync(&mut self, ino: u64) -> Option<()> {
        match self.nodes.get_mut(&ino)? {
            Node::File(file) => {
                for change in file.pending.drain(..) {
                    change.apply(&mut file.durable);
                }
            }
            Node::Dir(dir) => {
                for change in dir.pending.drain(..) {
                    change.apply(&mut dir.durable);
                }
            }
        }
        Some(())
    }

    /// What a failed sync does to the page cache: the pages count as clean, so no later sync writes them; programs go on seeing
    /// them until the power goes. Names stay to be synced: they are in a journal, and a journal that fails ends the file system.
    pub fn forget_pending(&mut self, ino: u64) -> Option<()> {
        if let Node::File(file) = self.nodes.get_mut(&ino)? {
            file.pending.clear();
        }
        Some(())
    }

    /// The power goes and comes back. All numbers are new.
    pub fn cut(&mut self, survive: Survive, dice: &mut Dice) {
        let mut after = Image::new();
        after.next = self.next;
        self.survivors(ROOT, ROOT, &mut after, survive, dice);
        *self = after;
    }

    fn survivors(
        &mut self,
        old: u64,
        new: u64,
        after: &mut Image,
        survive: Survive,
        dice: &mut Dice,
    ) {
        match self.nodes.remove(&old) {
            None => {}
            Some(Node::File(file)) => {
                let bytes = file.survivor(survive, dice);
                let file = File {
                    durable: bytes.clone(),
                    bytes,
                    pending: Vec::new(),
                };
                after.nodes.insert(new, Node::File(file));
            }
            Some(Node::Dir(mut dir)) => {
                for change in chosen(std::mem::take(&mut dir.pending), survive, dice) {
                    change.apply(&mut dir.durable);
                }
                let mut names = BTreeMap::new();
                for (name, old) in dir.durable {
                    // Two names of one file only come of half a rename between directories: the second finds nothing.
                    if self.nodes.contains_key(&old) {
                        let new = after.next;
                        after.next += 1;
                        self.survivors(old, new, after, survive, dice);
                        names.insert(name, new);
                    }
                }
                let dir = Dir {
                    durable: names.clone(),
                    names,
                    pending: Vec::new(),
                };
                after.nodes.insert(new, Node::Dir(dir));
            }
        }
    }

    /// Writes all that programs would see into a real directory.
    ///
    /// # Errors
    /// The system's.
    pub fn export(&self, ino: u64, to: &std::path::Path) -> std::io::Result<()> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => std::fs::write(to, &file.bytes),
            Some(Node::Dir(dir)) => {
                std::fs::create_dir_all(to)?;
                for (name, ino) in &dir.names {
                    self.export(*ino, &to.join(name))?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl File {
    fn survivor(self, survive: Survive, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable;
        for change in chosen(self.pending, survive, dice) {
            match change {
                Change::Write(at, new) if survive == Survive::Torn => {
                    for (from, to) in torn(at, new.len(), dice) {
                        Change::Write(at + from, new[from..to].to_vec()).apply(&mut bytes);
                    }
                }
                change => change.apply(&mut bytes),
            }
        }
        bytes
    }
}

/// Which of the changes survive, in order.
fn chosen<T>(mut changes: Vec<T>, survive: Survive, dice: &mut Dice) -> Vec<T> {
    match survive {
        Survive::None => changes.clear(),
        Survive::All => {}
        Survive::Prefix => changes.truncate(dice.below(changes.len() as u64 + 1) as usize),
        Survive::Some | Survive::Torn => changes.retain(|_| dice.one_in(2)),
    }
    changes
}

/// Which parts of a write of `length` bytes at `at` reach the disk.
fn torn(at: usize, length: usize, dice: &mut Dice) -> Vec<(usize, usize)> {
    let border = dice.below(length as u64 + 1) as usize;
    match dice.below(5) {
        0 => vec![(0, length)],
        1 => vec![(0, border)],
        2 => vec![(border, length)],
        _ => {
            let mut parts = Vec::new();
            let mut from = 0;
            while from < length {
                let to = length.min(from + SECTOR - (at + from) % SECTOR);
                if dice.one_in(2) {
                    parts.push((from, to));
                }
                from = to;
            }
            parts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    fn content(image: &Image, file: &str) -> Option<Vec<u8>> {
        let ino = image.dir(ROOT)?.names.get(name(file))?;
        Some(image.file(*ino)?.bytes.clone())
    }

    #[test]
    fn names_and_bytes_are_synced_apart() {
        let mut image = Image::new();
        let mut make = |file: &str| {
            let ino = image
                .create(ROOT, name(file), Node::File(File::default()))
                .expect("the name is free");
            image.write(ino, 0, b"first").expect("it is there");
            ino
        };
        let (a, b) = (make("a"), make("b"));
        image.sync(a).expect("it is there");
        image.sync(ROOT).expect("it is there");
        let c = image
            .create(ROOT, name("c"), Node::File(File::default()))
            .expect("the name is free");
        image.write(c, 0, b"x").expect("it is there");
        image.sync(c).expect("it is there");
        image.write(a, 5, b" second").expect("it is there");
        image.cut(Survive::None, &mut Dice::new(1));
        assert_eq!(content(&image, "a").as_deref(), Some(&b"first"[..]));
        assert_eq!(
            content(&image, "b").as_deref(),
            Some(&b""[..]),
            "a durable name"
        );
        assert_eq!(content(&image, "c"), None, "durable without a name");
        assert!(image.node(b).is_none(), "numbers are new");
    }

    #[test]
    fn what_was_synced_survives_every_policy() {
        for survive in Survive::ALL {
            for seed in 0..50 {
                let mut image = Image::new();
                let old = image
                    .create(ROOT, name("tmp"), Node::File(File::default()))
                    .expect("the name is free");
                image.write(old, 0, &[1; 2000]).expect("it is there");
                image.sync(old).expect("it is there");
                image
                    .rename((ROOT, name("tmp")), (ROOT, name("done")))
                    .expect("both are there");
                image.sync(ROOT).expect("it is there");
                image.write(old, 1000, &[2; 3000]).expect("it is there");
                image.cut(survive, &mut Dice::new(seed));
                let bytes = content(&image, "done").expect("the name was synced");
                assert!(bytes[..1000].iter().all(|&byte| byte == 1), "{survive:?}");
                assert!(bytes.len() >= 2000);
                assert_eq!(content(&image, "tmp"), None);
            }
        }
    }

    #[test]
    fn a_failed_sync_is_seen_until_the_power_goes() {
        let mut image = Image::new();
        let file = image
            .create(ROOT, name("a"), Node::File(File::default()))
            .expect("the name is free");
        image.sync(ROOT).expect("it is there");
        image.write(file, 0, b"lost").expect("it is there");
        image.forget_pending(file).expect("it is there");
        image.sync(file).expect("it is there");
        assert_eq!(content(&image, "a").as_deref(), Some(&b"lost"[..]));
        image.cut(Survive::All, &mut Dice::new(1));
        assert_eq!(content(&image, "a").as_deref(), Some(&b""[..]));
    }
}
