//! What lists, lists as JSON too: one document of a known shape.

use serde_json::Value;

use super::{demo, text};
use crate::support::{TempDir, run};

/// Each listing command, where its rows are (a JSON pointer), and the keys of a row.
const LISTINGS: [(&[&str], &str, &[&str]); 11] = [
    (&["ehr", "list"], "", &["id", "profile", "last_sync", "failed_types"]),
    (&["keys", "list"], "", &["kid", "alg", "state", "created_at", "ehrs"]),
    (
        &["sync", "status"],
        "",
        &[
            "ehr",
            "type",
            "strategy",
            "state",
            "started_at",
            "ended_at",
            "pages",
            "found",
            "stored",
            "unchanged",
            "quarantined",
            "total",
            "known_up_to",
        ],
    ),
    (&["segments", "list"], "", &["id", "title", "stage", "members", "held", "unknown_counts_as", "rule"]),
    (&["segments", "attributes"], "", &["name", "meaning"]),
    (
        &["outreach", "list"],
        "",
        &["id", "patient", "program", "step", "state", "outcome", "channel", "due_at", "sent_at", "about", "failure", "verdict"],
    ),
    (&["writeback", "list"], "", &["id", "attempt", "ehr", "state", "tries", "owed_at", "settled_at", "next_at", "remote", "why", "loss"]),
    (&["check", "--offline"], "/findings", &["level", "about", "says"]),
    (&["segments", "explain", "--patient", "sandbox/pat-000001"], "/segments", &["segment", "now", "rule", "reasons"]),
    (&["keys", "jwks"], "/keys", &["kty", "kid", "alg", "use"]),
    (&["sync", "quarantine", "list"], "", &[]),
];

#[test]
fn every_listing_is_one_json_document_of_a_known_shape() {
    let folder = demo();
    for (args, rows, keys) in LISTINGS {
        let found = run(&[args, &["--json", "--data", text(folder.path())]].concat()).ok().json();
        let rows = found.pointer(rows).and_then(Value::as_array).unwrap_or_else(|| panic!("{args:?}: {found}"));
        assert_eq!(rows.is_empty(), keys.is_empty(), "{args:?}: {found}");
        for key in keys {
            assert!(rows.iter().all(|r| r.get(key).is_some()), "{args:?} lacks {key}: {}", rows[0]);
        }
    }
}

#[test]
fn lists_of_nothing_are_empty_and_say_what_comes_first() {
    let folder = TempDir::new();
    for (args, hint) in [
        (&["ehr", "list"][..], "fhir-engage ehr add"),
        (&["sync", "status"], "fhir-engage sync run"),
        (&["sync", "quarantine", "list"], "nothing is put aside"),
        (&["outreach", "list"], "no attempt"),
        (&["writeback", "list"], "no write-back"),
    ] {
        let of = |more: &[&str]| run(&[args, more, &["--data", text(folder.path())]].concat()).ok();
        assert!(of(&[]).stderr.contains(hint), "{args:?}");
        let json = of(&["--json"]);
        assert_eq!((json.stdout.as_str(), json.stderr.as_str()), ("[]\n", ""), "{args:?}");
    }
}

#[test]
fn a_refused_attempt_tells_why_and_from_which_field() {
    let folder = demo();
    let data = ["--data", text(folder.path())];
    let refused = run(&[&["outreach", "list", "--state", "refused", "--json"], &data[..]].concat()).ok().json();
    let id = refused[0]["id"].as_str().unwrap();
    let told = run(&[&["outreach", "explain", id], &data[..]].concat()).ok().stdout;
    let code = refused[0]["verdict"]["reasons"][0]["code"].as_str().unwrap();
    assert!(told.contains(code) && told.contains("refuse") && told.contains("Patient/"), "{told}");
}
