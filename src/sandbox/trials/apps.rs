//! Clients with a secret, those that a person lets in, and keys that are fetched: every rule broken one at a time.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::*;
use crate::{App, KeyCache, ScopeManner};

const BACK: &str = "http://127.0.0.1:9/back";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn guarded(app: App) -> (Sandbox, Arc<AtomicI64>) {
    let (config, clock) = config();
    let sandbox = begin(config);
    sandbox.register_app(app);
    (sandbox, clock)
}

fn ask(sandbox: &Sandbox, headers: &[(&str, &str)], pairs: &[(&str, &str)]) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let all = [&[("Content-Type", "application/x-www-form-urlencoded")], headers].concat();
    send(sandbox, "POST", "/auth/token", &all, &body).unwrap()
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

#[test]
fn a_secret_is_taken_in_one_way_and_compared_as_it_was_encoded() {
    let (sandbox, _) = guarded(App::with_secret("app", "a b&c", "system/Patient.rs"));
    let wants = [("grant_type", "client_credentials"), ("scope", "system/Patient.rs")];
    let in_form = [&wants[..], &[("client_id", "app"), ("client_secret", "a b&c")]].concat();
    assert_eq!(ask(&sandbox, &[], &in_form).status, 200);
    let header = basic("app", "a+b%26c");
    assert_eq!(ask(&sandbox, &[("Authorization", &header)], &wants).status, 200);
    assert_eq!(ask(&sandbox, &[("Authorization", &header)], &in_form).json()["error"], "invalid_request", "in both ways");
    assert_eq!(ask(&sandbox, &[("Authorization", &basic("app", "x"))], &wants).json()["error"], "invalid_client");
    sandbox.register_app(App { basic: false, ..App::with_secret("app", "a b&c", "system/Patient.rs") });
    assert_eq!(ask(&sandbox, &[("Authorization", &header)], &wants).status, 401);
    sandbox.register_app(App::public("app", BACK, "system/Patient.rs"));
    assert_ne!(ask(&sandbox, &[], &[&wants[..], &[("client_id", "app")]].concat()).status, 200, "who shows nothing acts for nobody");
}

fn authorize(sandbox: &Sandbox, change: &[(&str, Option<&str>)]) -> Response {
    let base = sandbox.base_url();
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", "desk"),
        ("redirect_uri", BACK),
        ("scope", "openid offline_access user/Appointment.rs user/Patient.rs"),
        ("state", "xyz"),
        ("aud", &base),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in change {
        pairs.retain(|(known, _)| known != name);
        pairs.extend(value.map(|value| (*name, value)));
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    get(sandbox, &format!("/auth/authorize?{query}"))
}

fn member(response: &Response, name: &str) -> Option<String> {
    let to = url::Url::parse(response.header("location")?).unwrap();
    to.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn desk() -> App {
    App { refresh_seconds: Some(3600), ..App::public("desk", BACK, "user/Appointment.rs") }
}

#[test]
fn an_authorization_request_that_breaks_a_rule_gets_no_code() {
    let (sandbox, _) = guarded(desk());
    let good = authorize(&sandbox, &[]);
    assert_eq!((good.status, member(&good, "state").as_deref()), (302, Some("xyz")));
    assert!(member(&good, "code").is_some());
    for (name, value) in [
        ("response_type", Some("token")),
        ("state", None),
        ("aud", None),
        ("aud", Some("https://elsewhere.example.org")),
        ("code_challenge", None),
        ("code_challenge_method", Some("plain")),
        ("scope", Some("system/Patient.rs")),
    ] {
        let answer = authorize(&sandbox, &[(name, value)]);
        assert!(member(&answer, "error").is_some() && member(&answer, "code").is_none(), "{name}={value:?}: {answer:?}");
    }
    for (name, value) in [("client_id", "other"), ("redirect_uri", "http://127.0.0.1:9/elsewhere")] {
        let answer = authorize(&sandbox, &[(name, Some(value))]);
        assert_eq!((answer.status, answer.header("location")), (400, None), "nobody is sent to an unknown place");
    }
}

#[test]
fn a_code_is_good_once_and_a_refresh_token_too() {
    let (sandbox, clock) = guarded(desk());
    let redeem = |code: &str, redirect: &str, verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "desk"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ];
        ask(&sandbox, &[], &form)
    };
    let refresh = |token: &str| ask(&sandbox, &[], &[("grant_type", "refresh_token"), ("client_id", "desk"), ("refresh_token", token)]);
    let opens = |token: &Value| {
        let header = format!("Bearer {}", token.as_str().unwrap());
        send(&sandbox, "GET", "/fhir/Appointment", &[("Authorization", &header)], "").unwrap().status
    };
    let code = || member(&authorize(&sandbox, &[]), "code").unwrap();
    assert_eq!(redeem(&code(), BACK, "another-verifier-that-is-long-enough-to-be-one-000").json()["error"], "invalid_grant");
    assert_eq!(redeem(&code(), "http://127.0.0.1:9/x", VERIFIER).json()["error"], "invalid_grant");
    let late = code();
    clock.fetch_add(61 * SECOND, Ordering::Relaxed);
    assert_eq!(redeem(&late, BACK, VERIFIER).json()["error"], "invalid_grant");

    let first = redeem(&code(), BACK, VERIFIER).json();
    assert_eq!((&first["scope"], &first["refresh_expires_in"]), (&json!("openid offline_access user/Appointment.rs"), &json!(3600)));
    assert_eq!(opens(&first["access_token"]), 200);
    let second = refresh(first["refresh_token"].as_str().unwrap()).json();
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let reused = refresh(first["refresh_token"].as_str().unwrap());
    assert_eq!(reused.json()["error"], "invalid_grant");
    assert_eq!(refresh(second["refresh_token"].as_str().unwrap()).json()["error"], "invalid_grant", "the reuse ended the whole grant");
    assert_eq!(opens(&second["access_token"]), 401);

    let twice = code();
    let given = redeem(&twice, BACK, VERIFIER).json();
    assert_eq!(redeem(&twice, BACK, VERIFIER).json()["error"], "invalid_grant");
    assert_eq!((opens(&given["access_token"]), refresh(given["refresh_token"].as_str().unwrap()).status), (401, 400));

    let old = redeem(&code(), BACK, VERIFIER).json();
    clock.fetch_add(3600 * SECOND, Ordering::Relaxed);
    assert_eq!(refresh(old["refresh_token"].as_str().unwrap()).json()["error"], "invalid_grant");
}

