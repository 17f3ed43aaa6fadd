//! What a search asks for: parameters, order, page size, cursor. Owns R4's search grammar as far as the sandbox understands it, and which
//! parameters it understands. It reads no resources (`records` applies a search) and writes no answers.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::flavour::{Searching, Served, Unknown};
use crate::instant::{Range, parse_range};
use crate::keys::{REFERENCE_PARAMETERS, Token as Key};
use crate::records::{Entry, Position};

/// A parsed search.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) resource_type: &'static str,
    pub(crate) filters: Vec<Filter>,
    pub(crate) order: Order,
    /// Entries per page.
    pub(crate) count: usize,
    pub(crate) count_only: bool,
    pub(crate) want_total: bool,
    /// Parameters really applied, for `link[self]` and the cursor.
    pub(crate) applied: Vec<(String, String)>,
    /// Parameters not understood.
    pub(crate) ignored: Vec<String>,
}

/// The order of the entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// As they were created: no change of a resource moves it.
    Place,
    Updated,
    UpdatedDescending,
}

/// One condition; a search is all of them together.
#[derive(Debug)]
pub(crate) enum Filter {
    Ids(Vec<String>),
    /// Not these: merged into others.
    Unlisted(BTreeSet<String>),
    Identifier(Vec<Token>),
    Category(Vec<Token>),
    Status(Vec<String>),
    /// `targets` with a slash name a type, those without match any type.
    Reference {
        parameter: &'static str,
        targets: Vec<String>,
    },
    Updated(Vec<(Prefix, Range)>),
    Date(Vec<(Prefix, Range)>),
    Sent(Vec<(Prefix, Range)>),
    Received(Vec<(Prefix, Range)>),
    /// A token parameter that only some flavours offer.
    Other {
        parameter: &'static str,
        tokens: Vec<Token>,
    },
}

/// `code`, `system|code`, `|code` or `system|`.
#[derive(Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) system: System,
    /// `None`: any code of the system.
    pub(crate) code: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum System {
    Any,
    None,
    Is(String),
}

/// The prefixes of R4 for dates, without `ap`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Prefix {
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    Sa,
    Eb,
}

/// How this server pages and what it admits to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) count_default: usize,
    pub(crate) count_max: usize,
    /// False: `_lastUpdated` is an unknown parameter.
    pub(crate) last_updated: bool,
}

/// The parameters of a type in R4's own flavour, besides those starting with an underscore.
pub(crate) fn parameters_of(resource_type: &str) -> &'static [&'static str] {
    match resource_type {
        "Patient" => &["identifier"],
        "Appointment" => &["identifier", "patient", "actor", "practitioner", "location", "date", "status"],
        "CarePlan" => &["identifier", "patient", "subject", "date", "status", "category"],
        "Communication" => &["identifier", "patient", "subject", "recipient", "sender", "encounter", "sent", "status", "category"],
        "DocumentReference" => &["identifier", "patient", "subject", "author", "encounter", "date", "status", "category"],
        "Practitioner" | "Organization" | "RelatedPerson" => &["identifier"],
        "Location" | "Schedule" | "Slot" => &["identifier", "status"],
        _ => &["identifier", "patient", "subject", "encounter", "date", "status", "category"],
    }
}

/// Reads the pairs of a query or form. The text of an error is for OperationOutcome.diagnostics and names parameters, never values.
pub(crate) fn parse(served: &Served, pairs: &[(String, String)], rules: Rules) -> Result<Search, String> {
    let searching = &served.search;
    let mut search = Search {
        resource_type: served.name,
        filters: Vec::new(),
        order: Order::Place,
        count: rules.count_default,
        count_only: false,
        want_total: true,
        applied: Vec::new(),
        ignored: Vec::new(),
    };
    let by_id = searching.id_alone && pairs.iter().any(|(name, value)| name == "_id" && !value.is_empty());
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let passed_over = by_id && !matches!(name.as_str(), "_id" | "_format") && name != searching.page_size();
        if !passed_over && search.take(name, value, searching, rules)? {
            search.applied.push((name.clone(), value.clone()));
        } else {
            search.ignored.push(name.clone());
        }
    }
    if searching.unknown == Unknown::Refused && !search.ignored.is_empty() {
        return Err(format!("not supported: {}", search.ignored.join(", ")));
    }
    if let Some(text) = searching.lacking(pairs).or_else(|| (searching.check)(pairs).map(str::to_owned)) {
        return Err(text);
    }
    search.count = search.count.min(rules.count_max);
    let size = searching.page_size();
    search.applied.retain(|(name, _)| name != size);
    search.applied.push((size.to_owned(), search.count.to_string()));
    Ok(search)
}

