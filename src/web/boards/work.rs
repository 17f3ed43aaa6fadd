//! The work queue: what a machine could not settle, calls to make, answers to read; each with what to do, and the act that settles it. Names stand
//! only where the work is with a patient, for those who may see one, and that they were shown is noted.

use actix_web::{HttpRequest, HttpResponse, web};
use domain::identity::Doubt;
use domain::model::{Phi, Right};

use super::Scene;
use crate::patient::asked;
use crate::store::audit::Entry;
use crate::store::view::persons::Reviewed;
use crate::store::view::work::{self, Queue, ToCall, Waiting};
use crate::store::{StoreError, labels, people};
use crate::web::Served;
use crate::web::list::{Button, Cell, Column, Filter, Labels, Row, held};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::{Mood, counted};

const PLACE: &str = "/work";

const LABELS: Labels = Labels {
    caption: "What waits for a person, the oldest first",
    empty: "Nothing waits. Calls to make, answers to read, and what a machine cannot settle will stand here.",
    file: "work",
};

/// The kinds of work, as a filter names them.
const KINDS: [&str; 7] = ["answer", "call", "send in doubt", "write-back in doubt", "write-back refused", "quarantine", "person in doubt"];

/// How grave a kind is.
fn mood(kind: &str) -> Mood {
    match kind {
        "answer" | "call" => Mood::Busy,
        _ => Mood::Bad,
    }
}

/// A thing to do.
struct Item {
    kind: &'static str,
    since: Option<i64>,
    who: String,
    what: String,
    to_do: String,
    acts: Vec<Button>,
}

/// Names of the records in the queue, where the viewer may see them.
async fn names(scene: &Scene<'_>, queue: &Queue, is_file: bool) -> Result<Option<std::collections::BTreeMap<i64, Phi<String>>>, Notice> {
    let records: Vec<i64> = queue.answers.iter().map(|w| w.patient).chain(queue.calls.iter().map(|c| c.patient)).collect();
    // A file may be passed on: it holds no names.
    if is_file || records.is_empty() || !scene.viewer.may(Right::SeePatient) {
        return Ok(None);
    }
    let entry = Entry {
        at: scene.now,
        who: scene.viewer.user.named(),
        roles: scene.viewer.roles.to_string(),
        what: "view-work",
        patient: None,
        opening: None,
        about: Some(format!("{} patients", records.len())),
        why: None,
    };
    let store = &scene.served.given.store;
    store.audited(entry).await?;
    Ok(Some(store.read(move |conn| labels::shown(conn, &records)).await?))
}

/// The page.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let columns = vec![
        Column::text("kind", "Kind").sorts().filter(Filter::OneOf(KINDS.iter().map(|k| ((*k).to_owned(), (*k).to_owned())).collect())),
        Column::text("since", "Since").sorts(),
        Column::text("who", "Who or where").sorts(),
        Column::text("what", "What").long(),
        Column::text("to-do", "What to do").long(),
    ];
    let asked = scene.asked(&columns)?;
    let queue = served.queue().await?;
    let names = names(&scene, &queue, asked.csv).await?;
    let mut items = Vec::new();
    items.extend(queue.answers.iter().map(|w| answer(&scene, w, names.as_ref())));
    items.extend(queue.calls.iter().map(|c| call(&scene, c, names.as_ref())));
    machine(&scene, &queue, &mut items);
    if viewer.may(Right::JoinPersons) {
        items.extend(persons(&scene, &queue).await?);
    }
    items.sort_by_key(|i| i.since.unwrap_or(i64::MIN));
    let rows = items
        .into_iter()
        .map(|i| Row {
            cells: vec![
                Cell::Status(mood(i.kind), i.kind.to_owned()),
                scene.at_or_nothing(i.since),
                Cell::text(i.who),
                Cell::text(i.what),
                Cell::text(i.to_do),
            ],
            acts: i.acts,
        })
        .collect();
    let list = held(LABELS, columns, asked, rows, &viewer.csrf)?;
    let [sends, parked, refused, aside, review, answers, calls] = work::sizes(&queue);
    let all = sends + parked + refused + aside + review + answers + calls;
    let (mood, title) = match all {
        0 => (Mood::Good, "Nothing waits for anybody".to_owned()),
        n => {
            let more = [sends, parked, review, answers, calls].contains(&work::MOST);
            (Mood::Busy, format!("{}{} for a person", if more { "At least " } else { "" }, counted(n, "thing waits", "things wait")))
        }
    };
    let board = scene
        .board(PLACE, title)
        .mood(mood)
        .figure("Answers to read", answers)
        .figure("Calls to make", calls)
        .figure("Sends and writes in doubt", sends + parked)
        .figure("Refused, put aside, persons in doubt", refused + aside + review);
    super::list_page(board, "To do", &list)
}

