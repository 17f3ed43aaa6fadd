//! The last appointment, whatever became of it: attended, missed, cancelled, or not settled yet. `last_visit.*` speak of finished visits only.

use crate::rules::catalogue::Attribute;
use crate::rules::value::{Finding, Type, Value};
use crate::rules::watch::Watch;

use super::appointments::{acceptance, by_video, codes, field, settled, texts};
use super::visits::{Appointment, last_begun, time};
use super::{APPOINTMENT, Context, instant, row};
use crate::model::facts::AppointmentFacts;

const NONE: &str = "there is no appointment whose time has come";
const UNDATED: &str = "an appointment has no time";

pub(super) const ROWS: &[Attribute] = &[
    row(
        "last_appointment.start",
        Type::Time,
        APPOINTMENT,
        "When the last appointment began or would have begun, whatever became of it.",
        UNDATED,
        "last_appointment.start within last 7d",
        |c, w| of_last(c, w, "start", |a| time(a).map(instant)),
    ),
    row(
        "last_appointment.status",
        Type::Text,
        APPOINTMENT,
        "The R4 status of the last appointment; `booked` or `pending` where the EHR has not settled what became of it.",
        UNDATED,
        "last_appointment.status = \"noshow\"",
        |c, w| of_last(c, w, "status", |a| Some(Value::Text(&a.status))),
    )
    .one_of(&["pending", "booked", "arrived", "checked-in", "fulfilled", "noshow", "cancelled"]),
    row(
        "last_appointment.confirmed",
        Type::Bool,
        APPOINTMENT,
        "The person had accepted the last appointment, or was there.",
        "an appointment has no time, or the EHR does not tell the patient's participation status",
        "last_appointment.confirmed",
        |c, w| last(c, w).map_or_else(|none| none, acceptance),
    ),
    row(
        "last_appointment.service",
        Type::Set,
        APPOINTMENT,
        "Codes of the service of the last appointment.",
        UNDATED,
        "last_appointment.service = \"394802001\"",
        |c, w| of_last(c, w, "serviceType", |a| codes(&a.services)),
    ),
    row(
        "last_appointment.type",
        Type::Set,
        APPOINTMENT,
        "Codes of the kind of the last appointment.",
        UNDATED,
        "last_appointment.type = \"WALKIN\"",
        |c, w| of_last(c, w, "appointmentType", |a| codes(&a.kinds)),
    ),
    row(
        "last_appointment.location",
        Type::Set,
        APPOINTMENT,
        "References of the places of the last appointment, as sent.",
        UNDATED,
        "last_appointment.location = \"Location/12\"",
        |c, w| of_last(c, w, "participant", |a| texts(&a.locations)),
    ),
    row(
        "last_appointment.virtual",
        Type::Bool,
        APPOINTMENT,
        "The last appointment was by video or telephone: by R5's `virtualService` (as an extension), or a code for it.",
        "an appointment has no time, or nothing marks it so: R4 has no element for it",
        "last_appointment.virtual",
        |c, w| last(c, w).map_or_else(|none| none, by_video),
    ),
];

fn last<'a>(context: &Context<'a>, watch: &mut Watch) -> Result<&'a Appointment, Finding<'a>> {
    settled(last_begun(context.person, watch), watch, NONE)
}

fn of_last<'a>(
    context: &Context<'a>,
    watch: &mut Watch,
    name: &'static str,
    read: impl Fn(&'a AppointmentFacts) -> Option<Value<'a>>,
) -> Finding<'a> {
    last(context, watch).map_or_else(|none| none, |appointment| field(appointment, name, read))
}
