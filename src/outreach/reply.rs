//! What a patient's answer means, as far as a machine may tell: the words that revoke consent (47 CFR 64.1200(a)(10)), help, start,
//! confirming and cancelling a visit, in English and Spanish. All else is free text, for a person. In doubt about a wish to stop, it is
//! honoured or marked; a visit is never cancelled on a word that may have meant "stop".

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Wants no more messages: to be honoured at once.
    Stop {
        /// The word was "cancel", which revokes consent, and may have been meant for the visit: a person should ask.
        perhaps_the_visit: bool,
    },
    /// Wants messages again.
    Start,
    /// Asks what this is: must be answered.
    Help,
    /// Confirms the visit.
    Confirm,
    /// Wants the visit cancelled.
    CancelVisit,
    /// Anything else.
    FreeText {
        /// It holds a word of the stop kind: a person should look first at these.
        perhaps_stop: bool,
    },
}

impl Reply {
    /// As written in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Start => "start",
            Self::Help => "help",
            Self::Confirm => "confirm",
            Self::CancelVisit => "cancel-visit",
            Self::FreeText { .. } => "free-text",
        }
    }
}

/// Words that revoke by rule when they stand first in a short answer.
const STOP: [&str; 18] = [
    "stop",
    "stopall",
    "quit",
    "end",
    "revoke",
    "optout",
    "cancel",
    "unsubscribe",
    "remove",
    "alto",
    "parar",
    "pare",
    "basta",
    "cancelar",
    "detener",
    "baja",
    "salir",
    "arret",
];
/// Phrases that say it wherever they stand in a short answer.
const STOP_PHRASES: [&str; 16] = [
    "opt out",
    "opt me out",
    "remove me",
    "take me off",
    "no more messages",
    "no more texts",
    "please stop",
    "stop texting",
    "stop sending",
    "stop messaging",
    "do not contact",
    "do not text",
    "wrong number",
    "no mas mensajes",
    "no me escriba",
    "deje de",
];
const START: [&str; 6] = ["start", "unstop", "yes start", "resume", "empezar", "iniciar"];
const HELP: [&str; 4] = ["help", "info", "ayuda", "informacion"];
const CONFIRM: [&str; 12] =
    ["c", "confirm", "confirmed", "yes", "y", "yes confirm", "si", "confirmo", "confirmar", "confirmado", "si confirmo", "i confirm"];
const CANCEL_VISIT: [&str; 12] = [
    "cancel visit",
    "cancel my visit",
    "cancel the visit",
    "cancel appointment",
    "cancel my appointment",
    "cancel the appointment",
    "cancelar cita",
    "cancelar mi cita",
    "cancelar la cita",
    "cancele mi cita",
    "cancela mi cita",
    "cancele la cita",
];
/// Said out of courtesy; means nothing here.
const COURTESY: [&str; 9] = ["please", "thanks", "thank", "you", "gracias", "por", "favor", "hi", "hola"];

/// Answers up to this many words are read as commands; longer ones are for people.
const SHORT: usize = 6;

/// Classifies an answer: its own words, without what it quotes.
#[must_use]
pub fn classify(text: &str) -> Reply {
    let words = own_words(text);
    let all = words.join(" ");
    let plain = words.iter().map(String::as_str).filter(|w| !COURTESY.contains(w)).collect::<Vec<_>>().join(" ");
    let is = |list: &[&str]| list.contains(&all.as_str()) || list.contains(&plain.as_str());
    let first = plain.split(' ').next().unwrap_or_default();
    let short = words.len() <= SHORT;
    // "STOP 12345" and "Stop it now" are refusals; "End of the day suits me" is not.
    let leads = first == "stop" || (STOP.contains(&first) && plain.split(' ').count() <= 3);
    match () {
        () if is(&CANCEL_VISIT) => Reply::CancelVisit,
        () if is(&START) => Reply::Start,
        () if is(&HELP) => Reply::Help,
        () if is(&CONFIRM) => Reply::Confirm,
        () if short && (leads || STOP_PHRASES.iter().any(|p| holds(&all, p))) => {
            Reply::Stop { perhaps_the_visit: matches!(first, "cancel" | "cancelar") }
        }
        () => Reply::FreeText {
            perhaps_stop: words.iter().any(|w| STOP.contains(&w.as_str())) || STOP_PHRASES.iter().any(|p| holds(&all, p)),
        },
    }
}

