//! The walk of a connection: each fault has its own sentence.

use std::io::{Read, Write};
use std::sync::Arc;

use chrono::TimeDelta;
use fhir_engage::ehr::auth::Algorithm;
use fhir_engage::ehr::check::{Report, Verdict, check, check_with};
use fhir_engage::ehr::profile::{AppLaunch, Auth, UserGrant};
use fhir_engage::ehr::{Credential, Profile};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sandbox::{Fault, FaultKind};

use super::support::{World, key, static_token};

/// The only problem, which says this and offers a remedy.
fn only_problem(report: &Report, step: &str, says: &str) {
    let problems: Vec<_> = report.problems().collect();
    assert_eq!(problems.len(), 1, "{report:#?}");
    assert_eq!(problems[0].name, step, "{report:#?}");
    assert!(problems[0].says.contains(says), "{report:#?}");
    assert!(problems[0].remedy.as_deref().is_some_and(|r| !r.is_empty()), "{report:#?}");
}

#[tokio::test]
async fn a_sound_connection_has_no_problem() {
    let world = World::start().await;
    let report = check(&world.profile, &world.parts).await;
    assert!(report.is_ok() && report.steps.iter().all(|s| s.verdict == Verdict::Ok), "{report:#?}");
    let names: Vec<&str> = report.steps.iter().map(|s| s.name.as_str()).collect();
    let searches = ["search Patient", "search Appointment", "search CarePlan"];
    assert_eq!(names, [&["reach", "fhir", "discovery", "keys", "clock", "token", "scopes"][..], &searches].concat());
    let says = |name: &str| report.steps.iter().find(|s| s.name == name).map(|s| s.says.as_str()).unwrap();
    assert!(says("keys").contains("(ES384) signs for this gateway"), "{report:#?}");
    assert!(
        says("search Patient").contains("Patient?_lastUpdated=ge") && says("search Patient").contains("_count sets the page size"),
        "{report:#?}"
    );
    assert_eq!(world.asked("POST", "/fhir"), 0, "a check only reads");
}

#[tokio::test]
async fn a_wrong_key_an_unknown_client_and_a_wrong_clock_are_told_apart() {
    for (algorithm, says) in [(Algorithm::Es384, "signing key"), (Algorithm::Rs384, "signing key")] {
        let mut world = World::with(algorithm, "system/*.cruds").await;
        world.parts.credential = key(algorithm).1;
        only_problem(&check(&world.profile, &world.parts).await, "token", says);
    }

    let mut world = World::start().await;
    let Auth::BackendServices(auth) = &mut world.profile.auth else { panic!("no backend services") };
    auth.client_id = "somebody-else".to_owned();
    only_problem(&check(&world.profile, &world.parts).await, "token", "does not know this client id");

    for (minutes, says) in [(10, "10 minutes behind"), (-10, "10 minutes ahead of")] {
        let world = World::start().await;
        world.ehr.advance(TimeDelta::minutes(minutes).num_microseconds().unwrap());
        let report = check(&world.profile, &world.parts).await;
        let told: Vec<_> = report.problems().collect();
        assert_eq!(told.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["clock", "token"], "{report:#?}");
        assert!(told.iter().all(|s| s.says.contains(says)), "{report:#?}");
    }
}

#[tokio::test]
async fn a_base_that_is_not_fhir_is_named_so() {
    let mut world = World::start().await;
    world.ehr.plant(Fault::new(FaultKind::NotJson).on("GET", "/fhir/metadata"));
    only_problem(&check(&world.profile, &world.parts).await, "fhir", "not that of a FHIR R4 server");
    world.profile.base_url = Some(world.ehr.base_url().replace("/fhir", "/portal").parse().unwrap());
    only_problem(&check(&world.profile, &world.parts).await, "fhir", "not that of a FHIR R4 server");
}

#[tokio::test]
async fn an_ehr_that_is_not_there_is_named_so() {
    let mut world = World::start().await;
    world.profile.base_url = Some("http://127.0.0.1:9/fhir".parse().unwrap());
    only_problem(&check(&world.profile, &world.parts).await, "reach", "connection was refused");
}

#[tokio::test]
async fn missing_scopes_are_listed_and_cost_only_what_they_are_for() {
    let world = World::with(Algorithm::Es384, "system/Patient.rs system/CarePlan.rs").await;
    let report = check(&world.profile, &world.parts).await;
    let told: Vec<&str> = report.problems().map(|s| s.name.as_str()).collect();
    assert_eq!(told, ["scopes", "search Appointment"], "{report:#?}");
    assert!(report.problems().any(|s| s.says.contains("system/Appointment.rs system/Communication.crs")), "{report:#?}");

    let world = World::with(Algorithm::Es384, "system/*.rs").await;
    let report = check(&world.profile, &world.parts).await;
    assert!(report.is_ok(), "a sync can do without writing: {report:#?}");
    assert!(report.steps.iter().any(|s| s.verdict == Verdict::Warning && s.says.contains("system/Communication.c")), "{report:#?}");
}

