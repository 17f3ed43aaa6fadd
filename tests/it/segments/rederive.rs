//! A newer program derives more of a record: stored bodies are read anew in the background, and no EHR is asked.

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType::{self, Appointment};
use fhir_engage::store::derivations::{self, Reading};
use fhir_engage::store::leases::{self, Term};
use fhir_engage::store::{StoreError, quarantine};
use serde_json::json;

use super::setup::{NOW, World, definition};
use crate::store::fixtures::{by_an_older_program, commit, incoming, read, write};
use crate::support::{Installation, older, on_both};

/// What the program of before did not derive.
const SINCE: &str = r#","is_virtual":true"#;
const RULE: (&str, &str) = ("video", "next_appointment.virtual");

fn visit(n: usize, is_virtual: bool, version: u32) -> String {
    let mut body = json!({
        "resourceType": "Appointment", "id": format!("a{n:05}"), "meta": { "versionId": version.to_string() }, "status": "booked",
        "start": "2026-11-30T15:00:00Z",
        "participant": [{ "actor": { "reference": format!("Patient/p{n:05}") }, "status": "accepted" }],
    });
    if is_virtual {
        body["extension"] = json!([{ "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.virtualService" }]);
    }
    body.to_string()
}

/// A visit of today's program.
fn today(w: &World, n: usize, is_virtual: bool, version: u32) {
    let body = visit(n, is_virtual, version);
    let made = by_an_older_program(&w.store, Appointment, &body, "\0");
    commit(&w.store, Appointment, vec![fhir_engage::store::resources::Incoming { revision: domain::fhir::revision(Appointment), ..made }]);
}

impl World {
    /// Patients with a visit each, stored by the program of before.
    fn visited(&self, virtual_ones: &[bool]) {
        self.born(0, &vec![30; virtual_ones.len()]);
        let page = virtual_ones.iter().enumerate().map(|(n, is)| by_an_older_program(&self.store, Appointment, &visit(n, *is, 1), SINCE));
        commit(&self.store, Appointment, page.collect());
    }

    fn reading(&self) -> Reading {
        read(&self.store, derivations::readings).into_iter().find(|r| r.rtype == "Appointment").unwrap()
    }
}

