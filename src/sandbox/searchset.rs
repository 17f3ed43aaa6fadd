//! Answers searches: from the parameters of a request to a Bundle with its links (R4 search, R4 http "paging"). Owns how pages follow each
//! other, what `link[self]` admits, and the faults of searching. Which resource matches is the business of `records`.

use std::collections::BTreeSet;
use std::sync::Arc;

use url::form_urlencoded;

use crate::answer::{Answer, outcome};
use crate::call::Call;
use crate::ehr::Ehr;
use crate::faults::FaultKind;
use crate::flavour::{Served, Unknown};
use crate::json::Writer;
use crate::records::Position;
use crate::search::{Cursor, Filter, Search, parse, repeated};

/// One page, ready to be written.
struct Leaf {
    total: Option<usize>,
    self_link: String,
    next_link: Option<String>,
    /// Ids and bodies of the matches.
    matches: Vec<(String, Arc<str>)>,
    /// OperationOutcomes beside the matches.
    outcomes: Vec<String>,
}

impl Ehr {
    pub(crate) fn search(&self, call: &Call, served: &Served) -> Answer {
        let mut pairs = call.query_pairs();
        if call.method == "POST" {
            if !call.has_media_type(&["application/x-www-form-urlencoded"]) {
                return Answer::error(415, "not-supported", "a search by POST must be a form");
            }
            pairs.extend(call.form());
        }
        let cursor = pairs.iter().find(|(name, _)| name == "_cursor").map(|(_, value)| Cursor::decode(value));
        let cursor = match cursor {
            Some(None) => return Answer::error(400, "invalid", "this link was not made by this server"),
            Some(Some(cursor)) => {
                pairs.clone_from(&cursor.applied);
                Some(cursor)
            }
            None => None,
        };
        if let Some(name) = repeated(&pairs) {
            return Answer::error(400, "invalid", &format!("{name} is given twice"));
        }
        match self.understand(call, served, &pairs) {
            Err(text) => Answer::error(400, "invalid", &text),
            Ok(search) if served.search.controls && call.strict() && !search.ignored.is_empty() => {
                Answer::error(400, "not-supported", &format!("not supported: {}", search.ignored.join(", ")))
            }
            Ok(search) => Answer::fhir(200, self.bundle(served.name, &self.leaf(call, served, search, cursor))),
        }
    }

