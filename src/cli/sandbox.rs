//! `sandbox`: the pretend EHR alone, for those who want to connect to it by hand or from another process.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sandbox::{Client, Flavour};

use super::Common;
use super::exit::{Ended, Failure};
use super::pretend::{Otherwise, People, Pretend};
use super::print;
use super::signals::Signals;

/// Run the pretend EHR alone
#[derive(Debug, Args)]
#[command(after_help = examples())]
pub(super) struct Run {
    #[command(flatten)]
    people: People,
    /// The port on loopback; 0 takes the one it had before, or a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// A client and its public key set; may be repeated
    #[arg(long = "client", value_name = "ID=JWKS_FILE", value_parser = client, required_unless_present = "open")]
    clients: Vec<(String, PathBuf)>,
    /// Ask for no tokens
    #[arg(long)]
    open: bool,
    /// Answer the administrative routes below /sandbox/: plant faults, count, move the clock
    #[arg(long)]
    admin: bool,
    /// Whose server it behaves like where something is written into a chart
    #[arg(long, value_name = "NAME", value_parser = flavours(), default_value = Flavour::FullR4.name())]
    flavour: Flavour,
}

fn examples() -> String {
    let flavour = Flavour::ALL.get(1).copied().unwrap_or_default().name();
    format!(
        "Examples:
  fhir-engage sandbox --open
      without tokens, on a free port; its base URL is printed
  fhir-engage keys jwks > jwks.json
  fhir-engage sandbox --port 8090 --client engage=jwks.json
      SMART Backend Services; then: fhir-engage ehr add sandbox --url http://127.0.0.1:8090/fhir --client-id engage
  fhir-engage sandbox --open --admin --flavour {flavour}
      as that vendor's server takes and refuses what is written into a chart

Its data is durable: the folder is --data DIR [default: data/sandbox]."
    )
}

fn flavours() -> impl TypedValueParser<Value = Flavour> {
    let values = Flavour::ALL.map(|flavour| PossibleValue::new(flavour.name()).help(flavour.about()));
    PossibleValuesParser::new(values).map(|name| Flavour::named(&name).unwrap_or_default())
}

fn client(text: &str) -> Result<(String, PathBuf), String> {
    let (id, file) = text.split_once('=').ok_or("write the client's id, an equals sign, and the file with its JWKS")?;
    Ok((id.to_owned(), PathBuf::from(file)))
}

impl Run {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let mut signals = Signals::listen();
        let config = common.config()?;
        super::start_logs(&config, tracing::Level::WARN)?;
        let folder = common.data.clone().unwrap_or_else(|| PathBuf::from("data/sandbox"));
        let zone = super::demo::site_zone(&config);
        let clients = self.clients.iter().map(registered).collect::<Result<Vec<_>, Failure>>()?;
        let mut pretend = Pretend::prepare(&folder, &self.people, zone, Otherwise::Now)?;
        pretend.flavour = self.flavour;
        let moved = pretend.clock.offset() != chrono::TimeDelta::zero();
        if moved && !self.open {
            print::note("its clock shows the instant of its population: a client whose clock shows another gets no token");
        }
        let sandbox = pretend.start(self.port, clients, self.open, self.admin).await?;
        if common.json {
            print::json(
                &serde_json::json!({ "base_url": sandbox.base_url(), "token_url": sandbox.token_url(), "resources": sandbox.counts() }),
            );
        } else {
            print::line(&format!("the pretend EHR answers at {}", sandbox.base_url()));
        }
        signals.next().await;
        sandbox.stop().await;
        Ok(Ended::Well)
    }
}

fn registered((id, file): &(String, PathBuf)) -> Result<Client, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::usage(format!("cannot read {} ({}): name the file that `fhir-engage keys jwks` was written to", file.display(), e.kind()))
    })?;
    let jwks = serde_json::from_str(&text).map_err(|_| Failure::usage(format!("{} is not a JSON Web Key Set", file.display())))?;
    Ok(Client { client_id: id.clone(), jwks, scopes: vec!["system/*.cruds".to_owned()] })
}
