//! Alerts: each is one row from its beginning to its end, and whom it is told is owed in the transaction that begins or ends it.
//! An index allows one open row of a kind and a subject, so two nodes cannot open it twice.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{alert, alert_condition, alert_delivery};
use super::text::storable;

/// The kinds of alerts.
pub mod kind {
    /// A type of an EHR cannot be read, or an EHR cannot be worked with.
    pub const FAILING: &str = "failing";
    /// A type of an EHR was not read when it should have been.
    pub const LATE: &str = "late";
    /// What a server states of itself changed.
    pub const DRIFTED: &str = "drifted";
    /// A certificate, a key or a secret runs out.
    pub const EXPIRING: &str = "expiring";
    /// The disk of a node fills.
    pub const DISK: &str = "disk";
    /// Much was put aside lately.
    pub const QUARANTINE: &str = "quarantine";
    /// Write-backs wait for a person.
    pub const PARKED: &str = "parked";
    /// Of many patients a type has become unknown lately.
    pub const HOLES: &str = "holes";
    /// The audit chain is not what was written.
    pub const AUDIT: &str = "audit";
}

/// All kinds, in the order in which they are told.
pub const KINDS: [&str; 9] =
    [kind::AUDIT, kind::FAILING, kind::LATE, kind::DRIFTED, kind::EXPIRING, kind::DISK, kind::QUARANTINE, kind::PARKED, kind::HOLES];

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Alert {
    /// Its number.
    pub id: i64,
    /// `failing`, `late`, ...
    pub kind: String,
    /// Of what: `main/Patient`, a node's name.
    pub subject: String,
    /// What is wrong, when it was last looked at. Counts and names that an operator gave; no patient data.
    pub says: String,
    /// What to do.
    pub remedy: String,
    /// Since when.
    pub opened_at: i64,
    /// It is open, but was not found any more since then.
    pub absent_since: Option<i64>,
    /// When it ended.
    pub closed_at: Option<i64>,
    /// Someone took note.
    pub acknowledged_at: Option<i64>,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// What they said.
    pub acknowledged_why: Option<String>,
}

/// What is owed to, or was told, a target.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The alert.
    pub alert: i64,
    /// `opened` or `closed`.
    pub event: String,
    /// `mail:ops@example.org`, `webhook`.
    pub target: String,
    /// `owed`, `sent`, `given-up`.
    pub state: String,
    /// How often it was tried.
    pub tries: i64,
    /// Since when it is owed.
    pub owed_at: i64,
    /// When it is tried next.
    pub next_at: i64,
    /// When it was sent or given up.
    pub settled_at: Option<i64>,
    /// What the target's server said last: a code.
    pub said: Option<String>,
}

/// What another part found wrong.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Condition {
    /// As an alert's.
    pub kind: String,
    /// As an alert's.
    pub subject: String,
    /// As an alert's.
    pub says: String,
    /// As an alert's.
    pub remedy: String,
    /// Since when.
    pub since: i64,
    /// Until then at most; for good where absent.
    pub holds_until: Option<i64>,
}

/// The alerts that are open, the oldest first.
///
/// # Errors
/// The engine's refusal.
pub fn open(conn: &mut Conn) -> Result<Vec<Alert>, StoreError> {
    Ok(on_backend!(conn, c => alert::table.filter(alert::closed_at.is_null()).order(alert::id).load(c))?)
}

/// Alerts, those that are over too, the latest first.
///
/// # Errors
/// The engine's refusal.
pub fn latest(conn: &mut Conn, limit: i64) -> Result<Vec<Alert>, StoreError> {
    Ok(on_backend!(conn, c => alert::table.order(alert::id.desc()).limit(limit).load(c))?)
}

/// One alert.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, id: i64) -> Result<Option<Alert>, StoreError> {
    Ok(on_backend!(conn, c => alert::table.find(id).first(c).optional())?)
}

