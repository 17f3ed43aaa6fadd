//! Without an override, nothing is asked of a server that its own statement does not list: each preset against each captured statement, as
//! the EHR's log of requests tells.

use std::collections::BTreeSet;

use domain::Clock as _;
use domain::model::{FhirId, ResourceType};
use fhir_engage::ehr::capability::Capability;
use fhir_engage::ehr::check::check_with;
use fhir_engage::ehr::reads::RosterSource;
use fhir_engage::ehr::{Connection, Plan, vendor};
use fhir_engage::store::ehrs;
use fhir_engage::sync::task::{self, Source, Task};
use fhir_engage::writeback::contract::{Contract, Override, Proven};
use fhir_engage::writeback::{Folder, Site, Ways, needs, stated, trial};
use sandbox::Flavour;
use url::Url;

use super::statements::folder;
use super::support::World;
use crate::support::{Backend, Database, TempDir};
use crate::sync::setup::HOLDER;

/// What a request does, and the parameters of a search.
fn asked(method: &str, path: &str) -> Option<(String, &'static str, Vec<String>)> {
    let url = Url::parse("http://ehr").unwrap().join(path).unwrap();
    let rest = url.path().strip_prefix("/fhir/")?;
    let segments: Vec<&str> = rest.split('/').collect();
    let interaction = match (method, segments.as_slice()) {
        (_, ["metadata" | ".well-known", ..]) => return None,
        ("GET", [_]) => "search-type",
        ("POST", [_]) => "create",
        ("GET", [_, _]) => "read",
        ("PUT", [_, _]) => "update",
        ("PATCH", [_, _]) => "patch",
        other => panic!("{other:?}"),
    };
    // What shapes the answer and is no parameter of a type; and what the server put into its own next link.
    const OF_NO_TYPE: [&str; 3] = ["_count", "_sort", "_cursor"];
    let params = url.query_pairs().map(|(n, _)| n.into_owned()).filter(|n| !OF_NO_TYPE.contains(&n.as_str())).collect();
    Some((segments[0].to_owned(), interaction, params))
}

fn within(who: &str, world: &World, capability: &Capability) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for request in world.ehr.request_log() {
        let Some((kind, interaction, params)) = asked(&request.method, &request.path) else { continue };
        assert!(capability.allows(&kind, interaction), "{who}: {} {} is not stated", request.method, request.path);
        for param in params {
            assert!(capability.searches_by(&kind, &param), "{who}: {param} of {kind} is sent and not stated: {}", request.path);
        }
        seen.insert(format!("{kind} {interaction}"));
    }
    seen
}

/// A sync, a check and a write-back with a preset against a server that behaves in one way and states another.
async fn run(preset: &str, flavour: Flavour, statement: Option<&str>, list: &std::path::Path) -> (World, Capability) {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let store = db.store();
    let mut world = World::speaking(flavour).await;
    world.profile.vendor = Some(preset.to_owned());
    world.ehr.pretend(statement);
    let patients: Vec<String> = world.ehr.resources("Patient").iter().take(2).map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    std::fs::write(list, patients.join("\n")).unwrap();
    world.profile.roster = vec![RosterSource::File(list.to_owned())];
    world.profile.window.locations = vec!["loc-1".to_owned()];
    let id = domain::model::EhrId::parse("north").unwrap();
    let (profile, now) = (world.profile.to_json(), world.clock.now());
    store.write("test", move |conn| ehrs::put(conn, &id, &profile, now)).await.unwrap();

    let connection = Connection::open(&world.profile, &world.parts).await.unwrap();
    let plan = Plan::of(&world.profile, &connection.capability);
    let task = Task {
        store: &store,
        clock: &*world.clock,
        holder: HOLDER,
        ehr: &domain::model::EhrId::parse("north").unwrap(),
        source: Source { client: &connection.client, plan: &plan },
        stop: &false.into(),
        progress: &|_, _| {},
        accept_vanished: false,
    };
    let core: Vec<ResourceType> = ResourceType::ALL.into_iter().filter(|kind| kind.is_core()).collect();
    task::run(&task, &core).await;
    check_with(&world.profile, &world.parts, FhirId::parse(&patients[0]).as_ref()).await;

    let word = Override::read(&serde_json::json!({ "sender": "Practitioner/1", "recipient": "Practitioner/2" })).unwrap();
    let preset = world.profile.preset().unwrap();
    let contract = Contract::for_ehr(preset, &stated(&connection.capability), &Proven::default(), &word).unwrap();
    let client = connection.client.clone().writing(needs(&contract));
    let out = TempDir::new();
    let ways = Ways { route: None, export: Some(Folder::new(out.path(), "north")) };
    trial::attempt(&client, &contract, &ways, &Site::named("Clinic"), (&patients[0], "never-asked"), &*world.clock).await;
    let capability = connection.capability.clone();
    (world, capability)
}

fn captured(vendor: &str) -> Option<String> {
    std::fs::read_to_string(folder()?.join(format!("{vendor}.metadata.json"))).ok()
}

#[tokio::test]
async fn what_a_statement_does_not_list_is_never_asked() {
    let folder = TempDir::new();
    let list = folder.join("patients.txt");
    // A server that takes everything and says so: much is asked, so that the test sees something.
    let (world, capability) = run("full-r4", Flavour::FullR4, None, &list).await;
    let seen = within("full-r4", &world, &capability);
    for wanted in ["Patient search-type", "Appointment search-type", "CarePlan search-type", "Communication create"] {
        assert!(seen.contains(wanted), "{wanted} is not in {seen:?}");
    }
    let statements: Vec<(&str, String)> = vendor::all().iter().filter_map(|p| Some((p.name.as_str(), captured(&p.name)?))).collect();
    if statements.is_empty() {
        eprintln!("skipped: no captured statements");
        return;
    }
    for (stating, statement) in &statements {
        // Its own preset against a server that behaves as the vendor's.
        let flavour = Flavour::named(stating).unwrap();
        let (world, capability) = run(stating, flavour, Some(statement), &list).await;
        let seen = within(stating, &world, &capability);
        assert!(seen.contains("Patient read") && seen.contains("CarePlan search-type"), "{stating}: {seen:?}");
        // Every other preset against a server that would take anything, and states this.
        for preset in vendor::all() {
            let (world, capability) = run(&preset.name, Flavour::FullR4, Some(statement), &list).await;
            within(&format!("{} at {stating}", preset.name), &world, &capability);
        }
    }
}