fn holds(text: &str, phrase: &str) -> bool {
    format!(" {text} ").contains(&format!(" {phrase} "))
}

/// Lower-case words without accents and punctuation, up to the first line of a quoted message.
fn own_words(text: &str) -> Vec<String> {
    own_lines(text).flat_map(words).collect()
}

/// Lines up to the first one of a quoted message.
pub(super) fn own_lines(text: &str) -> impl Iterator<Item = &str> {
    let quoted = |line: &str| {
        let line = line.trim();
        line.starts_with('>')
            || line.starts_with("-----")
            || line == "--"
            || ((line.starts_with("On ") || line.starts_with("El ")) && line.ends_with(':'))
    };
    text.lines().take_while(move |line| !quoted(line))
}

/// Lower-case words without accents and punctuation.
pub(super) fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '’' | '-'))
        .map(|word| word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).map(unaccented).collect::<String>())
        .filter(|word| !word.is_empty())
}

const fn unaccented(c: char) -> char {
    match c {
        'á' | 'à' | 'â' => 'a',
        'é' | 'è' | 'ê' => 'e',
        'í' => 'i',
        'ó' => 'o',
        'ú' | 'ü' => 'u',
        'ñ' => 'n',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let stop = Reply::Stop { perhaps_the_visit: false };
        let unsure = Reply::Stop { perhaps_the_visit: true };
        let free = Reply::FreeText { perhaps_stop: false };
        let look = Reply::FreeText { perhaps_stop: true };
        for (text, wanted) in [
            ("STOP", stop),
            ("  stop.  ", stop),
            ("Stop!!", stop),
            ("STOP 12345", stop),
            ("Stopall", stop),
            ("Please stop", stop),
            ("stop texting me", stop),
            ("QUIT", stop),
            ("end", stop),
            ("Revoke", stop),
            ("opt out", stop),
            ("OPT-OUT", stop),
            ("OptOut", stop),
            ("unsubscribe", stop),
            ("remove me please", stop),
            ("wrong number", stop),
            ("ALTO", stop),
            ("Basta por favor", stop),
            ("no más mensajes", stop),
            ("arrêt", stop),
            ("cancel", unsure),
            ("Cancelar", unsure),
            ("Cancel my appointment", Reply::CancelVisit),
            ("Cancelar mi cita, por favor", Reply::CancelVisit),
            ("START", Reply::Start),
            ("unstop", Reply::Start),
            ("HELP", Reply::Help),
            ("¿Ayuda?", Reply::Help),
            ("información", Reply::Help),
            ("C", Reply::Confirm),
            ("c.", Reply::Confirm),
            ("Yes please", Reply::Confirm),
            ("YES", Reply::Confirm),
            ("Sí", Reply::Confirm),
            ("Sí, confirmo. Gracias", Reply::Confirm),
            ("Yes\n\nOn Mon, 23 Nov 2026, Main Street Clinic wrote:\n> reply STOP", Reply::Confirm),
            ("STOP\n> Reply C to confirm.", stop),
            ("", free),
            ("no", free),
            ("I have no ride on Tuesday", free),
            ("What is the bus stop near you?", look),
            ("I had to stop taking the pills because I felt sick", look),
            ("End of the day suits me best", look),
            ("yes but can I come an hour later", free),
        ] {
            assert_eq!(classify(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_words_of_the_rule_all_stop() {
        for word in ["stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe"] {
            assert!(matches!(classify(word), Reply::Stop { .. }), "{word}");
        }
    }
}
