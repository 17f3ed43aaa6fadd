//! Attributes from the contact ledger: what this gateway sent, and what came back. The ledger is always known.

use std::collections::BTreeSet;

use crate::model::person::{Fate, Message};
use crate::model::time::Timestamp;
use crate::rules::catalogue::{Attribute, Derivation};
use crate::rules::duration::{Duration, Unit};
use crate::rules::value::{Event, Finding, Items, Set, Source, Type, Value};
use crate::rules::watch::Watch;

use super::{Context, instant, row};

/// Answers and barriers count for so long: what someone said years ago tells little of today.
const COUNTS_MONTHS: u32 = 12;

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
    count("contact.sent", "Messages that left.", "contact.sent in last 3 months >= 3", |c, each| events(c, each, |_| true)),
    count(
        "contact.answered",
        "Messages that the person answered, by when they left.",
        "contact.answered in last 3 months = 0",
        |c, each| {
            events(c, each, |m| m.fate == Fate::Answered);
        },
    ),
    count("contact.failed", "Messages that did not arrive, by when they left.", "contact.failed in last 30d >= 2", |c, each| {
        events(c, each, |m| m.fate == Fate::Failed);
    }),
    row(
        "contact.response_rate",
        Type::Integer,
        &[],
        "Of 100 messages of the last 12 months that did not fail, how many the person answered, rounded down; absent where there are none.",
        "",
        "contact.response_rate >= 50",
        response_rate,
    )
    .in_unit("percent"),
    row(
        "contact.channels",
        Type::Set,
        &[],
        "Channels by which the person was reached in the last 12 months: a message arrived or was answered.",
        "",
        "contact.channels = \"email\"",
        channels,
    ),
    row(
        "contact.barriers",
        Type::Set,
        &[],
        "What stands in the way of care by the person's answers of the last 12 months (CodeSystem engagement-barrier).",
        "",
        "contact.barriers in (\"transport\", \"cost\")",
        barriers,
    ),
    row("contact.opted_out", Type::Bool, &[], "The person does not want to be written to at all.", "", "not contact.opted_out", |c, _| {
        Finding::of_ledger(Value::Bool(c.person.contact.opted_out), "preferences")
    }),
    row(
        "contact.opted_out_channels",
        Type::Set,
        &[],
        "Channels by which the person does not want to be written to.",
        "",
        "contact.opted_out_channels = \"email\"",
        |c, _| match c.person.contact.opted_out_channels.as_slice() {
            [] => Finding::absent("the person opted out of no channel"),
            channels => Finding::of_ledger(Value::Set(Set { items: Items::Texts(channels), open: false }), "preferences"),
        },
    ),
];

const fn count(
    name: &'static str,
    meaning: &'static str,
    example: &'static str,
    derive: for<'a> fn(&Context<'a>, &mut dyn FnMut(Event<'a>)),
) -> Attribute {
    Attribute {
        name,
        kind: Type::Count,
        unit: Some("messages"),
        values: &[],
        meaning,
        needs: &[],
        also_reads: &[],
        of: None,
        unknown: "",
        example,
        derivation: Derivation::Events(derive),
    }
}

fn ledger<'a>(at: Option<Timestamp>, field: &'static str, none: &'static str) -> Finding<'a> {
    at.map_or_else(|| Finding::absent(none), |t| Finding::of_ledger(instant(t), field))
}

fn events<'a>(context: &Context<'a>, each: &mut dyn FnMut(Event<'a>), counts: impl Fn(&Message) -> bool) {
    for message in context.person.contact.messages.iter().filter(|m| counts(m)) {
        let at = Some((message.sent_at, message.sent_at));
        each(Event { at, time: "time", unsure: None, source: Source::Ledger { field: "messages" } });
    }
}

/// Whether something that was at `at` counts now: it was, and less than 12 months ago.
fn counts(at: Timestamp, context: &Context<'_>, watch: &mut Watch) -> bool {
    let zone = context.site.zone;
    let over = Duration::new(COUNTS_MONTHS, Unit::Months).is_some_and(|d| watch.reached(d.after(at, zone)));
    !over && watch.reached(at)
}

fn recent<'a>(context: &Context<'a>, watch: &mut Watch) -> Vec<&'a Message> {
    context.person.contact.messages.iter().filter(|m| counts(m.sent_at, context, watch)).collect()
}

fn response_rate<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let of: Vec<&Message> = recent(context, watch).into_iter().filter(|m| m.fate != Fate::Failed).collect();
    let answered = of.iter().filter(|m| m.fate == Fate::Answered).count();
    match (answered * 100).checked_div(of.len()).and_then(|rate| i64::try_from(rate).ok()) {
        Some(rate) => Finding::of_ledger(Value::Integer(rate, rate), "messages"),
        None => Finding::absent("no message of the last 12 months could be answered"),
    }
}

fn channels<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let reached = recent(context, watch).into_iter().filter(|m| matches!(m.fate, Fate::Answered | Fate::Delivered));
    set(reached.map(|m| m.channel.as_str()), "messages", "no message of the last 12 months is known to have arrived")
}

fn barriers<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let named: Vec<&str> =
        context.person.contact.barriers.iter().filter(|(_, at)| counts(*at, context, watch)).map(|(code, _)| code.as_str()).collect();
    set(named.into_iter(), "answers", "the person named no barrier in the last 12 months")
}

fn set<'a>(items: impl Iterator<Item = &'a str>, field: &'static str, none: &'static str) -> Finding<'a> {
    let items: BTreeSet<&str> = items.collect();
    if items.is_empty() {
        return Finding::absent(none);
    }
    Finding::of_ledger(Value::Set(Set { items: Items::Some(items.into_iter().collect()), open: false }), field)
}
