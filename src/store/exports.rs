//! Bulk exports: where the EHR is asked for one that it prepares, how far its files were read, and which resources it has shown. A row stays
//! until the EHR was told to delete the job, so that a crash forgets none.

use diesel::prelude::*;
use diesel::sql_types::Text;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::bulk::{self, Column, Insert};
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{export_job, export_seen};

/// An export.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Job {
    /// Its number here.
    pub id: i64,
    /// The EHR.
    pub ehr: String,
    /// The types that it was asked for, joined by spaces.
    pub types: String,
    /// What else it was asked for: another base, level or filter is another export.
    pub request: String,
    /// The `_since` that it was asked with; all there is where absent.
    pub since: Option<i64>,
    /// Where to ask for it. Empty from before it is asked for until the EHR's answer is stored: see [`Job::is_unknown`].
    pub status_url: String,
    /// `waiting` while the EHR prepares it, `reading` while its files are read, `over` until the EHR has deleted it.
    pub state: String,
    /// When it was asked for, by our clock.
    pub started_at: i64,
    /// The same by the EHR's clock, where it was told.
    pub server_started_at: Option<i64>,
    /// The EHR is not to be asked before that instant.
    pub poll_at: Option<i64>,
    /// What the EHR said of its progress.
    pub progress: Option<String>,
    /// How often in a row asking for it failed.
    pub failures: i64,
    /// Stands for what the manifest lists: the place belongs to that list.
    pub manifest: Option<String>,
    /// The place up to which all was stored: the number of the file in the list, from 0.
    pub file: i64,
    /// The last line of that file that was stored, from 1.
    pub line: i64,
    /// How many of the file's lines held something, up to there.
    pub counted: i64,
    /// The types of which something is missing, joined by spaces.
    pub partial: String,
}

impl Job {
    /// The types that it was asked for.
    #[must_use]
    pub fn types(&self) -> Vec<ResourceType> {
        self.types.split(' ').filter_map(ResourceType::parse).collect()
    }

    /// Whether it was asked for, and what the EHR answered is not known: whoever asked is still at it, or was killed or cut off before the answer
    /// was stored. Then it may run at the EHR, and nobody here can ask for it or have it deleted.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.status_url.is_empty()
    }

    /// The same for the operator.
    #[must_use]
    pub fn what_is_unknown(&self) -> String {
        let at = Timestamp::from_micros(self.started_at - self.started_at.rem_euclid(1_000_000));
        format!(
            "an export that was asked for at {at} may run at the EHR: its answer did not come through, so it cannot be read or deleted \
             from here; where the EHR prepares one export at a time and refuses the next, ask its operator to delete that one"
        )
    }
}

/// What is known of an export before it is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The types that it was asked for.
    pub types: Vec<ResourceType>,
    /// What else it was asked for.
    pub request: String,
    /// The `_since` that it was asked with.
    pub since: Option<Timestamp>,
    /// When it is asked for, by our clock.
    pub started: Timestamp,
}

/// What the EHR's answer to it tells.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Where to ask for it.
    pub status_url: String,
    /// When it was asked for, by the EHR's clock.
    pub server_started: Option<Timestamp>,
    /// The EHR is not to be asked before that instant.
    pub poll_at: Option<Timestamp>,
}

fn join(types: &[ResourceType]) -> String {
    types.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(" ")
}

/// Notes an export that is to be asked for, before it is; its number. Until [`accepted`] or [`forget`] it is one of which nothing is known.
///
/// # Errors
/// The engine's refusal.
pub fn intend(conn: &mut Conn, ehr: &EhrId, job: &Wanted) -> Result<i64, StoreError> {
    let row = (
        export_job::ehr.eq(ehr.as_str()),
        export_job::types.eq(join(&job.types)),
        export_job::request.eq(&job.request),
        export_job::since.eq(job.since.map(Timestamp::micros)),
        export_job::status_url.eq(""),
        export_job::state.eq("waiting"),
        export_job::started_at.eq(job.started.micros()),
        (export_job::failures.eq(0_i64), export_job::file.eq(0_i64), export_job::line.eq(0_i64), export_job::counted.eq(0_i64)),
        export_job::partial.eq(""),
    );
    Ok(on_backend!(conn, c => diesel::insert_into(export_job::table).values(row).returning(export_job::id).get_result(c))?)
}

