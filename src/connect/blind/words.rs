//! The blind-spot report in words.

use std::fmt;

use super::{BlindSpots, Verdict};

impl fmt::Display for BlindSpots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "segments")?;
        self.segments.iter().try_for_each(|v| line(f, v))?;
        writeln!(f, "\nprograms")?;
        self.programs.iter().try_for_each(|v| line(f, v))?;
        if self.reasons.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nbecause")?;
        for (place, reason) in self.reasons.iter().enumerate() {
            let source = reason.source.as_ref().map(|s| format!(" [{s}]")).unwrap_or_default();
            writeln!(f, "  {:>3}  {}{source}", place + 1, reason.says)?;
            if let Some(remedy) = &reason.remedy {
                writeln!(f, "       {remedy}")?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    let numbers: Vec<String> = verdict.because.iter().map(|n| (n + 1).to_string()).collect();
    let because = if numbers.is_empty() { String::new() } else { format!("  [{}]", numbers.join(" ")) };
    writeln!(f, "  {:<9} {:<24} {}{because}", verdict.state.as_str(), verdict.id, verdict.title)?;
    verdict.so.map_or(Ok(()), |so| writeln!(f, "            so {so}"))
}
