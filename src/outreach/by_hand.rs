//! What staff does by hand for one patient: sends a message from an approved template, having seen the gate's verdict; enters a call or a
//! meeting. Both are attempts like any other, under a program that plans nothing by itself, so that the caps, the journey and the chart know
//! of them. A message is only planned here: it goes with the next run, and is judged once more then.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::Phi;

use super::barrier::Barrier;
use super::channel::{Channel, ChannelKind};
use super::gate::Outcome;
use super::inbound;
use super::judging::{Judge, cases, next_visit_of};
use super::ledger::{self, KeptMessage, KeptReason};
use super::owing::Owing;
use super::program::{Anchor, Expiry, Library, MessageClass, Offset, Program, Step};
use super::reply::Reply;
use super::send::SiteVoice;
use super::template::Template;
use crate::store::answers::{self, Incoming, Owed};
use crate::store::attempts::{self, Attempt, End};
use crate::store::people::Record;
use crate::store::{Conn, Store, StoreError, enrolments, people, preferences};

/// The program's id; no file may have it.
pub const PROGRAM: &str = "by-hand";
/// What staff sends by hand is of use for so long, where the gate holds it.
const WORTH: TimeDelta = TimeDelta::days(2);

/// The program of what staff sends by hand: a step for each template, due at once.
pub(super) fn program(templates: &[Template]) -> Program {
    let step = |t: &Template| Step {
        id: t.id.clone(),
        anchor: Anchor::SegmentEntry,
        offset: Offset::Elapsed(TimeDelta::zero()),
        expires: Expiry::FromDue(Offset::Elapsed(WORTH)),
        channels: vec![ChannelKind::Recorded],
        template: t.id.clone(),
        stop_when: Vec::new(),
        action: t.action,
    };
    Program {
        id: PROGRAM.to_owned(),
        version: "0".to_owned(),
        title: "Sent by hand".to_owned(),
        goal: String::new(),
        segment: String::new(),
        owner: "staff".to_owned(),
        priority: 0,
        class: MessageClass::Care,
        steps: templates.iter().map(step).collect(),
    }
}

/// A message that staff is about to send, as it would be now.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What the gate says.
    pub outcome: Outcome,
    /// Why, each reason with its field; notes included.
    pub reasons: Vec<KeptReason>,
    /// Where it would go.
    pub to: Option<Phi<String>>,
    /// The subject and the text; where they cannot be made, why.
    pub words: Result<(Phi<String>, Phi<String>), String>,
    /// The language of the words.
    pub language: String,
}

/// What previews and sends need.
#[derive(Clone, Copy)]
pub struct Hand<'a> {
    /// The store.
    pub store: &'a Store,
    /// Programs in force.
    pub library: &'a Library,
    /// The site.
    pub site: &'a SiteVoice,
    /// The channels of this installation.
    pub channels: &'a [Channel],
}

/// Which message: a template and a channel, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The template's id.
    pub template: String,
    /// The channel's name.
    pub channel: String,
}

impl Hand<'_> {
    /// The rungs of what is sent by hand: the channels that there are.
    #[must_use]
    pub fn channels(&self) -> &[ChannelKind] {
        self.library.by_hand.steps.first().map_or(&[], |s| s.channels.as_slice())
    }

    /// The message as it would be sent now to the patient of a record. `None` where there is no such template or channel.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn preview(&self, record: Record, choice: &Choice, now: Timestamp) -> Result<Option<Preview>, StoreError> {
        let Some((step, rung)) = self.step(choice) else { return Ok(None) };
        let draft = draft(&record, step, rung, now);
        let (judge, template) =
            (Judge { store: self.store, library: self.library, site: self.site, channels: self.channels }, &step.template);
        let read = self.store.snapshot(move |conn| {
            let about = visit_at(conn, &record, now)?;
            cases(conn, vec![Attempt { about, ..draft }], now)
        });
        let Some(case) = judge.with_names(read.await?, now).await?.into_iter().next() else { return Ok(None) };
        let Some(template) = self.library.template(template) else { return Ok(None) };
        let rendered = judge.render(&case, template, now);
        let judged = judge.judge(case, now)?;
        let reasons: Vec<KeptReason> = serde_json::from_slice(&judged.reasons).unwrap_or_default();
        Ok(Some(Preview {
            outcome: judged.verdict.outcome,
            reasons,
            to: judged.verdict.point.as_ref().map(|p| p.key.value().clone()),
            language: rendered.as_ref().map(|r| r.language.clone()).unwrap_or_default(),
            words: rendered.map(|r| (r.subject, r.body)),
        }))
    }

    /// Plans the message: it goes with the next run of outreach, which judges it by then. `None` where there is no such template or channel.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn plan(
        &self,
        conn: &mut Conn,
        record: &Record,
        choice: &Choice,
        (key, id): (&str, &str),
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let Some((step, rung)) = self.step(choice) else { return Ok(None) };
        let about = visit_at(conn, record, now)?;
        let draft = Attempt { about, ..draft(record, step, rung, now) };
        enter(conn, record, &draft, (key, id), now)?;
        Ok(Some(id.to_owned()))
    }

    fn step(&self, choice: &Choice) -> Option<(&Step, i64)> {
        let step = self.library.by_hand.step(&choice.template)?;
        let rung = step.channels.iter().position(|c| c.as_str() == choice.channel)?;
        Some((step, i64::try_from(rung).ok()?))
    }
}

