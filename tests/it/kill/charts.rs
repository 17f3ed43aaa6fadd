//! Four EHRs of three vendors that are in trouble all the time, and what is in their charts, counted without asking the gateway.

use std::collections::BTreeMap;

use domain::Clock as _;
use fhir_engage::app::SystemClock;
use rand::RngExt as _;
use rand::rngs::StdRng;
use sandbox::{Client, Config, Fault, FaultKind, Flavour, Sandbox};
use serde_json::{Value, json};

/// How many there are.
pub const CHARTS: usize = 4;
/// How many faults are planted and not met at any time, at each EHR.
const PLANTED: usize = 6;
/// The next fault strikes one of so many of the next requests that it fits.
const SPREAD: u32 = 24;
/// How long an answer takes.
const SLOW_MILLIS: u64 = 100;
/// By when the settle delay of [`super::nodes`] has certainly passed.
const LATE_MILLIS: u64 = 700;

/// An EHR.
pub struct Chart {
    /// The gateway's name for it.
    pub name: &'static str,
    /// The server.
    pub ehr: Sandbox,
    /// What the gateway writes into it.
    pub kind: &'static str,
    /// The site's word on writing there.
    pub word: Value,
    /// The vendor's name.
    pub vendor: &'static str,
    /// Whether it creates conditionally.
    pub conditional: bool,
    planted: BTreeMap<String, usize>,
}

impl Chart {
    /// One that creates no Communication conditionally; two that do, of which one once did and now never looks at a condition, so that it is
    /// not the EHR that keeps anything from being doubled; and one that takes notes without an identifier.
    pub async fn all(clock: SystemClock) -> [Self; CHARTS] {
        let notes = json!({ "chain": ["document-reference", "export"] });
        let all = [
            Self::open("east", Flavour::Epic, ("Communication", false), json!({}), clock).await,
            Self::open("north", Flavour::FullR4, ("Communication", true), json!({}), clock).await,
            Self::open("south", Flavour::FullR4, ("Communication", true), json!({}), clock).await,
            Self::open("west", Flavour::Veradigm, ("DocumentReference", false), notes, clock).await,
        ];
        // Slow answers, so that a kill finds requests on their way.
        for chart in &all {
            chart.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: SLOW_MILLIS }).on("POST", &chart.path()).times(u32::MAX));
        }
        all[1].ehr.plant(Fault::new(FaultKind::ConditionalIgnored).on("POST", &all[1].path()).times(u32::MAX));
        all
    }

    async fn open(
        name: &'static str,
        flavour: Flavour,
        (kind, conditional): (&'static str, bool),
        word: Value,
        clock: SystemClock,
    ) -> Self {
        let config = Config { flavour, ..Config::new(std::sync::Arc::new(move || clock.now().micros())) };
        let ehr = sandbox::start(config).await.unwrap();
        Self { name, ehr, kind, word, vendor: flavour.name(), conditional, planted: BTreeMap::new() }
    }

    /// Lets the gateway in.
    pub fn register(&self, jwks: &Value) {
        let scopes = vec!["system/*.cruds".to_owned()];
        self.ehr.register(Client { client_id: "gateway".to_owned(), jwks: jwks.clone(), scopes });
    }

    fn path(&self) -> String {
        format!("/fhir/{}", self.kind)
    }

    /// Plants new faults for those that were met.
    pub fn trouble(&mut self, random: &mut StdRng) {
        for _ in self.ehr.unused_faults().len()..PLANTED {
            let (method, kind) = self.fault(random);
            let named = format!("{kind:?}");
            *self.planted.entry(named.split([' ', '{']).next().unwrap().to_owned()).or_default() += 1;
            self.ehr.plant(Fault::new(kind).on(method, &self.path()).after(random.random_range(0..SPREAD)));
        }
    }

    fn fault(&self, random: &mut StdRng) -> (&'static str, FaultKind) {
        let kinds = if self.conditional { 19 } else { 17 };
        match random.random_range(0..kinds) {
            0 => ("POST", FaultKind::CreateAppliedAnswerLost),
            1 => ("POST", FaultKind::CreateLost),
            2 => ("POST", FaultKind::Create500Applied),
            3 => ("POST", FaultKind::Create500NotApplied),
            // Seldom: all nodes go slower for a minute after it, and in that time a kill finds little on its way.
            4 if random.random_range(0..8) == 0 => ("POST", FaultKind::TooManyRequests { retry_after: Some("1".to_owned()) }),
            4 => ("POST", FaultKind::Create500NotApplied),
            5 => ("POST", FaultKind::CreateConflict409),
            6 => ("POST", FaultKind::PreconditionFailed412),
            7 => ("POST", FaultKind::CreateEmptyBody),
            8 => ("POST", FaultKind::LocationOtherHost { origin: "http://ehr.internal:8080".to_owned() }),
            9 => ("POST", FaultKind::TokenExpiredAtCreate),
            10 => ("POST", FaultKind::ResetMidBody),
            11 => ("POST", FaultKind::AppliedLate { millis: LATE_MILLIS }),
            12 => ("GET", FaultKind::ServerError { status: 503 }),
            // What is unclear then cannot be settled by machine; often, so that a person has something to do.
            13..=16 => ("GET", FaultKind::IgnoresFilter { echo: random.random() }),
            17 => ("POST", FaultKind::ConditionalIgnored),
            _ => ("POST", FaultKind::ConditionalRace { millis: 500 }),
        }
    }

    /// How many planted faults were met, by kind.
    pub fn met(&self) -> BTreeMap<String, usize> {
        let mut met = self.planted.clone();
        for fault in self.ehr.unused_faults().iter().filter(|f| f.times < u32::MAX) {
            let named = format!("{:?}", fault.kind);
            *met.get_mut(named.split([' ', '{']).next().unwrap()).unwrap() -= 1;
        }
        met
    }

    /// How many creates were asked for so far.
    pub fn creates(&self) -> usize {
        self.ehr.request_log().iter().filter(|r| r.method == "POST" && r.path.starts_with(&self.path())).count()
    }

    /// How often an attempt is in the chart.
    pub fn times(&self, attempt: &str) -> usize {
        self.ehr.carrying(self.kind, &self.key(attempt))
    }

    fn key(&self, attempt: &str) -> String {
        if self.kind == "Communication" { attempt.to_owned() } else { format!("[fhir-engage {attempt}]") }
    }

    /// The identifiers in the chart in the order in which they came; `None` where it has none.
    pub fn in_order(&self) -> Option<Vec<String>> {
        let of = |c: Value| c["identifier"][0]["value"].as_str().unwrap().to_owned();
        (self.kind == "Communication").then(|| self.ehr.resources(self.kind).into_iter().map(of).collect())
    }
}
