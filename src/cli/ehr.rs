//! `ehr`: registers, lists, checks and removes EHRs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use domain::model::EhrId;
use url::Url;

use super::exit::{Ended, Failure};
use super::reading::Reading;
use super::{Common, print};
use crate::app::{App, charts};
use crate::connect::outlook;
use crate::credentials::SecretRef;
use crate::ehr::auth::Algorithm;
use crate::ehr::check::{self, Verdict};
use crate::ehr::pace::Rate;
use crate::ehr::profile::{Auth, BackendServices, Profile};
use crate::ehr::vendor;
use crate::store::view::overview::{self, TypeStatus};
use crate::store::{ehrs, proofs};
use crate::writeback::Probed;
use crate::writeback::trial::Tried;

/// Register, list, check and remove EHRs
#[derive(Debug, Subcommand)]
pub(super) enum Ehr {
    /// Register an EHR, or change how it is connected
    Add(Box<Add>),
    /// List the registered EHRs, and how the last sync of each went
    #[command(after_help = "Examples:
  fhir-engage ehr list
  fhir-engage ehr list --json")]
    List,
    /// Walk the whole connection and explain each result; reads only
    #[command(after_help = "Examples:
  fhir-engage ehr check main
  fhir-engage ehr check main --json
  fhir-engage ehr check main --deep
  fhir-engage ehr check main --deep --test-patient 4711

Exit code 1 where a step found a problem; what to do stands below it. Reads only, but for --deep: then an export is started and
deleted; and with a test patient a message that says that it is a test is written into that chart, found again, and marked as entered in
error where the EHR allows it.")]
    Check {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Start and delete an export; with --test-patient also write
        #[arg(long)]
        deep: bool,
        /// The id, in the EHR, of a patient that is nobody
        #[arg(long, value_name = "PATIENT", requires = "deep")]
        test_patient: Option<String>,
    },
    /// Remove a connection; what was synced and sent stays
    #[command(after_help = "Examples:
  fhir-engage ehr remove main
  fhir-engage ehr remove main --force      give up write-backs that are not settled")]
    Remove {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// Remove it although write-backs to it are not settled; they can then no longer be written
        #[arg(long)]
        force: bool,
    },
}

/// Register an EHR, or change how it is connected
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage ehr add main --url https://ehr.example.org/fhir --client-id engage
      SMART Backend Services with private_key_jwt; register the output of `fhir-engage keys jwks` with the EHR
  fhir-engage ehr add test --url http://127.0.0.1:8000/fhir
      an open server on this machine
  fhir-engage ehr add nightly --files
      no connection: data comes by `fhir-engage import --ehr nightly PATH`
  fhir-engage ehr add panel --url https://ehr.example.org/r4 --client-id engage --group 1234
      an EHR that gives data one patient at a time only; `fhir-engage sync plan panel` explains what is read and how")]
pub(super) struct Add {
    /// A short name: lower-case letters, digits and '-'
    #[arg(value_name = "ID")]
    id: String,
    /// The FHIR base URL
    #[arg(long, value_name = "URL", value_parser = whole_url, required_unless_present = "files", conflicts_with = "files")]
    url: Option<Url>,
    /// There is no connection: data comes as files
    #[arg(long)]
    files: bool,
    /// The client id that the EHR issued (SMART Backend Services)
    #[arg(long, value_name = "CLIENT", conflicts_with_all = ["files", "token"])]
    client_id: Option<String>,
    /// What to sign with: RS384 or ES384
    #[arg(long, value_name = "ALG", default_value = "RS384")]
    key_alg: String,
    /// The token endpoint, where the EHR does not tell it or tells a wrong one
    #[arg(long, value_name = "URL", value_parser = whole_url, requires = "client_id")]
    token_url: Option<Url>,
    /// A scope to ask for in place of those that are needed; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", requires = "client_id")]
    scopes: Vec<String>,
    /// Where a static bearer token is: env:NAME or file:PATH
    #[arg(long, value_name = "SECRET", conflicts_with = "files")]
    token: Option<String>,
    /// A PEM file with certificate authorities to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Resources per page to ask for
    #[arg(long, value_name = "N")]
    page_size: Option<u32>,
    /// Allow plain http to another machine; for a test network only
    #[arg(long)]
    allow_insecure: bool,
    /// The vendor, whose preset says what such servers take; full-r4 where absent
    #[arg(long, value_name = "VENDOR", value_parser = vendor_name)]
    vendor: Option<String>,
    /// Write-back settings of this EHR, TOML or JSON; see `fhir-engage writeback contract --help`
    #[arg(long, value_name = "FILE")]
    write_back: Option<PathBuf>,
    /// How many requests a second this EHR allows
    #[arg(long, value_name = "N", conflicts_with = "files", value_parser = rate)]
    requests_per_second: Option<Rate>,
    /// The same EHR has another address now: what is stored under this name stays its
    #[arg(long)]
    moved: bool,
    #[command(flatten)]
    reading: Reading,
}

