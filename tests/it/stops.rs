//! Stopped outreach, by the built binary: what comes due waits, goes when outreach goes on if it is still timely, and is told where it is not. A stop
//! in the middle of a run holds what has not left yet.

use std::time::{Duration, Instant};

use crate::mail::chart;
use crate::support::{Database, Installation, MailServer, Running, gateway, on_both};

fn connected(db: &Database, mail: &MailServer, ehr: &sandbox::Sandbox) -> Installation {
    let gateway = Installation::new(db, &mail.config());
    gateway.run(&["ehr", "add", "bay", "--url", &ehr.base_url()]).ok();
    gateway.run(&["outreach", "live", "on"]).ok();
    gateway
}

/// State and failure of the first message of each patient's program, the rungs in order.
fn fates(db: &Database) -> Vec<String> {
    db.lines(
        "SELECT p.fhir_id || ' ' || a.state || ' ' || COALESCE(a.failure, '-') AS line FROM attempt a JOIN patient p ON p.pk = a.patient
         WHERE a.program = 'plan-check-in' AND a.step = 'first' ORDER BY p.fhir_id, a.rung",
    )
}

fn verdicts(db: &Database) -> usize {
    db.lines("SELECT attempt AS line FROM verdict").len()
}

/// Moves the gateway's clock on; it is read when a command begins.
fn advance(db: &Database, days: i64) {
    db.execute("DELETE FROM installation WHERE name = 'clock-offset'");
    db.execute(&format!("INSERT INTO installation (name, value) VALUES ('clock-offset', '{}')", days * 86_400_000_000));
}

const STOPS: [&[&str]; 3] = [&["--all"], &["--program", "plan-check-in"], &["--channel", "email"]];

on_both! {
    async fn what_comes_due_while_outreach_is_stopped_waits_and_goes_when_it_goes_on(db) {
        let (backend, mut db) = (db.backend(), Some(db));
        for what in STOPS {
            let Some(db) = db.take().or_else(|| Database::fresh(backend)) else { return };
            let mail = MailServer::start();
            let ehr = chart(&["ok"]).await;
            let gateway = connected(&db, &mail, &ehr);
            gateway.run(&[&["outreach", "stop"], what, &["--why", "wrong-text"]].concat()).ok();
            gateway.cycle();
            assert_eq!(fates(&db), ["ok held stopped"], "{what:?}: no other channel is taken in its place");
            let before = verdicts(&db);
            gateway.cycle();
            assert_eq!((verdicts(&db), mail.connections()), (before, 0), "{what:?}: it is not judged again and again");
            // Another stop holds it still, and says so.
            gateway.run(&["outreach", "stop", "--program", "plan-check-in", "--why", "also"]);
            gateway.run(&["outreach", "stop", "--all", "--why", "also"]);
            gateway.run(&[&["outreach", "start"], what].concat()).ok();
            gateway.cycle();
            assert_eq!((fates(&db), mail.connections()), (vec!["ok held stopped".to_owned()], 0), "{what:?}");
            for other in [&["--program", "plan-check-in"][..], &["--all"][..]] {
                gateway.run(&[&["outreach", "start"], other].concat());
            }
            gateway.cycle();
            assert_eq!(fates(&db), ["ok sent -"], "{what:?}");
            assert_eq!(mail.received().len(), 1, "{what:?}");
        }
    }

    async fn what_is_of_no_use_any_more_is_not_sent_later_and_says_why(db) {
        let mail = MailServer::start();
        let ehr = chart(&["ok"]).await;
        let gateway = connected(&db, &mail, &ehr);
        gateway.run(&["outreach", "stop", "--all", "--why", "wrong-text"]).ok();
        gateway.cycle();
        assert_eq!(fates(&db), ["ok held stopped"]);
        advance(&db, 15);
        gateway.cycle();
        let told = fates(&db);
        assert!(told.len() == 1 && told[0].contains("expire") && !told[0].contains("held"), "{told:?}");
        gateway.run(&["outreach", "start", "--all"]).ok();
        gateway.cycle();
        assert_eq!((fates(&db), mail.connections()), (told, 0));
    }

    async fn a_stop_in_the_middle_of_a_run_holds_what_has_not_left(db) {
        let mail = MailServer::start();
        let names = ["p1", "p2", "p3", "p4", "p5", "p6"];
        let ehr = chart(&names).await;
        let installation = connected(&db, &mail, &ehr);
        // Slow enough that the stop comes while most still wait for their turn.
        mail.thinks(1_500);
        let folder = installation.folder().to_str().unwrap().to_owned();
        let running = Running::start(&mut gateway(&["work", "--once", "--data", &folder, "--database", &db.argument()]));
        let began = Instant::now();
        while mail.received().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing was sent");
            std::thread::sleep(Duration::from_millis(20));
        }
        installation.run(&["outreach", "stop", "--all", "--why", "wrong-text"]).ok();
        let report = running.wait();
        assert_eq!(report.code, Some(0), "{}", report.stderr);
        let (left, fates_now) = (mail.received().len(), fates(&db));
        assert!((1..names.len()).contains(&left), "{left} had left: {fates_now:?}");
        assert_eq!(fates_now.iter().filter(|f| f.ends_with("held stopped")).count(), names.len() - left, "{fates_now:?}");
        mail.thinks(0);
        installation.run(&["outreach", "start", "--all"]).ok();
        installation.cycle();
        let mut to: Vec<String> = mail.received().into_iter().map(|m| m.to).collect();
        to.sort();
        assert_eq!(to, names.map(|n| format!("{n}@patients.example")), "each once");
    }
}
