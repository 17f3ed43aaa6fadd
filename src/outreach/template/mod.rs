//! A template: approved words per language, with exactly one thing to do, and the variables it may use. Filled in by a sandboxed engine
//! where an unknown variable is an error and work is limited. A language that has no approved words gets the English ones with a line,
//! in that language, on how to get help (45 CFR 92.201); nothing is translated by a machine. Knows nothing of channels or persons' facts.

mod assistance;
mod lint;
mod moment;
mod read;
pub mod readability;
mod variables;

pub use variables::{PhiClass, Variables};

use domain::model::Phi;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::definition::Mistakes;
use super::program::Action;

/// Steps of the template engine that one text may use; the longest shipped one uses under 100.
const FUEL: u64 = 5_000;

/// The words in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// BCP 47, lower case (`en`, `es`).
    pub language: String,
    /// Who approved the words.
    pub approved_by: String,
    /// The subject, where the channel has one.
    pub subject: String,
    /// The body; holds `{{ ask }}` once.
    pub body: String,
    /// The one sentence that says what to do.
    pub ask: String,
}

/// A template that was read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Unique in an installation.
    pub id: String,
    /// The first 16 hexadecimal digits of the BLAKE3 hash of the file.
    pub version: String,
    /// What it asks for; a step that uses it must ask for the same.
    pub action: Action,
    /// The most that any of its variables tells about a patient.
    pub phi: PhiClass,
    /// English first.
    pub variants: Vec<Variant>,
}

/// A message ready to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The language of the words.
    pub language: String,
    /// Whether a line on language assistance was added, because the patient's language has no approved words.
    pub assistance_line: bool,
    /// The subject: one line.
    pub subject: Phi<String>,
    /// The text.
    pub body: Phi<String>,
}

/// A template that could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A variable has no value for this patient.
    #[error(
        "template {template} ({language}) uses a variable that has no value here, such as an appointment; its step needs the matching anchor"
    )]
    MissingValue {
        /// The template's id.
        template: String,
        /// The language.
        language: String,
    },
    /// The engine gave up.
    #[error("template {template} ({language}) cannot be filled in: {kind}; check it with `fhir-engage check`")]
    Engine {
        /// The template's id.
        template: String,
        /// The language.
        language: String,
        /// The kind of fault, without values.
        kind: String,
    },
}

impl Template {
    /// Whether its words say with whom or where a visit is, so that these have to be looked up.
    #[must_use]
    pub fn names_who_or_where(&self) -> bool {
        let says = |text: &str| text.contains("appointment.with") || text.contains("appointment.place");
        self.variants.iter().any(|v| [&v.subject, &v.body, &v.ask].into_iter().any(|text| says(text)))
    }

    /// Reads and checks a template's file: keys, variables and their PHI class, one action, the way to stop, plain language, and words
    /// that must not be in a message.
    ///
    /// # Errors
    /// All [`Mistakes`] at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistakes> {
        read::template(file, text)
    }

    /// The words for a patient: `languages` are BCP 47 tags, the most preferred first. `es-mx` takes `es`.
    ///
    /// # Errors
    /// [`RenderError`], without values of the patient.
    pub fn render(&self, languages: &[&str], variables: &Variables) -> Result<Rendered, RenderError> {
        let matching = languages.iter().find_map(|tag| self.variant(tag));
        let Some(variant) = matching.or_else(|| self.variants.first()) else {
            return Err(self.engine_error("en", "it has no words"));
        };
        let values = variables.values(&variant.language);
        let ask = self.fill(variant, &variant.ask, &values, "")?;
        let subject = self.fill(variant, &variant.subject, &values, &ask)?;
        let mut body = self.fill(variant, &variant.body, &values, &ask)?.trim().to_owned();
        let unserved = languages.first().filter(|_| matching.is_none());
        if let Some(tag) = unserved {
            body.push_str("\n\n");
            body.push_str(&assistance::line(tag, &variables.site_phone));
        }
        Ok(Rendered {
            language: variant.language.clone(),
            assistance_line: unserved.is_some(),
            subject: Phi::new(subject.split_whitespace().collect::<Vec<_>>().join(" ")),
            body: Phi::new(body),
        })
    }

    fn variant(&self, tag: &str) -> Option<&Variant> {
        let tag = tag.to_ascii_lowercase();
        let primary = tag.split('-').next().unwrap_or_default();
        let of = |wanted: &str| self.variants.iter().find(|v| v.language == wanted);
        of(&tag).or_else(|| of(primary))
    }

    fn fill(&self, variant: &Variant, source: &str, values: &Value, ask: &str) -> Result<String, RenderError> {
        let with_ask = context! { ask => ask, ..values.clone() };
        engine().render_named_str("words", source, with_ask).map_err(|e| match e.kind() {
            minijinja::ErrorKind::UndefinedError => {
                RenderError::MissingValue { template: self.id.clone(), language: variant.language.clone() }
            }
            // The error's detail may quote a value; its kind cannot.
            kind => self.engine_error(&variant.language, &kind.to_string()),
        })
    }

    fn engine_error(&self, language: &str, kind: &str) -> RenderError {
        RenderError::Engine { template: self.id.clone(), language: language.to_owned(), kind: kind.to_owned() }
    }
}

/// The engine: no loader, no escaping (the texts are plain), unknown variables are errors, work is limited.
fn engine<'source>() -> Environment<'source> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(8);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine
}

#[cfg(test)]
mod tests;
