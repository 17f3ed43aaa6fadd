//! Settles whose patient records are: reads what ties those concerned, has [`domain::identity::settle`] decide, and writes what changed.
//!
//! Nothing is moved. A record's person and survivor are worked out anew, and what hangs on the record follows: facts by the record, an
//! attempt's person with it, choices and enrolments by the person that the record was made with ([`super::people::homes`]). So parting is
//! the same as joining, and what a record brought goes back with it. The work grows with the records concerned, never with their resources.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain::Timestamp;
use domain::identity::{self, Doubt, Edge, MOST_RECORDS, Record, Settled, Tie};
use domain::model::{Facts, ResourceType};

use super::bulk;
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::pending;
use super::schema::{attempt, enrolment, patient, person, person_review, resource};

/// So many records may share an identifier. Where more do it is a placeholder, and ties nobody.
pub const MOST_SHARERS: usize = 10;

/// Beyond those asked about, so many records are looked at together. What is tied to more is settled by staff.
const MOST_LOOKED_AT: usize = 5_000;

/// What it took, for tests: the work must not grow with the population.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Records that were looked at.
    pub records: usize,
    /// Ties that were looked at.
    pub ties: usize,
    /// Records whose person, survivor or state changed.
    pub changed: usize,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    pk: i64,
    #[diesel(sql_type = BigInt)]
    person: i64,
    #[diesel(sql_type = BigInt)]
    home: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    root: Option<i64>,
    #[diesel(sql_type = Text)]
    state: String,
}

#[derive(QueryableByName)]
struct Pair {
    #[diesel(sql_type = BigInt)]
    a: i64,
    #[diesel(sql_type = BigInt)]
    b: i64,
    #[diesel(sql_type = Text)]
    kind: String,
}

#[derive(QueryableByName)]
struct Pk {
    #[diesel(sql_type = BigInt)]
    pk: i64,
}

#[derive(QueryableByName)]
struct Token {
    #[diesel(sql_type = BigInt)]
    record: i64,
    #[diesel(sql_type = Text)]
    token: String,
}

/// Who shares each of these identifiers, of those that are not too common.
pub(super) fn sharers(conn: &mut Conn, tokens: &[&str]) -> Result<Vec<(String, i64)>, StoreError> {
    #[derive(QueryableByName)]
    struct Counted {
        #[diesel(sql_type = Text)]
        token: String,
    }
    // Counted no further than needed: a placeholder may have a hundred thousand.
    let counted: Vec<Counted> = bulk::select_listed_texts(
        conn,
        "SELECT k.value AS token FROM",
        &format!(
            "WHERE (SELECT COUNT(*) FROM (SELECT 1 FROM patient_identifier i WHERE i.token = k.value LIMIT {}) n) <= {MOST_SHARERS}",
            MOST_SHARERS + 1
        ),
        tokens,
    )?;
    let few: Vec<&str> = counted.iter().map(|c| c.token.as_str()).collect();
    let rows: Vec<Token> = bulk::select_texts(conn, "SELECT record, token FROM patient_identifier", &[], "token", &few)?;
    Ok(rows.into_iter().map(|r| (r.token, r.record)).collect())
}

/// All that was read to settle.
#[derive(Default)]
struct Look {
    rows: BTreeMap<i64, Row>,
    edges: BTreeSet<Edge>,
    apart: BTreeSet<(i64, i64)>,
    /// Said to be replaced by another record only.
    told_by_others: BTreeSet<i64>,
    told_itself: BTreeSet<i64>,
    /// Tied to something that was not looked at.
    cut: BTreeSet<i64>,
}

impl Look {
    /// Reads what ties the records of one round; returns those that are tied to them.
    fn round(&mut self, conn: &mut Conn, new: &[i64]) -> Result<BTreeSet<i64>, StoreError> {
        let select = "SELECT pk, person, COALESCE(home, person) AS home, root, state FROM patient";
        let rows: Vec<Row> = bulk::select_numbers(conn, select, "pk", new, "")?;
        let persons: BTreeSet<i64> = rows.iter().flat_map(|r| [r.person, r.home]).collect();
        self.rows.extend(rows.into_iter().map(|r| (r.pk, r)));
        // Who was joined with them so far may have to be parted.
        let with: Vec<Pk> = bulk::select_numbers(conn, "SELECT pk FROM patient", "person", &persons.into_iter().collect::<Vec<_>>(), "")?;
        let mut next: BTreeSet<i64> = with.into_iter().map(|r| r.pk).collect();
        next.extend(self.links(conn, new)?);
        next.extend(self.words(conn, new)?);
        next.extend(self.identifiers(conn, new)?);
        Ok(next)
    }

