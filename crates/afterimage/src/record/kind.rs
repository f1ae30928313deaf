//! The kinds of records, finer than [`Record`]'s own: what a recovery counts, and what the crash simulation must have crashed
//! at, redone and undone, each of them. A record without a kind does not compile, and a kind is in the list by being one.

use afterimage_io::sync::atomic::{AtomicU64, Ordering};

use super::{Change, Record, StructureKind};

macro_rules! kinds {
    ($($kind:ident = $name:literal, $changes_pages:literal, $undoable:literal;)*) => {
        /// What a record is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub(crate) enum RecordKind {
            $($kind,)*
            Structure(StructureKind),
        }

        /// The place of each in the list.
        enum Place {
            $($kind,)*
        }

        impl RecordKind {
            const PLAIN: &'static [RecordKind] = &[$(RecordKind::$kind),*];
            /// More than any [`index`](RecordKind::index).
            pub(crate) const INDEXES: usize = RecordKind::PLAIN.len() + 1 + u8::MAX as usize;

            /// A small number that no other kind has: for counting.
            pub(crate) const fn index(self) -> usize {
                match self {
                    $(RecordKind::$kind => Place::$kind as usize,)*
                    RecordKind::Structure(kind) => RecordKind::PLAIN.len() + kind as usize,
                }
            }

            /// A name that no other kind has.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(RecordKind::$kind => $name,)*
                    RecordKind::Structure(kind) => kind.name(),
                }
            }

            /// Whether it changes pages, so that a recovery can have to make it again.
            pub(crate) const fn changes_pages(self) -> bool {
                match self {
                    $(RecordKind::$kind => $changes_pages,)*
                    RecordKind::Structure(_) => true,
                }
            }

            /// Whether a recovery can have to take it back.
            pub(crate) const fn undoable(self) -> bool {
                match self {
                    $(RecordKind::$kind => $undoable,)*
                    RecordKind::Structure(_) => false,
                }
            }
        }
    };
}

kinds! {
    Insert = "insert", true, true;
    Replace = "replace", true, true;
    Update = "update", true, true;
    Delete = "delete", true, true;
    InsertLarge = "insert large", true, true;
    ReplaceLarge = "replace large", true, true;
    DeleteLarge = "delete large", true, true;
    InsertCommit = "insert+commit", true, false;
    ReplaceCommit = "replace+commit", true, false;
    UpdateCommit = "update+commit", true, false;
    DeleteCommit = "delete+commit", true, false;
    ClrPut = "clr put", true, false;
    ClrPutLarge = "clr put large", true, false;
    ClrUpdate = "clr update", true, false;
    ClrDelete = "clr delete", true, false;
    Begin = "begin", false, false;
    Commit = "commit", false, false;
    End = "end", false, false;
    UnloggedCommit = "unlogged commit", false, false;
    CheckpointBegin = "checkpoint begin", false, false;
    CheckpointTables = "checkpoint tables", false, false;
    CheckpointEnd = "checkpoint end", false, false;
}

impl RecordKind {
    /// Every kind, in the order in which they are shown.
    pub(crate) fn all() -> impl Iterator<Item = RecordKind> {
        let structures = (0..=u8::MAX).filter_map(StructureKind::from_byte);
        RecordKind::PLAIN
            .iter()
            .copied()
            .chain(structures.map(RecordKind::Structure))
    }

    /// What `record` is.
    pub(crate) fn of(record: &Record<'_>) -> RecordKind {
        match record {
            Record::Row(row) if row.commit => match &row.change {
                Change::Put { before: None, .. } => RecordKind::InsertCommit,
                Change::Put { .. } => RecordKind::ReplaceCommit,
                Change::Delete { .. } => RecordKind::DeleteCommit,
                Change::Xor { .. } => RecordKind::UpdateCommit,
            },
            Record::Row(row) => match (&row.change, row.change.is_large()) {
                (Change::Put { before: None, .. }, false) => RecordKind::Insert,
                (Change::Put { before: None, .. }, true) => RecordKind::InsertLarge,
                (Change::Put { .. }, false) => RecordKind::Replace,
                (Change::Put { .. }, true) => RecordKind::ReplaceLarge,
                (Change::Delete { .. }, false) => RecordKind::Delete,
                (Change::Delete { .. }, true) => RecordKind::DeleteLarge,
                (Change::Xor { .. }, _) => RecordKind::Update,
            },
            Record::Clr(clr) => match (&clr.change, clr.change.is_large()) {
                (Change::Put { .. }, false) => RecordKind::ClrPut,
                (Change::Put { .. }, true) => RecordKind::ClrPutLarge,
                (Change::Delete { .. }, _) => RecordKind::ClrDelete,
                (Change::Xor { .. }, _) => RecordKind::ClrUpdate,
            },
            Record::Begin => RecordKind::Begin,
            Record::Commit { .. } => RecordKind::Commit,
            Record::End { .. } => RecordKind::End,
            Record::UnloggedCommit => RecordKind::UnloggedCommit,
            Record::Structure(structure) => RecordKind::Structure(structure.kind),
            Record::CheckpointBegin => RecordKind::CheckpointBegin,
            Record::CheckpointTables { .. } => RecordKind::CheckpointTables,
            Record::CheckpointEnd { .. } => RecordKind::CheckpointEnd,
        }
    }
}

/// How many records of each kind were appended, and their bytes.
#[derive(Debug)]
pub(crate) struct KindCounts(Box<[[AtomicU64; 2]]>);

impl Default for KindCounts {
    fn default() -> KindCounts {
        // A model checker has few primitives.
        let kinds = match cfg!(any(loom, shuttle)) {
            true => 1,
            false => RecordKind::INDEXES,
        };
        KindCounts((0..kinds).map(|_| Default::default()).collect())
    }
}

impl KindCounts {
    /// Counts a record. To be called inside its append, where nobody else is: so a load and a store do.
    pub(crate) fn count(&self, kind: RecordKind, bytes: u64) {
        if cfg!(unmeasured) {
            return;
        }
        let counts = &self.0[kind.index().min(self.0.len() - 1)];
        for (count, n) in counts.iter().zip([1, bytes]) {
            count.store(count.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        }
    }

    /// The kinds that there were, with how many and how many bytes.
    pub(crate) fn told(&self) -> Vec<(RecordKind, u64, u64)> {
        let counts = |kind: RecordKind| {
            let [records, bytes] = self.0.get(kind.index())?;
            let (records, bytes) = (
                records.load(Ordering::Relaxed),
                bytes.load(Ordering::Relaxed),
            );
            (records > 0).then_some((kind, records, bytes))
        };
        RecordKind::all().filter_map(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let names: Vec<&str> = RecordKind::all().map(RecordKind::name).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        let indexes: std::collections::BTreeSet<_> =
            RecordKind::all().map(RecordKind::index).collect();
        assert_eq!(indexes.len(), names.len());
        assert!(indexes.iter().all(|index| *index < RecordKind::INDEXES));
        assert!(names.contains(&"insert large") && names.contains(&"rename table"));
    }
}
