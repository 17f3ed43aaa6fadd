//! Write-back against the sandbox EHR, on both engines: counted in the EHR, which is the only count that matters.

mod answers;
mod crashes;
mod deeds;
mod faults;
mod flavours;
mod lanes;
mod matrix;
mod pace;
mod provenance;
mod setup;
