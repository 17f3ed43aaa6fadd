//! Sessions and openings: begun, found, and ended.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use domain::model::{Phi, Right, Roles};
use domain::{Clock, Timestamp};

use crate::ehr::{Entropy, Secret};
use crate::store::installation::{self, Setting};
use crate::store::openings::{self, OpeningRow};
use crate::store::sessions::{self, SessionRow};
use crate::store::{Store, StoreError, sign_ins};

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// A session that is not used for so long is over.
    pub idle: TimeDelta,
    /// A session is over after so long, whatever is done with it.
    pub absolute: TimeDelta,
    /// An opening is over after so long.
    pub opening: TimeDelta,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { idle: TimeDelta::minutes(30), absolute: TimeDelta::hours(12), opening: TimeDelta::hours(8) }
    }
}

/// A session is written down as used at most so often: every page would be a write otherwise.
const NOTE_EVERY: TimeDelta = TimeDelta::seconds(60);
/// Sessions, and openings, that are thrown away in one transaction.
const SWEPT_AT_ONCE: usize = 100;

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a link that may be used once.
    Link,
    /// By the site's own provider (OpenID Connect).
    Oidc,
    /// By a launch from an EHR.
    Launch,
}

impl Way {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Oidc => "oidc",
            Self::Launch => "launch",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Link, Self::Oidc, Self::Launch].into_iter().find(|way| way.as_str() == text)
    }
}

/// Who somebody is, before there is a session.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who says so: an OIDC issuer, or [`Identity::BY_LINK`].
    pub issuer: String,
    /// The user as the issuer names them for good (OIDC `sub`).
    pub subject: String,
    /// A name for people.
    pub name: Option<String>,
    /// The user as a resource of the EHR, as launches tell it (`fhirUser`).
    pub fhir_user: Option<String>,
    /// The EHR of a launch.
    pub ehr: Option<String>,
    /// What they do here.
    pub roles: Roles,
    /// How they came in.
    pub way: Way,
}

impl Identity {
    /// The issuer of those who came by a link.
    pub const BY_LINK: &'static str = "fhir-engage";
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Names the session, for openings and logs. It signs nobody in.
    pub id: String,
    /// Who it is.
    pub who: Identity,
    /// What forms of this session carry.
    pub csrf: String,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it ends, whatever is done with it.
    pub expires_at: Timestamp,
    /// What its last act has to say on its next page.
    pub note: Option<Phi<String>>,
}

/// A session that has just begun.
#[derive(Debug)]
pub struct Begun {
    /// What the browser's cookie is to say.
    pub cookie: Secret,
    /// The session.
    pub session: Session,
    /// Openings of the session before it that ended and had a grant of an EHR, as (EHR, handle).
    pub ended: Vec<(String, String)>,
}

/// What the EHR said when it was asked for the patient with the user's own token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was not asked.
    Unasked,
    /// The user may see the patient.
    Allowed,
    /// The user may not.
    Denied,
}

impl Verdict {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }

    fn parse(text: &str) -> Self {
        [Self::Allowed, Self::Denied].into_iter().find(|v| v.as_str() == text).unwrap_or(Self::Unasked)
    }
}

/// A patient that is to be opened.
#[derive(Clone, Debug)]
pub struct NewOpening {
    /// The EHR.
    pub ehr: String,
    /// The patient's id there.
    pub patient: Phi<String>,
    /// What the user is here. An opening never allows more than the session does.
    pub roles: Roles,
    /// Whether the EHR said whom it is about; else somebody looked for the patient here.
    pub launched: bool,
    /// The encounter's id, where the launch named one.
    pub encounter: Option<Phi<String>>,
    /// Whether the page has to say who the patient is (`need_patient_banner`; SMART: yes where the EHR does not say).
    pub banner: bool,
    /// What the launch was for, in the EHR's words.
    pub intent: Option<String>,
    /// The EHR's tenant.
    pub tenant: Option<String>,
    /// `fhirContext` of the launch, JSON.
    pub context: Option<Phi<String>>,
    /// Whether there is a grant of the EHR with it.
    pub granted: bool,
    /// What the EHR said of this user and this patient.
    pub verdict: Verdict,
}

impl NewOpening {
    /// A patient that somebody looked for here, with the roles of their session. There is no token of the user's to ask the EHR with: the
    /// role decides.
    #[must_use]
    pub const fn found(ehr: String, patient: Phi<String>, roles: Roles) -> Self {
        Self {
            ehr,
            patient,
            roles,
            launched: false,
            encounter: None,
            banner: true,
            intent: None,
            tenant: None,
            context: None,
            granted: false,
            verdict: Verdict::Unasked,
        }
    }
}

/// A patient that a session has open.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What stands in URLs.
    pub handle: String,
    /// What is open, and how.
    pub what: NewOpening,
    /// When the EHR was asked for the patient with the user's token.
    pub asked_at: Option<Timestamp>,
    /// When it was made.
    pub opened_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Opening {
    /// Whether its roles have the right.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.what.roles.may(right)
    }
}