/// The next visit of a record: what a message speaks of, by its reference there.
fn visit_at(conn: &mut Conn, record: &Record, now: Timestamp) -> Result<Option<String>, StoreError> {
    let record = people::survivor(conn, record.pk)?;
    let Some(known) = people::facts_of_records(conn, record.person, &[record.pk])? else { return Ok(None) };
    let Some(patient) = known.facts.patients.first() else { return Ok(None) };
    Ok(next_visit_of(&known.facts, &patient.origin, now).map(|v| v.origin.reference()))
}

/// An attempt that stands in no row yet.
fn draft(record: &Record, step: &Step, rung: i64, now: Timestamp) -> Attempt {
    Attempt {
        id: String::new(),
        enrolment: 0,
        program: PROGRAM.to_owned(),
        program_version: 0,
        step: step.id.clone(),
        rung,
        anchor_revision: "0".to_owned(),
        about: None,
        person: record.person,
        patient: record.pk,
        state: "planned".to_owned(),
        outcome: None,
        due_at: now.micros(),
        expires_at: Some(now.plus(WORTH).micros()),
        channel: None,
        contact_hash: None,
        template: step.template.clone(),
        language: None,
        action: step.action.as_str().to_owned(),
        message: None,
        token: 0,
        provider_ref: None,
        failure: None,
        sent_at: None,
        settle_by: None,
        finished_at: None,
    }
}

/// Puts a planned attempt into the store, under an enrolment of its own. `key` tells apart what was done by hand.
fn enter(conn: &mut Conn, record: &Record, draft: &Attempt, (key, id): (&str, &str), now: Timestamp) -> Result<i64, StoreError> {
    let enrolment = enrolments::enrol(conn, PROGRAM, record.home(), &format!("{PROGRAM}/{key}"), 0, now)?.id;
    let plan = attempts::Plan {
        id,
        enrolment,
        program: PROGRAM,
        program_version: draft.program_version,
        step: &draft.step,
        rung: draft.rung,
        anchor_revision: &draft.anchor_revision,
        about: draft.about.as_deref(),
        person: draft.person,
        patient: draft.patient,
        due_at: now,
        expires_at: draft.expires_at.map(Timestamp::from_micros),
        template: &draft.template,
        action: &draft.action,
    };
    attempts::plan(conn, &plan)?;
    Ok(enrolment)
}

/// How a call or a meeting went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// They spoke, by phone.
    Spoke,
    /// They spoke, in person.
    Met,
    /// A message was left.
    LeftMessage,
    /// Nobody answered.
    NoAnswer,
    /// The number is wrong.
    WrongNumber,
}

impl Went {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Spoke, Self::Met, Self::LeftMessage, Self::NoAnswer, Self::WrongNumber];

    /// As written in forms.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spoke => "spoke",
            Self::Met => "met",
            Self::LeftMessage => "left-message",
            Self::NoAnswer => "no-answer",
            Self::WrongNumber => "wrong-number",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.as_str() == text)
    }

    /// The action that the attempt stands for, as the chart knows it.
    const fn action(self) -> &'static str {
        match self {
            Self::Spoke => "spoke-by-phone",
            Self::Met => "met",
            Self::LeftMessage => "left-message",
            Self::NoAnswer | Self::WrongNumber => "called",
        }
    }

    const fn channel(self) -> &'static str {
        if matches!(self, Self::Met) { "visit" } else { "call" }
    }

    /// Whether somebody can have said something.
    #[must_use]
    pub const fn spoke(self) -> bool {
        matches!(self, Self::Spoke | Self::Met)
    }
}

/// What the patient said, as staff understood it. Nothing of it is read from words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// A wish, where there was one.
    pub reply: Option<Reply>,
    /// What stands in the way of care.
    pub barrier: Option<Barrier>,
}

