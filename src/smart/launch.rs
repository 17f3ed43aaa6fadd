//! Launches: a user of an EHR opens this gateway on a patient (SMART App Launch 2.2, "EHR launch" and "standalone launch").
//!
//! An EHR that nobody registered is never asked anything. What the user may see is the EHR's word: before a patient is shown, the patient is
//! read with the user's own token, and the answer is kept for a short time.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use domain::model::{EhrId, FhirId, Phi, Roles};
use domain::{Clock, Timestamp};
use url::Url;

use super::id_token::{self, Expected};
use super::session::random;
use super::waiting::{Answer, Kept, Waiting, code};
use super::{Begun, Identity, NewOpening, NoEntry, Opening, Sessions, Verdict, Way};
use crate::credentials::Vault;
use crate::credentials::sealing::MasterKey;
use crate::ehr::auth::keeper::{Keeper, Refreshed};
use crate::ehr::auth::{Granted, Level, Ops, TokenGrant};
use crate::ehr::discovery::Discovery;
use crate::ehr::launch::{Asking, Authority, Eyes, Sight};
use crate::ehr::profile::Profile;
use crate::ehr::{Entropy, Parts, Secret};
use crate::store::{Store, StoreError, grants, openings, tokens};
use domain::model::casting::{Casting, fhir_user};

/// How long it is kept that a user may see a patient.
const ALLOWED_FOR: TimeDelta = TimeDelta::minutes(5);
/// How long it is kept that a user may not: shorter, since glass may be broken in the EHR meanwhile.
const DENIED_FOR: TimeDelta = TimeDelta::seconds(10);

/// Between a grant and the opening that it is for lie a reading of the patient and a commit: an hour later none will come.
const LANDS_WITHIN: TimeDelta = TimeDelta::hours(1);

/// How long it counts what an EHR says of its authorization server: a launch is begun by whoever reaches this server, and must not be a way to
/// use up what the EHR may be asked.
const SAID_FOR: TimeDelta = TimeDelta::seconds(60);

/// An answer in the making.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The registered EHRs, as far as launches need them.
pub trait Ehrs: Send + Sync {
    /// All that can be worked with.
    fn all(&self) -> Answering<'_, Result<Vec<(EhrId, Profile)>, StoreError>>;
    /// What a connection of this profile needs.
    fn parts<'a>(&'a self, id: &'a EhrId, profile: &'a Profile) -> Answering<'a, Result<Parts, String>>;
    /// The key that seals what is stored.
    ///
    /// # Errors
    /// Where it cannot be read, in words.
    fn master(&self) -> Result<Arc<MasterKey>, String>;
    /// Where the grant of an opening is kept.
    ///
    /// # Errors
    /// As [`Ehrs::master`].
    fn vault(&self, name: &str) -> Result<Vault, String>;
}

/// Where a launch begins.
#[derive(Clone, Copy, Debug)]
pub enum From<'a> {
    /// In the EHR, which calls itself `iss` and gave `launch`.
    Ehr {
        /// The EHR's FHIR base, as it says.
        iss: &'a str,
        /// What names the launch there.
        launch: &'a str,
    },
    /// Here, at the EHR of this name.
    Here(&'a str),
}

/// A launch that ended well.
#[derive(Debug)]
pub struct Landed {
    /// The session.
    pub begun: Begun,
    /// The handle of the patient; `None` where the launch was about none.
    pub handle: Option<String>,
}

/// A launch that did not, and the EHR that it was of, where that is known.
#[derive(Debug)]
pub struct Stranded {
    /// The EHR.
    pub ehr: Option<String>,
    /// Why.
    pub why: NoEntry,
}

impl<E: Into<NoEntry>> std::convert::From<E> for Stranded {
    fn from(why: E) -> Self {
        Self { ehr: None, why: why.into() }
    }
}

/// The launches of this installation.
#[derive(Clone)]
pub struct Launches {
    store: Store,
    sessions: Sessions,
    waiting: Waiting,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ehrs: Arc<dyn Ehrs>,
    casting: Arc<Casting>,
    /// What EHRs said of their authorization servers, by FHIR base, and until when it counts.
    said: Arc<Mutex<HashMap<String, (Timestamp, Discovery)>>>,
}

impl std::fmt::Debug for Launches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Launches")
    }
}

impl Launches {
    /// Those of these EHRs, with roles by these rules.
    #[must_use]
    pub fn new(
        store: Store,
        sessions: Sessions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        ehrs: Arc<dyn Ehrs>,
        casting: Arc<Casting>,
    ) -> Self {
        let waiting = Waiting::new(store.clone(), Arc::clone(&clock));
        Self { store, sessions, waiting, clock, entropy, ehrs, casting, said: Arc::default() }
    }

