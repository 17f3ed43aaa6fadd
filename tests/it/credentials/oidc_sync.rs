//! Whole syncs under tokens of an authorization server of others. Before an open EHR stands a gate that lets a request in only with a token
//! that this very server signed, for this EHR, and for what is asked: as EHRs do whose tokens come from somewhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType;
use fhir_engage::ehr::auth::Dialect;
use fhir_engage::ehr::profile::{Auth, BackendServices, TypeCredential, UserGrant};
use fhir_engage::sync::task::Ended;
use serde_json::{Value, json};

use super::oidc::{Server, browses};
use super::setup::{World, id};
use crate::support::on_both;

const REDIRECT: &str = "http://127.0.0.1:8723/callback";
/// What the server issues tokens for.
const AUDIENCE: &str = "http://127.0.0.1:1/fhir";

/// Lets in whoever shows a good token, and notes who was: type, client and token.
struct Gate {
    port: u16,
    seen: Arc<Mutex<Vec<(String, String, String)>>>,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    fn start(upstream: u16, issuer: String, keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Self { port, seen: Arc::default(), refused: Arc::default() };
        let (seen, refused) = (Arc::clone(&gate.seen), Arc::clone(&gate.refused));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, refused, issuer, keys) = (Arc::clone(&seen), Arc::clone(&refused), issuer.clone(), keys.clone());
                std::thread::spawn(move || {
                    let Some((line, token, sent)) = read(&stream) else { return };
                    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    let kind = path.trim_start_matches("/fhir/").split(['/', '?']).next().unwrap_or_default().to_owned();
                    let open = kind == "metadata" || kind == ".well-known";
                    let claims = token.as_deref().and_then(|token| verified(token, &keys, &issuer));
                    let granted = |claims: &Value| {
                        let scope = claims["scope"].as_str().unwrap_or_default().to_owned();
                        scope.split(' ').any(|s| s.ends_with(&format!("/{kind}.rs")))
                    };
                    let answer = match claims.filter(granted) {
                        Some(claims) if !open => {
                            let client = claims["client_id"].as_str().unwrap_or_default().to_owned();
                            seen.lock().unwrap().push((kind, client, token.unwrap()));
                            passed_on(upstream, port, &sent)
                        }
                        _ if open => passed_on(upstream, port, &sent),
                        _ => {
                            refused.lock().unwrap().push(path);
                            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
                        }
                    };
                    // A client that hangs up in between is its own affair.
                    let _ = (&stream).write_all(&answer);
                });
            }
        });
        gate
    }

    /// The types that were read, with the client whose token it was and how many tokens there were.
    fn read(&self) -> BTreeMap<(String, String), usize> {
        let mut tokens: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for (kind, client, token) in self.seen.lock().unwrap().iter().cloned() {
            tokens.entry((kind, client)).or_default().insert(token);
        }
        tokens.into_iter().map(|(of, tokens)| (of, tokens.len())).collect()
    }
}

/// A request without a body: its first line, its token, and what is passed on of it.
fn read(stream: &TcpStream) -> Option<(String, Option<String>, String)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let (mut token, mut sent) = (None, first.clone());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => token = value.strip_prefix("Bearer ").map(str::to_owned),
            "connection" | "accept-encoding" => {}
            _ => sent.push_str(&line),
        }
    }
    sent.push_str("Connection: close\r\n\r\n");
    (!first.trim().is_empty()).then_some((first, token, sent))
}

/// The EHR's answer, as one that lives at the gate's address.
fn passed_on(upstream: u16, port: u16, sent: &str) -> Vec<u8> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
    server.write_all(sent.as_bytes()).unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body = body.replace(&format!("127.0.0.1:{upstream}"), &format!("127.0.0.1:{port}"));
    let kept: Vec<&str> = head.split("\r\n").filter(|l| !l.to_ascii_lowercase().starts_with("content-length")).collect();
    format!("{}\r\nContent-Length: {}\r\n\r\n{body}", kept.join("\r\n"), body.len()).into_bytes()
}

