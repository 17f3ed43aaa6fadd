//! Mail, the whole way: a real conversation with a mail server that says no in every way, an EHR beside it, and the built binary.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Database, Installation, MailServer, Manner, keep_for_validation, on_both};

/// An open EHR with one patient for each name, who has mail at that name and a care plan that runs on.
pub(crate) async fn chart(names: &[&str]) -> sandbox::Sandbox {
    #[expect(clippy::disallowed_methods, reason = "the binary goes by the real clock, so its EHR does")]
    let clock: sandbox::Clock =
        Arc::new(|| i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros()).unwrap());
    let ehr = sandbox::start(sandbox::Config { open: true, ..sandbox::Config::new(clock) }).await.unwrap();
    admit(&ehr, names);
    ehr
}

/// Puts such a patient into it for each name.
pub(crate) fn admit(ehr: &sandbox::Sandbox, names: &[impl AsRef<str>]) {
    let resources = names.iter().map(AsRef::as_ref).flat_map(|name| {
        let patient = json!({
            "resourceType": "Patient", "id": name, "active": true, "birthDate": "1970-01-31", "name": [{ "given": ["Zelda"], "family": "Quux" }],
            "telecom": [{ "system": "email", "value": address(name) }],
            "communication": [{ "language": { "coding": [{ "code": "en" }] }, "preferred": true }],
        });
        let plan = json!({
            "resourceType": "CarePlan", "id": format!("plan-{name}"), "status": "active", "intent": "plan",
            "subject": { "reference": format!("Patient/{name}") }, "period": { "start": "2025-01-01" },
        });
        [patient.to_string(), plan.to_string()]
    });
    ehr.load(resources).unwrap();
}

fn address(name: &str) -> String {
    format!("{name}@patients.example")
}

fn connected(db: &Database, mail: &MailServer, ehr: &sandbox::Sandbox) -> Installation {
    let gateway = Installation::new(db, &mail.config());
    gateway.run(&["ehr", "add", "bay", "--url", &ehr.base_url()]).ok();
    gateway
}

/// State, outcome, channel and failure of the attempts for a patient, the first rung first.
fn fates(gateway: &Installation, name: &str) -> Vec<(String, String, String, String)> {
    let mut rows = gateway.attempts("plan-check-in", &format!("bay/{name}"));
    rows.retain(|(step, _, _)| step == "first");
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let mut fates: Vec<_> =
        rows.iter().map(|(_, state, row)| (state.clone(), text(row, "outcome"), text(row, "channel"), text(row, "failure"))).collect();
    fates.sort_by(|a, b| (&a.2, &a.0).cmp(&(&b.2, &b.0)));
    fates
}

fn fate(state: &str, outcome: &str, channel: &str, failure: &str) -> (String, String, String, String) {
    [state, outcome, channel, failure].map(str::to_owned).into()
}

fn id_of(gateway: &Installation, name: &str) -> String {
    let rows = gateway.attempts("plan-check-in", &format!("bay/{name}"));
    rows.iter().find(|(step, state, _)| step == "first" && state == "sending").unwrap().2["id"].as_str().unwrap().to_owned()
}

/// Moves the gateway's clock on; it is read when a command begins.
fn advance(db: &Database, minutes: i64) {
    db.execute("DELETE FROM installation WHERE name = 'clock-offset'");
    db.execute(&format!("INSERT INTO installation (name, value) VALUES ('clock-offset', '{}')", minutes * 60_000_000));
}

fn written(ehr: &sandbox::Sandbox, name: &str) -> Vec<Value> {
    ehr.resources("Communication").into_iter().filter(|c| c["subject"]["reference"] == format!("Patient/{name}")).collect()
}

