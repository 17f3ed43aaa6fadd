//! Every rule of SMART Backend Services, broken one at a time.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::*;

fn guarded(key: &Key, scopes: &[&str]) -> (Sandbox, Arc<AtomicI64>) {
    let (config, clock) = config();
    (begin(Config { clients: vec![client(key, scopes)], ..config }), clock)
}

fn bearer(sandbox: &Sandbox, method: &str, path: &str, token: &str) -> Response {
    send(sandbox, method, path, &[("Authorization", &format!("Bearer {token}"))], "").unwrap()
}

#[test]
fn both_algorithms_give_a_token_that_opens_what_was_granted() {
    for key in [Key::ec(), Key::rsa()] {
        let (sandbox, clock) = guarded(&key, &["system/Patient.rs", "system/Communication.cruds"]);
        sandbox.load(population(2).resources()).unwrap();
        let answer = token(&sandbox, &key, "a", "system/Patient.rs system/Appointment.rs system/Communication.c");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        assert_eq!(body["scope"], "system/Patient.rs system/Communication.c");
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(300)));
        let token = body["access_token"].as_str().unwrap();
        let status = |method, path| bearer(&sandbox, method, path, token).status;
        assert_eq!(status("GET", "/fhir/Patient"), 200);
        assert_eq!(status("GET", "/fhir/Patient/pat-000001"), 200);
        assert_eq!(status("GET", "/fhir/Appointment"), 403);
        assert_eq!(status("GET", "/fhir/Communication"), 403);
        assert_eq!(status("DELETE", "/fhir/Patient/pat-000001"), 403);
        clock.fetch_add(300 * SECOND, Ordering::Relaxed);
        let late = bearer(&sandbox, "GET", "/fhir/Patient", token);
        assert_eq!(late.status, 401);
        assert!(late.header("www-authenticate").unwrap().contains("invalid_token"));
        assert_eq!(late.json()["resourceType"], "OperationOutcome");
    }
}

#[test]
fn without_a_token_only_discovery_answers() {
    let (sandbox, _) = guarded(&Key::ec(), &[]);
    assert_eq!(get(&sandbox, "/fhir/metadata").json()["fhirVersion"], "4.0.1");
    assert_eq!(get(&sandbox, "/fhir/.well-known/smart-configuration").json()["token_endpoint"], sandbox.token_url());
    for path in ["/fhir/Patient", "/fhir/Patient/x", "/fhir/Nonsense", "/fhir/Patient/x/_history/1"] {
        let answer = get(&sandbox, path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer realm=\"sandbox\"")), "{path}");
    }
    assert_eq!(get(&sandbox, "/sandbox/counts").status, 404);
    assert_eq!(get(&sandbox, "/fhir/Patient").header("date"), Some("Mon, 23 Nov 2026 15:00:00 GMT"));
}

type Break = fn(&mut Value, &mut Value);

