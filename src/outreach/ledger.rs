//! Between the store's rows and the pure parts: attempts as the plan and the gate see them, verdicts and messages as they are kept.

use std::collections::{BTreeMap, BTreeSet};

use domain::Timestamp;
use domain::model::Phi;
use serde::{Deserialize, Serialize};

use super::channel::ChannelKind;
use super::gate::{PastSend, PointKey, Preference, Scope, Verdict};
use super::plan::{AttemptKey, EnrolmentKey, Standing, Tried, Void};
use super::template::Rendered;
use crate::store::attempts::Attempt;
use crate::store::codec::Codec;
use crate::store::enrolments::Enrolment;
use crate::store::{StoreError, preferences};

/// What stands before the reasons of an attempt that was refused, or failed, for its channel alone: the next rung may be tried.
pub(super) const CHANNEL_ONLY: &str = "channel: ";

/// A message as the ledger keeps it, compressed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptMessage {
    /// Address or number; absent where the person has none that the channel needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Phi<String>>,
    /// Subject.
    pub subject: Phi<String>,
    /// Text.
    pub body: Phi<String>,
}

impl KeptMessage {
    pub(super) fn new(to: Option<&PointKey>, rendered: &Rendered) -> Self {
        Self { to: to.map(|k| k.value().clone()), subject: rendered.subject.clone(), body: rendered.body.clone() }
    }

    pub(super) fn pack(&self, codec: &Codec) -> Result<Vec<u8>, StoreError> {
        let json = serde_json::to_vec(self).map_err(|_| StoreError::Damaged("a message that cannot be serialised"))?;
        Ok(codec.pack(None, &json)?.bytes)
    }

    /// Reads the message of an attempt; `None` where none was kept yet.
    ///
    /// # Errors
    /// Where the bytes are not what was stored.
    pub fn of(attempt: &Attempt, codec: &Codec) -> Result<Option<Self>, StoreError> {
        let Some(bytes) = &attempt.message else { return Ok(None) };
        let json = codec.unpack(bytes, None)?;
        serde_json::from_slice(&json).map(Some).map_err(|_| StoreError::Damaged("a kept message"))
    }
}

/// A reason as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptReason {
    /// Its code.
    pub code: String,
    /// For people, without values of the patient.
    pub detail: String,
    /// `main Patient/7 version 3, Patient.active`, where it comes from a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Phi<String>>,
}

pub(super) fn kept_reasons(verdict: &Verdict) -> Vec<KeptReason> {
    let told = |s: &super::gate::Source| {
        let version = s.origin.version.as_deref().map(|v| format!(" version {v}")).unwrap_or_default();
        Phi::new(format!("{} {}{version}, {}", s.origin.ehr, s.origin.reference(), s.field))
    };
    verdict
        .reasons
        .iter()
        .map(|r| KeptReason { code: r.code.as_str().to_owned(), detail: r.detail.clone(), source: r.source.as_ref().map(told) })
        .collect()
}

/// The text of `attempt.failure` for a refusal: its codes, and whether the next rung may be tried.
pub(super) fn refusal(verdict: &Verdict) -> String {
    let codes: Vec<&str> = verdict.reasons.iter().filter(|r| r.refuses()).map(|r| r.code.as_str()).collect();
    let codes = if codes.is_empty() { "expires-before-hold-ends".to_owned() } else { codes.join(", ") };
    if verdict.next_rung_may_do() { format!("{CHANNEL_ONLY}{codes}") } else { codes }
}

pub(super) fn channel_failure(code: &str) -> String {
    format!("{CHANNEL_ONLY}{code}")
}

pub(super) fn enrolment_key(e: &Enrolment) -> EnrolmentKey {
    EnrolmentKey { anchor: e.anchor.clone(), entry_no: u32::try_from(e.entry).unwrap_or(u32::MAX) }
}

fn revision(attempt: &Attempt) -> i64 {
    attempt.anchor_revision.parse().unwrap_or_default()
}

