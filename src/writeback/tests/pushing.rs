//! The state machine, cell by cell: {conditional, not} x {owed, unclear} x {what the EHR answers}.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use domain::clock::ManualClock;
use domain::{Clock as _, Timestamp};

use crate::store::writebacks::Settlement;
use crate::writeback::chart::{Chart, Created, Match, Matches, Remote, SearchFailed};
use crate::writeback::contract::{Carrier, Contract, Finder, KeyPlace};
use crate::writeback::deed::Deed;
use crate::writeback::push::{Letter, Pushed, Signal, push};

const NOW: i64 = 1_795_424_400_000_000;

/// An EHR that answers by script and writes down what it was asked.
#[derive(Default)]
struct Script {
    creates: Mutex<VecDeque<Created>>,
    searches: Mutex<VecDeque<Result<Matches, SearchFailed>>>,
    asked: Mutex<Vec<String>>,
}

impl Chart for Script {
    async fn create(&self, _type: &str, _body: Vec<u8>, if_none_exist: Option<&str>) -> Created {
        self.asked.lock().unwrap().push(format!("create {}", if_none_exist.unwrap_or("-")));
        self.creates.lock().unwrap().pop_front().expect("a create was not expected")
    }

    async fn search(&self, _type: &str, params: &[(&str, String)]) -> Result<Matches, SearchFailed> {
        let query: Vec<String> = params.iter().map(|(n, v)| format!("{n}={v}")).collect();
        self.asked.lock().unwrap().push(format!("search {}", query.join("&")));
        self.searches.lock().unwrap().pop_front().expect("a search was not expected")
    }
}

fn letter(unclear: bool, tries: i64) -> Letter {
    Letter {
        id: "a1-0".to_owned(),
        carrier: Carrier::Communication,
        system: "urn:fhir-engage:attempt".to_owned(),
        value: "a1".to_owned(),
        patient: "p1".to_owned(),
        sent: Some(Timestamp::from_micros(NOW)),
        deed: Deed::Create { bytes: b"{}".to_vec() },
        loss: "[]".to_owned(),
        unclear,
        tries,
    }
}

fn conditional() -> Contract {
    Contract::full_r4()
}

fn plain() -> Contract {
    let mut contract = Contract::full_r4();
    contract.communication.conditional_create = false;
    contract
}

fn finding(finders: Vec<Finder>, mut contract: Contract) -> Contract {
    contract.communication.finders = finders;
    contract
}

struct Went {
    pushed: Pushed,
    asked: Vec<String>,
}

impl Went {
    fn kinds(&self) -> Vec<&str> {
        self.asked.iter().map(|a| a.split(' ').next().unwrap()).collect()
    }
}

fn go(contract: &Contract, letter: &Letter, creates: Vec<Created>, searches: Vec<Result<Matches, SearchFailed>>) -> Went {
    let chart = Script { creates: Mutex::new(creates.into()), searches: Mutex::new(searches.into()), ..Script::default() };
    let clock = ManualClock::at(Timestamp::from_micros(NOW));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pushed = runtime.block_on(push(&chart, contract, letter, &clock));
    let left = (chart.creates.lock().unwrap().len(), chart.searches.lock().unwrap().len());
    assert_eq!(left, (0, 0), "not all of the script was used: {pushed:?}");
    Went { pushed, asked: chart.asked.into_inner().unwrap() }
}

fn found(ids: &[&str]) -> Result<Matches, SearchFailed> {
    let entry = |id: &&str| Match {
        bytes: format!(
            r#"{{"resourceType":"Communication","id":"{id}","identifier":[{{"system":"urn:fhir-engage:attempt","value":"a1"}}]}}"#
        )
        .into_bytes(),
    };
    Ok(Matches { entries: ids.iter().map(entry).collect(), doubtful: false })
}

