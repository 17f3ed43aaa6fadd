//! Without an override the whole gateway asks nothing of an EHR that its own statement does not list: sync, outreach, write-back and check, as
//! the built binary runs them, at a server of each vendor that refuses and counts what it does not state.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Clock as _, Timestamp};
use fhir_engage::app::SystemClock;
use sandbox::{Config, Flavour, Population, Sandbox};

use crate::kill::Installation;
use crate::support::{Backend, on_both};
use crate::sync::setup::group;

const PATIENTS: u32 = 12;

const CONFIGURATION: &str = r#"
[site]
name = "Maple Street Clinic"
time_zone = "America/New_York"
phone = "+1 212 555 0100"
[worker]
lease = "60s"
[write_back]
settle_delay = "1s"
"#;

/// Five past one in New York: no quiet hours.
fn clock() -> SystemClock {
    SystemClock::showing(Timestamp::parse("2026-11-23T18:05:00Z").unwrap())
}

async fn strict(flavour: Flavour, gateway: &Installation) -> Sandbox {
    let clock = clock();
    gateway.set_clock(clock);
    let config = Config { strict: true, flavour, page_size_default: 5, ..Config::new(Arc::new(move || clock.now().micros())) };
    let ehr = sandbox::start(config).await.unwrap();
    let people = Population { patients: PATIENTS, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
    ehr.load(people.resources()).unwrap();
    ehr.load([group(&(1..=PATIENTS).map(|n| format!("pat-{n:06}")).collect::<Vec<_>>())]).unwrap();
    let jwks = serde_json::from_str(&gateway.run(&["keys", "jwks", "--alg", "ES384"])).unwrap();
    ehr.register(sandbox::Client { client_id: "gateway".to_owned(), jwks, scopes: vec!["system/*.cruds".to_owned()] });
    ehr
}

/// What was done at an EHR: types and interactions, answered well.
fn done(ehr: &Sandbox) -> BTreeSet<String> {
    let well = ehr.request_log().into_iter().filter(|r| (200..300).contains(&r.status));
    let of = |path: &str| {
        let path = path.trim_start_matches("/fhir/");
        let segments: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
        let rest = if segments.last().is_some_and(|s| s.starts_with('$')) {
            " export"
        } else if segments.len() > 1 {
            " one"
        } else {
            ""
        };
        format!("{}{rest}", segments[0])
    };
    well.filter(|r| r.path.starts_with("/fhir/")).map(|r| format!("{} {}", r.method, of(&r.path))).collect()
}

on_both! {
    async fn nothing_is_asked_that_a_strict_server_does_not_state(db) {
        let backend = db.backend();
        drop(db);
        // All of them on SQLite: what is asked does not depend on the engine.
        let every = if backend == Backend::Postgres { 4 } else { 1 };
        for flavour in Flavour::ALL.into_iter().step_by(every) {
            let gateway = Installation::with(crate::support::Database::fresh(backend).unwrap(), CONFIGURATION);
            let ehr = strict(flavour, &gateway).await;
            let base = ehr.base_url();
            gateway.run(&[
                "ehr", "add", "north", "--url", &base, "--client-id", "gateway", "--key-alg", "ES384", "--vendor", flavour.name(),
                "--group", "panel", "--location", "loc-1", "--types", "all",
            ]);
            for _ in 0..2 {
                // What a vendor does not give is told, and no failure of the gateway.
                let ran = gateway.start(&["work", "--once", "--json"]).wait();
                assert!(matches!(ran.code, Some(0 | 1)), "{flavour:?}: {ran:?}");
            }
            for args in [&["writeback", "run"][..], &["sync", "run"], &["ehr", "check", "north", "--deep", "--test-patient", "pat-000003"]] {
                let ran = gateway.start(args).wait();
                assert!(matches!(ran.code, Some(0 | 1)), "{flavour:?} {args:?}: {ran:?}");
            }
            assert_eq!(ehr.unstated(), Vec::<String>::new(), "{flavour:?}");
            // And it did ask.
            let done = done(&ehr);
            let wanted: &[&str] = match flavour {
                Flavour::FullR4 => &["GET Patient", "GET Appointment", "GET CarePlan", "GET Observation", "POST Communication", "PUT Communication one"],
                Flavour::Epic => &["GET Patient one", "GET Appointment", "GET CarePlan", "GET Group export", "POST Communication"],
                Flavour::Oracle | Flavour::Meditech => &["GET Patient one", "GET Appointment", "GET Group one", "GET export-files one"],
                Flavour::Athena => &["GET Patient one", "GET Group one", "GET Condition", "GET export-files one"],
                _ => &["GET Patient one", "GET Group one", "GET Condition"],
            };
            for what in wanted {
                assert!(done.contains(*what), "{flavour:?}: {what} is not in {done:?}");
            }
        }
    }

    async fn a_strict_server_refuses_and_counts_what_the_operator_insists_on(db) {
        let gateway = Installation::with(db, CONFIGURATION);
        let ehr = strict(Flavour::Epic, &gateway).await;
        // The operator's word stands above the statement, and is the only thing that does.
        gateway.run(&[
            "ehr", "add", "north", "--url", &ehr.base_url(), "--client-id", "gateway", "--key-alg", "ES384", "--vendor", "epic",
            "--strategy", "CarePlan=cursor",
        ]);
        let ran = gateway.start(&["sync", "run", "--type", "CarePlan"]).wait();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ehr.unstated().iter().all(|what| what.starts_with("CarePlan search-type by")) && !ehr.unstated().is_empty(), "{:?}", ehr.unstated());
    }
}
