//! A list with columns: filtered, ordered, cut into pages, and the same as CSV. What is asked for stands in the address, never a patient's
//! data; a column says what can be asked of it, and anything else is refused.
//!
//! Rows come from memory ([`held`]), or from the store, which then filters and orders itself ([`paged`]).

mod csv;

use actix_web::HttpResponse;
use askama::Template;
use url::form_urlencoded;

use super::notice::Notice;
use super::words::{Mood, When};

/// Rows of one page.
pub(super) const PAGE: usize = 50;
/// Rows of one CSV; a longer list is narrowed by its filters.
pub(super) const MOST: usize = 10_000;

/// What can be asked of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Nothing.
    None,
    /// One of these values, each with its name.
    OneOf(Vec<(String, String)>),
    /// As [`Filter::OneOf`]; where nobody asks, the first holds.
    Always(Vec<(String, String)>),
    /// A part of what it says.
    Part,
    /// All of what it says.
    Whole,
}

/// The value of [`Filter::Always`] that narrows nothing.
pub(super) const ANY: &str = "any";

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// In the address and in the store.
    pub(super) key: &'static str,
    /// Its head.
    pub(super) name: &'static str,
    /// Whether it holds numbers.
    pub(super) number: bool,
    /// Whether the list can be ordered by it.
    pub(super) sorts: bool,
    /// What can be asked of it.
    pub(super) filter: Filter,
    /// Holds whole sentences.
    pub(super) long: bool,
    /// Holds names without spaces, which break anywhere.
    pub(super) code: bool,
}

impl Column {
    pub(super) fn text(key: &'static str, name: &'static str) -> Self {
        Self { key, name, number: false, sorts: false, filter: Filter::None, long: false, code: false }
    }

    pub(super) fn number(key: &'static str, name: &'static str) -> Self {
        Self { number: true, ..Self::text(key, name) }
    }

    /// The list can be ordered by it.
    pub(super) fn sorts(self) -> Self {
        Self { sorts: true, ..self }
    }

    /// It holds names without spaces, of any length.
    pub(super) fn code(self) -> Self {
        Self { code: true, ..self }
    }

    /// It holds whole sentences.
    pub(super) fn long(self) -> Self {
        Self { long: true, ..self }
    }

    pub(super) fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// One of values that are their own names.
    pub(super) fn one_of<T: AsRef<str>>(self, values: impl IntoIterator<Item = T>) -> Self {
        let named = values.into_iter().map(|v| (v.as_ref().to_owned(), v.as_ref().to_owned())).collect();
        self.filter(Filter::OneOf(named))
    }
}

/// What a cell says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Nothing.
    Nothing,
    /// Words, or a code.
    Text(String),
    /// A number.
    Number(i64),
    /// An instant, and its microseconds.
    At(When, i64),
    /// A day: as it is shown, as ISO 8601 has it, and its number.
    Day(String, String, i64),
    /// A state, and how good it is.
    Status(Mood, String),
    /// Words that lead to a page.
    Link(String, String),
}

impl Cell {
    pub(super) fn text(words: impl Into<String>) -> Self {
        let words = words.into();
        if words.is_empty() { Self::Nothing } else { Self::Text(words) }
    }

    /// As it is filtered, ordered and told to programs.
    fn plain(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Text(words) | Self::Status(_, words) | Self::Link(_, words) => words.clone(),
            Self::Number(n) => n.to_string(),
            Self::At(when, _) => when.iso.clone(),
            Self::Day(_, iso, _) => iso.clone(),
        }
    }

    /// What is looked through where a part of it is asked for.
    fn words(&self) -> String {
        match self {
            Self::At(When { shown, iso, .. }, _) | Self::Day(shown, iso, _) => format!("{shown} {iso}"),
            other => other.plain(),
        }
    }

    fn rank(&self) -> (i64, String) {
        match self {
            Self::Number(n) | Self::At(_, n) | Self::Day(_, _, n) => (*n, String::new()),
            Self::Nothing => (i64::MIN, String::new()),
            other => (0, other.plain().to_lowercase()),
        }
    }
}

