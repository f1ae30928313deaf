//! Deliberate bugs, to prove that the tests would find them. Each names a trap of write-ahead logging; the code that
//! avoids the trap asks `active(..)` at the very line. Only a build with `--cfg planted` contains them: in any other
//! the answer is a constant `false` and the branch is gone.

macro_rules! bugs {
    ($($bug:ident = $name:literal, $describe:literal;)*) => {
        /// A bug that a planted build can switch on.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Bug {
            $(#[doc = $describe] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$bug),*];

            /// The short name it is chosen and reported by.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Bug::$bug => $name,)*
                }
            }

            /// What goes wrong, in one line.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Bug::$bug => $describe,)*
                }
            }
        }
    };
}

bugs! {
    DamageTakenForTorn = "T1", "Damage inside the durable log is taken for a torn tail: what proves the log durable is not asked.";
    WatermarkTooHigh = "T1b", "A watermark claims that its own batch is durable, while that is being written.";
    StaleRecordValidates = "T2", "A record left over in a recycled segment validates as if it had been written now.";
    ZeroesValidate = "T3", "Zeroes validate as empty frames.";
    LengthBelieved = "T4", "A frame's length is believed before anything has vouched for it.";
    TailLeftAlive = "T5", "A torn tail is not made physically dead before the log goes on.";
    ExactFitRefused = "T9", "A frame that ends exactly where a segment ends is not recognised.";
    PageAheadOfLog = "T10", "A page is written home before the log that describes it is durable.";
    AckBeforeSync = "T11", "A commit is acknowledged before its record is synced.";
    AckBelowCommitRecord = "T11b", "A commit waits for its transaction's last change to be durable, not for its commit record.";
    DurableOverHole = "T11c", "Of two flushes under way the later one is synced first, and the durable LSN passes both.";
    LookedTooEarly = "T11d", "Whoever registers for a position does not look at it again, and sleeps though it was reached.";
    StopNotTold = "T11e", "A stop wakes nobody: who waits for the flush that failed waits for ever.";
    TailNotRewritten = "T12", "After an unclean stop the log's tail is believed as the page cache shows it, not rewritten.";
    SyncRetried = "T12b", "A failed sync is tried again, and its OK is believed.";
    SegmentNameNotSynced = "T13", "A commit is acknowledged in a segment whose name is not durable.";
    SegmentNotFilled = "T14", "A new segment has its length and no blocks, and nothing of it is synced: appends need space and metadata.";
    RenamedBeforeSync = "T15", "A file gets its final name before its bytes are durable.";
    DescriptionShared = "T16", "Two flushes sync through one file description: the failure of both is told to one of them.";
    HomeBeforeDoublewrite = "T17", "A page is written home before its copy in the doublewrite area is synced.";
    HalfRecordKept = "T20", "After a write that stopped half way the log goes on behind it.";
    RecLsnTooLate = "T22", "A dirty page's recLSN is taken after its first record instead of before it.";
    ControlBeforeTables = "T24", "The control file names a checkpoint before its end record is durable.";
    TruncateActive = "T26", "Log that an unfinished transaction still needs is recycled.";
    SlotIgnored = "T26b", "Log that a slot has not passed is given up.";
    GivenUpTooEarly = "T27", "The segment that recovery will begin to read in is given up.";
    CleanFlagKept = "T28", "The clean flag is not cleared before the first write after an open.";
    LosersNotRedone = "T29", "Redo skips the records of transactions that did not commit.";
    ClrUndoneTwice = "T30", "Undo after a crash starts again at the end instead of at undoNext.";
    UndoNextNotTold = "T31", "A checkpoint in the middle of a transaction says that what it took back to a savepoint is still to be undone.";
    SplitInPieces = "T32", "A split is logged page by page: a crash leaves half of it.";
    UndoFindsNoRoom = "T33", "A row that a rollback cannot put back, for its room has gone to others, stays as it is.";
    FreedUncommitted = "T34", "The pages of a large value are free before the transaction that replaced it has committed.";
    FreedUnderSnapshot = "T34b", "The pages of a large value are free as soon as its replacement is durable, whatever snapshots there are.";
    FormatAsksForPage = "T35", "A record that makes a page anew is redone only where the page is as it was before.";
    GrowthNotSynced = "T36", "Pages are used before the growth of their file is durable.";
    TableIdReused = "T37", "A new table gets the number of one that was dropped.";
    CopiesGoFirst = "T38", "A recovery empties the doublewrite area before the pages that it mends are home.";
    GuessBelieved = "guess", "A page that was reached by copies of those above it is taken for the right one, though one of them has changed.";
    ParentLetGoFirst = "T40", "On the way down a tree a page is let go of before the next one is held.";
    StampedByLastChange = "T41", "Snapshots see commits in the order of their last changes, not of their commit records.";
    SnapshotNotDurable = "T42", "A snapshot of what is durable shows commits that are not.";
    StampedLate = "T43", "A commit's status is set some time after its record is in the log, and a snapshot gets in between.";
    VersionsGone = "T44", "Old versions are given up as soon as the commit is durable, whatever snapshots there are.";
    GhostsGone = "T44b", "A deleted row is purged from its page while a snapshot still sees it.";
    TakenBackTooEarly = "T46", "The versions behind a rollback are given up before the rows are back.";
    SlotNotSynced = "T56", "A slot's move is not durable when the log it has passed is given up.";
    ReadNotLocked = "no-read-locks", "A read takes no lock: it sees what is not committed.";
    ReadLockMomentary = "early-read-unlock", "A read lets its lock go at once: what it has seen may change before its transaction ends.";
    ScanNotLocked = "scan-without-lock", "A scan locks nothing of what it sees.";
    ScanGapsNotLocked = "scan-without-gaps", "A scan locks the rows that it has found, and not the room between them.";
    LocksBeforeCommitRecord = "early-write-unlock", "A transaction lets its locks go before its commit record has a place in the log.";
    AnswerNotVouchedFor = "early-answer", "A transaction that wrote nothing does not wait until what it has read is durable.";
    LoadNotPending = "load-leak", "The tree of a load that has begun stands nowhere: a crash leaks its pages.";
    LoadBeforeRows = "load-early", "A load's table is entered in the catalogue before its last rows are in the log.";
    LoadKeptPending = "load-kept", "A loaded table's pages stay among those that wait to be freed.";
    UnloggedKept = "unlogged-kept", "After an unclean stop the rows of unlogged tables are taken as the file has them.";
    UnloggedNotTakenBack = "unlogged-rollback", "A rollback forgets the rows of unlogged tables.";
    UnloggedNotSynced = "unlogged-close", "The control file says that a stop was clean before the pages of unlogged tables are home.";
    EvictedUnderPin = "evict", "A frame is emptied without looking once more, under its shard's lock, whether it is pinned or dirty.";
    ChangeInFlightLost = "in-flight", "A page that changes while a copy of it is on its way home is clean when that has arrived.";
    EndElsewhere = "end-B", "A clean stop's end is not held against the log: one that ends elsewhere is opened.";
    CleanEndTorn = "end-C", "What stands in a recycled file behind a clean stop's end counts as a torn tail.";
    TornIsDamage = "end-D", "A write that a crash interrupted is taken for damage.";
    GapIsEnd = "end-E", "A gap with an unfinished batch behind it is taken for the log's whole end.";
    EndIsTorn = "end-F", "A log that ends with a whole record is told to be torn.";
    CopyAheadOfLog = "T10b", "A page is copied into the doublewrite area before its log is durable.";
    CopiesOverwritten = "T17b", "The doublewrite area is used again before the homes of its pages are synced.";
    TornPageBelieved = "T17c", "Recovery does not look for pages that were torn on their way home.";
    AtomicTakenForGranted = "T17d", "Pages are written home without a copy on a disk that does not promise to write them whole.";
    CopiesLeft = "T17e", "Copies stay in the doublewrite area while newer pages are written home without.";
    UndoSpaceNotKept = "T21", "No log space is kept for taking a change back.";
    TablesBeforeBegin = "T23", "A checkpoint reads its tables before its begin record has its place.";
    OneControlSlot = "T25", "The control file's newer copy is overwritten, not the older one.";
    NewestCopyOnly = "T26c", "What may be given up is reckoned from the newer copy of the control file alone.";
    RedoAsksForNothing = "redo-always", "Redo applies a record whatever the page says of itself.";
    ClrsNotRedone = "T29b", "Redo skips what was taken back already, and undo does not take it back again.";
    OnePartRedone = "redo-part", "Of a record of several pages redo applies one page's part.";
    LotsForgotten = "redo-lots", "Where the pages do not fit the pool, redo ends behind those that do.";
    LosersForgotten = "losers", "Analysis does not take in the transactions that a checkpoint lists.";
    ChainToWrongRecord = "TXN-1", "A record names its transaction's first record as the one before it.";
    WaitNotSeen = "wait-unseen", "A wait for a lock is not looked at for a deadlock.";
    PendingForgotten = "leak", "What waits to be freed is forgotten by a crash.";
    StopIgnored = "stop", "The page cleaner goes on after the engine has stopped.";
    OlderPagesTaken = "older-pages", "An older file of pages is taken for the one that the last clean stop has left.";
    RefusalWrites = "refusal", "An open that is refused has noted in the control file that it tried.";
    PageLsnNotStamped = "page-lsn", "A change is applied to a page without stamping its LSN.";
}

