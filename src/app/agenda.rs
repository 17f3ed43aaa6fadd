//! When each type of each EHR is read next, and why: registered EHRs, schedules, turns and pauses, read in one snapshot.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::App;
use super::connections::Registered;
use crate::store::pauses::{self, Pause};
use crate::store::schedules::{self, ALL_TYPES, ScheduleRow};
use crate::store::turns::{self, Turn};
use crate::store::{StoreError, ehrs, sync_state};
use crate::worker::schedule::{BadSchedule, Done, Due, Schedule};

/// One type of one EHR.
#[derive(Debug)]
pub struct Entry {
    /// The EHR.
    pub ehr: EhrId,
    /// The type.
    pub kind: ResourceType,
    /// Its schedule; why not, where what is stored cannot be read. It is then not read by itself: closed hours might be among what is lost.
    pub schedule: Result<Schedule, BadSchedule>,
    /// Who set it; `None` where the installation's interval holds.
    pub set: Option<ScheduleRow>,
    /// What was done so far.
    pub done: Done,
    /// The row that says so.
    pub turn: Turn,
    /// Known up to then.
    pub known_up_to: Option<Timestamp>,
    /// What holds it up.
    pub pause: Option<Pause>,
    /// When it is due; nothing is while it is paused.
    pub due: Option<Due>,
}

impl Entry {
    /// What its times are spread by.
    #[must_use]
    pub fn salt(&self) -> String {
        format!("{}/{}", self.ehr, self.kind)
    }

    /// Whether it is to be read now.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due.as_ref().is_some_and(|due| due.at <= now)
    }

    /// Why it may not be read now, by whoever asks: a pause, or closed hours.
    #[must_use]
    pub fn closed(&self, now: Timestamp) -> Option<String> {
        if let Some(pause) = &self.pause {
            return Some(format!("paused by {} ({})", pause.paused_by, pause.why));
        }
        match &self.schedule {
            Ok(schedule) if schedule.is_open(now) => None,
            Ok(schedule) => Some(format!("closed until {} ({})", whole(schedule.opens(now)), schedule.words())),
            Err(bad) => Some(bad.to_string()),
        }
    }
}

/// To the second.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros() - at.micros().rem_euclid(1_000_000))
}

/// All that is read.
#[derive(Debug)]
pub struct Agenda {
    /// When it was looked at.
    pub now: Timestamp,
    /// Each type of each EHR that has a connection.
    pub entries: Vec<Entry>,
    /// EHRs whose profile cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl App {
    /// When each type of each EHR is read next.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn agenda(&self) -> Result<Agenda, StoreError> {
        let now = self.clock.now();
        let read = self.store.snapshot(|conn| {
            Ok((ehrs::list(conn)?, schedules::list(conn)?, turns::list(conn)?, pauses::in_force(conn)?, sync_state::list(conn)?))
        });
        let (rows, set, turns, pauses, states) = read.await?;
        let added: std::collections::BTreeMap<String, i64> = rows.iter().map(|r| (r.id.clone(), r.added_at)).collect();
        let registered = Registered::of(rows);
        let mut entries = Vec::new();
        for (ehr, profile) in registered.known.iter().filter(|(_, p)| !p.files_only) {
            for kind in self.types_to_sync().into_iter().filter(|kind| profile.all_types().any(|t| t == *kind)) {
                let (id, rtype) = (ehr.as_str(), kind.as_str());
                let find = |rtype: &str| set.iter().find(|s| s.ehr == id && s.rtype == rtype).cloned();
                entries.push(self.entry(
                    (ehr.clone(), kind),
                    find(rtype).or_else(|| find(ALL_TYPES)),
                    turns.iter().find(|t| t.ehr == id && t.rtype == rtype).cloned().unwrap_or_default(),
                    pauses.iter().find(|p| p.holds(id, rtype)).cloned(),
                    states.iter().find(|s| s.ehr == id && s.rtype == rtype).and_then(|s| s.as_of),
                    added.get(id).copied().unwrap_or_default(),
                    now,
                ));
            }
        }
        let unreadable = registered.unreadable.into_iter().map(|(id, error)| (id, error.to_string())).collect();
        Ok(Agenda { now, entries, unreadable })
    }

    #[expect(clippy::too_many_arguments, reason = "one row of each table")]
    fn entry(
        &self,
        (ehr, kind): (EhrId, ResourceType),
        set: Option<ScheduleRow>,
        turn: Turn,
        pause: Option<Pause>,
        as_of: Option<i64>,
        added: i64,
        now: Timestamp,
    ) -> Entry {
        let at = Timestamp::from_micros;
        let schedule = self.schedule(set.as_ref());
        let done = Done {
            since: at(set.as_ref().map_or(added, |s| s.set_at)),
            served: turn.served_at.map(at),
            retry: turn.retry_at.map(|t| (u32::try_from(turn.failures).unwrap_or(u32::MAX), at(t))),
            wanted: turn.wanted_at.map(|t| (at(t), turn.wanted_by.clone().unwrap_or_default())),
        };
        let mut entry = Entry { ehr, kind, schedule, set, done, turn, known_up_to: as_of.map(at), pause, due: None };
        if entry.pause.is_none()
            && let Ok(schedule) = &entry.schedule
        {
            entry.due = Some(schedule.due(&entry.done, &entry.salt(), now));
        }
        entry
    }

    /// The schedule that was set, or the installation's interval.
    pub(super) fn schedule(&self, set: Option<&ScheduleRow>) -> Result<Schedule, BadSchedule> {
        match set {
            Some(row) => Schedule::stored(&row.timing, self.usual_interval()),
            None => Ok(Schedule::every(self.usual_interval(), self.config.site.time_zone)),
        }
    }

    /// How often an EHR is read for which nobody said anything.
    #[must_use]
    pub const fn usual_interval(&self) -> TimeDelta {
        self.config.worker.sync_every
    }
}
