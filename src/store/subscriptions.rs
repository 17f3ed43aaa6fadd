//! What EHRs were asked to tell of: one row for each (EHR, type, topic), from before the EHR is asked until it was told to stop. A row is
//! there before the request leaves, so that the first thing that comes back finds it, and a crash forgets none at the EHR.

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::subscription;
use super::text::storable;
use super::{alerts, turns};

/// A subscription.
#[derive(Clone, PartialEq, Eq, Queryable)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// The EHR.
    pub ehr: String,
    /// The type that it tells of.
    pub rtype: String,
    /// The topic's canonical URL; empty where it is a search.
    pub topic: String,
    /// `rest-hook`, `topic` or `signed`.
    pub manner: String,
    /// All that it was asked for: another one is another subscription.
    pub request: String,
    /// `asked`, `active`, `error`, `ending`.
    pub state: String,
    /// The hash of the token in its address.
    pub token_hash: String,
    /// Token and secret, sealed.
    pub sealed: Vec<u8>,
    /// Its id at the EHR.
    pub remote_id: Option<String>,
    /// When it was asked for.
    pub asked_at: i64,
    /// When the EHR ends it by itself.
    pub ends_at: Option<i64>,
    /// How often the EHR gives a sign of life, in seconds.
    pub heartbeat_secs: Option<i64>,
    /// When anything came by it.
    pub heard_at: Option<i64>,
    /// When it told of something.
    pub event_at: Option<i64>,
    /// How many it told of.
    pub events: i64,
    /// The highest number of an event.
    pub last_number: Option<i64>,
    /// Numbers that did not come: from.
    pub missing_from: Option<i64>,
    /// And to.
    pub missing_to: Option<i64>,
    /// Whether the numbers may have begun anew.
    pub in_doubt: bool,
    /// When it is looked after next.
    pub look_at: i64,
    /// When its type was last asked to be read anew because of it.
    pub reread_at: Option<i64>,
    /// When that is due again.
    pub reread_due: Option<i64>,
    /// How often in a row it failed.
    pub failures: i64,
    /// Why, in words.
    pub failure: Option<String>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, ehr, rtype, state, .. } = self;
        f.debug_struct("Row").field("id", id).field("ehr", ehr).field("rtype", rtype).field("state", state).finish_non_exhaustive()
    }
}

impl Row {
    /// Its name in alerts.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("{}/{} events", self.ehr, self.rtype)
    }
}

/// What is known before the EHR is asked.
#[derive(Clone)]
pub struct New {
    /// The type.
    pub kind: ResourceType,
    /// The topic; empty where it is a search.
    pub topic: String,
    /// How it is told.
    pub manner: &'static str,
    /// All that is asked for.
    pub request: String,
    /// The hash of the token in its address.
    pub token_hash: String,
    /// Token and secret, sealed.
    pub sealed: Vec<u8>,
    /// When it ends by itself.
    pub ends_at: Option<Timestamp>,
    /// How often a sign of life is asked for.
    pub heartbeat_secs: Option<i64>,
}

/// All, by EHR and type.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<Row>, StoreError> {
    Ok(on_backend!(conn, c => subscription::table.order((subscription::ehr, subscription::rtype, subscription::id)).load(c))?)
}

/// Those of an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn of_ehr(conn: &mut Conn, ehr: &EhrId) -> Result<Vec<Row>, StoreError> {
    let of = subscription::table.filter(subscription::ehr.eq(ehr.as_str()));
    Ok(on_backend!(conn, c => of.order((subscription::rtype, subscription::id)).load(c))?)
}

/// One.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, id: i64) -> Result<Option<Row>, StoreError> {
    Ok(on_backend!(conn, c => subscription::table.find(id).first(c).optional())?)
}

/// The one whose address ends with the token of this hash.
///
/// # Errors
/// The engine's refusal.
pub fn by_token(conn: &mut Conn, hash: &str) -> Result<Option<Row>, StoreError> {
    Ok(on_backend!(conn, c => subscription::table.filter(subscription::token_hash.eq(hash)).first(c).optional())?)
}

/// Notes that the EHR is about to be asked; its number, or `None` where there is one for that already.
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, ehr: &EhrId, new: &New, now: Timestamp) -> Result<Option<i64>, StoreError> {
    let row = (
        subscription::ehr.eq(ehr.as_str()),
        subscription::rtype.eq(new.kind.as_str()),
        subscription::topic.eq(&new.topic),
        subscription::manner.eq(new.manner),
        subscription::request.eq(&new.request),
        subscription::state.eq("asked"),
        subscription::token_hash.eq(&new.token_hash),
        subscription::sealed.eq(&new.sealed),
        subscription::asked_at.eq(now.micros()),
        subscription::ends_at.eq(new.ends_at.map(Timestamp::micros)),
        subscription::heartbeat_secs.eq(new.heartbeat_secs),
        (
            subscription::in_doubt.eq(false),
            subscription::events.eq(0_i64),
            subscription::failures.eq(0_i64),
            subscription::look_at.eq(now.micros()),
        ),
    );
    Ok(on_backend!(conn, c => diesel::insert_into(subscription::table)
        .values(row)
        .on_conflict_do_nothing()
        .returning(subscription::id)
        .get_result(c)
        .optional())?)
}

