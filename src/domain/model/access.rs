//! Who may see and do what: roles of staff, rights, and the one table that joins them. What is not in the table is not allowed.

use std::fmt;

/// What somebody of the staff does here. A person may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Answers the phone and books visits: sees whom to call and what was sent, and nothing clinical.
    FrontDesk,
    /// Treats patients; comes from the EHR, on one patient.
    Clinician,
    /// Looks after patients between visits.
    CareManager,
    /// Makes segments and programs.
    Engagement,
    /// Keeps connections and stages running.
    Operator,
    /// Looks at what others did. Changes nothing.
    Auditor,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] = [Self::FrontDesk, Self::Clinician, Self::CareManager, Self::Engagement, Self::Operator, Self::Auditor];

    /// Its name, as it is stored and configured.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FrontDesk => "front-desk",
            Self::Clinician => "clinician",
            Self::CareManager => "care-manager",
            Self::Engagement => "engagement",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::FrontDesk => "front desk",
            Self::Clinician => "clinician",
            Self::CareManager => "care manager",
            Self::Engagement => "engagement team",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether this role has the right.
    #[must_use]
    pub fn may(self, right: Right) -> bool {
        right.row().1.contains(&self)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that may be seen or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// The overview: how the last runs went, in counts.
    SeeOverview,
    /// Look for a patient in the dashboard and open the page.
    FindPatient,
    /// A patient's page: who it is, visits, the journey so far, what comes next.
    SeePatient,
    /// The clinical part of that page: care plans, clinical segments with their reasons.
    SeeClinical,
    /// The text of what was sent and of what was answered.
    SeeMessages,
    /// Preferences and opt-outs with their sources.
    SeePreferences,
    /// Change them.
    ChangePreferences,
    /// Stop what is planned for a patient.
    StopStep,
    /// Move what is planned to another time.
    MoveStep,
    /// Enter a call or a visit.
    RecordContact,
    /// Send a message from an approved template.
    SendMessage,
    /// Connections: health, runs, drift, blind spots.
    SeeConnections,
    /// Begin a sync.
    RunSync,
    /// Pause and resume the reading of an EHR.
    PauseSync,
    /// What was put aside, by reason.
    SeeQuarantine,
    /// Try again what was put aside.
    ReplayQuarantine,
    /// Segments in counts over time.
    SeeSegments,
    /// Who is in a segment, by name.
    SeeMembers,
    /// Put definitions in force, and take them back.
    ApplySegments,
    /// Attempts by program, channel and outcome.
    SeeOutreach,
    /// Switch outreach off and on.
    SwitchOutreach,
    /// What waits for a person: calls, answers, what a machine could not settle.
    SeeWork,
    /// End what waits.
    SettleWork,
    /// Say which records are one person.
    JoinPersons,
    /// What is owed to charts, by cause.
    SeeWriteBack,
    /// Try it again, or end it.
    ReplayWriteBack,
    /// Who saw and did what.
    SeeAudit,
}

use Role::{Auditor, CareManager, Clinician, Engagement, FrontDesk, Operator};

/// The table: each right, and who has it.
#[rustfmt::skip]
static TABLE: [(Right, &[Role]); 27] = [
    (Right::SeeOverview,       &[FrontDesk, Clinician, CareManager, Engagement, Operator, Auditor]),
    (Right::FindPatient,       &[FrontDesk,            CareManager]),
    (Right::SeePatient,        &[FrontDesk, Clinician, CareManager, Engagement]),
    (Right::SeeClinical,       &[           Clinician, CareManager]),
    (Right::SeeMessages,       &[FrontDesk, Clinician, CareManager, Engagement]),
    (Right::SeePreferences,    &[FrontDesk, Clinician, CareManager, Engagement]),
    (Right::ChangePreferences, &[FrontDesk, Clinician, CareManager]),
    (Right::StopStep,          &[FrontDesk, Clinician, CareManager]),
    (Right::MoveStep,          &[FrontDesk,            CareManager]),
    (Right::RecordContact,     &[FrontDesk, Clinician, CareManager]),
    (Right::SendMessage,       &[FrontDesk, Clinician, CareManager]),
    (Right::SeeConnections,    &[                                   Engagement, Operator, Auditor]),
    (Right::RunSync,           &[                                               Operator]),
    (Right::PauseSync,         &[                                               Operator]),
    (Right::SeeQuarantine,     &[                                               Operator, Auditor]),
    (Right::ReplayQuarantine,  &[                                               Operator]),
    (Right::SeeSegments,       &[           Clinician, CareManager, Engagement, Operator, Auditor]),
    (Right::SeeMembers,        &[                      CareManager, Engagement]),
    (Right::ApplySegments,     &[                                   Engagement]),
    (Right::SeeOutreach,       &[FrontDesk,            CareManager, Engagement, Operator, Auditor]),
    (Right::SwitchOutreach,    &[                                   Engagement, Operator]),
    (Right::SeeWork,           &[FrontDesk,            CareManager, Engagement, Operator]),
    (Right::SettleWork,        &[FrontDesk,            CareManager,             Operator]),
    (Right::JoinPersons,       &[                      CareManager]),
    (Right::SeeWriteBack,      &[                                   Engagement, Operator, Auditor]),
    (Right::ReplayWriteBack,   &[                                               Operator]),
    (Right::SeeAudit,          &[                                                         Auditor]),
];