/// What was or is to be told of an alert.
///
/// # Errors
/// The engine's refusal.
pub fn deliveries(conn: &mut Conn, id: i64) -> Result<Vec<Delivery>, StoreError> {
    Ok(on_backend!(conn, c => alert_delivery::table.filter(alert_delivery::alert.eq(id)).order(alert_delivery::id).load(c))?)
}

/// Opens an alert and owes it to each target; `None` where it is open already.
///
/// # Errors
/// The engine's refusal.
pub fn begin(
    conn: &mut Conn,
    (kind, subject): (&str, &str),
    (says, remedy): (&str, &str),
    targets: &[String],
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let says = storable(says);
    let row = (
        alert::kind.eq(kind),
        alert::subject.eq(subject),
        alert::says.eq(says.as_ref()),
        alert::remedy.eq(remedy),
        alert::opened_at.eq(now.micros()),
    );
    let made: Option<i64> = on_backend!(conn, c => diesel::insert_into(alert::table)
        .values(row)
        .on_conflict_do_nothing()
        .returning(alert::id)
        .get_result(c)
        .optional())?;
    if let Some(id) = made {
        owe(conn, id, "opened", targets, now)?;
    }
    Ok(made)
}

/// Says anew what is wrong with what is open. It is found, so it is not on its way to its end.
///
/// # Errors
/// The engine's refusal.
pub fn found_again(conn: &mut Conn, id: i64, says: &str, remedy: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(alert::table.find(id))
        .set((alert::says.eq(storable(says).as_ref()), alert::remedy.eq(remedy), alert::absent_since.eq(None::<i64>)))
        .execute(c))?;
    Ok(())
}

/// Notes that it is not found any more.
///
/// # Errors
/// The engine's refusal.
pub fn absent(conn: &mut Conn, id: i64, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(alert::table.find(id).filter(alert::absent_since.is_null()))
        .set(alert::absent_since.eq(now.micros()))
        .execute(c))?;
    Ok(())
}

/// Closes an alert and owes that to each target; `false` where it is closed already.
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, id: i64, targets: &[String], now: Timestamp) -> Result<bool, StoreError> {
    let row = alert::table.find(id).filter(alert::closed_at.is_null());
    let hit = on_backend!(conn, c => diesel::update(row).set(alert::closed_at.eq(now.micros())).execute(c))?;
    if hit == 1 {
        owe(conn, id, "closed", targets, now)?;
    }
    Ok(hit == 1)
}

fn owe(conn: &mut Conn, id: i64, event: &str, targets: &[String], now: Timestamp) -> Result<(), StoreError> {
    for target in targets {
        let row = (
            alert_delivery::alert.eq(id),
            alert_delivery::event.eq(event),
            alert_delivery::target.eq(target),
            alert_delivery::state.eq("owed"),
            alert_delivery::tries.eq(0_i64),
            alert_delivery::owed_at.eq(now.micros()),
            alert_delivery::next_at.eq(now.micros()),
        );
        on_backend!(conn, c => diesel::insert_into(alert_delivery::table).values(row).execute(c))?;
    }
    Ok(())
}

/// Someone takes note of an open alert; `false` where it is not open or someone has already.
///
/// # Errors
/// The engine's refusal.
pub fn acknowledge(conn: &mut Conn, id: i64, by: &str, why: &str, now: Timestamp) -> Result<bool, StoreError> {
    let row = alert::table.find(id).filter(alert::closed_at.is_null()).filter(alert::acknowledged_at.is_null());
    let note = (
        alert::acknowledged_at.eq(now.micros()),
        alert::acknowledged_by.eq(storable(by).into_owned()),
        alert::acknowledged_why.eq(storable(why).into_owned()),
    );
    Ok(on_backend!(conn, c => diesel::update(row).set(note).execute(c))? == 1)
}

