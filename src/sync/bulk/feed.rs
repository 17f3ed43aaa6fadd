//! The files of an export, from the EHR to lines: one side asks for them on the network, the other cuts them into lines on a thread that may
//! block. A file that breaks off is asked for again, and what was read of it is passed over.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::model::ResourceType;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::ehr::bulk::{File, FileError, Opened, Polled, Role, manifest};
use crate::ehr::retry::Policy;
use crate::ehr::{Client, EhrError};
use crate::store::exports::Place;
use crate::sync::import::source::{Batch, Fault, Lines};
use crate::sync::pull::chain;

/// Pieces of a file that may wait for whoever cuts them.
const WAITING: usize = 16;
const BUFFER: usize = 256 * 1024;
/// How often fresh addresses are asked for before a file counts as not there.
const REFRESHES: u32 = 2;

/// Why no more can be read.
#[derive(Debug)]
pub(super) enum ReadEnd {
    /// We are to stop.
    Stopped,
    /// The EHR has no such export any more.
    Gone,
    /// It cannot be had now: in words.
    Later(String),
    /// The EHR does not take our credential, or fails for good.
    Ehr(EhrError),
}

/// Why a file cannot be had.
enum NotHad {
    /// This one cannot: the others may.
    Skip(String),
    End(ReadEnd),
}

/// A piece of a file on its way.
enum Piece {
    Bytes(Vec<u8>),
    Broken(String),
    End,
}

/// One file, asked for by the side that reads.
pub(super) struct Ask {
    file: usize,
    answer: oneshot::Sender<Result<Body, NotHad>>,
}

/// A file as it comes. Reading it blocks.
struct Body {
    pieces: mpsc::Receiver<Piece>,
    now: Cursor<Vec<u8>>,
    ended: bool,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.now.read(buffer)?;
            if n > 0 || self.ended || buffer.is_empty() {
                return Ok(n);
            }
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.now = Cursor::new(bytes),
                Some(Piece::End) => self.ended = true,
                Some(Piece::Broken(why)) => return Err(io::Error::new(io::ErrorKind::ConnectionReset, why)),
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
    }
}

/// The side that asks the EHR.
pub(super) struct Fetcher<'a> {
    pub client: &'a Client,
    pub status_url: Url,
    pub requires_token: Option<bool>,
    pub types: Vec<ResourceType>,
    pub policy: Policy,
    pub files: Mutex<Vec<File>>,
}

impl Fetcher<'_> {
    /// Answers until nobody asks any more. While one file is read the next is opened.
    pub(super) async fn serve(&self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        let mut ahead: Option<(usize, Result<Opened, NotHad>)> = None;
        while let Some(Ask { file, answer }) = asks.recv().await {
            let opened = match ahead.take() {
                Some((at, Ok(opened))) if at == file => Ok(opened),
                _ => self.open(file).await,
            };
            match opened {
                Ok(opened) => {
                    let (to_reader, pieces) = mpsc::channel(WAITING);
                    if answer.send(Ok(Body { pieces, now: Cursor::default(), ended: false })).is_err() {
                        continue;
                    }
                    let next = async {
                        match self.file(file + 1).filter(|f| f.role == Role::Output) {
                            Some(_) => Some((file + 1, self.open(file + 1).await)),
                            None => None,
                        }
                    };
                    let ((), opened) = tokio::join!(pour(opened, to_reader), next);
                    ahead = opened;
                }
                // Whoever does not wait any more has stopped.
                Err(why) => drop(answer.send(Err(why))),
            }
        }
    }

    fn file(&self, at: usize) -> Option<File> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(at).cloned()
    }

    async fn open(&self, at: usize) -> Result<Opened, NotHad> {
        let (mut tried, mut refreshed) = (0, 0);
        loop {
            let Some(file) = self.file(at) else { return Err(NotHad::Skip("it is not in the list".to_owned())) };
            match self.client.open_file(&file.url, self.requires_token).await {
                Ok(opened) => return Ok(opened),
                Err(FileError::Expired(status)) if refreshed < REFRESHES => {
                    refreshed += 1;
                    tracing::debug!(status, "a file of an export is not there; fresh addresses are asked for");
                    self.refresh().await.map_err(NotHad::End)?;
                }
                Err(FileError::Later { why, retry_after }) => {
                    tried += 1;
                    match self.policy.wait(tried, retry_after, 0) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => return Err(NotHad::End(ReadEnd::Later(why))),
                    }
                }
                Err(FileError::Never(error)) if error.is_credential() || error.is_transient() => {
                    return Err(NotHad::End(ReadEnd::Ehr(error)));
                }
                Err(error) => return Err(NotHad::Skip(chain(&error))),
            }
        }
    }

    /// Asks for the addresses anew (Bulk Data Access: a client may, where they end).
    async fn refresh(&self) -> Result<(), ReadEnd> {
        let manifest = match self.client.poll(&self.status_url).await.map_err(ReadEnd::Ehr)? {
            Polled::Ready { manifest, .. } => self.client.manifest(&manifest, &self.status_url).await.map_err(ReadEnd::Ehr)?,
            Polled::Gone => return Err(ReadEnd::Gone),
            other => return Err(ReadEnd::Later(format!("the EHR does not tell the files' addresses anew ({})", name(&other)))),
        };
        let manifest = manifest.map_err(|e| ReadEnd::Later(e.to_string()))?;
        let fresh = manifest.wanted(&self.types);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if manifest::list_of(&fresh) != manifest::list_of(&files) {
            return Err(ReadEnd::Later("the EHR changed the export's list of files".to_owned()));
        }
        *files = fresh;
        Ok(())
    }
}

