//! DocumentReference (R4, hl7.org/fhir/R4/documentreference.html): a clinical note with its text inside, for charts that take no
//! Communication. After US Core's "writing clinical notes": one inline attachment, a LOINC type, the category `clinical-note`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhirbolt::model::r4::{Resource, resources, types};

use crate::check;
use crate::datatypes::{Concept, Identifier, Reference, concept, each, identifier, literal, meta, opt, reference};
use crate::invalid::{Invalid, Problem};
use crate::render;

/// `DocumentReference.author` takes these.
const AUTHORS: &[&str] = &["Practitioner", "PractitionerRole", "Organization", "Device", "Patient", "RelatedPerson"];

/// `DocumentReference.docStatus` (required binding `composition-status`); what is preliminary is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocStatus {
    /// Complete.
    Final,
    /// Changed after it was final.
    Amended,
    /// Should not have been written.
    EnteredInError,
}

impl DocStatus {
    /// The code as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Amended => "amended",
            Self::EnteredInError => "entered-in-error",
        }
    }
}

/// How a document relates to an earlier one (required binding `document-relationship-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It stands in the other's place.
    Replaces,
    /// It adds to the other.
    Appends,
}

impl Relation {
    /// The code as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replaces => "replaces",
            Self::Appends => "appends",
        }
    }
}

/// A document to be. What an EHR's contract does not take is left empty. It is `current`.
#[derive(Clone, PartialEq, Eq)]
pub struct DocumentReference {
    /// `meta.profile`: canonical URLs.
    pub profile: Vec<String>,
    /// Our business identifier, where the server takes one.
    pub identifier: Vec<Identifier>,
    /// How complete it is.
    pub doc_status: DocStatus,
    /// The kind of document; [`crate::codes::document`].
    pub kind: Concept,
    /// The class of document.
    pub category: Vec<Concept>,
    /// The Patient it is about.
    pub subject: String,
    /// When it was made, an instant.
    pub date: Option<String>,
    /// By whom.
    pub author: Vec<Reference>,
    /// Earlier documents: `DocumentReference/1`.
    pub relates_to: Vec<(Relation, String)>,
    /// A line for a list of documents.
    pub description: Option<String>,
    /// The text; it goes in as text/plain in UTF-8.
    pub text: String,
    /// The text's heading.
    pub title: Option<String>,
    /// The time that it tells of, dateTimes: from and to.
    pub period: Option<(String, String)>,
    /// What it tells of, such as the Appointment: any resource.
    pub related: Vec<String>,
}

impl std::fmt::Debug for DocumentReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DocumentReference").field("doc_status", &self.doc_status).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Renders a document as R4 JSON.
///
/// # Errors
/// [`Invalid`] at the first element that cannot be valid R4.
pub fn document_reference(from: &DocumentReference) -> Result<Vec<u8>, Invalid> {
    let relates_to = each("DocumentReference.relatesTo", &from.relates_to, |e, (relation, target): &(Relation, String)| {
        Ok(resources::DocumentReferenceRelatesTo {
            code: relation.as_str().into(),
            target: Box::new(literal(&format!("{e}.target"), target, &["DocumentReference"])?),
            ..Default::default()
        })
    })?;
    let resource = resources::DocumentReference {
        meta: meta("DocumentReference.meta", &from.profile)?,
        identifier: each("DocumentReference.identifier", &from.identifier, identifier)?,
        status: "current".into(),
        doc_status: Some(from.doc_status.as_str().into()),
        r#type: Some(Box::new(concept("DocumentReference.type", &from.kind)?)),
        category: each("DocumentReference.category", &from.category, concept)?,
        subject: Some(Box::new(literal("DocumentReference.subject", &from.subject, &["Patient"])?)),
        date: opt(from.date.as_deref(), |d| check::instant("DocumentReference.date", d))?.map(Into::into),
        author: each("DocumentReference.author", &from.author, |e, r| reference(e, r, AUTHORS))?,
        relates_to,
        description: opt(from.description.as_deref(), |d| check::string("DocumentReference.description", d))?.map(Into::into),
        content: vec![content(from)?],
        context: context(from)?,
        ..Default::default()
    };
    render(&Resource::DocumentReference(Box::new(resource)))
}

fn content(from: &DocumentReference) -> Result<resources::DocumentReferenceContent, Invalid> {
    let element = "DocumentReference.content[0].attachment";
    if from.text.trim().is_empty() {
        return Err(Invalid::new(format!("{element}.data"), Problem::Empty));
    }
    let attachment = types::Attachment {
        content_type: Some("text/plain; charset=utf-8".to_owned().into()),
        data: Some(STANDARD.encode(&from.text).into()),
        title: opt(from.title.as_deref(), |t| check::string(&format!("{element}.title"), t))?.map(Into::into),
        creation: opt(from.date.as_deref(), |d| check::date_time(&format!("{element}.creation"), d))?.map(Into::into),
        ..Default::default()
    };
    Ok(resources::DocumentReferenceContent { attachment: Box::new(attachment), ..Default::default() })
}

fn context(from: &DocumentReference) -> Result<Option<resources::DocumentReferenceContext>, Invalid> {
    let element = "DocumentReference.context";
    let period = opt(from.period.as_ref(), |(start, end)| {
        Ok(Box::new(types::Period {
            start: Some(check::date_time(&format!("{element}.period.start"), start)?.into()),
            end: Some(check::date_time(&format!("{element}.period.end"), end)?.into()),
            ..Default::default()
        }))
    })?;
    let related = each(&format!("{element}.related"), &from.related, |e, r: &String| literal(e, r, &[]))?;
    let is_empty = period.is_none() && related.is_empty();
    Ok((!is_empty).then(|| resources::DocumentReferenceContext { period, related, ..Default::default() }))
}
