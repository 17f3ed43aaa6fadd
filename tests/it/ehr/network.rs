//! The way to an EHR: its certificate and ours, and the proxy of the site. Certificates are made here, servers and proxy are the test's.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use domain::Timestamp;
use fhir_engage::ehr::check::{Report, Verdict, check};
use fhir_engage::ehr::profile::{Auth, ClientCertificate, ClientSecret, Proxy};
use fhir_engage::ehr::{Credential, Profile, Search, Secret, Wallet};
use fhir_engage::net::Certificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use sandbox::App;

use super::support::World;
use crate::support::TempDir;

const SECRET: &str = "s3cret";

/// An authority of the test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// For 127.0.0.1, valid until a day.
    fn issues(&self, name: &str, until: (i32, u8, u8)) -> Pair {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// A TLS server for 127.0.0.1 before the sandbox; with `clients`, it lets in only whom that authority vouches for.
fn front(server: &Pair, clients: Option<&Authority>, upstream: u16) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(server.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || {
                let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), socket);
                let Some(request) = whole_request(&mut tls) else { return };
                let mut upstream = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
                upstream.write_all(&request).unwrap();
                let mut answer = Vec::new();
                let _reset = upstream.read_to_end(&mut answer);
                let _gone = tls.write_all(&answer);
                tls.conn.send_close_notify();
                let _gone = tls.flush();
            });
        }
    });
    port
}

/// Reads a request, and makes it the only one of its connection.
fn whole_request(stream: &mut impl Read) -> Option<Vec<u8>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let told = |line: &str| Some(line.split_once(':')?.1.trim().parse::<usize>().unwrap());
            let length = head.lines().find(|l| l.to_ascii_lowercase().starts_with("content-length:")).and_then(told).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                let mut whole = format!("{head}\r\nConnection: close\r\n\r\n").into_bytes();
                whole.extend_from_slice(&bytes[end + 4..]);
                return Some(whole);
            }
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
}

/// A proxy that is asked for `CONNECT` and for whole URLs, and remembers what it was asked.
struct EgressProxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Passes,
    /// Wants this header.
    WantsLogin(&'static str),
    Forbids,
}

