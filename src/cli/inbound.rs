//! `outreach answer` and `outreach bounce`: what came back on a message, entered by a person or by a script of the site.

use std::io::Read as _;

use clap::Args;
use domain::model::Phi;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::App;
use crate::outreach::barrier::Barrier;
use crate::outreach::inbound::{Answer, Taken};

/// Record what a patient answered; a wish to stop is honoured at once
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  echo C | fhir-engage outreach answer 014cc6014bfea35885865dd5413db20b
  fhir-engage outreach answer 014cc6014bfea35885865dd5413db20b --file note.txt
  fhir-engage outreach answer 014cc6014bfea35885865dd5413db20b --external-id SM1
  fhir-engage outreach answer 014cc6014bfea35885865dd5413db20b --file note.txt --barrier transport

The words are read from stdin or a file, never from the command line, which others on this machine can see.")]
pub(super) struct Heard {
    /// The attempt that was answered
    #[arg(value_name = "ATTEMPT")]
    id: String,
    /// How it came
    #[arg(long, value_name = "CHANNEL", default_value = "call", value_parser = ["email", "sms", "call", "letter", "portal", "recorded"])]
    channel: String,
    /// The channel's own id: the same one again is not recorded twice
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// What stands in the way of care, as you understood it; without this it is told by the words alone, where they are clear
    #[arg(long, value_name = "CODE", value_parser = barrier())]
    barrier: Option<Barrier>,
    /// Where the words are; stdin where absent
    #[arg(long, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
}

/// Record that a message did not arrive though it had been taken for sent; the chart is corrected
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage outreach bounce 014cc6014bfea35885865dd5413db20b --code 5.1.1
  fhir-engage outreach bounce 014cc6014bfea35885865dd5413db20b --code invalid-phone-number")]
pub(super) struct Bounce {
    /// The attempt
    #[arg(value_name = "ATTEMPT")]
    id: String,
    /// What the channel said: a code, without names or addresses
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: String,
}

/// The longest answer that is taken, in bytes.
const LONGEST: u64 = 64 * 1024;

fn code(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 80 && text.chars().all(|c| c.is_ascii_alphanumeric() || " .-_:".contains(c));
    if fits { Ok(text.to_owned()) } else { Err("a code of letters, digits, spaces, '.', '-' and ':', such as '550 5.1.1'".to_owned()) }
}

fn barrier() -> impl clap::builder::TypedValueParser<Value = Barrier> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(Barrier::ALL.map(Barrier::as_str)).try_map(|code| Barrier::parse(&code).ok_or("no such code"))
}

fn no_such(id: &str) -> Failure {
    Failure::usage(format!("there is no attempt {id}; list them with `fhir-engage outreach list`"))
}

impl Heard {
    fn words(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let read = match &self.file {
            Some(path) => std::fs::File::open(path).and_then(|f| f.take(LONGEST + 1).read_to_string(&mut text)),
            None => std::io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text),
        };
        read.map_err(|e| Failure::usage(format!("the words cannot be read as UTF-8: {}", e.kind())))?;
        if text.len() as u64 > LONGEST {
            return Err(Failure::usage("an answer of more than 64 KB is none; give the patient's words only"));
        }
        if text.trim().is_empty() {
            return Err(Failure::usage("there are no words; write them to stdin or name a --file"));
        }
        Ok(text)
    }

    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let text = self.words()?;
        let came = Answer {
            attempt: self.id.clone(),
            channel: self.channel,
            external_id: self.external_id,
            text: Phi::new(text),
            barrier: self.barrier,
            recorded_by: "staff".to_owned(),
        };
        match app.answered(came).await? {
            Taken::Unknown => Err(no_such(&self.id)),
            Taken::NotSent => Err(Failure::problem("this attempt was not sent, so nobody can have answered it")),
            Taken::Repeated => {
                tell(common, &serde_json::json!({ "attempt": self.id, "recorded": false }), "it was recorded before; nothing changed");
                Ok(Ended::Well)
            }
            Taken::Recorded { reply, barrier, needs_action } => {
                let barrier = barrier.map(Barrier::as_str);
                let json = serde_json::json!({ "attempt": self.id, "recorded": true, "meaning": reply.as_str(), "barrier": barrier,
                    "needs_action": needs_action });
                let named = barrier.map(|code| format!(", barrier {code}")).unwrap_or_default();
                let next = if needs_action { "; somebody has to act on it" } else { "" };
                tell(common, &json, &format!("recorded as {}{named}{next}", reply.as_str()));
                Ok(Ended::Well)
            }
        }
    }
}

impl Bounce {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        match app.bounced(&self.id, &self.code).await? {
            None => Err(no_such(&self.id)),
            Some(false) => Err(Failure::problem("this attempt was not taken for sent, so there is nothing to correct")),
            Some(true) => {
                tell(
                    common,
                    &serde_json::json!({ "attempt": self.id, "failed": self.code }),
                    "recorded; the chart is corrected with the next write-back",
                );
                Ok(Ended::Well)
            }
        }
    }
}

fn tell(common: &Common, json: &serde_json::Value, words: &str) {
    if common.json { print::json(json) } else { print::line(words) }
}