#[tokio::test]
async fn a_server_that_wants_a_token_is_not_open() {
    let mut world = World::start().await;
    world.profile.auth = Auth::None;
    world.parts.credential = Credential::None;
    only_problem(&check(&world.profile, &world.parts).await, "search Patient", "asks for authorisation");
    world.profile.auth = Auth::Bearer { token: "env:TOKEN".to_owned() };
    world.parts.credential = static_token("stale");
    let report = check(&world.profile, &world.parts).await;
    assert!(!report.is_ok() && report.problems().all(|s| s.says.contains("asks for authorisation")), "{report:#?}");
}

#[tokio::test]
async fn a_certificate_that_does_not_verify_is_named_so() {
    let world = World::start().await;
    let port = serve_tls(include_bytes!("tls/server.pem"));
    let profile = |host: &str, extra_ca: bool| Profile {
        base_url: Some(format!("https://{host}:{port}/fhir").parse().unwrap()),
        extra_ca: extra_ca.then(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ehr/tls/ca.pem").into()),
        ..Profile::default()
    };
    only_problem(&check(&profile("127.0.0.1", false), &world.parts).await, "reach", "extra CA");
    only_problem(&check(&profile("localhost", true), &world.parts).await, "reach", "another host name");
    let self_signed = serve_tls(include_bytes!("tls/self-signed.pem"));
    let own = Profile { base_url: Some(format!("https://127.0.0.1:{self_signed}/fhir").parse().unwrap()), ..Profile::default() };
    only_problem(&check(&own, &world.parts).await, "reach", "does not verify: it is self-signed");
    // With the authority trusted and the right name, the next thing is found: it is no FHIR server.
    only_problem(&check(&profile("127.0.0.1", true), &world.parts).await, "fhir", "not that of a FHIR R4 server");
}

/// A TLS server for 127.0.0.1 with this certificate, which answers 404 to everything.
fn serve_tls(certificate: &[u8]) -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let private = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key.pem")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), socket);
            let mut request = [0; 4096];
            if tls.read(&mut request).is_ok() {
                let _closed_already = tls.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        }
    });
    port
}

/// The steps of a name that found something, as (verdict, says).
fn found(report: &Report, step: &str) -> Vec<(Verdict, String)> {
    let of = report.steps.iter().filter(|s| s.name == step && s.verdict != Verdict::Ok);
    of.map(|s| (s.verdict, s.says.clone())).collect()
}

#[tokio::test]
async fn a_search_that_is_answered_otherwise_than_asked_is_told() {
    for (echo, says) in [(true, "ignores _lastUpdated"), (false, "ignores _lastUpdated")] {
        let world = World::start().await;
        world.ehr.plant(Fault::new(FaultKind::IgnoresFilter { echo }).on("GET", "/fhir/Patient").times(100));
        let report = check(&world.profile, &world.parts).await;
        assert!(found(&report, "search Patient").iter().any(|(_, told)| told.contains(says)), "{report:#?}");
        assert_eq!(found(&report, "search Appointment"), [], "{report:#?}");
        world.ehr.clear_faults();
    }
    let world = World::start().await;
    let origin = "http://127.0.0.1:9".to_owned();
    world.ehr.plant(Fault::new(FaultKind::NextLinkOnOtherHost { origin }).on("GET", "/fhir/CarePlan"));
    only_problem(&check(&world.profile, &world.parts).await, "search CarePlan", "next");
}

