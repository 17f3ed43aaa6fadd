//! Times as the sandbox reads and writes them: microseconds since the epoch inside, FHIR `instant` and HTTP dates outside.
//! Owns the meaning of partial dates in searches (R4 search, "date": a value is a range as wide as its precision).
//! Never reads a clock.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds in a day of 24 hours.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// A half-open range of microseconds: from the first instant up to, not including, the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Range {
    /// The range of one known instant.
    pub(crate) fn point(micros: i64) -> Self {
        Self { from: micros, until: micros.saturating_add(1) }
    }
}

/// An `instant` of R4 with milliseconds, in UTC.
pub(crate) fn format_instant(micros: i64) -> String {
    utc(micros).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The form of HTTP's `Date` and `Last-Modified` headers (RFC 9110, 5.6.7).
pub(crate) fn http_date(micros: i64) -> String {
    utc(micros).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The same instant cut to whole milliseconds, which is all that `format_instant` keeps.
pub(crate) fn cut_to_millis(micros: i64) -> i64 {
    micros.div_euclid(1000) * 1000
}

pub(crate) fn utc(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// Reads a FHIR date, dateTime or instant of any precision. A value without zone is taken as UTC. `None`: not a date of R4.
pub(crate) fn parse_range(text: &str) -> Option<Range> {
    if let Some((day, time)) = text.split_once('T') {
        return parse_moment(day, time);
    }
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let (first, next) = match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => (NaiveDate::from_ymd_opt(year, 1, 1)?, NaiveDate::from_ymd_opt(year + 1, 1, 1)?),
        (Some(month), None, None) => {
            let first = NaiveDate::from_ymd_opt(year, digits(month, 2)?.try_into().ok()?, 1)?;
            (first, first.checked_add_months(chrono::Months::new(1))?)
        }
        (Some(_), Some(_), None) => {
            let first = parse_day(text)?;
            (first, first.succ_opt()?)
        }
        _ => return None,
    };
    Some(Range { from: midnight(first), until: midnight(next) })
}

fn parse_day(text: &str) -> Option<NaiveDate> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    NaiveDate::from_ymd_opt(digits(year, 4)?, digits(month, 2)?.try_into().ok()?, digits(day, 2)?.try_into().ok()?)
}

fn parse_moment(day: &str, time: &str) -> Option<Range> {
    let day = parse_day(day)?;
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let offset = match zone {
        "" | "Z" => FixedOffset::east_opt(0)?,
        zone => zone.parse().ok()?,
    };
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, fraction)| (clock, Some(fraction)));
    let (time, width) = match (clock.len(), fraction) {
        (5, None) => (NaiveTime::parse_from_str(clock, "%H:%M").ok()?, 60 * SECOND),
        (8, None) => (NaiveTime::parse_from_str(clock, "%H:%M:%S").ok()?, SECOND),
        (8, Some(fraction)) => {
            let (micros, width) = parse_fraction(fraction)?;
            (NaiveTime::parse_from_str(clock, "%H:%M:%S").ok()? + TimeDelta::microseconds(micros), width)
        }
        _ => return None,
    };
    let from = day.and_time(time).and_local_timezone(offset).single()?.timestamp_micros();
    Some(Range { from, until: from.saturating_add(width) })
}

// Digits after the sixth are finer than anything kept here.
fn parse_fraction(fraction: &str) -> Option<(i64, i64)> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept = fraction.get(..6).unwrap_or(fraction);
    let width = 10_i64.pow(6_u32.saturating_sub(u32::try_from(kept.len()).ok()?));
    Some((kept.parse::<i64>().ok()? * width, width))
}

fn digits(text: &str, count: usize) -> Option<i32> {
    if text.len() == count && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn midnight(day: NaiveDate) -> i64 {
    i64::from(day.num_days_from_ce() - EPOCH_DAY) * DAY
}

/// 1970-01-01 as chrono counts days of the common era.
const EPOCH_DAY: i32 = 719_163;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_range_as_wide_as_its_precision() {
        let cases = [
            ("2026", "2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2026-12", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
            ("2026-11-23T10:00", "2026-11-23T10:00:00.000Z", "2026-11-23T10:01:00.000Z"),
            ("2026-11-23T10:00:05Z", "2026-11-23T10:00:05.000Z", "2026-11-23T10:00:06.000Z"),
            ("2026-11-23T10:00:05.25-05:00", "2026-11-23T15:00:05.250Z", "2026-11-23T15:00:05.260Z"),
            ("2026-11-23T23:30:00+02:00", "2026-11-23T21:30:00.000Z", "2026-11-23T21:30:01.000Z"),
        ];
        for (text, from, until) in cases {
            let range = parse_range(text).unwrap();
            assert_eq!((format_instant(range.from).as_str(), format_instant(range.until).as_str()), (from, until), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "26",
            "2026-13",
            "2026-02-30",
            "2026-1-1",
            "2026-11-23T",
            "2026-11-23T10",
            "2026-11-23T10:00:00.",
            "x",
            "2026-11-23T10:00:00Zx",
        ] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }

    #[test]
    fn headers_carry_the_http_form() {
        assert_eq!(http_date(784_111_777 * SECOND), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
