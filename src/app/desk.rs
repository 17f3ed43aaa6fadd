//! What the dashboard asks beside the store, by the doors that the commands use, too.

mod acts;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::model::{EhrId, Phi};

use super::{App, ConnectionError, StageError};
use crate::connect::{BlindSpots, Weight};
use crate::segments::plan::{self, Dry};
use crate::segments::{Library, change};
use crate::store::leases::{self, Term};
use crate::store::reading::PREFIX;
use crate::store::view::overview;
use crate::web::desk::{Act, Asking, Blind, Desk, Planned, PlannedSegment, Planning, Program, Reading, Readings, Refusal, Segment, Sheet};
use crate::web::viewer::Viewer;

/// The plan of this process: one at a time.
#[derive(Default)]
pub(super) struct Plans(Mutex<Planning>);

impl Plans {
    fn get(&self) -> Planning {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, planning: Planning) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = planning;
    }
}

impl From<StageError> for Refusal {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Store(error) => Self::Store(error),
            other => Self::Because(super::told(&other)),
        }
    }
}

impl From<ConnectionError> for Refusal {
    fn from(error: ConnectionError) -> Self {
        StageError::from(error).into()
    }
}

/// Names definition files by what they say.
fn fingerprint(wanted: &Library) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in wanted.texts() {
        hasher.update(text.id.as_bytes()).update(&[0]).update(text.hash.as_bytes()).update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

/// Names what an EHR states.
fn statement_name(stated: &str) -> String {
    blake3::hash(stated.as_bytes()).to_hex().to_string()
}

impl App {
    async fn all_readings(&self) -> Result<Readings, Refusal> {
        let agenda = self.agenda().await?;
        let (now, term, owner) = (agenda.now, Term(self.config.worker.lease), self.owner.clone());
        let read = move |conn: &mut _| Ok((overview::latest(conn)?, leases::held(conn, PREFIX, now, term, |o| owner.is_dead(o))?));
        let (mut types, held) = self.store.snapshot(read).await?;
        for t in types.iter_mut().filter(|t| t.state == "running" && !held.contains(&format!("{PREFIX}{}/{}", t.ehr, t.rtype))) {
            // Its process is gone; the next run closes its row and goes on.
            t.state = "interrupted".to_owned();
        }
        let mut readings = Readings { types: Vec::new(), unreadable: agenda.unreadable };
        for e in agenda.entries {
            let at = types.iter().position(|t| t.ehr == e.ehr.as_str() && t.rtype == e.kind.as_str());
            let (next, why) = words::next(&e, now);
            readings.types.push(Reading {
                last: at.map(|at| types.swap_remove(at)),
                next,
                why,
                paused: e.pause.as_ref().map(|p| {
                    let alone = p.rtype == e.kind.as_str();
                    (p.paused_by.clone(), p.why.clone(), p.paused_at, alone)
                }),
                ehr: e.ehr.to_string(),
                rtype: e.kind.as_str().to_owned(),
            });
        }
        Ok(readings)
    }

    async fn sheet_of(&self, name: &str) -> Result<Option<Sheet>, Refusal> {
        let Ok(id) = EhrId::parse(name) else { return Ok(None) };
        let profile = match self.profile(&id).await {
            Ok(profile) => profile,
            Err(ConnectionError::NoSuchEhr(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let connected = self.connected_as(&id, true).await?;
        let blind = self.blind_spots(&id, true).await.map(blind).map_err(|e| super::told(&e));
        let drifted = connected.drifted.as_ref();
        Ok(Some(Sheet {
            facts: connected.rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect(),
            seen_at: connected.seen_at,
            unread: drifted.and_then(|d| d.row.failure.clone()),
            drift: drifted.map_or_else(Vec::new, |d| {
                let told = |c: &crate::connect::Change| {
                    let stops = c.stops.as_ref().map(|s| format!(". Stops: {s}")).unwrap_or_default();
                    (c.weight == Weight::Problem, format!("{}: was {}, is {}{stops}", c.about, c.was, c.is))
                };
                d.changes.iter().map(told).collect()
            }),
            compared_with: drifted.map(|d| d.row.accepted_at),
            fingerprint: drifted.map(|d| statement_name(&d.row.stated)).unwrap_or_default(),
            blind,
            files_only: profile.files_only,
        }))
    }

    /// Begins to work out what the definition files would change; `false` where that is going on.
    fn begin_plan(self: &Arc<Self>) -> bool {
        {
            let mut planning = self.plans.0.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*planning, Planning::Running(_)) {
                return false;
            }
            *planning = Planning::Running(0);
        }
        let app = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let done = app.work_plan_out();
            app.plans.set(done);
        });
        true
    }

    fn work_plan_out(&self) -> Planning {
        let wanted = match Library::with_files(&self.data) {
            Ok(wanted) => wanted,
            Err(mistakes) => return Planning::Failed(mistakes.iter().map(ToString::to_string).collect()),
        };
        let live = match self.store.read_blocking(crate::segments::Definitions::load) {
            Ok(live) => live,
            Err(error) => return failed(&error),
        };
        let dry =
            Dry { store: &self.store, site: &self.site, clock: self.clock.as_ref(), live: &live, wanted: &wanted, all: false, examples: 0 };
        let never = AtomicBool::new(false);
        let worked = plan::plan(&dry, &never, &|n| self.plans.set(Planning::Running(n)));
        debug_assert!(!never.load(Ordering::Relaxed), "nobody stops it");
        let n = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        match worked {
            Err(error) => failed(&error),
            Ok(plan) => Planning::Done(Planned {
                at: self.clock.now(),
                fingerprint: fingerprint(&wanted),
                value_sets: plan.value_sets.iter().map(|(id, how)| (id.clone(), words::how(*how))).collect(),
                left_out: n(plan.left_out),
                segments: plan
                    .segments
                    .into_iter()
                    .map(|s| PlannedSegment {
                        change: s.change.map_or("unchanged", words::how),
                        id: s.id,
                        now: n(s.members_now),
                        entering: n(s.entering),
                        leaving: n(s.leaving),
                        unknown: n(s.unknown),
                    })
                    .collect(),
            }),
        }
    }
}

fn failed(error: &crate::store::StoreError) -> Planning {
    tracing::error!(%error, "a plan of definitions could not be worked out");
    Planning::Failed(vec!["the store did not answer; try again, and look into the log".to_owned()])
}

fn blind(report: BlindSpots) -> Vec<Blind> {
    let reasons = &report.reasons;
    let told = |kind: &'static str, v: &crate::connect::Verdict| Blind {
        kind,
        id: v.id.clone(),
        works: v.so.map_or_else(|| v.state.as_str().to_owned(), |so| format!("{}: {so}", v.state.as_str())),
        because: v
            .because
            .iter()
            .filter_map(|n| reasons.get(*n))
            .map(|r| r.remedy.as_ref().map_or_else(|| r.says.clone(), |remedy| format!("{}; {remedy}", r.says)))
            .collect(),
    };
    let poor = |v: &&crate::connect::Verdict| v.state.as_str() != "works";
    let segments = report.segments.iter().filter(poor).map(|v| told("segment", v));
    segments.chain(report.programs.iter().filter(poor).map(|v| told("program", v))).collect()
}

