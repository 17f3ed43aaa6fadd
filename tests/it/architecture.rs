//! Holds the code to `src/ARCHITECTURE.md`: who may import whom (its table is read, not repeated here), which libraries belong to which
//! room, where vendors may be named, how long a file may be, and how it begins. Each rule is tried on planted text, so that it can fail.

mod rules;
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rules::{Imports, vendors_named, violations};
use source::Source;

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    files_of(folder, &["rs"], into);
}

fn files_of(folder: &Path, kinds: &[&str], into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_of(&path, kinds, into);
        } else if path.extension().is_some_and(|e| kinds.iter().any(|k| e == *k)) {
            into.push(path);
        }
    }
}

fn tree() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    files.sort();
    let own_crates: BTreeSet<String> = files
        .iter()
        .filter_map(|f| f.strip_prefix(root.join("src")).ok()?.components().next()?.as_os_str().to_str().map(str::to_owned))
        .filter(|name| root.join("src").join(name).join("Cargo.toml").exists())
        .collect();
    source::mark_tests(
        files
            .iter()
            .map(|f| {
                let path = f.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                Source::new(path, std::fs::read_to_string(f).unwrap(), &own_crates)
            })
            .collect(),
    )
}

fn map() -> Imports {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ARCHITECTURE.md");
    Imports::read(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn the_code_is_as_the_map_says() {
    let found = violations(&tree(), &map());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_reader_sees_the_tree() {
    let (sources, map) = (tree(), map());
    assert!(sources.len() > 50 && sources.iter().any(|s| s.test) && sources.iter().any(|s| !s.test));
    assert!(map.rows().len() > 10, "the table of src/ARCHITECTURE.md was not found");
    // Imports that are there are seen; else the rule about them would pass by silence.
    let store = sources.iter().find(|s| s.path == "src/store/view/overview.rs").unwrap();
    assert_eq!(store.imports().into_iter().collect::<Vec<_>>(), ["domain", "store"]);
}

const MAP: &str = "text\n\n| module | may import | notes |\n|---|---|---|\n| `store` | nothing | |\n| `sync` | `ehr` `store` | |\n| `ehr` | `net` | |\n| `net` | nothing | |\n| `sandbox` | nothing | crate |\n\ntext";

/// The rules that a planted tree breaks.
fn broken(files: &[(&str, &str)]) -> Vec<String> {
    let own = BTreeSet::from(["sandbox".to_owned(), "domain".to_owned(), "typed".to_owned()]);
    let skeleton = ["src/store/mod.rs", "src/sync/mod.rs", "src/ehr/mod.rs", "src/net/mod.rs", "src/sandbox/lib.rs"];
    let planted = files.iter().map(|(path, text)| Source::new((*path).to_owned(), (*text).to_owned(), &own));
    let rest = skeleton
        .iter()
        .filter(|path| !files.iter().any(|f| f.0 == **path))
        .map(|path| Source::new((*path).to_owned(), "//! Text.\n".to_owned(), &own));
    violations(&source::mark_tests(planted.chain(rest).collect()), &Imports::read(MAP))
}

#[track_caller]
fn breaks(path: &str, text: &str, rule: &str) {
    let found = broken(&[(path, text)]);
    assert!(found.len() == 1 && found[0].starts_with(&format!("{path}: ")) && found[0].contains(rule), "{found:?}");
}

#[track_caller]
fn holds(path: &str, text: &str) {
    assert_eq!(broken(&[(path, text)]), Vec::<String>::new());
}

#[test]
fn imports_that_the_table_does_not_allow_are_found() {
    for text in [
        "//! T.\nuse crate::sync::Task;\n",
        "//! T.\nuse crate::{\n    net::Client,\n    sync,\n};\n",
        "//! T.\nfn f() { crate::sync::run(); }\n",
        "//! T.\nuse super::super::sync::Task;\n",
        "//! T.\nuse super::super::{net, sync};\n",
        "//! T.\nuse fhir_engage::sync;\n",
    ] {
        breaks("src/ehr/client.rs", text, "may not import `sync`");
    }
    breaks("src/ehr/mod.rs", "//! T.\nuse super::sync::Task;\n", "may not import `sync`");
    breaks("src/store/mod.rs", "//! T.\nuse typed::Communication;\n", "may not import `typed`");
    breaks("src/store/mod.rs", "//! T.\nuse sandbox;\n", "may not import `sandbox`");
    breaks("src/sandbox/lib.rs", "//! T.\nuse domain::Clock;\n", "may not import `domain`");

    holds(
        "src/sync/pull.rs",
        "//! T.\nuse crate::ehr::Client;\nuse crate::{store::{Store, view}, sync::x};\nuse super::window;\nuse domain::Clock;\n",
    );
    holds("src/store/pool.rs", "//! T.\n// use crate::sync;\nfn f() -> &'static str { \"crate::sync::x\" } /* crate::sync::y */\n");
    holds("src/store/pool.rs", "//! T.\nfn f() { self.sync.sync(); let c = '\"'; store::sync(r#\"crate::sync\"#); }\n");
    holds("src/store/pool.rs", "//! T.\n#[cfg(test)]\nmod tests {\n    use crate::sync::Task;\n}\n");
    holds("src/sandbox/lib.rs", "//! T.\nuse crate::store::Rows;\n");
}

#[test]
fn modules_and_rows_must_match() {
    breaks("src/extra/mod.rs", "//! T.\n", "has no row");
    let found = violations(&[Source::new("src/store/mod.rs".to_owned(), "//! T.\n".to_owned(), &BTreeSet::new())], &Imports::read(MAP));
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|f| f.contains("no such module")), "{found:?}");
}

#[test]
fn libraries_outside_their_room_are_found() {
    for (name, room) in [("diesel", "store"), ("reqwest", "net"), ("lettre", "net"), ("fhirbolt", "typed"), ("actix_web", "web")] {
        let text = format!("//! T.\nuse {name}::thing;\n");
        breaks("src/sync/mod.rs", &text, &format!("`{name}` belongs to"));
        if room == "store" || room == "net" {
            holds(&format!("src/{room}/inner.rs"), &text);
        }
    }
    holds("src/sandbox/server.rs", "//! T.\nuse actix_web::web;\n");
    holds("src/sync/mod.rs", "//! T.\n// diesel\n#[cfg(test)]\nmod tests { use diesel::x; }\n");
}

#[test]
fn vendors_named_outside_their_room_are_found() {
    breaks("src/sync/pull.rs", "//! T.\nfn f() { if vendor == \"Epic\" {} }\n", "names the vendor `epic`");
    breaks("src/ehr/client.rs", "//! T.\nfn cerner_quirk() {}\n", "names the vendor `cerner`");
    breaks("src/ehr/client.rs", "//! T.\nstruct AthenaClient;\n", "names the vendor `athena`");
    holds("src/ehr/vendor/presets.rs", "//! T.\nconst NAMES: [&str; 2] = [\"epic\", \"cerner\"];\n");
    holds("src/sandbox/flavour.rs", "//! T.\nenum Flavour { Epic }\n");
    holds("src/sync/pull.rs", "//! As Epic's page says.\nfn depict(epicentre: u8) {}\n");
}

#[test]
fn data_files_name_vendors_in_their_room_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut in_the_room) = (Vec::new(), 0);
    files_of(&root.join("src"), &["toml", "json", "html", "sql"], &mut files);
    for file in files {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let named = vendors_named(&std::fs::read_to_string(&file).unwrap());
        if path.starts_with("src/ehr/vendor/") {
            in_the_room += named.len();
        } else if !path.starts_with("src/sandbox/") {
            assert!(named.is_empty(), "{path} names {named:?}, which belongs to ehr/vendor");
        }
    }
    assert!(in_the_room >= 7, "the presets were not seen");
}

