//! One request as the sandbox sees it: method, path, query, headers, body. Owns reading of headers that FHIR gives a meaning (`Prefer`,
//! `If-Match`, `If-None-Exist`). Knows no web framework.

use std::collections::HashMap;

use url::form_urlencoded;

/// A request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The query as it came, without the question mark.
    pub(crate) query: String,
    /// By lower-case name; of repeated headers the last.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What a client wants to read after a write (R4 http, "Prefer").
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Return {
    Minimal,
    Representation,
    Outcome,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// The pairs of the query.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        pairs(self.query.as_bytes())
    }

    /// The pairs of a form body.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        pairs(&self.body)
    }

    pub(crate) fn has_media_type(&self, wanted: &[&str]) -> bool {
        let media_type = self.content_type().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        wanted.contains(&media_type.as_str())
    }

    /// Whether JSON may be answered, by `_format` or else `Accept`.
    pub(crate) fn accepts_json(&self) -> bool {
        let format = self.query_pairs().into_iter().find(|(name, _)| name == "_format").map(|(_, value)| value);
        match (format, self.header("accept")) {
            // A plus sign in a query stands for a space; clients forget to encode it.
            (Some(format), _) => matches!(format.replace(' ', "+").as_str(), "json" | "application/json" | "application/fhir+json"),
            (None, None) => true,
            (None, Some(accept)) => accept.split(',').any(|range| {
                let range = range.split(';').next().unwrap_or_default().trim();
                matches!(range, "*/*" | "application/*" | "application/json" | "application/fhir+json" | "")
            }),
        }
    }

    pub(crate) fn strict(&self) -> bool {
        self.prefers("handling=strict")
    }

    pub(crate) fn wants_back(&self) -> Return {
        if self.prefers("return=minimal") {
            Return::Minimal
        } else if self.prefers("return=OperationOutcome") {
            Return::Outcome
        } else {
            Return::Representation
        }
    }

    fn prefers(&self, wanted: &str) -> bool {
        self.header("prefer").is_some_and(|header| header.split([',', ';']).any(|part| part.trim() == wanted))
    }

    /// The version in `If-Match: W/"3"`. An error: the header is there and is not of that form.
    pub(crate) fn if_match(&self) -> Result<Option<u64>, ()> {
        let Some(header) = self.header("if-match") else { return Ok(None) };
        let tag = header.trim().trim_start_matches("W/").trim_matches('"');
        tag.parse().map(Some).map_err(|_| ())
    }

    /// The pairs of `If-None-Exist`.
    pub(crate) fn if_none_exist(&self) -> Option<Vec<(String, String)>> {
        self.header("if-none-exist").map(|header| pairs(header.trim_start_matches('?').as_bytes()))
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}
