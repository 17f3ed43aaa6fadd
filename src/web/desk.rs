//! What pages ask of the gateway beside its store: what only the parts themselves can say, such as when a type is read next, and acts.
//!
//! `app` implements it by the same doors as the commands. An [`Act`] says what is to be done; who may do it stands in the route table.

use std::pin::Pin;

use domain::Timestamp;
use domain::model::Phi;

use super::viewer::Viewer;
use crate::store::StoreError;
use crate::store::stops::Scope;
use crate::store::view::overview::TypeStatus;

/// An answer that takes time.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// In words, with what to do.
    #[error("{0}")]
    Because(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All that is read from EHRs.
#[derive(Debug, Default)]
pub struct Readings {
    /// Each type of each EHR.
    pub types: Vec<Reading>,
    /// EHRs whose profile cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

/// One type of one EHR: how its last run went, and when the next one is.
#[derive(Debug)]
pub struct Reading {
    /// The EHR.
    pub ehr: String,
    /// The type.
    pub rtype: String,
    /// Its last run, or the one that goes on; absent where it was never read.
    pub last: Option<TypeStatus>,
    /// When it is due, microseconds; absent where nothing is planned.
    pub next: Option<i64>,
    /// Why then, or why not.
    pub why: String,
    /// The pause that holds it up: who, why, since when, and whether it is of this type alone.
    pub paused: Option<(String, String, i64, bool)>,
}

/// An EHR.
#[derive(Debug)]
pub struct Sheet {
    /// Names and values of the connection.
    pub facts: Vec<(String, String)>,
    /// When its statement was last read, microseconds.
    pub seen_at: Option<i64>,
    /// Since when the statement cannot be read, and why.
    pub unread: Option<String>,
    /// What changed since somebody took note: how grave, and what.
    pub drift: Vec<(bool, String)>,
    /// Since when drift is told.
    pub compared_with: Option<i64>,
    /// Names the statement.
    pub fingerprint: String,
    /// What cannot work on it, and why; or why that is not known.
    pub blind: Result<Vec<Blind>, String>,
    /// Whether files are all that comes from it.
    pub files_only: bool,
}

/// A segment or a program that cannot fully work on an EHR.
#[derive(Debug)]
pub struct Blind {
    /// `segment` or `program`.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// How much of it works.
    pub works: String,
    /// Why, and what to do.
    pub because: Vec<String>,
}

/// A segment in force.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// The stage of the journey.
    pub stage: String,
    /// What it is for.
    pub description: String,
    /// Its rule.
    pub rule: String,
    /// What unknown counts as.
    pub unknown: String,
    /// The number of the version in force.
    pub number: i64,
    /// The numbers of all versions.
    pub numbers: Vec<i64>,
    /// The version in force.
    pub version: i64,
}

/// A program in force.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub title: String,
    /// The segment.
    pub segment: String,
}

/// How the working out of what definition files would change stands.
#[derive(Clone, Debug, Default)]
pub enum Planning {
    /// Nobody asked in this process.
    #[default]
    Never,
    /// It is being worked out; so many persons were evaluated.
    Running(u64),
    /// What they would change.
    Done(Planned),
    /// The files have mistakes, or it did not work.
    Failed(Vec<String>),
}

