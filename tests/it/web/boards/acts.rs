//! Acts: each does what its command does, once, for those who may, sent from our own page; and each leaves its row in the audit chain.

use actix_web::http::Method;
use domain::model::{Right, Role};
use fhir_engage::store::stops;
use fhir_engage::web::routes::{Access, table};

use super::World;
use crate::store::fixtures::read;
use crate::support::{Backend, Database, Staff, on_both};

/// Sends a form of the session's own page.
async fn act(world: &World, staff: &Staff, path: &str, fields: &[(&str, &str)]) -> super::Answer {
    let all: Vec<(&str, &str)> = [("csrf", staff.csrf.as_str())].into_iter().chain(fields.iter().copied()).collect();
    world.server.post(path, &staff.cookie, &all).await
}

/// An act that must go well, and what the next page says of it.
#[track_caller]
fn led_back(answer: &super::Answer, to: &str) {
    assert_eq!((answer.status, answer.headers.get("location").map(String::as_str)), (303, Some(to)), "{}", answer.body);
}

/// All that acts could change, in one text.
fn all_that_is(db: &Database) -> String {
    let mut lines = Vec::new();
    for sql in [
        "SELECT ehr || rtype || COALESCE(wanted_by, '') AS line FROM sync_turn ORDER BY 1",
        "SELECT ehr || why || COALESCE(resumed_by, '') AS line FROM sync_pause ORDER BY id",
        "SELECT scope || name || COALESCE(ended_by, '') AS line FROM outreach_stop ORDER BY id",
        "SELECT name || value AS line FROM installation ORDER BY 1",
        "SELECT id || state || COALESCE(called_by, '') AS line FROM attempt ORDER BY 1",
        "SELECT id || state AS line FROM writeback ORDER BY 1",
        "SELECT attempt || COALESCE(settled_by, '') AS line FROM answer ORDER BY 1",
        "SELECT kind || COALESCE(acknowledged_by, '') AS line FROM alert ORDER BY id",
        "SELECT word || why AS line FROM person_word ORDER BY id",
        "SELECT state || CAST(number AS TEXT) AS line FROM rollout ORDER BY number",
        "SELECT what AS line FROM audit ORDER BY number",
        "SELECT handle AS line FROM opening ORDER BY 1",
    ] {
        lines.extend(db.lines(sql));
    }
    lines.join("\n")
}

