//! `staff`: links by which somebody may sign in once, where there is no other way in.

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use domain::model::{Role, Roles};

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::App;

/// Let somebody of the staff sign in by a link
#[derive(Debug, Subcommand)]
pub(super) enum Staff {
    /// Make a link that works once
    #[command(after_help = "Examples:
  fhir-engage staff link --role operator
  fhir-engage staff link --role front-desk --role care-manager --minutes 30

Roles: front-desk, clinician, care-manager, engagement, operator, auditor. Whoever has the link signs in by it: hand it on
as you would a password. The address is that of web.external_url, else of web.bind.")]
    Link(Link),
}

#[derive(Debug, Args)]
pub(super) struct Link {
    /// A role that its user has here; may be repeated
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = role)]
    roles: Vec<Role>,
    /// For how many minutes it works
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(i64).range(1..=1440))]
    minutes: i64,
}

fn role(text: &str) -> Result<Role, String> {
    let known: Vec<&str> = Role::ALL.into_iter().map(Role::as_str).collect();
    Role::parse(text).ok_or_else(|| format!("the roles are {}", known.join(", ")))
}

impl Staff {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let Self::Link(Link { roles, minutes }) = self;
        let app = common.open()?;
        let roles = Roles::of(&roles);
        let link = link(&app, roles, TimeDelta::minutes(minutes), &format!("http://{}", app.config.web.bind)).await?;
        if common.json {
            print::json(
                &serde_json::json!({ "link": link, "roles": roles.iter().map(Role::as_str).collect::<Vec<_>>(), "minutes": minutes }),
            );
        } else {
            print::line(&link);
        }
        Ok(Ended::Well)
    }
}

/// Makes a link; `here` is where this process's pages are, where the configuration names no address of theirs.
pub(super) async fn link(app: &App, roles: Roles, lasts: TimeDelta, here: &str) -> Result<String, Failure> {
    let made = app.sessions().make_link(roles, lasts).await;
    let token = made.map_err(|e| Failure::problem(e.to_string()))?;
    let external = app.config.web.external_url.as_ref().map(url::Url::as_str).unwrap_or(here);
    Ok(format!("{}/signin/once/{}", external.trim_end_matches('/'), token.expose()))
}
