//! SMART scopes, compared by what they allow and not by how they are written (SMART scopes-and-launch-context, "Scopes for
//! requesting FHIR resources"). A server may grant less, more, or the same in the other dialect.

use std::fmt;

/// What may be done with resources of a type: a set of create, read, update, delete, search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ops(u8);

impl Ops {
    /// create
    pub const C: Self = Self(1);
    /// read, vread, history of one
    pub const R: Self = Self(2);
    /// update, patch
    pub const U: Self = Self(4);
    /// delete
    pub const D: Self = Self(8);
    /// search, history of a type
    pub const S: Self = Self(16);
    /// read and search: what a sync needs
    pub const RS: Self = Self(2 | 16);
    /// create, read and search: what a write-back needs
    pub const CRS: Self = Self(1 | 2 | 16);

    const LETTERS: [(char, Self); 5] = [('c', Self::C), ('r', Self::R), ('u', Self::U), ('d', Self::D), ('s', Self::S)];

    /// All of both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in here and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads the part after the dot, in either dialect; `None` for anything else. Letters out of order are taken: it is servers that
    /// write them here.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "read" => return Some(Self::RS),
            "write" => return Some(Self(1 | 4 | 8)),
            "*" => return Some(Self(31)),
            "" => return None,
            _ => {}
        }
        text.chars().try_fold(Self::default(), |all, letter| Self::LETTERS.iter().find(|(l, _)| *l == letter).map(|(_, op)| all.or(*op)))
    }
}

impl fmt::Display for Ops {
    /// `crs`, in the order that SMART v2 prescribes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::LETTERS.iter().filter(|(_, op)| self.0 & op.0 != 0).try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}

/// How scopes are written to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `system/Patient.read`
    V1,
    /// `system/Patient.rs`
    V2,
}

impl Dialect {
    /// The dialect for a server with these `capabilities`: v2 only where it says so.
    #[must_use]
    pub fn of(capabilities: &[String]) -> Self {
        if capabilities.iter().any(|c| c == "permission-v2") { Self::V2 } else { Self::V1 }
    }
}

/// On whose behalf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// The gateway itself.
    #[default]
    System,
    /// A person of the EHR's.
    User,
    /// A person of the EHR's, on one patient.
    Patient,
}

impl Level {
    /// As scopes begin.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Patient => "patient",
        }
    }
}

/// What needs are for. Reading and writing back go under tokens of their own (least privilege, standards.md B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing is changed.
    Read,
    /// Something is created or changed, and searched for to settle it.
    Write,
}

impl Purpose {
    /// What these needs are for.
    #[must_use]
    pub fn of(needs: &[Need]) -> Self {
        if needs.iter().any(|n| !n.ops.without(Ops::RS).is_empty()) { Self::Write } else { Self::Read }
    }
}

/// Something that the gateway wants to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Need {
    /// Resource type.
    pub resource_type: String,
    /// What with it.
    pub ops: Ops,
}

impl Need {
    /// Wants to do `ops` with a type.
    #[must_use]
    pub fn new(resource_type: &str, ops: Ops) -> Self {
        Self { resource_type: resource_type.to_owned(), ops }
    }

    /// Wants to read and search.
    #[must_use]
    pub fn read(resource_type: &str) -> Self {
        Self::new(resource_type, Ops::RS)
    }

    /// The scopes to ask for. In v1 that is up to two, and wider than the need: v1 knows only reading and writing.
    #[must_use]
    pub fn scopes(&self, dialect: Dialect) -> Vec<String> {
        self.scopes_at(Level::System, dialect)
    }

    /// As [`Need::scopes`], at a level.
    #[must_use]
    pub fn scopes_at(&self, level: Level, dialect: Dialect) -> Vec<String> {
        let scope = |ops: &str| format!("{}/{}.{ops}", level.as_str(), self.resource_type);
        match dialect {
            Dialect::V2 => vec![scope(&self.ops.to_string())],
            Dialect::V1 => {
                let writes = !self.ops.without(Ops::RS).is_empty();
                let reads = self.ops.without(Ops::RS) != self.ops;
                [(reads, "read"), (writes, "write")].into_iter().filter(|(wanted, _)| *wanted).map(|(_, ops)| scope(ops)).collect()
            }
        }
    }
}

impl Need {
    /// The need in parts that a server may grant one without the other: reading and searching, and what changes something.
    #[must_use]
    pub fn parts(&self) -> Vec<Self> {
        let changes = self.ops.without(Ops::RS);
        let reads = self.ops.without(changes);
        let part = |ops: Ops| (!ops.is_empty()).then(|| Self { resource_type: self.resource_type.clone(), ops });
        [part(reads), part(changes)].into_iter().flatten().collect()
    }

    /// Reads what its `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, ops) = text.strip_prefix("system/")?.split_once('.')?;
        Some(Self { resource_type: kind.to_owned(), ops: Ops::parse(ops)? })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system/{}.{}", self.resource_type, self.ops)
    }
}

/// What a token allows at one level. Launch contexts, identity scopes and other levels do not count here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted(Vec<(String, Ops)>);

impl Granted {
    /// Reads the `scope` of a token answer. A scope limited by a query (`?category=...`) counts as granted: the resources that it
    /// hides cannot be told from those that do not exist.
    #[must_use]
    pub fn parse(scope: &str) -> Self {
        Self::parse_at(Level::System, scope)
    }