on_both! {
    async fn a_form_from_elsewhere_does_nothing(db) {
        let world = World::filled(&db);
        let staff = world.server.staff(&Role::ALL).await;
        let before = all_that_is(&db);
        let fields = [
            ("ehr", "north"), ("type", "Patient"), ("why", "because"), ("scope", "all"), ("name", ""), ("on", "true"), ("attempt", "b1"),
            ("sent", "true"), ("id", "a2-0"), ("there", "true"), ("number", "1"), ("alert", "1"), ("one", "north/p1"), ("other", "north/p2"),
            ("same", "true"), ("fingerprint", "x"), ("patient", "p1"), ("family", "garcia"), ("cause", "http-422"),
        ];
        let mut tried = 0;
        for row in table().iter().filter(|r| r.method == Method::POST && !r.path.contains("{handle}")) {
            let Access::Staff(_) = row.access else { continue };
            let good = staff.csrf.as_str();
            let with = |token: &'static str| fields.iter().copied().chain([("csrf", token)]).collect::<Vec<_>>();
            let right: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", good)]).collect();
            let twice: Vec<(&str, &str)> = right.iter().copied().chain([("csrf", good)]).collect();
            let same = [("Sec-Fetch-Site", "same-origin")];
            for (from, fields) in [
                (&same[..], fields.to_vec()),
                (&same[..], with("")),
                (&same[..], with("forged")),
                (&same[..], twice),
                (&[("Sec-Fetch-Site", "cross-site")][..], right.clone()),
                (&[("Sec-Fetch-Site", "same-site")][..], right.clone()),
                (&[("Origin", "https://evil.example")][..], right.clone()),
                (&[][..], right.clone()),
            ] {
                let answer = world.server.post_from(row.path, &staff.cookie, from, &fields).await;
                assert_eq!(answer.status, 403, "{} {from:?}", row.path);
                assert!(answer.body.contains("Nothing was done"), "{}", row.path);
                tried += 1;
            }
            let other = world.server.staff(&Role::ALL).await;
            let foreign: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", other.csrf.as_str())]).collect();
            assert_eq!(world.server.post(row.path, &staff.cookie, &foreign).await.status, 403, "{}: another session's token", row.path);
        }
        assert!(tried > 140, "{tried}");
        assert_eq!(all_that_is(&db), before);
    }

    async fn an_incomplete_form_does_nothing(db) {
        let world = World::filled(&db);
        let staff = world.server.staff(&Role::ALL).await;
        let before = all_that_is(&db);
        for (path, fields) in [
            ("/connections/run", &[][..]),
            ("/connections/pause", &[("ehr", "north")][..]),
            ("/connections/pause", &[("ehr", "north"), ("why", "  ")][..]),
            ("/outreach/stop", &[("scope", "all"), ("name", "")][..]),
            ("/outreach/stop", &[("scope", "planet"), ("name", ""), ("why", "x")][..]),
            ("/outreach/live", &[("on", "perhaps")][..]),
            ("/work/send", &[("attempt", "b1")][..]),
            ("/work/answer", &[("attempt", "a3"), ("number", "x")][..]),
            ("/alerts/acknowledge", &[("alert", "1")][..]),
            ("/quarantine/replay", &[("ehr", "nor\0th")][..]),
        ] {
            let answer = act(&world, &staff, path, fields).await;
            assert_eq!(answer.status, 400, "{path} {fields:?}: {}", answer.body);
        }
        for (path, fields) in [
            ("/connections/run", &[("ehr", "south")][..]),
            ("/connections/pause", &[("ehr", "south"), ("why", "x")][..]),
            ("/connections/resume", &[("ehr", "north")][..]),
            ("/connections/accept", &[("ehr", "north"), ("fingerprint", "x")][..]),
            ("/outreach/stop", &[("scope", "program"), ("name", "none"), ("why", "x")][..]),
            ("/outreach/start", &[("scope", "all"), ("name", "")][..]),
            ("/work/send", &[("attempt", "a1"), ("sent", "true")][..]),
            ("/work/write", &[("id", "a1-0"), ("there", "true")][..]),
            ("/work/answer", &[("attempt", "a3"), ("number", "7")][..]),
            ("/work/called", &[("attempt", "b1")][..]),
            ("/work/person", &[("one", "north/p1"), ("other", "north/p1"), ("same", "true"), ("why", "x")][..]),
            ("/writeback/replay", &[][..]),
            ("/writeback/replay", &[("cause", "none")][..]),
            ("/alerts/acknowledge", &[("alert", "99"), ("why", "x")][..]),
            ("/segments/apply", &[("fingerprint", "x")][..]),
            ("/segments/back", &[][..]),
        ] {
            let answer = act(&world, &staff, path, fields).await;
            assert_eq!(answer.status, 409, "{path} {fields:?}: {}", answer.body);
            assert!(answer.body.contains("Nothing was done") && answer.body.contains("Back to"), "{path}");
        }
        let rows = |text: &str| text.lines().filter(|l| *l != "roll-back-segments").map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(rows(&all_that_is(&db)), rows(&before));
    }

    async fn each_act_does_what_its_command_does(db) {
        let world = World::filled(&db);
        let staff = world.server.staff(&Role::ALL).await;
        let one = |sql: &str| db.lines(sql).join(",");

        led_back(&act(&world, &staff, "/connections/run", &[("ehr", "north"), ("type", "Patient")]).await, "/connections");
        let note = world.server.send("GET", "/connections", &[("Cookie", &staff.cookie)]).await.body;
        assert!(note.contains("Asked for 1 type; a worker takes it in a moment."), "{note}");
        let once = world.server.send("GET", "/connections", &[("Cookie", &staff.cookie)]).await.body;
        assert!(!once.contains("Asked for 1 type"), "it is told once: {once}");
        assert_eq!(one("SELECT rtype || ' ' || wanted_by AS line FROM sync_turn"), "Patient Kim kim");

        led_back(&act(&world, &staff, "/connections/pause", &[("ehr", "north"), ("why", "upgrade")]).await, "/connections/north");
        assert_eq!(one("SELECT ehr || ' ' || why || ' ' || paused_by AS line FROM sync_pause"), "north upgrade Kim kim");
        let closed = act(&world, &staff, "/connections/run", &[("ehr", "north")]).await;
        assert!(closed.status == 409 && closed.body.contains("paused by Kim kim (upgrade)"), "{}", closed.body);
        led_back(&act(&world, &staff, "/connections/resume", &[("ehr", "north")]).await, "/connections/north");
        assert_eq!(one("SELECT resumed_by AS line FROM sync_pause"), "Kim kim");

        led_back(&act(&world, &staff, "/outreach/stop", &[("scope", "program"), ("name", "visit-confirm"), ("why", "wrong text")]).await, "/outreach");
        let twice = act(&world, &staff, "/outreach/stop", &[("scope", "program"), ("name", "visit-confirm"), ("why", "again")]).await;
        assert_eq!(twice.status, 409);
        let stopped = read(world.store(), stops::in_force);
        assert_eq!(stopped.len(), 1);
        assert!(stopped[0].holds("visit-confirm", "email") && !stopped[0].holds("welcome", "email"));
        led_back(&act(&world, &staff, "/outreach/start", &[("scope", "program"), ("name", "visit-confirm")]).await, "/outreach");
        assert!(read(world.store(), stops::in_force).is_empty());

        led_back(&act(&world, &staff, "/outreach/live", &[("on", "true")]).await, "/outreach");
        assert!(world.app.is_live().await.unwrap());
        led_back(&act(&world, &staff, "/outreach/live", &[("on", "false")]).await, "/outreach");
        assert!(!world.app.is_live().await.unwrap());

        led_back(&act(&world, &staff, "/work/send", &[("attempt", "b1"), ("sent", "true")]).await, "/work");
        assert_eq!(one("SELECT state || ' ' || outcome AS line FROM attempt WHERE id = 'b1'"), "finished unknown");
        assert_eq!(act(&world, &staff, "/work/send", &[("attempt", "b1"), ("sent", "true")]).await.status, 409, "a double click does it once");
        led_back(&act(&world, &staff, "/work/write", &[("id", "a2-0"), ("there", "true")]).await, "/work");
        assert_eq!(one("SELECT state AS line FROM writeback WHERE id = 'a2-0'"), "written");
        led_back(&act(&world, &staff, "/writeback/replay", &[("ehr", "north"), ("cause", "http-422")]).await, "/writeback");
        assert_eq!(one("SELECT state AS line FROM writeback WHERE id = 'a1-0'"), "owed");
        led_back(&act(&world, &staff, "/work/answer", &[("attempt", "a3"), ("number", "1")]).await, "/work");
        led_back(&act(&world, &staff, "/work/called", &[("attempt", "b2")]).await, "/work");
        led_back(&act(&world, &staff, "/alerts/acknowledge", &[("alert", "1"), ("why", "ticket 4711")]).await, "/alerts");
        assert_eq!(one("SELECT acknowledged_by || ' ' || acknowledged_why AS line FROM alert"), "Kim kim ticket 4711");
        let pair = [("one", "north/p1"), ("other", "north/p2"), ("same", "true"), ("why", "passport")];
        led_back(&act(&world, &staff, "/work/person", &pair).await, "/work");
        assert_eq!(one("SELECT CAST(COUNT(DISTINCT person) AS TEXT) AS line FROM patient WHERE fhir_id IN ('p1', 'p2')"), "1");
        led_back(&act(&world, &staff, "/quarantine/replay", &[("ehr", "north")]).await, "/quarantine");
        let told = world.server.send("GET", "/quarantine", &[("Cookie", &staff.cookie)]).await.body;
        assert!(told.contains("2 tried: 0 stored, 0 no longer needed, 2 still put aside."), "{told}");

        let what: Vec<String> = World::audited(&db).into_iter().filter(|l| !l.starts_with("view-")).collect();
        let expected = [
            "run-sync north Patient", "pause-sync north *", "resume-sync north *", "stop-outreach program visit-confirm",
            "start-outreach program visit-confirm", "switch-live true", "switch-live false", "settle-send b1", "settle-write a2-0",
            "replay-write-backs north http-422", "answer-done a3/1", "called b2", "acknowledge-alert 1", "join-persons north",
            "replay-quarantine north",
        ];
        assert_eq!(what.len(), expected.len(), "{what:?}");
        for (found, wanted) in what.iter().zip(expected) {
            assert_eq!(found.split(' ').next(), wanted.split(' ').next(), "{what:?}");
        }
        let work = world.server.send("GET", "/work", &[("Cookie", &staff.cookie)]).await.body;
        assert!(!work.contains("busy\">call<") && !work.contains("busy\">answer<") && !work.contains("bad\">send in doubt<"), "{work}");
    }

    async fn definitions_are_planned_looked_at_and_then_applied(db) {
        let world = World::filled(&db);
        let staff = world.server.staff(&[Role::Engagement]).await;
        let folder = world.data.join("segments");
        std::fs::create_dir_all(&folder).unwrap();
        let file = "id = \"seniors\"\ntitle = \"Seniors\"\nstage = \"retention\"\ndescription = \"Of 80 and more.\"\nrule = \"age >= 80\"\nunknown = \"out\"\n";
        std::fs::write(folder.join("seniors.toml"), file).unwrap();
        led_back(&act(&world, &staff, "/segments/plan", &[("all", "yes")]).await, "/segments/plan");
        let mut page = String::new();
        for _ in 0..100 {
            page = world.server.send("GET", "/segments/plan", &[("Cookie", &staff.cookie)]).await.body;
            if !page.contains("is being worked out:") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(page.contains("seniors") && page.contains("Would enter"), "{page}");
        let fingerprint = page.split("name=\"fingerprint\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        // The file changes behind the page: what was not seen is not applied.
        std::fs::write(folder.join("seniors.toml"), file.replace("80", "90")).unwrap();
        let changed = act(&world, &staff, "/segments/apply", &[("fingerprint", &fingerprint)]).await;
        assert!(changed.status == 409 && changed.body.contains("say another thing by now"), "{}", changed.body);
        std::fs::write(folder.join("seniors.toml"), file).unwrap();
        led_back(&act(&world, &staff, "/segments/apply", &[("fingerprint", &fingerprint)]).await, "/segments");
        assert_eq!(db.lines("SELECT state AS line FROM definition WHERE id = 'seniors'"), ["staged"]);
        led_back(&act(&world, &staff, "/segments/back", &[("sure", "yes")]).await, "/segments");
        assert_eq!(db.lines("SELECT state AS line FROM definition WHERE id = 'seniors'"), ["dropped"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_act_is_refused_and_sees_no_button() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let world = World::filled(&db);
    let before = all_that_is(&db);
    for row in table().iter().filter(|r| r.method == Method::POST && !r.path.contains("{handle}")) {
        let Access::Staff(right) = row.access else { continue };
        for role in Role::ALL.into_iter().filter(|role| !role.may(right)) {
            let staff = world.server.staff(&[role]).await;
            let answer =
                act(&world, &staff, row.path, &[("ehr", "north"), ("scope", "all"), ("name", ""), ("why", "x"), ("on", "true")]).await;
            assert_eq!(answer.status, 403, "{role} {}", row.path);
        }
    }
    assert_eq!(all_that_is(&db), before);
    for (page, form, right) in [
        ("/connections", "/connections/run", Right::RunSync),
        ("/connections/north", "/connections/pause", Right::PauseSync),
        ("/alerts", "/alerts/acknowledge", Right::RunSync),
        ("/quarantine", "/quarantine/replay", Right::ReplayQuarantine),
        ("/outreach", "/outreach/stop", Right::SwitchOutreach),
        ("/outreach", "/outreach/live", Right::SwitchOutreach),
        ("/work", "/work/send", Right::SettleWork),
        ("/work", "/patients/open", Right::FindPatient),
        ("/writeback", "/writeback/replay", Right::ReplayWriteBack),
        ("/writebacks?state=refused", "/writeback/replay", Right::ReplayWriteBack),
    ] {
        for role in Role::ALL {
            let answer = world.get(&[role], page).await;
            if answer.status == 200 {
                assert_eq!(answer.body.contains(&format!("action=\"{form}\"")), role.may(right), "{role} {page} {form}");
            }
        }
    }
}
