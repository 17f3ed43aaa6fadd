//! Persons, their patient records, and all facts of a person together.
//!
//! A record belongs to one EHR; a person has one or more records. Records are never moved: joining or parting persons changes
//! `patient.person` only ([`super::joining`]). A record keeps the person that it was made with as its home: what was said or begun before it
//! was joined stays there, and is read with the person ([`homes`]).

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use domain::Timestamp;
use domain::model::facts::Facts;
use domain::model::own::OwnFacts;
use domain::model::person::{Origin, Sourced};
use domain::model::{EhrId, PatientFacts, PersonFacts, ResourceType};

use super::bulk::{self, Column, Insert};
use super::connection::{Conn, on_backend};
use super::contact;
use super::coverage;
use super::error::StoreError;
use super::schema::{patient, person, sync_state};

/// Row numbers of a patient record and of its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatientKey {
    /// The record.
    pub pk: i64,
    /// The person.
    pub person: i64,
}

/// The EHR that a record belongs to, by the record's number.
///
/// # Errors
/// The engine's refusal, or no such record.
pub fn ehr_of(conn: &mut Conn, patient: i64) -> Result<String, StoreError> {
    Ok(on_backend!(conn, c => patient::table.find(patient).select(patient::ehr).first(c))?)
}

/// The EHR with patient records whose name comes next after this one.
///
/// # Errors
/// The engine's refusal.
pub fn ehr_after(conn: &mut Conn, ehr: &str) -> Result<Option<String>, StoreError> {
    Ok(on_backend!(conn, c => patient::table.filter(patient::ehr.gt(ehr)).select(patient::ehr).order(patient::ehr).first(c).optional())?)
}

/// The person as whom a record counts now.
///
/// # Errors
/// The engine's refusal, or no such record.
pub fn person_of(conn: &mut Conn, record: i64) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => patient::table.find(record).select(patient::person).first(c))?)
}

#[derive(QueryableByName)]
struct PatientRow {
    #[diesel(sql_type = BigInt)]
    pk: i64,
    #[diesel(sql_type = Text)]
    fhir_id: String,
    #[diesel(sql_type = BigInt)]
    person: i64,
}

#[derive(QueryableByName)]
struct Pk {
    #[diesel(sql_type = BigInt)]
    pk: i64,
}

/// The records of these logical ids that are known.
pub(super) fn lookup(conn: &mut Conn, ehr: &EhrId, ids: &[&str]) -> Result<HashMap<String, PatientKey>, StoreError> {
    let rows: Vec<PatientRow> =
        bulk::select_texts(conn, "SELECT pk, fhir_id, person FROM patient", &[("ehr", ehr.as_str())], "fhir_id", ids)?;
    Ok(rows.into_iter().map(|r| (r.fhir_id, PatientKey { pk: r.pk, person: r.person })).collect())
}

/// The records of these logical ids. One that was not seen yet becomes a stub with a person of its own, since an Appointment may come
/// before its Patient. `ids` are sorted and without repeats.
pub(super) fn ensure(conn: &mut Conn, ehr: &EhrId, ids: &[&str], now: Timestamp) -> Result<HashMap<String, PatientKey>, StoreError> {
    let mut found = lookup(conn, ehr, ids)?;
    let missing: Vec<&str> = ids.iter().copied().filter(|id| !found.contains_key(*id)).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let persons: Vec<Pk> = Insert { into: "person (contact_revision)", columns: vec![Column::Int(vec![0; missing.len()])], conflict: "" }
        .returning(conn, "pk")?;
    let made: Vec<PatientRow> = Insert {
        into: "patient (ehr, fhir_id, person, home, state)",
        columns: vec![
            Column::Text(vec![ehr.as_str(); missing.len()]),
            Column::Text(missing.clone()),
            Column::Int(persons.iter().map(|p| p.pk).collect()),
            Column::Int(persons.iter().map(|p| p.pk).collect()),
            Column::Text(vec!["stub"; missing.len()]),
        ],
        // Another type's run on another node may have made the same stub; its person then stays without a record, which harms nothing.
        conflict: "ON CONFLICT (ehr, fhir_id) DO NOTHING",
    }
    .returning(conn, "pk, fhir_id, person")?;
    let complete = made.len() == missing.len();
    coverage::strangers(conn, ehr, &made.iter().map(|r| r.fhir_id.as_str()).collect::<Vec<_>>(), now)?;
    found.extend(made.into_iter().map(|r| (r.fhir_id, PatientKey { pk: r.pk, person: r.person })));
    if !complete {
        found.extend(lookup(conn, ehr, &missing)?);
    }
    Ok(found)
}

