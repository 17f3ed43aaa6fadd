//! The loop's promises: a nudge is not lost, failures wait, a panic ends one run only, the end waits for a safe point.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use domain::clock::ManualClock;

use super::*;
use crate::worker::task::Nudge;

const HOUR: Duration = Duration::from_secs(3600);

fn worker(at_once: usize) -> Worker {
    Worker::new(Arc::new(ManualClock::at(Timestamp::from_micros(0))), at_once)
}

fn seed() -> StdRng {
    StdRng::seed_from_u64(7)
}

/// Waits until `f` holds.
async fn until(what: &str, f: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if f() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} did not come");
}

#[tokio::test]
async fn a_nudge_given_while_the_task_runs_makes_it_run_once_more() {
    let runs = Arc::new(AtomicUsize::new(0));
    let (nudge, gate) = (Nudge::new(), Arc::new(tokio::sync::Notify::new()));
    let (counted, held) = (Arc::clone(&runs), Arc::clone(&gate));
    let task = Task::new("t", HOUR, nudge.clone(), move |_| {
        let (counted, held) = (Arc::clone(&counted), Arc::clone(&held));
        async move {
            counted.fetch_add(1, SeqCst);
            held.notified().await;
            TaskReport::worked("one", None)
        }
    });
    let (worker, stop) = (worker(1), Stop::new());
    let running = tokio::spawn({
        let (worker, stop) = (worker.clone(), stop.clone());
        async move { worker.run(vec![task], seed(), stop).await }
    });
    nudge.give();
    until("the first run", || runs.load(SeqCst) == 1).await;
    nudge.give();
    nudge.give();
    gate.notify_one();
    until("the second run", || runs.load(SeqCst) == 2).await;
    gate.notify_one();
    until("the sleep", || matches!(worker.health().statuses()[0].phase, Phase::Sleeping { .. })).await;
    assert_eq!(runs.load(SeqCst), 2, "two nudges during one run are one more run");
    stop.request();
    running.await.unwrap();
    assert_eq!(worker.health().statuses()[0].phase, Phase::Stopped);
}

#[tokio::test]
async fn a_panic_is_a_failure_and_after_one_a_nudge_does_not_shorten_the_wait() {
    let at: Arc<std::sync::Mutex<Vec<Instant>>> = Arc::default();
    let nudge = Nudge::new();
    let (noted, again) = (Arc::clone(&at), nudge.clone());
    let task = Task::new("t", HOUR, nudge.clone(), move |_| {
        let (noted, again) = (Arc::clone(&noted), again.clone());
        async move {
            let run = {
                let mut noted = noted.lock().unwrap();
                noted.push(Instant::now());
                noted.len()
            };
            if run == 1 {
                again.give();
                panic!("a defect");
            }
            TaskReport::idle(None)
        }
    });
    let (worker, stop) = (worker(1), Stop::new());
    let running = tokio::spawn({
        let (worker, stop) = (worker.clone(), stop.clone());
        async move { worker.run(vec![task], seed(), stop).await }
    });
    nudge.give();
    until("the first run", || worker.health().statuses().first().is_some_and(|s| s.runs == 1)).await;
    let status = worker.health().statuses()[0].clone();
    assert_eq!(status.failures_in_a_row, 1);
    assert!(status.last_report.unwrap().failed.is_some());
    until("the next run", || worker.health().statuses()[0].runs >= 2).await;
    let at = at.lock().unwrap().clone();
    assert!((at[1] - at[0]) >= Duration::from_millis(2_500), "{:?}", at[1] - at[0]);
    assert_eq!(worker.health().statuses()[0].failures_in_a_row, 0);
    stop.request();
    running.await.unwrap();
}

