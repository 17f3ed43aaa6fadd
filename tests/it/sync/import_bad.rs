//! Bad input: each kind gets a message with file and line, is put aside with its bytes, and the rest is stored.

use std::path::PathBuf;

use domain::model::ResourceType;
use fhir_engage::store::quarantine;
use fhir_engage::sync::import::ImportError;

use super::setup::{bodies, import, latest_run, register, try_import, write};
use crate::support::{TempDir, on_both};

const GOOD: &str = r#"{"resourceType":"Patient","id":"good","name":[{"family":"Lovelace"}]}"#;
const LAST: &str = r#"{"resourceType":"Patient","id":"last","name":[{"family":"Hopper"}]}"#;

/// A bad line, the code it is put aside with, and what its message says. None of the messages may hold `SECRET`.
const BAD_LINES: [(&[u8], &str, &str); 15] = [
    (b"not json SECRET", "not-json", "not JSON"),
    (b"{\"resourceType\":\"Patient\",\"id\":\"SECRET\"", "truncated", "cut off"),
    (b"{\"resourceType\":\"Patient\",\"id\":\"x\"} trailing SECRET", "not-json", "not JSON"),
    (b"{\"resourceType\":\"Patient\",\"id\":\"x\",\"name\":[{\"family\":\"SECRET\xff\"}]}", "not-json", "UTF-8"),
    (b"[]", "not-an-object", "object"),
    (b"null", "not-an-object", "object"),
    (b"\"SECRET\"", "not-an-object", "object"),
    (b"{\"id\":\"SECRET\"}", "no-resource-type", "resourceType"),
    (b"{\"resourceType\":7,\"id\":\"SECRET\"}", "no-resource-type", "resourceType"),
    (b"{\"resourceType\":\"SECRET\",\"id\":\"x\"}", "unknown-type", "resourceType"),
    (b"{\"resourceType\":\"Patient\",\"name\":[{\"family\":\"SECRET\"}]}", "no-id", "id"),
    (b"{\"resourceType\":\"Patient\",\"id\":\"SECRET/1\"}", "bad-id", "id"),
    (b"{\"resourceType\":\"Patient\",\"id\":\"x\",\"birthDate\":19991231,\"name\":[{\"family\":\"SECRET\"}]}", "bad-field", "birthDate"),
    (b"{\"resourceType\":\"Patient\",\"id\":7}", "bad-field", "id"),
    (b"{\"resourceType\":\"Appointment\",\"id\":\"x\",\"status\":null,\"participant\":[]}", "bad-field", "status"),
];

