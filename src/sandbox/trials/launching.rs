//! Launches as the pretend EHR gives them: a launch works once, a user sees what is not hidden, and a token of one patient opens no other.

use ring::digest::{SHA256, digest};

use super::*;
use crate::{App, LaunchContext, User};

const BACK: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn app(scopes: &str) -> App {
    App { launch_url: Some("http://127.0.0.1:9/launch".to_owned()), ..App::public("app", BACK, scopes) }
}

fn value(url: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn authorize(sandbox: &Sandbox, scope: &str, more: &[(&str, &str)]) -> Response {
    let (base, challenge) = (sandbox.base_url(), URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes())));
    let fixed = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", BACK),
        ("scope", scope),
        ("state", "s"),
        ("aud", base.as_str()),
        ("nonce", "n-1"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fixed).extend_pairs(more).finish();
    get(sandbox, &format!("/auth/authorize?{query}"))
}

fn redeem(sandbox: &Sandbox, code: &str) -> Response {
    let form =
        [("grant_type", "authorization_code"), ("client_id", "app"), ("code", code), ("redirect_uri", BACK), ("code_verifier", VERIFIER)];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    send(sandbox, "POST", "/auth/token", &[("Content-Type", "application/x-www-form-urlencoded")], &body).unwrap()
}

fn read(sandbox: &Sandbox, token: &str, path: &str) -> u16 {
    send(sandbox, "GET", path, &[("Authorization", &format!("Bearer {token}"))], "").unwrap().status
}

#[test]
fn a_launch_works_once_and_tells_its_context() {
    let (config, _) = config();
    let sandbox = begin(config);
    sandbox.load(["p1", "p2"].map(|id| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}"))).unwrap();
    sandbox.register_app(app("patient/Patient.rs"));
    sandbox.sit_down(User { subject: "u-2".to_owned(), name: "Two".to_owned(), fhir_user: "Practitioner/prac-02".to_owned() });
    let context = LaunchContext { need_patient_banner: Some(false), ..LaunchContext::of("p1") };
    let start = sandbox.open_app("app", context).unwrap();
    assert_eq!(value(&start, "iss"), Some(sandbox.base_url()));
    let launch = value(&start, "launch").unwrap();
    let scope = "openid fhirUser launch patient/Patient.rs";
    let missing = authorize(&sandbox, scope, &[]);
    assert_eq!(value(missing.header("location").unwrap(), "error").as_deref(), Some("invalid_request"));
    let answer = authorize(&sandbox, scope, &[("launch", &launch)]);
    let code = value(answer.header("location").unwrap(), "code").unwrap();
    let again = authorize(&sandbox, scope, &[("launch", &launch)]);
    assert_eq!(value(again.header("location").unwrap(), "error").as_deref(), Some("invalid_request"));
    let told = redeem(&sandbox, &code).json();
    assert_eq!((told["patient"].as_str(), told["need_patient_banner"].as_bool()), (Some("p1"), Some(false)));
    let claims = told["id_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!((claims["sub"].as_str(), claims["nonce"].as_str(), claims["aud"].as_str()), (Some("u-2"), Some("n-1"), Some("app")));
    assert_eq!(claims["fhirUser"], format!("{}/Practitioner/prac-02", sandbox.base_url()));
    let token = told["access_token"].as_str().unwrap();
    assert_eq!(
        (read(&sandbox, token, "/fhir/Patient/p1"), read(&sandbox, token, "/fhir/Patient/p2")),
        (200, 403),
        "a token of one patient"
    );
    sandbox.hide("u-2", "p1", true);
    assert_eq!(read(&sandbox, token, "/fhir/Patient/p1"), 403);
    sandbox.hide("u-2", "p1", false);
    assert_eq!(read(&sandbox, token, "/fhir/Patient/p1"), 200);
}

#[test]
fn a_person_chooses_the_patient_of_a_launch_that_begins_at_the_app() {
    let (config, _) = config();
    let sandbox = begin(config);
    sandbox.load([r#"{"resourceType":"Patient","id":"p1","name":[{"family":"O<x>","given":["A"]}]}"#.to_owned()]).unwrap();
    sandbox.register_app(app("user/Patient.rs"));
    let page = authorize(&sandbox, "openid launch/patient user/Patient.rs", &[]);
    let text = String::from_utf8(page.body).unwrap();
    assert!(page.status == 200 && text.contains("O&lt;x&gt;, A") && text.contains("chosen=p1"), "{text}");
    let answer = authorize(&sandbox, "openid launch/patient user/Patient.rs", &[("chosen", "p1")]);
    let code = value(answer.header("location").unwrap(), "code").unwrap();
    assert_eq!(redeem(&sandbox, &code).json()["patient"], "p1");
}
