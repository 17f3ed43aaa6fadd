//! The dashboard: each page is a [`Board`], a headline with cards below it. What a board shows is read from the store and asked of the
//! [`super::desk`]; what it does is an act of that desk, sent by a form, each with a right of its own in the route table.

pub(super) mod acts;
pub(super) mod attempts;
pub(super) mod audit;
pub(super) mod connections;
pub(super) mod lookup;
pub(super) mod outreach;
pub(super) mod overview;
pub(super) mod quarantine;
pub(super) mod segments;
pub(super) mod work;
pub(super) mod writeback;

use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use domain::Timestamp;
use serde_json::Value;

use super::Served;
use super::list::{ANY, Asked, Button, Cell, Column, Labels, List, Row, beside, paged};
use super::notice::Notice;
use super::plot::Drawn;
use super::viewer::{Nav, Viewer};
use super::words::{Mood, When, when};
use crate::store::installation::{self, Setting};
use crate::store::view::listing::{self, Arm, Listing, Place, Wanted};

/// A page of the dashboard.
#[derive(Template)]
#[template(path = "board.html", config = "src/web/askama.toml")]
pub(super) struct Board {
    nav: Option<Nav>,
    title: String,
    mood: Mood,
    lead: Vec<String>,
    links: Vec<(String, &'static str)>,
    note: Option<(Mood, String)>,
    figures: Vec<(&'static str, String)>,
    cards: Vec<Card>,
    site: String,
    now: String,
    zone: String,
    live: bool,
    /// A list that is asked for as CSV, in place of the page.
    csv: Option<HttpResponse>,
}

/// A part of a board.
pub(super) struct Card {
    title: String,
    wide: bool,
    pieces: Vec<Piece>,
    csv: Option<HttpResponse>,
}

/// What a card is made of.
pub(super) enum Piece {
    /// A paragraph.
    Words(String),
    /// A paragraph that matters less.
    Quiet(String),
    /// Text to be copied: its id on the page, and itself.
    Code(&'static str, String),
    /// Names and what they are.
    Facts(Vec<(String, String)>),
    /// What a template of ours made, escaped there: a list or a chart.
    Made(String),
    /// As [`Piece::Made`], asked for again every so many seconds.
    Live(&'static str, u8, String),
    /// Short sentences.
    Lines(Vec<String>),
    /// Where to go.
    Links(Vec<(String, &'static str)>),
    /// What can be done, with the session's token.
    Acts(String, Vec<Button>),
}

impl Card {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), wide: false, pieces: Vec::new(), csv: None }
    }

    pub(super) fn wide(title: impl Into<String>) -> Self {
        Self { wide: true, ..Self::new(title) }
    }

    pub(super) fn with(mut self, piece: Piece) -> Self {
        self.pieces.push(piece);
        self
    }

    pub(super) fn words(self, words: impl Into<String>) -> Self {
        self.with(Piece::Words(words.into()))
    }

    pub(super) fn quiet(self, words: impl Into<String>) -> Self {
        self.with(Piece::Quiet(words.into()))
    }

    /// A list.
    pub(super) fn list(mut self, list: &List) -> Result<Self, Notice> {
        self.csv = self.csv.take().or_else(|| list.as_csv());
        self.made(list)
    }

    /// A chart, with the list of its numbers behind it.
    pub(super) fn drawn(self, scene: &Scene<'_>, mut chart: impl Drawn + Template) -> Result<Self, Notice> {
        let (labels, columns, rows) = chart.numbers();
        let list = scene.beside(labels, columns, rows)?;
        chart.set_table(list.render()?, list.is_asked());
        let csv = self.csv.or_else(|| list.as_csv());
        Self { csv, ..self }.made(&chart)
    }

    /// A part of ours.
    pub(super) fn made(self, template: &impl Template) -> Result<Self, Notice> {
        Ok(self.with(Piece::Made(template.render()?)))
    }
}

/// What a board knows of its viewer, its server and the moment.
pub(super) struct Scene<'a> {
    pub(super) served: &'a Served,
    pub(super) viewer: &'a Viewer,
    pub(super) now: Timestamp,
    live: bool,
    path: String,
    query: String,
    /// What the last act has to say.
    note: Option<(Mood, String)>,
}

impl<'a> Scene<'a> {
    pub(super) async fn new(served: &'a Served, viewer: &'a Viewer) -> Result<Self, Notice> {
        let live = served.given.store.read(|conn| installation::get(conn, Setting::Live)).await?;
        let note = served.take_note(viewer).await?;
        Ok(Self {
            served,
            viewer,
            now: served.given.clock.now(),
            live: live.as_deref() == Some("true"),
            path: String::new(),
            query: String::new(),
            note,
        })
    }

    /// As [`Scene::new`], of a page whose lists are asked for things by its address.
    pub(super) async fn of(served: &'a Served, viewer: &'a Viewer, request: &HttpRequest) -> Result<Self, Notice> {
        let (path, query) = (request.path().to_owned(), request.query_string().to_owned());
        Ok(Self { path, query, ..Self::new(served, viewer).await? })
    }

    /// What is asked of the page's main list.
    pub(super) fn asked(&self, columns: &[Column]) -> Result<Asked, Notice> {
        Asked::read(columns, &self.query).map_err(|refused| self.anew(refused))
    }

    /// A list that is asked for what it does not have leads to itself.
    fn anew(&self, refused: Notice) -> Notice {
        refused.with_next(self.path.clone(), "To the list anew")
    }

    /// A list beside the page's main one.
    pub(super) fn beside(&self, labels: Labels, columns: Vec<Column>, rows: Vec<Row>) -> Result<List, Notice> {
        beside(&self.query, labels, columns, rows, &self.viewer.csrf).map_err(|refused| self.anew(refused))
    }

    /// Whether messages leave.
    pub(super) const fn is_live(&self) -> bool {
        self.live
    }

    /// A board below `place`, a path of the navigation.
    pub(super) fn board(&self, place: &str, title: impl Into<String>) -> Board {
        Board {
            nav: self.viewer.nav(place),
            title: title.into(),
            mood: Mood::Plain,
            lead: Vec::new(),
            links: Vec::new(),
            note: self.note.clone(),
            figures: Vec::new(),
            cards: Vec::new(),
            site: self.served.given.site.clone(),
            now: self.when(self.now.micros()).shown,
            zone: self.served.given.zone.name().to_owned(),
            live: self.live,
            csv: None,
        }
    }

    pub(super) fn when(&self, micros: i64) -> When {
        when(Timestamp::from_micros(micros), self.now, self.served.given.zone)
    }

    pub(super) fn at(&self, micros: i64) -> Cell {
        Cell::At(self.when(micros), micros)
    }

    pub(super) fn at_or_nothing(&self, micros: Option<i64>) -> Cell {
        micros.map_or(Cell::Nothing, |t| self.at(t))
    }

    /// A page of a list of the store; `row` makes the cells of one row.
    pub(super) async fn listed(
        &self,
        source: Source,
        labels: Labels,
        columns: Vec<Column>,
        asked: Asked,
        row: impl Fn(&Values<'_>) -> Row,
    ) -> Result<List, Notice> {
        let page = self.page(source, &asked).await?;
        let rows = page.values().map(|v| row(&v)).collect();
        Ok(self.paged(labels, columns, asked, rows, page.next))
    }

    /// Reads a page of a list of the store.
    pub(super) async fn page(&self, source: Source, asked: &Asked) -> Result<Found, Notice> {
        let (listing, wanted) = (source.listing, source.wanted(asked).map_err(|refused| self.anew(refused))?);
        let listing::Page { rows, next } = self.served.given.store.read(move |conn| listing::page(conn, listing, &wanted)).await?;
        Ok(Found { listing, rows, next })
    }

    /// The list of such a page.
    pub(super) fn paged(&self, labels: Labels, columns: Vec<Column>, asked: Asked, rows: Vec<Row>, next: Option<Place>) -> List {
        paged(labels, columns, asked, rows, next.map(place_text), &self.viewer.csrf)
    }
}

/// Where the rows of a list come from.
pub(super) struct Source {
    listing: &'static Listing,
    fixed: Vec<(String, String)>,
    arms: Vec<Arm>,
}

impl Source {
    /// All of a list, which one index holds in its order.
    pub(super) const fn of(listing: &'static Listing) -> Self {
        Self { listing, fixed: Vec::new(), arms: Vec::new() }
    }

    /// Only rows that have this value.
    pub(super) fn only(mut self, key: &str, value: impl Into<String>) -> Self {
        self.fixed.push((key.to_owned(), value.into()));
        self
    }

    /// Read in these parts.
    pub(super) fn in_arms(self, arms: Vec<Arm>) -> Self {
        Self { arms, ..self }
    }

    fn wanted(self, asked: &Asked) -> Result<Wanted, Notice> {
        let filters = asked.filters.iter().filter(|(_, v)| v != ANY).map(|(k, v)| ((*k).to_owned(), v.clone()));
        Ok(Wanted {
            filters: self.fixed.into_iter().chain(filters).collect(),
            by: asked.order.map(|(by, _)| by.to_owned()),
            up: asked.order.is_some_and(|(_, down)| !down),
            arms: self.arms,
            after: asked.after.as_deref().map(place).transpose()?,
            limit: asked.limit(),
        })
    }
}

/// In an address: the order, what tells the row apart, and the value of the arms where there is one.
fn place_text(place: Place) -> String {
    let group = place.group.map(|g| format!("~~{g}")).unwrap_or_default();
    format!("{}~{}{group}", place.order, place.tie)
}

fn place(after: &str) -> Result<Place, Notice> {
    let (order, rest) = after.split_once('~').ok_or_else(Notice::bad_list)?;
    let (tie, group) = rest.split_once("~~").map_or((rest, None), |(tie, group)| (tie, Some(group.to_owned())));
    Ok(Place { group, order: order.parse().map_err(|_| Notice::bad_list())?, tie: tie.to_owned() })
}

/// A page of a list of the store.
pub(super) struct Found {
    listing: &'static Listing,
    rows: Vec<Vec<Value>>,
    pub(super) next: Option<Place>,
}

impl Found {
    pub(super) fn values(&self) -> impl Iterator<Item = Values<'_>> {
        self.rows.iter().map(|values| Values { listing: self.listing, values })
    }
}

/// A row of a list of the store, by the columns' names.
pub(super) struct Values<'a> {
    listing: &'a Listing,
    values: &'a [Value],
}

impl Values<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(self.listing.columns.iter().position(|c| c.key == key)?)
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, key: &str) -> i64 {
        self.get(key).and_then(Value::as_i64).unwrap_or_default()
    }

    pub(super) fn instant(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(Value::as_i64)
    }
}

