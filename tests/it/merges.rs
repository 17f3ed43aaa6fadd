//! Merges, un-merges and deletes as patients live through them: from the EHR, by every stage, to the EHR.

use chrono::TimeDelta;
use domain::model::{EhrId, ResourceType};
use fhir_engage::store::{people, preferences, resources};
use sandbox::MergeManner;
use serde_json::json;

use crate::journeys::{DAY, EHR, Journey, MINUTE, admit_to, connect};
use crate::support::on_both;

/// The records of a patient's person, with their states.
async fn records(j: &Journey, id: &str) -> Vec<String> {
    let id = id.to_owned();
    let read = move |conn: &mut _| {
        let record = people::record(conn, EHR, &id)?.unwrap();
        people::records(conn, record.person)
    };
    let all = j.app.store.read(read).await.unwrap();
    let mut all: Vec<String> = all.iter().map(|r| format!("{} {}", r.name(), r.state)).collect();
    all.sort();
    all
}

async fn opt_out(j: &Journey, id: &str) {
    let (id, now) = (id.to_owned(), domain::Clock::now(&*j.clock));
    let write = move |conn: &mut _| {
        let person = people::record(conn, EHR, &id)?.unwrap().person;
        preferences::record(conn, person, "all", "", false, "staff", now)
    };
    j.app.store.write("test", write).await.unwrap();
}

/// What waits of the person of a patient.
async fn waits(j: &Journey, id: &str) -> Vec<String> {
    [j.in_state(id, "planned").await, j.in_state(id, "held").await].concat()
}

