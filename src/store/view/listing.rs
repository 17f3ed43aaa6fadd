//! Lists of what is too much for memory: filtered, ordered and cut by the engine, a page at a time, from wherever the page before ended.
//!
//! What a list is stands here as a constant; what is asked of it only ever names its columns, and values are bound. So an order or a filter
//! that no index carries cannot be asked for.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use serde_json::Value;

use crate::store::bulk::{self, Bound};
use crate::store::connection::Conn;
use crate::store::error::StoreError;

/// A column of a list.
#[derive(Clone, Copy, Debug)]
pub struct Col {
    /// As pages name it.
    pub key: &'static str,
    /// Its value.
    pub sql: &'static str,
}

/// A list.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// What stands behind FROM, up to and with WHERE and what always holds.
    pub from: &'static str,
    /// The columns.
    pub columns: &'static [Col],
    /// What the list can be narrowed by: equal to the value that is asked for.
    pub filters: &'static [Col],
    /// What it can be ordered by, a number that is always there; the first holds where nobody asks.
    pub orders: &'static [Col],
    /// What tells rows of the same order apart, a text: unique.
    pub tie: &'static str,
}

/// What is asked of a list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Values by the filter's key.
    pub filters: Vec<(String, String)>,
    /// By which order.
    pub by: Option<String>,
    /// The smallest first.
    pub up: bool,
    /// The last row of the page before: its order and what tells it apart.
    pub after: Option<(i64, String)>,
    /// At most so many rows.
    pub limit: usize,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Rows, a value for each column.
    pub rows: Vec<Vec<Value>>,
    /// Where the next page begins, where there is one.
    pub next: Option<(i64, String)>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Reads a page.
///
/// # Errors
/// The engine's refusal. What the list does not have is left out: pages refuse it before.
pub fn page(conn: &mut Conn, listing: &Listing, wanted: &Wanted) -> Result<Page, StoreError> {
    let by = wanted.by.as_deref().and_then(|by| listing.orders.iter().find(|o| o.key == by)).or_else(|| listing.orders.first());
    let by = by.map_or("0", |o| o.sql);
    let (way, beyond) = if wanted.up { ("", ">") } else { (" DESC", "<") };
    let (mut conditions, mut values) = (String::new(), Vec::new());
    for filter in listing.filters {
        if let Some((_, value)) = wanted.filters.iter().find(|(key, _)| key == filter.key) {
            conditions.push_str(&format!(" AND {} = ?", filter.sql));
            values.push(Bound::Text(value));
        }
    }
    if let Some((order, tie)) = &wanted.after {
        conditions.push_str(&format!(" AND ({by}, {}) {beyond} (?, ?)", listing.tie));
        values.extend([Bound::Int(*order), Bound::Text(tie)]);
    }
    let columns: Vec<&str> = listing.columns.iter().map(|c| c.sql).chain([by, listing.tie]).collect();
    let columns = columns.join(", ");
    let line = match conn {
        Conn::Sqlite(_) => format!("json_array({columns})"),
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => format!("json_build_array({columns})::text"),
    };
    let text = format!(
        "SELECT {line} AS line FROM {}{conditions} ORDER BY {by}{way}, {}{way} LIMIT {}",
        listing.from,
        listing.tie,
        wanted.limit.saturating_add(1)
    );
    let rows: Vec<Row> = bulk::select_bound(conn, &text, &values)?;
    let damaged = || StoreError::Damaged("a row of a list");
    let mut page = Page::default();
    let has_more = rows.len() > wanted.limit;
    for row in rows.into_iter().take(wanted.limit) {
        let mut cells: Vec<Value> = serde_json::from_str(&row.line).map_err(|_| damaged())?;
        let tie = cells.pop().and_then(|v| v.as_str().map(str::to_owned)).ok_or_else(damaged)?;
        let order = cells.pop().and_then(|v| v.as_i64()).ok_or_else(damaged)?;
        page.next = has_more.then_some((order, tie));
        page.rows.push(cells);
    }
    Ok(page)
}

/// Attempts by state, and by program where one is asked for.
pub const ATTEMPTS: Listing = Listing {
    from: "attempt a WHERE 1 = 1",
    columns: &[
        Col { key: "id", sql: "a.id" },
        Col { key: "program", sql: "a.program" },
        Col { key: "step", sql: "a.step" },
        Col { key: "channel", sql: "a.channel" },
        Col { key: "state", sql: "a.state" },
        Col { key: "outcome", sql: "a.outcome" },
        Col { key: "due", sql: "a.due_at" },
        Col { key: "sent", sql: "a.sent_at" },
        Col { key: "failure", sql: "a.failure" },
    ],
    filters: &[
        Col { key: "state", sql: "a.state" },
        Col { key: "program", sql: "a.program" },
        Col { key: "channel", sql: "a.channel" },
        Col { key: "outcome", sql: "a.outcome" },
    ],
    orders: &[Col { key: "due", sql: "a.due_at" }],
    tie: "a.id",
};

