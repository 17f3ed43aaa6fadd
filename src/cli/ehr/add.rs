//! `ehr add`: registers an EHR, or changes how it is connected.

use std::path::{Path, PathBuf};

use clap::Args;
use domain::model::EhrId;
use url::Url;

use super::super::access::Access;
use super::super::exit::{Ended, Failure};
use super::super::launching::Launching;
use super::super::reading::Reading;
use super::super::{Common, print};
use super::ehr_id;
use crate::app::{App, charts};
use crate::credentials::SecretRef;
use crate::ehr::auth::Algorithm;
use crate::ehr::pace::Rate;
use crate::ehr::profile::{Auth, BackendServices, Profile};
use crate::ehr::{misread, vendor};
use crate::store::{ehr_keys, ehrs, expiries, proofs, statements, tokens};
use crate::sync::drops::Drop;

/// Register an EHR, or change how it is connected
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage ehr add main --url https://ehr.example.org/fhir --client-id engage
      SMART Backend Services with private_key_jwt; register the output of `fhir-engage keys jwks` with the EHR
  fhir-engage ehr add test --url http://127.0.0.1:8000/fhir
      an open server on this machine
  fhir-engage ehr add nightly --files
      no connection: data comes by `fhir-engage import --ehr nightly PATH`
  fhir-engage ehr add other --url https://ehr.example.org/r4 --client-id app --client-secret env:EHR
      client credentials with a secret, where the EHR takes no signed assertion
  fhir-engage ehr add main --url https://ehr.example.org/r4 --client-id app --credentials desk.toml
      with desk.toml: [desk] types = [\"Appointment\"]; [desk.auth] kind = \"user-grant\", client_id = \"desk\";
      then `fhir-engage ehr authorize main --credential desk`
  fhir-engage ehr add main --url https://ehr.example.org/r4 --client-id app --launch-client-id desk
      staff open this gateway from inside the EHR; `fhir-engage ehr register VENDOR` tells what to register for it
  fhir-engage ehr add clinic --files --drop appointments.toml
      the hospital puts files into a folder; `fhir-engage serve` and `fhir-engage sync run` take them
  fhir-engage ehr add main --url https://ehr.example.org/r4 --client-id app --events Patient
      the EHR tells of changes by itself, too; `fhir-engage ehr subscriptions list` shows how that goes
  fhir-engage ehr add panel --url https://ehr.example.org/r4 --client-id engage --group 1234
      an EHR that gives data one patient at a time only; `fhir-engage sync plan panel` explains what is read and how")]
pub(in crate::cli) struct Add {
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
    /// What to sign with: RS384, ES384, RS256 or ES256
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
    /// A request header that this EHR wants, as NAME=VALUE; nothing secret; NAME= leaves one of the vendor's preset out; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header, conflicts_with = "files")]
    headers: Vec<(String, String)>,
    /// The vendor, whose preset says what such servers take; full-r4 where absent
    #[arg(long, value_name = "VENDOR", value_parser = vendor_name)]
    vendor: Option<String>,
    /// Write-back settings of this EHR, TOML or JSON; see `fhir-engage writeback contract --help`
    #[arg(long, value_name = "FILE")]
    write_back: Option<PathBuf>,
    /// The declaration of a drop folder, TOML; may be repeated; see `fhir-engage sync drops check --help`
    #[arg(long = "drop", value_name = "FILE")]
    drops: Vec<PathBuf>,
    /// How many requests a second this EHR allows
    #[arg(long, value_name = "N", conflicts_with = "files", value_parser = rate)]
    requests_per_second: Option<Rate>,
    /// How many requests in any hour
    #[arg(long, value_name = "N", conflicts_with = "files", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_hour: Option<u32>,
    /// How many requests in any day
    #[arg(long, value_name = "N", conflicts_with = "files", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_day: Option<u32>,
    /// How many requests on their way at once, over all nodes
    #[arg(long, value_name = "N", conflicts_with = "files", value_parser = clap::value_parser!(u32).range(1..))]
    at_once: Option<u32>,
    /// The same EHR has another address now: what is stored under this name stays its
    #[arg(long)]
    moved: bool,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    launching: Launching,
}

fn whole_url(text: &str) -> Result<Url, String> {
    Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| "write the whole URL, such as https://ehr.example.org/fhir".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn rate(text: &str) -> Result<Rate, String> {
    text.parse::<f64>()
        .map_err(|_| "a number of requests a second, such as 4 or 0.5".to_owned())
        .and_then(|n| Rate::try_from(n).map_err(|e| e.to_string()))
}

pub(super) fn vendor_name(text: &str) -> Result<String, String> {
    vendor::preset(text).map(|p| p.name.clone()).ok_or_else(|| format!("known are {}", vendor::known()))
}

/// Reads write-back settings; what they may hold is checked with the whole profile.
pub(in crate::cli) fn settings(path: &Path) -> Result<serde_json::Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("{} cannot be read: {}", path.display(), e.kind())))?;
    if let Ok(json) = serde_json::from_str(&text) {
        return Ok(json);
    }
    toml::from_str(&text)
        .map_err(|e| Failure::usage(format!("{} is neither JSON nor TOML: {}", path.display(), misread::of_toml(&text, &e))))
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

