//! Segments: roll-outs of definitions, and that work grows with what changed.

mod files;
mod hostile;
mod many;
mod narrow;
mod own;
mod plan;
mod rederive;
mod rollout;
mod setup;
mod stale;
