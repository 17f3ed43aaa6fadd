//! A connection removed: what the EHR holds for us there is ended first. An export that it prepares is deleted, its subscriptions are ended;
//! what cannot be told to it stops the removal, unless the operator gives it up.

use domain::model::EhrId;
use serde::Serialize;
use url::Url;

use super::App;
use super::stages::StageError;
use crate::store::ehrs::{self, Holdings};
use crate::store::exports::{self, Job};
use crate::store::subscriptions;
use crate::sync::bulk::export_lease;

/// What came of removing a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// There is no such EHR.
    NoSuchEhr,
    /// These stand in the way, in words; nothing was removed.
    InTheWay(Vec<String>),
    /// It is removed.
    Done(Removed),
}

/// What was removed with a connection, and what stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Stored resources that stay as a record.
    pub kept_resources: i64,
    /// Attempts that stay as a record.
    pub kept_attempts: i64,
    /// Exports that the EHR was told to delete.
    pub deleted_exports: usize,
    /// What could not be ended at the EHR, in words.
    pub notes: Vec<String>,
}

impl App {
    /// Removes a connection; what was synced and sent stays. Exports and subscriptions are ended at the EHR first. With `give_up` it is removed
    /// although write-backs are not settled, or the EHR cannot be told to delete an export.
    ///
    /// # Errors
    /// The store's refusal, or an export is being looked after by another process.
    pub async fn remove_ehr(&self, id: &EhrId, give_up: bool) -> Result<Removal, StageError> {
        let name = id.as_str().to_owned();
        let (row, holdings) = self.store.read(move |conn| Ok((ehrs::get(conn, &name)?, ehrs::holdings(conn, &name)?))).await?;
        if row.is_none() {
            return Ok(Removal::NoSuchEhr);
        }
        if let (false, Some(why)) = (give_up, unsettled(&holdings)) {
            return Ok(Removal::InTheWay(vec![why]));
        }
        // Held until the connection is gone, so that nobody asks for another export meanwhile.
        let lease = self.lease(&export_lease(id)).await?;
        let done = self.remove_under_lease(id, &holdings, give_up).await;
        lease.release().await?;
        done
    }

    async fn remove_under_lease(&self, id: &EhrId, holdings: &Holdings, give_up: bool) -> Result<Removal, StageError> {
        let (deleted_exports, left) = self.end_exports(id).await?;
        if !give_up && !left.is_empty() {
            return Ok(Removal::InTheWay(left));
        }
        let mut notes = left;
        let of = id.clone();
        if !self.store.read(move |conn| subscriptions::of_ehr(conn, &of)).await?.is_empty() {
            // One that cannot be ended now meets an address that nobody knows, and ends there.
            match self.unsubscribe(id).await {
                Ok(kept) => notes.extend(kept.failures),
                Err(error) => notes.push(format!("its subscriptions could not be ended there: {error}")),
            }
        }
        let name = id.as_str().to_owned();
        if !self.store.write("remove an EHR", move |conn| ehrs::remove(conn, &name)).await? {
            return Ok(Removal::NoSuchEhr);
        }
        let Holdings { resources: kept_resources, attempts: kept_attempts, .. } = *holdings;
        Ok(Removal::Done(Removed { kept_resources, kept_attempts, deleted_exports, notes }))
    }

    /// Has the EHR delete the exports that it holds for us; how many it did, and which it could not be told to, in words. An export that it was
    /// told of is forgotten at once, so that what is cut off here goes on with the rest.
    async fn end_exports(&self, id: &EhrId) -> Result<(usize, Vec<String>), StageError> {
        let of = id.clone();
        let jobs = self.store.read(move |conn| exports::of_ehr(conn, &of)).await?;
        if jobs.is_empty() {
            return Ok((0, Vec::new()));
        }
        let told = |job: &Job, why: &str| format!("the EHR was not told to delete the export of {} that it prepares: {why}", job.types);
        let connection = match self.connect(id).await {
            Ok(connection) => connection,
            Err(error) => return Ok((0, jobs.iter().map(|job| told(job, &error.to_string())).collect())),
        };
        let (mut deleted, mut left) = (0, Vec::new());
        for job in jobs {
            if job.is_unknown() {
                tracing::warn!(ehr = %id, "{}", job.what_is_unknown());
            }
            let url = Url::parse(&job.status_url).ok().filter(|url| connection.client.may_ask(url));
            // One that was at another address of this EHR nobody can be asked about.
            if let Some(url) = &url {
                match connection.client.delete_export(url).await {
                    Ok(true) => deleted += 1,
                    // It lets none be deleted; then it ends it by itself.
                    Ok(false) => {}
                    Err(error) => {
                        left.push(told(&job, &super::told(&error)));
                        continue;
                    }
                }
            }
            self.store.write("forget an export", move |conn| exports::forget(conn, job.id)).await?;
        }
        Ok((deleted, left))
    }
}

fn unsettled(holdings: &Holdings) -> Option<String> {
    let (n, s) = (holdings.unsettled, if holdings.unsettled == 1 { "" } else { "s" });
    (n > 0).then(|| format!("{n} write-back{s} to it are not settled; run `fhir-engage writeback run` first"))
}
