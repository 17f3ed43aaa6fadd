//! What of `sync status` is about events and completeness: what an EHR tells by itself of each type, what of it is not read yet, and of whom
//! and of what the type is not known.

use serde_json::{Value, json};

use super::super::print;
use crate::store::view::overview::TypeStatus;
use crate::store::view::telling::{Subscription, Telling};

/// Of whom, and how far, a type is known: in a few words.
pub(super) fn complete(t: &TypeStatus) -> String {
    match (t.known_up_to, t.partial, t.holes) {
        (None, ..) => "no".to_owned(),
        (Some(_), true, _) => "an answer was not".to_owned(),
        (Some(_), false, 0) => "yes".to_owned(),
        (Some(_), false, n) => format!("but {}", print::plural(usize::try_from(n).unwrap_or(usize::MAX), "patient")),
    }
}

/// The same for programs.
pub(super) fn completeness(t: &TypeStatus, telling: Option<&Telling>) -> Value {
    json!({
        "complete": t.known_up_to.is_some() && !t.partial && t.holes == 0,
        "holes": t.holes,
        "awaiting_second_read": telling.map_or(0, |telling| telling.missing),
        "compared_at": t.reconciled_at.map(print::instant),
    })
}

/// What the EHR tells of a type by itself; nothing where it is not asked to, and nothing waits to be read.
pub(super) fn events(telling: Option<&Telling>) -> Value {
    let Some(telling) = telling.filter(|t| !t.subscriptions.is_empty() || t.reads_owed > 0) else { return Value::Null };
    let one = |s: &Subscription| {
        json!({
            "topic": s.topic,
            "state": s.state,
            "events": s.events,
            "last_event_at": s.last_event_at.map(print::instant),
            "last_heard_at": s.last_heard_at.map(print::instant),
            "missing": s.missing.map(|(from, to)| [from, to]),
            "in_doubt": s.in_doubt,
            "reread_due": s.reread_due.map(print::instant),
            "failure": s.failure,
        })
    };
    json!({ "subscriptions": telling.subscriptions.iter().map(one).collect::<Vec<_>>(), "reads_owed": telling.reads_owed })
}

/// The table of what EHRs tell by themselves; nothing where none does.
pub(super) fn table<'a>(all: impl Iterator<Item = (&'a str, &'a str, &'a Telling)>) {
    let rows: Vec<_> = all.filter(|(.., t)| !t.subscriptions.is_empty() || t.reads_owed > 0).collect();
    if rows.is_empty() {
        return;
    }
    print::line("");
    let mut table =
        print::Table::new(&["EHR", "TYPE", "EVENTS BY", "STATE", "EVENTS", "LAST EVENT", "LAST HEARD", "NOT READ YET", "MISSING"]);
    for (ehr, rtype, telling) in &rows {
        let owed = telling.reads_owed.to_string();
        for s in &telling.subscriptions {
            let by = s.topic.clone().unwrap_or_else(|| "a search".to_owned());
            let [event, heard] = [s.last_event_at, s.last_heard_at].map(print::instant_or_dash);
            let cells =
                [(*ehr).to_owned(), (*rtype).to_owned(), by, s.state.clone(), s.events.to_string(), event, heard, owed.clone(), gap(s)];
            table.row(cells);
        }
        if telling.subscriptions.is_empty() {
            let dash = || "-".to_owned();
            table.row([(*ehr).to_owned(), (*rtype).to_owned(), dash(), dash(), dash(), dash(), dash(), owed, dash()]);
        }
    }
    table.print();
    for (ehr, rtype, telling) in &rows {
        for why in telling.subscriptions.iter().filter_map(|s| s.failure.as_ref()) {
            print::line(&format!("{ehr} {rtype} events: {why}; the type is read by its other way meanwhile"));
        }
    }
}

/// What did not come, and what is done about it.
fn gap(s: &Subscription) -> String {
    let missing = match s.missing {
        Some((from, to)) if from == to => Some(format!("number {from}")),
        Some((from, to)) => Some(format!("numbers {from} to {to}")),
        None => s.in_doubt.then(|| "the numbers are in doubt".to_owned()),
    };
    let anew = s.reread_due.map(|at| format!("read anew at {}", print::instant(at)));
    let all: Vec<String> = missing.into_iter().chain(anew).collect();
    if all.is_empty() { "-".to_owned() } else { all.join("; ") }
}
