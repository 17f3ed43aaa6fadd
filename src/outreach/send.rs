//! The sending half of the stage: judges what is due, marks what may go as `sending`, hands it to its channel, and records what came of
//! it. Every send of this installation passes here.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Clock, Timestamp};

use super::channel::{Channel, ChannelKind, Delivery, Outgoing};
use super::gate::{self, Outcome, ReasonCode};
use super::judging::{Case, Judge, Judged, cases, own_refusal};
use super::ledger;
use super::owing::Owing;
use super::plan::{self, Tried, Void};
use super::program::Program;
use crate::store::attempts::{self, Attempt, Departure};
use crate::store::installation::{self, Setting};
use crate::store::leases::{self, Fence, Term};
use crate::store::{Conn, Store, StoreError, pending, people, stops};

/// The site, as messages and the gate need it.
#[derive(Clone, Debug)]
pub struct SiteVoice {
    /// The name as patients know it.
    pub name: String,
    /// The number to call back.
    pub phone: String,
    /// The gate's policy.
    pub policy: gate::SitePolicy,
}

/// What sending needs.
pub(super) struct Sender<'a> {
    pub(super) store: &'a Store,
    pub(super) clock: &'a dyn Clock,
    pub(super) judge: Judge<'a>,
    pub(super) fence: &'a Fence,
    pub(super) term: Term,
    pub(super) receipts_within: &'a (dyn Fn(ChannelKind) -> chrono::TimeDelta + Send + Sync),
    pub(super) owing: &'a Owing,
    pub(super) stop: &'a AtomicBool,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) sent: u64,
    pub(super) held: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    /// May or may not have left.
    pub(super) unclear: u64,
    /// Given up, since a later step of the same says the same.
    pub(super) overtaken: u64,
    /// Looked at again at once: another send to the same person came first.
    pub(super) again: u64,
}

impl Sent {
    pub(super) const fn looked_at(self) -> u64 {
        self.sent + self.held + self.refused + self.failed + self.unclear + self.overtaken + self.again
    }
}

/// How long a verdict that allows may be used.
const STALE_VERDICT: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

