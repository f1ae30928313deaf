#![doc = include_str!("../README.md")]

mod bytes;
mod control;
mod error;
mod examine;
mod frame;
mod log;
mod lsn;
mod options;
mod reader;
mod space;
mod stats;
mod tail;
mod ticket;

pub use control::{Control, ControlFile, Identity};
pub use error::{Error, Result};
pub use examine::{Examination, SegmentInfo};
pub use log::{Appended, Log};
pub use lsn::Lsn;
pub use options::LogOptions;
pub use reader::{Frame, FrameKind, Reader, ScanFrame, ScanReader};
pub use space::Reservation;
pub use stats::LogStats;
pub use tail::{Proof, Tail};
pub use ticket::Ticket;
