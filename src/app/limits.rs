//! The limits of the EHRs, kept in the database for all nodes together; and how it stands with them, for people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::model::EhrId;
use domain::{Clock, Timestamp};
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{App, ConnectionError, SystemClock};
use crate::ehr::Limits;
use crate::ehr::pace::{Answered, Ask, Breaker, Class, Keeper, KeeperFailed, Ledger, Now, Reply, SPAN, Seat, Why};
use crate::store::limits::{self, Change, PaceRow, SeatRow, Taken};
use crate::store::{Conn, Lane, Store, StoreError};

/// A day and the span that it begins in.
const KEPT: i64 = 289 * SPAN;

/// Keeps the ledgers in the database. The time is the database server's, where it has a clock of its own; a demo's present is added to it.
pub(super) struct Shared {
    store: Store,
    machine: SystemClock,
}

impl Shared {
    /// With a clock that shows the present of this installation.
    pub(super) fn new(store: Store, clock: &dyn Clock) -> Self {
        let machine = SystemClock::with_offset(TimeDelta::zero());
        let offset = clock.now().since(machine.now());
        // What reading two clocks takes is no offset.
        let offset = if offset.abs() < TimeDelta::seconds(1) { TimeDelta::zero() } else { offset };
        Self { store, machine: SystemClock::with_offset(offset) }
    }

    fn now(&self, conn: &mut Conn) -> Result<Timestamp, StoreError> {
        Ok(limits::server_now(conn)?.map_or_else(|| self.machine.now(), |now| now.plus(self.machine.offset())))
    }

    fn ask_blocking(&self, limits: &Limits, ask: &Ask) -> Result<Answered, StoreError> {
        // Not durable: see `limits::need_not_last`.
        self.store.write_blocking(Lane::Bulk, "give turns", |conn| {
            limits::need_not_last(conn)?;
            let about = self.machine.now().micros();
            let taken = limits::take(conn, &limits.name, about - KEPT)?;
            // Only now is it this node's turn to look at the clock.
            let before = Instant::now();
            let now = self.now(conn)?;
            let seen = (before.into(), Instant::now().into());
            let (reply, change) = change(&taken, limits, ask, now);
            limits::put(conn, &taken, &change)?;
            Ok(Answered::at(reply, Now { wall: now, line: now }, seen))
        })
    }
}

impl Keeper for Shared {
    fn ask<'a>(&'a self, limits: &'a Limits, ask: Ask) -> BoxFuture<'a, Result<Answered, KeeperFailed>> {
        let own = Self { store: self.store.clone(), machine: self.machine };
        let limits = limits.clone();
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || own.ask_blocking(&limits, &ask));
            match asked.await {
                Ok(answered) => answered.map_err(|e| KeeperFailed(e.to_string())),
                Err(join) => match join.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Err(KeeperFailed("the program is shutting down".to_owned())),
                },
            }
        })
    }

    fn believed(&self) -> Duration {
        Duration::from_millis(250)
    }
}

/// Lets a node ask what was taken; what it is given, and what is to be put back.
fn change(taken: &Taken, limits: &Limits, ask: &Ask, now: Timestamp) -> (Reply, Change) {
    let mut ledger = ledger(taken);
    let reply = ledger.ask(limits, ask, Now { wall: now, line: now });
    let span = now.micros().div_euclid(SPAN);
    let before = taken.uses.iter().find(|(at, _)| *at == span * SPAN).map_or(0, |(_, n)| *n);
    let used = ledger.uses.get(&span).map(|after| (span * SPAN, after - before));
    let seat = ledger.seats.iter().find(|s| s.node == ask.node).map_or_else(
        || SeatRow { name: limits.name.clone(), node: ask.node.clone(), seats: 0, wanted: 0, since: 0, expires_at: now.micros() },
        |s| SeatRow {
            name: limits.name.clone(),
            node: s.node.clone(),
            seats: s.seats.into(),
            wanted: s.wanted.into(),
            since: s.since.micros(),
            expires_at: s.expires.micros(),
        },
    );
    (reply, Change { pace: row(&limits.name, &ledger), used, seat: Some(seat), forget_before: now.micros() - KEPT })
}