impl Said {
    /// The wishes that a form offers, as it names them.
    pub const WISHES: [&'static str; 4] = ["confirm", "cancel-visit", "stop", "start"];

    /// Reads a wish and a barrier as forms name them, each empty where there is none.
    #[must_use]
    pub fn parse(wish: &str, barrier: &str) -> Option<Self> {
        let reply = match wish {
            "" => None,
            "confirm" => Some(Reply::Confirm),
            "cancel-visit" => Some(Reply::CancelVisit),
            "stop" => Some(Reply::Stop { perhaps_the_visit: false }),
            "start" => Some(Reply::Start),
            _ => return None,
        };
        let barrier = if barrier.is_empty() { None } else { Some(Barrier::parse(barrier)?) };
        Some(Self { reply, barrier })
    }
}

/// A call or a meeting to enter.
#[derive(Clone, Debug)]
pub struct Contact<'a> {
    /// How it went.
    pub went: Went,
    /// What the patient said.
    pub said: Said,
    /// What staff wrote down, where anything.
    pub note: Option<Phi<String>>,
    /// Who enters it, a role.
    pub by: &'a str,
}

/// Enters a call or a meeting, with what it owes to the chart, and honours a wish to stop or start again, in the transaction that this runs
/// in. `status_changes` says whether the EHR takes a change of the visit's status from a patient's word.
///
/// # Errors
/// The engine's refusal.
pub fn contacted(
    conn: &mut Conn,
    store: &Store,
    (owing, status_changes): (&Owing, bool),
    record: &Record,
    contact: &Contact<'_>,
    (key, id): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let went = contact.went;
    let step = Step {
        id: went.as_str().to_owned(),
        anchor: Anchor::SegmentEntry,
        offset: Offset::Elapsed(TimeDelta::zero()),
        expires: Expiry::FromDue(Offset::Elapsed(WORTH)),
        channels: Vec::new(),
        template: String::new(),
        stop_when: Vec::new(),
        action: super::program::Action::Call,
    };
    let about = visit_at(conn, record, now)?;
    let draft = Attempt { about, action: went.action().to_owned(), ..draft(record, &step, 0, now) };
    let enrolment = enter(conn, record, &draft, (key, id), now)?;
    let subject = Phi::new(String::new());
    let note = contact.note.clone().map(|body| KeptMessage { to: None, subject, body }.pack(store.codec())).transpose()?;
    if !attempts::made_by_person(conn, id, went.channel(), note.as_deref(), now)? {
        return Err(StoreError::Damaged("an attempt that was just entered"));
    }
    enrolments::end(conn, enrolment, PROGRAM, now)?;
    let Some(a) = attempts::get(conn, id)? else { return Err(StoreError::Damaged("an attempt that was just entered")) };
    let said = contact.said;
    if went.spoke() && (said.reply.is_some() || said.barrier.is_some()) {
        return answered(conn, (owing, status_changes), &a, record, contact, now);
    }
    let (outcome, failure) = match went {
        Went::Spoke | Went::Met | Went::LeftMessage => (attempts::Outcome::Delivered, None),
        Went::NoAnswer => (attempts::Outcome::Failed, Some(ledger::channel_failure("no-answer"))),
        Went::WrongNumber => (attempts::Outcome::Failed, Some(ledger::channel_failure("invalid-phone-number"))),
    };
    let debt = owing.debt(&record.ehr, outcome, true, now);
    attempts::finish(conn, &a, &End { outcome, provider_ref: None, failure: failure.as_deref(), debt }, now).map(drop)
}

fn answered(
    conn: &mut Conn,
    (owing, status_changes): (&Owing, bool),
    a: &Attempt,
    record: &Record,
    contact: &Contact<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let said = contact.said;
    let reply = said.reply.unwrap_or(Reply::FreeText { perhaps_stop: false });
    let status_change = status_changes && a.about.is_some() && matches!(reply, Reply::Confirm | Reply::CancelVisit);
    // Who enters it has heard it: nobody has to read it once more, but for a visit that only staff can cancel, or a barrier to see to.
    let needs_action = match reply {
        Reply::FreeText { .. } => said.barrier.is_some(),
        Reply::Stop { .. } => false,
        reply => inbound::needs_action(reply, status_change),
    };
    let incoming = Incoming {
        channel: contact.went.channel(),
        external_id: None,
        meaning: reply.as_str(),
        barrier: said.barrier.map(Barrier::as_str),
        needs_action,
        message: None,
        recorded_by: contact.by,
    };
    let owed = Owed {
        attempt: owing.debt(&record.ehr, attempts::Outcome::Answered, true, now),
        answer: owing.of_answer(&record.ehr, needs_action, now),
        status_change,
    };
    answers::record(conn, a, &incoming, owed, now)?;
    match reply {
        Reply::Stop { .. } => preferences::record(conn, record.person, "all", "", false, "staff", now),
        Reply::Start => preferences::record(conn, record.person, "all", "", true, "staff", now),
        Reply::Help | Reply::Confirm | Reply::CancelVisit | Reply::FreeText { .. } => Ok(()),
    }
}