/// What is owed, in the order in which it came, with its alert.
///
/// # Errors
/// The engine's refusal.
pub fn owed(conn: &mut Conn, limit: i64) -> Result<Vec<(Delivery, Alert)>, StoreError> {
    Ok(on_backend!(conn, c => alert_delivery::table
        .inner_join(alert::table)
        .filter(alert_delivery::state.eq("owed"))
        .order(alert_delivery::id)
        .limit(limit)
        .load(c))?)
}

/// It was told.
///
/// # Errors
/// The engine's refusal.
pub fn told(conn: &mut Conn, delivery: i64, said: &str, now: Timestamp) -> Result<(), StoreError> {
    settle(conn, delivery, "sent", said, now)
}

/// It is not tried any more.
///
/// # Errors
/// The engine's refusal.
pub fn give_up(conn: &mut Conn, delivery: i64, said: &str, now: Timestamp) -> Result<(), StoreError> {
    settle(conn, delivery, "given-up", said, now)
}

fn settle(conn: &mut Conn, delivery: i64, state: &str, said: &str, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(alert_delivery::table.find(delivery))
        .set((
            alert_delivery::state.eq(state),
            alert_delivery::tries.eq(alert_delivery::tries + 1),
            alert_delivery::settled_at.eq(now.micros()),
            alert_delivery::said.eq(storable(said).as_ref()),
        ))
        .execute(c))?;
    Ok(())
}

/// It could not be told; it is tried again then.
///
/// # Errors
/// The engine's refusal.
pub fn put_off(conn: &mut Conn, delivery: i64, said: &str, next: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(alert_delivery::table.find(delivery))
        .set((
            alert_delivery::tries.eq(alert_delivery::tries + 1),
            alert_delivery::next_at.eq(next.micros()),
            alert_delivery::said.eq(storable(said).as_ref()),
        ))
        .execute(c))?;
    Ok(())
}

/// How many deliveries were given up since an instant.
///
/// # Errors
/// The engine's refusal.
pub fn given_up_since(conn: &mut Conn, since: Timestamp) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => alert_delivery::table
        .filter(alert_delivery::state.eq("given-up"))
        .filter(alert_delivery::settled_at.ge(since.micros()))
        .count()
        .get_result(c))?)
}

/// Notes that something is wrong, for parts whose own rows do not tell it: it becomes an alert with the next look. Said again it keeps its
/// beginning. With `until` it holds so long at most: for what only this node can see, and would not take back if it died.
///
/// # Errors
/// The engine's refusal.
pub fn note(
    conn: &mut Conn,
    (kind, subject): (&str, &str),
    (says, remedy): (&str, &str),
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let said = (
        alert_condition::says.eq(storable(says).into_owned()),
        alert_condition::remedy.eq(remedy),
        alert_condition::holds_until.eq(until.map(Timestamp::micros)),
    );
    let row = (alert_condition::kind.eq(kind), alert_condition::subject.eq(subject), alert_condition::since.eq(now.micros()), said.clone());
    on_backend!(conn, c => diesel::insert_into(alert_condition::table)
        .values(row)
        .on_conflict((alert_condition::kind, alert_condition::subject))
        .do_update()
        .set(said)
        .execute(c))?;
    Ok(())
}

/// Takes back what was noted.
///
/// # Errors
/// The engine's refusal.
pub fn clear(conn: &mut Conn, kind: &str, subject: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(alert_condition::table.find((kind, subject))).execute(c))?;
    Ok(())
}

/// What is noted and holds now.
///
/// # Errors
/// The engine's refusal.
pub fn conditions(conn: &mut Conn, now: Timestamp) -> Result<Vec<Condition>, StoreError> {
    let holds = alert_condition::holds_until.is_null().or(alert_condition::holds_until.gt(now.micros()));
    Ok(on_backend!(conn, c => alert_condition::table.filter(holds).order((alert_condition::kind, alert_condition::subject)).load(c))?)
}
