//! What an EHR tells of by itself: subscriptions from their beginning to their end, and that nothing is lost, doubled or believed.

mod forged;
mod numbers;
mod setup;
mod thin;
mod upkeep;
