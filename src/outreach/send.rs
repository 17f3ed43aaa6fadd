//! The sending half of the stage: judges what is due, marks what may go as `sending`, hands it to its channel, and records what came of
//! it. Every send of this installation passes here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::model::person::Sourced;
use domain::model::{AppointmentFacts, PersonFacts};
use domain::rules::next_visit;
use domain::{Clock, Timestamp};

use super::channel::{Channel, ChannelKind, Delivery, Outgoing};
use super::gate::{self, GateInput, Message, OtherSend, Outcome, PointKey, Switch, Verdict};
use super::ledger::{self, KeptMessage};
use super::named::{self, Named};
use super::owing::{Owing, is_last_rung};
use super::plan::{self, Tried, Void};
use super::program::{Library, Program};
use super::template::{Rendered, Template, Variables};
use crate::store::attempts::{self, Attempt, Departure};
use crate::store::enrolments::{self, Enrolment};
use crate::store::installation::{self, Setting};
use crate::store::leases::{self, Fence, Term};
use crate::store::stops::{self, Stop};
use crate::store::{Conn, Store, StoreError, pending, people, preferences};

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
    pub(super) library: &'a Library,
    pub(super) site: &'a SiteVoice,
    pub(super) channels: &'a [Channel],
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

/// A judged attempt.
struct Judged {
    attempt: Attempt,
    /// No rung comes after this one.
    last_rung: bool,
    verdict: Verdict,
    reasons: Vec<u8>,
    as_of: Option<Timestamp>,
    contact_revision: i64,
    record: i64,
    to_point: (usize, Timestamp),
    rendered: Option<Rendered>,
    message: Vec<u8>,
}

/// Everything about one due attempt that judging reads.
struct Case {
    attempt: Attempt,
    facts: PersonFacts,
    as_of: Option<Timestamp>,
    contact_revision: i64,
    attempts: Vec<Attempt>,
    enrolments: Vec<Enrolment>,
    choices: Vec<gate::Preference>,
    others: Vec<OtherSend>,
    /// How many messages went to each contact point in the time that the caps look at, to whomever.
    to_point: BTreeMap<PointKey, usize>,
    /// The record that the message goes by.
    record: i64,
    live: bool,
    stops: Arc<[Stop]>,
    /// Who and where its visit is, where the template says it.
    named: Named,
}

/// How long a verdict that allows may be used.
const STALE_VERDICT: chrono::TimeDelta = chrono::TimeDelta::seconds(60);
const PAST: chrono::TimeDelta = chrono::TimeDelta::days(8);

fn cases(conn: &mut Conn, due: Vec<Attempt>, now: Timestamp) -> Result<Vec<Case>, StoreError> {
    let live = installation::get(conn, Setting::Live)?.as_deref() == Some("true");
    let stops: Arc<[Stop]> = stops::in_force(conn)?.into();
    let mut persons: Vec<i64> = due.iter().map(|a| a.person).collect();
    persons.sort_unstable();
    persons.dedup();
    // The contact revision is read before the facts: a send that comes in between is then noticed at departure.
    let revisions: BTreeMap<i64, i64> =
        persons.iter().map(|p| Ok((*p, people::contact_revision(conn, *p)?))).collect::<Result<_, StoreError>>()?;
    let facts = people::facts(conn, &persons)?;
    let keys: BTreeMap<i64, BTreeSet<PointKey>> = facts.iter().map(|(person, known)| (*person, gate::keys(&known.facts))).collect();
    let hashes: BTreeSet<[u8; 16]> = keys.values().flatten().map(PointKey::hash).collect();
    let sent = attempts::sends_to(conn, &hashes.iter().map(|h| h.to_vec()).collect::<Vec<_>>(), now.plus(-PAST))?;
    let said = preferences::of_points(conn, &hashes.iter().map(|h| preferences::point_name(h)).collect::<Vec<_>>())?;
    due.into_iter()
        .map(|attempt| {
            let known = facts.get(&attempt.person);
            let none = BTreeSet::new();
            let keys = keys.get(&attempt.person).unwrap_or(&none);
            let mut case = Case {
                facts: known.map(|k| k.facts.clone()).unwrap_or_default(),
                as_of: known.and_then(|k| k.as_of),
                contact_revision: revisions.get(&attempt.person).copied().unwrap_or_default(),
                attempts: attempts::of_person(conn, attempt.person)?,
                enrolments: enrolments::of(conn, attempt.person)?,
                choices: ledger::choices(&preferences::of(conn, attempt.person)?),
                others: Vec::new(),
                to_point: BTreeMap::new(),
                record: attempt.patient,
                live,
                stops: Arc::clone(&stops),
                named: Named::default(),
                attempt,
            };
            case.choices.extend(ledger::point_choices(&said, keys));
            for key in keys {
                let hash = key.hash();
                let to_it: Vec<_> = sent.iter().filter(|s| s.point == hash).collect();
                let others = to_it.iter().filter(|s| s.person != case.attempt.person);
                case.others.extend(others.map(|s| OtherSend { at: s.at, point: key.clone() }));
                case.to_point.insert(key.clone(), to_it.len());
            }
            case.go_by_record(conn)?;
            Ok(case)
        })
        .collect()
}

