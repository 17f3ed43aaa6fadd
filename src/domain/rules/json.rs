//! The JSON form of a rule: the same tree, for programs that write rules. `GRAMMAR.md` shows both forms side by side.

use serde_json::{Map, Value, json};

use crate::model::time::FhirTime;

use super::duration::Duration;
use super::mistake::{Mistake, suggestion};
use super::syntax::{At, Comparison, Expr, Literal, MAX_BYTES, MAX_DEPTH, Name, Operand, Predicate, Selector, Test};

const KEYS: [&str; 17] = [
    "all",
    "any",
    "not",
    "constant",
    "segment",
    "attribute",
    "of",
    "of_valueset",
    "in_last",
    "is",
    "value",
    "in",
    "in_valueset",
    "within",
    "within_last",
    "older_than",
    "exists",
];

impl Expr {
    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::All(parts) => json!({ "all": parts.iter().map(Self::to_json).collect::<Vec<_>>() }),
            Self::Any(parts) => json!({ "any": parts.iter().map(Self::to_json).collect::<Vec<_>>() }),
            Self::Not(part) => json!({ "not": part.to_json() }),
            Self::Constant(value) => json!({ "constant": value }),
            Self::Segment(name) => json!({ "segment": name.text }),
            Self::Test(test) => test_to_json(test),
        }
    }

    /// Reads the JSON form. Places in the tree are those of its canonical text, so that later mistakes can point at it.
    ///
    /// # Errors
    /// Every mistake, each with the path of the member that it is in.
    pub fn from_json(value: &Value) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader { mistakes: Vec::new() };
        let expr = reader.expr(value, "$", 0);
        if !reader.mistakes.is_empty() {
            return Err(reader.mistakes);
        }
        let text = expr.to_string();
        if text.len() > MAX_BYTES {
            return Err(vec![Mistake::new(format!(
                "$: a rule has at most {MAX_BYTES} bytes; make segments of its parts and combine them"
            ))]);
        }
        super::parse::parse(&text)
    }
}

fn test_to_json(test: &Test) -> Value {
    let mut map = Map::new();
    map.insert("attribute".into(), json!(test.attribute.text));
    match &test.of {
        None => {}
        Some(Selector::Codes(codes)) => {
            map.insert("of".into(), codes.iter().map(|o| literal_to_json(&o.literal)).collect());
        }
        Some(Selector::ValueSet(name)) => {
            map.insert("of_valueset".into(), json!(name.text));
        }
    }
    if let Some(period) = test.period {
        map.insert("in_last".into(), json!(period.to_string()));
    }
    match &test.predicate {
        Predicate::Holds => {}
        Predicate::Exists => {
            map.insert("exists".into(), json!(true));
        }
        Predicate::Compare(comparison, operand) => {
            map.insert("is".into(), json!(comparison.as_str()));
            map.insert("value".into(), literal_to_json(&operand.literal));
        }
        Predicate::OneOf(operands) => {
            map.insert("in".into(), operands.iter().map(|o| literal_to_json(&o.literal)).collect());
        }
        Predicate::InValueSet(name) => {
            map.insert("in_valueset".into(), json!(name.text));
        }
        Predicate::Within(d) => {
            map.insert("within".into(), json!(d.to_string()));
        }
        Predicate::WithinLast(d) => {
            map.insert("within_last".into(), json!(d.to_string()));
        }
        Predicate::OlderThan(d) => {
            map.insert("older_than".into(), json!(d.to_string()));
        }
    }
    Value::Object(map)
}

fn literal_to_json(literal: &Literal) -> Value {
    match literal {
        Literal::Bool(value) => json!(value),
        Literal::Integer(value) => json!(value),
        Literal::Text(value) => json!(value),
        Literal::Time(value) => json!({ "date": value.to_string() }),
        Literal::SiteLanguage => json!({ "site": "language" }),
    }
}

struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn mistake(&mut self, path: &str, message: impl std::fmt::Display) {
        self.mistakes.push(Mistake::new(format!("{path}: {message}")));
    }

    fn expr(&mut self, value: &Value, path: &str, depth: usize) -> Expr {
        let hole = Expr::Constant(true);
        if depth > MAX_DEPTH {
            self.mistake(path, format_args!("nested deeper than {MAX_DEPTH}; make a segment of the inner part and refer to it"));
            return hole;
        }
        let Some(map) = value.as_object() else {
            self.mistake(path, "a rule is an object, as in {\"attribute\": \"age\", \"is\": \">=\", \"value\": 65}");
            return hole;
        };
        for key in map.keys().filter(|k| !KEYS.contains(&k.as_str())) {
            self.mistake(path, format_args!("there is no member `{key}`{}", suggestion(key, KEYS)));
        }
        if map.contains_key("attribute") {
            return self.test(map, path);
        }
        let Some((key, inner)) = map.iter().next().filter(|_| map.len() == 1) else {
            self.mistake(path, "write exactly one of all, any, not, constant, segment, or an attribute with its test");
            return hole;
        };
        let path = format!("{path}.{key}");
        match key.as_str() {
            "all" => self.parts(inner, &path, depth, Expr::All),
            "any" => self.parts(inner, &path, depth, Expr::Any),
            "not" => Expr::Not(Box::new(self.expr(inner, &path, depth + 1))),
            "constant" => Expr::Constant(inner.as_bool().unwrap_or_else(|| {
                self.mistake(&path, "is true or false");
                true
            })),
            "segment" => Expr::Segment(self.name(inner, &path)),
            _ => {
                self.mistake(&path, "an attribute is missing beside it");
                hole
            }
        }
    }

    fn parts(&mut self, value: &Value, path: &str, depth: usize, join: fn(Vec<Expr>) -> Expr) -> Expr {
        match value.as_array() {
            Some(parts) if parts.len() >= 2 => {
                join(parts.iter().enumerate().map(|(i, part)| self.expr(part, &format!("{path}[{i}]"), depth + 1)).collect())
            }
            _ => {
                self.mistake(path, "is a list of two or more rules");
                Expr::Constant(true)
            }
        }
    }

    fn name(&mut self, value: &Value, path: &str) -> Name {
        let text = value.as_str().filter(|t| is_word(t)).unwrap_or_else(|| {
            self.mistake(path, "is a name");
            "x"
        });
        Name { text: text.to_owned(), at: At::default() }
    }

    fn test(&mut self, map: &Map<String, Value>, path: &str) -> Expr {
        let attribute = map
            .get("attribute")
            .map_or_else(|| Name { text: String::new(), at: At::default() }, |v| self.name(v, &format!("{path}.attribute")));
        let of = self.selector(map, path);
        let period = map.get("in_last").and_then(|v| self.duration(v, &format!("{path}.in_last")));
        let asked: Vec<&str> = ["is", "in", "in_valueset", "within", "within_last", "older_than", "exists"]
            .into_iter()
            .filter(|k| map.contains_key(*k))
            .collect();
        if asked.len() > 1 {
            self.mistake(path, format_args!("asks {} things at once ({}); ask one", asked.len(), asked.join(", ")));
        }
        for key in ["all", "any", "not", "constant", "segment"].into_iter().filter(|k| map.contains_key(*k)) {
            self.mistake(path, format_args!("`{key}` does not go with an attribute; join the two with all or any"));
        }
        if map.contains_key("is") != map.contains_key("value") {
            self.mistake(path, "`is` and `value` go together");
        }
        let predicate = asked.first().and_then(|key| self.predicate(key, map, path)).unwrap_or(Predicate::Holds);
        Expr::Test(Test { attribute, of, period, predicate })
    }

    fn selector(&mut self, map: &Map<String, Value>, path: &str) -> Option<Selector> {
        match (map.get("of"), map.get("of_valueset")) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.mistake(path, "is narrowed twice (of, of_valueset); write one");
                None
            }
            (None, Some(name)) => Some(Selector::ValueSet(self.name(name, &format!("{path}.of_valueset")))),
            (Some(codes), None) => {
                let inner = format!("{path}.of");
                let Some(items) = codes.as_array().filter(|items| !items.is_empty()) else {
                    self.mistake(&inner, "is a list of one or more codes");
                    return None;
                };
                Some(Selector::Codes(items.iter().enumerate().map(|(i, v)| self.operand(v, &format!("{inner}[{i}]"))).collect()))
            }
        }
    }

    fn predicate(&mut self, key: &str, map: &Map<String, Value>, path: &str) -> Option<Predicate> {
        let value = map.get(key)?;
        let inner = format!("{path}.{key}");
        match key {
            "is" => {
                let Some(comparison) = value.as_str().and_then(Comparison::parse) else {
                    self.mistake(&inner, "is one of = != < <= > >=");
                    return None;
                };
                Some(Predicate::Compare(comparison, self.operand(map.get("value")?, &format!("{path}.value"))))
            }
            "in" => match value.as_array() {
                Some(items) if !items.is_empty() => {
                    Some(Predicate::OneOf(items.iter().enumerate().map(|(i, v)| self.operand(v, &format!("{inner}[{i}]"))).collect()))
                }
                _ => {
                    self.mistake(&inner, "is a list of one or more values");
                    None
                }
            },
            "in_valueset" => Some(Predicate::InValueSet(self.name(value, &inner))),
            "exists" if value == &Value::Bool(true) => Some(Predicate::Exists),
            "exists" => {
                self.mistake(&inner, "is true; to ask the opposite, wrap the test in not");
                None
            }
            "within" => self.duration(value, &inner).map(Predicate::Within),
            "within_last" => self.duration(value, &inner).map(Predicate::WithinLast),
            _ => self.duration(value, &inner).map(Predicate::OlderThan),
        }
    }

    fn duration(&mut self, value: &Value, path: &str) -> Option<Duration> {
        let duration = value.as_str().and_then(Duration::parse);
        if duration.is_none() {
            self.mistake(path, "is a length of time, as in \"72h\", \"30d\" or \"12 months\"");
        }
        duration
    }

    fn operand(&mut self, value: &Value, path: &str) -> Operand {
        let literal = match value {
            Value::Bool(b) => Some(Literal::Bool(*b)),
            Value::Number(n) => n.as_i64().map(Literal::Integer),
            Value::String(s) => Some(Literal::Text(s.clone())),
            Value::Object(map) if map.len() == 1 => match map.iter().next().map(|(k, v)| (k.as_str(), v.as_str())) {
                Some(("date", Some(text))) => FhirTime::parse(text).filter(|t| !matches!(t, FhirTime::Year(_))).map(Literal::Time),
                Some(("site", Some("language"))) => Some(Literal::SiteLanguage),
                _ => None,
            },
            _ => None,
        };
        let literal = literal.unwrap_or_else(|| {
            self.mistake(path, "is true, false, a whole number, a text, {\"date\": \"2026-11-23\"} or {\"site\": \"language\"}");
            Literal::Bool(true)
        });
        Operand { literal, at: At::default() }
    }
}

/// Whether the text form could write it as one word.
fn is_word(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
