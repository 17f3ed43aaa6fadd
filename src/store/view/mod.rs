//! Reads for people: what a page or a list shows, put together from several tables. Where a view shows a patient, whoever asks for it notes
//! in the audit chain who looked.

pub mod listing;
pub mod lists;
pub mod members;
pub mod outreach;
pub mod overview;
pub mod persons;
pub mod progress;
pub mod telling;
pub mod work;
