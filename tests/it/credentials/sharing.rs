//! Tokens are got once for all nodes, and are readable to nobody without the master key.

use chrono::TimeDelta;
use futures_util::future::join_all;

use super::setup::{World, id, reads};
use crate::support::on_both;

on_both! {
    async fn nodes_share_one_token_and_one_request_for_it(db) {
        let world = World::begin(db).await;
        let nodes: Vec<_> = (0..4).map(|_| world.another_node()).collect();
        for round in 1..=3 {
            for ended in join_all(nodes.iter().map(|node| reads(node))).await {
                ended.unwrap();
            }
            assert_eq!(world.tokens_asked(), round, "one request for four nodes");
            world.clock.advance(TimeDelta::seconds(280));
        }
    }

    async fn a_token_that_one_node_found_dead_is_no_other_nodes_trouble(db) {
        let world = World::begin(db).await;
        let other = world.another_node();
        reads(&world.app).await.unwrap();
        world.ehr.revoke_tokens();
        reads(&world.app).await.unwrap();
        reads(&other).await.unwrap();
        assert_eq!(world.tokens_asked(), 2);
        let refused = world.ehr.request_log().iter().filter(|r| r.status == 401).count();
        assert_eq!(refused, 1, "the second node took the new one");
    }

    async fn a_node_that_dies_with_the_turn_in_its_hand_is_followed(db) {
        let world = World::begin(db).await;
        // Its lease, as it would be left behind on another machine.
        reads(&world.app).await.unwrap();
        let names = world.lines("SELECT name AS line FROM lease WHERE name LIKE 'token/%'");
        assert_eq!(names.len(), 1);
        world.clock.advance(TimeDelta::minutes(5));
        let until = domain::Clock::now(world.clock.as_ref()).micros() + 60_000_000;
        let name = names[0].clone();
        world.execute(&format!("UPDATE lease SET owner = 'elsewhere/1/x', token = token + 1, expires_at = {until} WHERE name = '{name}'"));
        let waiting = reads(&world.app);
        let moved = async {
            tokio::task::yield_now().await;
            world.clock.advance(TimeDelta::seconds(61));
        };
        let (read, ()) = tokio::join!(waiting, moved);
        read.unwrap();
        assert_eq!(world.tokens_asked(), 2);
    }

    async fn no_token_and_no_secret_is_in_the_database_in_clear(db) {
        let world = World::begin(db).await;
        reads(&world.app).await.unwrap();
        let client = world.client().await;
        let access = client.tokens().access_to("Patient", &fhir_engage::ehr::Client::default_reads()).await.unwrap();
        let token = access.token.unwrap();
        assert_eq!(world.tokens_asked(), 1, "it is the stored one");
        let sealed = world.sealed_tokens();
        assert_eq!(sealed.len(), 1);
        assert!(!sealed[0].windows(8).any(|w| token.expose().as_bytes().starts_with(w)), "a token is readable");
        // With another master key it is none.
        std::fs::write(world.data().join("master.key"), "0".repeat(64)).unwrap();
        assert!(world.app.connect(&id()).await.is_err(), "the signing key cannot be opened either");
    }

    async fn a_check_sees_what_is_granted_now(db) {
        let world = World::begin(db).await;
        reads(&world.app).await.unwrap();
        let profile = world.app.profile(&id()).await.unwrap();
        let parts = world.app.fresh_parts(&id(), &profile).await.unwrap();
        let report = fhir_engage::ehr::check::check(&profile, &parts).await;
        assert!(report.is_ok(), "{report:#?}");
        assert_eq!(world.tokens_asked(), 3, "a new token for reading, and one for writing");
    }
}
