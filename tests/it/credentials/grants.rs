//! What a person grants once: code and PKCE, a refresh token that changes with each use, and what is lost and what is not when something
//! breaks in between.

use chrono::TimeDelta;
use domain::model::EhrId;
use fhir_engage::ehr::auth::TokenError;
use fhir_engage::ehr::profile::{Auth, TypeCredential, UserGrant};
use fhir_engage::ehr::{EhrError, Search};
use futures_util::future::join_all;
use sandbox::{App, Fault, FaultKind};
use std::collections::BTreeMap;
use url::Url;

use super::setup::{World, id};
use crate::support::on_both;

const REDIRECT: &str = "http://127.0.0.1:8723/callback";

fn desk(secret: Option<&str>) -> App {
    let scopes = "user/Appointment.rs user/Appointment.read";
    App { secret: secret.map(str::to_owned), refresh_seconds: Some(90 * 86_400), ..App::public("desk", REDIRECT, scopes) }
}

impl World {
    /// An EHR whose appointments are for persons only.
    async fn with_desk(db: crate::support::Database) -> Self {
        let world = Self::begin(db).await;
        world.ehr.register_app(desk(None));
        let mut profile = world.app.profile(&id()).await.unwrap();
        let auth = Auth::UserGrant(UserGrant { client_id: "desk".to_owned(), ..UserGrant::default() });
        let of_types = TypeCredential { types: vec!["Appointment".to_owned()], auth, expires: None };
        profile.credentials = BTreeMap::from([("desk".to_owned(), of_types)]);
        world.registers(&profile).await;
        world
    }

    /// A browser that goes where it is sent, and says where it ended.
    fn browses(&self, url: &Url) -> Url {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
        let target = format!("{}?{}", url.path(), url.query().unwrap());
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let line = answer.lines().find(|l| l.to_ascii_lowercase().starts_with("location:")).unwrap_or_else(|| panic!("{answer}"));
        line.split_once(':').unwrap().1.trim().parse().unwrap()
    }

    async fn authorises(&self) -> String {
        let inviting = self.app.invite(&id(), "desk").await.unwrap();
        let back = self.browses(inviting.url());
        self.app.accept(&inviting, &back).await.unwrap()
    }

    async fn appointments(&self) -> Result<usize, EhrError> {
        Ok(self.client().await.search_all(Search::of("Appointment")).await?.len())
    }

    fn grant(&self) -> String {
        self.lines("SELECT state || ' ' || COALESCE(told, '') AS line FROM user_grant").join(";")
    }
}

