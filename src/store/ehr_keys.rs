//! Which signing key is used at which EHR, and how far each rotation is. The keys themselves are in [`super::keys`].
//!
//! A key is `next` at an EHR while it waits to be tried there, `current` since an EHR took it, `retiring` while the EHR may still check
//! assertions that were signed with it, and `refused` where the EHR would not have it again and again.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{ehr_key, signing_key};

/// A key at an EHR.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct EhrKey {
    /// The EHR.
    pub ehr: String,
    /// The credential of the EHR; empty for its own.
    pub client: String,
    /// The key.
    pub kid: String,
    /// `next`, `current`, `retiring`, `refused`.
    pub state: String,
    /// In that state since.
    pub since: i64,
    /// Not tried before this instant; for `next`.
    pub try_after: i64,
    /// How often the EHR refused it.
    pub refusals: i64,
    /// What the EHR said, the last time that it refused.
    pub told: Option<String>,
}

/// Who signs: a credential of an EHR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The EHR.
    pub ehr: String,
    /// The credential; empty for the EHR's own.
    pub client: String,
}

/// All rows, by EHR.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<EhrKey>, StoreError> {
    Ok(on_backend!(conn, c => ehr_key::table.order((ehr_key::ehr, ehr_key::client, ehr_key::since, ehr_key::kid)).load(c))?)
}

/// The keys of one credential.
///
/// # Errors
/// The engine's refusal.
pub fn of(conn: &mut Conn, at: &At) -> Result<Vec<EhrKey>, StoreError> {
    Ok(on_backend!(conn, c => ehr_key::table
        .filter(ehr_key::ehr.eq(&at.ehr))
        .filter(ehr_key::client.eq(&at.client))
        .order((ehr_key::since, ehr_key::kid))
        .load(c))?)
}

fn put(conn: &mut Conn, row: &EhrKey) -> Result<(), StoreError> {
    let changing = (
        ehr_key::state.eq(&row.state),
        ehr_key::since.eq(row.since),
        ehr_key::try_after.eq(row.try_after),
        ehr_key::refusals.eq(row.refusals),
        ehr_key::told.eq(&row.told),
    );
    let values = (ehr_key::ehr.eq(&row.ehr), ehr_key::client.eq(&row.client), ehr_key::kid.eq(&row.kid), changing);
    on_backend!(conn, c => diesel::insert_into(ehr_key::table)
        .values(values)
        .on_conflict((ehr_key::ehr, ehr_key::client, ehr_key::kid))
        .do_update()
        .set(changing)
        .execute(c))?;
    Ok(())
}

fn row(at: &At, kid: &str, state: &str, now: Timestamp) -> EhrKey {
    let (since, try_after) = (now.micros(), now.micros());
    EhrKey {
        ehr: at.ehr.clone(),
        client: at.client.clone(),
        kid: kid.to_owned(),
        state: state.to_owned(),
        since,
        try_after,
        refusals: 0,
        told: None,
    }
}

/// Makes a key the only one of a credential: at registration, and where a rotation cannot wait.
///
/// # Errors
/// The engine's refusal.
pub fn set(conn: &mut Conn, at: &At, kid: &str, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(ehr_key::table.filter(ehr_key::ehr.eq(&at.ehr)).filter(ehr_key::client.eq(&at.client))).execute(c))?;
    put(conn, &row(at, kid, "current", now))?;
    in_force(conn, kid)
}

/// Stages a key: it is tried from `try_after` on. One that waited before gives way.
///
/// # Errors
/// The engine's refusal.
pub fn stage(conn: &mut Conn, at: &At, kid: &str, try_after: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    let waiting = ehr_key::table.filter(ehr_key::ehr.eq(&at.ehr)).filter(ehr_key::client.eq(&at.client));
    on_backend!(conn, c => diesel::delete(waiting.filter(ehr_key::state.eq_any(["next", "refused"]))).execute(c))?;
    put(conn, &EhrKey { try_after: try_after.micros(), ..row(at, kid, "next", now) })
}

