//! What a gateway ended with: read from outside the store, so that two gateways can be compared row by row, and one with its EHR.

use std::collections::BTreeSet;

use sandbox::Sandbox;
use serde_json::Value;

use crate::support::Database;

/// Everything that must be the same whether or not the gateway was killed: no instants, no random ids, no numbers of rows.
#[derive(Debug)]
pub struct Account(Vec<(&'static str, Vec<String>)>);

const QUERIES: [(&str, &str); 6] = [
    ("resources", "SELECT rtype || '/' || fhir_id || ' ' || COALESCE(version, '-') AS line FROM resource"),
    (
        "memberships",
        "SELECT s.id || ' ' || p.fhir_id || ' ' || m.state || ' entry ' || m.entry AS line
         FROM membership m JOIN segment s ON s.number = m.segment JOIN patient p ON p.person = m.person",
    ),
    (
        "membership events",
        r#"SELECT s.id || ' ' || p.fhir_id || ' ' || COALESCE(e."before", 'out') || ' to ' || COALESCE(e."after", 'out') AS line
         FROM membership_event e JOIN segment s ON s.number = e.segment JOIN patient p ON p.person = e.person"#,
    ),
    (
        "enrolments",
        "SELECT e.program || ' ' || p.fhir_id || ' ' || e.anchor || ' ' || e.entry || ' ' || e.state AS line
         FROM enrolment e JOIN patient p ON p.person = e.person",
    ),
    (
        "attempts",
        "SELECT a.program || ' ' || p.fhir_id || ' ' || a.step || ' ' || a.rung || ' ' || COALESCE(a.about, '-') || ' ' || a.state
            || ' ' || COALESCE(a.outcome, '-') || ' ' || COALESCE(a.failure, '-') AS line
         FROM attempt a JOIN patient p ON p.pk = a.patient",
    ),
    (
        "write-backs",
        "SELECT a.program || ' ' || p.fhir_id || ' ' || a.step || ' ' || w.revision || ' ' || w.number || ' ' || w.state AS line
         FROM writeback w JOIN attempt a ON a.id = w.attempt JOIN patient p ON p.pk = w.patient",
    ),
];

impl Account {
    pub fn of(db: &Database) -> Self {
        let read = |(what, sql)| {
            let mut lines = db.lines(sql);
            lines.sort();
            (what, lines)
        };
        Self(QUERIES.map(read).into())
    }

    /// Compares, and tells only what differs.
    #[track_caller]
    pub fn assert_same_as(&self, other: &Self) {
        for ((what, mine), (_, theirs)) in self.0.iter().zip(&other.0) {
            let (only_mine, only_theirs) = (without(mine, theirs), without(theirs, mine));
            assert!(
                only_mine.is_empty() && only_theirs.is_empty(),
                "{what} differ.\nonly where the gateway was disturbed: {only_mine:#?}\nonly where it was not: {only_theirs:#?}"
            );
        }
    }

    /// How many lines of a kind.
    pub fn count(&self, what: &str) -> usize {
        self.0.iter().find(|(name, _)| *name == what).unwrap().1.len()
    }
}

/// Lines of one list that are not in the other, each as often as it is there too many times.
fn without(these: &[String], those: &[String]) -> Vec<String> {
    let mut left = those.to_vec();
    these.iter().filter(|line| left.iter().position(|l| l == *line).map(|at| left.swap_remove(at)).is_none()).cloned().collect()
}

/// Our identifiers on the Communications in an EHR.
pub fn identifiers(ehr: &Sandbox) -> Vec<String> {
    let of = |c: Value| c["identifier"][0]["value"].as_str().expect("a Communication carries our identifier").to_owned();
    ehr.resources("Communication").into_iter().map(of).collect()
}

/// Nothing lost and nothing doubled, between the tables of a gateway and between it and its EHR.
#[track_caller]
pub fn assert_adds_up(db: &Database, ehr: &Sandbox) {
    let none = |what: &str, sql: &str| assert_eq!(db.lines(sql), Vec::<String>::new(), "{what}");
    none(
        "a finished attempt owes exactly one Communication",
        "SELECT a.id || ' ' || count(w.id) AS line FROM attempt a LEFT JOIN writeback w ON w.attempt = a.id
         WHERE a.state = 'finished' GROUP BY a.id HAVING count(w.id) <> 1",
    );
    none(
        "what is not finished owes none",
        "SELECT w.id AS line FROM writeback w JOIN attempt a ON a.id = w.attempt WHERE a.state <> 'finished'",
    );
    none(
        "no two attempts at one person for one step",
        "SELECT program || ' ' || person || ' ' || step AS line FROM attempt
         GROUP BY program, person, enrolment, step, rung, anchor_revision HAVING count(*) > 1",
    );
    none(
        "what was sent was allowed by a kept verdict",
        "SELECT a.id AS line FROM attempt a WHERE a.state = 'finished'
         AND NOT EXISTS (SELECT 1 FROM verdict v WHERE v.attempt = a.id AND v.outcome = 'allow')",
    );
    none("no run of a sync is left open", "SELECT rtype AS line FROM sync_run WHERE state = 'running'");
    none("nothing was put aside", "SELECT reason AS line FROM quarantine");
    for rtype in ["Patient", "Appointment", "CarePlan"] {
        let stored = db.lines(&format!("SELECT fhir_id AS line FROM resource WHERE rtype = '{rtype}'"));
        let there: BTreeSet<String> = ehr.resources(rtype).iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(stored.len(), there.len(), "{rtype}");
        assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), there, "{rtype}");
    }
    let written = db.lines("SELECT attempt AS line FROM writeback WHERE state = 'written'");
    let finished = db.lines("SELECT id AS line FROM attempt WHERE state = 'finished'");
    let mut in_ehr = identifiers(ehr);
    assert_eq!(in_ehr.len(), written.len(), "Communications in the EHR, and write-backs that say written");
    in_ehr.sort();
    for (what, mut ids) in [("written", written), ("finished", finished)] {
        ids.sort();
        assert_eq!(in_ehr, ids, "identifiers in the EHR, and attempts that are {what}");
    }
    in_ehr.dedup();
    assert_eq!(in_ehr.len(), ehr.count("Communication"), "no identifier is there twice");
    // What the row says is where the Communication is.
    let places: BTreeSet<String> =
        db.lines("SELECT remote_id || ' ' || attempt AS line FROM writeback WHERE state = 'written'").into_iter().collect();
    let of = |c: &Value| format!("{} {}", c["id"].as_str().unwrap(), c["identifier"][0]["value"].as_str().unwrap());
    assert_eq!(places, ehr.resources("Communication").iter().map(of).collect());
}
