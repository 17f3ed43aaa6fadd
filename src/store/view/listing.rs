//! Lists of what is too much for memory: filtered, ordered and cut by the engine, a page at a time, from wherever the page before ended.
//!
//! What a list is stands here as a constant; what is asked of it only ever names its columns, and values are bound. So an order or a filter
//! that no index carries cannot be asked for.
//!
//! An order by a column with few values, such as a state, needs no index of its own: the list is cut into [`Arm`]s, one for each value, each of
//! which an index holds in order; they follow each other, or are merged where the order is another one.

use std::collections::BTreeMap;

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
    /// What tells rows of the same order apart, a text: unique, where the list has arms by itself.
    pub tie: &'static str,
}

/// A part of a list that an index holds in order: a value for each of some of the list's filters, `None` where there is none.
pub type Arm = Vec<(&'static str, Option<String>)>;

/// Where a page ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The value of the arms, where the list is ordered by it.
    pub group: Option<String>,
    /// The order of its last row.
    pub order: i64,
    /// What tells that row apart.
    pub tie: String,
}

/// What is asked of a list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Values by the filter's key.
    pub filters: Vec<(String, String)>,
    /// By which order, or by which value of the arms: then by the first order, the greatest first.
    pub by: Option<String>,
    /// The smallest first.
    pub up: bool,
    /// The parts that the list is read in; none for a list that one index holds.
    pub arms: Vec<Arm>,
    /// The last row of the page before.
    pub after: Option<Place>,
    /// At most so many rows.
    pub limit: usize,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Rows, a value for each column.
    pub rows: Vec<Vec<Value>>,
    /// Where the next page begins, where there is one.
    pub next: Option<Place>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Arms of one statement: SQLite takes 500 at most.
const TOGETHER: usize = 100;

/// A row that was read: its values, its order, and what tells it apart.
type Read = (Vec<Value>, i64, String);

/// Reads a page.
///
/// # Errors
/// The engine's refusal. What the list does not have is left out: pages refuse it before.
pub fn page(conn: &mut Conn, listing: &Listing, wanted: &Wanted) -> Result<Page, StoreError> {
    let asked = wanted.by.as_deref();
    let order = asked.and_then(|by| listing.orders.iter().find(|o| o.key == by));
    let is_grouped = order.is_none() && asked.is_some_and(|by| wanted.arms.iter().flatten().any(|(key, _)| *key == by));
    let by = order.or_else(|| listing.orders.first()).map_or("0", |o| o.sql);
    let mut groups: BTreeMap<Option<&str>, Vec<&Arm>> = BTreeMap::new();
    for arm in &wanted.arms {
        let value = arm.iter().find(|(key, _)| is_grouped && Some(*key) == asked).and_then(|(_, value)| value.as_deref());
        groups.entry(value).or_default().push(arm);
    }
    if groups.is_empty() {
        groups.insert(None, Vec::new());
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    if !wanted.up {
        groups.reverse();
    }
    let enough = wanted.limit.saturating_add(1);
    let (mut found, mut after): (Vec<(Option<&str>, Read)>, _) = (Vec::new(), wanted.after.as_ref());
    if let Some(place) = after.filter(|_| is_grouped) {
        let begins = groups.iter().position(|(value, _)| *value == place.group.as_deref()).unwrap_or(groups.len());
        groups.drain(..begins);
    }
    for (value, arms) in groups {
        let part = Part { by, up: wanted.up && !is_grouped, after: after.take(), limit: enough - found.len() };
        found.extend(part.read(conn, listing, &wanted.filters, &arms)?.into_iter().map(|row| (value, row)));
        if found.len() >= enough {
            break;
        }
    }
    let has_more = found.len() > wanted.limit;
    let mut page = Page::default();
    for (group, (cells, order, tie)) in found.into_iter().take(wanted.limit) {
        page.next = has_more.then(|| Place { group: group.map(str::to_owned), order, tie });
        page.rows.push(cells);
    }
    Ok(page)
}

/// Rows that are in order together.
struct Part<'a> {
    by: &'static str,
    up: bool,
    after: Option<&'a Place>,
    limit: usize,
}

