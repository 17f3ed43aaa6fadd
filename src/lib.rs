#![doc = include_str!("ARCHITECTURE.md")]

pub mod app;
pub mod cli;
pub mod config;
pub mod connect;
pub mod credentials;
pub mod ehr;
pub mod facade;
pub mod net;
pub mod outreach;
pub mod segments;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod web;
pub mod worker;
pub mod writeback;
