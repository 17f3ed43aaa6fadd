//! `keys`: the signing keys, their rotation, and the public key set.

use clap::Subcommand;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::App;
use crate::ehr::auth::Algorithm;
use crate::store::ehr_keys::EhrKey;

/// Make, list, rotate and retire signing keys; show the public key set
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a key; where there is a current one of its algorithm, it waits for a rotation
    #[command(after_help = "Examples:
  fhir-engage keys generate
  fhir-engage keys generate --alg ES384

A new key is in the public set at once. Where an EHR has the keys by value, register the new set there before `keys rotate`.")]
    Generate {
        /// RS384, ES384, RS256 or ES256
        #[arg(long, value_name = "ALG", default_value = "RS384", value_parser = algorithm)]
        alg: Algorithm,
    },
    /// List the keys, without their private halves, and how each EHR uses them
    #[command(after_help = "Examples:
  fhir-engage keys list
  fhir-engage keys list --json")]
    List,
    /// Put a new key in the place of the one that EHRs know
    #[command(after_help = "Examples:
  fhir-engage keys rotate                  at all EHRs
  fhir-engage keys rotate --ehr main       at one
  fhir-engage keys rotate --now            the key may be known to others

The new key is published now and tried once keys.overlap has passed, when a token is needed anyway. Where the EHR takes it, it is
the current one there; where not, the old one goes on and `keys list` says so. With --now nothing waits: the old key is published no
more, and an EHR that has not fetched the new one refuses this gateway until it has.")]
    Rotate {
        /// The EHR; may be repeated [default: all that know a key of this installation]
        #[arg(long, value_name = "ID")]
        ehr: Vec<String>,
        /// Change to this algorithm [default: the one in use]
        #[arg(long, value_name = "ALG", value_parser = algorithm)]
        alg: Option<Algorithm>,
        /// Skip the wait: for a key that others may know
        #[arg(long)]
        now: bool,
    },
    /// Take a key out of use and out of the public set
    #[command(after_help = "Examples:
  fhir-engage keys retire KID
  fhir-engage keys retire KID --force      also where an EHR uses it")]
    Retire {
        /// The key's id
        #[arg(value_name = "KID", allow_hyphen_values = true)]
        kid: String,
        /// Although an EHR uses it: it refuses this gateway from then on
        #[arg(long)]
        force: bool,
    },
    /// Print the public key set (JWKS) to register with an EHR; makes a key where there is none
    #[command(after_help = "Examples:
  fhir-engage keys jwks > jwks.json
  fhir-engage keys jwks --alg ES384      only keys of this algorithm, for EHRs that take one key per type
  fhir-engage keys jwks --ehr main       only the keys that this EHR has to know
  fhir-engage keys jwks --url            the address at which `serve` publishes it

The set may be hosted elsewhere: publish it anew after `keys generate` and `keys rotate`, and let it be kept for five minutes at most.")]
    Jwks {
        /// RS384, ES384, RS256 or ES256 [default: all keys, and RS384 where there is none]
        #[arg(long, value_name = "ALG", value_parser = algorithm)]
        alg: Option<Algorithm>,
        /// Only the keys that this EHR has to know
        #[arg(long, value_name = "ID", conflicts_with_all = ["alg", "url"])]
        ehr: Option<String>,
        /// Print the address in place of the set
        #[arg(long)]
        url: bool,
    },
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    Algorithm::parse(name).ok_or_else(|| format!("{name} is not an algorithm here; use RS384, ES384, RS256 or ES256"))
}

impl Keys {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::Generate { alg } => generate(&app, common, alg).await?,
            Self::List => list(&app, common).await?,
            Self::Rotate { ehr, alg, now } => return rotate(&app, common, &ehr, alg, now).await,
            Self::Retire { kid, force } => {
                app.retire_key(&kid, force).await?;
                if common.json {
                    print::json(&serde_json::json!({ "retired": kid }));
                } else {
                    print::line(&format!("{kid} is retired: it is in no key set any more."));
                }
            }
            Self::Jwks { url: true, .. } => {
                let url = app.config.web.jwks_url();
                let none = "web.external_url is not set: the address at which others reach this server is not known";
                print::line(&url.ok_or_else(|| Failure::problem(none.to_owned()))?);
            }
            Self::Jwks { alg, ehr, .. } => jwks(&app, alg, ehr.as_deref()).await?,
        }
        Ok(Ended::Well)
    }
}