impl EgressProxy {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = asked.clone();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let told = told.clone();
                std::thread::spawn(move || {
                    let Some(request) = whole_request(&mut socket) else { return };
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let line = text.lines().next().unwrap().to_owned();
                    told.lock().unwrap().push(line.clone());
                    let refused = match manner {
                        Manner::Passes => None,
                        Manner::WantsLogin(login) => (!text.contains(login))
                            .then_some("407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"site\""),
                        Manner::Forbids => Some("403 Forbidden"),
                    };
                    if let Some(status) = refused {
                        let _gone =
                            socket.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
                        return;
                    }
                    let words: Vec<&str> = line.split(' ').collect();
                    if words[0] == "CONNECT" {
                        let upstream = TcpStream::connect(words[1]).unwrap();
                        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                        let (mut from, mut to) = (socket.try_clone().unwrap(), upstream.try_clone().unwrap());
                        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                        let (mut from, mut to) = (upstream, socket);
                        let _gone = std::io::copy(&mut from, &mut to);
                        return;
                    }
                    let url: url::Url = words[1].parse().unwrap();
                    let path = &words[1][url.origin().ascii_serialization().len()..];
                    let mut upstream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
                    upstream.write_all(text.replacen(words[1], path, 1).as_bytes()).unwrap();
                    let mut answer = Vec::new();
                    let _reset = upstream.read_to_end(&mut answer);
                    let _gone = socket.write_all(&answer);
                });
            }
        });
        Self { port, asked }
    }

    fn profile(&self) -> Proxy {
        Proxy { url: format!("http://127.0.0.1:{}", self.port).parse().unwrap(), user: None, password: None, except: Vec::new() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn only_problem(report: &Report, says: &str, remedy: &str) {
    let problems: Vec<_> = report.problems().collect();
    assert_eq!(problems.len(), 1, "{report:#?}");
    assert!(problems[0].says.contains(says), "{report:#?}");
    assert!(problems[0].remedy.as_deref().unwrap().contains(remedy), "{report:#?}");
}

/// A sandbox behind TLS, whose client shows a secret: an assertion's audience would be the address behind.
struct Site {
    world: World,
    folder: TempDir,
    key: Option<Secret>,
    proxy_password: Option<Secret>,
}

impl Site {
    async fn new() -> Self {
        let world = World::start().await;
        world.ehr.register_app(App::with_secret("app", SECRET, "system/*.cruds"));
        Self { world, folder: TempDir::new(), key: None, proxy_password: None }
    }

    fn port(&self) -> u16 {
        self.world.ehr.address().port()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Points the profile to a TLS port.
    fn at(&mut self, port: u16, authority: &Authority) {
        let base = format!("https://127.0.0.1:{port}");
        self.world.profile = Profile {
            base_url: Some(format!("{base}/fhir").parse().unwrap()),
            auth: Auth::ClientSecret(ClientSecret {
                client_id: "app".to_owned(),
                secret: "env:S".to_owned(),
                token_url: Some(format!("{base}/auth/token").parse().unwrap()),
                ..ClientSecret::default()
            }),
            extra_ca: Some(self.file("ca.pem", &authority.pem)),
            timeout_secs: Some(5),
            ..Profile::default()
        };
        self.fill();
    }

    fn shows(&mut self, pair: &Pair) {
        let certificate = self.file("client.pem", &pair.certificate);
        self.world.profile.client_certificate = Some(ClientCertificate { certificate, key: "env:K".to_owned() });
        self.key = Some(Secret::new(pair.key.clone()));
        self.fill();
    }

    fn fill(&mut self) {
        self.world.parts.credential = Credential::Wallet(Arc::new(Wallet {
            credentials: BTreeMap::from([(String::new(), Credential::Secret(Secret::new(SECRET)))]),
            keeper: None,
            client_key: self.key.clone(),
            proxy_password: self.proxy_password.clone(),
        }));
    }

    async fn check(&self) -> Report {
        check(&self.world.profile, &self.world.parts).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_the_site_is_trusted_where_it_is_named_and_nowhere_else() {
    let (ours, other) = (Authority::new("site CA"), Authority::new("another CA"));
    let mut site = Site::new().await;
    let port = front(&ours.issues("ehr", (2030, 1, 1)), None, site.port());
    site.at(port, &ours);
    let report = site.check().await;
    assert!(report.is_ok(), "{report:#?}");
    let told = report.steps.iter().find(|s| s.name == "certificate").unwrap();
    assert!(told.verdict == Verdict::Ok && told.says.contains("days"), "{told:?}");
    assert!(!site.world.client().await.search_all(Search::of("Appointment")).await.unwrap().is_empty());

    site.at(port, &other);
    only_problem(&site.check().await, "authority that this machine does not trust", "never switched off");
    site.world.profile.extra_ca = Some(site.file("no.pem", "this is no certificate"));
    only_problem(&site.check().await, "extra CA", "TLS settings");
    site.world.profile.extra_ca = Some(site.folder.join("no-such.pem"));
    only_problem(&site.check().await, "cannot be read", "extra_ca");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_ends_is_told_before_and_after() {
    let ours = Authority::new("site CA");
    let mut site = Site::new().await;
    // The sandbox's clock and ours stand at 2026-11-23; TLS has the machine's own, which must be before the end as well.
    site.at(front(&ours.issues("ehr", (2026, 12, 1)), None, site.port()), &ours);
    if domain_now() < Timestamp::parse("2026-12-01T00:00:00Z").unwrap() {
        let report = site.check().await;
        let told = report.steps.iter().find(|s| s.name == "certificate").unwrap();
        assert!(told.verdict == Verdict::Warning && told.says.contains("ends in 7 days"), "{told:?}");
    }
    site.at(front(&ours.issues("ehr", (2024, 1, 1)), None, site.port()), &ours);
    only_problem(&site.check().await, "has expired", "never switched off");
}

/// The machine's clock, which is the one that TLS goes by.
#[expect(clippy::disallowed_methods, reason = "TLS reads this clock, and no other can be given to it")]
fn domain_now() -> Timestamp {
    Timestamp::from_micros(chrono::Utc::now().timestamp_micros())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_shown_to_whom_asks_for_it() {
    let (server, clients, other) = (Authority::new("server CA"), Authority::new("client CA"), Authority::new("another CA"));
    let mut site = Site::new().await;
    site.at(front(&server.issues("ehr", (2030, 1, 1)), Some(&clients), site.port()), &server);
    only_problem(&site.check().await, "does not accept this client's certificate", "--client-cert");
    site.shows(&other.issues("gateway", (2030, 1, 1)));
    only_problem(&site.check().await, "does not accept this client's certificate", "--client-cert");
    site.shows(&clients.issues("gateway", (2030, 1, 1)));
    let report = site.check().await;
    assert!(report.is_ok(), "{report:#?}");
    assert!(!site.world.client().await.search_all(Search::of("CarePlan")).await.unwrap().is_empty());

    let pair = clients.issues("gateway", (2031, 5, 4));
    let read = Certificate::all_from_pem(format!("{}{}{}", pair.key, pair.certificate, server.pem).as_bytes());
    assert_eq!(read.len(), 2, "a key is passed over");
    assert_eq!((read[0].subject.as_str(), read[0].not_after), ("CN=gateway", Timestamp::parse("2031-05-04T00:00:00Z").unwrap()));
    site.key = Some(Secret::new("no key"));
    site.fill();
    only_problem(&site.check().await, "client certificate is not a PEM certificate with its private key", "TLS settings");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_the_only_way_out_but_for_its_exceptions() {
    let ours = Authority::new("site CA");
    let mut site = Site::new().await;
    let port = front(&ours.issues("ehr", (2030, 1, 1)), None, site.port());
    site.at(port, &ours);
    let proxy = EgressProxy::start(Manner::Passes);
    site.world.profile.proxy = Some(proxy.profile());
    let report = site.check().await;
    assert!(report.is_ok(), "{report:#?}");
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|line| *line == format!("CONNECT 127.0.0.1:{port} HTTP/1.1")), "{asked:?}");

    let bypassed = EgressProxy::start(Manner::Forbids);
    site.world.profile.proxy = Some(Proxy { except: vec!["127.0.0.0/8".to_owned()], ..bypassed.profile() });
    assert!(site.check().await.is_ok());
    assert_eq!(bypassed.asked(), Vec::<String>::new());

    // Without TLS the proxy is asked for whole URLs; tokens for the EHR alone go through it as well.
    let plain = World::start().await;
    let (mut profile, proxy) = (plain.profile.clone(), EgressProxy::start(Manner::Passes));
    profile.proxy = Some(proxy.profile());
    assert!(check(&profile, &plain.parts).await.is_ok());
    let base = plain.ehr.base_url();
    assert!(proxy.asked().iter().any(|line| line.starts_with(&format!("GET {base}/metadata "))), "{:?}", proxy.asked());
    assert!(proxy.asked().iter().any(|line| line.starts_with(&format!("POST {} ", plain.ehr.token_url()))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_lets_nothing_through_is_named_with_its_reason() {
    let ours = Authority::new("site CA");
    let mut site = Site::new().await;
    site.at(front(&ours.issues("ehr", (2030, 1, 1)), None, site.port()), &ours);
    site.world.profile.proxy = Some(EgressProxy::start(Manner::Forbids).profile());
    only_problem(&site.check().await, "does not let this address through", "proxy's operator");
    // engage:gate
    let wants = EgressProxy::start(Manner::WantsLogin("Basic ZW5nYWdlOmdhdGU="));
    site.world.profile.proxy = Some(wants.profile());
    only_problem(&site.check().await, "asks for a name and a password", "proxy.user");
    let login = Proxy { user: Some("engage".to_owned()), password: Some("env:P".to_owned()), ..wants.profile() };
    site.world.profile.proxy = Some(login);
    site.proxy_password = Some(Secret::new("gate"));
    site.fill();
    let report = site.check().await;
    assert!(report.is_ok(), "{report:#?}");
    site.proxy_password = Some(Secret::new("wrong"));
    site.fill();
    only_problem(&site.check().await, "asks for a name and a password", "proxy.user");
    let nowhere = Proxy { url: "http://127.0.0.1:9".parse().unwrap(), ..EgressProxy::start(Manner::Passes).profile() };
    site.world.profile.proxy = Some(nowhere.clone());
    only_problem(&site.check().await, "the proxy that leads there cannot be reached", "proxy.url");

    let plain = World::start().await;
    let mut profile = plain.profile.clone();
    profile.proxy = Some(wants.profile());
    only_problem(&check(&profile, &plain.parts).await, "asks for a name and a password", "proxy.user");
    profile.proxy = Some(nowhere);
    only_problem(&check(&profile, &plain.parts).await, "the proxy that leads there cannot be reached", "proxy.url");
}
