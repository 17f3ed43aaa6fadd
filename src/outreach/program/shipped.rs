//! The programs and templates that come with the gateway, one program for each shipped segment that leads to a message (`other-language`
//! leads to none of its own: it chooses the words of all the others), and the check of programs against templates and segments.

use super::Program;
use crate::outreach::by_hand;
use crate::outreach::definition::{Mistake, Mistakes};
use crate::outreach::template::Template;

/// Files as `(name, text)`.
macro_rules! files {
    ($folder:literal: $($name:literal)*) => {
        &[$((concat!($folder, "/", $name, ".toml"), include_str!(concat!("../shipped/", $folder, "/", $name, ".toml")))),*]
    };
}

const PROGRAMS: &[(&str, &str)] =
    files!("programs": "visit-confirm" "visit-rebook" "visit-after" "plan-activity-due" "welcome" "plan-check-in" "check-up");
const TEMPLATES: &[(&str, &str)] =
    files!("templates": "visit-confirm" "visit-rebook" "visit-instructions" "plan-activity" "welcome-form" "plan-check-in" "check-up");

/// Programs with the templates that they use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// The most urgent first.
    pub programs: Vec<Program>,
    /// In the order of the files.
    pub templates: Vec<Template>,
    /// What staff sends by hand: a step for each template. It plans nothing by itself.
    pub by_hand: Program,
}

impl Library {
    /// Reads files, given as (name, text), and checks them against each other and against the ids of the segments that exist.
    ///
    /// # Errors
    /// All [`Mistakes`] of all files.
    pub fn read(programs: &[(&str, &str)], templates: &[(&str, &str)], segments: &[&str]) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let templates: Vec<Template> = keep(templates, Template::parse, &mut mistakes).into_iter().map(|(_, t)| t).collect();
        let programs = keep(programs, Program::parse, &mut mistakes);
        for (at, (file, program)) in programs.iter().enumerate() {
            let earlier = programs.iter().take(at).any(|(_, p)| p.id == program.id);
            mistakes.extend(check(file, program, earlier, &templates, segments));
        }
        for (at, template) in templates.iter().enumerate() {
            if templates.iter().take(at).any(|t| t.id == template.id) {
                let says = format!("{:?} is the id of two templates: give each its own", template.id);
                mistakes.push(Mistake { file: "templates".to_owned(), key: "id".to_owned(), says });
            }
        }
        if !mistakes.is_empty() {
            return Err(Mistakes(mistakes));
        }
        let mut programs: Vec<Program> = programs.into_iter().map(|(_, p)| p).collect();
        programs.sort_by(|a, b| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
        let by_hand = by_hand::program(&templates);
        Ok(Self { programs, templates, by_hand })
    }

    /// The program of that id, or what staff does by hand.
    #[must_use]
    pub fn program(&self, id: &str) -> Option<&Program> {
        self.programs.iter().chain([&self.by_hand]).find(|p| p.id == id)
    }

    /// The template of that id.
    #[must_use]
    pub fn template(&self, id: &str) -> Option<&Template> {
        self.templates.iter().find(|t| t.id == id)
    }
}

/// The shipped programs and templates.
///
/// # Errors
/// [`Mistakes`] where a shipped program names a segment that is not among `segments`, or a shipped file is damaged.
pub fn shipped(segments: &[&str]) -> Result<Library, Mistakes> {
    Library::read(PROGRAMS, TEMPLATES, segments)
}

fn keep<'a, T>(
    files: &[(&'a str, &str)],
    parse: impl Fn(&str, &str) -> Result<T, Mistakes>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<(&'a str, T)> {
    let mut kept = Vec::new();
    for (file, text) in files {
        match parse(file, text) {
            Ok(value) => kept.push((*file, value)),
            Err(Mistakes(more)) => mistakes.extend(more),
        }
    }
    kept
}

fn check(file: &str, program: &Program, taken: bool, templates: &[Template], segments: &[&str]) -> Vec<Mistake> {
    let wrong = |key: String, says: String| Mistake { file: file.to_owned(), key, says };
    let mut mistakes = Vec::new();
    if taken {
        mistakes.push(wrong("id".to_owned(), format!("{:?} is the id of another program: give each its own", program.id)));
    }
    if program.id == by_hand::PROGRAM {
        mistakes.push(wrong("id".to_owned(), format!("{:?} is the name of what staff does by hand: give it another", program.id)));
    }
    if !segments.contains(&program.segment.as_str()) {
        let says = format!("there is no segment {:?}: write one of {}", program.segment, segments.join(", "));
        mistakes.push(wrong("segment".to_owned(), says));
    }
    for (at, step) in program.steps.iter().enumerate() {
        let key = |name: &str| format!("step[{}].{name}", at + 1);
        match templates.iter().find(|t| t.id == step.template) {
            None => {
                mistakes.push(wrong(key("template"), format!("there is no template {:?}, or it has mistakes of its own", step.template)))
            }
            Some(template) if template.action != step.action => {
                let says = format!("the step asks for {:?}, its template for {:?}", step.action.as_str(), template.action.as_str());
                mistakes.push(wrong(key("action"), says));
            }
            Some(_) => {}
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENTS: [&str; 8] = [
        "new-patient",
        "visit-unconfirmed",
        "missed-visit",
        "visit-follow-up",
        "chronic-care-plan",
        "care-plan-activity-due",
        "lapsed",
        "other-language",
    ];

    #[test]
    fn what_is_shipped_has_no_mistakes_and_serves_every_segment_but_language() {
        let library = shipped(&SEGMENTS).unwrap_or_else(|e| panic!("{e}"));
        for segment in SEGMENTS.into_iter().filter(|s| *s != "other-language") {
            assert_eq!(library.programs.iter().filter(|p| p.segment == segment).count(), 1, "{segment}");
        }
        assert!(library.programs.is_sorted_by_key(|p| p.priority));
        for template in &library.templates {
            let languages: Vec<&str> = template.variants.iter().map(|v| v.language.as_str()).collect();
            assert_eq!(languages, ["en", "es"], "{}", template.id);
        }
    }

    #[test]
    fn a_program_is_checked_against_templates_and_segments() {
        let (_, text) = PROGRAMS[0];
        let text = text.replace("\"confirm\"", "\"schedule\"");
        let mistakes = Library::read(&[("a.toml", &text), ("b.toml", &text)], TEMPLATES, &["lapsed"]).unwrap_err().0;
        let told: Vec<(&str, &str)> = mistakes.iter().map(|m| (m.file.as_str(), m.key.as_str())).collect();
        assert!(
            told.contains(&("a.toml", "segment")) && told.contains(&("b.toml", "id")) && told.contains(&("a.toml", "step[2].action")),
            "{told:?}"
        );
        let missing = Library::read(&[PROGRAMS[0]], &[], &SEGMENTS).unwrap_err().0;
        assert!(missing.iter().all(|m| m.key.ends_with(".template")), "{missing:?}");
    }
}