impl Case {
    /// Puts the record first that the message goes by: the one whose appointment it is about, or its survivor; else the first in use. Where
    /// that record is gone, there is none to go by.
    fn go_by_record(&mut self, conn: &mut Conn) -> Result<(), StoreError> {
        let about = people::survivor(conn, self.attempt.patient)?;
        let patients = &mut self.facts.patients;
        if self.attempt.about.is_some() {
            let place = patients.iter().position(|p| p.origin.ehr.as_str() == about.ehr && p.origin.id == about.fhir_id);
            match place {
                Some(place) => patients.get_mut(..=place).unwrap_or_default().rotate_right(1),
                None => patients.clear(),
            }
            self.record = about.pk;
        } else if let Some(first) = patients.first()
            && let Some(record) = people::record(conn, first.origin.ehr.as_str(), &first.origin.id)?
        {
            self.record = record.pk;
        }
        Ok(())
    }
}

/// What the attempt's enrolment hangs on.
fn anchor_of(case: &Case) -> &str {
    case.enrolments.iter().find(|e| e.id == case.attempt.enrolment).map_or("", |e| e.anchor.as_str())
}

/// The visit that a message speaks of: that of the enrolment, else the next one.
fn visit_of(case: &Case, now: Timestamp) -> Option<&Sourced<AppointmentFacts>> {
    let anchor = anchor_of(case);
    let of_anchor = case.facts.appointments.iter().find(|a| anchor == format!("{}/Appointment/{}", a.origin.ehr, a.origin.id));
    of_anchor.or_else(|| next_visit(&case.facts, now))
}

