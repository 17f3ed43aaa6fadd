//! The EHR client against the sandbox, which shares no code with it.

mod blind_spots;
mod check;
mod create;
mod credentials;
mod network;
mod never_asked;
mod plans;
mod removing;
mod search;
mod statements;
mod strict;
pub(crate) mod support;
mod tokens;
