//! A file system that forgets: what was written and not synced is gone after a cut, and so are names whose directory was not
//! synced; or some of it is, as the survival policy says. It lives in memory, behind FUSE, so that a cut costs next to nothing.
//!
//! `image` is what there is, twice: as programs see it, and as a power cut would leave it. `faults` says which calls fail, and
//! when the power goes. `mount` translates between the kernel and the two.

pub mod faults;
pub mod image;
pub mod mount;
