//! Two gateways at once on one database, as two nodes on PostgreSQL, or a person at the command line beside the service.

use sandbox::{Fault, FaultKind};

use super::world::{World, clock, rounds};
use crate::support::{Backend, Database, on_both};

on_both! {
    async fn two_gateways_on_one_database_double_nothing(db) {
        let clock = clock();
        let (mut shared, mut alone) = (World::new(db, clock).await, World::new(Database::fresh(Backend::Sqlite).unwrap(), clock).await);
        let (mut busy, mut round) = (0, 0);
        // Until they have met: on a busy machine one may be through before the other has begun.
        while round < rounds(5) || (busy == 0 && round < rounds(40)) {
            round += 1;
            shared.admit(10);
            alone.admit(10);
            shared.ehr.clear_faults();
            for (method, path) in [("GET", "/fhir/"), ("POST", "/fhir/Communication")] {
                shared.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 30 }).on(method, path).times(1_000));
            }
            let both = [(); 2].map(|()| shared.gateway.start(&["work", "--once", "--json"]));
            for one in both {
                let done = one.wait().ok().json();
                assert_eq!(done["failures"], serde_json::json!([]), "{done}");
                busy += done["busy"].as_array().unwrap().len();
            }
        }
        shared.ehr.clear_faults();
        assert!(busy > 0, "the two never met: a test of nothing");
        shared.settle();
        alone.settle();
        shared.assert_adds_up();
        // Neither evaluates whom the other has read by half, so not even the way there differs.
        shared.account().assert_same_as(&alone.account());
    }
}
