//! One process's side of a pace: who waits here, the turns that were given to this process, and the task that gives them out and asks for
//! more. Turns are asked for a row at a time, shortly before the last row ends, so that no request waits for the ledger.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::keeper::{Answered, Keeper};
use super::ledger::{Ask, Class, Given, Why, distance};
use super::line::Line;
use super::seats::TERM;
use super::{Pacing, Paused};
use crate::ehr::limits::Limits;

/// How long before the last turn more are asked for.
const LEAD: Duration = Duration::from_millis(120);
/// The least time between two questions while there are turns.
const GAP: Duration = Duration::from_millis(50);
/// The least time between two questions while there is none.
const LEAST_GAP: Duration = Duration::from_millis(8);
/// How often seats are asked for that others have.
const SEAT_GAP: Duration = Duration::from_millis(100);
/// How long turns hold where no rate holds them apart: a pause that another node learned is known here after this.
const HOLDS: Duration = Duration::from_millis(250);
/// Turns that are asked for beside those that are waited for, where no rate holds them apart.
const SPARE: u32 = 64;
/// A sign of life while requests are on their way.
const ALIVE: Duration = Duration::from_secs(1);
/// How long the task stays without anything to do.
const IDLE: Duration = Duration::from_millis(300);
/// How long the ledger may be out of reach before those who wait are told.
const UNREACHABLE: Duration = Duration::from_secs(10);
/// Of four turns one goes to the crawl, whoever else waits.
const CRAWL_OF: u32 = 4;
/// URLs that failed in a row and are kept.
const MOST_KEPT: usize = 64;

/// How a request ended, as the pace has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The EHR answered, whatever it said.
    Answered,
    /// It could not be reached, failed, or gave no whole answer to this URL: the same one again counts once, since it may be that
    /// resource's fault.
    Failed(u64),
    /// It said that it is too much, and is to be left alone for so long.
    Throttled(Duration),
}

impl Outcome {
    /// A failure of what was asked for under a URL.
    #[must_use]
    pub fn failed(url: &url::Url) -> Self {
        let mut hasher = DefaultHasher::new();
        url.as_str().hash(&mut hasher);
        Self::Failed(hasher.finish())
    }
}

/// The pace of one EHR, shared by all in this process who talk to it.
pub struct Pace {
    node: String,
    keeper: Arc<dyn Keeper>,
    changed: Notify,
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    waiting: [VecDeque<Waiter>; 3],
    /// Turns of this process, the next one first.
    turns: VecDeque<Turn>,
    /// From turn to turn; zero where nothing is held back.
    apart: Duration,
    /// How late a turn may be used.
    grace: Duration,
    paused: Option<(Instant, Why)>,
    seats: u32,
    seats_until: Instant,
    in_flight: u32,
    /// No question is asked before.
    ask_at: Instant,
    /// Nor before this while there are turns.
    ask_more_at: Instant,
    asked_seats: u32,
    asked_at: Option<Instant>,
    unused: u32,
    fine: bool,
    failed: u32,
    throttled: Option<Duration>,
    /// What failed since the last answer.
    streak: HashSet<u64>,
    /// Failures are counted, so the first success is to be told at once.
    others_wait: bool,
    /// The breaker is open, and what is on its way tries whether the EHR is back.
    trying: bool,
    since_crawl: u32,
    task: Option<tokio::task::JoinHandle<()>>,
    line: Line,
    unreachable_since: Option<Instant>,
}

/// What the task that gives out turns does next.
enum Step {
    Wait(Instant),
    Ask { limits: Limits, ask: Ask, last: bool },
}

struct Turn {
    at: Instant,
    until: Instant,
}

struct Waiter {
    patience: Option<Instant>,
    tell: oneshot::Sender<Result<Permit, Paused>>,
}

/// That one request may be sent; it counts as on its way until this is dropped.
pub struct Permit {
    /// None where it was never handed out.
    pace: Option<Arc<Pace>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pace) = self.pace.take() {
            let mut state = pace.state();
            state.in_flight = state.in_flight.saturating_sub(1);
            drop(state);
            pace.changed.notify_one();
        }
    }
}

impl Permit {
    /// Tells how the request ended. What the others must know is told to them before this returns.
    pub async fn ended(self, how: Outcome) {
        let Some(pace) = self.pace.clone() else { return };
        let now = {
            let mut state = pace.state();
            match how {
                Outcome::Answered => {
                    state.streak.clear();
                    state.failed = 0;
                    state.fine = true;
                    state.others_wait
                }
                Outcome::Failed(what) => {
                    let counts = (state.streak.len() < MOST_KEPT && state.streak.insert(what)) || state.trying;
                    state.failed += u32::from(counts);
                    counts
                }
                Outcome::Throttled(wait) => {
                    state.throttled = state.throttled.max(Some(wait));
                    state.lose_turns();
                    state.paused = Some((Instant::now() + wait, Why::Asked));
                    true
                }
            }
        };
        if now {
            pace.report().await;
        }
    }
}

