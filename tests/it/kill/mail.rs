//! A live gateway is killed while it hands messages to a mail server, above all between the end of a message's data and the server's
//! answer: no message goes out twice, and none is forgotten. What cannot be told by machine is left to a person, who settles it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::Value;

use super::world::{Installation, random, rounds};
use crate::mail::{admit, chart};
use crate::support::{Database, MailServer, Running, on_both};

/// New patients of a round; each is written to once.
const PATIENTS: usize = 4;
/// How long the server thinks about a message, milliseconds: long enough for a kill to fall into.
const THINKS: u64 = 60;
/// How long anything may take that has no reason to wait.
const PATIENCE: Duration = Duration::from_secs(90);

/// Messages at the server, by the attempt that their Message-ID names.
fn by_attempt(mail: &MailServer) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for message in mail.received() {
        let id = message.text.lines().find_map(|l| l.strip_prefix("Message-ID: <")).expect("a message has an id").to_owned();
        *found.entry(id.split('.').next().unwrap().to_owned()).or_default() += 1;
    }
    found
}

/// State and failure of each attempt by mail or that should become one, by its id.
fn attempts(db: &Database) -> BTreeMap<String, (String, String)> {
    let lines = db.lines(
        "SELECT id || '|' || state || '|' || COALESCE(failure, '-') AS line FROM attempt WHERE program = 'plan-check-in' AND step = 'first'",
    );
    let parts = |line: &String| {
        let mut parts = line.splitn(3, '|').map(str::to_owned);
        (parts.next().unwrap(), (parts.next().unwrap(), parts.next().unwrap()))
    };
    lines.iter().map(parts).collect()
}

/// Waits for the moment, or for the end of the process. Returns whether the kill falls between a message's data and its answer.
fn wait(mail: &MailServer, running: &mut Running, usual: Duration, aimed: bool, random: &mut StdRng) -> bool {
    let before = mail.received().len();
    let nth = before + random.random_range(1..=3);
    let until = Instant::now() + if aimed { usual * 5 } else { usual.mul_f64(random.random_range(0.0..1.1)) };
    while Instant::now() < until && !running.has_ended() && !(aimed && mail.received().len() >= nth) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let came = aimed && mail.received().len() >= nth;
    if came {
        // Mostly before the answer, sometimes about when it comes or is written down.
        let then = Instant::now() + Duration::from_millis(random.random_range(0..THINKS + THINKS / 2));
        while Instant::now() < then && !running.has_ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    came
}

/// Undisturbed rounds until no attempt waits to be sent.
#[track_caller]
fn settle(gateway: &Installation) {
    let until = Instant::now() + PATIENCE;
    loop {
        let done: Value = serde_json::from_str(&gateway.run(&["work", "--once", "--json"])).unwrap();
        let open = attempts(&gateway.db)
            .into_values()
            .filter(|(state, failure)| matches!(state.as_str(), "planned" | "held") || (state == "sending" && failure == "-"));
        if open.count() == 0 {
            return;
        }
        assert!(Instant::now() < until, "{done}: {:?}", attempts(&gateway.db));
    }
}

fn left_to_a_person(gateway: &Installation) -> Vec<String> {
    let listed: Value = serde_json::from_str(&gateway.run(&["outreach", "list", "--state", "unclear", "--json"])).unwrap();
    listed.as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect()
}

on_both! {
    async fn a_gateway_that_is_killed_while_it_sends_mail_doubles_and_loses_none(db) {
        let mut random = random("a_gateway_that_is_killed_while_it_sends_mail");
        let mail = MailServer::start();
        let ehr = chart(&["p0"]).await;
        let gateway = Installation::with(db, &mail.config());
        gateway.run(&["ehr", "add", "bay", "--url", &ehr.base_url()]);
        gateway.run(&["outreach", "live", "on"]);
        let started = Instant::now();
        gateway.run(&["work", "--once"]);
        let usual = started.elapsed() + Duration::from_millis(THINKS * PATIENTS as u64);
        let (wanted, mut kills, mut aimed_well, mut admitted) = (rounds(12), 0, 0, 1);
        // On a busy machine few kills find it at the right moment.
        for round in 0..wanted * 20 {
            if kills >= wanted && aimed_well >= wanted / 2 {
                break;
            }
            let names: Vec<String> = (admitted..admitted + PATIENTS).map(|n| format!("p{n}")).collect();
            admitted += PATIENTS;
            admit(&ehr, &names);
            mail.thinks(THINKS);
            let mut running = gateway.start(&["work", "--once"]);
            let came = wait(&mail, &mut running, usual, round % 3 != 2, &mut random);
            if !running.has_ended() {
                running.kill();
                kills += 1;
                aimed_well += u32::from(came);
            }
        }
        assert!(kills >= wanted && aimed_well >= wanted / 2, "too few kills found it running: {kills}, {aimed_well} while it sent");
        mail.thinks(0);
        settle(&gateway);

        // One attempt for each patient; each was sent once, or waits for a person.
        let (all, at_server) = (attempts(&gateway.db), by_attempt(&mail));
        assert_eq!(all.len(), admitted, "{all:#?}");
        assert!(at_server.values().all(|n| *n == 1), "sent twice: {at_server:?}");
        assert!(at_server.keys().all(|id| all.contains_key(id)), "a message of no attempt: {at_server:?}");
        let unclear = left_to_a_person(&gateway);
        let there = |id: &String| at_server.contains_key(id);
        for (id, (state, failure)) in &all {
            match state.as_str() {
                "sent" => assert!(there(id), "{id} says that it was sent"),
                "sending" => assert!(failure.starts_with("unclear: ") && unclear.contains(id), "{id}: {failure}"),
                other => panic!("{id} is {other}: {failure}"),
            }
        }
        let went = unclear.iter().filter(|id| there(id)).count();
        eprintln!(
            "{kills} kills, {aimed_well} of them while a message was at the server; of {admitted} attempts {} are left to a person, {went} of which had gone out",
            unclear.len()
        );
        assert!(!unclear.is_empty(), "a test of nothing");
        assert!(unclear.len() <= kills as usize, "a kill leaves one message in doubt at most");

        // The person looks at the mail server, and then nothing is open, nothing was lost and nothing doubled.
        for id in &unclear {
            gateway.run(&["outreach", "settle", id, if there(id) { "--sent" } else { "--not-sent" }]);
        }
        settle(&gateway);
        let (all, at_server) = (attempts(&gateway.db), by_attempt(&mail));
        assert!(all.values().all(|(state, _)| matches!(state.as_str(), "sent" | "finished")), "{all:#?}");
        assert_eq!(at_server.values().sum::<usize>(), admitted);
        assert!(all.keys().all(|id| at_server.get(id) == Some(&1)), "{at_server:?}");
        assert_eq!(left_to_a_person(&gateway), Vec::<String>::new());
    }
}
