//! Which of a patient's contact points a channel may use, and in which order: those in use now, well formed, not withheld and not opted
//! out, the best rank first (R4 ContactPoint). Knows nothing of times of day, caps or words.

use std::collections::BTreeSet;

use chrono_tz::Tz;
use domain::Timestamp;
use domain::model::facts::{ContactPoint, PatientFacts};
use domain::model::{PersonFacts, Phi};

use crate::outreach::channel::ChannelKind;
use crate::store::codec::content_hash;

/// A contact point in the one form in which two are compared: an address in lower case, a number as E.164.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PointKey(Phi<String>);

impl PointKey {
    /// The key of an e-mail address; `None` where it is malformed (RFC 5321 with a dotted domain, ASCII only).
    #[must_use]
    pub fn email(text: &str) -> Option<Self> {
        let text = text.trim().strip_prefix("mailto:").unwrap_or(text.trim()).to_ascii_lowercase();
        let (local, domain) = text.rsplit_once('@')?;
        let local_ok = (1..=64).contains(&local.len())
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
        let label_ok = |l: &str| {
            (1..=63).contains(&l.len())
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let top_ok = domain.rsplit('.').next().is_some_and(|t| t.len() >= 2 && !t.bytes().all(|b| b.is_ascii_digit()));
        let domain_ok = domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label_ok) && top_ok;
        (local_ok && domain_ok).then(|| Self(Phi::new(text)))
    }

    /// The key of a telephone number; `None` where it is none. Without a country code it is read by the North American plan.
    #[must_use]
    pub fn phone(text: &str) -> Option<Self> {
        let text = text.trim().strip_prefix("tel:").unwrap_or(text.trim()).to_ascii_lowercase();
        let number = text.split(['x', ';', ',', '#']).next().unwrap_or_default().trim_end_matches("e").trim();
        let plain = number.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | '(' | ')' | ' ' | '/'));
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let national =
            |d: &str| d.len() == 10 && [d.chars().next(), d.chars().nth(3)].iter().all(|c| c.is_some_and(|c| ('2'..='9').contains(&c)));
        let full = match (number.starts_with('+'), digits.strip_prefix('1')) {
            (true, Some(rest)) if !national(rest) => None,
            (true, _) => ((8..=15).contains(&digits.len()) && !digits.starts_with('0')).then_some(digits),
            (false, Some(rest)) if national(rest) => Some(digits),
            (false, _) => national(&digits).then(|| format!("1{digits}")),
        };
        full.filter(|_| plain).map(|d| Self(Phi::new(format!("+{d}"))))
    }

    /// By what the store knows it.
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        content_hash(self.0.expose().as_bytes())
    }

    /// The address or number itself, for the wire.
    #[must_use]
    pub const fn value(&self) -> &Phi<String> {
        &self.0
    }
}

/// What a contact point is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PointKind {
    /// Mail.
    Email,
    /// A number that takes texts.
    Mobile,
    /// A number of which only calls are known to work.
    Phone,
}

impl PointKind {
    /// As written in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Mobile => "mobile",
            Self::Phone => "phone",
        }
    }
}

/// A contact point that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The address or number.
    pub key: PointKey,
    /// What it is good for.
    pub kind: PointKind,
    /// Its place in `Patient.telecom` as kept in the facts, from 0.
    pub index: usize,
}

/// Why a contact point cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unusable {
    /// Marked `old`, or its period has ended or not begun.
    NotInUse,
    /// No address, or no number.
    Malformed,
}

/// The contact points that a channel could use, best first, and those that it could if they were in order.
pub(super) fn candidates(patient: &PatientFacts, channel: ChannelKind, site: Tz, now: Timestamp) -> (Vec<Point>, Vec<(usize, Unusable)>) {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (index, point) in patient.telecom.iter().enumerate() {
        let Some(kind) = kind(point).filter(|k| takes(channel, *k)) else {
            continue;
        };
        if !in_use(point, site, now) {
            bad.push((index, Unusable::NotInUse));
            continue;
        }
        let key = if kind == PointKind::Email { PointKey::email(point.value.expose()) } else { PointKey::phone(point.value.expose()) };
        match key {
            Some(key) => good.push((order(point, kind), Point { key, kind, index })),
            None => bad.push((index, Unusable::Malformed)),
        }
    }
    good.sort_by_key(|(order, point)| (*order, point.index));
    (good.into_iter().map(|(_, point)| point).collect(), bad)
}

/// All contact points of a person, whether or not any channel could use them: what others share is asked by these.
#[must_use]
pub fn keys(person: &PersonFacts) -> BTreeSet<PointKey> {
    let points = person.patients.iter().flat_map(|record| &record.facts.telecom);
    points
        .filter_map(|point| match kind(point)? {
            PointKind::Email => PointKey::email(point.value.expose()),
            PointKind::Mobile | PointKind::Phone => PointKey::phone(point.value.expose()),
        })
        .collect()
}

fn kind(point: &ContactPoint) -> Option<PointKind> {
    match (point.system.as_str(), point.usage.as_deref()) {
        ("email", _) => Some(PointKind::Email),
        // EHRs rarely send `sms`; a mobile phone is as good (standards of F.4).
        ("sms", _) | ("phone", Some("mobile")) => Some(PointKind::Mobile),
        ("phone", _) => Some(PointKind::Phone),
        _ => None,
    }
}

const fn takes(channel: ChannelKind, kind: PointKind) -> bool {
    match channel {
        ChannelKind::Recorded => true,
        ChannelKind::Email => matches!(kind, PointKind::Email),
    }
}

fn in_use(point: &ContactPoint, site: Tz, now: Timestamp) -> bool {
    let ended = point.period.end.is_some_and(|e| e.span(site).1 <= now);
    let begun = point.period.start.is_none_or(|s| s.earliest(site) <= now);
    point.usage.as_deref() != Some("old") && begun && !ended
}

/// Rank first, as R4 has it; then private before work, and what is read soonest before the rest.
fn order(point: &ContactPoint, kind: PointKind) -> (u32, u8, u8) {
    let usage = match point.usage.as_deref() {
        Some("work") => 2,
        Some("temp") => 1,
        _ => 0,
    };
    let kind = match kind {
        PointKind::Mobile => 0,
        PointKind::Email => 1,
        PointKind::Phone => 2,
    };
    (point.rank.filter(|r| *r > 0).unwrap_or(u32::MAX), usage, kind)
}
