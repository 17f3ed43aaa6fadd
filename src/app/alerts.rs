//! Alerts, put together: who is told, by the configuration; when each type should have been read, by the agenda; and this node's disk.

use std::path::Path;

use chrono::TimeDelta;
use domain::Timestamp;
use url::Url;

use super::agenda::Entry;
use super::{App, StageError, mailer};
use crate::alerts::{self, Desk, Ending, Expected, Heartbeat, Known, Limits, Post, Report, kind};
use crate::config::Place;
use crate::credentials::Expiry;
use crate::credentials::expiry::Urgency;
use crate::store::leases::{self, Term};
use crate::store::{StoreError, alerts as kept, reading, sync_state};
use crate::worker::schedule::Schedule;

/// What this node sees of its disk holds so long, lest a node that is gone leaves an alert for good.
const DISK_HOLDS: TimeDelta = TimeDelta::minutes(30);

/// Why alerts cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// A secret cannot be had, or is no URL.
    #[error("alerts.{0} cannot be used: {1}")]
    Setting(&'static str, String),
    /// The mail server.
    #[error("alerts.mail cannot be used: {0}")]
    Mail(String),
}

impl App {
    /// What looks for what is wrong, and whom it tells.
    ///
    /// # Errors
    /// [`AlertsError`], with what to do.
    pub fn alert_desk(&self) -> Result<Desk, AlertsError> {
        let set = &self.config.alerts;
        let mut post = Post::new(self.config.site.name.clone());
        if let Some(smtp) = self.config.smtp.as_ref().filter(|_| !set.mail.is_empty()) {
            post = post.by_mail(mailer(smtp).map_err(|e| AlertsError::Mail(e.to_string()))?, set.mail.clone());
        }
        if let (Some(place), Some(secret)) = (&set.webhook, &set.webhook_secret) {
            let failed = |e: String| AlertsError::Setting("webhook", e);
            let secret = secret.resolve().map_err(|e| AlertsError::Setting("webhook_secret", e.to_string()))?;
            post = post.by_webhook(url("webhook", place)?, &secret).map_err(|e| failed(e.to_string()))?;
        }
        let heartbeat = set.heartbeat.as_ref().map(|place| {
            Heartbeat::new(url("heartbeat", place)?, set.heartbeat_every).map_err(|e| AlertsError::Setting("heartbeat", e.to_string()))
        });
        let limits = Limits {
            failures: i64::from(set.failures),
            failing_after: set.failing_after,
            late_after: set.late_after,
            quarantine: i64::from(set.quarantine),
            holes: i64::from(set.holes),
            settle: set.settle,
        };
        Ok(Desk { limits, post, heartbeat: heartbeat.transpose()? })
    }

    /// Looks once for what is wrong; where another node is at it, that one does. `is_well` tells whether this process's own loops run as they
    /// should.
    ///
    /// # Errors
    /// The store's refusal, or another node is at it.
    pub async fn look_for_alerts(&self, desk: &Desk, is_well: bool) -> Result<Report, StageError> {
        self.look_at_disk().await?;
        let lease = self.lease(alerts::LEASE).await?;
        let agenda = self.agenda().await?;
        let running = self.running(agenda.now).await?;
        let expected: Vec<Expected> = agenda
            .entries
            .iter()
            .filter(|e| e.pause.is_none())
            .filter_map(|e| {
                let running = running.iter().find(|r| r.0 == e.ehr.as_str() && r.1 == e.kind.as_str()).map(|r| r.2);
                e.schedule.as_ref().ok().map(|schedule| expected(e, schedule, e.known_up_to, running))
            })
            .collect();
        let mut unreadable: Vec<String> = agenda.unreadable.iter().map(|(id, _)| id.clone()).collect();
        // An EHR whose schedule cannot be read is not read by itself either.
        unreadable.extend(agenda.entries.iter().filter(|e| e.schedule.is_err()).map(|e| e.ehr.to_string()));
        unreadable.dedup();
        let endings = self.expiries().await?.into_iter().filter(|e| e.urgency != Urgency::Later).map(ending).collect();
        let look = alerts::Look {
            store: &self.store,
            clock: self.clock.as_ref(),
            fence: lease.fence(),
            term: lease.term(),
            known: Known { expected, unreadable, endings },
            jitter: self.jitter(),
            is_well,
        };
        let done = desk.look(&look).await;
        lease.release().await?;
        Ok(done?)
    }

