//! What goes to stdout: JSON, or a table that reads without colour.

use std::io::Write as _;

use domain::Timestamp;
use serde::Serialize;

/// Prints a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        line(&text);
    }
}

/// Prints a line. A reader that went away (`| head`) is no error.
pub(super) fn line(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Tells people something beside the data, on stderr.
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

/// Tells whose patients were left out because they are known by half, if anyone's.
pub(super) fn left_out(ehrs: &std::collections::BTreeSet<String>) {
    for ehr in ehrs {
        note(&format!(
            "the patients of {ehr} wait: it is being read, or its last reading stopped half-way; `fhir-engage sync status` tells"
        ));
    }
}

/// A number with its noun.
pub(super) fn plural(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// An instant of the store.
pub(super) fn instant(micros: i64) -> String {
    Timestamp::from_micros(micros - micros.rem_euclid(1_000_000)).to_string()
}

/// The same, or a dash.
pub(super) fn instant_or_dash(micros: Option<i64>) -> String {
    micros.map_or_else(|| "-".to_owned(), instant)
}

/// A table with a heading: columns as wide as their widest cell, numbers to the right.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|h| (*h).to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn print(&self) {
        let columns = self.rows.first().map_or(0, Vec::len);
        let cells = |c: usize| self.rows.iter().filter_map(move |r| r.get(c));
        let widths: Vec<usize> = (0..columns).map(|c| cells(c).map(|t| t.chars().count()).max().unwrap_or(0)).collect();
        let numbers: Vec<bool> = (0..columns)
            .map(|c| self.rows.len() > 1 && cells(c).skip(1).all(|t| t.is_empty() || t == "-" || t.parse::<i64>().is_ok()))
            .collect();
        for row in &self.rows {
            let mut text = String::new();
            for ((cell, width), number) in row.iter().zip(&widths).zip(&numbers) {
                let pad = " ".repeat(width - cell.chars().count().min(*width));
                text.push_str(&if *number { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") });
            }
            line(text.trim_end());
        }
    }
}