/// An attempt as the plan sees it; `None` for one that was given up, which counts as not made. One that staff stopped stays stopped.
pub(super) fn tried(attempt: &Attempt, enrolment: &Enrolment) -> Option<Tried> {
    let channel_only = attempt.failure.as_deref().is_some_and(|f| f.starts_with(CHANNEL_ONLY));
    let standing = match (attempt.state.as_str(), attempt.outcome.as_deref()) {
        ("void", _) if attempt.failure.as_deref() == Some(Void::Stopped.as_str()) => Standing::Stopped,
        ("void", _) => return None,
        ("planned" | "held", _) => Standing::Held(Timestamp::from_micros(attempt.due_at)),
        ("finished", Some("failed")) => Standing::ChannelFailed,
        ("refused", _) if channel_only => Standing::ChannelFailed,
        ("refused", _) => Standing::Refused,
        _ => Standing::Taken,
    };
    Some(Tried {
        enrolment: enrolment_key(enrolment),
        key: AttemptKey {
            step: attempt.step.clone(),
            rung: u32::try_from(attempt.rung).unwrap_or(u32::MAX),
            anchor_rev: revision(attempt),
        },
        standing,
        at: Timestamp::from_micros(attempt.finished_at.or(attempt.sent_at).unwrap_or(attempt.due_at)),
    })
}

/// What an attempt is about, as the duplicate breaker compares it.
pub(super) fn occasion(anchor: &str, anchor_revision: &str) -> String {
    format!("{anchor}@{anchor_revision}")
}

/// What was sent to a person since an instant, for the gate.
pub(super) fn past(attempts: &[Attempt], enrolments: &[Enrolment], codec: &Codec, since: Timestamp) -> Result<Vec<PastSend>, StoreError> {
    let mut sends = Vec::new();
    // What failed for good has reached nobody: it uses up no permit, and the next rung says the same for the first time.
    let counts = |a: &&Attempt| matches!(a.state.as_str(), "sending" | "sent" | "finished") && a.outcome.as_deref() != Some("failed");
    for a in attempts.iter().filter(counts) {
        let Some(at) = a.sent_at.map(Timestamp::from_micros).filter(|at| *at >= since) else { continue };
        let anchor = enrolments.iter().find(|e| e.id == a.enrolment).map_or("", |e| e.anchor.as_str());
        let to = KeptMessage::of(a, codec)?.and_then(|m| m.to);
        let Some(point) = to.and_then(|to| point_key(to.expose())) else { continue };
        sends.push(PastSend { at, template: a.template.clone(), occasion: occasion(anchor, &a.anchor_revision), point });
    }
    Ok(sends)
}

fn point_key(text: &str) -> Option<PointKey> {
    if text.contains('@') { PointKey::email(text) } else { PointKey::phone(text) }
}

/// A person's choices, for the gate. An entry that cannot be read counts as a refusal of everything: deny by default. What was said of contact
/// points comes from all who have them, by [`point_choices`].
pub(super) fn choices(rows: &[preferences::Preference]) -> Vec<Preference> {
    rows.iter()
        .filter(|row| row.scope != POINT)
        .map(|row| {
            let scope = match row.scope.as_str() {
                "channel" => ChannelKind::parse(&row.value).map(|k| Scope { channel: Some(k), ..Scope::default() }),
                "program" => Some(Scope { program: Some(row.value.clone()), ..Scope::default() }),
                "all" => Some(Scope::default()),
                _ => None,
            };
            choice(row, scope)
        })
        .collect()
}

/// The scope of a choice about one contact point.
pub(super) const POINT: &str = "contact_point";

/// What was said of a person's contact points, by whoever shares them.
pub(super) fn point_choices<'a>(rows: impl IntoIterator<Item = &'a preferences::Preference>, keys: &BTreeSet<PointKey>) -> Vec<Preference> {
    let named: BTreeMap<String, &PointKey> = keys.iter().map(|key| (preferences::point_name(&key.hash()), key)).collect();
    rows.into_iter()
        .filter_map(|row| {
            let key = named.get(&row.value)?;
            Some(choice(row, Some(Scope { point: Some((*key).clone()), ..Scope::default() })))
        })
        .collect()
}

fn choice(row: &preferences::Preference, scope: Option<Scope>) -> Preference {
    let readable = scope.is_some();
    Preference {
        scope: scope.unwrap_or_default(),
        out: !row.allowed || !readable,
        at: Timestamp::from_micros(row.recorded_at),
        by: row.person,
    }
}
