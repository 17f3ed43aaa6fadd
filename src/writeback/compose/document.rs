//! A DocumentReference: a clinical note for what a chart takes no Communication for, and for a day's attempts together.

use typed::codes::PROFILE_DOCUMENT;
use typed::codes::document::{ADMINISTRATIVE_NOTE, CLINICAL_NOTE, LOINC};
use typed::{Coding, Concept, DocStatus, DocumentReference, Identifier, Relation};

use super::account::{Account, instant};
use super::{ComposeError, Composed, Loss, Site, Subject, Telling, Told, Unfit, cut, with_mark};
use crate::writeback::contract::{Carrier, Contract, KeyPlace, NoteShape};
use crate::writeback::deed::Deed;

/// A line in a list of documents is no longer than this.
const DESCRIPTION: usize = 255;

pub(super) fn compose(subject: &Subject<'_>, account: &Account, site: &Site, contract: &Contract) -> Result<Composed, Unfit> {
    let (note, a) = (&contract.note, subject.attempt);
    let mut losses = account.losses.clone();
    if !matches!(subject.telling, Telling::Note { .. }) {
        losses.push(Loss::of("status", "a document has no status, channel and category of a message: they are words in its text"));
    }
    let marked = contract.document_reference.key == KeyPlace::Text || !note.identifier;
    let identifier = if marked {
        losses.push(Loss::of("identifier", "this EHR does not keep it; our key stands in a text"));
        Vec::new()
    } else {
        vec![Identifier { system: site.identifier_system.clone(), value: subject.key.to_owned() }]
    };
    let Body { title, description, text } = body(subject.key, account, marked, note.limit, &mut losses)?;
    let at = account.until.or(account.at).or_else(|| a.finished_at.map(domain::Timestamp::from_micros));
    let (relates_to, mut related) = earlier(&subject.telling);
    related.extend(a.about.iter().filter(|_| !matches!(subject.telling, Telling::Note { .. })).cloned());
    let patient = format!("Patient/{}", subject.patient);
    let profile = if identifier.is_empty() || at.is_none() { Vec::new() } else { site.profile(PROFILE_DOCUMENT) };
    let document = DocumentReference {
        profile,
        identifier,
        doc_status: DocStatus::Final,
        kind: kind(note),
        category: vec![CLINICAL_NOTE.into()],
        author: vec![site.party(&note.author, &patient, "sender")?],
        subject: patient,
        date: at.map(instant),
        relates_to,
        description: Some(description),
        text,
        title: Some(title),
        period: account.at.zip(account.until).map(|(from, to)| (instant(from), instant(to))),
        related,
    };
    let deed = Deed::Create { bytes: typed::document_reference(&document)? };
    Ok(Composed { carrier: Carrier::DocumentReference, deed, at, losses })
}

struct Body {
    title: String,
    description: String,
    text: String,
}

/// The texts. Our mark stands in the description, which a search gives back, and in the text, which may be all that is read again.
fn body(key: &str, account: &Account, marked: bool, limit: usize, losses: &mut Vec<Loss>) -> Result<Body, ComposeError> {
    let title = cut(account.title(), DESCRIPTION).unwrap_or_else(|| account.title().to_owned());
    let words = account.in_words();
    let (text, shortened, description) = if marked {
        let (text, shortened) = with_mark(&words, key, limit, "\n")?;
        (text, shortened, with_mark(&title, key, DESCRIPTION, " ")?.0)
    } else {
        let shorter = cut(&words, limit);
        let shortened = shorter.is_some();
        (shorter.unwrap_or(words), shortened, title.clone())
    };
    if shortened {
        losses.push(Loss::of("content.attachment", format!("cut to {limit} characters")));
    }
    Ok(Body { title, description, text })
}

fn kind(note: &NoteShape) -> Concept {
    let known = note.loinc == ADMINISTRATIVE_NOTE.code;
    let coding = Coding {
        system: Some(LOINC.to_owned()),
        code: note.loinc.clone(),
        display: ADMINISTRATIVE_NOTE.display.filter(|_| known).map(str::to_owned),
    };
    Concept { coding: vec![coding], text: Some(note.title.clone()) }
}

/// Which documents it relates to, and which resources of other types it tells of. One line of a day's note does not stand in the place of
/// the whole note.
fn earlier(telling: &Telling<'_>) -> (Vec<(Relation, String)>, Vec<String>) {
    let of = |told: Option<&Told>| told.and_then(Told::reference);
    match telling {
        Telling::Correction { original: Some(told) } if told.carrier == Carrier::DocumentReference => {
            let relation = if told.note { Relation::Appends } else { Relation::Replaces };
            (of(Some(*told)).map(|r| (relation, r)).into_iter().collect(), Vec::new())
        }
        Telling::Correction { original } | Telling::Answer { original, .. } => (Vec::new(), of(*original).into_iter().collect()),
        Telling::Original | Telling::Note { .. } | Telling::StatusChange { .. } | Telling::Provenance { .. } => (Vec::new(), Vec::new()),
    }
}
