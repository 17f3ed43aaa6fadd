//! A patient's page and its acts, over HTTP, on a gateway that went the whole way once.

mod acts;
mod elsewhere;
mod page;
pub mod world;
