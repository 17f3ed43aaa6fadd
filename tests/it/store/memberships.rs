//! Memberships: only differences are written, each as an event; definitions are versioned.

use fhir_engage::store::definitions::{self, Kind, New};
use fhir_engage::store::memberships::{self, Change, Evaluated, State};
use fhir_engage::store::{Store, pending};

use super::fixtures::{at, patient, read, woken, write};
use crate::support::on_both;

fn change(segment: i64, before: Option<State>, after: Option<State>, entry: i64, seconds: i64) -> Change {
    Change {
        segment,
        version: 1,
        before,
        after,
        entry,
        effective_at: at(seconds),
        reasons: format!("at {seconds}").into_bytes(),
        event_reasons: format!("event at {seconds}").into_bytes(),
    }
}

fn apply(store: &Store, person: i64, events: i64, changes: Vec<Change>, refreshed: Vec<Change>) {
    let evaluated = [Evaluated {
        person,
        changes,
        refreshed,
        events,
        wake_at: Some(at(500)),
        outreach: true,
        unknown: Default::default(),
        staged: None,
    }];
    write(store, |conn| memberships::apply(conn, &evaluated, at(100)));
}

fn define(store: &Store, new: &[(&str, &str, &str)]) -> Vec<memberships::Segment> {
    let all: Vec<New<'_>> = new.iter().map(|d| New { kind: Kind::Segment, id: d.0, source: d.1, hash: d.2, reads: None }).collect();
    write(store, |conn| definitions::first(conn, &all, 1, at(1)));
    read(store, memberships::segments)
}

fn now_reasons(store: &Store, person: i64, segment: i64) -> Vec<u8> {
    read(store, |conn| memberships::assignments(conn, &[person]))[&person].memberships[&segment].reasons.clone()
}

on_both! {
    fn entry_and_exit_leave_events_and_the_assignment_counts_them(db) {
        let store = db.store();
        let person = patient(&store, "p1").person;
        apply(&store, person, 0, vec![change(1, None, Some(State::In), 1, 10), change(2, None, Some(State::Held), 0, 10)], vec![]);
        let now = read(&store, |conn| memberships::assignments(conn, &[person])).remove(&person).unwrap();
        assert_eq!((now.events, now.wake_at), (2, Some(at(500))));
        assert_eq!(now.memberships[&1].state, State::In);
        assert_eq!(now.memberships[&1].since, at(10));
        assert_eq!(now.memberships[&2].state, State::Held);

        apply(&store, person, 2, vec![change(1, Some(State::In), None, 0, 20), change(2, Some(State::Held), Some(State::In), 1, 20)], vec![]);
        let now = read(&store, |conn| memberships::assignments(conn, &[person])).remove(&person).unwrap();
        assert_eq!(now.events, 4);
        assert_eq!(now.memberships.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!((now.memberships[&2].state, now.memberships[&2].since), (State::In, at(20)), "since moves with the state");

        apply(&store, person, 4, vec![change(1, None, Some(State::In), 2, 30)], vec![]);
        assert_eq!(read(&store, |conn| memberships::entries_before(conn, person, &[1])), 2);
        let events = read(&store, |conn| memberships::events(conn, person));
        let told: Vec<_> = events.iter().map(|e| (e.number, e.segment, e.before.as_deref(), e.after.as_deref(), e.effective_at, e.recorded_at)).collect();
        assert_eq!(told, [
            (1, 1, None, Some("in"), at(10).micros(), at(100).micros()),
            (2, 2, None, Some("held"), at(10).micros(), at(100).micros()),
            (3, 1, Some("in"), None, at(20).micros(), at(100).micros()),
            (4, 2, Some("held"), Some("in"), at(20).micros(), at(100).micros()),
            (5, 1, None, Some("in"), at(30).micros(), at(100).micros()),
        ]);
        assert_eq!(events[4].reasons, b"event at 30");
        assert_eq!(now_reasons(&store, person, 1), b"at 30");
    }

    fn a_refreshed_membership_keeps_its_beginning_and_leaves_no_event(db) {
        let store = db.store();
        let person = patient(&store, "p1").person;
        apply(&store, person, 0, vec![change(1, None, Some(State::In), 1, 10)], vec![]);
        let mut refreshed = change(1, Some(State::In), Some(State::In), 1, 40);
        refreshed.version = 2;
        apply(&store, person, 1, vec![], vec![refreshed]);
        let now = read(&store, |conn| memberships::assignments(conn, &[person])).remove(&person).unwrap();
        let m = &now.memberships[&1];
        assert_eq!((m.version, m.since, m.reasons.as_slice(), now.events), (2, at(10), b"at 40".as_slice(), 1));
        assert_eq!(read(&store, |conn| memberships::events(conn, person)).len(), 1);
    }

    fn many_persons_at_once(db) {
        let store = db.store();
        let persons: Vec<i64> = (0..250).map(|n| patient(&store, &format!("p{n:03}")).person).collect();
        let all: Vec<Evaluated> = persons
            .iter()
            .map(|p| Evaluated { person: *p, changes: vec![change(1, None, Some(State::In), 1, 10)], refreshed: vec![], events: 0, wake_at: None, outreach: false, unknown: Default::default(), staged: None })
            .collect();
        write(&store, |conn| memberships::apply(conn, &all, at(0)));
        define(&store, &[("one", "text", "h")]);
        assert_eq!(read(&store, memberships::sizes), [("one".to_owned(), 250, 0)]);
        let mut members = Vec::new();
        while let chunk @ [_, ..] = read(&store, |conn| memberships::members(conn, 1, State::In, members.last().copied().unwrap_or(0), 100)).as_slice() {
            members.extend_from_slice(chunk);
        }
        assert_eq!(members, persons);
        let left: Vec<Evaluated> = all.iter().take(120).map(|e| Evaluated { changes: vec![change(1, Some(State::In), None, 0, 20)], events: 1, ..e.clone() }).collect();
        write(&store, |conn| memberships::apply(conn, &left, at(1)));
        assert_eq!(read(&store, memberships::sizes), [("one".to_owned(), 130, 0)]);
    }

    fn the_first_definitions_are_in_force_at_once_and_wake_everyone(db) {
        let store = db.store();
        patient(&store, "p1");
        woken(&store);
        let made = define(&store, &[("one", "t1", "h1"), ("two", "t2", "h2")]);
        assert_eq!(made.iter().map(|s| (s.number, s.id.as_str(), s.version)).collect::<Vec<_>>(), [(1, "one", 1), (2, "two", 1)]);
        assert_eq!(woken(&store).len(), 1);
        // Another node that starts as well finds them and adds nothing.
        assert_eq!(define(&store, &[("one", "t1", "h1b"), ("three", "t3", "h3")]), made);
        assert_eq!(read(&store, pending::counts), (0, 0));
    }
}
