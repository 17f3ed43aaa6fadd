//! Searching over HTTP: parameters, pages, links, and pages that are read while the data change.

use std::collections::BTreeSet;

use super::*;

fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter(|e| e["search"]["mode"] == "match").map(|e| e["resource"]["id"].as_str().unwrap().to_owned()).collect()
}

fn link(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle["link"].as_array().unwrap();
    links.iter().find(|l| l["relation"] == relation).map(|l| l["url"].as_str().unwrap().to_owned())
}

fn path_of(sandbox: &Sandbox, url: &str) -> String {
    url.strip_prefix(&sandbox.base_url()).map(|rest| format!("/fhir{rest}")).unwrap()
}

/// Follows every `next`; `between` runs after each page.
fn pages(sandbox: &Sandbox, first: &str, mut between: impl FnMut(usize)) -> Vec<Vec<String>> {
    let (mut path, mut all) = (first.to_owned(), Vec::new());
    loop {
        let answer = get(sandbox, &path);
        assert_eq!(answer.status, 200, "{path}");
        let bundle = answer.json();
        all.push(ids(&bundle));
        between(all.len());
        match link(&bundle, "next") {
            Some(next) => path = path_of(sandbox, &next),
            None => return all,
        }
    }
}

fn loaded(patients: u32) -> Sandbox {
    let sandbox = open();
    sandbox.load(population(patients).resources()).unwrap();
    sandbox
}

#[test]
fn pages_hold_every_resource_once_in_every_order() {
    let sandbox = loaded(40);
    let updated = |id: &String| {
        let resource = sandbox.resource("Appointment", id).unwrap();
        resource["meta"]["lastUpdated"].as_str().unwrap().to_owned()
    };
    for (query, order) in
        [("", 0), ("&_sort=_lastUpdated", 1), ("&_sort=-_lastUpdated", -1), ("&patient=pat-000001,pat-000002&_sort=_lastUpdated", 1)]
    {
        let pages = pages(&sandbox, &format!("/fhir/Appointment?_count=7{query}"), |_| ());
        let all = pages.concat();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{query}");
        assert_eq!(all.len(), if query.contains("patient") { 6 } else { 120 }, "{query}");
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == 7));
        let times: Vec<String> = all.iter().map(updated).collect();
        assert!(order == 0 || times.windows(2).all(|pair| if order > 0 { pair[0] <= pair[1] } else { pair[0] >= pair[1] }), "{query}");
    }
}

#[test]
fn changes_while_pages_are_read_hide_nothing_that_did_not_change() {
    for sort in ["", "&_sort=_lastUpdated"] {
        let sandbox = loaded(40);
        let before: BTreeSet<String> = (1..=40).map(|n| format!("pat-{n:06}")).collect();
        let pages = pages(&sandbox, &format!("/fhir/Patient?_count=6{sort}"), |page| {
            sandbox.advance(SECOND);
            if page < 5 {
                sandbox.delete("Patient", &format!("pat-{:06}", page * 3)).unwrap();
                sandbox.edit("Patient", &format!("pat-{:06}", 41 - page * 2), |patient| patient["active"] = json!(true)).unwrap();
                post(&sandbox, "/fhir/Patient", &[], &json!({ "resourceType": "Patient" })).unwrap();
            }
        });
        let seen: BTreeSet<String> = pages.concat().into_iter().collect();
        let deleted: BTreeSet<String> = (1..5).map(|page| format!("pat-{:06}", page * 3)).collect();
        assert!(before.difference(&deleted).all(|id| seen.contains(id)), "{sort}");
    }
}

