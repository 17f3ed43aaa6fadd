//! The same, against an authorization server of others: npm `oidc-provider`, a certified one. The FHIR side is the sandbox's, without
//! tokens of its own; what counts here is what the token endpoint takes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use fhir_engage::ehr::auth::{Algorithm, Need, Ops, SecretMethod, TokenError};
use fhir_engage::ehr::profile::{Auth, BackendServices, ClientSecret, UserGrant};
use fhir_engage::ehr::{Connection, Credential, Secret, Wallet};
use url::Url;

use super::setup::{World, id};
use crate::ehr::support::{self, key};
use crate::support::{TempDir, on_both, prerequisite};

const SECRET: &str = "a secret & more";

pub struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// `None` where it is not installed here, which has been reported then.
    fn start(jwks: &str, redirect: &str) -> Option<Self> {
        // The listener must be gone before the server wants its port.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port, jwks, redirect)
    }

    /// As [`Server::start`], on this port.
    pub fn start_on(port: u16, jwks: &str, redirect: &str) -> Option<Self> {
        Self::start_for(port, jwks, redirect, ("http://127.0.0.1:1/fhir", ""))
    }

    /// As [`Server::start_on`], for an EHR at a FHIR base, whose launches are about this patient.
    pub fn start_for(port: u16, jwks: &str, redirect: &str, (base, patient): (&str, &str)) -> Option<Self> {
        let tools = PathBuf::from(prerequisite("OIDC_TOOLS")?);
        let folder = TempDir::new();
        std::fs::write(folder.join("jwks.json"), jwks).unwrap();
        // Modules are looked for beside the program.
        let program = tools.join("server.mjs");
        let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oidc/server.mjs")).unwrap();
        if std::fs::read(&program).ok().as_ref() != Some(&text) {
            // Put there whole: another test may be reading it.
            let whole = tools.join(format!("server-{port}.mjs.new"));
            std::fs::write(&whole, text).unwrap();
            std::fs::rename(whole, &program).unwrap();
        }
        let mut child = Command::new(tools.join("node"))
            .arg(program)
            .env("PORT", port.to_string())
            .env("AUDIENCE", base)
            .env("PATIENT", patient)
            .env("JWKS_FILE", folder.join("jwks.json"))
            .env("REDIRECT", redirect)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "listening"), "it did not start");
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, port, _folder: folder })
    }

    pub fn url(&self, path: &str) -> Url {
        format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap()
    }
}

fn set(jwk: &str) -> String {
    format!("{{\"keys\":[{jwk}]}}")
}

const READS: [&str; 2] = ["Patient", "CarePlan"];

#[tokio::test]
async fn assertions_of_both_algorithms_are_taken_and_a_foreign_key_is_not() {
    for algorithm in [Algorithm::Rs384, Algorithm::Es384] {
        let (record, credential) = key(algorithm);
        let Some(server) = Server::start(&set(&record.public_jwk), "http://127.0.0.1:8723/callback") else { return };
        let mut world = support::World::start().await;
        let auth = BackendServices { client_id: "gateway".to_owned(), token_url: Some(server.url("/token")), ..BackendServices::default() };
        world.profile.auth = Auth::BackendServices(auth);
        world.parts.credential = credential;
        world.on_the_machines_clock();
        let client = Connection::open(&world.profile, &world.parts).await.unwrap().client;
        let needs: Vec<Need> = READS.iter().map(|t| Need::read(t)).chain([Need::read("Appointment")]).collect();
        let access = client.tokens().access(&needs).await.unwrap();
        assert_eq!(access.missing, [Need::read("Appointment")], "it drops unknown scopes without a word");
        assert_eq!(access.token.unwrap().expose().split('.').count(), 3, "a JWT");
        let write = client.tokens().access(&[Need::new("Communication", Ops::CRS)]).await.unwrap();
        assert!(write.missing.is_empty());

        world.parts.credential = key(algorithm).1;
        let client = Connection::open(&world.profile, &world.parts).await.unwrap().client;
        let error = client.tokens().access(&needs).await.unwrap_err();
        assert!(matches!(&error, TokenError::Refused { code, .. } if code == "invalid_client"), "{error}");
    }
}