fn named(names: Option<&std::collections::BTreeMap<i64, Phi<String>>>, record: i64, ehr: &str) -> String {
    let name = names.and_then(|n| n.get(&record)).map(|n| n.expose().clone()).filter(|n| !n.is_empty());
    name.map_or_else(|| format!("a patient of {ehr}"), |name| format!("{name} ({ehr})"))
}

/// What stands in place of what to do with a patient, for those who do not see whom it is about.
const FOR_OTHERS: &str = "This is for the front desk or a care manager: your role does not see whom it is about.";

fn with_patients(scene: &Scene<'_>) -> bool {
    scene.viewer.may(Right::SeePatient)
}

/// A way to the patient's page, for those who may open one.
fn open(scene: &Scene<'_>, ehr: &str, id: &str, about: &str) -> Option<Button> {
    scene
        .viewer
        .may(Right::FindPatient)
        .then(|| Button::new("/patients/open", "Open the patient", about).with("ehr", ehr).with("patient", id))
}

fn answer(scene: &Scene<'_>, w: &Waiting, names: Option<&std::collections::BTreeMap<i64, Phi<String>>>) -> Item {
    let who = named(names, w.patient, &w.ehr);
    let meaning = match w.meaning.as_str() {
        "confirm" => "The patient confirmed",
        "cancel-visit" => "The patient wants to cancel the visit",
        "stop" => "The patient wants no more messages",
        "start" => "The patient wants messages again",
        "help" => "The patient asked for help",
        _ => "The patient wrote",
    };
    let words = w
        .message
        .as_deref()
        .filter(|_| names.is_some() && scene.viewer.may(Right::SeeMessages))
        .and_then(|m| scene.served.given.desk.words(m));
    let words = words.map(|w| format!(": \u{201c}{}\u{201d}", w.expose())).unwrap_or_default();
    let barrier = w.barrier.as_ref().map(|b| format!(" In the way: {}.", b.replace('-', " "))).unwrap_or_default();
    let to_do = match w.meaning.as_str() {
        _ if !with_patients(scene) => FOR_OTHERS,
        "cancel-visit" => "Cancel or move the visit in the EHR, then say that it is done.",
        _ => "Read it, do what it asks for, then say that it is done.",
    };
    let mut acts: Vec<Button> = open(scene, &w.ehr, &w.fhir_id, &who).into_iter().collect();
    if scene.viewer.may(Right::SettleWork) && with_patients(scene) {
        acts.push(Button::new("/work/answer", "Done", &who).with("attempt", &w.attempt).with("number", w.number.to_string()));
    }
    Item { kind: "answer", since: Some(w.received_at), who, what: format!("{meaning}{words}.{barrier}"), to_do: to_do.to_owned(), acts }
}

fn call(scene: &Scene<'_>, c: &ToCall, names: Option<&std::collections::BTreeMap<i64, Phi<String>>>) -> Item {
    let who = named(names, c.patient, &c.ehr);
    let failure = c.failure.as_deref().unwrap_or_default().trim_start_matches("channel: ");
    let why: Vec<String> = failure.split(", ").map(|code| scene.served.given.desk.meaning(code)).collect();
    let mut acts: Vec<Button> = open(scene, &c.ehr, &c.fhir_id, &who).into_iter().collect();
    if scene.viewer.may(Right::SettleWork) && with_patients(scene) {
        acts.push(Button::new("/work/called", "Called", &who).with("attempt", &c.attempt));
    }
    Item {
        kind: "call",
        since: c.since,
        who,
        what: format!(
            "No message could reach them: {}. What it is about: {} ({}).",
            why.join("; "),
            asked(&c.action),
            program(scene, &c.program)
        ),
        to_do: if with_patients(scene) {
            format!(
                "{} before {}. Enter what came of it on the patient's page.",
                if failure.contains("no-contact-point") { "Look for a number in the chart and call" } else { "Call" },
                scene.when(c.until).shown
            )
        } else {
            FOR_OTHERS.to_owned()
        },
        acts,
    }
}

/// A program as people call it.
fn program(scene: &Scene<'_>, id: &str) -> String {
    scene.served.given.desk.programs().into_iter().find(|p| p.id == id).map_or_else(|| id.to_owned(), |p| p.title)
}

