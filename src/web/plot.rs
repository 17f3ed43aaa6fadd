//! Charts: lines over days and stacked bars, as SVG that the server draws, each with its numbers as a table behind it.
//!
//! All words and numbers are HTML beside the drawing, which is stretched to whatever room there is: so text keeps its size from 400 px to
//! 1400 px and at any zoom. Colours are classes; without colours the table says it.

use std::fmt::Write as _;

use askama::Template;

use chrono::DateTime;

use super::list::{Cell, Column, Filter, Labels, Row};
use super::words::grouped;

/// Units across and down a drawing.
const WIDTH: i64 = 1_000;
const HEIGHT: i64 = 100;
/// Colours that the style sheet has.
const COLOURS: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", "c6"];

fn colour(n: usize) -> &'static str {
    COLOURS.get(n % COLOURS.len()).copied().unwrap_or("c1")
}

/// One thing that is counted.
pub(super) struct Series {
    /// Its name.
    pub(super) name: &'static str,
    /// A number for each place.
    pub(super) values: Vec<i64>,
}

/// A chart, behind which its numbers stand as a list: folded, until something is asked of it.
pub(super) trait Drawn {
    /// The numbers.
    fn numbers(&self) -> (Labels, Vec<Column>, Vec<Row>);
    /// Takes the list, rendered, and whether it is shown at once.
    fn set_table(&mut self, table: String, is_open: bool);
}

/// A day of UTC, by its number since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day(pub(super) i64);

impl Day {
    fn written(self, how: &str) -> String {
        DateTime::from_timestamp(self.0.saturating_mul(86_400), 0).map(|t| t.format(how).to_string()).unwrap_or_default()
    }

    fn shown(self) -> String {
        self.written("%-d %b")
    }

    fn cell(self) -> Cell {
        Cell::Day(self.written("%-d %b %Y"), self.written("%Y-%m-%d"), self.0)
    }
}

/// How numbers went, from day to day.
#[derive(Template)]
#[template(path = "lines.html", config = "src/web/askama.toml")]
pub(super) struct Lines {
    title: String,
    key: Vec<(&'static str, &'static str)>,
    paths: Vec<(&'static str, String)>,
    top: String,
    bottom: String,
    ends: Option<(String, String)>,
    table: String,
    is_open: bool,
    labels: Labels,
    rows: Vec<Row>,
}

impl Lines {
    /// Each series has as many values as there are days. `labels` are those of the list behind it.
    pub(super) fn new(title: impl Into<String>, labels: Labels, days: &[Day], series: &[Series]) -> Self {
        let all = || series.iter().flat_map(|s| s.values.iter().copied());
        let (low, high) = (all().min().unwrap_or(0).min(0), nice(all().max().unwrap_or(0)));
        let x = |n: usize| {
            if days.len() < 2 { 0 } else { i64::try_from(n).unwrap_or(0) * WIDTH / (i64::try_from(days.len()).unwrap_or(2) - 1) }
        };
        // A tenth of a unit is as fine as anybody sees.
        let y = |v: i64| (high - v) * HEIGHT * 10 / (high - low).max(1);
        let path = |s: &Series| {
            let mut d = String::new();
            for (n, v) in s.values.iter().enumerate() {
                let y = y(*v);
                let _ = write!(d, "{}{} {}.{}", if n == 0 { 'M' } else { 'L' }, x(n), y / 10, y % 10);
            }
            if s.values.len() == 1 {
                let _ = write!(d, "H{WIDTH}");
            }
            d
        };
        let row = |(n, day): (usize, &Day)| {
            let numbers = series.iter().map(|s| Cell::Number(s.values.get(n).copied().unwrap_or(0)));
            Row::from(std::iter::once(day.cell()).chain(numbers).collect::<Vec<_>>())
        };
        Self {
            title: title.into(),
            key: series.iter().enumerate().map(|(n, s)| (colour(n), s.name)).collect(),
            paths: series.iter().enumerate().map(|(n, s)| (colour(n), path(s))).collect(),
            top: grouped(high),
            bottom: grouped(low),
            ends: days.first().zip(days.last()).map(|(first, last)| (first.shown(), last.shown())),
            table: String::new(),
            is_open: false,
            labels,
            // The latest first, as in every other list.
            rows: days.iter().enumerate().rev().map(row).collect(),
        }
    }
}

impl Drawn for Lines {
    fn numbers(&self) -> (Labels, Vec<Column>, Vec<Row>) {
        let day = Column::text("day", "Day").sorts().filter(Filter::Part);
        let numbers = self.key.iter().map(|&(_, name)| Column::number(name, name).sorts());
        (self.labels, std::iter::once(day).chain(numbers).collect(), self.rows.clone())
    }