/// The answer of a server that ignores the filter.
fn others() -> Result<Matches, SearchFailed> {
    Ok(Matches { entries: vec![Match { bytes: br#"{"resourceType":"Communication","id":"x"}"#.to_vec() }], doubtful: false })
}

fn doubtful() -> Result<Matches, SearchFailed> {
    Ok(Matches { entries: vec![], doubtful: true })
}

fn remote(id: &str) -> Remote {
    Remote { id: Some(id.to_owned()), version: None }
}

fn state(pushed: &Pushed) -> &'static str {
    match &pushed.settlement {
        Settlement::Written { .. } => "written",
        Settlement::Again { .. } => "again",
        Settlement::Unknown { .. } => "unknown",
        Settlement::Refused { .. } => "refused",
        Settlement::Parked { .. } => "parked",
        Settlement::PutBack { unclear: true, .. } => "back unclear",
        Settlement::PutBack { unclear: false, .. } => "back owed",
        Settlement::Exported { .. } => "exported",
        Settlement::Kept { .. } => "kept",
    }
}

fn text(s: &str) -> String {
    s.to_owned()
}

/// One row per answer to the create, the row owed and the create conditional: what is asked after it, and where the row goes.
#[test]
fn the_answer_to_a_conditional_create_decides() {
    let minute = Some(Duration::from_secs(60));
    for (created, searches, kinds, wanted) in [
        (Created::Stored(remote("c1")), vec![], &["create"][..], "written"),
        (Created::Stored(Remote::default()), vec![found(&["c1"])], &["create", "search"], "written"),
        (Created::Stored(Remote::default()), vec![found(&[])], &["create", "search"], "written"),
        (Created::Stored(Remote::default()), vec![Err(SearchFailed::Later(text("http-500")))], &["create", "search"], "written"),
        (Created::Stored(Remote::default()), vec![found(&["c1", "c2"])], &["create", "search"], "refused"),
        (Created::Existing(remote("c1")), vec![found(&["c1"])], &["create", "search"], "written"),
        (Created::Existing(Remote::default()), vec![found(&["c1"])], &["create", "search"], "written"),
        (Created::Existing(remote("c1")), vec![found(&["c1", "c2"])], &["create", "search"], "refused"),
        // A server whose condition matches anything must not make us believe that ours is there.
        (Created::Existing(remote("x")), vec![found(&[])], &["create", "search"], "unknown"),
        (Created::Existing(remote("x")), vec![others()], &["create", "search"], "parked"),
        (Created::Existing(remote("c1")), vec![Err(SearchFailed::Later(text("http-500")))], &["create", "search"], "unknown"),
        (Created::SeveralMatch, vec![found(&["c1"])], &["create", "search"], "written"),
        (Created::SeveralMatch, vec![found(&["c1", "c2"])], &["create", "search"], "refused"),
        (Created::SeveralMatch, vec![found(&[])], &["create", "search"], "again"),
        (Created::Unclear(text("no-answer: reset")), vec![], &["create"], "unknown"),
        (Created::Throttled(minute), vec![], &["create"], "again"),
        (Created::Throttled(None), vec![], &["create"], "again"),
        (Created::Conflict(text("http-409")), vec![], &["create"], "again"),
        (Created::Refused(text("http-422: error: invariant")), vec![], &["create"], "refused"),
        (Created::Halted(text("no token")), vec![], &["create"], "back owed"),
    ] {
        let went = go(&conditional(), &letter(false, 1), vec![created.clone()], searches);
        assert_eq!((went.kinds().as_slice(), state(&went.pushed)), (kinds, wanted), "{created:?}");
        assert_eq!(went.asked[0], "create identifier=urn:fhir-engage:attempt|a1", "{created:?}");
    }
}

#[test]
fn without_condition_it_is_searched_for_first() {
    let stored = || vec![Created::Stored(remote("c1"))];
    for (search, creates, kinds, wanted) in [
        (found(&[]), stored(), &["search", "create"][..], "written"),
        (found(&["c1"]), vec![], &["search"], "written"),
        (found(&["c1", "c2"]), vec![], &["search"], "refused"),
        // It was never sent, so a search that proves nothing does not hold it up.
        (others(), stored(), &["search", "create"], "written"),
        (doubtful(), stored(), &["search", "create"], "written"),
        (Err(SearchFailed::Refused(text("http-403"))), stored(), &["search", "create"], "written"),
        (Err(SearchFailed::Later(text("http-500"))), vec![], &["search"], "again"),
        (Err(SearchFailed::Throttled(None)), vec![], &["search"], "again"),
        (Err(SearchFailed::Halted(text("no token"))), vec![], &["search"], "back owed"),
        (found(&[]), vec![Created::Unclear(text("no-answer"))], &["search", "create"], "unknown"),
    ] {
        let went = go(&plain(), &letter(false, 1), creates, vec![search]);
        assert_eq!((went.kinds().as_slice(), state(&went.pushed)), (kinds, wanted), "{:?}", went.pushed);
        assert!(went.asked.iter().all(|a| !a.starts_with("create") || a == "create -"), "{:?}", went.asked);
    }
    let blind = finding(vec![], plain());
    assert_eq!(go(&blind, &letter(false, 1), stored(), vec![]).kinds(), ["create"]);
}

/// An unclear one is never created before a search that can be trusted said that it is not there.
#[test]
fn an_unclear_one_leaves_that_state_only_by_search() {
    let stored = || vec![Created::Stored(remote("c1"))];
    for contract in [conditional(), plain()] {
        for (search, creates, wanted) in [
            (found(&["c1"]), vec![], "written"),
            (found(&["c1", "c2"]), vec![], "refused"),
            (found(&[]), stored(), "written"),
            (found(&[]), vec![Created::Unclear(text("no-answer"))], "unknown"),
            (found(&[]), vec![Created::Throttled(None)], "again"),
            (found(&[]), vec![Created::Refused(text("http-422"))], "refused"),
            (others(), vec![], "parked"),
            (doubtful(), vec![], "parked"),
            (Err(SearchFailed::Refused(text("http-403"))), vec![], "parked"),
            (Err(SearchFailed::Later(text("http-500"))), vec![], "unknown"),
            (Err(SearchFailed::Throttled(None)), vec![], "unknown"),
            (Err(SearchFailed::Halted(text("no token"))), vec![], "back unclear"),
        ] {
            let went = go(&contract, &letter(true, 2), creates, vec![search]);
            assert_eq!((went.kinds()[0], state(&went.pushed)), ("search", wanted), "{:?}", went.pushed);
        }
        let blind = finding(vec![], contract.clone());
        assert_eq!(state(&go(&blind, &letter(true, 2), vec![], vec![]).pushed), "parked");
        let mut keyless = finding(vec![Finder::Identifier], contract);
        keyless.communication.key = KeyPlace::Text;
        assert_eq!(state(&go(&keyless, &letter(true, 2), vec![], vec![]).pushed), "parked");
    }
}

#[test]
fn waits_are_as_long_as_they_must_be() {
    let now = ManualClock::at(Timestamp::from_micros(NOW)).now();
    let unknown = go(&conditional(), &letter(false, 1), vec![Created::Unclear(text("no-answer"))], vec![]).pushed;
    let Settlement::Unknown { at, .. } = unknown.settlement else { panic!("{unknown:?}") };
    assert!(at.since(now) >= conditional().settle_delay(), "the server may still be at it");
    assert_eq!(unknown.signal, Signal::Trouble);
    let asked = Some(Duration::from_secs(7_200));
    let throttled = go(&conditional(), &letter(false, 1), vec![Created::Throttled(asked)], vec![]).pushed;
    let Settlement::Again { at, .. } = throttled.settlement else { panic!("{throttled:?}") };
    assert!(at.since(now) >= chrono::TimeDelta::hours(2));
    assert_eq!(throttled.signal, Signal::Pause(at), "nothing else is asked for so long");
}

#[test]
fn a_conflict_without_end_goes_to_a_person() {
    for (tries, wanted) in [(1, "again"), (7, "again"), (8, "refused"), (50, "refused")] {
        let went = go(&conditional(), &letter(false, tries), vec![Created::Conflict(text("http-409"))], vec![]);
        assert_eq!(state(&went.pushed), wanted, "{tries}");
    }
}

#[test]
fn searches_ask_for_what_the_contract_can_find() {
    let by_time = finding(vec![Finder::PatientSent], plain());
    let went = go(&by_time, &letter(true, 2), vec![], vec![found(&["c1"])]);
    assert_eq!(went.asked, ["search patient=Patient/p1&sent=ge2026-11-23T08:59:59Z&sent=le2026-11-23T09:00:01Z"]);
    // Others' messages of the same second are to be expected there, and prove nothing against it.
    let went = go(&by_time, &letter(true, 2), vec![Created::Stored(remote("c1"))], vec![others()]);
    assert_eq!(state(&went.pushed), "written");
    let odd = Letter { value: text("a,1|x&y"), ..letter(false, 1) };
    let went = go(&conditional(), &odd, vec![Created::Stored(remote("c1"))], vec![]);
    assert_eq!(went.asked, [r"create identifier=urn:fhir-engage:attempt|a\%2C1\|x%26y"]);
}