fn lost(error: &EhrError) -> String {
    match error {
        EhrError::TokenApart(_, error @ (TokenError::GrantLost { .. } | TokenError::NotAuthorised(_))) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

on_both! {
    async fn a_person_grants_once_and_it_lasts(db) {
        let world = World::with_desk(db).await;
        let told = lost(&world.appointments().await.unwrap_err());
        assert!(told.contains("ehr authorize") && told.contains("--credential desk"), "{told}");
        assert!(!world.client().await.search_all(Search::of("Patient")).await.unwrap().is_empty(), "the other types go on");
        assert_eq!(world.authorises().await, "openid fhirUser offline_access user/Appointment.rs");
        for _ in 0..5 {
            assert!(world.appointments().await.unwrap() > 0);
            world.clock.advance(TimeDelta::minutes(5));
        }
        // The refresh token changed with each use: five were used, and none twice.
        assert_eq!(world.grant(), "held ");
        let sealed = world.sealed_grants();
        assert_eq!(sealed.len(), 1);
        let ends = world.app.expiries().await.unwrap();
        assert!(ends.iter().any(|e| e.says.contains("grant of credential desk ends in 89 days")), "{ends:?}");
    }

    async fn nodes_refresh_one_after_another(db) {
        let world = World::with_desk(db).await;
        world.authorises().await;
        let nodes: Vec<_> = (0..4).map(|_| world.another_node()).collect();
        for _ in 0..3 {
            let before = world.tokens_asked();
            let all = nodes.iter().map(|node| async {
                let client = node.connect(&id()).await.unwrap().client;
                client.search(Search::of("Appointment")).next().await.map(|_| ())
            });
            for ended in join_all(all).await {
                // A refresh token that two nodes used would have ended the grant.
                ended.unwrap();
            }
            assert_eq!(world.tokens_asked(), before + 1);
            world.clock.advance(TimeDelta::minutes(5));
        }
    }

    async fn a_reused_refresh_token_ends_the_grant_and_it_is_told(db) {
        let world = World::with_desk(db).await;
        world.authorises().await;
        let stolen = world.grant_rows();
        world.appointments().await.unwrap();
        // A backup of the database is put back: it holds a token that was used.
        world.puts_back(&stolen);
        world.clock.advance(TimeDelta::minutes(5));
        let told = lost(&world.appointments().await.unwrap_err());
        assert!(told.contains("used before") && told.contains("ehr authorize"), "{told}");
        assert!(world.grant().starts_with("lost "), "{}", world.grant());
        let before = world.tokens_asked();
        lost(&world.appointments().await.unwrap_err());
        assert_eq!(world.tokens_asked(), before, "a dead grant is not tried again and again");
        let ends = world.app.expiries().await.unwrap();
        assert!(ends.iter().any(|e| e.says.contains("grant of credential desk: the EHR says invalid_grant")), "{ends:?}");
        world.authorises().await;
        assert!(world.appointments().await.unwrap() > 0, "a person grants it anew");
    }

    async fn an_answer_that_is_lost_on_the_way_is_remembered(db) {
        let world = World::with_desk(db).await;
        world.authorises().await;
        world.ehr.plant(Fault::new(FaultKind::ResetMidBody).on("POST", "/auth/token"));
        // The EHR changed the token, and nobody knows into what. The next try is refused, and says why.
        let told = lost(&world.appointments().await.unwrap_err());
        assert!(told.contains("cut off before its answer was stored"), "{told}");
    }

    async fn a_server_that_does_not_rotate_keeps_its_token(db) {
        let world = World::with_desk(db).await;
        world.ehr.register_app(App { rotates: false, ..desk(None) });
        world.authorises().await;
        for _ in 0..3 {
            assert!(world.appointments().await.unwrap() > 0);
            world.clock.advance(TimeDelta::minutes(5));
        }
        assert_eq!(world.grant(), "held ");
    }

    async fn a_refusal_and_a_foreign_answer_change_nothing(db) {
        let world = World::with_desk(db).await;
        world.authorises().await;
        world.ehr.plant(Fault::new(FaultKind::AccessDenied));
        let inviting = world.app.invite(&id(), "desk").await.unwrap();
        let back = world.browses(inviting.url());
        assert!(world.app.accept(&inviting, &back).await.unwrap_err().to_string().contains("access_denied"));
        let other = world.app.invite(&id(), "desk").await.unwrap();
        let back = world.browses(other.url());
        assert!(world.app.accept(&inviting, &back).await.unwrap_err().to_string().contains("does not belong to this request"));
        assert!(world.appointments().await.unwrap() > 0, "what was granted before stays");
        // A code that comes a second time ends what came of it (RFC 6749, 4.1.2), so it is exchanged once.
        world.app.accept(&other, &back).await.unwrap();
        assert!(world.app.accept(&other, &back).await.unwrap_err().to_string().contains("invalid_grant"));
        assert!(world.app.invite(&id(), "").await.is_err(), "the EHR's own credential is a key");
    }

    async fn what_is_removed_is_gone(db) {
        let world = World::with_desk(db).await;
        world.authorises().await;
        world.appointments().await.unwrap();
        let north = EhrId::parse("north").unwrap();
        let removed = world.app.store.write("test", move |conn| fhir_engage::store::ehrs::remove(conn, north.as_str())).await.unwrap();
        assert!(removed);
        for table in ["user_grant", "access_token", "ehr_key", "seen_expiry"] {
            assert_eq!(world.lines(&format!("SELECT ehr AS line FROM {table}")), Vec::<String>::new(), "{table}");
        }
    }
}
