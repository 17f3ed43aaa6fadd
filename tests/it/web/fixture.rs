//! A server on a test's database, a client that sends exactly what a test says, and a database with something in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use domain::clock::ManualClock;
use domain::model::{ResourceType, Role};
use fhir_engage::patient::acts::{About, Act};
use fhir_engage::patient::by_hand::{Choice, Preview};
use fhir_engage::patient::{Done, Page, Signed, Subject};
use fhir_engage::smart::Sessions;
use fhir_engage::store::definitions::{self, Kind, New};
use fhir_engage::store::memberships::{self, Change, Evaluated, State};
use fhir_engage::store::quarantine::{self, Aside};
use fhir_engage::store::sync_state::{self, Counts, End};
use fhir_engage::store::writebacks::{self, Settlement};
use fhir_engage::store::{Store, attempts, ehrs};
use fhir_engage::telemetry::Metrics;
use fhir_engage::web::patient::{self, Patients};
use fhir_engage::web::{Explained, WebState, serve};
use fhir_engage::worker::{Health, Stop};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::store::fixtures::{self, at, commit, ehr, fence, finished, incoming, planned, read, verdict, write};
use crate::support::{Staff, launches, sessions};

/// A name that stands in stored bodies, and must stand nowhere else.
pub const MARKER: &str = "Zzyzx-Quillfeather";
pub const BEARER: &str = "a-bearer-for-tests";

/// A server that runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub clock: Arc<ManualClock>,
    pub sessions: Option<Sessions>,
    /// The host that requests name, where it is another.
    pub host: Option<String>,
    stop: Stop,
    running: Option<JoinHandle<()>>,
}

/// What a server of a test is given.
pub fn state(store: &Store) -> WebState {
    WebState {
        store: store.clone(),
        clock: Arc::new(ManualClock::at(at(3600))),
        site: "Maple <Street> Clinic".to_owned(),
        zone: Tz::America__New_York,
        tasks: None,
        metrics: Metrics::install().unwrap(),
        jwks: Arc::new(|| Box::pin(std::future::ready(Ok("{\"keys\":[{\"kid\":\"k1\"}]}".to_owned())))),
        explain: Arc::new(|_| Box::pin(std::future::ready(Ok(Explained::NoPatient)))),
        max_age: chrono::TimeDelta::hours(24),
        bearer: None,
        desk: Arc::new(super::no_desk::NoDesk),
        patients: Arc::new(NoPatients),
        sessions: sessions(store, Arc::new(ManualClock::at(at(3600)))),
        launches: launches(store, Arc::new(ManualClock::at(at(3600)))),
        provider: None,
        denied: None,
        elsewhere: fhir_engage::patient::Reach::Record,
        notified: Arc::new(|_| Box::pin(std::future::ready(Ok(fhir_engage::web::notifications::Received::Unknown)))),
        external: None,
        process: 0xfeed_face,
        keep_counts: Duration::ZERO,
    }
}

/// No patient is known.
struct NoPatients;

impl Patients for NoPatients {
    fn page(&self, _: Subject) -> patient::Answer<'_, Page> {
        Box::pin(std::future::ready(Ok(Page::default())))
    }

    fn segments(&self, _: Subject) -> patient::Answer<'_, Option<Vec<fhir_engage::patient::page::Segment>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn ask(&self, _: Subject) -> patient::Answer<'_, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn preview(&self, _: Subject, _: Choice) -> patient::Answer<'_, Option<Preview>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn act(&self, _: Signed, _: Act) -> patient::Answer<'_, Done> {
        Box::pin(std::future::ready(Ok(Done::NoPatient)))
    }

    fn about(&self, _: &str) -> Option<About> {
        None
    }

    fn fresh_key(&self) -> String {
        "key".to_owned()
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

impl Server {
    /// A server with the tests' bearer and no tasks.
    pub fn start(store: &Store) -> Self {
        Self::start_with(store, Some(BEARER), None)
    }

    pub fn start_with(store: &Store, bearer: Option<&str>, tasks: Option<Health>) -> Self {
        let clock = Arc::new(ManualClock::at(at(3600)));
        let stop = Stop::new();
        let sessions = sessions(store, Arc::clone(&clock) as Arc<dyn domain::Clock>);
        let given = WebState {
            clock: Arc::clone(&clock) as Arc<dyn domain::Clock>,
            sessions: sessions.clone(),
            bearer: bearer.map(|b| b.to_owned().into()),
            tasks,
            ..state(store)
        };
        let (address, running) = serve(given, "127.0.0.1:0".parse().unwrap(), stop.clone()).unwrap();
        Self { address, clock, sessions: Some(sessions), host: None, stop, running: Some(running) }
    }

    /// One with a state of the test's own.
    pub fn of(state: WebState, clock: Arc<ManualClock>) -> Self {
        let (stop, sessions) = (Stop::new(), state.sessions.clone());
        let (address, running) = serve(state, "127.0.0.1:0".parse().unwrap(), stop.clone()).unwrap();
        Self { address, clock, sessions: Some(sessions), host: None, stop, running: Some(running) }
    }

    /// One that the test itself started.
    pub fn seen_at(address: SocketAddr) -> Self {
        Self { address, clock: Arc::new(ManualClock::at(at(3600))), sessions: None, host: None, stop: Stop::new(), running: None }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[]).await
    }

    pub async fn get_with_bearer(&self, path: &str) -> Answer {
        self.send("GET", path, &[("Authorization", &format!("Bearer {BEARER}"))]).await
    }

    /// Somebody signed in here with these roles.
    pub async fn staff(&self, roles: &[Role]) -> Staff {
        Staff::new(self.sessions.as_ref().unwrap(), "kim", roles).await
    }

    /// A page as somebody of these roles gets it.
    pub async fn get_as(&self, roles: &[Role], path: &str) -> Answer {
        let staff = self.staff(roles).await;
        self.send("GET", path, &[("Cookie", &staff.cookie)]).await
    }

    /// A form as a browser sends it from a page of this server; `fields` holds the token where it is to be taken.
    pub async fn post(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_from(path, cookie, &[("Sec-Fetch-Site", "same-origin")], fields).await
    }

    /// A form with headers that tell where it comes from.
    pub async fn post_from(&self, path: &str, cookie: &str, from: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let length = body.len().to_string();
        let mut headers = vec![("Cookie", cookie), ("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", &length)];
        headers.extend_from_slice(from);
        self.send_with("POST", path, &headers, &body).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_with(method, path, headers, "").await
    }

    pub async fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.host.clone().unwrap_or_else(|| self.address.to_string())
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(body);
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
        Answer { status, headers, body: body.to_owned() }
    }

    /// Stops it and waits for its end.
    pub async fn end(mut self) {
        self.stop.request();
        self.running.take().unwrap().await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.request();
    }
}

