//! What an attempt's action and channel mean in R4's words: category, topic, medium, and one sentence for the chart.

use typed::Concept;
use typed::codes::{Term, barrier, category, channel, medium, topic};

use super::contract::MediumCodes;

/// What an action is in a chart.
pub(super) struct Meaning {
    /// `Communication.category`.
    pub category: Term,
    /// A code of the topic, where R4 has one.
    topic: Option<Term>,
    /// The topic in words.
    topic_text: &'static str,
    /// What the patient was asked, for a summary.
    pub asked: &'static str,
}

impl Meaning {
    /// `Communication.topic`.
    pub fn topic(&self) -> Concept {
        Concept { coding: self.topic.into_iter().map(Into::into).collect(), text: Some(self.topic_text.to_owned()) }
    }
}

/// The meaning of an action. One that is not known is a notification: R4 wants a category, and this one claims the least.
pub(super) fn meaning(action: &str) -> Meaning {
    let m = |category, topic, topic_text, asked| Meaning { category, topic, topic_text, asked };
    match action {
        "confirm" => m(category::REMINDER, Some(topic::APPOINTMENT_REMINDER), "Confirm the visit", "to confirm a visit"),
        "join-telehealth" => m(category::REMINDER, Some(topic::APPOINTMENT_REMINDER), "Join the video visit", "to join a video visit"),
        "schedule" => m(category::REMINDER, None, "Book a visit", "to book a visit"),
        "refill" => m(category::REMINDER, Some(topic::PRESCRIPTION_REFILL_REQUEST), "Ask for a refill", "to ask for a refill"),
        "complete-form" => m(category::INSTRUCTION, None, "Fill in a form", "to fill in a form"),
        "review-instructions" => m(category::INSTRUCTION, None, "Instructions after the visit", "to read the instructions after a visit"),
        "check-in" => m(category::NOTIFICATION, Some(topic::PROGRESS_UPDATE), "How the care plan is going", "how things are going"),
        "call" => m(category::NOTIFICATION, None, "Call the practice", "to call the practice"),
        // What staff did by hand.
        "spoke-by-phone" => m(category::NOTIFICATION, None, "Staff spoke with the patient by phone", "by staff, by phone"),
        "left-message" => m(category::NOTIFICATION, None, "Staff left a phone message", "by staff, in a phone message, to call back"),
        "called" => m(category::NOTIFICATION, None, "Staff called and did not reach the patient", "for by phone, and was not reached"),
        "met" => m(category::NOTIFICATION, None, "Staff spoke with the patient in person", "by staff, in person"),
        _ => m(category::NOTIFICATION, None, "Patient outreach", "to read a message"),
    }
}

/// `Communication.medium` of a channel: HL7's code, and ours beside it where HL7's cannot tell channels apart.
pub(super) fn medium(name: &str, codes: MediumCodes) -> Concept {
    let both = |hl7: Term, ours: Term| Concept::from(hl7).and(ours);
    let worded = |hl7: Term, ours: Term, text: &str| Concept { text: Some(text.to_owned()), ..both(hl7, ours) };
    let newer = |hl7: Term, ours: Term, text| match codes {
        MediumCodes::Current => worded(hl7, ours, text),
        MediumCodes::R4 => worded(medium::WRITTEN, ours, text),
    };
    match name {
        "email" => both(medium::EMAIL, channel::EMAIL),
        "sms" => newer(medium::SMS, channel::SMS, "SMS"),
        "app" => newer(medium::APP, channel::APP, "App message"),
        "call" => both(medium::PHONE, channel::CALL),
        "automated-call" => both(medium::DICTATED, channel::AUTOMATED_CALL),
        "portal" => both(medium::PORTAL, channel::PORTAL),
        "letter" => both(medium::LETTER, channel::LETTER),
        "webhook" => both(medium::WRITTEN, channel::WEBHOOK),
        "visit" => medium::FACE.into(),
        // Ours first: a reader of the first code only must not believe that something was sent.
        "recorded" => Concept { text: Some("Recorded only; nothing was sent".to_owned()), ..both(channel::RECORDED, medium::WRITTEN) },
        _ => medium::WRITTEN.into(),
    }
}

/// A channel in words, at the beginning of a sentence.
pub(super) fn channel_words(name: &str) -> &'static str {
    match name {
        "email" => "E-mail",
        "sms" => "Text message",
        "app" => "App message",
        "call" => "Phone call",
        "automated-call" => "Automated phone call",
        "portal" => "Portal message",
        "letter" => "Letter",
        "webhook" => "Message by another system",
        "recorded" => "Record",
        "visit" => "In person",
        _ => "Message",
    }
}

/// What the patient did, after "the patient"; and the barrier that was named, where it is one of our codes. What is not known is an answer
/// in the patient's own words.
pub(super) fn answered(meaning: &str, named: Option<&str>, about: Option<&str>) -> (String, Option<Term>) {
    let of_visit = about.is_some_and(|a| a.starts_with("Appointment/"));
    let said = match meaning {
        "confirm" if of_visit => "confirms the visit",
        "confirm" => "agrees",
        "cancel-visit" => "wants the visit cancelled",
        "stop" => "wants no more messages",
        "start" => "wants messages again",
        "help" => "asks what the messages are",
        _ => "",
    };
    let term = named.and_then(|code| barrier::ALL.iter().find(|t| t.code == code)).copied();
    let words = match (said, term.map(|t| t.display.unwrap_or(t.code))) {
        ("", None) => "answered in their own words".to_owned(),
        ("", Some(barrier)) => format!("named a barrier: {barrier}"),
        (said, None) => said.to_owned(),
        (said, Some(barrier)) => format!("{said}, and named a barrier: {barrier}"),
    };
    (words, term)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(concept: &Concept) -> Vec<&str> {
        concept.coding.iter().map(|c| c.code.as_str()).collect()
    }

    #[test]
    fn every_channel_of_the_code_system_has_its_own_code() {
        for term in channel::ALL {
            for version in [MediumCodes::Current, MediumCodes::R4] {
                let concept = medium(term.code, version);
                assert!(codes(&concept).contains(&term.code), "{}: {:?}", term.code, codes(&concept));
                let hl7 = concept.coding.iter().filter(|c| c.system.as_deref() == Some(medium::SYSTEM)).count();
                assert_eq!(hl7, 1, "{}", term.code);
            }
        }
        assert_eq!(codes(&medium("sms", MediumCodes::R4)), ["WRITTEN", "sms"]);
        assert_eq!(codes(&medium("recorded", MediumCodes::Current)), ["recorded", "WRITTEN"]);
        assert_eq!(codes(&medium("pigeon", MediumCodes::Current)), ["WRITTEN"]);
    }

    #[test]
    fn every_action_of_a_program_has_a_meaning_of_its_own() {
        let actions = ["confirm", "complete-form", "call", "review-instructions", "schedule", "refill", "join-telehealth", "check-in"];
        for action in actions {
            assert_ne!(meaning(action).asked, meaning("something else").asked, "{action}");
        }
    }
}
