//! placeholder
use super::image::Image;
use super::survival::Survival;
use std::ops::Range;
use std::path::Path;
/// A disk.
#[derive(Debug, Clone, Default)]
pub struct DiskState {
    pending: Vec<PendingOp>,
}
/// A pending operation.
#[derive(Debug, Clone)]
pub struct PendingOp {
    /// What.
    pub kind: PendingKind,
    /// Where: the file's present name, or the name made or removed.
    pub path: String,
}
/// What a pending operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs)]
pub enum PendingKind {
    Write { offset: u64, len: u64 },
    SetLen { len: u64 },
    Create,
    CreateDir,
    Rename { from: String },
    Remove,
}
impl PendingOp {
    /// For people.
    pub fn label(&self) -> String {
        format!("{:?}", self)
    }
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.kind, PendingKind::Write { .. })
    }
    pub(crate) fn same_place(&self, _other: &PendingOp) -> bool {
        false
    }
}
#[expect(missing_docs)]
impl DiskState {
    pub fn from_image(_image: &Image) -> DiskState {
        DiskState::default()
    }
    pub fn pending(&self) -> &[PendingOp] {
        &self.pending
    }
    pub fn crash(&self, _policy: &Survival) -> Image {
        Image::default()
    }
    pub fn page_cache(&self) -> Image {
        Image::default()
    }
    pub fn restart(&self) -> DiskState {
        self.clone()
    }
    pub fn is_durable(&self, _path: &Path, _range: Range<u64>) -> bool {
        false
    }
    pub fn is_name_durable(&self, _path: &Path) -> bool {
        false
    }
    pub fn read_durable(&self, _path: &Path, _offset: u64, _len: usize) -> Option<Vec<u8>> {
        None
    }
    pub fn read_cached(&self, _path: &Path, _offset: u64, _len: usize) -> Option<Vec<u8>> {
        None
    }
}
