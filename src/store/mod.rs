//! The store: the only user of diesel and the only place with SQL. One file per table or per group of tables that is always written
//! together; `view` holds the reads for people.
//!
//! It keeps facts and opaque bytes and knows nothing of FHIR, of channels or of rules. It never holds a transaction across network
//! I/O: a caller hands in a closure over a connection, and the closure cannot await.
//!
//! Contract: look-ups return `Option` (not found is no error); whatever needs time takes a [`Timestamp`]; every write that belongs to a
//! task begins with [`leases::extend`], so a worker that lost its lease cannot write.

pub mod alerts;
pub mod answers;
pub mod attempts;
pub mod audit;
mod bulk;
pub mod chain;
mod checkpoint;
pub mod codec;
mod connection;
mod contact;
pub mod coverage;
pub mod days;
pub mod definitions;
pub mod derivations;
pub mod drops;
pub mod ehr_keys;
pub mod ehrs;
pub mod enrolments;
mod error;
pub mod expiries;
pub mod exports;
pub mod form_keys;
pub mod freshness;
pub mod gone;
pub mod grants;
pub mod installation;
pub mod joining;
pub mod keys;
pub mod labels;
mod lanes;
pub mod leases;
pub mod limits;
pub mod memberships;
pub mod openings;
pub mod own;
pub mod patient_reads;
pub mod pauses;
pub mod pending;
pub mod people;
mod pool;
pub mod preferences;
pub mod programs;
pub mod proofs;
pub mod quarantine;
pub mod reading;
pub mod references;
pub mod refresh;
pub mod resources;
pub mod roster;
pub mod schedules;
mod schema;
pub mod server_clock;
pub mod sessions;
pub mod sign_ins;
pub mod statements;
pub mod steps;
pub mod stops;
pub mod subscriptions;
pub mod sync_state;
mod text;
pub mod ties;
pub mod tokens;
pub mod turns;
pub mod view;
pub mod words;
pub mod writebacks;

use std::sync::Arc;

pub use connection::{Conn, Location};
pub use error::StoreError;
pub use lanes::Lane;
use pool::Pool;

/// A handle on the database; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    location: Location,
    pool: Pool,
    codec: codec::Codec,
    audits: audit::Waiting,
}

/// How far a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// There is none: no file, or no table in it.
    Absent,
    /// These migrations are missing, by name.
    Behind(Vec<String>),
    /// It is up to date.
    Current,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.location.engine())
    }
}

impl Store {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// Where it cannot be opened, or was made by a newer version.
    pub fn open(location: Location) -> Result<Self, StoreError> {
        let mut conn = Conn::open_first(&location)?;
        if conn.pending_migrations()?.1 {
            return Err(StoreError::TooNew);
        }
        conn.migrate()?;
        Self::with(location, conn)
    }

    /// Opens the database as it is; [`StoreError::NotMigrated`] where its schema is not up to date.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_without_migrating(location: Location) -> Result<Self, StoreError> {
        let mut conn = Conn::open_first(&location)?;
        match conn.pending_migrations()? {
            (_, true) => Err(StoreError::TooNew),
            (missing, _) if !missing.is_empty() => Err(StoreError::NotMigrated),
            _ => Self::with(location, conn),
        }
    }

    /// Runs the migrations that are missing; returns their names.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn migrate(location: &Location) -> Result<Vec<String>, StoreError> {
        let mut conn = Conn::open_first(location)?;
        if conn.pending_migrations()?.1 {
            return Err(StoreError::TooNew);
        }
        conn.migrate()
    }

    /// The migrations that are missing, by name.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn missing_migrations(location: &Location) -> Result<Vec<String>, StoreError> {
        match Conn::open(location, connection::Purpose::Read)?.pending_migrations()? {
            (_, true) => Err(StoreError::TooNew),
            (missing, _) => Ok(missing),
        }
    }

    /// How far a database is, without making or changing anything in it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn look(location: &Location) -> Result<Schema, StoreError> {
        if matches!(location, Location::Sqlite(path) if !path.exists()) {
            return Ok(Schema::Absent);
        }
        let mut conn = Conn::open_first(location)?;
        // To ask for what is missing makes the table of migrations.
        if !conn.has_migrations()? {
            return Ok(Schema::Absent);
        }
        Ok(match conn.pending_migrations()? {
            (_, true) => return Err(StoreError::TooNew),
            (missing, _) if missing.is_empty() => Schema::Current,
            (missing, _) => Schema::Behind(missing),
        })
    }

    fn with(location: Location, mut first: Conn) -> Result<Self, StoreError> {
        let codec = codec::Codec::load(&mut first)?;
        let pool = Pool::new(location.clone(), first);
        Ok(Self(Arc::new(Inner { location, pool, codec, audits: audit::Waiting::default() })))
    }

    /// Where the data is kept.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// Compresses and decompresses bodies.
    #[must_use]
    pub fn codec(&self) -> &codec::Codec {
        &self.0.codec
    }

    /// Runs a transaction that writes, named for logs. The closure may run again after a deadlock, so it must not keep state between runs.
    ///
    /// # Errors
    /// What the closure returns, or the engine's refusal; nothing was written then.
    pub async fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        f: impl FnMut(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        blocking(move || store.write_blocking(Lane::Interactive, name, f)).await
    }

    /// As [`Store::write`], for a caller that is on a thread that may block, with the lane to queue in.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_blocking<T>(
        &self,
        lane: Lane,
        name: &'static str,
        mut f: impl FnMut(&mut Conn) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tries = 0;
        loop {
            match self.0.pool.transaction(lane, &mut f) {
                Err(error) if error.is_transient() && tries < 8 => {
                    tries += 1;
                    tracing::debug!(transaction = name, tries, "the database was busy; the transaction runs again");
                    std::thread::sleep(std::time::Duration::from_millis(5 << tries));
                }
                Err(error) => {
                    if !matches!(error, StoreError::LeaseLost(_)) {
                        tracing::warn!(transaction = name, error = %error, "a transaction failed");
                    }
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    /// Runs a read, off the async threads.
    ///
    /// # Errors
    /// What the closure returns.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        blocking(move || store.read_blocking(f)).await
    }

    /// As [`Store::read`], for a caller that is on a thread that may block.
    ///
    /// # Errors
    /// What the closure returns.
    pub fn read_blocking<T>(&self, f: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.pool.read(f)
    }

    /// As [`Store::read`], with all statements of the closure seeing one state of the database.
    ///
    /// # Errors
    /// What the closure returns.
    pub async fn snapshot<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        blocking(move || store.snapshot_blocking(f)).await
    }

    /// As [`Store::snapshot`], for a caller that is on a thread that may block.
    ///
    /// # Errors
    /// What the closure returns.
    pub fn snapshot_blocking<T>(&self, f: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.pool.read(|conn| {
            let begin = conn.begin_snapshot();
            conn.execute_batch(begin)?;
            let done = f(conn);
            // Nothing was written. The first error is the one to tell.
            match (done, conn.execute_batch("ROLLBACK")) {
                (Ok(_), Err(error)) => Err(error),
                (done, _) => done,
            }
        })
    }

    /// How many rows one bulk transaction should hold now: many when nobody waits, few while pages are being served, so that the one
    /// writer of SQLite is held for about 100 ms or about 10 ms (`data-model.md`, "One SQLite writer").
    #[must_use]
    pub fn bulk_rows(&self) -> usize {
        self.0.pool.bulk_rows()
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(join) => match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Unusable("the program is shutting down".to_owned())),
        },
    }
}