    fn links(&mut self, conn: &mut Conn, new: &[i64]) -> Result<BTreeSet<i64>, StoreError> {
        let select = "SELECT from_record AS a, to_record AS b, kind FROM patient_link";
        let mut pairs: Vec<Pair> = bulk::select_numbers(conn, select, "from_record", new, "")?;
        // Of a record to which very many point, one that is written where none is meant, nothing follows.
        let targets: BTreeSet<i64> = pairs.iter().map(|p| p.b).chain(new.iter().copied()).collect();
        let crowded = crowded(conn, &targets.into_iter().collect::<Vec<_>>())?;
        let calm: Vec<i64> = new.iter().copied().filter(|r| !crowded.contains(r)).collect();
        pairs.extend(bulk::select_numbers::<Pair>(conn, select, "to_record", &calm, "")?);
        let mut next = BTreeSet::new();
        for Pair { a, b, kind } in pairs {
            if crowded.contains(&b) {
                self.cut.extend([a, b]);
            }
            let (tie, from, to) = match kind.as_str() {
                "replaces" => (Tie::Replaced, b, a),
                "refer" => (Tie::Refers, a, b),
                "seealso" => (Tie::SeeAlso, a, b),
                _ => (Tie::Replaced, a, b),
            };
            match (tie, kind.as_str()) {
                (Tie::Replaced, "replaces") => self.told_by_others.insert(from),
                (Tie::Replaced, _) => self.told_itself.insert(from),
                _ => false,
            };
            self.edges.insert(Edge { tie, from, to });
            if !crowded.contains(&b) {
                next.extend([a, b]);
            }
        }
        Ok(next)
    }

    fn words(&mut self, conn: &mut Conn, new: &[i64]) -> Result<BTreeSet<i64>, StoreError> {
        let mut next = BTreeSet::new();
        for (a, b, word) in super::words::latest_of(conn, new)? {
            match word.as_str() {
                "same" => {
                    self.edges.insert(Edge { tie: Tie::Word, from: a, to: b });
                }
                "apart" => {
                    self.apart.insert((a, b));
                }
                _ => {}
            }
            next.extend([a, b]);
        }
        Ok(next)
    }

    fn identifiers(&mut self, conn: &mut Conn, new: &[i64]) -> Result<BTreeSet<i64>, StoreError> {
        let mine: Vec<Token> = bulk::select_numbers(conn, "SELECT record, token FROM patient_identifier", "record", new, "")?;
        let tokens: BTreeSet<&str> = mine.iter().map(|t| t.token.as_str()).collect();
        let mut by_token: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for (token, record) in sharers(conn, &tokens.into_iter().collect::<Vec<_>>())? {
            by_token.entry(token).or_default().insert(record);
        }
        let mut next = BTreeSet::new();
        for records in by_token.into_values() {
            if let Some(first) = records.first().copied() {
                self.edges.extend(records.iter().skip(1).map(|other| Edge { tie: Tie::Identifier, from: first, to: *other }));
            }
            next.extend(records);
        }
        Ok(next)
    }
}

/// Those of these records to which more others point than one person has.
fn crowded(conn: &mut Conn, records: &[i64]) -> Result<BTreeSet<i64>, StoreError> {
    let rows: Vec<Pk> = bulk::select_listed_numbers(
        conn,
        "SELECT k.value AS pk FROM",
        &format!(
            "WHERE (SELECT COUNT(*) FROM (SELECT 1 FROM patient_link l WHERE l.to_record = k.value LIMIT {}) n) > {}",
            MOST_RECORDS + 1,
            MOST_RECORDS
        ),
        records,
    )?;
    Ok(rows.into_iter().map(|r| r.pk).collect())
}

