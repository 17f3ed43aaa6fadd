//! What is shown of a patient, as data: instants and words, no markup. Whoever renders it leaves out what the viewer may not see.

use domain::Timestamp;
use domain::model::{FhirTime, Phi};

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Whether and how the patient is known.
    pub standing: Standing,
    /// Who it is; absent where no Patient was read yet.
    pub who: Option<Who>,
    /// Whether other records of the person would not be shown, if there were any.
    pub is_part: bool,
    /// How old each part is.
    pub ages: Vec<Age>,
    /// The reading that was asked for last.
    pub reading: Reading,
    /// The next visit.
    pub visit: Option<Visit>,
    /// Care plans in force.
    pub plans: Vec<Plan>,
    /// Segments that the patient is in, or held out of.
    pub segments: Vec<Segment>,
    /// What was sent, answered, written back, and what was not sent: the latest first.
    pub journey: Vec<Step>,
    /// What comes next, the first one first.
    pub next: Vec<Upcoming>,
    /// Choices in force.
    pub choices: Vec<Choice>,
    /// Programs by which the patient may be written to, for new choices.
    pub programs: Vec<(String, String)>,
    /// Channels that there are, for new choices.
    pub channels: Vec<(String, String)>,
    /// Where the patient can be reached.
    pub points: Vec<Point>,
    /// The languages, the preferred first.
    pub languages: Vec<String>,
    /// Consents of the EHR.
    pub consents: Vec<Consent>,
    /// What stands in the way of care.
    pub barriers: Vec<Barrier>,
    /// Templates that staff may send: id and what they ask for.
    pub templates: Vec<(String, String)>,
}

/// Whether and how a patient is known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing of the patient was synced.
    #[default]
    NotHere,
    /// Something names the patient, who was not read.
    NotRead,
    /// Known.
    Known,
    /// The record was merged into another.
    Merged,
    /// The EHR has the record no more.
    Gone,
}

/// Who it is.
#[derive(Clone, Debug)]
pub struct Who {
    /// The name.
    pub name: Phi<String>,
    /// The birth date, as told.
    pub born: Option<Phi<FhirTime>>,
    /// The medical record number.
    pub number: Option<Phi<String>>,
    /// `male`, `female`, `other`, `unknown`.
    pub gender: Option<String>,
    /// Has died.
    pub deceased: bool,
    /// Needs an interpreter.
    pub interpreter: bool,
}

/// How old a part is.
#[derive(Clone, Debug)]
pub struct Age {
    /// `Patient`, `Appointment`, `CarePlan`.
    pub part: &'static str,
    /// For people.
    pub title: &'static str,
    /// Known up to this instant; absent where it was never read.
    pub at: Option<Timestamp>,
}

/// The reading of this one patient that was asked for last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// None was asked for.
    #[default]
    None,
    /// It is under way.
    UnderWay,
    /// It was done then.
    Done(Timestamp),
    /// The EHR has no such patient, it said then.
    Gone(Timestamp),
    /// It failed then: the EHR could not be asked.
    Failed(Timestamp),
}

/// A visit.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When it begins.
    pub start: Timestamp,
    /// Its kind in words, where the EHR told one.
    pub title: Option<Phi<String>>,
    /// Its status in words.
    pub status: String,
    /// Whether the patient confirmed; absent where the EHR does not tell.
    pub confirmed: Option<bool>,
    /// With whom.
    pub with: Option<String>,
    /// Where.
    pub place: Option<String>,
    /// Where it was read.
    pub source: Phi<String>,
}

/// A care plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name.
    pub title: Option<Phi<String>>,
    /// Until when it goes, as told.
    pub until: Option<FhirTime>,
    /// How many of its activities are open.
    pub open: usize,
    /// Where it was read.
    pub source: Phi<String>,
}

/// A segment, as it stands to a patient.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its name.
    pub title: String,
    /// In; else held out, because the answer is not known, or out.
    pub is_in: bool,
    /// Since when; absent where the patient is out.
    pub since: Option<Timestamp>,
    /// Whether what decides is clinical.
    pub clinical: bool,
    /// What decides, in words, each with the places it was read in.
    pub reasons: Vec<Reason>,
}

/// A reason in words.
#[derive(Clone, Debug)]
pub struct Reason {
    /// The words.
    pub words: Phi<String>,
    /// The fields that it came from.
    pub sources: Vec<Phi<String>>,
}

/// How a step of the journey stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It went well.
    Good,
    /// It is on its way, or not known.
    Open,
    /// It did not go.
    Not,
    /// It failed.
    Bad,
}

/// A step of the journey.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What it was about.
    pub title: String,
    /// What was asked, in words.
    pub asked: &'static str,
    /// How it stands, in words.
    pub state: String,
    /// How it stands.
    pub mark: Mark,
    /// By which way, in words.
    pub channel: Option<&'static str>,
    /// Why it did not go, or waited.
    pub why: Vec<Reason>,
    /// The subject and the text, or what staff wrote down.
    pub message: Option<(Phi<String>, Phi<String>)>,
    /// What was answered.
    pub answers: Vec<Answer>,
    /// What became of it in the chart.
    pub chart: Vec<(Mark, String)>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When.
    pub at: Timestamp,
    /// What it means, in words.
    pub meaning: String,
    /// The patient's words.
    pub words: Option<Phi<String>>,
    /// Whether somebody has to act on it.
    pub needs_action: bool,
}

/// What comes next.
#[derive(Clone, Debug)]
pub struct Upcoming {
    /// The attempt's public id.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// What is asked, in words.
    pub asked: &'static str,
    /// By which way, in words.
    pub channel: &'static str,
    /// When it is due, or looked at again.
    pub due: Timestamp,
    /// When it is of no use any more.
    pub expires: Option<Timestamp>,
    /// Why it waits, where the gate held it.
    pub why: Vec<Reason>,
    /// It waits until outreach, which staff stopped, goes on.
    pub is_stopped: bool,
}

/// A choice in force.
#[derive(Clone, Debug)]
pub struct Choice {
    /// About what, in words.
    pub about: Phi<String>,
    /// Messages are welcome.
    pub allowed: bool,
    /// Who said so, in words.
    pub source: &'static str,
    /// When.
    pub at: Timestamp,
    /// The scope, to take it back: `all`, `channel`, `program`; absent where it is taken back elsewhere.
    pub scope: Option<(&'static str, String)>,
}

/// A contact point.
#[derive(Clone, Debug)]
pub struct Point {
    /// `phone`, `email`, ... as sent.
    pub system: String,
    /// The number or address.
    pub value: Phi<String>,
    /// `home`, `mobile`, ...
    pub usage: Option<String>,
    /// No messages there.
    pub out: bool,
}

/// A consent of the EHR.
#[derive(Clone, Debug)]
pub struct Consent {
    /// In words.
    pub words: String,
    /// Where it was read.
    pub source: Phi<String>,
}

/// A barrier.
#[derive(Clone, Debug)]
pub struct Barrier {
    /// In words.
    pub words: &'static str,
    /// When it was named last.
    pub at: Timestamp,
}