impl Add {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let id = ehr_id(&self.id)?;
        let algorithm = Algorithm::parse(&self.key_alg)
            .ok_or_else(|| Failure::usage(format!("{} is not an algorithm here; use RS384, ES384, RS256 or ES256", self.key_alg)))?;
        let auth = match (self.client_id, self.token) {
            (Some(client_id), _) => {
                let key = if self.access.signs() { Some(app.ensure_key(algorithm).await?) } else { None };
                let scopes = (!self.scopes.is_empty()).then_some(self.scopes);
                match self.access.auth(&client_id, self.token_url.as_ref())? {
                    Some(auth) => auth,
                    None => Auth::BackendServices(BackendServices {
                        client_id,
                        key_id: key.map(|k| k.kid),
                        token_url: self.token_url,
                        scopes,
                        dialect: None,
                    }),
                }
            }
            (None, Some(token)) => {
                SecretRef::parse(&token).map_err(|e| Failure::usage(format!("--token: {e}")))?;
                Auth::Bearer { token }
            }
            (None, None) => Auth::None,
        };
        let with_key = auth.signs() || self.launching.signs();
        let algorithm_of_keys = algorithm;
        let algorithm = algorithm.as_str();
        let mut profile = Profile {
            base_url: self.url,
            files_only: self.files,
            auth,
            extra_ca: self.ca,
            allow_insecure: self.allow_insecure,
            page_size: self.page_size,
            headers: self.headers.into_iter().collect(),
            vendor: self.vendor,
            write_back: self.write_back.as_deref().map(settings).transpose()?,
            requests_per_second: self.requests_per_second,
            requests_per_hour: self.requests_per_hour,
            requests_per_day: self.requests_per_day,
            at_once: self.at_once,
            ..Profile::default()
        };
        self.reading.apply(&mut profile)?;
        self.access.apply(&mut profile)?;
        if self.launching.signs() {
            app.ensure_key(algorithm_of_keys).await?;
        }
        self.launching.apply(&mut profile)?;
        for path in &self.drops {
            profile.drops.push(serde_json::to_value(super::super::drops::declaration(path)?).unwrap_or_default());
        }
        Drop::all(&profile).map_err(|mistakes| Failure::usage(format!("--drop: {mistakes}")))?;
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
                    statements::forget(conn, name.as_str())?;
                }
                // What was got as the client that it was before is not used as the one that it is now; its keys begin as the profile says.
                tokens::forget_all(conn, name.as_str())?;
                ehr_keys::forget(conn, name.as_str())?;
                expiries::forget(conn, name.as_str())?;
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
        let next = if self.files && !self.drops.is_empty() {
            "Next: fhir-engage sync run".to_owned()
        } else if self.files {
            format!("Next: fhir-engage import --ehr {id} PATH")
        } else {
            format!("Next: fhir-engage ehr check {id}")
        };
        for setting in contract.missing() {
            print::note(&format!("write-back needs `{setting}` in --write-back FILE before anything can be written"));
        }
        print::line(&next);
        Ok(Ended::Well)
    }
}