    fn set_table(&mut self, table: String, is_open: bool) {
        (self.table, self.is_open) = (table, is_open);
    }
}

/// The next number that people count in: 1, 2 or 5 with zeros.
fn nice(n: i64) -> i64 {
    let mut step = 1_i64;
    loop {
        for of in [1, 2, 5] {
            if step.saturating_mul(of) >= n {
                return step.saturating_mul(of);
            }
        }
        step = step.saturating_mul(10);
    }
}

/// Sums and what they are made of.
#[derive(Template)]
#[template(path = "bars.html", config = "src/web/askama.toml")]
pub(super) struct Bars {
    title: String,
    key: Vec<(&'static str, &'static str)>,
    rows: Vec<Bar>,
    table: String,
    is_open: bool,
    labels: Labels,
}

struct Bar {
    name: String,
    total: String,
    /// Colour, where it begins, how long it is.
    parts: Vec<(&'static str, i64, i64)>,
    /// Each part's number.
    values: Vec<i64>,
}

impl Bars {
    /// Each row has a number for each of `parts`. `labels` are those of the list behind it.
    pub(super) fn new(title: impl Into<String>, labels: Labels, parts: &[&'static str], rows: &[(String, Vec<i64>)]) -> Self {
        let most = rows.iter().map(|(_, values)| values.iter().sum::<i64>()).max().unwrap_or(0).max(1);
        let bar = |(name, values): &(String, Vec<i64>)| {
            let (mut before, mut drawn) = (0, Vec::new());
            for (n, v) in values.iter().enumerate().filter(|(_, v)| **v > 0) {
                let (from, to) = (before * WIDTH / most, (before + v) * WIDTH / most);
                // What is there is seen, however little it is.
                drawn.push((colour(n), from, (to - from).max(2)));
                before += v;
            }
            Bar { name: name.clone(), total: grouped(before), parts: drawn, values: values.clone() }
        };
        Self {
            title: title.into(),
            key: parts.iter().enumerate().map(|(n, name)| (colour(n), *name)).collect(),
            rows: rows.iter().map(bar).collect(),
            table: String::new(),
            is_open: false,
            labels,
        }
    }
}

impl Drawn for Bars {
    fn numbers(&self) -> (Labels, Vec<Column>, Vec<Row>) {
        let name = Column::text("name", "Name").sorts().filter(Filter::Part);
        let parts = self.key.iter().map(|&(_, name)| Column::number(name, name).sorts());
        let row = |bar: &Bar| {
            let numbers = bar.values.iter().map(|n| Cell::Number(*n));
            Row::from(std::iter::once(Cell::text(bar.name.clone())).chain(numbers).collect::<Vec<_>>())
        };
        (self.labels, std::iter::once(name).chain(parts).collect(), self.rows.iter().map(row).collect())
    }

    fn set_table(&mut self, table: String, is_open: bool) {
        (self.table, self.is_open) = (table, is_open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_number_that_people_count_in() {
        for (n, scale) in [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (1_234, 2_000), (i64::MAX, i64::MAX)] {
            assert_eq!(nice(n), scale, "{n}");
        }
    }

    const LABELS: Labels = Labels { caption: "Numbers", empty: "None yet.", file: "numbers" };

    #[test]
    fn lines_keep_within_their_room_and_the_list_has_every_number() {
        let days: Vec<Day> = (20_000..20_003).map(Day).collect();
        let lines = Lines::new("Members", LABELS, &days, &[Series { name: "in", values: vec![0, 50, 100] }]);
        let html = lines.render().unwrap();
        assert!(html.contains("M0 100.0L500 50.0L1000 0.0"), "{html}");
        assert!(html.contains("4 Oct") && html.contains("6 Oct") && !html.contains("<details open"), "{html}");
        assert!(!html.contains("style=") && html.contains("<title") && html.contains("role=\"img\""), "{html}");
        let (_, columns, rows) = lines.numbers();
        assert_eq!(columns.iter().map(|c| c.name).collect::<Vec<_>>(), ["Day", "in"]);
        let cells: Vec<_> = rows.into_iter().map(|r| r.cells).collect();
        let day = |shown: &str, iso: &str, n, of| vec![Cell::Day(shown.into(), iso.into(), n), Cell::Number(of)];
        assert_eq!(cells[0], day("6 Oct 2024", "2024-10-06", 20_002, 100), "the latest first");
        assert_eq!(cells[2], day("4 Oct 2024", "2024-10-04", 20_000, 0));
        let one = Lines::new("x", LABELS, &days[..1], &[Series { name: "in", values: vec![5] }]).render().unwrap();
        assert!(one.contains("M0 0.0H1000"), "{one}");
        assert!(Lines::new("x", LABELS, &[], &[]).render().is_ok());
    }

    #[test]
    fn bars_are_as_long_as_their_numbers_and_names_are_escaped() {
        let rows = [("<b>".to_owned(), vec![1, 3]), ("none".to_owned(), vec![0, 0])];
        let mut bars = Bars::new("Sends", LABELS, &["sent", "held"], &rows);
        let html = bars.render().unwrap();
        assert!(html.contains("x=\"0\" width=\"250\"") && html.contains("x=\"250\" width=\"750\""), "{html}");
        assert!(!html.contains("<b>") && !html.contains("style="), "{html}");
        let (_, _, numbers) = bars.numbers();
        assert_eq!(numbers[0].cells, [Cell::text("<b>"), Cell::Number(1), Cell::Number(3)]);
        bars.set_table("<p>all</p>".to_owned(), true);
        let html = bars.render().unwrap();
        assert!(html.contains("<details open") && html.contains("<p>all</p>"), "{html}");
    }
}
