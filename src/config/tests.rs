//! The configuration as an operator meets it: defaults, the example, and all mistakes of a file at once.

use std::path::Path;

use chrono::TimeDelta;

use super::*;

fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
    parse_with(text, &|_| None)
}

fn parse_with(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Mistake>> {
    Config::without_mistakes(Config::parse(Some("/etc/engage/fhir-engage.toml".into()), text, Path::new("/data"), env))
}

fn mistakes(text: &str) -> Vec<String> {
    parse(text).expect_err("the text has mistakes").iter().map(ToString::to_string).collect()
}

/// The example with its commented keys put in force.
fn example_in_full() -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in example().lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key =
            bare.starts_with('[') || bare.split_once(" = ").is_some_and(|(k, _)| k.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        lines.push(if is_key { bare.replace("   (a URL", " # (a URL") } else { line.to_owned() });
    }
    lines.join("\n")
}

#[test]
fn no_file_is_the_defaults_and_so_is_the_example() {
    let defaults = Config::without_mistakes(Config::parse(None, "", Path::new("/data"), &|_| None)).unwrap();
    assert_eq!(defaults.database.url.expose(), "sqlite:/data/fhir-engage.sqlite");
    assert_eq!(defaults.keys.master, SecretRef::File("/data/master.key".into()));
    assert!(!defaults.keys.master_is_named);
    assert!(defaults.smtp.is_none());
    assert!(defaults.web.bind.ip().is_loopback());
    let example = Config { file: None, ..parse(example()).unwrap() };
    assert_eq!(format!("{defaults:?}"), format!("{example:?}"), "the example shows other values than the defaults");
}