/// A form of one button, which does something with its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Button {
    /// Where it is sent.
    pub(super) path: &'static str,
    /// What it is called.
    pub(super) name: &'static str,
    /// What it is about, for who hears the page instead of seeing it.
    pub(super) about: String,
    /// What is sent with it.
    pub(super) fields: Vec<(&'static str, String)>,
    /// A line that must be filled in: its field and its label.
    pub(super) asks: Option<(&'static str, &'static str)>,
    /// Whether it cannot be taken back.
    pub(super) grave: bool,
}

impl Button {
    pub(super) fn new(path: &'static str, name: &'static str, about: impl Into<String>) -> Self {
        Self { path, name, about: about.into(), fields: Vec::new(), asks: None, grave: false }
    }

    pub(super) fn with(mut self, field: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((field, value.into()));
        self
    }

    pub(super) fn asks(self, field: &'static str, label: &'static str) -> Self {
        Self { asks: Some((field, label)), ..self }
    }

    pub(super) fn grave(self) -> Self {
        Self { grave: true, ..self }
    }
}

/// A row: a cell for each column, and what can be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) acts: Vec<Button>,
}

impl From<Vec<Cell>> for Row {
    fn from(cells: Vec<Cell>) -> Self {
        Self { cells, acts: Vec::new() }
    }
}

/// What is asked of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its name in the address, where it is not the page's main list.
    pub(super) list: Option<&'static str>,
    /// Whether the address names it.
    is_named: bool,
    /// Values by column.
    pub(super) filters: Vec<(&'static str, String)>,
    /// The column to order by, and whether the greatest comes first.
    pub(super) order: Option<(&'static str, bool)>,
    /// Where the page begins: what the page before said.
    pub(super) after: Option<String>,
    /// As CSV.
    pub(super) csv: bool,
}

/// A filter is a word, not a text.
const LONGEST: usize = 200;

impl Asked {
    /// Reads what stands after the `?` of an address, of the page's main list.
    ///
    /// # Errors
    /// 400 for anything that the list does not have.
    pub(super) fn read(columns: &[Column], query: &str) -> Result<Self, Notice> {
        Self::of(None, columns, query)
    }

    /// As [`Asked::read`], of another list of the page, which the address names by `list`. What is asked of one list says nothing of the others.
    ///
    /// # Errors
    /// 400 for anything that the list does not have.
    pub(super) fn of(list: Option<&'static str>, columns: &[Column], query: &str) -> Result<Self, Notice> {
        let (mut asked, mut by, mut down) = (Self { list, ..Self::default() }, None, false);
        let named = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "list").map(|(_, name)| name.into_owned());
        asked.is_named = list.is_some() && named.as_deref() == list;
        let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key != "list" && named.as_deref() == list);
        for (key, value) in pairs {
            let (key, value) = (key.into_owned(), value.into_owned());
            if value.len() > LONGEST || value.contains('\0') {
                return Err(Notice::bad_list());
            }
            match key.as_str() {
                "by" => by = Some(column(columns, &value).filter(|c| c.sorts).ok_or_else(Notice::bad_list)?.key),
                "down" => down = value == "1",
                "after" => asked.after = Some(value),
                "as" if value == "csv" => asked.csv = true,
                _ => {
                    let column = column(columns, &key).ok_or_else(Notice::bad_list)?;
                    let fits = match &column.filter {
                        Filter::None => false,
                        Filter::Part | Filter::Whole => true,
                        Filter::OneOf(values) | Filter::Always(values) => value.is_empty() || values.iter().any(|(v, _)| *v == value),
                    };
                    if !fits || asked.filter(column.key).is_some() {
                        return Err(Notice::bad_list());
                    }
                    let value = value.trim().to_owned();
                    if !value.is_empty() {
                        asked.filters.push((column.key, value));
                    }
                }
            }
        }
        for column in columns {
            if let Filter::Always(values) = &column.filter
                && asked.filter(column.key).is_none()
                && let Some((first, _)) = values.first()
            {
                asked.filters.push((column.key, first.clone()));
            }
        }
        asked.order = by.map(|by| (by, down));
        Ok(asked)
    }

    /// What is asked of a column.
    pub(super) fn filter(&self, key: &str) -> Option<&str> {
        self.filters.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }

    /// How many rows are wanted.
    pub(super) const fn limit(&self) -> usize {
        if self.csv { MOST } else { PAGE }
    }

    /// As an address, with other things asked.
    fn address(&self, order: Option<(&str, bool)>, after: Option<&str>, csv: bool) -> String {
        let mut pairs: Vec<(&str, &str)> = self.filters.iter().map(|(k, v)| (*k, v.as_str())).collect();
        pairs.extend(self.list.map(|list| ("list", list)));
        if let Some((by, down)) = order {
            pairs.push(("by", by));
            if down {
                pairs.push(("down", "1"));
            }
        }
        pairs.extend(after.map(|after| ("after", after)));
        if csv {
            pairs.push(("as", "csv"));
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        // A list further down is where the browser goes again.
        format!("?{query}{}", if csv { String::new() } else { self.fragment() })
    }

    fn fragment(&self) -> String {
        self.list.map(|list| format!("#list-{list}")).unwrap_or_default()
    }
}

