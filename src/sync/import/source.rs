//! Where an import reads from: files, folders or standard input, gunzipped and cut into lines. Memory is bounded whatever a file holds.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::fhir::MAX_RESOURCE_BYTES;
use flate2::bufread::MultiGzDecoder;

use domain::model::ResourceType;

use super::ImportError;
use crate::sync::drops::{Rows, Table};

const BUFFER: usize = 256 * 1024;
/// Lines of one batch: enough to make the hand-over between threads cheap.
const BATCH_LINES: usize = 1_000;
/// A batch ends at this size too, so that long lines cannot add up.
const BATCH_BYTES: usize = 2 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sync) struct Input {
    /// How it is called in messages: the path below the folder that was named, the file's name, or `-`.
    pub label: Arc<str>,
    /// The file; standard input where absent.
    pub path: Option<PathBuf>,
    /// How its rows are read, where it is CSV.
    pub table: Option<Arc<Table>>,
}

/// The files behind the paths that were named. Patients come first, so that stubs are rare; the result does not depend on it.
pub(super) fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>, ImportError> {
    let mut all = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            if all.iter().any(|i: &Input| i.path.is_none()) {
                return Err(ImportError::StdinTwice);
            }
            all.push(Input { label: "-".into(), path: None, table: None });
            continue;
        }
        let unreadable = |source| ImportError::Unreadable { path: path.clone(), source };
        let kind = std::fs::metadata(path).map_err(unreadable)?;
        if !kind.is_dir() {
            // Opened now, so that a file that may not be read is told before anything is stored. Opening a pipe would take from it.
            if kind.is_file() {
                File::open(path).map_err(unreadable)?;
            }
            let name = path.file_name().map_or_else(|| path.to_string_lossy(), |n| n.to_string_lossy());
            all.push(Input { label: name.into(), path: Some(path.clone()), table: None });
            continue;
        }
        let found = folder(path)?;
        if found.is_empty() {
            return Err(ImportError::EmptyFolder(path.clone()));
        }
        all.extend(found);
    }
    if all.is_empty() {
        return Err(ImportError::NoPaths);
    }
    all.sort_by_key(|input| !is_patients(&input.label));
    Ok(all)
}

/// The NDJSON files of a folder and its sub-folders, in the order of their names. Links to folders are not followed: they can make rings.
fn folder(root: &Path) -> Result<Vec<Input>, ImportError> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut waiting = VecDeque::from([root.to_path_buf()]);
    while let Some(next) = waiting.pop_front() {
        let unreadable = |source| ImportError::Unreadable { path: next.clone(), source };
        for entry in std::fs::read_dir(&next).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            if entry.file_type().map_err(unreadable)?.is_dir() {
                waiting.push_back(path);
            } else if is_ndjson(&path) {
                File::open(&path).map_err(|source| ImportError::Unreadable { path: path.clone(), source })?;
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files
        .into_iter()
        .map(|path| Input { label: path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into(), path: Some(path), table: None })
        .collect())
}

fn is_ndjson(path: &Path) -> bool {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().to_ascii_lowercase());
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.ends_with(".ndjson") || name.ends_with(".jsonl")
}

fn is_patients(label: &str) -> bool {
    let name = label.rsplit(['/', '\\']).next().unwrap_or(label);
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.eq_ignore_ascii_case("Patient") || word.eq_ignore_ascii_case("Patients"))
}

/// What is wrong with a line before it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Longer than is taken; so long it was. Its first part is kept.
    TooLong(u64),
    /// The input ended in the middle of its compressed form. What came of the line is kept.
    CutOff,
    /// The input could not be read on: damaged compressed data, or the medium.
    Damaged,
    /// A row that is no resource: why, and which it would be. Its own bytes are kept.
    Row {
        /// What is wrong, without values.
        reason: String,
        /// Its logical id, where it has one.
        id: Option<String>,
        /// The input ends within it.
        cut_off: bool,
    },
}

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number in the input, from 1; blank lines count here, as in an editor.
    pub number: u64,
    /// Where it is in the batch.
    pub at: Range<usize>,
    /// What is wrong with it as a line.
    pub fault: Option<Fault>,
}

/// Some lines of one input.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The input.
    pub label: Arc<str>,
    /// Their bytes.
    pub data: Vec<u8>,
    /// The lines.
    pub lines: Vec<Line>,
    /// Bytes read for them, after unpacking.
    pub bytes: u64,
    /// What each row is, where these are rows of a table.
    pub kind: Option<ResourceType>,
}