/// The sessions of this installation.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    lives: Lifetimes,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// Those of a store.
    #[must_use]
    pub const fn new(store: Store, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, lives: Lifetimes) -> Self {
        Self { store, clock, entropy, lives }
    }

    /// Begins a session in place of the one that the browser had: what was known before a sign-in is worth nothing after it.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn begin(&self, who: Identity, before: Option<&str>) -> Result<Begun, StoreError> {
        let now = self.clock.now();
        let (cookie, csrf) = (random(self.entropy.as_ref()), random(self.entropy.as_ref()));
        let row = SessionRow {
            id: hash(&cookie),
            issuer: who.issuer,
            subject: who.subject,
            name: who.name,
            fhir_user: who.fhir_user,
            ehr: who.ehr,
            roles: who.roles.to_string(),
            way: who.way.as_str().to_owned(),
            csrf,
            begun_at: now.micros(),
            seen_at: now.micros(),
            expires_at: now.plus(self.lives.absolute).micros(),
            note: None,
        };
        let before = before.map(hash);
        let (id, stored) = (row.id.clone(), row);
        let (row, ended) = self
            .store
            .write("begin a session", move |conn| {
                let ended = sessions::begin(conn, &stored, before.as_deref())?;
                Ok((sessions::get(conn, &id)?, ended))
            })
            .await?;
        let session = row.and_then(session).ok_or(StoreError::Damaged("a session"))?;
        Ok(Begun { cookie: Secret::new(cookie), session, ended })
    }

    /// The session of a cookie's value, while it lasts.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn find(&self, cookie: &str) -> Result<Option<Session>, StoreError> {
        let (id, now) = (hash(cookie), self.clock.now());
        let Some(row) = self.store.read(move |conn| sessions::get(conn, &id)).await? else { return Ok(None) };
        let seen = Timestamp::from_micros(row.seen_at);
        if now >= Timestamp::from_micros(row.expires_at) || now >= seen.plus(self.lives.idle) {
            return Ok(None);
        }
        if now >= seen.plus(NOTE_EVERY) {
            let id = row.id.clone();
            self.store.write("note that a session is used", move |conn| sessions::seen(conn, &id, now)).await?;
        }
        Ok(session(row))
    }

    /// Ends a session with all that it has open; returns the openings that had a grant of an EHR, as (EHR, handle).
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn end(&self, id: &str) -> Result<Vec<(String, String)>, StoreError> {
        let id = id.to_owned();
        self.store.write("end a session", move |conn| sessions::end(conn, &id)).await
    }

    /// Throws away sessions and openings that have run out, and sign-ins and links that nobody came back with; returns how many sessions, and the
    /// openings that had a grant of an EHR, as (EHR, handle).
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn sweep(&self) -> Result<(u64, Vec<(String, String)>), StoreError> {
        let (mut swept, mut ended) = (0, Vec::new());
        let now = self.clock.now();
        let idle_since = now.plus(-self.lives.idle);
        loop {
            let over = self.store.read(move |conn| Ok((sessions::run_out(conn, now, idle_since)?, openings::run_out(conn, now)?))).await?;
            if over.0.is_empty() && over.1 == 0 {
                break;
            }
            let (n, more) = self
                .store
                .write("throw sessions away that have run out", move |conn| {
                    let mut ended = openings::end_run_out(conn, now)?;
                    let mut n = 0;
                    for session in over.0.iter().take(SWEPT_AT_ONCE) {
                        // It may have been used since.
                        if sessions::has_run_out(conn, session, now, idle_since)? {
                            ended.extend(sessions::end(conn, session)?);
                            n += 1;
                        }
                    }
                    Ok((n, ended))
                })
                .await?;
            swept += n;
            ended.extend(more);
        }
        self.store.write("throw sign-ins away that have ended", move |conn| sign_ins::sweep(conn, now)).await?;
        Ok((swept, ended))
    }

    /// Keeps what an act has to say for the session's next page.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn leave_note(&self, session: &str, note: &str) -> Result<(), StoreError> {
        let (id, note) = (session.to_owned(), note.to_owned());
        self.store.write("leave a note", move |conn| sessions::leave_note(conn, &id, &note)).await
    }

    /// Takes a note away that was shown, where no later one took its place.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn clear_note(&self, session: &str, note: &str) -> Result<(), StoreError> {
        let (id, note) = (session.to_owned(), note.to_owned());
        self.store.write("take a note away", move |conn| sessions::clear_note(conn, &id, &note)).await
    }

    /// Opens a patient for a session; returns the handle.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn open(&self, session: &str, what: NewOpening) -> Result<String, StoreError> {
        let handle = self.handle();
        self.open_as(&handle, session, what).await?;
        Ok(handle)
    }

    /// A handle that nobody has yet: 128 random bits.
    #[must_use]
    pub fn handle(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.entropy.fill(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// As [`Sessions::open`], under a handle of [`Sessions::handle`].
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn open_as(&self, handle: &str, session: &str, what: NewOpening) -> Result<(), StoreError> {
        let now = self.clock.now();
        let row = OpeningRow {
            handle: handle.to_owned(),
            session: session.to_owned(),
            ehr: what.ehr,
            patient: what.patient.into_inner(),
            roles: what.roles.to_string(),
            way: if what.launched { "launch" } else { "found" }.to_owned(),
            encounter: what.encounter.map(Phi::into_inner),
            banner: what.banner,
            intent: what.intent,
            tenant: what.tenant,
            context: what.context.map(Phi::into_inner),
            granted: what.granted,
            verdict: what.verdict.as_str().to_owned(),
            asked_at: (what.verdict != Verdict::Unasked).then(|| now.micros()),
            opened_at: now.micros(),
            expires_at: now.plus(self.lives.opening).micros(),
        };
        self.store.write("open a patient", move |conn| openings::put(conn, &row)).await
    }

    /// The opening of a handle, where it is this session's and lasts.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn opening(&self, handle: &str, session: &str) -> Result<Option<Opening>, StoreError> {
        let (handle, session, now) = (handle.to_owned(), session.to_owned(), self.clock.now());
        Ok(self.store.read(move |conn| openings::get(conn, &handle, &session, now)).await?.map(opening))
    }

    /// Makes a link by which somebody may sign in once; returns its token.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn make_link(&self, roles: Roles, lasts: TimeDelta) -> Result<Secret, StoreError> {
        let (token, now) = (random(self.entropy.as_ref()), self.clock.now());
        let (hashed, roles) = (hash(&token), roles.to_string());
        self.store.write("make a link to sign in", move |conn| sign_ins::put_link(conn, &hashed, &roles, now, now.plus(lasts))).await?;
        Ok(Secret::new(token))
    }

    /// Whether anybody ever signed in by a link: until then `serve` offers one.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn was_used(&self) -> Result<bool, StoreError> {
        Ok(self.store.read(|conn| installation::get(conn, Setting::SignedIn)).await?.is_some())
    }

    /// Whether a link may still be used.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn link_holds(&self, token: &str) -> Result<bool, StoreError> {
        let (hashed, now) = (hash(token), self.clock.now());
        Ok(self.store.read(move |conn| sign_ins::link(conn, &hashed, now)).await?.is_some())
    }

    /// Uses a link: whoever it makes of its bearer. `None` where it was used, or has ended.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn use_link(&self, token: &str) -> Result<Option<Identity>, StoreError> {
        let (hashed, now) = (hash(token), self.clock.now());
        // The user of a link is that link: two links are two users.
        let subject = hashed.clone();
        let taken = self.store.write("use a link to sign in", move |conn| {
            let roles = sign_ins::take_link(conn, &hashed, now)?;
            if roles.is_some() {
                installation::set(conn, Setting::SignedIn, "true")?;
            }
            Ok(roles)
        });
        let roles = taken.await?;
        Ok(roles.map(|roles| Identity {
            issuer: Identity::BY_LINK.to_owned(),
            subject,
            name: None,
            fhir_user: None,
            ehr: None,
            roles: Roles::parse(&roles),
            way: Way::Link,
        }))
    }
}

