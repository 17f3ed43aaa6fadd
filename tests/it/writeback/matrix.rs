//! The fault matrix: what can go wrong with a write, at each vendor's EHR by that vendor's contract, counted in the EHR by our key wherever it
//! lives.
//!
//! What must hold in every cell: each attempt is there exactly once, and its row says so. Two kinds of cells end with a person, since no
//! machine can tell there:
//!
//! | column | faults | where it ends |
//! |---|---|---|
//! | a route without `find` | connection reset, request lost, answer lost, 500 applied, 500 not applied, applied late | one parked row; there once or not at all |
//! | either route | token expired | one refused row: a static secret cannot be renewed, and the site puts it right |

use std::sync::Arc;
use std::time::Duration;

use domain::Clock as _;
use fhir_engage::writeback::contract::{Carrier, KeyPlace, Override, Route};
use fhir_engage::writeback::{Folder, RouteWay, Ways, key};
use sandbox::{Config, Fault, FaultKind, Flavour, Sandbox};

use super::setup::World;
use crate::support::{Backend, Database, TempDir};

/// A column: an EHR, and by what it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    flavour: Flavour,
    by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Communication,
    Notes,
    Route { find: bool },
    Export,
}

const COLUMNS: [Column; 11] = [
    Column { flavour: Flavour::FullR4, by: By::Communication },
    Column { flavour: Flavour::FullR4, by: By::Notes },
    Column { flavour: Flavour::Epic, by: By::Communication },
    Column { flavour: Flavour::Epic, by: By::Notes },
    Column { flavour: Flavour::Oracle, by: By::Communication },
    Column { flavour: Flavour::Oracle, by: By::Notes },
    Column { flavour: Flavour::Meditech, by: By::Communication },
    Column { flavour: Flavour::Veradigm, by: By::Notes },
    Column { flavour: Flavour::Athena, by: By::Route { find: true } },
    Column { flavour: Flavour::Eclinicalworks, by: By::Route { find: false } },
    Column { flavour: Flavour::Nextgen, by: By::Export },
];

/// A row: what goes wrong, once, at the first write.
fn faults() -> Vec<(&'static str, Vec<FaultKind>)> {
    vec![
        ("before send", vec![FaultKind::TokenRefused { status: 500, error: None }]),
        ("connection reset", vec![FaultKind::ResetMidBody]),
        ("request lost", vec![FaultKind::CreateLost]),
        ("answer lost", vec![FaultKind::CreateAppliedAnswerLost]),
        ("500 applied", vec![FaultKind::Create500Applied]),
        ("500 not applied", vec![FaultKind::Create500NotApplied]),
        ("429", vec![FaultKind::TooManyRequests { retry_after: None }]),
        ("429 for an hour", vec![FaultKind::TooManyRequests { retry_after: Some("3600".to_owned()) }]),
        ("409", vec![FaultKind::CreateConflict409]),
        ("412", vec![FaultKind::PreconditionFailed412]),
        ("201 empty body", vec![FaultKind::CreateEmptyBody]),
        ("Location on another host", vec![FaultKind::LocationOtherHost { origin: "http://ehr.internal:8080".to_owned() }]),
        ("token expired", vec![FaultKind::TokenExpiredAtCreate]),
        ("condition ignored", vec![FaultKind::ConditionalIgnored, FaultKind::CreateAppliedAnswerLost]),
        ("applied late", vec![FaultKind::AppliedLate { millis: 65_000 }]),
    ]
}

/// What must hold in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// Each attempt is there once.
    Once,
    /// One row waits for a person, in this state; the others are there once.
    Person(&'static str),
}

fn must(column: Column, fault: &str) -> Must {
    const UNCLEAR: [&str; 7] =
        ["connection reset", "request lost", "answer lost", "500 applied", "500 not applied", "condition ignored", "applied late"];
    match column.by {
        By::Route { .. } if fault == "token expired" => Must::Person("refused"),
        By::Route { find: false } if UNCLEAR.contains(&fault) => Must::Person("unknown"),
        _ => Must::Once,
    }
}

/// A world whose EHR is this column's, and what stands beside it.
struct Cell {
    world: World,
    column: Column,
    /// The site's own interface: another R4 server.
    site: Sandbox,
    folder: TempDir,
}

