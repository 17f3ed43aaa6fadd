//! The append-only file that makes the sandbox durable: one line of JSON per committed change, written with one `write` before the answer
//! leaves, so killing the process loses nothing that was answered. (It does not call `fsync`: a pretend EHR need not survive a power cut.)
//! Owns the format, the lock against a second process, and the cutting off of a torn last line. Knows nothing of searching.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One change of one resource.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) head: Head,
    /// The resource as it is served; `None`: it was deleted.
    pub(crate) body: Option<Arc<str>>,
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    #[serde(rename = "type")]
    pub(crate) resource_type: String,
    pub(crate) id: String,
    pub(crate) version: u64,
    /// Microseconds since the epoch.
    pub(crate) updated: i64,
}

/// Why the folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder or its file could not be read or written.
    #[error("the sandbox's folder {path} cannot be used")]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the folder open.
    #[error("another sandbox is running on the folder {path}; stop it first or choose another folder")]
    InUse {
        /// The file concerned.
        path: PathBuf,
    },
    /// A line that is not the last one cannot be read: somebody edited the file.
    #[error("line {line} of {path} is damaged; restore the file or begin with an empty folder")]
    Damaged {
        /// The file concerned.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// The open file.
pub(crate) struct Journal {
    file: File,
    length: u64,
}

const BODY: &str = ",\"body\":";

impl Journal {
    /// Opens the folder's journal, making both where missing, and hands every change in it to `replay`.
    pub(crate) fn open(dir: &Path, mut replay: impl FnMut(Change) -> Option<()>) -> Result<Self, JournalError> {
        let path = dir.join("journal.ndjson");
        let failed = |source| JournalError::Io { path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let (mut length, mut number, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            let read = reader.read_line(&mut line).map_err(failed)?;
            // Without its newline the line was being written when the process died, and nobody was told that it is there.
            let Some(text) = line.strip_suffix('\n') else { break };
            number += 1;
            Change::parse(text).and_then(&mut replay).ok_or_else(|| JournalError::Damaged { path: path.clone(), line: number })?;
            length += read as u64;
        }
        file.set_len(length).map_err(failed)?;
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(Self { file, length })
    }

    /// Appends changes with one `write`. After an error none of them is in the file.
    pub(crate) fn append(&mut self, changes: &[Change]) -> std::io::Result<()> {
        let mut lines = String::with_capacity(changes.iter().map(|change| change.body.as_ref().map_or(0, |body| body.len()) + 160).sum());
        for change in changes {
            change.render(&mut lines)?;
        }
        let written = self.file.write_all(lines.as_bytes());
        if written.is_err() {
            // A half-written line in mid-file would make the whole file unreadable.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            return written;
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

impl Change {
    // The body comes last and as it is, so that reading the file gives back the bytes that were served.
    fn render(&self, out: &mut String) -> std::io::Result<()> {
        let head = serde_json::to_string(&self.head)?;
        out.push_str(head.strip_suffix('}').unwrap_or(&head));
        out.push_str(BODY);
        out.push_str(self.body.as_deref().unwrap_or("null"));
        out.push_str("}\n");
        Ok(())
    }

    fn parse(line: &str) -> Option<Self> {
        let (head, body) = line.split_once(BODY)?;
        let head = serde_json::from_str(&format!("{head}}}")).ok()?;
        let body = body.strip_suffix('}')?;
        Some(Self { head, body: (body != "null").then(|| Arc::from(body)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_back_its_change_byte_for_byte() {
        let head = Head { resource_type: "Patient".to_owned(), id: "a,\"".to_owned(), version: 3, updated: -5 };
        for body in [None, Some(Arc::from(r#"{"a":1.50,"body":{"b":"\n}"}}"#))] {
            let change = Change { head: head.clone(), body };
            let mut line = String::new();
            change.render(&mut line).unwrap();
            assert_eq!(Change::parse(line.strip_suffix('\n').unwrap()), Some(change));
        }
    }
}
