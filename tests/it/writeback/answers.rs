//! What a patient answers, from the words to the chart.

use std::collections::BTreeMap;

use domain::model::Phi;
use fhir_engage::outreach::barrier::Barrier;
use fhir_engage::outreach::inbound::{Answer, Desk, Taken};
use fhir_engage::outreach::owing::Owing;
use fhir_engage::outreach::program::Library;
use serde_json::{Value, json};

use super::setup::World;
use crate::support::on_both;

on_both! {
    async fn a_barrier_that_is_named_is_the_reason_of_the_answer(db) {
        let mut world = World::new(db).await;
        let owing = Owing { wants: BTreeMap::new(), zone: chrono_tz::UTC };
        let library = Library::read(&[], &[], &[]).unwrap();
        let heard = [
            ("a1", "Sorry, I don't have a ride.", None, Some("transport")),
            ("a2", "Lo siento, tengo que trabajar ese día", None, Some("time-off-work")),
            ("a3", "Can I come an hour later?", None, None),
            ("a4", "Can I come an hour later?", Some(Barrier::FamilyCare), Some("family-care")),
            ("a5", "It is too expensive", Some(Barrier::Fear), Some("fear")),
        ];
        for (attempt, text, barrier, wanted) in heard {
            world.owe("p1", attempt);
            let desk =
                Desk { store: &world.store, clock: world.clock.as_ref(), owing: &owing, library: &library, changes_status: &|_| false };
            let came = Answer {
                attempt: attempt.to_owned(),
                channel: "sms".to_owned(),
                external_id: None,
                text: Phi::new(text.to_owned()),
                barrier,
                recorded_by: "sms".to_owned(),
            };
            let taken = desk.answered(came).await.unwrap();
            let Taken::Recorded { barrier, .. } = taken else { panic!("{taken:?}") };
            assert_eq!(barrier.map(Barrier::as_str), wanted, "{text}");
        }
        world.settle().await;
        for (attempt, _, _, wanted) in heard {
            let key = format!("{attempt}-answer-1");
            let there: Vec<Value> = world.sandbox.resources("Communication").into_iter().filter(|c| c["identifier"][0]["value"] == key.as_str()).collect();
            let [answer] = there.as_slice() else { panic!("{attempt}: {there:#?}") };
            let code = answer["reasonCode"][0]["coding"][0]["code"].as_str();
            assert_eq!(code, wanted, "{attempt}: {answer:#}");
            assert_eq!(answer["sender"], json!({ "reference": "Patient/p1" }));
        }
    }
}
