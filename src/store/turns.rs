//! Turns: how far the schedule of each (EHR, type) is served, what went wrong since, and who wants it read now. A run's own row
//! (`sync_state`) begins when the EHR answered; what fails before that is told here.

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::sync_turn;
use super::text::storable;

/// The turn of one (EHR, type).
#[derive(Clone, Debug, Default, PartialEq, Eq, Queryable)]
pub struct Turn {
    /// The EHR.
    pub ehr: String,
    /// The type.
    pub rtype: String,
    /// What was due until then is done.
    pub served_at: Option<i64>,
    /// Failures since it last went well.
    pub failures: i64,
    /// When the first of them was.
    pub failing_since: Option<i64>,
    /// When the last of them was.
    pub failed_at: Option<i64>,
    /// Why, in words for the operator.
    pub failure: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<i64>,
    /// Someone wants it read, since then.
    pub wanted_at: Option<i64>,
    /// Who.
    pub wanted_by: Option<String>,
    /// How many resources the EHR said that the search of the run that goes on finds.
    pub expected: Option<i64>,
}

/// All turns.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<Turn>, StoreError> {
    Ok(on_backend!(conn, c => sync_turn::table.order((sync_turn::ehr, sync_turn::rtype)).load(c))?)
}

/// One turn.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType) -> Result<Option<Turn>, StoreError> {
    Ok(on_backend!(conn, c => sync_turn::table.find((ehr.as_str(), rtype.as_str())).first(c).optional())?)
}

/// Makes the row if there is none.
fn ensure(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType) -> Result<(), StoreError> {
    let row = (sync_turn::ehr.eq(ehr.as_str()), sync_turn::rtype.eq(rtype.as_str()), sync_turn::failures.eq(0_i64));
    on_backend!(conn, c => diesel::insert_into(sync_turn::table).values(row).on_conflict_do_nothing().execute(c))?;
    Ok(())
}

/// It went well: what was due until `now` is done, and so is what was wanted before it began.
///
/// # Errors
/// The engine's refusal.
pub fn served(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, began: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    ensure(conn, ehr, rtype)?;
    on_backend!(conn, c => diesel::update(sync_turn::table.find((ehr.as_str(), rtype.as_str())))
        .set((
            sync_turn::served_at.eq(now.micros()),
            sync_turn::failures.eq(0_i64),
            (sync_turn::failing_since.eq(None::<i64>), sync_turn::failed_at.eq(None::<i64>)),
            (sync_turn::failure.eq(None::<String>), sync_turn::retry_at.eq(None::<i64>)),
            sync_turn::expected.eq(None::<i64>),
        ))
        .execute(c))?;
    granted(conn, ehr, rtype, began)
}

/// It failed. `retry` says when it is tried again after so many failures in a row; what was wanted before it began was tried.
///
/// # Errors
/// The engine's refusal.
pub fn failed(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    why: &str,
    began: Timestamp,
    now: Timestamp,
    retry: impl Fn(u32) -> Timestamp,
) -> Result<(), StoreError> {
    ensure(conn, ehr, rtype)?;
    let row = || sync_turn::table.find((ehr.as_str(), rtype.as_str()));
    let (before, since): (i64, Option<i64>) =
        on_backend!(conn, c => row().select((sync_turn::failures, sync_turn::failing_since)).first(c))?;
    let failures = before.saturating_add(1);
    let at = retry(u32::try_from(failures).unwrap_or(u32::MAX));
    on_backend!(conn, c => diesel::update(row())
        .set((
            sync_turn::failures.eq(failures),
            sync_turn::failing_since.eq(since.unwrap_or(now.micros())),
            sync_turn::failed_at.eq(now.micros()),
            sync_turn::failure.eq(storable(why).as_ref()),
            sync_turn::retry_at.eq(at.micros()),
            sync_turn::expected.eq(None::<i64>),
        ))
        .execute(c))?;
    granted(conn, ehr, rtype, began)
}

/// The EHR may not be asked before an instant: that is no failure, and it goes on then.
///
/// # Errors
/// The engine's refusal.
pub fn wait_until(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, until: Timestamp) -> Result<(), StoreError> {
    ensure(conn, ehr, rtype)?;
    on_backend!(conn, c => diesel::update(sync_turn::table.find((ehr.as_str(), rtype.as_str())))
        .set(sync_turn::retry_at.eq(until.micros()))
        .execute(c))?;
    Ok(())
}

fn granted(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, began: Timestamp) -> Result<(), StoreError> {
    let wish = sync_turn::table.find((ehr.as_str(), rtype.as_str())).filter(sync_turn::wanted_at.le(began.micros()));
    let none = (sync_turn::wanted_at.eq(None::<i64>), sync_turn::wanted_by.eq(None::<String>));
    on_backend!(conn, c => diesel::update(wish).set(none).execute(c))?;
    Ok(())
}

/// Someone wants it read now. A wish that waits already stays the first one's.
///
/// # Errors
/// The engine's refusal.
pub fn want(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, by: &str, now: Timestamp) -> Result<(), StoreError> {
    ensure(conn, ehr, rtype)?;
    let open = sync_turn::table.find((ehr.as_str(), rtype.as_str())).filter(sync_turn::wanted_at.is_null());
    let wish = (sync_turn::wanted_at.eq(now.micros()), sync_turn::wanted_by.eq(by));
    on_backend!(conn, c => diesel::update(open).set(wish).execute(c))?;
    Ok(())
}

/// Notes how many resources the EHR said that a search finds. In the transaction of the page that said so.
///
/// # Errors
/// The engine's refusal.
pub fn expect(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, total: Option<i64>) -> Result<(), StoreError> {
    ensure(conn, ehr, rtype)?;
    on_backend!(conn, c => diesel::update(sync_turn::table.find((ehr.as_str(), rtype.as_str())))
        .set(sync_turn::expected.eq(total))
        .execute(c))?;
    Ok(())
}

/// What failed at an EHR is tried again now.
///
/// # Errors
/// The engine's refusal.
pub fn retry(conn: &mut Conn, ehr: &str, now: Timestamp) -> Result<(), StoreError> {
    let failing = sync_turn::table.filter(sync_turn::ehr.eq(ehr)).filter(sync_turn::failures.gt(0));
    on_backend!(conn, c => diesel::update(failing).set(sync_turn::retry_at.eq(now.micros())).execute(c))?;
    Ok(())
}

/// Forgets the turns of an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(sync_turn::table.filter(sync_turn::ehr.eq(ehr))).execute(c))?;
    Ok(())
}