impl Ehr {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::Add(add) => add.run(&app, common).await,
            Self::List => list(&app, common).await,
            Self::Check { id, deep, test_patient } => check(&app, common, &ehr_id(&id)?, deep, test_patient.filter(|_| deep)).await,
            Self::Remove { id, force } => remove(&app, common, &ehr_id(&id)?, force).await,
        }
    }
}

fn whole_url(text: &str) -> Result<Url, String> {
    Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| "write the whole URL, such as https://ehr.example.org/fhir".to_owned())
}

fn rate(text: &str) -> Result<Rate, String> {
    text.parse::<f64>()
        .map_err(|_| "a number of requests a second, such as 4 or 0.5".to_owned())
        .and_then(|n| Rate::try_from(n).map_err(|e| e.to_string()))
}

fn vendor_name(text: &str) -> Result<String, String> {
    vendor::preset(text).map(|p| p.name.clone()).ok_or_else(|| format!("known are {}", vendor::known()))
}

/// Reads write-back settings; what they may hold is checked with the whole profile.
fn settings(path: &Path) -> Result<serde_json::Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("{} cannot be read: {}", path.display(), e.kind())))?;
    if let Ok(json) = serde_json::from_str(&text) {
        return Ok(json);
    }
    toml::from_str(&text).map_err(|e| Failure::usage(format!("{} is neither JSON nor TOML: {}", path.display(), e.message())))
}

/// Refuses to put another server under a name that has data: ids mean nothing at another server, and what is owed to the charts of the
/// old one would be written into those of the new.
async fn same_server(app: &App, id: &EhrId, profile: &Profile) -> Result<(), Failure> {
    let name = id.as_str().to_owned();
    let (row, holdings) = app.store.read(move |conn| Ok((ehrs::get(conn, &name)?, ehrs::holdings(conn, &name)?))).await?;
    let before = row.and_then(|row| Profile::from_json(&row.profile).ok());
    let same = before.is_some_and(|old| old.base_url == profile.base_url);
    if same || holdings.resources + holdings.attempts + holdings.unsettled == 0 {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} resources are stored under the name {id}, from another server: choose another name; or, if it is the same EHR at another \
         address, repeat with --moved",
        holdings.resources
    )))
}

/// Reads an EHR's name from the command line.
pub(super) fn ehr_id(text: &str) -> Result<EhrId, Failure> {
    EhrId::parse(text).map_err(|e| Failure::usage(e.to_string()))
}

impl Add {
    async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let id = ehr_id(&self.id)?;
        let algorithm = Algorithm::parse(&self.key_alg)
            .ok_or_else(|| Failure::usage(format!("{} is not an algorithm here; use RS384 or ES384", self.key_alg)))?;
        let auth = match (self.client_id, self.token) {
            (Some(client_id), _) => {
                let key = app.ensure_key(algorithm).await?;
                let scopes = (!self.scopes.is_empty()).then_some(self.scopes);
                Auth::BackendServices(BackendServices {
                    client_id,
                    key_id: Some(key.kid),
                    token_url: self.token_url,
                    scopes,
                    dialect: None,
                })
            }
            (None, Some(token)) => {
                SecretRef::parse(&token).map_err(|e| Failure::usage(format!("--token: {e}")))?;
                Auth::Bearer { token }
            }
            (None, None) => Auth::None,
        };
        let with_key = matches!(auth, Auth::BackendServices(_));
        let algorithm = algorithm.as_str();
        let mut profile = Profile {
            base_url: self.url,
            files_only: self.files,
            auth,
            extra_ca: self.ca,
            allow_insecure: self.allow_insecure,
            page_size: self.page_size,
            vendor: self.vendor,
            write_back: self.write_back.as_deref().map(settings).transpose()?,
            requests_per_second: self.requests_per_second,
            ..Profile::default()
        };
        self.reading.apply(&mut profile)?;
        profile.check().map_err(|e| Failure::usage(e.to_string()))?;
        let contract = charts::intended_contract(&profile).map_err(|e| Failure::usage(e.to_string()))?;
        if !self.moved {
            same_server(app, &id, &profile).await?;
        }
        let (text, name, base, now) = (profile.to_json(), id.clone(), profile.base_url.clone(), app.clock.now());
        app.store
            .write("register an EHR", move |conn| {
                let before = ehrs::get(conn, name.as_str())?.and_then(|row| Profile::from_json(&row.profile).ok());
                if before.is_none_or(|old| old.base_url != base) {
                    // What was seen of the server at the old address says nothing of this one.
                    proofs::forget(conn, name.as_str())?;
                }
                ehrs::put(conn, &name, &text, now)
            })
            .await?;
        if common.json {
            print::json(&serde_json::json!({ "id": id, "profile": profile }));
            return Ok(Ended::Well);
        }
        print::line(&format!("{id} is registered."));
        if with_key {
            print::line(&format!("Register this installation's public key with the EHR: `fhir-engage keys jwks --alg {algorithm}`."));
        }
        let next =
            if self.files { format!("Next: fhir-engage import --ehr {id} PATH") } else { format!("Next: fhir-engage ehr check {id}") };
        for setting in contract.missing() {
            print::note(&format!("write-back needs `{setting}` in --write-back FILE before anything can be written"));
        }
        print::line(&next);
        Ok(Ended::Well)
    }
}

