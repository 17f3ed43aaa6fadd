//! Paging, and servers that answer something else than was asked.

use std::collections::HashSet;

use domain::model::FhirId;
use fhir_engage::ehr::{EhrError, ReadOutcome, Search};
use fhir_engage::net::FailureKind;
use sandbox::{Fault, FaultKind};

use super::support::{PATIENTS, World};

#[tokio::test]
async fn every_resource_comes_once_and_as_the_ehr_has_it() {
    let world = World::start().await;
    let client = world.client().await;
    for kind in ["Patient", "Appointment", "CarePlan"] {
        let mut pages = client.search(Search::of(kind));
        let (mut ids, mut count) = (HashSet::new(), 0);
        while let Some(page) = pages.next().await.unwrap() {
            assert!(page.dropped.is_empty() && page.unasked == 0 && !page.incomplete, "{page:?}");
            assert!(page.server_date.is_some());
            for entry in page.entries {
                count += 1;
                let id = entry.id.unwrap();
                let stored = world.ehr.resource(kind, &id).unwrap();
                assert_eq!(serde_json::from_slice::<serde_json::Value>(&entry.bytes).unwrap(), stored);
                ids.insert(id);
            }
        }
        assert_eq!((ids.len(), count), (world.ehr.count(kind), world.ehr.count(kind)), "{kind}");
    }
}

#[tokio::test]
async fn a_page_may_begin_with_the_last_entry_of_the_one_before() {
    let world = World::start().await;
    world.ehr.plant(Fault::new(FaultKind::DuplicateAcrossPages).on("GET", "/fhir/Patient"));
    let found = world.client().await.search_all(Search::of("Patient")).await.unwrap();
    assert_eq!(found.len(), PATIENTS as usize);
}

