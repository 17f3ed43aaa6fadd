//! Who is told what goes wrong, and from when on something does.

use chrono::TimeDelta;

use super::reader::{Place, Section};
use crate::credentials::SecretRef;

/// Alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// Addresses that are written to; needs `[smtp]`.
    pub mail: Vec<String>,
    /// Where a program is told.
    pub webhook: Option<Place>,
    /// What signs it.
    pub webhook_secret: Option<SecretRef>,
    /// What is asked for while all is well.
    pub heartbeat: Option<Place>,
    /// How often.
    pub heartbeat_every: TimeDelta,
    /// How often is looked.
    pub look_every: TimeDelta,
    /// Failures of a type in a row.
    pub failures: u32,
    /// Or failing for so long.
    pub failing_after: TimeDelta,
    /// So long after a type should have been read.
    pub late_after: TimeDelta,
    /// Percent of the disk that should be free.
    pub disk_free: u32,
    /// Resources put aside within a day.
    pub quarantine: u32,
    /// Patients of whom a type became unknown within a day.
    pub holes: u32,
    /// How long something must be over before it counts as over.
    pub settle: TimeDelta,
}

impl Alerts {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        let (second, minute, hour, week) = (TimeDelta::seconds(1), TimeDelta::minutes(1), TimeDelta::hours(1), TimeDelta::days(7));
        let is_address = |t: &str| super::smtp::is_mailbox(t) && !t.contains(['<', '>', ' ']);
        let mail = s.list("mail", "addresses such as \"ops@example.org\"", is_address).unwrap_or_default();
        let (webhook, webhook_secret) = (s.place("webhook"), s.secret("webhook_secret"));
        if s.has("webhook") != s.has("webhook_secret") {
            s.wrong("webhook", "webhook and webhook_secret go together: what is sent is signed, so that its receiver can tell who sent it");
        }
        Self {
            mail,
            webhook,
            webhook_secret,
            heartbeat: s.place("heartbeat"),
            heartbeat_every: s.span("heartbeat_every", second * 10, hour * 24).unwrap_or(minute * 5),
            look_every: s.span("look_every", second, hour).unwrap_or(minute),
            failures: s.number("failures", 1, 1000).unwrap_or(3),
            failing_after: s.span("failing_after", minute, week).unwrap_or(hour),
            late_after: s.span("late_after", minute, week).unwrap_or(hour * 2),
            disk_free: s.number("disk_free", 0, 99).unwrap_or(10),
            quarantine: s.number("quarantine", 1, u32::MAX).unwrap_or(100),
            holes: s.number("holes", 1, u32::MAX).unwrap_or(100),
            settle: s.span("settle", TimeDelta::zero(), hour * 24).unwrap_or(minute * 5),
        }
    }
}
