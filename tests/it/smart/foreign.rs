//! A launch whose authorization server is nobody of ours: npm `oidc-provider`, a certified one. It signs the user in, gives an id_token and a refresh
//! token that rotates, and takes back what it gave. The chart behind it is a few lines that ask for a token of that server's.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use domain::model::EhrId;
use fhir_engage::app::{App, SystemClock};
use fhir_engage::config::Config;
use fhir_engage::ehr::profile::{AppLaunch, Auth, Profile, UserGrant};
use fhir_engage::store::ehrs;
use fhir_engage::web;
use fhir_engage::worker::Stop;
use serde_json::{Value, json};

use crate::credentials::oidc::{Server as Authority, answer_of, browses};
use crate::support::{Backend, Database, TempDir};
use crate::web::fixture::Server;

const SECRET: &str = "a secret & more";

/// A chart with one patient, who is shown to whoever brings a token; the tokens that came. An `old` one speaks SMART before version 2: it names its issuer in
/// its OpenID configuration only.
fn chart(authority: String, old: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/fhir", listener.local_addr().unwrap());
    let tokens: Arc<Mutex<Vec<String>>> = Arc::default();
    let came = Arc::clone(&tokens);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 8192];
            let n = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..n]).into_owned();
            let token =
                asked.lines().find_map(|l| l.to_ascii_lowercase().starts_with("authorization: bearer ").then(|| l[22..].to_owned()));
            let (status, body) = match (asked.split(' ').nth(1).unwrap_or_default(), token) {
                ("/fhir/.well-known/smart-configuration", _) => {
                    let mut told = json!({
                        "issuer": authority, "jwks_uri": format!("{authority}/jwks"), "authorization_endpoint": format!("{authority}/auth"),
                        "token_endpoint": format!("{authority}/token"), "revocation_endpoint": format!("{authority}/token/revocation"),
                        "code_challenge_methods_supported": ["S256"], "capabilities": ["launch-standalone", "permission-v2", "sso-openid-connect"],
                    });
                    if old {
                        told.as_object_mut().unwrap().retain(|name, _| !["issuer", "jwks_uri"].contains(&name.as_str()));
                    }
                    ("200 OK", told)
                }
                ("/fhir/.well-known/openid-configuration", _) if old => {
                    ("200 OK", json!({ "issuer": authority, "jwks_uri": format!("{authority}/jwks") }))
                }
                ("/fhir/Patient/ann", Some(token)) => {
                    came.lock().unwrap().push(token);
                    ("200 OK", json!({ "resourceType": "Patient", "id": "ann" }))
                }
                ("/fhir/Patient/ann", None) => ("401 Unauthorized", json!({})),
                _ => ("404 Not Found", json!({})),
            };
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    (base, tokens)
}

fn cookie(set: &str) -> String {
    set.split(';').next().unwrap().to_owned()
}

fn revoked(authority: &Authority) -> i64 {
    let answer = answer_of(&authority.url("/seen"));
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    body["revoked"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_by_a_certified_authorization_server_lands_is_renewed_and_is_given_back() {
    lands(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_only_the_openid_configuration_names_is_the_issuer() {
    lands(true).await;
}

async fn lands(old: bool) {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (base, tokens) = chart(format!("http://127.0.0.1:{port}"), old);
    let data = TempDir::new();
    std::fs::write(data.join("secret"), SECRET).unwrap();
    let mut config = Config::load(None, data.path()).unwrap();
    config.database.url = db.argument().into();
    let app = Arc::new(App::open(config, data.path()).unwrap());
    let stop = Stop::new();
    let (address, _) = web::serve(app.web_state(None).unwrap(), "127.0.0.1:0".parse().unwrap(), stop.clone()).unwrap();
    let Some(authority) = Authority::start_for(port, "{\"keys\":[]}", &format!("http://{address}/callback"), (&base, "ann")) else {
        return;
    };
    let grant =
        UserGrant { client_id: "app".to_owned(), secret: Some(format!("file:{}", data.join("secret").display())), ..UserGrant::default() };
    let scopes = ["openid", "fhirUser", "launch/patient", "offline_access", "user/Patient.rs"].map(str::to_owned).to_vec();
    let launch = AppLaunch {
        auth: Auth::UserGrant(grant),
        scopes: Some(scopes),
        origins: vec![format!("http://127.0.0.1:{port}").parse().unwrap()],
        ..AppLaunch::default()
    };
    let profile =
        Profile { base_url: Some(base.parse().unwrap()), launch: Some(Box::new(launch)), timeout_secs: Some(5), ..Profile::default() };
    profile.check().unwrap();
    let (text, now) = (profile.to_json(), domain::Clock::now(&SystemClock::with_offset(chrono::TimeDelta::zero())));
    app.store.write("test", move |conn| ehrs::put(conn, &EhrId::parse("north").unwrap(), &text, now)).await.unwrap();

    // The standalone launch: there and back, by way of its pages.
    let ours = Server::seen_at(address);
    let begun = ours.get("/launch/north").await;
    assert_eq!(begun.status, 303, "{}", begun.body);
    let bound = cookie(&begun.headers["set-cookie"]);
    let to = begun.headers["location"].parse().unwrap();
    let back = tokio::task::spawn_blocking(move || browses(&to, &format!("http://{address}/"))).await.unwrap();
    let path = back[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let landed = ours.send("GET", &path, &[("Cookie", &bound)]).await;
    assert_eq!(landed.status, 303, "{}", landed.body);
    let (page, session) = (landed.headers["location"].clone(), cookie(&landed.headers["set-cookie"]));
    let who = db.lines("SELECT issuer || ' ' || subject || ' ' || fhir_user || ' ' || roles AS line FROM session");
    assert_eq!(who, [format!("http://127.0.0.1:{port} person Practitioner/7 clinician")], "as its id_token says");
    assert_eq!(ours.send("GET", &page, &[("Cookie", &session)]).await.status, 200);
    assert_eq!(tokens.lock().unwrap().len(), 1, "the patient was asked for with the user's token, once");

    // It is renewed, and each refresh token works once: the next is stored before it is needed.
    let grants = || db.lines("SELECT CAST(revision AS TEXT) || ' ' || state AS line FROM user_grant");
    let first = grants();
    for _ in 0..3 {
        db.execute("DELETE FROM access_token");
        db.execute("UPDATE opening SET verdict = 'unasked', asked_at = NULL");
        let seen = ours.send("GET", &page, &[("Cookie", &session)]).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
    }
    assert_ne!(grants(), first);
    assert!(grants()[0].ends_with(" held"), "{:?}", grants());
    let mut came = tokens.lock().unwrap().clone();
    came.dedup();
    assert_eq!(came.len(), 4, "a token of its own each time");

    // Signing out gives it back, and the server has seen that.
    assert_eq!(revoked(&authority), 0);
    let csrf = db.lines("SELECT csrf AS line FROM session").remove(0);
    assert_eq!(ours.post("/signout", &session, &[("csrf", &csrf)]).await.status, 303);
    let began = std::time::Instant::now();
    while !db.lines("SELECT ehr AS line FROM user_grant").is_empty() {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "it was not given back");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(revoked(&authority) >= 1);
    assert!(db.lines("SELECT handle AS line FROM opening").is_empty());
    stop.request();
}