#[test]
fn the_example_in_full_is_valid_and_names_every_key() {
    let text = example_in_full();
    let config = parse(&text).unwrap_or_else(|m| panic!("{m:#?}\n{text}"));
    let smtp = config.smtp.unwrap();
    assert_eq!((smtp.port, smtp.tls, smtp.password), (587, Tls::StartTls, Some(SecretRef::File("/etc/engage/smtp-password".into()))));
    assert_eq!(config.web.bearer, Some(SecretRef::Env("ENGAGE_BEARER".to_owned())));
    assert_eq!(config.database.url.expose(), "postgres://engage@db.example.org/engage");
    assert!(config.keys.master_is_named);
    // Every key that the code asks for stands in the example: an unknown key's message lists the known ones.
    for section in ["site", "database", "web", "worker", "sync", "outreach", "smtp", "alerts", "write_back", "keys", "log"] {
        let listed = mistakes(&format!("[{section}]\nqqqqqqqqqqqqqqqqq = 1\n"));
        let known = listed.iter().find_map(|m| m.split_once("the known ones are ")).map(|m| m.1.to_owned()).unwrap();
        for key in known.split(", ") {
            assert!(text.contains(&format!("\n{key} = ")) || text.contains(&format!(".{key}]")), "{section}.{key} is not in the example");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = r#"
[site]
time_zone = "Middle/Earth"
langauge = "en"
[web]
bind = 8080
bearer = "hunter2"
[worker]
lease = "90"
[sync]
types = ["Appointment", "Observation", 3]
page_size = 5000
[outreach]
per_day = 2
per_week = 1
quiet_hours = { start = "25:00", stop = "08:00" }
[smtp]
tls = "none"
host = "mail.example.org"
user = "engage"
[databse]
url = "x"
"#;
    let found = mistakes(text);
    let expected = [
        "/etc/engage/fhir-engage.toml:3: site.time_zone: expected an IANA time zone such as \"America/New_York\", found \"Middle/Earth\"",
        "/etc/engage/fhir-engage.toml:4: site.langauge: this key is not known; did you mean language?",
        "/etc/engage/fhir-engage.toml:6: web.bind: expected an IP address and a port such as \"127.0.0.1:8080\", found a whole number",
        "/etc/engage/fhir-engage.toml:7: web.bearer: expected \"env:NAME\" or \"file:PATH\"; a secret itself never stands in the configuration",
        "/etc/engage/fhir-engage.toml:9: worker.lease: expected a time span from \"6s\" to \"1h\", such as \"30s\", \"15m\", \"26h\" or \"3d\", found \"90\"",
        "/etc/engage/fhir-engage.toml:11: sync.types: \"Patient\" must be among them: the others refer to patients",
        "/etc/engage/fhir-engage.toml:11: sync.types: expected a list of \"Patient\", \"Appointment\", \"CarePlan\", found \"Observation\" in it",
        "/etc/engage/fhir-engage.toml:11: sync.types: expected a list of \"Patient\", \"Appointment\", \"CarePlan\", found a whole number in it",
        "/etc/engage/fhir-engage.toml:12: sync.page_size: expected a whole number from 1 to 1000, found 5000",
        "/etc/engage/fhir-engage.toml:15: outreach.per_week: expected at least per_day, which is 2",
        "/etc/engage/fhir-engage.toml:16: outreach.quiet_hours.start: expected a time of day such as \"21:00\", found \"25:00\"",
        "/etc/engage/fhir-engage.toml:16: outreach.quiet_hours.stop: this key is not known; the known ones are end, start",
        "/etc/engage/fhir-engage.toml:17: smtp.from: this key is needed in [smtp]",
        "/etc/engage/fhir-engage.toml:18: smtp.tls: \"none\" is only for a server on this machine: messages and passwords could be read on the way",
        "/etc/engage/fhir-engage.toml:20: smtp.user: user and password go together: set both or neither",
        "/etc/engage/fhir-engage.toml:21: databse: this key is not known; did you mean database?",
    ];
    let mut sorted = (found.clone(), expected.map(str::to_owned).to_vec());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
    let lines: Vec<_> = parse(text).expect_err("mistakes").iter().map(|m| m.line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    assert!(!found.join("\n").contains("hunter2"), "a secret was printed");
}

#[test]
fn what_is_not_toml_is_told_with_its_line_and_the_rest_is_still_read() {
    let found = mistakes("[site]\nname = \n[web]\nbnid = \"127.0.0.1:1\"\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("/etc/engage/fhir-engage.toml:2: not TOML: "), "{found:?}");
    assert_eq!(found[1], "/etc/engage/fhir-engage.toml:4: web.bnid: this key is not known; did you mean bind?");
    assert!(mistakes("web = 3")[0].ends_with(":1: web: expected a table [web], found a whole number"));
}

#[test]
fn spans_have_units_and_bounds() {
    for (text, seconds) in [("30s", 30), ("15m", 900), ("26h", 93_600), ("3d", 259_200)] {
        let config = parse(&format!("[outreach]\nsettle_after = {text:?}\n")).unwrap();
        assert_eq!(config.outreach.settle_after, TimeDelta::seconds(seconds), "{text}");
        let config = parse(&format!("[outreach.receipts]\nemail = {text:?}\n")).unwrap();
        assert_eq!(config.outreach.receipts, [("email", TimeDelta::seconds(seconds))].into(), "{text}");
    }
    for text in ["", "s", "-3s", "1.5h", "3 s", "3w", "31d", "99999999999999999999d", "9223372036854775807d"] {
        assert_eq!(mistakes(&format!("[outreach]\nsettle_after = {text:?}\n")).len(), 1, "{text}");
    }
}

#[test]
fn the_database_may_come_from_elsewhere_and_its_password_only_from_there() {
    let of = |text: &str, env: &dyn Fn(&str) -> Option<String>| parse_with(text, env).map(|c| c.database.url.into_inner());
    let env = |name: &str| match name {
        "FHIR_ENGAGE_DATABASE" => Some("postgres://u:p@h/d".to_owned()),
        _ => None,
    };
    assert_eq!(of("[database]\nurl = \"sqlite:a.db\"\n", &env).unwrap(), "postgres://u:p@h/d");
    assert_eq!(of("[database]\nurl = \"sqlite:a.db\"\n", &|_| None).unwrap(), "sqlite:/etc/engage/a.db");
    assert_eq!(of("[database]\nurl = \"env:DB\"\n", &|n| (n == "DB").then(|| "x".to_owned())).unwrap(), "x");
    for url in ["postgres://u:hunter2@h/d", "postgres://h/d?password=hunter2", "mysql://hunter2@h/d", "env:DB"] {
        let found = mistakes(&format!("[database]\nurl = {url:?}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("/etc/engage/fhir-engage.toml:2: database.url: ") && !found[0].contains("hunter2"), "{found:?}");
    }
    assert!(!format!("{:?}", parse_with("", &env).unwrap()).contains("u:p@"));
}

#[test]
fn a_server_that_others_reach_without_bearer_or_tls_is_warned_about() {
    let warnings = |text: &str| parse(text).unwrap().warnings();
    assert!(warnings("[outreach]\nchannels = [\"recorded\"]\n").is_empty());
    assert_eq!(warnings("[outreach]\nchannels = [\"recorded\"]\n[web]\nbind = \"0.0.0.0:80\"\n").len(), 2);
    let safe =
        "[outreach]\nchannels = [\"recorded\"]\n[web]\nbind = \"0.0.0.0:80\"\nbearer = \"env:B\"\nexternal_url = \"https://e.example\"\n";
    assert!(warnings(safe).is_empty());
    assert!(warnings("").is_empty(), "with the ledger behind it, e-mail without a mail server is only passed over");
    assert_eq!(warnings("[outreach]\nchannels = [\"email\"]\n").len(), 1, "e-mail alone, without a mail server");
}
