//! What of a program is due for one person: pure, from the program, the person's membership with its anchors, what was tried, and the
//! time. A moved appointment moves its steps, since nothing is stored ahead: the plan is worked out anew each time. Decides when, never
//! whether: the gate does that. Knows no channel, no words and no store.

use chrono_tz::Tz;
use domain::Timestamp;

use super::channel::ChannelKind;
use super::program::{Action, Anchor, Program, Step, StopWhen};

/// A person's way through one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// When the person entered it this time.
    pub entered_at: Timestamp,
    /// How often the person has entered it, this time included; begins with 1.
    pub entry_no: u32,
    /// When the person left it; absent while in it.
    pub left_at: Option<Timestamp>,
    /// When the person last answered a message of this program, if ever.
    pub answered_at: Option<Timestamp>,
    /// The appointment that the membership is about, where it is about one.
    pub appointment: Option<AnchorAppointment>,
}

/// An appointment that steps are anchored to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorAppointment {
    /// Which one, unique over all EHRs (`ehr/Appointment/12`).
    pub key: String,
    /// Its start now.
    pub start: Timestamp,
}

/// What an enrolment is told apart by: with the program and the person, unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnrolmentKey {
    /// The appointment's key; `segment` for steps that count from the entry.
    pub anchor: String,
    /// The entry's number for `segment`, else 0: leaving and re-entering a segment over one appointment is no new reason to write.
    pub entry_no: u32,
}

/// What an attempt is told apart by: with its enrolment, unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey {
    /// The step's id.
    pub step: String,
    /// The place in the step's channels, from 0.
    pub rung: u32,
    /// The appointment's start in microseconds; 0 for steps that count from the entry. A moved visit is asked about anew.
    pub anchor_rev: i64,
}

/// How an attempt stands, as far as the plan needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The gate held it; to be judged again then.
    Held(Timestamp),
    /// It is on its way, delivered, answered, or in doubt: the step is taken.
    Taken,
    /// It failed for good on its channel, or the gate refused it for a reason of that channel alone: the next rung is open.
    ChannelFailed,
    /// The gate refused it for a reason of the person: no rung is open.
    Refused,
    /// Somebody of the staff stopped it: it is not planned again, and stops nothing else.
    Stopped,
}

/// An attempt that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its enrolment.
    pub enrolment: EnrolmentKey,
    /// Its key.
    pub key: AttemptKey,
    /// How it stands.
    pub standing: Standing,
    /// When it was last moved: a next rung is not due before.
    pub at: Timestamp,
}

/// Why a step is not to be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Void {
    /// Its time of relevance has passed.
    Expired,
    /// The person left the segment.
    LeftSegment,
    /// The person answered.
    Answered,
    /// A later step asks for the same and is due as well: both at once would be one too many.
    Overtaken,
    /// No rung is left.
    Exhausted,
    /// The membership is about no appointment, or about none any more.
    NoAnchor,
    /// Somebody of the staff stopped it.
    Stopped,
}

impl Void {
    /// As written in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::LeftSegment => "left-segment",
            Self::Answered => "answered",
            Self::Overtaken => "overtaken",
            Self::Exhausted => "exhausted",
            Self::NoAnchor => "no-anchor",
            Self::Stopped => "stopped-by-staff",
        }
    }
}

/// What is to be done about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// Not before this instant.
    At(Timestamp),
    /// Nothing: it has been taken or refused.
    Settled,
    /// Nothing any more.
    Void(Void),
}

/// A step of a program for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its enrolment; absent where there is no anchor.
    pub enrolment: Option<EnrolmentKey>,
    /// The attempt to make, or the last one made.
    pub key: AttemptKey,
    /// The channel of that rung.
    pub channel: Option<ChannelKind>,
    /// When the step came or comes due by its offset.
    pub due_at: Timestamp,
    /// From when on it must not be sent.
    pub expires_at: Timestamp,
    /// What is to be done.
    pub due: Due,
}

/// The plan for one person, in the order of the program's steps. Calendar days are counted in `zone`, the site's.
#[must_use]
pub fn plan(program: &Program, membership: &Membership, tried: &[Tried], zone: Tz, now: Timestamp) -> Vec<Planned> {
    let mut planned: Vec<Planned> = program.steps.iter().map(|step| one(step, membership, tried, zone, now)).collect();
    overtake(program, &mut planned);
    planned
}

