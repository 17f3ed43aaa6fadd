//! The judging of messages, apart from their sending: all that is known of a due attempt goes to the gate, and what may go is put into words.
//! The same for what a program planned and for what somebody of the staff is about to send by hand, who sees the verdict first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::Timestamp;
use domain::model::person::{Origin, Sourced};
use domain::model::{AppointmentFacts, PersonFacts, ResourceType};
use domain::rules::next_visit;

use super::by_hand;
use super::channel::{Channel, ChannelKind};
use super::gate::{self, GateInput, Message, OtherSend, Outcome, PointKey, Switch, Verdict};
use super::ledger::{self, KeptMessage};
use super::named::{self, Named};
use super::owing::is_last_rung;
use super::program::Library;
use super::send::SiteVoice;
use super::template::{Rendered, Template, Variables};
use crate::store::attempts::{self, Attempt};
use crate::store::enrolments::{self, Enrolment};
use crate::store::installation::{self, Setting};
use crate::store::stops::{self, Stop};
use crate::store::{Conn, Store, StoreError, definitions, people, preferences};

/// What judging needs.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) store: &'a Store,
    pub(super) library: &'a Library,
    pub(super) site: &'a SiteVoice,
    pub(super) channels: &'a [Channel],
}

/// A judged attempt.
pub(super) struct Judged {
    pub(super) attempt: Attempt,
    /// No rung comes after this one.
    pub(super) last_rung: bool,
    pub(super) verdict: Verdict,
    pub(super) reasons: Vec<u8>,
    pub(super) as_of: Option<Timestamp>,
    pub(super) contact_revision: i64,
    pub(super) record: i64,
    pub(super) to_point: (usize, Timestamp),
    pub(super) rendered: Option<Rendered>,
    pub(super) message: Vec<u8>,
}

/// Everything about one due attempt that judging reads.
pub(super) struct Case {
    pub(super) attempt: Attempt,
    pub(super) facts: PersonFacts,
    pub(super) as_of: Option<Timestamp>,
    /// Up to when each type is known, and what each segment reads, as bits: a message is no fresher than what its segment hangs on.
    up_to: BTreeMap<ResourceType, Timestamp>,
    reads: Arc<HashMap<String, i64>>,
    pub(super) contact_revision: i64,
    pub(super) attempts: Vec<Attempt>,
    pub(super) enrolments: Vec<Enrolment>,
    pub(super) choices: Vec<gate::Preference>,
    pub(super) others: Vec<OtherSend>,
    /// How many messages went to each contact point in the time that the caps look at, to whomever.
    pub(super) to_point: BTreeMap<PointKey, usize>,
    /// The record that the message goes by.
    pub(super) record: i64,
    live: bool,
    stops: Arc<[Stop]>,
    /// Who and where its visit is, where the template says it.
    pub(super) named: Named,
}

/// How far back the caps look.
const PAST: chrono::TimeDelta = chrono::TimeDelta::days(8);

/// All that judging reads of these attempts.
pub(super) fn cases(conn: &mut Conn, due: Vec<Attempt>, now: Timestamp) -> Result<Vec<Case>, StoreError> {
    let live = installation::get(conn, Setting::Live)?.as_deref() == Some("true");
    let stops: Arc<[Stop]> = stops::in_force(conn)?.into();
    let mut persons: Vec<i64> = due.iter().map(|a| a.person).collect();
    persons.sort_unstable();
    persons.dedup();
    // The contact revision is read before the facts: a send that comes in between is then noticed at departure.
    let revisions: BTreeMap<i64, i64> =
        persons.iter().map(|p| Ok((*p, people::contact_revision(conn, *p)?))).collect::<Result<_, StoreError>>()?;
    let facts = people::facts(conn, &persons)?;
    let reads = Arc::new(definitions::read_by(conn)?);
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
                up_to: known.map(|k| k.up_to.clone()).unwrap_or_default(),
                reads: Arc::clone(&reads),
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
    /// Puts the record first that the message goes by: the one whose appointment it is about, or its survivor; that which staff had before them;
    /// else the first in use. Where that record is gone, there is none to go by.
    fn go_by_record(&mut self, conn: &mut Conn) -> Result<(), StoreError> {
        let about = people::survivor(conn, self.attempt.patient)?;
        let patients = &mut self.facts.patients;
        if self.attempt.about.is_some() || self.attempt.program == by_hand::PROGRAM {
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

/// The visit that a message speaks of: that of the enrolment, else the next one. What staff sends by hand speaks of the record that they had
/// before them: they may not be allowed to see the others.
fn visit_of(case: &Case, now: Timestamp) -> Option<&Sourced<AppointmentFacts>> {
    let anchor = anchor_of(case);
    if case.attempt.program == by_hand::PROGRAM {
        return next_visit_of(&case.facts, &case.facts.patients.first()?.origin, now);
    }
    let of_anchor = case.facts.appointments.iter().find(|a| anchor == format!("{}/Appointment/{}", a.origin.ehr, a.origin.id));
    of_anchor.or_else(|| next_visit(&case.facts, now))
}

/// The next visit of one record of a person.
pub(super) fn next_visit_of<'a>(facts: &'a PersonFacts, patient: &Origin, now: Timestamp) -> Option<&'a Sourced<AppointmentFacts>> {
    let of_record = |a: &&Sourced<AppointmentFacts>| a.origin.ehr == patient.ehr && a.facts.patients.contains(&patient.id);
    let own = PersonFacts { appointments: facts.appointments.iter().filter(of_record).cloned().collect(), ..PersonFacts::default() };
    let next = next_visit(&own, now)?.origin.clone();
    facts.appointments.iter().find(|a| a.origin == next)
}

impl Judge<'_> {
    /// Looks up who and where a visit is, for those whose template says it.
    pub(super) async fn with_names(&self, mut cases: Vec<Case>, now: Timestamp) -> Result<Vec<Case>, StoreError> {
        for case in &mut cases {
            let says = self.library.template(&case.attempt.template).is_some_and(Template::names_who_or_where);
            if let Some(visit) = visit_of(case, now).filter(|_| says).cloned() {
                let store = self.store.clone();
                case.named = self.store.read(move |conn| named::of(conn, store.codec(), &visit)).await?;
            }
        }
        Ok(cases)
    }

    /// What the gate says of a message, and its words where it may go.
    pub(super) fn judge(&self, mut case: Case, now: Timestamp) -> Result<Judged, StoreError> {
        let found = self.library.program(&case.attempt.program).and_then(|p| Some((p, p.step(&case.attempt.step)?)));
        let template = self.library.template(&case.attempt.template);
        let (Some((program, step)), Some(template)) = (found, template) else {
            return Ok(self.without_judging(case, now, "program-withdrawn", "the program or its template is no longer in force"));
        };
        let reads = case.reads.get(&program.segment).copied().unwrap_or(0);
        case.as_of = case.as_of.map(|core| people::as_of_types(core, &case.up_to, reads));
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

    /// The words of a message.
    pub(super) fn render(&self, case: &Case, template: &Template, now: Timestamp) -> Result<Rendered, String> {
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
}

impl Judged {
    /// The closure of a transaction may run twice, so it cannot give away what it was given.
    pub(super) fn share(&self) -> Self {
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

/// The code of a refusal that is no verdict of the gate.
pub(super) fn own_refusal(reasons: &[u8]) -> String {
    let kept: Vec<ledger::KeptReason> = serde_json::from_slice(reasons).unwrap_or_default();
    kept.into_iter().next().map_or_else(String::new, |r| r.code)
}
