//! Why a write-back is where it is, in words, with what a person can do. A row's reason begins with its cause, a word up to the first
//! colon; refusals are grouped by it.

use domain::Timestamp;

use super::compare::{Difference, Kept};
use super::compose::Loss;
use super::contract::Carrier;
use crate::store::writebacks::{self, Writeback};

/// The cause of a refusal or of a wait: the first word of the reason, such as `http-422`.
#[must_use]
pub fn cause(row: &Writeback) -> Option<&str> {
    row.failure.as_deref().map(writebacks::first_word)
}

/// One row in words.
#[must_use]
pub fn explain(row: &Writeback, now: Timestamp) -> String {
    let why = row.failure.as_deref().unwrap_or("no reason was kept");
    let when = Timestamp::from_micros(row.next_at);
    match row.state.as_str() {
        "owed" if row.tries == 0 => "It has not been tried yet.".to_owned(),
        "owed" if when > now => format!("It is not in the EHR and is tried again at {when} (tried {} so far): {why}", times(row.tries)),
        "owed" => format!("It is not in the EHR and waits its turn (tried {} so far): {why}", times(row.tries)),
        "writing" if when > now => format!("It is being written; if its worker died, another one searches for it from {when}."),
        "writing" => "Its worker died while writing it; the next run searches for it before anything is sent again.".to_owned(),
        "unknown" if row.is_parked() => {
            format!("It may be in the EHR and no machine can tell; look for it in the patient's chart. {}", sentence(why))
        }
        "unknown" if when > now => format!("It may be in the EHR; it is searched for from {when}: {why}"),
        "unknown" => format!("It may be in the EHR; the next run searches for it: {why}"),
        "written" => written(row),
        "refused" => format!("{} {}", sentence(why), remedy("refused", cause(row).unwrap_or_default())),
        "exported" => format!("It was put into the export file {}.", row.remote_id.as_deref().unwrap_or("that its folder shows")),
        "kept" => format!("It stays in the ledger. {}", sentence(why)),
        other => format!("It is in a state that this version does not know: {other}."),
    }
}

fn written(row: &Writeback) -> String {
    let carrier = row.carrier.as_deref().and_then(Carrier::parse);
    let kind = carrier.and_then(Carrier::resource_type).map(|t| format!("{t}/")).unwrap_or_default();
    let place = row
        .remote_id
        .as_deref()
        .map_or_else(|| "It is in the EHR, which did not tell its id.".to_owned(), |id| format!("It is in the EHR as {kind}{id}."));
    let losses: Vec<Loss> = serde_json::from_str(&row.loss).unwrap_or_default();
    let list: Vec<String> = losses.iter().map(|l| format!("{} ({})", l.element, l.why)).collect();
    let not_carried = if list.is_empty() { String::new() } else { format!(" Not carried: {}.", list.join(", ")) };
    format!("{place}{not_carried}{}", not_kept(row))
}

/// What the EHR did not keep of what was sent.
fn not_kept(row: &Writeback) -> String {
    let found: Vec<Difference> = row.differences.as_deref().and_then(|d| serde_json::from_str(d).ok()).unwrap_or_default();
    let (key, elements): (Vec<&Difference>, Vec<&Difference>) = found.iter().partition(|d| d.path == "key");
    let says = |d: &&Difference| format!("{} ({})", d.path, if d.kept == Kept::Absent { "left out" } else { "changed" });
    let mut text = String::new();
    if !elements.is_empty() {
        text = format!(" The EHR did not keep all of it: {}.", elements.iter().map(says).collect::<Vec<_>>().join(", "));
    }
    if !key.is_empty() {
        text.push_str(
            " It did not keep our key, so this one cannot be found again by it; set where the key lives in the EHR's write-back contract.",
        );
    }
    text
}

