//! A plan in words, for the person who connects an EHR.

use std::fmt;

use super::{Plan, TypePlan};
use crate::ehr::profile::Strategy;
use crate::ehr::reads::{RosterSource, Window};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "preset      {}", self.preset)?;
        writeln!(f, "patients    {}", roster(&self.roster))?;
        if self.types.iter().any(|t| t.strategy == Strategy::Window) {
            writeln!(f, "days        {}", days(&self.window))?;
        }
        if let Some(why) = &self.no_grant {
            writeln!(f, "granted     not known: {why}")?;
        }
        self.types.iter().try_for_each(|t| write!(f, "\n{t}"))
    }
}

impl fmt::Display for TypePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.events {
            Some(_) if self.strategy == Strategy::Off => writeln!(f, "{:<12}event", self.kind.as_str())?,
            Some(_) => writeln!(f, "{:<12}event and {}", self.kind.as_str(), self.strategy.as_str())?,
            None => writeln!(f, "{:<12}{}", self.kind.as_str(), self.strategy.as_str())?,
        }
        writeln!(f, "  why       {}", self.why)?;
        let lines = |name: &'static str, all: &[String]| all.iter().map(|text| format!("  {name:<10}{text}")).collect::<Vec<_>>();
        // What is lacking is said once.
        let lacking = |text: &&String| self.lacks.as_ref().is_some_and(|lacks| text.ends_with(lacks.as_str()));
        let passed_over: Vec<String> = self.passed_over.iter().filter(|text| !lacking(text)).cloned().collect();
        for line in lines("not", &passed_over).iter().chain(&lines("lacks", self.lacks.as_slice())) {
            writeln!(f, "{line}")?;
        }
        if let Some(events) = &self.events {
            writeln!(f, "  told by   {}; what it names is read, and the other way makes up for what is lost", events.words(self.kind))?;
        }
        if self.strategy != Strategy::Off {
            writeln!(f, "  asks      {}", self.asks)?;
            writeln!(f, "  checked   {}", self.reconciled.words())?;
        }
        if let Some(text) = &self.ungranted {
            writeln!(f, "  granted   no: {text}")?;
        }
        for text in &self.blind {
            writeln!(f, "  unseen    {text}")?;
        }
        lines("mind", &self.warnings).iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn roster(sources: &[RosterSource]) -> String {
    let one = |source: &RosterSource| match source {
        RosterSource::File(path) => format!("the file {}", path.display()),
        RosterSource::Group(id) => format!("the members of Group/{id}"),
        RosterSource::Appointments => "whoever has an appointment".to_owned(),
    };
    match sources {
        [] => "no list is given".to_owned(),
        some => some.iter().map(one).collect::<Vec<_>>().join(", and "),
    }
}

fn days(window: &Window) -> String {
    format!("{} back to {} ahead", window.back_days, window.ahead_days)
}