impl Search {
    fn take(&mut self, name: &str, value: &str, searching: &Searching, rules: Rules) -> Result<bool, String> {
        match (name, value) {
            (name, value) if name == searching.page_size() => {
                self.count = value.parse().map_err(|_| format!("{name} is not a whole number"))?;
                self.count_only |= self.count == 0;
            }
            ("_format", _) => {}
            ("_id", value) if searching.knows(name) => self.filters.push(Filter::Ids(alternatives(value))),
            ("_lastUpdated", value) if rules.last_updated && searching.knows(name) => {
                self.filters.push(Filter::Updated(dates(name, value)?));
            }
            _ if !searching.controls => return self.take_own(name, value, searching),
            ("_sort", "_lastUpdated") if rules.last_updated => self.order = Order::Updated,
            ("_sort", "-_lastUpdated") if rules.last_updated => self.order = Order::UpdatedDescending,
            ("_summary", "count") => self.count_only = true,
            ("_summary", "false") => {}
            ("_total", "none") => self.want_total = false,
            ("_total", "accurate" | "estimate") => self.want_total = true,
            _ => return self.take_own(name, value, searching),
        }
        Ok(true)
    }

    fn take_own(&mut self, name: &str, value: &str, searching: &Searching) -> Result<bool, String> {
        let (plain, modifier) = name.split_once(':').map_or((name, None), |(plain, modifier)| (plain, Some(modifier)));
        // `_lastUpdated` is listed where it is offered at all, and comes here only where the configuration hides it.
        let Some(known) = searching.parameters.iter().filter(|known| !known.starts_with('_')).find(|known| **known == plain) else {
            return Ok(false);
        };
        let reference = REFERENCE_PARAMETERS.contains(known);
        let target_type = match modifier {
            None => None,
            Some(modifier) if reference && crate::records::known_type(modifier).is_some() => Some(modifier),
            // R4 search, 3.1.1.5.5: a modifier that is not supported is refused, never ignored.
            Some(_) => return Err(format!("the modifier on {plain} is not supported")),
        };
        let filter = match *known {
            "identifier" => Filter::Identifier(tokens(value)),
            "category" => Filter::Category(tokens(value)),
            "status" => Filter::Status(alternatives(value)),
            "date" => Filter::Date(dates(plain, value)?),
            "sent" => Filter::Sent(dates(plain, value)?),
            "received" => Filter::Received(dates(plain, value)?),
            "type" | "-email-status" => Filter::Other { parameter: known, tokens: tokens(value) },
            parameter => Filter::Reference { parameter, targets: targets(parameter, target_type, value) },
        };
        self.filters.push(filter);
        Ok(true)
    }

    /// Forgets what was written at this instant or later.
    pub(crate) fn before(&mut self, instant: i64) {
        self.filters.push(Filter::Updated(vec![(Prefix::Lt, Range::point(instant))]));
    }

    /// The range of update times that could match, for the index: from the first, up to, not including, the second.
    pub(crate) fn updated_bounds(&self) -> (i64, i64) {
        let mut bounds = (i64::MIN, i64::MAX);
        for filter in &self.filters {
            let Filter::Updated(alternatives) = filter else { continue };
            let [(prefix, range)] = alternatives.as_slice() else { continue };
            match prefix {
                Prefix::Ge | Prefix::Gt | Prefix::Sa => bounds.0 = bounds.0.max(range.from),
                Prefix::Le | Prefix::Lt | Prefix::Eb => bounds.1 = bounds.1.min(range.until),
                Prefix::Eq => bounds = (bounds.0.max(range.from), bounds.1.min(range.until)),
                Prefix::Ne => {}
            }
        }
        bounds
    }

    /// Does what a server does that forgets its filters.
    pub(crate) fn forget_filters(&mut self) {
        self.filters.clear();
    }
}

impl Filter {
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let keys = &entry.keys;
        match self {
            Self::Ids(ids) => ids.contains(&entry.id),
            Self::Unlisted(ids) => !ids.contains(&entry.id),
            Self::Identifier(tokens) => any_token(tokens, &keys.identifiers),
            Self::Category(tokens) => any_token(tokens, &keys.categories),
            Self::Status(wanted) => keys.status.as_deref().is_some_and(|status| wanted.iter().any(|want| want == status)),
            Self::Reference { parameter, targets } => keys
                .references
                .iter()
                .filter(|(name, _)| name == parameter)
                .any(|(_, found)| targets.iter().any(|target| same_target(target, found))),
            Self::Updated(wanted) => any_date(wanted, Some(Range::point(entry.updated))),
            Self::Date(wanted) => any_date(wanted, keys.date),
            Self::Sent(wanted) => any_date(wanted, keys.sent),
            Self::Received(wanted) => any_date(wanted, keys.received),
            Self::Other { parameter, tokens } => {
                keys.tokens.iter().any(|(name, found)| name == parameter && any_token(tokens, std::slice::from_ref(found)))
            }
        }
    }
}

