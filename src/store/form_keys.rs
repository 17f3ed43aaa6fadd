//! The keys of forms that were acted on. A form carries a key of its own; the act claims it in its transaction, so that a double click, a
//! form that a browser sends again, and two nodes that get it at once act once.

use chrono::TimeDelta;
use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::form_key;

/// How long a key is remembered: longer than any session lasts.
const REMEMBERED: TimeDelta = TimeDelta::days(3);

/// Claims a key, as the first thing in the transaction of its act. `false` where it was claimed before: then nothing is to be done. Who claims
/// it at the same time waits for the end of this transaction.
///
/// # Errors
/// The engine's refusal.
pub fn claim(conn: &mut Conn, key: &str, now: Timestamp) -> Result<bool, StoreError> {
    let old = form_key::table.filter(form_key::at.lt(now.plus(-REMEMBERED).micros()));
    on_backend!(conn, c => diesel::delete(old).execute(c))?;
    let row = (form_key::key.eq(key), form_key::at.eq(now.micros()));
    Ok(on_backend!(conn, c => diesel::insert_into(form_key::table).values(row).on_conflict_do_nothing().execute(c))? == 1)
}

/// Gives a key back, in the transaction that claimed it, where nothing was done.
///
/// # Errors
/// The engine's refusal.
pub fn give_back(conn: &mut Conn, key: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(form_key::table.find(key)).execute(c))?;
    Ok(())
}