#[tokio::test]
async fn what_is_read_patient_by_patient_is_tried_on_a_test_patient_only() {
    let mut world = World::speaking(sandbox::Flavour::Epic).await;
    world.profile.roster = vec![fhir_engage::ehr::reads::RosterSource::Group("panel".to_owned())];
    let report = check(&world.profile, &world.parts).await;
    assert!(found(&report, "roster").iter().any(|(v, says)| *v == Verdict::Problem && says.contains("Group")), "{report:#?}");
    let ids: Vec<String> = world.ehr.resources("Patient").iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    world.ehr.load([crate::sync::setup::group(&ids)]).unwrap();
    let report = check(&world.profile, &world.parts).await;
    assert!(report.is_ok() && report.steps.iter().any(|s| s.name == "roster" && s.says.contains("30 members")), "{report:#?}");
    assert_eq!(world.asked("GET", "/fhir/Patient/"), 0, "nobody is looked at for a check");

    let patient = domain::model::FhirId::parse(&ids[3]);
    let report = check_with(&world.profile, &world.parts, patient.as_ref()).await;
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!(world.asked("GET", &format!("/fhir/Patient/{}", ids[3])), 1);
    for kind in ["Appointment", "CarePlan"] {
        let log = world.ehr.request_log();
        let searches: Vec<&str> = log.iter().map(|r| r.path.as_str()).filter(|p| p.starts_with(&format!("/fhir/{kind}?"))).collect();
        assert!(!searches.is_empty() && searches.iter().all(|p| p.contains(&ids[3])), "{searches:?}");
    }
    assert!(!report.steps.iter().any(|s| format!("{s:?}").contains(&ids[3])), "a report names nobody: {report:#?}");
    world.ehr.plant(Fault::new(FaultKind::IgnoresFilter { echo: false }).on("GET", "/fhir/CarePlan").times(2));
    let report = check_with(&world.profile, &world.parts, patient.as_ref()).await;
    let told = found(&report, "search CarePlan");
    assert!(told.iter().any(|(v, says)| *v == Verdict::Warning && says.contains("did not apply patient, category")), "{report:#?}");
    world.ehr.clear_faults();
    let nobody = domain::model::FhirId::parse("nobody");
    let report = check_with(&world.profile, &world.parts, nobody.as_ref()).await;
    assert!(found(&report, "search Patient").iter().any(|(_, says)| says.contains("not there")), "{report:#?}");
    let codes: Vec<&str> = report.steps.iter().map(|s| s.code.as_str()).collect();
    assert!(codes.contains(&"search-patient.problem") && codes.contains(&"roster.ok"), "{codes:?}");
}

