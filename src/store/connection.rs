//! Connections to either engine, and the macro that type-checks one query body against both.
//!
//! `diesel::MultiConnection` compiles neither upserts nor batch inserts, and sync is mostly upserts. So a connection is a plain enum,
//! and [`on_backend!`] expands to a match with the same body in each arm. The few statements that differ in dialect are in `bulk`,
//! `leases` and `writebacks`, written twice and tested on both.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
#[cfg(feature = "postgres")]
use diesel::pg::PgConnection;
use diesel::result::Error;
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::error::StoreError;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
#[cfg(feature = "postgres")]
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// An open connection.
pub enum Conn {
    /// The embedded engine.
    Sqlite(SqliteConnection),
    /// The engine for several nodes.
    #[cfg(feature = "postgres")]
    Postgres(PgConnection),
}

/// Runs one query body on whichever engine the connection is of.
macro_rules! on_backend {
    ($conn:expr, $c:ident => $body:expr) => {
        match $conn {
            $crate::store::connection::Conn::Sqlite($c) => $body,
            #[cfg(feature = "postgres")]
            $crate::store::connection::Conn::Postgres($c) => $body,
        }
    };
}
pub(super) use on_backend;

/// Where the data is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of the embedded engine.
    Sqlite(PathBuf),
    /// A PostgreSQL connection string. Its `Debug` hides it: it may hold a password.
    Postgres(domain::model::Phi<String>),
}

impl Location {
    /// Reads `--database`: a `postgres://` or `postgresql://` URL, `sqlite:PATH`, or a path.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Self::Postgres(text.to_owned().into())
        } else {
            Self::Sqlite(PathBuf::from(text.strip_prefix("sqlite:").unwrap_or(text)))
        }
    }

    /// The engine's name, for people.
    #[must_use]
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

/// What a connection is for; it decides the size of its page cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

impl Conn {
    #[expect(clippy::disallowed_methods, reason = "the one place where connections are opened")]
    pub(super) fn open(location: &Location, purpose: Purpose) -> Result<Self, StoreError> {
        match location {
            Location::Sqlite(path) => {
                use diesel::Connection as _;
                let file = path.to_str().ok_or_else(|| StoreError::Unusable("the database path is not UTF-8".to_owned()))?;
                private(path).map_err(|_| cannot_open(path))?;
                let mut c = SqliteConnection::establish(file).map_err(|_| cannot_open(path))?;
                // mmap 0: measured to cost nothing, and a file cut short by a full disk then gives an error in place of a SIGBUS.
                let cache_kib = if purpose == Purpose::Write { 64 * 1024 } else { 4 * 1024 };
                let pragmas = format!(
                    "PRAGMA busy_timeout = 15000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
                     PRAGMA cache_size = -{cache_kib}; PRAGMA mmap_size = 0; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY;"
                );
                set_up(&mut c, &pragmas).map_err(|_| cannot_open(path))?;
                Ok(Self::Sqlite(c))
            }
            #[cfg(feature = "postgres")]
            Location::Postgres(url) => {
                use diesel::Connection as _;
                let mut c = PgConnection::establish(url.expose()).map_err(|_| {
                    // libpq's message can hold the connection string.
                    StoreError::Unusable("PostgreSQL did not take the connection: check host, port, database, user and password of --database".to_owned())
                })?;
                // A node that stands still in the middle of a transaction holds its locks no longer than a lease lasts.
                c.batch_execute("SET idle_in_transaction_session_timeout = '60s'")?;
                Ok(Self::Postgres(c))
            }
            #[cfg(not(feature = "postgres"))]
            Location::Postgres(_) => Err(StoreError::Unusable(
                "this build has no PostgreSQL: build it with `--features postgres` (needs the package libpq-dev), or leave out --database to use SQLite"
                    .to_owned(),
            )),
        }
    }

