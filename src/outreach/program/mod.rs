//! A program: whom it is for (a segment), what it is meant to reach (a goal), and its journey of steps, each with one action, anchored
//! to an event. A program is a file that an engagement team writes; its version is the hash of that file. Knows nothing of persons,
//! stored rows or the time.

mod offset;
mod read;
mod shipped;

pub use offset::{Expiry, Offset};
pub use shipped::{Library, shipped};

use super::channel::ChannelKind;
use super::definition::Mistakes;

/// What a message is for. Marketing needs an authorisation of the patient (45 CFR 164.508(a)(3)); the other two do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageClass {
    /// Treatment: reminders, instructions, follow-up.
    Care,
    /// Running the practice: forms, administrative notices.
    Operations,
    /// Anything that encourages to buy or use a service.
    Marketing,
}

impl MessageClass {
    /// As written in files and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Care => "care",
            Self::Operations => "operations",
            Self::Marketing => "marketing",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Care, Self::Operations, Self::Marketing].into_iter().find(|c| c.as_str() == text)
    }
}

/// The one thing that a message asks the patient to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Confirm a visit.
    Confirm,
    /// Fill in a form before a visit.
    CompleteForm,
    /// Call the site.
    Call,
    /// Read the instructions that were given.
    ReviewInstructions,
    /// Book a visit.
    Schedule,
    /// Ask for a refill.
    Refill,
    /// Join a video visit.
    JoinTelehealth,
    /// Say how things are going.
    CheckIn,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 8] = [
        Self::Confirm,
        Self::CompleteForm,
        Self::Call,
        Self::ReviewInstructions,
        Self::Schedule,
        Self::Refill,
        Self::JoinTelehealth,
        Self::CheckIn,
    ];

    /// As written in files and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::CompleteForm => "complete-form",
            Self::Call => "call",
            Self::ReviewInstructions => "review-instructions",
            Self::Schedule => "schedule",
            Self::Refill => "refill",
            Self::JoinTelehealth => "join-telehealth",
            Self::CheckIn => "check-in",
        }
    }

    /// The action of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == text)
    }
}

/// The event that a step's time is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// When the person entered the segment.
    SegmentEntry,
    /// The start of the appointment that the membership is about.
    AppointmentStart,
}

impl Anchor {
    /// As written in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SegmentEntry => "segment-entry",
            Self::AppointmentStart => "appointment-start",
        }
    }

    /// The anchor of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::SegmentEntry, Self::AppointmentStart].into_iter().find(|a| a.as_str() == text)
    }
}

/// What ends a journey before its last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopWhen {
    /// The person is no longer in the segment.
    LeavesSegment,
    /// The person answered a message of this enrolment.
    Answers,
}

impl StopWhen {
    /// As written in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeavesSegment => "leaves-segment",
            Self::Answers => "answers",
        }
    }

    /// The condition of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::LeavesSegment, Self::Answers].into_iter().find(|a| a.as_str() == text)
    }
}

/// One message of a journey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Unique in its program.
    pub id: String,
    /// What its time is counted from.
    pub anchor: Anchor,
    /// When it comes due, from the anchor.
    pub offset: Offset,
    /// When it is no longer worth sending.
    pub expires: Expiry,
    /// The rungs of the ladder, tried in this order.
    pub channels: Vec<ChannelKind>,
    /// The template's id.
    pub template: String,
    /// What ends it before it is sent; any of them.
    pub stop_when: Vec<StopWhen>,
    /// What it asks for.
    pub action: Action,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Unique in an installation.
    pub id: String,
    /// The first 16 hexadecimal digits of the BLAKE3 hash of the file: another text is another version.
    pub version: String,
    /// For people.
    pub title: String,
    /// The measurable condition over attributes that tells success. Kept as text; the rules know what it means.
    pub goal: String,
    /// The segment's id.
    pub segment: String,
    /// Who answers for it.
    pub owner: String,
    /// Lower is more urgent; where a cap leaves room for one message only, the lower goes first.
    pub priority: u32,
    /// What its messages are for.
    pub class: MessageClass,
    /// In the order of the file, at least one.
    pub steps: Vec<Step>,
}

impl Program {
    /// Reads a program's file.
    ///
    /// # Errors
    /// All [`Mistakes`] of the file at once, each with its key and what to write instead.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistakes> {
        read::program(file, text)
    }

    /// The step of that id.
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|s| s.id == id)
    }
}