fn name(polled: &Polled) -> &'static str {
    match polled {
        Polled::Ready { .. } => "ready",
        Polled::Working { .. } => "in work",
        Polled::Throttled { .. } => "throttled",
        Polled::Failing { .. } => "failing",
        Polled::Gone => "gone",
        Polled::Refused { .. } => "refused",
    }
}

async fn pour(mut opened: Opened, to_reader: mpsc::Sender<Piece>) {
    loop {
        let piece = match opened.piece().await {
            Ok(Some(bytes)) => Piece::Bytes(bytes),
            Ok(None) => Piece::End,
            Err(error) => Piece::Broken(error.to_string()),
        };
        let last = !matches!(piece, Piece::Bytes(_));
        // Whoever does not read any more has stopped, or reads the file anew.
        if to_reader.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// The side that reads. Blocks.
pub(super) struct Reader<'a> {
    pub asks: mpsc::UnboundedSender<Ask>,
    pub stop: &'a AtomicBool,
    /// How often a file is begun anew without a line more.
    pub tries: u32,
}

/// How a file ended.
#[derive(Debug, Default)]
pub(super) struct FileEnd {
    /// How many of its lines held something.
    pub counted: i64,
    /// What is missing of it, in words.
    pub short: Option<String>,
}

impl Reader<'_> {
    /// Reads a file from behind a line. `take` gets the lines, and tells whether anybody is there still.
    pub(super) fn file(&self, number: usize, file: &File, from: Place, take: &mut dyn FnMut(Batch) -> bool) -> Result<FileEnd, ReadEnd> {
        let at = i64::try_from(number).unwrap_or(i64::MAX);
        let mut place = if from.file == at { from } else { Place { file: at, line: 0, counted: 0 } };
        let label = format!("export, file {} ({})", number + 1, type_of(file)).into();
        // A line that cannot be read at all counts for the type that the manifest names.
        let kind = file.rtype.as_deref().and_then(ResourceType::parse).filter(|_| file.role == Role::Output);
        let mut tried = 0;
        'anew: loop {
            let before = place.line;
            let body = match self.ask(number) {
                Ok(body) => body,
                Err(NotHad::Skip(why)) => return Ok(FileEnd { counted: place.counted, short: Some(why) }),
                Err(NotHad::End(end)) => return Err(end),
            };
            let mut lines = match Lines::new(&label, BufReader::with_capacity(BUFFER, body)) {
                Ok(lines) => lines,
                Err(error) if tried < self.tries => {
                    tried += 1;
                    tracing::debug!(error = %error, "a file of an export broke off at once; it is asked for again");
                    continue;
                }
                Err(error) => return Err(ReadEnd::Later(format!("a file of the export breaks off again and again: {error}"))),
            };
            while let Some(mut batch) = lines.batch() {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(ReadEnd::Stopped);
                }
                let broken = batch.lines.last().is_some_and(|l| matches!(l.fault, Some(Fault::CutOff | Fault::Damaged)));
                let again = broken && tried < self.tries;
                if again {
                    // Half a line is none: it comes whole with the next try.
                    batch.lines.pop();
                    batch.place.line -= 1;
                }
                // What an earlier try or run has handed on.
                batch.lines.retain(|l| i64::try_from(l.number).is_ok_and(|n| n > place.line));
                place.counted += i64::try_from(batch.lines.len()).unwrap_or(0);
                place.line = place.line.max(batch.place.line);
                batch.place = place;
                batch.kind = kind;
                if !batch.lines.is_empty() && !take(batch) {
                    return Err(ReadEnd::Stopped);
                }
                if again {
                    tried = if place.line > before { 1 } else { tried + 1 };
                    continue 'anew;
                }
                if broken {
                    return Ok(FileEnd { counted: place.counted, short: Some("it breaks off, however often it is asked for".to_owned()) });
                }
            }
            return Ok(FileEnd { counted: place.counted, short: short_of(file, place.counted) });
        }
    }

    fn ask(&self, file: usize) -> Result<Body, NotHad> {
        let (answer, told) = oneshot::channel();
        let stopped = || NotHad::End(ReadEnd::Stopped);
        self.asks.send(Ask { file, answer }).map_err(|_| stopped())?;
        told.blocking_recv().map_err(|_| stopped())?
    }
}

/// The type that the manifest names, where it is a name: it is the EHR's text, and goes into messages.
pub(super) fn type_of(file: &File) -> &str {
    let name = |text: &&str| text.len() < 32 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic());
    file.rtype.as_deref().filter(name).unwrap_or("no type told")
}

/// Whether a file holds fewer resources than the manifest says. More of them is no loss.
fn short_of(file: &File, counted: i64) -> Option<String> {
    let told = i64::try_from(file.count?).unwrap_or(i64::MAX);
    (counted < told).then(|| format!("it holds {counted} resources, and the manifest says {told}"))
}
