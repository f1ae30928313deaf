//! The public handles, thin over the layers below.

mod bound;
mod busiest;
mod commits;
mod create;
mod handle;
mod horizon;
#[cfg(test)]
mod lies;
mod live;
mod load;
mod maintenance;
mod pins;
mod scan;
mod snapshot;
mod stats;
mod status;
mod table;
mod tables;
mod transaction;
mod value;
mod verify;

pub use handle::Database;
pub use load::{LoadOptions, TableLoad};
pub use pins::{Pin, PinHolder};
pub use scan::Scan;
pub use snapshot::Snapshot;
pub use stats::{RecordStats, Stats};
pub use status::StatusFile;
pub use table::Table;
pub use transaction::{CommitTicket, Transaction};
pub use value::ValueReader;
pub use verify::{VerifyFinding, VerifyReport};
