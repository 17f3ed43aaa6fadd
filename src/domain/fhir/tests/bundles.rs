use crate::fhir::{Bundle, RejectCode, SearchAnswer, SearchMode, split_bundle};

fn bundle(bytes: &[u8]) -> Bundle<'_> {
    match split_bundle(bytes).unwrap() {
        SearchAnswer::Bundle(bundle) => bundle,
        SearchAnswer::Outcome(_) => panic!("not a Bundle"),
    }
}

#[test]
fn a_search_answer_is_taken_apart_and_resources_stay_as_received() {
    let text = br#"{"resourceType":"Bundle","type":"searchset","total":2,
        "link":[null,{"relation":"self","url":"https:\/\/h\/fhir\/Patient?_count=2"},{"relation":"next","url":"https://h/fhir?page=2"},{"url":"x"}],
        "entry":[
          {"fullUrl":"https://h/fhir/Patient/1","search":{"mode":"match"},"resource": {"resourceType":"Patient",  "id":"1","x":1.500,"y":1e5, "z":12345678901234567890.123456789 } },
          {"search":{"mode":"include"},"resource":{"resourceType":"Practitioner","id":"2"}},
          {"search":{"mode":"outcome"},"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"processing","details":{"coding":[{"code":"4119"}]}}]}},
          {"resource":"not an object"},{"resource":{"id":"3"}},
          null,{},5,[],{"resource":null}
        ]}"#;
    let answer = bundle(text);
    assert_eq!((answer.kind.as_deref(), answer.total), (Some("searchset"), Some(2)));
    assert_eq!(answer.link("self"), Some("https://h/fhir/Patient?_count=2"));
    assert_eq!((answer.link("next"), answer.link("previous")), (Some("https://h/fhir?page=2"), None));
    assert_eq!(answer.links.len(), 2);
    let first = &answer.entries[0];
    assert_eq!(first.resource, br#"{"resourceType":"Patient",  "id":"1","x":1.500,"y":1e5, "z":12345678901234567890.123456789 }"#);
    assert_eq!((first.mode, first.full_url.as_deref()), (SearchMode::Match, Some("https://h/fhir/Patient/1")));
    let heads: Vec<_> = answer.entries.iter().map(|e| (e.mode, e.resource_type.as_deref(), e.id.as_deref())).collect();
    assert_eq!(
        heads[1..],
        [(SearchMode::Include, Some("Practitioner"), Some("2")), (SearchMode::Match, None, None), (SearchMode::Match, None, Some("3")),]
    );
    assert!(answer.outcomes[0].has("4119"));
    assert_eq!((answer.outcomes.len(), answer.empty), (1, 3), "an empty object, a number, and an entry without resource");
    assert!(!format!("{answer:?}").contains("https"), "URLs and resources stay out of Debug");
}

#[test]
fn a_bundle_may_leave_out_nearly_all() {
    for text in [
        &br#"{"resourceType":"Bundle"}"#[..],
        br#"{"resourceType":"Bundle","type":"searchset","total":null,"link":[],"entry":[]}"#,
        br#"{"resourceType":"Bundle","total":"many","link":"x","entry":null}"#,
    ] {
        let answer = bundle(text);
        assert!(answer.entries.is_empty() && answer.links.is_empty() && answer.total.is_none());
    }
    assert_eq!(bundle(br#"{"resourceType":"Bundle","total":"7","entry":{"resource":{"id":"1"}}}"#).entries.len(), 1);
}

#[test]
fn responses_are_kept_apart() {
    let text = br#"{"resourceType":"Bundle","type":"batch-response","entry":[
        {"response":{"status":"201 Created","location":"Communication/7/_history/1","etag":"W/\"1\""}},
        {"response":{"status":422,"outcome":{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}}},
        {"resource":{"resourceType":"Patient","id":"1"},"response":{"status":"200"}}]}"#;
    let answer = bundle(text);
    assert_eq!(answer.entries.len(), 1);
    let [created, refused] = &answer.responses[..] else { panic!("two responses were sent") };
    assert_eq!((created.position, created.status.as_deref(), created.etag.as_deref()), (0, Some("201 Created"), Some("W/\"1\"")));
    assert_eq!((refused.position, refused.status.as_deref()), (1, Some("422")));
    assert!(refused.outcome.as_ref().unwrap().has("invalid"));
}

#[test]
fn a_deep_entry_sinks_no_other() {
    let deep = format!(r#"{{"resourceType":"Patient","id":"1","x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let text =
        format!(r#"{{"resourceType":"Bundle","entry":[{{"resource":{deep}}},{{"resource":{{"resourceType":"Patient","id":"2"}}}}]}}"#);
    let answer = bundle(text.as_bytes());
    let kind = crate::model::ResourceType::Patient;
    assert_eq!(crate::fhir::project(kind, answer.entries[0].resource).unwrap_err().code, RejectCode::TooDeep);
    assert_eq!(crate::fhir::project(kind, answer.entries[1].resource).unwrap().id.as_str(), "2");
}

#[test]
fn what_is_no_bundle() {
    let SearchAnswer::Outcome(said) =
        split_bundle(br#"{"issue":[{"severity":"error","code":"too-costly"}],"resourceType":"OperationOutcome"}"#).unwrap()
    else {
        panic!("an OperationOutcome was sent")
    };
    assert_eq!(said.to_string(), "error: too-costly");
    for (text, code) in [
        (&b"<html>"[..], RejectCode::NotJson),
        (b"", RejectCode::Truncated),
        (b"[]", RejectCode::NotAnObject),
        (b"{}", RejectCode::NoResourceType),
        (br#"{"resourceType":"Patient","id":"1"}"#, RejectCode::WrongType),
        (br#"{"resourceType":"Bundle","entry":["#, RejectCode::Truncated),
    ] {
        assert_eq!(split_bundle(text).unwrap_err().code, code);
    }
}
