//! Programs in force, with their versions. The text is opaque here: `outreach::program` reads it.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::program;

/// A program in force.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct ProgramRow {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: i64,
    /// Its text.
    pub source: String,
    /// Hash of the text.
    pub hash: String,
    /// Whether this version is the one in force.
    pub current: bool,
    /// When it was put in force.
    pub changed_at: i64,
}

/// Puts programs in force; a text that differs makes a new version, and one that is not named any more ends. Returns those in force and
/// whether any changed.
///
/// # Errors
/// The engine's refusal.
pub fn define(conn: &mut Conn, texts: &[(&str, &str, &str)], now: Timestamp) -> Result<(Vec<ProgramRow>, bool), StoreError> {
    conn.write_alone("program")?;
    let mut changed = false;
    let all: Vec<ProgramRow> = on_backend!(conn, c => program::table.order((program::id, program::version)).load(c))?;
    for (id, source, hash) in texts {
        let current = all.iter().find(|p| p.id == *id && p.current);
        if current.is_some_and(|p| p.hash == *hash) {
            continue;
        }
        changed = true;
        let version = all.iter().filter(|p| p.id == *id).map(|p| p.version).max().unwrap_or(0) + 1;
        on_backend!(conn, c => diesel::update(program::table.filter(program::id.eq(id))).set(program::current.eq(false)).execute(c))?;
        let row = (
            program::id.eq(id),
            program::version.eq(version),
            program::source.eq(source),
            program::hash.eq(hash),
            program::current.eq(true),
            program::changed_at.eq(now.micros()),
        );
        on_backend!(conn, c => diesel::insert_into(program::table).values(row).execute(c))?;
    }
    for gone in all.iter().filter(|p| p.current && !texts.iter().any(|t| t.0 == p.id)) {
        changed = true;
        on_backend!(conn, c => diesel::update(program::table.find((&gone.id, gone.version))).set(program::current.eq(false)).execute(c))?;
    }
    Ok((current(conn)?, changed))
}

/// The programs in force, by id.
///
/// # Errors
/// The engine's refusal.
pub fn current(conn: &mut Conn) -> Result<Vec<ProgramRow>, StoreError> {
    Ok(on_backend!(conn, c => program::table.filter(program::current.eq(true)).order(program::id).load(c))?)
}
