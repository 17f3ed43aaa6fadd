//! The journey: each attempt with its verdicts, its answers and what became of it in the chart.

use std::collections::HashMap;

use chrono_tz::Tz;
use domain::Timestamp;
use domain::model::Phi;

use super::page::{Answer, Mark, Reason, Step, Upcoming};
use super::words;
use crate::outreach::by_hand;
use crate::outreach::ledger::{KeptMessage, KeptReason};
use crate::outreach::program::Library;
use crate::store::answers;
use crate::store::attempts::{self, Attempt, VerdictRow};
use crate::store::codec::Codec;
use crate::store::writebacks::{self, Writeback};
use crate::store::{Conn, StoreError};

/// So many steps are shown; who has more has them in the ledger.
const MOST: usize = 100;

/// What was done, the latest first, and what comes next, the first one first.
pub(super) fn of(
    conn: &mut Conn,
    codec: &Codec,
    (library, zone): (&Library, Tz),
    attempts: Vec<Attempt>,
) -> Result<(Vec<Step>, Vec<Upcoming>), StoreError> {
    let (waiting, mut past): (Vec<Attempt>, Vec<Attempt>) =
        attempts.into_iter().partition(|a| matches!(a.state.as_str(), "planned" | "held"));
    past.sort_by_key(|a| std::cmp::Reverse((happened(a), a.id.clone())));
    past.truncate(MOST);
    let ids: Vec<&str> = past.iter().chain(&waiting).map(|a| a.id.as_str()).collect();
    let mut verdicts: HashMap<String, VerdictRow> = HashMap::new();
    for verdict in attempts::verdicts_on(conn, &ids)? {
        // The last one counts: they come in order.
        verdicts.insert(verdict.attempt.clone(), verdict);
    }
    let ids: Vec<&str> = past.iter().map(|a| a.id.as_str()).collect();
    let mut answered: HashMap<String, Vec<answers::Answer>> = HashMap::new();
    for answer in answers::to(conn, &ids)? {
        answered.entry(answer.attempt.clone()).or_default().push(answer);
    }
    let mut owed: HashMap<String, Vec<Writeback>> = HashMap::new();
    for (attempt, row) in writebacks::of_attempts(conn, &ids)? {
        owed.entry(attempt).or_default().push(row);
    }
    let steps = past
        .iter()
        .map(|a| {
            let verdict = verdicts.get(&a.id);
            let answers = answered.remove(&a.id).unwrap_or_default();
            step(a, (library, zone), codec, (verdict, answers), &owed.remove(&a.id).unwrap_or_default())
        })
        .collect::<Result<_, StoreError>>()?;
    let mut next: Vec<Upcoming> = waiting.iter().map(|a| upcoming(a, (library, zone), verdicts.get(&a.id))).collect();
    next.sort_by_key(|n| n.due);
    Ok((steps, next))
}

fn happened(a: &Attempt) -> i64 {
    a.sent_at.or(a.finished_at).unwrap_or(a.due_at)
}

fn title(a: &Attempt, library: &Library) -> String {
    match library.program(&a.program) {
        _ if a.program == by_hand::PROGRAM && a.template.is_empty() => "By staff".to_owned(),
        Some(program) => program.title.clone(),
        None => a.program.clone(),
    }
}

fn reasons(verdict: Option<&VerdictRow>, zone: Tz) -> Vec<Reason> {
    let kept: Vec<KeptReason> = verdict.and_then(|v| serde_json::from_slice(&v.reasons).ok()).unwrap_or_default();
    words::verdict(&kept, zone)
}

