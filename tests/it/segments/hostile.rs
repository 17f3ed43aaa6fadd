//! Wrong files, hostile rules and two at once: told clearly, and whatever happens what is in force stays whole.

use serde_json::{Value, json};

use crate::support::{Database, Installation, on_both};

const HEAD: &str = "title = 'x'\nstage = 'retention'\ndescription = 'x'\n";

fn site(db: &Database, patients: usize) -> Installation {
    let site = Installation::new(db, "");
    let file = site.folder().join("Patient.ndjson");
    let line = |n: usize| {
        json!({ "resourceType": "Patient", "id": format!("p{n}"), "birthDate": format!("{}-01-01", 1930 + n % 80) }).to_string() + "\n"
    };
    std::fs::write(&file, (0..patients).map(line).collect::<String>()).unwrap();
    site.run(&["ehr", "add", "files", "--files"]).ok();
    site.run(&["import", "--ehr", "files", file.to_str().unwrap()]).ok();
    site.run(&["segments", "run"]).ok();
    for folder in ["segments", "value-sets", "attributes"] {
        std::fs::create_dir_all(site.folder().join(folder)).unwrap();
    }
    site
}

impl Installation {
    fn writes(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let file = self.folder().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn forgets(&self, name: &str) {
        std::fs::remove_file(self.folder().join(name)).unwrap();
    }

    /// What `segments check` says of files, and that nothing can be applied of them.
    #[track_caller]
    fn checked(&self, files: &[&str]) -> String {
        let told = self.run(&[&["segments", "check"], files].concat());
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(!told.stderr.contains("panicked"), "{told:?}");
        told.stdout + &told.stderr
    }
}

fn segment(id: &str, rule: &str) -> String {
    format!("id = '{id}'\n{HEAD}rule = '''{rule}'''\n")
}

on_both! {
    fn files_of_every_kind_are_checked_all_mistakes_at_once(db) {
        let site = site(&db, 2);
        let attribute = "id = 'Score'\nmeaning = 'x'\nresource = 'Patient'\npath = 'a..b'\ntype = 'text'\n";
        let broken = [
            site.writes("attributes/score.toml", attribute),
            site.writes("segments/one.toml", segment("one", "agee > 3 and gender = 7")),
            site.writes("value-sets/eyes.toml", "id = 'eyes'\ntitle = 'x'\nsource = 'x'\nversion = 3\nlicence = 'CC0-1.0'\n"),
            site.writes("segments/two.json", r#"{"id":"two","title":"x","stage":"retention","description":"x","rule":{"all":[{"attribut":"age"}]}}"#),
        ];
        let told = site.checked(&broken.each_ref().map(String::as_str));
        for wanted in [
            "score.toml: line 1, column 6: `Score` is not an id", "score.toml: line 4, column 11: `path`: the name of an element is missing",
            "one.toml: segment one: rule, line 1, column 1: there is no attribute `agee`; did you mean `age`?", "column 23: `gender` is a text",
            "eyes.toml: line 4, column 11: `version` must be a text", "two.json: segment two: $.all",
        ] {
            assert!(told.contains(wanted), "{wanted}\n{told}");
        }
        // The same by its members, in whatever folder; and right ones together, which name each other.
        let alone = site.checked(&[&site.writes("mine.toml", attribute)]);
        assert!(alone.contains("mine.toml: line 4, column 11: `path`"), "{alone}");
        let right = [
            site.writes("attributes/score.toml", attribute.replace("Score", "score").replace("a..b", "a.b")),
            site.writes("segments/one.toml", segment("one", "own.score = \"7\" and condition.codes in valueset(eyes)")),
            site.writes("value-sets/eyes.toml", "id = 'eyes'\ntitle = 'x'\nsource = 'x'\nversion = '3'\nlicence = 'CC0-1.0'\n[codes]\n'http://a' = ['1']\n"),
            site.writes("segments/two.json", r#"{"id":"two","title":"x","stage":"retention","description":"x","rule":{"segment":"one"}}"#),
        ];
        let ok = site.run(&["segments", "check", &right[0], &right[1], &right[2], &right[3]]).ok();
        assert!(ok.stdout.contains("4 definitions can be applied"), "{ok:?}");
        site.run(&["segments", "apply"]).ok();
        let shown = site.json(&["segments", "show", "two"]);
        assert_eq!((&shown["tree"], &shown["rule"]), (&json!({ "segment": "one" }), &json!("segment(one)")));
        // A cycle through three files, of both forms; and two files with one id.
        site.writes("segments/one.toml", segment("one", "segment(three)"));
        site.writes("segments/three.toml", segment("three", "active and segment(two)"));
        let refused = site.run(&["segments", "apply"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("refers to itself: ") && refused.stderr.contains("break the circle"), "{refused:?}");
        site.writes("segments/three.toml", segment("one", "active"));
        let refused = site.run(&["segments", "apply"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("the id one is that of") && refused.stderr.contains("three.toml"), "{refused:?}");
        assert_eq!(site.json(&["segments", "show", "two"])["version"], 1, "nothing changed");
    }

    fn hostile_rules_are_refused_in_words(db) {
        let site = site(&db, 2);
        let nested = |open: &str, n: usize, close: &str| format!("{}active{}", open.repeat(n), close.repeat(n));
        let many: String = (0..40_000).map(|n| format!("'c{n}', ")).collect();
        for (rule, wanted) in [
            (nested("(", 65, ")"), "nested deeper than 64"),
            (nested("not ", 65, ""), "nested deeper than 64"),
            (nested("(", 30_000, ")"), "nested deeper than 64"),
            (vec!["active"; 20_000].join(" and "), "at most 100000 bytes"),
            ("age >= 99999999999999999999".to_owned(), "too large"),
            ("last_visit.end within 999999999999h".to_owned(), "150 years"),
            ("last_visit.end older than 99999999999999999999 years".to_owned(), "too large"),
            ("appointments.no_show in last 4294967296d > 1".to_owned(), "150 years"),
            ("last_visit.end within 0h".to_owned(), "at least 1"),
            ("last_visit.end within -3h".to_owned(), "column 23"),
            ("gender in ()".to_owned(), "column 12"),
            ("gender in (\"male\",)".to_owned(), "column 19"),
            ("condition.present of ()".to_owned(), "column 2"),
            ("\u{430}ctive".to_owned(), "has no place in a rule"),
            ("active\u{a0}and\u{200b}active".to_owned(), "has no place in a rule"),
            ("language = \"\u{202e}en\" and $".to_owned(), "has no place in a rule"),
            ("segment(x)".to_owned(), "refers to itself: x -> x"),
            ("condition.codes in valueset(nothing)".to_owned(), "there is no value set `nothing`"),
            ("last_visit.start = 2026-02-30".to_owned(), "is not a date that exists"),
        ] {
            let told = site.checked(&[&site.writes("segments/x.toml", segment("x", &rule))]);
            assert!(told.contains(wanted), "{}: {told}", rule.chars().take(60).collect::<String>());
        }
        // What is odd and right is taken: a double negation, the edge of the numbers, a hundred thousand codes, a code of any script.
        site.writes("value-sets/huge.toml", format!("id = 'huge'\ntitle = 'x'\nsource = 'x'\nversion = '1'\nlicence = 'CC0-1.0'\n[codes]\n'http://a' = [{many}]\n"));
        let right = "not not (age >= -9223372036854775808 and age <= 9223372036854775807) and not condition.codes in valueset(huge) and not language = \"\u{65e5}\u{672c}\"";
        site.writes("segments/x.toml", segment("x", right));
        site.run(&["segments", "apply"]).ok();
        assert_eq!(site.json(&["segments", "show", "x"])["unknown"], 2, "neither language nor conditions are told");
    }

    fn files_that_are_none_are_refused_in_words(db) {
        let site = site(&db, 2);
        for (name, bytes, wanted) in [
            ("segments/x.toml", b"".to_vec(), "`id` is missing"),
            ("segments/x.toml", vec![0xff, 0xfe, 0x00], "is not UTF-8"),
            ("segments/x.toml", b"\0\0\0".to_vec(), "is not TOML"),
            ("segments/x.toml", vec![b'a'; 2 << 20], "a definition has at most 1048576"),
            ("segments/x.toml", b"id = 'x'\nid = 'y'\n".to_vec(), "line 2, column 1: this is not TOML: duplicate key"),
            ("segments/x.toml", format!("a={}", "[".repeat(50_000)).into_bytes(), "is not TOML"),
            ("segments/x.json", [b"{\"a\":".repeat(10_000), vec![b'1']].concat(), "recursion limit"),
            ("value-sets/x.json", [b"[".repeat(10_000)].concat(), "is not JSON"),
            ("attributes/x.toml", b"id = 'x'\nmeaning = 'm'\nresource = 'Patient'\ntype = 'text'\npath = \"a.where(b.where(c.where(d = 'x') = 'y') = 'z'\"".to_vec(), "line 5, column"),
        ] {
            let file = site.writes(name, &bytes);
            let told = site.checked(&[&file]);
            assert!(told.contains(wanted), "{wanted}: {}", told.chars().take(400).collect::<String>());
            let refused = site.run(&["segments", "apply"]);
            assert!(refused.code == Some(1) && refused.stderr.contains("x."), "{:?}", refused.stderr.chars().take(400).collect::<String>());
            site.forgets(name);
        }
        assert!(site.checked(&[site.folder().join("nothing.toml").to_str().unwrap()]).contains("cannot be read"));
        assert!(site.checked(&[site.folder().to_str().unwrap()]).contains("is not a file"));
        std::fs::create_dir_all(site.folder().join("segments/folder.toml")).unwrap();
        assert!(site.run(&["segments", "apply"]).stderr.contains("is not a file"));
        std::fs::remove_dir(site.folder().join("segments/folder.toml")).unwrap();
        let same = site.json(&["segments", "plan"]);
        assert_eq!(same["segments"], json!([]), "nothing of it stayed");
    }

    fn other_words_for_an_attribute_evaluate_nobody(db) {
        let site = site(&db, 3);
        let text = |meaning: &str, path: &str| format!("id = 'born'\nmeaning = '{meaning}'\nresource = 'Patient'\npath = '{path}'\ntype = 'time'\n");
        site.writes("attributes/born.toml", text("When it was.", "birthDate"));
        site.writes("segments/known.toml", segment("known", "exists own.born"));
        site.run(&["segments", "apply"]).ok();
        let before = site.json(&["segments", "history"]);
        let read = "SELECT hash || ' ' || begun_at || ' ' || ended_at AS line FROM own_attribute";
        let (was_read, evaluated) = (db.lines(read), db.lines("SELECT person || ' ' || evaluated_at AS line FROM assignment"));
        site.writes("attributes/born.toml", text("The day of birth.", "birthDate"));
        let plan = site.json(&["segments", "plan"]);
        assert_eq!((&plan["attributes"], &plan["segments"]), (&json!({ "born": "reworded" }), &json!([])));
        let said = site.json(&["segments", "apply"]);
        assert_eq!((&said["rollout"], said["said"].as_str()), (&Value::Null, Some("1 definition reworded; nothing else differs")));
        assert_eq!(site.json(&["segments", "history"]), before, "no roll-out");
        assert_eq!(site.json(&["segments", "run"])["persons"], 0);
        assert_eq!((db.lines(read), db.lines("SELECT person || ' ' || evaluated_at AS line FROM assignment")), (was_read, evaluated));
        assert_eq!(db.lines("SELECT id AS line FROM definition WHERE source LIKE '%The day of birth.%' AND state = 'current'"), ["born"]);
        let plan = site.json(&["segments", "plan"]);
        assert_eq!(plan["attributes"], json!({}), "it is in force");
        // Another path is another attribute.
        site.writes("attributes/born.toml", text("The day of birth.", "meta.lastUpdated"));
        assert_eq!(site.json(&["segments", "plan"])["attributes"], json!({ "born": "changed" }));
    }

    fn birth_dates_that_cannot_be_are_unknown_with_their_reason(db) {
        let site = Installation::new(&db, "");
        let births = [("a", "1900", "122 years"), ("b", "2026-02-30", "no Patient.birthDate"), ("c", "2199-01-01", "in the future"), ("d", "1950", "")];
        let line = |(id, born, _): &(&str, &str, &str)| json!({ "resourceType": "Patient", "id": id, "birthDate": born }).to_string() + "\n";
        let file = site.writes("Patient.ndjson", births.iter().map(line).collect::<String>());
        site.run(&["ehr", "add", "files", "--files"]).ok();
        let report = site.json(&["import", "--ehr", "files", &file]);
        assert_eq!((&report["stored"], &report["quarantined"]), (&json!(4), &json!(0)), "{report}");
        assert_eq!(site.members("age-65-and-over"), ["files/d"]);
        for (id, _, says) in &births[..3] {
            let record = format!("files/{id}");
            let asked = ["segments", "explain", "--patient", &record, "--segment", "age-65-and-over"];
            let told = site.json(&asked);
            assert_eq!((&told["segments"][0]["now"], &told["segments"][0]["unknown"]), (&json!("out"), &json!(true)), "{told}");
            let words = site.run(&asked).ok().stdout;
            assert!(words.contains("age-65-and-over: OUT (not known, which counts as out here)"), "{words}");
            let reasons = told["segments"][0]["reasons"].as_array().unwrap();
            let age = reasons.iter().find(|r| r["test"] == "age >= 65").unwrap();
            assert_eq!((&age["truth"], &age["decides"]), (&json!("unknown"), &json!(true)));
            assert!(age["sentence"].as_str().unwrap().contains(says), "{age}");
        }
        let row = site.json(&["segments", "list"]).as_array().unwrap().iter().find(|s| s["id"] == "age-65-and-over").unwrap().clone();
        assert_eq!((&row["holds"], &row["does_not_hold"], &row["unknown"]), (&json!(1), &json!(0), &json!(3)), "{row}");
    }

    fn two_that_apply_at_once_leave_one_whole_set_in_force(db) {
        let site = site(&db, 400);
        let folders: Vec<String> = (0..2).map(|n| site.folder().join(format!("set{n}")).to_str().unwrap().to_owned()).collect();
        for round in 0..4 {
            for (n, age) in [(0, 30 + round), (1, 60 + round)] {
                site.writes(&format!("set{n}/segments/a.toml"), segment("a", &format!("age >= {age}")));
                site.writes(&format!("set{n}/segments/b{n}.toml"), segment(&format!("b{n}"), "segment(a)"));
            }
            let both: Vec<_> = folders
                .iter()
                .map(|folder| crate::support::Running::start(&mut site.command(&["segments", "apply", "--definitions", folder])))
                .collect();
            let mut undone = Vec::new();
            if round % 2 == 1 {
                undone.push(crate::support::Running::start(&mut site.command(&["segments", "rollback"])));
            }
            for ended in both.into_iter().chain(undone) {
                let ended = ended.wait();
                assert!(matches!(ended.code, Some(0..=2)) && !ended.stderr.contains("panicked"), "{ended:?}");
            }
            site.run(&["segments", "run"]).ok();
            let open = db.lines("SELECT state AS line FROM rollout WHERE state NOT IN ('done', 'dropped')");
            assert_eq!(open, Vec::<String>::new(), "all of it came to an end");
            let twice = "SELECT kind || ' ' || id AS line FROM definition WHERE state = 'current' GROUP BY kind, id HAVING count(*) > 1";
            assert_eq!(db.lines(twice), Vec::<String>::new());
            // One of the two sets, whole, or what was there before.
            let current = db.lines("SELECT id AS line FROM definition WHERE state = 'current' AND id IN ('a', 'b0', 'b1') ORDER BY id");
            assert!(["", "a b0", "a b1"].contains(&current.join(" ").as_str()), "{current:?}");
            assert!(round == 1 || !current.is_empty() || round == 3, "{current:?}");
            // Memberships are those of evaluating everyone anew.
            let plan = site.json(&["segments", "plan", "--all", "--definitions", site.folder().join("none").to_str().unwrap()]);
            for s in plan["segments"].as_array().unwrap().iter().filter(|s| s["change"].is_null()) {
                assert_eq!((&s["entering"], &s["leaving"]), (&json!(0), &json!(0)), "{s}");
            }
            if let Some(kept) = current.last() {
                assert_eq!(site.members("a"), site.members(kept));
                assert!(!site.members("a").is_empty());
            }
        }
    }
}
