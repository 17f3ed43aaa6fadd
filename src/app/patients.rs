//! What a patient's page shows and does, put together from the stages; and the reading of one patient that somebody looks at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::EhrId;

use super::{App, StageError};
use crate::ehr::{Connection, Plan};
use crate::outreach::by_hand::{self, Hand};
use crate::patient::acts::{self, About, Act, Done, Signed};
use crate::patient::look::{Seen, every_segment};
use crate::patient::page::Segment;
use crate::patient::{Eyes, Page, Subject, look};
use crate::segments::Definitions;
use crate::store::patient_reads::{self, Request};
use crate::store::{StoreError, people};
use crate::sync::patient as reading;
use crate::sync::task::Source;
use crate::web::patient::{Answer, Patients};

/// For how long a connection, with what the EHR stated of itself, serves the reading of single patients.
const CONNECTED: TimeDelta = TimeDelta::minutes(5);
/// For how long compiled definitions are taken for those in force.
const DEFINED: TimeDelta = TimeDelta::seconds(10);
/// A patient is not read again sooner than this after the last answer.
const AGAIN: TimeDelta = TimeDelta::seconds(60);
/// Whoever took a request has this long.
const TAKEN: TimeDelta = TimeDelta::seconds(60);
/// Requests that are worked on at the same time.
const AT_ONCE: i64 = 8;

/// What is kept between two pages.
#[derive(Default)]
pub(super) struct Kept {
    connections: Mutex<HashMap<String, (Timestamp, Arc<Connection>)>>,
    definitions: Mutex<Option<(Timestamp, Arc<Definitions>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is guarded is replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// The definitions in force, at most a few seconds old.
    pub(super) async fn definitions_now(&self) -> Result<Arc<Definitions>, StoreError> {
        let now = self.clock.now();
        if let Some((at, kept)) = lock(&self.kept.definitions).as_ref()
            && now.since(*at) < DEFINED
        {
            return Ok(Arc::clone(kept));
        }
        let fresh = Arc::new(self.store.read(Definitions::load).await?);
        *lock(&self.kept.definitions) = Some((now, Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// What a patient's page shows, by the store. The patient is asked for anew from the EHR where that was not just done; nobody waits for it.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn patient_page(self: &Arc<Self>, subject: Subject) -> Result<Page, StoreError> {
        let (definitions, now, app) = (self.definitions_now().await?, self.clock.now(), Arc::clone(self));
        let of = subject.clone();
        let page = self
            .store
            .snapshot(move |conn| {
                let eyes = Eyes { codec: app.store.codec(), definitions: &definitions, site: &app.site, library: app.programs.library() };
                look(conn, &eyes, &of, now)
            })
            .await?;
        Ok(page)
    }

    /// Every segment in force, as it stands to a patient, with what decides. `None` where there is no such patient.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn patient_segments(self: &Arc<Self>, subject: Subject) -> Result<Option<Vec<Segment>>, StoreError> {
        let (definitions, now, app) = (self.definitions_now().await?, self.clock.now(), Arc::clone(self));
        self.store
            .snapshot(move |conn| {
                let eyes = Eyes { codec: app.store.codec(), definitions: &definitions, site: &app.site, library: app.programs.library() };
                every_segment(conn, &eyes, &subject, now)
            })
            .await
    }

    /// Asks for a patient to be read again, where that is not under way and was not just done. Returns whether it is under way.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn ask_for_patient(&self, subject: &Subject) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let (ehr, id) = (subject.ehr.clone(), subject.id.expose().clone());
        // Most pages are looked at again within the minute: they cost no write.
        let known = self.store.read(move |conn| patient_reads::of(conn, &ehr, &id)).await?;
        if let Some(request) = known {
            if request.is_open() {
                return Ok(true);
            }
            if request.answered_at.is_some_and(|at| now.since(Timestamp::from_micros(at)) < AGAIN) {
                return Ok(false);
            }
        }
        let (ehr, id) = (subject.ehr.clone(), subject.id.expose().clone());
        let under_way = self.store.write("ask for a patient", move |conn| patient_reads::ask(conn, (&ehr, &id), AGAIN, now)).await?;
        if under_way {
            self.nudges.refresh.give();
        }
        Ok(under_way)
    }

    /// Reads the patients that were asked for; returns how many, and why some could not be.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn refresh_patients(&self) -> Result<(u64, Vec<String>), StageError> {
        let (mut done, mut failures) = (0, Vec::new());
        loop {
            let (who, now) = (format!("{} {}", self.owner.as_str(), self.random.id()), self.clock.now());
            if self.store.read(move |conn| patient_reads::is_any(conn, now)).await? {
                let taken = self
                    .store
                    .write("take requests for patients", move |conn| patient_reads::take(conn, &who, now, now.plus(TAKEN), AT_ONCE));
                let taken = taken.await?;
                let answered = futures_util::future::join_all(taken.iter().map(|request| self.refresh(request))).await;
                for answer in answered {
                    match answer? {
                        None => done += 1,
                        Some(why) => failures.push(why),
                    }
                }
                if !taken.is_empty() {
                    continue;
                }
            }
            return Ok((done, failures));
        }
    }

