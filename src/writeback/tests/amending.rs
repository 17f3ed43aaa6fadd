//! Corrections and changes of status, cell by cell: {what is there} x {what the EHR answers to the change}.

use std::time::Duration;

use serde_json::{Value, json};

use super::script::{Script, Went, go, letter, remote, state, text};
use crate::store::writebacks::Settlement;
use crate::writeback::Deed;
use crate::writeback::chart::{Changed, Match, Remote, SearchFailed};
use crate::writeback::contract::{Carrier, Contract};
use crate::writeback::push::{Letter, Signal};

/// 2026-11-24T15:00:00Z.
const BEGINS: i64 = 1_795_532_400_000_000;

type Read = Result<Option<Match>, SearchFailed>;

fn shows(resource: &Value) -> Read {
    Ok(Some(Match { bytes: resource.to_string().into_bytes() }))
}

fn communication(status: &str, version: &str) -> Value {
    json!({ "resourceType": "Communication", "id": "c1", "meta": { "versionId": version }, "status": status,
        "identifier": [{ "system": "urn:fhir-engage:attempt", "value": "a1" }], "subject": { "reference": "Patient/p1" }, "note": [{ "text": "before" }], "text": { "div": "words" } })
}

fn appointment(status: &str) -> Read {
    shows(
        &json!({ "resourceType": "Appointment", "id": "v1", "meta": { "versionId": "4" }, "status": status, "start": "2026-11-24T10:00:00-05:00",
        "participant": [{ "actor": { "reference": "Practitioner/d1" } }, { "actor": { "reference": "https://e.org/r4/Patient/p1" } }] }),
    )
}

fn correction(unclear: bool, tries: i64) -> Letter {
    let deed = Deed::EnteredInError { id: text("c1"), why: text("It came back: the address is wrong.") };
    Letter { deed, ..letter(unclear, tries) }
}

fn change(unclear: bool) -> Letter {
    let deed =
        Deed::Status { appointment: text("v1"), to: text("booked"), start: Some(BEGINS), from: [text("proposed"), text("pending")].into() };
    Letter { deed, carrier: Carrier::Appointment, tried: None, ..letter(unclear, 1) }
}

fn went(letter: &Letter, reads: Vec<Read>, changes: Vec<Changed>) -> Went {
    go(&Contract::full_r4(), letter, Script { reads, changes, ..Script::default() })
}

fn cause(went: &Went) -> &str {
    match &went.pushed.settlement {
        Settlement::Refused { why } | Settlement::Again { why, .. } | Settlement::Unknown { why, .. } => why.split(':').next().unwrap(),
        _ => "",
    }
}

#[test]
fn only_our_own_entry_is_corrected() {
    let mut theirs = communication("completed", "2");
    theirs["identifier"] = json!([{ "system": "urn:other", "value": "a1" }]);
    let one = went(&correction(false, 1), vec![shows(&theirs)], vec![]);
    assert_eq!((state(&one.pushed), cause(&one)), ("refused", "not-ours"));
}

#[test]
fn a_visit_that_was_moved_is_left_as_it_is() {
    let moved = json!({ "resourceType": "Appointment", "id": "v1", "status": "proposed", "start": "2026-11-25T15:00:00Z" });
    let one = went(&change(false), vec![shows(&moved)], vec![]);
    assert_eq!((state(&one.pushed), cause(&one)), ("refused", "visit-moved"));
}

#[test]
fn a_correction_is_put_to_the_version_that_was_read() {
    let done = || vec![Changed::Done(Remote { version: Some(text("3")), ..Remote::default() })];
    let one = went(&correction(false, 1), vec![shows(&communication("completed", "2"))], done());
    let put: Value = serde_json::from_str(one.asked[1].strip_prefix("update Communication c1 2 ").unwrap()).unwrap();
    assert_eq!(put["status"], "entered-in-error");
    assert_eq!(put["note"], json!([{ "text": "before" }, { "text": "It came back: the address is wrong." }]));
    assert_eq!(put.get("text"), None, "what it said of itself in words is not true any more");
    let Settlement::Written { remote_id, version, .. } = &one.pushed.settlement else { panic!("{:?}", one.pushed) };
    assert_eq!((remote_id.as_deref(), version.as_deref()), (Some("c1"), Some("3")));

    let document =
        json!({ "resourceType": "DocumentReference", "id": "c1", "status": "current", "description": "A note. [fhir-engage a1]" });
    let letter = Letter { carrier: Carrier::DocumentReference, ..correction(false, 1) };
    let one = went(&letter, vec![shows(&document)], done());
    let put: Value = serde_json::from_str(one.asked[1].strip_prefix("update DocumentReference c1 - ").unwrap()).unwrap();
    assert_eq!(
        (put["status"].as_str(), put["description"].as_str()),
        (Some("entered-in-error"), Some("A note. [fhir-engage a1] It came back: the address is wrong."))
    );
}