fn step(
    a: &Attempt,
    (library, zone): (&Library, Tz),
    codec: &Codec,
    (verdict, answers): (Option<&VerdictRow>, Vec<answers::Answer>),
    owed: &[Writeback],
) -> Result<Step, StoreError> {
    let by_staff = a.program == by_hand::PROGRAM && a.template.is_empty();
    let why = |text: String| Reason { words: Phi::new(text), sources: Vec::new() };
    let failure = || a.failure.as_deref().map(|f| f.strip_prefix("channel: ").unwrap_or(f)).unwrap_or("no reason was kept").to_owned();
    let (state, mark, whys) = match (a.state.as_str(), a.outcome.as_deref()) {
        ("refused", _) => {
            let told = reasons(verdict, zone);
            ("Not sent".to_owned(), Mark::Not, if told.is_empty() { vec![why(failure())] } else { told })
        }
        ("void", _) => {
            let code = a.failure.as_deref().unwrap_or_default();
            let told = reasons(verdict.filter(|_| code == STOPPED), zone);
            ("Not sent".to_owned(), Mark::Not, if told.is_empty() { vec![why(words::given_up(code))] } else { told })
        }
        ("sending", _) if a.is_left_to_person() => {
            ("May have been sent; staff has to find out".to_owned(), Mark::Bad, vec![why(failure())])
        }
        ("sending", _) => ("Is being sent".to_owned(), Mark::Open, Vec::new()),
        ("sent", _) => ("Sent; no receipt yet".to_owned(), Mark::Open, Vec::new()),
        (_, Some("answered")) if by_staff => ("Done".to_owned(), Mark::Good, Vec::new()),
        (_, Some("answered")) => ("Answered".to_owned(), Mark::Good, Vec::new()),
        (_, Some("delivered")) if by_staff => ("Done".to_owned(), Mark::Good, Vec::new()),
        (_, Some("delivered")) if a.channel.as_deref() == Some("recorded") => {
            ("Recorded; nothing was sent".to_owned(), Mark::Open, Vec::new())
        }
        (_, Some("delivered")) => ("Delivered".to_owned(), Mark::Good, Vec::new()),
        (_, Some("failed")) if by_staff => ("Not reached".to_owned(), Mark::Bad, Vec::new()),
        (_, Some("failed")) => ("Did not arrive".to_owned(), Mark::Bad, vec![why(failure())]),
        _ => ("Sent; whether it arrived is not known".to_owned(), Mark::Open, Vec::new()),
    };
    let about_visit = a.about.as_deref().is_some_and(|r| r.starts_with("Appointment/"));
    let answers = answers.into_iter().map(|answer| reply(answer, about_visit, codec)).collect::<Result<_, StoreError>>()?;
    Ok(Step {
        at: Timestamp::from_micros(happened(a)),
        title: title(a, library),
        asked: words::asked(&a.action),
        state,
        mark,
        channel: a.channel.as_deref().map(words::channel),
        why: whys,
        message: KeptMessage::of(a, codec)?.map(|m| (m.subject, m.body)),
        answers,
        chart: owed.iter().filter(|row| row.kind != "provenance").map(words::chart).collect(),
    })
}

/// The code of a step that staff stopped.
pub(super) const STOPPED: &str = crate::outreach::plan::Void::Stopped.as_str();

fn reply(answer: answers::Answer, about_visit: bool, codec: &Codec) -> Result<Answer, StoreError> {
    let barrier = answer.barrier.as_deref().map(words::barrier);
    let meant = words::meant(&answer.meaning, about_visit);
    let meaning = match (answer.meaning.as_str(), barrier) {
        ("free-text", Some(barrier)) => format!("Named a barrier: {barrier}"),
        (_, Some(barrier)) => format!("{meant}; named a barrier: {barrier}"),
        (_, None) => meant.to_owned(),
    };
    let said = answer.message.as_deref().map(|m| codec.unpack(m, None)).transpose()?;
    Ok(Answer {
        at: Timestamp::from_micros(answer.received_at),
        meaning,
        words: said.map(|bytes| Phi::new(String::from_utf8_lossy(&bytes).into_owned())),
        needs_action: answer.needs_action,
    })
}

fn upcoming(a: &Attempt, (library, zone): (&Library, Tz), verdict: Option<&VerdictRow>) -> Upcoming {
    let step = library.program(&a.program).and_then(|p| p.step(&a.step));
    let channel = step.and_then(|s| s.channels.get(usize::try_from(a.rung).ok()?)).map_or("", |c| c.as_str());
    Upcoming {
        id: a.id.clone(),
        title: title(a, library),
        asked: words::asked(&a.action),
        channel: words::channel(channel),
        due: Timestamp::from_micros(a.due_at),
        expires: a.expires_at.map(Timestamp::from_micros),
        why: if a.state == "held" { reasons(verdict, zone) } else { Vec::new() },
        is_stopped: a.is_stopped(),
    }
}
