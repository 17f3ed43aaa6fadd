//! Marks for the next stage: a change that comes while a person is being looked at is not lost.

use domain::model::ResourceType;
use fhir_engage::store::memberships::{self, Evaluated};
use fhir_engage::store::{Store, pending};

use super::fixtures::{at, commit, evaluated, incoming, patient, read, write};
use crate::support::on_both;

fn change(store: &Store, facts: &str) {
    commit(store, ResourceType::Appointment, vec![incoming(store, ResourceType::Appointment, "a1", facts, facts, &["p1"])]);
}

fn take(store: &Store, seconds: i64) -> Vec<pending::Pending> {
    read(store, |conn| pending::take(conn, at(seconds), 0, 100))
}

on_both! {
    fn a_mark_that_grows_between_take_and_done_stays(db) {
        let store = db.store();
        change(&store, "f1");
        let taken = take(&store, 0);
        assert_eq!(taken.len(), 1);
        change(&store, "f2");
        write(&store, |conn| pending::done(conn, &taken));
        let again = take(&store, 0);
        assert_eq!((again.len(), again[0].person), (1, taken[0].person));
        write(&store, |conn| pending::done(conn, &again));
        assert_eq!(take(&store, 0), []);
    }

    fn marks_gather_what_changed(db) {
        let store = db.store();
        patient(&store, "p1");
        change(&store, "f1");
        let mask = resources_mask(&[ResourceType::Patient, ResourceType::Appointment]);
        assert_eq!(db.lines("SELECT CAST(reads AS TEXT) AS line FROM pending_person"), [mask.to_string()]);
    }

    fn a_person_is_due_by_time_alone(db) {
        let store = db.store();
        let (p1, p2) = (patient(&store, "p1").person, patient(&store, "p2").person);
        let taken = take(&store, 0);
        write(&store, |conn| {
            memberships::apply(conn, &[evaluated(p1, Some(50), false), evaluated(p2, None, false)], at(0))?;
            pending::done(conn, &taken)
        });
        assert_eq!(take(&store, 49), []);
        let due = take(&store, 50);
        assert_eq!(due, [pending::Pending { person: p1, generation: 0, reads: -1 }]);
        // Marked and due at once is one.
        change(&store, "f1");
        assert_eq!(take(&store, 50).len(), 1);
        write(&store, |conn| memberships::apply(conn, &[evaluated(p1, Some(90), false)], at(50)));
        assert_eq!(take(&store, 50)[0].generation, 1);
    }

    fn chunks_cover_the_marked_and_the_due_without_a_gap(db) {
        let store = db.store();
        let persons: Vec<i64> = (0..30).map(|n| patient(&store, &format!("p{n:02}")).person).collect();
        let all = take(&store, 0);
        // Every third is marked, every fourth is due by time.
        let due: Vec<Evaluated> = persons.iter().enumerate().map(|(n, p)| evaluated(*p, (n % 4 == 0).then_some(5), false)).collect();
        let seen: Vec<pending::Pending> = all.into_iter().filter(|p| !persons.iter().position(|q| *q == p.person).unwrap().is_multiple_of(3)).collect();
        write(&store, |conn| {
            memberships::apply(conn, &due, at(0))?;
            pending::done(conn, &seen)
        });
        for limit in [1, 2, 3, 7, 100] {
            let (mut after, mut found) = (0, Vec::new());
            loop {
                let chunk = read(&store, |conn| pending::take(conn, at(5), after, limit));
                assert!(i64::try_from(chunk.len()).unwrap() <= limit);
                let Some(last) = chunk.last() else { break };
                after = last.person;
                found.extend(chunk.iter().map(|p| p.person));
            }
            let expected: Vec<i64> = persons.iter().enumerate().filter(|(n, _)| n % 3 == 0 || n % 4 == 0).map(|(_, p)| *p).collect();
            assert_eq!(found, expected, "in chunks of {limit}");
        }
    }

    fn many_who_are_due_at_once_are_taken_each_once_in_the_order_of_their_numbers(db) {
        let store = db.store();
        // More than are sorted by their number where they are found by their time.
        let ids: Vec<String> = (0..2_300).map(|n| format!("p{n}")).collect();
        for page in ids.chunks(500) {
            commit(&store, ResourceType::Patient, page.iter().map(|id| incoming(&store, ResourceType::Patient, id, "b", "f", &[id])).collect());
        }
        let all = read(&store, |conn| pending::take(conn, at(0), 0, 10_000));
        // The last numbers are due first.
        let due: Vec<Evaluated> = all.iter().zip((10..20).cycle()).map(|(p, second)| evaluated(p.person, Some(20 - second), false)).collect();
        write(&store, |conn| {
            memberships::apply(conn, &due, at(0))?;
            pending::done(conn, &all)
        });
        for (now, expected) in [(9, 2_070), (10, 2_300), (0, 0), (3, 690)] {
            let (mut after, mut found) = (0, Vec::new());
            loop {
                let chunk = read(&store, |conn| pending::take(conn, at(now), after, 400));
                let Some(last) = chunk.last() else { break };
                after = last.person;
                found.extend(chunk.iter().map(|p| p.person));
            }
            assert_eq!(found.len(), expected, "at {now}");
            assert!(found.is_sorted_by(|a, b| a < b), "at {now}");
        }
    }

    fn everyone_can_be_marked_and_marks_of_the_outreach_stage_are_their_own(db) {
        let store = db.store();
        let page: Vec<_> = (0..250).map(|n| incoming(&store, ResourceType::Patient, &format!("p{n}"), "b", "f", &[&format!("p{n}")])).collect();
        commit(&store, ResourceType::Patient, page);
        let all = read(&store, |conn| pending::take(conn, at(0), 0, 1000));
        assert_eq!(all.len(), 250);
        assert!(all.windows(2).all(|w| w[0].person < w[1].person));
        write(&store, |conn| pending::done(conn, &all));
        assert_eq!(read(&store, pending::counts), (0, 0));

        write(&store, |conn| pending::mark_everyone(conn, at(0)));
        assert_eq!(read(&store, pending::counts), (250, 0));
        let some = [evaluated(all[3].person, None, true), evaluated(all[7].person, None, true), evaluated(all[9].person, None, false)];
        write(&store, |conn| memberships::apply(conn, &some, at(0)));
        assert_eq!(read(&store, pending::counts), (250, 2));
        let taken = read(&store, |conn| pending::take_outreach(conn, at(0), 10));
        assert_eq!(taken.iter().map(|p| p.person).collect::<Vec<_>>(), [all[3].person, all[7].person]);
        write(&store, |conn| memberships::apply(conn, &some[..1], at(1)));
        write(&store, |conn| pending::done_outreach(conn, &taken));
        assert_eq!(read(&store, |conn| pending::take_outreach(conn, at(0), 10)).len(), 1, "the one that was marked again stays");
    }
}

fn resources_mask(kinds: &[ResourceType]) -> i64 {
    kinds.iter().map(|k| fhir_engage::store::resources::reads_bit(*k)).sum()
}