/// Fills a database: three syncs of which one failed, two patients in segments, attempts and a write-back in several states, and one
/// resource in quarantine. Every body names [`MARKER`].
pub fn fill(store: &Store) {
    let body = |id: &str| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"name\":[{{\"family\":\"{MARKER}\"}}]}}");
    write(store, |c| ehrs::put(c, &ehr(), "{}", at(0)));
    let (one, two) = (fixtures::patient(store, "p1"), fixtures::patient(store, "p2"));
    for id in ["p1", "p2"] {
        commit(store, ResourceType::Patient, vec![incoming(store, ResourceType::Patient, id, &body(id), "{\"f\":1}", &[id])]);
    }
    run(store, ResourceType::Patient, Counts { pages: 1, found: 1_234, stored: 2, unchanged: 1_231, superseded: 0, quarantined: 1 }, None);
    run(store, ResourceType::Appointment, Counts { pages: 3, found: 0, ..Counts::default() }, Some("the EHR answered 503"));
    run(store, ResourceType::CarePlan, Counts::default(), None);
    let aside = Aside {
        rtype: Some("Patient".to_owned()),
        fhir_id: Some(MARKER.to_owned()),
        origin: "page".to_owned(),
        code: "wrong-type",
        reason: "birthDate is not a text".to_owned(),
        body: body("p3").into_bytes(),
    };
    write(store, |c| quarantine::put(c, store.codec(), &ehr(), &aside, at(5)));
    let new = |id, source, hash| New { kind: Kind::Segment, id, source, hash, reads: None };
    write(store, |c| definitions::first(c, &[new("new-patient", "x", "1"), new("visit-72h-not-confirmed", "y", "2")], 1, at(1)));
    let change = |segment: i64, after: State| Change {
        segment,
        version: 1,
        before: None,
        after: Some(after),
        entry: 1,
        effective_at: at(10),
        reasons: MARKER.as_bytes().to_vec(),
        event_reasons: MARKER.as_bytes().to_vec(),
    };
    let person = |person: i64, state: State| Evaluated {
        person,
        changes: vec![change(1, State::In), change(2, state)],
        refreshed: vec![],
        events: 0,
        wake_at: None,
        outreach: true,
        unknown: Default::default(),
        staged: None,
    };
    write(store, |c| memberships::apply(c, &[person(one.person, State::In), person(two.person, State::Held)], at(100)));
    outreach(store);
}

fn outreach(store: &Store) {
    let one = read(store, |c| fhir_engage::store::people::record(c, "north", "p1")).unwrap();
    let two = read(store, |c| fhir_engage::store::people::record(c, "north", "p2")).unwrap();
    finished(store, &one, "a1");
    finished(store, &two, "a2");
    planned(store, &one, "a3");
    let refused = planned(store, &two, "a4");
    assert!(write(store, |c| attempts::refuse(c, &refused.id, "opted-out", &verdict("refuse"), at(6))));
    let lease = fence(store, "writeback/north");
    let claimed = write(store, |c| writebacks::claim(c, "north", &lease, at(10), at(70), 1));
    let how = Settlement::Written { remote_id: Some("77".to_owned()), version: None, loss: "[]".to_owned(), differences: None };
    assert!(write(store, |c| writebacks::settle(c, &claimed[0].row.id, &lease, &how, None, at(20))));
}

fn run(store: &Store, kind: ResourceType, counts: Counts, failure: Option<&str>) {
    write(store, |c| {
        let run = sync_state::begin(c, &ehr(), kind, "cursor", "f", at(0))?;
        sync_state::advance(c, &ehr(), kind, run, counts, None)?;
        let how = match failure {
            None => End::Done { high_water: Some(at(0)), as_of: Some(at(0)) },
            Some(why) => End::Failed(why.to_owned()),
        };
        sync_state::end(c, &ehr(), kind, run, &how, at(30))
    });
}