/// What a person can do about refused write-backs of one cause, or about unknown ones that wait for a person.
#[must_use]
pub fn remedy(state: &str, cause: &str) -> &'static str {
    if state == "unknown" {
        return "Look for it in the patient's chart, then tell `fhir-engage writeback settle ID` whether it is there.";
    }
    match cause {
        "not-granted" => "Have the EHR's operator add that scope to this client's registration, then replay it.",
        "status-moved" => "Nothing is to be done unless the patient's wish still stands: then change it in the EHR.",
        "not-there" => "Look in the EHR for what became of it.",
        "another-patient" => "The charts may have been merged; look in the EHR, and correct it there.",
        "no-connection" => "Connect the EHR again and replay it, or tell the clinic by other means.",
        "damaged" => "What is stored cannot be read: restore it from a backup, then replay it.",
        "not-kept" => "Ask the EHR's operator whether this client may change it, then replay it.",
        "no-export" | "export-failed" => "Make the export folder writable for this user, then replay it.",
        "key-not-kept" | "key-not-seen" => {
            "Put our key into a text: add leave_out = [\"identifier\"] to the write-back settings; look for this one in the patient's chart."
        }
        "not-taken" => "Ask the EHR's operator whether Communication can be created, then replay it.",
        "http-401" | "http-403" => {
            "Have the EHR's operator grant this client create, read and search of that type (such as system/Communication.crs), or look whether this patient's chart is closed to it; then replay it."
        }
        "http-404" | "http-405" | "http-501" => "This EHR does not create Communications at its base URL; run `fhir-engage ehr check`.",
        "http-400" | "http-422" => {
            "The EHR refuses the content; leave the element that it names out by the EHR's write-back settings, then replay it."
        }
        "http-409" | "http-412" => "Another system is changing the same thing; replay it later.",
        "not-configured" => "Set it in the EHR's write-back settings, then replay it.",
        "route-template" => "Put the route's template right in the EHR's write-back settings, then replay it.",
        "no-room-for-key" => "Raise the limits in the EHR's write-back settings, then replay it.",
        "never-sent" | "not-finished" => "Leave it in the ledger: there is nothing true to tell.",
        "status-change-not-taken" => "Change the visit's status in the EHR by hand, where it is still wanted.",
        "found-twice" => "Have all but one of them marked as entered in error in the EHR.",
        "status-not-taken" => "Leave it in the ledger: this EHR's chart cannot say it.",
        _ => "Put right what it says, then replay it.",
    }
}

fn times(n: i64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

fn sentence(text: &str) -> String {
    let text = text.trim_end_matches('.');
    format!("{text}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, next_at: i64, failure: Option<&str>) -> Writeback {
        Writeback {
            id: "a1-0".to_owned(),
            attempt: "a1".to_owned(),
            kind: "original".to_owned(),
            revision: 0,
            ehr: "main".to_owned(),
            patient: 1,
            number: 1,
            state: state.to_owned(),
            token: 1,
            tries: 2,
            next_at,
            remote_id: Some("c9".to_owned()),
            remote_version: None,
            loss: r#"[{"element":"note","why":"this EHR does not take it"}]"#.to_owned(),
            failure: failure.map(str::to_owned),
            owed_at: 0,
            settled_at: None,
            carrier: Some("communication".to_owned()),
            differences: None,
            put_as: None,
            unanswered: 0,
        }
    }

    #[test]
    fn every_state_is_told_with_what_comes_next() {
        let now = Timestamp::parse("2026-11-23T10:00:00Z").unwrap();
        let later = now.micros() + 60_000_000;
        for (row, says) in [
            (Writeback { tries: 0, ..row("owed", 0, None) }, "not been tried"),
            (row("owed", later, Some("throttled: x")), "tried again at 2026-11-23T10:01:00Z (tried 2 times so far): throttled: x"),
            (row("owed", 0, Some("throttled: x")), "waits its turn"),
            (row("writing", later, None), "searches for it from 2026-11-23T10:01:00Z"),
            (row("writing", 0, None), "worker died"),
            (row("unknown", later, Some("no-answer: x")), "searched for from"),
            (row("unknown", 0, Some("no-answer: x")), "next run searches"),
            (row("unknown", i64::MAX, Some("no-search: x")), "look for it in the patient's chart. no-search: x."),
            (row("written", 0, None), "Communication/c9. Not carried: note (this EHR does not take it)."),
            (
                Writeback {
                    differences: Some(r#"[{"path":"identifier","kept":"absent"},{"path":"key","kept":"absent"}]"#.to_owned()),
                    ..row("written", 0, None)
                },
                "did not keep all of it: identifier (left out). It did not keep our key",
            ),
            (row("refused", 0, Some("http-422: error: invariant")), "refuses the content"),
            (row("refused", 0, Some("found-twice: it is in the EHR 2 times")), "entered in error"),
            (row("exported", 0, None), "export"),
        ] {
            assert!(explain(&row, now).contains(says), "{} / {says}: {}", row.state, explain(&row, now));
        }
        assert_eq!(cause(&row("refused", 0, Some("http-422: error: invariant"))), Some("http-422"));
        assert_eq!(cause(&row("refused", 0, Some("not-taken"))), Some("not-taken"));
    }
}