impl Prefix {
    /// R4 search, "prefixes": how the range of the resource must lie to the range of the parameter.
    fn holds(self, resource: Range, wanted: Range) -> bool {
        match self {
            Self::Eq => wanted.from <= resource.from && resource.until <= wanted.until,
            Self::Ne => !Self::Eq.holds(resource, wanted),
            Self::Gt => resource.until > wanted.until,
            Self::Lt => resource.from < wanted.from,
            Self::Ge => resource.until > wanted.from,
            Self::Le => resource.from < wanted.until,
            Self::Sa => resource.from >= wanted.until,
            Self::Eb => resource.until <= wanted.from,
        }
    }
}

fn any_date(wanted: &[(Prefix, Range)], found: Option<Range>) -> bool {
    found.is_some_and(|found| wanted.iter().any(|(prefix, range)| prefix.holds(found, *range)))
}

fn any_token(wanted: &[Token], found: &[Key]) -> bool {
    found.iter().any(|(system, code)| {
        wanted.iter().any(|token| {
            let same_system = match &token.system {
                System::Any => true,
                System::None => system.is_none(),
                System::Is(wanted) => system.as_deref() == Some(wanted.as_str()),
            };
            same_system && token.code.as_deref().is_none_or(|wanted| wanted == &**code)
        })
    })
}

fn same_target(wanted: &str, found: &str) -> bool {
    wanted == found || (!wanted.contains('/') && found.rsplit_once('/').is_some_and(|(_, id)| id == wanted))
}

// A comma separates alternatives; `\,`, `\|`, `\$` and `\\` stand for the character itself (R4 search, "escaping").
fn alternatives(value: &str) -> Vec<String> {
    split_escaped(value, ',').iter().map(|part| unescape(part)).collect()
}

fn split_escaped(value: &str, separator: char) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for c in value.chars() {
        if c == separator && !escaped {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(part);
    parts
}

fn unescape(part: &str) -> String {
    let (mut out, mut escaped) = (String::with_capacity(part.len()), false);
    for c in part.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(c);
            escaped = false;
        }
    }
    out
}

fn tokens(value: &str) -> Vec<Token> {
    split_escaped(value, ',')
        .iter()
        .map(|part| {
            let mut sides = split_escaped(part, '|').into_iter().map(|side| unescape(&side));
            match (sides.next().unwrap_or_default(), sides.next()) {
                (code, None) => Token { system: System::Any, code: Some(code) },
                (system, Some(code)) => Token {
                    system: if system.is_empty() { System::None } else { System::Is(system) },
                    code: (!code.is_empty()).then_some(code),
                },
            }
        })
        .collect()
}

fn targets(parameter: &str, target_type: Option<&str>, value: &str) -> Vec<String> {
    let only = target_type.or((parameter == "patient").then_some("Patient"));
    alternatives(value)
        .into_iter()
        .map(|target| match only {
            Some(only) if !target.contains('/') => format!("{only}/{target}"),
            _ => target,
        })
        .collect()
}

fn dates(name: &str, value: &str) -> Result<Vec<(Prefix, Range)>, String> {
    value
        .split(',')
        .map(|part| {
            let prefix = match part.get(..2) {
                Some("eq") => Some(Prefix::Eq),
                Some("ne") => Some(Prefix::Ne),
                Some("gt") => Some(Prefix::Gt),
                Some("lt") => Some(Prefix::Lt),
                Some("ge") => Some(Prefix::Ge),
                Some("le") => Some(Prefix::Le),
                Some("sa") => Some(Prefix::Sa),
                Some("eb") => Some(Prefix::Eb),
                _ => None,
            };
            let date = if prefix.is_some() { part.get(2..).unwrap_or_default() } else { part };
            let range = parse_range(date).ok_or_else(|| format!("{name} is not a date of R4 with a prefix this server knows"))?;
            Ok((prefix.unwrap_or(Prefix::Eq), range))
        })
        .collect()
}

/// What a `next` link carries: the search as it was applied, where it stands, and the total counted at its beginning. It holds no state on the
/// server, so it neither expires nor is lost by a restart: an entry that does not change while pages are read is seen exactly once.
#[derive(Debug, PartialEq)]
pub(crate) struct Cursor {
    pub(crate) applied: Vec<(String, String)>,
    pub(crate) after: Position,
    pub(crate) total: Option<usize>,
}

impl Cursor {
    pub(crate) fn encode(&self) -> String {
        let parts = serde_json::json!([self.applied, self.after, self.total]);
        URL_SAFE_NO_PAD.encode(parts.to_string())
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (applied, after, total) = serde_json::from_slice(&bytes).ok()?;
        Some(Self { applied, after, total })
    }
}

/// Which parameters occur more than once although a second one makes no sense.
pub(crate) fn repeated(pairs: &[(String, String)]) -> Option<&str> {
    let mut seen = BTreeMap::new();
    for (name, _) in
        pairs.iter().filter(|(name, _)| matches!(name.as_str(), "_count" | "_maxresults" | "_sort" | "_summary" | "_total" | "_format"))
    {
        *seen.entry(name.as_str()).or_insert(0) += 1;
    }
    seen.into_iter().find(|(_, count)| *count > 1).map(|(name, _)| name)
}
