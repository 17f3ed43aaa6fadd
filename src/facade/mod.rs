//! Stored things as FHIR, for downstream systems. Reads only; `typed` sees to it that what leaves is valid R4.

pub mod group;
