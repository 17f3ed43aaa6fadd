//! Where a patient may be, as far as quiet hours go: the time zones that are possible, each with the hours in which a message may come.
//! A `timezone` extension tells it; else the state does; else the first digit of the ZIP code narrows it. When several zones are
//! possible, all of them must allow the moment. Knows no other rule of the gate.

use chrono::{Datelike, NaiveDate, NaiveTime, TimeDelta, Weekday};
use chrono_tz::Tz;
use domain::Timestamp;
use domain::model::facts::{Address, PatientFacts};
use domain::model::time::civil;

/// The hours of a day in which messages may come, from inclusive to exclusive, in local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hours {
    /// From.
    pub from: NaiveTime,
    /// Until; must be later than `from`.
    pub until: NaiveTime,
    /// Sundays begin at this time, where they begin later.
    pub sunday_from: Option<NaiveTime>,
}

impl Hours {
    /// Whole hours; `None` where they are not hours of a day in order.
    #[must_use]
    pub fn whole(from: u32, until: u32) -> Option<Self> {
        let hour = |h| NaiveTime::from_hms_opt(h, 0, 0);
        (from < until).then_some(())?;
        Some(Self { from: hour(from)?, until: hour(until)?, sunday_from: None })
    }

    /// The hours that both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until), sunday_from: self.sunday_from.max(other.sunday_from) }
    }

    /// The first allowed instant at or after `at` in `zone`, within nine days.
    #[must_use]
    pub fn next(self, at: Timestamp, zone: Tz) -> Option<Timestamp> {
        let today = at.to_utc().with_timezone(&zone).date_naive();
        today.iter_days().take(9).find_map(|day| {
            let (open, close) = self.on(day, zone);
            (at < close && open < close).then(|| at.max(open))
        })
    }

    /// Whether `at` is allowed in `zone`.
    #[must_use]
    pub fn allow(self, at: Timestamp, zone: Tz) -> bool {
        self.next(at, zone) == Some(at)
    }

    fn on(self, day: NaiveDate, zone: Tz) -> (Timestamp, Timestamp) {
        let late = self.sunday_from.filter(|_| day.weekday() == Weekday::Sun);
        let from = late.map_or(self.from, |s| s.max(self.from));
        (civil(day, from, zone), civil(day, self.until, zone))
    }
}

/// A zone that is possible, with its hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The zone.
    pub zone: Tz,
    /// The hours there.
    pub hours: Hours,
}

/// What told where the patient is, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Told {
    /// The `timezone` extension of an address.
    Extension,
    /// The state of an address.
    State,
    /// The first digit of the ZIP code.
    PostalCode,
    /// No address in use tells it: the site's zone is taken.
    Site,
}

/// Where a patient may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// All that is possible; never empty.
    pub candidates: Vec<Candidate>,
    /// The weakest source that was used.
    pub told: Told,
    /// Index of the address, for the reason's source.
    pub address: Option<usize>,
}

impl Place {
    /// The first instant at or after `at` that every candidate allows; `None` where there is none within nine days.
    #[must_use]
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let end = at.plus(TimeDelta::days(9));
        let mut now = at;
        while now <= end {
            let latest =
                self.candidates.iter().map(|c| c.hours.next(now, c.zone)).try_fold(now, |latest, next| next.map(|n| latest.max(n)))?;
            if latest == now {
                return Some(now);
            }
            now = latest;
        }
        None
    }

    /// Where the patient of these facts may be at `at`. `site` is the site's zone, `hours` the hours where no state says less.
    #[must_use]
    pub fn of(patient: &PatientFacts, site: Tz, hours: Hours, at: Timestamp) -> Self {
        let mut candidates = Vec::new();
        let mut told = Told::Extension;
        let mut address = None;
        for (index, used) in patient.addresses.iter().enumerate().filter(|(_, a)| lived_in(a, site, at)) {
            if let Some((source, mut found)) = candidates_of(used, hours) {
                candidates.append(&mut found);
                address = address.or(Some(index));
                told = told.max(source);
            }
        }
        // One zone is an answer. Several are a doubt, in which the site's own counts as well; with none it is all there is.
        let zones = candidates.iter().map(|c| c.zone).fold(Vec::new(), |mut all: Vec<Tz>, z| {
            if !all.contains(&z) {
                all.push(z);
            }
            all
        });
        if zones.len() != 1 {
            told = if zones.is_empty() { Told::Site } else { told };
            candidates.push(Candidate { zone: site, hours });
        }
        candidates.dedup();
        Self { candidates, told, address }
    }
}

