//! A declaration tried out on a file, without a store: the first rows as resources, and all mistakes with line and column.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use domain::fhir;

use super::Drop;
use super::declare::Mistakes;
use super::rows::{Row, Rows};
use super::table::Flaw;
use crate::sync::import::unpacked;

/// Mistakes that are kept; the rest is counted.
const KEPT: usize = 1_000;

/// What came of a trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Rows read, a trailer apart.
    pub rows: u64,
    /// Rows that become resources that are taken.
    pub good: u64,
    /// The first resources, as JSON.
    pub first: Vec<String>,
    /// What is wrong, by line. No values.
    pub mistakes: Vec<(u64, Flaw)>,
    /// How many mistakes there are in all.
    pub found: u64,
    /// What the trailer says is wrong, where one is declared.
    pub trailer: Option<String>,
}

/// Why there is no trial.
#[derive(Debug, thiserror::Error)]
pub enum Tried {
    /// There is nothing to try out: NDJSON has no mapping.
    #[error("this drop takes NDJSON, which has no mapping to try out; `fhir-engage import` reads such files")]
    NoTable,
    /// The file.
    #[error("the file cannot be read: {}", .0.kind())]
    Unreadable(#[from] io::Error),
    /// Its heading.
    #[error(transparent)]
    Heading(Mistakes),
}

/// Tries a declaration out; keeps the first `show` resources.
///
/// # Errors
/// [`Tried`].
pub fn try_out(drop: &Drop, file: &Path, show: usize) -> Result<Trial, Tried> {
    let table = drop.table().ok_or(Tried::NoTable)?;
    let mut rows = Rows::new(unpacked(BufReader::new(File::open(file)?))?, &table, drop.count_field());
    rows.heading().map_err(Tried::Heading)?;
    let mut trial = Trial::default();
    while let Some(Row { line, made, .. }) = rows.next() {
        match made {
            Ok(resource) => match fhir::project(table.resource, resource.as_bytes()) {
                Ok(_) => {
                    trial.good += 1;
                    if trial.first.len() < show {
                        trial.first.push(resource);
                    }
                }
                Err(reject) => {
                    trial.note(line, Flaw { columns: String::new(), says: format!("the resource would be put aside: {reject}") })
                }
            },
            Err((flaws, _)) => flaws.into_iter().for_each(|flaw| trial.note(line, flaw)),
        }
    }
    trial.rows = rows.count;
    if drop.count_field() > 0 {
        trial.trailer = match rows.trailer {
            None => Some("its last row is no trailer as it is declared".to_owned()),
            Some(trailer) if trailer.told != Some(rows.count) => {
                Some(format!("its trailer tells another number of rows than the {} it has", rows.count))
            }
            Some(_) => None,
        };
    }
    Ok(trial)
}

impl Trial {
    fn note(&mut self, line: u64, flaw: Flaw) {
        self.found += 1;
        if self.mistakes.len() < KEPT {
            self.mistakes.push((line, flaw));
        }
    }
}
