//! What comes with a token of a launch beside the token: who the user is, and which patient it is about (SMART scopes-and-launch-context, "Launch
//! context arrives with your access_token").

use domain::model::Phi;
use serde::Deserialize;
use serde_json::Value;

use crate::net::Secret;

/// The launch context of a token answer. Members that are absent, or of another type than SMART says, are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchContext {
    /// The id_token of OpenID Connect, as sent. Nothing in it is true before it was verified.
    pub id_token: Option<Secret>,
    /// The patient's id.
    pub patient: Option<Phi<String>>,
    /// The encounter's id.
    pub encounter: Option<Phi<String>>,
    /// `fhirContext`, as JSON.
    pub fhir_context: Option<Phi<String>>,
    /// `need_patient_banner`.
    pub banner: Option<bool>,
    /// `intent`.
    pub intent: Option<String>,
    /// `tenant`.
    pub tenant: Option<String>,
}

/// The members as they are sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawContext {
    pub(super) id_token: Option<Value>,
    pub(super) patient: Option<Value>,
    pub(super) encounter: Option<Value>,
    #[serde(rename = "fhirContext")]
    pub(super) fhir_context: Option<Value>,
    pub(super) need_patient_banner: Option<Value>,
    pub(super) intent: Option<Value>,
    pub(super) tenant: Option<Value>,
}

impl From<RawContext> for LaunchContext {
    fn from(raw: RawContext) -> Self {
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            // Some write ids as numbers.
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        // Some write a reference where an id belongs.
        let id = |value: Option<Value>, kind: &str| {
            text(value).map(|t| t.strip_prefix(kind).and_then(|t| t.strip_prefix('/')).unwrap_or(&t).to_owned()).map(Phi::new)
        };
        Self {
            id_token: text(raw.id_token).map(Secret::new),
            patient: id(raw.patient, "Patient"),
            encounter: id(raw.encounter, "Encounter"),
            fhir_context: raw.fhir_context.filter(Value::is_array).map(|v| v.to_string().into()),
            banner: match raw.need_patient_banner {
                Some(Value::Bool(wanted)) => Some(wanted),
                Some(Value::String(text)) => text.trim().parse().ok(),
                _ => None,
            },
            intent: text(raw.intent).map(shorten),
            tenant: text(raw.tenant).map(shorten),
        }
    }
}

fn shorten(text: String) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> LaunchContext {
        serde_json::from_str::<RawContext>(json).unwrap().into()
    }

    #[test]
    fn what_is_odd_is_read_as_far_as_it_goes() {
        assert_eq!(read("{}"), LaunchContext::default());
        let odd = read(
            r#"{"patient":123,"encounter":"Encounter/e1","need_patient_banner":"true","fhirContext":{},"intent":["x"],"tenant":" t "}"#,
        );
        assert_eq!(odd.patient.unwrap().expose(), "123");
        assert_eq!(odd.encounter.unwrap().expose(), "e1");
        assert_eq!((odd.banner, odd.fhir_context, odd.intent, odd.tenant.as_deref()), (Some(true), None, None, Some("t")));
        let plain =
            read(r#"{"patient":"p1","need_patient_banner":false,"fhirContext":[{"reference":"Appointment/a1"}],"id_token":"a.b.c"}"#);
        assert_eq!(plain.fhir_context.as_ref().unwrap().expose(), r#"[{"reference":"Appointment/a1"}]"#);
        assert!(!format!("{plain:?}").contains("p1") && !format!("{plain:?}").contains("a.b.c"));
    }
}
