//! A change asks only the segments that read what changed, of the persons whom it is about.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{AppointmentFacts, ResourceType};

use super::setup::World;
use crate::store::fixtures::{commit, incoming};
use crate::support::on_both;

const RULES: [(&str, &str); 4] = [
    ("seniors", "age >= 65"),
    ("children", "age < 18"),
    ("booked", "exists next_appointment.start"),
    ("written-to", "contact.last_sent within last 30d"),
];

fn visit(w: &World, id: &str, patient: &str) {
    let facts = AppointmentFacts {
        status: "booked".into(),
        start: Timestamp::parse("2026-12-01T15:00:00Z"),
        patients: vec![patient.into()],
        ..AppointmentFacts::default()
    };
    let facts = serde_json::to_string(&facts).unwrap();
    commit(&w.store, ResourceType::Appointment, vec![incoming(&w.store, ResourceType::Appointment, id, &facts, &facts, &[patient])]);
}

on_both! {
    fn only_segments_that_read_what_changed_are_evaluated(db) {
        let w = World::new(&db);
        let ages: Vec<i32> = (0..500).map(|n| n % 90).collect();
        w.born(0, &ages);
        w.wants(&RULES);
        let first = w.runs();
        assert_eq!((first.persons, first.pairs), (500, 2_000), "at first all of all");
        visit(&w, "a1", "p00007");
        let second = w.runs();
        assert_eq!((second.persons, second.pairs, second.changes), (1, 1, 1), "one person, and the one segment about visits");
        w.born(3, &[70]);
        let third = w.runs();
        assert_eq!((third.persons, third.pairs), (1, 2), "the two about age");
        // Whoever's time has come is looked at as a whole: the visit begins.
        w.clock.advance(TimeDelta::days(8));
        let fourth = w.runs();
        assert_eq!((fourth.persons, fourth.pairs, fourth.changes, fourth.early), (1, 4, 1, 0));
        w.is_in_order();
    }
}
