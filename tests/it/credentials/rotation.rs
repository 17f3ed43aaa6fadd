//! A key is rotated end to end: at an EHR that fetches our key set as it should, one that never fetches it again, one that refuses the new
//! key, and one that drops it later.

use chrono::TimeDelta;
use fhir_engage::credentials::jwks::MAX_AGE;
use fhir_engage::credentials::ring::REFUSALS;
use fhir_engage::ehr::auth::Algorithm;
use sandbox::{Fault, FaultKind, KeyCache};

use super::setup::{World, id, reads};
use crate::support::on_both;

const HOUR: TimeDelta = TimeDelta::hours(1);

impl World {
    /// The keys that are published: how many.
    async fn published(&self) -> usize {
        let jwks: serde_json::Value = serde_json::from_str(&self.app.jwks().await.unwrap()).unwrap();
        jwks["keys"].as_array().unwrap().len()
    }

    /// How the EHR's keys stand: state and refusals, the new key last.
    fn keys(&self) -> Vec<String> {
        self.lines(
            "SELECT e.state || ' ' || e.refusals AS line FROM ehr_key e JOIN signing_key k ON k.kid = e.kid ORDER BY k.created_at, k.kid",
        )
    }

    async fn current(&self) -> String {
        let uses = self.app.key_uses().await.unwrap();
        uses.into_iter().find(|u| u.state == "current").unwrap().kid
    }
}