#[tokio::test]
async fn a_busy_server_is_waited_for_within_reason() {
    let world = World::start().await;
    let client = world.client().await;
    let busy = |retry_after: Option<&str>| FaultKind::TooManyRequests { retry_after: retry_after.map(str::to_owned) };
    world.ehr.plant(Fault::new(busy(Some("0"))).on("GET", "/fhir/Patient").times(2));
    assert!(client.search(Search::of("Patient")).next().await.unwrap().is_some());
    // One that does not say for how long is left alone until its next minute, by everyone: longer than these tests wait.
    for retry_after in [None, Some("nonsense")] {
        world.ehr.plant(Fault::new(busy(retry_after)).on("GET", "/fhir/Patient"));
        let asked = world.asked("GET", "/fhir/Patient");
        for client in [&client, &world.client().await] {
            let error = client.search(Search::of("Patient")).next().await.unwrap_err();
            assert!(error.pause().is_some_and(|p| (59..65).contains(&p.left.as_secs())), "{error}");
        }
        assert_eq!(world.asked("GET", "/fhir/Patient"), asked + 1, "the other one does not ask");
        world.clock.advance(chrono::TimeDelta::seconds(65));
        assert!(client.search(Search::of("Patient")).next().await.unwrap().is_some());
        // To a full minute again.
        world.clock.advance(chrono::TimeDelta::seconds(55));
    }
    for status in [500, 502, 503, 504] {
        world.ehr.plant(Fault::new(FaultKind::ServerError { status }).on("GET", "/fhir/Patient"));
        assert!(client.search(Search::of("Patient")).next().await.unwrap().is_some(), "{status}");
    }
    let two_hours = FaultKind::TooManyRequests { retry_after: Some("7200".to_owned()) };
    world.ehr.plant(Fault::new(two_hours).on("GET", "/fhir/Patient"));
    let error = client.search(Search::of("Patient")).next().await.unwrap_err();
    assert!(matches!(error, EhrError::Busy { status: 429, retry_after: Some(d) } if d.as_secs() == 7200), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn next_links_are_followed_only_where_they_may_be() {
    let world = World::start().await;
    let client = world.client().await;
    let elsewhere = FaultKind::NextLinkOnOtherHost { origin: "http://127.0.0.1:9".to_owned() };
    for (fault, wanted) in [(elsewhere, "outside"), (FaultKind::RepeatedNextLink, "circle")] {
        world.ehr.plant(Fault::new(fault).times(3));
        let error = client.search_all(Search::of("Patient")).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        world.ehr.clear_faults();
    }
}

#[tokio::test]
async fn a_filter_that_is_ignored_is_noticed_and_made_good() {
    let world = World::start().await;
    let client = world.client().await;
    let plans = world.ehr.resources("CarePlan");
    let reference = plans[0]["subject"]["reference"].as_str().unwrap().to_owned();
    let own = plans.iter().filter(|p| p["subject"]["reference"] == reference.as_str()).count();
    for echo in [false, true] {
        world.ehr.plant(Fault::new(FaultKind::IgnoresFilter { echo }).on("GET", "/fhir/CarePlan").times(u32::MAX));
        let mut pages = client.search(Search::of("CarePlan").with("patient", &reference).strict());
        let (mut kept, mut unasked, mut dropped) = (0, 0, Vec::new());
        while let Some(page) = pages.next().await.unwrap() {
            kept += page.entries.len();
            unasked += page.unasked;
            dropped.extend(page.dropped);
        }
        assert_eq!((kept, unasked), (own, plans.len() - own));
        assert_eq!(dropped, if echo { vec![] } else { vec!["patient".to_owned()] });
        world.ehr.clear_faults();
    }
}

#[tokio::test]
async fn messages_beside_results_are_not_results() {
    let world = World::start().await;
    let client = world.client().await;
    // The sandbox's message says, whatever its severity, that the result is incomplete.
    for severity in ["information", "warning", "error"] {
        world.ehr.plant(Fault::new(FaultKind::OutcomeInBundle { severity: severity.to_owned() }));
        let page = client.search(Search::of("Patient")).next().await.unwrap().unwrap();
        assert_eq!((page.outcomes.len(), page.incomplete, page.entries.len()), (1, true, 10), "{severity}");
    }
}

#[tokio::test]
async fn what_is_not_fhir_is_told_apart_from_no_answer() {
    let mut world = World::start().await;
    world.profile.timeout_secs = Some(1);
    let client = world.client().await;
    world.ehr.plant(Fault::new(FaultKind::NotJson).on("GET", "/fhir/Patient"));
    let error = client.search(Search::of("Patient")).next().await.unwrap_err();
    assert!(matches!(error, EhrError::NotFhir { .. }), "{error}");

    world.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 3000 }).on("GET", "/fhir/Patient").times(4));
    let error = client.search(Search::of("Patient")).next().await.unwrap_err();
    assert!(matches!(&error, EhrError::Unreachable(f) if f.kind == FailureKind::Timeout), "{error}");

    world.ehr.plant(Fault::new(FaultKind::RefuseType).on("GET", "/fhir/Appointment"));
    let error = client.search(Search::of("Appointment")).next().await.unwrap_err();
    assert!(matches!(error, EhrError::Refused { status: 403, .. }) && !error.is_credential(), "{error}");
}

#[tokio::test]
async fn search_values_can_be_kept_out_of_urls() {
    let mut world = World::start().await;
    world.profile.search_by_post = true;
    let client = world.client().await;
    let patient = world.ehr.resources("Patient")[0]["id"].as_str().unwrap().to_owned();
    let found = client.search_all(Search::of("Patient").with("_id", &patient)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(world.asked("POST", "/fhir/Patient/_search"), 1);
    assert!(world.ehr.request_log().iter().all(|r| !r.path.contains(&patient)));
}

#[tokio::test]
async fn reading_tells_gone_from_absent() {
    let world = World::start().await;
    let client = world.client().await;
    let id = FhirId::parse(world.ehr.resources("Patient")[0]["id"].as_str().unwrap()).unwrap();
    assert!(matches!(client.read("Patient", &id).await.unwrap(), ReadOutcome::Found(e) if e.id.as_deref() == Some(id.as_str())));
    world.ehr.delete("Patient", id.as_str()).unwrap();
    assert!(matches!(client.read("Patient", &id).await.unwrap(), ReadOutcome::Gone));
    let never = FhirId::parse("never-was").unwrap();
    assert!(matches!(client.read("Patient", &never).await.unwrap(), ReadOutcome::Absent));
}
