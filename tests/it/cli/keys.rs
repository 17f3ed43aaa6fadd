//! `keys` and the access options of `ehr add`, as an operator types them.

use serde_json::Value;

use crate::support::{Installation, on_both};

fn states(gateway: &Installation) -> Vec<String> {
    let all = gateway.json(&["keys", "list"]);
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    all.as_array().unwrap().iter().map(|k| format!("{} {}", text(&k["alg"]), text(&k["state"]))).collect()
}

on_both! {
    fn a_key_is_made_rotated_and_retired_from_the_command_line(db) {
        let gateway = Installation::new(&db, "[web]\nexternal_url = \"https://engage.example.org/gw/\"\n");
        let none = gateway.run(&["keys", "rotate"]);
        assert_eq!(none.code, Some(1), "{}", none.stderr);
        gateway.run(&["ehr", "add", "main", "--url", "http://127.0.0.1:1/fhir", "--client-id", "c", "--key-alg", "ES384"]).ok();
        gateway.run(&["ehr", "add", "other", "--url", "http://127.0.0.1:2/fhir", "--client-id", "c", "--key-alg", "ES384"]).ok();
        let made = gateway.json(&["keys", "generate", "--alg", "ES384"]);
        assert_eq!((made["state"].as_str(), states(&gateway)), (Some("next"), vec!["ES384 current".to_owned(), "ES384 next".to_owned()]));
        let done = gateway.json(&["keys", "rotate", "--ehr", "main"]);
        assert_eq!((done.as_array().unwrap().len(), &done[0]["ehr"], &done[0]["to"]), (1, &Value::from("main"), &made["kid"]));
        assert!(done[0]["tried_after"].is_string());
        let listed = gateway.run(&["keys", "list"]).ok().stdout;
        assert!(listed.contains("main: tried after") && listed.contains("other: current since"), "{listed}");
        let set = |args: &[&str]| gateway.run(&[&["keys", "jwks"], args].concat()).ok().json()["keys"].as_array().unwrap().len();
        assert_eq!((set(&[]), set(&["--ehr", "main"]), set(&["--ehr", "other"])), (2, 2, 1), "an EHR has to know what it may meet");
        assert_eq!(gateway.run(&["keys", "jwks", "--url"]).ok().stdout.trim(), "https://engage.example.org/gw/.well-known/jwks.json");

        // The one that is in use at an EHR goes only by force.
        let old = done[0]["from"].as_str().unwrap();
        let refused = gateway.run(&["keys", "retire", old]);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("main, other") && refused.stderr.contains("--force"), "{}", refused.stderr);
        let now = gateway.json(&["keys", "rotate", "--now"]);
        assert!(now.as_array().unwrap().iter().all(|r| r["tried_after"].is_null() && r["to"] != made["kid"]), "{now}");
        assert_eq!(gateway.json(&["keys", "list"]).as_array().unwrap().iter().filter(|k| k["kid"] == old).count(), 0);
        gateway.run(&["keys", "retire", made["kid"].as_str().unwrap()]).ok();
        assert_eq!(states(&gateway), ["ES384 current"]);
        for (args, code) in [
            (&["keys", "retire", "no-such"][..], 1),
            // One in 64 kids begins so.
            (&["keys", "retire", "-no-such"], 1),
            (&["keys", "retire", "-no-such", "--force"], 1),
            (&["keys", "rotate", "--ehr", "no-such"], 2),
            (&["keys", "generate", "--alg", "HS256"], 2),
            (&["keys", "jwks", "--ehr", "no-such"], 2),
        ] {
            let ended = gateway.run(args);
            assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
        }
    }

    fn every_kind_of_access_is_registered_and_no_secret_is_stored(db) {
        let gateway = Installation::new(&db, "");
        let folder = crate::support::TempDir::new();
        let file = folder.join("desk.toml");
        std::fs::write(&file, "[desk]\ntypes = [\"Appointment\"]\n[desk.auth]\nkind = \"user-grant\"\nclient_id = \"desk\"\n").unwrap();
        let (file, url) = (file.to_str().unwrap().to_owned(), "https://ehr.example.org/fhir");
        let add = |name: &str, args: &[&str]| gateway.run(&[&["ehr", "add", name, "--url", url], args].concat());
        add("secret", &["--client-id", "c", "--client-secret", "env:S", "--client-auth", "post", "--secret-expires", "2027-03-31"]).ok();
        add("person", &["--client-id", "c", "--user-grant", "--aud", "absent"]).ok();
        add("both", &["--client-id", "c", "--key-alg", "ES384", "--credentials", &file, "--read-scope", "system/*.read"]).ok();
        add("far", &["--client-cert", "/etc/c.pem", "--client-cert-key", "file:/etc/k.pem", "--proxy", "http://proxy:3128", "--no-proxy", ".local"]).ok();
        let all = gateway.json(&["ehr", "list"]);
        let kinds: Vec<&str> = all.as_array().unwrap().iter().map(|e| e["profile"]["auth"]["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["backend-services", "none", "user-grant", "client-secret"]);
        assert_eq!(all[0]["profile"]["credentials"]["desk"]["types"], serde_json::json!(["Appointment"]));
        for (args, says) in [
            (&["--client-id", "c", "--client-secret", "hunter2"][..], "env:NAME or file:PATH"),
            (&["--client-id", "c", "--user-grant", "--sign", "--client-secret", "env:S"], "cannot be used with"),
            (&["--client-secret", "env:S"], "--client-id"),
            (&["--client-cert", "/etc/c.pem"], "--client-cert-key"),
            (&["--proxy", "http://u:hunter2@proxy:3128"], "without a name or password"),
            (&["--credentials", "/no/such"], "cannot be read"),
            (&["--no-proxy", "x"], "--proxy"),
        ] {
            let ended = add("wrong", args);
            assert_eq!(ended.code, Some(2), "{args:?}");
            assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
            assert!(says != "env:NAME or file:PATH" || !ended.stderr.contains("hunter2"), "{}", ended.stderr);
        }
        assert!(!db.lines("SELECT profile AS line FROM ehr").join("").contains("hunter2"));
        let missing = gateway.run(&["ehr", "check", "secret"]);
        assert_eq!(missing.code, Some(1));
        assert!(missing.stderr.contains("environment variable S is not set"), "{}", missing.stderr);
    }
}