impl Sender<'_> {
    /// Judges and sends up to `limit` attempts that are due.
    pub(super) async fn batch(&self, limit: i64) -> Result<Sent, StoreError> {
        let now = self.clock.now();
        let mut cases = self.store.snapshot(move |conn| attempts::due(conn, now, limit).and_then(|due| cases(conn, due, now))).await?;
        // Where two programs would write to one person, the more urgent one has the day's permit.
        cases.sort_by_key(|c| (self.judge.library.program(&c.attempt.program).map_or(u32::MAX, |p| p.priority), c.attempt.due_at));
        let mut sent = Sent::default();
        let (overtaken, cases): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| self.is_overtaken(case, now));
        sent.overtaken += self.give_up(overtaken.into_iter().map(|case| case.attempt).collect()).await?;
        let cases = self.judge.with_names(cases, now).await?;
        let judged = cases.into_iter().map(|case| self.judge.judge(case, now)).collect::<Result<Vec<_>, StoreError>>()?;
        // What the recorded channel takes never leaves, so one commit may begin and one may end all of it. A message that leaves begins
        // and ends by itself: a crash leaves one in doubt, and the one after it is judged by the minute in which it goes.
        let leaves = |j: &Judged| j.verdict.outcome == Outcome::Allow && j.verdict.channel.leaves();
        let (leaving, staying): (Vec<_>, Vec<_>) = judged.into_iter().partition(leaves);
        let recorded = self.record_verdicts(staying, now, &mut sent).await?;
        self.keep_recorded(recorded, &mut sent).await?;
        for judged in leaving {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if self.clock.now().since(now) > STALE_VERDICT {
                // A slow mail server: the rest is judged again, for the quiet hours may have begun.
                sent.again += 1;
                break;
            }
            for departed in self.record_verdicts(vec![judged], now, &mut sent).await? {
                self.deliver(departed, &mut sent).await?;
            }
        }
        Ok(sent)
    }

    /// Whether a later step of the same visit or entry asks for the same and has come due, or was sent, while this one waited.
    fn is_overtaken(&self, case: &Case, now: Timestamp) -> bool {
        let enrolment = case.enrolments.iter().find(|e| e.id == case.attempt.enrolment);
        let (Some(program), Some(enrolment)) = (self.judge.library.program(&case.attempt.program), enrolment) else { return false };
        let of_enrolment = case.attempts.iter().filter(|a| a.enrolment == enrolment.id);
        let tried: Vec<Tried> = of_enrolment.filter_map(|a| ledger::tried(a, enrolment)).collect();
        let Some(this) = ledger::tried(&case.attempt, enrolment) else { return false };
        let entered_at = Timestamp::from_micros(enrolment.entered_at);
        plan::is_overtaken(program, &this, &tried, entered_at, self.judge.site.policy.zone, now)
    }

    /// Voids attempts that were overtaken; returns how many still waited.
    async fn give_up(&self, overtaken: Vec<Attempt>) -> Result<u64, StoreError> {
        if overtaken.is_empty() {
            return Ok(0);
        }
        let (fence, term, now) = (self.fence.clone(), self.term, self.clock.now());
        self.store
            .write("give up what was overtaken", move |conn| {
                leases::extend(conn, &fence, now, term)?;
                let mut voided = 0;
                for a in &overtaken {
                    let why = Void::Overtaken.as_str();
                    voided += u64::from(attempts::void_one(conn, a.enrolment, &a.step, a.rung, &a.anchor_revision, why, now)?);
                }
                Ok(voided)
            })
            .await
    }

    async fn keep_recorded(&self, recorded: Vec<Judged>, sent: &mut Sent) -> Result<(), StoreError> {
        if recorded.is_empty() {
            return Ok(());
        }
        sent.sent += u64::try_from(recorded.len()).unwrap_or(0);
        let (fence, term, now) = (self.fence.clone(), self.term, self.clock.now());
        let recording = self.recording(ChannelKind::Recorded);
        self.store
            .write("record deliveries", move |conn| {
                leases::extend(conn, &fence, now, term)?;
                for j in &recorded {
                    recording.record(conn, &j.attempt, j.last_rung, &Delivery::Delivered { provider_ref: None }, now)?;
                }
                Ok(())
            })
            .await
    }

    /// Keeps all verdicts in one transaction; returns those that say `sending` now.
    async fn record_verdicts(&self, judged: Vec<Judged>, now: Timestamp, sent: &mut Sent) -> Result<Vec<Judged>, StoreError> {
        if judged.is_empty() {
            return Ok(Vec::new());
        }
        let (fence, term, clock_now, owing) = (self.fence.clone(), self.term, self.clock.now(), self.owing.clone());
        let (judged, outcome) = self
            .store
            .write("keep verdicts", move |conn| {
                leases::extend(conn, &fence, clock_now, term)?;
                let mut outcome = Vec::with_capacity(judged.len());
                for j in &judged {
                    outcome.push(keep(conn, j, &fence, &owing, now)?);
                }
                Ok((judged.iter().map(Judged::share).collect::<Vec<_>>(), outcome))
            })
            .await?;
        let mut leaving = Vec::new();
        for (j, kept) in judged.into_iter().zip(outcome) {
            match (j.verdict.outcome, kept) {
                (_, false) => sent.again += 1,
                (Outcome::Allow, true) => leaving.push(j),
                (Outcome::HoldUntil(_), true) => sent.held += 1,
                (Outcome::Refuse, true) => sent.refused += 1,
            }
        }
        Ok(leaving)
    }

    async fn deliver(&self, j: Judged, sent: &mut Sent) -> Result<(), StoreError> {
        let Some(rendered) = &j.rendered else { return Ok(()) };
        let to = j.verdict.point.as_ref().map(|p| p.key.value().clone()).unwrap_or_default();
        let outgoing = Outgoing {
            attempt: j.attempt.id.clone(),
            to,
            subject: rendered.subject.clone(),
            body: rendered.body.clone(),
            at: self.clock.now(),
        };
        let delivery = match self.judge.channels.iter().find(|c| c.kind() == j.verdict.channel) {
            Some(channel) => channel.deliver(&outgoing).await,
            None => Channel::Recorded.deliver(&outgoing).await,
        };
        let now = self.clock.now();
        match &delivery {
            Delivery::Delivered { .. } | Delivery::Accepted { .. } => sent.sent += 1,
            Delivery::RefusedForGood { .. } => sent.failed += 1,
            Delivery::TryLater { .. } => sent.held += 1,
            Delivery::Unclear { .. } => sent.unclear += 1,
        }
        let (fence, term, recording) = (self.fence.clone(), self.term, self.recording(j.verdict.channel));
        self.store
            .write("record a delivery", move |conn| {
                leases::extend(conn, &fence, now, term)?;
                recording.record(conn, &j.attempt, j.last_rung, &delivery, now)
            })
            .await
    }

    fn recording(&self, channel: ChannelKind) -> Recording {
        Recording { owing: self.owing.clone(), within: (self.receipts_within)(channel) }
    }

    /// Ends what was sent and whose time for receipts has passed.
    pub(super) async fn settle_silent(&self) -> Result<u64, StoreError> {
        let (fence, term, now, owing) = (self.fence.clone(), self.term, self.clock.now(), self.owing.clone());
        self.store
            .write("settle sends without receipt", move |conn| {
                leases::extend(conn, &fence, now, term)?;
                let silent = attempts::unsettled(conn, now, 1_000)?;
                for attempt in &silent {
                    let debt = owing.debt(&people::ehr_of(conn, attempt.patient)?, attempts::Outcome::Unknown, true, now);
                    attempts::finish(conn, attempt, &attempts::End { debt, ..attempts::End::owing(attempts::Outcome::Unknown) }, now)?;
                }
                Ok(u64::try_from(silent.len()).unwrap_or(0))
            })
            .await
    }
}

