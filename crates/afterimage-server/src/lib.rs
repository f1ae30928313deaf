//! What a database shows of itself to others, for the command and for a program's own server: [`json`], its counters, histograms,
//! settings and pins as one document; [`metrics`], the same as OpenMetrics text; [`advice`], what of the settings does not fit the
//! load; [`live`], a watch that makes rates of them and says how it is; [`http`], the page that shows it; [`units`], numbers as people
//! read them.
#![doc = include_str!("../README.md")]

pub mod advice;
pub mod http;
pub mod json;
pub mod live;
pub mod metrics;
pub mod units;
