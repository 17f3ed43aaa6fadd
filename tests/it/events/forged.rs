//! Who is not believed: forged, repeated and flooding notifications, addresses that nobody was given, bodies that are none.

use std::time::{Duration, Instant};

use domain::model::ResourceType::Appointment;
use serde_json::{Value, json};

use super::setup::{Listening, topic};
use crate::support::on_both;

/// The address and the header of the subscription, as the EHR has them.
fn given(l: &Listening) -> (String, String) {
    let all = l.world.ehr.resources("Subscription");
    let channel = &all[0]["channel"];
    let endpoint = channel["endpoint"].as_str().unwrap();
    (endpoint[endpoint.find("/notifications/").unwrap()..].to_owned(), channel["header"][0].as_str().unwrap().to_owned())
}

fn telling(kind: &str, id: &str, number: i64) -> String {
    json!({ "resourceType": "Bundle", "type": "history", "entry": [{ "resource": { "resourceType": "Parameters", "parameter": [
        { "name": "type", "valueCode": "event-notification" },
        { "name": "events-since-subscription-start", "valueString": number.to_string() },
        { "name": "notification-event", "part": [
            { "name": "event-number", "valueString": number.to_string() },
            { "name": "focus", "valueReference": { "reference": format!("{kind}/{id}") } },
        ] },
    ] } }] })
    .to_string()
}

async fn post(l: &Listening, path: &str, authorization: Option<&str>, body: &str) -> u16 {
    let length = body.len().to_string();
    let mut headers = vec![("Content-Length", length.as_str()), ("Content-Type", "application/fhir+json")];
    headers.extend(authorization.map(|value| ("Authorization", value)));
    l.server.send_with("POST", path, &headers, body).await.status
}

async fn listening(db: crate::support::Database) -> Listening {
    let l = Listening::start(db, json!({ "types": { "Appointment": [topic(Appointment)] } })).await;
    l.begin().await;
    l
}

on_both! {
    async fn who_does_not_show_the_secret_costs_nothing(db) {
        let l = listening(db).await;
        let (path, header) = given(&l);
        let right = header.strip_prefix("Authorization: ").unwrap().to_owned();
        let body = telling("Appointment", &l.ids(Appointment)[0], 1);
        for (at, shown, status) in [
            (path.as_str(), None, 401),
            (&path, Some("Bearer guessed"), 401),
            (&path, Some("Basic Og=="), 401),
            ("/notifications/guessed", Some(right.as_str()), 404),
            ("/notifications/", Some(&right), 404),
        ] {
            assert_eq!(post(&l, at, shown, &body).await, status, "{at} {shown:?}");
        }
        assert_eq!((l.waiting(Appointment), l.row().events), (0, 0));
        for bad in ["<html>", "{}", r#"{"resourceType":"Bundle","entry":[]}"#] {
            assert_eq!(post(&l, &path, Some(&right), bad).await, 400, "{bad}");
        }
        assert_eq!(post(&l, &path, Some(&right), &" ".repeat(1024 * 1024 + 1)).await, 413);
        assert_eq!(l.server.get(&path).await.status, 405);
        assert_eq!((l.waiting(Appointment), l.row().events), (0, 0));
        assert_eq!(post(&l, &path, Some(&right), &body).await, 200);
        assert_eq!(l.waiting(Appointment), 1);
    }

    async fn one_who_knows_the_secret_costs_a_read_for_each_name_at_most(db) {
        let l = listening(db).await;
        let (path, header) = given(&l);
        let right = header.strip_prefix("Authorization: ").unwrap().to_owned();
        let reads = l.reads(Appointment);
        // The same again and again, one that does not exist, other types, and what is no id.
        for number in 1..=20 {
            assert_eq!(post(&l, &path, Some(&right), &telling("Appointment", "made-up", number)).await, 200);
        }
        for (kind, id) in [("Patient", "p-0001"), ("Subscription", "x"), ("Appointment", "../../Patient"), ("Appointment", "a?b=c")] {
            assert_eq!(post(&l, &path, Some(&right), &telling(kind, id, 20)).await, 200);
        }
        assert_eq!(l.waiting(Appointment), 1);
        l.round().await;
        assert_eq!((l.reads(Appointment), l.waiting(Appointment)), (reads + 1, 0));
        l.assert_same(Appointment);
    }

    async fn a_flood_is_held_off_and_what_is_true_still_comes_through(db) {
        let l = listening(db).await;
        let (path, header) = given(&l);
        let right = header.strip_prefix("Authorization: ").unwrap().to_owned();
        let l = &l;
        let began = Instant::now();
        let body = telling("Appointment", "made-up", 1);
        let forged = (0..400).map(|n| {
            let (path, body) = (if n % 2 == 0 { path.clone() } else { format!("/notifications/{n}") }, body.clone());
            async move { post(l, &path, Some("Bearer guessed"), &body).await }
        });
        let answers: Vec<u16> = futures_util::future::join_all(forged).await;
        assert!(answers.iter().all(|s| [401, 404].contains(s)), "{answers:?}");
        // More than the secret's owner may send.
        let many = (0..400).map(|n| {
            let (path, right, body) = (path.clone(), right.clone(), telling("Appointment", &format!("made-up-{n}"), 1));
            async move { post(l, &path, Some(&right), &body).await }
        });
        let answers: Vec<u16> = futures_util::future::join_all(many).await;
        let taken = answers.iter().filter(|s| **s == 200).count();
        assert!(answers.contains(&429) && answers.iter().all(|s| [200, 429].contains(s)) && taken >= 200, "{taken} taken");
        assert!(l.waiting(Appointment) <= i64::try_from(taken).unwrap());
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let id = l.ids(Appointment)[0].clone();
        l.edit(Appointment, &id, "fr").await;
        l.round().await;
        assert_eq!(l.stored(Appointment, &id).unwrap()["language"], "fr");
    }

    async fn nothing_of_a_body_is_kept(db) {
        let l = listening(db).await;
        let (path, header) = given(&l);
        let right = header.strip_prefix("Authorization: ").unwrap().to_owned();
        let id = l.ids(Appointment)[0].clone();
        let mut lie: Value = serde_json::from_str(&telling("Appointment", &id, 1)).unwrap();
        let resource = json!({ "resourceType": "Appointment", "id": id, "status": "cancelled", "description": "Zzyzx", "participant": [] });
        lie["entry"].as_array_mut().unwrap().push(json!({ "resource": resource }));
        assert_eq!(post(&l, &path, Some(&right), &lie.to_string()).await, 200);
        l.round().await;
        l.assert_same(Appointment);
        assert_eq!(l.stored(Appointment, &id).unwrap()["description"], l.world.ehr.resource("Appointment", &id).unwrap()["description"]);
        // Neither token nor secret stands in the database as it is.
        let token = path.rsplit('/').next().unwrap();
        let row = l.row();
        assert!(row.token_hash != token && !String::from_utf8_lossy(&row.sealed).contains(token) && !format!("{row:?}").contains(token));
    }
}
