//! `keys`: the signing keys and the public key set.

use clap::Subcommand;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::ehr::auth::Algorithm;

/// Show the signing keys and the public key set
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// List the keys, without their private halves
    #[command(after_help = "Examples:
  fhir-engage keys list
  fhir-engage keys list --json")]
    List,
    /// Print the public key set (JWKS) to register with an EHR; makes a key where there is none
    #[command(after_help = "Examples:
  fhir-engage keys jwks > jwks.json
  fhir-engage keys jwks --alg ES384      only keys of this algorithm, for EHRs that take one key per type")]
    Jwks {
        /// RS384 or ES384 [default: all keys, and RS384 where there is none]
        #[arg(long, value_name = "ALG")]
        alg: Option<String>,
    },
}

impl Keys {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::List => {
                let keys = app.keys().await?;
                if common.json {
                    let rows: Vec<_> = keys
                        .iter()
                        .map(|k| serde_json::json!({ "kid": k.kid, "alg": k.alg, "state": k.state, "created_at": print::instant(k.created_at) }))
                        .collect();
                    print::json(&rows);
                } else {
                    let mut table = print::Table::new(&["KEY", "ALGORITHM", "STATE", "MADE"]);
                    for k in keys {
                        table.row([k.kid, k.alg, k.state, print::instant(k.created_at)]);
                    }
                    table.print();
                }
            }
            Self::Jwks { alg } => {
                let wanted = alg
                    .map(|name| {
                        Algorithm::parse(&name)
                            .ok_or_else(|| Failure::usage(format!("{name} is not an algorithm here; use RS384 or ES384")))
                    })
                    .transpose()?;
                if wanted.is_some() || app.keys().await?.is_empty() {
                    app.ensure_key(wanted.unwrap_or(Algorithm::Rs384)).await?;
                }
                let keys = app.keys().await?;
                let of = keys.iter().filter(|k| wanted.is_none_or(|a| k.alg == a.as_str())).map(|k| k.public_jwk.as_str());
                print::line(&crate::credentials::jwks::render(of));
            }
        }
        Ok(Ended::Well)
    }
}