/// 256 random bits as text that can stand in a cookie, a form and a URL.
pub(super) fn random(entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; 32];
    entropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How a random value is stored. It is random enough that its digest tells nothing of it.
pub(super) fn hash(value: &str) -> String {
    blake3::hash(value.as_bytes()).to_hex().to_string()
}

fn session(row: SessionRow) -> Option<Session> {
    let who = Identity {
        issuer: row.issuer,
        subject: row.subject,
        name: row.name,
        fhir_user: row.fhir_user,
        ehr: row.ehr,
        roles: Roles::parse(&row.roles),
        way: Way::parse(&row.way)?,
    };
    let (begun_at, expires_at) = (Timestamp::from_micros(row.begun_at), Timestamp::from_micros(row.expires_at));
    Some(Session { id: row.id, who, csrf: row.csrf, begun_at, expires_at, note: row.note.map(Phi::new) })
}

fn opening(row: OpeningRow) -> Opening {
    let what = NewOpening {
        ehr: row.ehr,
        patient: row.patient.into(),
        roles: Roles::parse(&row.roles),
        launched: row.way == "launch",
        encounter: row.encounter.map(Phi::new),
        banner: row.banner,
        intent: row.intent,
        tenant: row.tenant,
        context: row.context.map(Phi::new),
        granted: row.granted,
        verdict: Verdict::parse(&row.verdict),
    };
    Opening {
        handle: row.handle,
        what,
        asked_at: row.asked_at.map(Timestamp::from_micros),
        opened_at: Timestamp::from_micros(row.opened_at),
        expires_at: Timestamp::from_micros(row.expires_at),
    }
}