/// Attempts that are still held though the visit they were about has moved or is not what the membership is about any more: the task
/// ends them, since they would speak of the wrong time.
#[must_use]
pub fn superseded<'a>(program: &Program, membership: &Membership, tried: &'a [Tried]) -> Vec<&'a Tried> {
    let current = |t: &Tried| {
        let step = program.step(&t.key.step);
        step.and_then(|s| anchor(s, membership)).is_some_and(|(enrolment, rev, _)| enrolment == t.enrolment && rev == t.key.anchor_rev)
    };
    tried.iter().filter(|t| matches!(t.standing, Standing::Held(_)) && !current(t)).collect()
}

/// The earliest instant after which the plan may change with time alone; `None` where nothing waits.
#[must_use]
pub fn next_wake(planned: &[Planned]) -> Option<Timestamp> {
    planned.iter().filter_map(|p| if let Due::At(at) = p.due { Some(at) } else { None }).min()
}

fn anchor(step: &Step, membership: &Membership) -> Option<(EnrolmentKey, i64, Timestamp)> {
    match step.anchor {
        Anchor::SegmentEntry => {
            Some((EnrolmentKey { anchor: "segment".to_owned(), entry_no: membership.entry_no }, 0, membership.entered_at))
        }
        Anchor::AppointmentStart => {
            membership.appointment.as_ref().map(|a| (EnrolmentKey { anchor: a.key.clone(), entry_no: 0 }, a.start.micros(), a.start))
        }
    }
}

fn one(step: &Step, membership: &Membership, tried: &[Tried], zone: Tz, now: Timestamp) -> Planned {
    let Some((enrolment, anchor_rev, from)) = anchor(step, membership) else {
        let key = AttemptKey { step: step.id.clone(), rung: 0, anchor_rev: 0 };
        let never = Timestamp::MAX;
        return Planned { enrolment: None, key, channel: None, due_at: never, expires_at: never, due: Due::Void(Void::NoAnchor) };
    };
    let due_at = step.offset.from(from, zone);
    let expires_at = step.expires.at(from, due_at, zone);
    let last = tried
        .iter()
        .filter(|t| t.enrolment == enrolment && t.key.step == step.id && t.key.anchor_rev == anchor_rev)
        // Said once is said, also where another record of the person waits at a later rung.
        .max_by_key(|t| (matches!(t.standing, Standing::Taken | Standing::Refused | Standing::Stopped), t.key.rung));
    let is_stopped = last.is_some_and(|t| t.standing == Standing::Stopped);
    let (rung, ready) = match last.map(|t| (t.key.rung, t.standing, t.at)) {
        None => (0, Some(due_at)),
        Some((rung, Standing::Held(until), _)) => (rung, Some(until.max(due_at))),
        Some((rung, Standing::ChannelFailed, at)) => (rung.saturating_add(1), Some(at.max(due_at))),
        Some((rung, Standing::Taken | Standing::Refused | Standing::Stopped, _)) => (rung, None),
    };
    let channel = usize::try_from(rung).ok().and_then(|at| step.channels.get(at)).copied();
    let due = match ready {
        None if is_stopped => Due::Void(Void::Stopped),
        None => Due::Settled,
        Some(_) if channel.is_none() => Due::Void(Void::Exhausted),
        Some(ready) => stopped(step, membership).map_or_else(|| timed(ready, expires_at, now), Due::Void),
    };
    Planned { enrolment: Some(enrolment), key: AttemptKey { step: step.id.clone(), rung, anchor_rev }, channel, due_at, expires_at, due }
}

fn stopped(step: &Step, membership: &Membership) -> Option<Void> {
    let answered = membership.answered_at.is_some_and(|at| at >= membership.entered_at);
    match (step.stop_when.contains(&StopWhen::LeavesSegment), step.stop_when.contains(&StopWhen::Answers)) {
        (true, _) if membership.left_at.is_some() => Some(Void::LeftSegment),
        (_, true) if answered => Some(Void::Answered),
        _ => None,
    }
}

