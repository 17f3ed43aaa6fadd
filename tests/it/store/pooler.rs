//! Behind a pooler: one that gives a client a session for itself is as good as the server, one that gives each transaction another session is refused
//! before anything is asked. The pooler is made here, and does as pgbouncer's `pool_mode` is documented to
//! (<https://www.pgbouncer.org/features.html>).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use fhir_engage::store::{Location, Store};

use crate::support::{Backend, Database, run};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Session,
    Transaction,
}

/// A pooler on loopback; the sessions that it keeps end with it.
struct Pooler {
    port: u16,
    idle: Arc<Mutex<Vec<TcpStream>>>,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        for session in self.idle.lock().unwrap().drain(..) {
            let _ = session.shutdown(Shutdown::Both);
        }
    }
}

impl Pooler {
    fn before(server: SocketAddr, mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, idle) = (listener.local_addr().unwrap().port(), Arc::default());
        let pooler = Self { port, idle: Arc::clone(&idle) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let idle = Arc::clone(&idle);
                // A client or server that hangs up ends the conversation.
                std::thread::spawn(move || drop(serve(client, server, mode, &idle)));
            }
        });
        pooler
    }
}

fn serve(mut client: TcpStream, server: SocketAddr, mode: Mode, idle: &Mutex<Vec<TcpStream>>) -> std::io::Result<()> {
    let startup = loop {
        let packet = packet(&mut client, Vec::new())?;
        match packet.get(4..8) {
            // Asked for TLS or GSSAPI: neither is here.
            Some([0x04, 0xd2, 0x16, 0x2f | 0x30]) => client.write_all(b"N")?,
            _ => break packet,
        }
    };
    let (first, greeting) = open(server, &startup)?;
    client.write_all(&greeting)?;
    if mode == Mode::Session {
        let (mut from, mut to) = (first.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        std::io::copy(&mut client, &mut &first)?;
        return first.shutdown(Shutdown::Both);
    }
    idle.lock().unwrap().push(first);
    let mut held: Option<TcpStream> = None;
    loop {
        let message = message(&mut client)?;
        let kind = message[0];
        if kind == b'X' {
            return Ok(());
        }
        let next = held.take().or_else(|| idle.lock().unwrap().pop());
        let mut session = match next {
            Some(session) => session,
            None => open(server, &startup)?.0,
        };
        session.write_all(&message)?;
        // A query and a Sync are answered up to ReadyForQuery, which tells whether a transaction is open.
        if !matches!(kind, b'Q' | b'S') {
            held = Some(session);
            continue;
        }
        let ready = relay(&mut session, |bytes| client.write_all(bytes))?;
        // The session is free before the client knows that its transaction has ended.
        if ready[5] == b'I' {
            idle.lock().unwrap().push(session)
        } else {
            held = Some(session)
        }
        client.write_all(&ready)?;
    }
}

/// A session of the server, and what it said until it was ready.
fn open(server: SocketAddr, startup: &[u8]) -> std::io::Result<(TcpStream, Vec<u8>)> {
    let mut session = TcpStream::connect(server)?;
    session.write_all(startup)?;
    let mut said = Vec::new();
    let ready = relay(&mut session, |bytes| {
        said.extend_from_slice(bytes);
        Ok(())
    })?;
    said.extend(ready);
    Ok((session, said))
}

/// Hands messages on up to ReadyForQuery, which is left to the caller.
fn relay(session: &mut TcpStream, mut to: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<Vec<u8>> {
    loop {
        let message = message(session)?;
        if message[0] == b'Z' {
            return Ok(message);
        }
        to(&message)?;
    }
}

/// A message: its kind, its length, and what is in it.
fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    packet(stream, kind.to_vec())
}

fn packet(stream: &mut TcpStream, mut bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut rest)?;
    bytes.extend(length);
    bytes.extend(rest);
    Ok(bytes)
}

/// A pooler before the database's server, and the database's address through it.
fn through(db: &Database, mode: Mode) -> (Pooler, String) {
    let direct: url::Url = db.argument().parse().unwrap();
    let server = format!("{}:{}", direct.host_str().unwrap(), direct.port().unwrap_or(5432));
    let pooler = Pooler::before(std::net::ToSocketAddrs::to_socket_addrs(&server).unwrap().next().unwrap(), mode);
    let mut url = direct;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(pooler.port)).unwrap();
    (pooler, url.into())
}

#[test]
fn a_session_of_ones_own_is_as_good_as_the_server() {
    let Some(db) = Database::empty(Backend::Postgres) else { return };
    let (_pooler, url) = through(&db, Mode::Session);
    for _ in 0..2 {
        let store = Store::open(Location::parse(&url)).unwrap();
        assert!(store.read_blocking(fhir_engage::store::ehrs::list).unwrap().is_empty());
    }
}

#[test]
fn sessions_that_change_with_each_transaction_are_refused_before_anything_is_asked() {
    let Some(db) = Database::empty(Backend::Postgres) else { return };
    let (_pooler, url) = through(&db, Mode::Transaction);
    let data = crate::support::TempDir::new();
    for command in ["migrate", "check"] {
        let ended = run(&[command, "--data", data.path().to_str().unwrap(), "--database", &url]);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(told.contains("pool_mode = session"), "{command}: {told}");
    }
    assert_eq!(db.lines("SELECT tablename AS line FROM pg_tables WHERE schemaname = 'public'"), Vec::<String>::new());
}
