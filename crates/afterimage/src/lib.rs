//! The engine's front door: declares the modules in the one order in which they may import each other, and
//! re-exports what users get.
#![doc = include_str!("../README.md")]

mod codec;
mod error;
mod ids;
mod interval;
mod limits;
#[cfg(all(test, any(loom, shuttle)))]
mod models;
mod observe;
mod options;
mod queue;
mod settings;

mod page;
mod record;

mod buffer;
mod checkpoint;
mod database;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod inspect;
mod recovery;
#[doc(hidden)]
pub mod stage;
mod transaction;
mod tree;

pub use afterimage_io::{Io, Progress};
pub use afterimage_log::settings::{SettingInfo, Source};
pub use afterimage_log::{Histogram, Lsn};
pub use database::{
    CommitTicket, Database, LoadOptions, Pin, PinHolder, RecordStats, Scan, Snapshot, Stats,
    StatusFile, Table, TableLoad, Transaction, ValueReader, VerifyFinding, VerifyReport,
};
pub use error::{Error, Result};
pub use observe::{
    AfterStep, PageLine, RecoveryObserver, RecoveryStep, RedoDecision, SeenRecord,
    TransactionChange, TransactionLine,
};
pub use options::{Durability, Options};
pub use recovery::{KindReport, LastRecovery, RecoveryReport};
pub use transaction::Savepoint;

/// The book's chapters, so that what they show is run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/start.md")]
struct TheBooksStart;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/transactions.md")]
struct TheBooksTransactions;
