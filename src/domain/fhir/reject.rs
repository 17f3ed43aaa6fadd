//! Why a resource is not taken. Says the field and what was expected there, never what was found beyond its JSON type: the value may
//! be a patient's.

/// The kind of fault, for counting and for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectCode {
    /// Not UTF-8, or not JSON; trailing bytes after the value included.
    NotJson,
    /// JSON that ends before it is complete.
    Truncated,
    /// JSON, but not an object.
    NotAnObject,
    /// No `resourceType`.
    NoResourceType,
    /// Another type than the one expected.
    WrongType,
    /// No `id`.
    NoId,
    /// An `id` that could not stand in a URL path.
    BadId,
    /// A field that decides over people is missing or has the wrong JSON type.
    BadField,
    /// More bytes than are looked into.
    TooLarge,
    /// Nested too deep.
    TooDeep,
}

impl RejectCode {
    /// The code as it is stored and counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::Truncated => "truncated",
            Self::NotAnObject => "not-an-object",
            Self::NoResourceType => "no-resource-type",
            Self::WrongType => "wrong-type",
            Self::NoId => "no-id",
            Self::BadId => "bad-id",
            Self::BadField => "bad-field",
            Self::TooLarge => "too-large",
            Self::TooDeep => "too-deep",
        }
    }
}

/// A resource that is not taken, and why. Safe to log and to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", field.as_deref().unwrap_or_default())]
pub struct Reject {
    /// The kind of fault.
    pub code: RejectCode,
    /// The field concerned, as a path from the resource (`participant[1].actor.reference`).
    pub field: Option<String>,
    detail: Box<str>,
}

impl Reject {
    /// A fault of the resource as a whole.
    pub(super) fn new(code: RejectCode) -> Self {
        let (field, detail) = match code {
            RejectCode::NotJson => (None, "not JSON".into()),
            RejectCode::Truncated => (None, "the JSON ends before it is complete; it was cut off".into()),
            RejectCode::NotAnObject => (None, "a JSON object was expected".into()),
            RejectCode::NoResourceType => (Some("resourceType"), " is missing".into()),
            RejectCode::WrongType => (Some("resourceType"), " is another than was asked for".into()),
            RejectCode::NoId => (Some("id"), " is missing".into()),
            RejectCode::BadId => (Some("id"), " is empty, longer than 255, or has other characters than A-Z a-z 0-9 - . _ ~".into()),
            RejectCode::BadField => (None, "a field has the wrong type".into()),
            RejectCode::TooLarge => (None, format!("larger than {} MB", super::MAX_RESOURCE_BYTES / (1024 * 1024)).into()),
            RejectCode::TooDeep => (None, format!("nested deeper than {}", super::MAX_DEPTH).into()),
        };
        Self { code, field: field.map(str::to_owned), detail }
    }

    /// Broken JSON. `at` is where, in bytes; serde_json's own message is not used, since it may quote.
    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        if error.is_eof() {
            return Self::new(RejectCode::Truncated);
        }
        let detail = format!("not JSON: broken at line {}, column {}", error.line(), error.column());
        Self { code: RejectCode::NotJson, field: None, detail: detail.into() }
    }

    /// Nothing at all, where a whole answer was expected. It counts as cut off: a second try may bring it.
    pub(super) fn empty() -> Self {
        Self { code: RejectCode::Truncated, field: None, detail: "nothing came: it is empty".into() }
    }

    /// What a proxy, a sign-in or a maintenance page sends in the place of JSON.
    pub(super) fn markup() -> Self {
        Self { code: RejectCode::NotJson, field: None, detail: "not JSON but a page in HTML or XML".into() }
    }

    /// Bytes that are no text.
    pub(super) fn not_utf8(error: std::str::Utf8Error) -> Self {
        let detail = format!("not JSON: not UTF-8 from byte {} on", error.valid_up_to() + 1);
        Self { code: RejectCode::NotJson, field: None, detail: detail.into() }
    }

    /// Another resource type than `expected`.
    pub(super) fn wrong_type(expected: &str) -> Self {
        let detail = format!(" is another than {expected}");
        Self { code: RejectCode::WrongType, field: Some("resourceType".to_owned()), detail: detail.into() }
    }

    /// A field of the wrong JSON type.
    pub(super) fn bad_field(field: &str, found: &str, expected: &str) -> Self {
        let detail = format!(" is {found}, {expected} was expected");
        Self { code: RejectCode::BadField, field: Some(field.to_owned()), detail: detail.into() }
    }

    /// A field that is needed and missing.
    pub(super) fn missing(field: &str) -> Self {
        Self { code: RejectCode::BadField, field: Some(field.to_owned()), detail: " is missing".into() }
    }

    /// The same fault seen from further out: `actor` within `participant[1]`. An empty field is the outer one itself.
    pub(super) fn within(mut self, outer: std::fmt::Arguments<'_>) -> Self {
        let inner = self.field.filter(|inner| !inner.is_empty());
        self.field = Some(inner.map_or_else(|| outer.to_string(), |inner| format!("{outer}.{inner}")));
        self
    }
}
