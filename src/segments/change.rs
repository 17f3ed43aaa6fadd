//! What is wanted against what is in force: the differences, applying them, and going back.

use domain::Timestamp;
use domain::rules::OwnAttribute;

use super::definitions::Definitions;
use super::library::{Library, Text, catalogue};
use crate::store::definitions::{self as versions, Begun, Cause, Kind, New, Version};
use crate::store::{Conn, StoreError};

/// How a definition differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It was not there.
    New,
    /// It says something else, by itself or by a segment or value set that it names.
    Changed,
    /// It is wanted no more.
    Ends,
    /// It says the same in other words: that decides over nobody, and no roll-out is needed.
    Reworded,
}

/// A definition that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it defines.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// How it differs.
    pub how: How,
}

/// What applying or going back began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// What is wanted is in force.
    Nothing,
    /// So many definitions say the same in other words now; nothing else differs.
    Reworded(usize),
    /// This roll-out.
    Begun(i64),
    /// A roll-out that was not in force yet was given up; nothing else changed.
    GivenUp(i64),
    /// The roll-out before is still being written into the histories.
    Busy,
    /// There is nothing to go back to.
    NoSuch,
}

/// What differs between the definitions in force and those that are wanted.
#[must_use]
pub fn differences(live: &Definitions, wanted: &Library) -> Vec<Difference> {
    compare(&live.library().texts(), &wanted.texts())
}

fn compare(live: &[Text], wanted: &[Text]) -> Vec<Difference> {
    let find =
        |all: &[Text], one: &Text| all.iter().find(|t| t.kind == one.kind && t.id == one.id).map(|t| (t.hash.clone(), t.source.clone()));
    let differs = |text: &Text| match find(live, text) {
        None => Some(How::New),
        Some((hash, _)) if hash != text.hash => Some(How::Changed),
        Some((_, source)) if source != text.source => Some(How::Reworded),
        Some(_) => None,
    };
    let other = wanted.iter().filter_map(|t| Some(Difference { kind: t.kind, id: t.id.clone(), how: differs(t)? }));
    let ends = live.iter().filter(|t| find(wanted, t).is_none());
    other.chain(ends.map(|t| Difference { kind: t.kind, id: t.id.clone(), how: How::Ends })).collect()
}

/// Begins the roll-out of what differs. One that is staging already is replaced, since what is wanted is compared with what is in force.
///
/// # Errors
/// The engine's refusal.
pub fn apply(conn: &mut Conn, wanted: &Library, now: Timestamp) -> Result<Applied, StoreError> {
    begin(conn, &wanted.texts(), Cause::Apply, now)
}

/// Goes back: gives up the roll-out that is staging; else begins one to what was in force before the last one, or after roll-out `to`.
///
/// # Errors
/// The engine's refusal.
pub fn roll_back(conn: &mut Conn, to: Option<i64>, now: Timestamp) -> Result<Applied, StoreError> {
    if to.is_none()
        && let Some(number) = versions::give_up(conn)?
    {
        return Ok(Applied::GivenUp(number));
    }
    versions::alone(conn)?;
    let done: Vec<i64> = versions::rollouts(conn)?.into_iter().filter(|r| r.flipped_at.is_some()).map(|r| r.number).collect();
    let target = match to {
        Some(to) => done.into_iter().find(|number| *number == to),
        None => done.get(1).copied(),
    };
    let Some(target) = target else { return Ok(Applied::NoSuch) };
    let texts: Vec<Text> = versions::in_force_after(conn, target)?.into_iter().filter_map(text_of).collect();
    begin(conn, &texts, Cause::Rollback(target), now)
}

fn text_of(version: Version) -> Option<Text> {
    let kind = Kind::ALL.into_iter().find(|k| k.as_str() == version.kind)?;
    // An older program took the words into the hash, too.
    let own = (kind == Kind::Attribute).then(|| OwnAttribute::parse(&version.source).ok()).flatten();
    let hash = own.map_or(version.hash, |own| own.key().to_owned());
    Some(Text { kind, id: version.id, source: version.source, hash, reads: version.reads })
}

fn begin(conn: &mut Conn, wanted: &[Text], cause: Cause, now: Timestamp) -> Result<Applied, StoreError> {
    // Before it is read: else what another process puts in force meanwhile would be compared as it was.
    versions::alone(conn)?;
    let current: Vec<Version> = versions::in_use(conn)?.into_iter().filter(|v| v.state == "current").collect();
    let live: Vec<Text> = current.iter().cloned().filter_map(text_of).collect();
    let (reworded, differences): (Vec<_>, Vec<_>) = compare(&live, wanted).into_iter().partition(|d| d.how == How::Reworded);
    for one in &reworded {
        let new = wanted.iter().find(|t| t.kind == one.kind && t.id == one.id);
        let old = current.iter().find(|v| v.kind == one.kind.as_str() && v.id == one.id);
        if let (Some(new), Some(old)) = (new, old) {
            versions::reword(conn, old.number, &new.source)?;
        }
    }
    if differences.is_empty() {
        // What was staged meanwhile is not wanted any more.
        let otherwise = if reworded.is_empty() { Applied::Nothing } else { Applied::Reworded(reworded.len()) };
        return Ok(versions::give_up(conn)?.map_or(otherwise, Applied::GivenUp));
    }
    let differs = |kind: &str, id: &str| differences.iter().find(|d| d.kind.as_str() == kind && d.id == id).map(|d| d.how);
    let new: Vec<New<'_>> = wanted.iter().filter(|t| differs(t.kind.as_str(), &t.id).is_some()).map(Text::as_new).collect();
    let gone: Vec<i64> = current.iter().filter(|v| differs(&v.kind, &v.id) == Some(How::Ends)).map(|v| v.number).collect();
    Ok(match versions::begin(conn, cause, &new, &gone, catalogue(), now)? {
        Begun::Rollout(number) => Applied::Begun(number),
        Begun::Busy => Applied::Busy,
    })
}