/// Marks records as live: their Patient was read. One that was merged stays so until what ties it says otherwise.
pub(super) fn mark_live(conn: &mut Conn, patients: &HashMap<String, PatientKey>) -> Result<(), StoreError> {
    let mut pks: Vec<i64> = patients.values().map(|p| p.pk).collect();
    pks.sort_unstable();
    bulk::execute_numbers(conn, "UPDATE patient SET state = 'live'", "state IN ('stub', 'gone') AND pk", &pks)?;
    Ok(())
}

/// The persons of these records.
pub(super) fn persons_of(conn: &mut Conn, patients: &[i64]) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<Pk> = bulk::select_numbers(conn, "SELECT person AS pk FROM patient", "pk", patients, "")?;
    Ok(rows.into_iter().map(|r| r.pk).collect())
}

/// One patient record, for those who act on it.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = patient)]
pub struct Record {
    /// Row number.
    pub pk: i64,
    /// Its EHR.
    pub ehr: String,
    /// Its logical id there.
    pub fhir_id: String,
    /// Its person.
    pub person: i64,
    /// `stub`, `live`, `merged`, `gone`.
    pub state: String,
    /// The person that it was made with; absent in rows that an older version wrote, where it is `person`.
    pub home: Option<i64>,
    /// The record that survived it; absent where none did.
    pub root: Option<i64>,
}

impl Record {
    /// The person that it was made with, to whom it goes back when it is parted.
    #[must_use]
    pub fn home(&self) -> i64 {
        self.home.unwrap_or(self.person)
    }

    /// `main/123`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.ehr, self.fhir_id)
    }

    /// Whether its patient may be written to by it: neither replaced nor gone.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        !matches!(self.state.as_str(), "merged" | "gone")
    }
}

/// The names of records, `main/123`, by number.
///
/// # Errors
/// The engine's refusal.
pub fn named(conn: &mut Conn, records: &[i64]) -> Result<BTreeMap<i64, String>, StoreError> {
    let select = "SELECT pk, ehr || '/' || fhir_id AS fhir_id, person FROM patient";
    let rows: Vec<PatientRow> = bulk::select_numbers(conn, select, "pk", records, "")?;
    Ok(rows.into_iter().map(|r| (r.pk, r.fhir_id)).collect())
}

/// A record by its EHR and logical id.
///
/// # Errors
/// The engine's refusal.
pub fn record(conn: &mut Conn, ehr: &str, fhir_id: &str) -> Result<Option<Record>, StoreError> {
    Ok(on_backend!(conn, c => patient::table
        .filter(patient::ehr.eq(ehr))
        .filter(patient::fhir_id.eq(fhir_id))
        .select(Record::as_select())
        .first(c)
        .optional())?)
}

/// The records of a person, the first one made first.
///
/// # Errors
/// The engine's refusal.
pub fn records(conn: &mut Conn, person: i64) -> Result<Vec<Record>, StoreError> {
    Ok(on_backend!(conn, c => patient::table.filter(patient::person.eq(person)).select(Record::as_select()).order(patient::pk).load(c))?)
}

/// The homes of a person's records: under these stands what was said and begun, also before the records were joined. One that has no
/// records is its own.
///
/// # Errors
/// The engine's refusal.
pub fn homes(conn: &mut Conn, person: i64) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<(Option<i64>, i64)> =
        on_backend!(conn, c => patient::table.filter(patient::person.eq(person)).select((patient::home, patient::person)).load(c))?;
    let mut homes: Vec<i64> = rows.into_iter().map(|(home, person)| home.unwrap_or(person)).collect();
    homes.sort_unstable();
    homes.dedup();
    if homes.is_empty() {
        homes.push(person);
    }
    Ok(homes)
}

