//! The state machine of creates, cell by cell: {conditional, not} x {owed, unclear} x {what the EHR answers}; which carriers an unclear one is
//! looked for in; and what is told of what was kept.

use std::time::Duration;

use domain::clock::ManualClock;
use domain::{Clock as _, Timestamp};

use super::script::{NOW, Script, Went, go, go_by, letter, remote, state, text};
use crate::store::writebacks::Settlement;
use crate::writeback::chart::{Created, Match, Matches, NoChart, Remote, SearchFailed};
use crate::writeback::contract::{Carrier, Contract, Finder, KeyPlace, ReadBack};
use crate::writeback::push::{Letter, Put, Signal, push};
use crate::writeback::{Deed, Folder, Ways};

fn conditional() -> Contract {
    let mut contract = Contract::full_r4();
    contract.communication.key_kept = Some(true);
    contract.document_reference.key_kept = Some(true);
    contract
}

fn plain() -> Contract {
    let mut contract = conditional();
    contract.communication.conditional_create = false;
    contract
}

fn finding(finders: Vec<Finder>, mut contract: Contract) -> Contract {
    contract.communication.finders = finders;
    contract
}

/// One try of a create that is answered so, after searches that are answered so.
fn went(contract: &Contract, letter: &Letter, creates: Vec<Created>, searches: Vec<Result<Matches, SearchFailed>>) -> Went {
    go(contract, letter, Script { creates, searches, ..Script::default() })
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
        let tried = went(&conditional(), &letter(false, 1), vec![created.clone()], searches);
        assert_eq!((tried.kinds().as_slice(), state(&tried.pushed)), (kinds, wanted), "{created:?}");
        assert_eq!(tried.asked[0], "create Communication identifier=urn:fhir-engage:attempt|a1", "{created:?}");
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
        let tried = went(&plain(), &letter(false, 1), creates, vec![search]);
        assert_eq!((tried.kinds().as_slice(), state(&tried.pushed)), (kinds, wanted), "{:?}", tried.pushed);
        assert!(tried.asked.iter().all(|a| !a.starts_with("create") || a == "create Communication -"), "{:?}", tried.asked);
    }
    let blind = finding(vec![], plain());
    assert_eq!(went(&blind, &letter(false, 1), stored(), vec![]).kinds(), ["create"]);
}

/// A server may drop our key in silence: before it was seen to keep it, that a search by it finds nothing proves nothing.
#[test]
fn a_search_that_finds_nothing_counts_only_where_the_key_was_seen() {
    let knowing = |key_kept, mut contract: Contract| {
        contract.communication.key_kept = key_kept;
        contract
    };
    let stored = || vec![Created::Stored(remote("c1"))];
    for contract in [conditional(), plain()] {
        for (key_kept, searches, creates, wanted) in [
            (Some(true), vec![found(&[])], stored(), "written"),
            // Nothing of the patient's may be it, with the key or without.
            (None, vec![found(&[]), found(&[]), found(&["c1"])], stored(), "written"),
            (Some(false), vec![found(&[]), found(&[])], stored(), "written"),
            (None, vec![found(&[]), others()], vec![], "parked"),
            (None, vec![found(&[]), doubtful()], vec![], "parked"),
            (None, vec![found(&[]), Err(SearchFailed::Later(text("http-500")))], vec![], "unknown"),
        ] {
            let tried = went(&knowing(key_kept, contract.clone()), &letter(true, 2), creates, searches);
            assert_eq!(state(&tried.pushed), wanted, "{key_kept:?} {:?}", tried.asked);
        }
        // Where a patient's cannot be listed, another row may show it, and in the end a person has to look.
        let blind = finding(vec![Finder::Identifier], contract.clone());
        for (key_kept, tries, wanted) in [(None, 2, "unknown"), (None, 5, "unknown"), (None, 6, "parked"), (Some(false), 2, "parked")] {
            let tried = went(&knowing(key_kept, blind.clone()), &letter(true, tries), vec![], vec![found(&[])]);
            assert_eq!((state(&tried.pushed), tried.pushed.signal.clone()), (wanted, Signal::Fine), "{key_kept:?} {tries}");
        }
        // One that is found shows that the key is kept.
        let tried = went(&knowing(None, contract.clone()), &letter(true, 2), vec![], vec![found(&["c1"])]);
        assert_eq!((state(&tried.pushed), tried.pushed.key_kept), ("written", Some(true)));
    }
    // After the first create it is looked for, whatever the answer shows.
    let tried = went(&knowing(None, conditional()), &letter(false, 1), stored(), vec![found(&["c1"])]);
    assert_eq!((tried.kinds(), tried.pushed.key_kept), (vec!["create", "search"], Some(true)));
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
            let tried = went(&contract, &letter(true, 2), creates, vec![search]);
            assert_eq!((tried.kinds()[0], state(&tried.pushed)), ("search", wanted), "{:?}", tried.pushed);
        }
        let blind = finding(vec![], contract.clone());
        assert_eq!(state(&went(&blind, &letter(true, 2), vec![], vec![]).pushed), "parked");
        let mut keyless = finding(vec![Finder::Identifier], contract);
        keyless.communication.key = KeyPlace::Text;
        assert_eq!(state(&went(&keyless, &letter(true, 2), vec![], vec![]).pushed), "parked");
    }
}

