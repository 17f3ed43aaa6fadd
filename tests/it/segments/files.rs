//! Definition files of a site, by the commands: checked, planned, applied, undone; and a segment as a FHIR Group.

use serde_json::{Value, json};

use crate::support::{Installation, on_both};

const SENIORS: &str = "id = 'our-seniors'\ntitle = 'Seniors of ours'\nstage = 'retention'\ndescription = 'x'\nrule = 'age >= 60'\n";

fn patients(folder: &std::path::Path, births: &[&str]) -> String {
    let lines: String = births
        .iter()
        .enumerate()
        .map(|(n, born)| json!({ "resourceType": "Patient", "id": format!("p{n}"), "birthDate": born }).to_string() + "\n")
        .collect();
    let file = folder.join("Patient.ndjson");
    std::fs::write(&file, lines).unwrap();
    file.to_str().unwrap().to_owned()
}

on_both! {
    fn a_site_adds_changes_and_takes_back_its_own_segment(db) {
        let site = Installation::new(&db, "");
        let folder = site.folder().to_owned();
        site.run(&["ehr", "add", "files", "--files"]).ok();
        site.run(&["import", "--ehr", "files", &patients(&folder, &["1950-01-01", "1964-01-01", "2000-01-01", "1900"])]).ok();
        site.run(&["segments", "run"]).ok();
        assert_eq!(site.members("age-65-and-over"), ["files/p0"]);

        std::fs::create_dir_all(folder.join("segments")).unwrap();
        let file = folder.join("segments/seniors.toml");
        std::fs::write(&file, SENIORS.replace("age >= 60", "agee >= 60 and gender = 3")).unwrap();
        let told = site.run(&["segments", "check", file.to_str().unwrap()]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.stdout.contains("did you mean `age`?") && told.stdout.contains("column 25"), "{told:?}");
        let refused = site.run(&["segments", "apply"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("2 mistakes") && refused.stderr.contains("seniors.toml"), "{refused:?}");

        std::fs::write(&file, SENIORS).unwrap();
        assert_eq!(site.run(&["segments", "check", file.to_str().unwrap()]).code, Some(0));
        let plan = site.json(&["segments", "plan"]);
        let planned = &plan["segments"][0];
        assert_eq!((&planned["id"], &planned["change"], &planned["entering"]), (&json!("our-seniors"), &json!("new"), &json!(2)));
        assert_eq!(planned["unknown"], 1, "born in 1900, by the record: more than 122 years ago");
        let applied = site.json(&["segments", "apply"]);
        assert_eq!((&applied["rollout"]["state"], &applied["rollout"]["entries"]), (&json!("done"), &json!(2)));
        assert_eq!(site.members("our-seniors"), ["files/p0", "files/p1"]);
        assert!(site.run(&["segments", "apply"]).ok().stdout.contains("nothing differs"));

        // A file takes the place of a shipped segment, and a site's value set can be named.
        std::fs::create_dir_all(folder.join("value-sets")).unwrap();
        let set = json!({ "resourceType": "ValueSet", "id": "rides", "url": "http://x", "compose": { "include": [
            { "system": "http://a", "concept": [{ "code": "1" }] } ] } });
        std::fs::write(folder.join("value-sets/rides.json"), set.to_string()).unwrap();
        let own = SENIORS.replace("our-seniors", "age-65-and-over").replace("age >= 60", "age < 30 or last_missed.reason in valueset(rides)");
        std::fs::write(folder.join("segments/young.toml"), own).unwrap();
        site.run(&["segments", "apply"]).ok();
        assert_eq!(site.members("age-65-and-over"), ["files/p2"]);

        let history = site.json(&["segments", "history"]);
        assert_eq!(history.as_array().unwrap().iter().map(|r| r["number"].clone()).collect::<Vec<_>>(), [3, 2, 1]);
        let back = site.json(&["segments", "rollback"]);
        assert_eq!(back["rollout"]["back_to"], 2);
        assert_eq!(site.members("age-65-and-over"), ["files/p0"]);
        let versions = site.json(&["segments", "history", "age-65-and-over"]);
        let states: Vec<&str> = versions.as_array().unwrap().iter().map(|v| v["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["past", "past", "current"]);
        let events = site.json(&["segments", "history", "age-65-and-over", "--patient", "files/p0"]);
        let after: Vec<&str> = events.as_array().unwrap().iter().map(|e| e["after"].as_str().unwrap()).collect();
        assert_eq!(after, ["in", "out", "in"]);
        let past = site.json(&["segments", "show", "age-65-and-over", "--at", events[1]["effective_at"].as_str().unwrap()]);
        assert_eq!((&past["members"], &past["in"]), (&json!(1), &json!([["files/p2"]])));

        let group: Value = serde_json::from_str(&site.run(&["segments", "export", "our-seniors"]).ok().stdout).unwrap();
        assert_eq!((&group["resourceType"], &group["quantity"], &group["actual"]), (&json!("Group"), &json!(2), &json!(true)));
        assert_eq!(group["characteristic"][0]["valueCodeableConcept"]["text"], "age >= 60");
        assert_eq!(group["member"][1]["entity"]["reference"], "Patient/p1");
        crate::support::keep_for_validation(&format!("segment-{}", if db.argument().starts_with("postgres") { "pg" } else { "lite" }), &[group]);
    }
}
