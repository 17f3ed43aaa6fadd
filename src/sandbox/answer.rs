//! What the sandbox says back, before HTTP: a status, headers and a body, or nothing at all.
//! Owns the shape of OperationOutcome and of plain answers. Knows no web framework, so every rule can be tested without a socket.

use crate::json::Writer;

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    Text(String),
    /// As they are, and compressed no further.
    Bytes(Vec<u8>),
    /// So many bytes of white space, never held in memory at once.
    Flood(u64),
}

/// What happens to the connection.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    /// The connection is closed without a byte.
    Hangup,
}

/// The media type of every FHIR answer.
pub(crate) const FHIR_JSON: &str = "application/fhir+json";

impl Answer {
    pub(crate) fn fhir(status: u16, body: String) -> Self {
        Self { status, headers: vec![("Content-Type", FHIR_JSON.to_owned())], body: Body::Text(body) }
    }

    pub(crate) fn json(status: u16, body: String) -> Self {
        Self { status, headers: vec![("Content-Type", "application/json".to_owned())], body: Body::Text(body) }
    }

    pub(crate) fn plain(status: u16, body: &str) -> Self {
        Self { status, headers: vec![("Content-Type", "text/plain; charset=utf-8".to_owned())], body: Body::Text(body.to_owned()) }
    }

    pub(crate) fn html(status: u16, body: String) -> Self {
        Self { status, headers: vec![("Content-Type", "text/html; charset=utf-8".to_owned())], body: Body::Text(body) }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Empty }
    }

    /// An answer whose body is an OperationOutcome with one issue of severity `error`.
    pub(crate) fn error(status: u16, code: &str, text: &str) -> Self {
        Self::fhir(status, outcome("error", code, text))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// An OperationOutcome with one issue; `code` is from the value set issue-type of R4.
pub(crate) fn outcome(severity: &str, code: &str, text: &str) -> String {
    let mut writer = Writer::resource("OperationOutcome", 192);
    writer.array("issue", |w| {
        w.item(|w| {
            w.text("severity", severity);
            w.text("code", code);
            w.text("diagnostics", text);
        });
    });
    writer.finish()
}
