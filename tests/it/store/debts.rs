//! What comes to be owed, and what people do about it: notes, answers, corrections, replay.

use fhir_engage::store::answers::{self, Incoming, Owed};
use fhir_engage::store::attempts::{self, Attempt, End, Outcome};
use fhir_engage::store::leases::Fence;
use fhir_engage::store::people::Record;
use fhir_engage::store::writebacks::{self, Debt, Resolution, Settlement, Wanted, Way};
use fhir_engage::store::{Store, people};

use super::fixtures::{at, depart, fence, finished, patient, planned, read, write};
use crate::support::on_both;

/// An attempt that left.
fn sending(store: &Store, p: &Record, id: &str) -> Attempt {
    let a = planned(store, p, id);
    let revision = read(store, |conn| people::contact_revision(conn, p.person));
    assert!(depart(store, &a, 1, revision));
    read(store, |conn| attempts::get(conn, id)).unwrap()
}

/// One that ended, owing so much.
fn ended(store: &Store, p: &Record, id: &str, outcome: Outcome, debt: Debt) -> Attempt {
    let a = sending(store, p, id);
    assert!(write(store, |conn| attempts::finish(conn, &a, &End { debt, ..End::owing(outcome) }, at(2))));
    read(store, |conn| attempts::get(conn, id)).unwrap()
}

fn claim(store: &Store, f: &Fence, seconds: i64) -> Vec<String> {
    let claimed = write(store, |conn| writebacks::claim(conn, "north", f, at(seconds), at(seconds + 30), 100));
    claimed.into_iter().map(|c| c.row.id).collect()
}

fn settle(store: &Store, f: &Fence, id: &str, how: &Settlement) {
    assert!(
        write(store, |conn| writebacks::settle(conn, id, f, how, Some(Way { carrier: "communication", put_as: None }), at(20))),
        "{id}"
    );
}

fn written() -> Settlement {
    Settlement::Written { remote_id: Some("77".to_owned()), version: None, loss: "[]".to_owned(), differences: None }
}

fn refused(why: &str) -> Settlement {
    Settlement::Refused { why: why.to_owned() }
}

fn rows(store: &Store) -> Vec<(String, String)> {
    let mut rows = read(store, |conn| writebacks::list(conn, None, None, 100));
    rows.sort_by_key(|r| (r.patient, r.number));
    rows.into_iter().map(|r| (r.id, r.state)).collect()
}

fn state(store: &Store, id: &str) -> String {
    read(store, |conn| writebacks::get(conn, id)).unwrap().state
}

fn answer(store: &Store, a: &Attempt, external_id: Option<&str>, owed: Owed) -> Option<i64> {
    let incoming = Incoming {
        channel: "sms",
        external_id,
        meaning: "confirm",
        barrier: Some("transport"),
        needs_action: false,
        message: Some(b"C"),
        recorded_by: "sms",
    };
    write(store, |conn| answers::record(conn, a, &incoming, owed, at(9)))
}

const ALL: Owed = Owed { attempt: Debt::Original, answer: Debt::Original, status_change: true };