#[test]
fn every_answer_to_a_correction_has_its_end() {
    let there = || shows(&communication("completed", "2"));
    let minute = Some(Duration::from_secs(60));
    let clash = || Changed::Conflict(text("http-412"));
    let not_kept = Changed::Done(Remote { kept: Some(communication("completed", "3").to_string().into_bytes()), ..Remote::default() });
    for (reads, changes, wanted, cause_of) in [
        // It says so already: an earlier try that was unclear had arrived.
        (vec![shows(&communication("entered-in-error", "3"))], vec![], "written", ""),
        (vec![there(), there()], vec![clash(), Changed::Done(remote("c1"))], "written", ""),
        (vec![there(), shows(&communication("entered-in-error", "3"))], vec![clash()], "written", ""),
        (vec![there(), there(), there()], vec![clash(), clash(), clash()], "again", "http-412"),
        (vec![there()], vec![Changed::Unclear(text("no-answer: x"))], "unknown", "no-answer"),
        (vec![there()], vec![Changed::Throttled(minute)], "again", "throttled"),
        (vec![there()], vec![Changed::Refused(text("http-422: x"))], "refused", "http-422"),
        (vec![there()], vec![Changed::Halted(text("no token"))], "back owed", ""),
        (vec![there()], vec![not_kept], "refused", "not-kept"),
        (vec![Ok(None)], vec![], "refused", "not-there"),
        (vec![shows(&json!({ "status": "completed", "subject": { "reference": "Patient/p2" } }))], vec![], "refused", "another-patient"),
        (vec![Err(SearchFailed::Later(text("http-500")))], vec![], "again", "http-500"),
        (vec![Err(SearchFailed::Throttled(minute))], vec![], "again", "throttled"),
        (vec![Err(SearchFailed::Refused(text("http-403")))], vec![], "refused", "http-403"),
        (vec![Err(SearchFailed::Halted(text("no token")))], vec![], "back owed", ""),
    ] {
        let one = went(&correction(false, 1), reads, changes);
        assert_eq!((state(&one.pushed), cause(&one)), (wanted, cause_of), "{:?}", one.pushed);
    }
    // Unclear, it is settled by reading it again, and never by a second change to what was read before.
    let one = went(&correction(true, 2), vec![Err(SearchFailed::Later(text("http-500")))], vec![]);
    assert_eq!(state(&one.pushed), "unknown");
    let one = went(&correction(true, 2), vec![there()], vec![Changed::Done(remote("c1"))]);
    assert_eq!(state(&one.pushed), "written");
    let one = went(&correction(false, 8), vec![there(), there(), there()], vec![clash(), clash(), clash()]);
    assert_eq!(state(&one.pushed), "refused", "a conflict without end goes to a person");
}

#[test]
fn a_status_is_changed_only_from_those_that_the_patients_word_was_about() {
    let done = || vec![Changed::Done(remote("v1"))];
    let one = went(&change(false), vec![appointment("proposed")], done());
    assert_eq!(state(&one.pushed), "written");
    assert_eq!(
        one.asked[1],
        r#"patch Appointment v1 4 [{"op":"test","path":"/status","value":"proposed"},{"op":"replace","path":"/status","value":"booked"}]"#
    );
    let clash = || Changed::Conflict(text("http-409"));
    for (reads, changes, wanted, cause_of) in [
        (vec![appointment("booked")], vec![], "written", ""),
        (vec![appointment("arrived")], vec![], "refused", "status-moved"),
        (vec![appointment("cancelled")], vec![], "refused", "status-moved"),
        (vec![appointment("<b>Ada Lovelace</b>")], vec![], "refused", "status-moved"),
        // Another change came first: what it made of it decides.
        (vec![appointment("proposed"), appointment("booked")], vec![clash()], "written", ""),
        (vec![appointment("proposed"), appointment("arrived")], vec![clash()], "refused", "status-moved"),
        (vec![appointment("proposed"), appointment("pending")], vec![clash(), Changed::Done(remote("v1"))], "written", ""),
        (vec![appointment("proposed"); 3], vec![clash(), clash(), clash()], "again", "http-409"),
        (vec![appointment("proposed")], vec![Changed::Unclear(text("no-answer: x"))], "unknown", "no-answer"),
        (vec![appointment("proposed")], vec![Changed::Throttled(None)], "again", "throttled"),
        (vec![appointment("proposed")], vec![Changed::Refused(text("http-422: x"))], "refused", "http-422"),
        (vec![appointment("proposed")], vec![Changed::Halted(text("no token"))], "back owed", ""),
        (vec![Ok(None)], vec![], "refused", "not-there"),
        (vec![Err(SearchFailed::Later(text("http-500")))], vec![], "again", "http-500"),
    ] {
        let one = went(&change(false), reads, changes);
        assert_eq!((state(&one.pushed), cause(&one)), (wanted, cause_of), "{:?}", one.pushed);
        assert!(!format!("{:?}", one.pushed).contains("Lovelace"), "no words of the other side");
    }
    for (status, changes, wanted) in [("booked", vec![], "written"), ("proposed", done(), "written"), ("arrived", vec![], "refused")] {
        assert_eq!(state(&went(&change(true), vec![appointment(status)], changes).pushed), wanted, "unclear, {status}");
    }
    assert_eq!(went(&change(false), vec![appointment("proposed")], vec![Changed::Unclear(text("x"))]).pushed.signal, Signal::Trouble);
}

#[test]
fn without_a_version_the_patchs_own_test_is_the_lock() {
    let bare = |status: &str| shows(&json!({ "resourceType": "Appointment", "id": "v1", "status": status }));
    let failed = || Changed::Refused(text("http-422: x"));
    let one = went(&change(false), vec![bare("proposed"), bare("arrived")], vec![failed()]);
    assert_eq!((state(&one.pushed), cause(&one)), ("refused", "status-moved"));
    let one = went(&change(false), vec![bare("proposed"); 3], vec![failed(), failed(), failed()]);
    assert_eq!((state(&one.pushed), cause(&one)), ("refused", "http-422"));
}
