//! Reads for people: what a page or a list shows, put together from several tables. No patient data here yet; a view that shows a patient
//! will take who looks and why.

pub mod lists;
pub mod overview;
pub mod persons;
pub mod progress;
