//! Segments: how many are in, over time, of whom it is not known; one segment with its rule and versions; its members by name; and the plan of
//! definition files before they are put in force.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use domain::model::Right;

use super::{Board, Card, Piece, Scene};
use crate::store::audit::Entry;
use crate::store::days::{self, DAY, Day};
use crate::store::definitions::{self, Kind};
use crate::store::memberships::State;
use crate::store::view::members;
use crate::web::Served;
use crate::web::desk::{Planned, Planning, Segment};
use crate::web::list::{Button, Cell, Column, Filter, Labels, MOST, Row, held, paged};
use crate::web::notice::Notice;
use crate::web::plot::{self, Lines, Series};
use crate::web::viewer::Viewer;
use crate::web::words::{Mood, counted, grouped};

const PLACE: &str = "/segments";
/// Days of a chart.
const DAYS: i64 = 90;

const LABELS: Labels = Labels {
    caption: "Segments in force",
    empty: "Here each segment will stand with its size. Segments come into force with the first start.",
    file: "segments",
};

fn columns(segments: &[Segment]) -> Vec<Column> {
    let mut stages: Vec<&str> = segments.iter().map(|s| s.stage.as_str()).collect();
    stages.sort_unstable();
    stages.dedup();
    vec![
        Column::text("id", "Segment").sorts().filter(Filter::Part),
        Column::text("title", "What it is").long().sorts(),
        Column::text("stage", "Stage").sorts().one_of(stages),
        Column::number("in", "Members").sorts(),
        Column::number("held", "Not known").sorts(),
        Column::number("entered", "Entered in 7 days").sorts(),
        Column::number("left", "Left in 7 days").sorts(),
    ]
}

/// The page.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let segments = served.given.desk.segments().await?;
    let columns = columns(&segments);
    let asked = scene.asked(&columns)?;
    let counts = served.overview().await?;
    let (numbers, from) = (segments.iter().flat_map(|s| s.numbers.clone()).collect::<Vec<_>>(), scene.now.micros().div_euclid(DAY) - 6);
    let week = served.given.store.read(move |conn| days::since(conn, &numbers, from)).await?;
    let sum = |s: &Segment, of: fn(&Day) -> i64| week.iter().filter(|d| s.numbers.contains(&d.segment)).map(of).sum::<i64>();
    let size = |map: &BTreeMap<String, i64>, s: &Segment| map.get(&s.id).copied().unwrap_or_default();
    let rows = segments
        .iter()
        .map(|s| {
            Row::from(vec![
                Cell::Link(format!("{PLACE}/{}", s.id), s.id.clone()),
                Cell::text(s.title.clone()),
                Cell::text(s.stage.clone()),
                Cell::Number(size(&counts.segments, s)),
                Cell::Number(size(&counts.unknown_in_segments, s)),
                Cell::Number(sum(s, |d| d.entered)),
                Cell::Number(sum(s, |d| d.exited)),
            ])
        })
        .collect();
    let list = held(LABELS, columns, asked, rows, &viewer.csrf)?;
    let mut board = scene
        .board(PLACE, "Segments")
        .lead("Who is in a segment decides which programs reach them. Not known: what was synced does not tell.");
    let waiting = counts.pending.0;
    if waiting > 0 {
        board = board.lead(format!("{} to be evaluated.", counted(waiting, "person waits", "persons wait")));
    }
    board = in_force(board, &scene).await?;
    board.card(Card::wide("In force").list(&list)?).answer()
}

/// What of the definitions is not in force, or coming into force.
async fn in_force(mut board: Board, scene: &Scene<'_>) -> Result<Board, Notice> {
    let going = scene.served.given.store.read(definitions::going_on).await?;
    if let Some(r) = going {
        let words = match r.state.as_str() {
            "staging" => format!(
                "Roll-out {} is under way: {} evaluated. Until then the versions before it answer.",
                r.number,
                counted(r.persons, "person", "persons")
            ),
            "settling" => format!("Roll-out {} is in force, and is being entered into the histories: charts show it in part.", r.number),
            _ => format!("Roll-out {} was given up and is being taken away.", r.number),
        };
        board = board.mood(Mood::Busy).lead(words);
    }
    if !scene.viewer.may(Right::ApplySegments) {
        return Ok(board);
    }
    let words = match scene.served.given.desk.differences().await? {
        Ok(0) => return Ok(board.link("/segments/plan", "Plan and history")),
        Ok(n) => format!(
            "{} not as in force.",
            counted(i64::try_from(n).unwrap_or(0), "definition of the files is", "definitions of the files are")
        ),
        Err(n) => format!("The definition files have {}.", counted(i64::try_from(n).unwrap_or(0), "mistake", "mistakes")),
    };
    Ok(board.lead(words).link("/segments/plan", "See what would change"))
}