#[tokio::test]
async fn secrets_are_taken_in_the_header_and_in_the_form() {
    let Some(server) = Server::start("{\"keys\":[]}", "http://127.0.0.1:8723/callback") else { return };
    // It takes both ways from either client; the sandbox is the strict one.
    for (client_id, method, secret, gets_in) in [
        ("basic", SecretMethod::Basic, SECRET, true),
        ("post", SecretMethod::Post, SECRET, true),
        ("basic", SecretMethod::Basic, "a secret &+more", false),
        ("post", SecretMethod::Post, "a secret %26 more", false),
    ] {
        let mut world = support::World::start().await;
        world.profile.auth = Auth::ClientSecret(ClientSecret {
            client_id: client_id.to_owned(),
            secret: "env:S".to_owned(),
            method: Some(method),
            token_url: Some(server.url("/token")),
            ..ClientSecret::default()
        });
        world.parts.credential = Credential::Wallet(Arc::new(Wallet {
            credentials: BTreeMap::from([(String::new(), Credential::Secret(Secret::new(secret)))]),
            keeper: None,
            client_key: None,
            proxy_password: None,
        }));
        world.on_the_machines_clock();
        let client = Connection::open(&world.profile, &world.parts).await.unwrap().client;
        let access = client.tokens().access(&READS.map(Need::read)).await;
        assert_eq!(access.is_ok(), gets_in, "{client_id} {method:?}: {access:?}");
    }
}

/// What an address answers, head and body.
pub fn answer_of(url: &Url) -> String {
    let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    write!(
        stream,
        "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        &url[url::Position::BeforePath..url::Position::AfterQuery]
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A browser: follows redirects and keeps cookies, until it is sent elsewhere.
pub fn browses(start: &Url, until: &str) -> Url {
    let (mut url, mut cookies) = (start.clone(), BTreeMap::<String, String>::new());
    for _ in 0..12 {
        let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
        let jar: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nConnection: close\r\n\r\n", jar.join("; ")).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let mut to = None;
        for (name, value) in answer.lines().take_while(|l| !l.is_empty()).filter_map(|l| l.split_once(": ")) {
            match name.to_ascii_lowercase().as_str() {
                "set-cookie" => {
                    let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                    cookies.insert(name.to_owned(), value.to_owned());
                }
                "location" => to = Some(url.join(value).unwrap()),
                _ => {}
            }
        }
        url = to.unwrap_or_else(|| panic!("no redirect from {url}: {answer}"));
        if url.as_str().starts_with(until) {
            return url;
        }
    }
    panic!("it redirects again and again");
}

on_both! {
    async fn a_person_lets_the_gateway_in_and_the_refresh_token_rotates(db) {
        let redirect = "http://127.0.0.1:8723/callback";
        let Some(server) = Server::start("{\"keys\":[]}", redirect) else { return };
        let world = World::begin_now(db).await;
        let auth = Auth::UserGrant(UserGrant {
            client_id: "desk".to_owned(),
            authorize_url: Some(server.url("/auth")),
            token_url: Some(server.url("/token")),
            ..UserGrant::default()
        });
        let mut profile = world.profile(auth);
        profile.scopes.launch = Some(vec!["openid".to_owned(), "offline_access".to_owned()]);
        profile.strategy = [domain::model::ResourceType::Patient, domain::model::ResourceType::CarePlan]
            .map(|kind| (kind, fhir_engage::ehr::profile::Strategy::Off))
            .into();
        world.registers(&profile).await;
        let inviting = world.app.invite(&id(), "").await.unwrap();
        let back = browses(inviting.url(), redirect);
        let scope = world.app.accept(&inviting, &back).await.unwrap();
        assert!(scope.contains("user/Appointment.rs"), "{scope}");
        let sealed = |world: &World| world.sealed_grants().remove(0);
        let need = [Need::read("Appointment")];
        let (mut tokens, mut grants) = (Vec::new(), vec![sealed(&world)]);
        for _ in 0..3 {
            let access = world.client().await.tokens().access(&need).await.unwrap();
            assert!(access.missing.is_empty(), "{access:?}");
            tokens.push(access.token.unwrap().expose().to_owned());
            grants.push(sealed(&world));
            world.forget_tokens().await;
        }
        tokens.dedup();
        grants.dedup();
        assert_eq!((tokens.len(), grants.len()), (3, 4), "each refresh gave a new refresh token, and it was stored");
        // It has reuse detection, too.
        let old = world.grant_rows();
        world.client().await.tokens().access(&need).await.unwrap();
        world.puts_back(&old);
        let error = world.client().await.tokens().access(&need).await.unwrap_err();
        assert!(matches!(error, TokenError::GrantLost { .. }), "{error}");
    }
}
