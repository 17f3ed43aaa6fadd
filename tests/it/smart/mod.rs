//! Staff's ways in, as a browser goes them: launches from the pretend EHR in every kind of client, sign-in by a provider of others, and attacks
//! on both.

mod attacks;
mod foreign;
mod launching;
mod provider;
mod seeing;
pub mod setup;
mod sweeping;
