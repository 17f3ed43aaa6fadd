//! What each vendor's preset makes of the same things: held against the vendors' own statements, told as a table, and kept for the
//! validators.

use std::path::PathBuf;

use fhir_engage::ehr::capability::Capability;
use fhir_engage::ehr::vendor::{self, Preset};
use fhir_engage::writeback::contract::{Carrier, Contract, Finder, MediumCodes, Override, PayloadShape, Proven, Stated, StatedType};
use fhir_engage::writeback::key::carries;
use fhir_engage::writeback::samples::{Sample, samples};
use fhir_engage::writeback::{Composed, Deed, Site, stated};
use serde_json::Value;
use url::Url;

use crate::support::keep_for_validation;

fn site() -> Site {
    Site::named("Main Street Clinic")
}

fn preset(name: &str) -> &'static Preset {
    vendor::preset(name).unwrap()
}

/// What the vendor's own server states; `None` where the captured statements are not at hand, or there is none of it.
fn statement(name: &str) -> Option<Stated> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/ehr-capabilities").into();
    let folder = PathBuf::from(std::env::var_os("FHIR_ENGAGE_EHR_CAPABILITIES").unwrap_or(beside));
    let bytes = std::fs::read(folder.join(format!("{name}.metadata.json"))).ok()?;
    let (capability, _) = Capability::read(&bytes, &Url::parse("https://ehr.example.org/r4").unwrap()).unwrap();
    Some(stated(&capability))
}

#[test]
fn a_preset_claims_what_its_vendors_statement_says_and_no_more() {
    use Carrier::{Communication, DocumentReference, Export, Route};
    if statement("epic").is_none() {
        eprintln!("skipped: no captured statements");
        return;
    }
    for (name, chain, finder, status_change) in [
        ("epic", &[Communication, DocumentReference, Export][..], Some(Finder::PatientIdentifier), false),
        ("oracle", &[Communication, DocumentReference, Export], Some(Finder::InboxReceived), true),
        ("meditech", &[Communication, Export], Some(Finder::PatientSent), false),
        ("athena", &[Route, Export], None, false),
        ("eclinicalworks", &[Route, Export], None, false),
        ("veradigm", &[DocumentReference, Export], None, false),
        ("nextgen", &[Route, Export], None, false),
    ] {
        let claimed = Contract::of_preset(preset(name)).unwrap();
        let bounded = claimed.clone().within(&statement(name).unwrap());
        assert_eq!(bounded, claimed, "{name}: the statement takes something away");
        assert_eq!((bounded.chain.as_slice(), bounded.communication.finder()), (chain, finder), "{name}");
        assert_eq!(bounded.status_change.is_some(), status_change, "{name}");
        let provenance = bounded.provenance.as_ref();
        assert_eq!((provenance.is_some(), provenance.is_some_and(|p| p.enabled)), (name == "oracle", false), "{name}");
        assert!(!bounded.communication.creates_conditionally() && !bounded.document_reference.creates_conditionally(), "{name}");
        assert!(!bounded.communication.update, "{name}: nobody lets a Communication be changed");
        let documents = bounded.document_reference.finder();
        assert_eq!(documents.is_some(), chain.contains(&DocumentReference), "{name}");
    }
}

#[test]
fn every_preset_is_a_contract() {
    for p in vendor::all() {
        let contract = Contract::of_preset(p).unwrap();
        assert_eq!((contract.check(), contract.preset.as_str()), (Ok(()), p.name.as_str()));
        // Another system's statement that lacks everything leaves only what needs no EHR.
        let bare = contract.within(&Stated::default());
        assert!(bare.chain.iter().all(|c| c.resource_type().is_none()), "{}", p.name);
    }
    for name in ["full-r4", "hapi", "medplum", "healthlake"] {
        assert_eq!(Contract::of_preset(preset(name)).unwrap(), Contract { preset: name.to_owned(), ..Contract::full_r4() });
    }
    for (name, missing) in [("oracle", &["sender", "recipient"][..]), ("meditech", &["recipient"]), ("epic", &[]), ("full-r4", &[])] {
        assert_eq!(Contract::of_preset(preset(name)).unwrap().missing(), missing, "{name}");
    }
}

