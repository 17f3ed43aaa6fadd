//! The whole way against an EHR that others wrote: strict about who asks, and its own workflows change its charts. Everything is done
//! with the built binary, as an engineer of a hospital would, and what it left is looked for with the EHR's own search.

use serde_json::{Value, json};

use crate::support::{Backend, Database, Installation, Sekmet, keep_for_validation, on_both};

/// No quiet hours and no daily limit: the test runs at any hour, and one patient goes through several programs.
const CONFIG: &str = r#"
[outreach]
channels = ["recorded"]
per_day = 24
per_week = 100
[outreach.quiet_hours]
start = "00:00"
end = "00:00"
"#;

const SYSTEM: &str = "urn:fhir-engage:attempt";

struct World {
    ehr: Sekmet,
    gateway: Installation,
}

impl World {
    /// SEKMET with 25 patients and free slots for three days, and a gateway that is one of its clients.
    fn new(db: &Database) -> Option<Self> {
        let gateway = Installation::new(db, CONFIG);
        let ehr = Sekmet::start(&gateway.run(&["keys", "jwks", "--alg", "ES384"]).ok().json())?;
        ehr.seed(25);
        ehr.open_schedule(3);
        gateway.run(&["ehr", "add", "ward", "--url", &ehr.base_url(), "--client-id", "gateway", "--key-alg", "ES384"]).ok();
        Some(Self { ehr, gateway })
    }

    /// A grown-up who can be written to. No address: the hours of the site hold.
    fn patient(&self, given: &str) -> String {
        self.ehr.create(&json!({
            "resourceType": "Patient", "active": true, "birthDate": "1980-05-01", "gender": "female",
            "name": [{ "use": "official", "family": "Probe", "given": [given] }],
            "telecom": [{ "system": "email", "value": format!("{}@example.org", given.to_ascii_lowercase()) }],
            "communication": [{ "language": { "coding": [{ "system": "urn:ietf:bcp:47", "code": "en" }] }, "preferred": true }],
        }))
    }

    /// A free slot from 36 to 71 hours ahead: within the 72 hours of the segment, and far enough for the second message to be pending.
    #[expect(clippy::disallowed_methods, reason = "the real EHR goes by the real clock")]
    fn slot(&self) -> String {
        let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        let ahead = |slot: &Value| {
            let start: chrono::DateTime<chrono::Utc> = slot["start"].as_str().unwrap().parse().unwrap();
            (start - now).num_hours()
        };
        let free = self.ehr.search("Slot", "status=free&_count=100");
        let slot = free.iter().find(|s| (36..71).contains(&ahead(s))).expect("a free slot in two days");
        slot["id"].as_str().unwrap().to_owned()
    }

    /// Books by SEKMET's workflow, which takes the patient's acceptance for given, and takes that back.
    fn book_unconfirmed(&self, patient: &str) -> String {
        let made = self.ehr.workflow("scheduling.book", &[("patient", patient), ("slot", &self.slot())]);
        let mut booked = made["appointment"].clone();
        booked["participant"][0]["status"] = json!("needs-action");
        self.ehr.update(&booked);
        booked["id"].as_str().unwrap().to_owned()
    }

    fn communications(&self) -> Vec<Value> {
        self.ehr.search("Communication", "_count=50")
    }
}

fn known(patient: &str) -> String {
    format!("ward/{patient}")
}

fn states(attempts: &[(String, String, Value)]) -> Vec<(&str, &str)> {
    attempts.iter().map(|(step, state, _)| (step.as_str(), state.as_str())).collect()
}

