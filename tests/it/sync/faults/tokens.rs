//! What goes wrong with tokens while a sync runs: said of the store, and of what the EHR was asked.

use domain::model::ResourceType::{self, Appointment, CarePlan, Patient};
use fhir_engage::ehr::auth::Algorithm;
use fhir_engage::sync::task::Ended;
use sandbox::{Fault, FaultKind, ScopeManner};

use crate::ehr::support::World;
use crate::support::on_both;
use crate::sync::setup::{Synced, as_of, bodies};

on_both! {
    async fn a_token_that_ends_between_pages_costs_one_token(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        for kind in ["Patient", "CarePlan"] {
            north.world.ehr.plant(Fault::new(FaultKind::TokenExpiredMidSearch).on("GET", &format!("/fhir/{kind}")));
        }
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done && r.stored == r.found && r.notes.is_empty()), "{reports:?}");
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
        assert_eq!(north.world.tokens_asked(), 3);
        // No page was asked for twice, but for the one that was refused.
        for kind in ResourceType::CORE {
            let mut asked = north.searches(kind);
            let all = asked.len();
            asked.sort();
            asked.dedup();
            assert_eq!(all - asked.len(), usize::from(kind != Appointment), "{kind}");
        }
    }

    async fn a_token_that_is_refused_is_named_and_one_that_fails_is_waited_for(db) {
        let store = db.store();
        let north = Synced::start(&store).await;
        let refused = |status, error: Option<&str>| Fault::new(FaultKind::TokenRefused { status, error: error.map(str::to_owned) });
        for (status, error) in [(400, "invalid_grant"), (400, "invalid_request"), (401, "invalid_client"), (400, "unauthorized_client")] {
            let before = north.world.tokens_asked();
            north.world.ehr.plant(refused(status, Some(error)));
            let reports = north.sync(&store, &ResourceType::CORE).await;
            assert!(reports.iter().all(|r| matches!(&r.ended, Ended::Failed(why) if why.contains(error)) && r.is_problem()), "{reports:?}");
            assert_eq!(north.world.tokens_asked(), before + 1, "{error}: one who is refused does not ask again and again");
        }
        assert_eq!(ResourceType::CORE.map(|kind| north.searches(kind).len()), [0, 0, 0], "nothing is asked without a token");
        assert_eq!(ResourceType::CORE.map(|kind| as_of(&store, kind)), [None; 3]);
        // In text, and then again as it should be.
        north.world.ehr.plant(refused(500, None).times(2));
        let reports = north.sync(&store, &ResourceType::CORE).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done), "{reports:?}");
        ResourceType::CORE.iter().for_each(|kind| north.assert_same(&store, *kind));
    }

    async fn what_is_not_granted_is_named_and_the_rest_is_read(db) {
        for manner in [ScopeManner::Narrows, ScopeManner::AllOrNothing, ScopeManner::Ignores] {
            let store = db.store();
            for table in ["resource", "fact", "sync_state", "sync_run"] {
                db.execute(&format!("DELETE FROM {table}"));
            }
            let world = World::with(Algorithm::Es384, "system/Patient.rs system/CarePlan.rs").await;
            world.ehr.set_scope_manner(manner);
            let north = Synced::of(&store, world).await;
            let reports = north.sync(&store, &ResourceType::CORE).await;
            let [patients, visits, plans] = reports.as_slice() else { panic!("{reports:?}") };
            assert_eq!((&patients.ended, &plans.ended), (&Ended::Done, &Ended::Done), "{manner:?}: {reports:?}");
            assert!(matches!(&visits.ended, Ended::Refused(why) if why.contains("no access to Appointment")), "{manner:?}: {visits:?}");
            [Patient, CarePlan].iter().for_each(|kind| north.assert_same(&store, *kind));
            assert_eq!((bodies(&store, Appointment).len(), as_of(&store, Appointment)), (0, None), "{manner:?}: not known is not none");
            assert_eq!(north.searches(Appointment), Vec::<String>::new(), "{manner:?}: what is not granted is not asked for");
        }
    }
}