/// Notes what the EHR said of it: its id there where that is told, its state, and when it is looked after next.
///
/// # Errors
/// The engine's refusal.
pub fn told(conn: &mut Conn, id: i64, remote: Option<&str>, state: &str, look_at: Timestamp) -> Result<(), StoreError> {
    if let Some(remote) = remote {
        on_backend!(conn, c => diesel::update(subscription::table.find(id)).set(subscription::remote_id.eq(remote)).execute(c))?;
    }
    // Once it is to end it stays so.
    let row = subscription::table.find(id).filter(subscription::state.ne("ending"));
    on_backend!(conn, c => diesel::update(row)
        .set((subscription::state.eq(state), subscription::look_at.eq(look_at.micros())))
        .execute(c))?;
    if state == "active" {
        let none = (subscription::failures.eq(0_i64), subscription::failure.eq(None::<String>));
        on_backend!(conn, c => diesel::update(row).set(none).execute(c))?;
    }
    Ok(())
}

/// It is sent to the EHR once more, by the same row.
///
/// # Errors
/// The engine's refusal.
pub fn asked_again(conn: &mut Conn, id: i64, ends_at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    let row = subscription::table.find(id).filter(subscription::state.ne("ending"));
    on_backend!(conn, c => diesel::update(row)
        .set((
            subscription::state.eq("asked"),
            subscription::asked_at.eq(now.micros()),
            subscription::ends_at.eq(ends_at.micros()),
            subscription::look_at.eq(now.micros()),
            (subscription::last_number.eq(None::<i64>), subscription::missing_from.eq(None::<i64>), subscription::missing_to.eq(None::<i64>)),
        ))
        .execute(c))?;
    Ok(())
}

/// The EHR has it no more under the id that was known.
///
/// # Errors
/// The engine's refusal.
pub fn unknown(conn: &mut Conn, id: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(subscription::table.find(id)).set(subscription::remote_id.eq(None::<String>)).execute(c))?;
    Ok(())
}

/// Learns its id at the EHR from what came by it, where the answer to the request was lost.
///
/// # Errors
/// The engine's refusal.
pub fn learn(conn: &mut Conn, id: i64, remote: &str) -> Result<(), StoreError> {
    let row = subscription::table.find(id).filter(subscription::remote_id.is_null());
    on_backend!(conn, c => diesel::update(row).set(subscription::remote_id.eq(remote)).execute(c))?;
    Ok(())
}

/// Notes that it goes on until then.
///
/// # Errors
/// The engine's refusal.
pub fn renewed(conn: &mut Conn, id: i64, ends_at: Option<Timestamp>) -> Result<(), StoreError> {
    let ends = ends_at.map(Timestamp::micros);
    on_backend!(conn, c => diesel::update(subscription::table.find(id)).set(subscription::ends_at.eq(ends)).execute(c))?;
    Ok(())
}

/// Notes that it cannot be put right now, why, and when that is tried again.
///
/// # Errors
/// The engine's refusal.
pub fn failed(conn: &mut Conn, row: &Row, why: &str, remedy: &str, retry: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    let found = subscription::table.find(row.id);
    on_backend!(conn, c => diesel::update(found)
        .set((
            subscription::failures.eq(subscription::failures + 1),
            subscription::failure.eq(storable(why).as_ref()),
            subscription::look_at.eq(retry.micros()),
        ))
        .execute(c))?;
    let calm = subscription::table.find(row.id).filter(subscription::state.ne("ending"));
    on_backend!(conn, c => diesel::update(calm).set(subscription::state.eq("error")).execute(c))?;
    // One failure passes by itself; the type is read by its other way meanwhile.
    if row.failures >= 1 {
        alerts::note(conn, (alerts::kind::FAILING, &row.subject()), (why, remedy), None, now)?;
    }
    Ok(())
}

/// Notes that it is well.
///
/// # Errors
/// The engine's refusal.
pub fn well(conn: &mut Conn, row: &Row) -> Result<(), StoreError> {
    alerts::clear(conn, alerts::kind::FAILING, &row.subject())?;
    alerts::clear(conn, alerts::kind::LATE, &row.subject())
}

/// It is to be ended: the EHR is told so next.
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, id: i64, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(subscription::table.find(id))
        .set((subscription::state.eq("ending"), subscription::look_at.eq(now.micros())))
        .execute(c))?;
    Ok(())
}

/// Forgets one: the EHR knows of it no more.
///
/// # Errors
/// The engine's refusal.
pub fn over(conn: &mut Conn, row: &Row) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(subscription::table.find(row.id)).execute(c))?;
    // Another one for the same may have taken its place.
    let others = subscription::table.filter(subscription::ehr.eq(&row.ehr)).filter(subscription::rtype.eq(&row.rtype));
    if on_backend!(conn, c => others.count().get_result::<i64>(c))? == 0 {
        well(conn, row)?;
    }
    Ok(())
}