impl Right {
    /// All rights, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Self, &'static [Role]) {
        // A right without a row is nobody's; a test sees to it that there is none.
        const NOBODY: (Right, &[Role]) = (Right::SeeOverview, &[]);
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&NOBODY)
    }
}

/// A set of roles.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// Nobody's.
    pub const NONE: Self = Self(0);

    /// Of these.
    #[must_use]
    pub fn of(roles: &[Role]) -> Self {
        roles.iter().copied().collect()
    }

    /// Every role: for a demonstration.
    #[must_use]
    pub fn all() -> Self {
        Self::of(&Role::ALL)
    }

    const fn bit(role: Role) -> u8 {
        1 << role as u8
    }

    /// Whether the role is in it.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & Self::bit(role) != 0
    }

    /// Whether one of the roles has the right.
    #[must_use]
    pub fn may(self, right: Right) -> bool {
        self.iter().any(|role| role.may(right))
    }

    /// Whether there is none in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The roles, in the order of [`Role::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// Reads what its `Display` writes. A name that is not known, as after an upgrade was taken back, gives nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.split(',').filter_map(|name| Role::parse(name.trim())).collect()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |all, role| all | Self::bit(role)))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::as_str).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table once more, written by hand the other way round: a column per role. A letter stands where the role has the right.
    /// F front desk, C clinician, M care manager, E engagement, O operator, A auditor.
    const CELLS: [(&str, &str); 27] = [
        ("SeeOverview", "FCMEOA"),
        ("FindPatient", "F.M..."),
        ("SeePatient", "FCME.."),
        ("SeeClinical", ".CM..."),
        ("SeeMessages", "FCME.."),
        ("SeePreferences", "FCME.."),
        ("ChangePreferences", "FCM..."),
        ("StopStep", "FCM..."),
        ("MoveStep", "F.M..."),
        ("RecordContact", "FCM..."),
        ("SendMessage", "FCM..."),
        ("SeeConnections", "...EOA"),
        ("RunSync", "....O."),
        ("PauseSync", "....O."),
        ("SeeQuarantine", "....OA"),
        ("ReplayQuarantine", "....O."),
        ("SeeSegments", ".CMEOA"),
        ("SeeMembers", "..ME.."),
        ("ApplySegments", "...E.."),
        ("SeeOutreach", "F.MEOA"),
        ("SwitchOutreach", "...EO."),
        ("SeeWork", "F.MEO."),
        ("SettleWork", "F.M.O."),
        ("JoinPersons", "..M..."),
        ("SeeWriteBack", "...EOA"),
        ("ReplayWriteBack", "....O."),
        ("SeeAudit", ".....A"),
    ];

    #[test]
    fn every_cell_of_the_table_is_as_written_here() {
        let rights: Vec<Right> = Right::all().collect();
        assert_eq!(rights.len(), CELLS.len());
        let mut cells = 0;
        for (right, (name, letters)) in rights.iter().zip(CELLS) {
            assert_eq!(format!("{right:?}"), name);
            for (role, (letter, cell)) in Role::ALL.into_iter().zip("FCMEOA".chars().zip(letters.chars())) {
                assert!(cell == letter || cell == '.', "{name}");
                assert_eq!(role.may(*right), cell == letter, "{role} {name}");
                assert_eq!(Roles::of(&[role]).may(*right), cell == letter, "{role} {name}");
                cells += 1;
            }
        }
        assert_eq!(cells, 27 * 6);
    }

    #[test]
    fn each_right_has_one_row_and_somebody() {
        // A match that names all: whoever adds a right comes by here.
        for right in Right::all() {
            match right {
                Right::SeeOverview | Right::FindPatient | Right::SeePatient | Right::SeeClinical | Right::SeeMessages => {}
                Right::SeePreferences | Right::ChangePreferences | Right::StopStep | Right::MoveStep | Right::RecordContact => {}
                Right::SendMessage | Right::SeeConnections | Right::RunSync | Right::PauseSync | Right::SeeQuarantine => {}
                Right::ReplayQuarantine | Right::SeeSegments | Right::SeeMembers | Right::ApplySegments | Right::SeeOutreach => {}
                Right::SwitchOutreach | Right::SeeWork | Right::SettleWork | Right::JoinPersons | Right::SeeWriteBack => {}
                Right::ReplayWriteBack | Right::SeeAudit => {}
            }
            assert_eq!(Right::all().filter(|r| *r == right).count(), 1, "{right:?}");
            assert!(Roles::all().may(right), "{right:?}");
            assert!(!Roles::NONE.may(right), "{right:?}");
        }
    }

    #[test]
    fn sets_are_read_as_they_are_written() {
        let two = Roles::of(&[Role::Auditor, Role::FrontDesk]);
        assert_eq!(two.to_string(), "front-desk,auditor");
        assert_eq!(Roles::parse(&two.to_string()), two);
        assert_eq!(Roles::parse(""), Roles::NONE);
        assert_eq!(Roles::parse("root,operator"), Roles::of(&[Role::Operator]));
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert!(two.may(Right::SeeAudit) && two.may(Right::SendMessage) && !two.may(Right::RunSync));
    }
}
