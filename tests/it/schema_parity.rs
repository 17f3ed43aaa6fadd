//! Holds the two migration sets and `src/store/schema/` together: the same names; after migrating both engines the same tables, columns,
//! nullability, kinds of type, keys and indexes; and the same again in what diesel is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fhir_engage::store::Store;

use crate::support::{Backend, Database};

fn folders(engine: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
    std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn both_engines_have_the_same_migrations_with_both_ways() {
    let sqlite = folders("sqlite");
    assert_eq!(sqlite, folders("postgres"));
    assert!(!sqlite.is_empty());
    for (engine, name) in ["sqlite", "postgres"].iter().flat_map(|e| sqlite.iter().map(move |n| (e, n))) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine).join(name);
        assert!(folder.join("up.sql").is_file() && folder.join("down.sql").is_file(), "{}", folder.display());
    }
}

/// A column as `table.column kind null|required`, the kind by what both engines and diesel mean by it.
fn columns(db: &Database) -> BTreeSet<String> {
    let lines = match db.location() {
        fhir_engage::store::Location::Sqlite(_) => db.lines(
            // An INTEGER PRIMARY KEY is the row's number, 64 bits wide, and can be nothing else.
            "SELECT m.name || '.' || c.name || ' ' || CASE c.type WHEN 'INTEGER' THEN 'BIGINT' ELSE c.type END || ' ' || CASE WHEN c.\"notnull\" = 1 OR c.pk > 0 THEN 'required' ELSE 'null' END AS line
             FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'",
        ),
        fhir_engage::store::Location::Postgres(_) => db.lines(
            "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || CASE is_nullable WHEN 'NO' THEN 'required' ELSE 'null' END AS line
             FROM information_schema.columns WHERE table_schema = 'public'",
        ),
    };
    lines.into_iter().filter(|l| !l.starts_with("__diesel")).map(|l| family(&l)).collect()
}

fn family(line: &str) -> String {
    let (name, rest) = line.split_once(' ').unwrap();
    let (kind, null) = rest.rsplit_once(' ').unwrap();
    let kind = match kind.to_lowercase().as_str() {
        "bigint" => "number",
        "text" => "text",
        "blob" | "bytea" | "binary" => "bytes",
        "boolean" | "bool" => "boolean",
        other => panic!("{name} is of type {other}, which the column rules do not know"),
    };
    format!("{name} {kind} {null}")
}

/// Keys and indexes as `table (a, b) key|unique|index`, whatever their names.
fn indexes(db: &Database) -> BTreeSet<String> {
    let lines = match db.location() {
        fhir_engage::store::Location::Sqlite(_) => {
            // The key of an ordinary table is in the columns; other keys, unique constraints and indexes are in the index list.
            let mut lines = db.lines(
                "SELECT m.name || ' (' || (SELECT group_concat(name, ', ') FROM (SELECT name FROM pragma_table_info(m.name) WHERE pk > 0 ORDER BY pk)) || ') key' AS line
                 FROM sqlite_master m WHERE m.type = 'table'",
            );
            lines.extend(db.lines(
                "SELECT m.name || ' (' || (SELECT group_concat(name, ', ') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) || ') '
                 || CASE i.\"unique\" WHEN 1 THEN 'unique' ELSE 'index' END AS line
                 FROM sqlite_master m, pragma_index_list(m.name) i WHERE m.type = 'table' AND i.origin <> 'pk'",
            ));
            lines
        }
        fhir_engage::store::Location::Postgres(_) => db.lines(
            "SELECT t.relname || ' (' || (SELECT string_agg(a.attname, ', ' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, n)
             JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) || ') '
             || CASE WHEN i.indisprimary THEN 'key' WHEN i.indisunique THEN 'unique' ELSE 'index' END AS line
             FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace s ON s.oid = t.relnamespace WHERE s.nspname = 'public'",
        ),
    };
    lines.into_iter().filter(|l| !l.starts_with("__diesel")).collect()
}

/// References as `table.column -> table`.
fn references(db: &Database) -> BTreeSet<String> {
    let lines = match db.location() {
        fhir_engage::store::Location::Sqlite(_) => {
            db.lines("SELECT m.name || '.' || f.\"from\" || ' -> ' || f.\"table\" AS line FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'")
        }
        fhir_engage::store::Location::Postgres(_) => db.lines(
            "SELECT t.relname || '.' || a.attname || ' -> ' || r.relname AS line FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
             JOIN pg_class r ON r.oid = c.confrelid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.conkey[1] WHERE c.contype = 'f'",
        ),
    };
    lines.into_iter().collect()
}

/// The files of `src/store/schema/`, one after the other.
fn schema() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/schema");
    std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

