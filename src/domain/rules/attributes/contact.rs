//! Attributes from the contact ledger: what this gateway sent, and what came back.

use crate::model::time::Timestamp;
use crate::rules::catalogue::Attribute;
use crate::rules::value::{Finding, Type};

use super::{instant, row};

pub(super) const ROWS: &[Attribute] = &[
    row(
        "contact.last_sent",
        Type::Time,
        &[],
        "When this gateway last sent the person something.",
        "",
        "not contact.last_sent within last 30d",
        |c, _| ledger(c.person.contact.last_sent, "last_sent", "nothing was ever sent to this person"),
    ),
    row("contact.last_answer", Type::Time, &[], "When the person last answered.", "", "contact.last_answer within last 7d", |c, _| {
        ledger(c.person.contact.last_answer, "last_answer", "the person never answered")
    }),
];

fn ledger<'a>(at: Option<Timestamp>, field: &'static str, none: &'static str) -> Finding<'a> {
    at.map_or_else(|| Finding::absent(none), |t| Finding::of_ledger(instant(t), field))
}
