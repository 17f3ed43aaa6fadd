//! What the rows say, read in one snapshot.

use chrono::TimeDelta;
use domain::Timestamp;

use super::judge::{Expected, Facts};
use crate::store::{Conn, StoreError, alerts, coverage, quarantine, turns, writebacks};

/// What counts as lately.
const LATELY: TimeDelta = TimeDelta::hours(24);

/// Reads what is judged. What should have been read when, and which EHRs cannot be, `app` knows.
pub(super) fn read(conn: &mut Conn, expected: &[Expected], unreadable: &[String], now: Timestamp) -> Result<Facts, StoreError> {
    let since = now.plus(-LATELY);
    // The turn of an EHR that was removed is gone with it; that of a type that is not synced any more stays, and is nobody's task.
    let is_read = |ehr: &str, rtype: &str| expected.iter().any(|e| e.ehr == ehr && e.rtype == rtype);
    Ok(Facts {
        turns: turns::list(conn)?.into_iter().filter(|t| is_read(&t.ehr, &t.rtype)).collect(),
        expected: expected.to_vec(),
        unreadable: unreadable.to_vec(),
        quarantined: quarantine::waiting_since(conn, since)?,
        holes: coverage::opened_since(conn, since)?,
        causes: writebacks::causes(conn, None)?,
        conditions: alerts::conditions(conn, now)?,
    })
}
