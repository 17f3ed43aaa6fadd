#![doc = include_str!("ARCHITECTURE.md")]

pub mod segments;
pub mod store;
pub mod sync;