/// Write-backs by state.
pub const WRITE_BACKS: Listing = Listing {
    from: "writeback w WHERE 1 = 1",
    columns: &[
        Col { key: "id", sql: "w.id" },
        Col { key: "ehr", sql: "w.ehr" },
        Col { key: "kind", sql: "w.kind" },
        Col { key: "state", sql: "w.state" },
        Col { key: "carrier", sql: "w.carrier" },
        Col { key: "tries", sql: "w.tries" },
        Col { key: "owed", sql: "w.owed_at" },
        Col { key: "settled", sql: "w.settled_at" },
        Col { key: "remote", sql: "w.remote_id" },
        Col { key: "failure", sql: "w.failure" },
        Col { key: "next", sql: "w.next_at" },
    ],
    filters: &[Col { key: "state", sql: "w.state" }, Col { key: "ehr", sql: "w.ehr" }],
    orders: &[Col { key: "owed", sql: "w.owed_at" }],
    tie: "w.id",
};

/// Sync runs of EHRs.
pub const RUNS: Listing = Listing {
    from: "sync_run r WHERE 1 = 1",
    columns: &[
        Col { key: "began", sql: "r.started_at" },
        Col { key: "ehr", sql: "r.ehr" },
        Col { key: "type", sql: "r.rtype" },
        Col { key: "strategy", sql: "r.strategy" },
        Col { key: "state", sql: "r.state" },
        Col { key: "ended", sql: "r.ended_at" },
        Col { key: "found", sql: "r.found" },
        Col { key: "stored", sql: "r.stored" },
        Col { key: "quarantined", sql: "r.quarantined" },
        Col { key: "failure", sql: "r.failure" },
    ],
    filters: &[Col { key: "ehr", sql: "r.ehr" }, Col { key: "type", sql: "r.rtype" }, Col { key: "state", sql: "r.state" }],
    orders: &[Col { key: "began", sql: "r.id" }],
    tie: "r.ehr",
};

/// What waits in quarantine. The id that a resource has at the EHR is not told: it may be anything.
pub const QUARANTINE: Listing = Listing {
    from: "quarantine q WHERE q.released_at IS NULL",
    columns: &[
        Col { key: "n", sql: "q.id" },
        Col { key: "ehr", sql: "q.ehr" },
        Col { key: "type", sql: "q.rtype" },
        Col { key: "code", sql: "q.code" },
        Col { key: "reason", sql: "q.reason" },
        Col { key: "times", sql: "q.times_seen" },
        Col { key: "first", sql: "q.first_seen_at" },
        Col { key: "last", sql: "q.last_seen_at" },
    ],
    filters: &[Col { key: "ehr", sql: "q.ehr" }, Col { key: "code", sql: "q.code" }],
    orders: &[Col { key: "n", sql: "q.id" }],
    tie: "q.ehr",
};

/// The audit chain.
pub const AUDIT: Listing = Listing {
    from: "audit a WHERE 1 = 1",
    columns: &[
        Col { key: "n", sql: "a.number" },
        Col { key: "at", sql: "a.at" },
        Col { key: "who", sql: "a.who" },
        Col { key: "roles", sql: "a.roles" },
        Col { key: "what", sql: "a.what" },
        Col { key: "ehr", sql: "a.ehr" },
        Col { key: "patient", sql: "a.patient" },
        Col { key: "about", sql: "a.about" },
        Col { key: "why", sql: "a.why" },
    ],
    filters: &[Col { key: "who", sql: "a.who" }, Col { key: "what", sql: "a.what" }, Col { key: "ehr", sql: "a.ehr" }],
    orders: &[Col { key: "n", sql: "a.number" }],
    tie: "a.what",
};

/// Alerts, those that are over too.
pub const ALERTS: Listing = Listing {
    from: "alert l WHERE 1 = 1",
    columns: &[
        Col { key: "n", sql: "l.id" },
        Col { key: "kind", sql: "l.kind" },
        Col { key: "subject", sql: "l.subject" },
        Col { key: "says", sql: "l.says" },
        Col { key: "remedy", sql: "l.remedy" },
        Col { key: "opened", sql: "l.opened_at" },
        Col { key: "closed", sql: "l.closed_at" },
        Col { key: "by", sql: "l.acknowledged_by" },
    ],
    filters: &[Col { key: "kind", sql: "l.kind" }, Col { key: "state", sql: "CASE WHEN l.closed_at IS NULL THEN 'open' ELSE 'over' END" }],
    orders: &[Col { key: "n", sql: "l.id" }],
    tie: "l.kind",
};
