//! How the audit chain stands: it is walked along step by step, each step a short read of its own, so that however long the chain is no snapshot
//! is held open and no writer waits. A walk always begins at the first row, since one that began where the last one ended would not see what was
//! changed before; a walk of the night that is cut off goes on where it was. What came of the last one is kept, and a chain that is broken is a
//! condition that becomes an alert.

use domain::{Clock, Timestamp};
use serde::{Deserialize, Serialize};

use super::Store;
use super::alerts::{self, kind};
use super::audit::{Verified, Walk};
use super::connection::Conn;
use super::error::StoreError;
use super::installation::{self, Setting};
use super::leases::{self, Fence, Term};

/// How the chain stood when it was last walked along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// When, microseconds.
    pub at: i64,
    /// Up to which row it is whole.
    pub rows: i64,
    /// The hash of that row.
    pub last: String,
    /// What is wrong behind it, where anything is.
    pub broken: Option<String>,
    /// When all of it was last found whole; absent where it never was.
    #[serde(default)]
    pub whole_at: Option<i64>,
}

/// A walk that is under way.
#[derive(Serialize, Deserialize)]
struct Place {
    /// Since when, microseconds.
    began: i64,
    /// Up to which row it came.
    number: i64,
    /// The hash of that row.
    hash: Vec<u8>,
}

/// How a walk goes.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    /// Rows of one read.
    pub rows: i64,
    /// After so many reads its place is kept.
    pub kept_every: u32,
}

impl Default for Stride {
    fn default() -> Self {
        Self { rows: 5_000, kept_every: 50 }
    }
}

/// A walk that was cut off so long ago is begun anew: what it saw first is old by then.
const STALE: chrono::TimeDelta = chrono::TimeDelta::hours(12);

/// What the chain's alert is about.
const SUBJECT: &str = "audit chain";

/// How the chain stood, as the last walk told; `None` where there was none yet.
///
/// # Errors
/// The engine's refusal.
pub fn kept(conn: &mut Conn) -> Result<Option<Standing>, StoreError> {
    let text = installation::get(conn, Setting::AuditVerified)?;
    // What cannot be read any more is as if it had never been told: it is walked along anew.
    let kept: Option<Standing> = text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(kept.map(|s| Standing { whole_at: s.whole_at.or_else(|| s.broken.is_none().then_some(s.at)), ..s }))
}

/// Keeps what a walk told, and opens or closes the condition that the alert is made of.
fn keep(conn: &mut Conn, found: &Verified, now: Timestamp) -> Result<Standing, StoreError> {
    let before = kept(conn)?;
    let broken = found.broken.as_ref().map(ToString::to_string);
    let standing = Standing {
        at: now.micros(),
        rows: found.rows,
        last: found.last.clone(),
        whole_at: if broken.is_none() { Some(now.micros()) } else { before.and_then(|b| b.whole_at) },
        broken,
    };
    let text = serde_json::to_string(&standing).map_err(|_| StoreError::Damaged("what a walk along the audit chain told"))?;
    installation::set(conn, Setting::AuditVerified, &text)?;
    installation::unset(conn, Setting::AuditWalk)?;
    match &standing.broken {
        None => alerts::clear(conn, kind::AUDIT, SUBJECT)?,
        Some(broken) => {
            let says = format!("the audit chain is broken: {broken}");
            let remedy = "keep the database as it is and tell who is responsible for privacy; `fhir-engage audit verify` tells where";
            alerts::note(conn, (kind::AUDIT, SUBJECT), (&says, remedy), None, now)?;
        }
    }
    Ok(standing)
}

/// Walks along the whole chain now, and keeps what that tells.
///
/// # Errors
/// The engine's refusal.
pub async fn verify(store: &Store, clock: &dyn Clock) -> Result<Standing, StoreError> {
    let (mut walk, stride) = (Walk::begin(None), Stride::default());
    loop {
        let (next, ended) = step(store, walk, stride.rows).await?;
        walk = next;
        if let Some(found) = ended {
            let now = clock.now();
            return store.write("keep how the audit chain stands", move |conn| keep(conn, &found, now)).await;
        }
    }
}

/// The walk of the night, under a lease: as [`verify`], going on where one was cut off. `None` where it is stopped before its end.
///
/// # Errors
/// [`StoreError::LeaseLost`], or the engine's refusal.
pub async fn go_on(
    store: &Store,
    clock: &dyn Clock,
    (fence, term): (&Fence, Term),
    stride: Stride,
    is_stopped: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Option<Standing>, StoreError> {
    let now = clock.now();
    let place = store.read(move |conn| place(conn, now)).await?;
    let (began, mut walk) = place.map_or_else(|| (now.micros(), Walk::begin(None)), |p| (p.began, Walk::from(p.number, p.hash)));
    let mut steps = 0;
    loop {
        let (next, ended) = step(store, walk, stride.rows).await?;
        walk = next;
        steps += 1;
        let (now, fence) = (clock.now(), fence.clone());
        if let Some(found) = ended {
            let keep = move |conn: &mut Conn| {
                leases::extend(conn, &fence, now, term)?;
                keep(conn, &found, now)
            };
            return store.write("keep how the audit chain stands", keep).await.map(Some);
        }
        let stopped = is_stopped();
        if stopped || steps % stride.kept_every == 0 {
            let (number, hash) = walk.place();
            let text = serde_json::to_string(&Place { began, number, hash: hash.to_vec() });
            let text = text.map_err(|_| StoreError::Damaged("the place of a walk along the audit chain"))?;
            let keep = move |conn: &mut Conn| {
                leases::extend(conn, &fence, now, term)?;
                installation::set(conn, Setting::AuditWalk, &text)
            };
            store.write("keep the place in the audit chain", keep).await?;
        }
        if stopped {
            return Ok(None);
        }
    }
}

async fn step(store: &Store, mut walk: Walk, rows: i64) -> Result<(Walk, Option<Verified>), StoreError> {
    store
        .snapshot(move |conn| {
            let ended = walk.step(conn, rows)?;
            Ok((walk, ended))
        })
        .await
}

fn place(conn: &mut Conn, now: Timestamp) -> Result<Option<Place>, StoreError> {
    let place: Option<Place> = installation::get(conn, Setting::AuditWalk)?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(place.filter(|p| now.since(Timestamp::from_micros(p.began)) < STALE))
}
