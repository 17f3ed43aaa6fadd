//! The commands, and a running gateway that finds, tells and shows.

use std::time::{Duration, Instant};

use super::hook::Hook;
use crate::kill::Installation;
use crate::support::on_both;

const PATIENCE: Duration = Duration::from_secs(60);

on_both! {
    async fn a_running_gateway_finds_what_is_wrong_and_the_commands_show_it(db) {
        let hook = Hook::start();
        let configuration = format!(
            "[worker]\ntick = \"1s\"\n[alerts]\nlook_every = \"1s\"\nfailures = 1\ndisk_free = 0\nwebhook = \"file:url\"\nwebhook_secret = \"file:secret\"\nheartbeat = \"{}\"\n",
            hook.url("/alive")
        );
        let gateway = Installation::with(db, &configuration);
        std::fs::write(gateway.data.join("url"), hook.url("/services/T00/B00/XXXX")).unwrap();
        std::fs::write(gateway.data.join("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let json = |args: &[&str], code: i32| {
            let ended = gateway.start(&[args, &["--json"]].concat()).wait();
            assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
            ended.json()
        };
        assert_eq!(json(&["alerts", "test"], 0)[0]["taken"], true);
        let trial = hook.came("/services/T00/B00/XXXX").remove(0);
        let key = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert!(trial.is_signed_with(&key) && trial.json()["data"]["kind"] == "test");
        assert_eq!(json(&["alerts", "list", "--all"], 0), serde_json::json!([]));
        gateway.run(&["ehr", "add", "south", "--url", "http://127.0.0.1:9/fhir"]);
        let mut server = gateway.start(&["work"]);
        let until = Instant::now() + PATIENCE;
        while hook.came("/services/T00/B00/XXXX").len() < 4 || hook.came("/alive").is_empty() {
            assert!(Instant::now() < until, "{:?}", hook.came("/services/T00/B00/XXXX"));
            std::thread::sleep(Duration::from_millis(10));
        }
        server.kill();
        let open = json(&["alerts", "list"], 1);
        assert_eq!(open.as_array().unwrap().len(), 3, "a row for each type: {open}");
        assert!(open.as_array().unwrap().iter().all(|a| a["kind"] == "failing" && a["state"] == "open"), "{open}");
        let id = open[0]["id"].to_string();
        let shown = json(&["alerts", "show", &id], 0);
        assert_eq!((&shown["told"][0]["target"], &shown["told"][0]["state"], &shown["told"][0]["said"]), (&"webhook".into(), &"sent".into(), &"204".into()));
        let text = gateway.run(&["alerts", "show", &id]);
        assert!(text.contains("what to do: ") && !text.contains("XXXX"), "{text}");
        gateway.run(&["alerts", "acknowledge", &id, "--why", "ticket-1", "--by", "ada"]);
        let shown = json(&["alerts", "show", &id], 0);
        assert_eq!((&shown["state"], &shown["acknowledged_by"], &shown["acknowledged_why"]), (&"acknowledged".into(), &"ada".into(), &"ticket-1".into()));
        assert_eq!(gateway.start(&["alerts", "acknowledge", &id, "--why", "again"]).wait().code, Some(1));
        for args in [&["alerts", "show", "99"][..], &["alerts", "acknowledge", "99", "--why", "x"]] {
            assert_eq!(gateway.start(args).wait().code, Some(2), "{args:?}");
        }
        // A secret that is not there is told when the gateway starts, and not when the first alert is due.
        std::fs::remove_file(gateway.data.join("secret")).unwrap();
        let refused = gateway.start(&["work"]).wait();
        assert!(refused.code == Some(1) && refused.stderr.contains("alerts.webhook_secret"), "{refused:?}");
    }
}
