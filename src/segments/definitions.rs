//! The definitions in force, and those that are being rolled out: compiled, and numbered as the store numbers their versions.

use std::collections::HashMap;

use domain::Timestamp;
use domain::rules::{Definition, Mistake, OwnAttribute, RuleSet, STAGES, ValueSet};

use super::library::{Library, catalogue};
use crate::store::definitions::{self as versions, Begun, Cause, Kind, New, Version};
use crate::store::{Conn, StoreError, memberships};

/// A set of compiled segments with the stored version of each, in the same order.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) library: Library,
    pub(super) rows: Vec<memberships::Segment>,
}

/// What a roll-out will put in force.
#[derive(Clone, Debug)]
pub(super) struct Next {
    pub(super) rollout: i64,
    pub(super) set: Numbered,
    /// The places in the set whose version is staged.
    pub(super) changed: Vec<usize>,
    /// Versions in force that end without a successor.
    pub(super) gone: Vec<memberships::Segment>,
}

/// The definitions in force.
#[derive(Clone, Debug)]
pub struct Definitions {
    pub(super) live: Numbered,
    pub(super) next: Option<Next>,
    /// The numbers of all versions of a segment, by its id.
    numbers: HashMap<String, Vec<i64>>,
}

/// Why definitions could not be put in force.
#[derive(Debug, thiserror::Error)]
pub enum NotInForce {
    /// They have mistakes.
    #[error("the segment definitions have {} mistakes: {}", .0.len(), .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Mistakes(Vec<Mistake>),
    /// The store did not take them.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Compiles the shipped definitions.
///
/// # Errors
/// Their mistakes; none in a released build.
pub fn shipped() -> Result<Library, NotInForce> {
    Library::shipped().map_err(NotInForce::Mistakes)
}

impl Definitions {
    /// The definitions in force. An installation that has none yet begins with `library`, in the same transaction. Where this program
    /// derives attributes otherwise than the one that evaluated them, a roll-out of the same definitions is begun.
    ///
    /// # Errors
    /// The engine's refusal; stored definitions that this program cannot read.
    pub fn open(conn: &mut Conn, library: &Library, now: Timestamp) -> Result<Self, StoreError> {
        if versions::is_empty(conn)? {
            let texts = library.texts();
            let new: Vec<New<'_>> = texts.iter().map(super::library::Text::as_new).collect();
            versions::first(conn, &new, catalogue(), now)?;
        }
        let found = Self::load(conn)?;
        let all = versions::in_use(conn)?;
        for (row, segment) in found.rows().iter().zip(found.rules().segments()) {
            if all.iter().any(|v| v.number == row.number && v.reads.is_none()) {
                versions::reads(conn, row.number, i64::from(segment.reads().mask()))?;
            }
        }
        let older: Vec<&Version> = all.iter().filter(|v| v.state == "current" && v.catalogue < catalogue()).collect();
        if older.is_empty() || found.next.is_some() {
            return Ok(found);
        }
        let texts = found.live.library.texts();
        let wanted = texts.iter().filter(|t| older.iter().any(|v| v.kind == t.kind.as_str() && v.id == t.id));
        let new: Vec<New<'_>> = wanted.map(super::library::Text::as_new).collect();
        match versions::begin(conn, Cause::Catalogue, &new, &[], catalogue(), now)? {
            Begun::Rollout(_) => Self::load(conn),
            Begun::Busy => Ok(found),
        }
    }

    /// The definitions in force and those being rolled out.
    ///
    /// # Errors
    /// The engine's refusal; stored definitions that this program cannot read.
    pub fn load(conn: &mut Conn) -> Result<Self, StoreError> {
        let all = versions::in_use(conn)?;
        let live: Vec<&Version> = all.iter().filter(|v| v.state == "current").collect();
        let staged: Vec<&Version> = all.iter().filter(|v| v.state == "staged").collect();
        let going_on = versions::staging(conn)?;
        let next = match going_on {
            Some(rollout) => {
                let stays = live.iter().copied().filter(|v| v.ended_by.is_none());
                let set = numbered(&stays.chain(staged.iter().copied()).collect::<Vec<_>>())?;
                let changed = set.rows.iter().enumerate().filter(|(_, r)| staged.iter().any(|s| s.number == r.number)).map(|(at, _)| at);
                let replaced = |v: &Version| staged.iter().any(|s| s.kind == v.kind && s.id == v.id);
                let gone = live.iter().filter(|v| v.ended_by.is_some() && v.kind == Kind::Segment.as_str() && !replaced(v));
                Some(Next {
                    rollout,
                    changed: changed.collect(),
                    gone: gone.map(|v| memberships::Segment::from((*v).clone())).collect(),
                    set,
                })
            }
            None => None,
        };
        Ok(Self { live: numbered(&live)?, next, numbers: versions::numbers(conn)? })
    }

    /// The compiled rules in force.
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        self.live.library.rules()
    }

    /// The library in force.
    #[must_use]
    pub const fn library(&self) -> &Library {
        &self.live.library
    }

    /// The stored version of a segment, by its place in the rule set.
    #[must_use]
    pub fn row(&self, place: usize) -> Option<&memberships::Segment> {
        self.live.rows.get(place)
    }

    /// The stored version of a segment, by its id.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&memberships::Segment> {
        self.live.rows.iter().find(|s| s.id == id)
    }

    /// The stored versions in force.
    #[must_use]
    pub fn rows(&self) -> &[memberships::Segment] {
        &self.live.rows
    }

    /// The numbers of all versions of a segment that ever were.
    #[must_use]
    pub fn numbers(&self, id: &str) -> &[i64] {
        self.numbers.get(id).map_or(&[], Vec::as_slice)
    }

    /// The number of the roll-out that stages versions now.
    #[must_use]
    pub fn staging(&self) -> Option<i64> {
        self.next.as_ref().map(|n| n.rollout)
    }
}

/// Compiles stored versions, in the order of the care journey.
fn numbered(all: &[&Version]) -> Result<Numbered, StoreError> {
    // What was stored had passed; so it is the store, or an older program than the one that wrote it, that is at fault.
    const DAMAGED: StoreError = StoreError::Damaged("a definition, or it was stored by a newer version of this program");
    let mut segments = Vec::new();
    let mut value_sets = Vec::new();
    let mut own = Vec::new();
    for version in all {
        if version.kind == Kind::Segment.as_str() {
            segments.push((Definition::parse(&version.source).map_err(|_| DAMAGED)?, *version));
        } else if version.kind == Kind::Attribute.as_str() {
            own.push(OwnAttribute::parse(&version.source).map_err(|_| DAMAGED)?);
        } else {
            value_sets.push(ValueSet::parse(&version.source).map_err(|_| DAMAGED)?);
        }
    }
    segments.sort_by_cached_key(|(d, _)| (STAGES.iter().position(|s| *s == d.stage), d.id.clone()));
    let (definitions, rows): (Vec<Definition>, Vec<&Version>) = segments.into_iter().unzip();
    let library = Library::with_own(&definitions, value_sets, own).map_err(|_| DAMAGED)?;
    Ok(Numbered { library, rows: rows.into_iter().map(|v| memberships::Segment::from(v.clone())).collect() })
}
