//! What people do with attempts: make one themselves, stop one.

use diesel::prelude::*;
use domain::Timestamp;

use super::{Verdict, WAITING, keep_verdict};
use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::schema::attempt;

/// Marks a planned attempt as one that a person made, outside of any channel of ours: a call, a meeting. It is to be ended in the same
/// transaction. `false` where it is not planned any more.
///
/// # Errors
/// The engine's refusal.
pub fn made_by_person(conn: &mut Conn, id: &str, channel: &str, message: Option<&[u8]>, at: Timestamp) -> Result<bool, StoreError> {
    let hit = on_backend!(conn, c => diesel::update(attempt::table.find(id).filter(attempt::state.eq("planned")))
        .set((
            attempt::state.eq("sent"),
            attempt::channel.eq(channel),
            attempt::message.eq(message),
            attempt::sent_at.eq(at.micros()),
        ))
        .execute(c))?;
    Ok(hit == 1)
}

/// Gives up one attempt by a person's word, which is kept with it. `false` where it does not wait any more.
///
/// # Errors
/// The engine's refusal.
pub fn stop(conn: &mut Conn, id: &str, why: &str, v: &Verdict<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let rows = attempt::table.find(id).filter(attempt::state.eq_any(WAITING));
    let hit = on_backend!(conn, c => diesel::update(rows)
        .set((attempt::state.eq("void"), attempt::failure.eq(why), attempt::finished_at.eq(now.micros())))
        .execute(c))?;
    if hit == 1 {
        keep_verdict(conn, id, v, now)?;
    }
    Ok(hit == 1)
}
