//! Instants, and FHIR's dates that may be partial.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Serialize};

/// An instant: microseconds since 1970-01-01T00:00:00Z. Stored as BIGINT in both databases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that can be told.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant that can be told.
    pub const MAX: Self = Self(i64::MAX);

    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Parses an RFC 3339 instant with an offset (FHIR `instant`); fractions beyond microseconds are cut.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|t| Self(t.timestamp_micros()))
    }

    /// As a chrono instant; instants outside chrono's range are clamped to it.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC })
    }

    /// The civil day in `zone`; `None` outside of the years 1 to 9998, where a zone's arithmetic may leave chrono's range.
    #[must_use]
    pub fn day(self, zone: chrono_tz::Tz) -> Option<NaiveDate> {
        let calendar = -62_135_596_800_000_000..=253_370_764_800_000_000;
        calendar.contains(&self.0).then(|| self.to_utc().with_timezone(&zone).date_naive())
    }

    /// This instant moved by `delta`, saturating.
    #[must_use]
    pub fn plus(self, delta: TimeDelta) -> Self {
        Self(self.0.saturating_add(delta.num_microseconds().unwrap_or(if delta < TimeDelta::zero() { i64::MIN } else { i64::MAX })))
    }

    /// Time from `earlier` to this instant.
    #[must_use]
    pub fn since(self, earlier: Self) -> TimeDelta {
        TimeDelta::microseconds(self.0.saturating_sub(earlier.0))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(t: DateTime<Utc>) -> Self {
        Self(t.timestamp_micros())
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// A FHIR `date`, `dateTime` or `instant`: a year, a month, a day, or an instant (R4 datatypes, section 2.24.0.1). A date has no
/// offset, so it stands for a span of time that depends on the time zone it is read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FhirTime {
    /// `2026`
    Year(i32),
    /// `2026-11`
    Month(i32, u32),
    /// `2026-11-23`
    Day(NaiveDate),
    /// `2026-11-23T10:00:00-05:00`
    Instant(Timestamp),
}

impl FhirTime {
    /// Parses any of the four forms. A date that does not exist (`2026-02-30`) or a time without offset is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        match text.len() {
            4 if digits(text) => text.parse().ok().map(Self::Year),
            7 => {
                let (y, m) = text.split_once('-').filter(|(y, m)| y.len() == 4 && digits(y) && digits(m))?;
                let (y, m) = (y.parse().ok()?, m.parse().ok()?);
                (1..=12).contains(&m).then_some(Self::Month(y, m))
            }
            10 => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|d| d.year() >= 0).map(Self::Day),
            n if n > 10 => Timestamp::parse(text).map(Self::Instant),
            _ => None,
        }
    }

    /// The first instant of the span, and the first instant after it, read in time zone `zone`. An instant's span is that instant and
    /// the next microsecond.
    #[must_use]
    pub fn span(self, zone: chrono_tz::Tz) -> (Timestamp, Timestamp) {
        let far =
            |date: Option<NaiveDate>, past: bool| date.map_or(if past { Timestamp::MIN } else { Timestamp::MAX }, |d| day_start(d, zone));
        match self {
            Self::Instant(t) => (t, Timestamp(t.0.saturating_add(1))),
            Self::Day(d) => (day_start(d, zone), far(d.succ_opt(), false)),
            Self::Month(y, m) => {
                let next = if m == 12 { NaiveDate::from_ymd_opt(y + 1, 1, 1) } else { NaiveDate::from_ymd_opt(y, m + 1, 1) };
                (far(NaiveDate::from_ymd_opt(y, m, 1), true), far(next, false))
            }
            Self::Year(y) => (far(NaiveDate::from_ymd_opt(y, 1, 1), true), far(NaiveDate::from_ymd_opt(y + 1, 1, 1), false)),
        }
    }

    /// The first instant of the span in `zone`.
    #[must_use]
    pub fn earliest(self, zone: chrono_tz::Tz) -> Timestamp {
        self.span(zone).0
    }
}

/// The first instant of a civil day in a time zone. Where midnight does not exist (a clock put forward at midnight), the first
/// instant that does.
#[must_use]
pub fn day_start(date: NaiveDate, zone: chrono_tz::Tz) -> Timestamp {
    civil(date, NaiveTime::MIN, zone)
}

/// The instant at which clocks in `zone` first show `time` on `date`; in a gap, the first instant after it; when shown twice, the
/// earlier.
#[must_use]
pub fn civil(date: NaiveDate, time: NaiveTime, zone: chrono_tz::Tz) -> Timestamp {
    let wanted = date.and_time(time);
    // A gap is at most some hours long; quarter hours cover every zone's offsets.
    (0..=24 * 4)
        .filter_map(|quarter| wanted.checked_add_signed(TimeDelta::minutes(15 * quarter)))
        .find_map(|t| zone.from_local_datetime(&t).earliest())
        .map_or_else(|| Timestamp::from(Utc.from_utc_datetime(&wanted)), |t| Timestamp::from(t.with_timezone(&Utc)))
}

impl std::fmt::Display for FhirTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Year(y) => write!(f, "{y:04}"),
            Self::Month(y, m) => write!(f, "{y:04}-{m:02}"),
            Self::Day(d) => write!(f, "{d}"),
            Self::Instant(t) => t.fmt(f),
        }
    }
}

impl Serialize for FhirTime {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FhirTime {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        // The value may be a birth date: it stays out of the message.
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a FHIR date, dateTime or instant"))
    }
}
