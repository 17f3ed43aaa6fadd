//! What the web server needs, put together.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use crate::patient::Reach;
use crate::segments::Definitions;
use crate::segments::explain::explain;
use crate::store::StoreError;
use crate::store::freshness::Freshness;
use crate::telemetry::Metrics;
use crate::web::{Explained, Question, WebState};
use crate::worker::Health;

/// Why pages cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// The bearer of the API cannot be read.
    #[error("web.bearer cannot be read: {0}")]
    Bearer(String),
    /// What belongs to the site's provider cannot be read: its key, and why.
    #[error("staff.oidc.{0} cannot be read: {1}")]
    Provider(&'static str, String),
    /// Another recorder of metrics is in force.
    #[error("metrics cannot be recorded: {0}")]
    Metrics(String),
}

impl App {
    /// Why a patient is in segments, or not, by the definitions in force now.
    async fn explained(self: Arc<Self>, asked: Question) -> Result<Explained, StoreError> {
        let now = self.clock.now();
        let store = self.store.clone();
        let look = move |conn: &mut _| {
            let definitions = Definitions::load(conn)?;
            let only = asked.segment.as_deref();
            if only.is_some_and(|id| definitions.by_id(id).is_none()) {
                return Ok(Explained::NoSegment);
            }
            let fresh = Freshness::read(conn, self.config.outreach.max_staleness, now)?;
            let found = explain(conn, &definitions, &self.site, (&asked.ehr, asked.patient.expose()), only, (&fresh, now))?;
            let Some(found) = found else { return Ok(Explained::NoPatient) };
            let text = serde_json::to_string(&found).map_err(|_| StoreError::Damaged("an explanation that cannot be written"))?;
            Ok(Explained::Told(text.into()))
        };
        store.snapshot(look).await
    }

    /// The state of the web server; `tasks` where this process runs the stages too.
    ///
    /// # Errors
    /// [`PagesError`].
    pub fn web_state(self: &Arc<Self>, tasks: Option<Health>) -> Result<WebState, PagesError> {
        let bearer =
            self.config.web.bearer.as_ref().map(|secret| secret.resolve().map_err(|e| PagesError::Bearer(e.to_string()))).transpose()?;
        let mut process = [0; 8];
        self.random.fill(&mut process);
        let app = Arc::clone(self);
        let explainer = Arc::clone(self);
        let listening = Arc::clone(self);
        let bearer = bearer.map(|secret| domain::model::Phi::new(secret.expose().to_owned()));
        Ok(WebState {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            site: self.config.site.name.clone(),
            zone: self.config.site.time_zone,
            tasks,
            metrics: Metrics::install().map_err(|e| PagesError::Metrics(e.to_string()))?,
            jwks: Arc::new(move || {
                let app = Arc::clone(&app);
                Box::pin(async move { app.jwks().await })
            }),
            explain: Arc::new(move |asked| {
                let app = Arc::clone(&explainer);
                Box::pin(async move { app.explained(asked).await })
            }),
            max_age: self.config.outreach.max_staleness,
            bearer,
            desk: Arc::new(Arc::clone(self)),
            patients: Arc::new(Arc::clone(self)),
            sessions: self.sessions(),
            launches: self.launches(),
            provider: self.provider()?,
            denied: self.config.staff.denied.clone(),
            elsewhere: Reach::parse(&self.config.staff.other_records).unwrap_or_default(),
            notified: Arc::new(move |came| {
                let app = Arc::clone(&listening);
                Box::pin(async move { app.notified(came).await })
            }),
            external: self.config.web.external_url.clone(),
            process: u64::from_le_bytes(process),
            keep_counts: Duration::from_secs(2),
        })
    }
}