/// Settles whose these records are, and of all that are tied to them or were so.
pub(super) fn settle(conn: &mut Conn, touched: &BTreeSet<i64>, now: Timestamp) -> Result<Work, StoreError> {
    if touched.is_empty() {
        return Ok(Work::default());
    }
    let mut look = Look::default();
    let mut new: BTreeSet<i64> = touched.clone();
    while !new.is_empty() {
        let next = look.round(conn, &new.iter().copied().collect::<Vec<_>>())?;
        let open: BTreeSet<i64> = next.into_iter().filter(|r| !look.rows.contains_key(r)).collect();
        if look.rows.len() + open.len() > touched.len() + MOST_LOOKED_AT {
            look.cut.extend(new);
            break;
        }
        new = open;
    }
    let elsewhere = reviewed(conn, &look, Doubt::Elsewhere)?;
    let in_use = say_in_use(conn, &look)?;
    let records: Vec<Record> = look
        .rows
        .values()
        .map(|r| Record {
            id: r.pk,
            home: r.home,
            replaced_elsewhere: elsewhere.contains(&r.pk),
            says_in_use: in_use.contains(&r.pk),
            cut: look.cut.contains(&r.pk),
        })
        .collect();
    let edges: Vec<Edge> = look.edges.iter().copied().collect();
    let apart: Vec<(i64, i64)> = look.apart.iter().copied().collect();
    let settled = identity::settle(&records, &edges, &apart);
    let changed = write(conn, &look, &settled, now)?;
    write_doubts(conn, &look, &settled, now)?;
    Ok(Work { records: look.rows.len(), ties: edges.len(), changed })
}

/// The records among those looked at that are on the list for staff for a reason.
fn reviewed(conn: &mut Conn, look: &Look, doubt: Doubt) -> Result<BTreeSet<i64>, StoreError> {
    let all: Vec<i64> = look.rows.keys().copied().collect();
    let rows: Vec<Pk> = bulk::select_numbers(
        conn,
        "SELECT record AS pk FROM person_review",
        "record",
        &all,
        &format!("AND reason = '{}'", doubt.as_str()),
    )?;
    Ok(rows.into_iter().map(|r| r.pk).collect())
}

/// Those that only others say are replaced, and that say of themselves that they are in use.
fn say_in_use(conn: &mut Conn, look: &Look) -> Result<BTreeSet<i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Known {
        #[diesel(sql_type = BigInt)]
        patient: i64,
        #[diesel(sql_type = diesel::sql_types::Binary)]
        facts: Vec<u8>,
    }
    let asked: Vec<i64> = look.told_by_others.difference(&look.told_itself).copied().collect();
    let rows: Vec<Known> = bulk::select_numbers(conn, "SELECT patient, facts FROM fact", "patient", &asked, "AND rtype = 'Patient'")?;
    let in_use = |row: &Known| match Facts::from_bytes(ResourceType::Patient, &row.facts) {
        Ok(Facts::Patient(facts)) => facts.active == Some(true),
        _ => false,
    };
    Ok(rows.iter().filter(|row| in_use(row)).map(|row| row.patient).collect())
}

fn write(conn: &mut Conn, look: &Look, settled: &BTreeMap<i64, Settled>, now: Timestamp) -> Result<usize, StoreError> {
    let mut changed = 0;
    // The persons of whom anything is other now; and those whose records are others.
    let (mut concerned, mut regrouped): (BTreeSet<i64>, BTreeSet<i64>) = (BTreeSet::new(), BTreeSet::new());
    for row in look.rows.values() {
        let Some(found) = settled.get(&row.pk) else { continue };
        let root = Some(found.root).filter(|root| *root != row.pk);
        let state = match (found.retired, row.state.as_str()) {
            (true, _) => "merged",
            (false, "merged") => state_in_use(conn, row.pk)?,
            (false, "gone") => "gone",
            (false, "stub") => "stub",
            (false, _) => "live",
        };
        if (row.person, row.root, row.state.as_str()) == (found.person, root, state) {
            continue;
        }
        changed += 1;
        on_backend!(conn, c => diesel::update(patient::table.find(row.pk))
            .set((patient::person.eq(found.person), patient::home.eq(row.home), patient::root.eq(root), patient::state.eq(state)))
            .execute(c))?;
        if found.retired {
            // Its survivor is read in its place.
            let holes =
                format!("DELETE FROM coverage_hole WHERE (ehr, patient) IN (SELECT ehr, fhir_id FROM patient WHERE pk = {})", row.pk);
            on_backend!(conn, c => diesel::sql_query(holes).execute(c))?;
        }
        concerned.extend([row.person, found.person]);
        if row.person != found.person {
            regrouped.extend([row.person, found.person]);
            let attempts = attempt::table.filter(attempt::person.eq(row.person)).filter(attempt::patient.eq(row.pk));
            on_backend!(conn, c => diesel::update(attempts).set(attempt::person.eq(found.person)).execute(c))?;
        }
    }
    carry(conn, &regrouped, look, now)?;
    for chunk in concerned.iter().copied().collect::<Vec<_>>().chunks(500) {
        // A send that was judged before must be judged again.
        let persons = person::table.filter(person::pk.eq_any(chunk.iter().copied()));
        on_backend!(conn, c => diesel::update(persons).set(person::contact_revision.eq(person::contact_revision + 1)).execute(c))?;
    }
    pending::mark(conn, &concerned, -1, now)?;
    pending::mark_outreach(conn, &concerned, now)?;
    Ok(changed)
}

