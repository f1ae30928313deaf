//! `Content`: a file's bytes, sparse and copy-on-write. Blocks of 4 KiB are shared between snapshots, images and
//! machines until they are written; what was never written, or only with zeroes, takes no memory. Hashes are kept per
//! block and per chunk of blocks and made when first asked for, so hashing again after a small change is cheap.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::chance::{fold, hash_bytes, mix};

pub(crate) const BLOCK_BYTES: usize = 4096;
const BLOCK: u64 = BLOCK_BYTES as u64;
const CHUNK_BLOCKS: usize = 64;

/// A file's length and bytes. Bytes at and beyond the length are zero in every block.
#[derive(Clone, Default)]
pub(crate) struct Content {
    len: u64,
    chunks: Arc<BTreeMap<u64, Arc<Chunk>>>,
}

struct Chunk {
    blocks: [Option<Arc<Block>>; CHUNK_BLOCKS],
    hash: OnceLock<u64>,
}

struct Block {
    bytes: [u8; BLOCK_BYTES],
    /// 0 for a block of zeroes, which must hash like an absent one.
    hash: OnceLock<u64>,
}

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk {
            blocks: [const { None }; CHUNK_BLOCKS],
            hash: OnceLock::new(),
        }
    }
}

impl Clone for Chunk {
    /// Cloned in order to be changed, so without the hash.
    fn clone(&self) -> Chunk {
        Chunk {
            blocks: self.blocks.clone(),
            hash: OnceLock::new(),
        }
    }
}

impl Clone for Block {
    fn clone(&self) -> Block {
        Block {
            bytes: self.bytes,
            hash: OnceLock::new(),
        }
    }
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Copies the bytes from `offset` on into `buf`, as far as the file goes; how many that were.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left = self.len.saturating_sub(offset);
        let count = usize::try_from(left).map_or(buf.len(), |left| buf.len().min(left));
        for piece in pieces(offset, count) {
            let target = &mut buf[piece.buffer.clone()];
            match self.block(piece.block) {
                Some(block) => target.copy_from_slice(&block.bytes[piece.within()]),
                None => target.fill(0),
            }
        }
        count
    }

    /// The bytes of `offset..offset + len`, or `None` if the file is shorter.
    pub(crate) fn read_vec(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        if offset.checked_add(len as u64)? > self.len {
            return None;
        }
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes);
        Some(bytes)
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        for piece in pieces(offset, data.len()) {
            let bytes = &data[piece.buffer.clone()];
            if is_zero(bytes) && self.block(piece.block).is_none() {
                continue;
            }
            self.block_mut(piece.block)[piece.within()].copy_from_slice(bytes);
        }
        self.len = self.len.max(offset + data.len() as u64);
    }

    pub(crate) fn write_zeroes(&mut self, range: Range<u64>) {
        self.clear(range.clone());
        self.len = self.len.max(range.end);
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.clear(len..self.len);
        }
        self.len = len;
    }

    /// Whether both files have the same bytes in this range, zeroes standing for what is beyond an end.
    pub(crate) fn same_in(&self, other: &Content, range: Range<u64>) -> bool {
        let (first, last) = (range.start / BLOCK, range.end.div_ceil(BLOCK));
        // Only blocks that exist somewhere can differ: never walks a sparse range block by block.
        self.block_numbers(first..last)
            .chain(other.block_numbers(first..last))
            .all(|number| {
                let start = (range.start.max(number * BLOCK) - number * BLOCK) as usize;
                let end = (range.end.min((number + 1) * BLOCK) - number * BLOCK) as usize;
                match (self.block(number), other.block(number)) {
                    (Some(a), Some(b)) => {
                        Arc::ptr_eq(a, b) || a.bytes[start..end] == b.bytes[start..end]
                    }
                    (Some(one), None) | (None, Some(one)) => is_zero(&one.bytes[start..end]),
                    (None, None) => true,
                }
            })
    }

    /// A hash of length and bytes. Costs what was changed since it was last asked for, and one step for each 256 KiB.
    pub(crate) fn hash(&self) -> u64 {
        let chunks = self
            .chunks
            .iter()
            .map(|(number, chunk)| placed(*number, chunk.hash()));
        chunks.fold(mix(self.len), u64::wrapping_add)
    }

    /// Sets a range to zeroes, giving back whole blocks; the length stays.
    fn clear(&mut self, range: Range<u64>) {
        let first = range.start / BLOCK;
        let last = range.end.div_ceil(BLOCK);
        let numbers: Vec<u64> = self.block_numbers(first..last).collect();
        for number in numbers {
            let start = range.start.max(number * BLOCK) - number * BLOCK;
            let end = range.end.min((number + 1) * BLOCK) - number * BLOCK;
            if start == 0 && end == BLOCK {
                self.remove_block(number);
            } else {
                self.block_mut(number)[start as usize..end as usize].fill(0);
            }
        }
    }

    fn block(&self, number: u64) -> Option<&Arc<Block>> {
        let (chunk, index) = chunk_of(number);
        self.chunks.get(&chunk)?.blocks[index].as_ref()
    }

    fn block_mut(&mut self, number: u64) -> &mut [u8; BLOCK_BYTES] {
        let (chunk, index) = chunk_of(number);
        let chunk = Arc::make_mut(&mut self.chunks).entry(chunk).or_default();
        let chunk = Arc::make_mut(chunk);
        chunk.hash = OnceLock::new();
        let block = chunk.blocks[index].get_or_insert_with(|| {
            Arc::new(Block {
                bytes: [0; BLOCK_BYTES],
                hash: OnceLock::new(),
            })
        });
        let block = Arc::make_mut(block);
        block.hash = OnceLock::new();
        &mut block.bytes
    }

    fn remove_block(&mut self, number: u64) {
        let (chunk_number, index) = chunk_of(number);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(&chunk_number) else {
            return;
        };
        let chunk = Arc::make_mut(chunk);
        chunk.hash = OnceLock::new();
        chunk.blocks[index] = None;
        if chunk.blocks.iter().all(Option::is_none) {
            chunks.remove(&chunk_number);
        }
    }

    /// The numbers of the blocks that exist in this range.
    fn block_numbers(&self, range: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        let chunks = range.start / CHUNK_BLOCKS as u64..range.end.div_ceil(CHUNK_BLOCKS as u64);
        let chunks = if chunks.start < chunks.end {
            chunks
        } else {
            0..0
        };
        self.chunks
            .range(chunks)
            .flat_map(|(number, chunk)| {
                let first = number * CHUNK_BLOCKS as u64;
                let there = chunk
                    .blocks
                    .iter()
                    .enumerate()
                    .filter(|(_, block)| block.is_some());
                there.map(move |(index, _)| first + index as u64)
            })
            .filter(move |number| range.contains(number))
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        self.len == other.len
            && (Arc::ptr_eq(&self.chunks, &other.chunks) || self.same_in(other, 0..self.len))
    }
}

