#![doc = include_str!("ARCHITECTURE.md")]

pub mod config;
pub mod store;
pub mod telemetry;
pub mod worker;