fn column<'a>(columns: &'a [Column], key: &str) -> Option<&'a Column> {
    columns.iter().find(|c| c.key == key)
}

/// The head of a column as the page shows it.
struct Head {
    name: &'static str,
    number: bool,
    /// Where the list is ordered by it.
    link: Option<String>,
    /// `ascending`, `descending` or nothing.
    sort: &'static str,
}

/// A filter as the page shows it.
struct Field {
    key: &'static str,
    name: String,
    value: String,
    /// Values with their names and whether each is chosen; none for words.
    options: Vec<(String, String, bool)>,
}

/// Labels of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels {
    /// What the list holds, above it.
    pub(super) caption: &'static str,
    /// What it says where it is empty.
    pub(super) empty: &'static str,
    /// The CSV's file name, without its ending.
    pub(super) file: &'static str,
}

/// A list, ready to be shown: a page puts it where it belongs by `{{ list|safe }}`.
#[derive(Template)]
#[template(path = "list.html", config = "src/web/askama.toml")]
pub(super) struct List {
    labels: Labels,
    heads: Vec<Head>,
    fields: Vec<Field>,
    order: Option<(&'static str, bool)>,
    rows: Vec<Row>,
    has_acts: bool,
    is_filtered: bool,
    has_address: bool,
    is_first: bool,
    first: String,
    next: Option<String>,
    csv: String,
    token: String,
    columns: Vec<Column>,
    asked: Asked,
}

/// A list whose rows are all in memory: they are filtered, ordered and cut here. `token` is the session's, for the rows' forms.
pub(super) fn held(labels: Labels, columns: Vec<Column>, asked: Asked, rows: Vec<Row>, token: &str) -> Result<List, Notice> {
    let place = |key: &str| columns.iter().position(|c| c.key == key);
    let mut rows = rows;
    for (key, wanted) in &asked.filters {
        let Some(at) = place(key) else { continue };
        let exact = !matches!(columns.get(at).map(|c| &c.filter), Some(Filter::Part));
        // What always holds was asked of whoever gave the rows.
        if matches!(columns.get(at).map(|c| &c.filter), Some(Filter::Always(_))) {
            continue;
        }
        let wanted = wanted.to_lowercase();
        rows.retain(|row| {
            let cell = row.cells.get(at);
            if exact {
                cell.map(Cell::plain).unwrap_or_default().to_lowercase() == wanted
            } else {
                cell.map(Cell::words).unwrap_or_default().to_lowercase().contains(&wanted)
            }
        });
    }
    if let Some((key, down)) = asked.order
        && let Some(at) = place(key)
    {
        rows.sort_by_cached_key(|row| row.cells.get(at).map(Cell::rank));
        if down {
            rows.reverse();
        }
    }
    let from = asked.after.as_deref().map_or(Ok(0), str::parse::<usize>).map_err(|_| Notice::bad_list())?;
    let limit = asked.limit();
    let next = rows.len().checked_sub(from.saturating_add(limit)).filter(|left| *left > 0).map(|_| (from + limit).to_string());
    let rows = rows.into_iter().skip(from).take(limit).collect();
    Ok(paged(labels, columns, asked, rows, next, token))
}

/// As [`held`], a list that is not the page's main one.
pub(super) fn beside(query: &str, labels: Labels, columns: Vec<Column>, rows: Vec<Row>, token: &str) -> Result<List, Notice> {
    let asked = Asked::of(Some(labels.file), &columns, query)?;
    held(labels, columns, asked, rows, token)
}

/// A list of which the store gave one page, and where the next one begins.
pub(super) fn paged(labels: Labels, columns: Vec<Column>, asked: Asked, rows: Vec<Row>, next: Option<String>, token: &str) -> List {
    let heads = columns
        .iter()
        .map(|c| {
            let here = asked.order.filter(|(key, _)| *key == c.key).map(|(_, down)| down);
            // A first click on a number shows the greatest.
            let down = here.map_or(c.number, |down| !down);
            Head {
                name: c.name,
                number: c.number,
                link: c.sorts.then(|| asked.address(Some((c.key, down)), None, false)),
                sort: match here {
                    None => "",
                    Some(false) => "ascending",
                    Some(true) => "descending",
                },
            }
        })
        .collect();
    let fields = columns
        .iter()
        .filter_map(|c| {
            let value = asked.filter(c.key).unwrap_or_default().to_owned();
            let named = |values: &[(String, String)]| values.iter().map(|(v, n)| (v.clone(), n.clone(), *v == value)).collect::<Vec<_>>();
            let options = match &c.filter {
                Filter::None => return None,
                Filter::Part | Filter::Whole => Vec::new(),
                Filter::Always(values) => named(values),
                Filter::OneOf(values) => {
                    let any = (String::new(), "any".to_owned(), value.is_empty());
                    std::iter::once(any).chain(named(values)).collect()
                }
            };
            let name = if c.filter == Filter::Whole { format!("{}, in full", c.name) } else { c.name.to_owned() };
            Some(Field { key: c.key, name, value, options })
        })
        .collect();
    let is_always = |key: &str| columns.iter().any(|c| c.key == key && matches!(c.filter, Filter::Always(_)));
    List {
        labels,
        heads,
        fields,
        order: asked.order,
        has_acts: rows.iter().any(|r| !r.acts.is_empty()),
        is_filtered: asked.filters.iter().any(|(key, _)| !is_always(key)),
        has_address: true,
        is_first: asked.after.is_none(),
        first: asked.address(asked.order, None, false),
        next: next.map(|after| asked.address(asked.order, Some(&after), false)),
        csv: asked.address(asked.order, None, true),
        rows,
        token: token.to_owned(),
        columns,
        asked,
    }
}

impl List {
    /// A list whose rows are not to be had by an address: no pages and no CSV.
    pub(super) fn on_this_page_only(self) -> Self {
        Self { has_address: false, ..self }
    }

    /// The CSV, where that was asked for.
    pub(super) fn as_csv(&self) -> Option<HttpResponse> {
        self.asked.csv.then(|| csv::response(self.labels.file, &self.columns, &self.rows))
    }

    fn rows(&self) -> impl Iterator<Item = (&Row, Vec<(&Column, &Cell)>)> {
        self.rows.iter().map(|row| (row, self.columns.iter().zip(&row.cells).collect()))
    }

    /// Whether there is anything to narrow: not in a list that is empty as it is.
    fn has_fields(&self) -> bool {
        let is_empty = self.rows.is_empty() && !self.is_filtered && self.is_first;
        let always = self.columns.iter().any(|c| matches!(c.filter, Filter::Always(_)));
        !self.fields.is_empty() && (always || !is_empty)
    }

    /// Whether the address asks something of it by its name.
    pub(super) const fn is_asked(&self) -> bool {
        self.asked.is_named
    }

    const fn list(&self) -> Option<&'static str> {
        self.asked.list
    }

    fn fragment(&self) -> String {
        self.asked.fragment()
    }

    const fn most() -> usize {
        MOST
    }
}

#[cfg(test)]
mod tests;
