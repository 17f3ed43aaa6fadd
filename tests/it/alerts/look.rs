//! Looks of one and of several nodes, on a clock that is moved by hand.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::{EhrId, ResourceType};
use fhir_engage::alerts::{Desk, Report, kind};
use fhir_engage::app::App;
use fhir_engage::store::alerts::{self, Alert};
use fhir_engage::store::schedules::ALL_TYPES;
use fhir_engage::store::{drops, ehrs, pauses, statements, turns};

use super::hook::Hook;
use crate::schedule::setup::{World, at, north, take_all};
use crate::support::{Database, MailServer, on_both};

const SECRET: &[u8] = b"a secret of the tests";

/// A node with what looks for what is wrong.
struct Node {
    app: Arc<App>,
    desk: Desk,
}

impl Node {
    fn of(world: &World) -> Self {
        let app = world.node();
        let desk = app.alert_desk().unwrap();
        Self { app, desk }
    }

    async fn look(&self) -> Report {
        self.app.look_for_alerts(&self.desk, true).await.unwrap()
    }
}

fn configuration(hook: &Hook, mail: Option<&MailServer>) -> String {
    let mut text = format!("[alerts]\nwebhook = \"{}\"\nwebhook_secret = \"file:webhook-secret\"\ndisk_free = 0\n", hook.url("/hook"));
    text.push_str(&format!("heartbeat = \"{}\"\n", hook.url("/alive")));
    if let Some(mail) = mail {
        text.push_str("mail = [\"ops@clinic.example\", \"night@clinic.example\"]\n");
        let server = format!("host = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"engage@clinic.example\"\n", mail.port());
        text.push_str(&format!("[smtp]\n{server}"));
    }
    text
}

async fn world(db: Database, hook: &Hook, mail: Option<&MailServer>) -> World {
    let world = World::new(db, 5, &configuration(hook, mail)).await;
    world.keep("webhook-secret", SECRET);
    // All is read and well.
    take_all(&world.node()).await;
    world
}

/// So many failures of a type in a row.
async fn fail(world: &World, times: u32) {
    let now = world.clock.now();
    for _ in 0..times {
        let retry = move |_| now.plus(TimeDelta::days(1));
        let why = "the EHR says that Jane Roe is not there";
        world.store.write("test", move |conn| turns::failed(conn, &north(), ResourceType::Patient, why, now, now, retry)).await.unwrap();
    }
}

async fn mend(world: &World) {
    let now = world.clock.now();
    world.store.write("test", move |conn| turns::served(conn, &north(), ResourceType::Patient, now, now)).await.unwrap();
}

async fn all(world: &World) -> Vec<Alert> {
    world.store.read(|conn| alerts::latest(conn, 100)).await.unwrap()
}

fn told(hook: &Hook) -> Vec<(String, String)> {
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    hook.came("/hook").iter().map(|c| (text(&c.json()["type"]), text(&c.json()["data"]["subject"]))).collect()
}

