//! Launches that go well, in every kind of client, and what an EHR may write oddly and still be right.

use chrono::TimeDelta;
use domain::model::Right;
use sandbox::{Fault, FaultKind, LaunchContext, Odd, User};
use serde_json::json;

use super::setup::{EHR, KINDS, Kind, World, patient};
use crate::support::{Backend, Database, on_both};

on_both! {
    async fn both_launches_work_in_every_kind_of_client(db) {
        let backend = db.backend();
        for kind in KINDS {
            let Some(db) = Database::fresh(backend) else { return };
            let world = World::begin(db, kind).await;
            let (id, mut browser) = (patient(&world, 1), world.browser());
            let context = LaunchContext {
                encounter: Some("e-1".to_owned()),
                need_patient_banner: Some(false),
                intent: Some("reconcile".to_owned()),
                tenant: Some("t-9".to_owned()),
                fhir_context: vec![json!({"reference": "Appointment/a-1"})],
                ..LaunchContext::of(&id)
            };
            let path = world.launched(&mut browser, context).await.lands_at();
            let row = world.opening(&path).unwrap_or_else(|| panic!("{kind:?}: {path}"));
            assert_eq!((row.ehr.as_str(), row.patient.as_str(), row.roles.as_str(), row.way.as_str()), (EHR, id.as_str(), "clinician", "launch"));
            assert_eq!((row.encounter.as_deref(), row.banner, row.intent.as_deref(), row.tenant.as_deref()), (Some("e-1"), false, Some("reconcile"), Some("t-9")));
            assert_eq!(row.context.as_deref(), Some(r#"[{"reference":"Appointment/a-1"}]"#));
            assert_eq!(row.verdict, "allowed", "{kind:?}: the patient was asked for with the user's token");
            assert_eq!(world.asked("GET", &format!("/fhir/Patient/{id}")), 1);
            assert!(!path.contains(&id), "no id of a patient in an address");
            let who = world.lines("SELECT issuer || ' ' || subject || ' ' || name || ' ' || fhir_user || ' ' || way AS line FROM session");
            assert_eq!(who, [format!("{}/auth user-1 Dr. First Practitioner/prac-01 launch", world.ehr.base_url().trim_end_matches("/fhir"))]);
            assert_eq!(world.count("sign_in"), 0, "what waited was taken out");

            // The one that begins here: the person chooses the patient at the EHR.
            let other = patient(&world, 2);
            let mut browser = world.browser();
            let chooser = browser.page(&format!("/launch/{EHR}")).await;
            let at = chooser.goes_to(&format!("http://{}/", world.address).parse().unwrap());
            let page = browser.get(&at).await;
            assert_eq!(page.status, 200, "{}", page.body);
            let link = page.body.split("href=\"").skip(1).map(|s| s.split('"').next().unwrap().replace("&amp;", "&"));
            let chosen = link.into_iter().find(|l| l.ends_with(&format!("chosen={other}"))).unwrap();
            let chosen = at.join(&chosen).unwrap();
            let back = browser.get(&chosen).await.goes_to(&chosen);
            let path = browser.get(&back).await.lands_at();
            let row = world.opening(&path).unwrap();
            assert_eq!((row.patient.as_str(), row.banner, row.verdict.as_str()), (other.as_str(), true, "allowed"), "a banner where the EHR does not say");
        }
    }

    async fn nothing_that_opens_a_door_is_stored_in_clear(db) {
        let world = World::begin(db, Kind::Public).await;
        let mut browser = world.browser();
        let back = world.sent_back(&mut browser, LaunchContext::of(&patient(&world, 0))).await;
        let state = back.query_pairs().find(|(n, _)| n == "state").unwrap().1.into_owned();
        assert!(state.len() >= 43, "256 bits: {state}");
        let waiting = world.lines("SELECT state || ' ' || browser AS line FROM sign_in");
        assert!(waiting.len() == 1 && !waiting[0].contains(&state) && !waiting[0].contains(&browser.cookies["engage-begun"]));
        browser.get(&back).await.lands_at();
        let kept = world.lines("SELECT id || csrf AS line FROM session");
        assert!(kept.len() == 1 && !kept[0].contains(&browser.cookies["engage"]));
        assert_eq!((world.count("user_grant"), world.count("access_token")), (1, 1), "it got a token that can be renewed");
        // Neither command shows the grants of launches among those that a person has to look after.
        assert!(world.app.store.read_blocking(fhir_engage::store::grants::list).unwrap().is_empty());
    }

    async fn a_grant_is_renewed_by_one_at_a_time_and_given_back_at_the_end(db) {
        let world = World::begin(db, Kind::Basic).await;
        let (id, mut browser) = (patient(&world, 0), world.browser());
        let path = world.launched(&mut browser, LaunchContext::of(&id)).await.lands_at();
        let launches = world.app.launches();
        let sees = async || launches.sight(&world.opened(&path).await).await.unwrap();
        use fhir_engage::smart::Sight;
        let reads = || world.asked("GET", &format!("/fhir/Patient/{id}"));
        assert_eq!((sees().await, reads()), (Sight::Shown, 1), "the answer of the launch is fresh");
        // Past the token's life of five minutes: the EHR is asked anew, under a renewed token, and by one only.
        let tokens = world.asked("POST", "/auth/token");
        world.clock.advance(TimeDelta::minutes(6));
        let both = tokio::join!(sees(), sees());
        assert_eq!(both, (Sight::Shown, Sight::Shown));
        assert_eq!(world.asked("POST", "/auth/token"), tokens + 1, "one refresh for both: a second one would have ended the grant");
        world.clock.advance(TimeDelta::minutes(6));
        assert_eq!(sees().await, Sight::Shown, "the rotated refresh token was kept");
        assert!(world.ehr.tokens_of_users() > 0);

        let csrf = world.lines("SELECT csrf AS line FROM session").remove(0);
        browser.sends("/signout", &[("csrf", &csrf)]).await.lands_at();
        for _ in 0..200 {
            if world.count("user_grant") + world.count("access_token") == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!((world.count("user_grant"), world.count("access_token"), world.count("opening")), (0, 0, 0));
        assert!(world.asked("POST", "/auth/revoke") >= 1 && world.ehr.tokens_of_users() == 0, "the EHR was told");
        assert!(!browser.cookies.contains_key("engage"));
    }
}

async fn with(odd: Odd) -> (World, crate::web::fixture::Answer) {
    let world = World::begin(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public).await;
    world.ehr.plant(Fault::new(FaultKind::OddGrant { how: odd }).on("POST", "/auth/token"));
    let context = LaunchContext::of(&patient(&world, 0));
    let answer = world.launched(&mut world.browser(), context).await;
    (world, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rare_and_right_is_taken() {
    for odd in [Odd::Rs256, Odd::Es256, Odd::NoKid, Odd::AudienceList, Odd::FractionalTimes, Odd::OtherDialect, Odd::NoScope] {
        let (world, answer) = with(odd).await;
        assert_eq!(answer.status, 303, "{odd:?}: {}", answer.body);
        assert_eq!(world.opening(&answer.lands_at()).unwrap().verdict, "allowed", "{odd:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_lets_nobody_in_and_says_why() {
    for (odd, status, says) in [
        (Odd::NoIdToken, 502, "no id_token"),
        (Odd::Unsigned, 502, "not taken"),
        (Odd::SharedSecret, 502, "not taken"),
        (Odd::OtherKey, 502, "does not verify"),
        (Odd::OtherIssuer, 502, "another issuer"),
        (Odd::OtherAudience, 502, "another client"),
        (Odd::OtherNonce, 502, "another request"),
        (Odd::Expired, 502, "expired"),
        (Odd::NotYet, 502, "not issued just now"),
        (Odd::NoFhirUser, 403, "no role here"),
        (Odd::PatientUser, 403, "no role here"),
        (Odd::ForeignUser, 403, "no role here"),
        (Odd::NoReading, 403, "was not granted"),
    ] {
        let (world, answer) = with(odd).await;
        answer.refuses(status, says);
        assert_eq!((world.count("session"), world.count("opening"), world.count("user_grant")), (0, 0, 0), "{odd:?}");
        assert!(
            answer.headers["content-security-policy"].contains("frame-ancestors http://127.0.0.1:"),
            "{odd:?}: it stands in the EHR's frame"
        );
    }
    // A launch from the EHR that is about nobody signs in; one that was promised a patient does not.
    let (world, answer) = with(Odd::NoPatient).await;
    assert_eq!((answer.lands_at().as_str(), world.count("opening")), ("/", 0));
    let mut launch = world.launch().await;
    launch.scopes = Some(["openid", "fhirUser", "launch", "launch/patient", "user/Patient.rs"].map(str::to_owned).to_vec());
    world.launches_by(launch).await;
    world.launched(&mut world.browser(), LaunchContext::default()).await.refuses(502, "which patient");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_of_the_site_says_what_somebody_is() {
    let staff = "roles = [\"north/Practitioner/prac-02 = care-manager, auditor\", \"Practitioner = front-desk\"]";
    let world = World::configured(Database::fresh(Backend::Sqlite).unwrap(), Kind::Public, staff).await;
    let id = patient(&world, 0);
    for (number, roles, clinical) in [("prac-01", "front-desk", false), ("prac-02", "care-manager,auditor", true)] {
        world.ehr.sit_down(User { subject: number.to_owned(), name: "Kim".to_owned(), fhir_user: format!("Practitioner/{number}") });
        let mut browser = world.browser();
        let path = world.launched(&mut browser, LaunchContext::of(&id)).await.lands_at();
        let opening = world.opened(&path).await;
        assert_eq!(opening.what.roles.to_string(), roles);
        assert_eq!((opening.may(Right::SeeClinical), opening.may(Right::RunSync)), (clinical, false), "{number}");
    }
}
