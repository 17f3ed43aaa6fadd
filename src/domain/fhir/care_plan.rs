//! CarePlan to facts.

use super::elements::{Times, concepts, object, patient_of, references, string};
use super::raw::{Raw, document, elements};
use super::{Head, Projected, Reject};
use crate::model::facts::{Activity, Period};
use crate::model::{CarePlanFacts, Facts, FhirTime, ResourceType};

const MEMBERS: [&str; 11] =
    ["resourceType", "id", "meta", "status", "intent", "subject", "category", "period", "created", "addresses", "activity"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, intent, subject, category, when, created, addresses, activity] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::CarePlan, resource_type, id, meta)?;
    let times = Times::default();
    let facts = CarePlanFacts {
        status: status.ok_or_else(|| Reject::missing("status"))?.must_text("status", "a code")?.into_owned(),
        intent: string(intent),
        patient: patient_of(subject, "subject")?,
        categories: concepts(category),
        period: times.period("period", when),
        created: times.time("created", created),
        addresses: references(addresses),
        activities: elements(activity).filter_map(|raw| activity_facts(raw, &times)).collect(),
    };
    Ok(head.with(Facts::CarePlan(Box::new(facts)), times))
}

fn activity_facts(raw: Raw<'_>, times: &Times) -> Option<Activity> {
    let [detail, reference] = raw.members(["detail", "reference"])?;
    let [status, code, scheduled_period, timing, do_not_perform] =
        object(detail, ["status", "code", "scheduledPeriod", "scheduledTiming", "doNotPerform"]);
    if do_not_perform.and_then(Raw::boolean) == Some(true) {
        return None;
    }
    let scheduled = Some(times.period("activity.detail.scheduledPeriod", scheduled_period))
        .filter(|p| *p != Period::default())
        .unwrap_or_else(|| timing_bounds(timing, times));
    Some(Activity { status: string(status), codes: concepts(code), scheduled, reference: string(object(reference, ["reference"])[0]) })
}

/// The bounds of a Timing: those told, else from its earliest to its latest event.
fn timing_bounds(timing: Option<Raw<'_>>, times: &Times) -> Period {
    let [repeat, event] = object(timing, ["repeat", "event"]);
    let told = times.period("activity.detail.scheduledTiming.repeat.boundsPeriod", object(repeat, ["boundsPeriod"])[0]);
    if told != Period::default() {
        return told;
    }
    let events: Vec<FhirTime> = elements(event).filter_map(|e| times.time("activity.detail.scheduledTiming.event", Some(e))).collect();
    let order = |t: &FhirTime| t.span(chrono_tz::UTC);
    Period { start: events.iter().copied().min_by_key(order), end: events.iter().copied().max_by_key(order) }
}
