//! What an EHR takes in writing back: what it states, and how the contract uses that.

use super::{From, Known, Rows, or_none};
use crate::writeback::contract::{Carrier, Contract};

/// The types that something is ever written of.
const TYPES: [&str; 5] = ["Communication", "DocumentReference", "Appointment", "Provenance", "Subscription"];
/// The interactions that change something.
const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];

pub(super) fn write_back(known: &Known<'_>, rows: &mut Rows) {
    let contract = known.contract;
    stated(known, rows);
    let said = |key: &str| known.profile.write_back.as_ref().is_some_and(|w| w.get(key).is_some());
    let chain = or_none(contract.chain.iter().map(|c| c.as_str()));
    let row =
        if said("chain") { rows.put("write_back.chain", chain, From::Override) } else { rows.preset("write_back.chain", chain, "chain") };
    if !contract.missing().is_empty() {
        row.warnings.push(format!("without {} nothing can be written", contract.missing().join(" and ")));
    }
    let own = |key: &str| if said(key) { From::Override } else { From::Default };
    rows.put("write_back.writes", written(contract), own("writes"));
    for carrier in &contract.chain {
        of_carrier(contract, *carrier, rows);
    }
    if contract.chain.contains(&Carrier::Communication) {
        communication(contract, &said, rows);
    }
    if let Some(route) = &contract.route {
        rows.put("write_back.route", format!("{} by {}", route.mark(), route.content_type), From::Override);
    }
    let switched = |on: bool| if on { "on" } else { "off" };
    if let Some(change) = &contract.status_change {
        rows.put("write_back.status_change", switched(change.enabled), own("status_change"));
    }
    if let Some(provenance) = &contract.provenance {
        rows.put("write_back.provenance", switched(provenance.enabled), own("provenance"));
    }
    rows.preset("write_back.settle_delay_seconds", contract.settle_delay_secs.to_string(), "chain");
}

/// What of each type the server states that it lets be written.
fn stated(known: &Known<'_>, rows: &mut Rows) {
    let Some(statement) = known.statement else { return };
    let of = |kind: &str| {
        let stated = statement.capability.types.get(kind)?;
        let all: Vec<&str> = WRITES.into_iter().filter(|code| stated.interactions.contains(*code)).collect();
        (!all.is_empty()).then(|| format!("{kind} ({})", all.join(", ")))
    };
    let all: Vec<String> = TYPES.into_iter().filter_map(of).collect();
    rows.put("write_back.stated", or_none(all), From::Live);
}

fn written(contract: &Contract) -> String {
    let w = &contract.writes;
    let all = [
        (w.sent, "sent"),
        (w.answered && !w.only_answers_that_need_action, "answered"),
        (w.answered && w.only_answers_that_need_action, "answers that need action"),
        (w.unreachable, "unreachable"),
        (w.daily_note, "a daily note"),
    ];
    let all: Vec<&str> = all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

/// How what is written is found again, and what can be done with it then.
fn of_carrier(contract: &Contract, carrier: Carrier, rows: &mut Rows) {
    let (Some(terms), name) = (contract.terms(carrier), carrier.as_str()) else { return };
    let about = name.replace('-', "_");
    let text = |value: serde_json::Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let found = terms.finder().map_or_else(|| "by no search".to_owned(), |f| text(serde_json::json!(f)));
    rows.preset(format!("write_back.{name}.found_again"), found, &about);
    rows.preset(format!("write_back.{name}.key"), terms.key.as_str(), &about);
    rows.preset(format!("write_back.{name}.update"), if terms.update { "taken" } else { "not taken" }, &about);
    let conditional = terms.creates_conditionally();
    let value = if conditional { "holds" } else { "not used: it was not shown to hold" };
    rows.put(format!("write_back.{name}.conditional_create"), value, if conditional { From::Proof } else { From::Default });
}

/// What a Communication may hold there.
fn communication(contract: &Contract, said: &impl Fn(&str) -> bool, rows: &mut Rows) {
    let shape = &contract.shape;
    let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut put = |key: &str, value: String, own: &str| {
        let key = format!("write_back.communication.{key}");
        if said(own) {
            rows.put(key, value, From::Override)
        } else {
            rows.preset(key, value, "communication")
        };
    };
    put("statuses", or_none(shape.statuses.iter().map(|s| s.as_str())), "statuses");
    put("elements", or_none(shape.elements.iter().map(|e| e.as_str())), "leave_out");
    put("recipient", text(serde_json::json!(shape.recipient)), "recipient");
    put("sender", text(serde_json::json!(shape.sender)), "sender");
    put("payload", text(serde_json::json!(shape.payload)), "payload");
}
