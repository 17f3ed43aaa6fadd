//! Charts: lines over days and stacked bars, as SVG that the server draws, each with its numbers as a table behind it.
//!
//! All words and numbers are HTML beside the drawing, which is stretched to whatever room there is: so text keeps its size from 400 px to
//! 1400 px and at any zoom. Colours are classes; without colours the table says it.

use std::fmt::Write as _;

use askama::Template;

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

/// How numbers went, from place to place.
#[derive(Template)]
#[template(path = "lines.html", config = "src/web/askama.toml")]
pub(super) struct Lines {
    title: String,
    key: Vec<(&'static str, &'static str)>,
    paths: Vec<(&'static str, String)>,
    top: String,
    bottom: String,
    ends: Option<(String, String)>,
    rows: Vec<(String, Vec<String>)>,
}

impl Lines {
    /// `places` are the names of the points, such as days; each series has as many values.
    pub(super) fn new(title: impl Into<String>, places: &[String], series: &[Series]) -> Self {
        let all = || series.iter().flat_map(|s| s.values.iter().copied());
        let (low, high) = (all().min().unwrap_or(0).min(0), nice(all().max().unwrap_or(0)));
        let x = |n: usize| {
            if places.len() < 2 { 0 } else { i64::try_from(n).unwrap_or(0) * WIDTH / (i64::try_from(places.len()).unwrap_or(2) - 1) }
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
        Self {
            title: title.into(),
            key: series.iter().enumerate().map(|(n, s)| (colour(n), s.name)).collect(),
            paths: series.iter().enumerate().map(|(n, s)| (colour(n), path(s))).collect(),
            top: grouped(high),
            bottom: grouped(low),
            ends: places.first().cloned().zip(places.last().cloned()),
            // The latest first, as in every other list.
            rows: places
                .iter()
                .enumerate()
                .rev()
                .map(|(n, place)| (place.clone(), series.iter().map(|s| grouped(s.values.get(n).copied().unwrap_or(0))).collect()))
                .collect(),
        }
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
}

struct Bar {
    name: String,
    total: String,
    /// Colour, where it begins, how long it is.
    parts: Vec<(&'static str, i64, i64)>,
    /// Each part's name and number.
    values: Vec<(&'static str, String)>,
}

impl Bars {
    /// Each row has a number for each of `parts`.
    pub(super) fn new(title: impl Into<String>, parts: &[&'static str], rows: &[(String, Vec<i64>)]) -> Self {
        let most = rows.iter().map(|(_, values)| values.iter().sum::<i64>()).max().unwrap_or(0).max(1);
        let bar = |(name, values): &(String, Vec<i64>)| {
            let (mut before, mut drawn) = (0, Vec::new());
            for (n, v) in values.iter().enumerate().filter(|(_, v)| **v > 0) {
                let (from, to) = (before * WIDTH / most, (before + v) * WIDTH / most);
                // What is there is seen, however little it is.
                drawn.push((colour(n), from, (to - from).max(2)));
                before += v;
            }
            Bar {
                name: name.clone(),
                total: grouped(before),
                parts: drawn,
                values: parts.iter().copied().zip(values.iter().map(|v| grouped(*v))).collect(),
            }
        };
        Self {
            title: title.into(),
            key: parts.iter().enumerate().map(|(n, name)| (colour(n), *name)).collect(),
            rows: rows.iter().map(bar).collect(),
        }
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

    #[test]
    fn lines_keep_within_their_room_and_the_table_has_every_number() {
        let places: Vec<String> = (1..=3).map(|d| format!("{d} Nov")).collect();
        let html = Lines::new("Members", &places, &[Series { name: "in", values: vec![0, 50, 100] }]).render().unwrap();
        assert!(html.contains("M0 100.0L500 50.0L1000 0.0"), "{html}");
        assert_eq!(html.matches("<tr").count(), 4, "{html}");
        assert!(!html.contains("style=") && html.contains("<title") && html.contains("role=\"img\""), "{html}");
        let one = Lines::new("x", &places[..1], &[Series { name: "in", values: vec![5] }]).render().unwrap();
        assert!(one.contains("M0 0.0H1000"), "{one}");
        assert!(Lines::new("x", &[], &[]).render().is_ok());
    }

    #[test]
    fn bars_are_as_long_as_their_numbers_and_names_are_escaped() {
        let rows = [("<b>".to_owned(), vec![1, 3]), ("none".to_owned(), vec![0, 0])];
        let html = Bars::new("Sends", &["sent", "held"], &rows).render().unwrap();
        assert!(html.contains("x=\"0\" width=\"250\"") && html.contains("x=\"250\" width=\"750\""), "{html}");
        assert!(!html.contains("<b>") && !html.contains("style="), "{html}");
    }
}
