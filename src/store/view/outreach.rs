//! Outreach in counts: by program, channel, state and outcome, and why the gate said no. Counting walks through an index: pages keep what
//! it found for a while.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;

/// How many attempts are alike.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Alike {
    /// The program.
    #[diesel(sql_type = Text)]
    pub program: String,
    /// The channel; absent where none was chosen yet.
    #[diesel(sql_type = Nullable<Text>)]
    pub channel: Option<String>,
    /// Their state.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Their outcome, once finished.
    #[diesel(sql_type = Nullable<Text>)]
    pub outcome: Option<String>,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub n: i64,
}

/// How many were refused for the same reasons.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Refused {
    /// The reasons, as codes.
    #[diesel(sql_type = Text)]
    pub why: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub n: i64,
}

/// Outreach in counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Attempts that are alike.
    pub alike: Vec<Alike>,
    /// Refusals by reason, the most frequent first.
    pub refused: Vec<Refused>,
}

/// Counts.
///
/// # Errors
/// The engine's refusal.
pub fn counts(conn: &mut Conn) -> Result<Counts, StoreError> {
    let alike = "SELECT program, channel, state, outcome, COUNT(*) AS n FROM attempt GROUP BY program, state, channel, outcome ORDER BY program, state";
    let refused = "SELECT COALESCE(failure, '') AS why, COUNT(*) AS n FROM attempt WHERE state = 'refused' GROUP BY failure ORDER BY COUNT(*) DESC, 1 LIMIT 50";
    Ok(Counts {
        alike: on_backend!(conn, c => diesel::sql_query(alike).load(c))?,
        refused: on_backend!(conn, c => diesel::sql_query(refused).load(c))?,
    })
}
