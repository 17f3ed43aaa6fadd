//! Roll-outs: the versions in force answer until the new ones do, whatever happens in between, and histories are in order after it.

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType;
use fhir_engage::segments::change::{self, Applied};
use fhir_engage::segments::{Definitions, history};
use fhir_engage::store::leases::{self, Term};
use fhir_engage::store::memberships;
use fhir_engage::store::{StoreError, pending};

use super::setup::{NOW, World, take_lease};
use crate::store::fixtures::{commit, incoming, read, write};
use crate::support::on_both;

fn begun(applied: &Applied) -> i64 {
    match applied {
        Applied::Begun(number) => *number,
        other => panic!("{other:?}"),
    }
}

on_both! {
    fn the_versions_in_force_answer_until_the_new_ones_do(db) {
        let w = World::new(&db);
        w.born(0, &[70, 66, 62, 61, 30, 20]);
        w.wants(&[("seniors", "age >= 65"), ("adults", "age >= 18")]);
        w.runs();
        assert_eq!((w.size("seniors"), w.size("adults")), ((2, 0), (6, 0)));
        let entered = NOW;

        w.clock.advance(TimeDelta::hours(1));
        let number = begun(&w.wants(&[("seniors", "age >= 60"), ("adults", "age >= 18")]));
        // Stopped after everyone was evaluated by the new version, and before it came into force.
        w.runs_until(|n| n > 0).unwrap();
        assert_eq!((w.rollout().number, w.rollout().state.as_str(), w.rollout().persons), (number, "staging", 6));
        assert_eq!(w.size("seniors"), (2, 0), "the version in force answers");
        let held = read(&w.store, |c| memberships::assignments(c, &[w.person("p00000")])).remove(&w.person("p00000")).unwrap();
        assert_eq!(held.events, 2, "nothing is in the history yet");

        // Meanwhile one gets older, and one more is born to the EHR: both versions are asked of them.
        w.born(5, &[80, 63, 10]);
        w.clock.advance(TimeDelta::minutes(1));
        let flipped = w.clock.now();
        w.runs();
        assert_eq!(w.size("seniors"), (6, 0));
        assert_eq!((w.rollout().state.as_str(), w.rollout().flipped_at), ("done", Some(flipped.micros())));
        w.is_in_order();

        // Who stays keeps the beginning; who enters by the new version does so when it came into force.
        let of = |id: &str| {
            let person = w.person(id);
            let row = read(&w.store, Definitions::load).by_id("seniors").unwrap().clone();
            let m = read(&w.store, |c| memberships::assignments(c, &[person])).remove(&person).unwrap().memberships.remove(&row.number).unwrap();
            (m.since, m.entry, m.version)
        };
        assert_eq!(of("p00000"), (entered, 1, 2));
        assert_eq!(of("p00002"), (flipped, 1, 2));
        let events = read(&w.store, |c| history::of_patient(c, ("north", "p00002"), Some("seniors"))).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].version, events[0].before.as_str(), events[0].after.as_str()), (2, "out", "in"));
        assert_eq!(events[0].effective_at, flipped.to_string());
        assert_eq!(events[0].reasons.expose()[0]["test"], "age >= 60");
        // The one who grew old meanwhile entered by the version in force, an instant before the change.
        let events = read(&w.store, |c| history::of_patient(c, ("north", "p00005"), Some("seniors"))).unwrap();
        assert_eq!(events.iter().map(|e| e.version).collect::<Vec<_>>(), [1]);
    }

    fn any_instant_of_the_past_can_be_asked(db) {
        let w = World::new(&db);
        w.born(0, &[70, 62, 30]);
        w.wants(&[("seniors", "age >= 65")]);
        w.runs();
        w.clock.advance(TimeDelta::hours(1));
        w.wants(&[("seniors", "age >= 60")]);
        w.runs();
        w.clock.advance(TimeDelta::hours(1));
        w.wants(&[("others", "age < 60")]);
        w.runs();
        w.is_in_order();
        let at = |id: &str, minutes: i64| {
            let definitions = read(&w.store, Definitions::load);
            let past = read(&w.store, |c| history::members_at(c, &definitions, id, NOW.plus(TimeDelta::minutes(minutes)), 10)).unwrap();
            let listed: Vec<String> = past.listed.iter().map(|p| p[0].expose().clone()).collect();
            assert_eq!(usize::try_from(past.members).unwrap(), listed.len());
            (past.version, listed)
        };
        let names = |ids: &[&str]| ids.iter().map(|i| format!("north/{i}")).collect::<Vec<_>>();
        assert_eq!(at("seniors", -1), (None, names(&[])));
        assert_eq!(at("seniors", 30), (Some(1), names(&["p00000"])));
        assert_eq!(at("seniors", 90), (Some(2), names(&["p00000", "p00001"])));
        assert_eq!(at("seniors", 121), (None, names(&[])));
        assert_eq!(at("others", 121), (Some(1), names(&["p00002"])));
    }

    fn a_crash_in_the_middle_goes_on_and_the_one_who_lost_the_lease_writes_nothing(db) {
        let mut w = World::new(&db);
        let ages: Vec<i32> = (0..2_300).map(|n| n % 90).collect();
        w.born(0, &ages);
        w.wants(&[("seniors", "age >= 65")]);
        w.runs();
        w.wants(&[("seniors", "age >= 60"), ("young", "age < 20 and not segment(seniors)")]);
        w.runs_until(|n| n > 0).unwrap();
        let at = w.rollout();
        assert!(at.state == "staging" && at.persons > 0 && at.persons < 2_300, "{at:?}");
        let lost = w.fence.clone();
        w.fence = take_lease(&w.store);
        let other = World { store: w.store.clone(), clock: domain::clock::ManualClock::at(NOW), site: w.site.clone(), fence: lost };
        assert!(matches!(other.runs_until(|_| false), Err(StoreError::LeaseLost(_))));
        assert_eq!(w.rollout(), at, "it wrote nothing");
        // The next one dies while histories are written.
        let mut calls = 0;
        while w.rollout().state != "done" {
            let seen = std::sync::atomic::AtomicU64::new(0);
            w.runs_until(|_| seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0).unwrap();
            w.fence = take_lease(&w.store);
            calls += 1;
            assert!(calls < 50);
        }
        assert!(calls > 1, "it was interrupted");
        w.runs();
        assert_eq!(w.rollout().persons, 2_300, "nobody twice");
        let brute = |from: i32, to: i32| i64::try_from(ages.iter().filter(|a| (from..to).contains(*a)).count()).unwrap();
        assert_eq!((w.size("seniors"), w.size("young")), ((brute(60, 200), 0), (brute(0, 20), 0)));
        assert_eq!(w.rollout().entries, brute(60, 65) + brute(0, 20));
        w.is_in_order();
    }

    fn going_back_is_a_roll_out_and_who_returns_enters_anew(db) {
        let w = World::new(&db);
        w.born(0, &[70, 62, 30]);
        w.wants(&[("seniors", "age >= 65"), ("adults", "age >= 18")]);
        w.runs();
        begun(&w.wants(&[("seniors", "age >= 80")]));
        w.runs();
        assert_eq!((w.size("seniors"), w.size("adults")), ((0, 0), (0, 0)));
        assert_eq!(w.rollout().exits, 4, "one senior, and the three of the segment that ended");
        w.is_in_order();
        w.clock.advance(TimeDelta::hours(1));
        begun(&write(&w.store, |c| change::roll_back(c, None, w.clock.now())));
        w.runs();
        assert_eq!((w.size("seniors"), w.size("adults")), ((1, 0), (3, 0)));
        assert_eq!((w.rollout().kind.as_str(), w.rollout().back_to), ("rollback", Some(1)));
        w.is_in_order();
        let person = w.person("p00000");
        let rows = read(&w.store, Definitions::load);
        let mut stored = read(&w.store, |c| memberships::assignments(c, &[person])).remove(&person).unwrap();
        let seniors = stored.memberships.remove(&rows.by_id("seniors").unwrap().number).unwrap();
        assert_eq!((seniors.entry, seniors.version), (2, 3), "the second entry, by the third version");
        // To a roll-out by its number, and to one that never was.
        begun(&write(&w.store, |c| change::roll_back(c, Some(2), w.clock.now())));
        w.runs();
        assert_eq!(w.size("seniors"), (0, 0));
        assert_eq!(write(&w.store, |c| change::roll_back(c, Some(99), w.clock.now())), Applied::NoSuch);
        w.is_in_order();
    }

    fn one_that_is_not_in_force_yet_is_replaced_or_given_up(db) {
        let w = World::new(&db);
        w.born(0, &[70, 62, 30]);
        w.wants(&[("seniors", "age >= 65")]);
        w.runs();
        begun(&w.wants(&[("seniors", "age >= 20"), ("anyone", "true")]));
        w.runs_until(|n| n > 0).unwrap();
        assert_eq!(w.rollout().persons, 3);
        begun(&w.wants(&[("seniors", "age >= 60")]));
        w.runs();
        assert_eq!((w.size("seniors"), w.size("anyone")), ((2, 0), (0, 0)));
        w.is_in_order();
        begun(&w.wants(&[("seniors", "age >= 20")]));
        w.runs_until(|n| n > 0).unwrap();
        assert!(matches!(write(&w.store, |c| change::roll_back(c, None, NOW)), Applied::GivenUp(_)));
        w.runs();
        assert_eq!((w.size("seniors"), w.rollout().state.as_str()), ((2, 0), "dropped"));
        assert_eq!(w.wants(&[("seniors", "age >= 60")]), Applied::Nothing);
        w.is_in_order();
    }

    fn what_refers_to_a_changed_segment_changes_with_it(db) {
        let w = World::new(&db);
        w.born(0, &[70, 62, 30]);
        let refers = ("rest", "not segment(seniors)");
        w.wants(&[("seniors", "age >= 65"), refers]);
        w.runs();
        assert_eq!(w.size("rest"), (2, 0));
        w.wants(&[("seniors", "age >= 60"), refers]);
        w.runs();
        assert_eq!((w.size("seniors"), w.size("rest")), ((2, 0), (1, 0)));
        w.is_in_order();
    }

    fn who_is_known_by_half_keeps_the_old_answer_until_the_ehr_is_read(db) {
        let w = World::new(&db);
        w.born(0, &[70, 62, 30]);
        w.wants(&[("seniors", "age >= 65"), ("anyone", "true")]);
        w.runs();
        let reading = write(&w.store, |c| leases::acquire(c, "sync/north", "reader", NOW, Term(TimeDelta::seconds(60)), |_| false)).unwrap();
        w.wants(&[("seniors", "age >= 60")]);
        w.runs();
        assert_eq!((w.rollout().state.as_str(), w.size("seniors")), ("done", (1, 0)), "as before");
        let events = read(&w.store, |c| history::of_patient(c, ("north", "p00002"), Some("anyone"))).unwrap();
        assert_eq!(events.last().unwrap().after, "out", "a segment that ends ends for everyone");
        assert_eq!(read(&w.store, pending::counts).0, 3, "all are to be judged");
        write(&w.store, |c| leases::release(c, &reading));
        w.runs();
        assert_eq!(w.size("seniors"), (2, 0));
        w.is_in_order();
    }

    fn held_and_in_are_carried_over(db) {
        let w = World::new(&db);
        w.born(0, &[70]);
        let nobody = incoming(&w.store, ResourceType::Patient, "q", "q", "{}", &["q"]);
        commit(&w.store, ResourceType::Patient, vec![nobody]);
        w.wants(&[("seniors", "held: age >= 65")]);
        w.runs();
        assert_eq!(w.size("seniors"), (1, 1));
        w.wants(&[("seniors", "held: age >= 60")]);
        w.runs();
        assert_eq!((w.size("seniors"), w.rollout().entries, w.rollout().exits), ((1, 1), 0, 0), "nothing changed for anyone");
        w.is_in_order();
        w.wants(&[("seniors", "age >= 60 or not exists age or true")]);
        w.runs();
        assert_eq!(w.size("seniors"), (2, 0));
        w.is_in_order();
    }

    fn any_series_of_changes_and_interruptions_ends_in_order(db) {
        const RULES: [&[(&str, &str)]; 5] = [
            &[("a", "age >= 65"), ("b", "not segment(a)")],
            &[("a", "held: age >= 60"), ("b", "not segment(a)"), ("c", "age < 18")],
            &[("a", "held: age >= 60 and age < 70"), ("c", "age < 20 or segment(a)")],
            &[("c", "true")],
            &[("a", "age >= 65 or not exists next_appointment.start"), ("b", "age < 40")],
        ];
        let mut random = 7_u64;
        let mut next = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        let mut w = World::new(&db);
        w.wants(RULES[0]);
        for _ in 0..60 {
            match next(6) {
                0 => w.born(usize::try_from(next(40)).unwrap(), &[i32::try_from(next(90)).unwrap(), i32::try_from(next(90)).unwrap()]),
                1 => drop(w.wants(RULES[usize::try_from(next(5)).unwrap()])),
                2 => drop(write(&w.store, |c| change::roll_back(c, None, w.clock.now()))),
                3 => {
                    w.clock.advance(TimeDelta::days(i64::try_from(next(200)).unwrap()));
                    w.fence = write(&w.store, |c| {
                        leases::acquire(c, "segments", "worker", w.clock.now(), Term(TimeDelta::seconds(60)), |_| true)
                    })
                    .unwrap();
                }
                4 => {
                    let enough = next(3);
                    let calls = std::sync::atomic::AtomicU64::new(0);
                    w.runs_until(|_| calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= enough).unwrap();
                }
                _ => {
                    w.runs();
                    w.is_in_order();
                }
            }
        }
        w.runs();
        w.is_in_order();
    }
}
