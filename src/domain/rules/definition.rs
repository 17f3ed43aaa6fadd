//! A segment definition: a TOML file with the rule in it.

use serde::{Deserialize, Serialize};

use super::check;
use super::file::File;
use super::mistake::{MAX_MISTAKES, Mistake, suggestion};
use super::parse::parse_leniently;
use super::syntax::{Expr, is_segment_id};

/// What unknown counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// As not a member.
    #[default]
    Out,
    /// As a member.
    In,
    /// As neither: such persons are kept apart and counted.
    Held,
}

impl Unknown {
    const WORDS: [&str; 3] = ["out", "in", "held"];

    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "out" => Self::Out,
            "in" => Self::In,
            "held" => Self::Held,
            _ => return None,
        })
    }

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Held => "held",
        }
    }
}

/// A segment: who is in it, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its id: lower-case letters, digits and `-`.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// The stage of the care journey that it belongs to; one of [`super::STAGES`].
    pub stage: String,
    /// Who is in it and what that is for.
    pub description: String,
    /// What unknown counts as.
    pub unknown: Unknown,
    /// The rule.
    pub rule: Expr,
    /// The text that the places in the rule refer to.
    pub rule_text: String,
}

const KEYS: [&str; 6] = ["id", "title", "stage", "description", "unknown", "rule"];

impl Definition {
    /// Reads a definition file.
    ///
    /// # Errors
    /// Every mistake in it: of TOML, of members missing or unknown, of the rule's grammar and of its types.
    pub fn parse(file: &str) -> Result<Self, Vec<Mistake>> {
        Self::of(&File::read(file)?)
    }

    /// Reads a definition that is written as JSON: the same members, and the rule as its tree or as text.
    ///
    /// # Errors
    /// As [`Definition::parse`].
    pub fn parse_json(file: &str) -> Result<Self, Vec<Mistake>> {
        Self::of(&File::read_json(file)?)
    }

    fn of(file: &File<'_>) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader { file, mistakes: Vec::new() };
        for key in file.table.keys().filter(|k| !KEYS.contains(&k.as_str())) {
            reader.mistakes.push(file.at_name(key, format!("there is no member `{key}`{}", suggestion(key, KEYS))));
        }
        let id = reader.text("id").unwrap_or_default();
        if !id.is_empty() && !is_segment_id(&id) {
            reader.mistake("id", format!("`{id}` is not an id: 1 to 64 lower-case letters, digits and `-`, beginning with a letter"));
        }
        let title = reader.text("title").unwrap_or_default();
        let description = reader.text("description").unwrap_or_default();
        let stage = reader.stage();
        let unknown = reader.unknown();
        let (rule, rule_text) = reader.rule();
        let mut mistakes = reader.mistakes;
        if mistakes.is_empty() {
            return Ok(Self { id, title, stage, description, unknown, rule, rule_text });
        }
        // In the order of the text, so that a mistake of a type stands between two of grammar.
        mistakes.sort_by_key(|m| (m.place, m.in_file));
        if mistakes.len() >= MAX_MISTAKES {
            mistakes.truncate(MAX_MISTAKES);
            mistakes.push(Mistake::and_more());
        }
        Err(mistakes.into_iter().map(|m| if id.is_empty() { m } else { m.within(&id) }).collect())
    }

    /// The definition as a file in one fixed form: equal definitions give equal texts, however they were written. Versions are made
    /// of it, so its form is written out here and left to no library.
    #[must_use]
    pub fn canonical_text(&self) -> String {
        let rule = self.rule.to_string();
        let members = [
            ("id", self.id.as_str()),
            ("title", &self.title),
            ("stage", &self.stage),
            ("description", &self.description),
            ("unknown", self.unknown.as_str()),
            ("rule", &rule),
        ];
        // A JSON string is a basic string of TOML.
        members.iter().fold(String::new(), |text, (key, value)| text + key + " = " + &serde_json::Value::from(*value).to_string() + "\n")
    }
}

struct Reader<'a> {
    file: &'a File<'a>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn mistake(&mut self, key: &str, message: String) {
        self.mistakes.push(self.file.at_value(key, message));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.file.table.get(key) {
            Some(toml::Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Some(toml::Value::String(_)) => {
                self.mistake(key, format!("`{key}` is empty"));
                None
            }
            Some(other) => {
                self.mistake(key, format!("`{key}` must be a text in quotes, not of type {}", other.type_str()));
                None
            }
            None => {
                self.mistake(key, format!("`{key}` is missing"));
                None
            }
        }
    }

    /// The rule, from its text or from its tree; and its text.
    fn rule(&mut self) -> (Expr, String) {
        let (rule, text, mistakes) = match self.file.table.get("rule") {
            Some(toml::Value::Table(tree)) => {
                let tree = serde_json::to_value(tree).unwrap_or_default();
                match Expr::from_json(&tree) {
                    Ok(rule) => {
                        let text = rule.to_string();
                        (rule, text, Vec::new())
                    }
                    Err(mistakes) => return self.no_rule(mistakes),
                }
            }
            _ => {
                let Some(text) = self.text("rule") else { return self.no_rule(Vec::new()) };
                let (rule, mistakes) = parse_leniently(&text);
                (rule, text, mistakes)
            }
        };
        self.mistakes.extend(mistakes);
        self.mistakes.extend(check::mistakes(&rule, &text));
        (rule, text)
    }

    fn no_rule(&mut self, mistakes: Vec<Mistake>) -> (Expr, String) {
        self.mistakes.extend(mistakes);
        (Expr::Constant(true), String::new())
    }

    fn stage(&mut self) -> String {
        let stage = self.text("stage").unwrap_or_default();
        if !stage.is_empty() && !super::STAGES.contains(&stage.as_str()) {
            let meant = suggestion(&stage, super::STAGES);
            self.mistake("stage", format!("`{stage}` is not a stage: {}{meant}", super::STAGES.join(", ")));
        }
        stage
    }

    fn unknown(&mut self) -> Unknown {
        if !self.file.table.contains_key("unknown") {
            return Unknown::default();
        }
        let word = self.text("unknown").unwrap_or_default();
        Unknown::parse(&word).unwrap_or_else(|| {
            if !word.is_empty() {
                self.mistake("unknown", format!("`unknown` is one of out, in, held{}", suggestion(&word, Unknown::WORDS)));
            }
            Unknown::default()
        })
    }
}
