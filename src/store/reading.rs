//! Which EHRs are known by half now: one is being read, or its last reading was cut off. Who has a record there is judged neither by rules
//! nor for a message before it was read to its end: a missed visit would be found, and not the new booking three pages on.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::Text;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::lease;

/// The leases of whoever reads an EHR begin so, and go on with its name.
pub const PREFIX: &str = "sync/";

/// A reading that was cut off counts for so long. What was not made up for by then is judged as it is: an EHR that keeps failing must not
/// keep its patients from everything.
const CUT_OFF_COUNTS: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// The EHRs that are known by half, by name. Together with what is decided by it, this has to be read in one
/// [`Store::snapshot`](super::Store::snapshot).
///
/// # Errors
/// The engine's refusal.
pub fn half_read(conn: &mut Conn, now: Timestamp) -> Result<BTreeSet<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        ehr: String,
    }
    let since = now.plus(-CUT_OFF_COUNTS).micros();
    // A lease that was given back ended at zero; one that ran out was that of a process which died in the middle.
    let names: Vec<String> = on_backend!(conn, c => lease::table
        .filter(lease::name.like(format!("{PREFIX}%")))
        .filter(lease::expires_at.gt(since))
        .select(lease::name)
        .load(c))?;
    let mut half: BTreeSet<String> = names.iter().filter_map(|n| n.strip_prefix(PREFIX)?.split('/').next()).map(str::to_owned).collect();
    // From the first run that stored something and did not end well, and that no good run has followed.
    // Asked type by type, so that the index gives the few runs since the last good one and no more.
    let text = format!(
        "SELECT s.ehr AS ehr FROM sync_state s WHERE (SELECT MIN(r.started_at) FROM sync_run r
             WHERE r.ehr = s.ehr AND r.rtype = s.rtype AND r.state <> 'done' AND r.stored > 0
             AND r.id > COALESCE((SELECT d.id FROM sync_run d WHERE d.ehr = s.ehr AND d.rtype = s.rtype AND d.state = 'done'
                 ORDER BY d.id DESC LIMIT 1), 0)) > {since}"
    );
    let rows: Vec<Row> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    half.extend(rows.into_iter().map(|r| r.ehr));
    Ok(half)
}

/// Leaves out of a boxed query whose person, the column named second, has a record at one of the EHRs named third.
macro_rules! leave_out {
    ($query:expr, $person:expr, $half:expr) => {
        if $half.is_empty() {
            $query
        } else {
            use $crate::store::schema::patient;
            let there = patient::table.filter(patient::person.eq($person)).filter(patient::ehr.eq_any($half.iter()));
            $query.filter(diesel::dsl::not(diesel::dsl::exists(there)))
        }
    };
}
pub(super) use leave_out;
