//! What a template may say of a patient, a visit and the site, and how much each of it tells. Values come from an EHR and are not to be
//! trusted: a name keeps letters only, so that it can bring neither a line break into a header nor a link into a message.

use domain::Timestamp;
use domain::model::Phi;
use minijinja::{Value, context};

use super::moment;

/// How much a value tells about a patient to somebody who reads over the shoulder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhiClass {
    /// Nothing.
    None,
    /// What a reminder may hold: a given name, the date and time of a visit (HHS on appointment reminders; 45 CFR 164.502(b)).
    Limited,
    /// More than that: for secure channels only.
    Phi,
}

impl PhiClass {
    /// As written in files and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Limited => "limited",
            Self::Phi => "phi",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Limited, Self::Phi].into_iter().find(|c| c.as_str() == text)
    }
}

/// The catalogue: every variable that a template may use, with its class.
pub(super) const CATALOGUE: [(&str, PhiClass); 9] = [
    ("patient.given", PhiClass::Limited),
    ("site.name", PhiClass::None),
    ("site.phone", PhiClass::None),
    ("appointment.date", PhiClass::Limited),
    ("appointment.time", PhiClass::Limited),
    // A name may tell a specialty: it is the site's choice to say it, and no shipped template does.
    ("appointment.with", PhiClass::Limited),
    ("appointment.place", PhiClass::Limited),
    ("action.link", PhiClass::None),
    ("ask", PhiClass::None),
];

/// The class of a variable; `None` where there is no such variable.
pub(super) fn class_of(name: &str) -> Option<PhiClass> {
    CATALOGUE.iter().find(|(n, _)| *n == name).map(|(_, class)| *class)
}

/// Values for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    /// The patient's given name, where known.
    pub given: Option<Phi<String>>,
    /// The site's name as patients know it.
    pub site_name: String,
    /// The number to call back.
    pub site_phone: String,
    /// The start of the visit that the message is about.
    pub appointment: Option<Phi<Timestamp>>,
    /// With whom that visit is, where it is known.
    pub with: Option<String>,
    /// Where that visit is, where it is known.
    pub place: Option<String>,
    /// The facility's time zone: visits are told in it.
    pub zone: chrono_tz::Tz,
    /// Where the action can be done, if anywhere; must not hold anything that identifies the patient in clear.
    pub link: Option<String>,
}

impl Variables {
    /// The engine's values. What may be asked for with `if` is there and empty; what must be there is missing, and so an error.
    pub(super) fn values(&self, language: &str) -> Value {
        let given = self.given.as_ref().map(|g| name_only(g.expose())).unwrap_or_default();
        let site = context! { name => one_line(&self.site_name), phone => one_line(&self.site_phone) };
        let action = context! { link => self.link.as_deref().map(one_line).unwrap_or_default() };
        let patient = context! { given => given };
        match &self.appointment {
            Some(start) => {
                let local = start.expose().to_utc().with_timezone(&self.zone).naive_local();
                let [with, place] = [&self.with, &self.place].map(|name| name.as_deref().map(called).unwrap_or_default());
                let (date, time) = (moment::date(local.date(), language), moment::time(local.time(), language));
                let appointment = context! { date, time, with, place };
                context! { patient, site, action, appointment }
            }
            None => context! { patient, site, action },
        }
    }

    /// Made-up values for checking a template.
    pub(super) fn sample() -> Self {
        Self {
            given: Some(Phi::new("Ana".to_owned())),
            site_name: "Main Street Clinic".to_owned(),
            site_phone: "555-0100".to_owned(),
            // 2026-12-01T15:30:00Z, a Tuesday.
            appointment: Some(Phi::new(Timestamp::from_micros(1_796_139_000_000_000))),
            with: Some("Dr. Ng".to_owned()),
            place: Some("Main Street".to_owned()),
            zone: chrono_tz::UTC,
            link: Some("https://clinic.example/a".to_owned()),
        }
    }
}

fn name_only(text: &str) -> String {
    let kept: String =
        text.chars().map(|c| if c.is_alphabetic() || is_mark(c) || matches!(c, '-' | '\'' | '’') { c } else { ' ' }).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect()
}

/// The name of a clinician or a place: it may hold numbers and a title, and no point within a word, so that it is no address of a site.
fn called(text: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || is_mark(c) || matches!(c, '-' | '\'' | '’' | '&' | '#' | ',' | '(' | ')' | '.');
    let kept: String = text.chars().map(|c| if fits(c) { c } else { ' ' }).collect();
    let word = |word: &str| {
        let body = word.trim_end_matches(['.', ',', ')']);
        if body.contains('.') { word.replace('.', " ") } else { word.to_owned() }
    };
    kept.split_whitespace().map(word).collect::<Vec<_>>().join(" ").chars().take(80).collect()
}

/// Combining marks of the common scripts, which `char::is_alphabetic` leaves out in part.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{93c}' | '\u{94d}')
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
