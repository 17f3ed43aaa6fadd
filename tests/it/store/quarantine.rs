//! The quarantine: kept with bytes and reason, counted once, released when a good version comes.

use domain::model::ResourceType;
use fhir_engage::store::quarantine::{self, Aside};
use fhir_engage::store::{Store, resources};

use super::fixtures::{at, commit, ehr, incoming, read, write};
use crate::support::on_both;

fn aside(id: Option<&str>, code: &'static str, body: &[u8]) -> Aside {
    Aside {
        rtype: Some("Patient".to_owned()),
        fhir_id: id.map(str::to_owned),
        origin: "patients.ndjson:12".to_owned(),
        code,
        reason: "birthDate is a number".to_owned(),
        body: body.to_vec(),
    }
}

fn put(store: &Store, aside: &Aside, seconds: i64) {
    write(store, |conn| quarantine::put(conn, store.codec(), &ehr(), aside, at(seconds)));
}

on_both! {
    fn the_same_bytes_with_the_same_reason_are_one_row_seen_again(db) {
        let store = db.store();
        put(&store, &aside(Some("p1"), "wrong-type", b"{1}"), 1);
        let mut again = aside(Some("p1"), "wrong-type", b"{1}");
        again.origin = "patients.ndjson:99".to_owned();
        put(&store, &again, 5);
        put(&store, &aside(Some("p1"), "too-large", b"{1}"), 6);
        put(&store, &aside(None, "wrong-type", b"{2}"), 7);
        let rows = read(&store, |conn| quarantine::list(conn, Some("north"), 10));
        assert_eq!(rows.len(), 3);
        let first = rows.last().unwrap();
        assert_eq!((first.times_seen, first.first_seen_at, first.last_seen_at), (2, at(1).micros(), at(5).micros()));
        assert_eq!(first.origin, "patients.ndjson:99");
        let (row, bytes) = read(&store, |conn| quarantine::get(conn, store.codec(), first.id)).unwrap();
        assert_eq!((row.id, row.code.as_str(), bytes.as_slice()), (first.id, "wrong-type", b"{1}".as_slice()));
        assert!(read(&store, |conn| quarantine::get(conn, store.codec(), 999_999)).is_none());
    }

    fn a_good_version_releases_and_the_bad_one_again_waits_again(db) {
        let store = db.store();
        put(&store, &aside(Some("p1"), "wrong-type", b"{1}"), 1);
        put(&store, &aside(Some("p1"), "wrong-type", b"{1b}"), 1);
        put(&store, &aside(Some("p2"), "wrong-type", b"{2}"), 1);
        commit(&store, ResourceType::Patient, vec![incoming(&store, ResourceType::Patient, "p1", "good", "f", &["p1"])]);
        let released = write(&store, |conn| quarantine::release(conn, &ehr(), ResourceType::Patient, &["p1", "p3"], &[], at(2)));
        assert_eq!((released, read(&store, quarantine::count)), (2, 1));
        assert_eq!(write(&store, |conn| quarantine::release(conn, &ehr(), ResourceType::Appointment, &[], &["p2"], at(2))), 0);
        assert_eq!(write(&store, |conn| quarantine::release(conn, &ehr(), ResourceType::Patient, &[], &[], at(2))), 0);
        put(&store, &aside(Some("p1"), "wrong-type", b"{1}"), 3);
        assert_eq!(read(&store, quarantine::count), 2);
        assert!(read(&store, |conn| resources::get(conn, &ehr(), ResourceType::Patient, "p1")).is_some(), "the good version stays");
        let waiting = read(&store, |conn| quarantine::list(conn, None, 10)).remove(0);
        write(&store, |conn| quarantine::released(conn, waiting.id, at(4)));
        assert_eq!(read(&store, quarantine::count), 1);
    }

    fn what_is_told_of_a_stored_one_stays_until_it_changes_and_is_no_flood(db) {
        let store = db.store();
        let told = |n: usize| aside(Some(&format!("p{n}")), quarantine::UNREAD, n.to_string().as_bytes());
        let all: Vec<Aside> = (0..250).map(told).collect();
        write(&store, |conn| quarantine::put_unread(conn, store.codec(), &ehr(), ResourceType::Patient, &all[..60], at(1)));
        write(&store, |conn| quarantine::put_unread(conn, store.codec(), &ehr(), ResourceType::Patient, &all[60..], at(1)));
        assert_eq!(read(&store, quarantine::count), 100, "some are enough to tell");
        put(&store, &aside(Some("p1"), "wrong-type", b"{1}"), 1);
        let release = |changed: &[&str], unchanged: &[&str]| {
            write(&store, |conn| quarantine::release(conn, &ehr(), ResourceType::Patient, changed, unchanged, at(2)))
        };
        assert_eq!(release(&[], &["p1", "p2"]), 1, "the stored one came again: only the broken one is outdated");
        assert_eq!(release(&["p2"], &["p1"]), 1);
        assert_eq!(read(&store, quarantine::count), 99);
    }

    fn a_release_finds_its_rows_among_many(db) {
        let store = db.store();
        write(&store, |conn| {
            for n in 0..10_050 {
                quarantine::put(conn, store.codec(), &ehr(), &aside(Some(&format!("p{n}")), "wrong-type", n.to_string().as_bytes()), at(1))?;
            }
            Ok(())
        });
        let released = write(&store, |conn| quarantine::release(conn, &ehr(), ResourceType::Patient, &["p3", "p10049"], &[], at(2)));
        assert_eq!(released, 2);
    }

    fn texts_of_broken_resources_cannot_sink_the_page(db) {
        let store = db.store();
        let mut odd = aside(Some("id\0with nul"), "bad-id", b"{\0}");
        odd.rtype = Some("Pa\0tient".to_owned());
        odd.origin = "search Patient, \0".to_owned();
        odd.reason = "nul \0".to_owned();
        put(&store, &odd, 1);
        let row = read(&store, |conn| quarantine::list(conn, None, 10)).remove(0);
        assert_eq!(read(&store, |conn| quarantine::get(conn, store.codec(), row.id)).unwrap().1, b"{\0}");
    }
}
