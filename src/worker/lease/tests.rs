//! A lease over time, on a database file: kept while held, given back when dropped, told when lost.

use std::path::PathBuf;

use domain::Timestamp;

use super::*;
use crate::store::Location;

/// The machine's clock: the keeper sleeps in real time.
struct RealTime(Instant);

impl Clock for RealTime {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(self.0.elapsed().as_micros()).unwrap())
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fhir-engage-lease-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> Store {
        Store::open(Location::Sqlite(self.0.join("db.sqlite"))).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn leases(store: &Store, millis: i64) -> Leases {
    let clock = Arc::new(RealTime(Instant::now()));
    Leases::new(store.clone(), Owner::this_process(), clock, TimeDelta::milliseconds(millis))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_lease_outlives_its_term_and_a_dropped_one_is_free_at_once() {
    let folder = Folder::new("held");
    let store = folder.store();
    let leases = leases(&store, 900);
    let held = leases.take("sync/epic/Patient").await.unwrap().unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(leases.take("sync/epic/Patient").await.unwrap().is_none(), "another worker took a lease that is held");
    }
    assert!(!held.is_lost());
    let (fence, term, now) = (held.fence().clone(), held.term(), leases.clock.now());
    store.write("work", move |c| leases::extend(c, &fence, now, term)).await.unwrap();
    held.release().await.unwrap();
    let again = leases.take("sync/epic/Patient").await.unwrap().unwrap();
    drop(again);
    for tries in 0.. {
        if leases.take("sync/epic/Patient").await.unwrap().is_some() {
            break;
        }
        assert!(tries < 50, "a dropped lease was not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_another_worker_took_is_lost_and_its_fence_cannot_write() {
    let folder = Folder::new("lost");
    let store = folder.store();
    let leases = leases(&store, 600);
    let held = leases.take("outreach").await.unwrap().unwrap();
    // Another node, whose clock is far ahead, believes that the term has ended.
    let later = leases.clock.now().plus(TimeDelta::seconds(1));
    let other = store
        .write("rival", move |c| leases::acquire(c, "outreach", "other/1/1", later, Term(TimeDelta::seconds(60)), |_| false))
        .await
        .unwrap()
        .unwrap();
    tokio::time::timeout(Duration::from_secs(5), held.lost()).await.unwrap();
    assert!(held.is_lost());
    let (fence, term, now) = (held.fence().clone(), held.term(), leases.clock.now());
    assert!(matches!(store.write("work", move |c| leases::extend(c, &fence, now, term)).await, Err(StoreError::LeaseLost(_))));
    held.release().await.unwrap();
    let now = leases.clock.now();
    store.write("the rival's work", move |c| leases::extend(c, &other, now, term)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_process_of_this_machine_is_not_waited_for() {
    let folder = Folder::new("dead");
    let store = folder.store();
    let leases = leases(&store, 60_000);
    let me = Owner::this_process();
    let (rest, start) = me.as_str().rsplit_once('/').unwrap();
    for (owner, free) in [(format!("{rest}/{}", start.parse::<u64>().unwrap() + 1), true), ("elsewhere.boot.1.0/1/1".to_owned(), false)] {
        let (name, at) = (format!("task/{free}"), leases.clock.now());
        let task = name.clone();
        store
            .write("other", move |c| leases::acquire(c, &task, &owner, at, Term(TimeDelta::seconds(60)), |_| false))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(leases.take(&name).await.unwrap().is_some(), free, "{name}");
    }
}
