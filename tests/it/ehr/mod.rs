//! The EHR client against the sandbox, which shares no code with it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod check;
mod create;
mod search;
mod statements;
mod support;
mod tokens;
