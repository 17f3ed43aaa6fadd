//! The page's markup: what each viewer may see of it.

use askama::Template;
use chrono_tz::Tz;
use domain::model::{FhirTime, Right};
use domain::{Timestamp, model::Phi};

use crate::patient::by_hand::{Choice, Preview};
use crate::patient::page::{self, Age, Mark, Page, Reason, Standing, Upcoming};
use crate::patient::{Outcome, ReasonCode, acts, told_times};
use crate::web::Served;
use crate::web::opening::Opened;
use crate::web::viewer::Nav;
use crate::web::words::{Mood, ago, language};

/// An instant for people and for programs, with its day of the week: visits are told by it.
pub(super) struct When {
    iso: String,
    shown: String,
    ago: String,
    /// As a form's field has it.
    field: String,
}

/// The clock of a page.
#[derive(Clone, Copy)]
struct At {
    now: Timestamp,
    zone: Tz,
}

impl At {
    fn when(self, t: Timestamp) -> When {
        let local = t.to_utc().with_timezone(&self.zone);
        When {
            iso: t.to_string(),
            shown: local.format("%a %-d %b %Y, %H:%M").to_string(),
            ago: ago(self.now.since(t)),
            field: local.format("%Y-%m-%dT%H:%M").to_string(),
        }
    }
}

/// What came of a form, or of why somebody is back.
fn told(did: &str) -> Option<(Mood, &'static str)> {
    Some(match did {
        "stopped" => (Mood::Good, "Stopped. It is not sent, and not planned again for this visit."),
        "moved" => (Mood::Good, "Moved. It is judged once more before it is sent."),
        "chosen" => (Mood::Good, "Recorded. It holds from now on."),
        "recorded" => (Mood::Good, "Recorded. What the chart wants of it is written with the next write-back."),
        "sent" => (Mood::Good, "Accepted. It goes with the next run, which judges it once more."),
        "before" => (Mood::Busy, "This was done already; nothing was done twice."),
        "no-patient" => (Mood::Bad, "Nothing was done: this patient is not here yet."),
        "too-late" => (Mood::Bad, "Nothing was done: it does not wait any more. Look at the journey for what became of it."),
        "bad-time" => (Mood::Bad, "Nothing was moved: name a time that lies ahead, and before it is of no use any more."),
        "refused" => (Mood::Bad, "Nothing was sent: the policy does not allow it. Preview it for the reasons."),
        _ => return None,
    })
}

const fn mood(mark: Mark) -> Mood {
    match mark {
        Mark::Good => Mood::Good,
        Mark::Open => Mood::Busy,
        Mark::Not => Mood::Plain,
        Mark::Bad => Mood::Bad,
    }
}

/// A date as FHIR has it, in words.
fn date(told: FhirTime) -> String {
    let month = |y: i32, m: u32| chrono::NaiveDate::from_ymd_opt(y, m, 1).map(|d| d.format("%b %Y").to_string());
    match told {
        FhirTime::Day(day) => day.format("%-d %b %Y").to_string(),
        FhirTime::Month(y, m) => month(y, m).unwrap_or_else(|| told.to_string()),
        FhirTime::Year(y) => y.to_string(),
        FhirTime::Instant(t) => t.to_utc().format("%-d %b %Y").to_string(),
    }
}

