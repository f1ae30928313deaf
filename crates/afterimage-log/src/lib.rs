#![doc = include_str!("../README.md")]

mod buffer;
mod bytes;
mod control;
mod create;
mod cursor;
mod error;
mod examine;
mod files;
mod frame;
mod log;
mod lsn;
mod options;
mod reader;
mod resume;
mod scan;
mod segment;
mod space;
mod spare;
mod stats;
mod sync;
mod tail;
mod ticket;
mod verify;

pub use control::{Control, ControlFile, Identity};
pub use error::{Error, Result};
pub use examine::{Examination, SegmentInfo};
pub use frame::FrameKind;
pub use log::{Appended, Log};
pub use lsn::Lsn;
pub use options::LogOptions;
pub use reader::{Frame, Reader};
pub use scan::{ScanEnd, ScanFrame, ScanReader};
pub use space::Reservation;
pub use stats::LogStats;
pub use tail::{Proof, Tail};
pub use ticket::Ticket;
