//! The sandbox tried over its own sockets, with a client that shares nothing with the gateway's: a few lines over a TCP stream, so that a
//! closed connection is seen as it is.

mod apps;
mod durability;
mod faults;
mod flavours;
mod launching;
mod messages;
mod notes;
mod oauth;
mod patching;
mod rest;
mod searching;
mod writing_faults;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA384, RsaKeyPair};
use serde_json::{Value, json};

use crate::instant::SECOND;
use crate::{Client, Config, Population, Sandbox, start};

/// 2026-11-23T15:00:00Z.
pub(super) const NOW: i64 = 1_795_446_000 * SECOND;

/// A configuration whose clock stands still; the returned counter moves it.
pub(super) fn config() -> (Config, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(NOW));
    let read = Arc::clone(&clock);
    (Config::new(Arc::new(move || read.load(Ordering::Relaxed))), clock)
}

/// An open sandbox in memory.
pub(super) fn open() -> Sandbox {
    begin(Config { open: true, ..config().0 })
}

pub(super) fn begin(config: Config) -> Sandbox {
    runtime().block_on(start(config)).unwrap()
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

pub(super) fn population(patients: u32) -> Population {
    Population { patients, seed: 7, as_of_micros: NOW, zone: chrono_tz::America::New_York }
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends one request on a connection of its own. `None`: the connection was closed without a byte.
pub(super) fn send(sandbox: &Sandbox, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Response> {
    let mut stream = TcpStream::connect(sandbox.address()).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A reset says the same as an end without a byte.
    let _reset = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Response { status, head, body: bytes[end + 4..].to_vec() })
}

pub(super) fn get(sandbox: &Sandbox, path: &str) -> Response {
    send(sandbox, "GET", path, &[], "").unwrap()
}

pub(super) fn post(sandbox: &Sandbox, path: &str, headers: &[(&str, &str)], body: &Value) -> Option<Response> {
    let all = [&[("Content-Type", "application/fhir+json")], headers].concat();
    send(sandbox, "POST", path, &all, &body.to_string())
}

pub(super) fn communication(key: &str) -> Value {
    json!({
        "resourceType": "Communication",
        "identifier": [{ "system": "urn:attempts", "value": key }],
        "status": "completed",
        "subject": { "reference": "Patient/pat-000001" },
        "sent": "2026-11-23T15:00:00Z",
        "payload": [{ "contentString": "Hello" }],
    })
}

/// A client's key.
pub(super) enum Key {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    pub(super) fn ec() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
        Self::Ec(Box::new(EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, document.as_ref(), &random).unwrap()))
    }

    /// One fixed key made for these tests with `openssl genrsa`; it opens nothing else.
    pub(super) fn rsa() -> Self {
        let text: String = include_str!("rsa-key.txt").split_whitespace().collect();
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(&STANDARD.decode(text).unwrap()).unwrap()))
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES384",
            Self::Rsa(_) => "RS384",
        }
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-384", "kid": kid, "alg": "ES384", "x": text(&point[1..49]), "y": text(&point[49..]) })
            }
            Self::Rsa(pair) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "kid": kid, "alg": "RS384", "n": text(&public.n), "e": text(&public.e) })
            }
        }
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ec(pair) => pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

pub(super) fn client(key: &Key, scopes: &[&str]) -> Client {
    Client {
        client_id: "gateway".to_owned(),
        jwks: json!({ "keys": [key.jwk("k1")] }),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    }
}

/// A form request for a token with a good assertion under this `jti`.
pub(super) fn token(sandbox: &Sandbox, key: &Key, jti: &str, scope: &str) -> Response {
    let header = json!({ "typ": "JWT", "alg": key.algorithm(), "kid": "k1" });
    let claims = json!({ "iss": "gateway", "sub": "gateway", "aud": sandbox.token_url(), "exp": NOW / SECOND + 240, "jti": jti });
    ask(sandbox, &key.sign(&header, &claims), scope)
}

pub(super) fn ask(sandbox: &Sandbox, assertion: &str, scope: &str) -> Response {
    form(
        sandbox,
        &[
            ("grant_type", "client_credentials"),
            ("scope", scope),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ],
    )
}

pub(super) fn form(sandbox: &Sandbox, pairs: &[(&str, &str)]) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    send(sandbox, "POST", "/auth/token", &[("Content-Type", "application/x-www-form-urlencoded")], &body).unwrap()
}
