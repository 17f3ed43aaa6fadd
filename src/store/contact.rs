//! What the contact ledger tells of persons: what was sent to them, what became of it, what they answered and what they do not want.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use domain::Timestamp;
use domain::model::person::{ContactFacts, Fate, Message};

use super::bulk;
use super::connection::Conn;
use super::error::StoreError;

#[derive(QueryableByName)]
struct SentRow {
    #[diesel(sql_type = BigInt)]
    person: i64,
    #[diesel(sql_type = BigInt)]
    patient: i64,
    #[diesel(sql_type = BigInt)]
    sent_at: i64,
    #[diesel(sql_type = Nullable<Text>)]
    channel: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    outcome: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    finished_at: Option<i64>,
}

#[derive(QueryableByName)]
struct BarrierRow {
    #[diesel(sql_type = BigInt)]
    person: i64,
    #[diesel(sql_type = BigInt)]
    patient: i64,
    #[diesel(sql_type = Text)]
    barrier: String,
    #[diesel(sql_type = BigInt)]
    received_at: i64,
}

#[derive(QueryableByName)]
struct ChoiceRow {
    #[diesel(sql_type = BigInt)]
    person: i64,
    #[diesel(sql_type = BigInt)]
    said_by: i64,
    #[diesel(sql_type = Text)]
    scope: String,
    #[diesel(sql_type = Text)]
    value: String,
    #[diesel(sql_type = Bool)]
    allowed: bool,
}

/// What the ledger tells of these persons; who is not in it has nothing there. With `only`, of what was sent by these records; what persons do not
/// want is told whole.
pub(super) fn of(conn: &mut Conn, persons: &[i64], only: Option<&[i64]>) -> Result<BTreeMap<i64, ContactFacts>, StoreError> {
    let counts = |record: i64| only.is_none_or(|only| only.contains(&record));
    let mut all: BTreeMap<i64, ContactFacts> = BTreeMap::new();
    let sent: Vec<SentRow> = bulk::select_numbers(
        conn,
        "SELECT person, patient, sent_at, channel, outcome, finished_at FROM attempt",
        "sent_at IS NOT NULL AND person",
        persons,
        "ORDER BY person, sent_at, id",
    )?;
    let written_to: Vec<i64> = sent.iter().map(|r| r.person).collect();
    for row in sent.into_iter().filter(|row| counts(row.patient)) {
        let contact = all.entry(row.person).or_default();
        let sent_at = Timestamp::from_micros(row.sent_at);
        let fate = match row.outcome.as_deref() {
            Some("answered") => Fate::Answered,
            Some("delivered") => Fate::Delivered,
            Some("failed") => Fate::Failed,
            _ => Fate::Open,
        };
        contact.last_sent = contact.last_sent.max(Some(sent_at));
        if fate == Fate::Answered {
            contact.last_answer = contact.last_answer.max(row.finished_at.map(Timestamp::from_micros));
        }
        contact.messages.push(Message { sent_at, channel: row.channel.unwrap_or_default(), fate });
    }
    // Only who was written to can have answered.
    let named: Vec<BarrierRow> = bulk::select_numbers(
        conn,
        "SELECT a.person, a.patient, n.barrier, n.received_at FROM answer n JOIN attempt a ON a.id = n.attempt",
        "n.barrier IS NOT NULL AND a.person",
        &written_to,
        "ORDER BY a.person, n.received_at, n.barrier",
    )?;
    for row in named.into_iter().filter(|row| counts(row.patient)) {
        all.entry(row.person).or_default().barriers.push((row.barrier, Timestamp::from_micros(row.received_at)));
    }
    choices(conn, persons, &mut all)?;
    Ok(all)
}

/// What persons do not want. Each record's own word stands, as before its person was joined with others: it is out where any of them is.
fn choices(conn: &mut Conn, persons: &[i64], all: &mut BTreeMap<i64, ContactFacts>) -> Result<(), StoreError> {
    let said: Vec<ChoiceRow> = bulk::select_numbers(
        conn,
        "SELECT p.person, c.person AS said_by, c.scope, c.value, c.allowed FROM patient p JOIN preference c ON c.person = COALESCE(p.home, p.person)",
        "p.person",
        persons,
        "ORDER BY p.person, c.id",
    )?;
    // A later entry of the same on the same scope and value takes the place of an earlier one.
    let mut stands: BTreeMap<(i64, String, String, i64), bool> = BTreeMap::new();
    for row in said {
        stands.insert((row.person, row.scope, row.value, row.said_by), row.allowed);
    }
    for ((person, scope, value, _), _) in stands.into_iter().filter(|(_, allowed)| !allowed) {
        let contact = all.entry(person).or_default();
        match scope.as_str() {
            "all" => contact.opted_out = true,
            "channel" if !contact.opted_out_channels.contains(&value) => contact.opted_out_channels.push(value),
            _ => {}
        }
    }
    Ok(())
}