impl Desk for Arc<App> {
    fn readings(&self) -> Asking<'_, Readings> {
        Box::pin(self.all_readings())
    }

    fn sheet(&self, ehr: String) -> Asking<'_, Option<Sheet>> {
        Box::pin(async move { self.sheet_of(&ehr).await })
    }

    fn segments(&self) -> Asking<'_, Vec<Segment>> {
        Box::pin(async move {
            let definitions = self.definitions_now().await?;
            let rules = definitions.rules();
            let told = |s: &domain::rules::Segment| {
                let d = s.definition();
                let row = definitions.by_id(&d.id)?;
                Some(Segment {
                    id: d.id.clone(),
                    title: d.title.clone(),
                    stage: d.stage.clone(),
                    description: d.description.clone(),
                    rule: d.rule_text.clone(),
                    unknown: d.unknown.as_str().to_owned(),
                    number: row.number,
                    numbers: definitions.numbers(&d.id).to_vec(),
                    version: row.version,
                })
            };
            Ok(rules.segments().iter().filter_map(told).collect())
        })
    }

    fn programs(&self) -> Vec<Program> {
        let told = |p: &crate::outreach::program::Program| Program { id: p.id.clone(), title: p.title.clone(), segment: p.segment.clone() };
        self.programs.library().programs.iter().map(told).collect()
    }

    fn channels(&self) -> Vec<&'static str> {
        self.channels.iter().map(|c| c.kind().as_str()).collect()
    }

    fn planning(&self) -> Planning {
        self.plans.get()
    }

    fn differences(&self) -> Asking<'_, Result<usize, usize>> {
        Box::pin(async move {
            let definitions = self.definitions_now().await?;
            let data = self.data.clone();
            // Files are read, and rules compiled: not on a thread that serves.
            let wanted = tokio::task::spawn_blocking(move || Library::with_files(&data)).await;
            let wanted = wanted.map_err(|_| Refusal::Because("the definition files could not be read; try again".to_owned()))?;
            Ok(wanted.map(|wanted| change::differences(&definitions, &wanted).len()).map_err(|mistakes| mistakes.len()))
        })
    }

    fn remedy(&self, state: &str, cause: &str) -> String {
        words::remedy(state, cause)
    }

    fn meaning(&self, code: &str) -> String {
        words::meaning(code)
    }

    fn words(&self, kept: &[u8]) -> Option<Phi<String>> {
        let text = self.store.codec().unpack(kept, None).ok()?;
        Some(Phi::new(String::from_utf8_lossy(&text).into_owned()))
    }

    fn act(&self, viewer: Viewer, act: Act) -> Asking<'_, String> {
        Box::pin(async move { self.acted(&viewer, act).await })
    }
}