/// The columns that the schema declares, in the same words.
fn declared(schema: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for table in schema.split("diesel::table! {").skip(1) {
        let (head, rest) = table.split_once('{').unwrap();
        let name = head.split_whitespace().next().unwrap();
        for column in rest.split_once('}').unwrap().0.lines().filter_map(|l| l.trim().trim_end_matches(',').split_once(" -> ")) {
            let inner = column.1.strip_prefix("Nullable<").and_then(|t| t.strip_suffix('>'));
            let null = if inner.is_some() { "null" } else { "required" };
            all.insert(family(&format!("{name}.{} {} {null}", column.0, inner.unwrap_or(column.1))));
        }
    }
    all
}

/// The keys that the schema declares.
fn declared_keys(schema: &str) -> BTreeSet<String> {
    let heads = schema.split("diesel::table! {").skip(1).map(|t| t.split_once('{').unwrap().0.trim());
    heads.map(|head| format!("{head} key")).collect()
}

#[track_caller]
fn same(left: (&str, &BTreeSet<String>), right: (&str, &BTreeSet<String>)) {
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>().join("\n  ");
    assert!(left.1 == right.1, "\nonly in {}:\n  {}\nonly in {}:\n  {}\n", left.0, only(left.1, right.1), right.0, only(right.1, left.1));
}

#[test]
fn both_engines_have_the_same_tables_columns_keys_and_indexes() {
    let sqlite = Database::fresh(Backend::Sqlite).unwrap();
    let Some(postgres) = Database::fresh(Backend::Postgres) else {
        return;
    };
    assert!(
        columns(&sqlite).len() > 100 && indexes(&sqlite).len() > 30 && references(&sqlite).len() > 5,
        "the reader of SQLite's tables sees little"
    );
    same(("SQLite", &columns(&sqlite)), ("PostgreSQL", &columns(&postgres)));
    same(("SQLite", &indexes(&sqlite)), ("PostgreSQL", &indexes(&postgres)));
    same(("SQLite", &references(&sqlite)), ("PostgreSQL", &references(&postgres)));
}

#[test]
fn what_diesel_is_told_is_what_is_there() {
    let schema = schema();
    let db = Database::fresh(Backend::Sqlite).unwrap();
    same(("the schema", &declared(&schema)), ("the database", &columns(&db)));
    let keys = indexes(&db).into_iter().filter(|i| i.ends_with(" key")).collect();
    same(("the schema", &declared_keys(&schema)), ("the database", &keys));
}

/// The values that a CHECK lets a column have, by table and column, as each engine keeps them after all migrations.
fn checks(db: &Database) -> BTreeMap<String, BTreeSet<String>> {
    let lines = match db.location() {
        fhir_engage::store::Location::Sqlite(_) => {
            db.lines("SELECT name || char(10) || sql AS line FROM sqlite_master WHERE type = 'table'")
        }
        fhir_engage::store::Location::Postgres(_) => db.lines(
            "SELECT t.relname || chr(10) || a.attname || ' CHECK ' || pg_get_constraintdef(c.oid) AS line FROM pg_constraint c
             JOIN pg_class t ON t.oid = c.conrelid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.conkey[1]
             JOIN pg_namespace s ON s.oid = t.relnamespace WHERE c.contype = 'c' AND s.nspname = 'public'",
        ),
    };
    let mut all = BTreeMap::new();
    for text in lines {
        let (table, rest) = text.split_once('\n').unwrap();
        for (column, check) in rest.lines().filter_map(|line| line.split_once("CHECK ")) {
            let values = check.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
            all.insert(format!("{table}.{}", column.split_whitespace().next().unwrap()), values);
        }
    }
    all
}

#[test]
fn both_engines_let_the_same_values_in() {
    let (Some(sqlite), Some(postgres)) = (Database::fresh(Backend::Sqlite), Database::fresh(Backend::Postgres)) else { return };
    let (sqlite, postgres) = (checks(&sqlite), checks(&postgres));
    assert!(sqlite.len() > 5 && sqlite.values().all(|v| v.len() > 1), "{sqlite:?}");
    assert_eq!(sqlite, postgres);
}

#[test]
fn down_takes_everything_away_and_up_brings_it_back() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Some(db) = Database::fresh(backend) else { continue };
        let before = (columns(&db), indexes(&db));
        let engine = if backend == Backend::Sqlite { "sqlite" } else { "postgres" };
        for name in folders(engine).iter().rev() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine).join(name).join("down.sql");
            db.execute(&std::fs::read_to_string(path).unwrap());
        }
        assert_eq!(columns(&db), BTreeSet::new(), "{backend:?}");
        db.execute("DELETE FROM __diesel_schema_migrations");
        Store::migrate(&db.location()).unwrap();
        assert_eq!((columns(&db), indexes(&db)), before, "{backend:?}");
    }
}