on_both! {
    fn a_debt_of_nothing_leaves_nothing(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        ended(&store, &p1, "a1", Outcome::Failed, Debt::Nothing);
        assert_eq!(rows(&store), []);
    }

    fn a_days_lines_share_a_note_that_holds_nobody_up_until_it_is_due(db) {
        let store = db.store();
        let (p1, p2) = (patient(&store, "p1"), patient(&store, "p2"));
        let evening = Debt::Line(at(500));
        ended(&store, &p1, "a1", Outcome::Delivered, evening);
        ended(&store, &p2, "b1", Outcome::Delivered, evening);
        ended(&store, &p1, "a2", Outcome::Unknown, evening);
        ended(&store, &p1, "a3", Outcome::Delivered, Debt::Original);
        let f = fence(&store, "writeback/north");
        assert_eq!(claim(&store, &f, 10), ["a3-0"], "the note is still being collected");
        settle(&store, &f, "a3-0", &written());
        assert_eq!(read(&store, |conn| writebacks::next_due(conn, "north", at(0))), Some(at(500)));
        let mut due = claim(&store, &f, 500);
        due.sort();
        assert_eq!(due, ["a1-note", "b1-note"]);
        let lines = read(&store, |conn| writebacks::items(conn, &["a1-note", "b1-note"]));
        let ids = |note: &str| lines[note].iter().map(|a| a.id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids("a1-note"), ids("b1-note")), (vec!["a1", "a2"], vec!["b1"]));
        // One that was claimed takes no more lines: what it holds may be in the EHR.
        ended(&store, &p1, "a4", Outcome::Delivered, Debt::Line(at(600)));
        let lines = read(&store, |conn| writebacks::items(conn, &["a1-note", "a4-note"]));
        assert_eq!((lines["a1-note"].len(), lines["a4-note"].len()), (2, 1));
    }

    fn an_answer_after_the_days_note_was_written_is_told_by_the_next_one(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        let a = ended(&store, &p1, "a1", Outcome::Delivered, Debt::Line(at(500)));
        let answered = |due| answer(&store, &a, None, Owed { attempt: Debt::Nothing, answer: Debt::Line(at(due)), status_change: false });
        let f = fence(&store, "writeback/north");
        assert_eq!(answered(500), Some(1), "while the note is being collected it is told there");
        assert_eq!(claim(&store, &f, 500), ["a1-note"]);
        settle(&store, &f, "a1-note", &written());
        assert_eq!((answered(900), answered(900)), (Some(2), Some(3)));
        assert_eq!(claim(&store, &f, 900), ["a1-note-1"], "one note for both");
        settle(&store, &f, "a1-note-1", &written());
        assert_eq!(answered(1_200), Some(4));
        assert_eq!(claim(&store, &f, 1_200), ["a1-note-2"]);
        assert_eq!(read(&store, |conn| writebacks::items(conn, &["a1-note-1"]))["a1-note-1"][0].id, "a1");
    }

    fn a_provenance_is_owed_once_of_what_is_a_resource_with_an_id(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        for id in ["a1", "a2", "a3"] {
            ended(&store, &p1, id, Outcome::Delivered, Debt::Original);
        }
        let f = fence(&store, "writeback/north");
        let owe = |id: &str| write(&store, |conn| writebacks::owe_provenance(conn, id, at(20)));
        assert_eq!(claim(&store, &f, 10), ["a1-0"]);
        assert!(!owe("a1-0") && !owe("no-such"), "it is not written yet");
        settle(&store, &f, "a1-0", &written());
        assert_eq!((owe("a1-0"), owe("a1-0")), (true, false));
        assert_eq!(claim(&store, &f, 20), ["a2-0"], "behind what was owed before it");
        let file = Settlement::Exported { file: "f".to_owned(), loss: "[]".to_owned() };
        settle(&store, &f, "a2-0", &file);
        assert!(!owe("a2-0"), "a file is no resource");
        assert_eq!(claim(&store, &f, 20), ["a3-0"]);
        let nameless = Settlement::Written { remote_id: None, version: None, loss: "[]".to_owned(), differences: None };
        settle(&store, &f, "a3-0", &nameless);
        assert!(!owe("a3-0"), "nobody knows what it would be of");
        assert_eq!(claim(&store, &f, 20), ["a1-0-provenance"]);
        let row = read(&store, |conn| writebacks::get(conn, "a1-0-provenance")).unwrap();
        assert_eq!((row.kind.as_str(), row.revision, row.number, row.attempt.as_str()), ("provenance", 1, 4, "a1"));
        let of = read(&store, |conn| writebacks::targets(conn, &[&row]));
        assert_eq!(of["a1-0-provenance"].id, "a1-0");
        assert!(write(&store, |conn| writebacks::settle(conn, "a1-0-provenance", &f, &written(), Some(Way { carrier: "provenance", put_as: None }), at(20))));
        assert!(!owe("a1-0-provenance"), "nor of a Provenance");
    }

    fn an_answer_ends_what_was_open_and_is_told_by_its_channels_id(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        let a = sending(&store, &p1, "a1");
        write(&store, |conn| attempts::sent(conn, "a1", Some("sm1"), at(100)));
        assert_eq!(answer(&store, &a, Some("in-1"), ALL), Some(1));
        assert_eq!(answer(&store, &a, Some("in-1"), ALL), None, "the channel delivered it twice");
        assert_eq!(answer(&store, &a, None, Owed { status_change: false, ..ALL }), Some(2));
        let after = read(&store, |conn| attempts::get(conn, "a1")).unwrap();
        assert_eq!((after.state.as_str(), after.outcome.as_deref()), ("finished", Some("answered")));
        let owed: Vec<String> = rows(&store).into_iter().map(|(id, _)| id).collect();
        assert_eq!(owed, ["a1-0", "a1-answer-1", "a1-status-1", "a1-answer-2"], "the original is owed once, and first");
        let said = read(&store, |conn| answers::to(conn, &["a1"]));
        assert_eq!(said[0].barrier.as_deref(), Some("transport"));
        assert_eq!(said.iter().map(|s| (s.number, s.message.as_deref())).collect::<Vec<_>>(), [(1, Some(&b"C"[..])), (2, Some(b"C"))]);
        let held = planned(&store, &p1, "a2");
        assert_eq!(answer(&store, &held, None, ALL), None, "it never left");
    }

    fn a_change_of_status_that_is_refused_leaves_the_answer_to_staff(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        let a = sending(&store, &p1, "a1");
        assert_eq!(answer(&store, &a, None, Owed { attempt: Debt::Nothing, answer: Debt::Nothing, status_change: true }), Some(1));
        let f = fence(&store, "writeback/north");
        assert_eq!(claim(&store, &f, 10), ["a1-status-1"]);
        settle(&store, &f, "a1-status-1", &refused("status-moved: fulfilled"));
        assert!(read(&store, |conn| answers::get(conn, "a1", 1)).unwrap().needs_action);
        assert_eq!(claim(&store, &f, 21), ["a1-answer-1"]);
    }

    fn what_was_tried_in_vain_is_told_as_it_is_by_then_and_needs_no_correction(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        let f = fence(&store, "writeback/north");
        let again = ended(&store, &p1, "a1", Outcome::Delivered, Debt::Original);
        claim(&store, &f, 10);
        settle(&store, &f, "a1-0", &Settlement::Again { at: at(15), why: "throttled: x".to_owned() });
        let bounce = |a: &Attempt, debt| write(&store, |conn| attempts::bounced(conn, a, "channel: 550", debt, at(30)));
        assert!(bounce(&again, Debt::Original));
        assert_eq!(claim(&store, &f, 40), ["a1-0"]);
        settle(&store, &f, "a1-0", &refused("http-422: x"));
        let late = ended(&store, &p1, "a2", Outcome::Delivered, Debt::Original);
        claim(&store, &f, 41);
        settle(&store, &f, "a2-0", &refused("http-422: x"));
        assert!(bounce(&late, Debt::Original));
        // Where the sent are not written and the unreachable are, a late bounce is owed as that.
        let silent = ended(&store, &p1, "a3", Outcome::Delivered, Debt::Nothing);
        assert!(bounce(&silent, Debt::Original));
        let ids: Vec<String> = rows(&store).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["a1-0", "a2-0", "a3-0"]);
    }

    fn a_late_bounce_corrects_only_what_the_chart_may_say(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        let f = fence(&store, "writeback/north");
        let bounce = |a: &Attempt| write(&store, |conn| attempts::bounced(conn, a, "channel: 550 5.1.1", Debt::Nothing, at(30)));
        let untold = ended(&store, &p1, "a1", Outcome::Delivered, Debt::Nothing);
        let not_tried = ended(&store, &p1, "a2", Outcome::Delivered, Debt::Original);
        assert!(bounce(&untold) && bounce(&not_tried));
        assert_eq!(rows(&store).len(), 1, "what was not tried yet is composed from what is known then");
        assert_eq!(claim(&store, &f, 40), ["a2-0"]);
        settle(&store, &f, "a2-0", &written());
        let told = ended(&store, &p1, "a3", Outcome::Unknown, Debt::Original);
        claim(&store, &f, 40);
        settle(&store, &f, "a3-0", &written());
        assert!(bounce(&told));
        assert!(!bounce(&told), "it is known to have failed");
        let lined = ended(&store, &p1, "a4", Outcome::Delivered, Debt::Line(at(50)));
        assert_eq!(claim(&store, &f, 50), ["a3-correction-1"]);
        settle(&store, &f, "a3-correction-1", &written());
        assert_eq!(claim(&store, &f, 50), ["a4-note"]);
        settle(&store, &f, "a4-note", &written());
        assert!(bounce(&lined));
        assert_eq!(claim(&store, &f, 60), ["a4-correction-1"], "a line of a note is corrected as well");
        let failed = read(&store, |conn| attempts::get(conn, "a3")).unwrap();
        assert_eq!((failed.outcome.as_deref(), failed.failure.as_deref()), (Some("failed"), Some("channel: 550 5.1.1")));
    }

    fn when_the_last_rung_closes_the_failed_one_before_it_is_owed_once(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        let first = ended(&store, &p1, "a1", Outcome::Failed, Debt::Nothing);
        let closed = Attempt { rung: 1, ..first.clone() };
        let owe = |a: &Attempt| write(&store, |conn| attempts::owe_unreachable(conn, a, Debt::Original, at(5)));
        let elsewhere = Attempt { step: "other".to_owned(), ..closed.clone() };
        assert!(!owe(&elsewhere), "nothing of that step failed");
        assert!(owe(&closed));
        assert!(!owe(&closed), "once");
        assert_eq!(rows(&store), [("a1-0".to_owned(), "owed".to_owned())]);
    }

    fn refusals_are_grouped_by_cause_and_replayed_in_their_order(db) {
        let store = db.store();
        let (p1, p2) = (patient(&store, "p1"), patient(&store, "p2"));
        for (p, id) in [(&p1, "a1"), (&p1, "a2"), (&p2, "b1"), (&p2, "b2")] {
            finished(&store, p, id);
        }
        let f = fence(&store, "writeback/north");
        for (ids, why) in [(["a1-0", "b1-0"], "http-403: denied"), (["a2-0", "b2-0"], "http-422: error: required")] {
            claim(&store, &f, 10);
            settle(&store, &f, ids[0], &refused(why));
            settle(&store, &f, ids[1], &refused(if ids[1] == "b2-0" { "found-twice: it is in the EHR 2 times" } else { why }));
        }
        let causes = read(&store, |conn| writebacks::causes(conn, Some("north")));
        let told: Vec<(&str, i64)> = causes.iter().map(|c| (c.cause.as_str(), c.count)).collect();
        assert_eq!(told, [("http-403", 2), ("found-twice", 1), ("http-422", 1)]);
        let only = |cause: &str| Wanted { cause: Some(cause.to_owned()), ..Wanted::default() };
        assert_eq!(write(&store, |conn| writebacks::reopen(conn, &only("http-403"), true)).len(), 2);
        assert_eq!(state(&store, "a1-0"), "refused", "a dry run changes nothing");
        let all = write(&store, |conn| writebacks::reopen(conn, &Wanted::default(), false));
        assert_eq!(all.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["a1-0", "b1-0", "a2-0", "b2-0"]);
        assert_eq!(state(&store, "b2-0"), "unknown", "one that was seen in the EHR is searched for before it is written");
        let mut first = claim(&store, &f, 11);
        first.sort();
        assert_eq!(first, ["a1-0", "b1-0"], "each lane from its beginning");
        assert_eq!(read(&store, |conn| writebacks::get(conn, "a1-0")).unwrap().tries, 1, "the waits begin anew");
    }

    fn what_is_parked_is_searched_for_again_when_it_is_replayed(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        finished(&store, &p1, "a1");
        let f = fence(&store, "writeback/north");
        claim(&store, &f, 10);
        settle(&store, &f, "a1-0", &Settlement::Parked { why: "search-refused: http-403".to_owned() });
        let wanted = Wanted { cause: Some("search-refused".to_owned()), ..Wanted::default() };
        assert_eq!(write(&store, |conn| writebacks::reopen(conn, &wanted, false)).len(), 1);
        let again = write(&store, |conn| writebacks::claim(conn, "north", &f, at(11), at(40), 10));
        assert!(again.len() == 1 && again[0].unclear);
    }

    fn a_person_settles_what_is_parked_and_nothing_else(db) {
        let store = db.store();
        let p1 = patient(&store, "p1");
        for id in ["a1", "a2"] {
            finished(&store, &p1, id);
        }
        let f = fence(&store, "writeback/north");
        let resolve = |id: &str, how: Resolution| write(&store, |conn| writebacks::resolve(conn, id, &how, at(70)));
        assert!(!resolve("a1-0", Resolution::NotThere), "a machine is still at it");
        for id in ["a1-0", "a2-0"] {
            claim(&store, &f, 10);
            settle(&store, &f, id, &Settlement::Parked { why: "no-search: x".to_owned() });
        }
        assert_eq!(read(&store, |conn| writebacks::list(conn, None, Some("parked"), 9)).len(), 2);
        assert!(resolve("a1-0", Resolution::InTheEhr(Some("9".to_owned()))));
        assert!(resolve("a2-0", Resolution::NotThere));
        assert!(!resolve("a1-0", Resolution::NotThere) && !resolve("nothing", Resolution::NotThere));
        assert_eq!((state(&store, "a1-0"), state(&store, "a2-0")), ("written".to_owned(), "owed".to_owned()));
        assert_eq!(claim(&store, &f, 71), ["a2-0"]);
    }
}