fn lived_in(address: &Address, site: Tz, at: Timestamp) -> bool {
    let usage = address.usage.as_deref().unwrap_or_default();
    let ended = address.period.end.is_some_and(|e| e.span(site).1 <= at);
    let begun = address.period.start.is_none_or(|s| s.earliest(site) <= at);
    !matches!(usage, "old" | "billing") && begun && !ended
}

fn candidates_of(address: &Address, hours: Hours) -> Option<(Told, Vec<Candidate>)> {
    let country = address.country.as_deref().map(str::trim).unwrap_or_default().to_ascii_uppercase();
    let abroad = !matches!(country.as_str(), "" | "US" | "USA" | "UNITED STATES" | "UNITED STATES OF AMERICA");
    let state = address.state.as_ref().filter(|_| !abroad).and_then(|s| state_of(s.expose()));
    let extension = address.zone.as_deref().and_then(|z| z.parse::<Tz>().ok());
    if let Some(zone) = extension {
        let hours = state.map_or(hours, |s| hours_in(s, hours));
        return Some((Told::Extension, vec![Candidate { zone, hours }]));
    }
    if let Some(state) = state {
        return Some((Told::State, in_state(state, hours)));
    }
    let digit = address.postal_code.as_ref().filter(|_| !abroad).and_then(|p| p.expose().trim().chars().next())?;
    let states = STATES.iter().filter(|s| s.zip == digit);
    let found: Vec<Candidate> = states.flat_map(|s| in_state(s, hours)).collect();
    (!found.is_empty()).then_some((Told::PostalCode, found))
}

fn in_state(state: &State, hours: Hours) -> Vec<Candidate> {
    let hours = hours_in(state, hours);
    state.zones.iter().map(|zone| Candidate { zone: *zone, hours }).collect()
}

fn hours_in(state: &State, hours: Hours) -> Hours {
    let limit = state.hours.and_then(|(from, until)| Hours::whole(from, until));
    let limit = limit.map(|l| Hours { sunday_from: state.sunday_from.and_then(|h| NaiveTime::from_hms_opt(h, 0, 0)), ..l });
    limit.map_or(hours, |l| hours.and(l))
}

fn state_of(text: &str) -> Option<&'static State> {
    let text = text.trim().to_ascii_uppercase();
    let code = text.strip_prefix("US-").unwrap_or(&text);
    STATES.iter().find(|s| s.code == code || s.name.eq_ignore_ascii_case(code))
}

struct State {
    code: &'static str,
    name: &'static str,
    /// First digit of its ZIP codes.
    zip: char,
    zones: &'static [Tz],
    hours: Option<(u32, u32)>,
    sunday_from: Option<u32>,
}

const fn state(code: &'static str, name: &'static str, zip: char, zones: &'static [Tz]) -> State {
    State { code, name, zip, zones, hours: None, sunday_from: None }
}

/// A state whose law on telephone solicitation, texts included, has fewer hours than the federal 8 to 21.
const fn strict(code: &'static str, name: &'static str, zip: char, zones: &'static [Tz], from: u32, until: u32) -> State {
    State { code, name, zip, zones, hours: Some((from, until)), sunday_from: None }
}

use chrono_tz::America as A;
use chrono_tz::Pacific as P;

const EASTERN: &[Tz] = &[A::New_York];
const CENTRAL: &[Tz] = &[A::Chicago];
const MOUNTAIN: &[Tz] = &[A::Denver];
const PACIFIC: &[Tz] = &[A::Los_Angeles];
const EAST_CENTRAL: &[Tz] = &[A::New_York, A::Chicago];
const CENTRAL_MOUNTAIN: &[Tz] = &[A::Chicago, A::Denver];
const ATLANTIC: &[Tz] = &[A::Puerto_Rico];

