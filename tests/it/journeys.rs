//! What patients live through, from the EHR to the EHR: the whole gateway in the process of the test, on a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::TimeDelta;
use domain::clock::ManualClock;
use domain::model::EhrId;
use domain::{Clock, Timestamp};
use fhir_engage::app::{App, CycleReport};
use fhir_engage::config::Config;
use fhir_engage::ehr::auth::Algorithm;
use fhir_engage::ehr::profile::{Auth, BackendServices, Profile};
use fhir_engage::store::attempts::{self, Attempt};
use fhir_engage::store::writebacks::{self, Writeback};
use fhir_engage::store::{ehrs, people, preferences};
use sandbox::{Fault, FaultKind, Sandbox};
use serde_json::{Value, json};

use crate::support::{Database, TempDir, on_both};

pub const EHR: &str = "north";

/// An EHR without patients, connected under a name.
pub async fn connect(app: &App, clock: &Arc<ManualClock>, name: &'static str) -> Sandbox {
    let key = app.ensure_key(Algorithm::Es384).await.unwrap();
    let jwks = serde_json::from_str(&app.jwks().await.unwrap()).unwrap();
    let client = sandbox::Client { client_id: "gateway".to_owned(), jwks, scopes: vec!["system/*.cruds".to_owned()] };
    let time = clock.clone();
    let config = sandbox::Config { clients: vec![client], ..sandbox::Config::new(Arc::new(move || time.now().micros())) };
    let ehr = sandbox::start(config).await.unwrap();
    let auth = BackendServices { client_id: "gateway".to_owned(), key_id: Some(key.kid), token_url: None, scopes: None, dialect: None };
    let profile = Profile { base_url: Some(ehr.base_url().parse().unwrap()), auth: Auth::BackendServices(auth), ..Profile::default() };
    let (text, now) = (profile.to_json(), clock.now());
    app.store.write("test", move |conn| ehrs::put(conn, &EhrId::parse(name).unwrap(), &text, now)).await.unwrap();
    ehr
}

pub struct Journey {
    pub app: Arc<App>,
    pub ehr: Sandbox,
    pub clock: Arc<ManualClock>,
    _data: TempDir,
    _db: Database,
}

impl Journey {
    /// Five past one on a Monday in New York; an EHR without patients; a gateway that has synced it once.
    pub async fn begin(db: Database) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-23T18:05:00Z").unwrap()));
        let data = TempDir::new();
        let mut config = Config::load(None, data.path()).unwrap();
        config.database.url = db.argument().into();
        config.site.time_zone = chrono_tz::America::New_York;
        config.site.phone = Some("+1 212 555 0100".to_owned());
        // Small enough that a visit and what became of it stand on two pages.
        config.sync.page_size = 5;
        let app = Arc::new(App::open_with(config, data.path(), Some(clock.clone())).unwrap());
        let ehr = connect(&app, &clock, EHR).await;
        let journey = Self { app, ehr, clock, _data: data, _db: db };
        journey.goes_on(TimeDelta::zero()).await;
        journey
    }

    /// Time passes, then every stage runs; nothing may fail.
    pub async fn goes_on(&self, by: TimeDelta) -> CycleReport {
        let report = self.tries_to(by).await;
        assert!(report.failures.is_empty() && report.busy.is_empty(), "{report:?}");
        report
    }

    pub async fn tries_to(&self, by: TimeDelta) -> CycleReport {
        self.clock.advance(by);
        let stop = Arc::new(AtomicBool::new(false));
        let mut report = self.app.cycle(&stop, Arc::new(|_| ())).await;
        // What was sent or refused may open the next step.
        let rest = self.app.after_sync(&stop, Arc::new(|_| ())).await;
        report.failures.extend(rest.failures);
        report
    }

    /// A patient of the clinic, grown up, reachable, who lives in New York.
    pub fn admit(&self, id: &str) {
        admit_to(&self.ehr, id);
    }

    /// A visit of a patient that begins so much later, not confirmed.
    pub fn book(&self, id: &str, patient: &str, later: TimeDelta) {
        self.book_at(&self.ehr, id, patient, later);
    }

    pub fn book_at(&self, ehr: &Sandbox, id: &str, patient: &str, later: TimeDelta) {
        let start = self.clock.now().plus(later);
        let visit = json!({
            "resourceType": "Appointment", "id": id, "status": "booked",
            "start": start.to_string(), "end": start.plus(TimeDelta::minutes(30)).to_string(),
            "participant": [{ "actor": { "reference": format!("Patient/{patient}") }, "status": "needs-action" }],
        });
        ehr.load([visit.to_string()]).unwrap();
    }

    pub async fn attempts(&self, patient: &str) -> Vec<Attempt> {
        let id = patient.to_owned();
        let read = move |conn: &mut _| match people::record(conn, EHR, &id)? {
            Some(record) => attempts::of_person(conn, record.person),
            None => Ok(Vec::new()),
        };
        self.app.store.read(read).await.unwrap()
    }

    /// The attempts at a patient in a state, as `program/step`.
    pub async fn in_state(&self, patient: &str, state: &str) -> Vec<String> {
        let mut found: Vec<String> =
            self.attempts(patient).await.iter().filter(|a| a.state == state).map(|a| format!("{}/{}", a.program, a.step)).collect();
        found.sort();
        found
    }

    pub async fn segments(&self, patient: &str) -> Vec<String> {
        let sql = "SELECT d.id AS line FROM membership m JOIN definition d ON d.number = m.segment JOIN patient p ON p.person = m.person";
        let mut found = self._db.lines(&format!("{sql} WHERE p.fhir_id = '{patient}' AND m.state = 'in' AND d.state = 'current'"));
        found.sort();
        found
    }

    /// The column `line` of a query.
    pub fn lines(&self, sql: &str) -> Vec<String> {
        self._db.lines(sql)
    }

    async fn write_backs(&self, state: &'static str) -> Vec<Writeback> {
        self.app.store.read(move |conn| writebacks::list(conn, None, Some(state), 100)).await.unwrap()
    }

    /// The Communications in a patient's chart.
    pub fn in_chart(&self, patient: &str) -> usize {
        let of = |c: &&Value| c["subject"]["reference"] == format!("Patient/{patient}");
        self.ehr.resources("Communication").iter().filter(of).count()
    }
}

