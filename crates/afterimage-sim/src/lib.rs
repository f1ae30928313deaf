#![doc = include_str!("../README.md")]

mod explore;

pub use explore::{AppResult, Client, Counterexample, Explore, Fault, Machine, Report, explore};

// What the binaries of this crate and Afterimage's own tests are made of. It may change with every version.
#[doc(hidden)]
pub mod bytes;
#[doc(hidden)]
pub mod check;
#[doc(hidden)]
pub mod choices;
#[doc(hidden)]
pub mod corruption;
#[doc(hidden)]
pub mod cut;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod exhaustive;
#[doc(hidden)]
pub mod failure;
#[doc(hidden)]
pub mod history;
#[doc(hidden)]
pub mod isolation;
#[doc(hidden)]
pub mod kinds;
#[doc(hidden)]
pub mod life;
#[doc(hidden)]
pub mod matrix;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod oracle;
#[doc(hidden)]
pub mod outcome;
#[doc(hidden)]
pub mod planted;
#[doc(hidden)]
pub mod random;
#[doc(hidden)]
pub mod reach;
#[doc(hidden)]
pub mod reference;
#[doc(hidden)]
pub mod shrink;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod watchdog;
#[doc(hidden)]
pub mod workload;

/// The book's chapter, so that what it shows is run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/crash-testing.md")]
struct CrashTestingInTheBook;
