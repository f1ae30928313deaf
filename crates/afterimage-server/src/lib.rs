//! What a database shows of itself to others, for the command and for a program's own server: [`json`], its counters, histograms,
//! settings and pins as one document. Reads nothing by itself: it is given what [`afterimage::Database::status`] or
//! [`afterimage::inspect::status`] has read.
#![doc = include_str!("../README.md")]

pub mod json;
