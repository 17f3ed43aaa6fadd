//! What comes back on a message that was sent: an answer, or the news that it never arrived. Whoever brings it (a channel, a person at the
//! front desk) says which attempt it is about; what it means is read here, once, for all of them.

use domain::{Clock, Timestamp};

use super::barrier::{Barrier, named};
use super::ledger;
use super::owing::{Owing, is_last_rung};
use super::program::Library;
use super::reply::{Reply, classify};
use crate::store::answers::{self, Incoming, Owed};
use crate::store::attempts::{self, Attempt};
use crate::store::{Conn, Store, StoreError, people, preferences};

/// An answer as it came in.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The attempt that it answers.
    pub attempt: String,
    /// The channel it came by, such as `email` or `call`.
    pub channel: String,
    /// The channel's own id, so that a repeated delivery counts once.
    pub external_id: Option<String>,
    /// The words.
    pub text: domain::model::Phi<String>,
    /// What stands in the way of care, where a person heard it; else it is read from the words, where they are clear.
    pub barrier: Option<Barrier>,
    /// Who entered it: a channel, or a person's role.
    pub recorded_by: String,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was recorded.
    Recorded {
        /// What it means.
        reply: Reply,
        /// What stands in the way of care.
        barrier: Option<Barrier>,
        /// Whether staff must do something.
        needs_action: bool,
    },
    /// It was there already, by the channel's id.
    Repeated,
    /// The attempt never left, or ended as refused or given up: there is nothing to answer.
    NotSent,
    /// There is no such attempt.
    Unknown,
}

/// What answers and bounces need.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The store.
    pub store: &'a Store,
    /// Time.
    pub clock: &'a dyn Clock,
    /// What the charts want.
    pub owing: &'a Owing,
    /// Programs in force.
    pub library: &'a Library,
    /// Whether an EHR takes changes of an Appointment's status from patients' answers.
    pub changes_status: &'a (dyn Fn(&str) -> bool + Send + Sync),
}

/// Whether staff must act on a reply. A cancelled visit needs nobody where the EHR takes the change from us.
pub(super) const fn needs_action(reply: Reply, status_is_changed: bool) -> bool {
    match reply {
        Reply::Confirm | Reply::Start | Reply::Stop { perhaps_the_visit: false } => false,
        Reply::CancelVisit => !status_is_changed,
        Reply::Stop { perhaps_the_visit: true } | Reply::Help | Reply::FreeText { .. } => true,
    }
}

impl Desk<'_> {
    /// Records an answer, honours a wish to stop or to start again in the same transaction, and owes what the chart wants.
    ///
    /// # Errors
    /// The engine's refusal; nothing was recorded then.
    pub async fn answered(&self, came: Answer) -> Result<Taken, StoreError> {
        let reply = classify(came.text.expose());
        let barrier = came.barrier.or_else(|| named(came.text.expose()));
        let now = self.clock.now();
        let id = came.attempt.clone();
        let found = self.store.read(move |conn| with_ehr(conn, &id)).await?;
        let Some((a, ehr)) = found else { return Ok(Taken::Unknown) };
        let about_a_visit = a.about.as_deref().is_some_and(|r| r.starts_with("Appointment/"));
        let status_change = about_a_visit && matches!(reply, Reply::Confirm | Reply::CancelVisit) && (self.changes_status)(&ehr);
        let needs_action = needs_action(reply, status_change);
        let owed = Owed {
            attempt: self.owing.debt(&ehr, attempts::Outcome::Answered, true, now),
            answer: self.owing.of_answer(&ehr, needs_action, now),
            status_change,
        };
        let message = self.store.codec().pack(None, came.text.expose().as_bytes())?.bytes;
        self.store
            .write("record an answer", move |conn| {
                let incoming = Incoming {
                    channel: &came.channel,
                    external_id: came.external_id.as_deref(),
                    meaning: reply.as_str(),
                    barrier: barrier.map(Barrier::as_str),
                    needs_action,
                    message: Some(&message),
                    recorded_by: &came.recorded_by,
                };
                let Some(current) = attempts::get(conn, &a.id)? else { return Ok(Taken::Unknown) };
                if !matches!(current.state.as_str(), "sending" | "sent" | "finished") {
                    return Ok(Taken::NotSent);
                }
                if answers::record(conn, &current, &incoming, owed, now)?.is_none() {
                    return Ok(Taken::Repeated);
                }
                honour(conn, &current, reply, &came.channel, now)?;
                Ok(Taken::Recorded { reply, barrier, needs_action })
            })
            .await
    }

    /// Records that a message did not arrive though it had been taken for sent: the chart is corrected, and the next rung is open. `None`
    /// where there is no such attempt, `false` where it had not been taken for sent.
    ///
    /// # Errors
    /// The engine's refusal; nothing was recorded then.
    pub async fn bounced(&self, attempt: &str, code: &str) -> Result<Option<bool>, StoreError> {
        let (now, id, failure) = (self.clock.now(), attempt.to_owned(), ledger::channel_failure(code));
        let found = self.store.read(move |conn| with_ehr(conn, &id)).await?;
        let Some((a, ehr)) = found else { return Ok(None) };
        let debt = self.owing.debt(&ehr, attempts::Outcome::Failed, is_last_rung(self.library, &a), now);
        self.store
            .write("record a bounce", move |conn| {
                let Some(current) = attempts::get(conn, &a.id)? else { return Ok(None) };
                let end = attempts::End { outcome: attempts::Outcome::Failed, provider_ref: None, failure: Some(&failure), debt };
                let done = match current.state.as_str() {
                    "sending" | "sent" => attempts::finish(conn, &current, &end, now)?,
                    _ => attempts::bounced(conn, &current, &failure, debt, now)?,
                };
                if done {
                    crate::store::pending::mark_outreach(conn, &std::iter::once(current.person).collect(), now)?;
                }
                Ok(Some(done))
            })
            .await
    }
}

fn with_ehr(conn: &mut Conn, id: &str) -> Result<Option<(Attempt, String)>, StoreError> {
    let Some(a) = attempts::get(conn, id)? else { return Ok(None) };
    let ehr = people::ehr_of(conn, a.patient)?;
    Ok(Some((a, ehr)))
}

/// A wish to stop is about everything: revoking one kind of message revokes all (47 CFR 64.1200(a)(12)). It is also about the contact point that
/// it came from, whoever else has that one. To start again is about the channel that it came by, and the same contact point.
fn honour(conn: &mut Conn, a: &Attempt, reply: Reply, channel: &str, now: Timestamp) -> Result<(), StoreError> {
    let point = a.contact_hash.as_deref().map(preferences::point_name);
    let of_point = |conn: &mut Conn, allowed| match &point {
        Some(point) => preferences::record(conn, a.person, ledger::POINT, point, allowed, "reply", now),
        None => Ok(()),
    };
    match reply {
        Reply::Stop { .. } => {
            preferences::record(conn, a.person, "all", "", false, "reply", now)?;
            of_point(conn, false)
        }
        Reply::Start => {
            preferences::record(conn, a.person, "all", "", true, "reply", now)?;
            of_point(conn, true)?;
            preferences::record(conn, a.person, "channel", channel, true, "reply", now)
        }
        Reply::Help | Reply::Confirm | Reply::CancelVisit | Reply::FreeText { .. } => Ok(()),
    }
}