on_both! {
    fn facts_of_before_are_made_anew_in_chunks_and_what_was_cut_off_goes_on(db) {
        let mut w = World::new(&db);
        w.visited(&(0..1_300).map(|n| n % 3 == 0).collect::<Vec<_>>());
        w.wants(&[RULE]);
        w.runs();
        assert_eq!(w.size("video"), (0, 0), "by the facts of before it is not known");
        let bodies = "SELECT fhir_id || ' ' || COALESCE(version, '-') || ' ' || received_at || ' ' || length(body) AS line FROM resource ORDER BY fhir_id";
        let before = db.lines(bodies);

        w.reads(1).unwrap();
        let now = domain::fhir::revision(Appointment);
        assert_eq!((w.reading().revision, w.reading().done, w.reading().total, w.reading().ended_at), (now, 500, 1_300, None));
        // Whoever has other facts now is woken, and nobody else.
        assert_eq!((w.runs().persons, w.size("video")), (167, (167, 0)));
        let lost = w.fence.clone();
        w.clock.advance(TimeDelta::minutes(2));
        w.fence = write(&w.store, |c| leases::acquire(c, "segments", "other", w.clock.now(), Term(TimeDelta::seconds(60)), |_| true)).unwrap();
        let other = World { store: w.store.clone(), clock: domain::clock::ManualClock::at(NOW), site: w.site.clone(), fence: lost };
        assert!(matches!(other.reads(9), Err(StoreError::LeaseLost { .. })));
        assert_eq!(w.reads(99).unwrap(), 800, "what had been read is not read again");
        assert_eq!((w.reading().done, w.reading().ended_at.is_some()), (1_300, true));
        assert_eq!((w.runs().persons, w.size("video")), (434 - 167, (434, 0)));
        w.is_in_order();
        assert_eq!(w.reads(9).unwrap(), 0);
        assert_eq!(db.lines(bodies), before, "only what is derived is new");
        let kept = db.lines("SELECT fhir_id AS line FROM resource WHERE rtype = 'Appointment' AND projector = 1");
        assert_eq!(kept, Vec::<String>::new());
    }

    fn an_older_node_beside_a_newer_one_takes_nothing_back(db) {
        let w = World::new(&db);
        w.visited(&[false, false, true]);
        w.wants(&[RULE]);
        w.reads(99).unwrap();
        w.runs();
        assert_eq!(w.size("video"), (1, 0));
        // It reads the same again, a change of another, and one that is new to all.
        let again = commit(&w.store, Appointment, vec![by_an_older_program(&w.store, Appointment, &visit(2, true, 1), SINCE)]);
        assert_eq!((again.unchanged.len(), again.stored.len()), (1, 0));
        for (n, version) in [(0, 2), (7, 1)] {
            commit(&w.store, Appointment, vec![by_an_older_program(&w.store, Appointment, &visit(n, true, version), SINCE)]);
        }
        w.runs();
        assert_eq!((w.size("video"), read(&w.store, |c| derivations::waiting(c, 9)).len()), ((1, 0), 2));
        assert_eq!(w.reads(99).unwrap(), 2);
        w.runs();
        assert_eq!(w.size("video"), (3, 0));
        // What today's program stores has nothing to wait for.
        today(&w, 1, true, 2);
        assert_eq!((w.reads(99).unwrap(), w.runs().changes, w.size("video")), (0, 1, (4, 0)));
        w.is_in_order();
    }

    fn definitions_that_ask_for_more_wait_until_all_was_read_anew(db) {
        let w = World::new(&db);
        w.visited(&(0..600).map(|n| n < 100).collect::<Vec<_>>());
        w.wants(&[("all", "true")]);
        w.runs();
        w.reads(1).unwrap();
        w.wants(&[("all", "true"), RULE]);
        w.runs();
        assert_eq!((w.rollout().state.as_str(), w.rollout().persons, w.size("all")), ("staging", 0, (600, 0)));
        w.reads(99).unwrap();
        w.runs();
        assert_eq!((w.rollout().state.as_str(), w.size("video")), ("done", (100, 0)));
        w.is_in_order();
    }

    fn a_body_that_is_taken_no_more_keeps_its_facts_and_is_told(db) {
        let w = World::new(&db);
        w.visited(&[true]);
        let body = r#"{"resourceType":"Appointment","id":"a00001","status":7}"#;
        let before = by_an_older_program(&w.store, Appointment, &visit(0, true, 1).replace("a00000", "a00001"), SINCE);
        let taken = incoming(&w.store, Appointment, "a00001", body, "", &["p00000"]);
        let odd = fhir_engage::store::resources::Incoming { body: taken.body, body_hash: taken.body_hash, ..before };
        commit(&w.store, Appointment, vec![odd]);
        w.wants(&[("two", "appointments.upcoming = 2"), RULE]);
        w.reads(99).unwrap();
        w.runs();
        assert_eq!((w.size("two"), w.size("video"), w.reading().ended_at.is_some()), ((1, 0), (1, 0), true));
        let aside = read(&w.store, |c| quarantine::list(c, None, 9));
        let told: Vec<_> = aside.iter().map(|a| (a.rtype.as_deref(), a.fhir_id.as_deref(), a.origin.as_str())).collect();
        assert_eq!(told, [(Some("Appointment"), Some("a00001"), "stored Appointment, read anew")]);
        assert_eq!(w.reads(9).unwrap(), 0);
    }

    fn what_own_attributes_read_stays_and_what_is_about_another_now_is_read_for_them(db) {
        let w = World::new(&db);
        w.born(0, &[30, 40]);
        // The program of before did not see the second of the two.
        let body = r#"{"resourceType":"Appointment","id":"a1","status":"booked","start":"2026-11-30T15:00:00Z","description":"x",
            "participant":[{"actor":{"reference":"Patient/p00000"}},{"actor":{"reference":"Patient/p00001"}}]}"#;
        let mut before = by_an_older_program(&w.store, Appointment, body, r#","p00001""#);
        before.patients.truncate(1);
        commit(&w.store, Appointment, vec![before]);
        let file = "id = 'note'\nmeaning = 'x'\nresource = 'Appointment'\npath = 'description'\ntype = 'text'";
        let own = domain::rules::OwnAttribute::parse(file).unwrap();
        let rules = [definition("noted", "own.note = \"x\"")];
        let library = fhir_engage::segments::Library::with_own(&rules, [], [own]).unwrap();
        write(&w.store, |c| fhir_engage::segments::Definitions::open(c, &library, w.clock.now()));
        w.reads(99).unwrap();
        w.runs();
        assert_eq!(w.size("noted"), (2, 0));
        w.is_in_order();
    }

    fn a_newer_program_is_started_on_a_store_of_before(db) {
        let site = Installation::new(&db, "");
        let write = |name: &str, lines: Vec<String>| {
            let file = site.folder().join(name);
            std::fs::write(&file, lines.join("\n") + "\n").unwrap();
            file.to_str().unwrap().to_owned()
        };
        let patients = write("Patient.ndjson", (0..5).map(|n| json!({ "resourceType": "Patient", "id": format!("p{n:05}") }).to_string()).collect());
        let visits = write("Appointment.ndjson", (0..5).map(|n| visit(n, n % 2 == 0, 1)).collect());
        std::fs::create_dir_all(site.folder().join("segments")).unwrap();
        let segment = "id = 'video'\ntitle = 'x'\nstage = 'retention'\ndescription = 'x'\nrule = 'next_appointment.virtual and next_appointment.start < 2200-01-01'\n";
        std::fs::write(site.folder().join("segments/video.toml"), segment).unwrap();
        site.run(&["ehr", "add", "files", "--files"]).ok();
        site.run(&["import", "--ehr", "files", &patients, &visits]).ok();
        let today = older::facts(&db);
        older::make_older(&db, "Appointment", SINCE);
        assert_ne!(older::facts(&db), today);
        let text = site.run(&["segments", "apply", "--no-wait"]).ok();
        assert!(text.stdout.contains("began"), "{text:?}");
        site.run(&["segments", "run"]).ok();
        assert_eq!(older::facts(&db), today);
        assert_eq!(db.lines("SELECT state AS line FROM rollout ORDER BY number DESC").first().map(String::as_str), Some("done"));
    }
}

/// Every type has a revision, and none is lower than what stores hold.
#[test]
fn every_type_has_a_revision() {
    assert!(ResourceType::ALL.into_iter().all(|kind| domain::fhir::revision(kind) >= 1));
}