fn ledger(taken: &Taken) -> Ledger {
    let at = Timestamp::from_micros;
    let pace = &taken.pace;
    let count = |n: i64| u32::try_from(n).unwrap_or(0);
    Ledger {
        next: at(pace.next_at),
        held_until: pace.held_until.map(at),
        throttled_at: pace.throttled_at.map(at),
        share: pace.share,
        share_since: at(pace.share_since),
        learned: pace.learned.zip(pace.learned_since.map(at)),
        minutes: (pace.minute, pace.in_minute, pace.in_minute_before),
        failures: count(pace.failures),
        opened: count(pace.opened),
        open_until: pace.open_until.map(at),
        probe: pace.probe_by.clone().zip(pace.probe_until.map(at)),
        uses: taken.uses.iter().map(|(span, n)| (span.div_euclid(SPAN), *n)).collect(),
        seats: taken
            .seats
            .iter()
            .map(|s| Seat {
                node: s.node.clone(),
                seats: count(s.seats),
                wanted: count(s.wanted),
                since: at(s.since),
                expires: at(s.expires_at),
            })
            .collect(),
    }
}

fn row(name: &str, ledger: &Ledger) -> PaceRow {
    let micros = Timestamp::micros;
    PaceRow {
        name: name.to_owned(),
        next_at: ledger.next.micros(),
        held_until: ledger.held_until.map(micros),
        throttled_at: ledger.throttled_at.map(micros),
        share: ledger.share,
        share_since: ledger.share_since.micros(),
        learned: ledger.learned.map(|(rate, _)| rate),
        learned_since: ledger.learned.map(|(_, since)| since.micros()),
        minute: ledger.minutes.0,
        in_minute: ledger.minutes.1,
        in_minute_before: ledger.minutes.2,
        failures: ledger.failures.into(),
        opened: ledger.opened.into(),
        open_until: ledger.open_until.map(micros),
        probe_by: ledger.probe.as_ref().map(|(node, _)| node.clone()),
        probe_until: ledger.probe.as_ref().map(|(_, until)| until.micros()),
    }
}

/// Somebody who asks nothing for a while.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Wait {
    /// Who.
    pub who: Class,
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub why: Why,
}

/// How it stands with the limits of an EHR.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The limits, and by whose word.
    pub limits: Limits,
    /// Requests a second that are allowed now; less than the limit for a minute after the EHR said that it was too much.
    pub per_second_now: Option<f64>,
    /// Whether that was learned from the EHR's refusals, since no limit is known.
    pub is_learned: bool,
    /// Turns given within the last hour.
    pub used_in_hour: i64,
    /// And the last day.
    pub used_in_day: i64,
    /// Requests that nodes may have on their way now.
    pub on_their_way: u32,
    /// Nodes that ask it now.
    pub nodes: usize,
    /// The breaker.
    pub breaker: Breaker,
    /// Failures in a row.
    pub failures: u32,
    /// Who asks nothing now.
    pub paused: Vec<Wait>,
    /// Up to how many percent of the budgets of hour and day each may go.
    pub shares: Vec<(Class, u32)>,
}

impl App {
    /// How it stands with the limits of an EHR; `None` where it has no connection.
    ///
    /// # Errors
    /// Where there is no such EHR, or the engine refuses.
    pub async fn standing(&self, id: &EhrId) -> Result<Option<Standing>, ConnectionError> {
        let profile = self.profile(id).await?;
        let Some(base) = profile.base_url.clone() else { return Ok(None) };
        let limits = Limits::of(&profile, &base);
        let (shared, name) = (Arc::clone(&self.shared), limits.name.clone());
        let (taken, now) = self
            .store
            .read(move |conn| {
                let now = shared.now(conn)?;
                Ok((limits::look(conn, &name, now.micros() - KEPT)?.unwrap_or_default(), now))
            })
            .await?;
        let ledger = if taken.pace.name.is_empty() { Ledger::default() } else { ledger(&taken) };
        let (used_in_hour, used_in_day) = ledger.used_within(now);
        let waits =
            Class::ALL.into_iter().filter_map(|who| ledger.pause_of(&limits, who, now).map(|(until, why)| Wait { who, until, why }));
        let paused: Vec<Wait> = waits.collect();
        let alive: Vec<&Seat> = ledger.seats.iter().filter(|s| s.expires > now).collect();
        Ok(Some(Standing {
            per_second_now: ledger.rate(&limits, now).map(|(rate, _)| rate),
            is_learned: limits.frequency.is_none() && ledger.rate(&limits, now).is_some(),
            used_in_hour,
            used_in_day,
            on_their_way: alive.iter().map(|s| s.seats).sum(),
            nodes: alive.len(),
            breaker: ledger.breaker(now),
            failures: ledger.failures,
            paused,
            shares: Class::ALL.map(|class| (class, class.percent())).to_vec(),
            limits,
        }))
    }
}