/// One segment.
pub async fn one(
    served: web::Data<Served>,
    viewer: web::ReqData<Viewer>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let segment = named(&served, &id).await?;
    let counts = served.overview().await?;
    let now_in = counts.segments.get(&segment.id).copied().unwrap_or_default();
    let now_held = counts.held_in_segments.get(&segment.id).copied().unwrap_or_default();
    let unknown = counts.unknown_in_segments.get(&segment.id).copied().unwrap_or_default();
    let today = scene.now.micros().div_euclid(DAY);
    let (numbers, from, asked) = (segment.numbers.clone(), today - DAYS + 1, segment.id.clone());
    let read = move |conn: &mut _| {
        let doubts = days::unknown(conn, &numbers)?;
        Ok((days::since(conn, &numbers, from)?, definitions::versions(conn, Kind::Segment, &asked)?, doubts))
    };
    let (by_day, versions, doubts) = served.given.store.read(read).await?;
    let history = History::of(&by_day, from, today, now_in, now_held);
    let mut board = scene
        .board(PLACE, segment.title.clone())
        .lead(segment.description.clone())
        .figure("Members", now_in)
        .figure("Not known", unknown)
        .figure("Entered in 7 days", history.last(&history.entered))
        .figure("Left in 7 days", history.last(&history.exited));
    if viewer.may(Right::SeeMembers) {
        board = board
            .link(format!("{PLACE}/{}/members", segment.id), "Members by name")
            .link(format!("{PLACE}/{}/members?state=held", segment.id), "Of whom it is not known");
    }
    let days: Vec<plot::Day> = (from..=today).map(plot::Day).collect();
    let members = [Series { name: "members", values: history.members.clone() }, Series { name: "held out", values: history.held.clone() }];
    let moves = [Series { name: "entered", values: history.entered.clone() }, Series { name: "left", values: history.exited.clone() }];
    let over = |caption: &'static str, file: &'static str| Labels { caption, empty: "No day is like that.", file };
    let chart = Lines::new(
        format!("Members, and those held out because it is not known, {DAYS} days"),
        over("Members by day, the latest first", "members-by-day"),
        &days,
        &members,
    );
    board = board.card(Card::new("Members over time").drawn(&scene, chart)?);
    let chart = Lines::new(
        format!("Entered and left on each day (of UTC), {DAYS} days"),
        over("Who entered and left by day, the latest first", "moves-by-day"),
        &days,
        &moves,
    );
    board = board.card(Card::new("Who entered and left").drawn(&scene, chart)?);
    let (since, doubted) = not_known(&doubts, &versions, from, today, unknown);
    let chart = Lines::new(
        format!("Persons of whom it was not known at the end of each day (of UTC), {}", counted(today - since + 1, "day", "days")),
        over("Of how many it was not known by day, the latest first", "unknown-by-day"),
        &(since..=today).map(plot::Day).collect::<Vec<_>>(),
        &[Series { name: "not known", values: doubted }],
    );
    board = board.card(Card::new("Of whom it is not known").drawn(&scene, chart)?);
    let unknown = format!("Where it is not known, a person counts as {}.", segment.unknown);
    board = board.card(Card::new("Rule").with(Piece::Code("rule", segment.rule.clone())).quiet(unknown));
    let columns = vec![
        Column::number("version", "Version").sorts(),
        Column::text("state", "State").sorts().one_of(["in force", "coming into force", "past", "given up"]),
        Column::text("from", "From").sorts(),
        Column::text("until", "Until").sorts(),
    ];
    let labels = Labels { caption: "Versions, the latest first", empty: "No version is in force yet.", file: "versions" };
    let rows = versions
        .iter()
        .map(|v| {
            let mood = if v.state == "current" { Mood::Good } else { Mood::Plain };
            let state = match v.state.as_str() {
                "current" => "in force",
                "staged" => "coming into force",
                "dropped" => "given up",
                _ => "past",
            };
            Row::from(vec![
                Cell::Number(v.version),
                Cell::Status(mood, state.to_owned()),
                scene.at_or_nothing(v.current_from),
                scene.at_or_nothing(v.current_until),
            ])
        })
        .collect();
    board.card(Card::new("Versions").list(&scene.beside(labels, columns, rows)?)?).answer()
}