impl State {
    fn lose_turns(&mut self) {
        self.unused = self.unused.saturating_add(u32::try_from(self.turns.len()).unwrap_or(u32::MAX));
        self.turns.clear();
    }

    fn waits(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    fn first_class(&self) -> Class {
        Class::ALL.into_iter().rev().find(|class| !self.queue_of(*class).is_empty()).unwrap_or(Class::Crawl)
    }

    const fn queue_of(&self, class: Class) -> &VecDeque<Waiter> {
        let [crawl, read, write] = &self.waiting;
        match class {
            Class::Crawl => crawl,
            Class::Read => read,
            Class::Write => write,
        }
    }

    const fn queue(&mut self, class: Class) -> &mut VecDeque<Waiter> {
        let [crawl, read, write] = &mut self.waiting;
        match class {
            Class::Crawl => crawl,
            Class::Read => read,
            Class::Write => write,
        }
    }

    /// Who gets the next turn.
    fn next_waiter(&mut self) -> Option<Waiter> {
        let mut class = self.first_class();
        if class != Class::Crawl && !self.queue_of(Class::Crawl).is_empty() {
            self.since_crawl += 1;
            if self.since_crawl >= CRAWL_OF {
                class = Class::Crawl;
            }
        }
        if class == Class::Crawl {
            self.since_crawl = 0;
        }
        self.queue(class).pop_front()
    }
}

impl Pace {
    pub(super) fn new(keeper: Arc<dyn Keeper>, node: String, limits: Limits) -> Self {
        let now = Instant::now();
        let state = State {
            limits,
            waiting: Default::default(),
            turns: VecDeque::new(),
            apart: Duration::ZERO,
            grace: Duration::ZERO,
            paused: None,
            seats: 0,
            seats_until: now,
            in_flight: 0,
            ask_at: now,
            ask_more_at: now,
            asked_seats: 0,
            asked_at: None,
            unused: 0,
            fine: false,
            failed: 0,
            throttled: None,
            streak: HashSet::new(),
            others_wait: false,
            trying: false,
            since_crawl: 0,
            task: None,
            line: Line::default(),
            unreachable_since: None,
        };
        Self { node, keeper, changed: Notify::new(), state: Mutex::new(state) }
    }

    /// Sets the limits; the latest count.
    pub(super) fn set(&self, limits: Limits) {
        self.state().limits = limits;
    }

    /// How many requests may be on their way at once, over all nodes.
    #[must_use]
    pub fn at_once(&self) -> usize {
        usize::try_from(self.state().limits.at_once.limit).unwrap_or(usize::MAX)
    }

    /// How it stands with turns; `None` where no rate holds them apart.
    #[must_use]
    pub fn pacing(&self) -> Option<Pacing> {
        let state = self.state();
        let told = state.limits.frequency.as_ref()?;
        let (distance, _) = distance(told.limit.per_second, told.limit.counted_over_secs);
        let (now, ahead) = (Instant::now(), state.waits());
        let wait = match state.turns.get(ahead) {
            Some(turn) => turn.at.saturating_duration_since(now),
            None => {
                let last = state.turns.back().map_or(state.ask_at.max(now), |turn| turn.at.max(now) + distance);
                let more = u32::try_from(ahead - state.turns.len().min(ahead)).unwrap_or(u32::MAX);
                last.saturating_duration_since(now) + distance.saturating_mul(more)
            }
        };
        Some(Pacing { wait, distance })
    }

