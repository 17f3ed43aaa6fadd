//! A pretend EHR with two patients, a gateway that read them, and its pages.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use domain::clock::ManualClock;
use domain::model::{EhrId, Phi, Role, Roles};
use domain::{Clock as _, Timestamp};
use fhir_engage::app::App;
use fhir_engage::config::Config;
use fhir_engage::smart::NewOpening;
use fhir_engage::store::{Store, ehrs};
use fhir_engage::web::serve;
use fhir_engage::worker::Stop;
use sandbox::Sandbox;
use serde_json::{Value, json};

use crate::support::{Database, Staff, TempDir};
use crate::web::fixture::{Answer, Server};

/// Tuesday, ten in the morning in New York.
pub const NOW: &str = "2027-01-12T15:00:00Z";

const CONFIG: &str = "[site]\nname = \"Maple Street Clinic\"\ntime_zone = \"America/New_York\"\nphone = \"555-0100\"\n";

/// The whole of it.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub ehr: Sandbox,
    pub app: Arc<App>,
    pub server: Server,
    pub db: Database,
    stop: Stop,
    _folder: TempDir,
}

/// Somebody of the staff with a patient open.
pub struct Open {
    pub staff: Staff,
    pub path: String,
}

/// A patient with a visit in 49 hours that was not confirmed, and a care plan. `said` stands in every field that holds words.
pub fn patient(id: &str, said: &str, now: Timestamp) -> Vec<Value> {
    let at = |hours: i64| now.plus(chrono::TimeDelta::hours(hours)).to_string();
    let reference = format!("Patient/{id}");
    vec![
        json!({ "resourceType": "Patient", "id": id, "active": true, "birthDate": "1961-03-04", "gender": "female",
            "name": [{ "use": "official", "family": format!("Quill{said}"), "given": [format!("Ann{said}")] }],
            "identifier": [{ "system": "urn:mrn", "type": { "coding": [{ "code": "MR" }] }, "value": format!("MRN-7{said}") }],
            "telecom": [{ "system": "phone", "value": format!("555-0111{said}"), "use": "mobile" },
                        { "system": "email", "value": format!("{id}@example.org") }],
            "communication": [{ "language": { "coding": [{ "code": "en-US" }] } }] }),
        json!({ "resourceType": "Appointment", "id": format!("visit-{id}"), "status": "booked", "start": at(49), "end": at(50), "created": at(-24),
            "description": format!("Eye check{said}"), "serviceType": [{ "text": format!("Eye{said}") }],
            "participant": [
                { "actor": { "reference": reference }, "status": "needs-action" },
                { "actor": { "reference": "Practitioner/ng", "display": format!("Dr. Ng{said}") }, "status": "accepted" },
                { "actor": { "reference": "Location/main", "display": format!("Main House{said}") }, "status": "accepted" }] }),
        json!({ "resourceType": "CarePlan", "id": format!("plan-{id}"), "status": "active", "intent": "plan", "title": format!("Diabetes{said}"),
            "subject": { "reference": reference }, "period": { "start": "2026-12-01", "end": "2027-06-30" },
            "category": [{ "coding": [{ "system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "code": "assess-plan" }] }],
            "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>" },
            "activity": [{ "detail": { "status": "in-progress", "description": format!("Walk{said}") } }] }),
    ]
}

impl World {
    /// With patients `ann` and `bob`, read, judged and reached out to once.
    pub async fn new(db: Database) -> Self {
        Self::saying(db, "").await
    }

    /// With `said` in every field of the EHR that holds words.
    pub async fn saying(db: Database, said: &str) -> Self {
        let now = Timestamp::parse(NOW).unwrap();
        let clock = Arc::new(ManualClock::at(now));
        let time = Arc::clone(&clock);
        let config = sandbox::Config { open: true, ..sandbox::Config::new(Arc::new(move || time.now().micros())) };
        let ehr = sandbox::start(config).await.unwrap();
        let resources = [patient("ann", said, now), patient("bob", said, now)].concat();
        ehr.load(resources.iter().map(Value::to_string)).unwrap();
        let folder = TempDir::new();
        let file = folder.join("fhir-engage.toml");
        std::fs::write(&file, CONFIG).unwrap();
        let mut config = Config::load(Some(&file), folder.path()).unwrap();
        config.database.url = db.argument().into();
        let app = Arc::new(App::open_with(config, folder.path(), Some(Arc::clone(&clock) as Arc<dyn domain::Clock>)).unwrap());
        let profile = format!(r#"{{"base_url":"{}","auth":{{"kind":"none"}}}}"#, ehr.base_url());
        app.store.write("test", move |conn| ehrs::put(conn, &EhrId::parse("north").unwrap(), &profile, now)).await.unwrap();
        let stop = Stop::new();
        let (address, _) = serve(app.web_state(None).unwrap(), "127.0.0.1:0".parse().unwrap(), stop.clone()).unwrap();
        let world = Self { clock, ehr, app, server: Server::seen_at(address), db, stop, _folder: folder };
        world.cycle().await;
        world
    }

    pub fn store(&self) -> &Store {
        &self.app.store
    }

    /// One round through all stages, and what pages asked for; nothing may fail.
    pub async fn cycle(&self) {
        let (read, failures) = self.app.refresh_patients().await.unwrap();
        assert!(failures.is_empty(), "{read} {failures:?}");
        let report = self.app.cycle(&Arc::new(AtomicBool::new(false)), Arc::new(|_| ())).await;
        assert!(report.failures.is_empty(), "{:?}", report.failures);
    }

    /// Somebody of these roles who has a patient open.
    pub async fn open(&self, roles: &[Role], patient: &str) -> Open {
        let staff = Staff::new(&self.app.sessions(), "kim", roles).await;
        self.open_for(staff, roles, patient).await
    }

    /// A patient opened in a session that is there.
    pub async fn open_for(&self, staff: Staff, roles: &[Role], patient: &str) -> Open {
        let what = NewOpening::found("north".to_owned(), Phi::new(patient.to_owned()), Roles::of(roles));
        let handle = self.app.sessions().open(&staff.session, what).await.unwrap();
        Open { staff, path: format!("/l/{}", handle) }
    }

    /// The page, which must come.
    pub async fn page(&self, open: &Open) -> String {
        let answer = self.get(open, "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    pub async fn get(&self, open: &Open, below: &str) -> Answer {
        self.server.send("GET", &format!("{}{below}", open.path), &[("Cookie", &open.staff.cookie)]).await
    }

    /// Sends a form of the page and returns what the page says of it then.
    pub async fn post(&self, open: &Open, below: &str, fields: &[(&str, &str)]) -> String {
        let fields = [&[("csrf", open.staff.csrf.as_str())], fields].concat();
        let answer = self.server.post(&format!("{}{below}", open.path), &open.staff.cookie, &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.headers["location"].split_once("?did=").unwrap().1.to_owned()
    }

    /// The lines of a query.
    pub fn lines(&self, sql: &str) -> Vec<String> {
        self.db.lines(sql)
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.server.address)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.request();
    }
}
