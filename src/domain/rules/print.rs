//! A tree to its canonical text: reading it again gives the same tree, and equal trees give equal texts.

use std::fmt::{Display, Formatter, Result, Write};

use super::syntax::{Expr, Literal, Operand, Predicate, Selector, Test};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::All(parts) => joined(f, parts, " and ", |part| matches!(part, Self::All(_) | Self::Any(_))),
            Self::Any(parts) => joined(f, parts, " or ", |part| matches!(part, Self::Any(_))),
            Self::Not(part) => {
                f.write_str("not ")?;
                grouped(f, part, matches!(**part, Self::All(_) | Self::Any(_)))
            }
            Self::Constant(value) => write!(f, "{value}"),
            Self::Segment(name) => write!(f, "segment({})", name.text),
            Self::Test(test) => test.fmt(f),
        }
    }
}

fn joined(f: &mut Formatter<'_>, parts: &[Expr], with: &str, needs_group: impl Fn(&Expr) -> bool) -> Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(with)?;
        }
        grouped(f, part, needs_group(part))?;
    }
    Ok(())
}

fn grouped(f: &mut Formatter<'_>, part: &Expr, group: bool) -> Result {
    if group { write!(f, "({part})") } else { part.fmt(f) }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.predicate == Predicate::Exists {
            f.write_str("exists ")?;
        }
        f.write_str(&self.attribute.text)?;
        match &self.of {
            None => {}
            Some(Selector::ValueSet(name)) => write!(f, " of valueset({})", name.text)?,
            Some(Selector::Codes(codes)) => {
                f.write_str(" of ")?;
                match codes.as_slice() {
                    [one] => one.fmt(f)?,
                    many => listed(f, many)?,
                }
            }
        }
        if let Some(period) = self.period {
            write!(f, " in last {period}")?;
        }
        match &self.predicate {
            Predicate::Holds | Predicate::Exists => Ok(()),
            Predicate::Compare(comparison, operand) => write!(f, " {} {operand}", comparison.as_str()),
            Predicate::OneOf(operands) => {
                f.write_str(" in ")?;
                listed(f, operands)
            }
            Predicate::InValueSet(name) => write!(f, " in valueset({})", name.text),
            Predicate::Within(d) => write!(f, " within {d}"),
            Predicate::WithinLast(d) => write!(f, " within last {d}"),
            Predicate::OlderThan(d) => write!(f, " older than {d}"),
        }
    }
}

fn listed(f: &mut Formatter<'_>, operands: &[Operand]) -> Result {
    f.write_char('(')?;
    for (i, operand) in operands.iter().enumerate() {
        write!(f, "{}{operand}", if i > 0 { ", " } else { "" })?;
    }
    f.write_char(')')
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.literal.fmt(f)
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Text(value) => quoted(f, value),
            Self::Time(value) => write!(f, "{value}"),
            Self::SiteLanguage => f.write_str("site.language"),
        }
    }
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