impl Eq for Content {}

impl Chunk {
    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| {
            let blocks = self.blocks.iter().enumerate();
            let hashes = blocks
                .filter_map(|(index, block)| Some(placed(index as u64, block.as_ref()?.hash())));
            hashes.fold(0, u64::wrapping_add)
        })
    }
}

impl Block {
    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| {
            if is_zero(&self.bytes) {
                0
            } else {
                hash_bytes(&self.bytes).max(1)
            }
        })
    }
}

/// A part's hash at its place, 0 if the part is all zeroes: sums of these do not depend on what is absent.
fn placed(number: u64, hash: u64) -> u64 {
    if hash == 0 {
        0
    } else {
        mix(fold(hash, number))
    }
}

fn chunk_of(block: u64) -> (u64, usize) {
    let chunk = block / CHUNK_BLOCKS as u64;
    (chunk, (block % CHUNK_BLOCKS as u64) as usize)
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_le_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// The part of a read or write that falls into one block.
struct Piece {
    block: u64,
    start: usize,
    buffer: Range<usize>,
}

impl Piece {
    fn within(&self) -> Range<usize> {
        self.start..self.start + self.buffer.len()
    }
}

fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % BLOCK) as usize;
        let count = (BLOCK_BYTES - start).min(len - done);
        let buffer = done..done + count;
        done += count;
        let block = at / BLOCK;
        Some(Piece {
            block,
            start,
            buffer,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = BLOCK * CHUNK_BLOCKS as u64;

    fn bytes(content: &Content) -> Vec<u8> {
        content
            .read_vec(0, content.len() as usize)
            .expect("all of it")
    }

    #[test]
    fn reads_what_was_written_across_blocks_and_chunks() {
        let mut content = Content::default();
        let data: Vec<u8> = (0..3 * BLOCK_BYTES + 17).map(|i| i as u8 | 1).collect();
        content.write(CHUNK - 100, &data);
        assert_eq!(content.len(), CHUNK - 100 + data.len() as u64);
        assert_eq!(content.read_vec(CHUNK - 100, data.len()), Some(data));
        assert_eq!(content.read_vec(0, 10), Some(vec![0; 10]));
        assert_eq!(content.read_vec(CHUNK * 9, 1), None);
    }

    #[test]
    fn truncated_bytes_do_not_come_back() {
        let mut content = Content::default();
        content.write(0, &[7; 10_000]);
        content.set_len(5_000);
        content.set_len(10_000);
        let mut expected = vec![7; 5_000];
        expected.resize(10_000, 0);
        assert_eq!(bytes(&content), expected);
    }

    #[test]
    fn equality_and_hash_do_not_see_how_zeroes_are_kept() {
        let mut written = Content::default();
        written.write(0, &[1; 9000]);
        written.write(0, &[0; 9000]);
        let mut sparse = Content::default();
        sparse.set_len(9000);
        assert!(written == sparse);
        assert_eq!(written.hash(), sparse.hash());
        sparse.write(4096, &[1]);
        assert!(written != sparse);
        assert_ne!(written.hash(), sparse.hash());
        sparse.write(4096, &[0]);
        assert_eq!(written.hash(), sparse.hash());
    }

    #[test]
    fn a_clone_is_a_snapshot() {
        let mut content = Content::default();
        content.write(0, &[1; 8192]);
        let before = content.hash();
        let snapshot = content.clone();
        content.write(100, &[2; 5000]);
        assert_eq!(bytes(&snapshot), vec![1; 8192]);
        assert_eq!(snapshot.hash(), before);
        assert_ne!(content.hash(), before);
    }

    #[test]
    fn huge_offsets_cost_nothing() {
        let mut content = Content::default();
        content.write(1 << 60, b"far");
        assert_eq!(content.read_vec(1 << 60, 3), Some(b"far".to_vec()));
        content.write_zeroes(0..1 << 61);
        assert_eq!(content.len(), 1 << 61);
        assert_eq!(content.read_vec(1 << 60, 3), Some(vec![0; 3]));
    }
}