on_both! {
    async fn a_key_is_rotated_without_a_refused_request(db) {
        let world = World::begin(db).await;
        world.ehr.keys_at("gateway", &world.jwks_url, KeyCache::MaxAge);
        world.reads_after(TimeDelta::zero()).await.unwrap();
        let old = world.current().await;
        world.clock.advance(TimeDelta::seconds(1));
        let done = world.app.rotate(&[], None, false).await.unwrap();
        assert_eq!((done.len(), done[0].from.as_str(), world.published().await), (1, old.as_str(), 2));
        assert_ne!(done[0].to, old, "a new key has a new kid");
        assert_eq!(world.app.rotate(&[], None, false).await.unwrap()[0].to, done[0].to, "asked for twice it is one rotation");

        // Before the overlap is over it is not tried, though the EHR would know it.
        world.reads_after(HOUR - TimeDelta::minutes(1)).await.unwrap();
        assert_eq!((world.current().await, world.keys()), (old.clone(), vec!["current 0".to_owned(), "next 0".to_owned()]));
        world.reads_after(TimeDelta::minutes(6)).await.unwrap();
        assert_eq!((world.current().await, world.keys()), (done[0].to.clone(), vec!["retiring 0".to_owned(), "current 0".to_owned()]));
        assert_eq!(world.published().await, 2, "an assertion of the old key may still be on its way");
        world.reads_after(HOUR + TimeDelta::minutes(10)).await.unwrap();
        assert_eq!((world.published().await, world.keys()), (1, vec!["current 0".to_owned()]));
        assert!(world.ehr.request_log().iter().all(|r| r.status == 200), "no request was refused on the way");
        // What an EHR that is added now gets is the new key.
        assert_eq!(world.app.ensure_key(Algorithm::Es384).await.unwrap().kid, done[0].to);
    }

    async fn an_ehr_that_never_fetches_the_set_again_keeps_the_old_key_and_it_is_told(db) {
        let world = World::begin(db).await;
        world.ehr.keys_at("gateway", &world.jwks_url, KeyCache::ForEver);
        world.reads_after(TimeDelta::zero()).await.unwrap();
        let old = world.current().await;
        world.clock.advance(TimeDelta::seconds(1));
        let to = world.app.rotate(&[], None, false).await.unwrap().remove(0).to;
        for refusals in 1..=REFUSALS {
            // Longer than the wait after any refusal. The old key signs at once: nobody notices.
            world.reads_after(TimeDelta::hours(25)).await.unwrap();
            let told = world.lines("SELECT kid || ' ' || refusals || ' ' || told AS line FROM ehr_key WHERE refusals > 0");
            assert_eq!((world.current().await, told.len()), (old.clone(), 1));
            assert!(told[0].starts_with(&format!("{to} {refusals} ")) && told[0].contains("invalid_client"), "{told:?}");
        }
        let before = world.tokens_asked();
        world.reads_after(TimeDelta::hours(25)).await.unwrap();
        assert_eq!((world.tokens_asked(), world.keys()), (before + 1, vec!["current 0".to_owned(), format!("refused {REFUSALS}")]));
        assert_eq!(world.published().await, 2, "the old key stays published");
        let ends = world.app.expiries().await.unwrap();
        assert!(ends.iter().any(|e| e.says.contains(&to) && e.says.contains("not tried again") && e.remedy.is_some()), "{ends:?}");

        // The operator registers the set by value; a rotation that is asked for again goes through.
        let jwks = serde_json::from_str(&world.app.jwks().await.unwrap()).unwrap();
        world.ehr.register(sandbox::Client { client_id: "gateway".to_owned(), jwks, scopes: vec!["system/*.cruds".to_owned()] });
        world.ehr.keys_at("gateway", &world.jwks_url, KeyCache::MaxAge);
        let again = world.app.rotate(&[id()], None, false).await.unwrap().remove(0);
        assert_eq!(again.to, to, "the key that waits is used");
        world.reads_after(TimeDelta::minutes(6)).await.unwrap();
        assert_eq!(world.current().await, to);
    }

    async fn a_refused_key_is_tried_again_later_and_not_with_every_token(db) {
        let world = World::begin(db).await;
        world.reads_after(TimeDelta::zero()).await.unwrap();
        world.clock.advance(TimeDelta::seconds(1));
        // Registered by value, and the operator is late.
        let to = world.app.rotate(&[], None, false).await.unwrap().remove(0).to;
        world.reads_after(HOUR).await.unwrap();
        assert_eq!(world.keys(), ["current 0", "next 1"]);
        let before = world.tokens_asked();
        world.reads_after(TimeDelta::minutes(6)).await.unwrap();
        assert_eq!(world.tokens_asked(), before + 1, "one request, with the key that works");
        let jwks = serde_json::from_str(&world.app.jwks().await.unwrap()).unwrap();
        world.ehr.register(sandbox::Client { client_id: "gateway".to_owned(), jwks, scopes: vec!["system/*.cruds".to_owned()] });
        world.reads_after(HOUR).await.unwrap();
        assert_eq!(world.current().await, to);
    }

    async fn an_ehr_that_forgets_a_new_key_gets_the_old_one_back(db) {
        let world = World::begin(db).await;
        world.ehr.keys_at("gateway", &world.jwks_url, KeyCache::MaxAge);
        world.reads_after(TimeDelta::zero()).await.unwrap();
        let old = world.current().await;
        let of_before = serde_json::from_str::<serde_json::Value>(&world.app.jwks().await.unwrap()).unwrap();
        world.clock.advance(TimeDelta::seconds(1));
        let to = world.app.rotate(&[], None, false).await.unwrap().remove(0).to;
        world.reads_after(HOUR).await.unwrap();
        assert_eq!(world.current().await, to);
        // One node of the EHR's has an old copy of the set.
        let stale = stale_set(&of_before);
        world.ehr.keys_at("gateway", &stale, KeyCache::ForEver);
        world.reads_after(TimeDelta::minutes(6)).await.unwrap();
        assert_eq!((world.current().await, world.keys()), (old, vec!["current 0".to_owned(), "next 1".to_owned()]));
    }

    async fn an_emergency_skips_the_wait(db) {
        let world = World::begin(db).await;
        world.ehr.keys_at("gateway", &world.jwks_url, KeyCache::MaxAge);
        world.reads_after(TimeDelta::zero()).await.unwrap();
        let old = world.current().await;
        world.clock.advance(TimeDelta::seconds(1));
        let done = world.app.rotate(&[], None, true).await.unwrap().remove(0);
        assert_eq!((done.tried_after, world.current().await, world.published().await), (None, done.to.clone(), 1));
        assert!(!world.app.jwks().await.unwrap().contains(&old), "a key that others may have is published no more");
        assert_eq!(world.lines("SELECT slot AS line FROM access_token"), Vec::<String>::new(), "tokens got with it are not used");
        // Until the EHR fetches the set anew, it refuses us: that is the price.
        assert!(world.reads_after(TimeDelta::zero()).await.unwrap_err().is_credential());
        world.reads_after(MAX_AGE).await.unwrap();
        // The old key would be refused now even by its signature.
        assert_eq!(world.lines(&format!("SELECT state AS line FROM signing_key WHERE kid = '{old}'")), ["retired"]);
    }

    async fn a_run_that_goes_on_for_hours_follows_the_rotation(db) {
        let world = World::begin(db).await;
        world.ehr.keys_at("gateway", &world.jwks_url, KeyCache::MaxAge);
        // Connected before the rotation, and not again.
        let client = world.client().await;
        world.clock.advance(TimeDelta::seconds(1));
        let to = world.app.rotate(&[], None, false).await.unwrap().remove(0).to;
        for _ in 0..5 {
            // Another node moves the rotation on, until the old key is published no more.
            world.reads_after(HOUR).await.unwrap();
            world.clock.advance(TimeDelta::minutes(6));
            client.search(fhir_engage::ehr::Search::of("Patient")).next().await.unwrap();
        }
        assert_eq!((world.current().await, world.published().await), (to, 1));
        // An emergency reaches it as well, with its next token.
        world.app.rotate(&[], None, true).await.unwrap();
        world.clock.advance(TimeDelta::minutes(6));
        client.search(fhir_engage::ehr::Search::of("Patient")).next().await.unwrap();
        assert!(world.ehr.request_log().iter().all(|r| r.status == 200));
    }

    async fn what_is_wrong_with_the_client_is_not_put_down_to_the_new_key(db) {
        let world = World::begin(db).await;
        world.ehr.keys_at("gateway", &world.jwks_url, KeyCache::MaxAge);
        world.reads_after(TimeDelta::zero()).await.unwrap();
        world.clock.advance(TimeDelta::seconds(1));
        let to = world.app.rotate(&[], None, false).await.unwrap().remove(0).to;
        // Both keys are refused: the client is switched off.
        let off = FaultKind::TokenRefused { status: 401, error: Some("invalid_client".to_owned()) };
        world.ehr.plant(Fault::new(off).times(2));
        assert!(world.reads_after(HOUR).await.unwrap_err().is_credential());
        assert_eq!(world.keys(), ["current 0", "next 0"]);
        world.reads_after(TimeDelta::zero()).await.unwrap();
        assert_eq!(world.current().await, to);
    }

    async fn a_key_in_use_is_not_retired_by_mistake(db) {
        let world = World::begin(db).await;
        reads(&world.app).await.unwrap();
        let kid = world.current().await;
        let refused = world.app.retire_key(&kid, false).await.unwrap_err().to_string();
        assert!(refused.contains("north") && refused.contains("keys rotate"), "{refused}");
        let spare = world.app.generate_key(Algorithm::Es384).await.unwrap();
        assert_eq!((spare.state.as_str(), world.published().await), ("next", 2));
        world.app.retire_key(&spare.kid, false).await.unwrap();
        assert_eq!(world.published().await, 1);
        world.app.retire_key(&kid, true).await.unwrap();
        assert!(world.app.retire_key(&kid, true).await.unwrap_err().to_string().contains("there is no signing key"));
    }
}

/// A key set as it was, on a port of its own.
fn stale_set(set: &serde_json::Value) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = set.to_string();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut request = [0; 2048];
            let _read = socket.read(&mut request);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _gone = socket.write_all(answer.as_bytes());
        }
    });
    format!("http://127.0.0.1:{port}/jwks")
}
