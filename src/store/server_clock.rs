//! The database server's clock: the one that every node can look at.

use domain::Timestamp;

use super::connection::Conn;
use super::error::StoreError;

/// What the database server's clock shows; `None` where the database is a file of this machine.
///
/// # Errors
/// The engine's refusal.
pub fn now(conn: &mut Conn) -> Result<Option<Timestamp>, StoreError> {
    match conn {
        Conn::Sqlite(_) => Ok(None),
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            use diesel::RunQueryDsl as _;
            #[derive(diesel::QueryableByName)]
            struct Shown {
                #[diesel(sql_type = diesel::sql_types::BigInt)]
                micros: i64,
            }
            // Not the transaction's beginning, which `now()` is.
            let shown: Shown =
                diesel::sql_query("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS micros").get_result(c)?;
            Ok(Some(Timestamp::from_micros(shown.micros)))
        }
    }
}
