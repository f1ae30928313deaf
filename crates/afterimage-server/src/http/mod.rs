//! The page and its JSON over HTTP: for a browser on this machine, for programs, and inside an application's own server.
//!
//! `access` decides who may ask, `assets` is what is in the binary, `document` the JSON, `stories` what the recovery half shows, `router` which address gives what,
//! `server` the thread that listens. All requests are reads; none changes anything.

mod access;
mod assets;
mod document;
mod router;
mod server;
mod stories;

pub use access::Access;
pub use document::stats_document;
pub use router::router;
pub use server::Server;
