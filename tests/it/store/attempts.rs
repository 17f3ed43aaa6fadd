//! Attempts: one permit per send, one end per attempt, one write-back per end.

use fhir_engage::store::attempts::{self, Attempt, Outcome};
use fhir_engage::store::{Store, enrolments, people, writebacks};

use super::fixtures::{at, depart, finished, patient, plan, planned, read, verdict, write};
use crate::support::on_both;

fn get(store: &Store, id: &str) -> Attempt {
    read(store, |conn| attempts::get(conn, id)).unwrap()
}

on_both! {
    fn planning_twice_is_planning_once(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let first = planned(&store, &p, "a1");
        let again = write(&store, |conn| {
            let enrolment = enrolments::enrol(conn, "reminders", p.person, "Appointment/a1", 1, at(9))?;
            assert_eq!(enrolment.entered_at, at(0).micros(), "the enrolment that was there");
            attempts::plan(conn, &plan(&enrolment, &p, "other-id"))
        });
        assert!(!again);
        assert_eq!(get(&store, "a1"), first);
        assert_eq!(read(&store, |conn| attempts::of_person(conn, p.person)).len(), 1);
    }

    fn a_void_attempt_is_planned_again_when_its_reason_comes_back(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let a = planned(&store, &p, "a1");
        assert!(!write(&store, |conn| attempts::void_one(conn, a.enrolment, "ask", 0, "r2", "moved", at(1))), "of another state of the anchor");
        assert!(write(&store, |conn| attempts::void_one(conn, a.enrolment, "ask", 0, "r1", "moved", at(1))));
        assert_eq!((get(&store, "a1").state.as_str(), get(&store, "a1").failure.as_deref()), ("void", Some("moved")));
        let enrolment = read(&store, |conn| enrolments::of(conn, p.person)).remove(0);
        assert!(write(&store, |conn| attempts::plan(conn, &plan(&enrolment, &p, "other-id"))));
        let back = get(&store, "a1");
        assert_eq!((back.state.as_str(), back.failure, back.finished_at), ("planned", None, None));
    }

    fn a_planned_attempt_follows_a_changed_program_and_no_other_does(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        planned(&store, &p, "a1");
        let enrolment = read(&store, |conn| enrolments::of(conn, p.person)).remove(0);
        let mut changed = plan(&enrolment, &p, "other-id");
        changed.program_version = 2;
        changed.template = "new-words";
        changed.due_at = at(900);
        assert!(write(&store, |conn| attempts::plan(conn, &changed)));
        let after = get(&store, "a1");
        assert_eq!((after.template.as_str(), after.program_version, after.due_at), ("new-words", 2, at(900).micros()));
        assert!(!write(&store, |conn| attempts::plan(conn, &changed)), "the same version changes nothing");
        assert!(depart(&store, &after, 1, 0));
        changed.program_version = 3;
        assert!(!write(&store, |conn| attempts::plan(conn, &changed)), "what is on its way stays as it is");
    }

    fn voiding_all_leaves_none_whatever_their_anchor_state(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let enrolment = write(&store, |conn| enrolments::enrol(conn, "welcome", p.person, "segment", 1, at(0)));
        for (id, revision) in [("a1", ""), ("a2", "r1")] {
            let mut plan = plan(&enrolment, &p, id);
            plan.anchor_revision = revision;
            assert!(write(&store, |conn| attempts::plan(conn, &plan)));
        }
        assert_eq!(write(&store, |conn| attempts::void(conn, enrolment.id, "left", at(1))), 2);
    }

    fn what_has_left_the_building_is_not_voided(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let a = planned(&store, &p, "a1");
        assert!(depart(&store, &a, 1, 0));
        assert_eq!(write(&store, |conn| attempts::void(conn, a.enrolment, "left", at(2))), 0);
        assert_eq!(get(&store, "a1").state, "sending");
    }

    fn of_several_sends_to_one_person_with_the_same_permit_one_leaves(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        for round in 0..10 {
            let all: Vec<Attempt> = (0..4).map(|n| planned(&store, &p, &format!("a{round}-{n}"))).collect();
            let stores: Vec<Store> = (0..4).map(|_| db.store()).collect();
            let left: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = all.iter().zip(&stores).map(|(a, store)| scope.spawn(move || depart(store, a, 1, round))).collect();
                threads.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
            });
            assert_eq!(left, 1, "round {round}");
            assert_eq!(read(&store, |conn| people::contact_revision(conn, p.person)), round + 1);
        }
        let sending = db.lines("SELECT id AS line FROM attempt WHERE state = 'sending'");
        let allowed = db.lines("SELECT attempt AS line FROM verdict");
        assert_eq!((sending.len(), allowed.len()), (10, 10));
    }

    fn of_several_claims_of_one_attempt_one_succeeds(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let a = planned(&store, &p, "a1");
        assert!(depart(&store, &a, 1, 0));
        assert!(!depart(&store, &a, 2, 0), "the permit is used");
        assert!(!depart(&store, &a, 2, 1), "it has left");
        assert_eq!(read(&store, |conn| people::contact_revision(conn, p.person)), 1, "a permit that was not used goes back");
        assert_eq!(get(&store, "a1").token, 1);
        assert_eq!(read(&store, |conn| attempts::verdicts(conn, "a1")).len(), 1);
    }

    fn verdicts_are_kept_in_order_with_their_reasons(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let a = planned(&store, &p, "a1");
        assert!(write(&store, |conn| attempts::hold(conn, "a1", (at(50), false), &verdict("hold"), at(1))));
        assert_eq!(read(&store, |conn| attempts::due(conn, at(49), 10)), []);
        assert_eq!(read(&store, attempts::next_due), Some(at(50)));
        assert_eq!(read(&store, |conn| attempts::due(conn, at(50), 10)).len(), 1);
        assert!(write(&store, |conn| attempts::hold(conn, "a1", (at(60), false), &verdict("hold"), at(50))));
        assert!(write(&store, |conn| attempts::refuse(conn, "a1", "opted-out", &verdict("refuse"), at(60))));
        assert!(!write(&store, |conn| attempts::hold(conn, "a1", (at(70), false), &verdict("hold"), at(60))), "it has ended");
        assert!(!depart(&store, &a, 1, 0));
        let all = read(&store, |conn| attempts::verdicts(conn, "a1"));
        assert_eq!(all.iter().map(|v| (v.number, v.outcome.as_str())).collect::<Vec<_>>(), [(1, "hold"), (2, "hold"), (3, "refuse")]);
        assert_eq!(read(&store, writebacks::counts), [], "what was refused stays in the ledger");
    }

    fn an_end_owes_one_write_back_and_only_once(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let a = planned(&store, &p, "a1");
        assert!(!write(&store, |conn| attempts::finish(conn, &a, &attempts::End::owing(Outcome::Delivered), at(1))), "it never left");
        assert!(depart(&store, &a, 1, 0));
        write(&store, |conn| attempts::sent(conn, "a1", Some("ref"), at(100)));
        let stores: Vec<Store> = (0..4).map(|_| db.store()).collect();
        let ended: usize = std::thread::scope(|scope| {
            let (a, outcomes) = (&a, [Outcome::Delivered, Outcome::Failed, Outcome::Answered, Outcome::Unknown]);
            let all: Vec<_> = stores
                .iter()
                .zip(outcomes)
                .map(|(store, how)| scope.spawn(move || write(store, |conn| attempts::finish(conn, a, &attempts::End::owing(how), at(5)))))
                .collect();
            all.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
        });
        assert_eq!(ended, 1);
        assert_eq!(read(&store, writebacks::counts), [("owed".to_owned(), 1)]);
        assert_eq!(db.lines("SELECT id AS line FROM writeback"), ["a1-0"]);
    }

    fn ends_of_one_patient_at_once_take_places_in_its_lane_one_after_the_other(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let all: Vec<Attempt> = (0..8)
            .map(|n| {
                let a = planned(&store, &p, &format!("a{n}"));
                assert!(depart(&store, &a, 1, n));
                a
            })
            .collect();
        let stores: Vec<Store> = (0..8).map(|_| db.store()).collect();
        std::thread::scope(|scope| {
            for (a, store) in all.iter().zip(&stores) {
                scope.spawn(move || assert!(write(store, |conn| attempts::finish(conn, a, &attempts::End::owing(Outcome::Delivered), at(5)))));
            }
        });
        let numbers = db.lines("SELECT CAST(number AS TEXT) AS line FROM writeback ORDER BY number");
        assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    }

    fn a_send_that_was_cut_off_is_found_and_one_that_a_person_has_is_not(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let a = planned(&store, &p, "a1");
        assert!(depart(&store, &a, 5, 0));
        assert_eq!(read(&store, |conn| attempts::left_sending(conn, 5, 10)), [], "its worker is alive");
        assert_eq!(read(&store, |conn| attempts::left_sending(conn, 6, 10)).len(), 1);
        // It did not leave, waits with a reason, leaves again and is cut off again: it must be found again.
        write(&store, |conn| attempts::put_back(conn, "a1", at(10), Some("the relay was busy")));
        assert_eq!((get(&store, "a1").state.as_str(), get(&store, "a1").sent_at), ("held", None));
        let a = get(&store, "a1");
        assert!(depart(&store, &a, 6, 1));
        assert_eq!(read(&store, |conn| attempts::left_sending(conn, 7, 10)).len(), 1);
        write(&store, |conn| attempts::leave_to_person(conn, "a1", "unclear"));
        assert_eq!(read(&store, |conn| attempts::left_sending(conn, 7, 10)), []);
        assert_eq!(get(&store, "a1").state, "sending");
    }

    fn a_receipt_that_never_came_is_settled_in_time(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        let a = planned(&store, &p, "a1");
        assert!(depart(&store, &a, 1, 0));
        write(&store, |conn| attempts::sent(conn, "a1", Some("ref"), at(100)));
        assert_eq!(read(&store, |conn| attempts::unsettled(conn, at(99), 10)), []);
        let late = read(&store, |conn| attempts::unsettled(conn, at(100), 10)).remove(0);
        assert!(write(&store, |conn| attempts::finish(conn, &late, &attempts::End::owing(Outcome::Unknown), at(101))));
        let ended = get(&store, "a1");
        assert_eq!((ended.state.as_str(), ended.outcome.as_deref(), ended.provider_ref.as_deref()), ("finished", Some("unknown"), Some("ref")));
    }

    fn the_contact_ledger_feeds_the_facts(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        finished(&store, &p, "a1");
        let a = planned(&store, &p, "a2");
        assert!(depart(&store, &a, 1, 1));
        assert!(write(&store, |conn| attempts::finish(conn, &a, &attempts::End::owing(Outcome::Answered), at(7))));
        let known = db.lines("SELECT CAST(COUNT(*) AS TEXT) AS line FROM pending_person WHERE reads >= 256");
        assert_eq!(known, ["1"], "rules that read the last contact are evaluated again");
        assert_eq!(read(&store, attempts::counts).iter().map(|c| c.2).sum::<i64>(), 2);
    }
}
