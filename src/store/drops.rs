//! Files of drop folders, each with what became of its rows; and how each folder stands.

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{drop_file, drop_status, resource};
use super::text::storable;

/// A file that was taken, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct DropFile {
    /// Row number.
    pub id: i64,
    /// The EHR.
    pub ehr: String,
    /// The drop's name.
    pub drop_name: String,
    /// The file's name.
    pub file: String,
    /// BLAKE3 of its bytes, in hexadecimal.
    pub hash: String,
    /// Its bytes.
    pub size: i64,
    /// When it was last changed, by the file system.
    pub modified_at: i64,
    /// `taking`, `done`, `failed`, `held` (much had disappeared: a person is asked), `repeated` (the same was taken before).
    pub state: String,
    /// When it was first seen complete.
    pub seen_at: i64,
    /// When it was done, or failed.
    pub ended_at: Option<i64>,
    /// Whether it was moved out of the folder.
    pub moved: bool,
    /// Rows read: the sum of the next five.
    pub lines: i64,
    /// New or changed.
    pub stored: i64,
    /// As already stored.
    pub unchanged: i64,
    /// Followed by another row of the same id, or older than what is stored.
    pub superseded: i64,
    /// Of types that are not taken.
    pub ignored: i64,
    /// Put aside.
    pub quarantined: i64,
    /// Of a full file: stored resources that it did not show.
    pub missing: i64,
    /// Of these, marked as gone, since an earlier full file did not show them either.
    pub gone: i64,
    /// Why it failed or is held, or what else has to be known.
    pub reason: Option<String>,
}

/// How a drop folder stands.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct DropStatus {
    /// The EHR.
    pub ehr: String,
    /// The drop's name.
    pub drop_name: String,
    /// Since when it is watched.
    pub since: i64,
    /// When it was last looked into.
    pub checked_at: i64,
    /// When a file was last taken.
    pub last_taken_at: Option<i64>,
    /// The instant by which a file was expected that has not come; absent where all is well.
    pub late_since: Option<i64>,
    /// Why the folder cannot be read, or files in it cannot be moved.
    pub problem: Option<String>,
}

/// What becomes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its state.
    pub state: &'static str,
    /// The counts of [`DropFile`].
    pub lines: i64,
    /// See there.
    pub stored: i64,
    /// See there.
    pub unchanged: i64,
    /// See there.
    pub superseded: i64,
    /// See there.
    pub ignored: i64,
    /// See there.
    pub quarantined: i64,
    /// See there.
    pub missing: i64,
    /// See there.
    pub gone: i64,
    /// See there.
    pub reason: Option<String>,
}

/// The files of an EHR, the latest first; of all EHRs where none is named.
///
/// # Errors
/// The engine's refusal.
pub fn files(conn: &mut Conn, ehr: Option<&str>, limit: i64) -> Result<Vec<DropFile>, StoreError> {
    Ok(on_backend!(conn, c => match ehr {
        Some(ehr) => drop_file::table.filter(drop_file::ehr.eq(ehr)).order(drop_file::id.desc()).limit(limit).load(c),
        None => drop_file::table.order(drop_file::id.desc()).limit(limit).load(c),
    })?)
}

/// One file.
///
/// # Errors
/// The engine's refusal.
pub fn file(conn: &mut Conn, id: i64) -> Result<Option<DropFile>, StoreError> {
    Ok(on_backend!(conn, c => drop_file::table.find(id).first(c).optional())?)
}

/// What is known of a file by its name, size and time: it need not be read again to be known.
///
/// # Errors
/// The engine's refusal.
pub fn same(conn: &mut Conn, ehr: &EhrId, drop: &str, file: &str, size: i64, modified_at: i64) -> Result<Option<DropFile>, StoreError> {
    Ok(on_backend!(conn, c => drop_file::table
        .filter(drop_file::ehr.eq(ehr.as_str()))
        .filter(drop_file::drop_name.eq(drop))
        .filter(drop_file::file.eq(storable(file)))
        .filter(drop_file::size.eq(size))
        .filter(drop_file::modified_at.eq(modified_at))
        .order(drop_file::id.desc())
        .first(c)
        .optional())?)
}

/// Files of a drop with that content, the latest first.
///
/// # Errors
/// The engine's refusal.
pub fn of_content(conn: &mut Conn, ehr: &EhrId, drop: &str, hash: &str) -> Result<Vec<DropFile>, StoreError> {
    Ok(on_backend!(conn, c => drop_file::table
        .filter(drop_file::ehr.eq(ehr.as_str()))
        .filter(drop_file::drop_name.eq(drop))
        .filter(drop_file::hash.eq(hash))
        .order(drop_file::id.desc())
        .load(c))?)
}

/// The last file of a drop that was done.
///
/// # Errors
/// The engine's refusal.
pub fn last_done(conn: &mut Conn, ehr: &EhrId, drop: &str) -> Result<Option<DropFile>, StoreError> {
    Ok(on_backend!(conn, c => drop_file::table
        .filter(drop_file::ehr.eq(ehr.as_str()))
        .filter(drop_file::drop_name.eq(drop))
        .filter(drop_file::state.eq("done"))
        .order((drop_file::ended_at.desc(), drop_file::id.desc()))
        .first(c)
        .optional())?)
}

