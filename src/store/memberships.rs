//! Segments, who is in them and why, and every entry and exit as an event.
//!
//! Not being a member is the absence of a row. Reasons are opaque bytes here: `segments` writes and reads them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use domain::Timestamp;
use domain::rules::{LeafSet, Unknown};

use super::bulk::{self, Column, Insert};
use super::connection::{Conn, on_backend};
use super::definitions::{self, Kind, Version};
use super::error::StoreError;
use super::schema::{assignment, definition, membership, membership_event, patient, segment_count};
use super::{days, pending, steps};

/// A version of a segment that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The version's number, which the rows of its memberships name.
    pub number: i64,
    /// The segment's id.
    pub id: String,
    /// Grows with each change of the definition.
    pub version: i64,
    /// The definition's text.
    pub source: String,
    /// Hash of the definition.
    pub hash: String,
    /// When this version was put in force.
    pub changed_at: i64,
}

impl From<Version> for Segment {
    fn from(v: Version) -> Self {
        let changed_at = v.current_from.unwrap_or(v.staged_at);
        Self { number: v.number, id: v.id, version: v.version, source: v.source, hash: v.hash, changed_at }
    }
}

/// The segments in force, by number.
///
/// # Errors
/// The engine's refusal.
pub fn segments(conn: &mut Conn) -> Result<Vec<Segment>, StoreError> {
    let all = definitions::in_use(conn)?;
    Ok(all.into_iter().filter(|v| v.state == "current" && v.kind == Kind::Segment.as_str()).map(Segment::from).collect())
}

/// Whether a person is in a segment, or held because the answer is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// A member.
    In,
    /// Neither in nor out until more is known.
    Held,
}

impl State {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Held => "held",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "in" => Ok(Self::In),
            "held" => Ok(Self::Held),
            _ => Err(StoreError::Damaged("a membership's state")),
        }
    }
}

/// A person's membership in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The segment's number.
    pub segment: i64,
    /// The version that was evaluated.
    pub version: i64,
    /// In or held.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// The how-manieth entry of this person into this segment.
    pub entry: i64,
    /// Why, as stored.
    pub reasons: Vec<u8>,
}

/// What is stored of one person's assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Memberships by segment number.
    pub memberships: BTreeMap<i64, Membership>,
    /// Events so far.
    pub events: i64,
    /// When the answer may change with time alone.
    pub wake_at: Option<Timestamp>,
    /// The numbers of the segments whose answer is not known.
    pub unknown: LeafSet,
}

#[derive(QueryableByName)]
struct MembershipRow {
    #[diesel(sql_type = BigInt)]
    person: i64,
    #[diesel(sql_type = BigInt)]
    segment: i64,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    since: i64,
    #[diesel(sql_type = BigInt)]
    entry: i64,
    #[diesel(sql_type = diesel::sql_types::Binary)]
    reasons: Vec<u8>,
}

#[derive(QueryableByName)]
struct AssignmentRow {
    #[diesel(sql_type = BigInt)]
    person: i64,
    #[diesel(sql_type = diesel::sql_types::Nullable<BigInt>)]
    wake_at: Option<i64>,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Binary>)]
    unknown: Option<Vec<u8>>,
}

/// The assignments of these persons; one that was never evaluated is left out.
///
/// # Errors
/// The engine's refusal.
pub fn assignments(conn: &mut Conn, persons: &[i64]) -> Result<BTreeMap<i64, Assignment>, StoreError> {
    let rows: Vec<AssignmentRow> =
        bulk::select_numbers(conn, "SELECT person, wake_at, events, unknown FROM assignment", "person", persons, "")?;
    let mut all: BTreeMap<i64, Assignment> = rows
        .into_iter()
        .map(|r| {
            let unknown = r.unknown.map(|bytes| LeafSet::from_bytes(&bytes)).unwrap_or_default();
            let wake_at = r.wake_at.map(Timestamp::from_micros);
            (r.person, Assignment { events: r.events, wake_at, unknown, ..Assignment::default() })
        })
        .collect();
    let rows: Vec<MembershipRow> =
        bulk::select_numbers(conn, "SELECT person, segment, version, state, since, entry, reasons FROM membership", "person", persons, "")?;
    // Only while a roll-out is on the way are there such rows.
    let flips = if rows.iter().any(|r| r.since == SINCE_FLIP) { flips(conn)? } else { BTreeMap::new() };
    for mut r in rows {
        if r.since == SINCE_FLIP {
            r.since = flips.get(&r.segment).copied().unwrap_or(SINCE_FLIP);
        }
        let m = Membership {
            segment: r.segment,
            version: r.version,
            state: State::parse(&r.state)?,
            since: Timestamp::from_micros(r.since),
            entry: r.entry,
            reasons: r.reasons,
        };
        all.entry(r.person).or_default().memberships.insert(r.segment, m);
    }
    Ok(all)
}

