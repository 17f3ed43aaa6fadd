//! What the rows say, read in one snapshot.

use chrono::TimeDelta;
use domain::Timestamp;

use super::judge::{Ending, Expected, Facts};
use crate::store::{Conn, StoreError, alerts, coverage, drops, quarantine, statements, turns, writebacks};

/// What counts as lately.
const LATELY: TimeDelta = TimeDelta::hours(24);

/// What no row tells and `app` knows.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// When each type should have been read.
    pub expected: Vec<Expected>,
    /// EHRs whose profile cannot be read.
    pub unreadable: Vec<String>,
    /// What ends by itself, where somebody should act now.
    pub endings: Vec<Ending>,
}

/// Reads what is judged.
pub(super) fn read(conn: &mut Conn, known: &Known, now: Timestamp) -> Result<Facts, StoreError> {
    let Known { expected, unreadable, endings } = known;
    let since = now.plus(-LATELY);
    // The turn of an EHR that was removed is gone with it; that of a type that is not synced any more stays, and is nobody's task.
    let is_read = |ehr: &str, rtype: &str| expected.iter().any(|e| e.ehr == ehr && e.rtype == rtype);
    Ok(Facts {
        turns: turns::list(conn)?.into_iter().filter(|t| is_read(&t.ehr, &t.rtype)).collect(),
        expected: expected.clone(),
        unreadable: unreadable.clone(),
        endings: endings.clone(),
        statements: statements::list(conn)?,
        drops: drops::statuses(conn, None)?,
        quarantined: quarantine::waiting_since(conn, since)?,
        holes: coverage::opened_since(conn, since)?,
        causes: writebacks::causes(conn, None)?,
        conditions: alerts::conditions(conn, now)?,
    })
}
