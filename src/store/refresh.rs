//! Single resources that are to be read from their EHR: because the EHR told of them, or because someone asks. A row says which, and never
//! what: whoever reads it asks the EHR. Asked for twice it is one row, and its generation grows, so that what is asked while a read is on its
//! way is read once more.

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::refresh_request;

/// Something to read.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Request {
    /// The EHR.
    pub ehr: String,
    /// The type.
    pub rtype: String,
    /// The logical id there.
    pub fhir_id: String,
    /// Who asked first: `event`, or whoever else it was.
    pub asked_by: String,
    /// Since when.
    pub asked_at: i64,
    /// Grows each time that it is asked for.
    pub generation: i64,
    /// Not to be read before.
    pub due_at: i64,
    /// How often it was tried in vain.
    pub tries: i64,
}

/// Asks for a resource to be read now. In the transaction of whatever asks.
///
/// # Errors
/// The engine's refusal.
pub fn ask(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, fhir_id: &str, by: &str, now: Timestamp) -> Result<(), StoreError> {
    let row = (
        refresh_request::ehr.eq(ehr.as_str()),
        refresh_request::rtype.eq(rtype.as_str()),
        refresh_request::fhir_id.eq(fhir_id),
        refresh_request::asked_by.eq(by),
        refresh_request::asked_at.eq(now.micros()),
        refresh_request::generation.eq(1_i64),
        refresh_request::due_at.eq(now.micros()),
        refresh_request::tries.eq(0_i64),
    );
    let key = (refresh_request::ehr, refresh_request::rtype, refresh_request::fhir_id);
    on_backend!(conn, c => diesel::insert_into(refresh_request::table)
        .values(row)
        .on_conflict(key)
        .do_update()
        .set((refresh_request::generation.eq(refresh_request::generation + 1), refresh_request::due_at.eq(now.micros())))
        .execute(c))?;
    Ok(())
}

/// How many of a type wait.
///
/// # Errors
/// The engine's refusal.
pub fn waiting(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType) -> Result<i64, StoreError> {
    let of = refresh_request::table.filter(refresh_request::ehr.eq(ehr.as_str())).filter(refresh_request::rtype.eq(rtype.as_str()));
    Ok(on_backend!(conn, c => of.count().get_result(c))?)
}

/// How many wait of each (EHR, type).
///
/// # Errors
/// The engine's refusal.
pub fn counts(conn: &mut Conn) -> Result<Vec<(String, String, i64)>, StoreError> {
    use diesel::dsl::count_star;
    Ok(on_backend!(conn, c => refresh_request::table
        .group_by((refresh_request::ehr, refresh_request::rtype))
        .select((refresh_request::ehr, refresh_request::rtype, count_star()))
        .order((refresh_request::ehr, refresh_request::rtype))
        .load(c))?)
}

/// Whether a resource still waits to be read: where it does not, it was read since it was asked for.
///
/// # Errors
/// The engine's refusal.
pub fn is_waiting(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, fhir_id: &str) -> Result<bool, StoreError> {
    let row = refresh_request::table.find((ehr.as_str(), rtype.as_str(), fhir_id));
    Ok(on_backend!(conn, c => row.count().get_result::<i64>(c))? > 0)
}

/// The EHRs at which something is due.
///
/// # Errors
/// The engine's refusal.
pub fn due_ehrs(conn: &mut Conn, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let due = refresh_request::table.filter(refresh_request::due_at.le(now.micros()));
    Ok(on_backend!(conn, c => due.select(refresh_request::ehr).distinct().order(refresh_request::ehr).load(c))?)
}

/// When the next is due.
///
/// # Errors
/// The engine's refusal.
pub fn next_due(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    Ok(on_backend!(conn, c => refresh_request::table.select(diesel::dsl::min(refresh_request::due_at)).first(c))?)
}

/// What is due at an EHR, the oldest first.
///
/// # Errors
/// The engine's refusal.
pub fn due(conn: &mut Conn, ehr: &EhrId, now: Timestamp, limit: i64) -> Result<Vec<Request>, StoreError> {
    Ok(on_backend!(conn, c => refresh_request::table
        .filter(refresh_request::ehr.eq(ehr.as_str()))
        .filter(refresh_request::due_at.le(now.micros()))
        .order((refresh_request::due_at, refresh_request::rtype, refresh_request::fhir_id))
        .limit(limit)
        .load(c))?)
}

/// It was read, in the transaction that stores it; asked for meanwhile it stays.
///
/// # Errors
/// The engine's refusal.
pub fn done(conn: &mut Conn, row: &Request) -> Result<(), StoreError> {
    let same = refresh_request::table.find((&row.ehr, &row.rtype, &row.fhir_id)).filter(refresh_request::generation.eq(row.generation));
    on_backend!(conn, c => diesel::delete(same).execute(c))?;
    Ok(())
}

/// It is to be read then. `in_vain` counts a try.
///
/// # Errors
/// The engine's refusal.
pub fn put_off(conn: &mut Conn, row: &Request, until: Timestamp, in_vain: bool) -> Result<(), StoreError> {
    let same = refresh_request::table.find((&row.ehr, &row.rtype, &row.fhir_id)).filter(refresh_request::generation.eq(row.generation));
    let more = i64::from(in_vain);
    on_backend!(conn, c => diesel::update(same)
        .set((refresh_request::due_at.eq(until.micros()), refresh_request::tries.eq(refresh_request::tries + more)))
        .execute(c))?;
    Ok(())
}

/// Forgets what is to be read of an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(refresh_request::table.filter(refresh_request::ehr.eq(ehr))).execute(c))?;
    Ok(())
}