/// Stands for the instant at which a staged version comes into force, which is not known before.
pub const SINCE_FLIP: i64 = i64::MAX;

/// When each version in force came into force.
fn flips(conn: &mut Conn) -> Result<BTreeMap<i64, i64>, StoreError> {
    let rows: Vec<(i64, Option<i64>)> =
        on_backend!(conn, c => definition::table.select((definition::number, definition::current_from)).load(c))?;
    Ok(rows.into_iter().filter_map(|(number, from)| Some((number, from?))).collect())
}

/// How often a person entered a segment before, from its events: needed only when it enters again. `numbers` are those of all versions of
/// the segment.
///
/// # Errors
/// The engine's refusal.
pub fn entries_before(conn: &mut Conn, person: i64, numbers: &[i64]) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => membership_event::table
        .filter(membership_event::person.eq(person))
        .filter(membership_event::segment.eq_any(numbers.to_vec()))
        .filter(membership_event::after.eq("in"))
        .count()
        .get_result(c))?)
}

/// How often each of these persons entered versions of segments, by person and number.
///
/// # Errors
/// The engine's refusal.
pub fn entries_of(conn: &mut Conn, persons: &[i64], numbers: &[i64]) -> Result<BTreeMap<(i64, i64), i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        person: i64,
        #[diesel(sql_type = BigInt)]
        segment: i64,
        #[diesel(sql_type = BigInt)]
        entries: i64,
    }
    if numbers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let list: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let rows: Vec<Row> = bulk::select_numbers(
        conn,
        "SELECT person, segment, COUNT(*) AS entries FROM membership_event",
        &format!("after = 'in' AND segment IN ({}) AND person", list.join(", ")),
        persons,
        "GROUP BY person, segment",
    )?;
    Ok(rows.into_iter().map(|r| ((r.person, r.segment), r.entries)).collect())
}

/// A change of one membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The segment's number.
    pub segment: i64,
    /// The version that was evaluated.
    pub version: i64,
    /// Before: `None` is not a member.
    pub before: Option<State>,
    /// After.
    pub after: Option<State>,
    /// The how-manieth entry, where it is in now.
    pub entry: i64,
    /// From when the new answer holds: the instant at which the old one ran out, or the evaluation's.
    pub effective_at: Timestamp,
    /// Why, as the membership keeps it: the set of tests that decide.
    pub reasons: Vec<u8>,
    /// Why, as the event keeps it: the tests with their values and sources, so that it can be shown when the facts have changed.
    pub event_reasons: Vec<u8>,
}

/// What an evaluation of one person found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The person.
    pub person: i64,
    /// Memberships that changed.
    pub changes: Vec<Change>,
    /// Memberships that stay but whose reasons or version are others now.
    pub refreshed: Vec<Change>,
    /// Events so far, these not counted.
    pub events: i64,
    /// When the answer may change with time alone.
    pub wake_at: Option<Timestamp>,
    /// Whether the outreach stage must look at this person.
    pub outreach: bool,
    /// The numbers of the segments whose answer was not known before, and of those whose answer is not known now.
    pub unknown: (LeafSet, LeafSet),
    /// What the versions say that are being rolled out.
    pub staged: Option<Staging>,
}

/// What staged versions say of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staging {
    /// The roll-out.
    pub rollout: i64,
    /// Each version that has something to say, or had.
    pub versions: Vec<Staged>,
}

/// What one staged version says of a person, or that a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The version's number; of a segment that ends without a successor, the number that ends.
    pub segment: i64,
    /// The version.
    pub version: i64,
    /// By the version in force.
    pub before: Option<State>,
    /// By the staged one.
    pub after: Option<State>,
    /// Since when the state holds, in microseconds, or [`SINCE_FLIP`].
    pub since: i64,
    /// The how-manieth entry, where it is in.
    pub entry: i64,
    /// Why, as the membership keeps it.
    pub reasons: Vec<u8>,
    /// Why, as the event keeps it; empty where nothing changes.
    pub event_reasons: Vec<u8>,
    /// Whether the staged version had a membership of this person already.
    pub written: bool,
}

