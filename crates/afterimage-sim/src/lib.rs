#![doc = include_str!("../README.md")]

pub mod bytes;
pub mod check;
pub mod choices;
// pub mod corruption;
pub mod cut;
// pub mod engine;
pub mod exhaustive;
pub mod failure;
pub mod history;
pub mod life;
pub mod model;
pub mod oracle;
pub mod outcome;
pub mod reference;
// pub mod planted;
// pub mod random;
pub mod store;
pub mod workload;