async fn named(served: &Served, id: &str) -> Result<Segment, Notice> {
    let all = served.given.desk.segments().await?;
    all.into_iter().find(|s| s.id == id).ok_or_else(|| Notice::not_there("There is no segment of that name in force."))
}

/// Of how many it was not known at the end of each day, by the version that was in force then; from the first day of which that was kept.
fn not_known(doubts: &[(i64, i64, i64)], versions: &[definitions::Version], from: i64, today: i64, now: i64) -> (i64, Vec<i64>) {
    let in_force = |day: i64| {
        let end = (day + 1) * DAY;
        versions.iter().rev().find(|v| v.current_from.is_some_and(|at| at < end) && v.current_until.is_none_or(|at| at >= end))
    };
    let at = |day: i64| {
        let version = in_force(day)?.number;
        doubts.iter().rev().find(|(of, on, _)| *of == version && *on <= day).map(|(_, _, persons)| *persons)
    };
    let since = (from..today).find(|day| at(*day).is_some()).unwrap_or(today);
    let mut last = 0;
    let mut values: Vec<i64> = (since..today)
        .map(|day| {
            last = at(day).unwrap_or(last);
            last
        })
        .collect();
    values.push(now);
    (since, values)
}

/// A segment, day by day.
struct History {
    members: Vec<i64>,
    held: Vec<i64>,
    entered: Vec<i64>,
    exited: Vec<i64>,
}

impl History {
    /// From what is so now, back by what happened on each day.
    fn of(by_day: &[Day], from: i64, today: i64, mut members: i64, mut held: i64) -> Self {
        let mut all = Self { members: Vec::new(), held: Vec::new(), entered: Vec::new(), exited: Vec::new() };
        for day in (from..=today).rev() {
            let of = |f: fn(&Day) -> i64| by_day.iter().filter(|d| d.day == day).map(f).sum::<i64>();
            let (entered, exited, doubted, known) = (of(|d| d.entered), of(|d| d.exited), of(|d| d.held), of(|d| d.released));
            all.members.push(members.max(0));
            all.held.push(held.max(0));
            all.entered.push(entered);
            all.exited.push(exited);
            members -= entered - exited;
            held -= doubted - known;
        }
        for series in [&mut all.members, &mut all.held, &mut all.entered, &mut all.exited] {
            series.reverse();
        }
        all
    }

    /// The last seven days together.
    fn last(&self, series: &[i64]) -> i64 {
        debug_assert!(series.len() == self.members.len(), "all are of the same days");
        series.iter().rev().take(7).sum()
    }
}