/// States, the District of Columbia and territories with the zones that they lie in (tzdata), the first digit of their ZIP codes, and
/// their hours: Fla. Stat. 501.616(6); 15 Okla. Stat. 775C.4; Wash. RCW 80.36.390; Md. Com. Law 14-4502; Conn. Gen. Stat. 42-288a;
/// 201 Code Mass. Regs. 12.04; Tex. Bus. & Com. Code 301.051. Legal advice goes before this table.
const STATES: [State; 56] = [
    state("AL", "Alabama", '3', CENTRAL),
    state("AK", "Alaska", '9', &[A::Anchorage, A::Adak]),
    state("AZ", "Arizona", '8', &[A::Phoenix, A::Denver]),
    state("AR", "Arkansas", '7', CENTRAL),
    state("CA", "California", '9', PACIFIC),
    state("CO", "Colorado", '8', MOUNTAIN),
    strict("CT", "Connecticut", '0', EASTERN, 9, 20),
    state("DE", "Delaware", '1', EASTERN),
    state("DC", "District of Columbia", '2', EASTERN),
    strict("FL", "Florida", '3', EAST_CENTRAL, 8, 20),
    state("GA", "Georgia", '3', EASTERN),
    state("HI", "Hawaii", '9', &[P::Honolulu]),
    state("ID", "Idaho", '8', &[A::Boise, A::Los_Angeles]),
    state("IL", "Illinois", '6', CENTRAL),
    state("IN", "Indiana", '4', &[A::Indiana::Indianapolis, A::Chicago]),
    state("IA", "Iowa", '5', CENTRAL),
    state("KS", "Kansas", '6', CENTRAL_MOUNTAIN),
    state("KY", "Kentucky", '4', EAST_CENTRAL),
    state("LA", "Louisiana", '7', CENTRAL),
    state("ME", "Maine", '0', EASTERN),
    strict("MD", "Maryland", '2', EASTERN, 8, 20),
    strict("MA", "Massachusetts", '0', EASTERN, 8, 20),
    state("MI", "Michigan", '4', EAST_CENTRAL),
    state("MN", "Minnesota", '5', CENTRAL),
    state("MS", "Mississippi", '3', CENTRAL),
    state("MO", "Missouri", '6', CENTRAL),
    state("MT", "Montana", '5', MOUNTAIN),
    state("NE", "Nebraska", '6', CENTRAL_MOUNTAIN),
    state("NV", "Nevada", '8', &[A::Los_Angeles, A::Denver]),
    state("NH", "New Hampshire", '0', EASTERN),
    state("NJ", "New Jersey", '0', EASTERN),
    state("NM", "New Mexico", '8', MOUNTAIN),
    state("NY", "New York", '1', EASTERN),
    state("NC", "North Carolina", '2', EASTERN),
    state("ND", "North Dakota", '5', CENTRAL_MOUNTAIN),
    state("OH", "Ohio", '4', EASTERN),
    strict("OK", "Oklahoma", '7', CENTRAL, 8, 20),
    state("OR", "Oregon", '9', &[A::Los_Angeles, A::Boise]),
    state("PA", "Pennsylvania", '1', EASTERN),
    state("RI", "Rhode Island", '0', EASTERN),
    state("SC", "South Carolina", '2', EASTERN),
    state("SD", "South Dakota", '5', CENTRAL_MOUNTAIN),
    state("TN", "Tennessee", '3', EAST_CENTRAL),
    State { code: "TX", name: "Texas", zip: '7', zones: CENTRAL_MOUNTAIN, hours: Some((9, 21)), sunday_from: Some(12) },
    state("UT", "Utah", '8', MOUNTAIN),
    state("VT", "Vermont", '0', EASTERN),
    state("VA", "Virginia", '2', EASTERN),
    strict("WA", "Washington", '9', PACIFIC, 8, 20),
    state("WV", "West Virginia", '2', EASTERN),
    state("WI", "Wisconsin", '5', CENTRAL),
    state("WY", "Wyoming", '8', MOUNTAIN),
    state("PR", "Puerto Rico", '0', ATLANTIC),
    state("VI", "Virgin Islands", '0', ATLANTIC),
    // Guam, Samoa and the Marianas share the 9 with California; a ZIP alone does not mean them, or no hour of the day would be left.
    state("GU", "Guam", ' ', &[P::Guam]),
    state("AS", "American Samoa", ' ', &[P::Pago_Pago]),
    state("MP", "Northern Mariana Islands", ' ', &[P::Guam]),
];
