//! Tests of the rules as a whole, through the public interface.

mod attributes;
mod bad_input;
mod deciding;
mod language;
mod own;
mod people;
mod shipped;
mod shipped_supporting;
mod supporting;
mod validity;
mod value_sets;
