//! What can go wrong in the store. No message holds a bound value: diesel's do not, except PostgreSQL's detail line, which is never read.

use diesel::result::{DatabaseErrorKind, Error as Diesel};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The lease was lost: someone else holds it, or it was released. What was to be written was not.
    #[error("the lease on {0} was lost to another worker; nothing was written, the other one goes on")]
    LeaseLost(String),
    /// The database cannot be used; the text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// A migration failed.
    #[error("a migration of the database failed: {0}")]
    Migration(String),
    /// The schema is not the one that this program knows.
    #[error("the database lacks migrations; run `fhir-engage migrate`")]
    NotMigrated,
    /// The schema is newer than this program.
    #[error("the database was made by a newer fhir-engage; use that version, or restore a backup")]
    TooNew,
    /// Stored data cannot be read.
    #[error("stored data cannot be read: {0}")]
    Damaged(&'static str),
    /// The engine refused a statement.
    #[error("the database refused a statement: {0}")]
    Refused(String),
    /// The engine is busy or cancelled the transaction; trying again may help.
    #[error("the database is busy")]
    Busy,
}

impl StoreError {
    /// A pooler between the database and us hands each transaction another connection.
    pub(super) fn shared() -> Self {
        Self::Unusable(
            "the database is reached through a pooler that gives each transaction another connection (pgbouncer: pool_mode = transaction), \
             which loses prepared statements and session locks: set pool_mode = session for this database, or leave the pooler out"
                .to_owned(),
        )
    }

    /// What a migration ended with.
    pub(super) fn of_migration(text: &str) -> Self {
        if is_of_another_session(text) { Self::shared() } else { Self::Migration(text.to_owned()) }
    }

    /// Whether the same transaction may go through when it is run again.
    pub(super) const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

impl From<Diesel> for StoreError {
    fn from(error: Diesel) -> Self {
        match error {
            Diesel::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => Self::Busy,
            Diesel::DatabaseError(DatabaseErrorKind::ClosedConnection, _) => {
                Self::Unusable("the connection to the database was closed".to_owned())
            }
            Diesel::DatabaseError(kind, info) => {
                let text = info.message();
                if text.contains("deadlock detected") || text.contains("database is locked") || text.contains("database table is locked") {
                    return Self::Busy;
                }
                if is_of_another_session(text) {
                    return Self::shared();
                }
                match kind {
                    DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::CheckViolation
                    | DatabaseErrorKind::NotNullViolation => Self::Refused(format!(
                        "{kind:?} of {}",
                        info.constraint_name().or_else(|| info.table_name()).unwrap_or("a constraint")
                    )),
                    // The primary message of the engine names tables, files and limits, not bound values.
                    _ => Self::Refused(text.to_owned()),
                }
            }
            Diesel::NotFound => Self::Damaged("a row that must exist does not"),
            Diesel::DeserializationError(_) => Self::Damaged("a column has an unexpected type"),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Whether a statement that this connection prepared is not there, or one that it did not prepare is: it is not always the same session.
fn is_of_another_session(text: &str) -> bool {
    text.starts_with("prepared statement") && (text.ends_with("already exists") || text.ends_with("does not exist"))
}

#[cfg(test)]
mod tests {
    use super::StoreError;

    #[test]
    fn a_statement_of_another_session_is_told_as_what_it_is() {
        for text in ["prepared statement \"__diesel_stmt_1\" already exists", "prepared statement \"__diesel_stmt_3\" does not exist"] {
            let told = StoreError::of_migration(text).to_string();
            assert!(told.contains("pool_mode = session"), "{told}");
        }
        assert!(matches!(StoreError::of_migration("relation \"x\" already exists"), StoreError::Migration(_)));
    }
}