/// Says that an EHR took a key: it is current there, and the one before it retires. Nothing changes where it was current already.
///
/// # Errors
/// The engine's refusal.
pub fn accepted(conn: &mut Conn, at: &At, kid: &str, now: Timestamp) -> Result<(), StoreError> {
    let rows = of(conn, at)?;
    if rows.iter().any(|r| r.kid == kid && r.state == "current") {
        return Ok(());
    }
    for old in rows.into_iter().filter(|r| r.state == "current") {
        put(conn, &EhrKey { state: "retiring".to_owned(), since: now.micros(), ..old })?;
    }
    put(conn, &row(at, kid, "current", now))?;
    in_force(conn, kid)
}

/// How a refusal is to be counted.
#[derive(Clone, Debug)]
pub struct Refused<'a> {
    /// What the EHR said.
    pub told: &'a str,
    /// When it is tried again.
    pub try_after: Timestamp,
    /// After so many refusals it is not tried again.
    pub at_most: i64,
}

/// Says that an EHR refused a key that another one of ours was taken in place of.
///
/// # Errors
/// The engine's refusal.
pub fn refused(conn: &mut Conn, at: &At, kid: &str, how: &Refused<'_>, now: Timestamp) -> Result<(), StoreError> {
    let Some(old) = of(conn, at)?.into_iter().find(|r| r.kid == kid) else { return Ok(()) };
    let refusals = old.refusals + 1;
    let state = if refusals >= how.at_most { "refused" } else { "next" };
    let told = Some(how.told.to_owned());
    put(conn, &EhrKey { state: state.to_owned(), since: now.micros(), try_after: how.try_after.micros(), refusals, told, ..old })
}

/// A key that an EHR uses is what the next EHR gets; of its algorithm no other is.
fn in_force(conn: &mut Conn, kid: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(signing_key::table.find(kid).filter(signing_key::state.eq_any(["next", "retiring"])))
        .set(signing_key::state.eq("current"))
        .execute(c))?;
    Ok(())
}

/// Brings the keys' own states up to date: one that no credential uses or waits for, and that a newer one of its algorithm has followed,
/// is retiring, and is retired once the last credential has had it in that state since before `settled`. Returns those that retired.
///
/// # Errors
/// The engine's refusal.
pub fn settle(conn: &mut Conn, settled: Timestamp) -> Result<Vec<String>, StoreError> {
    let (keys, rows) = (super::keys::list(conn)?, list(conn)?);
    let mut gone = Vec::new();
    for key in &keys {
        let used = rows.iter().any(|r| r.kid == key.kid && (r.state == "current" || r.state == "next"));
        let followed = keys.iter().any(|k| k.alg == key.alg && k.state == "current" && k.created_at > key.created_at);
        if used || !followed || !["current", "retiring"].contains(&key.state.as_str()) {
            continue;
        }
        let retiring = |r: &&EhrKey| r.kid == key.kid && r.state == "retiring";
        let had = rows.iter().filter(retiring).map(|r| r.since).max();
        let state = if had.is_some_and(|since| since < settled.micros()) { "retired" } else { "retiring" };
        super::keys::set_state(conn, &key.kid, state)?;
        if state == "retired" {
            on_backend!(conn, c => diesel::delete(ehr_key::table.filter(ehr_key::kid.eq(&key.kid))).execute(c))?;
            gone.push(key.kid.clone());
        }
    }
    Ok(gone)
}

/// Forgets the keys of an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(ehr_key::table.filter(ehr_key::ehr.eq(ehr))).execute(c))?;
    Ok(())
}

/// Forgets a key at every EHR.
///
/// # Errors
/// The engine's refusal.
pub fn drop_key(conn: &mut Conn, kid: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(ehr_key::table.filter(ehr_key::kid.eq(kid))).execute(c))?;
    Ok(())
}