impl Board {
    pub(super) fn lead(mut self, words: impl Into<String>) -> Self {
        self.lead.push(words.into());
        self
    }

    pub(super) fn mood(self, mood: Mood) -> Self {
        Self { mood, ..self }
    }

    pub(super) fn link(mut self, path: impl Into<String>, words: &'static str) -> Self {
        self.links.push((path.into(), words));
        self
    }

    pub(super) fn figure(mut self, label: &'static str, n: i64) -> Self {
        self.figures.push((label, super::words::grouped(n)));
        self
    }

    pub(super) fn card(mut self, mut card: Card) -> Self {
        self.csv = self.csv.take().or(card.csv.take());
        self.cards.push(card);
        self
    }

    /// What an act that was just tried has to say.
    pub(super) fn note(self, mood: Mood, text: String) -> Self {
        Self { note: Some((mood, text)), ..self }
    }

    /// The page, or the one list of it that is asked for as CSV.
    pub(super) fn answer(&mut self) -> Result<HttpResponse, Notice> {
        match self.csv.take() {
            Some(csv) => Ok(csv),
            None => Ok(html(self.render()?)),
        }
    }
}

pub(super) fn html(body: String) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(body)
}

/// A board of one list.
pub(super) fn list_page(board: Board, title: &str, list: &List) -> Result<HttpResponse, Notice> {
    board.card(Card::wide(title).list(list)?).answer()
}