async fn generate(app: &App, common: &Common, alg: Algorithm) -> Result<(), Failure> {
    let key = app.generate_key(alg).await?;
    if common.json {
        print::json(&serde_json::json!({ "kid": key.kid, "alg": key.alg, "state": key.state }));
        return Ok(());
    }
    print::line(&format!("{} {} is made; its state is {}.", key.alg, key.kid, key.state));
    if key.state == "next" {
        print::line("It is in the public set now. Next: fhir-engage keys rotate");
    }
    Ok(())
}

async fn rotate(app: &App, common: &Common, ehrs: &[String], alg: Option<Algorithm>, now: bool) -> Result<Ended, Failure> {
    let ids = ehrs.iter().map(|text| super::ehr::ehr_id(text)).collect::<Result<Vec<_>, _>>()?;
    let done = app.rotate(&ids, alg, now).await?;
    if common.json {
        let row = |r: &crate::app::Rotation| {
            serde_json::json!({ "ehr": r.ehr, "credential": r.credential, "from": r.from, "to": r.to,
                "tried_after": r.tried_after.map(|at| print::instant(at.micros())) })
        };
        print::json(&done.iter().map(row).collect::<Vec<_>>());
        return Ok(Ended::Well);
    }
    if done.is_empty() {
        return Err(Failure::problem(
            "no EHR knows a key of this installation; `fhir-engage ehr list` shows how each is reached".to_owned(),
        ));
    }
    let mut table = print::Table::new(&["EHR", "FROM", "TO", "TRIED AFTER"]);
    for r in done {
        let name = if r.credential.is_empty() { r.ehr } else { format!("{} ({})", r.ehr, r.credential) };
        let after = r.tried_after.map_or_else(|| "in use now".to_owned(), |at| print::instant(at.micros()));
        table.row([name, r.from, r.to, after]);
    }
    table.print();
    print::note(
        "EHRs that fetch the key set find the new key by themselves; where one has the keys by value, register `fhir-engage keys jwks` there",
    );
    Ok(Ended::Well)
}

async fn list(app: &App, common: &Common) -> Result<(), Failure> {
    let (keys, uses) = (app.keys().await?, app.key_uses().await?);
    let of = |kid: &str| uses.iter().filter(|u| u.kid == kid).collect::<Vec<_>>();
    if common.json {
        let used = |u: &EhrKey| {
            serde_json::json!({ "ehr": u.ehr, "credential": u.client, "state": u.state, "since": print::instant(u.since),
                "tried_after": (u.state == "next").then(|| print::instant(u.try_after)), "refusals": u.refusals, "told": u.told })
        };
        let rows: Vec<_> = keys
            .iter()
            .map(|k| {
                let ehrs: Vec<_> = of(&k.kid).into_iter().map(used).collect();
                serde_json::json!({ "kid": k.kid, "alg": k.alg, "state": k.state, "created_at": print::instant(k.created_at), "ehrs": ehrs })
            })
            .collect();
        print::json(&rows);
        return Ok(());
    }
    let mut table = print::Table::new(&["KEY", "ALGORITHM", "STATE", "MADE", "EHRS"]);
    for k in &keys {
        let ehrs: Vec<String> = of(&k.kid).into_iter().map(told).collect();
        table.row([k.kid.clone(), k.alg.clone(), k.state.clone(), print::instant(k.created_at), ehrs.join("; ")]);
    }
    table.print();
    Ok(())
}

/// How an EHR uses a key, in words.
fn told(u: &EhrKey) -> String {
    let name = if u.client.is_empty() { u.ehr.clone() } else { format!("{} ({})", u.ehr, u.client) };
    let said = u.told.as_deref().map(|t| format!(" ({t})")).unwrap_or_default();
    match (u.state.as_str(), u.refusals) {
        ("next", 0) => format!("{name}: tried after {}", print::instant(u.try_after)),
        ("next", n) => format!("{name}: refused {}{said}, tried again after {}", times(n), print::instant(u.try_after)),
        ("refused", n) => format!("{name}: refused {}{said}, given up", times(n)),
        (state, _) => format!("{name}: {state} since {}", print::instant(u.since)),
    }
}

async fn jwks(app: &App, alg: Option<Algorithm>, ehr: Option<&str>) -> Result<(), Failure> {
    if let Some(text) = ehr {
        let id = super::ehr::ehr_id(text)?;
        app.profile(&id).await?;
        print::line(&app.jwks_of(&id).await?);
        return Ok(());
    }
    if alg.is_some() || app.keys().await?.is_empty() {
        app.ensure_key(alg.unwrap_or(Algorithm::Rs384)).await?;
    }
    let keys = app.keys().await?;
    let of = keys.iter().filter(|k| alg.is_none_or(|a| k.alg == a.as_str())).map(|k| k.public_jwk.as_str());
    print::line(&crate::credentials::jwks::render(of));
    Ok(())
}

fn times(n: i64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}
