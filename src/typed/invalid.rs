//! Why something is not valid R4. Names the element and the remedy; never the value, which may be a patient's.

/// One element that cannot be valid R4.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{element}: {problem}")]
pub struct Invalid {
    element: String,
    problem: Problem,
}

/// What is wrong with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An empty text, or one of white space only.
    #[error("empty; leave the element out instead")]
    Empty,
    /// A control character other than tab, line feed and carriage return (R4 datatype `string`).
    #[error("holds a control character; remove it (typed::printable does)")]
    ControlCharacter,
    /// Longer than R4 lets a `string` be (1 MB).
    #[error("longer than 1 MB; shorten it or send it as an attachment")]
    TooLong,
    /// Not an R4 `dateTime`.
    #[error("not a dateTime; write YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with a time zone")]
    DateTime,
    /// Not an R4 `instant`.
    #[error("not an instant; write YYYY-MM-DDThh:mm:ss with a time zone")]
    Instant,
    /// Not an absolute URI.
    #[error("not an absolute URI; write it with its scheme, such as urn: or http:, and without white space")]
    Uri,
    /// Not an R4 `code`.
    #[error("not a code; it has no white space at its ends and single blanks inside")]
    Code,
    /// Not an R4 `id`.
    #[error("not an id; it has 1 to 64 letters, digits, '-' and '.'")]
    Id,
    /// Not a reference to a resource.
    #[error("not a reference; write Type/id, an absolute http(s) URL that ends so, or urn:uuid:")]
    Reference,
    /// A reference to a type which this element does not take.
    #[error("refers to a resource type that this element does not take")]
    ReferenceType,
    /// A Reference without reference, identifier and display.
    #[error("refers to nothing; give a reference, an identifier or a display")]
    NoReference,
    /// A concept with neither a coding nor a text.
    #[error("says nothing; give a coding or a text")]
    NoConcept,
    /// Not a media type.
    #[error("not a media type; write it like text/plain")]
    MediaType,
    /// A list that R4 wants at least one entry in.
    #[error("has no entry; at least one is needed")]
    NoEntry,
    /// A period that ends before it begins.
    #[error("ends before it begins")]
    Period,
    /// Fewer counted than are listed.
    #[error("is lower than the number of active members listed")]
    Quantity,
    /// More than can be checked.
    #[error("larger than the 16 MB that are checked")]
    TooLarge,
    /// Not a JSON object, or bytes after it.
    #[error("not one JSON object")]
    NotJson,
    /// Objects or arrays inside each other beyond reason.
    #[error("nested more than 64 deep")]
    TooDeep,
    /// The same member twice.
    #[error("given twice")]
    Duplicate,
    /// A JSON null.
    #[error("null; leave the member out instead")]
    Null,
    /// A Bundle, whose entries have to be checked one by one.
    #[error("is a Bundle; check each entry's resource by itself")]
    Bundle,
    /// A mandatory element is missing.
    #[error("missing, and mandatory")]
    Missing,
    /// Refused by the R4 model for another reason.
    #[error("does not fit the R4 model: a wrong type, an unknown member, or two choices of one element")]
    NotR4,
}

impl Invalid {
    pub(crate) fn new(element: impl Into<String>, problem: Problem) -> Self {
        let mut element = element.into();
        if element.is_empty() {
            element.push_str("resource");
        }
        Self { element, problem }
    }

    /// The element's path, such as `Communication.recipient[0].reference`.
    #[must_use]
    pub fn element(&self) -> &str {
        &self.element
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn problem(&self) -> Problem {
        self.problem
    }
}
