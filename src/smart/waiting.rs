//! Sign-ins and launches that wait for the browser to come back: kept under the hash of their `state`, bound to the browser that began them, and
//! taken out by the first that comes.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::Clock;
use serde::{Deserialize, Serialize};
use url::Url;

use super::session::hash;
use super::{NoEntry, Way};
use crate::credentials::sealing::MasterKey;
use crate::ehr::Secret;
use crate::ehr::auth::authorize::Request;
use crate::store::sign_ins::{self, SignInRow};
use crate::store::{Store, StoreError};

/// How long somebody may take to sign in at the EHR or the provider.
const LASTS: TimeDelta = TimeDelta::minutes(10);
/// So many may wait at once: whoever asks for more is no person.
const MOST: i64 = 10_000;

/// What has to be known when the browser comes back.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The secret of PKCE.
    pub verifier: String,
    /// What the id_token has to repeat.
    pub nonce: String,
    /// The redirect URL that was sent.
    pub redirect: Url,
    /// Who is expected to answer (RFC 9207).
    pub issuer: Option<String>,
    /// Whether the EHR began it.
    pub launched: bool,
    /// Where to go afterwards, a path of ours.
    pub back: Option<String>,
}

impl Kept {
    /// What has to be known of a request.
    pub fn of(request: &Request, nonce: String, issuer: Option<&str>) -> Self {
        Self {
            verifier: request.verifier.expose().to_owned(),
            nonce,
            redirect: request.redirect.clone(),
            issuer: issuer.map(str::to_owned),
            launched: false,
            back: None,
        }
    }
}

/// What the browser comes back with.
#[derive(Clone, Default, Deserialize)]
pub struct Answer {
    /// Names the request.
    pub state: Option<String>,
    /// What is exchanged for tokens.
    pub code: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

/// Those that wait.
#[derive(Clone)]
pub(super) struct Waiting {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Waiting {
    pub const fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Keeps one.
    pub async fn put(
        &self,
        master: &MasterKey,
        request: &Request,
        (way, ehr): (Way, Option<&str>),
        browser: &str,
        kept: &Kept,
    ) -> Result<(), NoEntry> {
        let (state, now) = (hash(request.state()), self.clock.now());
        let text = serde_json::to_vec(kept).map_err(|_| StoreError::Damaged("a sign-in"))?;
        let sealed = master.seal(&label(&state), &text).map_err(|e| NoEntry::Here(e.to_string()))?;
        let row = SignInRow {
            state,
            browser: hash(browser),
            way: way.as_str().to_owned(),
            ehr: ehr.map(str::to_owned),
            sealed,
            begun_at: now.micros(),
            expires_at: now.plus(LASTS).micros(),
        };
        let kept = self.store.write("begin a sign-in", move |conn| {
            if sign_ins::waiting(conn, now)? >= MOST {
                return Ok(false);
            }
            sign_ins::put(conn, &row).map(|()| true)
        });
        if kept.await? { Ok(()) } else { Err(NoEntry::Here("too many sign-ins are under way".to_owned())) }
    }

    /// Takes out the one that an answer belongs to, where it was begun in this browser and this way; the EHR that it is of.
    pub async fn take(
        &self,
        master: &MasterKey,
        answer: &Answer,
        way: Way,
        browser: Option<&str>,
    ) -> Result<(Kept, Option<String>), NoEntry> {
        let state = answer.state.as_deref().filter(|s| !s.is_empty()).ok_or(NoEntry::Foreign)?;
        let browser = browser.ok_or(NoEntry::Foreign)?;
        let (state, browser, now) = (hash(state), hash(browser), self.clock.now());
        let sealed_for = label(&state);
        let row = self.store.write("end a sign-in", move |conn| sign_ins::take(conn, &state, &browser, now)).await?;
        let row = row.filter(|row| row.way == way.as_str()).ok_or(NoEntry::Foreign)?;
        let text = master.open(&sealed_for, &row.sealed).map_err(|_| NoEntry::Foreign)?;
        let kept = serde_json::from_slice(&text).map_err(|_| NoEntry::Foreign)?;
        Ok((kept, row.ehr))
    }
}

/// The code of an answer to this request.
pub(super) fn code(answer: &Answer, kept: &Kept) -> Result<Secret, NoEntry> {
    let trimmed = |text: &str| text.trim_end_matches('/').to_owned();
    // Who says who they are, where nobody is expected, may be anybody: the code must not go to whom it was begun at.
    if let Some(said) = &answer.iss
        && kept.issuer.as_ref().is_none_or(|known| trimmed(said) != trimmed(known))
    {
        return Err(NoEntry::Mixed);
    }
    if let Some(error) = &answer.error {
        // Only words of RFC 6749 and OpenID Connect: whatever else stands there is not shown to anybody.
        let plain = error.len() <= 40 && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        return Err(NoEntry::Refused(if plain { error.clone() } else { "an error".to_owned() }));
    }
    answer.code.clone().filter(|c| !c.is_empty()).map(Secret::new).ok_or(NoEntry::Foreign)
}

fn label(state: &str) -> String {
    format!("sign-in/{state}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_from_whoever_was_asked_and_from_nobody_else() {
        let with = |said: Option<&str>, known: Option<&str>| {
            let kept = Kept {
                verifier: "v".to_owned(),
                nonce: "n".to_owned(),
                redirect: Url::parse("https://engage.example.org/callback").unwrap(),
                issuer: known.map(str::to_owned),
                launched: true,
                back: None,
            };
            let answer = Answer { code: Some("c".to_owned()), iss: said.map(str::to_owned), ..Answer::default() };
            code(&answer, &kept).is_ok()
        };
        assert!(with(None, None) && with(None, Some("https://a.example")), "many servers do not say who they are");
        assert!(with(Some("https://a.example/"), Some("https://a.example")));
        assert!(!with(Some("https://b.example"), Some("https://a.example")));
        assert!(!with(Some("https://b.example"), None), "the code would go to whom the launch was begun at");
    }
}
