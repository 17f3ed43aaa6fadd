//! The web server as its callers meet it: over a socket, on both engines where the database matters.

mod access;
mod api;
mod boards;
mod edge;
mod explaining;
pub mod fixture;
mod group;
mod no_desk;
mod page;
mod prefix;
mod privacy;
mod probes;
mod public;
mod routes;