on_both! {
    async fn nothing_leaves_an_installation_that_is_not_live(db) {
        let mail = MailServer::start();
        let ehr = chart(&["ok"]).await;
        let gateway = connected(&db, &mail, &ehr);
        gateway.cycle();
        assert_eq!(mail.connections(), 0);
        assert_eq!(fates(&gateway, "ok"), [fate("refused", "-", "-", "channel: not-live"), fate("finished", "delivered", "recorded", "-")]);
        assert_eq!(written(&ehr, "ok").len(), 1, "the recorded one");

        // Switched on later: what was recorded is done with.
        gateway.run(&["outreach", "live", "on"]).ok();
        gateway.cycle();
        assert_eq!(mail.connections(), 0);
    }

    async fn each_answer_of_the_mail_server_has_its_consequence(db) {
        let mail = MailServer::start();
        let names = ["ok", "gone", "later", "lost", "again"];
        for (name, manner) in [("gone", Manner::Refuses), ("later", Manner::Defers), ("lost", Manner::HangsUp), ("again", Manner::HangsUp)] {
            mail.set(&address(name), manner);
        }
        let ehr = chart(&names).await;
        let gateway = connected(&db, &mail, &ehr);
        gateway.run(&["outreach", "live", "on"]).ok();
        let report = gateway.cycle();
        assert_eq!((&report["outreach"]["failed"], &report["outreach"]["unclear"]), (&json!(1), &json!(2)), "{report}");

        assert_eq!(fates(&gateway, "ok"), [fate("sent", "-", "email", "-")]);
        assert_eq!(
            fates(&gateway, "gone"),
            [fate("finished", "failed", "email", "channel: 550 5.1.1"), fate("finished", "delivered", "recorded", "-")],
            "a bounce opens the next rung"
        );
        let later = fates(&gateway, "later");
        assert_eq!((later.len(), later[0].0.as_str(), later[0].3.as_str()), (1, "held", "451 4.7.1"), "{later:?}");
        let lost = [fate("sending", "-", "email", "unclear: connection-lost")];
        assert_eq!((fates(&gateway, "lost"), fates(&gateway, "again")), (lost.to_vec(), lost.to_vec()));

        // The message, as the patient's mailbox gets it.
        let got = mail.to(&address("ok"));
        assert_eq!(got.len(), 1);
        let (head, body) = got[0].text.split_once("\n\n").unwrap();
        let id = gateway.attempts("plan-check-in", "bay/ok").into_iter().find(|a| a.0 == "first").unwrap().2["id"].as_str().unwrap().to_owned();
        for line in [
            "From: \"Harbour Clinic\" <desk@clinic.example>".to_owned(),
            "Reply-To: answers@clinic.example".to_owned(),
            format!("To: {}", address("ok")),
            format!("Message-ID: <{id}.fhir-engage@clinic.example>"),
            "Auto-Submitted: auto-generated".to_owned(),
            "MIME-Version: 1.0".to_owned(),
        ] {
            assert!(head.lines().any(|l| l == line), "{line} in {head}");
        }
        for name in ["Date: ", "Subject: ", "Content-Type: text/plain; charset=utf-8"] {
            assert!(head.lines().any(|l| l.starts_with(name)), "{name} in {head}");
        }
        assert!(body.contains("Harbour Clinic"), "{body}");

        // Doubt is not cleared by trying again: not in the next rounds, and not tomorrow.
        mail.set(&address("later"), Manner::Takes);
        mail.set(&address("again"), Manner::Takes);
        gateway.cycle();
        advance(&db, 16);
        gateway.cycle();
        let mails: Vec<usize> = names.iter().map(|n| mail.to(&address(n)).len()).collect();
        assert_eq!(mails, [1, 0, 1, 1, 1], "{names:?}: the deferred one came, nothing came twice");
        assert_eq!(fates(&gateway, "ok"), [fate("finished", "unknown", "email", "-")], "no receipt came in its time");

        // A person settles the doubt, either way.
        let counts = db.store().read_blocking(fhir_engage::store::view::overview::read).unwrap().attempts;
        assert_eq!((counts.unclear, counts.sending), (2, 0), "the overview shows them");
        let (lost, again) = (id_of(&gateway, "lost"), id_of(&gateway, "again"));
        let list = gateway.run(&["outreach", "list", "--state", "unclear"]).ok().stdout;
        assert!(list.contains("unclear: connection-lost") && list.contains("bay/lost") && !list.contains(&id), "{list}");
        assert!(list.contains(&format!("fhir-engage outreach settle {lost} --sent")), "what to do: {list}");
        let rows = gateway.json(&["outreach", "list", "--state", "unclear"]);
        let mut listed: Vec<&str> = rows.as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect();
        listed.sort_unstable();
        let mut wanted = [lost.as_str(), again.as_str()];
        wanted.sort_unstable();
        assert_eq!(listed, wanted);
        assert!(rows[0]["to_do"].as_str().is_some_and(|t| t.contains("--not-sent")), "{rows}");
        assert_eq!(gateway.json(&["outreach", "settle", &lost, "--sent"]), json!({ "attempt": lost, "settled_as": "sent" }));
        let owed = gateway.json(&["writeback", "list", "--state", "owed"]);
        assert!(owed.as_array().unwrap().iter().any(|w| w["attempt"] == lost), "the chart is to be told: {owed}");
        gateway.run(&["outreach", "settle", &again, "--not-sent"]).ok();
        assert_eq!(fates(&gateway, "again"), [fate("held", "-", "email", "-")], "it waits again");
        assert_eq!(gateway.json(&["outreach", "list", "--state", "unclear"]), json!([]));
        // What does not wait for a person is left as it is, and the sentence says what it is.
        for (id, says) in [(&id, "it is finished (unknown)"), (&lost, "it is finished (unknown)"), (&again, "it is held")] {
            let ended = gateway.run(&["outreach", "settle", id, "--sent"]);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
            assert!(ended.stderr.contains(says) && ended.stderr.contains("--state unclear"), "{}", ended.stderr);
        }
        assert_eq!(gateway.run(&["outreach", "settle", "no-such", "--sent"]).code, Some(2));
        assert_eq!(gateway.run(&["outreach", "settle", &again]).code, Some(2), "one of the two must be said");
        advance(&db, 40);
        gateway.cycle();
        gateway.cycle();
        assert_eq!(mail.to(&address("again")).len(), 2, "a person said that it had not gone out");
        assert_eq!(mail.to(&address("lost")).len(), 1);
        advance(&db, 60);
        gateway.cycle();
        for name in ["lost", "again", "later"] {
            assert_eq!(fates(&gateway, name), [fate("finished", "unknown", "email", "-")], "{name}");
        }

        // All of it is in the chart, once each: for the one whose mail bounced, the rung that came after it.
        let charted: Vec<usize> = names.iter().map(|n| written(&ehr, n).len()).collect();
        assert_eq!(charted, [1, 1, 1, 1, 1], "{names:?}");
        assert!(written(&ehr, "gone")[0]["medium"].to_string().contains("recorded"), "{:?}", written(&ehr, "gone"));

        keep_for_validation(&format!("mail-{:?}", db.backend()), &ehr.resources("Communication"));

        // Nobody's address and no words of the server in what is printed or logged.
        let printed = gateway.run(&["outreach", "list", "--json"]).ok();
        assert!(!format!("{}{}", printed.stdout, printed.stderr).contains("patients.example"));
    }

    async fn a_mail_server_that_is_down_costs_nothing(db) {
        let mail = MailServer::start();
        let ehr = chart(&["ok"]).await;
        let gateway = Installation::new(&db, &mail.config().replace(&mail.port().to_string(), "9"));
        gateway.run(&["ehr", "add", "bay", "--url", &ehr.base_url()]).ok();
        gateway.run(&["outreach", "live", "on"]).ok();
        gateway.cycle();
        let fate_now = fates(&gateway, "ok");
        assert_eq!((fate_now.len(), fate_now[0].0.as_str(), fate_now[0].3.as_str()), (1, "held", "connect"), "{fate_now:?}");
        assert!(written(&ehr, "ok").is_empty());
    }
}
