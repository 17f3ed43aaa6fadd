//! Patients that somebody looks at, to be read again from their EHR now: a row each, asked for by a page and answered by `sync`. Whoever
//! asks waits for nothing: the page shows what is stored, and says how old it is.

use chrono::TimeDelta;
use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::patient_read;

/// A request.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = patient_read)]
pub struct Request {
    /// The EHR.
    pub ehr: String,
    /// The patient's logical id there.
    pub patient: String,
    /// When it was asked for.
    pub asked_at: i64,
    /// Who is at it.
    pub taken_by: Option<String>,
    /// Until when nobody else takes it.
    pub taken_until: Option<i64>,
    /// When it was answered; absent where it was not yet.
    pub answered_at: Option<i64>,
    /// `read`, `gone`, `failed`.
    pub outcome: Option<String>,
    /// Why it failed, in words without patient data.
    pub told: Option<String>,
}

/// Without the patient.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({}, {:?})", self.ehr, self.outcome)
    }
}

impl Request {
    /// Whether it waits for its answer.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.answered_at.is_none()
    }
}

/// Asks for a patient, where that is not under way and the last answer is older than `every`. Returns whether it is under way now.
///
/// # Errors
/// The engine's refusal.
pub fn ask(conn: &mut Conn, (ehr, patient): (&str, &str), every: TimeDelta, now: Timestamp) -> Result<bool, StoreError> {
    let row = (
        (patient_read::ehr.eq(ehr), patient_read::patient.eq(patient), patient_read::asked_at.eq(now.micros())),
        (patient_read::taken_by.eq(None::<String>), patient_read::taken_until.eq(None::<i64>), patient_read::answered_at.eq(None::<i64>)),
        (patient_read::outcome.eq(None::<String>), patient_read::told.eq(None::<String>)),
    );
    let made = on_backend!(conn, c => diesel::insert_into(patient_read::table).values(row.clone()).on_conflict_do_nothing().execute(c))?;
    if made == 1 {
        return Ok(true);
    }
    let old = patient_read::table.find((ehr, patient)).filter(patient_read::answered_at.le(now.plus(-every).micros()));
    let again = (row.0.2, row.1.0, row.1.1, row.1.2, row.2.0, row.2.1);
    let asked = on_backend!(conn, c => diesel::update(old).set(again).execute(c))?;
    Ok(asked == 1 || of(conn, ehr, patient)?.is_some_and(|r| r.is_open()))
}

/// What was asked for a patient last.
///
/// # Errors
/// The engine's refusal.
pub fn of(conn: &mut Conn, ehr: &str, patient: &str) -> Result<Option<Request>, StoreError> {
    Ok(on_backend!(conn, c => patient_read::table.find((ehr, patient)).select(Request::as_select()).first(c).optional())?)
}

/// Whether there is a request that nobody is at.
///
/// # Errors
/// The engine's refusal.
pub fn is_any(conn: &mut Conn, now: Timestamp) -> Result<bool, StoreError> {
    let free = patient_read::taken_until.is_null().or(patient_read::taken_until.lt(now.micros()));
    let open = patient_read::table.filter(patient_read::answered_at.is_null()).filter(free).select(patient_read::asked_at);
    let first: Option<i64> = on_backend!(conn, c => open.first(c).optional())?;
    Ok(first.is_some())
}

/// Takes requests that nobody is at, the oldest first. One whose taker died is taken over after `until` of then.
///
/// # Errors
/// The engine's refusal.
pub fn take(conn: &mut Conn, who: &str, now: Timestamp, until: Timestamp, limit: i64) -> Result<Vec<Request>, StoreError> {
    let free = patient_read::taken_until.is_null().or(patient_read::taken_until.lt(now.micros()));
    let open = patient_read::table.filter(patient_read::answered_at.is_null()).filter(free).order(patient_read::asked_at).limit(limit);
    let mut rows: Vec<Request> = match conn {
        Conn::Sqlite(c) => open.select(Request::as_select()).load(c)?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => open.select(Request::as_select()).for_update().skip_locked().load(c)?,
    };
    for row in &mut rows {
        let this = patient_read::table.find((&row.ehr, &row.patient));
        let taken = (patient_read::taken_by.eq(who), patient_read::taken_until.eq(until.micros()));
        on_backend!(conn, c => diesel::update(this).set(taken).execute(c))?;
        row.taken_by = Some(who.to_owned());
        row.taken_until = Some(until.micros());
    }
    Ok(rows)
}

/// Whether a request that was taken is still in the taker's hand: to be asked in the transaction that stores what was read.
///
/// # Errors
/// The engine's refusal.
pub fn is_held(conn: &mut Conn, taken: &Request) -> Result<bool, StoreError> {
    Ok(of(conn, &taken.ehr, &taken.patient)?.is_some_and(|r| r.is_open() && r.taken_by == taken.taken_by))
}

/// Answers a request that was taken; where somebody else took it over, nothing changes.
///
/// # Errors
/// The engine's refusal.
pub fn answer(conn: &mut Conn, taken: &Request, outcome: &str, told: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
    let mine = patient_read::table
        .find((&taken.ehr, &taken.patient))
        .filter(patient_read::answered_at.is_null())
        .filter(patient_read::taken_by.eq(taken.taken_by.as_deref()));
    let answered = (patient_read::answered_at.eq(now.micros()), patient_read::outcome.eq(outcome), patient_read::told.eq(told));
    on_backend!(conn, c => diesel::update(mine).set(answered).execute(c))?;
    Ok(())
}
