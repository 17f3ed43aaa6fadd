//! Holds a client to what the server states of itself: a request that its CapabilityStatement does not list, by type, interaction or search
//! parameter, is answered 400 and counted. It reads the statement as it is served, also a pretended one, and not the tables behind it, so it
//! shares no mistake with them. What the server itself gave out an address for (pages, jobs, files) is no matter of the statement.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::answer::{Answer, Body};
use crate::call::Call;
use crate::ehr::Ehr;

/// Parameters that shape an answer and are of no type (R4 search, "Modifying search results"); and what this server puts into its own links.
const OF_NO_TYPE: [&str; 3] = ["_count", "_format", "_cursor"];

/// What was asked for without being stated. Holds no values.
#[derive(Default)]
pub(crate) struct Unstated(Mutex<Vec<String>>);

impl Unstated {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

impl Ehr {
    /// The refusal of a request that is not stated. `rest` is the path below the base.
    pub(crate) fn beyond_statement(&self, call: &Call, rest: &str, now: i64) -> Option<Answer> {
        if !self.strict {
            return None;
        }
        let Body::Text(text) = self.statement(now, self.rules.last_updated).body else { return None };
        let what = unstated(&serde_json::from_str(&text).ok()?, call, rest)?;
        let answer = Answer::error(400, "not-supported", &format!("not stated: {what}"));
        self.unstated.add(what);
        Some(answer)
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn named(value: &Value, of: &str, member: &str, wanted: &str) -> bool {
    list(value, of).any(|one| one.get(member).and_then(Value::as_str) == Some(wanted))
}

/// An operation is listed by its name or by what defines it.
fn operates(value: &Value, name: &str) -> bool {
    list(value, "operation").any(|one| {
        let text = |member: &str| one.get(member).and_then(Value::as_str).unwrap_or_default();
        let (called, defined) = (text("name").trim_start_matches('$'), text("definition"));
        called == name
            || called.ends_with(&format!("-{name}"))
            || defined.ends_with(&format!("/{name}"))
            || defined.ends_with(&format!("-{name}"))
    })
}

/// What of a request is not stated; `None`: all of it is.
fn unstated(statement: &Value, call: &Call, rest: &str) -> Option<String> {
    let server = list(statement, "rest").find(|one| one.get("mode").and_then(Value::as_str) != Some("client")).unwrap_or(&Value::Null);
    let segments: Vec<&str> = rest.split('/').collect();
    let of_type = |name: &str| list(server, "resource").find(|one| one.get("type").and_then(Value::as_str) == Some(name));
    let (name, interaction) = match (call.method.as_str(), segments.as_slice()) {
        (_, ["export-status" | "export-files" | "$export-poll-location", ..]) => return None,
        (_, [operation]) if operation.starts_with('$') => {
            return (!operates(server, operation.trim_start_matches('$'))).then(|| format!("the operation {operation}"));
        }
        (_, [name, operation] | [name, _, operation]) if operation.starts_with('$') => {
            let offered = of_type(name).is_some_and(|one| operates(one, operation.trim_start_matches('$')));
            return (!offered).then(|| format!("{name} {operation}"));
        }
        ("GET", [name]) | ("POST", [name, "_search"]) => (*name, "search-type"),
        ("POST", [name]) => (*name, "create"),
        ("GET", [name, _]) => (*name, "read"),
        ("GET", [name, _, "_history", _]) => (*name, "vread"),
        ("PUT", [name, _]) => (*name, "update"),
        ("PATCH", [name, _]) => (*name, "patch"),
        ("DELETE", [name, _]) => (*name, "delete"),
        (method, _) => return Some(format!("{method} on a path that is no type's")),
    };
    let Some(offered) = of_type(name) else { return Some(name.to_owned()) };
    if !named(offered, "interaction", "code", interaction) {
        return Some(format!("{name} {interaction}"));
    }
    if interaction != "search-type" {
        return None;
    }
    let listed = |param: &str| named(offered, "searchParam", "name", param) || named(server, "searchParam", "name", param);
    let form = if call.method == "POST" { call.form() } else { Vec::new() };
    let sent: Vec<String> = call
        .query_pairs()
        .into_iter()
        .chain(form)
        .flat_map(|(param, value)| match param.as_str() {
            // What is sorted by is a parameter itself.
            "_sort" => value.split(',').map(|by| by.trim_start_matches('-').to_owned()).collect(),
            _ => vec![param.split(':').next().unwrap_or_default().to_owned()],
        })
        .collect();
    let unlisted = sent.into_iter().find(|param| !OF_NO_TYPE.contains(&param.as_str()) && !listed(param))?;
    Some(format!("{name} {interaction} by {unlisted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stated_passes_and_what_is_not_is_named() {
        let statement = serde_json::json!({ "rest": [
            { "mode": "client", "resource": [{ "type": "Basic", "interaction": [{ "code": "read" }] }] },
            { "mode": "server", "operation": [{ "name": "export" }], "searchParam": [{ "name": "_id" }], "resource": [
                { "type": "Patient", "interaction": [{ "code": "read" }, { "code": "search-type" }], "searchParam": [{ "name": "family" }],
                  "operation": [{ "name": "x", "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export" }] },
                { "type": "Communication", "interaction": [{ "code": "create" }] },
            ] },
        ] });
        let said = |method: &str, target: &str, body: &str| {
            let (rest, query) = target.split_once('?').unwrap_or((target, ""));
            let call = Call { method: method.to_owned(), query: query.to_owned(), body: body.as_bytes().to_vec(), ..Call::default() };
            unstated(&statement, &call, rest)
        };
        for (method, target, body) in [
            ("GET", "Patient/1", ""),
            ("GET", "Patient?_id=1&family:exact=x&_count=9&_sort=-family,_id", ""),
            ("POST", "Patient/_search", "family=x"),
            ("POST", "Communication", "{}"),
            ("GET", "$export?_type=Patient", ""),
            ("GET", "Patient/$export", ""),
            ("DELETE", "export-status/1", ""),
        ] {
            assert_eq!(said(method, target, body), None, "{method} {target}");
        }
        for (method, target, body, what) in [
            ("GET", "Basic/1", "", "Basic"),
            ("GET", "Patient?name=x", "", "Patient search-type by name"),
            ("GET", "Patient?_sort=-_lastUpdated", "", "Patient search-type by _lastUpdated"),
            ("POST", "Patient/_search", "name=x", "Patient search-type by name"),
            ("GET", "Communication?_id=1", "", "Communication search-type"),
            ("PUT", "Patient/1", "{}", "Patient update"),
            ("GET", "Group/1/$export", "", "Group $export"),
            ("GET", "$reindex", "", "the operation $reindex"),
            ("GET", "Patient/1/_history/2", "", "Patient vread"),
        ] {
            assert_eq!(said(method, target, body).as_deref(), Some(what), "{method} {target}");
        }
    }
}