#[test]
fn an_assertion_that_breaks_a_rule_is_refused() {
    let cases: [(&str, Break); 19] = [
        ("typ is missing", |header, _| drop(header.as_object_mut().unwrap().remove("typ"))),
        ("typ is another", |header, _| header["typ"] = json!("at+jwt")),
        ("kid is missing", |header, _| drop(header.as_object_mut().unwrap().remove("kid"))),
        ("kid is unknown", |header, _| header["kid"] = json!("k2")),
        ("alg is none", |header, _| header["alg"] = json!("none")),
        ("alg is HS256", |header, _| header["alg"] = json!("HS256")),
        ("alg is of the other key type", |header, _| header["alg"] = json!("RS384")),
        ("jku was not registered", |header, _| header["jku"] = json!("https://example.org/jwks")),
        ("iss is unknown", |_, claims| (claims["iss"], claims["sub"]) = (json!("other"), json!("other"))),
        ("iss and sub differ", |_, claims| claims["sub"] = json!("other")),
        ("sub is missing", |_, claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("aud has a slash too many", |_, claims| claims["aud"] = json!(format!("{}/", claims["aud"].as_str().unwrap()))),
        ("aud is the FHIR base", |_, claims| claims["aud"] = json!(claims["aud"].as_str().unwrap().replace("/auth/token", "/fhir"))),
        ("exp is missing", |_, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("exp is a string", |_, claims| claims["exp"] = json!("1795446200")),
        ("exp is now", |_, claims| claims["exp"] = json!(NOW / SECOND)),
        ("exp is too far ahead", |_, claims| claims["exp"] = json!(NOW / SECOND + 301)),
        ("nbf is ahead", |_, claims| claims["nbf"] = json!(NOW / SECOND + 1)),
        ("jti is missing", |_, claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
    ];
    let key = Key::ec();
    let (sandbox, _) = guarded(&key, &["system/*.rs"]);
    for (name, broken) in cases {
        let mut header = json!({ "typ": "JWT", "alg": "ES384", "kid": "k1" });
        let mut claims = json!({ "iss": "gateway", "sub": "gateway", "aud": sandbox.token_url(), "exp": NOW / SECOND + 300, "jti": name });
        broken(&mut header, &mut claims);
        let answer = ask(&sandbox, &key.sign(&header, &claims), "system/Patient.rs");
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")), "{name}");
    }
    assert_eq!(token(&sandbox, &Key::ec(), "foreign", "system/Patient.rs").status, 401, "signed by another key");
    assert_eq!(ask(&sandbox, "not.a.jwt", "system/Patient.rs").status, 401);
    assert_eq!(token(&sandbox, &key, "good", "system/Patient.rs").status, 200);
}

#[test]
fn an_assertion_is_good_once_while_its_window_lasts() {
    let key = Key::ec();
    let (sandbox, clock) = guarded(&key, &["system/*.rs"]);
    assert_eq!(token(&sandbox, &key, "once", "system/Patient.rs").status, 200);
    let again = token(&sandbox, &key, "once", "system/Patient.rs");
    assert_eq!((again.status, &again.json()["error"]), (401, &json!("invalid_client")));
    clock.fetch_add(200 * SECOND, Ordering::Relaxed);
    assert_eq!(token(&sandbox, &key, "once", "system/Patient.rs").status, 401);
}

#[test]
fn a_request_that_is_not_of_the_form_is_named_so() {
    let key = Key::ec();
    let (sandbox, _) = guarded(&key, &["system/Patient.rs"]);
    let good = [
        ("grant_type", "client_credentials"),
        ("scope", "system/Patient.rs"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", "x.y.z"),
    ];
    let cases = [
        ("grant_type", "password", "unsupported_grant_type"),
        ("grant_type", "", "invalid_request"),
        ("scope", "", "invalid_request"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "invalid_request"),
        ("client_assertion", "", "invalid_request"),
    ];
    for (name, value, error) in cases {
        let pairs = good.map(|pair| if pair.0 == name { (name, value) } else { pair });
        let answer = form(&sandbox, &pairs);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{name}={value}");
    }
    let twice = form(&sandbox, &[&good[..], &[("scope", "system/Patient.rs")]].concat());
    assert_eq!(twice.json()["error"], "invalid_request");
    assert_eq!(token(&sandbox, &key, "s", "system/CarePlan.rs user/Patient.rs").json()["error"], "invalid_scope");
    assert_eq!(send(&sandbox, "POST", "/auth/token", &[("Content-Type", "application/json")], "{}").unwrap().status, 400);
    assert_eq!(get(&sandbox, "/auth/token").status, 405);
}

#[test]
fn a_key_set_with_the_same_kid_twice_is_ambiguous_unless_the_type_decides() {
    let (ec, rsa) = (Key::ec(), Key::rsa());
    let (sandbox, _) = guarded(&ec, &[]);
    let register = |keys: Value| {
        sandbox.register(Client { client_id: "gateway".to_owned(), jwks: json!({ "keys": keys }), scopes: vec!["system/*.rs".to_owned()] });
    };
    register(json!([ec.jwk("k1"), rsa.jwk("k1")]));
    assert_eq!(token(&sandbox, &ec, "1", "system/*.rs").status, 200);
    assert_eq!(token(&sandbox, &rsa, "2", "system/*.rs").status, 200);
    register(json!([ec.jwk("k1"), Key::ec().jwk("k1")]));
    assert_eq!(token(&sandbox, &ec, "3", "system/*.rs").status, 401);
}
