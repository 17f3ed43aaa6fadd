//! Outreach in counts, why the gate said no, and the switches: everything, a program, a channel.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use domain::model::Right;

use super::{Card, Piece, Scene};
use crate::store::stops::{self, Scope, Stop};
use crate::store::view::outreach::{Alike, Counts};
use crate::web::Served;
use crate::web::list::{Button, Cell, Column, Filter, Labels, Row};
use crate::web::notice::Notice;
use crate::web::plot::Bars;
use crate::web::viewer::Viewer;
use crate::web::words::Mood;

const PLACE: &str = "/outreach";

/// What attempts are counted as, in the order of a bar.
pub(super) const PARTS: [&str; 6] = ["reached", "sent", "waiting", "refused", "failed", "void"];

/// What an attempt counts as: its place in [`PARTS`].
pub(super) fn part(state: &str, outcome: Option<&str>) -> usize {
    match (state, outcome) {
        ("finished", Some("delivered" | "answered")) => 0,
        ("sent" | "sending", _) | ("finished", Some("unknown")) => 1,
        ("planned" | "held", _) => 2,
        ("refused", _) => 3,
        ("finished", _) => 4,
        _ => 5,
    }
}

fn by<K: Ord>(counts: &Counts, key: impl Fn(&Alike) -> K) -> BTreeMap<K, Vec<i64>> {
    let mut all: BTreeMap<K, Vec<i64>> = BTreeMap::new();
    for alike in &counts.alike {
        let row = all.entry(key(alike)).or_insert_with(|| vec![0; PARTS.len()]);
        if let Some(slot) = row.get_mut(part(&alike.state, alike.outcome.as_deref())) {
            *slot += alike.n;
        }
    }
    all
}

/// The page.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let counts = served.attempts().await?;
    let stops = served.given.store.read(stops::in_force).await?;
    let totals = by(&counts, |_| ()).remove(&()).unwrap_or_else(|| vec![0; PARTS.len()]);
    let total = |n: usize| totals.get(n).copied().unwrap_or_default();
    let held_now: i64 = counts.alike.iter().filter(|a| a.state == "held").map(|a| a.n).sum();
    let everything = stops.iter().find(|s| s.scope == Scope::All.as_str());
    let (mood, title) = match everything {
        Some(_) => (Mood::Bad, "All outreach is stopped"),
        None if !stops.is_empty() => (Mood::Busy, "A part of outreach is stopped"),
        None if scene.is_live() => (Mood::Good, "Outreach goes on"),
        None => (Mood::Busy, "Outreach is recorded, and nothing leaves"),
    };
    let mut board = scene
        .board(PLACE, title)
        .mood(mood)
        .lead(if scene.is_live() {
            "Attempts to reach a person, by program and channel, and what became of them."
        } else {
            "Attempts to reach a person, by program and channel. What is recorded only counts as reached; no message left."
        })
        .link("/attempts?state=any", "One by one")
        .link("/attempts?state=held", "What is held")
        .link("/attempts?state=refused", "What was refused")
        .figure("Reached", total(0))
        .figure("Held", held_now)
        .figure("Refused", total(3))
        .figure("Failed", total(4));
    let none = || "not chosen yet".to_owned();
    let labels = |caption: &'static str, file: &'static str| Labels { caption, empty: "There is none yet.", file };
    let programs: Vec<(String, Vec<i64>)> = by(&counts, |a| a.program.clone()).into_iter().collect();
    let channels: Vec<(String, Vec<i64>)> = by(&counts, |a| a.channel.clone().unwrap_or_else(none)).into_iter().collect();
    if programs.is_empty() {
        board = board.card(
            Card::wide("Attempts").words("Nobody was to be reached yet. Attempts will be counted here as soon as a program plans one."),
        );
    } else {
        board = board
            .card(
                Card::new("By program")
                    .drawn(&scene, Bars::new("Attempts by program", labels("Programs", "by-program"), &PARTS, &programs))?,
            )
            .card(
                Card::new("By channel")
                    .drawn(&scene, Bars::new("Attempts by channel", labels("Channels", "by-channel"), &PARTS, &channels))?,
            );
    }
    board = board.card(refusals(&scene, &counts)?).card(switches(&scene, &stops)?);
    board.card(past(&scene).await?).answer()
}

fn refusals(scene: &Scene<'_>, counts: &Counts) -> Result<Card, Notice> {
    let columns = vec![
        Column::text("codes", "Reasons").sorts().filter(Filter::Part),
        Column::text("why", "In words").long(),
        Column::number("n", "Attempts").sorts(),
    ];
    let labels = Labels {
        caption: "Refusals by reason, the most frequent first",
        empty: "Nothing was refused. What is will stand here with its reason.",
        file: "refusals",
    };
    let rows = counts
        .refused
        .iter()
        .map(|r| {
            let codes = r.why.trim_start_matches("channel: ");
            let words: Vec<String> = codes.split(", ").map(|code| scene.served.given.desk.meaning(code)).collect();
            Row::from(vec![Cell::text(codes.to_owned()), Cell::text(words.join("; ")), Cell::Number(r.n)])
        })
        .collect();
    Card::wide("Why messages were refused").list(&scene.beside(labels, columns, rows)?)
}