on_both! {
    async fn a_drift_a_late_file_and_what_runs_out_are_told_and_are_over_when_they_are(db) {
        let hook = Hook::start();
        let world = world(db, &hook, None).await;
        let node = Node::of(&world);
        assert_eq!(node.look().await.open, 0);
        let now = world.clock.now();
        let late = drops::DropStatus {
            ehr: "north".to_owned(),
            drop_name: "visits".to_owned(),
            since: 0,
            checked_at: now.micros(),
            last_taken_at: None,
            late_since: Some(now.micros()),
            problem: Some("the folder cannot be read: permission denied".to_owned()),
        };
        let expires = |day: &str| {
            let mut profile: serde_json::Value =
                serde_json::from_str(&world.store.read_blocking(|conn| ehrs::get(conn, "north")).unwrap().unwrap().profile).unwrap();
            profile["credential_expires"] = day.into();
            let profile = profile.to_string();
            world.store.write_blocking(fhir_engage::store::Lane::Interactive, "test", |conn| ehrs::put(conn, &north(), &profile, now)).unwrap();
        };
        let tomorrow = now.to_string()[..10].to_owned();
        expires(&tomorrow);
        // What it stated first, if it was ever asked, is what differences are told from.
        let first = world.store.read(|conn| statements::get(conn, "north")).await.unwrap();
        let stated = first.map_or_else(|| "{}".to_owned(), |s| s.accepted);
        let (before, first) = (late.clone(), stated.clone());
        world
            .store
            .write("test", move |conn| {
                drops::put_status(conn, &before)?;
                statements::keep(conn, "north", &first, (0, 0), now)?;
                statements::keep(conn, "north", "{\"rest\":[]}", (2, 0), now).map(drop)
            })
            .await
            .unwrap();
        node.look().await;
        let mut open: Vec<(String, String)> = all(&world).await.into_iter().map(|a| (a.kind, a.subject)).collect();
        open.sort();
        let kinds: Vec<&str> = open.iter().map(|a| a.0.as_str()).collect();
        assert_eq!(kinds, ["drifted", "expiring", "failing", "late"], "{open:?}");
        assert!(open[1].1.starts_with("north/secret ") && open[2].1 == "north/visits" && open[3].1 == "north/visits", "{open:?}");
        // Mended, each by what mends it.
        let mended = drops::DropStatus { late_since: None, problem: None, ..late };
        expires("2099-01-01");
        world
            .store
            .write("test", move |conn| {
                drops::put_status(conn, &mended)?;
                statements::keep(conn, "north", &stated, (0, 0), now).map(drop)
            })
            .await
            .unwrap();
        node.look().await;
        world.forward(TimeDelta::minutes(6));
        let report = node.look().await;
        assert_eq!((report.open, report.closed), (0, 4), "{:?}", all(&world).await);
    }

    async fn it_opens_once_and_closes_once_however_many_nodes_look(db) {
        let (hook, mail) = (Hook::start(), MailServer::start());
        let world = world(db, &hook, Some(&mail)).await;
        let nodes = [Node::of(&world), Node::of(&world), Node::of(&world)];
        let everyone_looks = || async {
            for _ in 0..3 {
                let looks = nodes.iter().map(|n| n.app.look_for_alerts(&n.desk, true));
                let done = futures_util::future::join_all(looks).await;
                // Whoever finds another one at it leaves it to that one.
                assert!(done.iter().any(Result::is_ok), "{done:?}");
            }
        };
        everyone_looks().await;
        assert!(all(&world).await.is_empty());
        fail(&world, 2).await;
        everyone_looks().await;
        assert!(all(&world).await.is_empty(), "twice is not yet failing");
        fail(&world, 1).await;
        everyone_looks().await;
        fail(&world, 4).await;
        everyone_looks().await;
        let open = all(&world).await;
        assert_eq!(open.len(), 1);
        assert!(open[0].says.contains("7 times in a row") && open[0].closed_at.is_none(), "{open:?}");
        assert_eq!(told(&hook), [("alert.opened".to_owned(), "north/Patient".to_owned())]);
        // It is over; what comes back within the time to settle is the same one.
        mend(&world).await;
        everyone_looks().await;
        world.forward(TimeDelta::minutes(4));
        everyone_looks().await;
        fail(&world, 3).await;
        everyone_looks().await;
        mend(&world).await;
        everyone_looks().await;
        world.forward(TimeDelta::minutes(4));
        everyone_looks().await;
        assert_eq!(told(&hook).len(), 1, "it was not over for long enough");
        world.forward(TimeDelta::minutes(1));
        everyone_looks().await;
        everyone_looks().await;
        let expected = ["alert.opened", "alert.closed"].map(|t| (t.to_owned(), "north/Patient".to_owned()));
        assert_eq!(told(&hook), expected);
        // The next time is another one.
        fail(&world, 3).await;
        everyone_looks().await;
        assert_eq!((all(&world).await.len(), told(&hook).len()), (2, 3));
        for to in ["ops@clinic.example", "night@clinic.example"] {
            let subjects: Vec<String> = mail.to(to).iter().map(|m| m.text.lines().find(|l| l.starts_with("Subject: ")).unwrap().to_owned()).collect();
            let open = "Subject: [fhir-engage] failing: north/Patient";
            assert_eq!(subjects, [open, "Subject: [fhir-engage] over: failing: north/Patient", open], "{to}");
        }
    }

    async fn what_is_told_is_signed_names_what_to_do_and_never_what_the_ehr_said(db) {
        let (hook, mail) = (Hook::start(), MailServer::start());
        let world = world(db, &hook, Some(&mail)).await;
        fail(&world, 3).await;
        Node::of(&world).look().await;
        let came = &hook.came("/hook")[0];
        assert!(came.is_signed_with(SECRET) && !came.is_signed_with(b"another"));
        assert_eq!(came.header("webhook-timestamp"), (world.clock.now().micros() / 1_000_000).to_string());
        let data = came.json()["data"].clone();
        assert_eq!((&data["kind"], &data["site"], &data["closed_at"]), (&"failing".into(), &"Our practice".into(), &serde_json::Value::Null));
        assert!(data["remedy"].as_str().unwrap().contains("fhir-engage sync status north"));
        let letter = &mail.to("ops@clinic.example")[0].text;
        for text in [&came.body, letter] {
            assert!(!text.contains("Jane Roe"), "{text}");
        }
    }

    async fn a_webhook_that_fails_is_tried_again_in_order_and_given_up_after_days(db) {
        let hook = Hook::start();
        let world = world(db, &hook, None).await;
        let node = Node::of(&world);
        hook.answers(500);
        fail(&world, 3).await;
        let report = node.look().await;
        assert!(report.failures.iter().any(|f| f == "alert 1 could not be told to webhook: 500"), "{report:?}");
        node.look().await;
        assert_eq!(hook.came("/hook").len(), 1, "it waits before it tries again");
        mend(&world).await;
        node.look().await;
        world.forward(TimeDelta::minutes(6));
        node.look().await;
        world.forward(TimeDelta::minutes(15));
        // A node that was started since goes on with it.
        drop(node);
        let node = Node::of(&world);
        hook.answers(204);
        node.look().await;
        let came = hook.came("/hook");
        let types: Vec<String> = came.iter().map(|c| c.json()["type"].as_str().unwrap().to_owned()).collect();
        assert_eq!(types.last().unwrap(), "alert.closed");
        let opened: Vec<_> = came.iter().filter(|c| c.header("webhook-id") == "alert-1-opened").collect();
        assert!(opened.len() >= 3, "{types:?}");
        assert_eq!(types.iter().filter(|t| *t == "alert.closed").count(), 1, "the end does not overtake the beginning: {types:?}");
        assert!(opened.iter().all(|c| c.body == opened[0].body && c.is_signed_with(SECRET)), "a repeat can be told by its id");
        // A receiver that is gone for good.
        hook.answers(404);
        fail(&world, 3).await;
        node.look().await;
        world.forward(TimeDelta::days(3));
        node.look().await;
        let states = world.lines("SELECT state AS line FROM alert_delivery WHERE state <> 'sent'");
        assert!(states.iter().any(|s| s == "given-up"), "{states:?}");
    }

    async fn the_signal_is_given_while_all_is_well_and_stays_away_otherwise(db) {
        let hook = Hook::start();
        let world = world(db, &hook, None).await;
        let node = Node::of(&world);
        let signals = || hook.came("/alive").len();
        node.look().await;
        node.look().await;
        assert_eq!(signals(), 1);
        world.forward(TimeDelta::minutes(4));
        node.look().await;
        assert_eq!(signals(), 1);
        world.forward(TimeDelta::minutes(1));
        node.look().await;
        assert_eq!(signals(), 2);
        // An open alert was told: it is no reason to be silent.
        fail(&world, 3).await;
        world.forward(TimeDelta::minutes(5));
        node.look().await;
        assert_eq!(signals(), 3);
        // A loop of the gateway hangs.
        world.forward(TimeDelta::minutes(5));
        node.app.look_for_alerts(&node.desk, false).await.unwrap();
        assert_eq!(signals(), 3);
        node.look().await;
        assert_eq!(signals(), 4);
        // A signal that did not arrive is given again with the next look, and said.
        hook.answers(503);
        world.forward(TimeDelta::minutes(5));
        assert!(node.look().await.failures.iter().any(|f| f.contains("heartbeat") && !f.contains("/alive")));
        hook.answers(204);
        node.look().await;
        assert_eq!(signals(), 6);
        // Alerts that cannot be told: silence is the only thing left to say so.
        hook.answers(404);
        mend(&world).await;
        node.look().await;
        world.forward(TimeDelta::minutes(6));
        node.look().await;
        world.forward(TimeDelta::days(3));
        node.look().await;
        hook.answers(204);
        let before = signals();
        world.forward(TimeDelta::minutes(10));
        node.look().await;
        assert_eq!(signals(), before);
    }

    async fn a_type_that_nobody_reads_is_late_and_a_paused_one_is_not(db) {
        let hook = Hook::start();
        let world = world(db, &hook, None).await;
        world.set(r#"{"cron":"0 2 * * *","time_zone":"UTC"}"#).await;
        let node = Node::of(&world);
        for (clock, late) in [("2027-01-13T02:00:00Z", 0), ("2027-01-13T03:59:59Z", 0), ("2027-01-13T04:00:00Z", 3)] {
            world.clock.set(at(clock));
            node.look().await;
            let open = all(&world).await;
            assert_eq!(open.iter().filter(|a| a.kind == kind::LATE).count(), late, "{clock}: {open:?}");
        }
        assert!(all(&world).await.iter().any(|a| a.says.starts_with("north Patient should have been read at 2027-01-13T02:00:00Z; it is known up to 2027-01-12T09:00:00Z")));
        let now = world.clock.now();
        world.store.write("test", move |conn| pauses::begin(conn, &north(), ALL_TYPES, "downtime", "ada", now)).await.unwrap();
        node.look().await;
        world.forward(TimeDelta::minutes(5));
        node.look().await;
        assert!(all(&world).await.iter().all(|a| a.closed_at.is_some()), "who paused it knows");
        world.store.write("test", move |conn| pauses::end(conn, &north(), ALL_TYPES, "ada", now)).await.unwrap();
        take_all(&node.app).await;
        node.look().await;
        assert!(all(&world).await.iter().all(|a| a.closed_at.is_some()));
    }

    async fn what_others_note_is_an_alert_until_it_is_taken_back_or_runs_out(db) {
        let hook = Hook::start();
        let world = world(db, &hook, None).await;
        world.register(&EhrId::parse("broken").unwrap(), "{}x").await;
        let (node, now) = (Node::of(&world), world.clock.now());
        let note = |kind: &'static str, subject: &'static str, until: Option<i64>| {
            let until = until.map(|m| now.plus(TimeDelta::minutes(m)));
            world.store.write("test", move |conn| alerts::note(conn, (kind, subject), ("it runs out", "renew it"), until, now))
        };
        note(kind::EXPIRING, "north/client-certificate", None).await.unwrap();
        note(kind::DRIFTED, "north", Some(10)).await.unwrap();
        note(kind::DRIFTED, "north", Some(20)).await.unwrap();
        node.look().await;
        let open = || async { world.store.read(alerts::open).await.unwrap().into_iter().map(|a| (a.kind, a.subject)).collect::<Vec<_>>() };
        let pairs = [("failing", "broken"), ("drifted", "north"), ("expiring", "north/client-certificate")];
        assert_eq!(open().await, pairs.map(|(k, s)| (k.to_owned(), s.to_owned())));
        world.store.write("test", |conn| alerts::clear(conn, kind::EXPIRING, "north/client-certificate")).await.unwrap();
        world.forward(TimeDelta::minutes(21));
        take_all(&node.app).await;
        node.look().await;
        world.forward(TimeDelta::minutes(6));
        node.look().await;
        assert_eq!(open().await, [("failing".to_owned(), "broken".to_owned())]);
    }
}
