//! An EHR that answers by script and writes down what it was asked.

use std::collections::VecDeque;
use std::sync::Mutex;

use domain::Timestamp;
use domain::clock::ManualClock;

use crate::store::writebacks::Settlement;
use crate::writeback::chart::{Changed, Chart, Created, Match, Matches, Remote, SearchFailed};
use crate::writeback::contract::{Carrier, Contract};
use crate::writeback::push::{Letter, Pushed, push};
use crate::writeback::{Deed, Ways};

pub const NOW: i64 = 1_795_424_400_000_000;

/// What it answers, in order.
#[derive(Default)]
pub struct Script {
    pub creates: Vec<Created>,
    pub searches: Vec<Result<Matches, SearchFailed>>,
    pub reads: Vec<Result<Option<Match>, SearchFailed>>,
    pub changes: Vec<Changed>,
}

struct Player {
    creates: Mutex<VecDeque<Created>>,
    searches: Mutex<VecDeque<Result<Matches, SearchFailed>>>,
    reads: Mutex<VecDeque<Result<Option<Match>, SearchFailed>>>,
    changes: Mutex<VecDeque<Changed>>,
    asked: Mutex<Vec<String>>,
}

impl Player {
    fn answer<T>(&self, asked: String, answers: &Mutex<VecDeque<T>>) -> T {
        let said = answers.lock().unwrap().pop_front();
        let said = said.unwrap_or_else(|| panic!("not expected: {asked}"));
        self.asked.lock().unwrap().push(asked);
        said
    }

    fn left(&self) -> usize {
        self.creates.lock().unwrap().len()
            + self.searches.lock().unwrap().len()
            + self.reads.lock().unwrap().len()
            + self.changes.lock().unwrap().len()
    }
}

impl Chart for Player {
    async fn create(&self, kind: &str, _body: Vec<u8>, if_none_exist: Option<&str>) -> Created {
        self.answer(format!("create {kind} {}", if_none_exist.unwrap_or("-")), &self.creates)
    }

    async fn search(&self, kind: &str, params: &[(&str, String)]) -> Result<Matches, SearchFailed> {
        let query: Vec<String> = params.iter().map(|(n, v)| format!("{n}={v}")).collect();
        self.answer(format!("search {kind} {}", query.join("&")), &self.searches)
    }

    async fn read(&self, kind: &str, id: &str) -> Result<Option<Match>, SearchFailed> {
        self.answer(format!("read {kind} {id}"), &self.reads)
    }

    async fn update(&self, kind: &str, id: &str, version: Option<&str>, body: Vec<u8>) -> Changed {
        self.answer(format!("update {kind} {id} {} {}", version.unwrap_or("-"), String::from_utf8(body).unwrap()), &self.changes)
    }

    async fn patch(&self, kind: &str, id: &str, version: Option<&str>, patch: Vec<u8>) -> Changed {
        self.answer(format!("patch {kind} {id} {} {}", version.unwrap_or("-"), String::from_utf8(patch).unwrap()), &self.changes)
    }
}

/// A try that was made.
pub struct Went {
    pub pushed: Pushed,
    pub asked: Vec<String>,
}

impl Went {
    pub fn kinds(&self) -> Vec<&str> {
        self.asked.iter().map(|a| a.split(' ').next().unwrap()).collect()
    }
}

pub fn go(contract: &Contract, letter: &Letter, script: Script) -> Went {
    go_by(contract, &Ways::default(), letter, script)
}

pub fn go_by(contract: &Contract, ways: &Ways, letter: &Letter, script: Script) -> Went {
    let player = Player {
        creates: Mutex::new(script.creates.into()),
        searches: Mutex::new(script.searches.into()),
        reads: Mutex::new(script.reads.into()),
        changes: Mutex::new(script.changes.into()),
        asked: Mutex::default(),
    };
    let clock = ManualClock::at(Timestamp::from_micros(NOW));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pushed = runtime.block_on(push(&player, contract, ways, letter, &clock));
    assert_eq!(player.left(), 0, "not all of the script was used: {pushed:?}");
    Went { pushed, asked: player.asked.into_inner().unwrap() }
}

pub fn letter(unclear: bool, tries: i64) -> Letter {
    Letter {
        id: "a1-0".to_owned(),
        carrier: Carrier::Communication,
        tried: Some(Carrier::Communication),
        put_as: Some("identifier by identifier".to_owned()),
        system: "urn:fhir-engage:attempt".to_owned(),
        value: "a1".to_owned(),
        patient: "p1".to_owned(),
        sent: Some(Timestamp::from_micros(NOW)),
        since: Timestamp::from_micros(NOW),
        deed: Deed::Create { bytes: b"{}".to_vec() },
        loss: "[]".to_owned(),
        unclear,
        tries,
        unanswered: 0,
    }
}

/// A resource that the answer shows, so that nothing need be read.
pub fn remote(id: &str) -> Remote {
    Remote { id: Some(id.to_owned()), version: None, kept: Some(b"{}".to_vec()) }
}

pub fn state(pushed: &Pushed) -> &'static str {
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

pub fn text(s: &str) -> String {
    s.to_owned()
}
