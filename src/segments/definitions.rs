//! The definitions in force: compiled, and numbered as the store's rows number them.

use domain::Timestamp;
use domain::rules::{Definition, Mistake, RuleSet, shipped};

use crate::store::{Conn, StoreError, memberships};

/// Compiled definitions with their numbers and versions in the store.
#[derive(Debug)]
pub struct Definitions {
    rules: RuleSet,
    stored: Vec<memberships::Segment>,
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
pub fn shipped() -> Result<RuleSet, NotInForce> {
    let definitions: Vec<Definition> = shipped::definitions().map_err(NotInForce::Mistakes)?;
    RuleSet::compile(&definitions).map_err(NotInForce::Mistakes)
}

impl Definitions {
    /// Puts a rule set in force. Where any definition is new or another one, everyone is marked for evaluation in the same transaction.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn put_in_force(conn: &mut Conn, rules: RuleSet, now: Timestamp) -> Result<Self, StoreError> {
        let texts: Vec<String> = rules.segments().iter().map(|s| s.definition().canonical_text()).collect();
        let rows: Vec<memberships::Definition<'_>> = rules
            .segments()
            .iter()
            .zip(&texts)
            .map(|(s, text)| memberships::Definition { id: &s.definition().id, source: text, hash: s.version() })
            .collect();
        let (stored, _) = memberships::define(conn, &rows, now)?;
        Ok(Self { rules, stored })
    }

    /// The compiled rules.
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The stored row of a segment, by its place in the rule set.
    #[must_use]
    pub fn row(&self, place: usize) -> Option<&memberships::Segment> {
        let id = &self.rules.segments().get(place)?.definition().id;
        self.stored.iter().find(|s| s.id == *id)
    }

    /// The stored row of a segment, by its id.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&memberships::Segment> {
        self.stored.iter().find(|s| s.id == id)
    }

    /// The stored rows.
    #[must_use]
    pub fn rows(&self) -> &[memberships::Segment] {
        &self.stored
    }
}
