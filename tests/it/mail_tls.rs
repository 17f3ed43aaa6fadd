//! Mail to a server that wants TLS and a user, with a certificate of the site's own authority: STARTTLS (RFC 3207), TLS from the first byte (RFC 8314),
//! AUTH PLAIN and AUTH LOGIN (RFC 4954).

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Ended, TempDir, run};

struct Server {
    port: u16,
    authority: String,
    /// What came, a word each: `tls`, `login`, `mail`.
    came: Arc<Mutex<Vec<&'static str>>>,
}

trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

impl Server {
    /// A server for `localhost`. `wrapped` is TLS from the first byte; `mechanism` is the only way to sign in.
    fn start(wrapped: bool, mechanism: &'static str) -> Self {
        let (authority, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut of_authority = CertificateParams::default();
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = of_authority.self_signed(&authority).unwrap().pem();
        let issuer = Issuer::new(of_authority, authority);
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap().pem();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let server = Self { port: listener.local_addr().unwrap().port(), authority: pem, came: Arc::default() };
        let came = Arc::clone(&server.came);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, came) = (Arc::clone(&config), Arc::clone(&came));
                std::thread::spawn(move || {
                    let tls = |socket| rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), socket);
                    // A client that does not trust the certificate hangs up.
                    let _ = if wrapped {
                        converse(&mut tls(socket), mechanism, true, &came)
                    } else {
                        plain(&socket).and_then(|()| converse(&mut tls(socket), mechanism, false, &came))
                    };
                });
            }
        });
        server
    }

    /// `alerts test` against it, with these lines more in `[smtp]`.
    fn tried(&self, tls: &str, more: &str) -> Ended {
        let folder = TempDir::new();
        std::fs::write(folder.join("password"), "s3cret\n").unwrap();
        std::fs::write(folder.join("ca.pem"), &self.authority).unwrap();
        let config = format!(
            "[smtp]\nhost = \"localhost\"\nport = {}\ntls = \"{tls}\"\nuser = \"engage\"\npassword = \"file:password\"\nfrom = \"desk@clinic.example\"\n\
             {more}\n[alerts]\nmail = [\"ops@clinic.example\"]\n",
            self.port
        );
        std::fs::write(folder.join("fhir-engage.toml"), config).unwrap();
        run(&["alerts", "test", "--data", folder.path().to_str().unwrap()])
    }

    fn came(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.came.lock().unwrap())
    }
}

fn line(from: &mut impl Read) -> std::io::Result<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n") {
        from.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// Up to STARTTLS; a password that came before it would be in the clear.
fn plain(mut socket: &std::net::TcpStream) -> std::io::Result<()> {
    socket.write_all(b"220 mail.example ESMTP\r\n")?;
    loop {
        match line(&mut socket)?.to_ascii_uppercase().as_str() {
            "STARTTLS" => return socket.write_all(b"220 go on\r\n"),
            hello if hello.starts_with("EHLO") => socket.write_all(b"250-mail.example\r\n250 STARTTLS\r\n")?,
            _ => socket.write_all(b"530 5.7.0 Must issue a STARTTLS command first\r\n")?,
        }
    }
}

fn converse(stream: &mut dyn Line, mechanism: &str, greets: bool, came: &Mutex<Vec<&'static str>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(Both(stream));
    let say = |stream: &mut BufReader<Both<'_>>, text: &str| stream.get_mut().write_all(format!("{text}\r\n").as_bytes());
    if greets {
        say(&mut stream, "220 mail.example ESMTP")?;
    }
    let decoded = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
    let mut known = false;
    loop {
        let mut said = String::new();
        if stream.read_line(&mut said)? == 0 {
            return Ok(());
        }
        let said = said.trim_end();
        let verb = said.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                came.lock().unwrap().push("tls");
                say(&mut stream, &format!("250-mail.example\r\n250-8BITMIME\r\n250 AUTH {mechanism}"))?;
            }
            "AUTH" => {
                let right = if let Some(told) = said.strip_prefix("AUTH PLAIN ") {
                    decoded(told) == "\0engage\0s3cret"
                } else {
                    let mut answers = Vec::new();
                    for asked in ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"] {
                        say(&mut stream, &format!("334 {asked}"))?;
                        let mut answer = String::new();
                        stream.read_line(&mut answer)?;
                        answers.push(decoded(answer.trim_end()));
                    }
                    answers == ["engage", "s3cret"]
                };
                known |= right;
                came.lock().unwrap().push("login");
                say(&mut stream, if right { "235 2.7.0 ok" } else { "535 5.7.8 no" })?;
            }
            "DATA" if known => {
                say(&mut stream, "354 go on")?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut text)?;
                }
                came.lock().unwrap().push("mail");
                say(&mut stream, "250 2.0.0 taken")?;
            }
            "QUIT" => return say(&mut stream, "221 bye"),
            _ if known => say(&mut stream, "250 ok")?,
            _ => say(&mut stream, "530 5.7.0 Authentication required")?,
        }
    }
}

/// A line that is read and written.
struct Both<'a>(&'a mut dyn Line);

impl Read for Both<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn mail_goes_to_a_server_with_tls_and_a_user_whose_authority_is_named() {
    for (wrapped, tls) in [(false, "starttls"), (true, "implicit")] {
        for mechanism in ["PLAIN", "LOGIN", "PLAIN LOGIN"] {
            let server = Server::start(wrapped, mechanism);
            let ended = server.tried(tls, "ca = \"file:ca.pem\"").ok();
            assert!(ended.stdout.contains("accepted"), "{tls} {mechanism}: {ended:?}");
            assert_eq!(server.came(), ["tls", "login", "mail"], "{tls} {mechanism}");
        }
    }
}

#[test]
fn a_certificate_that_is_not_trusted_gets_no_password_and_is_told_as_what_it_is() {
    for (wrapped, tls) in [(false, "starttls"), (true, "implicit")] {
        let server = Server::start(wrapped, "PLAIN");
        let ended = server.tried(tls, "");
        assert_eq!((ended.code, server.came()), (Some(1), Vec::new()), "{tls}: {ended:?}");
        assert!(ended.stdout.contains("smtp.ca"), "{tls}: {ended:?}");
    }
}

#[test]
fn what_is_wrong_with_user_and_authority_is_told() {
    let server = Server::start(false, "PLAIN");
    let wrong = server.tried("starttls", "ca = \"file:ca.pem\"\nreply_to = \"desk@clinic.example\"").ok();
    assert!(wrong.stdout.contains("accepted"), "{wrong:?}");
    let other = server.tried("starttls", "ca = \"file:password\"");
    assert!(other.code == Some(1) && other.stderr.contains("not PEM"), "{other:?}");
    let none = server.tried("starttls", "ca = \"file:nowhere.pem\"");
    assert!(none.code == Some(1) && none.stderr.contains("nowhere.pem"), "{none:?}");
    // A way to sign in that is not taken.
    let odd = Server::start(false, "XOAUTH2");
    let ended = odd.tried("starttls", "ca = \"file:ca.pem\"");
    assert!(ended.code == Some(1) && !odd.came().contains(&"mail"), "{ended:?}");
    assert!(ended.stdout.contains("no way to sign in"), "{ended:?}");
}