/// Keeps one verdict; `false` where the attempt is no longer waiting or the person's permit was used by another send.
fn keep(conn: &mut Conn, j: &Judged, fence: &Fence, owing: &Owing, now: Timestamp) -> Result<bool, StoreError> {
    let mut verdict =
        attempts::Verdict { outcome: j.verdict.outcome.as_str(), hold_until: None, facts_as_of: j.as_of, reasons: &j.reasons };
    match j.verdict.outcome {
        Outcome::HoldUntil(until) => {
            let is_stopped = j.verdict.has(ReasonCode::Killed);
            // Let go on since it was judged: nobody would wake it.
            if is_stopped && !stops::hold_fast(conn, &j.attempt.program, j.verdict.channel.as_str())? {
                return Ok(false);
            }
            verdict.hold_until = Some(until);
            attempts::hold(conn, &j.attempt.id, (until, is_stopped), &verdict, now)
        }
        Outcome::Refuse => {
            let why = if j.verdict.reasons.is_empty() { own_refusal(&j.reasons) } else { ledger::refusal(&j.verdict) };
            let refused = attempts::refuse(conn, &j.attempt.id, &why, &verdict, now)?;
            if refused {
                if j.attempt.rung > 0 && (j.last_rung || !why.starts_with(ledger::CHANNEL_ONLY)) {
                    // An earlier rung failed and no other is open: that is what the chart has to tell.
                    let ehr = people::ehr_of(conn, j.attempt.patient)?;
                    attempts::owe_unreachable(conn, &j.attempt, owing.debt(&ehr, attempts::Outcome::Failed, true, now), now)?;
                }
                // The next rung may be open now, or the enrolment has nothing left to do.
                pending::mark_outreach(conn, &std::iter::once(j.attempt.person).collect(), now)?;
            }
            Ok(refused)
        }
        // Switched off since it was judged: it is judged again, and told why.
        Outcome::Allow if is_off(conn, j)? => Ok(false),
        Outcome::Allow => {
            let hash = j.verdict.point.as_ref().map(|p| p.key.hash());
            let departure = Departure {
                channel: j.verdict.channel.as_str(),
                contact_hash: hash.as_ref().map(|h| &h[..]),
                language: j.rendered.as_ref().map_or("", |r| r.language.as_str()),
                message: &j.message,
                token: fence.token,
                contact_revision: j.contact_revision,
                patient: j.record,
                to_point: j.to_point,
            };
            attempts::depart(conn, &j.attempt, &departure, &verdict, now)
        }
    }
}