on_both! {
    fn the_main_job(db) {
        let Some(w) = World::new(&db) else { return };
        let [ada, bea, cleo, dora] = ["Ada", "Bea", "Cleo", "Dora"].map(|name| w.patient(name));
        let of_ada = w.book_unconfirmed(&ada);
        let of_bea = w.book_unconfirmed(&bea);
        let of_cleo = w.book_unconfirmed(&cleo);
        w.ehr.book(&dora);
        w.ehr.create(&json!({
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": { "reference": format!("Patient/{dora}") },
            "period": { "start": "2026-01-01" }, "title": "Diabetes",
            "activity": [{ "detail": { "status": "scheduled", "scheduledPeriod": { "start": "2026-02-01", "end": "2026-02-20" } } }],
        }));

        // The connection is sound, and the first round goes the whole way.
        let check = w.gateway.json(&["ehr", "check", "ward"]);
        assert_eq!(check["ok"], true, "{check}");
        // But for what stands on types that nobody asked for.
        let mut cannot: Vec<&str> = check["blind_spots"]["segments"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|v| v["state"] == "cannot")
            .map(|v| v["id"].as_str().unwrap())
            .collect();
        cannot.sort_unstable();
        let on_other_types = [
            "colorectal-screening-due",
            "diabetes",
            "high-risk",
            "in-hospital",
            "influenza-vaccine-due",
            "new-chronic-diagnosis",
            "post-discharge",
            "public-payer",
        ];
        assert_eq!(cannot, on_other_types, "{check}");
        let shown = w.gateway.json(&["ehr", "show", "ward"]);
        let value = |key: &str| {
            let row = shown["values"].as_array().unwrap().iter().find(|r| r["key"] == key).unwrap_or_else(|| panic!("{key}: {shown}"));
            (row["value"].as_str().unwrap().to_owned(), row["from"].as_str().unwrap().to_owned())
        };
        assert_eq!(value("Appointment.strategy").1, "preset-and-live");
        assert_eq!(value("fhir_version"), ("4.0.1".to_owned(), "live".to_owned()));
        assert!(value("token_endpoint").0.starts_with("http://127.0.0.1"), "{shown}");
        assert_eq!(w.gateway.json(&["ehr", "drift", "ward"])["changes"], json!([]), "it states the same each time");
        let first = w.gateway.cycle();
        let counts: Vec<i64> = first["sync"].as_array().unwrap().iter().map(|s| s["stored"].as_i64().unwrap()).collect();
        assert_eq!(counts, [29, 4, 1], "Patient, Appointment, CarePlan: {first}");
        assert_eq!(w.ehr.patients().len(), 29);
        assert_eq!(w.gateway.members("visit-unconfirmed"), sorted([&ada, &bea, &cleo]));
        assert_eq!(w.gateway.members("chronic-care-plan"), [known(&dora)]);
        assert_eq!(w.gateway.members("care-plan-activity-due"), [known(&dora)]);
        for patient in [&ada, &bea, &cleo] {
            let attempts = w.gateway.attempts("visit-confirm", &known(patient));
            assert_eq!(states(&attempts), [("day-before", "planned"), ("three-days", "finished")], "{attempts:?}");
        }
        // Why: from the source's field on.
        let why = w.gateway.json(&["segments", "explain", "--patient", &known(&ada), "--segment", "visit-unconfirmed"]).to_string();
        assert!(why.contains(&of_ada) && why.contains("participant.status"), "{why}");

        // What was written is found by the EHR's own search, once for each attempt that was finished.
        let written = w.gateway.json(&["writeback", "list", "--limit", "1000"]);
        let written = written.as_array().unwrap();
        assert!(!written.is_empty() && written.iter().all(|row| row["state"] == "written"), "{written:?}");
        for row in written {
            let attempt = row["attempt"].as_str().unwrap();
            let found = w.ehr.search("Communication", &format!("identifier={SYSTEM}%7C{attempt}"));
            assert_eq!(found.len(), 1, "{row}");
            assert_eq!(row["remote"].as_str().unwrap(), format!("Communication/{}", found[0]["id"].as_str().unwrap()));
            assert_eq!((&found[0]["status"], &found[0]["meta"]["versionId"]), (&json!("completed"), &json!("1")), "{}", found[0]);
        }
        let of_patient = w.ehr.search("Communication", &format!("subject=Patient/{ada}"));
        assert!(of_patient.iter().any(|c| c.to_string().contains(&of_ada)), "the visit it is about is told: {of_patient:?}");
        assert_eq!(w.communications().len(), written.len());
        keep_for_validation(&format!("sekmet-{:?}", db.backend()), &w.communications());

        // A second round adds nothing.
        let second = w.gateway.cycle();
        assert_eq!((&second["outreach"]["sent"], &second["outreach"]["planned"]), (&json!(0), &json!(0)), "{second}");
        assert_eq!(w.communications().len(), written.len());

        // The EHR's own workflows: cancelled, rescheduled, and come and gone.
        w.ehr.cancel(&of_ada);
        w.ehr.workflow("scheduling.reschedule", &[("appointment", &of_bea), ("slot", &w.slot())]);
        w.ehr.workflow("scheduling.check_in", &[("appointment", &of_cleo)]);
        w.gateway.cycle();
        assert_eq!(w.gateway.members("visit-unconfirmed"), Vec::<String>::new(), "cancelled, accepted anew, arrived");
        for patient in [&ada, &bea, &cleo] {
            let attempts = w.gateway.attempts("visit-confirm", &known(patient));
            assert_eq!(states(&attempts), [("day-before", "void"), ("three-days", "finished")], "{attempts:?}");
        }
        assert!(w.gateway.members("visit-follow-up").is_empty());
        w.ehr.workflow("scheduling.complete", &[("appointment", &of_cleo)]);
        w.gateway.cycle();
        assert_eq!(w.gateway.members("visit-follow-up"), [known(&cleo)], "finished ahead of its booked time, and over all the same");
        assert_eq!(states(&w.gateway.attempts("visit-after", &known(&cleo))), [("read", "finished")]);
        let written = w.gateway.json(&["writeback", "list", "--limit", "1000"]);
        assert_eq!(w.communications().len(), written.as_array().unwrap().len());
    }

    fn a_merge_by_its_own_workflow_makes_one_person_of_two_records(db) {
        let Some(w) = World::new(&db) else { return };
        let [old, new] = ["Olga", "Nora"].map(|name| w.patient(name));
        let visit = w.book_unconfirmed(&old);
        w.gateway.cycle();
        let of_old = |w: &World| {
            let attempts = w.gateway.attempts("visit-confirm", &known(&old));
            attempts.iter().map(|(step, state, _)| (step.clone(), state.clone())).collect::<Vec<_>>()
        };
        let before = of_old(&w);
        assert_eq!(before, [("day-before".to_owned(), "planned".to_owned()), ("three-days".to_owned(), "finished".to_owned())]);
        let said = w.communications().len();
        let together = || {
            let all = db.lines("SELECT a.fhir_id || ' ' || a.state || ' is ' || b.fhir_id AS line FROM patient a JOIN patient b ON b.person = a.person");
            (all.contains(&format!("{old} merged is {new}")), all.contains(&format!("{new} live is {old}")))
        };
        assert_eq!(together(), (false, false));
        w.ehr.merge(&old, &new);
        w.gateway.cycle();
        assert_eq!(together(), (true, true), "the retired record and its survivor are one person");
        // The visit still names the old id: it is the survivor's now, and where the message was is known.
        let shown = w.gateway.json(&["segments", "show", "visit-unconfirmed"])["in"].clone();
        let mut records: Vec<&str> = shown[0].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
        records.sort_unstable();
        assert_eq!((shown.as_array().unwrap().len(), records), (1, sorted([&old, &new]).iter().map(String::as_str).collect()), "one member, by both records");
        assert_eq!(w.communications().len(), said, "nothing is said anew");
        let why = w.gateway.json(&["segments", "explain", "--patient", &known(&new), "--segment", "visit-unconfirmed"]).to_string();
        assert!(why.contains(&visit), "{why}");
        // SEKMET knows no un-merge: its staff takes the links back.
        for (id, active) in [(&old, true), (&new, true)] {
            let mut patient = w.ehr.search("Patient", &format!("_id={id}")).remove(0);
            patient.as_object_mut().unwrap().remove("link");
            patient["active"] = json!(active);
            w.ehr.update(&patient);
        }
        w.gateway.cycle();
        assert_eq!((together(), w.communications().len()), ((false, false), said), "each is its own again");
        assert_eq!(w.gateway.members("visit-unconfirmed"), [known(&old)]);
        assert_eq!(of_old(&w), before);
    }

    fn an_ehr_that_goes_away_and_comes_back_costs_nothing(db) {
        let Some(mut w) = World::new(&db) else { return };
        let ada = w.patient("Ada");
        w.book_unconfirmed(&ada);
        w.gateway.run(&["sync", "run"]).ok();
        w.gateway.run(&["segments", "run"]).ok();
        w.gateway.run(&["outreach", "run"]).ok();
        w.ehr.pause();
        let down = w.gateway.run(&["work", "--once", "--json"]);
        assert_eq!(down.code, Some(1), "{}", down.stderr);
        assert!(down.stdout.contains("the connection was refused"), "{}", down.stdout);
        let open = w.gateway.json(&["writeback", "list"]);
        assert!(open.as_array().is_some_and(|rows| !rows.is_empty() && rows.iter().all(|r| r["state"] == "owed")), "{open}");
        w.ehr.resume();
        w.gateway.cycle();
        assert_eq!(w.communications().len(), open.as_array().unwrap().len());
    }
}

