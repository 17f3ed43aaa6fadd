//! The walk of the night along the audit chain: in steps, while others append; cut off and gone on with; and what it found, kept.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use domain::Clock as _;
use domain::clock::ManualClock;
use fhir_engage::store::chain::{self, Standing, Stride};
use fhir_engage::store::leases::{self, Fence, Term};
use fhir_engage::store::{Store, StoreError, alerts, audit};

use super::fixtures::{at, read, write};
use crate::support::on_both;

const TERM: Term = Term(TimeDelta::seconds(60));
const STEPS: Stride = Stride { rows: 2, kept_every: 1 };

fn appended(store: &Store, rows: i64) {
    for n in 0..rows {
        write(store, |c| audit::append(c, &super::audit::entry(n, "kim")));
    }
}

fn lease(store: &Store, owner: &str, clock: &ManualClock) -> Fence {
    let now = clock.now();
    write(store, |c| leases::acquire(c, "audit", owner, now, TERM, |_| true)).expect("free, or of the dead")
}

/// Walks so many steps, then is told to stop; what it told if it came to the end before.
async fn walk(store: &Store, clock: &ManualClock, fence: &Fence, steps: u32) -> Result<Option<Standing>, StoreError> {
    let left = AtomicU32::new(steps);
    let is_stopped = || left.fetch_sub(1, Ordering::Relaxed) <= 1;
    chain::go_on(store, clock, (fence, TERM), STEPS, &is_stopped).await
}

fn noted(store: &Store, clock: &ManualClock) -> Vec<(String, String)> {
    let now = clock.now();
    read(store, |c| alerts::conditions(c, now)).into_iter().map(|c| (c.kind, c.says)).collect()
}

on_both! {
    async fn a_walk_that_is_cut_off_goes_on_where_it_was_and_sees_what_was_appended(db) {
        let (store, clock) = (db.store(), ManualClock::at(at(0)));
        appended(&store, 7);
        assert_eq!(read(&store, chain::kept), None);
        let fence = lease(&store, "one", &clock);
        assert_eq!(walk(&store, &clock, &fence, 2).await.unwrap(), None, "four rows, and it is stopped");
        assert_eq!(read(&store, chain::kept), None, "half a walk tells nothing");
        appended(&store, 3);
        // What was walked along this night is not read again: the place is a row's number with the hash that it had.
        db.execute("UPDATE audit SET who = 'lee' WHERE number = 1");
        let other = db.store();
        let fence = lease(&other, "two", &clock);
        let told = walk(&other, &clock, &fence, 100).await.unwrap().unwrap();
        assert_eq!((told.rows, told.broken.as_deref(), told.whole_at), (10, None, Some(at(0).micros())), "all ten, those of meanwhile too");
        assert_eq!(read(&store, chain::kept), Some(told.clone()));
        // The next night begins at the first row.
        clock.advance(TimeDelta::days(1));
        let told_then = walk(&other, &clock, &fence, 100).await.unwrap().unwrap();
        assert_eq!(told_then.broken.as_deref(), Some("row 1 is not what was written, or the one before it is not"));
        assert_eq!((told_then.rows, told_then.whole_at), (0, told.whole_at), "and it is known when it was whole");
        assert_eq!(noted(&store, &clock), [("audit".to_owned(), format!("the audit chain is broken: {}", told_then.broken.unwrap()))]);
        db.execute("UPDATE audit SET who = 'kim' WHERE number = 1");
        let mended = chain::verify(&store, &clock).await.unwrap();
        assert_eq!((mended.broken, mended.whole_at), (None, Some(clock.now().micros())));
        assert_eq!(noted(&store, &clock), []);
    }

    async fn a_place_of_another_night_is_not_gone_on_from_and_a_lost_lease_ends_the_walk(db) {
        let (store, clock) = (db.store(), ManualClock::at(at(0)));
        appended(&store, 9);
        let fence = lease(&store, "one", &clock);
        assert_eq!(walk(&store, &clock, &fence, 2).await.unwrap(), None);
        db.execute("UPDATE audit SET who = 'lee' WHERE number = 1");
        clock.advance(TimeDelta::hours(13));
        let later = lease(&store, "two", &clock);
        assert!(matches!(walk(&store, &clock, &fence, 100).await, Err(StoreError::LeaseLost(_))), "another node is at it");
        let told = walk(&store, &clock, &later, 100).await.unwrap().unwrap();
        assert_eq!(told.rows, 0, "begun anew: {told:?}");
        assert_eq!(told.whole_at, None, "it was never found whole");
    }

    async fn rows_that_are_cut_off_behind_the_place_of_a_walk_are_missed(db) {
        let (store, clock) = (db.store(), ManualClock::at(at(0)));
        appended(&store, 6);
        let fence = lease(&store, "one", &clock);
        assert_eq!(walk(&store, &clock, &fence, 2).await.unwrap(), None);
        db.execute("DELETE FROM audit WHERE number > 4");
        let told = walk(&store, &clock, &fence, 100).await.unwrap().unwrap();
        assert!(told.broken.unwrap().contains("the rows end at 4 and the chain at 6"));
        let kept: Standing = read(&store, chain::kept).unwrap();
        assert!(kept.broken.is_some());
    }
}

/// What versions before kept has no word on when it was last whole.
#[test]
fn what_an_older_version_kept_is_read() {
    let db = crate::support::Database::fresh(crate::support::Backend::Sqlite).unwrap();
    let store = db.store();
    db.execute("INSERT INTO installation (name, value) VALUES ('audit-verified', '{\"at\":5,\"rows\":3,\"last\":\"ab\",\"broken\":null}')");
    assert_eq!(read(&store, chain::kept).unwrap().whole_at, Some(5));
    db.execute(
        "UPDATE installation SET value = '{\"at\":5,\"rows\":3,\"last\":\"ab\",\"broken\":\"row 4\"}' WHERE name = 'audit-verified'",
    );
    assert_eq!(read(&store, chain::kept).unwrap().whole_at, None);
    db.execute("UPDATE installation SET value = 'x' WHERE name = 'audit-verified'");
    assert_eq!(read(&store, chain::kept), None);
}