    /// The first connection of a process. Behind a pooler that hands each transaction another connection, statements that were prepared on one
    /// are run on another: at best they are not there, and at worst another client's of the same name is. That is looked for before anything is asked.
    ///
    /// # Errors
    /// Where the database cannot be opened, or is reached through such a pooler.
    pub(super) fn open_first(location: &Location) -> Result<Self, StoreError> {
        let conn = Self::open(location, Purpose::Write)?;
        #[cfg(feature = "postgres")]
        if let Self::Postgres(mut c) = conn {
            return if is_shared(&mut c, location)? { Err(StoreError::shared()) } else { Ok(Self::Postgres(c)) };
        }
        Ok(conn)
    }

    /// Runs the migrations that are missing; returns their names.
    pub(super) fn migrate(&mut self) -> Result<Vec<String>, StoreError> {
        fn run<DB: diesel::backend::Backend>(c: &mut impl MigrationHarness<DB>, known: EmbeddedMigrations) -> Result<Vec<String>, Boxed> {
            let all = MigrationSource::<DB>::migrations(&known)?;
            let done = c.run_pending_migrations(known)?;
            Ok(all.iter().filter(|m| done.contains(&m.name().version())).map(|m| m.name().to_string()).collect())
        }
        use diesel::migration::MigrationSource;
        // Two processes that start together must not both run them.
        match self {
            Self::Sqlite(c) => c.immediate_transaction(|c| run(c, SQLITE)),
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => one_at_a_time(c, |c| run(c, POSTGRES)),
        }
        .map_err(|e| StoreError::of_migration(&e.to_string()))
    }

    /// The migrations that are missing, by name, and whether the database has some that this program does not know.
    pub(super) fn pending_migrations(&mut self) -> Result<(Vec<String>, bool), StoreError> {
        fn look<DB: diesel::backend::Backend>(
            c: &mut impl MigrationHarness<DB>,
            known: EmbeddedMigrations,
        ) -> Result<(Vec<String>, bool), Boxed> {
            let all: Vec<_> = MigrationSource::<DB>::migrations(&known)?.iter().map(|m| m.name().version().as_owned()).collect();
            let missing = c.pending_migrations(known)?.iter().map(|m| m.name().to_string()).collect();
            let newer = c.applied_migrations()?.iter().any(|v| !all.contains(v));
            Ok((missing, newer))
        }
        use diesel::migration::MigrationSource;
        match self {
            Self::Sqlite(c) => look(c, SQLITE),
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => one_at_a_time(c, |c| look(c, POSTGRES)),
        }
        .map_err(|e| StoreError::of_migration(&e.to_string()))
    }

    /// Whether any migration was ever run.
    pub(super) fn has_migrations(&mut self) -> Result<bool, StoreError> {
        use diesel::RunQueryDsl as _;
        const SQLITE_TABLES: &str = "SELECT count(*) AS n FROM sqlite_master WHERE name = '__diesel_schema_migrations'";
        #[cfg(feature = "postgres")]
        const POSTGRES_TABLES: &str = "SELECT count(to_regclass('__diesel_schema_migrations')) AS n";
        let tables: Count = match self {
            Self::Sqlite(c) => diesel::sql_query(SQLITE_TABLES).get_result(c)?,
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => diesel::sql_query(POSTGRES_TABLES).get_result(c)?,
        };
        Ok(tables.n > 0)
    }

    pub(super) fn execute_batch(&mut self, sql: &str) -> Result<(), StoreError> {
        on_backend!(self, c => c.batch_execute(sql))?;
        Ok(())
    }