/// Notes that the EHR has accepted an export that was intended, and where to ask for it. Returns it as it is then.
///
/// # Errors
/// The engine's refusal; an export that is not there.
pub fn accepted(conn: &mut Conn, id: i64, answer: &Accepted) -> Result<Job, StoreError> {
    let row = export_job::table.find(id);
    on_backend!(conn, c => diesel::update(row)
        .set((
            export_job::status_url.eq(&answer.status_url),
            export_job::server_started_at.eq(answer.server_started.map(Timestamp::micros)),
            export_job::poll_at.eq(answer.poll_at.map(Timestamp::micros)),
        ))
        .execute(c))?;
    Ok(on_backend!(conn, c => row.first(c))?)
}

/// Forgets the exports of an EHR of which nothing is known.
///
/// # Errors
/// The engine's refusal.
pub fn forget_unknown(conn: &mut Conn, ehr: &EhrId) -> Result<(), StoreError> {
    let unknown = export_job::table.filter(export_job::ehr.eq(ehr.as_str())).filter(export_job::status_url.eq(""));
    on_backend!(conn, c => diesel::delete(unknown).execute(c))?;
    Ok(())
}

/// The exports of an EHR, the oldest first.
///
/// # Errors
/// The engine's refusal.
pub fn of_ehr(conn: &mut Conn, ehr: &EhrId) -> Result<Vec<Job>, StoreError> {
    Ok(on_backend!(conn, c => export_job::table.filter(export_job::ehr.eq(ehr.as_str())).order(export_job::id).load(c))?)
}

/// All exports, by EHR.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<Job>, StoreError> {
    Ok(on_backend!(conn, c => export_job::table.order((export_job::ehr, export_job::id)).load(c))?)
}

/// Notes what came of asking for an export that is not ready.
///
/// # Errors
/// The engine's refusal.
pub fn polled(conn: &mut Conn, id: i64, poll_at: Timestamp, progress: Option<&str>, failures: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(export_job::table.find(id))
        .set((export_job::poll_at.eq(poll_at.micros()), export_job::progress.eq(progress), export_job::failures.eq(failures)))
        .execute(c))?;
    Ok(())
}

/// Notes that an export is ready, and what stands for its list of files. Where that is another list than before, reading begins anew. Returns
/// the export as it is then.
///
/// # Errors
/// The engine's refusal; an export that is not there.
pub fn ready(conn: &mut Conn, id: i64, manifest: &str) -> Result<Job, StoreError> {
    let row = export_job::table.find(id);
    on_backend!(conn, c => diesel::update(row)
        .set((export_job::state.eq("reading"), export_job::poll_at.eq(None::<i64>), export_job::failures.eq(0_i64)))
        .execute(c))?;
    let other = row.filter(export_job::manifest.is_null().or(export_job::manifest.ne(manifest)));
    let anew = on_backend!(conn, c => diesel::update(other)
        .set((
            export_job::manifest.eq(manifest),
            (export_job::file.eq(0_i64), export_job::line.eq(0_i64), export_job::counted.eq(0_i64)),
            export_job::partial.eq(""),
        ))
        .execute(c))?;
    if anew > 0 {
        on_backend!(conn, c => diesel::delete(export_seen::table.filter(export_seen::job.eq(id))).execute(c))?;
    }
    Ok(on_backend!(conn, c => row.first(c))?)
}

/// How far the files of an export were stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of the file in the list, from 0.
    pub file: i64,
    /// Its last line, from 1.
    pub line: i64,
    /// How many of the lines up to there held something.
    pub counted: i64,
}

/// Moves the place up to which all is stored. In the transaction that stores it.
///
/// # Errors
/// The engine's refusal.
pub fn advance(conn: &mut Conn, id: i64, place: Place) -> Result<(), StoreError> {
    let Place { file, line, counted } = place;
    on_backend!(conn, c => diesel::update(export_job::table.find(id))
        .set((export_job::file.eq(file), export_job::line.eq(line), export_job::counted.eq(counted)))
        .execute(c))?;
    Ok(())
}