    fn understand(&self, call: &Call, served: &Served, pairs: &[(String, String)]) -> Result<Search, String> {
        let mut rules = self.rules;
        if let Some(FaultKind::RequiresParameter { name }) = self.fault(call, |kind| lacks(kind, pairs)) {
            return Err(format!("a search needs {name}"));
        }
        let asked = pairs.iter().any(|(name, value)| name == "_lastUpdated" || (name == "_sort" && value.ends_with("_lastUpdated")));
        if asked && self.fault(call, |kind| *kind == FaultKind::NoLastUpdated).is_some() {
            rules.last_updated = false;
        }
        let mut search = parse(served, pairs, rules)?;
        if let Some(FaultKind::IgnoresFilter { echo }) = self.fault(call, |kind| matches!(kind, FaultKind::IgnoresFilter { .. })) {
            search.forget_filters();
            search.ignored.clear();
            if !echo {
                search.applied.retain(|(name, _)| matches!(name.as_str(), "_count" | "_sort" | "_total" | "_summary"));
            }
        }
        if let Some(FaultKind::LaggingReplica { millis }) = self.fault(call, |kind| matches!(kind, FaultKind::LaggingReplica { .. })) {
            search.before(self.now().saturating_sub(i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000)));
        }
        let unlisted = if served.name == "Patient" { self.unlisted() } else { BTreeSet::new() };
        if !unlisted.is_empty() {
            search.filters.push(Filter::Unlisted(unlisted));
        }
        Ok(search)
    }

    fn leaf(&self, call: &Call, served: &Served, search: Search, cursor: Option<Cursor>) -> Leaf {
        let link = |pairs: &[(String, String)]| {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            format!("{}/{}?{query}", self.base, search.resource_type)
        };
        let records = self.charts.read();
        let total = match &cursor {
            Some(cursor) => cursor.total,
            None => (search.want_total || search.count_only).then(|| records.total(&search)),
        };
        let mut leaf =
            Leaf { total, self_link: link(&search.applied), next_link: None, matches: Vec::new(), outcomes: warnings(served, &search) };
        if search.count_only {
            return leaf;
        }
        let after = cursor.as_ref().map(|cursor| cursor.after);
        let page = records.page(&search, after);
        let body_of = |entry: &crate::records::Entry| Some((entry.id.clone(), entry.body.clone()?));
        if let Some(last) = after.and_then(|after| records.at(search.resource_type, after))
            && self.fault(call, |kind| *kind == FaultKind::DuplicateAcrossPages).is_some()
        {
            leaf.matches.extend(body_of(last));
        }
        leaf.matches.extend(page.entries.iter().filter_map(|(_, entry)| body_of(entry)));
        if leaf.matches.is_empty()
            && let Some(text) = served.search.when_empty
        {
            leaf.outcomes.push(outcome("warning", "processing", text));
        }
        if page.more
            && let Some((last, _)) = page.entries.last()
        {
            let next = |after: Position| {
                let cursor = Cursor { applied: search.applied.clone(), after, total };
                link(&[("_cursor".to_owned(), cursor.encode())])
            };
            leaf.next_link = Some(self.next_link(call, next(*last), || after.map_or_else(|| link(&search.applied), next)));
        }
        if let Some(FaultKind::OutcomeInBundle { severity }) = self.fault(call, |kind| matches!(kind, FaultKind::OutcomeInBundle { .. })) {
            leaf.outcomes.push(outcome(&severity, "incomplete", "not everything may be shown"));
        }
        leaf
    }

    fn next_link(&self, call: &Call, honest: String, this_page: impl FnOnce() -> String) -> String {
        match self.fault(call, |kind| matches!(kind, FaultKind::NextLinkOnOtherHost { .. } | FaultKind::RepeatedNextLink)) {
            Some(FaultKind::NextLinkOnOtherHost { origin }) => {
                let path = honest.strip_prefix(&self.base).unwrap_or_default();
                format!("{origin}/fhir{path}")
            }
            Some(_) => this_page(),
            None => honest,
        }
    }

    fn bundle(&self, resource_type: &str, leaf: &Leaf) -> String {
        let bytes: usize = leaf.matches.iter().map(|(_, body)| body.len() + 200).sum();
        let mut writer = Writer::resource("Bundle", bytes + 1024);
        writer.text("type", "searchset");
        if let Some(total) = leaf.total {
            writer.raw("total", &total.to_string());
        }
        writer.array("link", |w| {
            w.item(|w| relation(w, "self", &leaf.self_link));
            if let Some(next) = &leaf.next_link {
                w.item(|w| relation(w, "next", next));
            }
        });
        if leaf.matches.is_empty() && leaf.outcomes.is_empty() {
            return writer.finish();
        }
        writer.array("entry", |w| {
            for (id, body) in &leaf.matches {
                w.item(|w| {
                    w.text("fullUrl", &format!("{}/{resource_type}/{id}", self.base));
                    w.raw("resource", body);
                    w.object("search", |w| w.text("mode", "match"));
                });
            }
            for body in &leaf.outcomes {
                w.item(|w| {
                    w.raw("resource", body);
                    w.object("search", |w| w.text("mode", "outcome"));
                });
            }
        });
        writer.finish()
    }
}

fn relation(writer: &mut Writer, name: &str, url: &str) {
    writer.text("relation", name);
    writer.text("url", url);
}

fn lacks(fault: &FaultKind, pairs: &[(String, String)]) -> bool {
    let given = |wanted: &str| pairs.iter().any(|(name, _)| name.split(':').next() == Some(wanted));
    matches!(fault, FaultKind::RequiresParameter { name } if !given(name) && !given("_id"))
}

fn warnings(served: &Served, search: &Search) -> Vec<String> {
    if search.ignored.is_empty() || served.search.unknown == Unknown::Silent {
        return Vec::new();
    }
    vec![outcome("warning", "not-supported", &format!("ignored: {}", search.ignored.join(", ")))]
}
