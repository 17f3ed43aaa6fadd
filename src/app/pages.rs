//! What the web server needs, put together.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use crate::ehr::Entropy;
use crate::smart::{Lifetimes, Sessions};
use crate::telemetry::Metrics;
use crate::web::WebState;
use crate::worker::Health;

/// Why pages cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// The bearer of the API cannot be read.
    #[error("web.bearer cannot be read: {0}")]
    Bearer(String),
    /// Another recorder of metrics is in force.
    #[error("metrics cannot be recorded: {0}")]
    Metrics(String),
}

impl App {
    /// Who is signed in.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        let entropy = Arc::clone(&self.random) as Arc<dyn Entropy>;
        Sessions::new(self.store.clone(), Arc::clone(&self.clock), entropy, Lifetimes::default())
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
        let (app, listening) = (Arc::clone(self), Arc::clone(self));
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
            bearer,
            sessions: self.sessions(),
            frames: Arc::new(|_| Box::pin(std::future::ready(String::new()))),
            revoke: Arc::new(drop),
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
