//! A mail server on loopback that says no in every way. It keeps every message whose data it has read to the end, whatever it answered.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// 250 after the data.
    Takes,
    /// 550 at the recipient.
    Refuses,
    /// 451 at the recipient.
    Defers,
    /// Takes the data, says nothing and hangs up.
    HangsUp,
}

/// A message that was read to its end.
#[derive(Clone, Debug)]
pub struct Received {
    /// The recipient.
    pub to: String,
    /// Headers and body.
    pub text: String,
}

/// A mail server on loopback. It keeps every message whose data it has read, whatever it answered.
#[derive(Debug)]
pub struct MailServer {
    port: u16,
    desk: Arc<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    manners: Mutex<BTreeMap<String, Manner>>,
    received: Mutex<Vec<Received>>,
    connections: AtomicU32,
    /// Milliseconds between the end of a message's data and its answer.
    thinks: AtomicU64,
}

impl MailServer {
    /// Starts it; it runs until the tests end.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), desk: Arc::default() };
        let desk = Arc::clone(&server.desk);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                desk.connections.fetch_add(1, Ordering::SeqCst);
                // A client that hangs up in between is its own affair.
                let _ = converse(&stream, &desk);
            }
        });
        server
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How it treats messages to an address.
    pub fn set(&self, to: &str, manner: Manner) {
        self.desk.manners.lock().unwrap().insert(to.to_owned(), manner);
    }

    /// How long it takes from the end of a message's data to its answer.
    pub fn thinks(&self, for_millis: u64) {
        self.desk.thinks.store(for_millis, Ordering::SeqCst);
    }

    /// How often anyone connected.
    pub fn connections(&self) -> u32 {
        self.desk.connections.load(Ordering::SeqCst)
    }

    /// All messages, in the order in which they came.
    pub fn received(&self) -> Vec<Received> {
        self.desk.received.lock().unwrap().clone()
    }

    /// The messages to an address.
    pub fn to(&self, address: &str) -> Vec<Received> {
        self.received().into_iter().filter(|m| m.to == address).collect()
    }

    /// A gateway's configuration that sends by it, without quiet hours.
    pub fn config(&self) -> String {
        format!(
            r#"
[site]
name = "Harbour Clinic"
phone = "+1 555 0100"
[outreach]
channels = ["email", "recorded"]
settle_after = "10m"
[outreach.quiet_hours]
start = "00:00"
end = "00:00"
[smtp]
host = "127.0.0.1"
port = {}
tls = "none"
from = "Harbour Clinic <desk@clinic.example>"
reply_to = "answers@clinic.example"
"#,
            self.port
        )
    }
}

fn converse(stream: &TcpStream, desk: &Desk) -> std::io::Result<()> {
    let mut out = stream;
    let mut lines = BufReader::new(stream).lines();
    let mut to = String::new();
    let mut manner = Manner::Takes;
    out.write_all(b"220 mail.example ready\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let command = line.to_ascii_uppercase();
        let answer = if command.starts_with("RCPT TO:") {
            to = line["RCPT TO:".len()..].split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            manner = desk.manners.lock().unwrap().get(&to).copied().unwrap_or(Manner::Takes);
            match manner {
                // The words quote the address, as servers do; they must not be kept anywhere.
                Manner::Refuses => format!("550 5.1.1 <{to}> no such user"),
                Manner::Defers => format!("451 4.7.1 <{to}> greylisted"),
                Manner::Takes | Manner::HangsUp => "250 2.1.5 ok".to_owned(),
            }
        } else if command == "DATA" {
            out.write_all(b"354 go ahead\r\n")?;
            let mut text = Vec::new();
            loop {
                match lines.next().transpose()? {
                    // Cut off in the middle: no server takes that for a message.
                    None => return Ok(()),
                    Some(line) if line == "." => break,
                    Some(line) => text.push(line),
                }
            }
            desk.received.lock().unwrap().push(Received { to: to.clone(), text: text.join("\n") });
            std::thread::sleep(Duration::from_millis(desk.thinks.load(Ordering::SeqCst)));
            if manner == Manner::HangsUp {
                return Ok(());
            }
            "250 2.0.0 queued".to_owned()
        } else if command == "QUIT" {
            "221 bye".to_owned()
        } else {
            "250 mail.example".to_owned()
        };
        out.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}
