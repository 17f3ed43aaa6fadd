//! Segments: roll-outs of definitions, and that work grows with what changed.

mod files;
mod narrow;
mod own;
mod plan;
mod rollout;
mod setup;
mod stale;
