//! A bad line to an EHR: a proxy that takes each request as it comes, and at random does not pass it on, or loses the answer, or cuts it off,
//! or resets the connection, or lets everybody wait. It speaks as much HTTP/1.1 as that needs: a head, a body of a told length, one request
//! a connection to the EHR.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is passed on, and answered.
    Passes,
    /// It never arrives; the connection ends.
    NeverArrives,
    /// It never arrives; the connection is reset.
    ResetBefore,
    /// It arrives; the connection ends without an answer.
    AnswerLost,
    /// It arrives; the connection is reset without an answer.
    ResetAfter,
    /// It arrives; half of the answer comes.
    CutOff,
    /// It arrives, and the answer comes late.
    Late,
    /// It arrives long after the client's connection has ended.
    ArrivesLate,
    /// It is answered 502 by the proxy, as proxies do; whether it arrives is tossed for.
    BadGateway,
}

use Fate::{AnswerLost, ArrivesLate, BadGateway, CutOff, Late, NeverArrives, Passes, ResetAfter, ResetBefore};

const BAD: [Fate; 8] = [NeverArrives, ResetBefore, AnswerLost, ResetAfter, CutOff, Late, ArrivesLate, BadGateway];

const BAD_GATEWAY: &str =
    "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 11\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nBad Gateway";

/// A running proxy; it ends with this value.
pub struct Proxy {
    port: u16,
    line: Arc<Line>,
    _runtime: tokio::runtime::Runtime,
}

struct Line {
    upstream: u16,
    /// Paths that begin so are in danger.
    path: String,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    /// Of a hundred requests of a method.
    bad_in_100: BTreeMap<&'static str, u32>,
    late: Duration,
    met: BTreeMap<Fate, usize>,
}

impl Proxy {
    /// Starts it before a server of this machine. It passes everything until it is told otherwise.
    pub fn start(upstream: u16, path: &str, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (random, late) = (StdRng::seed_from_u64(seed), Duration::ZERO);
        let state = Mutex::new(State { random, bad_in_100: BTreeMap::new(), late, met: BTreeMap::new() });
        let line = Arc::new(Line { upstream, path: path.to_owned(), state });
        let shared = Arc::clone(&line);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = Arc::clone(&shared);
                // A client that hangs up in between is its own affair.
                tokio::spawn(async move { drop(line.serve(client).await) });
            }
        });
        Self { port, line, _runtime: runtime }
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of a hundred requests of these methods so many go wrong, and what is late is so late.
    pub fn harm(&self, bad_in_100: &[(&'static str, u32)], late: Duration) {
        let mut state = self.line.state.lock().unwrap();
        (state.bad_in_100, state.late) = (bad_in_100.iter().copied().collect(), late);
    }

    /// What became of the requests in danger.
    pub fn met(&self) -> BTreeMap<Fate, usize> {
        self.line.state.lock().unwrap().met.clone()
    }

    /// How many of them did not just pass.
    pub fn harmed(&self) -> usize {
        self.met().iter().filter(|(fate, _)| **fate != Passes).map(|(_, times)| times).sum()
    }
}

impl Line {
    /// Toss for a request; the second toss is for the fates that have two sides.
    fn toss(&self, request: &[u8]) -> (Fate, bool, Duration) {
        let head = String::from_utf8_lossy(request);
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut state = self.state.lock().unwrap();
        let bad = state.bad_in_100.get(method).copied().filter(|_| path.starts_with(&self.path)).unwrap_or(0);
        if bad == 0 {
            return (Passes, true, Duration::ZERO);
        }
        let fate = if state.random.random_range(0..100) < bad { BAD[state.random.random_range(0..BAD.len())] } else { Passes };
        *state.met.entry(fate).or_default() += 1;
        (fate, state.random.random(), state.late)
    }

    /// One request of a client. The EHR is asked to close after it, and says so, so the client sends its next one elsewhere.
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let Some(request) = read_request(&mut client).await? else { return Ok(()) };
        let (fate, heads, late) = self.toss(&request);
        match fate {
            NeverArrives => return Ok(()),
            ResetBefore => return client.set_zero_linger(),
            ArrivesLate => {
                drop(client);
                tokio::time::sleep(late).await;
                return self.ask(&request).await.map(drop);
            }
            _ => {}
        }
        let answer = if fate == BadGateway && heads { Vec::new() } else { self.ask(&request).await? };
        let given = match fate {
            AnswerLost => return Ok(()),
            ResetAfter => return client.set_zero_linger(),
            CutOff => answer.get(..answer.len() / 2).unwrap_or_default(),
            BadGateway => BAD_GATEWAY.as_bytes(),
            Late => {
                tokio::time::sleep(late).await;
                &answer
            }
            _ => &answer,
        };
        client.write_all(given).await?;
        client.shutdown().await
    }

    /// The EHR's whole answer.
    async fn ask(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream)).await?;
        server.write_all(&closing(request)).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// A request to its end; `None` where the client has no more.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    loop {
        if let Some(head) = end_of_head(&request) {
            let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|l| l.strip_prefix("content-length:")).map_or(0, |l| l.trim().parse().unwrap());
            assert!(!text.contains("transfer-encoding"), "the gateway tells lengths");
            if request.len() >= head + length {
                return Ok(Some(request));
            }
        }
        let mut more = [0; 16 * 1024];
        match client.read(&mut more).await? {
            0 => return Ok(None),
            n => request.extend_from_slice(&more[..n]),
        }
    }
}

/// The request with the wish that the connection ends after it.
fn closing(request: &[u8]) -> Vec<u8> {
    let end = end_of_head(request).unwrap();
    let head = String::from_utf8_lossy(&request[..end - 4]);
    let kept: Vec<&str> = head.split("\r\n").filter(|l| !l.to_ascii_lowercase().starts_with("connection:")).collect();
    let mut changed = format!("{}\r\nConnection: close\r\n\r\n", kept.join("\r\n")).into_bytes();
    changed.extend_from_slice(&request[end..]);
    changed
}
