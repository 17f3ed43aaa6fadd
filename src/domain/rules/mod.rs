//! The rule language and its evaluation.
