//! Appointment.status by JSON Patch, where a flavour takes it.

use super::flavours::speaking;
use super::*;
use crate::Flavour;

struct Visit {
    sandbox: Sandbox,
    path: String,
    id: String,
}

impl Visit {
    fn of(flavour: Flavour, status: &str) -> Self {
        let sandbox = speaking(flavour);
        let id = "apt-000001-1".to_owned();
        sandbox.edit("Appointment", &id, |visit| visit["status"] = json!(status)).unwrap();
        Self { sandbox, path: format!("/fhir/Appointment/{id}"), id }
    }

    fn version(&self) -> String {
        get(&self.sandbox, &self.path).header("etag").unwrap().to_owned()
    }

    fn patch(&self, version: Option<&str>, document: &Value) -> Response {
        let mut headers = vec![("Content-Type", "application/json-patch+json")];
        headers.extend(version.map(|version| ("If-Match", version)));
        send(&self.sandbox, "PATCH", &self.path, &headers, &document.to_string()).unwrap()
    }

    fn to(&self, status: &str) -> u16 {
        self.patch(Some(&self.version()), &json!([{ "op": "replace", "path": "/status", "value": status }])).status
    }

    fn status(&self) -> Value {
        self.sandbox.resource("Appointment", &self.id).unwrap()["status"].clone()
    }
}

#[test]
fn a_patch_changes_the_status_and_makes_a_version() {
    for (flavour, echoed) in [(Flavour::FullR4, true), (Flavour::Oracle, false)] {
        let visit = Visit::of(flavour, "booked");
        let before = visit.version();
        let replace =
            json!([{ "op": "test", "path": "/status", "value": "booked" }, { "op": "replace", "path": "/status", "value": "cancelled" }]);
        let answer = visit.patch(Some(&before), &replace);
        assert_eq!((answer.status, answer.body.is_empty()), (200, !echoed), "{flavour:?}");
        assert_eq!(answer.header("etag"), Some(visit.version().as_str()), "{flavour:?}");
        assert_ne!(answer.header("etag"), Some(before.as_str()), "{flavour:?}");
        assert_eq!(visit.status(), "cancelled", "{flavour:?}");
    }
}

#[test]
fn a_patch_must_name_the_version_it_was_made_from() {
    for (flavour, stale) in [(Flavour::FullR4, 412), (Flavour::Oracle, 409)] {
        let visit = Visit::of(flavour, "booked");
        let cancel = json!([{ "op": "replace", "path": "/status", "value": "cancelled" }]);
        let old = visit.version();
        visit.sandbox.edit("Appointment", &visit.id, |visit| visit["description"] = json!("moved rooms")).unwrap();
        assert_eq!(visit.patch(Some(&old), &cancel).status, stale, "{flavour:?}");
        assert_eq!(visit.patch(None, &cancel).status, 412, "{flavour:?}");
        assert_eq!(visit.patch(Some("*"), &cancel).status, 412, "{flavour:?}");
        assert_eq!(visit.status(), "booked", "{flavour:?}");
        assert_eq!(visit.patch(Some(&visit.version()), &cancel).status, 200, "{flavour:?}");
    }
}

#[test]
fn oracle_allows_the_transitions_of_its_page() {
    for (from, allowed) in [
        ("booked", ["arrived", "checked-in", "cancelled"].as_slice()),
        ("proposed", &["cancelled"]),
        ("arrived", &["checked-in", "cancelled"]),
        ("checked-in", &["fulfilled", "cancelled"]),
        ("cancelled", &[]),
        ("fulfilled", &[]),
    ] {
        for to in ["arrived", "checked-in", "cancelled", "fulfilled", "noshow", "proposed"].into_iter().filter(|to| *to != from) {
            let visit = Visit::of(Flavour::Oracle, from);
            let (status, after) = if allowed.contains(&to) { (200, to) } else { (422, from) };
            assert_eq!((visit.to(to), visit.status()), (status, json!(after)), "{from} to {to}");
        }
    }
    let visit = Visit::of(Flavour::Oracle, "proposed");
    assert_eq!(visit.to("booked"), 422, "it needs a slot");
    let booked = json!([
        { "op": "replace", "path": "/status", "value": "booked" },
        { "op": "add", "path": "/slot", "value": [{ "reference": "Slot/1" }] },
    ]);
    assert_eq!(visit.patch(Some(&visit.version()), &booked).status, 200);
    assert_eq!(visit.status(), "booked");
    assert_eq!(Visit::of(Flavour::FullR4, "cancelled").to("booked"), 200, "R4 itself allows every one");
}

#[test]
fn a_patch_of_anything_else_changes_nothing() {
    let visit = Visit::of(Flavour::FullR4, "booked");
    let cases = [
        (422, json!([{ "op": "replace", "path": "/description", "value": "x" }])),
        (422, json!([{ "op": "remove", "path": "/status" }])),
        (422, json!([{ "op": "replace", "path": "/status", "value": "bogus" }])),
        (422, json!([{ "op": "replace", "path": "/status", "value": "arrived" }, { "op": "test", "path": "/status", "value": "booked" }])),
        (400, json!([{ "op": "replace", "path": "/status" }])),
        (400, json!([{ "path": "/status", "value": "arrived" }])),
        (400, json!([])),
        (400, json!({ "status": "arrived" })),
    ];
    for (status, document) in cases {
        assert_eq!(visit.patch(Some(&visit.version()), &document).status, status, "{document}");
        assert_eq!(visit.status(), "booked", "{document}");
    }
    let plain = [("Content-Type", "application/fhir+json"), ("If-Match", "W/\"2\"")];
    assert_eq!(send(&visit.sandbox, "PATCH", &visit.path, &plain, "[]").unwrap().status, 415);
    let headers = [("Content-Type", "application/json-patch+json"), ("If-Match", "W/\"1\"")];
    assert_eq!(send(&visit.sandbox, "PATCH", "/fhir/Appointment/never", &headers, "[]").unwrap().status, 404);
    visit.sandbox.delete("Appointment", &visit.id).unwrap();
    assert_eq!(visit.patch(Some("W/\"3\""), &json!([])).status, 410);
}

#[test]
fn r4s_own_flavour_takes_an_update_of_the_version_that_was_read() {
    let visit = Visit::of(Flavour::FullR4, "booked");
    let mut body = visit.sandbox.resource("Appointment", &visit.id).unwrap();
    body["status"] = json!("arrived");
    let put = |version: &str| {
        let headers = [("Content-Type", "application/fhir+json"), ("If-Match", version)];
        send(&visit.sandbox, "PUT", &visit.path, &headers, &body.to_string()).unwrap().status
    };
    let version = visit.version();
    assert_eq!((put(&version), put(&version)), (200, 412));
    assert_eq!(visit.status(), "arrived");
}
