//! All integration tests in one binary: one link, which counts on two cores. `tests/README.md` tells what is where.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail loudly")]

mod alerts;
mod architecture;
mod bad_line;
mod browser;
mod cli;
mod command;
mod config;
mod credentials;
mod demo;
mod ehr;
mod events;
mod journeys;
mod kill;
mod mail;
mod mail_tls;
mod medplum;
mod merges;
mod patient;
mod readme;
mod rough;
mod schedule;
mod schema_parity;
mod segments;
mod sekmet;
mod sekmet_bulk;
mod sekmet_load;
mod smart;
mod stops;
mod store;
mod support;
mod sync;
mod web;
mod writeback;