    /// The types that are being read, and since when.
    async fn running(&self, now: Timestamp) -> Result<Vec<(String, String, Timestamp)>, StoreError> {
        let (term, owner) = (Term(self.config.worker.lease), self.owner.clone());
        let read = move |conn: &mut _| {
            let held = leases::held(conn, reading::PREFIX, now, term, |other| owner.is_dead(other))?;
            Ok((sync_state::latest_runs(conn)?, held))
        };
        let (runs, held) = self.store.snapshot(read).await?;
        let is_held = |ehr: &str, rtype: &str| held.contains(&format!("{}{ehr}/{rtype}", reading::PREFIX));
        let running = runs.into_iter().filter(|r| r.state == "running" && is_held(&r.ehr, &r.rtype));
        Ok(running.map(|r| (r.ehr, r.rtype, Timestamp::from_micros(r.started_at))).collect())
    }

    /// Notes where this node's disk fills. Each node sees its own, so this needs no lease.
    async fn look_at_disk(&self) -> Result<(), StoreError> {
        let least = self.config.alerts.disk_free;
        let Some((node, free)) = node().zip(free(&self.data)).filter(|_| least > 0) else { return Ok(()) };
        let (now, path) = (self.clock.now(), self.data.display().to_string());
        let subject = node.clone();
        let noted = self.store.read(move |conn| kept::conditions(conn, now)).await?;
        let is_noted = noted.iter().any(|c| c.kind == kind::DISK && c.subject == node);
        if free < least {
            let says = format!("the disk of {node} with the data folder has {free} % left");
            let remedy = format!("make room on the disk that holds {path}: a full one stops everything");
            let until = Some(now.plus(DISK_HOLDS));
            self.store.write("note a disk", move |conn| kept::note(conn, (kind::DISK, &subject), (&says, &remedy), until, now)).await?;
        } else if is_noted {
            self.store.write("take a note back", move |conn| kept::clear(conn, kind::DISK, &subject)).await?;
        }
        Ok(())
    }
}

fn ending(e: Expiry) -> Ending {
    let of = e.ehr.unwrap_or_else(|| "this installation".to_owned());
    Ending {
        subject: format!("{of}/{} {}", e.what.as_str(), e.name),
        says: format!("{of}: {}", e.says),
        remedy: e.remedy.unwrap_or("`fhir-engage check` tells more").to_owned(),
    }
}

fn expected(e: &Entry, schedule: &Schedule, known: Option<Timestamp>, running_since: Option<Timestamp>) -> Expected {
    // What was switched off, or no way leads to, is served and never known.
    let base = known.or(e.done.served);
    let due = match (base, schedule.is_interval()) {
        (Some(base), true) => schedule.next(base, &e.salt()),
        (Some(base), false) => schedule.next(base.max(e.done.since), &e.salt()),
        (None, true) => e.done.since,
        (None, false) => schedule.next(e.done.since, &e.salt()),
    };
    Expected { ehr: e.ehr.to_string(), rtype: e.kind.to_string(), due: schedule.opens(due), known_up_to: known, running_since }
}

fn url(key: &'static str, place: &Place) -> Result<Url, AlertsError> {
    let failed = |e: String| AlertsError::Setting(key, e);
    match place {
        Place::Url(url) => Ok(url.clone()),
        Place::Secret(secret) => {
            let text = secret.resolve().map_err(|e| failed(e.to_string()))?;
            let url = Url::parse(text.expose()).ok().filter(crate::config::is_guarded);
            url.ok_or_else(|| failed(format!("{secret} does not hold an https URL (http only on this machine)")))
        }
    }
}

/// How this machine is called.
fn node() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|n| !n.is_empty())
}

/// Percent of a folder's disk that are free for its user.
#[cfg(target_os = "linux")]
fn free(folder: &Path) -> Option<u32> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    u32::try_from((u128::from(disk.f_bavail) * 100).checked_div(u128::from(disk.f_blocks))?).ok()
}

#[cfg(not(target_os = "linux"))]
const fn free(_: &Path) -> Option<u32> {
    None
}
