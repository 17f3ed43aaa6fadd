//! `check`: configuration, database, keys, programs and connections; every mistake at once.

use clap::Args;

use super::exit::{Ended, Failure};
use super::{Common, ehr, print};
use crate::app::App;
use crate::config::Config;

/// Check configuration, database, keys, programs and connections; tell all mistakes at once
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage check
  fhir-engage check --offline          without asking the EHRs
  fhir-engage check --example-config   print a configuration with every key and its default")]
pub(super) struct Check {
    /// Do not ask the EHRs
    #[arg(long)]
    offline: bool,
    /// Print an example configuration and end
    #[arg(long)]
    example_config: bool,
}

impl Check {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        if self.example_config {
            print::line(crate::config::example().trim_end());
            return Ok(Ended::Well);
        }
        let mut findings = Vec::new();
        match Config::load(common.config.as_deref(), &common.data()) {
            Err(mistakes) => findings.extend(mistakes.iter().map(|m| Finding::problem("configuration", m.to_string()))),
            Ok(mut config) => {
                if let Some(database) = &common.database {
                    config.database.url = database.clone().into();
                }
                findings.extend(config.warnings().into_iter().map(|w| Finding::warning("configuration", w)));
                super::start_logs(&config, tracing::Level::WARN)?;
                findings.extend(secrets(&config));
                match App::open(config, &common.data()) {
                    Err(error) => findings.push(Finding::problem("start", error.to_string())),
                    Ok(app) => look(&app, self.offline, &mut findings).await,
                }
            }
        }
        let well = !findings.iter().any(|f| f.level == "problem");
        if common.json {
            print::json(&serde_json::json!({ "ok": well, "findings": findings }));
        } else {
            for f in &findings {
                print::line(&format!("{:<8} {}: {}", f.level, f.about, f.says));
            }
            print::line(if well { "no problem found" } else { "problems were found; what to do stands beside each" });
        }
        Ok(Ended::well_if(well))
    }
}

#[derive(serde::Serialize)]
struct Finding {
    level: &'static str,
    about: String,
    says: String,
}

impl Finding {
    fn problem(about: &str, says: String) -> Self {
        Self { level: "problem", about: about.to_owned(), says }
    }

    fn warning(about: &str, says: String) -> Self {
        Self { level: "warning", about: about.to_owned(), says }
    }

    fn ok(about: &str, says: String) -> Self {
        Self { level: "ok", about: about.to_owned(), says }
    }
}

async fn look(app: &App, offline: bool, findings: &mut Vec<Finding>) {
    findings.push(Finding::ok("database", format!("{} is reachable and its schema is up to date", app.store.location().engine())));
    findings.push(Finding::ok("segments", format!("{} definitions are in force", app.definitions.rows().len())));
    findings.push(Finding::ok("programs", format!("{} programs are in force", app.programs.library().programs.len())));
    match app.is_live().await {
        Ok(true) => findings.push(Finding::ok("outreach", "live: messages leave this installation".to_owned())),
        Ok(false) => findings.push(Finding::ok("outreach", "not live: nothing leaves this installation".to_owned())),
        Err(error) => findings.push(Finding::problem("outreach", error.to_string())),
    }
    let ehrs = match app.ehrs().await {
        Ok(ehrs) => ehrs,
        Err(error) => return findings.push(Finding::problem("EHRs", error.to_string())),
    };
    if ehrs.is_empty() {
        findings.push(Finding::warning("EHRs", "none is registered; add one with `fhir-engage ehr add`".to_owned()));
    }
    for (id, profile) in ehrs {
        let parts = match app.parts(&id, &profile).await {
            Ok(parts) => parts,
            Err(error) => {
                findings.push(Finding::problem(&format!("EHR {id}"), error.to_string()));
                continue;
            }
        };
        if offline {
            findings.push(Finding::ok(&format!("EHR {id}"), "its profile and credentials can be read".to_owned()));
            continue;
        }
        findings.extend(ehr::findings(&crate::ehr::check::check(&profile, &parts).await).map(|(level, name, says)| Finding {
            level,
            about: format!("EHR {id}, {name}"),
            says,
        }));
    }
}

/// The secrets that the configuration points to: whether each can be read now. Their values are not looked at.
fn secrets(config: &Config) -> Vec<Finding> {
    let password = config.smtp.as_ref().and_then(|smtp| smtp.password.as_ref());
    // The default master key is made at first need.
    let master = config.keys.master_is_named.then_some(&config.keys.master);
    [("web.bearer", config.web.bearer.as_ref()), ("smtp.password", password), ("keys.master", master)]
        .into_iter()
        .filter_map(|(key, secret)| secret?.resolve().err().map(|error| Finding::problem(key, crate::app::told(&error))))
        .collect()
}