/// What definition files would change.
#[derive(Clone, Debug)]
pub struct Planned {
    /// As of when.
    pub at: Timestamp,
    /// Names the files as they were read: these, and no others, are put in force.
    pub fingerprint: String,
    /// Each segment that differs.
    pub segments: Vec<PlannedSegment>,
    /// Value sets that differ, and how.
    pub value_sets: Vec<(String, &'static str)>,
    /// Persons who were left out, since an EHR of theirs is being read.
    pub left_out: i64,
}

/// What would become of a segment.
#[derive(Clone, Debug)]
pub struct PlannedSegment {
    /// Its id.
    pub id: String,
    /// `new`, `changed` or `ends`.
    pub change: &'static str,
    /// Members now.
    pub now: i64,
    /// Who would enter.
    pub entering: i64,
    /// Who would leave.
    pub leaving: i64,
    /// Of whom it would not be known.
    pub unknown: i64,
}

/// Something that staff do.
#[derive(Clone, Debug)]
pub enum Act {
    /// Reads an EHR, or one type of it, as soon as a worker looks.
    RunSync {
        /// The EHR.
        ehr: String,
        /// One type only.
        rtype: Option<String>,
    },
    /// Stops the reading.
    Pause {
        /// The EHR.
        ehr: String,
        /// One type only.
        rtype: Option<String>,
        /// Why.
        why: String,
    },
    /// Lets the reading go on.
    Resume {
        /// The EHR.
        ehr: String,
        /// The type that was paused by itself.
        rtype: Option<String>,
    },
    /// Takes note of what an EHR states of itself now.
    AcceptDrift {
        /// The EHR.
        ehr: String,
        /// Names the statement that the page showed: another one is not taken note of.
        fingerprint: String,
    },
    /// Takes note of an alert.
    Acknowledge {
        /// Its number.
        alert: i64,
        /// What is being done.
        why: String,
    },
    /// Tries to take in what was put aside.
    ReplayQuarantine {
        /// The EHR.
        ehr: String,
        /// One row only.
        id: Option<i64>,
    },
    /// Works out what the definition files would change.
    PlanSegments,
    /// Puts the definition files in force.
    ApplySegments {
        /// What the plan named them by.
        fingerprint: String,
    },
    /// Goes back to the definitions before.
    RollBackSegments,
    /// Lets messages leave, or not.
    Live {
        /// Whether they may.
        on: bool,
    },
    /// Stops outreach.
    Stop {
        /// What kind of thing.
        scope: Scope,
        /// Which; empty for all.
        name: String,
        /// Why.
        why: String,
    },
    /// Lets outreach go on.
    Start {
        /// What kind of thing.
        scope: Scope,
        /// Which; empty for all.
        name: String,
    },
    /// Says whether a message that is in doubt went out.
    SettleSend {
        /// The attempt.
        attempt: String,
        /// It went out.
        sent: bool,
    },
    /// Says whether a write-back that no machine can settle is in the EHR.
    SettleWrite {
        /// The write-back.
        id: String,
        /// It is there.
        there: bool,
    },
    /// Writes refused ones again.
    ReplayWrites {
        /// Of this EHR only.
        ehr: Option<String>,
        /// Of this cause only.
        cause: Option<String>,
        /// This one only.
        id: Option<String>,
    },
    /// An answer was read, and what it asked for was done.
    AnswerDone {
        /// The attempt.
        attempt: String,
        /// The answer's number.
        number: i64,
    },
    /// A patient whom no message reached was called.
    Called {
        /// The attempt.
        attempt: String,
    },
    /// Says that two records are one person, or two.
    Join {
        /// A record: the EHR and the id there.
        one: Phi<String>,
        /// The other.
        other: Phi<String>,
        /// One person.
        same: bool,
        /// Why.
        why: String,
    },
}

/// What pages ask.
pub trait Desk: Send + Sync {
    /// All that is read from EHRs, and when.
    fn readings(&self) -> Asking<'_, Readings>;

    /// An EHR; `None` where there is none of that name.
    fn sheet(&self, ehr: String) -> Asking<'_, Option<Sheet>>;

    /// The segments in force.
    fn segments(&self) -> Asking<'_, Vec<Segment>>;

    /// The programs in force.
    fn programs(&self) -> Vec<Program>;

    /// The channels of this installation.
    fn channels(&self) -> Vec<&'static str>;

    /// How the plan stands.
    fn planning(&self) -> Planning;

    /// How many definitions of the files are not as in force, or how many mistakes they have.
    fn differences(&self) -> Asking<'_, Result<usize, usize>>;

    /// What to do about a cause for which write-backs are refused, or wait for a person.
    fn remedy(&self, state: &str, cause: &str) -> String;

    /// What a reason means for which a message was held or refused.
    fn meaning(&self, code: &str) -> String;

    /// The words of an answer, where they can be read.
    fn words(&self, kept: &[u8]) -> Option<Phi<String>>;

    /// Does it, and says what came of it.
    fn act(&self, viewer: Viewer, act: Act) -> Asking<'_, String>;
}
