//! What a database shows of itself to others, for the command and for a program's own server: [`json`], its counters, histograms,
//! settings and pins as one document; [`live`], a watch that makes rates of them and says how it is; [`http`], the page that shows it.
#![doc = include_str!("../README.md")]

pub mod http;
pub mod json;
pub mod live;
mod words;
