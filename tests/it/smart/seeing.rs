//! What the user may see is the EHR's word: asked with the user's own token, kept for a short time, and when in doubt no.

use chrono::TimeDelta;
use sandbox::{Fault, FaultKind, LaunchContext};
use serde_json::json;

use super::setup::{Kind, World, patient};
use crate::support::{Backend, Database, on_both};

const ASK: &str = "The EHR does not show this patient to you";

on_both! {
    async fn a_patient_that_the_ehr_hides_is_not_shown(db) {
        let world = World::configured(db, Kind::Public, "denied = \"Break the glass in the EHR, then come back.\"").await;
        let (id, mut browser) = (patient(&world, 0), world.browser());
        let family = world.ehr.resource("Patient", &id).unwrap()["name"][0]["family"].as_str().unwrap().to_owned();
        world.ehr.hide("user-1", &id, true);
        let path = world.launched(&mut browser, LaunchContext::of(&id)).await.lands_at();
        let page = browser.page(&path).await;
        page.refuses(403, ASK);
        assert!(page.body.contains("Break the glass in the EHR, then come back."), "{}", page.body);
        assert!(!page.body.contains(&family) && !page.body.contains(&id), "nothing of the patient is told");
        assert_eq!(world.lines("SELECT what AS line FROM audit"), ["view-denied"], "that somebody tried is in the chain");
        // The glass is broken: a short time later the EHR is asked again.
        world.ehr.hide("user-1", &id, false);
        let asked = world.asked("GET", &format!("/fhir/Patient/{id}"));
        browser.page(&path).await.refuses(403, ASK);
        assert_eq!(world.asked("GET", &format!("/fhir/Patient/{id}")), asked, "the answer is kept for some seconds");
        world.clock.advance(TimeDelta::seconds(11));
        let page = browser.page(&path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert_eq!(world.opening(&path).unwrap().verdict, "allowed");
        // And sealed again while the page is open: after five minutes it is seen.
        world.ehr.hide("user-1", &id, true);
        assert_eq!(browser.page(&path).await.status, 200);
        world.clock.advance(TimeDelta::minutes(5));
        browser.page(&path).await.refuses(403, ASK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_ehr_does_not_answer_nothing_is_shown() {
    let world = World::begin(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public).await;
    let (id, mut browser) = (patient(&world, 0), world.browser());
    world.ehr.plant(Fault::new(FaultKind::ServerError { status: 503 }).on("GET", &format!("/fhir/Patient/{id}")).times(2));
    let path = world.launched(&mut browser, LaunchContext::of(&id)).await.lands_at();
    assert_eq!(world.opening(&path).unwrap().verdict, "unasked");
    browser.page(&path).await.refuses(503, "The EHR cannot be asked");
    assert_eq!(browser.page(&path).await.status, 200, "it is asked again at once");
    assert_eq!(world.opening(&path).unwrap().verdict, "allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_appointment_counts_too_where_the_site_says_so() {
    let world = World::begin(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public).await;
    let appointment = world.ehr.resources("Appointment").remove(0);
    let of = appointment["participant"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|p| p["actor"]["reference"].as_str()?.strip_prefix("Patient/"))
        .unwrap()
        .to_owned();
    let visit = appointment["id"].as_str().unwrap().to_owned();
    let context = || LaunchContext { fhir_context: vec![json!({"reference": format!("Appointment/{visit}")})], ..LaunchContext::of(&of) };
    let path = world.launched(&mut world.browser(), context()).await.lands_at();
    assert_eq!((world.opening(&path).unwrap().verdict.as_str(), world.asked("GET", "/fhir/Appointment/")), ("allowed", 0));

    let mut launch = world.launch().await;
    launch.also_read = vec!["Appointment".to_owned()];
    world.launches_by(launch).await;
    let path = world.launched(&mut world.browser(), context()).await.lands_at();
    assert_eq!((world.opening(&path).unwrap().verdict.as_str(), world.asked("GET", "/fhir/Appointment/")), ("allowed", 1));
    world.ehr.plant(Fault::new(FaultKind::OfPatient { patient: of.clone(), status: 403, code: None }).on("GET", "/fhir/Appointment/"));
    world.ehr.plant(Fault::new(FaultKind::RefuseType).on("GET", "/fhir/Appointment/"));
    let path = world.launched(&mut world.browser(), context()).await.lands_at();
    assert_eq!(world.opening(&path).unwrap().verdict, "denied", "a sensitive visit");
    world.ehr.clear_faults();
}