/// Writes what evaluations found: only differences. Persons in ascending order.
///
/// # Errors
/// The engine's refusal.
pub fn apply(conn: &mut Conn, evaluated: &[Evaluated], now: Timestamp) -> Result<(), StoreError> {
    let unknown: Vec<Vec<u8>> = evaluated.iter().map(|e| e.unknown.1.to_bytes()).collect();
    Insert {
        into: "assignment (person, evaluated_at, wake_at, events, unknown)",
        columns: vec![
            Column::Int(evaluated.iter().map(|e| e.person).collect()),
            Column::Int(vec![now.micros(); evaluated.len()]),
            Column::IntOrNull(evaluated.iter().map(|e| e.wake_at.map(Timestamp::micros)).collect()),
            Column::Int(evaluated.iter().map(|e| e.events + i64::try_from(e.changes.len()).unwrap_or(0)).collect()),
            Column::Bytes(unknown.iter().map(Vec::as_slice).collect()),
        ],
        conflict:
            "ON CONFLICT (person) DO UPDATE SET evaluated_at = excluded.evaluated_at, wake_at = excluded.wake_at, events = excluded.events,
                   unknown = excluded.unknown",
    }
    .execute(conn)?;
    count_unknown(conn, evaluated, now)?;
    write_memberships(conn, evaluated)?;
    write_events(conn, evaluated, now)?;
    steps::write(conn, evaluated)?;
    let wake: BTreeSet<i64> = evaluated.iter().filter(|e| e.outreach).map(|e| e.person).collect();
    pending::mark_outreach(conn, &wake, now)
}

/// Counts by how many persons more, or fewer, each answer is not known, and keeps how many they are now as what the day ends with.
pub(super) fn count_unknown(conn: &mut Conn, evaluated: &[Evaluated], now: Timestamp) -> Result<(), StoreError> {
    let mut more: BTreeMap<i64, i64> = BTreeMap::new();
    for (before, after) in evaluated.iter().map(|e| &e.unknown).filter(|(before, after)| before != after) {
        let number = |bit: usize| i64::try_from(bit).unwrap_or(i64::MAX);
        before.iter().filter(|bit| !after.contains(*bit)).for_each(|bit| *more.entry(number(bit)).or_default() -= 1);
        after.iter().filter(|bit| !before.contains(*bit)).for_each(|bit| *more.entry(number(bit)).or_default() += 1);
    }
    more.retain(|_, n| *n != 0);
    Insert {
        into: "segment_count (segment, unknown)",
        columns: vec![Column::Int(more.keys().copied().collect()), Column::Int(more.values().copied().collect())],
        conflict: "ON CONFLICT (segment) DO UPDATE SET unknown = segment_count.unknown + excluded.unknown",
    }
    .execute(conn)?;
    days::end_with(conn, &more.keys().copied().collect::<Vec<_>>(), now)
}

/// How large a segment is, by what is known of everyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its id.
    pub id: String,
    /// Members.
    pub members: i64,
    /// Held, since the answer is not known.
    pub held: i64,
    /// Persons whose answer is not known, whatever that counts as.
    pub unknown: i64,
    /// Persons who were evaluated.
    pub evaluated: i64,
}

impl Size {
    /// Of how many the rule holds; members of whom that is not known are not among them.
    #[must_use]
    pub fn holds(&self, unknown: Unknown) -> i64 {
        if unknown == Unknown::In { self.members - self.unknown } else { self.members }
    }

    /// Of how many it does not hold.
    #[must_use]
    pub fn does_not_hold(&self, unknown: Unknown) -> i64 {
        self.evaluated - self.holds(unknown) - self.unknown
    }
}

/// How large each segment in force is.
///
/// # Errors
/// The engine's refusal.
pub fn counted(conn: &mut Conn) -> Result<Vec<Size>, StoreError> {
    let unknown: HashMap<i64, i64> =
        on_backend!(conn, c => segment_count::table.select((segment_count::segment, segment_count::unknown)).load(c))?
            .into_iter()
            .collect();
    // One whose records all belong to another person now is nobody.
    let theirs = diesel::dsl::exists(patient::table.filter(patient::person.eq(assignment::person)));
    let evaluated: i64 = on_backend!(conn, c => assignment::table.filter(theirs).count().get_result(c))?;
    let numbers: HashMap<String, i64> = segments(conn)?.into_iter().map(|s| (s.id, s.number)).collect();
    let of = |id: &str| numbers.get(id).and_then(|number| unknown.get(number)).copied().unwrap_or(0);
    let sizes = sizes(conn)?;
    Ok(sizes.into_iter().map(|(id, members, held)| Size { unknown: of(&id), evaluated, id, members, held }).collect())
}

