//! Operators' own attributes: files that are planned and applied as definitions are, read out of stored bodies in the background, whatever
//! happens in between.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType;
use domain::rules::OwnAttribute;
use fhir_engage::segments::change::{self, Applied};
use fhir_engage::segments::{Definitions, Library, history};
use fhir_engage::store::leases::{self, Term};
use fhir_engage::store::{StoreError, own};
use fhir_engage::sync::reproject;
use serde_json::{Value, json};

use super::setup::{NOW, World, definition};
use crate::store::fixtures::{commit, incoming, read, write};
use crate::support::{Installation, on_both};

const VETERAN: &str = "extension('http://x/veteran').valueBoolean";

fn attribute(path: &str) -> OwnAttribute {
    let file = format!("id = 'veteran'\nmeaning = 'Served.'\nresource = 'Patient'\npath = \"{path}\"\ntype = 'yes-no'");
    OwnAttribute::parse(&file).unwrap()
}

fn library(path: &str, rules: &[(&str, &str)]) -> Library {
    let all: Vec<_> = rules.iter().map(|(id, rule)| definition(id, rule)).collect();
    Library::with_own(&all, [], [attribute(path)]).unwrap()
}

impl World {
    /// Patients whose bodies tell whether they are veterans.
    fn served(&self, first: usize, veterans: &[bool]) {
        let page = veterans.iter().enumerate().map(|(at, veteran)| {
            let id = format!("p{:05}", first + at);
            let body =
                json!({ "resourceType": "Patient", "id": id, "extension": [{ "url": "http://x/veteran", "valueBoolean": veteran }] });
            incoming(&self.store, ResourceType::Patient, &id, &body.to_string(), "{}", &[&id])
        });
        commit(&self.store, ResourceType::Patient, page.collect());
    }

    fn wants_library(&self, library: &Library) -> Applied {
        write(&self.store, |c| change::apply(c, library, self.clock.now()))
    }

    /// Reads own attributes until nothing is left, or until so many chunks.
    pub fn reads(&self, chunks: usize) -> Result<u64, StoreError> {
        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        reproject::run(&self.store, &self.clock, (&self.fence, Term(TimeDelta::seconds(60))), &stop, &|_| {
            if done.fetch_add(1, Ordering::Relaxed) + 1 >= chunks {
                stop.store(true, Ordering::Relaxed);
            }
        })
    }
}