#[test]
fn waits_are_as_long_as_they_must_be() {
    let now = ManualClock::at(Timestamp::from_micros(NOW)).now();
    let unknown = went(&conditional(), &letter(false, 1), vec![Created::Unclear(text("no-answer"))], vec![]).pushed;
    let Settlement::Unknown { at, .. } = unknown.settlement else { panic!("{unknown:?}") };
    assert!(at.since(now) >= conditional().settle_delay(), "the server may still be at it");
    assert_eq!(unknown.signal, Signal::Trouble);
    let asked = Some(Duration::from_secs(7_200));
    let throttled = went(&conditional(), &letter(false, 1), vec![Created::Throttled(asked)], vec![]).pushed;
    let Settlement::Again { at, .. } = throttled.settlement else { panic!("{throttled:?}") };
    assert!(at.since(now) >= chrono::TimeDelta::hours(2));
    assert!(at.since(now) <= chrono::TimeDelta::minutes(150), "and not much longer");
    let until = now.plus(chrono::TimeDelta::hours(2));
    assert_eq!(throttled.signal, Signal::Pause(until), "nothing else is asked for so long, and no longer");
}

#[test]
fn a_row_that_was_throttled_often_is_not_punished_for_it() {
    let now = ManualClock::at(Timestamp::from_micros(NOW)).now();
    for (asked, most) in [(Some(Duration::from_secs(60)), 75), (Some(Duration::from_secs(u64::MAX)), 30 * 3_600)] {
        let one = went(&conditional(), &letter(false, 12), vec![Created::Throttled(asked)], vec![]).pushed;
        let Settlement::Again { at, .. } = one.settlement else { panic!("{one:?}") };
        assert!(at.since(now).num_seconds() <= most, "{at}");
    }
}

#[test]
fn a_conflict_without_end_goes_to_a_person() {
    for (tries, wanted) in [(1, "again"), (7, "again"), (8, "refused"), (50, "refused")] {
        let tried = went(&conditional(), &letter(false, tries), vec![Created::Conflict(text("http-409"))], vec![]);
        assert_eq!(state(&tried.pushed), wanted, "{tries}");
    }
}

