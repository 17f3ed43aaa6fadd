//! A person with records at two EHRs, opened by a launch from one of them: it was asked of its own record, so the other one stays away. Only
//! what the site allows is shown of it, and nothing can be done to it.

use chrono::TimeDelta;
use domain::Clock as _;
use domain::clock::ManualClock;
use domain::model::Role::CareManager;
use domain::model::{EhrId, Phi, Roles};
use fhir_engage::patient::Reach;
use fhir_engage::smart::{NewOpening, Verdict};
use fhir_engage::store::ehrs;
use fhir_engage::web::serve;
use fhir_engage::worker::Stop;
use sandbox::Sandbox;
use serde_json::Value;
use std::sync::Arc;

use super::world::{NOW, Open, World, patient};
use crate::support::{Database, Staff, on_both};
use crate::web::fixture::Server;

/// What stands in each field of words at the other EHR.
const SOUTH: &str = " of the Lake";

/// Ann of the north is Zoe of the south, whose visit is the sooner one.
async fn two(db: Database) -> (World, Sandbox) {
    let world = World::new(db).await;
    let now = domain::Timestamp::parse(NOW).unwrap();
    let time: Arc<ManualClock> = Arc::clone(&world.clock);
    let config = sandbox::Config { open: true, ..sandbox::Config::new(Arc::new(move || time.now().micros())) };
    let south = sandbox::start(config).await.unwrap();
    south.load(patient("zoe", SOUTH, now.plus(TimeDelta::hours(-5))).iter().map(Value::to_string)).unwrap();
    let profile = format!(r#"{{"base_url":"{}","auth":{{"kind":"none"}}}}"#, south.base_url());
    world.store().write("test", move |conn| ehrs::put(conn, &EhrId::parse("south").unwrap(), &profile, now)).await.unwrap();
    world.cycle().await;
    join(&world, "north/ann", "south/zoe").await;
    (world, south)
}

async fn join(world: &World, one: &str, other: &str) {
    let staff = Staff::new(&world.app.sessions(), "lee", &[CareManager]).await;
    let fields = [("csrf", staff.csrf.as_str()), ("one", one), ("other", other), ("same", "true"), ("why", "passport")];
    let joined = world.server.post("/work/person", &staff.cookie, &fields).await;
    assert_eq!(joined.status, 303, "{}", joined.body);
    world.cycle().await;
    let persons = world.lines("SELECT CAST(COUNT(DISTINCT person) AS TEXT) AS line FROM patient WHERE fhir_id IN ('ann', 'zoe')");
    assert!(persons == ["1"] || !other.contains("zoe"), "{persons:?}");
}

/// As the north let somebody in, just now.
async fn launched(world: &World) -> Open {
    let staff = Staff::new(&world.app.sessions(), "kim", &[CareManager]).await;
    let found = NewOpening::found("north".to_owned(), Phi::new("ann".to_owned()), Roles::of(&[CareManager]));
    let what = NewOpening { launched: true, verdict: Verdict::Allowed, ..found };
    let handle = world.app.sessions().open(&staff.session, what).await.unwrap();
    Open { staff, path: format!("/l/{handle}") }
}

/// The page at a server of a site that allows so much.
async fn page_where(world: &World, open: &Open, elsewhere: Reach) -> String {
    let stop = Stop::new();
    let mut state = world.app.web_state(None).unwrap();
    state.elsewhere = elsewhere;
    let (address, _) = serve(state, "127.0.0.1:0".parse().unwrap(), stop.clone()).unwrap();
    let answer = Server::seen_at(address).send("GET", &open.path, &[("Cookie", &open.staff.cookie)]).await;
    stop.request();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn sent(page: &str) -> usize {
    page.matches("Recorded; nothing was sent").count()
}

#[track_caller]
fn nothing_of_the_south(page: &str) {
    for told in [SOUTH, "south", "zoe", "plan-zoe"] {
        assert!(!page.contains(told), "{told}: {page}");
    }
}

/// What is planned for a record.
fn planned(world: &World, id: &str) -> String {
    let sql = format!(
        "SELECT a.id AS line FROM attempt a JOIN patient p ON p.pk = a.patient
         WHERE p.fhir_id = '{id}' AND a.program = 'visit-confirm' AND a.state IN ('planned', 'held')"
    );
    world.lines(&sql)[0].clone()
}

on_both! {
    async fn a_launched_page_shows_the_record_that_was_asked_for_and_nothing_of_another_ehrs(db) {
        let (world, _south) = two(db).await;
        // Whoever may look for patients here sees the person, by role.
        let whole = world.page(&world.open(&[CareManager], "ann").await).await;
        for told in [SOUTH, "in south (Appointment/visit-zoe", "Diabetes of the Lake", "Thu 14 Jan 2027, 06:00"] {
            assert!(whole.contains(told), "{told}: {whole}");
        }
        assert_eq!(sent(&whole), 2);
        let open = launched(&world).await;
        let page = world.page(&open).await;
        nothing_of_the_south(&page);
        for told in ["Ann Quill", "Eye check", "Thu 14 Jan 2027, 11:00", "Diabetes", "If the patient has records elsewhere", "ann@example.org"] {
            assert!(page.contains(told), "{told}: {page}");
        }
        assert_eq!(sent(&page), 1, "{page}");
        // A message speaks of this record's visit, and goes where this record says.
        let preview = world.get(&open, "/message?template=visit-confirm&channel=recorded").await.body;
        nothing_of_the_south(&preview);
        assert!(preview.contains("11:00 AM") && !preview.contains("6:00 AM"), "{preview}");
    }

    async fn the_site_says_whether_more_is_shown(db) {
        let (world, _south) = two(db).await;
        let open = launched(&world).await;
        nothing_of_the_south(&page_where(&world, &open, Reach::Record).await);
        let outreach = page_where(&world, &open, Reach::Outreach).await;
        assert_eq!(sent(&outreach), 2, "{outreach}");
        assert!(!outreach.contains("Diabetes of the Lake") && !outreach.contains("Eye check of the Lake"), "{outreach}");
        let whole = page_where(&world, &open, Reach::Person).await;
        assert!(whole.contains("Diabetes of the Lake") && !whole.contains("If the patient has records elsewhere"), "{whole}");
        assert_eq!([Reach::parse("hidden"), Reach::parse("outreach"), Reach::parse("shown"), Reach::parse("all")],
            [Some(Reach::Record), Some(Reach::Outreach), Some(Reach::Person), None]);
    }

    async fn nothing_is_done_to_what_is_not_shown(db) {
        let (world, _south) = two(db).await;
        let open = launched(&world).await;
        let theirs = planned(&world, "zoe");
        assert_eq!(world.post(&open, "/stop", &[("key", "s"), ("attempt", &theirs)]).await, "too-late");
        assert_eq!(world.post(&open, "/move", &[("key", "m"), ("attempt", &theirs), ("to", "2027-01-13T12:00")]).await, "too-late");
        let state = world.lines(&format!("SELECT state AS line FROM attempt WHERE id = '{theirs}'"));
        assert!(["planned", "held"].contains(&state[0].as_str()), "{state:?}");
    }

    async fn another_record_at_the_same_ehr_was_not_asked_for_either(db) {
        let world = World::new(db).await;
        join(&world, "north/ann", "north/bob").await;
        let open = launched(&world).await;
        let page = world.page(&open).await;
        assert!(page.contains("visit-ann") && !page.contains("bob"), "{page}");
        assert_eq!(sent(&page), 1, "{page}");
    }
}
