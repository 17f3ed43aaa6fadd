//! The dashboard as the staff meets it: a real gateway behind it, on a database with a little of everything, and with what an attacker would
//! have an EHR send.

mod acts;
mod audit;
mod lists;
mod looks;
mod people;

use std::sync::Arc;

use domain::clock::ManualClock;
use domain::model::{ResourceType, Role};
use fhir_engage::app::App;
use fhir_engage::config::Config;
use fhir_engage::ehr::profile::Profile;
use fhir_engage::store::memberships::{self, Change, Evaluated, State};
use fhir_engage::store::quarantine::{self, Aside};
use fhir_engage::store::{Store, alerts, ehrs, people as records};

use super::fixture::{Answer, Server};
use crate::store::fixtures::{at, commit, ehr, finished, incoming, planned, read, write};
use crate::support::{Database, TempDir};

/// What an EHR could send as a name, to run in a page.
pub const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

pub struct World {
    pub server: Server,
    pub app: Arc<App>,
    pub data: TempDir,
}

impl World {
    pub fn new(db: &Database) -> Self {
        let data = TempDir::new();
        let clock = Arc::new(ManualClock::at(at(3600)));
        let mut config = Config::load(None, data.path()).unwrap();
        config.database.url = db.argument().into();
        let app = Arc::new(App::open_with(config, data.path(), Some(Arc::clone(&clock) as Arc<dyn domain::Clock>)).unwrap());
        let mut state = app.web_state(None).unwrap();
        state.keep_counts = std::time::Duration::ZERO;
        Self { server: Server::of(state, clock), app, data }
    }

    /// With a little of everything.
    pub fn filled(db: &Database) -> Self {
        let world = Self::new(db);
        fill(db, &world.app);
        world
    }

    pub fn store(&self) -> &Store {
        &self.app.store
    }

    pub async fn get(&self, roles: &[Role], path: &str) -> Answer {
        self.server.get_as(roles, path).await
    }

    /// The rows of the audit chain, what and about what.
    pub fn audited(db: &Database) -> Vec<String> {
        db.lines("SELECT what || ' ' || COALESCE(about, '-') AS line FROM audit ORDER BY number")
    }
}

/// A patient of that id, name and birth date.
pub fn patient(store: &Store, id: &str, given: &str, family: &str, born: &str) -> records::Record {
    let facts = serde_json::json!({ "name": { "given": given, "family": family }, "birth_date": born });
    let body = format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}");
    commit(store, ResourceType::Patient, vec![incoming(store, ResourceType::Patient, id, &body, &facts.to_string(), &[id])]);
    read(store, |c| records::record(c, "north", id)).unwrap()
}

/// Makes people members of a segment.
pub fn members(app: &App, segment: &str, who: &[(i64, State)]) {
    let number = app.definitions.by_id(segment).unwrap().number;
    let all: Vec<Evaluated> = who
        .iter()
        .map(|(person, state)| Evaluated {
            person: *person,
            changes: vec![Change {
                segment: number,
                version: 1,
                before: None,
                after: Some(*state),
                entry: 1,
                effective_at: at(10),
                reasons: b"[]".to_vec(),
                event_reasons: b"[]".to_vec(),
            }],
            refreshed: vec![],
            events: 0,
            wake_at: None,
            unknown: Default::default(),
            outreach: false,
            staged: None,
        })
        .collect();
    write(&app.store, |c| memberships::apply(c, &all, at(100)));
}

fn fill(db: &Database, app: &App) {
    let store = &app.store;
    let profile = Profile { base_url: Some("http://127.0.0.1:9/fhir".parse().unwrap()), ..Profile::default() };
    write(store, |c| ehrs::put(c, &ehr(), &profile.to_json(), at(0)));
    let one = patient(store, "p1", "José", "García-Lopez", "1980-02-03");
    let two = patient(store, "p2", "Evil", EVIL, "1990-05-06");
    members(app, "lapsed", &[(one.person, State::In), (two.person, State::Held)]);
    for id in ["a1", "a2", "a3", "a4", "a5"] {
        finished(store, &one, id);
    }
    planned(store, &two, "b1");
    planned(store, &two, "b2");
    planned(store, &two, "b3");
    // In doubt; not reached though the visit lies ahead; and one that was answered.
    db.execute("UPDATE attempt SET state = 'sending', channel = 'email', failure = 'unclear: the line broke' WHERE id = 'b1'");
    let ahead = at(90_000).micros();
    db.execute(&format!(
        "UPDATE attempt SET state = 'refused', failure = 'channel: no-contact-point', expires_at = {ahead} WHERE id = 'b2'"
    ));
    db.execute("UPDATE writeback SET state = 'refused', failure = 'http-422: <b>no</b>' WHERE attempt = 'a1'");
    db.execute(&format!("UPDATE writeback SET state = 'unknown', next_at = {} WHERE attempt = 'a2'", i64::MAX));
    db.execute(
        "INSERT INTO answer (attempt, number, channel, meaning, needs_action, received_at, recorded_by) VALUES ('a3', 1, 'email', 'help', true, 1800000000000000, 'email')",
    );
    let aside = |reason: &str, n: u8| Aside {
        rtype: Some("Patient".to_owned()),
        fhir_id: Some(EVIL.to_owned()),
        origin: "page".to_owned(),
        code: "wrong-type",
        reason: reason.to_owned(),
        body: vec![b'{', n, b'}'],
    };
    write(store, |c| {
        quarantine::put(c, store.codec(), &ehr(), &aside(EVIL, 1), at(5))?;
        quarantine::put(c, store.codec(), &ehr(), &aside("=HYPERLINK(\"http://x\")", 2), at(6))
    });
    write(store, |c| alerts::begin(c, ("sync-failing", "north"), (EVIL, "look at it"), &[], at(7)));
    db.execute(&format!("INSERT INTO person_review (record, reason, since) VALUES ({}, 'cycle', 1800000000000000)", one.pk));
}