on_both! {
    fn each_kind_of_bad_line_is_put_aside_and_sinks_no_other(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let mut file = GOOD.as_bytes().to_vec();
        for (line, _, _) in BAD_LINES {
            file.push(b'\n');
            file.extend(line);
        }
        file.push(b'\n');
        file.extend(LAST.as_bytes());
        let report = import(&store, &[write(&folder.join("mixed.ndjson"), &file)]);
        assert_eq!((report.lines, report.stored, report.quarantined), (17, 2, 15));
        let rows = store.read_blocking(|conn| quarantine::list(conn, None, 100)).unwrap();
        for (n, (line, code, says)) in BAD_LINES.iter().enumerate() {
            let origin = format!("mixed.ndjson:{}", n + 2);
            let row = rows.iter().find(|row| row.origin == origin).unwrap_or_else(|| panic!("nothing of {origin}"));
            assert_eq!(row.code, *code, "{origin}: {}", row.reason);
            assert!(row.reason.contains(says), "{origin}: {}", row.reason);
            assert!(!row.reason.contains("SECRET"), "{origin}: {}", row.reason);
            let (_, body) = store.read_blocking(|conn| quarantine::get(conn, store.codec(), row.id)).unwrap().unwrap();
            assert_eq!(body, *line, "{origin} keeps its bytes");
            assert!(report.problems.iter().any(|p| p.starts_with(&format!("{origin}: ")) && p.contains(says)), "{:?}", report.problems);
        }
    }

    fn odd_but_legal_content_is_kept_as_received(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let odd = concat!(
            r#"{"resourceType":"Patient","id":"odd","fhir_comments":["a note"],"name":[],"telecom":[null,{"system":"phone","value":"1","rank":"2"}],"#,
            r#""address":null,"unknownField":{"deep":[1.00,1e400,-0.0]},"extension":[{"url":"x","valueDecimal":1.50}],"contact":[null]}"#
        );
        let report = import(&store, &[write(&folder.join("odd.ndjson"), odd.as_bytes())]);
        assert_eq!((report.stored, report.quarantined), (1, 0), "{:?}", report.problems);
        assert_eq!(bodies(&store, ResourceType::Patient), [("odd".to_owned(), odd.as_bytes().to_vec())]);
    }

    fn a_line_of_20_mb_is_put_aside_and_the_next_is_read(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let mut file = format!("{GOOD}\n{{\"resourceType\":\"Patient\",\"id\":\"big\",\"x\":\"").into_bytes();
        file.resize(file.len() + (20 << 20), b'y');
        file.extend(format!("\"}}\n{LAST}\n").into_bytes());
        let report = import(&store, &[write(&folder.join("big.ndjson"), &file)]);
        assert_eq!((report.lines, report.stored, report.quarantined), (3, 2, 1));
        assert!(report.problems[0].starts_with("big.ndjson:2: the line has 20 MB, 16 MB is the most"), "{:?}", report.problems);
        let row = &store.read_blocking(|conn| quarantine::list(conn, None, 9)).unwrap()[0];
        let (_, body) = store.read_blocking(|conn| quarantine::get(conn, store.codec(), row.id)).unwrap().unwrap();
        assert_eq!((row.code.as_str(), body.len()), ("too-large", 16 << 20));
    }

    fn a_truncated_gzip_gives_what_came_and_is_told_once(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let lines: Vec<String> = (0..400).map(|n| format!(r#"{{"resourceType":"Patient","id":"p{n}","name":[{{"family":"F{}"}}]}}"#, n * 7919 % 1009)).collect();
        let whole = std::fs::read(write(&folder.join("whole.ndjson.gz"), lines.join("\n").as_bytes())).unwrap();
        let cut = folder.join("Patient.ndjson.gz");
        std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
        let other = write(&folder.join("z.ndjson"), LAST.as_bytes());
        let report = import(&store, &[cut, other]);
        assert_eq!(report.quarantined, 1);
        assert!(report.stored > 2 && report.stored < 401, "{report:?}");
        let good = report.stored - 1;
        assert!(report.problems[0].starts_with(&format!("Patient.ndjson.gz:{}: the file is cut off after line {good}", good + 1)), "{:?}", report.problems);
        assert!(bodies(&store, ResourceType::Patient).iter().any(|(id, _)| id == "last"), "the next file is read");
        assert!(latest_run(&store, ResourceType::Patient).unwrap().partial);
    }

    fn what_cannot_be_imported_at_all_is_told_before_anything_is_stored(db) {
        let (store, folder) = (db.store(), TempDir::new());
        let good = write(&folder.join("good.ndjson"), GOOD.as_bytes());
        let refused = try_import(&store, std::slice::from_ref(&good)).unwrap_err();
        assert!(refused.to_string().contains("fhir-engage ehr add north --files"), "{refused}");
        register(&store);
        let missing = try_import(&store, &[good.clone(), folder.join("missing.ndjson")]).unwrap_err();
        assert!(missing.to_string().contains("missing.ndjson"), "{missing}");
        std::fs::create_dir(folder.join("empty")).unwrap();
        let empty = try_import(&store, &[good.clone(), folder.join("empty")]).unwrap_err();
        assert!(matches!(empty, ImportError::EmptyFolder(_)), "{empty}");
        let twice = try_import(&store, &[PathBuf::from("-"), PathBuf::from("-")]).unwrap_err();
        assert!(matches!(twice, ImportError::StdinTwice), "{twice}");
        assert!(matches!(try_import(&store, &[]).unwrap_err(), ImportError::NoPaths));
        assert!(bodies(&store, ResourceType::Patient).is_empty());
    }

    fn a_folder_is_read_with_its_sub_folders_and_by_content_not_by_name(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        std::fs::create_dir(folder.join("sub")).unwrap();
        write(&folder.join("a.ndjson"), format!("\u{feff}{GOOD}\r\n").as_bytes());
        // Gzipped, though its name does not say so.
        let zipped = std::fs::read(write(&folder.join("x.gz"), LAST.as_bytes())).unwrap();
        std::fs::write(folder.join("sub/b.jsonl"), zipped).unwrap();
        write(&folder.join("notes.txt"), b"not for import");
        let report = import(&store, &[folder.path().to_owned()]);
        assert_eq!((report.files, report.lines, report.stored), (2, 2, 2), "{:?}", report.problems);
    }
}