fn sorted<const N: usize>(patients: [&String; N]) -> Vec<String> {
    let mut all: Vec<String> = patients.into_iter().map(|p| known(p)).collect();
    all.sort();
    all
}

/// The strict EHR, and all the ways to be turned away: each told in one sentence with what to do.
#[test]
fn each_way_of_being_refused_is_told_apart() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let gateway = Installation::new(&db, "");
    let keys = gateway.run(&["keys", "jwks", "--alg", "ES384"]).ok().json();
    let elsewhere = Database::fresh(Backend::Sqlite).unwrap();
    let not_ours = Installation::new(&elsewhere, "").run(&["keys", "jwks", "--alg", "ES384"]).ok().json();
    let clients = [
        ("gateway", &keys, "system/*.cruds"),
        ("stolen", &not_ours, "system/*.cruds"),
        ("reader", &keys, "system/Patient.r"),
        ("some", &keys, "system/Patient.rs system/Appointment.rs"),
    ];
    let Some(mut ehr) = Sekmet::with_clients(&clients) else { return };
    let root = ehr.base_url().replace("/fhir", "");
    let html = format!("{root}/ui");
    let check = |url: &str, client: &str, more: &[&str]| {
        gateway.run(&[&["ehr", "add", "it", "--url", url, "--client-id", client, "--key-alg", "ES384"], more].concat()).ok();
        let ended = gateway.run(&["ehr", "check", "it", "--json"]);
        let found = ended.json();
        let problems: Vec<(String, String)> = found["steps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["verdict"] == "problem")
            .map(|s| {
                (s["name"].as_str().unwrap().to_owned(), format!("{} / {}", s["says"].as_str().unwrap(), s["remedy"].as_str().unwrap()))
            })
            .collect();
        assert_eq!(ended.code, Some(i32::from(!problems.is_empty())), "{found}");
        problems
    };
    let base = ehr.base_url();
    assert_eq!(ehr.request("GET", "/fhir/Patient", None, None).status, 401, "it is strict");
    assert_eq!(check(&base, "gateway", &[]), []);
    for (url, client, more, step, says) in [
        (base.as_str(), "stolen", &[][..], "token", "does not accept this gateway's signing key"),
        (&base, "nobody", &[], "token", "does not know this client id"),
        (&base, "reader", &[], "token", "none of the scopes asked for"),
        (&base, "reader", &["--scope", "system/Patient.r"], "scopes", "not granted: system/Patient.s"),
        (&base, "some", &[], "scopes", "not granted: system/CarePlan.rs"),
        (&root, "gateway", &[], "fhir", "not that of a FHIR R4 server"),
        (&html, "gateway", &[], "fhir", "not that of a FHIR R4 server"),
        ("http://127.0.0.1:9/fhir", "gateway", &[], "reach", "the connection was refused"),
    ] {
        let problems = check(url, client, more);
        let (found, what) = problems.first().unwrap_or_else(|| panic!("{url} {client}: no problem found"));
        assert_eq!(found, step, "{url} {client}: {problems:?}");
        assert!(what.contains(says), "{url} {client}: {problems:?}");
    }
    // Ten minutes off, either way.
    for (minutes, says) in [(-10_i64, "10 minutes behind"), (10, "10 minutes ahead of")] {
        db.execute("DELETE FROM installation WHERE name = 'clock-offset'");
        db.execute(&format!("INSERT INTO installation (name, value) VALUES ('clock-offset', '{}')", minutes * 60_000_000));
        let problems = check(&base, "gateway", &[]);
        assert!(problems.first().is_some_and(|(step, what)| step == "clock" && what.contains(says)), "{problems:?}");
        assert!(problems.iter().all(|(_, what)| what.contains(says)), "{problems:?}");
    }
    db.execute("DELETE FROM installation WHERE name = 'clock-offset'");
    ehr.pause();
    let down = check(&base, "gateway", &[]);
    assert!(down[0].1.contains("the connection was refused"), "{down:?}");
}