/// Notes of which types something is missing.
///
/// # Errors
/// The engine's refusal.
pub fn falls_short(conn: &mut Conn, id: i64, types: &[ResourceType]) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(export_job::table.find(id)).set(export_job::partial.eq(join(types))).execute(c))?;
    Ok(())
}

/// Bytes of a hash in [`see`].
pub const HASH: usize = 8;

/// Notes which resources an export has shown up to a place: the hashes of their ids, one after the other.
///
/// # Errors
/// The engine's refusal.
pub fn see(conn: &mut Conn, id: i64, rtype: ResourceType, place: Place, ids: &[u8]) -> Result<(), StoreError> {
    Insert {
        into: "export_seen (job, rtype, file, line, ids)",
        columns: vec![
            Column::Int(vec![id]),
            Column::Text(vec![rtype.as_str()]),
            Column::Int(vec![place.file]),
            Column::Int(vec![place.line]),
            Column::Bytes(vec![ids]),
        ],
        conflict: "ON CONFLICT (job, rtype, file, line) DO UPDATE SET ids = excluded.ids",
    }
    .execute(conn)?;
    Ok(())
}

/// The hashes of all resources of a type that an export has shown, in order.
///
/// # Errors
/// The engine's refusal.
pub fn seen(conn: &mut Conn, id: i64, rtype: ResourceType) -> Result<Vec<[u8; HASH]>, StoreError> {
    let pieces: Vec<Vec<u8>> = on_backend!(conn, c => export_seen::table
        .filter(export_seen::job.eq(id))
        .filter(export_seen::rtype.eq(rtype.as_str()))
        .select(export_seen::ids)
        .load(c))?;
    let mut all: Vec<[u8; HASH]> = pieces.iter().flat_map(|piece| piece.as_chunks::<HASH>().0.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// An export is over: the EHR can delete it.
///
/// # Errors
/// The engine's refusal.
pub fn over(conn: &mut Conn, id: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(export_job::table.find(id))
        .set((export_job::state.eq("over"), export_job::failures.eq(0_i64)))
        .execute(c))?;
    on_backend!(conn, c => diesel::delete(export_seen::table.filter(export_seen::job.eq(id))).execute(c))?;
    Ok(())
}

/// Forgets an export.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, id: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => {
        diesel::delete(export_seen::table.filter(export_seen::job.eq(id))).execute(c)?;
        diesel::delete(export_job::table.find(id)).execute(c)
    })?;
    Ok(())
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    fhir_id: String,
}

/// The ids of the resources that a complete answer has to show, in order, after one: they were stored before it was asked for. With
/// `of_patients` only what is about a patient.
///
/// # Errors
/// The engine's refusal.
pub fn expected_after(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    of_patients: bool,
    before: Timestamp,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let about = if of_patients { "AND patients <> ''" } else { "" };
    // An EHR's name and a type's have letters, digits and '-' only, and an id those and '.'.
    let text = format!(
        "SELECT fhir_id FROM resource WHERE ehr = '{ehr}' AND rtype = '{rtype}' AND fhir_id > '{}' AND gone_at IS NULL
         AND received_at < {} {about} ORDER BY fhir_id LIMIT {limit}",
        after.replace('\'', "''"),
        before.micros()
    );
    let rows: Vec<Row> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    Ok(rows.into_iter().map(|r| r.fhir_id).collect())
}

/// The same of these patients.
///
/// # Errors
/// The engine's refusal.
pub fn expected_of(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    patients: &[&str],
    before: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let select = format!(
        "SELECT DISTINCT f.fhir_id AS fhir_id FROM patient p JOIN fact f ON f.patient = p.pk AND f.rtype = '{rtype}'
         JOIN resource s ON s.pk = f.resource AND s.gone_at IS NULL AND s.received_at < {}",
        before.micros()
    );
    let rows: Vec<Row> = bulk::select_texts(conn, &select, &[("p.ehr", ehr.as_str())], "p.fhir_id", patients)?;
    Ok(rows.into_iter().map(|r| r.fhir_id).collect())
}

/// Forgets the exports of an EHR.
pub(super) fn forget_ehr(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    let jobs: Vec<i64> = on_backend!(conn, c => export_job::table.filter(export_job::ehr.eq(ehr)).select(export_job::id).load(c))?;
    jobs.into_iter().try_for_each(|id| forget(conn, id))
}