impl Cell {
    async fn new(db: Database, column: Column) -> Self {
        let mut world = World::at(db, column.flavour).await;
        let clock = world.clock.clone();
        let site = sandbox::start(Config { open: true, ..Config::new(Arc::new(move || clock.now().micros())) }).await.unwrap();
        let folder = TempDir::new();
        world.ways = Ways { route: None, export: Some(Folder::new(&folder.join("export"), "north")) };
        world.contract = world.contract.clone().with(&word(column, &site));
        assert_eq!((world.contract.missing().len(), world.contract.check()), (0, Ok(())), "{column:?}");
        if let Some(route) = &world.contract.route {
            world.ways.route = Some(RouteWay::open(route, None, Duration::from_secs(5)).unwrap());
        }
        for (patient, attempt) in [("p1", "att-a1"), ("p1", "att-a2"), ("p2", "att-b1")] {
            world.owe(patient, attempt);
        }
        for patient in ["p1", "p2"] {
            site.load([format!(r#"{{"resourceType":"Patient","id":"{patient}"}}"#)]).unwrap();
        }
        Self { world, column, site, folder }
    }

    fn plant(&self, kind: FaultKind) {
        let (at, kind_of) = match self.column.by {
            By::Communication => (&self.world.sandbox, "Communication"),
            By::Notes => (&self.world.sandbox, "DocumentReference"),
            By::Route { .. } => (&self.site, "Communication"),
            // Nothing is asked: whatever is planted there is never met.
            By::Export => (&self.world.sandbox, "Communication"),
        };
        let fault = Fault::new(kind.clone());
        at.plant(if matches!(kind, FaultKind::TokenRefused { .. }) { fault } else { fault.on("POST", &format!("/fhir/{kind_of}")) });
    }

    /// How often an attempt is anywhere.
    fn times(&self, attempt: &str) -> usize {
        let text = |place| if place == KeyPlace::Text { key::mark(attempt) } else { attempt.to_owned() };
        let contract = &self.world.contract;
        let communications = self.world.sandbox.carrying("Communication", &text(contract.communication.key));
        let documents = self.world.sandbox.carrying("DocumentReference", &text(contract.document_reference.key));
        let file = self.folder.join("export/north/2026-11-23").join(format!("{attempt}.json"));
        communications + documents + self.site.carrying("Communication", attempt) + usize::from(file.exists())
    }

    async fn check(&self, fault: &str) {
        let cell = format!("{:?} x {fault}", self.column);
        self.world.settle().await;
        let rows = self.world.rows();
        let waiting: Vec<_> = rows.iter().filter(|r| !matches!(r.state.as_str(), "written" | "exported")).collect();
        match must(self.column, fault) {
            Must::Once => assert!(waiting.is_empty(), "{cell}: {rows:#?}"),
            Must::Person(state) => {
                assert!(waiting.len() == 1 && waiting[0].state == state, "{cell}: {rows:#?}");
                assert!(state == "refused" || waiting[0].is_parked(), "{cell}: {rows:#?}");
            }
        }
        for row in &rows {
            let times = self.times(&row.attempt);
            let may_lack = waiting.iter().any(|w| w.id == row.id);
            assert!(times == 1 || (times == 0 && may_lack), "{cell}: {} is there {times} times: {rows:#?}", row.attempt);
            let by = match self.column.by {
                By::Communication => "communication",
                By::Notes => "document-reference",
                By::Route { .. } => "route",
                By::Export => "export",
            };
            assert_eq!(row.carrier.as_deref(), Some(by), "{cell}");
        }
        if !matches!(self.column.by, By::Export) {
            let mut unused = self.world.sandbox.unused_faults();
            unused.extend(self.site.unused_faults());
            // Without a condition there is none to ignore; a route asks for no token.
            unused.retain(|f| !matches!(f.kind, FaultKind::ConditionalIgnored | FaultKind::TokenRefused { .. }));
            assert_eq!(unused, [], "{cell}: a planted fault was not met");
        }
        let asked = self.world.sandbox.request_log().len() + self.site.request_log().len();
        self.world.settle().await;
        assert_eq!(
            self.world.sandbox.request_log().len() + self.site.request_log().len(),
            asked,
            "{cell}: a second cycle asks for nothing"
        );
    }
}

/// What the site of a column says on top of the vendor's preset.
fn word(column: Column, site: &Sandbox) -> Override {
    let party = |sender: &str, recipient: &str| (Some(sender.to_owned()), Some(recipient.to_owned()));
    let (sender, recipient) = match column.flavour {
        Flavour::Oracle => party("Practitioner/prac-01", "Group/g-1"),
        // Originals there too, which a thread of the portal has no patient for as the sender.
        Flavour::Meditech => party("Practitioner/prac-02", "Practitioner/prac-01"),
        _ => (None, None),
    };
    let (chain, route) = match column.by {
        By::Communication => (vec![Carrier::Communication, Carrier::Export], None),
        By::Notes => (vec![Carrier::DocumentReference, Carrier::Export], None),
        By::Route { find } => (vec![Carrier::Route, Carrier::Export], Some(route(site, find))),
        By::Export => (vec![Carrier::Route, Carrier::Export], None),
    };
    Override { chain: Some(chain), sender, recipient, route, ..Override::default() }
}

fn route(site: &Sandbox, find: bool) -> Route {
    let base = site.base_url();
    Route {
        url: format!("{base}/Communication"),
        content_type: "application/fhir+json".to_owned(),
        body: r#"{"resourceType":"Communication","status":"completed","subject":{"reference":"Patient/{{ patient }}"},
            "identifier":[{"system":"urn:s","value":{{ key|json }}}],"payload":[{"contentString":{{ summary|json }}}]}"#
            .to_owned(),
        bearer: None,
        success: [201].into(),
        id_at: Some("/id".to_owned()),
        find: find.then(|| format!("{base}/Communication?identifier=urn:s%7C{{key}}")),
    }
}

async fn run(backend: Backend, column: Column, fault: &str, kinds: &[FaultKind]) -> bool {
    let Some(db) = Database::fresh(backend) else { return false };
    let cell = Cell::new(db, column).await;
    kinds.iter().for_each(|kind| cell.plant(kind.clone()));
    cell.check(fault).await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cell_of_the_matrix_ends_as_it_must_on_the_embedded_database() {
    for (fault, kinds) in faults() {
        for column in COLUMNS {
            assert!(run(Backend::Sqlite, column, fault, &kinds).await);
        }
    }
}

/// One cell per fault, each at another EHR: what differs there is the claim and the commit, not the faults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_ends_as_it_must_on_a_database_server() {
    for (at, (fault, kinds)) in faults().into_iter().enumerate() {
        if !run(Backend::Postgres, COLUMNS[at % COLUMNS.len()], fault, &kinds).await {
            return;
        }
    }
}

#[test]
fn the_columns_are_every_flavour() {
    for flavour in Flavour::ALL {
        assert!(COLUMNS.iter().any(|c| c.flavour == flavour), "{flavour:?}");
    }
}
