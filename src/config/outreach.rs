//! When and how often people are written to. Whether anything leaves at all is not here: an installation is switched to live by a command.

use std::collections::BTreeMap;

use chrono::{NaiveTime, TimeDelta};

use super::reader::Section;

/// The site's rules for outreach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outreach {
    /// Channels, the preferred one first. A program's step narrows them.
    pub channels: Vec<String>,
    /// When no message comes, by the clock at the patient's place.
    pub quiet_hours: QuietHours,
    /// Messages to one person in any 24 hours, over all programs and channels.
    pub per_day: u32,
    /// The same for any 7 days.
    pub per_week: u32,
    /// Facts older than this hold a message until the next sync.
    pub max_staleness: TimeDelta,
    /// How long a channel's receipt is waited for; then the delivery stays unknown and the attempt is finished.
    pub settle_after: TimeDelta,
    /// The same for single channels, where it differs.
    pub receipts: BTreeMap<&'static str, TimeDelta>,
}

/// A part of each day; it may span midnight. Where both ends are the same, there are no quiet hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// They begin.
    pub start: NaiveTime,
    /// They end.
    pub end: NaiveTime,
}

const CHANNELS: [&str; 2] = ["recorded", "email"];

impl Outreach {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        let channels = s.list("channels", "\"recorded\" (kept, not sent) and \"email\"", |t| CHANNELS.contains(&t));
        if s.is_empty_list("channels") {
            s.wrong("channels", "expected at least one channel; \"recorded\" keeps messages and sends nothing");
        }
        let mut of_channel = s.section("receipts");
        let mut receipts = BTreeMap::new();
        // The ledger gives none.
        for channel in CHANNELS.into_iter().filter(|c| *c != "recorded") {
            let within = of_channel.span(channel, TimeDelta::zero(), TimeDelta::days(30));
            receipts.extend(within.map(|w| (channel, w)));
        }
        let quiet_hours = QuietHours::read(&mut s.section("quiet_hours"));
        let per_day = s.number("per_day", 1, 24).unwrap_or(1);
        let per_week = s.number("per_week", 1, 100).unwrap_or(3.max(per_day));
        if per_week < per_day {
            s.wrong("per_week", format!("expected at least per_day, which is {per_day}"));
        }
        Self {
            channels: channels.unwrap_or_else(|| CHANNELS.iter().rev().map(|c| (*c).to_owned()).collect()),
            quiet_hours,
            per_day,
            per_week,
            max_staleness: s.span("max_staleness", TimeDelta::minutes(1), TimeDelta::days(60)).unwrap_or(TimeDelta::hours(26)),
            settle_after: s.span("settle_after", TimeDelta::zero(), TimeDelta::days(30)).unwrap_or(TimeDelta::hours(72)),
            receipts,
        }
    }
}

impl QuietHours {
    fn read(s: &mut Section<'_, '_>) -> Self {
        let mut time = |key, default: u32| {
            s.parsed(key, "a time of day such as \"21:00\"", |t| NaiveTime::parse_from_str(t, "%H:%M").ok())
                .unwrap_or_else(|| NaiveTime::from_hms_opt(default, 0, 0).unwrap_or_default())
        };
        Self { start: time("start", 21), end: time("end", 8) }
    }
}
