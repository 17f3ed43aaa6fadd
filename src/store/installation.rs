//! Facts about this installation as a whole: whether it may reach people, and which body of data it is.

use diesel::prelude::*;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::installation;

/// A named setting of the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `true` where outreach may leave the building. Absent means not.
    Live,
    /// The clock offset of a demo, in microseconds.
    ClockOffset,
    /// The identifier systems by which records are one person, as a JSON list.
    CommonIdentifiers,
    /// Up to which record those were looked at that had been read before the list was changed; empty where all were.
    IdentifiedUpTo,
    /// Up to which record labels were made for those that had been read before there were labels; absent where all have one.
    LabelledUpTo,
    /// Present where somebody of the staff has signed in by a link.
    SignedIn,
    /// What the last walk along the audit chain told, as JSON.
    AuditVerified,
    /// How far the walk of this night along the audit chain came, as JSON.
    AuditWalk,
    /// Present where outreach goes on and what was held meanwhile is being woken: how far that came, as JSON.
    Waking,
}

impl Setting {
    const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::ClockOffset => "clock-offset",
            Self::CommonIdentifiers => "common-identifiers",
            Self::IdentifiedUpTo => "identified-up-to",
            Self::LabelledUpTo => "labelled-up-to",
            Self::SignedIn => "signed-in",
            Self::AuditVerified => "audit-verified",
            Self::AuditWalk => "audit-walk",
            Self::Waking => "waking",
        }
    }
}

/// Reads a setting.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, setting: Setting) -> Result<Option<String>, StoreError> {
    Ok(on_backend!(conn, c => installation::table.find(setting.name()).select(installation::value).first(c).optional())?)
}

/// As [`get`], until the end of the transaction: whoever else writes it waits for that.
///
/// # Errors
/// The engine's refusal.
pub fn hold(conn: &mut Conn, setting: Setting) -> Result<Option<String>, StoreError> {
    let row = installation::table.find(setting.name()).select(installation::value);
    Ok(match conn {
        // Whoever writes is alone.
        Conn::Sqlite(c) => row.first(c).optional()?,
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => row.for_update().first(c).optional()?,
    })
}

/// Takes a setting away.
///
/// # Errors
/// The engine's refusal.
pub fn unset(conn: &mut Conn, setting: Setting) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(installation::table.find(setting.name())).execute(c))?;
    Ok(())
}

/// Writes a setting.
///
/// # Errors
/// The engine's refusal.
pub fn set(conn: &mut Conn, setting: Setting, value: &str) -> Result<(), StoreError> {
    let row = (installation::name.eq(setting.name()), installation::value.eq(value));
    on_backend!(conn, c => diesel::insert_into(installation::table)
        .values(row)
        .on_conflict(installation::name)
        .do_update()
        .set(installation::value.eq(value))
        .execute(c))?;
    Ok(())
}