fn write_memberships(conn: &mut Conn, evaluated: &[Evaluated]) -> Result<(), StoreError> {
    let left: Vec<(i64, i64)> =
        evaluated.iter().flat_map(|e| e.changes.iter().filter(|c| c.after.is_none()).map(|c| (e.person, c.segment))).collect();
    bulk::delete_pairs(conn, "membership", ("person", "segment"), &left)?;
    let kept: Vec<(i64, &Change, State)> = evaluated
        .iter()
        .flat_map(|e| e.changes.iter().chain(&e.refreshed).filter_map(|c| c.after.map(|state| (e.person, c, state))))
        .collect();
    Insert {
        into: "membership (person, segment, version, state, since, entry, reasons)",
        columns: vec![
            Column::Int(kept.iter().map(|k| k.0).collect()),
            Column::Int(kept.iter().map(|k| k.1.segment).collect()),
            Column::Int(kept.iter().map(|k| k.1.version).collect()),
            Column::Text(kept.iter().map(|k| k.2.as_str()).collect()),
            Column::Int(kept.iter().map(|k| k.1.effective_at.micros()).collect()),
            Column::Int(kept.iter().map(|k| k.1.entry).collect()),
            Column::Bytes(kept.iter().map(|k| k.1.reasons.as_slice()).collect()),
        ],
        // A refreshed membership keeps its beginning; `since` moves only with the state.
        conflict: "ON CONFLICT (person, segment) DO UPDATE SET version = excluded.version, reasons = excluded.reasons, entry = excluded.entry,
                   since = CASE WHEN membership.state = excluded.state THEN membership.since ELSE excluded.since END, state = excluded.state",
    }
    .execute(conn)?;
    Ok(())
}

fn write_events(conn: &mut Conn, evaluated: &[Evaluated], now: Timestamp) -> Result<(), StoreError> {
    let events: Vec<(i64, i64, &Change)> =
        evaluated.iter().flat_map(|e| e.changes.iter().zip(e.events + 1..).map(|(c, number)| (e.person, number, c))).collect();
    Insert {
        into: "membership_event (person, number, segment, version, before, after, effective_at, recorded_at, reasons)",
        columns: vec![
            Column::Int(events.iter().map(|e| e.0).collect()),
            Column::Int(events.iter().map(|e| e.1).collect()),
            Column::Int(events.iter().map(|e| e.2.segment).collect()),
            Column::Int(events.iter().map(|e| e.2.version).collect()),
            Column::TextOrNull(events.iter().map(|e| e.2.before.map(State::as_str)).collect()),
            Column::TextOrNull(events.iter().map(|e| e.2.after.map(State::as_str)).collect()),
            Column::Int(events.iter().map(|e| e.2.effective_at.micros()).collect()),
            Column::Int(vec![now.micros(); events.len()]),
            Column::Bytes(events.iter().map(|e| e.2.event_reasons.as_slice()).collect()),
        ],
        conflict: "",
    }
    .execute(conn)?;
    let of = |c: &Change| (c.segment, c.effective_at.micros(), c.before.map(State::as_str), c.after.map(State::as_str));
    days::add(conn, events.iter().map(|e| of(e.2)))
}

/// How many persons are in and held, by segment id.
///
/// # Errors
/// The engine's refusal.
pub fn sizes(conn: &mut Conn) -> Result<Vec<(String, i64, i64)>, StoreError> {
    use diesel::dsl::count_star;
    let rows: Vec<(i64, String, i64)> = on_backend!(conn, c => membership::table
        .group_by((membership::segment, membership::state))
        .select((membership::segment, membership::state, count_star()))
        .load(c))?;
    let of = |number: i64, state: &str| rows.iter().find(|r| r.0 == number && r.1 == state).map_or(0, |r| r.2);
    Ok(segments(conn)?.into_iter().map(|s| (s.id, of(s.number, "in"), of(s.number, "held"))).collect())
}

/// Members of a segment, by number of the person, after `after`.
///
/// # Errors
/// The engine's refusal.
pub fn members(conn: &mut Conn, segment: i64, state: State, after: i64, limit: i64) -> Result<Vec<i64>, StoreError> {
    Ok(on_backend!(conn, c => membership::table
        .filter(membership::segment.eq(segment))
        .filter(membership::state.eq(state.as_str()))
        .filter(membership::person.gt(after))
        .select(membership::person)
        .order(membership::person)
        .limit(limit)
        .load(c))?)
}

/// A record of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// The EHR.
    pub ehr: String,
    /// The patient's logical id there.
    pub fhir_id: String,
    /// Since when the person is a member.
    pub since: i64,
}