/// What a record is that is not replaced any more.
fn state_in_use(conn: &mut Conn, record: i64) -> Result<&'static str, StoreError> {
    let (ehr, id): (String, String) =
        on_backend!(conn, c => patient::table.find(record).select((patient::ehr, patient::fhir_id)).first(c))?;
    let gone: Option<Option<i64>> = on_backend!(conn, c => resource::table
        .filter(resource::ehr.eq(ehr))
        .filter(resource::rtype.eq(ResourceType::Patient.as_str()))
        .filter(resource::fhir_id.eq(id))
        .select(resource::gone_at)
        .first(c)
        .optional())?;
    Ok(match gone {
        None => "stub",
        Some(None) => "live",
        Some(Some(_)) => "gone",
    })
}

/// Lets what was under way by segments go on where it was: a person who is joined or parted enters a segment anew, and must not begin a
/// program anew by that.
fn carry(conn: &mut Conn, regrouped: &BTreeSet<i64>, look: &Look, now: Timestamp) -> Result<(), StoreError> {
    if regrouped.is_empty() {
        return Ok(());
    }
    let homes: BTreeSet<i64> = look
        .rows
        .values()
        .filter(|r| regrouped.contains(&r.person) || regrouped.contains(&r.home))
        .map(|r| r.home)
        .chain(regrouped.iter().copied())
        .collect();
    for chunk in homes.into_iter().collect::<Vec<_>>().chunks(500) {
        let under_way = enrolment::state.eq("active").or(enrolment::ended_why.eq(super::enrolments::MERGED));
        let rows = enrolment::table
            .filter(enrolment::person.eq_any(chunk.iter().copied()))
            .filter(enrolment::anchor.eq("segment"))
            .filter(enrolment::carried_at.is_null())
            .filter(under_way);
        on_backend!(conn, c => diesel::update(rows).set(enrolment::carried_at.eq(now.micros())).execute(c))?;
    }
    Ok(())
}

fn write_doubts(conn: &mut Conn, look: &Look, settled: &BTreeMap<i64, Settled>, now: Timestamp) -> Result<(), StoreError> {
    let all: Vec<i64> = look.rows.keys().copied().collect();
    #[derive(QueryableByName)]
    struct Noted {
        #[diesel(sql_type = BigInt)]
        record: i64,
        #[diesel(sql_type = Text)]
        reason: String,
    }
    let elsewhere = Doubt::Elsewhere.as_str();
    let noted: Vec<Noted> = bulk::select_numbers(conn, "SELECT record, reason FROM person_review", "record", &all, "")?;
    let noted: BTreeSet<(i64, String)> =
        noted.into_iter().map(|n| (n.record, n.reason)).filter(|(_, reason)| reason != elsewhere).collect();
    let found: BTreeSet<(i64, String)> = settled
        .iter()
        .flat_map(|(record, s)| s.doubts.iter().map(|d| (*record, d.as_str().to_owned())))
        .filter(|(_, reason)| reason != elsewhere)
        .collect();
    for (record, reason) in noted.difference(&found) {
        on_backend!(conn, c => diesel::delete(person_review::table.find((record, reason))).execute(c))?;
    }
    for (record, reason) in found.difference(&noted) {
        let row = (person_review::record.eq(record), person_review::reason.eq(reason), person_review::since.eq(now.micros()));
        on_backend!(conn, c => diesel::insert_into(person_review::table).values(row).on_conflict_do_nothing().execute(c))?;
    }
    Ok(())
}
