//! A pretend EHR on this machine: its folder, its population, its clock. For `demo` and `sandbox`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use chrono::{NaiveTime, TimeDelta};
use chrono_tz::Tz;
use clap::Args;
use domain::model::time::civil;
use domain::{Clock, Timestamp};
use sandbox::{Client, Flavour, Population, Sandbox};
use serde_json::{Value, json};

use super::exit::Failure;
use crate::app::SystemClock;

/// What a population is made of. The same values give the same bytes.
#[derive(Clone, Debug, Args)]
pub(super) struct People {
    /// How many patients [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    patients: Option<u32>,
    /// The seed of the population [default: 1]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// The instant that appointments lie around, which the clock then shows [default of a demo: ten in the morning today at the site; of
    /// a sandbox: now]
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    as_of: Option<Timestamp>,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write an instant with its offset, such as 2026-11-23T10:00:00-05:00".to_owned())
}

/// The default hour of a demo: quiet hours must not silence it.
const TEN: NaiveTime = NaiveTime::from_hms_opt(10, 0, 0).unwrap();

/// The instant of a population that nobody named one for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Otherwise {
    /// Ten in the morning today at the site; the clock is moved there.
    TenToday,
    /// Now; the clock is the machine's, as that of those who connect is.
    Now,
}

/// A prepared folder: what the population is, and the clock that goes with it.
pub(super) struct Pretend {
    folder: std::path::PathBuf,
    population: Population,
    meta: Value,
    /// The clock of the pretend EHR and of whoever talks to it.
    pub(super) clock: SystemClock,
    /// Whose server it behaves like.
    pub(super) flavour: Flavour,
}

impl Pretend {
    /// Reads the folder, or makes it. A population that differs from the one in the folder is refused.
    pub(super) fn prepare(folder: &Path, people: &People, zone: Tz, otherwise: Otherwise) -> Result<Self, Failure> {
        let unusable = |e: std::io::Error| {
            Failure::problem(format!(
                "the folder {} cannot be used ({}): name another with --data, or let this user write there",
                folder.display(),
                e.kind()
            ))
        };
        crate::app::make_folder(folder).map_err(unusable)?;
        let meta = match sandbox::read_meta(folder).map_err(unusable)? {
            Some(meta) => {
                agrees(folder, people, &meta)?;
                meta
            }
            None => {
                let now = SystemClock::with_offset(TimeDelta::zero()).now();
                let as_of = people.as_of.unwrap_or_else(|| match otherwise {
                    Otherwise::TenToday => civil(now.to_utc().with_timezone(&zone).date_naive(), TEN, zone),
                    Otherwise::Now => now,
                });
                let moved = people.as_of.is_some() || matches!(otherwise, Otherwise::TenToday);
                let offset = if moved { SystemClock::showing(as_of).offset() } else { TimeDelta::zero() };
                let meta = json!({
                    "patients": people.patients.unwrap_or(500), "seed": people.seed.unwrap_or(1), "as_of": as_of.micros(),
                    "zone": zone.name(), "offset": offset.num_microseconds().unwrap_or(0), "loaded": false,
                });
                sandbox::write_meta(folder, &meta).map_err(unusable)?;
                meta
            }
        };
        let number = |key: &str| meta.get(key).and_then(Value::as_i64).unwrap_or(0);
        let population = Population {
            patients: u32::try_from(number("patients")).unwrap_or(0),
            seed: meta.get("seed").and_then(Value::as_u64).unwrap_or(0),
            as_of_micros: number("as_of"),
            zone: meta.get("zone").and_then(Value::as_str).and_then(|z| z.parse().ok()).unwrap_or(zone),
        };
        let clock = SystemClock::with_offset(TimeDelta::microseconds(number("offset")));
        Ok(Self { folder: folder.to_owned(), population, meta, clock, flavour: Flavour::default() })
    }

    /// The address that it had before, so that what was stored about it stays true.
    fn last_port(&self) -> u16 {
        self.meta.get("port").and_then(Value::as_u64).and_then(|p| u16::try_from(p).ok()).unwrap_or(0)
    }

    /// Starts it and fills it with its population. `port` 0 takes the one it had before, or a free one.
    pub(super) async fn start(mut self, port: u16, clients: Vec<Client>, open: bool, admin: bool) -> Result<Sandbox, Failure> {
        let (clock, flavour) = (self.clock, self.flavour);
        let config = |port: u16| sandbox::Config {
            dir: Some(self.folder.clone()),
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            clients: clients.clone(),
            open,
            admin,
            flavour,
            ..sandbox::Config::new(Arc::new(move || clock.now().micros()))
        };
        let wanted = if port == 0 { self.last_port() } else { port };
        let started = match sandbox::start(config(wanted)).await {
            Err(sandbox::StartError::Listen { .. }) if port == 0 && wanted != 0 => sandbox::start(config(0)).await,
            started => started,
        };
        let sandbox = started.map_err(|e| Failure::problem(crate::app::told(&e)))?;
        if self.meta.get("loaded") != Some(&Value::Bool(true)) {
            sandbox.load(self.population.resources()).map_err(|e| Failure::problem(crate::app::told(&e)))?;
        }
        if let Some(map) = self.meta.as_object_mut() {
            map.insert("loaded".to_owned(), true.into());
            map.insert("port".to_owned(), sandbox.address().port().into());
        }
        sandbox::write_meta(&self.folder, &self.meta)
            .map_err(|e| Failure::problem(format!("the folder {} cannot be written: {}", self.folder.display(), e.kind())))?;
        Ok(sandbox)
    }
}

/// What was asked for must be what is there.
fn agrees(folder: &Path, people: &People, meta: &Value) -> Result<(), Failure> {
    let there = |key: &str| meta.get(key).and_then(Value::as_i64);
    let asked = [
        ("--patients", people.patients.map(i64::from), there("patients")),
        ("--seed", people.seed.and_then(|s| i64::try_from(s).ok()), there("seed")),
        ("--as-of", people.as_of.map(Timestamp::micros), there("as_of")),
    ];
    match asked.iter().find(|(_, asked, there)| asked.is_some() && asked != there) {
        None => Ok(()),
        Some((option, _, _)) => Err(Failure::usage(format!(
            "the population in {} was made with another {option}; name another folder with --data, or leave {option} out",
            folder.display()
        ))),
    }
}