on_both! {
    fn a_new_attribute_is_read_in_chunks_and_what_was_cut_off_goes_on(db) {
        let mut w = World::new(&db);
        let veterans: Vec<bool> = (0..1_300).map(|n| n % 3 == 0).collect();
        w.served(0, &veterans);
        w.wants(&[("all", "true")]);
        w.runs();
        w.wants_library(&library(VETERAN, &[("all", "true"), ("veterans", "own.veteran")]));
        w.reads(1).unwrap();
        let reading = |w: &World| read(&w.store, own::readings).remove(0);
        assert_eq!((reading(&w).done, reading(&w).total, reading(&w).ended_at), (500, 1_300, None));
        // Nobody is asked before all was read, and the segments in force answer.
        w.runs();
        assert_eq!((w.rollout().state.as_str(), w.rollout().persons, w.size("all")), ("staging", 0, (1_300, 0)));
        // Whoever lost the lease writes nothing.
        let lost = w.fence.clone();
        w.clock.advance(TimeDelta::minutes(2));
        w.fence = write(&w.store, |c| leases::acquire(c, "segments", "other", w.clock.now(), Term(TimeDelta::seconds(60)), |_| true)).unwrap();
        let other = World { store: w.store.clone(), clock: domain::clock::ManualClock::at(NOW), site: w.site.clone(), fence: lost };
        assert!(matches!(other.reads(9), Err(StoreError::LeaseLost { .. })));
        assert_eq!(w.reads(99).unwrap(), 800, "what had been read is not read again");
        assert_eq!((reading(&w).done, reading(&w).ended_at.is_some()), (1_300, true));
        w.runs();
        assert_eq!((w.rollout().state.as_str(), w.size("veterans")), ("done", (434, 0)));
        w.is_in_order();
        assert_eq!(w.reads(9).unwrap(), 0);
    }

    fn nobody_is_judged_by_a_record_that_was_not_read(db) {
        let w = World::new(&db);
        w.served(0, &[true, true, false]);
        w.wants(&[("all", "true")]);
        w.wants_library(&library(VETERAN, &[("veterans", "held: own.veteran"), ("others", "not own.veteran")]));
        w.reads(99).unwrap();
        w.runs();
        assert_eq!((w.size("veterans"), w.size("others")), ((2, 0), (1, 0)));
        // Changes come in: two say the same in another body, one something else, one is new.
        w.born(0, &[70]);
        w.served(0, &[true]);
        w.served(1, &[false]);
        w.served(3, &[true]);
        assert_eq!(w.runs().changes, 0, "they wait for what is read of them");
        assert_eq!(w.size("veterans"), (2, 0));
        w.reads(99).unwrap();
        w.runs();
        assert_eq!((w.size("veterans"), w.size("others")), ((2, 0), (2, 0)));
        w.is_in_order();
        let events = |id: &str| read(&w.store, |c| history::of_patient(c, ("north", id), Some("veterans"))).unwrap();
        let after = |id: &str| events(id).iter().map(|e| e.after.clone()).collect::<Vec<_>>();
        assert_eq!((after("p00000"), after("p00001"), after("p00003")), (vec!["in".to_owned()], vec!["in".into(), "out".into()], vec!["in".into()]));
        assert_eq!(events("p00001")[1].reasons.expose()[0]["value"], "no");
    }

    fn one_that_is_changed_answers_as_before_until_all_is_read_anew(db) {
        let mut w = World::new(&db);
        w.served(0, &[true, false]);
        w.wants(&[("all", "true")]);
        w.wants_library(&library(VETERAN, &[("veterans", "own.veteran")]));
        w.reads(99).unwrap();
        w.runs();
        let live = read(&w.store, Definitions::load);
        assert_eq!(live.library().own().names().collect::<Vec<_>>(), ["own.veteran"]);
        w.wants_library(&library("extension('http://x/other').valueBoolean", &[("veterans", "own.veteran")]));
        w.runs();
        assert_eq!(w.size("veterans"), (1, 0), "the one before answers");
        assert_eq!(read(&w.store, own::readings).len(), 1);
        w.reads(99).unwrap();
        w.runs();
        assert_eq!((w.rollout().state.as_str(), w.size("veterans")), ("done", (0, 0)));
        assert_eq!(read(&w.store, fhir_engage::store::memberships::counted)[0].unknown, 2);
        w.is_in_order();
        // Back, and then without any: nothing is left to read, and nothing is left behind.
        write(&w.store, |c| change::roll_back(c, None, w.clock.now()));
        w.reads(99).unwrap();
        w.runs();
        assert_eq!(w.size("veterans"), (1, 0));
        w.clock.advance(TimeDelta::minutes(2));
        w.fence = take_lease_again(&w);
        w.wants(&[("all", "true")]);
        w.runs();
        w.reads(99).unwrap();
        assert!(read(&w.store, own::readings).is_empty());
        w.served(5, &[true]);
        assert!(read(&w.store, |c| own::waiting(c, 9)).is_empty());
        w.runs();
        w.is_in_order();
    }

    fn an_operator_adds_an_attribute_by_a_file(db) {
        let site = Installation::new(&db, "");
        let folder = site.folder().to_owned();
        let patient = |id: &str, score: Value| json!({ "resourceType": "Patient", "id": id, "multipleBirthInteger": score });
        let phq = |id: &str, of: &str, score: i64, day: &str| {
            json!({ "resourceType": "Observation", "id": id, "status": "final", "subject": { "reference": format!("Patient/{of}") },
                "code": { "coding": [{ "system": "http://loinc.org", "code": "44249-1" }] }, "effectiveDateTime": day, "valueInteger": score })
        };
        let write = |name: &str, all: &[Value]| {
            let file = folder.join(name);
            std::fs::write(&file, all.iter().map(|r| r.to_string() + "\n").collect::<String>()).unwrap();
            file.to_str().unwrap().to_owned()
        };
        site.run(&["ehr", "add", "files", "--files", "--types", "Observation"]).ok();
        let patients = write("Patient.ndjson", &[patient("p0", json!(1)), patient("p1", json!(2)), patient("p2", Value::Null)]);
        let scores = [phq("o0", "p0", 12, "2026-01-01"), phq("o1", "p0", 4, "2026-02-01"), phq("o2", "p1", 15, "2026-02-01")];
        let scores = write("Observation.ndjson", &scores);
        site.run(&["import", "--ehr", "files", &patients, &scores]).ok();
        site.run(&["segments", "run"]).ok();

        std::fs::create_dir_all(folder.join("attributes")).unwrap();
        std::fs::create_dir_all(folder.join("segments")).unwrap();
        let attribute = folder.join("attributes/phq9.toml");
        let text = "id = 'phq9'\nmeaning = 'The last PHQ-9 total.'\nresource = 'Observation'\nunit = 'points'\ndate = 'effectiveDateTime'\n\
                    path = \"where(code.coding.code = '44249-1').valueInteger\"\ntype = 'whole-number'\n";
        std::fs::write(&attribute, text.replace("whole-number", "number")).unwrap();
        let segment = "id = 'low-mood'\ntitle = 'Low mood'\nstage = 'treatment'\ndescription = 'x'\nunknown = 'held'\nrule = 'own.phq9 >= 10'\n";
        std::fs::write(folder.join("segments/low-mood.toml"), segment).unwrap();
        let refused = site.run(&["segments", "apply"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("phq9.toml: `type` is one of yes-no, whole-number"), "{refused:?}");

        std::fs::write(&attribute, text).unwrap();
        let shown = site.run(&["segments", "attributes", "own.phq9"]).ok().stdout;
        assert!(shown.contains("a whole number, in points") && shown.contains("valueInteger"), "{shown}");
        let plan = site.json(&["segments", "plan"]);
        assert_eq!(plan["attributes"], json!({ "phq9": "new" }));
        assert_eq!((&plan["segments"][0]["entering"], &plan["segments"][0]["holds"]), (&json!(1), &json!(1)), "read on trial: {plan}");
        assert!(plan["segments"][0]["examples_entering"][0]["because"][0].as_str().unwrap().contains("own.phq9 is 15 points"), "{plan}");
        site.run(&["segments", "apply"]).ok();
        assert_eq!(site.members("low-mood"), ["files/p1"]);
        let told = site.json(&["segments", "explain", "--patient", "files/p1", "--segment", "low-mood"]);
        let source = &told["segments"][0]["reasons"][0]["sources"][0];
        assert_eq!((&source["resource_type"], &source["id"]), (&json!("Observation"), &json!("o2")));

        // A later score comes with a later file, and takes effect with the next round.
        let later = write("later.ndjson", &[phq("o3", "p1", 3, "2026-03-01"), phq("o4", "p0", 20, "2026-03-01")]);
        site.run(&["import", "--ehr", "files", &later]).ok();
        site.run(&["segments", "run"]).ok();
        assert_eq!(site.members("low-mood"), ["files/p0"]);
        let listed = site.json(&["segments", "list"]);
        let row = listed.as_array().unwrap().iter().find(|s| s["id"] == "low-mood").unwrap();
        let counts = ["members", "holds", "does_not_hold", "unknown"].map(|key| row[key].as_i64().unwrap());
        assert_eq!(counts, [1, 1, 2, 0], "{row}");
        let names = site.json(&["segments", "history"]);
        assert!(names[0]["versions"].to_string().contains("attribute phq9 1"), "{names}");
    }
}

fn take_lease_again(w: &World) -> leases::Fence {
    let again = |c: &mut _| leases::acquire(c, "segments", "worker", w.clock.now(), Term(TimeDelta::seconds(60)), |_| true);
    write(&w.store, again).unwrap()
}