    /// As [`Granted::parse`], at a level.
    #[must_use]
    pub fn parse_at(level: Level, scope: &str) -> Self {
        Self(
            scope
                .split_whitespace()
                .filter_map(|text| {
                    let (kind, ops) = text.strip_prefix(level.as_str())?.strip_prefix('/')?.split_once('.')?;
                    let ops = ops.split_once('?').map_or(ops, |(ops, _)| ops);
                    Some((kind.to_owned(), Ops::parse(ops)?))
                })
                .collect(),
        )
    }

    /// Exactly what was needed: for servers that answer without `scope`, which by RFC 6749 (5.1) means "as asked".
    #[must_use]
    pub fn as_asked(needs: &[Need]) -> Self {
        Self(needs.iter().map(|n| (n.resource_type.clone(), n.ops)).collect())
    }

    /// What both allow.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What may be done with a type.
    #[must_use]
    pub fn ops(&self, resource_type: &str) -> Ops {
        self.0.iter().filter(|(kind, _)| kind == "*" || kind == resource_type).fold(Ops::default(), |all, (_, ops)| all.or(*ops))
    }

    /// What is needed and not granted.
    #[must_use]
    pub fn missing(&self, needs: &[Need]) -> Vec<Need> {
        needs
            .iter()
            .map(|need| Need { resource_type: need.resource_type.clone(), ops: need.ops.without(self.ops(&need.resource_type)) })
            .filter(|need| !need.ops.is_empty())
            .collect()
    }
}

impl fmt::Display for Granted {
    /// As scopes of the level `system`, whatever level they were granted at: [`Granted::parse`] reads them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<String> = self.0.iter().map(|(kind, ops)| format!("system/{kind}.{ops}")).collect();
        f.write_str(&scopes.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Granted, Level, Need, Ops, Purpose};

    #[test]
    fn needs_fall_into_parts_and_have_a_level_and_a_purpose() {
        let write = Need::new("Communication", Ops::CRS);
        let parts: Vec<String> = write.parts().iter().map(ToString::to_string).collect();
        assert_eq!(parts, ["system/Communication.rs", "system/Communication.c"]);
        assert_eq!(Need::parse(&parts[1]), Some(write.parts()[1].clone()));
        assert_eq!(Need::read("Patient").parts(), [Need::read("Patient")]);
        assert_eq!(write.scopes_at(Level::User, Dialect::V1), ["user/Communication.read", "user/Communication.write"]);
        assert_eq!((Purpose::of(&[Need::read("Patient")]), Purpose::of(std::slice::from_ref(&write))), (Purpose::Read, Purpose::Write));
        let granted = Granted::parse_at(Level::User, "system/Patient.rs user/Appointment.read offline_access");
        assert_eq!(granted.ops("Patient"), Ops::default());
        assert_eq!(Granted::parse(&granted.to_string()), granted, "it is stored as text");
        assert!(granted.missing(&[Need::read("Appointment")]).is_empty());
    }

    #[test]
    fn asks_in_the_servers_dialect() {
        let write = Need::new("Communication", Ops::CRS);
        assert_eq!(write.scopes(Dialect::V2), ["system/Communication.crs"]);
        assert_eq!(write.scopes(Dialect::V1), ["system/Communication.read", "system/Communication.write"]);
        assert_eq!(Need::read("Patient").scopes(Dialect::V2), ["system/Patient.rs"]);
        assert_eq!(Need::read("Patient").scopes(Dialect::V1), ["system/Patient.read"]);
        assert_eq!(Need::new("Communication", Ops::C).scopes(Dialect::V1), ["system/Communication.write"]);
        let both = ["permission-v1".to_owned(), "permission-v2".to_owned()];
        assert_eq!(Dialect::of(&both), Dialect::V2);
        assert_eq!(Dialect::of(&both[..1]), Dialect::V1);
    }

    #[test]
    fn grants_are_compared_by_what_they_allow() {
        let needs = [Need::read("Patient"), Need::read("Appointment"), Need::new("Communication", Ops::CRS)];
        for (granted, missing) in [
            ("system/*.cruds", ""),
            ("system/*.*", ""),
            ("system/Patient.rs system/Appointment.rs system/Communication.crs", ""),
            ("system/Patient.read system/Appointment.read system/Communication.read system/Communication.write", ""),
            ("system/Patient.r system/Patient.s system/Appointment.sr system/*.c system/Communication.rs", ""),
            ("system/*.read", "system/Communication.c"),
            ("system/Patient.r system/Appointment.rs system/Communication.crs", "system/Patient.s"),
            ("system/Patient.rs?active=true system/Appointment.rs", "system/Communication.crs"),
            (
                "patient/*.rs user/Appointment.read launch openid fhirUser",
                "system/Patient.rs system/Appointment.rs system/Communication.crs",
            ),
            ("system/Patient.rsx system/Patient. system/Patient", "system/Patient.rs system/Appointment.rs system/Communication.crs"),
            ("", "system/Patient.rs system/Appointment.rs system/Communication.crs"),
        ] {
            let told: Vec<String> = Granted::parse(granted).missing(&needs).iter().map(ToString::to_string).collect();
            assert_eq!(told.join(" "), missing, "{granted}");
        }
        assert!(Granted::as_asked(&needs).missing(&needs).is_empty());
    }
}