/// Members by name.
pub async fn members(
    served: web::Data<Served>,
    viewer: web::ReqData<Viewer>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let segment = named(&served, &id).await?;
    let states = vec![("in".to_owned(), "members".to_owned()), ("held".to_owned(), "of whom it is not known".to_owned())];
    let counts = served.overview().await?;
    let most = i64::try_from(MOST).unwrap_or(i64::MAX);
    // As many as a file holds are ordered in memory; more are read in the order in which they became known, a page at a time. A name is looked for
    // on no page by its address.
    let sizes = [&counts.segments, &counts.held_in_segments].map(|all| all.get(&segment.id).copied().unwrap_or_default());
    let is_short = sizes.iter().all(|n| *n < most);
    let of = |column: Column| if is_short { column.sorts() } else { column };
    let ehr = of(Column::text("ehr", "EHR"));
    let columns = vec![
        of(Column::text("name", "Patient")),
        of(Column::text("born", "Born")),
        if is_short { ehr.one_of(super::connections::ehrs(&served).await?) } else { ehr },
        Column::text("state", "Who").filter(Filter::Always(states)),
        of(Column::text("since", "Since")),
    ];
    let asked = scene.asked(&columns)?;
    let state = if asked.filter("state") == Some("held") { State::Held } else { State::In };
    let (after, limit) = if is_short {
        (i64::MIN, MOST)
    } else {
        (asked.after.as_deref().map_or(Ok(i64::MIN), str::parse).map_err(|_| Notice::bad_list())?, asked.limit())
    };
    let number = segment.number;
    // Who looks is noted before anything is shown.
    let entry = Entry {
        at: scene.now,
        who: viewer.user.named(),
        roles: viewer.roles.to_string(),
        what: if asked.csv { "export-members" } else { "view-members" },
        patient: None,
        opening: None,
        about: Some(format!("segment {} after {}", segment.id, asked.after.as_deref().unwrap_or("-"))),
        why: None,
    };
    served.given.store.audited(entry).await?;
    let mut found = served.given.store.read(move |conn| members::page(conn, number, state, after, limit + 1)).await?;
    let next = (found.len() > limit).then(|| {
        found.truncate(limit);
        found.last().map(|m| m.person.to_string())
    });
    let may_open = viewer.may(Right::FindPatient);
    let rows = found
        .into_iter()
        .map(|m| {
            let name = m.shown.filter(|n| !n.is_empty()).unwrap_or_else(|| "(no name known)".to_owned());
            let open = Button::new("/patients/open", "Open", name.clone()).with("ehr", &m.ehr).with("patient", &m.fhir_id);
            let cells = vec![
                Cell::text(name),
                Cell::text(m.born.unwrap_or_default()),
                Cell::text(m.ehr),
                Cell::text(if state == State::In { "member" } else { "not known" }),
                scene.at(m.since),
            ];
            Row { cells, acts: if may_open { vec![open] } else { Vec::new() } }
        })
        .collect();
    let labels = Labels { caption: "Persons of this segment", empty: "Nobody is in it now. Who is will stand here.", file: "members" };
    let list = if is_short {
        held(labels, columns, asked, rows, &viewer.csrf)?
    } else {
        paged(labels, columns, asked, rows, next.flatten(), &viewer.csrf)
    };
    let order = if is_short { "" } else { " So many are in the order in which they became known here." };
    let board = scene
        .board(PLACE, segment.title.clone())
        .lead(format!("Why somebody is in, or not, stands on the patient's page. That you looked is noted.{order}"))
        .link(format!("{PLACE}/{}", segment.id), "The segment");
    super::list_page(board, "Persons", &list)
}

/// What the definition files would change.
pub async fn plan(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let token = viewer.csrf.clone();
    let mut board = scene
        .board(PLACE, "What the definition files would change")
        .lead("Nothing is in force before it is applied here, or by the command line.")
        .card(planned(&scene, &served.given.desk.planning())?);
    let rollouts = served.given.store.read(definitions::rollouts).await?;
    let columns = vec![
        Column::number("n", "Roll-out").sorts(),
        Column::text("cause", "Cause").sorts().filter(Filter::Part),
        Column::text("state", "State").sorts(),
        Column::text("from", "In force from").sorts(),
        Column::number("entries", "Entered").sorts(),
        Column::number("exits", "Left").sorts(),
    ];
    let can_go_back = rollouts.iter().filter(|r| r.flipped_at.is_some()).count() > 1 || rollouts.iter().any(|r| r.state == "staging");
    let rows = rollouts
        .iter()
        .map(|r| {
            let mood = match r.state.as_str() {
                "done" => Mood::Good,
                "dropped" => Mood::Plain,
                _ => Mood::Busy,
            };
            Row::from(vec![
                Cell::Number(r.number),
                Cell::text(r.back_to.map_or_else(|| r.kind.clone(), |to| format!("{} to {to}", r.kind))),
                Cell::Status(mood, r.state.clone()),
                scene.at_or_nothing(r.flipped_at),
                Cell::Number(r.entries),
                Cell::Number(r.exits),
            ])
        })
        .collect();
    let labels = Labels { caption: "Roll-outs, the latest first", empty: "Nothing was put in force yet.", file: "rollouts" };
    let mut card = Card::wide("Roll-outs").list(&scene.beside(labels, columns, rows)?)?;
    if can_go_back {
        let back = Button::new("/segments/back", "Go back to the definitions before", "").with("sure", "yes").grave();
        card = card.with(Piece::Acts(token, vec![back]));
    }
    board = board.card(card);
    board.answer()
}

fn planned(scene: &Scene<'_>, planning: &Planning) -> Result<Card, Notice> {
    let token = scene.viewer.csrf.clone();
    let again = |name: &'static str| Piece::Acts(token.clone(), vec![Button::new("/segments/plan", name, "").with("all", "yes")]);
    let card = Card::wide("The plan");
    Ok(match planning {
        Planning::Never => card
            .words("Everyone is evaluated by the files, and nothing is written. With many patients that takes minutes.")
            .with(again("Work it out")),
        Planning::Running(n) => card.words(format!(
            "It is being worked out: {} evaluated so far. Reload to see how far it is.",
            counted(i64::try_from(*n).unwrap_or(0), "person", "persons")
        )),
        Planning::Failed(mistakes) => card
            .words("The files have mistakes. Put them right, and work it out again.")
            .with(Piece::Lines(mistakes.clone()))
            .with(again("Work it out again")),
        Planning::Done(plan) => done(scene, card, plan)?.with(again("Work it out again")),
    })
}

