//! One file a subcommand: its arguments, its help, and its `run`.

pub mod advise;
pub mod bench;
pub mod checkpoint;
pub mod delete;
pub mod demo;
pub mod explain;
pub mod export;
pub mod get;
pub mod history;
pub mod load;
pub mod log;
pub mod pins;
pub mod plan;
pub mod put;
pub mod recover;
pub mod rows;
pub mod scan;
pub mod serve;
pub mod settings;
pub mod shell;
pub mod size;
pub mod stats;
pub mod tables;
pub mod test_sync;
pub mod top;
pub mod verify;