/// The records of a version's members, by number of the person, after `after`, of at most `limit` persons; and after whom the next page
/// begins, where there is one.
///
/// # Errors
/// The engine's refusal.
pub fn member_records(conn: &mut Conn, segment: i64, after: i64, limit: i64) -> Result<(Vec<MemberRecord>, Option<i64>), StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        person: i64,
        #[diesel(sql_type = Text)]
        ehr: String,
        #[diesel(sql_type = Text)]
        fhir_id: String,
    }
    let rows: Vec<(i64, i64)> = on_backend!(conn, c => membership::table
        .filter(membership::segment.eq(segment))
        .filter(membership::state.eq(State::In.as_str()))
        .filter(membership::person.gt(after))
        .select((membership::person, membership::since))
        .order(membership::person)
        .limit(limit)
        .load(c))?;
    let since: BTreeMap<i64, i64> = rows.into_iter().collect();
    let full = i64::try_from(since.len()).is_ok_and(|n| n >= limit);
    let next = since.last_key_value().map(|(person, _)| *person).filter(|_| full);
    let persons: Vec<i64> = since.keys().copied().collect();
    let live = "state IN ('live', 'stub') AND person";
    let records: Vec<Row> = bulk::select_numbers(conn, "SELECT person, ehr, fhir_id FROM patient", live, &persons, "ORDER BY person, pk")?;
    let flip = if since.values().any(|s| *s == SINCE_FLIP) { flips(conn)?.get(&segment).copied() } else { None };
    let of = |person: i64| since.get(&person).copied().filter(|s| *s != SINCE_FLIP).or(flip).unwrap_or_default();
    Ok((records.into_iter().map(|r| MemberRecord { since: of(r.person), ehr: r.ehr, fhir_id: r.fhir_id }).collect(), next))
}

/// How many records the members of a version have.
///
/// # Errors
/// The engine's refusal.
pub fn count_records(conn: &mut Conn, segment: i64) -> Result<i64, StoreError> {
    use super::schema::patient;
    Ok(on_backend!(conn, c => membership::table
        .inner_join(patient::table.on(patient::person.eq(membership::person)))
        .filter(membership::segment.eq(segment))
        .filter(membership::state.eq(State::In.as_str()))
        .filter(patient::state.eq_any(["live", "stub"]))
        .count()
        .get_result(c))?)
}

/// Who was a member at an instant, by the events that hold by then: how many, and the first of them. `numbers` are those of all versions of
/// the segment.
///
/// # Errors
/// The engine's refusal.
pub fn members_at(conn: &mut Conn, numbers: &[i64], at: Timestamp, limit: i64) -> Result<(i64, Vec<i64>), StoreError> {
    #[derive(QueryableByName)]
    struct Counted {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    #[derive(QueryableByName)]
    struct Person {
        #[diesel(sql_type = BigInt)]
        person: i64,
    }
    let list: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    // The last event of each person that holds by then.
    let last = format!(
        "FROM (SELECT person, after, ROW_NUMBER() OVER (PARTITION BY person ORDER BY number DESC) AS place FROM membership_event
         WHERE segment IN ({}) AND effective_at <= {}) e WHERE place = 1 AND after = 'in'",
        list.join(", "),
        at.micros()
    );
    let counted: Counted = on_backend!(conn, c => diesel::sql_query(format!("SELECT COUNT(*) AS n {last}")).get_result(c))?;
    let first = format!("SELECT person {last} ORDER BY person LIMIT {limit}");
    let persons: Vec<Person> = on_backend!(conn, c => diesel::sql_query(first).load(c))?;
    Ok((counted.n, persons.into_iter().map(|p| p.person).collect()))
}

/// An entry or exit.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Event {
    /// The person.
    pub person: i64,
    /// Number within the person's events.
    pub number: i64,
    /// The segment's number.
    pub segment: i64,
    /// The version that was evaluated.
    pub version: i64,
    /// State before.
    pub before: Option<String>,
    /// State after.
    pub after: Option<String>,
    /// From when it holds.
    pub effective_at: i64,
    /// When it was found.
    pub recorded_at: i64,
    /// Why.
    pub reasons: Vec<u8>,
}

/// A person's events, in order.
///
/// # Errors
/// The engine's refusal.
pub fn events(conn: &mut Conn, person: i64) -> Result<Vec<Event>, StoreError> {
    Ok(on_backend!(conn, c => membership_event::table.filter(membership_event::person.eq(person)).order(membership_event::number).load(c))?)
}
