//! Acts of the dashboard: each by the same door as its command, with its row of the audit chain in the same transaction, or before it where it
//! has none of its own.

use std::sync::Arc;
use std::time::Duration;

use domain::model::{EhrId, Phi, ResourceType};

use super::{fingerprint, statement_name};
use crate::app::App;
use crate::app::settling::{Settled, note};
use crate::segments::Library;
use crate::segments::change::{self, Applied};
use crate::store::audit::Entry;
use crate::store::installation::{self, Setting};
use crate::store::leases::Term;
use crate::store::schedules::ALL_TYPES;
use crate::store::view::work;
use crate::store::words::{self, Word};
use crate::store::writebacks::{self, Resolution, Wanted};
use crate::store::{Conn, StoreError, alerts, pauses, people, statements, stops, turns};
use crate::sync::Holder;
use crate::sync::quarantine::{self, Which};
use crate::web::desk::{Act, Refusal};
use crate::web::viewer::Viewer;
use crate::worker::Owner;

/// A page waits so long for what goes on behind it in any case.
const PATIENCE: Duration = Duration::from_secs(10);

type Said = Result<String, Refusal>;

fn no(words: impl Into<String>) -> Said {
    Err(Refusal::Because(words.into()))
}

fn plural(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// A record's two parts.
fn parts(record: &Phi<String>) -> Result<(String, String), Refusal> {
    let split = record.expose().split_once('/').map(|(ehr, id)| (ehr.to_owned(), id.to_owned()));
    split.ok_or_else(|| Refusal::Because("A record is the EHR's name, a slash, and the patient's id there.".to_owned()))
}

impl App {
    /// The row of the audit chain for an act.
    fn note_of(&self, viewer: &Viewer, what: &'static str, about: impl Into<String>, why: Option<String>) -> Entry {
        Entry {
            at: self.clock.now(),
            who: viewer.user.named(),
            roles: viewer.roles.to_string(),
            what,
            patient: None,
            opening: None,
            about: Some(about.into()),
            why,
        }
    }

    /// Writes something down together with its row of the audit chain; where nothing was changed, nothing is noted.
    async fn noted<F>(&self, name: &'static str, entry: Entry, change: F) -> Result<bool, StoreError>
    where
        F: Fn(&mut Conn) -> Result<bool, StoreError> + Send + Sync + 'static,
    {
        let both = move |conn: &mut Conn| {
            let changed = change(conn)?;
            if changed {
                note(conn, Some(&entry))?;
            }
            Ok(changed)
        };
        self.store.write(name, both).await
    }

    pub(super) async fn acted(self: &Arc<Self>, viewer: &Viewer, act: Act) -> Said {
        let by = viewer.user.shown().to_owned();
        match act {
            Act::RunSync { ehr, rtype } => self.run_sync(viewer, &ehr, rtype.as_deref(), by).await,
            Act::Pause { ehr, rtype, why } => self.pause(viewer, ehr, rtype, why, by).await,
            Act::Resume { ehr, rtype } => self.resume(viewer, ehr, rtype, by).await,
            Act::AcceptDrift { ehr, fingerprint } => self.accept_drift(viewer, &ehr, &fingerprint, by).await,
            Act::Acknowledge { alert, why } => self.acknowledge(viewer, alert, why, by).await,
            Act::ReplayQuarantine { ehr, id } => self.replay(viewer, &ehr, id).await,
            Act::PlanSegments => {
                self.store.audited(self.note_of(viewer, "plan-segments", "segments", None)).await?;
                Ok(if self.begin_plan() { "The plan is being worked out." } else { "A plan is being worked out already." }.to_owned())
            }
            Act::ApplySegments { fingerprint } => self.apply(viewer, &fingerprint).await,
            Act::RollBackSegments => self.roll_back(viewer).await,
            Act::Live { on } => self.switch_live(viewer, on).await,
            Act::Stop { scope, name, why } => self.stop(viewer, (scope, name), why, by).await,
            Act::Start { scope, name } => self.start(viewer, (scope, name), by).await,
            Act::SettleSend { attempt, sent } => {
                let entry = self.note_of(viewer, "settle-send", &attempt, Some(if sent { "sent" } else { "not-sent" }.to_owned()));
                match self.settle_send(attempt, sent, Some(entry)).await? {
                    Settled::Done if sent => Ok("Ended as sent, delivery unknown; the chart will be told so.".to_owned()),
                    Settled::Done => Ok("It waits again, and is judged anew.".to_owned()),
                    Settled::Not(state) => no(format!("It does not wait for a person any more: it is {state}. Nothing was changed.")),
                    Settled::NoSuch => no("There is no such message."),
                }
            }
            Act::SettleWrite { id, there } => {
                let entry = self.note_of(viewer, "settle-write", &id, Some(if there { "there" } else { "not-there" }.to_owned()));
                let how = if there { Resolution::InTheEhr(None) } else { Resolution::NotThere };
                match self.settle_write(id, how, Some(entry)).await? {
                    Settled::Done if there => Ok("Settled as written.".to_owned()),
                    Settled::Done => Ok("It will be written again.".to_owned()),
                    Settled::Not(state) => no(format!("It does not wait for a person any more: it is {state}. Nothing was changed.")),
                    Settled::NoSuch => no("There is no such write-back."),
                }
            }
            Act::ReplayWrites { ehr, cause, id } => self.replay_writes(viewer, ehr, cause, id).await,
            Act::AnswerDone { attempt, number } => {
                let (entry, now) = (self.note_of(viewer, "answer-done", format!("{attempt}/{number}"), None), self.clock.now());
                let done = move |conn: &mut Conn| work::answer_done(conn, &attempt, number, &by, now);
                match self.noted("an answer was read", entry, done).await? {
                    true => Ok("Noted: what the answer asked for is done.".to_owned()),
                    false => no("Somebody noted that before."),
                }
            }
            Act::Called { attempt } => {
                let (entry, now) = (self.note_of(viewer, "called", &attempt, None), self.clock.now());
                match self.noted("a patient was called", entry, move |conn| work::called(conn, &attempt, &by, now)).await? {
                    true => Ok("Noted: the patient was called.".to_owned()),
                    false => no("Somebody noted that before."),
                }
            }
            Act::Join { one, other, same, why } => self.join(viewer, (one, other), same, why, by).await,
        }
    }

    async fn run_sync(&self, viewer: &Viewer, ehr: &str, rtype: Option<&str>, by: String) -> Said {
        let agenda = self.agenda().await?;
        let of_it = agenda.entries.iter().filter(|e| e.ehr.as_str() == ehr && rtype.is_none_or(|t| t == e.kind.as_str()));
        let (mut wanted, mut closed): (Vec<(EhrId, ResourceType)>, Vec<String>) = (Vec::new(), Vec::new());
        for entry in of_it {
            match entry.closed(agenda.now) {
                Some(why) => closed.push(format!("{}: {why}", entry.kind)),
                None => wanted.push((entry.ehr.clone(), entry.kind)),
            }
        }
        if wanted.is_empty() {
            return no(if closed.is_empty() {
                "Nothing of this is read here.".to_owned()
            } else {
                format!("It may not be read now: {}.", closed.join("; "))
            });
        }
        let (n, now) = (wanted.len(), agenda.now);
        let entry = self.note_of(viewer, "run-sync", rtype.map_or_else(|| ehr.to_owned(), |t| format!("{ehr} {t}")), None);
        let ask = move |conn: &mut Conn| {
            wanted.iter().try_for_each(|(id, kind)| turns::want(conn, id, *kind, &by, now))?;
            Ok(true)
        };
        self.noted("ask for a sync", entry, ask).await?;
        let left = if closed.is_empty() { String::new() } else { format!(" Not now: {}.", closed.join("; ")) };
        Ok(format!("Asked for {}; a worker takes it in a moment.{left}", plural(n, "type", "types")))
    }

    /// An EHR can be paused whose profile cannot be read, but not one that is not there.
    async fn registered(&self, name: &str) -> Result<EhrId, Refusal> {
        let there = name.to_owned();
        let id = EhrId::parse(name).ok();
        match (id, self.store.read(move |conn| crate::store::ehrs::get(conn, &there)).await?) {
            (Some(id), Some(_)) => Ok(id),
            _ => Err(Refusal::Because("There is no EHR of that name.".to_owned())),
        }
    }

    async fn pause(&self, viewer: &Viewer, ehr: String, rtype: Option<String>, why: String, by: String) -> Said {
        let id = self.registered(&ehr).await?;
        let (rtype, now) = (rtype.unwrap_or_else(|| ALL_TYPES.to_owned()), self.clock.now());
        let entry = self.note_of(viewer, "pause-sync", format!("{ehr} {rtype}"), Some(why.clone()));
        match self.noted("pause a sync", entry, move |conn| pauses::begin(conn, &id, &rtype, &why, &by, now)).await? {
            true => Ok(format!("{ehr} is paused. A run that goes on ends with its page.")),
            false => no(format!("{ehr} was paused already.")),
        }
    }

    async fn resume(&self, viewer: &Viewer, ehr: String, rtype: Option<String>, by: String) -> Said {
        let id = self.registered(&ehr).await?;
        let (rtype, now) = (rtype.unwrap_or_else(|| ALL_TYPES.to_owned()), self.clock.now());
        let entry = self.note_of(viewer, "resume-sync", format!("{ehr} {rtype}"), None);
        match self.noted("resume a sync", entry, move |conn| pauses::end(conn, &id, &rtype, &by, now)).await? {
            true => Ok(format!("{ehr} is no longer paused; what was missed is made up for once.")),
            false => no(format!("{ehr} is not paused.")),
        }
    }

    async fn accept_drift(&self, viewer: &Viewer, ehr: &str, shown: &str, by: String) -> Said {
        let id = self.registered(ehr).await?;
        let Some(drifted) = self.drifted(&id).await? else { return no("This EHR was never asked what it can do.") };
        if statement_name(&drifted.row.stated) != shown {
            return no("The EHR states another thing by now than this page showed. Look at it again.");
        }
        let (name, stated, now) = (ehr.to_owned(), drifted.row.stated, self.clock.now());
        let entry = self.note_of(viewer, "accept-drift", ehr, None);
        let accept = move |conn: &mut Conn| statements::accept(conn, &name, &stated, &by, now);
        match self.noted("take note of a statement", entry, accept).await? {
            true => Ok("Taken note of; changes are told from here on.".to_owned()),
            false => no("The statement changed once more in this moment. Look at it again."),
        }
    }

    async fn acknowledge(&self, viewer: &Viewer, alert: i64, why: String, by: String) -> Said {
        let (entry, now) = (self.note_of(viewer, "acknowledge-alert", alert.to_string(), Some(why.clone())), self.clock.now());
        match self.noted("acknowledge an alert", entry, move |conn| alerts::acknowledge(conn, alert, &by, &why, now)).await? {
            true => Ok("Acknowledged; it closes by itself when what is wrong is over.".to_owned()),
            false => no("It is over, or somebody acknowledged it before."),
        }
    }

    async fn replay(self: &Arc<Self>, viewer: &Viewer, ehr: &str, only: Option<i64>) -> Said {
        let id = self.registered(ehr).await?;
        let about = only.map_or_else(|| ehr.to_owned(), |n| format!("{ehr} {n}"));
        self.store.audited(self.note_of(viewer, "replay-quarantine", about, None)).await?;
        let app = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let holder = Holder {
                owner: app.owner.as_str(),
                term: Term(app.config.worker.lease),
                is_dead: |other| Owner::this_process().is_dead(other),
            };
            quarantine::replay(&app.store, app.clock.as_ref(), holder, &id, only.map_or(Which::All, Which::Row))
        });
        match tokio::time::timeout(PATIENCE, work).await {
            Err(_) => Ok("It takes longer: it goes on, and the list below grows shorter.".to_owned()),
            Ok(Err(_)) => no("The replay ended unexpectedly. Try it again."),
            Ok(Ok(Err(error))) => no(format!("It did not work: {}.", crate::app::told(&error))),
            Ok(Ok(Ok(r))) => Ok(format!(
                "{} tried: {} stored, {} no longer needed, {} still put aside.",
                r.tried,
                r.stored,
                r.superseded,
                r.still_bad.len()
            )),
        }
    }

    async fn apply(&self, viewer: &Viewer, shown: &str) -> Said {
        let data = self.data.clone();
        let wanted = match tokio::task::spawn_blocking(move || Library::with_files(&data)).await {
            Ok(Ok(wanted)) => wanted,
            Ok(Err(mistakes)) => {
                return no(format!("The definition files have {}. Nothing was changed.", plural(mistakes.len(), "mistake", "mistakes")));
            }
            Err(_) => return no("The definition files could not be read. Nothing was changed."),
        };
        if fingerprint(&wanted) != shown {
            return no("The definition files say another thing by now than what was planned. Plan again, look at it, and apply then.");
        }
        let (now, entry) = (self.clock.now(), self.note_of(viewer, "apply-segments", shown.get(..16).unwrap_or(shown), None));
        let apply = move |conn: &mut Conn| {
            let applied = change::apply(conn, &wanted, now)?;
            note(conn, Some(&entry))?;
            Ok(applied)
        };
        begun(self.store.write("apply segments", apply).await?)
    }

    async fn roll_back(&self, viewer: &Viewer) -> Said {
        let (now, entry) = (self.clock.now(), self.note_of(viewer, "roll-back-segments", "segments", None));
        let back = move |conn: &mut Conn| {
            let applied = change::roll_back(conn, None, now)?;
            note(conn, Some(&entry))?;
            Ok(applied)
        };
        begun(self.store.write("roll segments back", back).await?)
    }

    async fn switch_live(&self, viewer: &Viewer, on: bool) -> Said {
        let value = if on { "true" } else { "false" };
        let entry = self.note_of(viewer, "switch-live", value, None);
        let set = move |conn: &mut Conn| {
            installation::set(conn, Setting::Live, value)?;
            Ok(true)
        };
        self.noted("switch live", entry, set).await?;
        Ok(if on { "Live: messages leave this installation." } else { "Not live: nothing leaves this installation." }.to_owned())
    }

    async fn stop(&self, viewer: &Viewer, (scope, name): (stops::Scope, String), why: String, by: String) -> Said {
        let known = match scope {
            stops::Scope::All => name.is_empty(),
            stops::Scope::Program => self.programs.library().program(&name).is_some(),
            stops::Scope::Channel => crate::outreach::channel::ChannelKind::parse(&name).is_some(),
        };
        if !known {
            return no("There is no such program or channel.");
        }
        let entry = self.note_of(viewer, "stop-outreach", format!("{} {name}", scope.as_str()).trim().to_owned(), Some(why.clone()));
        let now = self.clock.now();
        match self.noted("stop outreach", entry, move |conn| stops::begin(conn, (scope, &name), &why, &by, now)).await? {
            true => Ok("Stopped. What comes due meanwhile waits, and is judged anew when it goes on.".to_owned()),
            false => no("It is stopped already."),
        }
    }

    async fn start(&self, viewer: &Viewer, (scope, name): (stops::Scope, String), by: String) -> Said {
        let entry = self.note_of(viewer, "start-outreach", format!("{} {name}", scope.as_str()).trim().to_owned(), None);
        let now = self.clock.now();
        match self.noted("start outreach", entry, move |conn| stops::end(conn, (scope, &name), &by, now)).await? {
            true => {
                self.nudges.outreach.give();
                Ok("It goes on. What waited meanwhile is judged anew; what is too late by now is refused and says so.".to_owned())
            }
            false => no("It is not stopped."),
        }
    }

    async fn replay_writes(&self, viewer: &Viewer, ehr: Option<String>, cause: Option<String>, id: Option<String>) -> Said {
        if ehr.is_none() && cause.is_none() && id.is_none() {
            return no("Say which: an EHR, a cause, or one write-back.");
        }
        let about = [&ehr, &cause, &id].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        let entry = self.note_of(viewer, "replay-write-backs", about, None);
        let wanted = Wanted { ehr, cause, ids: id.into_iter().collect() };
        let reopen = move |conn: &mut Conn| {
            let rows = writebacks::reopen(conn, &wanted, false)?.len();
            if rows > 0 {
                note(conn, Some(&entry))?;
            }
            Ok(rows)
        };
        match self.store.write("replay write-backs", reopen).await? {
            0 => no("Nothing of this is refused, or waits for a person, any more."),
            n => Ok(format!("{} will be written again.", plural(n, "write-back", "write-backs"))),
        }
    }

    async fn join(&self, viewer: &Viewer, (one, other): (Phi<String>, Phi<String>), same: bool, why: String, by: String) -> Said {
        let (one, other) = (parts(&one)?, parts(&other)?);
        let (now, word) = (self.clock.now(), if same { Word::Same } else { Word::Apart });
        let what = if same { "join-persons" } else { "part-persons" };
        let mut entry = self.note_of(viewer, what, &other.0, Some(why.clone()));
        entry.patient = Some((one.0.clone(), Phi::new(one.1.clone())));
        let say = move |conn: &mut Conn| {
            let (Some(a), Some(b)) = (people::record(conn, &one.0, &one.1)?, people::record(conn, &other.0, &other.1)?) else {
                return Ok(false);
            };
            if a.pk == b.pk {
                return Ok(false);
            }
            words::say(conn, (a.pk, b.pk), word, &by, &why, now)?;
            note(conn, Some(&entry))?;
            Ok(true)
        };
        match self.store.write("a word on two records", say).await? {
            true if same => Ok("Said: they are one person. History, refusals and limits are one from now on.".to_owned()),
            true => Ok("Said: they are two persons. What each record brought goes back with it.".to_owned()),
            false => no("These are not two records that are known here."),
        }
    }
}

fn begun(applied: Applied) -> Said {
    match applied {
        Applied::Begun(n) => Ok(format!("Roll-out {n} has begun. The versions in force answer until everyone is evaluated.")),
        Applied::Reworded(_) => Ok("Only wording differed: it is in force, and nobody is evaluated anew.".to_owned()),
        Applied::Nothing => Ok("Nothing differs: what is wanted is in force.".to_owned()),
        Applied::GivenUp(n) => Ok(format!("Roll-out {n} was given up before it came into force; nothing else changed.")),
        Applied::Busy => no("The last roll-out is still being entered into the histories. Try again when it is done."),
        Applied::NoSuch => no("There is nothing to go back to."),
    }
}