/// What can be stopped, and what is.
fn switches(scene: &Scene<'_>, stops: &[Stop]) -> Result<Card, Notice> {
    let may = scene.viewer.may(Right::SwitchOutreach);
    let desk = &scene.served.given.desk;
    let all = std::iter::once((Scope::All, String::new(), "Everything".to_owned()));
    let programs = desk.programs().into_iter().map(|p| (Scope::Program, p.id.clone(), format!("Program {}: {}", p.id, p.title)));
    let channels = desk.channels().into_iter().map(|c| (Scope::Channel, c.to_owned(), format!("Channel {c}")));
    let rows = all
        .chain(programs)
        .chain(channels)
        .map(|(scope, name, shown)| {
            let stop = stops.iter().find(|s| s.scope == scope.as_str() && s.name == name);
            let (status, why) = match stop {
                Some(s) => (
                    Cell::Status(Mood::Bad, "stopped".to_owned()),
                    format!("{}, by {} {}", s.why, s.stopped_by, scene.when(s.stopped_at).ago),
                ),
                None => (Cell::Status(Mood::Good, "goes on".to_owned()), String::new()),
            };
            let act = match stop {
                Some(_) => Button::new("/outreach/start", "Let it go on", shown.clone()),
                None => Button::new("/outreach/stop", "Stop", shown.clone()).asks("why", "Why, without patient data").grave(),
            };
            let act = act.with("scope", scope.as_str()).with("name", name);
            Row { cells: vec![Cell::text(shown), status, Cell::text(why)], acts: if may { vec![act] } else { Vec::new() } }
        })
        .collect();
    let columns = vec![
        Column::text("what", "What").sorts(),
        Column::text("state", "State").sorts().one_of(["stopped", "goes on"]),
        Column::text("why", "Why").long(),
    ];
    let labels =
        Labels { caption: "What comes due while it is stopped waits, and is judged anew when it goes on", empty: "", file: "switches" };
    let mut card = Card::wide("Switches").list(&scene.beside(labels, columns, rows)?)?;
    card = card.words(if scene.is_live() {
        "This installation is live: messages leave it."
    } else {
        "This installation is not live: no message leaves it, whatever stands above."
    });
    if may {
        let act = if scene.is_live() {
            Button::new("/outreach/live", "Let nothing leave any more", "").with("on", "false")
        } else {
            Button::new("/outreach/live", "Let messages leave this installation", "").with("on", "true").grave()
        };
        card = card.with(Piece::Acts(scene.viewer.csrf.clone(), vec![act]));
    }
    Ok(card)
}

async fn past(scene: &Scene<'_>) -> Result<Card, Notice> {
    let stops = scene.served.given.store.read(|conn| stops::latest(conn, 50)).await?;
    let columns = vec![
        Column::text("what", "What").sorts().filter(Filter::Part),
        Column::text("why", "Why").long(),
        Column::text("who", "Stopped by").sorts(),
        Column::text("at", "Stopped").sorts(),
        Column::text("ended", "Went on").sorts(),
        Column::text("ended-by", "Let go on by").sorts(),
    ];
    let rows = stops
        .into_iter()
        .map(|s| {
            let what = if s.name.is_empty() { "everything".to_owned() } else { format!("{} {}", s.scope, s.name) };
            Row::from(vec![
                Cell::text(what),
                Cell::text(s.why),
                Cell::text(s.stopped_by),
                scene.at(s.stopped_at),
                scene.at_or_nothing(s.ended_at),
                Cell::text(s.ended_by.unwrap_or_default()),
            ])
        })
        .collect();
    let labels = Labels { caption: "Stops, the latest first", empty: "Nothing was ever stopped.", file: "stops" };
    Card::wide("Stops so far").list(&scene.beside(labels, columns, rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_counts_as_something_that_people_ask_about() {
        let cases = [
            ("planned", None, "waiting"),
            ("held", None, "waiting"),
            ("sending", None, "sent"),
            ("sent", None, "sent"),
            ("finished", Some("delivered"), "reached"),
            ("finished", Some("answered"), "reached"),
            ("finished", Some("unknown"), "sent"),
            ("finished", Some("failed"), "failed"),
            ("refused", None, "refused"),
            ("void", None, "void"),
        ];
        for (state, outcome, name) in cases {
            assert_eq!(PARTS.get(part(state, outcome)), Some(&name), "{state} {outcome:?}");
        }
    }
}