/// An input, cut into batches.
pub(super) enum Reader {
    /// Of lines.
    Lines(Lines<'static>),
    /// Of rows.
    Rows(Box<TableRows>),
}

/// A table, cut into batches: each row is a line with its resource.
pub(super) struct TableRows {
    label: Arc<str>,
    kind: ResourceType,
    rows: Rows<Box<dyn BufRead + Send>>,
    ended: bool,
}

impl Reader {
    /// The next lines; `None` at the end.
    pub(super) fn batch(&mut self) -> Option<Batch> {
        match self {
            Self::Lines(lines) => lines.batch(),
            Self::Rows(rows) => rows.batch(),
        }
    }
}

impl TableRows {
    fn batch(&mut self) -> Option<Batch> {
        let mut batch = Batch { label: Arc::clone(&self.label), kind: Some(self.kind), ..Batch::default() };
        while !self.ended && batch.lines.len() < BATCH_LINES && batch.data.len() < BATCH_BYTES {
            let Some(row) = self.rows.next() else {
                self.ended = true;
                break;
            };
            let start = batch.data.len();
            let fault = match row.made {
                Ok(resource) => {
                    batch.data.extend_from_slice(resource.as_bytes());
                    None
                }
                Err((flaws, raw)) => {
                    batch.data.extend_from_slice(&raw);
                    let reason = flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                    Some(Fault::Row { reason, id: row.id, cut_off: row.cut_off })
                }
            };
            batch.bytes += (batch.data.len() - start) as u64;
            batch.lines.push(Line { number: row.line, at: start..batch.data.len(), fault });
        }
        (!self.ended || !batch.lines.is_empty()).then_some(batch)
    }
}

/// A stream without its compression, where it has one: its first bytes tell.
pub(in crate::sync) fn unpacked<'r>(mut raw: impl BufRead + Send + 'r) -> io::Result<Box<dyn BufRead + Send + 'r>> {
    let mut head = Vec::with_capacity(GZIP.len());
    (&mut raw).take(GZIP.len() as u64).read_to_end(&mut head)?;
    let gzipped = head == GZIP;
    let whole = io::Cursor::new(head).chain(raw);
    Ok(if gzipped { Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole))) } else { Box::new(whole) })
}

/// An input, cut into batches of lines.
pub(super) struct Lines<'r> {
    label: Arc<str>,
    from: Box<dyn BufRead + Send + 'r>,
    number: u64,
    ended: bool,
}

impl Input {
    /// Opens it. Whether it is gzipped is told by its first bytes, not by its name.
    pub(super) fn open(&self) -> Result<Reader, ImportError> {
        let unreadable = |source| ImportError::Unreadable { path: self.path.clone().unwrap_or_else(|| "-".into()), source };
        match &self.path {
            Some(path) => {
                let file = BufReader::with_capacity(BUFFER, File::open(path).map_err(unreadable)?);
                match &self.table {
                    Some(table) => {
                        let rows = Rows::new(unpacked(file).map_err(unreadable)?, table, 0);
                        let rows = TableRows { label: Arc::clone(&self.label), kind: table.resource, rows, ended: false };
                        Ok(Reader::Rows(Box::new(rows)))
                    }
                    None => Lines::new(&self.label, file).map(Reader::Lines).map_err(unreadable),
                }
            }
            None => Lines::new(&self.label, BufReader::with_capacity(BUFFER, io::stdin())).map(Reader::Lines).map_err(unreadable),
        }
    }
}

impl<'r> Lines<'r> {
    pub(super) fn new(label: &Arc<str>, raw: impl BufRead + Send + 'r) -> io::Result<Self> {
        Ok(Self { label: Arc::clone(label), from: unpacked(raw)?, number: 0, ended: false })
    }

    /// The next lines; `None` at the end.
    pub(super) fn batch(&mut self) -> Option<Batch> {
        let mut batch = Batch { label: Arc::clone(&self.label), data: Vec::with_capacity(BATCH_BYTES), ..Batch::default() };
        while !self.ended && batch.lines.len() < BATCH_LINES && batch.data.len() < BATCH_BYTES {
            self.line(&mut batch);
        }
        (!self.ended || !batch.lines.is_empty()).then_some(batch)
    }

    fn line(&mut self, batch: &mut Batch) {
        let start = batch.data.len();
        // One byte more than is taken: then a line is known to be too long without reading it whole.
        let most = MAX_RESOURCE_BYTES as u64 + 1;
        let read = (&mut self.from).take(most).read_until(b'\n', &mut batch.data);
        let came = (batch.data.len() - start) as u64;
        batch.bytes += came;
        let mut fault = read.err().map(|error| self.end_with(&error));
        if fault.is_none() {
            if came == 0 {
                self.ended = true;
                return;
            }
            if came == most && batch.data.last() != Some(&b'\n') {
                let (rest, broken) = self.skip_line();
                batch.bytes += rest;
                batch.data.truncate(start + MAX_RESOURCE_BYTES);
                fault = Some(broken.unwrap_or(Fault::TooLong(came + rest)));
            }
        }
        self.number += 1;
        let marked = self.number == 1 && batch.data.get(start..).is_some_and(|line| line.starts_with(&BOM));
        let at = trimmed(&batch.data, if marked { start + BOM.len() } else { start });
        if !at.is_empty() || fault.is_some() {
            batch.lines.push(Line { number: self.number, at, fault });
        }
    }

    fn end_with(&mut self, error: &io::Error) -> Fault {
        self.ended = true;
        if error.kind() == io::ErrorKind::UnexpectedEof { Fault::CutOff } else { Fault::Damaged }
    }

    /// Reads to the end of the line without keeping it; so many bytes it was.
    fn skip_line(&mut self) -> (u64, Option<Fault>) {
        let mut skipped = 0;
        loop {
            let (used, done) = match self.from.fill_buf() {
                Ok([]) => return (skipped, None),
                Ok(buffer) => match buffer.iter().position(|b| *b == b'\n') {
                    Some(at) => (at + 1, true),
                    None => (buffer.len(), false),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let fault = self.end_with(&error);
                    return (skipped, Some(fault));
                }
            };
            self.from.consume(used);
            skipped += used as u64;
            if done {
                return (skipped, None);
            }
        }
    }
}

/// The line from `start` on without white space around it, which is no part of its JSON.
fn trimmed(data: &[u8], start: usize) -> Range<usize> {
    let line = data.get(start..).unwrap_or_default();
    let from = start + line.len() - line.trim_ascii_start().len();
    from..from + line.trim_ascii().len()
}