/// Unknown, not found, sent again, and again without an answer: that must end where a person sees it.
#[test]
fn one_that_never_comes_to_a_clear_end_goes_to_a_person() {
    let now = ManualClock::at(Timestamp::from_micros(NOW)).now();
    let mut before = chrono::TimeDelta::zero();
    for unanswered in 0..12 {
        let letter = Letter { unanswered, ..letter(true, 30) };
        let tried = went(&plain(), &letter, vec![Created::Unclear(text("no-answer: HTTP status 500"))], vec![found(&[])]);
        match tried.pushed.settlement {
            Settlement::Unknown { at, .. } => {
                assert!(unanswered < 11 && at.since(now) >= before, "{unanswered}");
                assert!(at.since(now) <= chrono::TimeDelta::minutes(75), "{unanswered}");
                before = at.since(now);
            }
            Settlement::Parked { why } => assert!(unanswered == 11 && why.starts_with("no-answer") && why.contains("12 times"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(before >= chrono::TimeDelta::hours(1), "{before}");
}

/// An EHR that was connected once, and delivers files now.
#[test]
fn without_a_connection_old_rows_are_seen_and_hold_nobody_up() {
    let clock = ManualClock::at(Timestamp::from_micros(NOW));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ends = |letter: &Letter| {
        let pushed = runtime.block_on(push(&NoChart, &chained(plain(), &[Carrier::Export]), &Ways::default(), letter, &clock));
        let (Settlement::Parked { why } | Settlement::Refused { why }) = &pushed.settlement else { panic!("{pushed:?}") };
        assert!(why.contains("no-connection") && pushed.signal == Signal::Fine, "{pushed:?}");
        state(&pushed)
    };
    let exported = Letter { carrier: Carrier::Export, ..letter(true, 2) };
    assert_eq!(ends(&exported), "parked");
    assert_eq!(ends(&Letter { put_as: None, ..exported }), "parked");
    let mark = Deed::EnteredInError { id: text("c1"), why: text("It came back.") };
    assert_eq!(ends(&Letter { deed: mark, ..letter(false, 1) }), "refused");
    let change = Deed::Status { appointment: text("v1"), to: text("booked"), start: None, from: [text("proposed")].into() };
    assert_eq!(ends(&Letter { deed: change, carrier: Carrier::Appointment, ..letter(true, 2) }), "refused");
}

#[test]
fn searches_ask_for_what_the_contract_can_find() {
    let by_time = finding(vec![Finder::PatientSent], plain());
    let tried = went(&by_time, &letter(true, 2), vec![], vec![found(&["c1"])]);
    assert_eq!(tried.asked, ["search Communication patient=Patient/p1&sent=ge2026-11-22T09:00:00Z"]);
    // Others' messages of the same time are to be expected there, and prove nothing against it.
    let timed = Letter { put_as: Some(text("identifier by patient+sent")), ..letter(true, 2) };
    let tried = went(&by_time, &timed, vec![Created::Stored(remote("c1"))], vec![others()]);
    assert_eq!(state(&tried.pushed), "written");
    let odd = Letter { value: text("a,1|x&y"), ..letter(false, 1) };
    let tried = went(&conditional(), &odd, vec![Created::Stored(remote("c1"))], vec![]);
    assert_eq!(tried.asked, [r"create Communication identifier=urn:fhir-engage:attempt|a\%2C1\|x%26y"]);
}

fn chained(mut contract: Contract, chain: &[Carrier]) -> Contract {
    contract.chain = chain.to_vec();
    contract
}

/// A worker that died did not say by what it tried, and a contract may have changed since: nothing is created before each of them was searched.
#[test]
fn an_unclear_one_is_looked_for_wherever_it_may_be() {
    use Carrier::{Communication, DocumentReference, Export, Ledger};
    let both = chained(plain(), &[Communication, DocumentReference, Ledger]);
    let stored = || vec![Created::Stored(remote("c1"))];
    for (tried, carrier, searches, creates, asked, wanted) in [
        (None, Communication, vec![found(&[]), found(&[])], stored(), "Communication DocumentReference Communication", "written"),
        (None, Communication, vec![found(&[]), found(&["d1"])], vec![], "Communication DocumentReference", "written"),
        (
            None,
            Communication,
            vec![found(&[]), Err(SearchFailed::Later(text("http-500")))],
            vec![],
            "Communication DocumentReference",
            "unknown",
        ),
        (None, Communication, vec![found(&[]), doubtful()], vec![], "Communication DocumentReference", "parked"),
        (Some(Communication), Communication, vec![found(&[])], stored(), "Communication Communication", "written"),
        // The contract chose another carrier since.
        (Some(Communication), DocumentReference, vec![found(&["c1"])], vec![], "Communication", "written"),
        (
            Some(Communication),
            DocumentReference,
            vec![found(&[]), found(&[])],
            stored(),
            "Communication DocumentReference DocumentReference",
            "written",
        ),
        (Some(Communication), Ledger, vec![found(&["c1"])], vec![], "Communication", "written"),
        (Some(Communication), Ledger, vec![found(&[])], vec![], "Communication", "kept"),
        // A file that is written again is the same file; without a folder there is none.
        (Some(Export), Export, vec![], vec![], "", "refused"),
    ] {
        let deed =
            if carrier == Ledger { Deed::Keep { why: text("by the contract's word") } } else { Deed::Create { bytes: b"{}".to_vec() } };
        let put_as = tried.map(|_| text("identifier by identifier"));
        let letter = Letter { tried, carrier, deed, put_as, ..letter(true, 2) };
        let went = went(&both, &letter, creates, searches);
        let types: Vec<&str> = went.asked.iter().map(|a| a.split(' ').nth(1).unwrap()).collect();
        assert_eq!((types.join(" ").as_str(), state(&went.pushed)), (asked, wanted), "{tried:?} {carrier:?}");
        if wanted == "written" && asked == "Communication" {
            assert_eq!(went.pushed.carrier, Communication, "the row says where it was found");
        }
    }
    // What the chain cannot search was not necessarily tried by it.
    let mut half = both;
    half.document_reference.finders = vec![];
    assert_eq!(state(&went(&half, &letter(true, 2), stored(), vec![found(&[])]).pushed), "written");
}

/// After a crash the chain may have been changed, and a carrier that is on the row is of an earlier try.
#[test]
fn where_nobody_knows_the_carrier_all_are_searched_and_none_is_passed_over() {
    use Carrier::{Communication, DocumentReference, Export, Route};
    let stored = || vec![Created::Stored(remote("c1"))];
    let lost = |tried| Letter { tried, put_as: None, ..letter(true, 2) };
    let alone = chained(plain(), &[Communication, Export]);
    for tried in [None, Some(Communication)] {
        let one = went(&alone, &lost(tried), vec![], vec![found(&[]), found(&["d1"])]);
        assert_eq!((state(&one.pushed), one.pushed.carrier), ("written", DocumentReference), "{:?}", one.asked);
        assert_eq!(state(&went(&alone, &lost(tried), stored(), vec![found(&[]), found(&[])]).pushed), "written");
        // The one that cannot be trusted does not hide where it is.
        let one = went(&alone, &lost(tried), vec![], vec![doubtful(), found(&["d1"])]);
        assert_eq!((state(&one.pushed), one.pushed.carrier), ("written", DocumentReference));
    }
    // This EHR never showed a note of ours; that is no reason to leave all to a person.
    let mut fresh = alone.clone();
    fresh.document_reference.key_kept = None;
    assert_eq!(state(&went(&fresh, &lost(None), stored(), vec![found(&[]), found(&[])]).pushed), "written");

    let refused = || Err(SearchFailed::Refused(text("not-granted")));
    assert_eq!(state(&went(&fresh, &lost(None), stored(), vec![found(&[]), refused()]).pushed), "written", "it is never written here");
    assert_eq!(state(&went(&alone, &lost(None), vec![], vec![found(&[]), refused()]).pushed), "parked", "it was, once");

    let mut blind = chained(plain(), &[Communication, DocumentReference]);
    blind.document_reference.finders = vec![];
    let mut before = chained(blind.clone(), &[Communication]);
    before.preset_chain = vec![Communication, DocumentReference];
    for contract in [&blind, &before] {
        for tried in [None, Some(Communication)] {
            let one = went(contract, &lost(tried), vec![], vec![found(&[])]);
            let Settlement::Parked { why } = &one.pushed.settlement else { panic!("{:?}", one.pushed) };
            assert!(why.starts_with("no-search: it may have gone by document-reference"), "{why}");
        }
        assert_eq!(state(&went(contract, &lost(None), vec![], vec![found(&["c1"])]).pushed), "written");
        assert_eq!(
            state(&went(contract, &letter(true, 2), stored(), vec![found(&[])]).pushed),
            "written",
            "it is known to have gone elsewhere"
        );
    }
    // An operator's word of before, taken back since: what was ever sent by it is kept.
    for (used, says) in [("document-reference", "no-search: it may have gone by document-reference"), ("route 0011", "settings-changed")] {
        let former = Contract { used: [used.to_owned()].into(), ..chained(blind.clone(), &[Communication]) };
        let one = went(&former, &lost(None), vec![], vec![found(&[])]);
        let Settlement::Parked { why } = &one.pushed.settlement else { panic!("{:?}", one.pushed) };
        assert!(why.starts_with(says), "{why}");
        assert_eq!(state(&went(&former, &letter(true, 2), stored(), vec![found(&[])]).pushed), "written");
    }
    // What it went by cannot be searched any more.
    let gone = Letter { tried: Some(DocumentReference), ..letter(true, 2) };
    assert_eq!(state(&went(&before, &gone, vec![], vec![found(&[])]).pushed), "parked");
    assert_eq!(state(&went(&before, &gone, vec![], vec![found(&["c1"])]).pushed), "written");

    let declared = |find: Option<&str>, chain: &[Carrier]| {
        let mut contract = chained(plain(), chain);
        contract.document_reference.finders = vec![];
        contract.route = Some(crate::writeback::contract::Route {
            url: text("https://e.example/x"),
            content_type: text("application/json"),
            body: text("{{ key }}"),
            bearer: None,
            success: [200].into(),
            id_at: None,
            find: find.map(text),
            found_at: Some(text("/found")),
        });
        contract
    };
    // Here no way to ask it was opened.
    for contract in [declared(None, &[Communication, Route]), declared(Some("https://e.example/x/{key}"), &[Communication])] {
        assert_eq!(state(&went(&contract, &lost(None), vec![], vec![found(&[])]).pushed), "parked");
        assert_eq!(state(&went(&contract, &letter(true, 2), stored(), vec![found(&[])]).pushed), "written");
    }
}

/// Between the lost answer and the search, the settings were changed.
#[test]
fn a_search_that_looks_where_it_was_not_put_proves_no_absence() {
    let put = |contract: &Contract, letter: &Letter| {
        let put = went(contract, letter, vec![Created::Unclear(text("no-answer"))], vec![found(&[])]).pushed.put;
        let Put::As(Some(put_as)) = put else { panic!("{put:?}") };
        Letter { unclear: true, tries: 2, put_as: Some(put_as), ..letter.clone() }
    };
    let ends = |contract: &Contract, letter: &Letter, creates: Vec<Created>, search| {
        let one = went(contract, letter, creates, vec![search]).pushed;
        let why = if let Settlement::Parked { why } = &one.settlement { why.clone() } else { String::new() };
        (state(&one), why.split(':').next().unwrap().to_owned())
    };
    let stored = || vec![Created::Stored(remote("c1"))];
    let to = |group: &str| {
        let inbox = format!(r#"{{"category":[{{"coding":[{{"system":"c","code":"n"}}]}}],"recipient":[{{"reference":"{group}"}}]}}"#);
        Letter { deed: Deed::Create { bytes: inbox.into_bytes() }, ..letter(false, 1) }
    };
    let mut inbox = finding(vec![Finder::InboxReceived], plain());
    inbox.communication.key = KeyPlace::Text;
    let seven = put(&inbox, &to("Group/7"));
    assert!(!seven.put_as.as_deref().unwrap().contains("Group"), "a recipient may be a person: {:?}", seven.put_as);
    assert_eq!(ends(&inbox, &seven, stored(), found(&[])).0, "written");
    let eight = Letter { deed: to("Group/8").deed, ..seven.clone() };
    assert_eq!(ends(&inbox, &eight, vec![], found(&[])), ("parked", text("settings-changed")));
    assert_eq!(ends(&inbox, &eight, vec![], found(&["c1"])).0, "written");
    // The key is in a text, and is looked for as an identifier.
    assert_eq!(ends(&plain(), &seven, vec![], found(&[])), ("parked", text("settings-changed")));
    let plainly = put(&plain(), &to("Group/7"));
    assert_eq!(
        ends(&plain(), &Letter { deed: to("Group/8").deed, ..plainly }, stored(), found(&[])).0,
        "written",
        "the search names no recipient"
    );
}

#[test]
fn what_was_kept_is_compared_where_the_contract_says_so_and_never_unmakes_it() {
    let shown = |id: &str, kept: &str| Remote { kept: Some(kept.as_bytes().to_vec()), ..remote(id) };
    let sent = r#"{"resourceType":"Communication","status":"completed","identifier":[{"system":"urn:fhir-engage:attempt","value":"a1"}]}"#;
    let less = r#"{"resourceType":"Communication","id":"c1","status":"completed"}"#;
    let letter = Letter { deed: Deed::Create { bytes: sent.as_bytes().to_vec() }, ..letter(false, 1) };
    let read = |kept: &str| vec![Ok(Some(Match { bytes: kept.as_bytes().to_vec() }))];
    let lost = r#"[{"path":"identifier","kept":"absent"},{"path":"key","kept":"absent"}]"#;
    for (read_back, created, reads, wanted) in [
        (ReadBack::Never, shown("c1", less), vec![], None),
        (ReadBack::FromAnswer, shown("c1", less), vec![], Some(lost)),
        (ReadBack::FromAnswer, shown("c1", sent), vec![], Some("[]")),
        (ReadBack::FromAnswer, Remote { kept: None, ..remote("c1") }, read(less), Some(lost)),
        // Its answer repeats what was sent.
        (ReadBack::Always, shown("c1", sent), read(less), Some(lost)),
        (ReadBack::Always, shown("c1", sent), vec![Ok(None)], None),
        (ReadBack::Always, shown("c1", sent), vec![Err(SearchFailed::Halted(text("no token")))], None),
        (ReadBack::Always, shown("c1", sent), vec![Err(SearchFailed::Throttled(None))], None),
    ] {
        let mut contract = conditional();
        contract.communication.read_back = read_back;
        let went = go(&contract, &letter, Script { creates: vec![Created::Stored(created)], reads, ..Script::default() });
        let Settlement::Written { differences, remote_id, .. } = &went.pushed.settlement else { panic!("{:?}", went.pushed) };
        assert_eq!((differences.as_deref(), remote_id.as_deref()), (wanted, Some("c1")), "{read_back:?}");
    }
}

#[test]
fn what_has_no_way_of_its_own_is_exported_kept_or_refused() {
    let folder = std::env::temp_dir().join(format!("fhir-engage-pushing-{}", std::process::id()));
    let ways = Ways { route: None, export: Some(Folder::new(&folder, "north")) };
    for (carrier, deed, ways, wanted) in [
        (Carrier::Export, Deed::Create { bytes: b"{}".to_vec() }, &ways, "exported"),
        (Carrier::Export, Deed::Create { bytes: b"{}".to_vec() }, &Ways::default(), "refused"),
        (Carrier::Route, Deed::Create { bytes: b"{}".to_vec() }, &Ways::default(), "refused"),
        (Carrier::Ledger, Deed::Keep { why: text("by the contract's word") }, &ways, "kept"),
        (Carrier::Appointment, Deed::Create { bytes: b"{}".to_vec() }, &ways, "refused"),
    ] {
        let letter = Letter { carrier, deed, ..letter(false, 1) };
        let went = go_by(&conditional(), ways, &letter, Script::default());
        assert_eq!((state(&went.pushed), went.asked.len()), (wanted, 0), "{carrier:?}: {:?}", went.pushed);
    }
    assert!(folder.join("north/2026-11-23/a1.json").exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_inbox_that_wants_an_email_status_is_asked_by_each_and_proves_no_absence() {
    let inbox = r#"{"category":[{"coding":[{"system":"c","code":"n"}]}],"recipient":[{"reference":"Group/1"}]}"#;
    let letter = Letter { deed: Deed::Create { bytes: inbox.as_bytes().to_vec() }, ..letter(true, 2) };
    let mut contract = finding(vec![Finder::InboxReceived], plain());
    contract.communication.key = KeyPlace::Text;
    let refused = || Err(SearchFailed::Refused(text("http-400")));
    for (searches, wanted) in [
        (vec![refused(), found(&[]), found(&["c1"]), found(&[])], "written"),
        (vec![refused(), found(&["c1"]), found(&["c1"]), found(&[])], "written"),
        (vec![refused(), found(&["c1"]), found(&["c2"]), found(&[])], "refused"),
        (vec![refused(), found(&[]), found(&[]), found(&[])], "parked"),
        (vec![refused(), refused()], "parked"),
        (vec![refused(), found(&[]), Err(SearchFailed::Later(text("http-500")))], "unknown"),
    ] {
        let one = went(&contract, &letter, vec![], searches);
        assert_eq!(state(&one.pushed), wanted, "{:?}", one.pushed);
        assert!(one.asked[1].ends_with("-email-status=http://hl7.org/fhir/task-status|received"), "{:?}", one.asked);
    }
}
