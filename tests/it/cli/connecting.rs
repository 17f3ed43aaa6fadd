//! Connecting, for people: what is shown of a connection and where it is from, what changed there, and what an engineer enters in a portal.

use std::sync::Arc;

use domain::Clock as _;
use fhir_engage::app::SystemClock;
use sandbox::{Config, Flavour, Population, Sandbox};
use serde_json::{Value, json};

use crate::support::{Installation, on_both};

async fn ehr(flavour: Flavour) -> Sandbox {
    ehr_of(flavour, true).await
}

async fn ehr_of(flavour: Flavour, open: bool) -> Sandbox {
    let clock = SystemClock::with_offset(chrono::TimeDelta::zero());
    let config = Config { open, flavour, ..Config::new(Arc::new(move || clock.now().micros())) };
    let ehr = sandbox::start(config).await.unwrap();
    let people = Population { patients: 5, seed: 3, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
    ehr.load(people.resources()).unwrap();
    ehr
}

/// What the sandbox states, changed.
async fn restate(ehr: &Sandbox, change: impl Fn(&mut Value)) {
    ehr.pretend(None);
    let url = format!("{}/metadata", ehr.base_url());
    let text = tokio::task::spawn_blocking(move || get(&url)).await.unwrap();
    let mut statement: Value = serde_json::from_str(&text).unwrap();
    without_exports(&mut statement);
    change(&mut statement);
    ehr.pretend(Some(&statement.to_string()));
}

/// Takes exports out, which would make up for what a search does not give.
fn without_exports(statement: &mut Value) {
    let rest = statement.pointer_mut("/rest/0").unwrap().as_object_mut().unwrap();
    rest.remove("operation");
    for resource in rest["resource"].as_array_mut().unwrap() {
        resource.as_object_mut().unwrap().remove("operation");
    }
}

fn get(url: &str) -> String {
    use std::io::{Read as _, Write as _};
    let url: url::Url = url.parse().unwrap();
    let mut line = std::net::TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
    write!(line, "GET {} HTTP/1.0\r\nAccept: application/fhir+json\r\n\r\n", url.path()).unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn resource<'a>(statement: &'a mut Value, kind: &str) -> &'a mut Value {
    let all = statement.pointer_mut("/rest/0/resource").unwrap().as_array_mut().unwrap();
    all.iter_mut().find(|r| r["type"] == kind).unwrap()
}

fn row<'a>(shown: &'a Value, key: &str) -> &'a Value {
    shown["values"].as_array().unwrap().iter().find(|r| r["key"] == key).unwrap_or_else(|| panic!("{key} is not in {shown}"))
}