/// What came by a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// How many things it told of.
    pub events: i64,
    /// The highest number so far.
    pub last_number: Option<i64>,
    /// What is missing of the numbers.
    pub missing: Option<(i64, i64)>,
    /// Whether the numbers may have begun anew.
    pub in_doubt: bool,
    /// It is to be looked after by then, where that is earlier than planned.
    pub look_at: Option<Timestamp>,
}

/// Notes what came by a subscription, in the transaction that keeps what it told of.
///
/// # Errors
/// The engine's refusal.
pub fn heard(conn: &mut Conn, id: i64, heard: Heard, now: Timestamp) -> Result<(), StoreError> {
    let row = || subscription::table.find(id);
    on_backend!(conn, c => diesel::update(row())
        .set((
            subscription::heard_at.eq(now.micros()),
            subscription::events.eq(subscription::events + heard.events),
            subscription::last_number.eq(heard.last_number),
            subscription::missing_from.eq(heard.missing.map(|m| m.0)),
            subscription::missing_to.eq(heard.missing.map(|m| m.1)),
            subscription::in_doubt.eq(heard.in_doubt),
        ))
        .execute(c))?;
    if heard.events > 0 {
        on_backend!(conn, c => diesel::update(row()).set(subscription::event_at.eq(now.micros())).execute(c))?;
    }
    if let Some(at) = heard.look_at {
        let later = row().filter(subscription::look_at.gt(at.micros()));
        on_backend!(conn, c => diesel::update(later).set(subscription::look_at.eq(at.micros())).execute(c))?;
    }
    Ok(())
}

/// Keeps what is known of the numbers of events, after the EHR was asked for them.
///
/// # Errors
/// The engine's refusal.
pub fn numbered(conn: &mut Conn, id: i64, last: i64, missing: Option<(i64, i64)>) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(subscription::table.find(id))
        .set((
            subscription::last_number.eq(last),
            subscription::missing_from.eq(missing.map(|m| m.0)),
            subscription::missing_to.eq(missing.map(|m| m.1)),
            subscription::in_doubt.eq(false),
        ))
        .execute(c))?;
    Ok(())
}

/// Notes that nothing is heard of one that should have given a sign of life.
///
/// # Errors
/// The engine's refusal.
pub fn silent(conn: &mut Conn, row: &Row, says: &str, remedy: &str, now: Timestamp) -> Result<(), StoreError> {
    alerts::note(conn, (alerts::kind::LATE, &row.subject()), (says, remedy), None, now)
}

/// Its type is to be read anew by its other way, since what it told cannot be followed; not before `spacing` after the last time.
///
/// # Errors
/// The engine's refusal.
pub fn reread(conn: &mut Conn, row: &Row, spacing: chrono::TimeDelta, now: Timestamp) -> Result<(), StoreError> {
    let after = row.reread_at.map_or(now, |at| Timestamp::from_micros(at).plus(spacing)).max(now);
    let open = subscription::table.find(row.id).filter(subscription::reread_due.is_null());
    on_backend!(conn, c => diesel::update(open).set(subscription::reread_due.eq(after.micros())).execute(c))?;
    Ok(())
}

/// Asks for the types that are due to be read anew; how many.
///
/// # Errors
/// The engine's refusal.
pub fn reread_due(conn: &mut Conn, now: Timestamp) -> Result<usize, StoreError> {
    let due: Vec<Row> = on_backend!(conn, c => subscription::table.filter(subscription::reread_due.le(now.micros())).load(c))?;
    for row in &due {
        let (Ok(ehr), Some(kind)) = (EhrId::parse(&row.ehr), ResourceType::parse(&row.rtype)) else {
            return Err(StoreError::Damaged("a subscription"));
        };
        turns::want(conn, &ehr, kind, "events", now)?;
        on_backend!(conn, c => diesel::update(subscription::table.find(row.id))
            .set((subscription::reread_at.eq(now.micros()), subscription::reread_due.eq(None::<i64>)))
            .execute(c))?;
    }
    Ok(due.len())
}

/// When something is to be done next: looked after, or read anew.
///
/// # Errors
/// The engine's refusal.
pub fn next_due(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    let look: Option<i64> = on_backend!(conn, c => subscription::table.select(diesel::dsl::min(subscription::look_at)).first(c))?;
    let reread: Option<i64> = on_backend!(conn, c => subscription::table.select(diesel::dsl::min(subscription::reread_due)).first(c))?;
    Ok([look, reread].into_iter().flatten().min())
}

/// Plans when it is looked after next.
///
/// # Errors
/// The engine's refusal.
pub fn look_again(conn: &mut Conn, id: i64, at: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(subscription::table.find(id)).set(subscription::look_at.eq(at.micros())).execute(c))?;
    Ok(())
}

/// Forgets those of an EHR, which is removed.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    let rows: Vec<Row> = on_backend!(conn, c => subscription::table.filter(subscription::ehr.eq(ehr)).load(c))?;
    for row in &rows {
        well(conn, row)?;
    }
    on_backend!(conn, c => diesel::delete(subscription::table.filter(subscription::ehr.eq(ehr))).execute(c))?;
    Ok(())
}
