//! The very first start is killed: while the schema is made, while the keys are made, while the EHR is registered.

use std::time::Duration;

use fhir_engage::credentials::{KeyRecord, MasterKey};
use fhir_engage::ehr::Secret;
use fhir_engage::ehr::auth::Algorithm;
use fhir_engage::store::keys;
use rand::RngExt as _;

use super::world::{EHR, Installation, random, rounds};
use crate::support::{Database, on_both};

/// Nothing listens at that address.
const ADD: [&str; 9] = ["ehr", "add", EHR, "--url", "http://127.0.0.1:9/fhir", "--client-id", "gateway", "--key-alg", "ES384"];

on_both! {
    fn a_first_start_that_is_killed_is_made_up_for(db) {
        let mut random = random("a_first_start_that_is_killed");
        let backend = db.backend();
        for _ in 0..rounds(6) {
            let new = Installation::new(Database::empty(backend).unwrap());
            let cut = (0..3).filter(|_| new.killed_after(&ADD, Duration::from_millis(random.random_range(0..250)))).count();
            new.run(&ADD);
            let kids = new.db.lines("SELECT kid AS line FROM signing_key");
            assert_eq!(kids.len(), 1, "one key, after {cut} kills");
            let jwks: serde_json::Value = serde_json::from_str(&new.run(&["keys", "jwks"])).unwrap();
            assert_eq!(jwks["keys"][0]["kid"], kids[0].as_str());
            assert_eq!(new.db.lines("SELECT id AS line FROM ehr"), [EHR]);
            // The sealed key can be opened: the master key beside it is the one that sealed it.
            let master = MasterKey::parse(&Secret::new(std::fs::read_to_string(new.data.join("master.key")).unwrap())).unwrap();
            let key = new.db.store().read_blocking(keys::list).unwrap().remove(0);
            let algorithm = Algorithm::parse(&key.alg).unwrap();
            assert!(KeyRecord { kid: key.kid, algorithm, sealed: key.sealed, public_jwk: key.public_jwk }.open(&master).is_ok());
        }
    }

    fn first_starts_at_once_make_one_installation(db) {
        let backend = db.backend();
        for _ in 0..rounds(3) {
            let new = Installation::new(Database::empty(backend).unwrap());
            let all: Vec<_> = (0..3).map(|_| new.start(&ADD)).collect();
            for one in all {
                one.wait().ok();
            }
            assert_eq!(new.db.lines("SELECT kid AS line FROM signing_key").len(), 1);
        }
    }
}
