//! How fast a run goes, and how long it will go on: from its row alone, so whoever looks sees the same. Pure.

use domain::Timestamp;

use super::overview::TypeStatus;

/// What can be said of the time that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It does not run.
    NotRunning,
    /// Nothing tells how much there is.
    Unknown,
    /// About so long.
    About {
        /// Seconds.
        seconds: i64,
        /// What it was estimated by: `patients`, `weeks`, `the EHR's total`, `the last run`.
        by: &'static str,
    },
}

fn elapsed(t: &TypeStatus, now: Timestamp) -> Option<f64> {
    let end = t.ended_at.map_or(now, Timestamp::from_micros);
    let micros = end.since(Timestamp::from_micros(t.started_at)).num_microseconds()?;
    // Below a tenth of a second a rate says nothing.
    (micros >= 100_000).then(|| float(micros) / 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
const fn float(n: i64) -> f64 {
    n as f64
}

/// Resources a second, over the whole run.
#[must_use]
pub fn rate(t: &TypeStatus, now: Timestamp) -> Option<f64> {
    Some(float(t.found) / elapsed(t, now)?)
}

/// How long it will go on.
#[must_use]
pub fn left(t: &TypeStatus, now: Timestamp) -> Left {
    if t.state != "running" {
        return Left::NotRunning;
    }
    let Some(elapsed) = elapsed(t, now) else { return Left::Unknown };
    // (done in this run, still to do, what tells it)
    let measure = match (t.units_done.zip(t.units_of), t.expected, t.found_before) {
        (Some((done, of)), _, _) => Some((done - t.units_before, of - done, if t.by_patient { "patients" } else { "weeks" })),
        (None, Some(total), _) => Some((t.found, total - t.found, "the EHR's total")),
        // What changed since the last run says nothing of what changed before it.
        (None, None, Some(before)) if t.strategy != "cursor" => Some((t.found, before - t.found, "the last run")),
        _ => None,
    };
    match measure {
        Some((done, rest, by)) if done > 0 && rest >= 0 => {
            #[expect(clippy::cast_possible_truncation, reason = "an estimate")]
            let seconds = (elapsed * float(rest) / float(done)).round() as i64;
            Left::About { seconds, by }
        }
        _ => Left::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(found: i64) -> TypeStatus {
        TypeStatus { state: "running".to_owned(), strategy: "full".to_owned(), found, started_at: 0, ..TypeStatus::default() }
    }

    #[test]
    fn the_time_left_is_estimated_by_what_is_known_best_and_said_to_be_unknown_otherwise() {
        let now = Timestamp::from_micros(10_000_000);
        let about = |seconds, by| Left::About { seconds, by };
        assert_eq!(left(&run(100), now), Left::Unknown);
        assert_eq!(left(&TypeStatus { expected: Some(300), found_before: Some(5), ..run(100) }, now), about(20, "the EHR's total"));
        assert_eq!(left(&TypeStatus { found_before: Some(150), ..run(100) }, now), about(5, "the last run"));
        assert_eq!(
            left(&TypeStatus { found_before: Some(50), ..run(100) }, now),
            Left::Unknown,
            "more than last time: nothing tells the end"
        );
        assert_eq!(left(&TypeStatus { found_before: Some(150), strategy: "cursor".to_owned(), ..run(100) }, now), Left::Unknown);
        let crawl = TypeStatus { units_done: Some(30), units_of: Some(50), units_before: 20, by_patient: true, ..run(100) };
        assert_eq!(left(&crawl, now), about(20, "patients"), "ten in ten seconds; the other twenty were an earlier run's");
        assert_eq!(left(&run(0), now), Left::Unknown);
        assert_eq!(left(&run(100), Timestamp::from_micros(1)), Left::Unknown);
        assert_eq!(left(&TypeStatus { state: "done".to_owned(), ..run(1) }, now), Left::NotRunning);
        assert_eq!(rate(&run(100), now), Some(10.0));
        assert_eq!(rate(&TypeStatus { ended_at: Some(5_000_000), ..run(100) }, now), Some(20.0));
    }
}
