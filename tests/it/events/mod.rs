//! What an EHR tells of by itself: subscriptions from their beginning to their end, and that nothing is lost, doubled or believed.

mod beside;
mod forged;
mod kill;
mod numbers;
mod sekmet;
mod setup;
mod thin;
mod told;
mod upkeep;
