//! What is wrong, from what the rows say. Pure.

use chrono::TimeDelta;
use domain::Timestamp;

use super::kind;
use crate::store::alerts::Condition;
use crate::store::drops::DropStatus;
use crate::store::statements::StatementRow;
use crate::store::turns::Turn;
use crate::store::writebacks::Cause;

/// From when on something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failures of a type in a row.
    pub failures: i64,
    /// Or failing for so long.
    pub failing_after: TimeDelta,
    /// So long after a type should have been read.
    pub late_after: TimeDelta,
    /// Resources put aside within a day, of one EHR.
    pub quarantine: i64,
    /// Patients of whom a type became unknown within a day.
    pub holes: i64,
    /// What is not found any more is closed after so long, so that what comes and goes is one alert.
    pub settle: TimeDelta,
}

/// When a type should have been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The EHR.
    pub ehr: String,
    /// The type.
    pub rtype: String,
    /// Then, by its schedule and what is known of it.
    pub due: Timestamp,
    /// Known up to then.
    pub known_up_to: Option<Timestamp>,
    /// Being read since then.
    pub running_since: Option<Timestamp>,
}

/// Something that ends by itself, and somebody should act now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Of what: `main/client certificate CN=gateway`.
    pub subject: String,
    /// In words.
    pub says: String,
    /// What to do.
    pub remedy: String,
}

/// What the rows say.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// How the reading of each type goes.
    pub turns: Vec<Turn>,
    /// When each type that is not paused should have been read.
    pub expected: Vec<Expected>,
    /// EHRs whose profile cannot be read.
    pub unreadable: Vec<String>,
    /// Put aside since a day ago, by EHR.
    pub quarantined: Vec<(String, i64)>,
    /// Holes since a day ago, by EHR and type.
    pub holes: Vec<(String, String, i64)>,
    /// What waits for a person.
    pub causes: Vec<Cause>,
    /// What each EHR states of itself, beside what it stated before.
    pub statements: Vec<StatementRow>,
    /// How each drop folder stands.
    pub drops: Vec<DropStatus>,
    /// What runs out.
    pub endings: Vec<Ending>,
    /// What others noted.
    pub conditions: Vec<Condition>,
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub kind: String,
    /// Of what.
    pub subject: String,
    /// In words. Counts and names that an operator gave: it goes to others by mail and webhook.
    pub says: String,
    /// What to do.
    pub remedy: String,
}

/// Even a run that goes on is late after so long.
const LONGEST_RUN: TimeDelta = TimeDelta::hours(24);

/// What is wrong now.
#[must_use]
pub fn judge(facts: &Facts, limits: &Limits, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |kind: &str, subject: String, says: String, remedy: String| {
        found.push(Finding { kind: kind.to_owned(), subject, says, remedy });
    };
    for ehr in &facts.unreadable {
        let says = format!("the profile of {ehr} cannot be read, so nothing of {ehr} is read or written");
        tell(kind::FAILING, ehr.clone(), says, format!("set it anew with `fhir-engage ehr add {ehr}`"));
    }
    for t in facts.turns.iter().filter(|t| t.failures > 0) {
        let since = Timestamp::from_micros(t.failing_since.unwrap_or(now.micros()));
        if t.failures >= limits.failures || now.since(since) >= limits.failing_after {
            let times = if t.failures == 1 { "once".to_owned() } else { format!("{} times in a row", t.failures) };
            let says = format!("{} {} could not be read, {times} since {}", t.ehr, t.rtype, whole(since));
            let remedy = format!(
                "`fhir-engage sync status {0}` has the last failure in words, `fhir-engage ehr check {0}` walks the connection",
                t.ehr
            );
            tell(kind::FAILING, format!("{}/{}", t.ehr, t.rtype), says, remedy);
        }
    }
    for e in &facts.expected {
        let running = e.running_since.is_some_and(|since| now.since(since) < LONGEST_RUN);
        if now.since(e.due) >= limits.late_after && !running {
            let known = e.known_up_to.map_or_else(|| "never".to_owned(), |t| format!("up to {}", whole(t)));
            let says = format!("{} {} should have been read at {}; it is known {known}", e.ehr, e.rtype, whole(e.due));
            let remedy = format!("`fhir-engage sync status {}`; does a `serve` or `work` run?", e.ehr);
            tell(kind::LATE, format!("{}/{}", e.ehr, e.rtype), says, remedy);
        }
    }
    for (ehr, n) in facts.quarantined.iter().filter(|q| q.1 >= limits.quarantine) {
        let says = format!("{n} resources of {ehr} were put aside within a day");
        tell(kind::QUARANTINE, ehr.clone(), says, format!("`fhir-engage sync quarantine list --ehr {ehr}` tells why"));
    }
    for (ehr, rtype, n) in facts.holes.iter().filter(|h| h.2 >= limits.holes) {
        let says = format!("of {n} patients of {ehr} {rtype} has become unknown within a day");
        tell(kind::HOLES, format!("{ehr}/{rtype}"), says, format!("`fhir-engage sync holes {ehr}` tells of whom and why"));
    }
    for s in facts.statements.iter().filter(|s| s.problems > 0) {
        let (ehr, n, since) = (&s.ehr, s.problems, s.drifted_at.map(Timestamp::from_micros).map(whole));
        let differ = if n == 1 { "1 difference stops".to_owned() } else { format!("{n} differences stop") };
        let since = since.map(|t| format!(" since {t}")).unwrap_or_default();
        let says = format!("{ehr} states other abilities than before{since}: {differ} something from working as it did");
        tell(kind::DRIFTED, ehr.clone(), says, format!("`fhir-engage ehr drift {ehr}` tells them, and takes note of them"));
    }
    for d in &facts.drops {
        let (subject, remedy) = (format!("{}/{}", d.ehr, d.drop_name), format!("`fhir-engage sync drops list --ehr {}` tells more", d.ehr));
        if let Some(since) = d.late_since {
            let says = format!("no file came into drop {} of {} by {}", d.drop_name, d.ehr, whole(Timestamp::from_micros(since)));
            tell(kind::LATE, subject.clone(), says, remedy.clone());
        }
        if let Some(problem) = &d.problem {
            tell(kind::FAILING, subject, format!("drop {} of {}: {problem}", d.drop_name, d.ehr), remedy);
        }
    }
    for e in &facts.endings {
        tell(kind::EXPIRING, e.subject.clone(), e.says.clone(), e.remedy.clone());
    }
    let mut parked: std::collections::BTreeMap<&str, i64> = std::collections::BTreeMap::new();
    for cause in &facts.causes {
        *parked.entry(cause.ehr.as_str()).or_default() += cause.count;
    }
    for (ehr, n) in parked {
        let waits = if n == 1 { "1 write-back waits".to_owned() } else { format!("{n} write-backs wait") };
        tell(
            kind::PARKED,
            ehr.to_owned(),
            format!("{waits} for a person at {ehr}"),
            "`fhir-engage writeback causes` groups them by why".to_owned(),
        );
    }
    for c in &facts.conditions {
        tell(&c.kind, c.subject.clone(), c.says.clone(), c.remedy.clone());
    }
    found
}

