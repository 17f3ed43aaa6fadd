//! Merges and un-merges in the store: whose a record is, what follows it, and what is listed for staff.

use std::collections::BTreeMap;

use domain::identity::identifier::Identifier;
use domain::model::{EhrId, Phi, ResourceType};
use fhir_engage::store::joining::MOST_SHARERS;
use fhir_engage::store::resources::{self, Incoming, Precedence};
use fhir_engage::store::ties::{self, Link, Ties};
use fhir_engage::store::words::{self, Word};
use fhir_engage::store::{Store, attempts, ehrs, enrolments, gone, memberships, people, preferences};

use super::fixtures::{at, commit, ehr, finished, incoming, patient, planned, read, woken, write};
use crate::support::{Database, on_both};

const MPI: &str = "urn:oid:1.2.3.4";

/// A version of a Patient that says this of others: `replaced-by p2` or `mpi E1234`.
fn saying(store: &Store, id: &str, version: u32, says: &[&str]) -> Incoming {
    let mut ties = Ties::default();
    for one in says {
        let (what, other) = one.split_once(' ').unwrap();
        match what {
            "mpi" => ties.identifiers.push(Identifier { system: MPI.to_owned(), value: Phi::new(other.to_owned()) }),
            kind => {
                let kind = ["replaced-by", "replaces", "refer", "seealso"].into_iter().find(|k| *k == kind).unwrap();
                let (server, id) = other.rsplit_once("/Patient/").map_or((None, other), |(s, id)| (Some(s.to_owned()), id));
                ties.links.push(Link { kind, server, id: id.to_owned() });
            }
        }
    }
    Incoming { ties, ..incoming(store, ResourceType::Patient, id, &format!("{id} {version}"), r#"{"active":true}"#, &[id]) }
}

fn say(store: &Store, id: &str, version: u32, says: &[&str]) {
    commit(store, ResourceType::Patient, vec![saying(store, id, version, says)]);
}

fn say_at(store: &Store, other: &EhrId, id: &str, version: u32, says: &[&str]) {
    let page = vec![saying(store, id, version, says)];
    write(store, |conn| resources::commit(conn, other, ResourceType::Patient, &page, Precedence::Asked(at(0)), at(0)));
}

fn south() -> EhrId {
    EhrId::parse("south").unwrap()
}

/// Who is one person, by name: `north/p1+north/p2`, with `~` before a record that was replaced.
fn persons(db: &Database) -> Vec<String> {
    let lines = db.lines(
        "SELECT person || ' ' || CASE state WHEN 'merged' THEN '~' WHEN 'stub' THEN '?' WHEN 'gone' THEN '-' ELSE '' END || ehr || '/' || fhir_id AS line
         FROM patient ORDER BY ehr, fhir_id",
    );
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let (person, record) = line.split_once(' ').unwrap();
        by.entry(person.to_owned()).or_default().push(record.replace("north/", ""));
    }
    let mut all: Vec<String> = by.into_values().map(|records| records.join("+")).collect();
    all.sort_by_key(|t| t.replace(['~', '?', '-'], ""));
    all
}

fn review(db: &Database) -> Vec<String> {
    db.lines(
        "SELECT p.fhir_id || ' ' || r.reason AS line FROM person_review r JOIN patient p ON p.pk = r.record ORDER BY p.fhir_id, r.reason",
    )
}

fn person(store: &Store, id: &str) -> i64 {
    read(store, |conn| people::record(conn, "north", id)).unwrap().person
}

fn common(store: &Store) {
    write(store, |conn| ties::declare(conn, &[MPI.to_owned()]));
}

on_both! {
    fn a_merge_is_seen_from_either_side_and_undone_by_what_no_longer_says_it(db) {
        let store = db.store();
        for (one, other) in [(("a", "replaced-by b"), ("b", "")), (("a", ""), ("b", "replaces a"))] {
            for id in ["a", "b"] {
                say(&store, id, 0, &[]);
            }
            assert_eq!(persons(&db), ["a", "b"]);
            woken(&store);
            for (id, says) in [one, other] {
                say(&store, id, 1, &[says].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>());
            }
            assert_eq!(persons(&db), ["~a+b"], "{one:?} {other:?}");
            assert_eq!(person(&store, "b"), read(&store, |conn| people::record(conn, "north", "b")).unwrap().home(), "the survivor's own");
            assert!(woken(&store).contains("b"));
            // Said the same again in a new version: nothing changes.
            for (id, says) in [one, other] {
                say(&store, id, 2, &[says].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>());
            }
            assert_eq!(persons(&db), ["~a+b"]);
            for id in ["a", "b"] {
                say(&store, id, 3, &[]);
            }
            assert_eq!(persons(&db), ["a", "b"]);
            assert!(woken(&store).len() == 2 && review(&db).is_empty());
        }
    }

    fn chains_circles_two_survivors_and_records_that_were_not_seen(db) {
        let store = db.store();
        for (id, says) in [
            ("a", "replaced-by b"), ("b", "replaced-by c"), ("c", ""),
            ("d", "replaced-by e"), ("e", "replaced-by d"),
            ("g", ""), ("h", ""), ("i", "replaced-by unseen"),
            ("j", "seealso k"), ("k", ""), ("l", "refer k"),
        ] {
            say(&store, id, 1, &[says].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>());
        }
        say(&store, "f", 1, &["replaced-by g", "replaced-by h"]);
        assert_eq!(persons(&db), ["~a+~b+c", "~d+~e", "~f", "g", "h", "~i+?unseen", "j+k+l"]);
        assert_eq!(review(&db), ["d cycle", "e cycle", "f several-survivors"]);
        let root = |id: &str| {
            let record = read(&store, |conn| people::record(conn, "north", id)).unwrap();
            read(&store, |conn| people::survivor(conn, record.pk)).fhir_id
        };
        assert_eq!(["a", "b", "d", "f", "i"].map(root), ["c", "c", "d", "f", "unseen"]);
        // The record in use leads, and a person of whom none is known has nothing that could be used.
        let known = |id: &str| read(&store, |conn| people::facts(conn, &[person(&store, id)])).into_values().next().unwrap().facts;
        assert_eq!(known("a").patients.iter().map(|p| p.origin.id.as_str()).collect::<Vec<_>>(), ["c", "a", "b"]);
        assert!(known("i").patients.iter().all(|p| p.facts.active == Some(false)));
        assert!(known("d").patients.iter().all(|p| p.facts.active == Some(false)));
        // The EHR puts it right.
        say(&store, "e", 2, &[]);
        say(&store, "f", 2, &["replaced-by g"]);
        say(&store, "unseen", 1, &[]);
        assert_eq!(persons(&db), ["~a+~b+c", "~d+e", "~f+g", "h", "~i+unseen", "j+k+l"]);
        assert_eq!(review(&db), Vec::<String>::new());
    }

    fn a_link_to_another_server_is_followed_where_that_one_is_connected(db) {
        let store = db.store();
        write(&store, |conn| ehrs::put(conn, &south(), r#"{"base_url":"https://south.example/fhir/"}"#, at(0)));
        say_at(&store, &south(), "s", 1, &[]);
        say(&store, "a", 1, &["replaced-by https://south.example/fhir/Patient/s"]);
        say(&store, "b", 1, &["replaced-by https://elsewhere.example/fhir/Patient/b"]);
        say(&store, "c", 1, &["seealso https://elsewhere.example/fhir/Patient/a"]);
        assert_eq!(persons(&db), ["~a+south/s", "~b", "c"]);
        assert_eq!(review(&db), ["b elsewhere"]);
        let a = read(&store, |conn| people::record(conn, "north", "a")).unwrap();
        assert_eq!(read(&store, |conn| people::survivor(conn, a.pk)).fhir_id, "a", "what is owed to north is not told to south");
        say(&store, "b", 2, &[]);
        assert_eq!((persons(&db), review(&db)), (vec!["~a+south/s".to_owned(), "b".into(), "c".into()], vec![]));
    }

    fn a_one_sided_merge_counts_and_is_listed(db) {
        let store = db.store();
        say(&store, "a", 1, &[]);
        say(&store, "b", 1, &["replaces a"]);
        assert_eq!((persons(&db), review(&db)), (vec!["~a+b".to_owned()], vec!["a one-sided".to_owned()]));
        let mut retired = saying(&store, "a", 2, &[]);
        retired.facts = br#"{"active":false}"#.to_vec();
        commit(&store, ResourceType::Patient, vec![retired]);
        assert_eq!(review(&db), Vec::<String>::new(), "it says itself now that it is not in use");
    }

    fn an_id_that_is_answered_with_another_is_replaced_until_it_is_read_as_itself(db) {
        let store = db.store();
        for id in ["a", "b"] {
            say(&store, id, 1, &[]);
        }
        for _ in 0..2 {
            write(&store, |conn| gone::replaced(conn, &ehr(), "a", "b", at(5)));
            assert_eq!(persons(&db), ["~a+b"]);
        }
        let about = db.lines("SELECT gone_why AS line FROM resource WHERE fhir_id = 'a'");
        assert_eq!(about, ["the EHR answers a read of it with another record"]);
        // The same version again, byte for byte: the un-merge.
        say(&store, "a", 1, &[]);
        assert_eq!(persons(&db), ["a", "b"]);
        write(&store, |conn| gone::replaced(conn, &ehr(), "a", "a", at(6)));
        assert_eq!(persons(&db), ["a", "b"], "itself is no other");
    }

    fn what_is_deleted_after_a_merge_stays_merged_and_a_deleted_patient_comes_back(db) {
        let store = db.store();
        say(&store, "a", 1, &["replaced-by b"]);
        say(&store, "b", 1, &[]);
        write(&store, |conn| gone::mark(conn, &ehr(), ResourceType::Patient, &["a"], "410", at(1)));
        assert_eq!(persons(&db), ["~a+b"]);
        write(&store, |conn| gone::mark(conn, &ehr(), ResourceType::Patient, &["b"], "410", at(2)));
        assert_eq!(persons(&db), ["~a+-b"]);
        let known = read(&store, |conn| people::facts(conn, &[person(&store, "b")])).into_values().next().unwrap();
        assert!(known.facts.patients.is_empty(), "nobody is left to write to");
        say(&store, "b", 1, &[]);
        assert_eq!(persons(&db), ["~a+b"]);
        say(&store, "a", 2, &[]);
        assert_eq!(persons(&db), ["a", "b"]);
    }

    fn choices_attempts_and_enrolments_follow_and_go_back(db) {
        let store = db.store();
        let (a, b) = (patient(&store, "a"), patient(&store, "b"));
        write(&store, |conn| preferences::record(conn, a.person, "all", "", false, "reply", at(1)));
        write(&store, |conn| preferences::record(conn, b.person, "all", "", true, "reply", at(2)));
        finished(&store, &a, "sent-to-a");
        planned(&store, &b, "planned-for-b");
        let before = db.lines("SELECT 'e' || id || ' ' || person AS line FROM enrolment UNION ALL SELECT 'p' || id || ' ' || person AS line FROM preference ORDER BY 1");
        let revision = |person: i64| read(&store, |conn| people::contact_revision(conn, person));
        let (old, new) = (revision(a.person), revision(b.person));
        say(&store, "a", 1, &["replaced-by b"]);
        let after = db.lines("SELECT 'e' || id || ' ' || person AS line FROM enrolment UNION ALL SELECT 'p' || id || ' ' || person AS line FROM preference ORDER BY 1");
        assert_eq!(before, after, "nothing is moved");
        assert!(revision(a.person) > old && revision(b.person) > new, "what was judged before is judged again");
        let of = |person: i64| {
            let ids: Vec<String> = read(&store, |conn| attempts::of_person(conn, person)).into_iter().map(|a| a.id).collect();
            (ids, read(&store, |conn| enrolments::of(conn, person)).len(), read(&store, |conn| preferences::of(conn, person)).len())
        };
        assert_eq!(of(b.person), (vec!["planned-for-b".to_owned(), "sent-to-a".into()], 2, 2));
        assert_eq!(of(a.person).0, Vec::<String>::new());
        let known = read(&store, |conn| people::facts(conn, &[a.person, b.person]));
        assert!(known[&b.person].facts.contact.last_sent.is_some() && known[&b.person].has_record && !known[&a.person].has_record);
        // Said while they are one: said by both.
        write(&store, |conn| preferences::record(conn, b.person, "channel", "email", false, "staff", at(3)));
        say(&store, "a", 2, &[]);
        assert_eq!(of(a.person), (vec!["sent-to-a".to_owned()], 1, 2));
        assert_eq!(of(b.person), (vec!["planned-for-b".to_owned()], 1, 2));
        assert_eq!(read(&store, people::count), 2);
    }

    fn what_a_record_refused_holds_for_two_survivors_that_it_could_not_be_joined_with(db) {
        let store = db.store();
        let a = patient(&store, "a");
        write(&store, |conn| preferences::record(conn, a.person, "all", "", false, "reply", at(1)));
        say(&store, "a", 1, &["replaced-by b", "replaced-by c"]);
        assert_eq!(persons(&db), ["~a", "?b", "?c"]);
        for id in ["b", "c"] {
            assert_eq!(read(&store, |conn| preferences::of(conn, person(&store, id))).len(), 1, "{id}");
        }
    }

    fn records_of_two_ehrs_are_one_person_by_a_common_identifier_and_by_nothing_else(db) {
        let store = db.store();
        say(&store, "a", 1, &["mpi e-12 34"]);
        say_at(&store, &south(), "s", 1, &["mpi E1234"]);
        assert_eq!(persons(&db), ["a", "south/s"], "the system was not declared");
        assert_eq!(db.lines("SELECT token AS line FROM patient_identifier"), Vec::<String>::new());
        common(&store);
        say(&store, "a", 2, &["mpi e-12 34"]);
        say_at(&store, &south(), "s", 2, &["mpi E1234"]);
        assert_eq!(persons(&db), ["a+south/s"]);
        say(&store, "b", 1, &["mpi 00000000"]);
        say_at(&store, &south(), "t", 1, &["mpi 00000000"]);
        assert_eq!(persons(&db), ["a+south/s", "b", "south/t"]);
        say(&store, "a", 3, &["mpi E9999"]);
        assert_eq!(persons(&db), ["a", "b", "south/s", "south/t"]);
    }

    fn an_identifier_of_too_many_ties_nobody_and_ties_again_when_it_is_put_right(db) {
        let store = db.store();
        common(&store);
        for n in 1..=MOST_SHARERS {
            say(&store, &format!("p{n:02}"), 1, &["mpi SAME1"]);
        }
        assert_eq!(persons(&db).len(), 1);
        say(&store, "p99", 1, &["mpi SAME1"]);
        assert_eq!(persons(&db).len(), MOST_SHARERS + 1, "one too many: they are parted again");
        let told = read(&store, |conn| ties::shared_by_many(conn, 10));
        assert_eq!((told.len(), told[0].records, told[0].system.as_str()), (1, 11, MPI));
        say(&store, "p99", 2, &["mpi OTHER7"]);
        assert_eq!(persons(&db).len(), 2);
        assert!(read(&store, |conn| ties::shared_by_many(conn, 10)).is_empty());
    }

    fn staff_part_and_join_and_take_it_back(db) {
        let store = db.store();
        common(&store);
        say(&store, "a", 1, &["mpi E1234"]);
        say(&store, "b", 1, &["mpi E1234", "seealso c"]);
        say(&store, "c", 1, &[]);
        say(&store, "d", 1, &[]);
        let pk = |id: &str| read(&store, |conn| people::record(conn, "north", id)).unwrap().pk;
        let word = |a: &str, b: &str, word: Word| write(&store, |conn| words::say(conn, (pk(a), pk(b)), word, "kim", "asked the patient", at(7)));
        assert_eq!(persons(&db), ["a+b+c", "d"]);
        word("c", "a", Word::Apart);
        assert_eq!(persons(&db), ["a", "b+c", "d"], "the EHR's word is stronger than an identifier");
        word("a", "d", Word::Same);
        assert_eq!(persons(&db), ["a+d", "b+c"]);
        word("b", "c", Word::Apart);
        assert_eq!((persons(&db), review(&db)), (vec!["a+b+d".to_owned(), "c".into()], vec!["b kept-apart".to_owned(), "c kept-apart".into()]));
        word("c", "b", Word::Withdrawn);
        word("a", "c", Word::Withdrawn);
        assert_eq!((persons(&db), review(&db)), (vec!["a+b+c+d".to_owned()], vec![]));
        let said = read(&store, |conn| words::of(conn, &[pk("a")]));
        assert_eq!(said.iter().map(|s| s.word.as_str()).collect::<Vec<_>>(), ["apart", "same", "withdrawn"], "none is taken away");
        assert!(said.iter().all(|s| s.said_by == "kim" && s.why == "asked the patient"));
    }

    fn a_merge_costs_the_same_whatever_hangs_on_the_records_and_however_many_there_are(db) {
        let store = db.store();
        let work = |n: usize| {
            let ids: Vec<String> = (0..n).map(|i| format!("w{n}-{i}")).collect();
            let page: Vec<Incoming> = ids.iter().map(|id| saying(&store, id, 1, &[])).collect();
            commit(&store, ResourceType::Patient, page);
            let (old, new) = (ids[0].as_str(), ids[1].as_str());
            let visits: Vec<Incoming> = (0..n)
                .map(|i| incoming(&store, ResourceType::CarePlan, &format!("{old}-{i}"), "b", r#"{"status":"active"}"#, &[old]))
                .collect();
            commit(&store, ResourceType::CarePlan, visits);
            let (from, to) = (read(&store, |conn| people::record(conn, "north", old)).unwrap().pk, read(&store, |conn| people::record(conn, "north", new)).unwrap().pk);
            write(&store, |conn| words::say(conn, (from, to), Word::Same, "kim", "w", at(1)))
        };
        let (few, many) = (work(10), work(10_000));
        assert_eq!(few, many);
        assert_eq!((many.records, many.ties, many.changed), (2, 1, 1));
        let person = person(&store, "w10000-1");
        let known = read(&store, |conn| people::facts(conn, &[person])).remove(&person).unwrap();
        assert_eq!((known.facts.patients.len(), known.facts.care_plans.len()), (2, 10_000));
    }

    fn a_placeholder_that_thousands_carry_stalls_nothing_and_joins_nobody(db) {
        let store = db.store();
        common(&store);
        let started = std::time::Instant::now();
        for chunk in 0..20 {
            let ids: Vec<String> = (0..1_000).map(|i| format!("b{chunk:02}{i:03}")).collect();
            commit(&store, ResourceType::Patient, ids.iter().map(|id| saying(&store, id, 1, &["mpi BAD1234"])).collect());
        }
        assert_eq!(db.lines("SELECT 'x' AS line FROM patient WHERE person <> home"), Vec::<String>::new());
        assert_eq!(read(&store, |conn| ties::shared_by_many(conn, 5))[0].records, 20_000);
        // The last page is no dearer than the first: what the others have is not looked at.
        let first = started.elapsed();
        let one = std::time::Instant::now();
        say(&store, "last", 1, &["mpi BAD1234"]);
        assert!(one.elapsed() < first / 4, "{:?} of {first:?}", one.elapsed());
        // A record to which thousands point.
        for chunk in 0..5 {
            let ids: Vec<String> = (0..200).map(|i| format!("h{chunk}{i:03}")).collect();
            commit(&store, ResourceType::Patient, ids.iter().map(|id| saying(&store, id, 1, &["seealso hub"])).collect());
        }
        assert_eq!(db.lines("SELECT 'x' AS line FROM patient WHERE person <> home"), Vec::<String>::new());
    }

    fn memberships_of_a_person_without_records_end(db) {
        let store = db.store();
        let a = patient(&store, "a");
        assert_eq!(read(&store, |conn| memberships::assignments(conn, &[a.person])).len(), 0);
        say(&store, "a", 1, &["replaced-by b"]);
        assert!(read(&store, |conn| people::records(conn, a.person)).is_empty());
        assert!(!read(&store, |conn| people::facts(conn, &[a.person]))[&a.person].has_record);
    }
}