impl Sender<'_> {
    /// Judges and sends up to `limit` attempts that are due.
    pub(super) async fn batch(&self, limit: i64) -> Result<Sent, StoreError> {
        let now = self.clock.now();
        let mut cases = self.store.snapshot(move |conn| attempts::due(conn, now, limit).and_then(|due| cases(conn, due, now))).await?;
        // Where two programs would write to one person, the more urgent one has the day's permit.
        cases.sort_by_key(|c| (self.library.program(&c.attempt.program).map_or(u32::MAX, |p| p.priority), c.attempt.due_at));
        let mut sent = Sent::default();
        let (overtaken, cases): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| self.is_overtaken(case, now));
        sent.overtaken += self.give_up(overtaken.into_iter().map(|case| case.attempt).collect()).await?;
        let cases = self.with_names(cases, now).await?;
        let judged = cases.into_iter().map(|case| self.judge(case, now)).collect::<Result<Vec<_>, StoreError>>()?;
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

    /// Looks up who and where a visit is, for those whose template says it.
    async fn with_names(&self, mut cases: Vec<Case>, now: Timestamp) -> Result<Vec<Case>, StoreError> {
        for case in &mut cases {
            let says = self.library.template(&case.attempt.template).is_some_and(Template::names_who_or_where);
            if let Some(visit) = visit_of(case, now).filter(|_| says).cloned() {
                let store = self.store.clone();
                case.named = self.store.read(move |conn| named::of(conn, store.codec(), &visit)).await?;
            }
        }
        Ok(cases)
    }

    /// Whether a later step of the same visit or entry asks for the same and has come due, or was sent, while this one waited.
    fn is_overtaken(&self, case: &Case, now: Timestamp) -> bool {
        let enrolment = case.enrolments.iter().find(|e| e.id == case.attempt.enrolment);
        let (Some(program), Some(enrolment)) = (self.library.program(&case.attempt.program), enrolment) else { return false };
        let of_enrolment = case.attempts.iter().filter(|a| a.enrolment == enrolment.id);
        let tried: Vec<Tried> = of_enrolment.filter_map(|a| ledger::tried(a, enrolment)).collect();
        let Some(this) = ledger::tried(&case.attempt, enrolment) else { return false };
        let entered_at = Timestamp::from_micros(enrolment.entered_at);
        plan::is_overtaken(program, &this, &tried, entered_at, self.site.policy.zone, now)
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

    fn judge(&self, case: Case, now: Timestamp) -> Result<Judged, StoreError> {
        let found = self.library.program(&case.attempt.program).and_then(|p| Some((p, p.step(&case.attempt.step)?)));
        let template = self.library.template(&case.attempt.template);
        let (Some((program, step)), Some(template)) = (found, template) else {
            return Ok(self.without_judging(case, now, "program-withdrawn", "the program or its template is no longer in force"));
        };
        let channel = usize::try_from(case.attempt.rung).ok().and_then(|r| step.channels.get(r)).copied().unwrap_or(ChannelKind::Recorded);
        let anchor = anchor_of(&case).to_owned();
        let occasion = ledger::occasion(&anchor, &case.attempt.anchor_revision);
        let past = ledger::past(&case.attempts, &case.enrolments, self.store.codec(), now.plus(-PAST))?;
        let input = GateInput {
            person: &case.facts,
            message: Message {
                program: &program.id,
                class: program.class,
                template: &template.id,
                phi: template.phi,
                occasion: &occasion,
                expires_at: case.attempt.expires_at.map_or(Timestamp::MAX, Timestamp::from_micros),
            },
            channel,
            preferences: &case.choices,
            past: &past,
            others: &case.others,
            withheld: &[],
            facts_as_of: case.as_of,
            switch: Switch { live: case.live, killed: case.stops.iter().any(|s| s.holds(&program.id, channel.as_str())) },
            site: &self.site.policy,
        };
        let verdict = gate::judge(&input, now);
        if verdict.outcome != Outcome::Allow {
            return Ok(self.judged(case, verdict, now));
        }
        if channel.leaves() && !self.channels.iter().any(|c| c.kind() == channel) {
            return Ok(self.without_judging(
                case,
                now,
                "channel: channel-not-configured",
                "the channel is not configured on this installation",
            ));
        }
        match self.render(&case, template, now) {
            Ok(rendered) => {
                let message = KeptMessage::new(verdict.point.as_ref().map(|p| &p.key), &rendered).pack(self.store.codec())?;
                Ok(Judged { rendered: Some(rendered), message, ..self.judged(case, verdict, now) })
            }
            Err(why) => Ok(self.without_judging(case, now, "no-words", &why)),
        }
    }

    fn judged(&self, case: Case, verdict: Verdict, now: Timestamp) -> Judged {
        let to_point = verdict.point.as_ref().and_then(|p| case.to_point.get(&p.key)).copied().unwrap_or_default();
        let reasons = serde_json::to_vec(&ledger::kept_reasons(&verdict)).unwrap_or_default();
        Judged {
            last_rung: is_last_rung(self.library, &case.attempt),
            attempt: case.attempt,
            reasons,
            verdict,
            as_of: case.as_of,
            contact_revision: case.contact_revision,
            record: case.record,
            to_point: (to_point, now.plus(-PAST)),
            rendered: None,
            message: Vec::new(),
        }
    }

    /// A refusal for a reason of this installation, not of the person.
    fn without_judging(&self, case: Case, now: Timestamp, code: &str, detail: &str) -> Judged {
        let verdict = Verdict { outcome: Outcome::Refuse, reasons: Vec::new(), channel: ChannelKind::Recorded, point: None };
        let reasons = [ledger::KeptReason { code: code.to_owned(), detail: detail.to_owned(), source: None }];
        Judged { reasons: serde_json::to_vec(&reasons).unwrap_or_default(), ..self.judged(case, verdict, now) }
    }

    fn render(&self, case: &Case, template: &Template, now: Timestamp) -> Result<Rendered, String> {
        let patient = case.facts.patients.first().ok_or("no patient record is known")?;
        let visit = visit_of(case, now).and_then(|a| a.facts.start);
        let languages: Vec<&str> = patient.facts.languages.iter().map(|l| l.tag.as_str()).collect();
        let variables = Variables {
            given: patient.facts.name.given.as_ref().map(|g| first_word(g.expose()).into()),
            site_name: self.site.name.clone(),
            site_phone: self.site.phone.clone(),
            appointment: visit.map(domain::model::Phi::new),
            with: case.named.with.clone(),
            place: case.named.place.clone(),
            zone: self.site.policy.zone,
            link: None,
        };
        template.render(&languages, &variables).map_err(|e| e.to_string())
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
        let delivery = match self.channels.iter().find(|c| c.kind() == j.verdict.channel) {
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

impl Judged {
    /// The closure of a transaction may run twice, so it cannot give away what it was given.
    fn share(&self) -> Self {
        Self {
            attempt: self.attempt.clone(),
            last_rung: self.last_rung,
            verdict: self.verdict.clone(),
            reasons: self.reasons.clone(),
            as_of: self.as_of,
            contact_revision: self.contact_revision,
            record: self.record,
            to_point: self.to_point,
            rendered: self.rendered.clone(),
            message: self.message.clone(),
        }
    }
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Keeps one verdict; `false` where the attempt is no longer waiting or the person's permit was used by another send.
fn keep(conn: &mut Conn, j: &Judged, fence: &Fence, owing: &Owing, now: Timestamp) -> Result<bool, StoreError> {
    let mut verdict =
        attempts::Verdict { outcome: j.verdict.outcome.as_str(), hold_until: None, facts_as_of: j.as_of, reasons: &j.reasons };
    match j.verdict.outcome {
        Outcome::HoldUntil(until) => {
            verdict.hold_until = Some(until);
            attempts::hold(conn, &j.attempt.id, until, &verdict, now)
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
        Outcome::Allow if j.verdict.channel.leaves() && installation::get(conn, Setting::Live)?.as_deref() != Some("true") => Ok(false),
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

fn own_refusal(reasons: &[u8]) -> String {
    let kept: Vec<ledger::KeptReason> = serde_json::from_slice(reasons).unwrap_or_default();
    kept.into_iter().next().map_or_else(String::new, |r| r.code)
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
