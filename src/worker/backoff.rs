//! How long to wait after failures. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(5);
const LEAST_CAP: Duration = Duration::from_secs(60);
const MOST_CAP: Duration = Duration::from_secs(15 * 60);

/// The wait after `failures` failures in a row: 5 s, doubled with each, up to the task's own period, but at least a minute and at most
/// a quarter of an hour. Between half of it and all of it, as `jitter` (0 to 1) says, so that tasks and nodes that failed together do
/// not come back together.
#[must_use]
pub fn delay(failures: u32, period: Duration, jitter: f64) -> Duration {
    let cap = period.clamp(LEAST_CAP, MOST_CAP);
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let full = doubled.min(cap);
    let half = full / 2;
    half + half.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::delay;
    use std::time::Duration;

    #[test]
    fn doubles_up_to_the_cap() {
        // (failures, period in seconds, expected seconds without and with full jitter)
        let cases = [
            (0, 10, 2.5, 5.0),
            (1, 10, 2.5, 5.0),
            (2, 10, 5.0, 10.0),
            (4, 10, 20.0, 40.0),
            (5, 10, 30.0, 60.0),
            (100, 10, 30.0, 60.0),
            (5, 900, 40.0, 80.0),
            (100, 900, 450.0, 900.0),
            (u32::MAX, 86_400, 450.0, 900.0),
        ];
        for (failures, period, least, most) in cases {
            let of = |jitter| delay(failures, Duration::from_secs(period), jitter).as_secs_f64();
            assert_eq!((of(0.0), of(1.0)), (least, most), "{failures} failures, period {period} s");
            assert!(of(0.5) > least && of(0.5) < most);
        }
    }

    #[test]
    fn a_source_out_of_range_does_no_harm() {
        for jitter in [-1.0, 2.0, f64::INFINITY, f64::NEG_INFINITY] {
            let d = delay(1, Duration::from_secs(10), jitter).as_secs_f64();
            assert!((2.5..=5.0).contains(&d), "{jitter}: {d}");
        }
    }
}