#[test]
fn scopes_are_narrowed_refused_or_ignored() {
    let (sandbox, _) = guarded(App::with_secret("app", "s", "system/Patient.rs system/CarePlan.rs"));
    let asked = |scope: &str| {
        let form = [("grant_type", "client_credentials"), ("scope", scope), ("client_id", "app"), ("client_secret", "s")];
        let answer = ask(&sandbox, &[], &form).json();
        answer["scope"].as_str().or(answer["error"].as_str()).unwrap().to_owned()
    };
    assert_eq!(asked("system/Patient.rs system/Appointment.rs"), "system/Patient.rs");
    sandbox.set_scope_manner(ScopeManner::AllOrNothing);
    assert_eq!(asked("system/Patient.rs system/Appointment.rs"), "invalid_scope");
    assert_eq!(asked("system/Patient.rs"), "system/Patient.rs");
    sandbox.set_scope_manner(ScopeManner::Ignores);
    assert_eq!(asked("system/Appointment.rs"), "system/Patient.rs system/CarePlan.rs");
    assert_eq!(sandbox.scopes_asked(), "system/Appointment.rs");
}

#[test]
fn a_published_key_set_is_kept_as_long_as_it_says_or_for_ever() {
    use std::sync::Mutex;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let (old, new) = (Key::ec(), Key::ec());
    let set = Arc::new(Mutex::new(json!({ "keys": [old.jwk("k1")] }).to_string()));
    let served = Arc::clone(&set);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let _read = socket.read(&mut [0; 2048]);
            let body = served.lock().unwrap().clone();
            let head = format!("HTTP/1.1 200 OK\r\ncache-control: public, max-age=300\r\nContent-Length: {}\r\n\r\n", body.len());
            let _gone = socket.write_all(format!("{head}{body}").as_bytes());
        }
    });
    for (cache, sees_the_new_one) in [(KeyCache::MaxAge, true), (KeyCache::ForEver, false)] {
        *set.lock().unwrap() = json!({ "keys": [old.jwk("k1")] }).to_string();
        let (config, clock) = config();
        let sandbox = begin(Config { clients: vec![client(&new, &["system/*.rs"])], ..config });
        sandbox.keys_at("gateway", &url, cache);
        assert_eq!(token(&sandbox, &old, "1", "system/*.rs").status, 200);
        *set.lock().unwrap() = json!({ "keys": [new.jwk("k1")] }).to_string();
        assert_eq!(token(&sandbox, &new, "2", "system/*.rs").status, 401, "the old set is kept");
        clock.fetch_add(300 * SECOND, Ordering::Relaxed);
        assert_eq!(token(&sandbox, &new, "3", "system/*.rs").status == 200, sees_the_new_one);
    }
}