#[test]
fn each_parameter_finds_what_a_scan_finds() {
    let sandbox = loaded(60);
    let visits = sandbox.resources("Appointment");
    let status = |v: &Value, wanted: &[&str]| wanted.contains(&v["status"].as_str().unwrap());
    let start = |v: &Value| v["start"].as_str().map(|s| chrono::DateTime::parse_from_rfc3339(s).unwrap().timestamp_micros());
    let updated = |v: &Value| chrono::DateTime::parse_from_rfc3339(v["meta"]["lastUpdated"].as_str().unwrap()).unwrap().timestamp_micros();
    let actor = |v: &Value, wanted: &str| v["participant"].as_array().unwrap().iter().any(|p| p["actor"]["reference"] == wanted);
    let day = 86_400 * SECOND;
    type Holds<'a> = &'a dyn Fn(&Value) -> bool;
    let cases: [(&str, Holds<'_>); 17] = [
        ("status=booked", &|v| status(v, &["booked"])),
        ("status=booked,noshow", &|v| status(v, &["booked", "noshow"])),
        ("patient=pat-000003", &|v| actor(v, "Patient/pat-000003")),
        ("patient=Patient/pat-000003", &|v| actor(v, "Patient/pat-000003")),
        ("actor=Patient/pat-000004", &|v| actor(v, "Patient/pat-000004")),
        ("actor=prac-02", &|v| actor(v, "Practitioner/prac-02")),
        ("actor:Location=loc-1", &|v| actor(v, "Location/loc-1")),
        ("patient=pat-000003&status=fulfilled", &|v| actor(v, "Patient/pat-000003") && status(v, &["fulfilled"])),
        ("date=ge2026-11-23T15:00:00Z", &|v| start(v).is_some_and(|s| s >= NOW)),
        ("date=ge2026-11-20&date=lt2026-11-26", &|v| {
            start(v).is_some_and(|s| (NOW - 15 * day / 24 - 3 * day..NOW - 15 * day / 24 + 3 * day).contains(&s))
        }),
        ("date=2026-11-24", &|v| start(v).is_some_and(|s| (NOW + 9 * day / 24..NOW + 33 * day / 24).contains(&s))),
        ("_lastUpdated=ge2026-11-01T00:00:00Z", &|v| updated(v) >= NOW - 22 * day - 15 * day / 24),
        ("_lastUpdated=gt2026-10-01&_lastUpdated=le2026-11-01&_sort=_lastUpdated", &|v| {
            (NOW - 52 * day - 15 * day / 24..NOW - 21 * day - 15 * day / 24).contains(&updated(v))
        }),
        ("identifier=https://ehr.example.org/appointment|A0000003-1", &|v| v["identifier"][0]["value"] == "A0000003-1"),
        ("identifier=A0000003-1", &|v| v["identifier"][0]["value"] == "A0000003-1"),
        ("identifier=|A0000003-1", &|_| false),
        ("_id=apt-000003-1,apt-000004-1,nonsense", &|v| v["id"] == "apt-000003-1" || v["id"] == "apt-000004-1"),
    ];
    for (query, holds) in cases {
        let found: BTreeSet<String> =
            pages(&sandbox, &format!("/fhir/Appointment?_count=50&{}", query.replace('|', "%7C")), |_| ()).concat().into_iter().collect();
        let expected: BTreeSet<String> = visits.iter().filter(|v| holds(v)).map(|v| v["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, expected, "{query}");
        assert!(!expected.is_empty() || query == "identifier=|A0000003-1", "{query} tests nothing");
        let total = get(&sandbox, &format!("/fhir/Appointment?_summary=count&{}", query.replace('|', "%7C"))).json();
        assert_eq!((&total["total"], total.get("entry")), (&json!(expected.len()), None), "{query}");
    }
}

#[test]
fn care_plans_and_communications_have_their_own_parameters() {
    let sandbox = loaded(20);
    let all = sandbox.count("CarePlan");
    let total = |path: &str| get(&sandbox, path).json()["total"].as_u64().unwrap() as usize;
    assert_eq!(total("/fhir/CarePlan?category=assess-plan"), all);
    assert_eq!(total("/fhir/CarePlan?category=http://hl7.org/fhir/us/core/CodeSystem/careplan-category%7Cassess-plan"), all);
    assert_eq!(total("/fhir/CarePlan?category=http://other%7Cassess-plan"), 0);
    assert_eq!(total("/fhir/CarePlan?subject=Patient/pat-000002"), total("/fhir/CarePlan?patient=pat-000002"));
    assert_eq!(total("/fhir/CarePlan?date=ge1990&date=le2100"), all);
    post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap();
    for query in [
        "sent=2026-11-23",
        "sent=ge2026-11-23T14:59:59Z",
        "subject=Patient/pat-000001",
        "patient=pat-000001",
        "identifier=urn:attempts%7Ca",
    ] {
        assert_eq!(total(&format!("/fhir/Communication?{query}")), 1, "{query}");
    }
    assert_eq!(total("/fhir/Communication?sent=lt2026-11-23"), 0);
}

#[test]
fn post_search_is_the_same_search() {
    let sandbox = loaded(10);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let found = send(&sandbox, "POST", "/fhir/Appointment/_search", &form, "patient=pat-000001&_count=2").unwrap().json();
    assert_eq!(found, get(&sandbox, "/fhir/Appointment?patient=pat-000001&_count=2").json());
    assert_eq!(send(&sandbox, "POST", "/fhir/Appointment/_search", &[("Content-Type", "application/json")], "{}").unwrap().status, 415);
}

#[test]
fn what_is_not_understood_is_said_and_left_out_of_the_self_link() {
    let sandbox = loaded(4);
    let bundle = get(&sandbox, "/fhir/Patient?shoe-size=44&_id=pat-000001&_count=9999").json();
    assert_eq!(ids(&bundle), ["pat-000001"]);
    assert_eq!(link(&bundle, "self").unwrap(), format!("{}/Patient?_id=pat-000001&_count=500", sandbox.base_url()));
    let outcome = bundle["entry"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&outcome["search"]["mode"], &outcome["resource"]["issue"][0]["severity"]), (&json!("outcome"), &json!("warning")));
    let strict = send(&sandbox, "GET", "/fhir/Patient?shoe-size=44", &[("Prefer", "handling=strict")], "").unwrap();
    assert_eq!(strict.status, 400);
    for bad in [
        "_lastUpdated=yesterday",
        "_lastUpdated=ge2026-01-01T00:00:00+00:00",
        "_count=few",
        "_cursor=abc",
        "identifier:of-type=a",
        "_count=1&_count=2",
    ] {
        assert_eq!(get(&sandbox, &format!("/fhir/Patient?{bad}")).status, 400, "{bad}");
    }
    assert_eq!(get(&sandbox, "/fhir/Patient?_count=0").json().get("entry"), None);
    assert_eq!(get(&sandbox, "/fhir/Patient?_total=none").json().get("total"), None);
    assert_eq!(get(&sandbox, "/fhir/Patient?_format=application/fhir+json").status, 200);
}

#[test]
fn the_capability_statement_is_true() {
    let sandbox = loaded(4);
    let statement = get(&sandbox, "/fhir/metadata").json();
    for resource in statement["rest"][0]["resource"].as_array().unwrap() {
        let name = resource["type"].as_str().unwrap();
        for parameter in resource["searchParam"].as_array().unwrap() {
            let value = if parameter["type"] == "date" { "2026" } else { "x" };
            let path = format!("/fhir/{name}?{}={value}", parameter["name"].as_str().unwrap());
            assert_eq!(send(&sandbox, "GET", &path, &[("Prefer", "handling=strict")], "").unwrap().status, 200, "{path}");
        }
    }
}