/// The record that stands for one now: its survivor at the same EHR, or itself. That is where its chart is: EHRs answer for the survivor
/// where one id was merged into another (standards.md D.3).
///
/// # Errors
/// The engine's refusal, or no such record.
pub fn survivor(conn: &mut Conn, record: i64) -> Result<Record, StoreError> {
    let one = |conn: &mut Conn, pk: i64| -> Result<Option<Record>, StoreError> {
        Ok(on_backend!(conn, c => patient::table.find(pk).select(Record::as_select()).first(c).optional())?)
    };
    let Some(named) = one(conn, record)? else { return Err(StoreError::Damaged("a patient record that is not there")) };
    let root = match named.root {
        Some(root) => one(conn, root)?,
        None => None,
    };
    Ok(root.filter(|root| root.ehr == named.ehr).unwrap_or(named))
}

/// How many persons are known.
///
/// # Errors
/// The engine's refusal.
pub fn count(conn: &mut Conn) -> Result<i64, StoreError> {
    use diesel::{AggregateExpressionMethods as _, dsl::count};
    Ok(on_backend!(conn, c => patient::table.select(count(patient::person).aggregate_distinct()).first(c))?)
}

/// The contact revision of a person: it grows by one with each send, so that two nodes cannot both use the last permit.
///
/// # Errors
/// The engine's refusal.
pub fn contact_revision(conn: &mut Conn, person: i64) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => person::table.find(person).select(person::contact_revision).first(c))?)
}

#[derive(QueryableByName)]
struct FactRow {
    #[diesel(sql_type = BigInt)]
    person: i64,
    #[diesel(sql_type = BigInt)]
    record: i64,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Text)]
    ehr: String,
    #[diesel(sql_type = Text)]
    rtype: String,
    #[diesel(sql_type = Text)]
    fhir_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    version: Option<String>,
    #[diesel(sql_type = Binary)]
    facts: Vec<u8>,
    #[diesel(sql_type = Nullable<Binary>)]
    own: Option<Vec<u8>>,
}

#[derive(QueryableByName)]
struct PersonEhr {
    #[diesel(sql_type = BigInt)]
    person: i64,
    #[diesel(sql_type = BigInt)]
    record: i64,
    #[diesel(sql_type = Text)]
    ehr: String,
}

/// A person's facts, and since when they are known.
#[derive(Clone, Debug)]
pub struct Known {
    /// The facts.
    pub facts: PersonFacts,
    /// The core types of all the person's EHRs are known up to this instant; absent where one was never synced.
    pub as_of: Option<Timestamp>,
    /// False for one whose records all belong to another person now.
    pub has_record: bool,
    /// Up to when each type that is synced is known, over all the person's EHRs.
    pub up_to: BTreeMap<ResourceType, Timestamp>,
}

impl Known {
    /// As [`Known::as_of`], with the types beside the core ones that `reads` names, as bits: what is decided by a type is no younger than that
    /// type. A type that was never synced is not known, which is not old.
    #[must_use]
    pub fn as_of_types(&self, reads: i64) -> Option<Timestamp> {
        self.as_of.map(|core| as_of_types(core, &self.up_to, reads))
    }

    /// What a hole in the coverage leaves: a type that was read before is known as far as it was then, and else not at all.
    fn except(&mut self, hole: &coverage::PersonHole) {
        let known = hole.known_up_to.map(Timestamp::from_micros);
        if ResourceType::parse(&hole.rtype).is_some_and(ResourceType::is_core) {
            self.as_of = self.as_of.zip(known).map(|(all, this)| all.min(this));
        }
        let Some(kind) = ResourceType::parse(&hole.rtype) else { return };
        match known {
            None => {
                self.facts.synced.retain(|synced| *synced != kind);
                self.up_to.remove(&kind);
            }
            Some(known) => {
                let at = self.up_to.entry(kind).or_insert(known);
                *at = (*at).min(known);
            }
        }
    }
}

/// Up to when all of it is known: the core types, and those beside them that `reads` names, as bits, as far as they are synced.
#[must_use]
pub fn as_of_types(core: Timestamp, up_to: &BTreeMap<ResourceType, Timestamp>, reads: i64) -> Timestamp {
    let named = up_to.iter().filter(|(kind, _)| !kind.is_core() && reads & i64::from(kind.bit()) != 0);
    named.map(|(_, at)| *at).fold(core, Timestamp::min)
}