impl Part<'_> {
    fn read(&self, conn: &mut Conn, listing: &Listing, filters: &[(String, String)], arms: &[&Arm]) -> Result<Vec<Read>, StoreError> {
        let none = Arm::new();
        let all: Vec<&Arm> = if arms.is_empty() { vec![&none] } else { arms.to_vec() };
        let mut found = Vec::new();
        for arms in all.chunks(TOGETHER) {
            found.extend(self.read_arms(conn, listing, filters, arms)?);
        }
        if all.len() > TOGETHER {
            found.sort_by(|(_, a, x), (_, b, y)| (a, x).cmp(&(b, y)));
            if !self.up {
                found.reverse();
            }
            found.truncate(self.limit);
        }
        Ok(found)
    }

    fn read_arms(&self, conn: &mut Conn, listing: &Listing, filters: &[(String, String)], arms: &[&Arm]) -> Result<Vec<Read>, StoreError> {
        let (by, tie) = (self.by, listing.tie);
        let (way, beyond) = if self.up { ("", ">") } else { (" DESC", "<") };
        let (mut parts, mut values): (Vec<String>, Vec<Bound<'_>>) = (Vec::new(), Vec::new());
        for arm in arms {
            let mut conditions = String::new();
            for filter in listing.filters {
                let wanted = filters.iter().find(|(key, _)| key == filter.key).map(|(_, value)| Some(value));
                match arm.iter().find(|(key, _)| *key == filter.key).map(|(_, value)| value.as_ref()).or(wanted) {
                    None => {}
                    Some(None) => conditions.push_str(&format!(" AND {} IS NULL", filter.sql)),
                    Some(Some(value)) => {
                        conditions.push_str(&format!(" AND {} = ?", filter.sql));
                        values.push(Bound::Text(value));
                    }
                }
            }
            if let Some(place) = self.after {
                conditions.push_str(&format!(" AND ({by}, {tie}) {beyond} (?, ?)"));
                values.extend([Bound::Int(place.order), Bound::Text(&place.tie)]);
            }
            parts.push(conditions);
        }
        let columns: Vec<&str> = listing.columns.iter().map(|c| c.sql).chain([by, tie]).collect();
        let columns = columns.join(", ");
        let line = match conn {
            Conn::Sqlite(_) => format!("json_array({columns})"),
            #[cfg(feature = "postgres")]
            Conn::Postgres(_) => format!("json_build_array({columns})::text"),
        };
        let (from, limit) = (listing.from, self.limit);
        let text = match parts.as_slice() {
            [one] => format!("SELECT {line} AS line FROM {from}{one} ORDER BY {by}{way}, {tie}{way} LIMIT {limit}"),
            several => {
                // First the places alone, which an index has, and then the rows of those that are shown.
                let arm = |(n, conditions): (usize, &String)| {
                    format!(
                        "SELECT o, t FROM (SELECT {by} AS o, {tie} AS t FROM {from}{conditions} ORDER BY {by}{way}, {tie}{way} LIMIT {limit}) p{n}"
                    )
                };
                let arms: Vec<String> = several.iter().enumerate().map(arm).collect();
                format!(
                    "SELECT {line} AS line FROM (SELECT o, t FROM ({}) u ORDER BY o{way}, t{way} LIMIT {limit}) k, {from} AND {tie} = k.t ORDER BY k.o{way}, k.t{way}",
                    arms.join(" UNION ALL ")
                )
            }
        };
        let rows: Vec<Row> = bulk::select_bound(conn, &text, &values)?;
        rows.into_iter().map(|row| read_row(&row.line).ok_or(StoreError::Damaged("a row of a list"))).collect()
    }
}

fn read_row(line: &str) -> Option<Read> {
    let mut cells: Vec<Value> = serde_json::from_str(line).ok()?;
    let tie = cells.pop()?.as_str()?.to_owned();
    let order = cells.pop()?.as_i64()?;
    Some((cells, order, tie))
}

/// Attempts. Its arms are by state, and by program, channel and outcome where these are asked for: `attempt_by_program` holds all of them.
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

/// Write-backs. Its arms are by state, and by EHR where that is asked for.
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
    filters: &[
        Col { key: "who", sql: "a.who" },
        Col { key: "what", sql: "a.what" },
        Col { key: "ehr", sql: "a.ehr" },
        Col { key: "patient", sql: "a.patient" },
    ],
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
