//! Who is signed in. A row is found by the hash of what the browser's cookie says, so the table signs nobody in.
//!
//! A session ends with its openings. A new one of the same user takes the openings of the old one with it: a second launch must not break
//! the page that the first one opened.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{opening, session};

/// A session.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = session)]
pub struct SessionRow {
    /// The hash of the cookie's value.
    pub id: String,
    /// Who says who the user is: an OIDC issuer, or `fhir-engage` for a link.
    pub issuer: String,
    /// The user, as the issuer names them for good (OIDC `sub`).
    pub subject: String,
    /// A name for people.
    pub name: Option<String>,
    /// The user as a resource of the EHR, where the sign-in was a launch.
    pub fhir_user: Option<String>,
    /// The EHR, where the sign-in was a launch.
    pub ehr: Option<String>,
    /// What the user does here.
    pub roles: String,
    /// `link`, `oidc`, `launch`.
    pub way: String,
    /// What forms of this session carry.
    pub csrf: String,
    /// When it began.
    pub begun_at: i64,
    /// When it was last used, to about a minute.
    pub seen_at: i64,
    /// When it ends, whatever is done with it.
    pub expires_at: i64,
    /// What its last act has to say on its next page.
    pub note: Option<String>,
}

/// One session, also one that has run out.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, id: &str) -> Result<Option<SessionRow>, StoreError> {
    Ok(on_backend!(conn, c => session::table.find(id).select(SessionRow::as_select()).first(c).optional())?)
}

/// Begins a session in place of the one that the browser had. The same user keeps openings and forms; another one's end. Returns the
/// openings that ended and had a grant, as (EHR, handle).
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, new: &SessionRow, old: Option<&str>) -> Result<Vec<(String, String)>, StoreError> {
    let before = old.map(|id| get(conn, id)).transpose()?.flatten();
    let mut row = new.clone();
    let same = before.as_ref().filter(|b| b.issuer == new.issuer && b.subject == new.subject && b.ehr == new.ehr);
    if let Some(before) = same {
        row.csrf.clone_from(&before.csrf);
    }
    on_backend!(conn, c => diesel::insert_into(session::table).values(&row).execute(c))?;
    let Some(before) = &before else { return Ok(Vec::new()) };
    if same.is_some() {
        on_backend!(conn, c => diesel::update(opening::table.filter(opening::session.eq(&before.id)))
            .set(opening::session.eq(&row.id))
            .execute(c))?;
    }
    end(conn, &before.id)
}

/// Notes that it was used.
///
/// # Errors
/// The engine's refusal.
pub fn seen(conn: &mut Conn, id: &str, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(session::table.find(id)).set(session::seen_at.eq(now.micros())).execute(c))?;
    Ok(())
}

/// Ends a session with its openings; returns those that had a grant, as (EHR, handle).
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, id: &str) -> Result<Vec<(String, String)>, StoreError> {
    let granted = on_backend!(conn, c => opening::table
        .filter(opening::session.eq(id))
        .filter(opening::granted.eq(true))
        .select((opening::ehr, opening::handle))
        .load(c))?;
    on_backend!(conn, c => diesel::delete(opening::table.filter(opening::session.eq(id))).execute(c))?;
    on_backend!(conn, c => diesel::delete(session::table.find(id)).execute(c))?;
    Ok(granted)
}

/// Keeps what an act has to say; what was kept before is replaced.
///
/// # Errors
/// The engine's refusal.
pub fn leave_note(conn: &mut Conn, id: &str, note: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(session::table.find(id)).set(session::note.eq(note)).execute(c))?;
    Ok(())
}

/// Takes this note away.
///
/// # Errors
/// The engine's refusal.
pub fn clear_note(conn: &mut Conn, id: &str, note: &str) -> Result<(), StoreError> {
    let row = session::table.find(id).filter(session::note.eq(note));
    on_backend!(conn, c => diesel::update(row).set(session::note.eq(None::<String>)).execute(c))?;
    Ok(())
}

/// Whether a session has run out.
///
/// # Errors
/// The engine's refusal.
pub fn has_run_out(conn: &mut Conn, id: &str, now: Timestamp, idle_since: Timestamp) -> Result<bool, StoreError> {
    let over = session::expires_at.le(now.micros()).or(session::seen_at.le(idle_since.micros()));
    let found: Option<String> = on_backend!(conn, c => session::table.find(id).filter(over).select(session::id).first(c).optional())?;
    Ok(found.is_some())
}

/// Sessions that have run out: past their end, or not used since `idle_since`.
///
/// # Errors
/// The engine's refusal.
pub fn run_out(conn: &mut Conn, now: Timestamp, idle_since: Timestamp) -> Result<Vec<String>, StoreError> {
    let over = session::expires_at.le(now.micros()).or(session::seen_at.le(idle_since.micros()));
    Ok(on_backend!(conn, c => session::table.filter(over).select(session::id).limit(1000).load(c))?)
}
