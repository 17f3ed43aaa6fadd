//! A fresh database per test, on each engine, made from a template that is migrated once.
//!
//! SQLite: the template is a file's bytes, a test's database is a copy. PostgreSQL: the template is a database on the server at
//! `TEST_DATABASE_URL`, named after the content of the migrations; a test's database is created from it and dropped when the test ends.

use std::sync::LazyLock;

use fhir_engage::store::{Location, Store};

use super::temp::TempDir;

/// Which engine a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The embedded one.
    Sqlite,
    /// The one for several nodes.
    Postgres,
}

/// A database of one test; gone when this value is dropped.
pub struct Database {
    location: Location,
    _keep: Keep,
}

enum Keep {
    Folder(#[expect(dead_code, reason = "held for its drop")] TempDir),
    #[cfg(feature = "postgres")]
    Server(#[expect(dead_code, reason = "held for its drop")] server::Dropped),
}

static SQLITE_TEMPLATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = TempDir::new();
    let file = folder.join("template.db");
    Store::migrate(&Location::Sqlite(file.clone())).unwrap();
    std::fs::read(file).unwrap()
});

impl Database {
    /// A migrated database without a row; `None` where the engine cannot be had here, which has been reported then.
    pub fn fresh(backend: Backend) -> Option<Self> {
        match backend {
            Backend::Sqlite => {
                let new = Self::sqlite();
                let Location::Sqlite(file) = &new.location else { unreachable!("made as SQLite") };
                std::fs::write(file, SQLITE_TEMPLATE.as_slice()).unwrap();
                Some(new)
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres => server::create(Some(server::template()?)),
            #[cfg(not(feature = "postgres"))]
            Backend::Postgres => None,
        }
    }

    /// A database without tables; `None` as for [`Database::fresh`].
    pub fn empty(backend: Backend) -> Option<Self> {
        match backend {
            Backend::Sqlite => Some(Self::sqlite()),
            #[cfg(feature = "postgres")]
            Backend::Postgres => server::create(None),
            #[cfg(not(feature = "postgres"))]
            Backend::Postgres => None,
        }
    }

    fn sqlite() -> Self {
        let folder = TempDir::new();
        Self { location: Location::Sqlite(folder.join("gateway.db")), _keep: Keep::Folder(folder) }
    }

    /// Which engine it is of.
    pub fn backend(&self) -> Backend {
        match self.location {
            Location::Sqlite(_) => Backend::Sqlite,
            Location::Postgres(_) => Backend::Postgres,
        }
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        self.location.clone()
    }

    /// A store on it. Each call opens another one, as another node would.
    pub fn store(&self) -> Store {
        Store::open_without_migrating(self.location()).unwrap()
    }

    /// What `--database` takes.
    pub fn argument(&self) -> String {
        match &self.location {
            Location::Sqlite(file) => file.to_str().unwrap().to_owned(),
            Location::Postgres(url) => url.expose().clone(),
        }
    }

    /// The column `line` of a query, for what the store's own functions do not tell. Both engines.
    #[expect(clippy::disallowed_methods, reason = "a look from outside the store")]
    pub fn lines(&self, sql: &str) -> Vec<String> {
        use diesel::connection::SimpleConnection as _;
        use diesel::{Connection as _, RunQueryDsl as _};
        #[derive(diesel::QueryableByName)]
        struct Line {
            #[diesel(sql_type = diesel::sql_types::Text)]
            line: String,
        }
        let rows: Vec<Line> = match &self.location {
            Location::Sqlite(file) => {
                let mut conn = diesel::SqliteConnection::establish(file.to_str().unwrap()).unwrap();
                // A gateway that was killed leaves a log to recover, which takes the file for a moment.
                conn.batch_execute("PRAGMA busy_timeout = 15000").unwrap();
                diesel::sql_query(sql).load(&mut conn)
            }
            #[cfg(feature = "postgres")]
            Location::Postgres(url) => diesel::sql_query(sql).load(&mut diesel::PgConnection::establish(url.expose()).unwrap()),
            #[cfg(not(feature = "postgres"))]
            Location::Postgres(_) => unreachable!("not built in"),
        }
        .unwrap();
        rows.into_iter().map(|r| r.line).collect()
    }

    /// How SQLite would go about a statement, a line per step.
    #[expect(clippy::disallowed_methods, reason = "a look from outside the store")]
    pub fn plan(&self, sql: &str) -> Vec<String> {
        use diesel::{Connection as _, RunQueryDsl as _};
        #[derive(diesel::QueryableByName)]
        struct Step {
            #[diesel(sql_type = diesel::sql_types::Text)]
            detail: String,
        }
        let Location::Sqlite(file) = &self.location else { panic!("the plans of PostgreSQL depend on what is stored") };
        let mut conn = diesel::SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(&mut conn).unwrap();
        steps.into_iter().map(|step| step.detail).collect()
    }

    /// Runs a statement as an administrator would, past the store.
    #[expect(clippy::disallowed_methods, reason = "a hand from outside the store")]
    pub fn execute(&self, sql: &str) {
        use diesel::Connection as _;
        use diesel::connection::SimpleConnection as _;
        match &self.location {
            Location::Sqlite(file) => {
                let mut conn = diesel::SqliteConnection::establish(file.to_str().unwrap()).unwrap();
                conn.batch_execute("PRAGMA busy_timeout = 15000").unwrap();
                conn.batch_execute(sql)
            }
            #[cfg(feature = "postgres")]
            Location::Postgres(url) => diesel::PgConnection::establish(url.expose()).unwrap().batch_execute(sql),
            #[cfg(not(feature = "postgres"))]
            Location::Postgres(_) => unreachable!("not built in"),
        }
        .unwrap();
    }
}

#[cfg(feature = "postgres")]
mod server {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{LazyLock, Mutex, PoisonError};

