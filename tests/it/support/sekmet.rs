//! A real EHR for tests: SEKMET, written by others, with strict SMART Backend Services. The gateway is one of its clients, the test is
//! another, so that what is in its charts can be counted without asking the gateway.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::prerequisite::prerequisite;
use super::process::Running;
use super::temp::TempDir;

/// The client id that the gateway has there.
pub const GATEWAY_CLIENT: &str = "gateway";
const OBSERVER_CLIENT: &str = "observer";

/// A running SEKMET with an empty chart room; gone when this value is dropped.
pub struct Sekmet {
    folder: TempDir,
    venv: PathBuf,
    port: u16,
    server: Option<Running>,
    observer: EcdsaKeyPair,
}

/// An answer of the EHR.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Sekmet {
    /// Starts it with the gateway's public keys; one key, since it answers 500 to a client that has two kinds. `None` where it is not
    /// installed here, which has been reported then.
    pub fn start(gateway_jwks: &Value) -> Option<Self> {
        Self::with_clients(&[(GATEWAY_CLIENT, gateway_jwks, "system/*.cruds")])
    }

    /// Starts it with these clients: name, public keys and scopes.
    pub fn with_clients(clients: &[(&str, &Value, &str)]) -> Option<Self> {
        let venv = PathBuf::from(prerequisite("SEKMET_VENV")?);
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
        let observer = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let folder = TempDir::new();
        let pem = base64::engine::general_purpose::STANDARD.encode(pkcs8.as_ref());
        std::fs::write(folder.join("observer.pem"), format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let known = jwks(&observer);
        let clients: Vec<Value> = std::iter::once(&(OBSERVER_CLIENT, &known, "system/*.cruds"))
            .chain(clients)
            .map(|(id, keys, scopes)| json!({ "client_id": id, "jwks": keys, "scopes": scopes }))
            .collect();
        let settings = json!({
            "base_url": format!("http://127.0.0.1:{port}/fhir"),
            "host": "127.0.0.1",
            "port": port,
            "data_dir": folder.join("data"),
            "own_private_key_path": folder.join("own.pem"),
            // Whatever it does over its own REST interface it does as the observer.
            "peers": { "self": { "base_url": format!("http://127.0.0.1:{port}/fhir"), "auth": {
                "type": "smart", "client_id": OBSERVER_CLIENT, "private_key_path": folder.join("observer.pem"), "kid": OBSERVER_CLIENT,
                "alg": "ES384", "scope": "system/*.cruds",
            } } },
            "server_auth": {
                "types": ["smart"],
                "token_lifetime": 300,
                "smart_clients": clients,
            },
        });
        // JSON is YAML too.
        std::fs::write(folder.join("settings.yaml"), settings.to_string()).unwrap();
        let mut sekmet = Self { folder, venv, port, server: None, observer };
        sekmet.resume();
        Some(sekmet)
    }

    /// The FHIR base URL.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.port)
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.venv.join("bin/sekmet"));
        command.args(args).arg("--config").arg(self.folder.join("settings.yaml")).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Stops it, as an EHR that is down; its charts stay.
    pub fn pause(&mut self) {
        self.server = None;
    }

    /// Starts it on the same address with the charts it had.
    ///
    /// # Panics
    /// Where it does not answer within a minute.
    pub fn resume(&mut self) {
        self.server = Some(Running::start(&mut self.command(&["serve"])));
        let began = Instant::now();
        while !self.answers() {
            if self.server.as_mut().is_some_and(Running::has_ended) || began.elapsed() > Duration::from_secs(60) {
                let ended = self.server.take().map(Running::stop);
                panic!("SEKMET does not answer: {ended:?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.request("GET", "/fhir/metadata", None, None).status == 200
    }

    /// Fills it: facility, practitioners and that many patients.
    pub fn seed(&self, patients: u32) {
        Running::start(&mut self.command(&["seed", "--no-admit", "--count", &patients.to_string()])).wait().ok();
    }

    /// Runs one of its own workflows, such as `scheduling.book`; what it made, by name.
    pub fn workflow(&self, name: &str, arguments: &[(&str, &str)]) -> Value {
        let arguments: Vec<String> = arguments.iter().flat_map(|(k, v)| ["--arg".to_owned(), format!("{k}={v}")]).collect();
        let mut args = vec!["workflow", "run", name];
        args.extend(arguments.iter().map(String::as_str));
        Running::start(&mut self.command(&args)).wait().ok().json()
    }

    /// Starts one of its own scenarios as a load, by so many users until so many journeys are made: it books, moves and cancels over its own
    /// REST interface, strictly authorised as everybody is.
    pub fn load(&self, scenario: &str, users: u32, journeys: u32) -> Running {
        let (users, journeys) = (users.to_string(), journeys.to_string());
        let args = ["load", "run", scenario, "--peer", "self", "-u", &users, "--iterations", &journeys, "-d", "600", "--report-dir"];
        let reports = self.folder.join("reports");
        Running::start(&mut self.command(&[&args[..], &[reports.to_str().unwrap()]].concat()))
    }

    /// Merges a patient into another by its own workflow.
    pub fn merge(&self, merged: &str, survivor: &str) {
        self.workflow("adt.merge_patients", &[("merged", merged), ("survivor", survivor)]);
    }

    /// Opens a practitioner's diary for the next days, so that there are slots to book.
    pub fn open_schedule(&self, days: u32) {
        self.workflow("scheduling.create_schedule", &[("days", &days.to_string())]);
    }

    /// Books a patient's appointment in a free slot by its own workflow; the appointment's id.
    pub fn book(&self, patient: &str) -> String {
        let made = self.workflow("scheduling.book", &[("patient", patient)]);
        made["appointment"]["id"].as_str().unwrap_or_else(|| panic!("no appointment in {made}")).to_owned()
    }

    /// Cancels an appointment by its own workflow.
    pub fn cancel(&self, appointment: &str) {
        self.workflow("scheduling.cancel", &[("appointment", appointment)]);
    }

    /// The ids of its patients.
    pub fn patients(&self) -> Vec<String> {
        self.search("Patient", "_count=100").iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Stores a resource as the observer; its id.
    #[track_caller]
    pub fn create(&self, resource: &Value) -> String {
        let kind = resource["resourceType"].as_str().unwrap();
        let answer =
            self.request("POST", &format!("/fhir/{kind}"), Some(&self.token()), Some(("application/fhir+json", &resource.to_string())));
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// Stores a changed resource as the observer.
    #[track_caller]
    pub fn update(&self, resource: &Value) {
        let (kind, id) = (resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        let body = resource.to_string();
        let answer = self.request("PUT", &format!("/fhir/{kind}/{id}"), Some(&self.token()), Some(("application/fhir+json", &body)));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// All resources that a search finds, page by page, as the observer.
    pub fn search(&self, kind: &str, query: &str) -> Vec<Value> {
        let token = self.token();
        let mut all = Vec::new();
        let mut next = Some(format!("/fhir/{kind}?{query}"));
        while let Some(path) = next {
            let answer = self.request("GET", &path, Some(&token), None);
            assert_eq!(answer.status, 200, "{}", answer.body);
            let entries = answer.body["entry"].as_array().cloned().unwrap_or_default();
            all.extend(entries.into_iter().map(|e| e["resource"].clone()).filter(|r| r["resourceType"] == kind));
            let links = answer.body["link"].as_array().cloned().unwrap_or_default();
            let url = links.iter().find(|l| l["relation"] == "next").and_then(|l| l["url"].as_str());
            next = url.map(|u| u.split_once(&format!(":{}", self.port)).map_or(u, |(_, path)| path).to_owned());
        }
        all
    }

    /// A token of the observer's own.
    fn token(&self) -> String {
        let url = format!("http://127.0.0.1:{}/auth/token", self.port);
        let form = format!(
            "grant_type=client_credentials&scope=system%2F*.cruds&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={}",
            self.assertion(&url)
        );
        let answer = self.request("POST", "/auth/token", None, Some(("application/x-www-form-urlencoded", &form)));
        answer.body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer:?}")).to_owned()
    }

    #[expect(clippy::disallowed_methods, reason = "the real EHR goes by the real clock")]
    fn assertion(&self, audience: &str) -> String {
        let random = SystemRandom::new();
        let mut id = [0; 16];
        random.fill(&mut id).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let head = json!({ "alg": "ES384", "typ": "JWT", "kid": OBSERVER_CLIENT });
        let claims = json!({ "iss": OBSERVER_CLIENT, "sub": OBSERVER_CLIENT, "aud": audience, "exp": now + 240, "iat": now, "jti": URL_SAFE_NO_PAD.encode(id) });
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.observer.sign(&random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// One request as the EHR gets it. Plain HTTP/1.1 over loopback: the gateway's own client is what is tested, so it is not used here.
    pub fn request(&self, method: &str, path: &str, token: Option<&str>, body: Option<(&str, &str)>) -> Answer {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nAccept: application/json\r\n", self.port);
        if let Some(token) = token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        let content = body.map_or("", |b| b.1);
        if let Some((kind, text)) = body {
            head.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", text.len()));
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(format!("{head}\r\n{content}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A server that closes hard after its answer is no failure; a short answer shows below.
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Answer { status, body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }
}

fn jwks(key: &EcdsaKeyPair) -> Value {
    // Uncompressed point: 4, x, y.
    let (x, y) = key.public_key().as_ref()[1..].split_at(48);
    json!({ "keys": [{
        "kty": "EC", "crv": "P-384", "alg": "ES384", "use": "sig", "kid": OBSERVER_CLIENT,
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }] })
}
