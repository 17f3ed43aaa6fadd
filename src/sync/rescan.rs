//! From week to week: the appointments of a span of days are searched for again and again. What changed shows in the content; what a week
//! read to its last page no longer shows is missing, and settled by reads (`vanish`).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use domain::Timestamp;

use super::crawl::starts;
use super::page::Told;
use super::pass::{self, Pass};
use super::pull::{Halt, Pull, Start, Tally, chain};
use super::roster::{concerns_all, texts};
use crate::ehr::reads::Axis;
use crate::ehr::{EhrError, Search, TypePlan};
use crate::store::{Conn, StoreError, coverage, sync_state};

/// How often a search is begun anew because the EHR forgot its pages.
const RESTARTS: u32 = 3;

/// A week as far as it was read.
#[derive(Default)]
struct Week {
    shown: BTreeSet<String>,
    /// Some of it could not be read: nothing of it is missed.
    short: bool,
}

impl Pull<'_> {
    /// Reads the appointments of the span of days; returns since when what was read is known.
    pub(super) async fn rescan(&self, plan: &TypePlan, start: &Start, tally: &mut Tally) -> Result<Timestamp, Halt> {
        let mut pass = start.pass.clone().unwrap_or_else(|| Pass::at(start.at));
        let window = &self.source.plan.window;
        let weeks = pass::weeks(pass::span(pass.started, window.back_days, window.ahead_days));
        let total = i64::try_from(weeks.len()).unwrap_or(i64::MAX);
        let done = pass.key.as_deref().and_then(|key| key.parse::<i64>().ok());
        for week in weeks.into_iter().filter(|(_, until)| done.is_none_or(|done| until.micros() > done)) {
            let read = self.week(plan, week, start, &pass, tally).await?;
            self.close(week, read, start, &mut pass, total, tally).await?;
        }
        self.settle(start, &pass, tally).await?;
        Ok(pass.started)
    }

    /// Reads a week, for each location or practitioner where the EHR wants one. One that is refused is named, and the others are read.
    async fn week(
        &self,
        plan: &TypePlan,
        days: (Timestamp, Timestamp),
        start: &Start,
        pass: &Pass,
        tally: &mut Tally,
    ) -> Result<Week, Halt> {
        let window = &self.source.plan.window;
        let (what, each): (&str, Vec<&str>) = match plan.search.axis() {
            Axis::Location => ("location", window.locations.iter().map(String::as_str).collect()),
            Axis::Practitioner => ("practitioner", window.practitioners.iter().map(String::as_str).collect()),
            Axis::Alone | Axis::Patient => ("", vec![""]),
        };
        let (mut week, mut read) = (Week::default(), 0);
        let mut last = None;
        for who in each {
            let search = Search::by(self.kind.as_str(), &plan.search, who, Some(days));
            match self.search_days(search, start, pass, &mut week, tally).await {
                Ok(()) => read += 1,
                Err(Halt::Ehr(error)) if !what.is_empty() && !concerns_all(&error) => {
                    week.short = true;
                    tally.partial = true;
                    tally.note(format!("appointments of the {what} {who} could not be read: {}", chain(&error)));
                    last = Some(error);
                }
                Err(halt) => return Err(halt),
            }
        }
        match last {
            // None could be read: that is no matter of one location.
            Some(error) if read == 0 => Err(error.into()),
            _ => Ok(week),
        }
    }

    async fn search_days(&self, search: Search, start: &Start, pass: &Pass, week: &mut Week, tally: &mut Tally) -> Result<(), Halt> {
        let mut restarts = 0;
        let mut pages = self.source.client.search(search.clone());
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let asked = self.clock.now();
            let page = match self.fetch(&mut pages, &start.context).await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(()),
                Err(Halt::Ehr(EhrError::PageExpired)) if restarts < RESTARTS => {
                    restarts += 1;
                    pages = self.source.client.search(search.clone());
                    continue;
                }
                Err(halt) => return Err(halt),
            };
            self.look(&page, tally);
            week.short |= page.short().is_some();
            week.shown.extend(page.entries.iter().filter_map(|e| e.id.clone()));
            let visits = starts(&page.entries);
            let now = self.clock.now();
            let told = Told {
                number: tally.counts.pages + 1,
                pages: 1,
                // A week that is cut off is begun anew: what of it is missing can be said at its end only.
                resume: Some(pass.to_string()),
                server_started: page.server_date.unwrap_or(start.at),
                partial: page.short().is_some(),
                asked,
                now,
            };
            let (ehr, kind) = (self.ehr.clone(), self.kind);
            let shown: Vec<String> = page.entries.iter().filter_map(|e| e.id.clone()).collect();
            let also = move |conn: &mut Conn| -> Result<(), StoreError> {
                coverage::found(conn, &ehr, kind, &texts(&shown))?;
                coverage::put_visits(conn, &ehr, &visits.iter().map(|(id, at)| (id.as_str(), *at)).collect::<Vec<_>>())
            };
            self.commit(start, page.entries, told, also, tally).await?;
        }
    }

    /// Ends a week: what should be in it and was not shown is missed, and the pass has come so far.
    async fn close(
        &self,
        (from, until): (Timestamp, Timestamp),
        week: Week,
        start: &Start,
        pass: &mut Pass,
        total: i64,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let mut missed = Vec::new();
        if !week.short {
            let ehr = self.ehr.clone();
            let stored = self.store.read(move |conn| coverage::visits_within(conn, &ehr, from, until)).await?;
            pass.expected += i64::try_from(stored.len()).unwrap_or(i64::MAX);
            missed = stored.into_iter().filter(|id| !week.shown.contains(id)).collect();
            pass.missed += self.newly_missed(&missed).await?;
        }
        pass.done += 1;
        pass.key = Some(until.micros().to_string());
        tally.units = Some((pass.done, total.max(pass.done)));
        let (done, resume, run, kind) = (pass.done, pass.to_string(), start.context.run, self.kind);
        self.note(start, "end a week of a sync", move |conn, ehr, now| {
            coverage::miss(conn, ehr, kind, &texts(&missed), false, now)?;
            sync_state::progress(conn, run, done, total.max(done), 0)?;
            sync_state::advance(conn, ehr, kind, run, sync_state::Counts::default(), Some(&resume))
        })
        .await
    }
}