/// Whether a message must not go now, whatever was judged.
fn is_off(conn: &mut Conn, j: &Judged) -> Result<bool, StoreError> {
    let channel = j.verdict.channel;
    Ok((channel.leaves() && installation::get(conn, Setting::Live)?.as_deref() != Some("true"))
        || stops::in_force(conn)?.iter().any(|s| s.holds(&j.attempt.program, channel.as_str())))
}

/// How deliveries are recorded.
struct Recording {
    owing: Owing,
    /// How long receipts may take.
    within: chrono::TimeDelta,
}

impl Recording {
    fn record(&self, conn: &mut Conn, a: &Attempt, last_rung: bool, delivery: &Delivery, now: Timestamp) -> Result<(), StoreError> {
        use attempts::{End, Outcome};
        let end = |conn: &mut Conn, outcome, provider_ref: Option<&str>, failure: Option<&str>| {
            let debt = self.owing.debt(&people::ehr_of(conn, a.patient)?, outcome, last_rung, now);
            attempts::finish(conn, a, &End { outcome, provider_ref, failure, debt }, now)
        };
        match delivery {
            Delivery::Delivered { provider_ref } => end(conn, Outcome::Delivered, provider_ref.as_deref(), None).map(|_| ()),
            Delivery::Accepted { provider_ref } => attempts::sent(conn, &a.id, provider_ref.as_deref(), now.plus(self.within)),
            Delivery::RefusedForGood { code } => {
                end(conn, Outcome::Failed, None, Some(&ledger::channel_failure(code)))?;
                pending::mark_outreach(conn, &std::iter::once(a.person).collect(), now)
            }
            Delivery::TryLater { code } => attempts::put_back(conn, &a.id, now.plus(chrono::TimeDelta::minutes(15)), Some(code)),
            Delivery::Unclear { code } => attempts::leave_to_person(conn, &a.id, &format!("unclear: {code}")),
        }
    }
}

/// Settles what an earlier worker left in the middle of a send. What the recorded channel has did not leave the building and goes back
/// among the waiting; for any other channel a person has to look, since it may have left.
pub(super) async fn settle_left(store: &Store, clock: &dyn Clock, fence: &Fence, term: Term) -> Result<u64, StoreError> {
    let (fence, now) = (fence.clone(), clock.now());
    store
        .write("settle crashed sends", move |conn| {
            leases::extend(conn, &fence, now, term)?;
            let left = attempts::left_sending(conn, fence.token, 1_000)?;
            for attempt in &left {
                if attempt.channel.as_deref() == Some(ChannelKind::Recorded.as_str()) {
                    attempts::put_back(conn, &attempt.id, now, None)?;
                } else {
                    attempts::leave_to_person(conn, &attempt.id, "unclear: the gateway stopped while the message was being sent")?;
                }
            }
            Ok(u64::try_from(left.len()).unwrap_or(0))
        })
        .await
}

/// A program whose channels are replaced by the site's, where it set any.
pub(super) fn with_channels(mut program: Program, channels: &[ChannelKind]) -> Program {
    if !channels.is_empty() {
        for step in &mut program.steps {
            step.channels = channels.to_vec();
        }
    }
    program
}