    /// Waits for a turn. Whoever goes away while waiting takes none.
    ///
    /// # Errors
    /// [`Paused`] where nothing may be asked for longer than `patience`.
    pub async fn turn(self: &Arc<Self>, class: Class, patience: Duration) -> Result<Permit, Paused> {
        self.look_again().await;
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.state();
            let patience = Instant::now().checked_add(patience);
            state.queue(class).push_back(Waiter { patience, tell });
            if state.task.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                state.task = Some(tokio::spawn(Arc::clone(self).drive()));
            }
        }
        self.changed.notify_one();
        told.await.unwrap_or(Err(Paused { left: Duration::from_secs(1), why: Why::NoLedger }))
    }

    /// Waits while nothing may be asked; takes no turn.
    ///
    /// # Errors
    /// As [`Pace::turn`].
    pub async fn ready(self: &Arc<Self>, patience: Duration) -> Result<(), Paused> {
        self.look_again().await;
        loop {
            let paused = self.state().paused.map(|(until, why)| (until.saturating_duration_since(Instant::now()), why));
            match paused {
                Some((left, why)) if left > patience => return Err(Paused { left, why }),
                Some((left, _)) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return Ok(()),
            }
        }
    }

    /// Asks whether a pause still holds, where what was told of it is not to be believed any more.
    async fn look_again(&self) {
        let stale = {
            let state = self.state();
            let now = Instant::now();
            let old = state.asked_at.is_none_or(|at| now.duration_since(at) >= self.keeper.believed());
            state.paused.is_some_and(|(until, _)| until > now) && old
        };
        if stale {
            self.report().await;
        }
    }

    /// Tells the keeper what happened here.
    async fn report(&self) {
        let (limits, ask) = {
            let mut state = self.state();
            (state.limits.clone(), self.question(&mut state, 0))
        };
        self.hear(self.keeper.ask(&limits, ask.clone()).await, &ask);
    }

    /// A question, with all that is to be told.
    fn question(&self, state: &mut State, want: u32) -> Ask {
        let wanted = Self::seats_wanted(state);
        (state.asked_at, state.asked_seats) = (Some(Instant::now()), wanted);
        Ask {
            node: self.node.clone(),
            class: state.first_class(),
            want,
            unused: std::mem::take(&mut state.unused),
            in_flight: state.in_flight,
            seats: wanted,
            fine: std::mem::take(&mut state.fine),
            failed: std::mem::take(&mut state.failed),
            throttled: state.throttled.take(),
        }
    }

    /// Takes in what the keeper said.
    fn hear(&self, answer: Result<Answered, super::KeeperFailed>, ask: &Ask) {
        let mut state = self.state();
        let now = Instant::now();
        let answered = match answer {
            Ok(answered) => answered,
            Err(failed) => {
                tracing::debug!(%failed, "turns could not be asked for");
                // What was to be told is told again.
                state.unused = state.unused.saturating_add(ask.unused);
                state.fine |= ask.fine;
                state.failed = state.failed.saturating_add(ask.failed);
                state.throttled = state.throttled.max(ask.throttled);
                let since = *state.unreachable_since.get_or_insert(now);
                if now.duration_since(since) > UNREACHABLE {
                    state.paused = Some((now + Duration::from_secs(5), Why::NoLedger));
                }
                state.ask_at = now + Duration::from_millis(200);
                return;
            }
        };
        state.unreachable_since = None;
        state.line.see(&answered);
        (state.others_wait, state.trying) = (answered.reply.counting, answered.reply.trying);
        (state.seats, state.seats_until) = (answered.reply.seats, answered.seen.0 + TERM.to_std().unwrap_or_default());
        match answered.reply.given {
            Given::Turns { count, first, distance } => {
                state.paused = None;
                if let Some(told) = &state.limits.frequency {
                    state.grace = super::distance(told.limit.per_second, told.limit.counted_over_secs).1;
                }
                if count > 0 {
                    state.apart = distance;
                }
                for nth in 0..count {
                    let turn = if distance.is_zero() {
                        Turn { at: now, until: answered.seen.0 + HOLDS }
                    } else {
                        let at = state.line.instant(first.micros()) + distance * nth;
                        Turn { at, until: at + state.grace.max(Duration::from_millis(10)) }
                    };
                    state.turns.push_back(turn);
                }
                (state.ask_at, state.ask_more_at) = (now + LEAST_GAP, now + GAP);
            }
            Given::Later(at) => {
                state.paused = None;
                state.ask_at = state.line.instant(at.micros()).max(now + LEAST_GAP);
            }
            Given::Paused(_, why) => {
                state.lose_turns();
                state.paused = Some((now + answered.left, why));
                state.ask_at = now + answered.left;
            }
        }
    }

    /// Gives out turns while someone waits or something is on its way.
    async fn drive(self: Arc<Self>) {
        let mut idle_since: Option<Instant> = None;
        loop {
            let (limits, ask, last) = match self.step(&mut idle_since) {
                Step::Wait(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = self.changed.notified() => {}
                    }
                    continue;
                }
                Step::Ask { limits, ask, last } => (limits, ask, last),
            };
            let asked = self.keeper.ask(&limits, ask.clone());
            tokio::pin!(asked);
            // Turns that are here go on being given out meanwhile.
            let answer = loop {
                tokio::select! {
                    answer = &mut asked => break answer,
                    () = tokio::time::sleep_until(self.next_turn()), if !last => {}
                    () = self.changed.notified(), if !last => {}
                }
                self.give_out(&mut self.state(), Instant::now());
            };
            self.hear(answer, &ask);
            if last {
                return;
            }
        }
    }

    /// What to do next.
    fn step(self: &Arc<Self>, idle_since: &mut Option<Instant>) -> Step {
        let mut state = self.state();
        let now = Instant::now();
        self.give_out(&mut state, now);
        let mut last = false;
        if state.waits() == 0 && state.in_flight == 0 {
            let since = *idle_since.get_or_insert(now);
            last = now.duration_since(since) >= IDLE;
        } else {
            *idle_since = None;
        }
        if last {
            state.lose_turns();
            // Whoever wants a turn from now on starts another task.
            state.task = None;
        }
        let want = if last { 0 } else { Self::wanted(&state, now) };
        if last || want > 0 || Self::shows_itself(&state, now) {
            return Step::Ask { limits: state.limits.clone(), ask: self.question(&mut state, want), last };
        }
        Step::Wait(Self::wake(&state, now, *idle_since))
    }

    fn next_turn(&self) -> Instant {
        let now = Instant::now();
        let state = self.state();
        state
            .turns
            .front()
            .filter(|_| state.in_flight < state.seats)
            .map_or(now + IDLE, |turn| turn.at)
            .max(now + Duration::from_micros(200))
    }

    /// Whether to ask without wanting turns: to show itself, or for seats.
    fn shows_itself(state: &State, now: Instant) -> bool {
        let since = state.asked_at.map_or(ALIVE, |at| now.duration_since(at));
        let needs = state.waits() > 0 && state.in_flight >= state.seats;
        let more = Self::seats_wanted(state) > state.asked_seats;
        (needs && more && since >= LEAST_GAP)
            || (needs && since >= SEAT_GAP)
            || ((state.waits() > 0 || state.in_flight > 0) && since >= ALIVE)
    }

    fn seats_wanted(state: &State) -> u32 {
        u32::try_from(state.waits()).unwrap_or(u32::MAX).saturating_add(state.in_flight).min(state.limits.at_once.limit)
    }

    /// How many turns to ask for now.
    fn wanted(state: &State, now: Instant) -> u32 {
        let waits = u32::try_from(state.waits()).unwrap_or(u32::MAX);
        let here = u32::try_from(state.turns.len()).unwrap_or(u32::MAX);
        let paused = state.paused.is_some_and(|(until, _)| until > now);
        let runs_out = state.turns.back().is_none_or(|last| last.at < now + LEAD);
        let due = now >= state.ask_at && (state.turns.is_empty() || now >= state.ask_more_at);
        if waits == 0 || paused || !due {
            return 0;
        }
        // Turns that cannot be used for want of a seat are lost.
        let seats = state.seats.saturating_sub(state.in_flight);
        if state.apart.is_zero() {
            if here < waits { waits - here + SPARE } else { 0 }
        } else if here < waits && runs_out {
            (waits - here).min(seats.max(1).saturating_mul(4))
        } else {
            0
        }
    }

    /// When the task has to look again.
    fn wake(state: &State, now: Instant, idle_since: Option<Instant>) -> Instant {
        let mut wake = now + ALIVE;
        if let Some(since) = idle_since {
            wake = wake.min(since + IDLE);
        }
        if state.waits() > 0 {
            if let Some((until, _)) = state.paused.filter(|(until, _)| *until > now) {
                wake = wake.min(until);
            } else {
                if let Some(turn) = state.turns.front().filter(|_| state.in_flight < state.seats) {
                    wake = wake.min(turn.at);
                }
                let more = if state.turns.is_empty() { state.ask_at } else { state.ask_at.max(state.ask_more_at) };
                wake = wake.min(more.max(now + Duration::from_millis(1)));
            }
        }
        wake.max(now + Duration::from_micros(200))
    }

    /// Gives the turns that have come to those who wait; tells those who will not wait for the end of a pause.
    fn give_out(self: &Arc<Self>, state: &mut State, now: Instant) {
        for queue in &mut state.waiting {
            queue.retain(|waiter| !waiter.tell.is_closed());
        }
        if let Some((until, why)) = state.paused.filter(|(until, _)| *until > now) {
            for class in Class::ALL {
                let queue = std::mem::take(state.queue(class));
                for waiter in queue {
                    if waiter.patience.is_some_and(|patience| patience < until) {
                        drop(waiter.tell.send(Err(Paused { left: until - now, why })));
                    } else {
                        state.queue(class).push_back(waiter);
                    }
                }
            }
            return;
        }
        while state.turns.front().is_some_and(|turn| turn.until < now) {
            state.turns.pop_front();
            state.unused = state.unused.saturating_add(1);
        }
        while state.turns.front().is_some_and(|turn| turn.at <= now) && state.in_flight < state.seats && now < state.seats_until {
            let Some(waiter) = state.next_waiter() else { break };
            state.in_flight += 1;
            let permit = Permit { pace: Some(Arc::clone(self)) };
            match waiter.tell.send(Ok(permit)) {
                Ok(()) => drop(state.turns.pop_front()),
                // It was never handed out; dropped as it is it would take the lock.
                Err(Ok(mut permit)) => {
                    state.in_flight -= 1;
                    permit.pace = None;
                }
                Err(Err(_)) => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