fn timed(ready: Timestamp, expires_at: Timestamp, now: Timestamp) -> Due {
    match () {
        () if now >= expires_at || ready >= expires_at => Due::Void(Void::Expired),
        () if ready <= now => Due::Now,
        () => Due::At(ready),
    }
}

/// Of several steps of one enrolment that ask for the same and are due now (a visit booked at short notice, or a gateway that stood
/// still), only the latest is sent.
fn overtake(program: &Program, planned: &mut [Planned]) {
    let due: Vec<(Option<EnrolmentKey>, Asked)> = planned
        .iter()
        .zip(&program.steps)
        // Once the later one was sent or refused, the earlier one must not come after it.
        .filter(|(p, _)| matches!(p.due, Due::Now | Due::Settled))
        .map(|(p, s)| (p.enrolment.clone(), Asked { action: s.action, due_at: p.due_at }))
        .collect();
    for (p, step) in planned.iter_mut().zip(&program.steps) {
        let asked = Asked { action: step.action, due_at: p.due_at };
        let later = due.iter().any(|(e, other)| *e == p.enrolment && other.overtakes(asked));
        // A held attempt waits for a moment that the later step has as well.
        if later && matches!(p.due, Due::Now | Due::At(_)) {
            p.due = Due::Void(Void::Overtaken);
        }
    }
}

/// What a step asks for, and when it comes due by its offset.
#[derive(Clone, Copy)]
struct Asked {
    action: Action,
    due_at: Timestamp,
}

impl Asked {
    /// Whether this is said later and says the same: the other must not be sent beside it or after it.
    fn overtakes(self, other: Self) -> bool {
        self.action == other.action && self.due_at > other.due_at
    }
}

