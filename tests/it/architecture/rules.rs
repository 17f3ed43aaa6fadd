//! The rules themselves. Each finding names the file and the rule.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// Who may import whom, as the table of ARCHITECTURE.md says.
#[derive(Debug)]
pub struct Imports(BTreeMap<String, BTreeSet<String>>);

impl Imports {
    /// Reads the table whose head is `| module | may import |`.
    pub fn read(markdown: &str) -> Self {
        let rows = markdown.lines().skip_while(|l| !l.starts_with("| module | may import |")).skip(2).take_while(|l| l.starts_with('|'));
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let mut all = BTreeMap::new();
        for row in rows {
            let cells: Vec<&str> = row.split('|').collect();
            for module in names(cells[1]) {
                all.insert(module, names(cells[2]).into_iter().collect());
            }
        }
        Self(all)
    }

    /// The rows.
    pub fn rows(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.0
    }
}

/// A library, and the modules and crates that may use it.
const ROOMS: [(&str, &[&str]); 7] = [
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("fhirbolt", &["typed"]),
    ("actix_web", &["web", "sandbox"]),
    // The sandbox is a program of its own: it has its own client for its notifications.
    ("reqwest", &["net", "sandbox"]),
    ("lettre", &["net"]),
];
const VENDORS: [&str; 9] = ["epic", "cerner", "oracle", "athena", "meditech", "eclinicalworks", "veradigm", "nextgen", "allscripts"];
const NO_NOUN: [&str; 10] = ["util", "utils", "common", "helper", "helpers", "manager", "managers", "service", "services", "misc"];
const LONGEST: usize = 600;

/// All rules over all files.
pub fn violations(sources: &[Source], map: &Imports) -> Vec<String> {
    let mut found = modules(sources, map);
    for source in sources {
        let mut tell = |what: String| found.push(format!("{}: {what}", source.path));
        names(source, &mut tell);
        if source.test {
            continue;
        }
        beginning(source, &mut tell);
        imports(source, map, &mut tell);
        libraries(source, &mut tell);
        vendors(source, &mut tell);
        length(source, &mut tell);
    }
    found
}

fn modules(sources: &[Source], map: &Imports) -> Vec<String> {
    let there: BTreeSet<&str> = sources.iter().map(|s| s.module.as_str()).filter(|m| !m.is_empty()).collect();
    let mut found = Vec::new();
    for source in sources {
        let first = sources.iter().find(|s| s.module == source.module).is_some_and(|s| s.path == source.path);
        if first && !source.module.is_empty() && !map.0.contains_key(&source.module) {
            found.push(format!("{}: module `{}` has no row in the table of src/ARCHITECTURE.md", source.path, source.module));
        }
    }
    found.extend(
        map.0
            .keys()
            .filter(|row| !there.contains(row.as_str()))
            .map(|row| format!("src/ARCHITECTURE.md: a row for `{row}`, but there is no such module")),
    );
    found
}

fn imports(source: &Source, map: &Imports, tell: &mut impl FnMut(String)) {
    // What main.rs and lib.rs join is theirs to say; a module without a row is told once, above.
    let Some(allowed) = map.0.get(&source.module) else { return };
    for name in source.imports() {
        let ours = map.0.contains_key(&name) || matches!(name.as_str(), "domain" | "typed" | "sandbox");
        // Modules may all use the domain; the crates beside it use what their row says and no more.
        let always = name == source.module || (name == "domain" && !source.own_crate);
        if ours && !always && !allowed.contains(&name) {
            tell(format!("`{}` may not import `{name}` (table in src/ARCHITECTURE.md)", source.module));
        }
    }
}

fn libraries(source: &Source, tell: &mut impl FnMut(String)) {
    let tokens: BTreeSet<&str> = source.tokens().into_iter().collect();
    for (library, rooms) in ROOMS {
        if tokens.contains(library) && !rooms.contains(&source.module.as_str()) {
            tell(format!("`{library}` belongs to {}", rooms.join(" and ")));
        }
    }
}

/// The words of a text, lower case: `AthenaClient` and `athena_client` are both `athena client`.
fn words(text: &str) -> BTreeSet<String> {
    let mut spaced = String::with_capacity(text.len() * 2);
    let mut before = ' ';
    for c in text.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
        before = c;
    }
    spaced.split_whitespace().map(str::to_lowercase).collect()
}

fn vendors(source: &Source, tell: &mut impl FnMut(String)) {
    if source.module == "sandbox" || source.path.starts_with("src/ehr/vendor") {
        return;
    }
    for vendor in vendors_named(&source.code_with_strings) {
        tell(format!("names the vendor `{vendor}`, which belongs to ehr/vendor"));
    }
}

/// The vendors that a text names.
pub fn vendors_named(text: &str) -> Vec<&'static str> {
    let words = words(text);
    VENDORS.into_iter().filter(|v| words.contains(*v)).collect()
}

fn length(source: &Source, tell: &mut impl FnMut(String)) {
    let lines = source.code_with_strings.lines().count();
    if lines > LONGEST {
        tell(format!("{lines} lines without its tests; {LONGEST} is the most: which second noun is in it?"));
    }
}

fn beginning(source: &Source, tell: &mut impl FnMut(String)) {
    let first = source.text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    if !first.starts_with("//!") && !first.starts_with("#![doc") {
        tell("does not begin with `//!`: what it owns, what it must not know".to_owned());
    }
}

fn names(source: &Source, tell: &mut impl FnMut(String)) {
    let inner = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let tokens = source.tokens();
    let declared = tokens.windows(2).filter(|w| w[0] == "mod").map(|w| w[1]);
    if let Some(name) = inner.split('/').chain(declared).find(|n| NO_NOUN.contains(n)) {
        tell(format!("`{name}` is a name without a noun: name what it is"));
    }
}