/// Where the reading of the patient stands, and how old each part is.
#[derive(Template)]
#[template(path = "patient_reading.html", config = "src/web/askama.toml")]
pub(super) struct Reading {
    ages: Vec<(&'static str, Option<When>)>,
    /// Something is shown that an earlier reading brought.
    is_known: bool,
    state: ReadingState,
    path: String,
}

enum ReadingState {
    Quiet,
    UnderWay,
    Done(When),
    Gone(When),
    Failed(When),
}

impl Reading {
    pub(super) fn new(served: &Served, opened: &Opened, page: &Page) -> Self {
        let at = At { now: served.given.clock.now(), zone: served.given.zone };
        let clinical = opened.may(Right::SeeClinical);
        let seen = |age: &&Age| clinical || age.part != "CarePlan";
        Self {
            ages: page.ages.iter().filter(seen).map(|age| (age.title, age.at.map(|t| at.when(t)))).collect(),
            is_known: page.standing != Standing::NotHere,
            state: match page.reading {
                page::Reading::None => ReadingState::Quiet,
                page::Reading::UnderWay => ReadingState::UnderWay,
                page::Reading::Done(t) => ReadingState::Done(at.when(t)),
                page::Reading::Gone(t) => ReadingState::Gone(at.when(t)),
                page::Reading::Failed(t) => ReadingState::Failed(at.when(t)),
            },
            path: opened.path(),
        }
    }
}

struct Banner {
    name: String,
    born: String,
    number: String,
}

struct Visit {
    at: When,
    line: String,
    confirmed: Option<bool>,
    source: String,
}

struct Plan {
    title: String,
    line: String,
    source: String,
}

struct Segment {
    title: String,
    is_in: bool,
    since: Option<When>,
    reasons: Vec<(String, Vec<String>)>,
}

struct Next {
    id: String,
    title: String,
    asked: &'static str,
    channel: &'static str,
    due: When,
    until: Option<When>,
    why: Vec<(String, Vec<String>)>,
    is_stopped: bool,
    number: usize,
}

struct Past {
    at: When,
    title: String,
    asked: &'static str,
    state: String,
    mood: Mood,
    channel: Option<&'static str>,
    why: Vec<(String, Vec<String>)>,
    message: Option<(String, String)>,
    answers: Vec<(When, String, Option<String>, bool)>,
    chart: Vec<(Mood, String)>,
}

struct Choices {
    rows: Vec<(String, bool, &'static str, When)>,
    points: Vec<(String, String, bool)>,
    languages: String,
    consents: Vec<(String, String)>,
    options: Vec<(String, String)>,
}

/// The page.
#[derive(Template)]
#[template(path = "patient.html", config = "src/web/askama.toml")]
pub(super) struct Show {
    nav: Option<Nav>,
    site: String,
    path: String,
    csrf: String,
    key: String,
    said: Option<(Mood, &'static str)>,
    banner: Option<Banner>,
    standing: Standing,
    is_part: bool,
    notes: Vec<&'static str>,
    reading: String,
    is_reading: bool,
    visit: Option<Visit>,
    plans: Option<Vec<Plan>>,
    segments: Vec<Segment>,
    hidden_segments: bool,
    next: Vec<Next>,
    journey: Vec<Past>,
    choices: Option<Choices>,
    barriers: Vec<(&'static str, When)>,
    may: May,
    templates: Vec<(String, String)>,
    channels: Vec<(String, String)>,
    barrier_options: Vec<(&'static str, &'static str)>,
    zone: &'static str,
}

/// What the viewer may do here.
struct May {
    stop: bool,
    shift: bool,
    choose: bool,
    record: bool,
    send: bool,
}

fn exposed(reasons: Vec<Reason>) -> Vec<(String, Vec<String>)> {
    let all = |r: Reason| (r.words.into_inner(), r.sources.into_iter().map(Phi::into_inner).collect());
    reasons.into_iter().map(all).collect()
}

impl Show {
    pub(super) fn new(served: &Served, opened: &Opened, page: Page, did: Option<&str>, key: &str) -> Self {
        let at = At { now: served.given.clock.now(), zone: served.given.zone };
        let is_known = matches!(page.standing, Standing::Known | Standing::Merged | Standing::Gone | Standing::NotRead);
        let may = |right| is_known && opened.may(right);
        let (clinical, messages) = (opened.may(Right::SeeClinical), opened.may(Right::SeeMessages));
        let reading = Reading::new(served, opened, &page);
        let all_segments = page.segments.len();
        let segments: Vec<Segment> = page.segments.into_iter().filter(|s| clinical || !s.clinical).map(|s| segment(s, at)).collect();
        let notes = notes(page.who.as_ref());
        let channels = page.channels.clone();
        let choices = opened.may(Right::SeePreferences).then(|| Choices {
            options: options(&page.programs, &page.channels),
            rows: page.choices.into_iter().map(|c| (c.about.into_inner(), c.allowed, c.source, at.when(c.at))).collect(),
            points: page.points.into_iter().map(|p| (point(&p.system, p.usage.as_deref()), p.value.into_inner(), p.out)).collect(),
            languages: page.languages.iter().map(|tag| language(tag)).collect::<Vec<_>>().join(", "),
            consents: page.consents.into_iter().map(|c| (c.words, c.source.into_inner())).collect(),
        });
        Self {
            nav: if opened.opening.what.launched { None } else { opened.viewer.nav("") },
            site: served.given.site.clone(),
            path: opened.path(),
            csrf: opened.viewer.csrf.clone(),
            key: key.to_owned(),
            said: did.and_then(told),
            banner: page.who.filter(|_| opened.opening.what.banner).map(banner),
            standing: page.standing,
            is_part: page.is_part,
            notes,
            is_reading: matches!(reading.state, ReadingState::UnderWay),
            reading: reading.render().unwrap_or_default(),
            visit: page.visit.map(|v| visit(v, at)),
            plans: clinical.then(|| page.plans.into_iter().map(plan).collect()),
            hidden_segments: segments.len() < all_segments,
            segments,
            next: page.next.into_iter().enumerate().map(|(number, n)| next(n, number, at)).collect(),
            journey: page.journey.into_iter().map(|s| past(s, messages, at)).collect(),
            choices,
            barriers: page.barriers.into_iter().map(|b| (b.words, at.when(b.at))).collect(),
            may: May {
                stop: may(Right::StopStep),
                shift: may(Right::MoveStep),
                choose: may(Right::ChangePreferences),
                record: may(Right::RecordContact),
                send: may(Right::SendMessage),
            },
            templates: page.templates,
            channels,
            barrier_options: acts::barrier_options(),
            zone: served.given.zone.name(),
        }
    }
}

/// Every segment, as it stands to a patient.
#[derive(Template)]
#[template(path = "patient_segments.html", config = "src/web/askama.toml")]
pub(super) struct Explained {
    nav: Option<Nav>,
    path: String,
    /// Those that the patient is in, is held out of, and is not in.
    parts: [(&'static str, Vec<Segment>); 3],
    hidden: bool,
}

impl Explained {
    pub(super) fn new(served: &Served, opened: &Opened, all: Vec<page::Segment>) -> Self {
        let at = At { now: served.given.clock.now(), zone: served.given.zone };
        let clinical = opened.may(Right::SeeClinical);
        let many = all.len();
        let shown: Vec<Segment> = all.into_iter().filter(|s| clinical || !s.clinical).map(|s| segment(s, at)).collect();
        let hidden = shown.len() < many;
        let (inside, rest): (Vec<_>, Vec<_>) = shown.into_iter().partition(|s| s.is_in);
        let (held, out): (Vec<_>, Vec<_>) = rest.into_iter().partition(|s| s.since.is_some());
        Self {
            nav: if opened.opening.what.launched { None } else { opened.viewer.nav("") },
            path: opened.path(),
            parts: [("In", inside), ("Not known", held), ("Not in", out)],
            hidden,
        }
    }
}

/// What everybody must know who acts for this patient.
fn notes(who: Option<&page::Who>) -> Vec<&'static str> {
    let Some(who) = who else { return Vec::new() };
    let mut notes = Vec::new();
    if who.deceased {
        notes.push("The record says that this patient has died. Nothing is sent.");
    }
    if who.interpreter {
        notes.push("This patient needs an interpreter.");
    }
    notes
}

fn banner(who: page::Who) -> Banner {
    Banner {
        name: who.name.into_inner(),
        born: who.born.map_or_else(|| "not known".to_owned(), |b| date(b.into_inner())),
        number: who.number.map_or_else(|| "not told by the EHR".to_owned(), Phi::into_inner),
    }
}

fn visit(v: page::Visit, at: At) -> Visit {
    let title = v.title.map(Phi::into_inner);
    let with = v.with.map(|w| format!("with {w}"));
    let place = v.place.map(|p| format!("at {p}"));
    let line: Vec<String> = [title, with, place, Some(v.status)].into_iter().flatten().collect();
    Visit { at: at.when(v.start), line: line.join(", "), confirmed: v.confirmed, source: v.source.into_inner() }
}

fn plan(p: page::Plan) -> Plan {
    let until = p.until.map(|t| format!("until {}", date(t)));
    let open = match p.open {
        0 => None,
        1 => Some("1 activity open".to_owned()),
        n => Some(format!("{n} activities open")),
    };
    Plan {
        title: p.title.map_or_else(|| "A care plan without a title".to_owned(), Phi::into_inner),
        line: [until, open].into_iter().flatten().collect::<Vec<_>>().join(", "),
        source: p.source.into_inner(),
    }
}

fn segment(s: page::Segment, at: At) -> Segment {
    Segment { title: s.title, is_in: s.is_in, since: s.since.map(|t| at.when(t)), reasons: exposed(s.reasons) }
}

fn next(n: Upcoming, number: usize, at: At) -> Next {
    Next {
        id: n.id,
        title: n.title,
        asked: n.asked,
        channel: n.channel,
        due: at.when(n.due),
        until: n.expires.map(|t| at.when(t)),
        why: exposed(n.why),
        is_stopped: n.is_stopped,
        number,
    }
}

fn past(s: page::Step, messages: bool, at: At) -> Past {
    let told = |a: page::Answer| (at.when(a.at), a.meaning, a.words.filter(|_| messages).map(Phi::into_inner), a.needs_action);
    Past {
        at: at.when(s.at),
        title: s.title,
        asked: s.asked,
        state: s.state,
        mood: mood(s.mark),
        channel: s.channel,
        why: exposed(s.why),
        message: s.message.filter(|_| messages).map(|(subject, body)| (subject.into_inner(), body.into_inner())),
        answers: s.answers.into_iter().map(told).collect(),
        chart: s.chart.into_iter().map(|(mark, words)| (mood(mark), words)).collect(),
    }
}

fn point(system: &str, usage: Option<&str>) -> String {
    let what = match system {
        "email" => "E-mail",
        "phone" => "Phone",
        "sms" => "Text messages",
        "fax" => "Fax",
        _ => "Other",
    };
    usage.map_or_else(|| what.to_owned(), |usage| format!("{what}, {usage}"))
}

/// What a new choice may be about.
fn options(programs: &[(String, String)], channels: &[(String, String)]) -> Vec<(String, String)> {
    let mut all = vec![("all".to_owned(), "All messages".to_owned())];
    // Nobody can be spared what leaves nothing.
    let leaving = channels.iter().filter(|(id, _)| id != "recorded");
    all.extend(leaving.map(|(id, words)| (format!("channel:{id}"), format!("Messages by {words}"))));
    all.extend(programs.iter().map(|(id, title)| (format!("program:{id}"), format!("“{title}”"))));
    all
}

/// Whether the gate refuses, or there are no words.
pub(super) fn refuses(preview: &Preview) -> bool {
    preview.outcome == Outcome::Refuse || preview.words.is_err()
}

/// A message as it would be sent.
#[derive(Template)]
#[template(path = "patient_message.html", config = "src/web/askama.toml")]
pub(super) struct Draft {
    nav: Option<Nav>,
    path: String,
    csrf: String,
    key: String,
    template: String,
    channel: String,
    to: Option<String>,
    words: Result<(String, String), String>,
    language: String,
    mood: Mood,
    verdict: String,
    goes: bool,
    button: &'static str,
    why: Vec<(String, Option<String>)>,
}

impl Draft {
    pub(super) fn new(served: &Served, opened: &Opened, choice: &Choice, preview: Preview, key: &str) -> Self {
        let at = At { now: served.given.clock.now(), zone: served.given.zone };
        let goes = !refuses(&preview);
        let (mood, verdict, button) = match preview.outcome {
            _ if preview.words.is_err() => {
                (Mood::Bad, "It cannot be sent: something that it speaks of is not known, such as the time of a visit.".to_owned(), "")
            }
            Outcome::Allow => (Mood::Good, "It may be sent now.".to_owned(), "Send it"),
            Outcome::HoldUntil(_) if preview.reasons.iter().any(|r| r.code == ReasonCode::Killed.as_str()) => {
                let words = "It would wait until outreach goes on, which staff stopped, and be judged once more then.";
                (Mood::Busy, words.to_owned(), "Send it then")
            }
            Outcome::HoldUntil(t) => {
                let when = at.when(t);
                (Mood::Busy, format!("It would wait until {} ({}), and be judged once more then.", when.shown, when.ago), "Send it then")
            }
            Outcome::Refuse => (Mood::Bad, "It may not be sent.".to_owned(), ""),
        };
        Self {
            nav: if opened.opening.what.launched { None } else { opened.viewer.nav("") },
            path: opened.path(),
            csrf: opened.viewer.csrf.clone(),
            key: key.to_owned(),
            template: choice.template.clone(),
            channel: choice.channel.clone(),
            to: preview.to.map(Phi::into_inner),
            words: preview.words.map(|(subject, body)| (subject.into_inner(), body.into_inner())),
            language: preview.language,
            mood,
            verdict,
            goes,
            button,
            why: preview.reasons.into_iter().map(|r| (told_times(&r.detail, at.zone), r.source.map(Phi::into_inner))).collect(),
        }
    }
}
