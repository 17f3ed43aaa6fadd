//! What codes and schedules mean, for the dashboard.

use domain::Timestamp;

use crate::app::Entry;
use crate::segments::change::How;
use crate::worker::schedule::Why;
use crate::writeback::explain;

/// When a type is read next, and why then.
pub(super) fn next(e: &Entry, now: Timestamp) -> (Option<i64>, String) {
    if let Some(pause) = &e.pause {
        return (None, format!("paused by {}: {}", pause.paused_by, pause.why));
    }
    let Some(due) = &e.due else { return (None, "the schedule cannot be read".to_owned()) };
    let mut why = match &due.why {
        Why::First => "it was never read".to_owned(),
        Why::Scheduled => "as scheduled".to_owned(),
        Why::Missed { .. } => "missed before; it is made up for once".to_owned(),
        Why::Retry { failures: 0 } => "the EHR may not be asked before".to_owned(),
        Why::Retry { failures: 1 } => "another try after a failure".to_owned(),
        Why::Retry { failures } => format!("another try after {failures} failures"),
        Why::Wanted { by } => format!("{by} asked for it"),
    };
    if due.held_since.is_some() {
        why.push_str(", held until closed hours are over");
    }
    (Some(due.at.max(now).micros()), why)
}

pub(super) const fn how(how: How) -> &'static str {
    match how {
        How::New => "new",
        How::Changed => "changed",
        How::Ends => "ends",
        How::Reworded => "reworded",
    }
}

/// What to do about a cause; pages name no commands where they have a button.
pub(super) fn remedy(state: &str, cause: &str) -> String {
    if state == "unknown" {
        return "Look for it in the patient's chart, then say here whether it is there.".to_owned();
    }
    explain::remedy(state, cause).to_owned()
}

/// What a reason means for which a message was held or refused.
pub(super) fn meaning(code: &str) -> String {
    let code = code.trim().trim_start_matches("channel: ");
    let said = match code {
        "no-patient-record" => "no patient record is known",
        "deceased" => "the patient has died",
        "inactive" => "the record is not in use",
        "merged" => "another record replaced it",
        "minor" => "the patient is under age, or may be",
        "sensitive" => "the record is marked as sensitive",
        "opted-out" => "the patient does not want it",
        "opted-out-of-channel" => "the patient does not want it this way",
        "no-authorisation" => "the patient gave no authorisation for such messages",
        "no-contact-point" => "no number or address can be used",
        "expired" => "it came too late to be of use",
        "expires-while-held" => "it would be too late when it may go",
        "phi-on-open-channel" => "it tells more than this channel may carry",
        "not-live" => "this installation is not live: nothing leaves it",
        "killed" => "staff stopped this program, this channel or all sending",
        "stopped" => "staff stopped outreach; it waits until it goes on",
        "duplicate" => "the same message went there before",
        "daily-cap" => "enough was sent for a day",
        "weekly-cap" => "enough was sent for a week",
        "point-cap" => "enough was sent to this number or address",
        "quiet-hours" => "it is quiet hours where the patient is",
        "no-allowed-hour" => "where the patient may be leaves no hour in which it may go",
        "stale-facts" => "what is known of the patient is too old: the sync must catch up",
        "channel-not-configured" => "this installation has no such channel",
        "program-withdrawn" => "the program is no longer in force",
        "no-words" => "the template has no words for this patient",
        other => return other.replace('-', " "),
    };
    said.to_owned()
}
