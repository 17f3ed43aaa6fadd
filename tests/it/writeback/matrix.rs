//! The fault matrix: what can go wrong with a write, at each vendor's EHR by that vendor's contract, counted in the EHR by our key wherever it
//! lives.
//!
//! What must hold in every cell: each attempt is there exactly once, and its row says so. Some cells end with a person, since no machine
//! can tell there:
//!
//! | column | faults | where it ends |
//! |---|---|---|
//! | a route without `find` | connection reset, request lost, answer lost, 500 applied, 500 not applied, applied late | one parked row; there once or not at all |
//! | an inbox that wants an e-mail status | request lost, and whatever else did not arrive | one parked row; not there |
//! | either route | token expired | one refused row: a static secret cannot be renewed, and the site puts it right |

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Clock as _;
use fhir_engage::writeback::contract::{Carrier, KeyPlace, Override, Route, Writes};
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
        ("answer lost, searches failed", vec![FaultKind::CreateAppliedAnswerLost, FaultKind::ServerError { status: 503 }]),
        ("request lost, searches failed", vec![FaultKind::CreateLost, FaultKind::ServerError { status: 503 }]),
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
    const CLEAR: [&str; 8] =
        ["before send", "429", "429 for an hour", "409", "412", "201 empty body", "Location on another host", "token expired"];
    match column.by {
        By::Route { .. } if fault == "token expired" => Must::Person("refused"),
        By::Route { find: false } if !CLEAR.contains(&fault) => Must::Person("unknown"),
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
        world.has_seen_the_key();
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
        let path = format!("/fhir/{kind_of}");
        at.plant(match kind {
            FaultKind::TokenRefused { .. } => fault,
            FaultKind::ServerError { .. } => fault.on("GET", &path).times(3),
            _ => fault.on("POST", &path),
        });
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
        // Whatever was still on its way arrives.
        self.world.clock.advance(TimeDelta::minutes(10));
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
            assert_eq!(row.carrier.as_deref(), Some(by), "{cell}: {row:#?}");
        }
        if !matches!(self.column.by, By::Export) {
            let mut unused = self.world.sandbox.unused_faults();
            unused.extend(self.site.unused_faults());
            // Without a condition there is none to ignore; a route asks for no token; an answer without a body breaks off nowhere; and where
            // nothing can be searched no search fails.
            let bodiless = self.column.flavour == Flavour::Oracle;
            unused.retain(|f| match f.kind {
                FaultKind::ConditionalIgnored | FaultKind::TokenRefused { .. } => false,
                FaultKind::ResetMidBody => !bodiless,
                FaultKind::ServerError { .. } => self.column.by != By::Route { find: false },
                _ => true,
            });
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
    // The rows here are originals, which the presets of inboxes keep out of them.
    Override { chain: Some(chain), writes: Some(Writes::default()), sender, recipient, route, ..Override::default() }
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
        found_at: Some("/entry/0/resource".to_owned()),
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

/// The worker dies with its requests on their way, and nothing says by what they went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_worker_sent_is_there_once_at_every_ehr() {
    for column in COLUMNS {
        let cell = Cell::new(Database::fresh(Backend::Sqlite).unwrap(), column).await;
        cell.plant(FaultKind::PageTimeout { millis: 300 });
        let (fence, stop) = (cell.world.lease(), AtomicBool::new(false));
        drop(tokio::time::timeout(Duration::from_millis(150), cell.world.run_under(&fence, &stop)).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        cell.world.settle().await;
        for row in cell.world.rows() {
            let times = cell.times(&row.attempt);
            let settled = matches!(row.state.as_str(), "written" | "exported");
            assert!(if settled { times == 1 } else { times <= 1 && row.is_parked() }, "{column:?}: {times} times: {row:#?}");
            assert!(settled || column.by == By::Route { find: false }, "{column:?}: {row:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_ehr_keeps_is_compared_with_what_was_sent() {
    for column in COLUMNS {
        let cell = Cell::new(Database::fresh(Backend::Sqlite).unwrap(), column).await;
        cell.world.settle().await;
        let wanted = match (column.by, column.flavour) {
            (By::Route { .. } | By::Export, _) => None,
            // A message's text is put away as a Binary.
            (By::Communication, Flavour::Oracle) => Some(r#"[{"path":"payload.contentAttachment","kept":"absent"}]"#),
            _ => Some("[]"),
        };
        for row in cell.world.rows() {
            assert_eq!(row.differences.as_deref(), wanted, "{column:?}: {row:#?}");
        }
    }
    // An EHR that leaves our key out in silence is told of: it cannot be found again by it.
    let cell = Cell::new(Database::fresh(Backend::Sqlite).unwrap(), COLUMNS[2]).await;
    cell.world
        .sandbox
        .plant(Fault::new(FaultKind::DropsElement { name: "identifier".to_owned() }).on("POST", "/fhir/Communication").times(3));
    cell.world.settle().await;
    for row in cell.world.rows() {
        assert_eq!(row.state, "written");
        assert_eq!(row.differences.as_deref(), Some(r#"[{"path":"identifier","kept":"absent"},{"path":"key","kept":"absent"}]"#));
    }
}

/// Some servers refuse what others drop: what a vendor's contract sends has nothing that such a server would refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_that_a_vendor_would_drop() {
    for column in COLUMNS.into_iter().filter(|c| matches!(c.by, By::Communication | By::Notes)) {
        let cell = Cell::new(Database::fresh(Backend::Sqlite).unwrap(), column).await;
        cell.world.sandbox.plant(Fault::new(FaultKind::RefusesUnsupported).on("POST", "/fhir/").times(u32::MAX));
        cell.world.settle().await;
        for row in cell.world.rows() {
            assert_eq!((row.state.as_str(), cell.times(&row.attempt)), ("written", 1), "{column:?}: {row:#?}");
        }
        assert!(cell.world.sandbox.request_log().iter().all(|r| r.status != 422), "{column:?}");
    }
}

/// The vendor's pages say that its inbox is searched with an e-mail status only; whether each message has one they do not say. So what is found
/// is settled, and what is not found is a person's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_wants_an_email_status_settles_what_arrived() {
    for (fault, arrived) in [(FaultKind::CreateAppliedAnswerLost, true), (FaultKind::CreateLost, false)] {
        let column = Column { flavour: Flavour::Oracle, by: By::Communication };
        let cell = Cell::new(Database::fresh(Backend::Sqlite).unwrap(), column).await;
        let strict = FaultKind::RequiresParameter { name: "-email-status".to_owned() };
        cell.world.sandbox.plant(Fault::new(strict).on("GET", "/fhir/Communication").times(u32::MAX));
        cell.plant(fault);
        cell.world.settle().await;
        let rows = cell.world.rows();
        let parked: Vec<_> = rows.iter().filter(|r| r.is_parked()).collect();
        assert_eq!(parked.len(), usize::from(!arrived), "{rows:#?}");
        assert!(parked.iter().all(|r| r.failure.as_deref().unwrap().starts_with("search-not-trusted") && cell.times(&r.attempt) == 0));
        assert!(rows.iter().filter(|r| !r.is_parked()).all(|r| r.state == "written" && cell.times(&r.attempt) == 1), "{rows:#?}");
    }
}

#[test]
fn the_columns_are_every_flavour() {
    for flavour in Flavour::ALL {
        assert!(COLUMNS.iter().any(|c| c.flavour == flavour), "{flavour:?}");
    }
}