/// What the gateway could not settle by itself.
fn machine(scene: &Scene<'_>, queue: &Queue, items: &mut Vec<Item>) {
    let desk = &scene.served.given.desk;
    let may = |right| scene.viewer.may(right);
    for s in &queue.sends {
        let mut acts = Vec::new();
        if may(Right::SettleWork) {
            let act = |name, sent: &str| Button::new("/work/send", name, &s.id).with("attempt", &s.id).with("sent", sent);
            acts = vec![act("It went out", "true"), act("It did not", "false")];
        }
        items.push(Item {
            kind: "send in doubt",
            since: Some(s.due_at),
            who: s.channel.clone().unwrap_or_default(),
            what: format!("A message may have gone out: {} ({}).", s.failure.trim_start_matches("unclear: "), program(scene, &s.program)),
            to_do: format!("Look for {} in the log of what carries the channel, then say whether it went out.", s.id),
            acts,
        });
    }
    for w in &queue.parked {
        let cause = w.failure.as_deref().unwrap_or_default();
        let mut acts = Vec::new();
        if may(Right::SettleWork) {
            let act = |name, there: &str| Button::new("/work/write", name, &w.id).with("id", &w.id).with("there", there);
            acts = vec![act("It is there", "true"), act("It is not there", "false")];
        }
        items.push(Item {
            kind: "write-back in doubt",
            since: Some(w.owed_at),
            who: w.ehr.clone(),
            what: format!("{} may be in the chart: {cause}.", w.id),
            to_do: desk.remedy("unknown", cause),
            acts,
        });
    }
    for c in &queue.causes {
        let mut acts = Vec::new();
        if may(Right::ReplayWriteBack) {
            acts.push(Button::new("/writeback/replay", "Write them again", &c.cause).with("ehr", &c.ehr).with("cause", &c.cause));
        }
        items.push(Item {
            kind: "write-back refused",
            since: Some(c.oldest),
            who: c.ehr.clone(),
            what: format!("{}: {}", counted(c.count, "write-back was refused", "write-backs were refused"), c.example),
            to_do: desk.remedy("refused", &c.cause),
            acts,
        });
    }
    for a in &queue.aside {
        let mut acts = Vec::new();
        if may(Right::ReplayQuarantine) {
            acts.push(Button::new("/quarantine/replay", "Try again", &a.ehr).with("ehr", &a.ehr));
        }
        items.push(Item {
            kind: "quarantine",
            since: None,
            who: a.ehr.clone(),
            what: format!("{} for {}", counted(a.n, "resource was put aside", "resources were put aside"), a.code),
            to_do: "Look at the reasons; after the cause was put right in the EHR, try again.".to_owned(),
            acts,
        });
    }
}

/// Others that a record in doubt may be one person with.
const CANDIDATES: usize = 3;

async fn persons(scene: &Scene<'_>, queue: &Queue) -> Result<Vec<Item>, Notice> {
    let review = queue.review.clone();
    let with: Vec<(Reviewed, Vec<String>)> = scene
        .served
        .given
        .store
        .read(move |conn| {
            review
                .into_iter()
                .take(20)
                .map(|r| {
                    let Some((ehr, id)) = r.record.split_once('/') else { return Ok((r, Vec::new())) };
                    let Some(record) = people::record(conn, ehr, id)? else { return Ok((r, Vec::new())) };
                    let shown = crate::store::view::persons::show(conn, record.person)?;
                    let mut others: Vec<String> = shown.ties.iter().flat_map(|t| [t.one.clone(), t.other.clone()]).collect();
                    others.extend(shown.shared.into_iter().flat_map(|s| s.records));
                    others.sort_unstable();
                    others.dedup();
                    others.retain(|o| *o != r.record);
                    others.truncate(CANDIDATES);
                    Ok((r, others))
                })
                .collect::<Result<_, StoreError>>()
        })
        .await?;
    let items = with.into_iter().map(|(r, others)| {
        let say = |other: &String, same: bool| {
            let (name, value) = if same { ("One person with", "true") } else { ("Not one person with", "false") };
            Button::new("/work/person", name, other.clone())
                .with("one", &r.record)
                .with("other", other)
                .with("same", value)
                .asks("why", "Why, without patient data")
                .grave()
        };
        Item {
            kind: "person in doubt",
            since: domain::Timestamp::parse(&r.since).map(domain::Timestamp::micros),
            who: r.record.split('/').next().unwrap_or_default().to_owned(),
            what: format!("{}: {}", r.record, Doubt::parse(&r.reason).map_or(r.reason.as_str(), |d| d.meaning())),
            to_do: if others.is_empty() {
                "Put it right in the EHR; it goes from here with the next sync.".to_owned()
            } else {
                "Put it right in the EHR, or say which records are one person.".to_owned()
            },
            acts: others.iter().flat_map(|o| [say(o, true), say(o, false)]).collect(),
        }
    });
    Ok(items.collect())
}
