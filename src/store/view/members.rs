//! Who is in a segment, or held, by name: for those who may see members.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::memberships::State;

/// A record of a member.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Member {
    /// The person.
    #[diesel(sql_type = BigInt)]
    pub person: i64,
    /// The EHR.
    #[diesel(sql_type = Text)]
    pub ehr: String,
    /// The record's id there.
    #[diesel(sql_type = Text)]
    pub fhir_id: String,
    /// The name; absent where none is known.
    #[diesel(sql_type = Nullable<Text>)]
    pub shown: Option<String>,
    /// The birth date.
    #[diesel(sql_type = Nullable<Text>)]
    pub born: Option<String>,
    /// Since when.
    #[diesel(sql_type = BigInt)]
    pub since: i64,
}

/// Members by the person's number, after `after`: the first record in use of each.
///
/// # Errors
/// The engine's refusal.
pub fn page(conn: &mut Conn, segment: i64, state: State, after: i64, limit: usize) -> Result<Vec<Member>, StoreError> {
    let text = format!(
        "SELECT m.person, p.ehr, p.fhir_id, l.shown, l.born, m.since
         FROM (SELECT person, since FROM membership WHERE segment = {segment} AND state = '{}' AND person > {after} ORDER BY person LIMIT {limit}) m
         JOIN patient p ON p.pk = (SELECT MIN(q.pk) FROM patient q WHERE q.person = m.person AND q.state = 'live')
         LEFT JOIN patient_label l ON l.record = p.pk ORDER BY m.person",
        state.as_str()
    );
    Ok(on_backend!(conn, c => diesel::sql_query(text).load(c))?)
}
