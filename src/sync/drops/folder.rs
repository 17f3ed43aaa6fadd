//! Files in a folder: which are data, which are complete, and where they go. Names of files are the hospital's and stay out of logs.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::Timestamp;
use ring::digest;

use super::declare::{Complete, Drop, Mistakes, Order};
use super::rows::Rows;
use super::table::Table;
use crate::sync::import::unpacked;

/// Names under which programs write what is not complete yet.
const UNFINISHED: [&str; 9] = [".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp", ".writing", ".lock"];
/// After so long a checksum that differs is no file that is still coming.
const GIVE_UP: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: String,
    pub path: PathBuf,
    pub size: i64,
    pub modified: Timestamp,
}

/// Where a file stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It can be taken; its BLAKE3.
    Complete(String),
    /// Not yet: why.
    Waits(String),
    /// Never as it is: why.
    Bad(String),
}

/// Whether a name fits a pattern of `*` and `?`.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                // The last star takes one more.
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// What is named of a file, and when it was changed.
pub(super) fn entry(path: &Path) -> io::Result<Option<Entry>> {
    // A link could lead anywhere.
    let meta = fs::symlink_metadata(path)?;
    let Some(name) = path.file_name().map(|n| n.to_string_lossy().into_owned()).filter(|_| meta.is_file()) else { return Ok(None) };
    let since = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let modified = Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    Ok(Some(Entry { name, path: path.to_owned(), size: i64::try_from(meta.len()).unwrap_or(i64::MAX), modified }))
}

/// The data files of a drop, in the order in which they are taken.
pub(super) fn files(drop: &Drop) -> io::Result<Vec<Entry>> {
    let beside = match &drop.complete {
        Complete::Marker { suffix } | Complete::Checksum { suffix } => Some(suffix.as_str()),
        _ => None,
    };
    let mut all = Vec::new();
    for found in fs::read_dir(&drop.folder)? {
        let Some(entry) = entry(&found?.path())? else { continue };
        let lower = entry.name.to_lowercase();
        let unfinished = lower.starts_with(['.', '~']) || UNFINISHED.iter().any(|end| lower.ends_with(end));
        if !unfinished && fits(&drop.files, &entry.name) && !beside.is_some_and(|suffix| entry.name.ends_with(suffix)) {
            all.push(entry);
        }
    }
    match drop.order {
        Order::Name => all.sort_by(|a, b| a.name.cmp(&b.name)),
        Order::Time => all.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name))),
    }
    Ok(all)
}

fn beside(entry: &Entry, suffix: &str) -> PathBuf {
    entry.path.with_file_name(format!("{}{suffix}", entry.name))
}

/// Whether a file can be complete, by what can be told without reading it.
pub(super) fn may_be_complete(drop: &Drop, entry: &Entry, now: Timestamp) -> Result<(), String> {
    match &drop.complete {
        Complete::Stable { seconds, .. } => {
            let rest = i64::from(*seconds) - now.since(entry.modified).num_seconds();
            if rest > 0 { Err(format!("it changed less than {seconds} seconds ago")) } else { Ok(()) }
        }
        Complete::Marker { suffix } | Complete::Checksum { suffix } => match beside(entry, suffix).is_file() {
            true => Ok(()),
            false => Err(format!("there is no {}{suffix} yet", entry.name)),
        },
        Complete::Trailer { .. } => Ok(()),
    }
}

/// Reads a file once: its hash, its checksum, its heading and trailer.
pub(super) fn look(drop: &Drop, table: Option<&Arc<Table>>, entry: &Entry, now: Timestamp) -> io::Result<Seen> {
    let (hash, sha256) = hashes(&entry.path)?;
    if let Complete::Checksum { suffix } = &drop.complete {
        let told = fs::read_to_string(beside(entry, suffix)).unwrap_or_default();
        // As sha256sum writes it: the number, then the name.
        let told = told.split_whitespace().next().unwrap_or_default().to_lowercase();
        if told != sha256 {
            let says = "its checksum is another than its bytes have".to_owned();
            return Ok(if now.since(entry.modified) > GIVE_UP { Seen::Bad(says) } else { Seen::Waits(says) });
        }
    }
    if let Some(table) = table {
        let mut rows = Rows::new(unpacked(BufReader::new(File::open(&entry.path)?))?, table, drop.count_field());
        if let Err(Mistakes(all)) = rows.heading() {
            // A file that is being written may have no heading yet.
            let empty = entry.size == 0 && matches!(drop.complete, Complete::Trailer { .. });
            return Ok(if empty { Seen::Waits("it is empty".to_owned()) } else { Seen::Bad(all.join("; ")) });
        }
        if matches!(drop.complete, Complete::Trailer { .. }) {
            while rows.next().is_some() {}
            match rows.trailer {
                None => return Ok(Seen::Waits("its last row is no trailer yet".to_owned())),
                Some(trailer) if trailer.told != Some(rows.count) => {
                    let told = trailer.told.map_or_else(|| "no number".to_owned(), |n| n.to_string());
                    return Ok(Seen::Bad(format!("its trailer tells {told} rows, and it has {}", rows.count)));
                }
                Some(_) => {}
            }
        }
    }
    Ok(Seen::Complete(hash))
}

/// BLAKE3 and SHA-256 of a file.
fn hashes(path: &Path) -> io::Result<(String, String)> {
    let (mut file, mut fast, mut told) = (File::open(path)?, blake3::Hasher::new(), digest::Context::new(&digest::SHA256));
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        let Some(read) = buffer.get(..n).filter(|read| !read.is_empty()) else { break };
        fast.update(read);
        told.update(read);
    }
    let sha256 = told.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((fast.finalize().to_hex().to_string(), sha256))
}

/// Moves a file, and what lies beside it, into `done` or `failed`. One of the same name there is not overwritten.
pub(super) fn put_away(drop: &Drop, entry: &Entry, into: &str, number: i64) -> io::Result<()> {
    let folder = drop.folder.join(into);
    fs::create_dir_all(&folder)?;
    let name = if folder.join(&entry.name).exists() { format!("{number}-{}", entry.name) } else { entry.name.clone() };
    fs::rename(&entry.path, folder.join(&name))?;
    if let Complete::Marker { suffix } | Complete::Checksum { suffix } = &drop.complete {
        // The file is away, so its companion says nothing any more; one that stays does no harm.
        drop_quietly(fs::rename(beside(entry, suffix), folder.join(format!("{name}{suffix}"))));
    }
    Ok(())
}

fn drop_quietly(done: io::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(kind = %error.kind(), "a companion of a file could not be moved");
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, name, fit) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("appt_*.csv*", "appt_20261125.csv.gz", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("", "", true),
            ("*", "", true),
            ("x", "", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }
}