#[tokio::test]
async fn an_odd_statement_has_a_clear_sentence() {
    let world = World::start().await;
    let stated = |text: &str| {
        world.ehr.pretend(Some(text));
        check(&world.profile, &world.parts)
    };
    for (text, says) in [
        ("<html>sign in</html>", "not JSON"),
        (r#"{"resourceType":"Patient"}"#, "not a CapabilityStatement"),
        (r#"{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}"#, "FHIR 5.0.0"),
        (r#"{"resourceType":"CapabilityStatement","fhirVersion":"3.0.2"}"#, "FHIR 3.0.2"),
    ] {
        only_problem(&stated(text).await, "fhir", says);
    }
    let report = stated(r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#).await;
    assert!(found(&report, "fhir").iter().any(|(_, says)| says.contains("lists no resource type")), "{report:#?}");
    // R4B has what is read here as R4 has it; and a statement may be long.
    let row = |kind: &str| format!(r#"{{"type":"{kind}","interaction":[{{"code":"read"}},{{"code":"search-type"}}]}}"#);
    let rows = ["Patient", "Appointment", "CarePlan"].map(row).join(",");
    let long = format!(
        r#"{{"resourceType":"CapabilityStatement","fhirVersion":"4.3.0","description":"{}","rest":[{{"mode":"server","resource":[{rows}]}}]}}"#,
        "x".repeat(10 * 1024 * 1024)
    );
    let report = stated(&long).await;
    assert!(report.is_ok(), "{report:#?}");
}

/// An EHR of which only what it says of its authorization server is there; each path with its answer.
fn saying(answers: Vec<(&'static str, serde_json::Value)>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let own = base.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 4096];
            let n = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..n]).into_owned();
            let path = asked.split(' ').nth(1).unwrap_or_default();
            let found = answers.iter().find(|(at, _)| *at == path).map(|(_, body)| body.to_string().replace("BASE", &own));
            let (status, body) = found.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    base
}

async fn launch_of(base: &str, grant: UserGrant, own: Option<&str>) -> Report {
    let mut world = World::start().await;
    world.profile.base_url = Some(format!("{base}/fhir").parse().unwrap());
    world.profile.launch = Some(Box::new(AppLaunch { auth: Auth::UserGrant(grant), ..AppLaunch::default() }));
    world.parts.credential = Credential::None;
    let mut report = Report::default();
    let own = own.map(|url| url.parse().unwrap());
    fhir_engage::ehr::check::try_launch(&mut report, &world.profile, &world.parts, own.as_ref()).await;
    report
}

fn said(report: &Report) -> Vec<(&str, Verdict)> {
    report.steps.iter().map(|s| (s.name.as_str(), s.verdict)).collect()
}

fn public() -> UserGrant {
    UserGrant { client_id: "app".to_owned(), ..UserGrant::default() }
}

const SMART: &str = "/fhir/.well-known/smart-configuration";
const OWN: Option<&str> = Some("https://engage.example.org");

#[tokio::test]
async fn a_launch_is_walked_as_far_as_a_machine_can() {
    let world = World::start().await;
    let base = world.ehr.base_url().replace("/fhir", "");
    let report = launch_of(&base, public(), OWN).await;
    let steps = ["launch", "launch pkce", "launch capabilities", "launch identity", "launch keys", "launch addresses"];
    assert_eq!(said(&report), steps.map(|s| (s, Verdict::Ok)), "{report:#?}");
    let told = &report.steps[5].says;
    assert!(told.contains("https://engage.example.org/launch,") && told.contains("https://engage.example.org/callback"), "{told}");
    // Without a launch nothing is said of one.
    let mut none = Report::default();
    fhir_engage::ehr::check::try_launch(&mut none, &world.profile, &world.parts, None).await;
    assert!(none.steps.is_empty());
    let nowhere = launch_of(&base, public(), None).await;
    // On one machine it works all the same.
    assert_eq!(said(&nowhere).last(), Some(&("launch addresses", Verdict::Warning)), "{nowhere:#?}");
    assert!(nowhere.is_ok() && nowhere.steps[5].says.contains("does not know its own address"), "{nowhere:#?}");
    only_problem(&launch_of(&base, public(), Some("http://engage.example.org")).await, "launch addresses", "to be registered");
}

#[tokio::test]
async fn what_keeps_a_launch_from_working_is_told_with_a_remedy() {
    let whole = serde_json::json!({
        "authorization_endpoint": "BASE/authorize", "token_endpoint": "BASE/token", "issuer": "BASE/oidc", "jwks_uri": "BASE/keys",
        "revocation_endpoint": "BASE/revoke", "code_challenge_methods_supported": ["S256"],
        "capabilities": ["launch-ehr", "launch-standalone", "context-ehr-patient", "permission-user", "client-public", "sso-openid-connect"],
    });
    let keys = serde_json::json!({ "keys": [{ "kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "sig" }] });
    let oidc = serde_json::json!({ "issuer": "BASE/oidc" });
    let with = |name: &str, value: serde_json::Value| {
        let mut changed = whole.clone();
        changed[name] = value;
        changed
    };
    let without = |name: &str| {
        let mut changed = whole.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    let at = "/oidc/.well-known/openid-configuration";
    let sound = saying(vec![(SMART, whole.clone()), (at, oidc.clone()), ("/keys", keys.clone())]);
    let report = launch_of(&sound, public(), OWN).await;
    assert!(report.steps.iter().all(|s| s.verdict == Verdict::Ok), "{report:#?}");
    for (smart, oidc, keys, step, verdict, says) in [
        (without("authorization_endpoint"), &oidc, &keys, "launch", Verdict::Problem, ""),
        (with("code_challenge_methods_supported", serde_json::json!(["plain"])), &oidc, &keys, "launch", Verdict::Problem, "S256"),
        (without("code_challenge_methods_supported"), &oidc, &keys, "launch pkce", Verdict::Warning, "does not say"),
        (without("capabilities"), &oidc, &keys, "launch capabilities", Verdict::Warning, "lists no capabilities"),
        (
            with("capabilities", serde_json::json!(["sso-openid-connect"])),
            &oidc,
            &keys,
            "launch capabilities",
            Verdict::Warning,
            "launch-ehr",
        ),
        (without("issuer"), &oidc, &keys, "launch identity", Verdict::Problem, "who signs"),
        (
            whole.clone(),
            &serde_json::json!({ "issuer": "https://other.example.org" }),
            &keys,
            "launch identity",
            Verdict::Problem,
            "another issuer",
        ),
        (whole.clone(), &oidc, &serde_json::json!({ "keys": [{ "kty": "oct" }] }), "launch keys", Verdict::Problem, "no key"),
        (with("jwks_uri", "BASE/nowhere".into()), &oidc, &keys, "launch keys", Verdict::Problem, "cannot be read"),
        (with("jwks_uri", "https://keys.example.org/".into()), &oidc, &keys, "launch keys", Verdict::Problem, "cannot be read"),
        (without("revocation_endpoint"), &oidc, &keys, "launch end", Verdict::Warning, "no revocation endpoint"),
    ] {
        let base = saying(vec![(SMART, smart), (at, oidc.clone()), ("/keys", keys.clone())]);
        let report = launch_of(&base, public(), OWN).await;
        let found = report
            .steps
            .iter()
            .find(|s| s.name == step && s.verdict != Verdict::Ok)
            .unwrap_or_else(|| panic!("{step} {says}: {report:#?}"));
        assert_eq!(found.verdict, verdict, "{report:#?}");
        assert!(found.says.contains(says) && found.remedy.as_ref().is_some_and(|r| !r.is_empty()), "{says}: {found:#?}");
    }
    // A client that shows who it is in a way that is not listed.
    let symmetric = UserGrant { secret: Some("env:X".to_owned()), ..public() };
    let mut secret = World::start().await;
    secret.parts.credential = Credential::None;
    let report = launch_of(&sound, symmetric, OWN).await;
    assert!(report.steps.iter().any(|s| s.verdict != Verdict::Ok), "{report:#?}");
}
