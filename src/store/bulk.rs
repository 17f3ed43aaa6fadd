//! Statements over many rows at once. The hot path of a sync is a handful of these, so they are worth a dialect branch: SQLite takes
//! `VALUES (?, ..), (?, ..)` in chunks, PostgreSQL takes one `UNNEST` of arrays whatever the size.
//!
//! On PostgreSQL a batch must not hold the same key twice, and two transactions must touch keys in the same order; callers sort and
//! de-duplicate.

use diesel::RunQueryDsl;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Binary, Nullable, Text};

use super::connection::Conn;
use super::error::StoreError;

/// The values of one column, a row each.
pub(super) enum Column<'a> {
    Int(Vec<i64>),
    IntOrNull(Vec<Option<i64>>),
    Text(Vec<&'a str>),
    TextOrNull(Vec<Option<&'a str>>),
    Bytes(Vec<&'a [u8]>),
}

impl Column<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Int(v) => v.len(),
            Self::IntOrNull(v) => v.len(),
            Self::Text(v) => v.len(),
            Self::TextOrNull(v) => v.len(),
            Self::Bytes(v) => v.len(),
        }
    }

    #[cfg(feature = "postgres")]
    const fn array_type(&self) -> &'static str {
        match self {
            Self::Int(_) | Self::IntOrNull(_) => "bigint[]",
            Self::Text(_) | Self::TextOrNull(_) => "text[]",
            Self::Bytes(_) => "bytea[]",
        }
    }
}

/// An insert of many rows.
pub(super) struct Insert<'a> {
    /// `table (a, b, c)`
    pub into: &'a str,
    /// Columns in that order, all of the same length.
    pub columns: Vec<Column<'a>>,
    /// What follows the values: `ON CONFLICT ...`, without RETURNING.
    pub conflict: &'a str,
}

/// Rows of one SQLite statement: its limit is 32,766 bound values, but the gain ends early and the text must be parsed each time.
const ROWS: usize = 100;

fn bind_row<'f>(
    mut q: BoxedSqlQuery<'f, diesel::sqlite::Sqlite, SqlQuery>,
    columns: &'f [Column<'f>],
    row: usize,
) -> BoxedSqlQuery<'f, diesel::sqlite::Sqlite, SqlQuery> {
    for column in columns {
        q = match column {
            Column::Int(v) => q.bind::<Nullable<BigInt>, _>(v.get(row).copied()),
            Column::IntOrNull(v) => q.bind::<Nullable<BigInt>, _>(v.get(row).copied().flatten()),
            Column::Text(v) => q.bind::<Nullable<Text>, _>(v.get(row).copied()),
            Column::TextOrNull(v) => q.bind::<Nullable<Text>, _>(v.get(row).copied().flatten()),
            Column::Bytes(v) => q.bind::<Nullable<Binary>, _>(v.get(row).copied()),
        };
    }
    q
}