on_both! {
    async fn a_connection_is_shown_with_where_each_value_is_from(db) {
        let gateway = Installation::new(&db, "");
        let ehr = ehr(Flavour::FullR4).await;
        let add = |more: &[&str]| gateway.run(&[&["ehr", "add", "main", "--url", &ehr.base_url()], more].concat()).ok();
        add(&[]);
        let shown = gateway.json(&["ehr", "show", "main"]);
        assert_eq!((&row(&shown, "Patient.strategy")["value"], &row(&shown, "Patient.strategy")["from"]), (&json!("cursor"), &json!("preset-and-live")));
        assert_eq!(row(&shown, "fhir_version")["from"], "live");
        assert_eq!(row(&shown, "vendor")["from"], "default");
        assert!(row(&shown, "Patient.strategy")["source"].as_str().unwrap().contains("standards.md"), "{shown}");

        // The operator's word wins, and where the statement disagrees, that is told.
        restate(&ehr, |s| resource(s, "Patient")["searchParam"] = json!([])).await;
        add(&["--strategy", "Patient=cursor", "--page-size", "7", "--header", "x-site=north", "--vendor", "hapi"]);
        let shown = gateway.json(&["ehr", "show", "main"]);
        let patient = row(&shown, "Patient.strategy");
        assert_eq!((&patient["value"], &patient["from"]), (&json!("cursor"), &json!("override")));
        assert!(patient["warnings"][0].as_str().unwrap().contains("_lastUpdated"), "{patient}");
        assert_eq!((&row(&shown, "page_size.value")["value"], &row(&shown, "header.x-site")["from"]), (&json!("7"), &json!("override")));
        assert_eq!(row(&shown, "header.cache-control")["from"], "preset");

        // What is granted to nobody is asked for by nobody, and what may be asked is the operator's word or our own.
        assert_eq!(row(&shown, "scopes")["value"], "none are asked for: they do not apply to such a credential");
        assert_eq!((&row(&shown, "limits.requests_per_second")["value"], &row(&shown, "limits.at_once")["from"]), (&json!("as fast as it goes"), &json!("default")));
        assert!(row(&shown, "write_back.stated")["value"].as_str().unwrap().contains("Communication (create, update"), "{shown}");

        // What was last seen is shown without asking.
        let base = ehr.base_url();
        ehr.stop().await;
        let offline = gateway.json(&["ehr", "show", "main", "--offline"]);
        assert_eq!(offline["values"], shown["values"]);
        assert_eq!(gateway.run(&["ehr", "show", "main"]).code, Some(1), "{base} is gone");
    }

    async fn scopes_audiences_and_limits_are_shown_with_whose_word_they_are(db) {
        let gateway = Installation::new(&db, "");
        let ehr = ehr_of(Flavour::FullR4, false).await;
        let file = gateway.folder().join("desk.toml");
        std::fs::write(&file, "[desk]\ntypes = [\"Appointment\"]\n[desk.auth]\nkind = \"user-grant\"\nclient_id = \"desk-client\"\n").unwrap();
        let credentials = file.display().to_string();
        let add = |more: &[&str]| {
            let base = ehr.base_url();
            gateway.run(&[&["ehr", "add", "main", "--url", &base, "--client-id", "gateway", "--credentials", &credentials], more].concat()).ok();
            gateway.json(&["ehr", "show", "main"])
        };
        let of = |shown: &Value, key: &str| {
            let row = row(shown, key);
            (row["value"].as_str().unwrap().to_owned(), row["from"].as_str().unwrap().to_owned())
        };
        let pair = |value: &str, from: &str| (value.to_owned(), from.to_owned());
        let shown = add(&[]);
        assert_eq!(of(&shown, "scopes.read"), pair("system/Patient.rs system/CarePlan.rs", "preset-and-live"));
        assert_eq!(of(&shown, "scopes.write"), pair("system/Communication.crus", "preset-and-live"));
        assert_eq!(of(&shown, "scopes.desk.read"), pair("user/Appointment.rs", "preset-and-live"));
        assert_eq!(of(&shown, "scopes.desk.beside"), pair("openid fhirUser offline_access", "default"));
        assert_eq!(of(&shown, "authorize_aud"), pair(&format!("base: {}", ehr.base_url()), "default"));
        assert_eq!(of(&shown, "assertion_aud").1, "live");
        // athenahealth's published limit, halved, and the operator's word above it.
        let shown = add(&[
            "--vendor", "athena", "--at-once", "3", "--assertion-aud", "https://aud.example.org", "--aud", "no-slash", "--read-scope", "system/*.rs",
        ]);
        assert_eq!(of(&shown, "limits.requests_per_second"), pair("50", "preset"));
        assert!(row(&shown, "limits.requests_per_second")["source"].as_str().unwrap().contains("half of the published 100"), "{shown}");
        assert_eq!((of(&shown, "limits.requests_per_day"), of(&shown, "limits.at_once")), (pair("250000", "preset"), pair("3", "override")));
        assert_eq!(of(&shown, "limits.requests_per_hour"), pair("no limit", "default"));
        assert!(of(&shown, "limits.shared_by").0.ends_with("as gateway"), "{shown}");
        assert_eq!(of(&shown, "assertion_aud"), pair("https://aud.example.org", "override"));
        assert_eq!(of(&shown, "authorize_aud"), pair(&format!("no-slash: {}", ehr.base_url().trim_end_matches('/')), "override"));
        assert_eq!(of(&shown, "scopes.read"), pair("system/*.rs", "override"));
        assert_eq!(of(&shown, "CarePlan.parameter_sets"), pair("patient=…", "preset-and-live"));
    }

    async fn drift_is_told_in_words_until_somebody_takes_note(db) {
        let gateway = Installation::new(&db, "");
        let ehr = ehr(Flavour::FullR4).await;
        gateway.run(&["ehr", "add", "main", "--url", &ehr.base_url()]).ok();
        restate(&ehr, |_| {}).await;
        assert_eq!(gateway.json(&["ehr", "drift", "main"])["changes"], json!([]), "the first statement is what later ones are compared with");

        // A run of the sync sees it; nobody has to ask.
        restate(&ehr, |s| {
            resource(s, "Patient")["searchParam"].as_array_mut().unwrap().retain(|p| p["name"] != "_lastUpdated");
            resource(s, "Communication")["interaction"] = json!([{ "code": "read" }]);
            s["software"] = json!({ "name": "Upgraded", "version": "2" });
        })
        .await;
        let run = gateway.run(&["sync", "run"]);
        assert!(run.stderr.contains("ehr drift main"), "{}", run.stderr);
        let offline = gateway.run(&["ehr", "drift", "main", "--offline", "--json"]);
        assert_eq!(offline.code, Some(1), "{}", offline.stderr);
        let told = offline.json();
        let problems: Vec<&Value> = told["changes"].as_array().unwrap().iter().filter(|c| c["weight"] == "problem").collect();
        let codes: Vec<&str> = problems.iter().map(|c| c["code"].as_str().unwrap()).collect();
        assert!(codes.contains(&"reading") && codes.contains(&"write-back"), "{told}");
        for change in &problems {
            assert!(change["was"] != change["is"] && change["stops"].as_str().is_some_and(|s| s.len() > 20), "{change}");
        }
        assert!(told["changes"].as_array().unwrap().iter().any(|c| c["code"] == "software" && c["weight"] == "note"), "{told}");
        let words = gateway.run(&["ehr", "drift", "main", "--offline"]).stdout;
        assert!(words.contains("PROBLEM  Patient") && words.contains("was    cursor") && words.contains("is     full"), "{words}");

        // It went back by itself: nothing differs any more.
        restate(&ehr, |_| {}).await;
        assert_eq!(gateway.json(&["ehr", "drift", "main"])["changes"], json!([]));

        // Taken note of, it is what later ones are compared with, also by another node.
        restate(&ehr, |s| resource(s, "CarePlan")["interaction"] = json!([{ "code": "read" }])).await;
        assert_eq!(gateway.run(&["ehr", "drift", "main"]).code, Some(1));
        let taken = gateway.json(&["ehr", "drift", "main", "--acknowledge", "--by", "ada"]);
        assert_eq!(taken["acknowledged"], true);
        let after = gateway.json(&["ehr", "drift", "main"]);
        assert_eq!((&after["changes"], &after["accepted_by"]), (&json!([]), &json!("ada")));
        ehr.pretend(None);
        let more = gateway.json(&["ehr", "drift", "main"]);
        let changes = more["changes"].as_array().unwrap();
        assert!(!changes.is_empty() && changes.iter().all(|c| c["weight"] == "note"), "more is a note: {more}");
    }

    async fn a_statement_that_cannot_be_read_is_told_and_forgotten_once_it_can(db) {
        let gateway = Installation::new(&db, "");
        let ehr = ehr(Flavour::FullR4).await;
        gateway.run(&["ehr", "add", "main", "--url", &ehr.base_url()]).ok();
        gateway.json(&["ehr", "show", "main"]);
        for (statement, says) in [
            ("<html>Maintenance</html>", "not JSON"),
            (r#"{"resourceType":"OperationOutcome"}"#, "not a CapabilityStatement"),
            (r#"{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}"#, "FHIR 5.0.0"),
        ] {
            ehr.pretend(Some(statement));
            let run = gateway.run(&["sync", "run", "--json"]);
            assert_eq!(run.code, Some(1), "{}", run.stderr);
            let drift = gateway.run(&["ehr", "drift", "main", "--json"]);
            assert_eq!(drift.code, Some(1), "{}", drift.stderr);
            assert!(drift.json()["failure"].as_str().is_some_and(|f| f.contains(says)), "{}", drift.stdout);
        }
        ehr.pretend(None);
        let drift = gateway.json(&["ehr", "drift", "main"]);
        assert_eq!((&drift["failure"], &drift["changes"]), (&Value::Null, &json!([])));
    }

    async fn the_blind_spots_are_told_from_what_the_ehr_states_now(db) {
        let gateway = Installation::new(&db, "");
        let ehr = ehr(Flavour::FullR4).await;
        gateway.run(&["ehr", "add", "main", "--url", &ehr.base_url()]).ok();
        let never = gateway.run(&["ehr", "blind-spots", "main", "--offline"]);
        assert!(never.code == Some(1) && never.stderr.contains("never asked"), "{}", never.stderr);
        let state = |report: &Value, list: &str, id: &str| {
            report[list].as_array().unwrap().iter().find(|v| v["id"] == id).unwrap()["state"].as_str().unwrap().to_owned()
        };
        let report = gateway.json(&["ehr", "blind-spots", "main"]);
        assert_ne!(state(&report, "segments", "visit-unconfirmed"), "cannot");
        restate(&ehr, |s| resource(s, "Appointment")["interaction"] = json!([])).await;
        let report = gateway.json(&["ehr", "blind-spots", "main"]);
        assert_eq!(state(&report, "segments", "visit-unconfirmed"), "cannot");
        assert_eq!(state(&report, "programs", "visit-confirm"), "cannot");
        assert_ne!(state(&report, "segments", "chronic-care-plan"), "cannot");
        assert!(report["reasons"].as_array().unwrap().iter().any(|r| r["code"] == "type-not-read"), "{report}");
        // The check ends with it, and what comes as files is known again.
        let check = gateway.run(&["ehr", "check", "main", "--json"]).json();
        assert_eq!(check["blind_spots"]["segments"], report["segments"]);
        let visits = gateway.folder().join("visits.ndjson");
        std::fs::write(&visits, format!("{}\n", ehr.resources("Appointment")[0])).unwrap();
        gateway.run(&["import", "--ehr", "main", visits.to_str().unwrap()]).ok();
        std::fs::remove_file(&visits).unwrap();
        let report = gateway.json(&["ehr", "blind-spots", "main"]);
        assert_ne!(state(&report, "segments", "visit-unconfirmed"), "cannot", "{report}");
    }
}

#[test]
fn a_vendors_sheet_names_addresses_scopes_and_what_cannot_be() {
    use crate::support::{Backend, Database};
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let gateway = Installation::new(&db, "[web]\nexternal_url = \"https://engage.example.org/\"\n");
    for vendor in fhir_engage::ehr::vendor::all() {
        let sheet = gateway.json(&["ehr", "register", &vendor.name]);
        assert_eq!(sheet["jwks_url"], "https://engage.example.org/.well-known/jwks.json");
        assert!(sheet["redirect_urls"][0].as_str().unwrap().starts_with("https://engage.example.org/"), "{sheet}");
        assert_eq!(sheet["placeholder"], false);
        let text = gateway.run(&["ehr", "register", &vendor.name]).ok().stdout;
        for told in vendor.register.ask.iter().chain(&vendor.register.cannot) {
            assert!(text.contains(&told.says) && text.contains(&told.source), "{}: {}", vendor.name, told.says);
        }
        let scopes = sheet["scopes"].to_string();
        assert!(scopes.contains("system/Patient.rs"), "{}: {scopes}", vendor.name);
        for kind in &vendor.register.no_system_scope {
            assert!(!scopes.contains(&format!("system/{kind}")), "{}: {scopes}", vendor.name);
        }
    }
    let bare = Installation::new(&db, "");
    let sheet = bare.run(&["ehr", "register", "full-r4"]).ok();
    assert!(sheet.stdout.contains("https://YOUR-GATEWAY/") && sheet.stderr.contains("external_url"), "{}", sheet.stderr);
    assert_eq!(bare.run(&["ehr", "register", "no-such-vendor"]).code, Some(2));
}