/// All facts of these persons, in the order of their numbers.
///
/// # Errors
/// The engine's refusal, or stored facts that cannot be read.
pub fn facts(conn: &mut Conn, persons: &[i64]) -> Result<BTreeMap<i64, Known>, StoreError> {
    facts_by(conn, persons, None)
}

/// The facts of one person as far as these records of theirs tell: what was sent by another record is not among them, what the person does not
/// want is. `None` where there is no such person.
///
/// # Errors
/// As [`facts`].
pub fn facts_of_records(conn: &mut Conn, person: i64, records: &[i64]) -> Result<Option<Known>, StoreError> {
    Ok(facts_by(conn, &[person], Some(records))?.remove(&person))
}

/// The numbers of the records that are one chart with a record: itself, its survivor at the same EHR, and those that were merged into that.
///
/// # Errors
/// The engine's refusal.
pub fn one_chart(conn: &mut Conn, record: &Record) -> Result<Vec<i64>, StoreError> {
    let root = survivor(conn, record.pk)?.pk;
    let same = |r: &Record| r.ehr == record.ehr && (r.pk == root || r.root == Some(root) || r.pk == record.pk);
    Ok(records(conn, record.person)?.into_iter().filter(same).map(|r| r.pk).collect())
}

fn facts_by(conn: &mut Conn, persons: &[i64], only: Option<&[i64]>) -> Result<BTreeMap<i64, Known>, StoreError> {
    let counts = |record: i64| only.is_none_or(|only| only.contains(&record));
    let covered = covered(conn)?;
    let rows: Vec<PersonEhr> = bulk::select_numbers(conn, "SELECT person, pk AS record, ehr FROM patient", "person", persons, "")?;
    let mut ehrs: BTreeMap<i64, Vec<String>> = persons.iter().map(|p| (*p, Vec::new())).collect();
    for row in rows.into_iter().filter(|row| counts(row.record)) {
        ehrs.entry(row.person).or_default().push(row.ehr);
    }
    let mut all: BTreeMap<i64, Known> = ehrs.into_iter().map(|(person, ehrs)| (person, covered.of(&ehrs))).collect();
    for hole in coverage::holes_of(conn, persons)?.into_iter().filter(|hole| counts(hole.record)) {
        if let Some(known) = all.get_mut(&hole.person) {
            known.except(&hole);
        }
    }
    let rows: Vec<FactRow> = bulk::select_numbers(
        conn,
        "SELECT p.person, p.pk AS record, p.state, p.ehr, f.rtype, f.fhir_id, f.version, f.facts, f.own FROM patient p JOIN fact f ON f.patient = p.pk",
        "p.person",
        persons,
        // What is left of a record that the EHR deleted is no reason to write to anybody.
        "AND p.state <> 'gone' ORDER BY p.person, p.pk, f.resource",
    )?;
    let mut standing: BTreeMap<i64, Standing> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| counts(row.record)) {
        let kind = ResourceType::parse(&row.rtype).ok_or(StoreError::Damaged("facts of an unknown type"))?;
        let facts = Facts::from_bytes(kind, &row.facts).map_err(|_| StoreError::Damaged("facts of a resource"))?;
        let ehr = EhrId::parse(&row.ehr).map_err(|_| StoreError::Damaged("an EHR's name"))?;
        standing.entry(row.person).or_default().add(&row, &facts);
        if let Some(known) = all.get_mut(&row.person) {
            let origin = Origin { ehr, resource_type: kind, id: row.fhir_id, version: row.version };
            if let Some(own) = &row.own {
                let facts = OwnFacts::from_bytes(own).ok_or(StoreError::Damaged("what own attributes read of a resource"))?;
                known.facts.own.push(Sourced { origin: origin.clone(), facts });
            }
            known.facts.add(origin, facts);
        }
    }
    for (person, standing) in standing {
        if let Some(known) = all.get_mut(&person) {
            standing.order(&mut known.facts);
        }
    }
    for (person, facts) in contact::of(conn, persons, only)? {
        if let Some(known) = all.get_mut(&person) {
            known.facts.contact = facts;
        }
    }
    Ok(all)
}

/// How a person's records stand to each other, each in the place of its Patient among the facts.
#[derive(Default)]
struct Standing {
    patients: Vec<Place>,
    /// The latest appointment by record: where the person is a patient now.
    visits: BTreeMap<i64, Timestamp>,
}