impl Insert<'_> {
    fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    fn sqlite_text(&self, rows: usize, returning: &str) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(","));
        let values = vec![row.as_str(); rows].join(",");
        // The parser needs WHERE true between SELECT and ON CONFLICT only; VALUES is unambiguous.
        format!("INSERT INTO {} VALUES {values} {} {returning}", self.into, self.conflict)
    }

    #[cfg(feature = "postgres")]
    fn postgres_query(&self, returning: &str) -> BoxedSqlQuery<'_, diesel::pg::Pg, SqlQuery> {
        use diesel::sql_types::Array;
        let arrays: Vec<String> = self.columns.iter().zip(1..).map(|(c, n)| format!("${n}::{}", c.array_type())).collect();
        let text = format!("INSERT INTO {} SELECT * FROM unnest({}) {} {returning}", self.into, arrays.join(","), self.conflict);
        let mut q = diesel::sql_query(text).into_boxed();
        for column in &self.columns {
            q = match column {
                Column::Int(v) => q.bind::<Array<BigInt>, _>(v),
                Column::IntOrNull(v) => q.bind::<Array<Nullable<BigInt>>, _>(v),
                Column::Text(v) => q.bind::<Array<Text>, _>(v),
                Column::TextOrNull(v) => q.bind::<Array<Nullable<Text>>, _>(v),
                Column::Bytes(v) => q.bind::<Array<Binary>, _>(v),
            };
        }
        q
    }

    /// Runs it; returns how many rows were written.
    pub(super) fn execute(&self, conn: &mut Conn) -> Result<usize, StoreError> {
        let total = self.rows();
        if total == 0 {
            return Ok(0);
        }
        match conn {
            Conn::Sqlite(c) => {
                let full = self.sqlite_text(ROWS.min(total), "");
                let mut written = 0;
                for start in (0..total).step_by(ROWS) {
                    let end = (start + ROWS).min(total);
                    let text = if end - start == ROWS.min(total) { full.clone() } else { self.sqlite_text(end - start, "") };
                    let mut q = diesel::sql_query(text).into_boxed();
                    for row in start..end {
                        q = bind_row(q, &self.columns, row);
                    }
                    written += q.execute(c)?;
                }
                Ok(written)
            }
            #[cfg(feature = "postgres")]
            Conn::Postgres(c) => Ok(self.postgres_query("").execute(c)?),
        }
    }

    /// Runs it and reads back the rows that were written, in no order.
    pub(super) fn returning<T>(&self, conn: &mut Conn, columns: &str) -> Result<Vec<T>, StoreError>
    where
        T: diesel::deserialize::QueryableByName<diesel::sqlite::Sqlite> + PgRow + 'static,
    {
        let total = self.rows();
        if total == 0 {
            return Ok(Vec::new());
        }
        let returning = format!("RETURNING {columns}");
        match conn {
            Conn::Sqlite(c) => {
                let mut all = Vec::with_capacity(total);
                for start in (0..total).step_by(ROWS) {
                    let end = (start + ROWS).min(total);
                    let mut q = diesel::sql_query(self.sqlite_text(end - start, &returning)).into_boxed();
                    for row in start..end {
                        q = bind_row(q, &self.columns, row);
                    }
                    all.extend(q.load::<T>(c)?);
                }
                Ok(all)
            }
            #[cfg(feature = "postgres")]
            Conn::Postgres(c) => Ok(self.postgres_query(&returning).load::<T>(c)?),
        }
    }
}

/// A row that PostgreSQL can return too; empty where the engine is not built in.
#[cfg(feature = "postgres")]
pub(super) trait PgRow: diesel::deserialize::QueryableByName<diesel::pg::Pg> {}
#[cfg(feature = "postgres")]
impl<T: diesel::deserialize::QueryableByName<diesel::pg::Pg>> PgRow for T {}
/// A row that PostgreSQL can return too; empty where the engine is not built in.
#[cfg(not(feature = "postgres"))]
pub(super) trait PgRow {}
#[cfg(not(feature = "postgres"))]
impl<T> PgRow for T {}

/// Reads the rows of `select` whose `column` is one of `keys`, after `ehr` and `rtype`-like fixed conditions that are bound first.
/// One prepared statement whatever the number of keys.
pub(super) fn select_texts<T>(
    conn: &mut Conn,
    select: &str,
    fixed: &[(&str, &str)],
    column: &str,
    keys: &[&str],
) -> Result<Vec<T>, StoreError>
where
    T: diesel::deserialize::QueryableByName<diesel::sqlite::Sqlite> + PgRow + 'static,
{
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    match conn {
        Conn::Sqlite(c) => {
            let conditions: String = fixed.iter().map(|(name, _)| format!("{name} = ? AND ")).collect();
            let mut q = diesel::sql_query(format!("{select} WHERE {conditions}{column} IN (SELECT value FROM json_each(?))")).into_boxed();
            for (_, value) in fixed {
                q = q.bind::<Text, _>(*value);
            }
            let list = serde_json::to_string(keys).map_err(|_| StoreError::Damaged("a list of keys"))?;
            Ok(q.bind::<Text, _>(list).load::<T>(c)?)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            let conditions: String = fixed.iter().zip(1..).map(|((name, _), n)| format!("{name} = ${n} AND ")).collect();
            let mut q = diesel::sql_query(format!("{select} WHERE {conditions}{column} = ANY(${})", fixed.len() + 1)).into_boxed();
            for (_, value) in fixed {
                q = q.bind::<Text, _>(*value);
            }
            Ok(q.bind::<diesel::sql_types::Array<Text>, _>(keys).load::<T>(c)?)
        }
    }
}