    /// Reads one patient; returns why the EHR could not be asked, where it could not.
    async fn refresh(&self, request: &Request) -> Result<Option<String>, StageError> {
        let Ok(ehr) = EhrId::parse(&request.ehr) else { return Ok(None) };
        let connection = match self.connection_of(&ehr).await {
            Ok(connection) => connection,
            Err(error) => {
                let told = error.to_string();
                reading::tell(&self.store, request, "failed", Some(told.clone()), self.clock.now()).await?;
                return Ok(Some(format!("{ehr}: {told}")));
            }
        };
        let profile = self.profile(&ehr).await?;
        let plan = Plan::of(&profile, &connection.capability);
        let source = Source { client: &connection.client, plan: &plan };
        let asked = reading::refresh(&self.store, self.clock.as_ref(), &ehr, (source, &connection.capability), request).await?;
        if !asked {
            // What is kept of it may be why.
            lock(&self.kept.connections).remove(ehr.as_str());
        }
        self.nudges.segments.give();
        Ok((!asked).then(|| format!("{ehr}: a patient could not be read")))
    }

    async fn connection_of(&self, ehr: &EhrId) -> Result<Arc<Connection>, StageError> {
        let now = self.clock.now();
        if let Some((at, kept)) = lock(&self.kept.connections).get(ehr.as_str())
            && now.since(*at) < CONNECTED
        {
            return Ok(Arc::clone(kept));
        }
        let fresh = Arc::new(self.connect(ehr).await?);
        lock(&self.kept.connections).insert(ehr.as_str().to_owned(), (now, Arc::clone(&fresh)));
        Ok(fresh)
    }

    fn hand(&self) -> Hand<'_> {
        Hand { store: &self.store, library: self.programs.library(), site: &self.voice, channels: &self.channels }
    }

    /// What would be sent, and what the gate says of it. `None` where there is no such patient, template or channel.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn preview_message(&self, subject: &Subject, choice: &by_hand::Choice) -> Result<Option<by_hand::Preview>, StoreError> {
        let of = subject.clone();
        let found = self.store.snapshot(move |conn| {
            let Some(record) = people::record(conn, &of.ehr, of.id.expose())? else { return Ok(None) };
            Ok(Some((Seen::of(conn, &of, &record)?, record)))
        });
        let Some((seen, record)) = found.await? else { return Ok(None) };
        let preview = self.hand().preview(record, choice, self.clock.now()).await?;
        Ok(preview.map(|preview| seen.of_preview(preview)))
    }

    /// Does what a form asks for.
    ///
    /// # Errors
    /// The engine's refusal, or the EHR's settings cannot be used; nothing was done then.
    pub async fn act(self: &Arc<Self>, form: Signed, act: Act) -> Result<Done, StageError> {
        let (now, id, app) = (self.clock.now(), self.random.id(), Arc::clone(self));
        let (owing, changing) = (self.owing().await?, self.changing_status().await?);
        let changes = changing.contains(&form.subject.ehr);
        let name = act.name();
        let done = self
            .store
            .write(name, move |conn| match &act {
                Act::Stop { attempt } => acts::stop(conn, &form, attempt, now),
                Act::Move { attempt, to } => acts::reschedule(conn, &form, attempt, *to, now),
                Act::Choose { about, allowed } => acts::choose(conn, &form, about, *allowed, now),
                Act::Contact(contact) => acts::contacted(conn, &app.store, (&owing, changes), &form, contact, &id, now),
                Act::Send(choice) => acts::send(conn, &app.hand(), &form, choice, &id, now),
            })
            .await?;
        self.nudges.outreach.give();
        self.nudges.write_back.give();
        Ok(done)
    }
}

impl Patients for Arc<App> {
    fn page(&self, subject: Subject) -> Answer<'_, Page> {
        Box::pin(self.patient_page(subject))
    }

    fn segments(&self, subject: Subject) -> Answer<'_, Option<Vec<Segment>>> {
        Box::pin(self.patient_segments(subject))
    }

    fn ask(&self, subject: Subject) -> Answer<'_, bool> {
        Box::pin(async move { self.ask_for_patient(&subject).await })
    }

    fn preview(&self, subject: Subject, choice: by_hand::Choice) -> Answer<'_, Option<by_hand::Preview>> {
        Box::pin(async move { self.preview_message(&subject, &choice).await })
    }

    fn act(&self, form: Signed, act: Act) -> Answer<'_, Done> {
        Box::pin(async move {
            match App::act(self, form, act).await {
                Err(StageError::Store(error)) => Err(error),
                Err(error) => Err(StoreError::Unusable(error.to_string())),
                Ok(done) => Ok(done),
            }
        })
    }

    fn about(&self, text: &str) -> Option<About> {
        About::parse(text, self.programs.library())
    }

    fn fresh_key(&self) -> String {
        self.random.id()
    }
}
