//! What EHRs tell by themselves of each type, and what is still missing of it: for `sync status`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::connection::Conn;
use super::super::error::StoreError;
use super::super::{coverage, refresh, subscriptions};

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// The topic; absent where it is a search.
    pub topic: Option<String>,
    /// `asked`, `active`, `error`, `ending`.
    pub state: String,
    /// How many events it told of.
    pub events: i64,
    /// When the last of them came, microseconds.
    pub last_event_at: Option<i64>,
    /// When anything came by it, a sign of life too.
    pub last_heard_at: Option<i64>,
    /// Events that did not come, by their numbers.
    pub missing: Option<(i64, i64)>,
    /// Whether their numbers may have begun anew.
    pub in_doubt: bool,
    /// When the type is read anew because of what could not be followed.
    pub reread_due: Option<i64>,
    /// Why it does not work.
    pub failure: Option<String>,
}

/// What is told of one (EHR, type), and what is missing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Telling {
    /// By which subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Single resources that were asked for and not read yet.
    pub reads_owed: i64,
    /// Resources that are no longer shown, and wait for a second read to say so.
    pub missing: i64,
}

/// All, by EHR and type.
///
/// # Errors
/// The engine's refusal.
pub fn read(conn: &mut Conn) -> Result<BTreeMap<(String, String), Telling>, StoreError> {
    let mut all: BTreeMap<(String, String), Telling> = BTreeMap::new();
    for row in subscriptions::list(conn)? {
        all.entry((row.ehr, row.rtype)).or_default().subscriptions.push(Subscription {
            topic: Some(row.topic).filter(|topic| !topic.is_empty()),
            state: row.state,
            events: row.events,
            last_event_at: row.event_at,
            last_heard_at: row.heard_at,
            missing: row.missing_from.zip(row.missing_to),
            in_doubt: row.in_doubt,
            reread_due: row.reread_due,
            failure: row.failure,
        });
    }
    for (ehr, rtype, n) in refresh::counts(conn)? {
        all.entry((ehr, rtype)).or_default().reads_owed = n;
    }
    for (ehr, rtype, n) in coverage::missing_counts(conn)? {
        all.entry((ehr, rtype)).or_default().missing = n;
    }
    Ok(all)
}