#[cfg(planted)]
mod switch {
    use super::Bug;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Position in `Bug::ALL` plus one; 0 is none. One for the whole process.
    static PLANTED: AtomicUsize = AtomicUsize::new(0);

    /// Whether this bug is switched on.
    pub fn active(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as usize + 1
    }

    /// Switches one bug on, or all off, for the whole process.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
    }
}

#[cfg(not(planted))]
mod switch {
    use super::Bug;

    /// Whether this bug is switched on: never, in a build without `--cfg planted`.
    #[inline(always)]
    pub const fn active(_bug: Bug) -> bool {
        false
    }

    /// Switches one bug on, or all off, for the whole process: nothing, in a build without `--cfg planted`.
    pub fn plant(_bug: Option<Bug>) {}
}

pub use switch::{active, plant};

/// Whether this build contains the bugs at all.
pub const BUILT_IN: bool = cfg!(planted);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        for (index, bug) in Bug::ALL.iter().enumerate() {
            assert!(!bug.describe().is_empty());
            assert!(
                Bug::ALL[..index]
                    .iter()
                    .all(|other| other.name() != bug.name())
            );
        }
    }

    #[test]
    fn only_the_planted_bug_is_active() {
        plant(Some(Bug::AckBeforeSync));
        assert_eq!(active(Bug::AckBeforeSync), BUILT_IN);
        assert!(!active(Bug::TailLeftAlive));
        plant(None);
        assert!(!active(Bug::AckBeforeSync));
    }
}