/// Reads from the listed texts as `k (value)`: `select` ends with FROM, `condition` follows the list.
pub(super) fn select_listed_texts<T>(conn: &mut Conn, select: &str, condition: &str, keys: &[&str]) -> Result<Vec<T>, StoreError>
where
    T: diesel::deserialize::QueryableByName<diesel::sqlite::Sqlite> + PgRow + 'static,
{
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    match conn {
        Conn::Sqlite(c) => {
            let list = serde_json::to_string(keys).map_err(|_| StoreError::Damaged("a list of keys"))?;
            Ok(diesel::sql_query(format!("{select} json_each(?) k {condition}")).bind::<Text, _>(list).load::<T>(c)?)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => Ok(diesel::sql_query(format!("{select} unnest($1::text[]) AS k (value) {condition}"))
            .bind::<diesel::sql_types::Array<Text>, _>(keys)
            .load::<T>(c)?),
    }
}

/// As [`select_listed_texts`], of numbers.
pub(super) fn select_listed_numbers<T>(conn: &mut Conn, select: &str, condition: &str, keys: &[i64]) -> Result<Vec<T>, StoreError>
where
    T: diesel::deserialize::QueryableByName<diesel::sqlite::Sqlite> + PgRow + 'static,
{
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    match conn {
        Conn::Sqlite(c) => {
            let list = serde_json::to_string(keys).map_err(|_| StoreError::Damaged("a list of keys"))?;
            Ok(diesel::sql_query(format!("{select} json_each(?) k {condition}")).bind::<Text, _>(list).load::<T>(c)?)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => Ok(diesel::sql_query(format!("{select} unnest($1::bigint[]) AS k (value) {condition}"))
            .bind::<diesel::sql_types::Array<BigInt>, _>(keys)
            .load::<T>(c)?),
    }
}

/// Reads the rows of `select` whose `column` is one of the numbers `keys`; `after` may hold ORDER BY.
pub(super) fn select_numbers<T>(conn: &mut Conn, select: &str, column: &str, keys: &[i64], after: &str) -> Result<Vec<T>, StoreError>
where
    T: diesel::deserialize::QueryableByName<diesel::sqlite::Sqlite> + PgRow + 'static,
{
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    match conn {
        Conn::Sqlite(c) => {
            let list = serde_json::to_string(keys).map_err(|_| StoreError::Damaged("a list of keys"))?;
            Ok(diesel::sql_query(format!("{select} WHERE {column} IN (SELECT value FROM json_each(?)) {after}"))
                .bind::<Text, _>(list)
                .load::<T>(c)?)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => Ok(diesel::sql_query(format!("{select} WHERE {column} = ANY($1) {after}"))
            .bind::<diesel::sql_types::Array<BigInt>, _>(keys)
            .load::<T>(c)?),
    }
}

/// A value bound to a `?`.
#[derive(Clone, Copy)]
pub(super) enum Bound<'a> {
    Int(i64),
    Text(&'a str),
}

/// Reads by a text that was put together at run time, with a `?` for each value. No value stands in the text itself.
pub(super) fn select_bound<T>(conn: &mut Conn, text: &str, values: &[Bound<'_>]) -> Result<Vec<T>, StoreError>
where
    T: diesel::deserialize::QueryableByName<diesel::sqlite::Sqlite> + PgRow + 'static,
{
    match conn {
        Conn::Sqlite(c) => {
            let mut q = diesel::sql_query(text).into_boxed();
            for value in values {
                q = match value {
                    Bound::Int(n) => q.bind::<BigInt, _>(*n),
                    Bound::Text(words) => q.bind::<Text, _>(*words),
                };
            }
            Ok(q.load::<T>(c)?)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            let (mut numbered, mut n) = (String::with_capacity(text.len() + values.len()), 0);
            for part in text.split_inclusive('?') {
                match part.strip_suffix('?') {
                    Some(before) => {
                        n += 1;
                        numbered.push_str(&format!("{before}${n}"));
                    }
                    None => numbered.push_str(part),
                }
            }
            let mut q = diesel::sql_query(numbered).into_boxed();
            for value in values {
                q = match value {
                    Bound::Int(n) => q.bind::<BigInt, _>(*n),
                    Bound::Text(words) => q.bind::<Text, _>(*words),
                };
            }
            Ok(q.load::<T>(c)?)
        }
    }
}

/// Deletes or updates by number: `statement` ends before the condition.
pub(super) fn execute_numbers(conn: &mut Conn, statement: &str, column: &str, keys: &[i64]) -> Result<usize, StoreError> {
    if keys.is_empty() {
        return Ok(0);
    }
    match conn {
        Conn::Sqlite(c) => {
            let list = serde_json::to_string(keys).map_err(|_| StoreError::Damaged("a list of keys"))?;
            Ok(diesel::sql_query(format!("{statement} WHERE {column} IN (SELECT value FROM json_each(?))"))
                .bind::<Text, _>(list)
                .execute(c)?)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => Ok(diesel::sql_query(format!("{statement} WHERE {column} = ANY($1)"))
            .bind::<diesel::sql_types::Array<BigInt>, _>(keys)
            .execute(c)?),
    }
}

/// Deletes or updates by text: `statement` ends before the condition; `fixed` conditions are bound first.
pub(super) fn execute_texts(
    conn: &mut Conn,
    statement: &str,
    fixed: &[(&str, &str)],
    column: &str,
    keys: &[&str],
) -> Result<usize, StoreError> {
    if keys.is_empty() {
        return Ok(0);
    }
    match conn {
        Conn::Sqlite(c) => {
            let conditions: String = fixed.iter().map(|(name, _)| format!("{name} = ? AND ")).collect();
            let text = format!("{statement} WHERE {conditions}{column} IN (SELECT value FROM json_each(?))");
            let mut q = diesel::sql_query(text).into_boxed();
            for (_, value) in fixed {
                q = q.bind::<Text, _>(*value);
            }
            let list = serde_json::to_string(keys).map_err(|_| StoreError::Damaged("a list of keys"))?;
            Ok(q.bind::<Text, _>(list).execute(c)?)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            let conditions: String = fixed.iter().zip(1..).map(|((name, _), n)| format!("{name} = ${n} AND ")).collect();
            let text = format!("{statement} WHERE {conditions}{column} = ANY(${})", fixed.len() + 1);
            let mut q = diesel::sql_query(text).into_boxed();
            for (_, value) in fixed {
                q = q.bind::<Text, _>(*value);
            }
            Ok(q.bind::<diesel::sql_types::Array<Text>, _>(keys).execute(c)?)
        }
    }
}

/// Deletes the rows of `table` whose (`a`, `b`) is one of the pairs.
pub(super) fn delete_pairs(conn: &mut Conn, table: &str, (a, b): (&str, &str), pairs: &[(i64, i64)]) -> Result<usize, StoreError> {
    if pairs.is_empty() {
        return Ok(0);
    }
    match conn {
        Conn::Sqlite(c) => {
            let list = serde_json::to_string(pairs).map_err(|_| StoreError::Damaged("a list of keys"))?;
            let text = format!(
                "DELETE FROM {table} WHERE ({a}, {b}) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))"
            );
            Ok(diesel::sql_query(text).bind::<Text, _>(list).execute(c)?)
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            use diesel::sql_types::Array;
            let (left, right): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
            let text =
                format!("DELETE FROM {table} t USING unnest($1::bigint[], $2::bigint[]) AS d(a, b) WHERE t.{a} = d.a AND t.{b} = d.b");
            Ok(diesel::sql_query(text).bind::<Array<BigInt>, _>(left).bind::<Array<BigInt>, _>(right).execute(c)?)
        }
    }
}