/// A file as it lies in its folder.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its name.
    pub file: &'a str,
    /// BLAKE3 of its bytes, in hexadecimal.
    pub hash: &'a str,
    /// Its bytes.
    pub size: i64,
    /// When it was last changed.
    pub modified_at: i64,
}

/// Begins with a file; its number. One that was begun before keeps its row.
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, ehr: &EhrId, drop: &str, found: Found<'_>, now: Timestamp) -> Result<i64, StoreError> {
    let name = storable(found.file);
    let zero = 0_i64;
    let row = (
        drop_file::ehr.eq(ehr.as_str()),
        drop_file::drop_name.eq(drop),
        drop_file::file.eq(name.as_ref()),
        drop_file::hash.eq(found.hash),
        (drop_file::size.eq(found.size), drop_file::modified_at.eq(found.modified_at)),
        (drop_file::state.eq("taking"), drop_file::seen_at.eq(now.micros()), drop_file::moved.eq(false)),
        (drop_file::lines.eq(zero), drop_file::stored.eq(zero), drop_file::unchanged.eq(zero), drop_file::superseded.eq(zero)),
        (drop_file::ignored.eq(zero), drop_file::quarantined.eq(zero), drop_file::missing.eq(zero), drop_file::gone.eq(zero)),
    );
    Ok(on_backend!(conn, c => diesel::insert_into(drop_file::table)
        .values(row)
        .on_conflict((drop_file::ehr, drop_file::drop_name, drop_file::file, drop_file::hash))
        .do_update()
        .set((
            drop_file::state.eq("taking"),
            drop_file::size.eq(found.size),
            drop_file::modified_at.eq(found.modified_at),
            drop_file::moved.eq(false),
        ))
        .returning(drop_file::id)
        .get_result(c))?)
}

/// Notes what became of a file.
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, id: i64, account: &Account, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(drop_file::table.find(id))
        .set((
            (drop_file::state.eq(account.state), drop_file::ended_at.eq(now.micros())),
            (drop_file::lines.eq(account.lines), drop_file::stored.eq(account.stored), drop_file::unchanged.eq(account.unchanged)),
            (drop_file::superseded.eq(account.superseded), drop_file::ignored.eq(account.ignored)),
            (drop_file::quarantined.eq(account.quarantined), drop_file::missing.eq(account.missing), drop_file::gone.eq(account.gone)),
            drop_file::reason.eq(account.reason.as_deref()),
        ))
        .execute(c))?;
    Ok(())
}

/// Notes that a file was moved out of the folder.
///
/// # Errors
/// The engine's refusal.
pub fn moved(conn: &mut Conn, id: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(drop_file::table.find(id)).set(drop_file::moved.eq(true)).execute(c))?;
    Ok(())
}

/// How the folders of an EHR stand; of all EHRs where none is named.
///
/// # Errors
/// The engine's refusal.
pub fn statuses(conn: &mut Conn, ehr: Option<&str>) -> Result<Vec<DropStatus>, StoreError> {
    let order = (drop_status::ehr, drop_status::drop_name);
    Ok(on_backend!(conn, c => match ehr {
        Some(ehr) => drop_status::table.filter(drop_status::ehr.eq(ehr)).order(order).load(c),
        None => drop_status::table.order(order).load(c),
    })?)
}

/// Notes how a folder stands; `since` stays what it was.
///
/// # Errors
/// The engine's refusal.
pub fn put_status(conn: &mut Conn, status: &DropStatus) -> Result<(), StoreError> {
    let told = (
        drop_status::checked_at.eq(status.checked_at),
        drop_status::last_taken_at.eq(status.last_taken_at),
        drop_status::late_since.eq(status.late_since),
        drop_status::problem.eq(status.problem.as_deref()),
    );
    let key = (drop_status::ehr.eq(&status.ehr), drop_status::drop_name.eq(&status.drop_name), drop_status::since.eq(status.since));
    on_backend!(conn, c => diesel::insert_into(drop_status::table)
        .values((key, told))
        .on_conflict((drop_status::ehr, drop_status::drop_name))
        .do_update()
        .set(told)
        .execute(c))?;
    Ok(())
}

/// The logical ids of a type that are stored and not gone, in order, after one.
///
/// # Errors
/// The engine's refusal.
pub fn stored_after(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, after: &str, limit: i64) -> Result<Vec<String>, StoreError> {
    Ok(on_backend!(conn, c => resource::table
        .filter(resource::ehr.eq(ehr.as_str()))
        .filter(resource::rtype.eq(rtype.as_str()))
        .filter(resource::fhir_id.gt(after))
        .filter(resource::gone_at.is_null())
        .select(resource::fhir_id)
        .order(resource::fhir_id)
        .limit(limit)
        .load(c))?)
}

/// Forgets the folders of an EHR; what was taken of them stays as the record of what was done.
pub(super) fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(drop_status::table.filter(drop_status::ehr.eq(ehr))).execute(c))?;
    Ok(())
}