    /// A value that binds a sign-in to a browser that has none yet.
    #[must_use]
    pub fn browser(&self) -> String {
        random(self.entropy.as_ref())
    }

    /// The EHRs that staff can begin a launch at from here, by name.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn offered(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.ehrs.all().await?.into_iter().filter(|(_, p)| p.launch.is_some()).map(|(id, _)| id.to_string()).collect())
    }

    /// Whose frames a page may stand in that says only that a session is over: those of all EHRs that launch.
    pub async fn all_frames(&self) -> String {
        let all = self.ehrs.all().await.unwrap_or_default();
        let framed = all.iter().filter_map(|(_, p)| Some(p.launch.as_ref()?.frame_ancestors(p.base_url.as_ref()?)));
        framed.collect::<Vec<_>>().join(" ")
    }

    /// Whose frames the pages of an EHR's launches may stand in, as `frame-ancestors` lists them; empty for nobody's.
    pub async fn frames_of(&self, ehr: &str) -> String {
        let all = self.ehrs.all().await.unwrap_or_default();
        let profile = all.into_iter().find(|(id, _)| id.as_str() == ehr).map(|(_, profile)| profile);
        let framed = profile.and_then(|p| Some(p.launch.as_ref()?.frame_ancestors(p.base_url.as_ref()?)));
        framed.unwrap_or_default()
    }

    /// The EHR whose FHIR base this is, among those that are registered for launches. One slash at the end does not matter.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn ehr_at(&self, iss: &str) -> Result<Option<(EhrId, Profile)>, StoreError> {
        let Ok(url) = Url::parse(iss) else { return Ok(None) };
        let trimmed = |url: &Url| url.as_str().strip_suffix('/').unwrap_or(url.as_str()).to_owned();
        let all = self.ehrs.all().await?;
        Ok(all.into_iter().find(|(_, p)| p.launch.is_some() && p.base_url.as_ref().is_some_and(|base| trimmed(base) == trimmed(&url))))
    }

    /// Begins a launch: where the browser is sent. `redirect` is our callback, `browser` what binds it to the browser.
    ///
    /// # Errors
    /// [`Stranded`]; nothing was asked of an EHR that is not registered.
    pub async fn begin(&self, from: From<'_>, redirect: Url, browser: &str) -> Result<Url, Stranded> {
        let found = match from {
            From::Ehr { iss, .. } => self.ehr_at(iss).await?,
            From::Here(name) => {
                let all = self.ehrs.all().await?;
                all.into_iter().find(|(id, profile)| id.as_str() == name && profile.launch.is_some())
            }
        };
        let (id, profile) = found.ok_or(NoEntry::UnknownEhr)?;
        let at = |why: NoEntry| Stranded { ehr: Some(id.to_string()), why };
        let authority = self.authority(&id, &profile).await.map_err(at)?;
        let nonce = random(self.entropy.as_ref());
        let launch = match from {
            From::Ehr { iss, launch } => Some((iss, launch)),
            From::Here(_) => None,
        };
        let request = authority.request(&profile, Asking { redirect, launch, nonce: &nonce });
        let kept = Kept { launched: launch.is_some(), ..Kept::of(&request, nonce, authority.issuer()) };
        let master = self.ehrs.master().map_err(|e| at(NoEntry::Here(e)))?;
        self.waiting.put(&master, &request, (Way::Launch, Some(id.as_str())), browser, &kept).await.map_err(at)?;
        tracing::info!(ehr = %id, in_ehr = kept.launched, "a launch began");
        Ok(request.url)
    }

    /// Ends a launch: what the browser came back with is exchanged, it is proven who the user is, and the patient is asked for with the user's token.
    /// `before` is the session's cookie that the browser had.
    ///
    /// # Errors
    /// [`Stranded`]; nobody was let in then.
    pub async fn finish(&self, answer: &Answer, browser: Option<&str>, before: Option<&str>) -> Result<Landed, Stranded> {
        let master = self.ehrs.master().map_err(NoEntry::Here)?;
        let (kept, ehr) = self.waiting.take(&master, answer, Way::Launch, browser).await?;
        let ended = self.land(answer, &kept, ehr.as_deref(), before).await;
        ended.map_err(|why| Stranded { ehr, why })
    }

    async fn land(&self, answer: &Answer, kept: &Kept, ehr: Option<&str>, before: Option<&str>) -> Result<Landed, NoEntry> {
        let code = code(answer, kept)?;
        let all = self.ehrs.all().await?;
        // It may have been taken away while the user was signing in.
        let (id, profile) = all.into_iter().find(|(id, p)| Some(id.as_str()) == ehr && p.launch.is_some()).ok_or(NoEntry::UnknownEhr)?;
        let authority = self.authority(&id, &profile).await?;
        let verifier = Secret::new(kept.verifier.clone());
        let grant = authority.exchange(&code, &kept.redirect, &verifier).await.map_err(|e| NoEntry::Server(e.to_string()))?;
        let scope = grant.scope.clone().unwrap_or_default();
        let patient = self.patient(&grant, &scope, kept)?;
        let who = self.identity(&authority, &grant, &id, &profile, kept).await?;
        let roles = who.roles;
        let Some(patient) = patient else {
            let begun = self.sessions.begin(who, before).await?;
            return Ok(Landed { begun, handle: None });
        };
        // The session that the browser had is only replaced once all of it is known to be right.
        let handle = self.sessions.handle();
        let eyes = self.keep((id.as_str(), &handle), authority, grant.clone(), scope).await?;
        let mut what = opening(id.as_str(), patient, roles, grant);
        what.verdict = verdict(look(&eyes, &profile, &what).await);
        let begun = self.sessions.begin(who, before).await?;
        self.sessions.open_as(&handle, &begun.session.id, what).await?;
        tracing::info!(ehr = %id, session = begun.session.id.get(..12), "a launch landed");
        Ok(Landed { begun, handle: Some(handle) })
    }

    /// The patient of a launch: one must be there where one was granted.
    fn patient(&self, grant: &TokenGrant, scope: &str, kept: &Kept) -> Result<Option<FhirId>, NoEntry> {
        let granted: Vec<&str> = scope.split_whitespace().collect();
        // Without a word on it all was granted (RFC 6749, 5.1); a launch from here asks for a patient.
        let promised = granted.contains(&"launch/patient") || (granted.is_empty() && !kept.launched);
        let patient = grant.context.patient.as_ref().map(|id| FhirId::parse(id.expose()).ok_or(NoEntry::NoPatient)).transpose()?;
        if patient.is_none() && (promised || !kept.launched) {
            return Err(NoEntry::NoPatient);
        }
        let reads = Granted::parse_at(Level::User, scope).and(Granted::parse_at(Level::Patient, scope)).ops("Patient");
        let reads_patients = granted.is_empty() || !reads.without(reads.without(Ops::R)).is_empty();
        if patient.is_some() && !reads_patients {
            return Err(NoEntry::NotGranted);
        }
        Ok(patient)
    }

    async fn identity(
        &self,
        authority: &Authority,
        grant: &TokenGrant,
        id: &EhrId,
        profile: &Profile,
        kept: &Kept,
    ) -> Result<Identity, NoEntry> {
        let token = grant.context.id_token.as_ref().ok_or(NoEntry::NoIdentity)?;
        let base = profile.base_url.as_ref().map(Url::as_str).unwrap_or_default();
        let keys = authority.keys().await.map_err(|e| NoEntry::Server(told(&e)))?;
        let issuer = authority.issuer().unwrap_or(base);
        let expected = Expected { issuer, client_id: authority.client_id(), nonce: &kept.nonce, now: self.clock.now() };
        let claims = id_token::verify(token.expose(), &keys, &expected)?;
        let user = claims.fhir_user().and_then(|user| fhir_user(user, base));
        let roles = user.map_or(Roles::NONE, |(kind, number)| self.casting.of_ehr_user(id.as_str(), kind, number));
        if roles.is_empty() {
            return Err(NoEntry::NoRole);
        }
        Ok(Identity {
            issuer: claims.issuer().to_owned(),
            subject: claims.subject().to_owned(),
            name: claims.name(),
            fhir_user: user.map(|(kind, number)| format!("{kind}/{number}")),
            ehr: Some(id.to_string()),
            roles,
            way: Way::Launch,
        })
    }

    /// Keeps what was granted, sealed, and looks with it from then on.
    async fn keep(&self, opening: (&str, &str), authority: Authority, grant: TokenGrant, scope: String) -> Result<Eyes, NoEntry> {
        let vault = self.ehrs.vault(&grant_of(opening)).map_err(NoEntry::Here)?;
        if let Some(refresh) = &grant.refresh {
            let ends = grant.refresh_expires_in.and_then(|d| TimeDelta::from_std(d).ok()).map(|d| self.clock.now().plus(d));
            let outcome = Refreshed { refresh: refresh.clone(), scope, expires_at: ends, access: None };
            vault.granted("", &outcome).await.map_err(|e| NoEntry::Here(e.to_string()))?;
        }
        let eyes = authority.eyes(Arc::new(vault));
        eyes.begin(grant).await.map_err(|e| NoEntry::Here(e.to_string()))?;
        Ok(eyes)
    }

    async fn authority(&self, id: &EhrId, profile: &Profile) -> Result<Authority, NoEntry> {
        let parts = self.ehrs.parts(id, profile).await.map_err(NoEntry::Here)?;
        let (now, base) = (self.clock.now(), profile.base_url.as_ref().map(Url::to_string).unwrap_or_default());
        let known = self.said().get(&base).filter(|(until, _)| now < *until).map(|(_, discovery)| discovery.clone());
        let is_new = known.is_none();
        let authority = Authority::find(profile, &parts, known).await.map_err(|e| NoEntry::Server(told(&e)))?;
        if is_new {
            self.said().insert(base, (now.plus(SAID_FOR), authority.discovery().clone()));
        }
        Ok(authority)
    }

    fn said(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, Discovery)>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the user of an opening may see its patient now. The EHR is asked with the user's token, unless it was a short time ago; a
    /// patient that was looked for here is shown by role alone.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn sight(&self, opening: &Opening) -> Result<Sight, StoreError> {
        let what = &opening.what;
        if !what.launched {
            return Ok(Sight::Shown);
        }
        let now = self.clock.now();
        let fresh = |lasts: TimeDelta| opening.asked_at.is_some_and(|at: Timestamp| now < at.plus(lasts));
        match what.verdict {
            Verdict::Allowed if fresh(ALLOWED_FOR) => return Ok(Sight::Shown),
            Verdict::Denied if fresh(DENIED_FOR) => return Ok(Sight::Hidden),
            _ => {}
        }
        let sight = self.ask(opening).await.unwrap_or_else(|why| {
            tracing::info!(ehr = what.ehr, why = why.told(), "it cannot be asked whether a user may see a patient");
            Sight::Unknown
        });
        if sight != Sight::Unknown {
            let (handle, told) = (opening.handle.clone(), verdict(sight).as_str());
            self.store.write("keep what a user may see", move |conn| openings::judged(conn, &handle, told, now)).await?;
        }
        Ok(sight)
    }

    async fn ask(&self, opening: &Opening) -> Result<Sight, NoEntry> {
        let all = self.ehrs.all().await?;
        let found = all.into_iter().find(|(id, p)| id.as_str() == opening.what.ehr && p.launch.is_some());
        let (id, profile) = found.ok_or(NoEntry::UnknownEhr)?;
        let authority = self.authority(&id, &profile).await?;
        let vault = self.ehrs.vault(&grant_of((&opening.what.ehr, &opening.handle))).map_err(NoEntry::Here)?;
        let eyes = authority.eyes(Arc::new(vault));
        Ok(look(&eyes, &profile, &opening.what).await)
    }

    /// Gives back what EHRs granted to openings that have ended, (EHR, handle) each. What an EHR does not take back ends by itself; here it is
    /// thrown away in any case.
    pub async fn give_back(&self, ended: Vec<(String, String)>) {
        for (ehr, handle) in ended {
            let Ok(vault) = self.ehrs.vault(&grant_of((&ehr, &handle))) else { continue };
            let keeper: Arc<dyn Keeper> = Arc::new(vault.clone());
            if let Err(why) = self.return_to(&ehr, &keeper).await {
                tracing::info!(ehr, why, "what a launch was granted could not be given back; it ends by itself");
            }
            if let Err(error) = vault.clear().await {
                tracing::warn!(%error, "the grant of a launch that has ended could not be thrown away");
            }
        }
    }

    /// Throws away sessions and openings that have run out, and gives back what EHRs granted to them; and what was granted to an opening that is
    /// not there, because the process stopped between the two. Returns how many sessions, and how many grants.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn sweep(&self) -> Result<(u64, usize), StoreError> {
        let (sessions, mut ended) = self.sessions.sweep().await?;
        let now = self.clock.now();
        let before = now.plus(-LANDS_WITHIN);
        let left = self.store.read(move |conn| {
            let mut names = grants::of_launches(conn, before)?;
            names.extend(tokens::of_launches(conn, before)?);
            names.sort_unstable();
            names.dedup();
            let mut nameless = names.clone();
            nameless.retain(|name| named(name).is_none());
            let all: Vec<(String, String)> = names.iter().filter_map(|name| named(name)).collect();
            let mut open = Vec::new();
            for some in all.chunks(500) {
                open.extend(openings::open_of(conn, &some.iter().map(|(_, handle)| handle.clone()).collect::<Vec<_>>())?);
            }
            Ok((all.into_iter().filter(|(_, handle)| !open.contains(handle)).collect::<Vec<_>>(), nameless))
        });
        let (left, nameless) = left.await?;
        ended.extend(left);
        // An earlier version named them so that nothing leads to their EHR.
        for vault in nameless.iter().filter_map(|name| self.ehrs.vault(name).ok()) {
            vault.clear().await?;
        }
        ended.sort_unstable();
        ended.dedup();
        let grants = ended.len();
        self.give_back(ended).await;
        Ok((sessions, grants))
    }

    async fn return_to(&self, ehr: &str, keeper: &Arc<dyn Keeper>) -> Result<(), String> {
        let all = self.ehrs.all().await.map_err(|e| e.to_string())?;
        let found = all.into_iter().find(|(id, p)| id.as_str() == ehr && p.launch.is_some());
        let Some((id, profile)) = found else { return Ok(()) };
        let authority = self.authority(&id, &profile).await.map_err(|e| e.told())?;
        authority.give_back(keeper).await.map_err(|e| e.to_string())
    }
}