fn done(scene: &Scene<'_>, card: Card, plan: &Planned) -> Result<Card, Notice> {
    let mut card = card.quiet(format!("Worked out {}.", scene.when(plan.at.micros()).ago));
    if plan.segments.is_empty() && plan.value_sets.is_empty() {
        return Ok(card.words("Nothing differs: what the files say is in force."));
    }
    if plan.left_out > 0 {
        card = card.words(format!("{} left out: an EHR of theirs is being read.", counted(plan.left_out, "person was", "persons were")));
    }
    let columns = vec![
        Column::text("id", "Segment").sorts().filter(Filter::Part),
        Column::text("change", "Change").sorts(),
        Column::number("now", "Members now").sorts(),
        Column::number("entering", "Would enter").sorts(),
        Column::number("leaving", "Would leave").sorts(),
        Column::number("then", "Members then").sorts(),
        Column::number("unknown", "Not known").sorts(),
    ];
    let rows = plan
        .segments
        .iter()
        .map(|s| {
            Row::from(vec![
                Cell::text(s.id.clone()),
                Cell::text(s.change),
                Cell::Number(s.now),
                Cell::Number(s.entering),
                Cell::Number(s.leaving),
                Cell::Number(s.now + s.entering - s.leaving),
                Cell::Number(s.unknown),
            ])
        })
        .collect();
    let labels = Labels { caption: "Segments that would change", empty: "No segment would change by itself.", file: "plan" };
    card = card.list(&scene.beside(labels, columns, rows)?)?;
    if !plan.value_sets.is_empty() {
        card = card.with(Piece::Lines(plan.value_sets.iter().map(|(id, how)| format!("Value set {id}: {how}")).collect()));
    }
    let moved: i64 = plan.segments.iter().map(|s| s.entering + s.leaving).sum();
    let apply = Button::new("/segments/apply", "Apply it", format!("{} memberships change", grouped(moved)))
        .with("fingerprint", &plan.fingerprint)
        .grave();
    Ok(card.with(Piece::Acts(scene.viewer.csrf.clone(), vec![apply])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_goes_back_from_what_is_so_now() {
        let day = |day, entered, exited| Day { segment: 1, day, entered, exited, held: 0, released: 0, unknown: None };
        // Two versions of a segment on one day count together.
        let by_day = [day(10, 5, 0), day(11, 2, 1), Day { segment: 2, ..day(11, 1, 0) }, day(12, 0, 4)];
        let history = History::of(&by_day, 9, 12, 3, 1);
        assert_eq!(history.members, [0, 5, 7, 3]);
        assert_eq!(history.held, [1, 1, 1, 1]);
        assert_eq!((history.last(&history.entered), history.last(&history.exited)), (8, 5));
    }

    #[test]
    fn the_history_of_what_is_not_known_follows_the_version_in_force_and_begins_where_it_was_kept() {
        let version = |number: i64, from: i64, until: Option<i64>| definitions::Version {
            number,
            kind: "segment".to_owned(),
            id: "s".to_owned(),
            version: number,
            rollout: number,
            source: String::new(),
            hash: String::new(),
            catalogue: 1,
            state: String::new(),
            staged_at: 0,
            current_from: Some(from * DAY),
            current_until: until.map(|d| d * DAY),
            ended_by: None,
            reads: None,
        };
        let versions = [version(1, 0, Some(14)), version(2, 14, None)];
        // The second version was counted while the first one still answered.
        let doubts = [(1, 11, 5), (1, 13, 7), (2, 13, 90), (2, 15, 80)];
        assert_eq!(not_known(&doubts, &versions, 8, 16, 79), (11, vec![5, 5, 7, 90, 80, 79]));
        assert_eq!(not_known(&doubts, &versions, 12, 16, 79), (12, vec![5, 7, 90, 80, 79]), "what was so before is so still");
        assert_eq!(not_known(&[], &versions, 8, 16, 3), (16, vec![3]));
    }
}
