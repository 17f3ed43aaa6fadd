//! Who belongs to an EHR that is known by half is invisible to segments and outreach, and keeps what was marked and planned.

use std::collections::BTreeSet;

use domain::model::{EhrId, ResourceType};
use fhir_engage::store::memberships::{self, Evaluated};
use fhir_engage::store::sync_state::{self, Counts, End};
use fhir_engage::store::{Store, attempts, ehrs, leases, pending, people, reading, resources};

use super::fixtures::{TERM, at, ehr, evaluated, fence, incoming, patient, planned, read, write};
use crate::support::on_both;

const HOUR: i64 = 3600;

fn half(store: &Store, seconds: i64) -> Vec<String> {
    read(store, |conn| reading::half_read(conn, at(seconds))).into_iter().collect()
}

/// Persons that segments, planning and sending would take at that instant.
fn visible(store: &Store, seconds: i64) -> [BTreeSet<i64>; 3] {
    let segments = read(store, |conn| pending::take(conn, at(seconds), 0, 100));
    let planning = read(store, |conn| pending::take_outreach(conn, at(seconds), 100));
    let sending = read(store, |conn| attempts::due(conn, at(seconds), 100));
    [segments.iter().map(|p| p.person).collect(), planning.iter().map(|p| p.person).collect(), sending.iter().map(|a| a.person).collect()]
}

/// One person at `north` and one at `south`, each marked for both stages and with an attempt that is due.
fn two(store: &Store) -> [people::Record; 2] {
    let north = patient(store, "n");
    let other = EhrId::parse("south").unwrap();
    write(store, |conn| ehrs::put(conn, &ehr(), "{}", at(0)).and_then(|()| ehrs::put(conn, &other, "{}", at(0))));
    let page = [incoming(store, ResourceType::Patient, "s", "s", "{}", &["s"])];
    write(store, |conn| resources::commit(conn, &other, ResourceType::Patient, &page, resources::Precedence::Asked(at(10_000_000)), at(0)));
    let south = read(store, |conn| people::record(conn, "south", "s")).unwrap();
    write(store, |conn| pending::mark_outreach(conn, &[north.person, south.person].into(), at(0)));
    planned(store, &north, "a1");
    planned(store, &south, "a2");
    [north, south]
}

/// A run of `north` that stored so much, begun and ended at that instant.
fn run(store: &Store, kind: ResourceType, seconds: i64, stored: i64, how: &End) {
    write(store, |conn| {
        let run = sync_state::begin(conn, &ehr(), kind, "cursor", "f", at(seconds))?;
        sync_state::advance(conn, &ehr(), kind, run, Counts { pages: 1, stored, ..Counts::default() }, Some("there"))?;
        sync_state::end(conn, &ehr(), kind, run, how, at(seconds))
    });
}

fn failed() -> End {
    End::Failed("the EHR answered 503".to_owned())
}

fn done() -> End {
    End::Done { high_water: None, as_of: Some(at(0)) }
}