/// Whether an attempt that waits was overtaken since it was planned, by the same rule as in [`plan`]: the person of whom nothing changed is
/// not planned for again, and after a standstill an earlier and a later step are due at once. `entered_at` is the enrolment's.
#[must_use]
pub fn is_overtaken(program: &Program, this: &Tried, tried: &[Tried], entered_at: Timestamp, zone: Tz, now: Timestamp) -> bool {
    let asked = |t: &Tried| {
        let step = program.step(&t.key.step)?;
        let from = match step.anchor {
            Anchor::SegmentEntry => entered_at,
            Anchor::AppointmentStart => Timestamp::from_micros(t.key.anchor_rev),
        };
        let due_at = step.offset.from(from, zone);
        Some((Asked { action: step.action, due_at }, step.expires.at(from, due_at, zone)))
    };
    let Some((mine, _)) = asked(this) else { return false };
    let same_anchor = |t: &&Tried| t.enrolment == this.enrolment && t.key.anchor_rev == this.key.anchor_rev;
    tried.iter().filter(same_anchor).any(|t| {
        let Some((other, expires_at)) = asked(t) else { return false };
        let stands = match t.standing {
            Standing::Taken | Standing::Refused => true,
            Standing::Held(until) => until <= now && now < expires_at,
            Standing::ChannelFailed | Standing::Stopped => false,
        };
        stands && other.overtakes(mine)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: Tz = chrono_tz::America::New_York;

    /// Seen in the demo: after the later step was sent, the earlier one came due again and was refused as a duplicate.
    #[test]
    fn a_step_that_was_overtaken_does_not_come_back_when_the_later_one_is_sent() {
        let program = Program::parse("p.toml", include_str!("shipped/programs/visit-confirm.toml")).unwrap();
        let now = Timestamp::parse("2026-11-23T10:00:00-05:00").unwrap();
        let start = now.plus(chrono::TimeDelta::hours(20));
        let appointment = Some(AnchorAppointment { key: "main/Appointment/1".to_owned(), start });
        let membership = Membership { entered_at: now, entry_no: 1, left_at: None, answered_at: None, appointment };
        let first = plan(&program, &membership, &[], ZONE, now);
        let due: Vec<_> = first.iter().filter(|p| p.due == Due::Now).collect();
        assert_eq!(due.len(), 1, "{first:?}");
        let sent = Tried { enrolment: due[0].enrolment.clone().unwrap(), key: due[0].key.clone(), standing: Standing::Taken, at: now };
        let after = plan(&program, &membership, &[sent], ZONE, now.plus(chrono::TimeDelta::minutes(1)));
        assert!(after.iter().all(|p| matches!(p.due, Due::Settled | Due::Void(Void::Overtaken))), "{after:?}");
    }

    const FILE: &str = r#"
id = "p"
title = "t"
goal = "g"
segment = "s"
owner = "o"
priority = 1
message_class = "care"
[[step]]
id = "far"
anchor = "appointment-start"
offset = "-72h"
expires = "anchor-2h"
channels = ["email", "recorded"]
template = "x"
action = "confirm"
stop_when = ["leaves-segment", "answers"]
[[step]]
id = "near"
anchor = "appointment-start"
offset = "-1d at 10:00"
expires = "anchor-2h"
channels = ["email"]
template = "x"
action = "confirm"
[[step]]
id = "entry"
anchor = "segment-entry"
offset = "+0h"
expires = "due+7d"
channels = ["recorded"]
template = "x"
action = "complete-form"
"#;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn member() -> Membership {
        Membership {
            entered_at: at("2026-06-01T12:00:00-04:00"),
            entry_no: 1,
            left_at: None,
            answered_at: None,
            appointment: Some(AnchorAppointment { key: "e/Appointment/1".to_owned(), start: at("2026-06-10T15:00:00-04:00") }),
        }
    }

    fn dues(membership: &Membership, tried: &[Tried], now: &str) -> Vec<(u32, Due)> {
        let program = Program::parse("p.toml", FILE).unwrap_or_else(|e| panic!("{e}"));
        plan(&program, membership, tried, ZONE, at(now)).into_iter().map(|p| (p.key.rung, p.due)).collect()
    }

    fn tried(step: &str, rung: u32, start: &str, standing: Standing) -> Tried {
        let enrolment = EnrolmentKey { anchor: "e/Appointment/1".to_owned(), entry_no: 0 };
        let key = AttemptKey { step: step.to_owned(), rung, anchor_rev: at(start).micros() };
        Tried { enrolment, key, standing, at: at("2026-06-07T16:00:00-04:00") }
    }

    const START: &str = "2026-06-10T15:00:00-04:00";

    #[test]
    fn steps_come_due_and_expire() {
        let far = at("2026-06-07T15:00:00-04:00");
        let near = at("2026-06-09T10:00:00-04:00");
        for (now, first, second) in [
            ("2026-06-02T00:00:00-04:00", Due::At(far), Due::At(near)),
            ("2026-06-07T14:59:59-04:00", Due::At(far), Due::At(near)),
            ("2026-06-07T15:00:00-04:00", Due::Now, Due::At(near)),
            ("2026-06-09T10:00:00-04:00", Due::Void(Void::Overtaken), Due::Now),
            ("2026-06-10T12:59:59-04:00", Due::Void(Void::Overtaken), Due::Now),
            ("2026-06-10T13:00:00-04:00", Due::Void(Void::Expired), Due::Void(Void::Expired)),
        ] {
            assert_eq!(dues(&member(), &[], now)[..2], [(0, first), (0, second)], "{now}");
        }
    }

    #[test]
    fn of_two_steps_that_stood_still_the_later_one_that_is_still_useful_goes() {
        let program = Program::parse("p.toml", FILE).unwrap();
        let held = |until: &str| Standing::Held(at(until));
        let (due, early, late) = (held("2026-06-09T10:00:00-04:00"), "2026-06-09T09:00:00-04:00", "2026-06-09T11:00:00-04:00");
        for (near, now, overtaken) in [
            (due, late, true),
            (due, early, false),
            (held("2026-06-09T12:00:00-04:00"), late, false),
            (Standing::Taken, late, true),
            (Standing::Refused, late, true),
            (Standing::ChannelFailed, late, false),
            // Both are past their time: the gate says so.
            (due, "2026-06-10T13:00:00-04:00", false),
        ] {
            let far = tried("far", 0, START, held("2026-06-07T15:00:00-04:00"));
            let all = [far.clone(), tried("near", 0, START, near)];
            let judged = |this: &Tried| is_overtaken(&program, this, &all, member().entered_at, ZONE, at(now));
            assert_eq!((judged(&all[0]), judged(&all[1])), (overtaken, false), "{near:?} at {now}");
            // What was planned for another time of the visit is another question.
            let other = [far.clone(), tried("near", 0, "2026-06-11T15:00:00-04:00", near)];
            assert!(!is_overtaken(&program, &far, &other, member().entered_at, ZONE, at(now)), "{near:?} at {now}");
        }
    }

    #[test]
    fn a_ladder_is_climbed_and_ends() {
        let now = "2026-06-08T10:00:00-04:00";
        let held = at("2026-06-08T11:00:00-04:00");
        for (attempts, wanted) in [
            (vec![tried("far", 0, START, Standing::Taken)], (0, Due::Settled)),
            (vec![tried("far", 0, START, Standing::Refused)], (0, Due::Settled)),
            (vec![tried("far", 0, START, Standing::ChannelFailed)], (1, Due::Now)),
            (vec![tried("far", 0, START, Standing::ChannelFailed), tried("far", 1, START, Standing::Taken)], (1, Due::Settled)),
            (
                vec![tried("far", 0, START, Standing::ChannelFailed), tried("far", 1, START, Standing::ChannelFailed)],
                (2, Due::Void(Void::Exhausted)),
            ),
            (vec![tried("far", 0, START, Standing::Held(held))], (0, Due::At(held))),
            (vec![tried("far", 0, START, Standing::Held(at("2026-06-08T09:00:00-04:00")))], (0, Due::Now)),
        ] {
            assert_eq!(dues(&member(), &attempts, now)[0], wanted, "{attempts:?}");
        }
    }

    #[test]
    fn a_moved_visit_is_asked_about_anew_and_the_old_question_ends() {
        let program = Program::parse("p.toml", FILE).unwrap();
        let mut moved = member();
        moved.appointment = Some(AnchorAppointment { key: "e/Appointment/1".to_owned(), start: at("2026-06-17T15:00:00-04:00") });
        let old = [tried("far", 0, START, Standing::Taken), tried("near", 0, START, Standing::Held(at("2026-06-09T12:00:00-04:00")))];
        let now = "2026-06-08T10:00:00-04:00";
        assert_eq!(dues(&moved, &old, now)[0], (0, Due::At(at("2026-06-14T15:00:00-04:00"))));
        assert_eq!(superseded(&program, &moved, &old), [&old[1]]);
        assert!(superseded(&program, &member(), &old).is_empty());
        // Moved back: what was sent for that time counts again.
        assert_eq!(dues(&member(), &old, now)[0], (0, Due::Settled));
        moved.appointment = None;
        assert_eq!(dues(&moved, &old, now)[0].1, Due::Void(Void::NoAnchor));
        assert_eq!(superseded(&program, &moved, &old), [&old[1]]);
    }

    #[test]
    fn leaving_and_answering_stop_what_says_so() {
        let now = "2026-06-08T10:00:00-04:00";
        let left = Membership { left_at: Some(at("2026-06-05T00:00:00Z")), ..member() };
        assert!(dues(&left, &[], now).iter().all(|(_, due)| *due == Due::Void(Void::LeftSegment)));
        let answered = Membership { answered_at: Some(at("2026-06-05T00:00:00Z")), ..member() };
        let got = dues(&answered, &[], now);
        assert_eq!(got[0].1, Due::Void(Void::Answered));
        assert!(matches!(got[1].1, Due::At(_)), "the second step does not stop at an answer");
        let long_ago = Membership { answered_at: Some(at("2026-05-01T00:00:00Z")), ..member() };
        assert_eq!(dues(&long_ago, &[], now)[0].1, Due::Now);
    }

    #[test]
    fn entering_again_is_a_new_enrolment_for_entry_steps_only() {
        let program = Program::parse("p.toml", FILE).unwrap();
        let again = Membership { entry_no: 2, ..member() };
        let now = at("2026-06-02T00:00:00Z");
        let keys = |m: &Membership| plan(&program, m, &[], ZONE, now).into_iter().map(|p| p.enrolment.unwrap()).collect::<Vec<_>>();
        let (first, second) = (keys(&member()), keys(&again));
        assert_eq!(first[0], second[0]);
        assert_ne!(first[2], second[2]);
        assert_eq!(next_wake(&plan(&program, &member(), &[], ZONE, now)), Some(at("2026-06-07T15:00:00-04:00")));
    }
}
