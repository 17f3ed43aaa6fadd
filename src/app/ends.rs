//! What ends by itself, looked for in all places where such things are: profiles, the files that they point to, and the store.

use chrono::{NaiveDate, TimeDelta, TimeZone as _, Utc};
use domain::Timestamp;
use domain::model::EhrId;

use super::App;
use super::connections::{ConnectionError, SERVER_CERTIFICATE};
use crate::credentials::expiry::{Watched, What};
use crate::credentials::{Expiry, expiry};
use crate::ehr::profile::Profile;
use crate::net::Certificate;
use crate::store::{Store, StoreError, ehr_keys, expiries, grants};

impl App {
    /// Everything that ends by itself and must be renewed by somebody, the most urgent first. Asks no EHR.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn expiries(&self) -> Result<Vec<Expiry>, ConnectionError> {
        let ehrs = self.ehrs().await?;
        Ok(self::expiries(&self.store, &ehrs.known, self.clock.now()).await?)
    }
}

pub(super) async fn expiries(store: &Store, ehrs: &[(EhrId, Profile)], now: Timestamp) -> Result<Vec<Expiry>, StoreError> {
    let (seen, grants, keys) = store.read(|conn| Ok((expiries::list(conn)?, grants::list(conn)?, ehr_keys::list(conn)?))).await?;
    let mut watched: Vec<Watched> = ehrs.iter().flat_map(|(id, profile)| of_profile(id, profile)).collect();
    let of = |ehr: &str, what, name: String, ends_at: Option<i64>, fault| Watched {
        ehr: Some(ehr.to_owned()),
        what,
        name,
        ends_at: ends_at.map(Timestamp::from_micros),
        fault,
    };
    let named = |client: &str| if client.is_empty() { "of the EHR's own credential".to_owned() } else { format!("of credential {client}") };
    watched.extend(
        seen.into_iter()
            .filter(|s| s.what == SERVER_CERTIFICATE)
            .map(|s| of(&s.ehr, What::ServerCertificate, s.name, Some(s.expires_at), None)),
    );
    watched.extend(grants.into_iter().map(|g| {
        let fault = (g.state == "lost").then(|| g.told.unwrap_or_else(|| "no longer taken".to_owned()));
        of(&g.ehr, What::Grant, named(&g.client), g.expires_at, fault)
    }));
    watched.extend(keys.into_iter().filter(|k| k.refusals > 0 && k.state != "current").map(|k| {
        let told = k.told.unwrap_or_default();
        let tried = if k.state == "refused" { "it is not tried again" } else { "it is tried again" };
        let fault = format!("refused {} times ({told}); the key before it is used, {tried}", k.refusals);
        of(&k.ehr, What::Key, k.kid, None, Some(fault))
    }));
    Ok(expiry::expiries(watched, now))
}

fn of_profile(id: &EhrId, profile: &Profile) -> Vec<Watched> {
    let of = |what, name: String, ends_at, fault| Watched { ehr: Some(id.to_string()), what, name, ends_at, fault };
    let mut all = Vec::new();
    let files = [
        (What::ClientCertificate, profile.client_certificate.as_ref().map(|c| &c.certificate)),
        (What::Authority, profile.extra_ca.as_ref()),
    ];
    for (what, path) in files.into_iter().filter_map(|(what, path)| Some((what, path?))) {
        let certificates = std::fs::read(path).map(|pem| Certificate::all_from_pem(&pem)).unwrap_or_default();
        if certificates.is_empty() {
            let fault = "cannot be read, or holds no certificate".to_owned();
            all.push(of(what, path.display().to_string(), None, Some(fault)));
        }
        all.extend(certificates.into_iter().map(|c| of(what, c.subject, Some(c.not_after), None)));
    }
    let own = profile.credential_expires.map(|day| (profile.auth.secrets().next().unwrap_or("of the EHR").to_owned(), day));
    let others = profile.credentials.iter().filter_map(|(name, c)| Some((format!("of credential {name}"), c.expires?)));
    all.extend(own.into_iter().chain(others).map(|(name, day)| of(What::Secret, name, end_of(day), None)));
    all
}

/// A day ends with its last second, in UTC: nobody says in which zone a secret ends.
fn end_of(day: NaiveDate) -> Option<Timestamp> {
    let midnight = day.and_hms_opt(0, 0, 0)?;
    let instant = Utc.from_utc_datetime(&midnight).checked_add_signed(TimeDelta::days(1))?;
    Some(Timestamp::from_micros(instant.timestamp_micros()))
}