/// The claims of a token that the server signed for this EHR and that has not ended.
#[expect(clippy::disallowed_methods, reason = "the real server goes by the real clock")]
fn verified(token: &str, keys: &Value, issuer: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let part = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    let (head, claims) = (part(head)?, part(claims)?);
    let key = keys["keys"].as_array()?.iter().find(|k| k["kid"] == head["kid"] && k["kty"] == "RSA")?;
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
    let (n, e) = (number("n")?, number("e")?);
    let public = ring::signature::RsaPublicKeyComponents { n, e };
    public.verify(&ring::signature::RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let good = head["alg"] == "RS256" && claims["iss"] == issuer && claims["aud"] == AUDIENCE && claims["exp"].as_u64()? > now;
    good.then_some(claims)
}

/// The keys that the server signs its tokens with.
fn keys(server: &Server) -> Value {
    let url = server.url("/jwks");
    let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
    write!(stream, "GET /jwks HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(&body[body.find('{').unwrap()..=body.rfind('}').unwrap()]).unwrap()
}

on_both! {
    async fn a_whole_sync_runs_under_the_tokens_of_a_server_of_others(db) {
        let world = World::begin_now(db).await;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let Some(server) = Server::start_on(port, &world.app.jwks().await.unwrap(), REDIRECT) else { return };
        let time = world.clock.clone();
        let open = sandbox::Config { open: true, page_size_default: 10, ..sandbox::Config::new(Arc::new(move || time.now().micros())) };
        let ehr = sandbox::start(open).await.unwrap();
        let people = sandbox::Population { patients: 45, seed: 7, as_of_micros: world.clock.now().micros(), zone: chrono_tz::America::New_York };
        ehr.load(people.resources()).unwrap();
        let issuer = server.url("").as_str().trim_end_matches('/').to_owned();
        let gate = Gate::start(ehr.address().port(), issuer, keys(&server));

        // Patients and care plans as a machine; appointments for a person, who is not there at first.
        let key_id = match world.app.profile(&id()).await.unwrap().auth {
            Auth::BackendServices(own) => own.key_id,
            other => panic!("{other:?}"),
        };
        let own = BackendServices { client_id: "gateway".to_owned(), key_id, token_url: Some(server.url("/token")), dialect: Some(Dialect::V2), ..BackendServices::default() };
        let mut profile = world.profile(Auth::BackendServices(own));
        profile.base_url = Some(format!("http://127.0.0.1:{}/fhir", gate.port).parse().unwrap());
        let desk = UserGrant {
            client_id: "desk".to_owned(),
            authorize_url: Some(server.url("/auth")),
            token_url: Some(server.url("/token")),
            dialect: Some(Dialect::V2),
            ..UserGrant::default()
        };
        let of_types = TypeCredential { types: vec!["Appointment".to_owned()], auth: Auth::UserGrant(desk), expires: None };
        profile.credentials = BTreeMap::from([("desk".to_owned(), of_types)]);
        world.registers(&profile).await;
        let sync = || async { world.app.sync(&id(), &ResourceType::CORE, &AtomicBool::new(false), &|_| ()).await.unwrap() };
        let ended = |reports: &[fhir_engage::sync::task::TypeReport]| {
            reports.iter().map(|r| (r.kind, r.ended == Ended::Done, r.stored)).collect::<Vec<_>>()
        };
        let count = |kind: &str| i64::try_from(ehr.count(kind)).unwrap();
        let [patient, visit, plan] = ResourceType::CORE;
        let first = sync().await;
        assert_eq!(ended(&first), [(patient, true, 45), (visit, false, 0), (plan, true, count("CarePlan"))], "{first:?}");
        assert!(first[1].failure().is_some_and(|why| why.contains("no person has granted it yet")), "{first:?}");

        let of = |kind: &str, client: &str| (kind.to_owned(), client.to_owned());
        let [patients, plans, visits] = [of("Patient", "gateway"), of("CarePlan", "gateway"), of("Appointment", "desk")];
        assert_eq!(gate.read(), BTreeMap::from([(patients.clone(), 1), (plans.clone(), 1)]), "one token for all pages of both");

        let inviting = world.app.invite(&id(), "desk").await.unwrap();
        let back = tokio::task::block_in_place(|| browses(inviting.url(), REDIRECT));
        world.app.accept(&inviting, &back).await.unwrap();
        let second = sync().await;
        assert_eq!(ended(&second), [(patient, true, 0), (visit, true, count("Appointment")), (plan, true, 0)], "{second:?}");
        // A new grant has all tokens got anew.
        assert_eq!(gate.read(), BTreeMap::from([(patients, 2), (plans, 2), (visits, 1)]), "each type under its own client's token");

        // Every token ends, and each is renewed: the machine's by an assertion, the person's by a refresh token that rotates.
        world.forget_tokens().await;
        world.clock.advance(TimeDelta::seconds(5));
        ehr.edit("Appointment", ehr.resources("Appointment")[0]["id"].as_str().unwrap(), |a| a["comment"] = json!("moved")).unwrap();
        let third = sync().await;
        assert!(third.iter().all(|r| r.ended == Ended::Done) && third[1].stored == 1, "{third:?}");
        assert_eq!(gate.read().values().copied().collect::<Vec<_>>(), [2, 3, 3]);
        assert_eq!(*gate.refused.lock().unwrap(), Vec::<String>::new(), "nothing was asked for without a good token");
    }
}
