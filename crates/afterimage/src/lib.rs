//! The engine's front door: declares the modules in the one order in which they may import each other, and
//! re-exports what users get.
#![doc = include_str!("../README.md")]

mod codec;
mod ids;
mod limits;
mod page;
mod record;
