//! A resource's bytes to facts: borrowed serde projections, lenient about all that an EHR may send.