on_both! {
    fn while_an_ehr_is_read_its_persons_are_left_out_and_no_others(db) {
        let store = db.store();
        let [north, south] = two(&store).map(|r| r.person);
        assert_eq!(visible(&store, 1), [(); 3].map(|()| BTreeSet::from([north, south])));
        for name in ["sync/north", "sync/north/CarePlan"] {
            let lease = fence(&store, name);
            assert_eq!(half(&store, 1), ["north"]);
            assert_eq!(visible(&store, 1), [(); 3].map(|()| BTreeSet::from([south])), "{name}");
            write(&store, |conn| leases::release(conn, &lease));
            assert_eq!(visible(&store, 1), [(); 3].map(|()| BTreeSet::from([north, south])), "their marks stay");
        }
        // Another lease of that beginning is none of a reading.
        fence(&store, "syncing");
        assert_eq!(half(&store, 1), Vec::<String>::new());
    }

    fn whose_time_has_come_is_left_out_meanwhile_too(db) {
        let store = db.store();
        let [north, south] = two(&store).map(|r| r.person);
        let all = read(&store, |conn| pending::take(conn, at(0), 0, 100));
        let due: Vec<Evaluated> = all.iter().map(|p| evaluated(p.person, Some(1), false)).collect();
        write(&store, |conn| memberships::apply(conn, &due, at(0)).and_then(|()| pending::done(conn, &all)));
        let lease = fence(&store, "sync/north");
        assert_eq!(visible(&store, 1)[0], [south].into());
        write(&store, |conn| leases::release(conn, &lease));
        assert_eq!(visible(&store, 1)[0], [north, south].into());
        assert_eq!(visible(&store, 0)[0], [].into());
    }

    fn who_is_in_two_ehrs_waits_for_both(db) {
        let store = db.store();
        let [north, south] = two(&store);
        db.execute(&format!("UPDATE patient SET person = {} WHERE pk = {}", north.person, south.pk));
        let lease = fence(&store, "sync/south");
        assert!(visible(&store, 1).iter().all(|v| !v.contains(&north.person)));
        write(&store, |conn| leases::release(conn, &lease));
        assert!(visible(&store, 1).iter().all(|v| v.contains(&north.person)));
    }

    fn a_reading_whose_process_died_counts_for_an_hour(db) {
        let store = db.store();
        two(&store);
        fence(&store, "sync/north");
        let term = TERM.0.num_seconds();
        for (seconds, wanted) in [(term + 1, true), (term + HOUR - 1, true), (term + HOUR, false)] {
            assert_eq!(!half(&store, seconds).is_empty(), wanted, "{seconds}");
        }
    }

    fn a_run_that_was_cut_off_counts_until_a_good_one_and_for_an_hour_at_most(db) {
        let store = db.store();
        two(&store);
        let kind = ResourceType::Appointment;
        run(&store, kind, 0, 0, &failed());
        assert_eq!(half(&store, 1), Vec::<String>::new(), "nothing of it was stored");
        run(&store, kind, 10, 3, &failed());
        run(&store, ResourceType::CarePlan, 11, 5, &done());
        // Goes on from there and fails at once: still half.
        run(&store, kind, 20, 0, &failed());
        run(&store, kind, 30, 0, &End::Interrupted);
        assert_eq!(half(&store, 31), ["north"]);
        run(&store, kind, 40, 7, &done());
        assert_eq!(half(&store, 41), Vec::<String>::new());
        // It keeps failing, each time after having stored something: the hour counts from the first.
        for seconds in [100, 100 + HOUR / 2, 100 + HOUR - 1] {
            run(&store, kind, seconds, 1, &failed());
            assert_eq!(half(&store, seconds), ["north"], "{seconds}");
        }
        assert_eq!(half(&store, 100 + HOUR), Vec::<String>::new());
        run(&store, kind, 100 + HOUR + 5, 1, &failed());
        assert_eq!(half(&store, 100 + HOUR + 6), Vec::<String>::new(), "judged as it is, until it was read to the end once");
        run(&store, kind, 9_000, 1, &done());
        run(&store, kind, 9_100, 1, &failed());
        assert_eq!(half(&store, 9_101), ["north"]);
    }

    fn a_snapshot_sees_one_state_of_the_database(db) {
        let store = db.store();
        let [north, _] = two(&store);
        let (before, after) = read_twice(&store, || {
            write(&store, |conn| leases::acquire(conn, "sync/north", "worker", at(1), TERM, |_| true));
            write(&store, |conn| pending::mark_outreach(conn, &[north.person].into(), at(2)));
        });
        assert_eq!(before, after);
        assert_eq!(half(&store, 2), ["north"], "outside of it, it is known");
        // A snapshot that failed leaves a connection that is good for the next one.
        let nothing = |_: &mut _| Err::<(), _>(fhir_engage::store::StoreError::Busy);
        assert!((0..20).all(|_| store.snapshot_blocking(nothing).is_err()));
        assert_eq!(store.snapshot_blocking(|conn| reading::half_read(conn, at(2))).unwrap().len(), 1);
    }
}

type Seen = (BTreeSet<String>, Vec<pending::Pending>);

/// What a snapshot sees before and after something else is committed.
fn read_twice(store: &Store, meanwhile: impl FnOnce()) -> (Seen, Seen) {
    let look = |conn: &mut _| {
        Ok::<_, fhir_engage::store::StoreError>((reading::half_read(conn, at(2))?, pending::take_outreach(conn, at(2), 10)?))
    };
    store
        .snapshot_blocking(|conn| {
            let before = look(conn)?;
            meanwhile();
            Ok((before, look(conn)?))
        })
        .unwrap()
}