/// The name under which the grant of an opening, of an EHR and with a handle, is kept: so that it is known where to give it back, whatever became
/// of the opening. No EHR's name has a slash.
fn grant_of((ehr, handle): (&str, &str)) -> String {
    format!("launch/{ehr}/{handle}")
}

/// The EHR and the handle of such a name.
fn named(name: &str) -> Option<(String, String)> {
    let (ehr, handle) = name.strip_prefix("launch/")?.split_once('/')?;
    Some((ehr.to_owned(), handle.to_owned()))
}

fn opening(ehr: &str, patient: FhirId, roles: Roles, grant: TokenGrant) -> NewOpening {
    let context = grant.context;
    NewOpening {
        ehr: ehr.to_owned(),
        patient: patient.as_str().to_owned().into(),
        roles,
        launched: true,
        encounter: context.encounter,
        banner: context.banner.unwrap_or(true),
        intent: context.intent,
        tenant: context.tenant,
        context: context.fhir_context,
        granted: true,
        verdict: Verdict::Unasked,
    }
}

const fn verdict(sight: Sight) -> Verdict {
    match sight {
        Sight::Shown => Verdict::Allowed,
        Sight::Hidden => Verdict::Denied,
        Sight::Unknown => Verdict::Unasked,
    }
}

/// Asks for the patient, and for what else the site wants to be readable where the launch names it. All of it must be shown.
async fn look(eyes: &Eyes, profile: &Profile, what: &NewOpening) -> Sight {
    let mut wanted = vec![("Patient", what.patient.expose().clone())];
    for kind in profile.launch.iter().flat_map(|l| &l.also_read) {
        if kind == "Encounter" {
            wanted.extend(what.encounter.as_ref().map(|id| ("Encounter", id.expose().clone())));
        }
        let named = what.context.as_ref().map(|json| references(json, kind)).unwrap_or_default();
        wanted.extend(named.into_iter().map(|id| (kind.as_str(), id)));
    }
    for (kind, id) in wanted {
        let Some(id) = FhirId::parse(&id) else { return Sight::Hidden };
        let sight = eyes.sees(kind, &id).await;
        if sight != Sight::Shown {
            return sight;
        }
    }
    Sight::Shown
}

/// The ids of this type in a `fhirContext`.
fn references(json: &Phi<String>, kind: &str) -> Vec<String> {
    let items: Vec<serde_json::Value> = serde_json::from_str(json.expose()).unwrap_or_default();
    let reference = |item: &serde_json::Value| Some(item.get("reference")?.as_str()?.strip_prefix(kind)?.strip_prefix('/')?.to_owned());
    items.iter().filter_map(reference).collect()
}

/// An error with its causes. They name servers and statuses, never a body.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = if next.is::<crate::net::Failure>() { None } else { next.source() };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::references;

    #[test]
    fn only_references_of_the_type_are_taken_from_a_context() {
        let json = r#"[{"reference":"Appointment/a1"},{"reference":"Encounter/e1"},{"canonical":"x"},{"reference":7},{"reference":"Appointment"}]"#;
        assert_eq!(references(&json.to_owned().into(), "Appointment"), ["a1"]);
        assert!(references(&"{}".to_owned().into(), "Appointment").is_empty());
    }
}
