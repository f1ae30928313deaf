#![doc = include_str!("../README.md")]

mod append;
mod background;
mod buffer;
mod bytes;
mod choice;
mod control;
mod create;
mod cursor;
mod durability;
mod durations;
mod error;
mod examine;
mod files;
mod flusher;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod group;
mod identity;
mod log;
mod lsn;
mod options;
mod positions;
mod publish;
mod reader;
mod reserve;
mod resume;
mod scan;
mod segment;
pub mod settings;
mod shared;
mod space;
mod spare;
mod stats;
mod sync;
mod tail;
mod ticket;
pub mod units;
mod verify;
mod wakers;
mod wal;
mod walk;

pub use afterimage_io::{DurableWrites, Io, Progress, SyncMethod};
pub use choice::SyncChoice;
pub use control::{Control, ControlFile};
pub use durability::Durability;
pub use durations::{Durations, Histogram};
pub use error::{Error, Result};
pub use examine::Examination;
pub use files::SegmentInfo;
pub use frame::FrameKind;
pub use identity::Identity;
pub use log::Log;
pub use lsn::{Appended, Lsn};
pub use options::LogOptions;
pub use positions::Positions;
pub use reader::{Frame, FrameView, Reader};
pub use scan::{ScanEnd, ScanFrame, ScanReader};
pub use space::Reservation;
pub use stats::{LogStats, LogTimes};
pub use tail::{Proof, Tail};
pub use ticket::Ticket;
pub use wal::{
    CutOff, Follower, Horizon, Overview, Record, Records, Salvage, Slot, SlotInfo, SlotLoss,
    SlotState, Start, Wal, WalReader,
};
pub use walk::Witness;