#[test]
fn a_contract_is_preset_then_statement_then_proof_then_the_operators_word() {
    let all = ["identifier", "patient", "sent", "date"].map(str::to_owned);
    let says = StatedType {
        create: true,
        search: true,
        read: true,
        update: true,
        conditional_create: true,
        search_params: all.into(),
        ..StatedType::default()
    };
    let stated = Stated([("Communication", says)].into());
    let contract = Contract::for_ehr(preset("hapi"), &stated, &Proven::default(), &Override::default()).unwrap();
    assert!(!contract.communication.creates_conditionally(), "a statement is no proof");
    assert_eq!((contract.preset.as_str(), contract.status_change), ("hapi", None));
    let proven = Proven { conditional_create: ["Communication".to_owned()].into(), ..Proven::default() };
    assert!(Contract::for_ehr(preset("hapi"), &stated, &proven, &Override::default()).unwrap().communication.creates_conditionally());
    let word = Override::read(&serde_json::json!({"conditional_create": true, "sender": "123"})).unwrap();
    let error = Contract::for_ehr(preset("hapi"), &stated, &Proven::default(), &word).unwrap_err().to_string();
    assert_eq!(error, "write-back settings: sender must be a reference, such as Practitioner/123");
}

/// As a site would have it: the missing parties named; a day's note, the change of a status and Provenance switched on.
fn configured(p: &Preset) -> Contract {
    let mut contract = Contract::of_preset(p).unwrap();
    let named = |name: &str, id: &str| contract.missing().contains(&name).then(|| id.to_owned());
    let (sender, recipient) = (named("sender", "Practitioner/s-1"), named("recipient", "Group/g-1"));
    contract = contract.with(&Override { sender, recipient, status_change: Some(true), provenance: Some(true), ..Override::default() });
    if contract.chain == [Carrier::Communication] {
        contract.chain.push(Carrier::DocumentReference);
    }
    contract.writes.daily_note = true;
    contract.check().unwrap();
    assert_eq!(contract.missing(), [""; 0]);
    contract
}

/// One line a vendor and sample: what carries it, and what is lost.
fn told_in_a_table() -> String {
    let mut table = String::new();
    for p in vendor::all() {
        for Sample { name, composed, .. } in samples(&site(), &configured(p)) {
            let line = match composed {
                Ok(c) => {
                    let deed = match c.deed {
                        Deed::EnteredInError { .. } => " entered in error",
                        _ => "",
                    };
                    let lost: Vec<&str> = c.losses.iter().map(|l| l.element.as_str()).collect();
                    format!("{}{deed} | {}", c.carrier.as_str(), lost.join(", "))
                }
                Err(why) => format!("- | {}", why.to_string().split(':').next().unwrap()),
            };
            table.push_str(format!("{} | {name} | {line}", p.name).trim_end());
            table.push('\n');
        }
    }
    table
}

#[test]
fn the_losses_of_each_vendor_are_as_this_table_says() {
    let told = told_in_a_table();
    assert_eq!(told, include_str!("flavours.txt"), "\n{told}");
}

/// Every flavour's samples, as the validators get them: the resource itself, or what a file holds. The key is found in each of them.
#[test]
fn every_flavour_is_valid_and_found_again() {
    for p in vendor::all() {
        let mut emitted = Vec::new();
        for (payload, codes) in [
            (PayloadShape::Text, MediumCodes::Current),
            (PayloadShape::Summary, MediumCodes::R4),
            (PayloadShape::Template, MediumCodes::R4),
        ] {
            let contract = configured(p).with(&Override { payload: Some(payload), medium_codes: Some(codes), ..Override::default() });
            for Sample { name, key, composed } in samples(&site(), &contract) {
                let Ok(Composed { carrier, deed: Deed::Create { bytes }, .. }) = composed else { continue };
                let value: Value = serde_json::from_slice(&bytes).unwrap();
                let resource = if carrier == Carrier::Export { value["resource"].clone() } else { value };
                typed::parse_strict(resource.to_string().as_bytes()).unwrap_or_else(|e| panic!("{} {name}: {e}", p.name));
                assert!(carries(&resource, "urn:fhir-engage:attempt", key), "{} {name}", p.name);
                emitted.push(resource);
            }
        }
        assert!(emitted.len() >= 18, "{}: {}", p.name, emitted.len());
        keep_for_validation(&format!("composed-{}", p.name), &emitted);
    }
}
