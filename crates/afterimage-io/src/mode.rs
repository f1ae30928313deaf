//! How a file is to be opened: a word all worlds share.

/// How a file is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    ReadWrite,
    /// For reading and writing; made if it does not exist, kept as it is if it does.
    Create,
    /// For reading and writing; made now, an `AlreadyExists` error if there is one.
    CreateNew,
}

impl OpenMode {
    pub(crate) fn writes(self) -> bool {
        self != OpenMode::Read
    }

    pub(crate) fn creates(self) -> bool {
        matches!(self, OpenMode::Create | OpenMode::CreateNew)
    }
}
