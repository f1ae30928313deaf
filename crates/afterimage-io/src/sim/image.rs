//! placeholder
use std::path::Path;
/// A disk image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {}
#[expect(missing_docs)]
impl Image {
    pub fn hash(&self) -> u64 {
        0
    }
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        std::iter::empty()
    }
    pub fn read(&self, _path: &str, _offset: u64, _len: usize) -> Option<Vec<u8>> {
        None
    }
    pub fn write_bytes(&mut self, _path: &str, _offset: u64, _bytes: &[u8]) {}
    pub fn flip_bit(&mut self, _path: &str, _offset: u64, _bit: u8) {}
    pub fn dump_to_dir(&self, _dir: &Path) -> std::io::Result<()> {
        Ok(())
    }
}
