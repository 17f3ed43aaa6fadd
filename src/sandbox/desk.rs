//! The desk of the EHR: who sits at it, which patient they have open, how an app is opened from there, and which patients are hidden from whom.
//! Owns launch tokens (SMART App Launch 2.2, "EHR launch") and the pages of the EHR that open an app.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::identity::User;

/// What an app is opened on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaunchContext {
    /// The patient's id.
    pub patient: Option<String>,
    /// The encounter's id.
    pub encounter: Option<String>,
    /// `need_patient_banner`; not told where absent.
    pub need_patient_banner: Option<bool>,
    /// What it is opened for.
    pub intent: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// `fhirContext`.
    pub fhir_context: Vec<Value>,
}

impl LaunchContext {
    /// A patient, and nothing else.
    pub fn of(patient: &str) -> Self {
        Self { patient: Some(patient.to_owned()), ..Self::default() }
    }

    /// Puts it into a token answer.
    pub(crate) fn tell(&self, answer: &mut Map<String, Value>) {
        let mut put = |name: &str, value: Option<Value>| value.map(|value| answer.insert(name.to_owned(), value));
        put("patient", self.patient.clone().map(Value::from));
        put("encounter", self.encounter.clone().map(Value::from));
        put("need_patient_banner", self.need_patient_banner.map(Value::from));
        put("intent", self.intent.clone().map(Value::from));
        put("tenant", self.tenant.clone().map(Value::from));
        put("fhirContext", (!self.fhir_context.is_empty()).then(|| self.fhir_context.clone().into()));
    }
}

/// The desk.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) user: User,
    launches: HashMap<String, LaunchContext>,
    hidden: HashSet<(String, String)>,
}

impl Desk {
    /// Keeps what a launch is about under its token.
    pub(crate) fn launch(&mut self, token: String, context: LaunchContext) {
        self.launches.insert(token, context);
    }

    /// What a launch is about; it may be used once.
    pub(crate) fn take(&mut self, token: &str) -> Option<LaunchContext> {
        self.launches.remove(token)
    }

    /// Hides a patient from a user, or shows them again.
    pub(crate) fn hide(&mut self, subject: &str, patient: &str, hidden: bool) {
        let key = (subject.to_owned(), patient.to_owned());
        if hidden {
            self.hidden.insert(key);
        } else {
            self.hidden.remove(&key);
        }
    }

    /// The patients that are hidden from a user.
    pub(crate) fn hidden_from<'d>(&'d self, subject: &'d str) -> impl Iterator<Item = &'d str> {
        self.hidden.iter().filter(move |(user, _)| user == subject).map(|(_, patient)| patient.as_str())
    }
}

/// A patient in a list.
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) name: String,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>body{{font:1rem/1.5 system-ui;margin:1rem}}iframe{{width:100%;height:85vh;border:1px solid #888}}</style></head><body><h1>{title}</h1>{body}</body></html>"
    )
}

/// The page of an authorization request on which a person chooses the patient.
pub(crate) fn chooser(query: &[(String, String)], patients: &[Listed]) -> String {
    let link = |patient: &Listed| {
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).append_pair("chosen", &patient.id).finish();
        format!("<li><a href=\"/auth/authorize?{}\">{}</a></li>", escaped(&text), escaped(&patient.name))
    };
    page("Choose a patient", &format!("<ul>{}</ul>", patients.iter().map(link).collect::<String>()))
}

/// The page that lists patients and the apps that can be opened on them.
pub(crate) fn launcher(apps: &[String], patients: &[Listed]) -> String {
    let links = |patient: &Listed| {
        let one = |app: &String| {
            let query = |frame: bool| {
                let mut text = form_urlencoded::Serializer::new(String::new());
                text.append_pair("app", app).append_pair("patient", &patient.id);
                if frame {
                    text.append_pair("frame", "1");
                }
                escaped(&text.finish())
            };
            let app = escaped(app);
            format!(
                " <a href=\"/launcher/open?{}\">{app}, here</a> <a href=\"/launcher/open?{}\" target=\"_blank\">{app}, in a tab</a>",
                query(true),
                query(false)
            )
        };
        format!("<li>{}:{}</li>", escaped(&patient.name), apps.iter().map(one).collect::<String>())
    };
    page("Patients", &format!("<ul>{}</ul>", patients.iter().map(links).collect::<String>()))
}

/// The page of a patient with an app in a frame.
pub(crate) fn framed(url: &str) -> String {
    page("Chart", &format!("<iframe title=\"App\" src=\"{}\"></iframe>", escaped(url)))
}
