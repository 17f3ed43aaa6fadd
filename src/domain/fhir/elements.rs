//! R4 datatypes to facts, lenient: an element that cannot be read says nothing.

use std::borrow::Cow;
use std::cell::RefCell;

use super::raw::{Raw, elements};
use super::reference::patient_id;
use super::reject::Reject;
use crate::model::facts::{Coding, Period};
use crate::model::{FhirTime, Timestamp};

/// What is read of `meta`.
pub(super) struct Meta<'a> {
    pub(super) version: Option<Cow<'a, str>>,
    pub(super) last_updated: Option<Timestamp>,
    pub(super) security: Vec<String>,
}

/// `meta`, which servers may leave out.
pub(super) fn meta(raw: Option<Raw<'_>>) -> Meta<'_> {
    let [version, last_updated, security] = object(raw, ["versionId", "lastUpdated", "security"]);
    Meta { version: version.and_then(Raw::text_or_number), last_updated: instant(last_updated), security: codes(security) }
}

/// The members of an object that may be absent or no object.
pub(super) fn object<'a, const N: usize>(raw: Option<Raw<'a>>, names: [&str; N]) -> [Option<Raw<'a>>; N] {
    raw.and_then(|r| r.members(names)).unwrap_or([None; N])
}

/// A text.
pub(super) fn string(raw: Option<Raw<'_>>) -> Option<String> {
    raw.and_then(Raw::owned)
}

/// An instant.
fn instant(raw: Option<Raw<'_>>) -> Option<Timestamp> {
    Timestamp::parse(&raw?.text()?)
}

/// Reads times, and notes of which elements one was sent that cannot be read: the facts lack it, and whoever looks after the data is told.
/// A date that does not exist, or a time without its offset, is none (R4 datatypes, `dateTime`).
#[derive(Default)]
pub(super) struct Times(RefCell<Vec<String>>);

impl Times {
    fn note(&self, at: &str) {
        let mut unread = self.0.borrow_mut();
        if !unread.iter().any(|noted| noted == at) {
            unread.push(at.to_owned());
        }
    }

    /// A date, dateTime or instant that exists.
    pub(super) fn time(&self, at: &str, raw: Option<Raw<'_>>) -> Option<FhirTime> {
        let read = FhirTime::parse(&raw?.text().unwrap_or_default());
        if read.is_none() {
            self.note(at);
        }
        read
    }

    /// An instant.
    pub(super) fn instant(&self, at: &str, raw: Option<Raw<'_>>) -> Option<Timestamp> {
        let read = instant(Some(raw?));
        if read.is_none() {
            self.note(at);
        }
        read
    }

    /// A Period; an end that cannot be read is open.
    pub(super) fn period(&self, at: &str, raw: Option<Raw<'_>>) -> Period {
        let Some(raw) = raw else { return Period::default() };
        let Some([start, end]) = raw.members(["start", "end"]) else {
            self.note(at);
            return Period::default();
        };
        let part = |raw: Option<Raw<'_>>, name: &str| {
            let read = FhirTime::parse(&raw?.text().unwrap_or_default());
            if read.is_none() {
                self.note(&format!("{at}.{name}"));
            }
            read
        };
        Period { start: part(start, "start"), end: part(end, "end") }
    }

    /// The elements whose times could not be read, by their paths.
    pub(super) fn unread(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// The codes of a list of Codings.
fn codes(codings: Option<Raw<'_>>) -> Vec<String> {
    elements(codings).filter_map(|coding| string(object(Some(coding), ["code"])[0])).collect()
}

/// The codings of one CodeableConcept or of a list of them; codings without a code are left out.
pub(super) fn concepts(raw: Option<Raw<'_>>) -> Vec<Coding> {
    elements(raw).flat_map(|concept| elements(object(Some(concept), ["coding"])[0])).filter_map(coding).collect()
}

/// A Coding that has a code.
pub(super) fn coding(raw: Raw<'_>) -> Option<Coding> {
    let [system, code] = raw.members(["system", "code"])?;
    Some(Coding { system: string(system), code: string(code)? })
}

/// The references of one Reference or of a list of them, as sent.
pub(super) fn references(raw: Option<Raw<'_>>) -> Vec<String> {
    elements(raw).filter_map(|reference| string(object(Some(reference), ["reference"])[0])).collect()
}

/// The first extension whose URL is `url`: the members asked for.
pub(super) fn extension<'a, const N: usize>(list: Option<Raw<'a>>, url: &str, names: [&str; N]) -> Option<[Option<Raw<'a>>; N]> {
    elements(list).find(|e| object(Some(*e), ["url"])[0].and_then(Raw::text).is_some_and(|u| u == url)).and_then(|e| e.members(names))
}

/// The code of the first coding of a CodeableConcept.
pub(super) fn first_code(raw: Option<Raw<'_>>) -> Option<String> {
    concepts(raw).into_iter().next().map(|coding| coding.code)
}

/// A number that is not below zero and has no fraction.
pub(super) fn whole(raw: Option<Raw<'_>>) -> Option<u32> {
    raw?.text_or_number()?.parse().ok()
}

/// A number as written, so that it keeps its precision (R4 datatype `decimal`).
pub(super) fn decimal(raw: Option<Raw<'_>>) -> Option<String> {
    raw?.number().map(str::to_owned)
}

/// A code that decides over people: where it is sent it must be a text.
pub(super) fn code(raw: Option<Raw<'_>>, field: &str) -> Result<Option<String>, Reject> {
    raw.map(|raw| raw.must_text(field, "a code").map(Cow::into_owned)).transpose()
}

/// A yes or no that decides over people.
pub(super) fn flag(raw: Option<Raw<'_>>, field: &str) -> Result<Option<bool>, Reject> {
    let read = |raw: Raw<'_>| raw.boolean().ok_or_else(|| Reject::bad_field(field, raw.type_name(), "true or false without quotes"));
    raw.map(read).transpose()
}

/// The patient that a reference names: whose resource it is. `None` where it is of a Group, or not told.
pub(super) fn patient_of(raw: Option<Raw<'_>>, field: &str) -> Result<Option<String>, Reject> {
    let Some(raw) = raw else { return Ok(None) };
    let [reference, declared] = raw.must_members(field, ["reference", "type"])?;
    let Some(reference) = reference else { return Ok(None) };
    let reference = reference.must_text("reference", "a reference").map_err(|reject| reject.within(format_args!("{field}")))?;
    let other = declared.and_then(Raw::text).is_some_and(|kind| kind != "Patient");
    Ok(patient_id(&reference).filter(|_| !other).map(str::to_owned))
}
