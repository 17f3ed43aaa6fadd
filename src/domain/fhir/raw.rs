//! JSON text that is known to be well formed, looked into no further than asked. This is where leniency about shape lives.
//!
//! serde_json's `RawValue` keeps a value's text as received and skips it without building anything, which is as fast as ignoring it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::reject::{Reject, RejectCode};

/// One JSON value as received, without white space around it. Never `null` and never `[]` where it came from [`Raw::members`].
#[derive(Clone, Copy)]
pub(super) struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// The text as received.
    pub(super) const fn json(self) -> &'a str {
        self.0
    }

    /// The JSON type, in words for a message.
    pub(super) fn type_name(self) -> &'static str {
        match self.0.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'"') => "a text",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    fn is_absent(self) -> bool {
        self.0 == "null"
            || self.0.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|inner| inner.trim_ascii().is_empty())
    }

    /// The text of a JSON string. `None` for other types, and for escapes that are no characters: a lone surrogate, and NUL, which R4
    /// forbids (datatype `string`) and PostgreSQL cannot keep.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if !inner.as_bytes().contains(&b'\\') {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str::<String>(self.0).ok().filter(|text| !text.contains('\0')).map(Cow::Owned)
    }

    /// As [`Raw::text`], owned.
    pub(super) fn owned(self) -> Option<String> {
        self.text().map(Cow::into_owned)
    }

    /// The text of a JSON string, or a number as written.
    pub(super) fn text_or_number(self) -> Option<Cow<'a, str>> {
        match self.0.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(self.0)),
            _ => self.text(),
        }
    }

    /// A number as written.
    pub(super) fn number(self) -> Option<&'a str> {
        matches!(self.0.as_bytes().first(), Some(b'-' | b'0'..=b'9')).then_some(self.0)
    }

    /// `true` or `false`.
    pub(super) fn boolean(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The text of a field that decides over people.
    pub(super) fn must_text(self, field: &str, expected: &str) -> Result<Cow<'a, str>, Reject> {
        self.text().ok_or_else(|| {
            let found = if self.0.starts_with('"') { "a text with an escape that is no character" } else { self.type_name() };
            Reject::bad_field(field, found, &format!("{expected} in quotes"))
        })
    }

    /// The members of an object that decides over people.
    pub(super) fn must_members<const N: usize>(self, field: &str, names: [&str; N]) -> Result<[Option<Raw<'a>>; N], Reject> {
        self.members(names).ok_or_else(|| Reject::bad_field(field, self.type_name(), "an object"))
    }

    /// The members of those names, in that order. `None` where this is no object.
    pub(super) fn members<const N: usize>(self, names: [&str; N]) -> Option<[Option<Raw<'a>>; N]> {
        self.0.starts_with('{').then(|| members_of(self.0, names).ok()).flatten()
    }

    /// The elements of a list, or the value itself where a server left the list out. `null` elements are skipped; positions are those of
    /// the list as sent.
    pub(super) fn elements(self) -> impl Iterator<Item = (usize, Raw<'a>)> {
        let list = if self.0.starts_with('[') { serde_json::from_str::<Vec<&'a RawValue>>(self.0).unwrap_or_default() } else { Vec::new() };
        let single = (!self.0.starts_with('[')).then_some(self);
        list.into_iter().map(|raw| Raw(raw.get())).chain(single).enumerate().filter(|(_, raw)| !raw.is_absent())
    }
}

/// The elements of a list that may be absent.
pub(super) fn elements(list: Option<Raw<'_>>) -> impl Iterator<Item = Raw<'_>> {
    list.into_iter().flat_map(Raw::elements).map(|(_, element)| element)
}

/// A document as one value; whether it is JSON shows where it is looked into.
pub(super) fn whole(text: &str) -> Raw<'_> {
    Raw(text.trim_ascii())
}

/// The text of a document.
pub(super) fn document_text(bytes: &[u8]) -> Result<&str, Reject> {
    let text = std::str::from_utf8(bytes).map_err(Reject::not_utf8)?;
    match text.trim_ascii_start().as_bytes().first() {
        None => Err(Reject::empty()),
        Some(b'<') => Err(Reject::markup()),
        Some(_) => Ok(text),
    }
}

/// The members of a document that must be one object, with nothing after it.
pub(super) fn document<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Result<[Option<Raw<'a>>; N], Reject> {
    if text.trim_ascii_start().starts_with('{') {
        return members_of(text, names).map_err(|e| Reject::not_json(&e));
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Err(Reject::new(RejectCode::NotAnObject)),
        Err(e) => Err(Reject::not_json(&e)),
    }
}

fn members_of<'a, const N: usize>(text: &'a str, names: [&str; N]) -> serde_json::Result<[Option<Raw<'a>>; N]> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = json.deserialize_map(Members(names))?;
    json.end()?;
    Ok(found)
}

/// Keeps the members of the names asked for, skips all others. The last of duplicates counts, as in most JSON readers.
struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<Raw<'de>>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(position) = map.next_key_seed(Position(&self.0))? {
            match position.and_then(|p| found.get_mut(p)) {
                Some(slot) => *slot = Some(Raw(map.next_value::<&'de RawValue>()?.get())).filter(|raw| !raw.is_absent()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// A member's name to its position among the names asked for.
#[derive(Clone, Copy)]
struct Position<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Position<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Position<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| *wanted == name))
    }
}

/// Whether the text nests deeper than `limit`. serde_json skips unasked members without recursion and so without a limit, but whoever
/// reads the kept body later may not.
pub(super) fn deeper_than(text: &str, limit: usize) -> bool {
    // Few brackets cannot nest deep. This counts many bytes per step and spares most resources the walk below.
    if text.bytes().filter(|b| matches!(b, b'{' | b'[')).count() <= limit {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}
