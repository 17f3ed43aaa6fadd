//! The dry run says what would be, and changes nothing.

use std::sync::atomic::AtomicBool;

use fhir_engage::segments::Definitions;
use fhir_engage::segments::change::How;
use fhir_engage::segments::plan::{Dry, plan};
use fhir_engage::store::definitions;

use super::setup::{World, library};
use crate::store::fixtures::{commit, incoming, read};
use crate::support::on_both;

on_both! {
    fn who_would_enter_and_leave_and_how_many_are_unknown(db) {
        let w = World::new(&db);
        w.born(0, &[70, 66, 62, 30]);
        let nobody = incoming(&w.store, domain::model::ResourceType::Patient, "q", "q", "{}", &["q"]);
        commit(&w.store, domain::model::ResourceType::Patient, vec![nobody]);
        w.wants(&[("seniors", "age >= 65"), ("adults", "age >= 18"), ("old", "age >= 90")]);
        w.runs();
        let wanted = library(&[("seniors", "age >= 60 and age < 70"), ("adults", "age >= 18"), ("new", "true")]);
        let live = read(&w.store, Definitions::load);
        let dry = Dry { store: &w.store, site: &w.site, clock: &w.clock, live: &live, wanted: &wanted, all: false, examples: 1 };
        let planned = plan(&dry, &AtomicBool::new(false), &|_| {}).unwrap();
        assert_eq!(planned.persons, 5);
        let told: Vec<_> = planned
            .segments
            .iter()
            .map(|s| (s.id.as_str(), s.change, s.members_now, s.entering, s.leaving, s.holds, s.does_not_hold, s.unknown))
            .collect();
        assert_eq!(told, [
            ("seniors", Some(How::Changed), 2, 1, 1, 2, 2, 1),
            ("new", Some(How::New), 0, 5, 0, 5, 0, 0),
            ("old", Some(How::Ends), 0, 0, 0, 0, 0, 0),
        ]);
        let seniors = &planned.segments[0];
        assert_eq!((seniors.examples_entering.len(), seniors.examples_leaving.len()), (1, 1));
        assert_eq!(seniors.examples_entering[0].patient.expose(), "north/p00002");
        assert!(seniors.examples_leaving[0].because[0].expose().contains("`age < 70` does not hold: age is 70 years"), "{seniors:?}");
        assert_eq!(read(&w.store, definitions::rollouts).len(), 1, "nothing was begun");
        w.is_in_order();
        let all = plan(&Dry { all: true, ..dry }, &AtomicBool::new(false), &|_| {}).unwrap();
        assert!(all.segments.iter().any(|s| s.id == "adults" && s.change.is_none() && s.holds == 4 && s.unknown == 1));
    }
}