/// To the second.
pub(super) fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros() - at.micros().rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        failures: 3,
        failing_after: TimeDelta::hours(1),
        late_after: TimeDelta::hours(2),
        quarantine: 100,
        holes: 100,
        settle: TimeDelta::minutes(5),
    };

    fn now() -> Timestamp {
        Timestamp::parse("2027-01-12T09:00:00Z").unwrap()
    }

    fn ago(minutes: i64) -> Timestamp {
        now().plus(TimeDelta::minutes(-minutes))
    }

    fn kinds(facts: &Facts) -> Vec<(String, String)> {
        judge(facts, &LIMITS, now()).into_iter().map(|f| (f.kind, f.subject)).collect()
    }

    #[test]
    fn a_type_fails_by_number_or_by_time() {
        let turn = |failures, minutes: i64| Turn {
            ehr: "north".to_owned(),
            rtype: "Patient".to_owned(),
            failures,
            failing_since: Some(ago(minutes).micros()),
            failure: Some("the words stay here".to_owned()),
            ..Turn::default()
        };
        for (failures, minutes, opens) in [(0, 600, false), (1, 5, false), (2, 59, false), (3, 1, true), (1, 60, true)] {
            let facts = Facts { turns: vec![turn(failures, minutes)], ..Facts::default() };
            assert_eq!(!kinds(&facts).is_empty(), opens, "{failures} in {minutes} minutes");
        }
        let said = judge(&Facts { turns: vec![turn(3, 1)], ..Facts::default() }, &LIMITS, now());
        assert_eq!(said[0].says, "north Patient could not be read, 3 times in a row since 2027-01-12T08:59:00Z");
    }

    #[test]
    fn a_type_is_late_after_its_time_unless_it_is_being_read() {
        let e = |due: i64, running: Option<i64>| Expected {
            ehr: "north".to_owned(),
            rtype: "Patient".to_owned(),
            due: ago(due),
            known_up_to: None,
            running_since: running.map(ago),
        };
        for (due, running, late) in
            [(119, None, false), (120, None, true), (600, Some(60), false), (3_000, Some(1_440), true), (-60, None, false)]
        {
            let facts = Facts { expected: vec![e(due, running)], ..Facts::default() };
            assert_eq!(!kinds(&facts).is_empty(), late, "due {due} minutes ago, running {running:?}");
        }
    }

    #[test]
    fn what_grows_what_waits_and_what_others_noted_are_found() {
        let cause = |state: &str, count| Cause {
            ehr: "north".to_owned(),
            state: state.to_owned(),
            cause: "refused".to_owned(),
            example: String::new(),
            count,
            oldest: 0,
        };
        let noted = Condition {
            kind: kind::EXPIRING.to_owned(),
            subject: "north/client-certificate".to_owned(),
            says: "it runs out".to_owned(),
            remedy: "renew it".to_owned(),
            since: 0,
            holds_until: None,
        };
        let facts = Facts {
            unreadable: vec!["south".to_owned()],
            quarantined: vec![("north".to_owned(), 100), ("east".to_owned(), 99)],
            holes: vec![("north".to_owned(), "CarePlan".to_owned(), 100)],
            causes: vec![cause("refused", 2), cause("unknown", 1)],
            conditions: vec![noted],
            ..Facts::default()
        };
        let found = judge(&facts, &LIMITS, now());
        let kinds: Vec<(&str, &str)> = found.iter().map(|f| (f.kind.as_str(), f.subject.as_str())).collect();
        let expected = [
            ("failing", "south"),
            ("quarantine", "north"),
            ("holes", "north/CarePlan"),
            ("parked", "north"),
            ("expiring", "north/client-certificate"),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(found[3].says, "3 write-backs wait for a person at north");
        assert!(found.iter().all(|f| !f.remedy.is_empty()));
    }
}
