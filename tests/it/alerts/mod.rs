//! What is wrong is told once when it begins and once when it is over, by mail and webhook; and the signal that says that nothing is.

mod chain;
mod hook;
mod look;
mod process;