/// How the latest runs of an EHR's types went.
struct Health {
    last: Option<i64>,
    failed: Vec<String>,
}

impl Health {
    fn of(runs: &[&TypeStatus]) -> Self {
        let failed = runs.iter().filter(|t| t.failure.is_some()).map(|t| t.rtype.clone()).collect();
        Self { last: runs.iter().filter_map(|t| t.ended_at).max(), failed }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.last.map_or_else(|| "never".to_owned(), print::instant))?;
        if !self.failed.is_empty() {
            write!(f, ", failed: {} (see `fhir-engage sync status`)", self.failed.join(", "))?;
        }
        Ok(())
    }
}

async fn list(app: &App, common: &Common) -> Result<Ended, Failure> {
    let all = app.ehrs().await?;
    let types = app.store.read(overview::read).await?.types;
    let runs = |id: &EhrId| types.iter().filter(|t| t.ehr == id.as_str()).collect::<Vec<_>>();
    if common.json {
        let rows: Vec<_> = all
            .iter()
            .map(|(id, profile)| {
                let health = Health::of(&runs(id));
                serde_json::json!({ "id": id, "profile": profile, "last_sync": health.last.map(print::instant), "failed_types": health.failed })
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::Well);
    }
    if all.is_empty() {
        print::note("no EHR is registered; add one with `fhir-engage ehr add`");
    }
    let mut table = print::Table::new(&["EHR", "BASE URL", "AUTH", "LAST SYNC"]);
    for (id, profile) in all {
        let base = profile.base_url.as_ref().map_or_else(|| "files only".to_owned(), Url::to_string);
        let auth = match profile.auth {
            Auth::None => "none",
            Auth::Bearer { .. } => "bearer",
            Auth::BackendServices(_) => "backend-services",
        };
        let health = Health::of(&runs(&id));
        table.row([id.to_string(), base, auth.to_owned(), health.to_string()]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn check(app: &App, common: &Common, id: &EhrId, deep: bool, test_patient: Option<String>) -> Result<Ended, Failure> {
    let profile = app.profile(id).await?;
    let parts = app.parts(id, &profile).await?;
    let mut report = check::check(&profile, &parts).await;
    if deep && report.is_ok() && !profile.files_only {
        check::try_export(&mut report, &profile, &parts).await;
    }
    let charts = match report.is_ok() {
        // What its charts will show can be told only where it can be asked what it takes.
        true => Some(app.contract_now(id, false).await.map(|(contract, _)| outlook(&app.chart_site(), &contract))?),
        false => None,
    };
    let deep = match test_patient.filter(|_| report.is_ok()) {
        Some(patient) => Some(app.probe(id, &patient).await?),
        None => None,
    };
    let writes = deep.as_ref().is_none_or(|(_, tried)| tried.written && tried.found != Some(false));
    let well = report.is_ok() && writes && charts.as_ref().is_none_or(|c| c.missing.is_empty());
    if common.json {
        let deep = deep.as_ref().map(|(probed, tried)| serde_json::json!({ "conditional_create": probed, "trial": tried }));
        let warnings = charts.as_ref().map(|c| c.warnings());
        print::json(
            &serde_json::json!({ "ehr": id, "ok": well, "steps": report.steps, "charts": charts, "chart_warnings": warnings, "deep": deep }),
        );
        return Ok(Ended::well_if(well));
    }
    tell(&report);
    if let Some(charts) = &charts {
        print::line("");
        super::writeback::tell_outlook(charts);
    }
    if let Some((probed, tried)) = &deep {
        print::line("");
        tell_deep(probed, tried);
    }
    Ok(Ended::well_if(well))
}

/// Prints what writing to a test patient showed.
fn tell_deep(probed: &Probed, tried: &Tried) {
    let held = match (probed.conditional_create, probed.why.as_deref()) {
        (Some(true), _) => "ok       conditional create: holds; write-backs need no search before them".to_owned(),
        (Some(false), why) => {
            format!("warning  conditional create: {}; every write-back is searched for first", why.unwrap_or("does not hold"))
        }
        (None, why) => format!("ok       conditional create: not used ({})", why.unwrap_or("it cannot be told")),
    };
    print::line(&held);
    let by = tried.carrier.map_or("nothing", |c| c.as_str());
    match (tried.written, tried.found, tried.why.as_deref()) {
        (true, Some(true), _) => print::line(&format!("ok       trial: written by {by} and found again")),
        (true, None, _) => {
            print::line(&format!("warning  trial: written by {by}; no search here can find it again, so a lost answer waits for a person"))
        }
        (true, Some(false), _) => print::line(&format!(
            "PROBLEM  trial: written by {by} and NOT found again: leave `finders` out that do not work, or ask the EHR's operator"
        )),
        (false, _, why) => print::line(&format!("PROBLEM  trial: not written: {}", why.unwrap_or("no reason was told"))),
    }
    if let Some(differences) = tried.differences.as_ref().and_then(|d| d.as_array()).filter(|d| !d.is_empty()) {
        let paths: Vec<&str> = differences.iter().filter_map(|d| d.get("path")?.as_str()).collect();
        print::line(&format!("warning  trial: the EHR did not keep as sent: {}", paths.join(", ")));
    }
    for left in probed.left.iter().chain(tried.remote.as_ref().filter(|_| !tried.marked)) {
        print::line(&format!("note     {left} stays in the test patient's chart; it says that it is a test"));
    }
}

/// Prints a walk, a step a line, the remedy below it.
pub(super) fn tell(report: &check::Report) {
    for step in &report.steps {
        let mark = match step.verdict {
            Verdict::Ok => "ok      ",
            Verdict::Warning => "warning ",
            Verdict::Problem => "PROBLEM ",
        };
        print::line(&format!("{mark} {}: {}", step.name, step.says));
        if let Some(remedy) = &step.remedy {
            print::line(&format!("          {remedy}"));
        }
    }
}

async fn remove(app: &App, common: &Common, id: &EhrId, force: bool) -> Result<Ended, Failure> {
    let name = id.as_str().to_owned();
    let holdings = app.store.read(move |conn| ehrs::holdings(conn, &name)).await?;
    if holdings.unsettled > 0 && !force {
        return Err(Failure::problem(format!(
            "{} to {id} are not settled; run `fhir-engage writeback run` first, or repeat with --force to give them up",
            print::plural(usize::try_from(holdings.unsettled).unwrap_or(0), "write-back")
        )));
    }
    let name = id.as_str().to_owned();
    if !app.store.write("remove an EHR", move |conn| ehrs::remove(conn, &name)).await? {
        return Err(Failure::usage(format!("there is no EHR {id}; list them with `fhir-engage ehr list`")));
    }
    if common.json {
        print::json(&serde_json::json!({ "removed": id, "kept_resources": holdings.resources, "kept_attempts": holdings.attempts }));
    } else {
        print::line(&format!("{id} is removed. {} resources and {} attempts stay as a record.", holdings.resources, holdings.attempts));
    }
    Ok(Ended::Well)
}

/// A walk's steps as `check` lists them: level, step, what was found and what to do.
pub(super) fn findings(report: &check::Report) -> impl Iterator<Item = (&'static str, &str, String)> {
    report.steps.iter().map(|step| {
        let level = match step.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        };
        let remedy = step.remedy.as_ref().map(|r| format!("; {r}")).unwrap_or_default();
        (level, step.name.as_str(), format!("{}{remedy}", step.says))
    })
}
