//! What ends is seen before it does, by `check` as by whoever asks the door that alerts use.

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use fhir_engage::credentials::expiry::{Urgency, What};
use fhir_engage::ehr::profile::{Auth, ClientCertificate, ClientSecret, TypeCredential};
use fhir_engage::store::expiries;

use super::setup::World;
use crate::support::{TempDir, on_both};

on_both! {
    async fn certificates_secrets_and_grants_are_told_with_their_days(db) {
        let world = World::begin(db).await;
        let folder = TempDir::new();
        let mut params = rcgen::CertificateParams::new(vec!["engage".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "engage");
        params.not_after = rcgen::date_time_ymd(2026, 12, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(folder.join("c.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let secret = || Auth::ClientSecret(ClientSecret { client_id: "app".to_owned(), secret: "env:S".to_owned(), ..ClientSecret::default() });
        let mut profile = world.profile(secret());
        profile.credential_expires = NaiveDate::from_ymd_opt(2026, 11, 22);
        profile.client_certificate = Some(ClientCertificate { certificate: folder.join("c.pem"), key: "env:K".to_owned() });
        profile.extra_ca = Some(folder.join("no-such.pem"));
        let later = TypeCredential { types: vec!["Appointment".to_owned()], auth: secret(), expires: NaiveDate::from_ymd_opt(2027, 11, 22) };
        profile.credentials = BTreeMap::from([("desk".to_owned(), later)]);
        world.registers(&profile).await;
        let ends = domain::Clock::now(world.clock.as_ref()).plus(TimeDelta::days(3));
        let now = domain::Clock::now(world.clock.as_ref());
        let seen = move |conn: &mut _| expiries::note(conn, "north", "server-certificate", "https://ehr.example.org", ends, now);
        world.app.store.write("test", seen).await.unwrap();
        world.app.store.write("test", seen).await.unwrap();
        let told = world.app.expiries().await.unwrap();
        let lines: Vec<_> = told.iter().map(|e| (e.urgency, e.what, e.days_left)).collect();
        assert_eq!(
            lines,
            [
                (Urgency::Over, What::Authority, None),
                (Urgency::Over, What::Secret, Some(-1)),
                (Urgency::Soon, What::ServerCertificate, Some(3)),
                (Urgency::Soon, What::ClientCertificate, Some(7)),
                (Urgency::Later, What::Secret, Some(364)),
            ],
            "{told:#?}"
        );
        assert!(told.iter().all(|e| e.ehr.as_deref() == Some("north")));
        assert!(told[3].says.contains("CN=engage ends in 7 days"), "{told:#?}");
    }
}