    use diesel::connection::SimpleConnection as _;
    use diesel::{Connection as _, PgConnection};
    use fhir_engage::store::{Location, Store};

    use super::super::prerequisite::prerequisite;
    use super::{Database, Keep};

    /// Drops a database when it is dropped itself.
    pub struct Dropped(String);

    impl Drop for Dropped {
        fn drop(&mut self) {
            if let Some(url) = url() {
                // FORCE: a killed gateway's connections may still be closing.
                drop(admin(&url).batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0)));
            }
        }
    }

    fn url() -> Option<String> {
        std::env::var("TEST_DATABASE_URL").ok().filter(|v| !v.is_empty())
    }

    #[expect(clippy::disallowed_methods, reason = "databases are made and dropped from outside the store")]
    fn admin(url: &str) -> PgConnection {
        PgConnection::establish(url).expect("TEST_DATABASE_URL names a server that takes the connection")
    }

    fn within(server: &str, database: &str) -> Location {
        let mut url = url::Url::parse(server).expect("TEST_DATABASE_URL is a postgres:// URL");
        url.set_path(database);
        Location::parse(url.as_str())
    }

    /// The name of the template that fits the migrations as they are in the source now.
    fn template_name() -> String {
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres")).unwrap() {
            files.push(folder.unwrap().path().join("up.sql"));
        }
        files.sort();
        let mut hash = DefaultHasher::new();
        for file in files {
            file.hash(&mut hash);
            std::fs::read(&file).unwrap_or_default().hash(&mut hash);
        }
        format!("fhir_engage_template_{:016x}", hash.finish())
    }

    /// Makes the template once per process; another process that makes the same one is waited for.
    pub fn template() -> Option<&'static str> {
        static MADE: LazyLock<Option<String>> = LazyLock::new(|| {
            let server = url()?;
            let name = template_name();
            let mut conn = admin(&server);
            conn.batch_execute("SELECT pg_advisory_lock(7309874)").unwrap();
            // Fails where it is there already, which is well; anything else shows in the migration.
            drop(conn.batch_execute(&format!("CREATE DATABASE {name}")));
            Store::migrate(&within(&server, &name)).unwrap();
            Some(name)
        });
        // Reported for each test by its own name, so not inside the lock.
        prerequisite("TEST_DATABASE_URL")?;
        MADE.as_deref()
    }

    pub fn create(template: Option<&str>) -> Option<Database> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // One at a time: the server refuses to copy a template that another session looks at.
        static TURN: Mutex<()> = Mutex::new(());
        let server = prerequisite("TEST_DATABASE_URL")?;
        let name = format!("fhir_engage_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut conn = admin(&server);
        conn.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).unwrap();
        conn.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {}", template.unwrap_or("template0"))).unwrap();
        drop(guard);
        Some(Database { location: within(&server, &name), _keep: Keep::Server(Dropped(name)) })
    }
}

/// Stamps each test for both engines, as `name::sqlite` and `name::postgres`. The body gets a fresh migrated [`Database`].
macro_rules! on_both {
    () => {};
    ($(#[$meta:meta])* fn $name:ident($db:ident) $body:block $($rest:tt)*) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, clippy::allow_attributes, reason = "a body may need nothing of its module")]
            use super::*;

            fn on_each_engine($db: $crate::support::Database) $body

            #[test]
            fn sqlite() {
                on_each_engine($crate::support::Database::fresh($crate::support::Backend::Sqlite).expect("SQLite is built in"));
            }

            #[test]
            #[cfg(feature = "postgres")]
            fn postgres() {
                if let Some(db) = $crate::support::Database::fresh($crate::support::Backend::Postgres) {
                    on_each_engine(db);
                }
            }
        }
        $crate::support::on_both! { $($rest)* }
    };
    ($(#[$meta:meta])* async fn $name:ident($db:ident) $body:block $($rest:tt)*) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, clippy::allow_attributes, reason = "a body may need nothing of its module")]
            use super::*;

            async fn on_each_engine($db: $crate::support::Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                on_each_engine($crate::support::Database::fresh($crate::support::Backend::Sqlite).expect("SQLite is built in")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[cfg(feature = "postgres")]
            async fn postgres() {
                if let Some(db) = $crate::support::Database::fresh($crate::support::Backend::Postgres) {
                    on_each_engine(db).await;
                }
            }
        }
        $crate::support::on_both! { $($rest)* }
    };
}
pub(crate) use on_both;