#[tokio::test]
async fn a_report_names_the_next_run() {
    let runs: Arc<std::sync::Mutex<Vec<Instant>>> = Arc::default();
    let (nudge, noted) = (Nudge::new(), Arc::clone(&runs));
    let task = Task::new("t", HOUR, nudge.clone(), move |_| {
        let mut noted = noted.lock().unwrap();
        noted.push(Instant::now());
        // The worker's clock stands at 0: the first report names an instant that is 300 ms away.
        std::future::ready(TaskReport::idle((noted.len() == 1).then(|| Timestamp::from_micros(300_000))))
    });
    let (worker, stop) = (worker(4), Stop::new());
    let running = tokio::spawn({
        let (worker, stop) = (worker.clone(), stop.clone());
        async move { worker.run(vec![task], seed(), stop).await }
    });
    nudge.give();
    until("the named run", || runs.lock().unwrap().len() == 2).await;
    let took = {
        let runs = runs.lock().unwrap();
        runs[1] - runs[0]
    };
    assert!(took >= Duration::from_millis(300), "{took:?}");
    stop.request();
    running.await.unwrap();
    assert_eq!(runs.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn first_ticks_are_spread_by_the_seed() {
    let sleeps = || async {
        let tasks =
            (0..4).map(|i| Task::new(format!("t{i}"), HOUR, Nudge::new(), |_| std::future::ready(TaskReport::idle(None)))).collect();
        let (worker, stop) = (worker(4), Stop::new());
        let running = tokio::spawn({
            let (worker, stop) = (worker.clone(), stop.clone());
            async move { worker.run(tasks, seed(), stop).await }
        });
        until("the sleeps", || worker.health().statuses().len() == 4).await;
        let at: Vec<i64> = worker
            .health()
            .statuses()
            .iter()
            .filter_map(|s| match s.phase {
                Phase::Sleeping { until } => Some(until.micros()),
                _ => None,
            })
            .collect();
        stop.request();
        running.await.unwrap();
        at
    };
    let (first, second) = (sleeps().await, sleeps().await);
    assert_eq!(first, second, "the same seed gives the same spread");
    assert!(first.iter().all(|t| (0..10_000_000).contains(t)), "{first:?}");
    assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{first:?}");
}

#[tokio::test]
async fn only_so_many_run_at_once_and_the_end_waits_for_a_safe_point() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let saved = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<Task> = (0..6)
        .map(|i| {
            let (now, most, saved) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&saved));
            Task::new(format!("t{i}"), Duration::from_millis(20), Nudge::new(), move |stop| {
                let (now, most, saved) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&saved));
                async move {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    stop.requested().await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    saved.fetch_add(1, SeqCst);
                    now.fetch_sub(1, SeqCst);
                    TaskReport::worked("saved", None)
                }
            })
        })
        .collect();
    let (worker, stop) = (worker(2), Stop::new());
    let running = tokio::spawn({
        let (worker, stop) = (worker.clone(), stop.clone());
        async move { worker.run(tasks, seed(), stop).await }
    });
    until("the queue", || worker.health().statuses().iter().filter(|s| s.phase == Phase::Waiting).count() == 4).await;
    assert_eq!(most.load(SeqCst), 2);
    assert!(worker.health().overdue(Timestamp::from_micros(i64::MAX / 2), TimeDelta::zero()).is_empty(), "waiting is not being overdue");
    stop.request();
    running.await.unwrap();
    assert_eq!((saved.load(SeqCst), most.load(SeqCst)), (2, 2), "both that ran came to their safe point, no other began");
}

#[test]
fn a_task_that_did_not_wake_is_overdue() {
    let health = Health::new();
    health.enter("a", Phase::Sleeping { until: Timestamp::from_micros(10_000_000) });
    health.enter("b", Phase::Running { since: Timestamp::from_micros(0) });
    let grace = TimeDelta::seconds(60);
    assert!(health.overdue(Timestamp::from_micros(70_000_000), grace).is_empty());
    assert_eq!(health.overdue(Timestamp::from_micros(70_000_001), grace), ["a"]);
}
