//! A patient with 50,000 resources: taken in by an import, evaluated with right answers, explained, and evaluated again when one more comes.

use serde_json::{Value, json};

use crate::support::{Installation, on_both};

const VISITS: i64 = 30_000;
const MISSED: i64 = 9_000;
const PLANS: i64 = 5_000;
const OBSERVATIONS: i64 = 5_999;

/// Patient `p`, with 50,000 resources in all, and a second one with next to none.
fn resources() -> impl Iterator<Item = String> {
    let me = || json!([{ "actor": { "reference": "Patient/p" }, "status": "accepted" }]);
    let visit = move |n: i64, status: &str, year: i64| {
        // Each at another minute of its year.
        let (day, minute) = (n / 1_000 + 1, n % 1_000);
        let start = format!("{year}-{:02}-{:02}T{:02}:{:02}:00Z", (day - 1) / 28 + 1, (day - 1) % 28 + 1, minute / 60, minute % 60);
        json!({ "resourceType": "Appointment", "id": format!("{status}-{year}-{n}"), "status": status, "start": start, "participant": me() })
    };
    let done = (0..VISITS).map(move |n| visit(n, "fulfilled", 2019));
    let missed = (0..MISSED).map(move |n| visit(n, "noshow", 2020));
    let plan = |n: i64| {
        json!({ "resourceType": "CarePlan", "id": format!("c{n}"), "status": if n == 0 { "active" } else { "completed" }, "intent": "plan",
        "subject": { "reference": "Patient/p" }, "period": { "start": "2020-01-01" } })
    };
    let value = |n: i64| {
        json!({ "resourceType": "Observation", "id": format!("o{n}"), "status": "final", "subject": { "reference": "Patient/p" },
        "code": { "coding": [{ "system": "http://loinc.org", "code": "4548-4" }] }, "effectiveDateTime": "2020-01-01T00:00:00Z", "valueQuantity": { "value": n } })
    };
    let patients = ["p", "q"].map(|id| json!({ "resourceType": "Patient", "id": id, "birthDate": "1950-01-01" }));
    let all = patients.into_iter().chain(done).chain(missed).chain((0..PLANS).map(plan)).chain((0..OBSERVATIONS).map(value));
    all.map(|resource| resource.to_string())
}

on_both! {
    fn a_patient_with_fifty_thousand_resources(db) {
        let site = Installation::new(&db, "");
        let file = site.folder().join("all.ndjson");
        let lines: Vec<String> = resources().collect();
        assert_eq!(lines.len(), 50_001, "fifty thousand of the one, and the other patient");
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        site.run(&["ehr", "add", "files", "--files", "--types", "Observation"]).ok();
        let report = site.json(&["import", "--ehr", "files", file.to_str().unwrap()]);
        assert_eq!((&report["stored"], &report["quarantined"]), (&json!(50_001), &json!(0)), "{report}");
        std::fs::create_dir_all(site.folder().join("segments")).unwrap();
        let rules = [
            ("exact", format!("visits.completed = {VISITS} and appointments.no_show = {MISSED} and care_plan.active and observations.made = {OBSERVATIONS}")),
            ("one-off", format!("visits.completed = {} or appointments.no_show = {}", VISITS - 1, MISSED + 1)),
            ("last", "last_visit.start = 2019-02-02 and last_missed.start = 2020-01-09".to_owned()),
            ("visited", "exists visits.completed".to_owned()),
        ];
        for (id, rule) in &rules {
            let text = format!("id = '{id}'\ntitle = 'x'\nstage = 'retention'\ndescription = 'x'\nrule = '{rule}'\n");
            std::fs::write(site.folder().join(format!("segments/{id}.toml")), text).unwrap();
        }
        site.run(&["segments", "apply"]).ok();
        let members = || ["exact", "one-off", "last", "visited"].map(|id| site.members(id));
        let of_p = || vec!["files/p".to_owned()];
        assert_eq!(members(), [of_p(), vec![], of_p(), of_p()]);
        let told = site.json(&["segments", "explain", "--patient", "files/p", "--segment", "exact"]);
        let reasons = told["segments"][0]["reasons"].as_array().unwrap();
        assert!(reasons.len() == 4 && reasons.iter().all(|r| r["decides"] == true && r["truth"] == "true"), "{told}");
        assert!(reasons.iter().all(|r| r["sources"].as_array().is_none_or(|s| s.len() <= 20)), "a reason names some of what it counted, not all");

        // One more visit is work of one person, whoever has how much.
        let one_more: Value = json!({ "resourceType": "Appointment", "id": "one-more", "status": "fulfilled", "start": "2019-01-01T23:59:00Z",
            "participant": [{ "actor": { "reference": "Patient/p" } }] });
        std::fs::write(&file, one_more.to_string() + "\n").unwrap();
        let report = site.json(&["import", "--ehr", "files", file.to_str().unwrap()]);
        assert_eq!(report["segments"]["persons"], 1, "{report}");
        assert_eq!(members(), [vec![], vec![], of_p(), of_p()]);
    }
}
