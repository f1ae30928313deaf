//! What a recovery found and did, as data; and told so that a person can follow it.

use std::fmt;
use std::time::Duration;

use afterimage_log::Lsn;

use super::kinds::{KindReport, Kinds};

/// What opening the database found, and what it did about it. Returned by
/// [`Database::recovery_report`](crate::Database::recovery_report).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The database was made by this open.
    pub created: bool,
    /// The last stop was clean: nothing had to be recovered.
    pub clean: bool,
    /// How the log ended, in words.
    pub tail: String,
    /// Bytes behind the last whole record that were cut off, as far as they could be told from zeroes.
    pub torn_bytes: u64,
    /// The checkpoint that recovery began at.
    pub checkpoint_lsn: Option<Lsn>,
    /// Where redo began.
    pub redo_lsn: Option<Lsn>,
    /// Where the log ended.
    pub end_lsn: Option<Lsn>,
    /// Bytes of the records from `redo_lsn` to the end.
    pub log_bytes: u64,
    /// Records read by the analysis pass.
    pub records: u64,
    /// Transactions that had committed since the checkpoint.
    pub winners: u64,
    /// Transactions that were unfinished, and were rolled back.
    pub losers: u64,
    /// Pages that redo looked at.
    pub pages: u64,
    /// Changes that redo applied again.
    pub redone: u64,
    /// Changes that were on their pages already.
    pub already_there: u64,
    /// Records of losers that undo visited.
    pub undone: u64,
    /// What the last record in the log is; `None` if no record was read.
    pub last_record: Option<&'static str>,
    /// The same by the kinds of records: a line for each kind there is, in one fixed order.
    pub kinds: Vec<KindReport>,
    /// Pages restored from the doublewrite area because their homes were torn or older.
    pub pages_restored: u64,
    /// Of those, pages whose home was torn.
    pub pages_torn: u64,
    /// Segments of log that were written anew, because nothing proved them durable.
    pub segments_rewritten: u64,
    /// Unlogged tables that are empty now: the last stop was not clean, or their file is not the one that it left.
    pub unlogged_emptied: u64,
    /// Time to read the log and decide; nothing was written until then. Analysis looked on.
    pub decide_time: Duration,
    /// Time to make what was read safe against a page cache that lies.
    pub secure_time: Duration,
    /// Time until what analysis found could be used: nearly all of it is in `decide_time`.
    pub analysis_time: Duration,
    /// Time of the redo pass.
    pub redo_time: Duration,
    /// Time of the undo pass.
    pub undo_time: Duration,
    /// Time of the checkpoint at the end.
    pub checkpoint_time: Duration,
}

impl RecoveryReport {
    pub(crate) fn new(created: bool, clean: bool, tail: String) -> RecoveryReport {
        RecoveryReport {
            created,
            clean,
            tail,
            torn_bytes: 0,
            checkpoint_lsn: None,
            redo_lsn: None,
            end_lsn: None,
            log_bytes: 0,
            records: 0,
            winners: 0,
            losers: 0,
            pages: 0,
            redone: 0,
            already_there: 0,
            undone: 0,
            last_record: None,
            kinds: Kinds::default().report(),
            pages_restored: 0,
            pages_torn: 0,
            segments_rewritten: 0,
            unlogged_emptied: 0,
            decide_time: Duration::ZERO,
            secure_time: Duration::ZERO,
            analysis_time: Duration::ZERO,
            redo_time: Duration::ZERO,
            undo_time: Duration::ZERO,
            checkpoint_time: Duration::ZERO,
        }
    }

    /// The whole time, from the first read to the checkpoint.
    pub fn total_time(&self) -> Duration {
        self.decide_time
            + self.secure_time
            + self.analysis_time
            + self.redo_time
            + self.undo_time
            + self.checkpoint_time
    }
}

fn number(lsn: Option<Lsn>) -> u64 {
    lsn.map_or(0, Lsn::get)
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.created {
            return write!(f, "a new database: nothing to recover");
        }
        if self.clean {
            write!(
                f,
                "the last stop was clean: nothing to recover; the log ends at {}",
                number(self.end_lsn)
            )?;
            return match self.unlogged_emptied {
                0 => Ok(()),
                tables => write!(
                    f,
                    "; {tables} unlogged tables are empty, for the file unlogged is not the one that it left"
                ),
            };
        }
        writeln!(
            f,
            "decide    the log ends at LSN {}: {} ({:.1?})",
            number(self.end_lsn),
            self.tail,
            self.decide_time
        )?;
        writeln!(
            f,
            "secure    what was read is on disk for certain, {} segments of log written anew; {} pages restored from the \
             doublewrite area, {} of them torn ({:.1?})",
            self.segments_rewritten, self.pages_restored, self.pages_torn, self.secure_time
        )?;
        writeln!(
            f,
            "analysis  {} records from the checkpoint at LSN {}: {} winners, {} losers ({:.1?})",
            self.records,
            number(self.checkpoint_lsn),
            self.winners,
            self.losers,
            self.analysis_time
        )?;
        writeln!(
            f,
            "redo      {} bytes from LSN {}: {} changes applied to {} pages, {} were there already ({:.1?})",
            self.log_bytes,
            number(self.redo_lsn),
            self.redone,
            self.pages,
            self.already_there,
            self.redo_time
        )?;
        writeln!(
            f,
            "undo      {} records of the losers taken back ({:.1?})",
            self.undone, self.undo_time
        )?;
        if self.unlogged_emptied > 0 {
            writeln!(
                f,
                "unlogged  {} tables are empty now: their rows are not in the log",
                self.unlogged_emptied
            )?;
        }
        write!(f, "open      after {:.1?} in all", self.total_time())
    }
}
