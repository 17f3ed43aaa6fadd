//! Local stand-in until the chart's own is there.
#![allow(missing_docs)]
use std::pin::Pin;
use crate::outreach::by_hand;
use crate::patient::acts::{Act, Done, Signed};
use crate::patient::{Page, Subject};
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, crate::store::StoreError>> + Send + 'a>>;
pub trait Patients: Send + Sync {
    fn page(&self, subject: Subject) -> Answer<'_, Page>;
    fn ask(&self, subject: Subject) -> Answer<'_, ()>;
    fn preview(&self, subject: Subject, choice: by_hand::Choice) -> Answer<'_, Option<by_hand::Preview>>;
    fn act(&self, form: Signed, act: Act) -> Answer<'_, Done>;

    fn about(&self, text: &str) -> Option<crate::patient::acts::About>;
    fn fresh_key(&self) -> String;
}
