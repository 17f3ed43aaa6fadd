//! The carrier that is a file: one a write-back, in a folder that the site takes away from. The name comes from the write-back alone, and the
//! file is there in whole or not at all, so writing it again does no harm.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use super::chart::Chart;
use super::push::{Pushed, Signal, Try};
use crate::store::writebacks::Settlement;

/// The folder of one EHR's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
    ehr: String,
}

impl Folder {
    /// The files of an EHR below a folder, which is made where it is missing.
    #[must_use]
    pub fn new(root: &Path, ehr: &str) -> Self {
        Self { root: root.to_owned(), ehr: part(ehr) }
    }

    /// Writes a file for good; returns its name below the folder: `EHR/2026-11-23/KEY.json`.
    ///
    /// # Errors
    /// The system's refusal. There is no half file then.
    pub fn put(&self, day: NaiveDate, key: &str, bytes: &[u8]) -> io::Result<String> {
        let (day, file) = (day.format("%Y-%m-%d").to_string(), format!("{}.json", part(key)));
        let folder = self.root.join(&self.ehr).join(&day);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // Hidden, so that whoever takes the files away leaves it alone.
        let unfinished = folder.join(format!(".{file}.part"));
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        // One that was left half-way keeps the mode that it had.
        out.set_permissions(fs::Permissions::from_mode(0o600))?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&unfinished, folder.join(&file))?;
        // A name is kept by its folder, and a new folder by the one above.
        for kept in [folder.as_path(), &self.root.join(&self.ehr), &self.root] {
            File::open(kept)?.sync_all()?;
        }
        Ok(format!("{}/{day}/{file}", self.ehr))
    }
}

/// A name that is one part of a path and no other thing. What had to be changed gets a mark of what it was, so that no two names become one.
fn part(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let kept: String = name.chars().take(100).map(|c| if plain(c) { c } else { '_' }).collect();
    if kept == name && !kept.is_empty() && !kept.starts_with('.') {
        return kept;
    }
    let mark: String = blake3::hash(name.as_bytes()).to_hex().chars().take(16).collect();
    format!("{}-{mark}", kept.trim_start_matches('.'))
}

impl<C: Chart> Try<'_, C> {
    /// Puts it into a file.
    pub(super) async fn export(&self, bytes: &[u8]) -> Pushed {
        let Some(folder) = self.ways.export.clone() else {
            return self.refused("no-export: this installation has no folder for export files".to_owned());
        };
        // The day on which it was owed, and not today: a repeat must have the same name.
        let day = self.letter.since.to_utc().date_naive();
        let (key, bytes) = (self.letter.value.clone(), bytes.to_vec());
        let place = folder.root.join(&folder.ehr);
        match tokio::task::spawn_blocking(move || folder.put(day, &key, &bytes)).await {
            Ok(Ok(file)) => self.ended(Settlement::Exported { file, loss: self.letter.loss.clone() }, Signal::Fine),
            Ok(Err(error)) => {
                self.again(format!("export-failed: {} cannot be written to: {}", place.display(), error.kind()), Signal::Trouble)
            }
            Err(_) => self.again("export-failed: interrupted".to_owned(), Signal::Trouble),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::env::temp_dir().join(format!("fhir-engage-export-{}-{number}", std::process::id()))
    }

    fn files(root: &Path) -> Vec<String> {
        let mut all = Vec::new();
        for entry in fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { all.extend(files(&path)) } else { all.push(path.to_str().unwrap().to_owned()) }
        }
        all
    }

    #[test]
    fn a_file_is_there_in_whole_under_one_name_however_often_it_is_written() {
        let root = root();
        let day = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        for content in ["{\"n\":1}", "{\"n\":22}", "{}"] {
            assert_eq!(
                Folder::new(&root, "north").put(day, "a1-answer-1", content.as_bytes()).unwrap(),
                "north/2026-11-23/a1-answer-1.json"
            );
            assert_eq!(fs::read_to_string(root.join("north/2026-11-23/a1-answer-1.json")).unwrap(), content);
        }
        // One that was cut short before is no hindrance.
        fs::write(root.join("north/2026-11-23/.a2.json.part"), "half of a longer fi").unwrap();
        Folder::new(&root, "north").put(day, "a2", b"{}").unwrap();
        let mode = fs::metadata(root.join("north/2026-11-23/a2.json")).unwrap().permissions().mode() & 0o777;
        assert_eq!((files(&root).len(), mode), (2, 0o600));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn no_name_leads_out_of_the_folder_and_no_two_become_one() {
        let root = root();
        let day = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        let names = ["../../x", "/etc/passwd", "..", ".", "", ".hidden", "a/b", "a_b", "a:b", "ä", &"x".repeat(300), &"x".repeat(301)];
        for name in names {
            Folder::new(&root, name).put(day, name, b"{}").unwrap();
        }
        let all = files(&root);
        assert_eq!(all.len(), names.len(), "{all:?}");
        let inside = |f: &String| f.starts_with(root.to_str().unwrap()) && f.split('/').all(|part| part != ".." && part != ".");
        assert!(all.iter().all(inside), "{all:?}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told() {
        let root = root();
        fs::write(&root, "a file").unwrap();
        assert!(Folder::new(&root, "north").put(NaiveDate::MIN, "a1", b"{}").is_err());
        fs::remove_file(root).unwrap();
    }
}