    /// Lets this transaction alone write a table until it ends, so that of two processes that look and then add, the later one sees what
    /// the earlier one added. Reads go on. SQLite has one writer at a time anyway.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite needs no lock on a table"))]
    pub(super) fn write_alone(&mut self, table: &'static str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => Ok(c.batch_execute(&format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))?),
        }
    }

    /// Lets this transaction alone go on with what has that name until it ends; another one that asks for it waits. SQLite has one writer at a
    /// time anyway.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite needs no lock"))]
    pub(super) fn alone(&mut self, name: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => {
                let [a, b, c_, d, e, f, g, h, ..] = super::codec::content_hash(name.as_bytes());
                let key = i64::from_le_bytes([a, b, c_, d, e, f, g, h]);
                Ok(c.batch_execute(&format!("SELECT pg_advisory_xact_lock({key})"))?)
            }
        }
    }

    pub(super) const fn begin(&self) -> &'static str {
        match self {
            // A transaction that reads first and writes later fails at once under WAL when another one wrote in between.
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "BEGIN",
        }
    }

    /// Begins a transaction that reads, and that sees no commit which comes after its first statement.
    pub(super) const fn begin_snapshot(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// How long a second connection is waited for: a pooler that has none to give lets it wait.
#[cfg(feature = "postgres")]
const SECOND: Duration = Duration::from_secs(3);

/// Whether transactions of this connection run in whichever session of the server is free. A connection that is one session's alone has its own while
/// a second one is inside of a transaction, and after that; and the second one never has it.
#[cfg(feature = "postgres")]
fn is_shared(c: &mut PgConnection, location: &Location) -> Result<bool, StoreError> {
    use std::sync::mpsc;
    let (own, location) = (session_of(c)?, location.clone());
    let ((tell, told), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
    let second = std::thread::spawn(move || {
        let Ok(Conn::Postgres(mut c)) = Conn::open(&location, Purpose::Read) else { return };
        let asked = c.batch_execute("BEGIN").map_err(StoreError::from).and_then(|()| number(&mut c));
        // Whoever asked may have gone on without an answer.
        let _ = tell.send(asked);
        let _ = released.recv();
        let ended = c.batch_execute("COMMIT").map_err(StoreError::from);
        let _ = tell.send(ended.map(|()| 0));
        // Until it was looked at: a session that ends with its connection would be nobody's to take.
        let _ = released.recv();
    });
    let other = told.recv_timeout(SECOND);
    let mut shared = matches!(other, Ok(Ok(other)) if other == own) || session_of(c)? != own;
    if other.is_ok() {
        let _ = release.send(());
        shared |= told.recv_timeout(SECOND).is_ok() && session_of(c)? != own;
        drop(release);
        let _ = second.join();
    }
    Ok(shared)
}

/// The server's number of the session that a transaction runs in.
#[cfg(feature = "postgres")]
fn session_of(c: &mut PgConnection) -> Result<i64, StoreError> {
    c.batch_execute("BEGIN")?;
    let number = number(c);
    c.batch_execute("COMMIT")?;
    number
}

#[cfg(feature = "postgres")]
fn number(c: &mut PgConnection) -> Result<i64, StoreError> {
    use diesel::RunQueryDsl as _;
    Ok(diesel::sql_query("SELECT CAST(pg_backend_pid() AS BIGINT) AS n").get_result::<Count>(c)?.n)
}

/// Holds off other nodes' migrations; also a look makes the table of migrations, and `CREATE TABLE IF NOT EXISTS` is no lock.
#[cfg(feature = "postgres")]
fn one_at_a_time<T>(c: &mut PgConnection, f: impl FnOnce(&mut PgConnection) -> Result<T, Boxed>) -> Result<T, Boxed> {
    c.batch_execute("SELECT pg_advisory_lock(7309873)")?;
    let done = f(c);
    c.batch_execute("SELECT pg_advisory_unlock(7309873)")?;
    done
}

/// Makes the file where there is none, readable by its owner only. SQLite gives its log the same mode.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// For how long whoever comes second at setting a database up comes again, and how soon each time.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(25);

/// Sets a connection up. SQLite does not wait where a file becomes one with a log, or that log is recovered, while another process is at
/// the same (<https://www.sqlite.org/wal.html>, "Sometimes Queries Return SQLITE_BUSY In WAL Mode"). Where it did wait, that was long enough.
fn set_up(c: &mut SqliteConnection, pragmas: &str) -> diesel::QueryResult<()> {
    let began = Instant::now();
    loop {
        match c.batch_execute(pragmas) {
            Err(Error::DatabaseError(_, says)) if says.message().contains("locked") && began.elapsed() < PATIENCE => {
                std::thread::sleep(AGAIN)
            }
            done => return done,
        }
    }
}

fn cannot_open(path: &Path) -> StoreError {
    StoreError::Unusable(format!(
        "cannot open the database file {}: check that the folder exists, is writable and has space, and that the file is a SQLite database",
        path.display()
    ))
}