on_both! {
    async fn a_visit_of_the_retired_record_is_the_survivors_and_goes_back_with_it(db) {
        let j = Journey::begin(db).await;
        j.admit("old");
        j.book("visit", "old", TimeDelta::hours(60));
        j.goes_on(MINUTE).await;
        assert_eq!(waits(&j, "old").await, ["visit-confirm/day-before", "welcome/form"]);
        assert_eq!((j.in_state("old", "finished").await, j.in_chart("old")), (vec!["visit-confirm/three-days".to_owned()], 1));
        j.admit("new");
        j.goes_on(MINUTE).await;
        j.ehr.merge("old", "new", MergeManner::Linked).unwrap();
        j.goes_on(MINUTE).await;
        assert_eq!(records(&j, "new").await, ["north/new live", "north/old merged"]);
        assert_eq!(waits(&j, "new").await, ["visit-confirm/day-before", "welcome/form"], "where the old record was, and not begun anew");
        j.goes_on(DAY).await;
        assert_eq!(j.in_state("new", "finished").await, ["visit-confirm/three-days", "welcome/form"]);
        // The EHR moved the first message with the rest of the chart; the second was written to the survivor.
        assert_eq!((j.in_chart("old"), j.in_chart("new")), (0, 2));
        // The un-merge: what is still to come is the old record's again, and nothing is said anew.
        j.ehr.unmerge("old").unwrap();
        j.goes_on(MINUTE).await;
        assert_eq!((records(&j, "old").await, records(&j, "new").await), (vec!["north/old live".to_owned()], vec!["north/new live".to_owned()]));
        assert_eq!(waits(&j, "old").await, ["visit-confirm/day-before"]);
        assert_eq!(waits(&j, "new").await, Vec::<String>::new());
        for _ in 0..4 {
            j.goes_on(DAY).await;
        }
        let said: Vec<String> = [j.attempts("old").await, j.attempts("new").await].concat().into_iter().filter(|a| a.state == "finished").map(|a| format!("{}/{}", a.program, a.step)).collect();
        assert_eq!(said.iter().filter(|s| *s == "visit-confirm/day-before").count(), 1, "{said:?}");
        assert_eq!(said.iter().filter(|s| *s == "visit-confirm/three-days").count(), 1, "{said:?}");
        assert_eq!(said.iter().filter(|s| *s == "welcome/form").count(), 1, "{said:?}");
    }

    async fn a_refusal_of_the_retired_record_holds_for_the_survivor_and_for_both_after_they_part(db) {
        let j = Journey::begin(db).await;
        for id in ["old", "new"] {
            j.admit(id);
        }
        j.goes_on(MINUTE).await;
        opt_out(&j, "old").await;
        j.ehr.merge("old", "new", MergeManner::Hidden).unwrap();
        j.book("visit", "new", TimeDelta::hours(48));
        j.goes_on(MINUTE).await;
        assert_eq!(records(&j, "new").await, ["north/new live", "north/old merged"]);
        let refused: Vec<_> = j.attempts("new").await.into_iter().filter(|a| a.state == "refused").collect();
        assert!(!refused.is_empty() && refused.iter().all(|a| a.failure.as_deref().is_some_and(|f| f.contains("opted-out"))), "{refused:#?}");
        opt_out(&j, "new").await;
        j.ehr.unmerge("old").unwrap();
        j.goes_on(MINUTE).await;
        let of = |id: &'static str| async move { id };
        for id in [of("old").await, of("new").await] {
            let read = move |conn: &mut _| {
                let person = people::record(conn, EHR, id)?.unwrap().person;
                preferences::of(conn, person)
            };
            let said = j.app.store.read(read).await.unwrap();
            assert!(said.iter().all(|p| !p.allowed) && !said.is_empty(), "{id}: {said:?}");
        }
        assert_eq!((j.in_chart("old"), j.in_chart("new")), (0, 0));
    }

    async fn what_is_owed_to_a_retired_record_is_written_to_its_survivor(db) {
        let j = Journey::begin(db).await;
        for id in ["old", "new"] {
            j.admit(id);
        }
        j.book("visit", "old", TimeDelta::hours(48));
        // The message goes, and the EHR cannot be written to before the merge.
        j.ehr.plant(sandbox::Fault::new(sandbox::FaultKind::ServerError { status: 503 }).on("POST", "/fhir/Communication").times(50));
        j.tries_to(MINUTE).await;
        assert_eq!(j.in_state("old", "finished").await, ["visit-confirm/three-days"]);
        assert_eq!(j.ehr.count("Communication"), 0);
        j.ehr.merge("old", "new", MergeManner::Linked).unwrap();
        j.ehr.clear_faults();
        for _ in 0..3 {
            j.tries_to(TimeDelta::hours(1)).await;
        }
        assert_eq!((j.in_chart("old"), j.in_chart("new")), (0, 1));
    }

    async fn nobody_is_written_to_whose_records_go_in_a_circle_until_the_ehr_is_right(db) {
        let j = Journey::begin(db).await;
        for id in ["one", "two"] {
            j.admit(id);
        }
        j.book("visit", "one", TimeDelta::hours(60));
        j.goes_on(MINUTE).await;
        let before = j.ehr.count("Communication");
        assert_eq!(waits(&j, "one").await.len(), 2);
        for (id, other) in [("one", "two"), ("two", "one")] {
            j.ehr.edit("Patient", id, |p| p["link"] = json!([{ "other": { "reference": format!("Patient/{other}") }, "type": "replaced-by" }])).unwrap();
        }
        j.goes_on(TimeDelta::hours(30)).await;
        assert_eq!((waits(&j, "one").await, j.ehr.count("Communication")), (vec![], before));
        for id in ["one", "two"] {
            j.ehr.edit("Patient", id, |p| { p.as_object_mut().unwrap().remove("link"); }).unwrap();
        }
        j.goes_on(MINUTE).await;
        assert_eq!(j.ehr.count("Communication"), before + 1, "what was given up comes back");
    }

    async fn a_deleted_patient_is_not_written_to_and_comes_back(db) {
        let j = Journey::begin(db).await;
        j.admit("ada");
        j.book("visit", "ada", TimeDelta::hours(60));
        j.goes_on(MINUTE).await;
        assert_eq!(waits(&j, "ada").await.len(), 2);
        // Somebody who is changed later, so that the next run does not see her again.
        j.clock.advance(TimeDelta::hours(1));
        j.admit("bea");
        j.goes_on(MINUTE).await;
        let (ehr, now) = (EhrId::parse(EHR).unwrap(), domain::Clock::now(&*j.clock));
        let mark = move |conn: &mut _| fhir_engage::store::gone::mark(conn, &ehr, ResourceType::Patient, &["ada"], "410", now);
        j.app.store.write("test", mark).await.unwrap();
        let before = j.ehr.count("Communication");
        j.goes_on(TimeDelta::hours(30)).await;
        assert_eq!((waits(&j, "ada").await, j.ehr.count("Communication")), (vec![], before));
        j.ehr.edit("Patient", "ada", |p| p["gender"] = json!("other")).unwrap();
        j.goes_on(MINUTE).await;
        assert_eq!(records(&j, "ada").await, ["north/ada live"]);
        assert_eq!(j.ehr.count("Communication"), before + 1);
    }

    async fn one_person_at_two_ehrs_has_the_caps_of_one_and_each_visit_is_told_to_its_own(db) {
        let j = Journey::begin(db).await;
        let south = connect(&j.app, &j.clock, "south").await;
        j.admit("ada");
        admit_to(&south, "sue");
        j.goes_on(MINUTE).await;
        let pair = |conn: &mut _| Ok((people::record(conn, EHR, "ada")?.unwrap().pk, people::record(conn, "south", "sue")?.unwrap().pk));
        let (pair, now) = (j.app.store.read(pair).await.unwrap(), domain::Clock::now(&*j.clock));
        let word = move |conn: &mut _| fhir_engage::store::words::say(conn, pair, fhir_engage::store::words::Word::Same, "kim", "passport", now);
        j.app.store.write("test", word).await.unwrap();
        j.book("here", "ada", TimeDelta::hours(48));
        j.book_at(&south, "there", "sue", TimeDelta::hours(60));
        j.goes_on(MINUTE).await;
        assert_eq!(records(&j, "ada").await, ["north/ada live", "south/sue live"]);
        assert_eq!((j.ehr.count("Communication"), south.count("Communication")), (1, 0), "one message a day");
        for _ in 0..4 {
            j.goes_on(DAY).await;
        }
        let about: Vec<_> = j.attempts("ada").await.into_iter().filter(|a| a.state == "finished" && a.program == "visit-confirm").collect();
        for a in &about {
            let record = a.patient;
            let ehr = j.app.store.read(move |conn| people::ehr_of(conn, record)).await.unwrap();
            let wanted = if a.about.as_deref() == Some("Appointment/there") { "south" } else { "north" };
            assert_eq!(ehr, wanted, "{a:#?}");
        }
        assert!(!about.is_empty());
    }

    async fn two_persons_who_share_a_phone_get_one_message_a_day_and_a_stop_counts_for_both(db) {
        let j = Journey::begin(db).await;
        for id in ["ada", "eve"] {
            j.admit(id);
            j.ehr.edit("Patient", id, |p| p["telecom"] = json!([{ "system": "phone", "use": "mobile", "value": "(212) 555-0177" }])).unwrap();
            j.book(&format!("visit-{id}"), id, TimeDelta::hours(60));
        }
        j.goes_on(MINUTE).await;
        assert_eq!(j.ehr.count("Communication"), 1, "in one batch, judged on the same facts");
        let (first, second) = if j.in_chart("ada") == 1 { ("ada", "eve") } else { ("eve", "ada") };
        assert!(j.in_state(second, "held").await.contains(&"visit-confirm/three-days".to_owned()));
        // The answer that comes from this phone.
        let sent = j.attempts(first).await.into_iter().find(|a| a.state == "finished").unwrap();
        let (hash, person, now) = (sent.contact_hash.unwrap(), sent.person, domain::Clock::now(&*j.clock));
        let stop = move |conn: &mut _| preferences::record(conn, person, "contact_point", &preferences::point_name(&hash), false, "reply", now);
        j.app.store.write("test", stop).await.unwrap();
        for _ in 0..3 {
            j.goes_on(DAY).await;
        }
        assert_eq!(j.ehr.count("Communication"), 1);
        let why = j.attempts(second).await;
        assert!(why.iter().any(|a| a.failure.as_deref().is_some_and(|f| f.contains("no-contact-point"))), "{why:#?}");
    }

    async fn identifiers_declared_later_join_what_was_read_before(db) {
        let j = Journey::begin(db).await;
        let south = connect(&j.app, &j.clock, "south").await;
        j.admit("ada");
        admit_to(&south, "sue");
        j.ehr.edit("Patient", "ada", |p| p["identifier"] = json!([{ "system": "urn:oid:1.2.3", "value": "MPI-77001" }])).unwrap();
        south.edit("Patient", "sue", |p| p["identifier"] = json!([{ "system": "urn:oid:1.2.3", "value": "mpi 77001" }])).unwrap();
        j.goes_on(MINUTE).await;
        assert_eq!(records(&j, "ada").await, ["north/ada live"]);
        let declare = |systems: Vec<String>| move |conn: &mut _| fhir_engage::store::ties::declare(conn, &systems);
        j.app.store.write("test", declare(vec!["urn:oid:1.2.3".to_owned()])).await.unwrap();
        j.goes_on(MINUTE).await;
        assert_eq!(records(&j, "ada").await, ["north/ada live", "south/sue live"]);
        j.app.store.write("test", declare(Vec::new())).await.unwrap();
        j.goes_on(MINUTE).await;
        assert_eq!(records(&j, "ada").await, ["north/ada live"]);
        let stored = j.app.store.read(resources::counts).await.unwrap();
        assert_eq!(stored.iter().filter(|c| c.1 == "Patient").map(|c| c.2).sum::<i64>(), 2);
    }
}
