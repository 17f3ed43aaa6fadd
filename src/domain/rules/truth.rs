//! Kleene's strong logic of three values, with the order false < unknown < true: `and` is the least, `or` the greatest.

use serde::{Deserialize, Serialize};

/// A truth value. The order is the one that makes `and` a minimum and `or` a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Truth {
    /// It is known not to hold.
    False,
    /// What is needed to tell is not known.
    Unknown,
    /// It is known to hold.
    True,
}

impl Truth {
    /// All three, in order.
    pub const ALL: [Self; 3] = [Self::False, Self::Unknown, Self::True];

    /// True where `known_true`, else false where `known_false`, else unknown.
    #[must_use]
    pub const fn told(known_true: bool, known_false: bool) -> Self {
        if known_true {
            Self::True
        } else if known_false {
            Self::False
        } else {
            Self::Unknown
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

impl std::fmt::Display for Truth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::False => "false",
            Self::Unknown => "unknown",
            Self::True => "true",
        })
    }
}
