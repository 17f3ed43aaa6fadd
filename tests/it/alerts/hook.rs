//! A server that takes webhooks and heartbeats, and says no when told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Came {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Came {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|h| h.0 == name).map_or("", |h| h.1.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether the signature is that of a holder of the secret (Standard Webhooks, "Verifying webhook authenticity").
    pub fn is_signed_with(&self, secret: &[u8]) -> bool {
        let signed = format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        let signature = self.header("webhook-signature").strip_prefix("v1,").unwrap();
        let signature = base64::engine::general_purpose::STANDARD.decode(signature).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        ring::hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
    }
}

/// The server; it runs until the tests end.
pub struct Hook {
    port: u16,
    status: Arc<AtomicU16>,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Hook {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hook = Self { port: listener.local_addr().unwrap().port(), status: Arc::new(AtomicU16::new(204)), came: Arc::default() };
        let (status, came) = (Arc::clone(&hook.status), Arc::clone(&hook.came));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (status, came) = (Arc::clone(&status), Arc::clone(&came));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                    let path = line.split(' ').nth(1).unwrap().to_owned();
                    let mut headers = Vec::new();
                    loop {
                        let mut line = String::new();
                        reader.read_line(&mut line).unwrap();
                        let Some((name, value)) = line.trim().split_once(": ") else { break };
                        headers.push((name.to_lowercase(), value.to_owned()));
                    }
                    let length = headers.iter().find(|h| h.0 == "content-length").map_or(0, |h| h.1.parse().unwrap());
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    came.lock().unwrap().push(Came { path, headers, body: String::from_utf8(body).unwrap() });
                    let answer = format!("HTTP/1.1 {} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", status.load(Ordering::SeqCst));
                    let _ = (&stream).write_all(answer.as_bytes());
                });
            }
        });
        hook
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it answers from now on.
    pub fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// All that came to a path.
    pub fn came(&self, path: &str) -> Vec<Came> {
        self.came.lock().unwrap().iter().filter(|c| c.path == path).cloned().collect()
    }
}