struct Place {
    record: i64,
    retired: bool,
    in_use: bool,
    /// It points to another record as the main source.
    refers: bool,
}

impl Standing {
    fn add(&mut self, row: &FactRow, facts: &Facts) {
        match facts {
            Facts::Patient(p) => self.patients.push(Place {
                record: row.record,
                retired: row.state == "merged",
                in_use: p.active != Some(false),
                refers: p.links.iter().any(|l| l.kind == "refer"),
            }),
            Facts::Appointment(a) if !matches!(a.status.as_str(), "cancelled" | "entered-in-error") => {
                if let Some(start) = a.start {
                    let latest = self.visits.entry(row.record).or_insert(start);
                    *latest = (*latest).max(start);
                }
            }
            _ => {}
        }
    }

    /// The record that outreach goes by comes first: in use, the main source, the one with the latest appointment, the one made first. One that
    /// was replaced tells only what makes us more careful.
    fn order(self, facts: &mut PersonFacts) {
        if self.patients.len() < 2 && !self.patients.iter().any(|p| p.retired) {
            return;
        }
        let mut all: Vec<(Place, Sourced<PatientFacts>)> = self.patients.into_iter().zip(std::mem::take(&mut facts.patients)).collect();
        let latest = |record: i64| std::cmp::Reverse(self.visits.get(&record).map(|at| at.micros()));
        all.sort_by_key(|(place, _)| (place.retired, !place.in_use, place.refers, latest(place.record), place.record));
        // Of a record that was replaced nothing that an operator asks for counts.
        for (_, found) in all.iter().filter(|(place, _)| place.retired) {
            let own = facts.own.iter_mut().filter(|own| own.origin == found.origin);
            own.for_each(|own| own.facts.0.values_mut().for_each(|read| read.values.clear()));
        }
        facts.patients = all
            .into_iter()
            .map(|(place, found)| Sourced { facts: if place.retired { careful(found.facts) } else { found.facts }, ..found })
            .collect();
    }
}

/// What counts of a record that was replaced: that its patient has died, is confidential, is a child; not where to reach them.
fn careful(retired: PatientFacts) -> PatientFacts {
    PatientFacts {
        active: Some(false),
        deceased: retired.deceased,
        deceased_at: retired.deceased_at,
        birth_date: retired.birth_date,
        security: retired.security,
        links: retired.links,
        ..PatientFacts::default()
    }
}

/// Which types are known up to when, by EHR.
struct Coverage(HashMap<String, HashMap<String, i64>>);

impl Coverage {
    fn of(&self, ehrs: &[String]) -> Known {
        let as_of = |ehr: &String, t: ResourceType| self.0.get(ehr).and_then(|types| types.get(t.as_str())).copied();
        let of_type = |t: ResourceType| ehrs.iter().map(|e| as_of(e, t)).collect::<Option<Vec<i64>>>()?.into_iter().min();
        let up_to: BTreeMap<ResourceType, Timestamp> =
            ResourceType::ALL.into_iter().filter_map(|t| Some((t, Timestamp::from_micros(of_type(t)?)))).collect();
        let synced = up_to.keys().copied().collect();
        // A supporting type that is late makes nobody's visits older.
        let all = ehrs.iter().flat_map(|e| ResourceType::CORE.map(|t| as_of(e, t))).collect::<Option<Vec<i64>>>();
        let as_of = all.and_then(|v| v.into_iter().min()).map(Timestamp::from_micros);
        Known { facts: PersonFacts { synced, ..PersonFacts::default() }, as_of, has_record: !ehrs.is_empty(), up_to }
    }
}

fn covered(conn: &mut Conn) -> Result<Coverage, StoreError> {
    let rows: Vec<(String, String, Option<i64>)> =
        on_backend!(conn, c => sync_state::table.select((sync_state::ehr, sync_state::rtype, sync_state::as_of)).load(c))?;
    let mut all: HashMap<String, HashMap<String, i64>> = HashMap::new();
    for (ehr, rtype, as_of) in rows {
        if let Some(as_of) = as_of {
            all.entry(ehr).or_default().insert(rtype, as_of);
        }
    }
    Ok(Coverage(all))
}