pub fn admit_to(ehr: &Sandbox, id: &str) {
    // A phone of their own: who shares one shares its caps.
    let number = id.bytes().fold(0_u32, |n, b| (n * 31 + u32::from(b)) % 10_000);
    let patient = json!({
        "resourceType": "Patient", "id": id, "active": true, "birthDate": "1980-05-17", "gender": "female",
        "name": [{ "use": "official", "family": "Example", "given": ["Ada"] }],
        "telecom": [{ "system": "phone", "value": format!("+1212555{number:04}"), "use": "mobile" }, { "system": "email", "value": format!("{id}@example.org") }],
        "address": [{ "use": "home", "city": "New York", "state": "NY", "postalCode": "10001", "country": "US" }],
    });
    ehr.load([patient.to_string()]).unwrap();
}

pub const MINUTE: TimeDelta = TimeDelta::minutes(1);
pub const DAY: TimeDelta = TimeDelta::hours(24);

on_both! {
    async fn a_new_patient_is_welcomed_once(db) {
        let j = Journey::begin(db).await;
        j.admit("ada");
        j.book("first", "ada", TimeDelta::days(10));
        j.goes_on(MINUTE).await;
        assert_eq!(j.segments("ada").await, ["new-patient"]);
        assert_eq!(j.in_state("ada", "finished").await, ["welcome/form"]);
        assert_eq!(j.in_chart("ada"), 1);
        for _ in 0..3 {
            let report = j.goes_on(MINUTE).await;
            assert_eq!((report.outreach.sent, report.outreach.planned), (0, 0), "another round adds nothing");
        }
        assert_eq!((j.attempts("ada").await.len(), j.in_chart("ada")), (1, 1));
        j.admit("bea");
        j.book("second", "bea", TimeDelta::days(10));
        j.goes_on(MINUTE).await;
        assert_eq!((j.in_chart("ada"), j.in_chart("bea")), (1, 1));
    }

    async fn a_cancelled_visit_stops_what_was_planned_for_it(db) {
        let j = Journey::begin(db).await;
        j.admit("ada");
        j.book("visit", "ada", TimeDelta::hours(48));
        j.goes_on(MINUTE).await;
        assert_eq!(j.segments("ada").await, ["new-patient", "visit-soon", "visit-unconfirmed"]);
        assert_eq!(j.in_state("ada", "finished").await, ["visit-confirm/three-days"]);
        assert_eq!(j.in_state("ada", "planned").await, ["visit-confirm/day-before"]);
        assert_eq!(j.in_state("ada", "held").await, ["welcome/form"], "one message a day");
        j.ehr.edit("Appointment", "visit", |a| a["status"] = json!("cancelled")).unwrap();
        j.goes_on(MINUTE).await;
        assert_eq!(j.segments("ada").await, ["to-schedule"]);
        assert_eq!(j.in_state("ada", "void").await, ["visit-confirm/day-before", "welcome/form"]);
        for _ in 0..4 {
            j.goes_on(DAY).await;
        }
        assert_eq!(j.in_chart("ada"), 1, "the message that had left before, and no other");
    }

    async fn a_moved_visit_is_planned_anew(db) {
        let j = Journey::begin(db).await;
        j.admit("ada");
        j.book("visit", "ada", TimeDelta::hours(48));
        j.goes_on(MINUTE).await;
        let before = j.attempts("ada").await.into_iter().find(|a| a.step == "day-before").unwrap();
        assert_eq!(before.state, "planned");
        let later = j.clock.now().plus(TimeDelta::hours(71));
        j.ehr
            .edit("Appointment", "visit", |a| {
                a["start"] = json!(later.to_string());
                a["end"] = json!(later.plus(TimeDelta::minutes(30)).to_string());
            })
            .unwrap();
        j.goes_on(MINUTE).await;
        let all: Vec<Attempt> = j.attempts("ada").await.into_iter().filter(|a| a.step == "day-before").collect();
        let old = all.iter().find(|a| a.id == before.id).unwrap();
        assert_eq!((old.state.as_str(), old.failure.as_deref()), ("void", Some("moved")));
        let new: Vec<&Attempt> = all.iter().filter(|a| a.id != before.id).collect();
        assert_eq!(new.len(), 1, "{all:#?}");
        assert_eq!((new[0].state.as_str(), new[0].due_at), ("planned", before.due_at + DAY.num_microseconds().unwrap()));
    }

    async fn after_a_standstill_only_the_later_of_two_due_steps_is_sent(db) {
        let j = Journey::begin(db).await;
        j.admit("ada");
        j.book("first", "ada", TimeDelta::days(10));
        j.goes_on(MINUTE).await;
        assert_eq!(j.in_state("ada", "finished").await, ["welcome/form"]);
        j.book("visit", "ada", TimeDelta::hours(60));
        j.goes_on(MINUTE).await;
        assert_eq!(j.in_state("ada", "held").await, ["visit-confirm/three-days"], "one message a day");
        assert_eq!(j.in_state("ada", "planned").await, ["visit-confirm/day-before"]);
        // The gateway stands still until both are due. Nothing changed in the EHR, so nobody is planned for anew.
        j.clock.advance(TimeDelta::hours(48));
        let (stop, ehr) = (AtomicBool::new(false), EhrId::parse(EHR).unwrap());
        j.app.sync(&ehr, &j.app.config.sync.types, &stop, &|_| ()).await.unwrap();
        let report = j.app.reach_out(&stop, &|_| ()).await.unwrap();
        assert_eq!((report.persons, report.sent, report.voided), (0, 1, 1), "{report:?}");
        let of_visit: Vec<Attempt> = j.attempts("ada").await.into_iter().filter(|a| a.program == "visit-confirm").collect();
        let fate = |step: &str| of_visit.iter().find(|a| a.step == step).map(|a| (a.state.as_str(), a.failure.as_deref())).unwrap();
        assert_eq!((fate("three-days"), fate("day-before")), (("void", Some("overtaken")), ("finished", None)));
        // Planned for again, it does not come back.
        j.ehr.edit("Patient", "ada", |p| p["birthDate"] = json!("1980-05-18")).unwrap();
        let report = j.goes_on(MINUTE).await;
        assert_eq!((report.outreach.persons, report.outreach.planned), (1, 0), "{report:?}");
        assert_eq!(j.in_chart("ada"), 2, "the welcome and one question about the visit");
    }

    async fn who_is_known_by_half_is_not_judged_and_who_is_at_another_ehr_is(db) {
        let j = Journey::begin(db).await;
        let south = connect(&j.app, &j.clock, "south").await;
        for patient in ["ada", "cyd", "dan", "eve", "fay", "gus"] {
            j.admit(patient);
        }
        j.book("old", "ada", TimeDelta::hours(-2));
        j.goes_on(MINUTE).await;
        let before = j.attempts("ada").await.len();
        // Ada has missed a visit and has booked a new one; the new one stands on the second page, which does not come.
        j.book("new", "ada", TimeDelta::days(20));
        j.clock.advance(MINUTE);
        for (n, patient) in ["cyd", "dan", "eve", "fay", "gus"].into_iter().enumerate() {
            j.book(&format!("other-{n}"), patient, TimeDelta::days(20));
        }
        j.clock.advance(MINUTE);
        j.ehr.edit("Appointment", "old", |a| a["status"] = json!("noshow")).unwrap();
        admit_to(&south, "bea");
        j.book_at(&south, "visit", "bea", TimeDelta::hours(48));
        let second_page = || Fault::new(FaultKind::RefuseType).on("GET", "/fhir/Appointment").after(1).times(3);
        j.ehr.plant(second_page());
        let report = j.tries_to(MINUTE).await;
        assert!(report.failures.iter().any(|f| f.contains("north Appointment")), "{report:?}");
        assert_eq!(j._db.lines("SELECT fhir_id AS line FROM resource WHERE fhir_id IN ('new', 'old')"), ["old"], "a test of nothing");
        assert_eq!((j.segments("ada").await, j.attempts("ada").await.len()), (Vec::<String>::new(), before), "judged by half");
        assert!(j.segments("bea").await.contains(&"visit-unconfirmed".to_owned()), "the other EHR waits for nobody");
        assert_eq!(south.count("Communication"), 1);
        // Read to the end: nothing was missed without a new date.
        j.ehr.clear_faults();
        j.goes_on(MINUTE).await;
        assert!(!j.segments("ada").await.contains(&"missed-visit".to_owned()));
        assert!(j.attempts("ada").await.iter().all(|a| a.program != "visit-rebook"));
    }

    async fn who_dies_before_a_held_message_gets_none(db) {
        let j = Journey::begin(db).await;
        j.admit("ada");
        j.book("visit", "ada", TimeDelta::hours(48));
        j.goes_on(MINUTE).await;
        assert_eq!(j.in_state("ada", "held").await, ["welcome/form"]);
        j.ehr.edit("Patient", "ada", |p| p["deceasedBoolean"] = json!(true)).unwrap();
        for _ in 0..3 {
            j.goes_on(DAY).await;
        }
        assert_eq!(j.in_chart("ada"), 1);
        assert_eq!(j.in_state("ada", "finished").await.len(), 1);
        let waiting = [j.in_state("ada", "held").await, j.in_state("ada", "planned").await].concat();
        assert_eq!(waiting, Vec::<String>::new());
    }

    async fn who_opted_out_is_refused_and_it_says_why(db) {
        let j = Journey::begin(db).await;
        j.admit("ada");
        j.goes_on(MINUTE).await;
        let now = j.clock.now();
        let record = |conn: &mut _| people::record(conn, EHR, "ada").map(Option::unwrap);
        let person = j.app.store.read(record).await.unwrap().person;
        j.app.store.write("test", move |conn| preferences::record(conn, person, "all", "", false, "staff", now)).await.unwrap();
        j.book("visit", "ada", TimeDelta::hours(48));
        j.goes_on(MINUTE).await;
        let all = j.attempts("ada").await;
        assert!(!all.is_empty() && all.iter().all(|a| matches!(a.state.as_str(), "refused" | "planned")), "{all:#?}");
        let refused: Vec<&Attempt> = all.iter().filter(|a| a.state == "refused").collect();
        assert!(!refused.is_empty() && refused.iter().all(|a| a.failure.as_deref().is_some_and(|f| f.contains("opted-out"))), "{refused:#?}");
        j.goes_on(DAY).await;
        assert_eq!(j.in_chart("ada"), 0);
    }

    async fn a_communication_that_the_ehr_refuses_is_seen_and_blocks_nobody(db) {
        let j = Journey::begin(db).await;
        for (patient, visit) in [("ada", "one"), ("bea", "two")] {
            j.admit(patient);
            j.book(visit, patient, TimeDelta::hours(48));
        }
        j.ehr.plant(Fault::new(FaultKind::ServerError { status: 422 }).on("POST", "/fhir/Communication"));
        j.tries_to(MINUTE).await;
        assert!(j.ehr.unused_faults().is_empty());
        let refused = j.write_backs("refused").await;
        assert_eq!(refused.len(), 1);
        assert!(refused[0].failure.as_deref().is_some_and(|why| why.starts_with("http-422")), "{refused:#?}");
        assert_eq!((j.write_backs("written").await.len(), j.ehr.count("Communication")), (1, 1));
        // A day later both get what the daily limit had held, the one whose first message was refused by the EHR as well.
        j.goes_on(DAY + MINUTE).await;
        assert_eq!(j.write_backs("refused").await.len(), 1);
        let (ada, bea) = (j.in_chart("ada"), j.in_chart("bea"));
        assert_eq!((ada.min(bea), ada + bea), (ada + bea - ada.max(bea), j.write_backs("written").await.len()));
        assert!(ada >= 1 && bea >= 1 && ada + bea == 3, "ada {ada}, bea {bea}");
    }
}