#[test]
fn files_that_are_too_long_are_found_and_tests_are_not_counted() {
    let lines = |n: usize| "fn f() {}\n".repeat(n);
    breaks("src/sync/pull.rs", &format!("//! T.\n{}", lines(600)), "601 lines");
    holds("src/sync/pull.rs", &format!("//! T.\n{}", lines(599)));
    holds("src/sync/pull.rs", &format!("//! T.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(500), lines(500)));
    holds("src/sync/pull/tests.rs", &format!("//! T.\n{}", lines(700)));
    let found = broken(&[
        ("src/sync/pull.rs", "//! T.\n#[cfg(test)]\nmod cases;\n"),
        ("src/sync/pull/cases.rs", &format!("//! T.\n{}", lines(700))),
    ]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn names_without_a_noun_and_files_without_a_beginning_are_found() {
    for name in ["utils", "common", "helpers", "manager", "service"] {
        breaks(&format!("src/sync/{name}.rs"), "//! T.\n", "a name without a noun");
        breaks(&format!("src/sync/{name}/inner.rs"), "//! T.\n", "a name without a noun");
        breaks("src/sync/mod.rs", &format!("//! T.\nmod {name} {{ fn f() {{}} }}\n"), "a name without a noun");
    }
    breaks("src/sync/pull.rs", "use std::fmt;\n", "does not begin with `//!`");
    breaks("src/main.rs", "fn main() {}\n", "does not begin with `//!`");
    holds("src/sync/pull/tests.rs", "use super::*;\n");
    holds("src/lib.rs", "#![doc = include_str!(\"ARCHITECTURE.md\")]\n\npub mod store;\n");
}
