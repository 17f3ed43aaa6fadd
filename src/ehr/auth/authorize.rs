//! How a person lets this gateway in: the authorization request that a browser is sent with, and what it comes back with (SMART App Launch
//! 2.2, "Obtain authorization code"; RFC 7636 for PKCE; RFC 9207 for `iss`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use url::Url;

use crate::ehr::Entropy;
use crate::net::Secret;

/// An authorization request, and what its answer must fit.
pub struct Request {
    /// Where the browser goes.
    pub url: Url,
    /// The redirect URL, to be repeated when the code is exchanged.
    pub redirect: Url,
    /// The secret of PKCE, whose digest is in the URL.
    pub verifier: Secret,
    state: String,
    issuer: Option<String>,
}

/// What a request is made of.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The authorization endpoint.
    pub endpoint: Url,
    /// The client's id.
    pub client_id: String,
    /// The redirect URL as registered.
    pub redirect: Url,
    /// The scopes.
    pub scopes: Vec<String>,
    /// `aud`; left out where absent.
    pub aud: Option<String>,
    /// The issuer that discovery names.
    pub issuer: Option<String>,
    /// What else belongs to it: `launch`, `nonce`.
    pub more: Vec<(&'static str, String)>,
}

/// Why what came back is no code.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACode {
    /// The person, or the server, said no.
    #[error("the EHR's authorization server refused with {code}{}", .description.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Refused {
        /// `access_denied`, ...
        code: String,
        /// What it says of it.
        description: Option<String>,
    },
    /// The answer belongs to another request.
    #[error("the answer does not belong to this request (its state is another); begin again, and use only the URL that was printed last")]
    State,
    /// The answer comes from another server.
    #[error("the answer comes from another authorization server than the EHR's (its iss is another); nothing was exchanged")]
    Issuer,
    /// There is no code in it.
    #[error("there is no authorization code in it; paste the whole address that the browser ended at")]
    Missing,
}

impl Request {
    /// Makes a request.
    #[must_use]
    pub fn new(terms: Terms, entropy: &dyn Entropy) -> Self {
        let random = || {
            let mut bytes = [0_u8; 32];
            entropy.fill(&mut bytes);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let (state, verifier) = (random(), random());
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let mut url = terms.endpoint;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &terms.client_id)
            .append_pair("redirect_uri", terms.redirect.as_str())
            .append_pair("scope", &terms.scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if let Some(aud) = &terms.aud {
            url.query_pairs_mut().append_pair("aud", aud);
        }
        let launched = terms.more.iter().any(|(name, _)| *name == "launch");
        url.query_pairs_mut().extend_pairs(&terms.more);
        // Whoever comes from the EHR is signed in there, and what they are asked there is the EHR's business.
        if !launched && terms.scopes.iter().any(|s| s == "offline_access") && terms.scopes.iter().any(|s| s == "openid") {
            // OpenID Connect Core, 11: without it a server may leave the refresh token out.
            url.query_pairs_mut().append_pair("prompt", "consent");
        }
        Self { url, redirect: terms.redirect, verifier: Secret::new(verifier), state, issuer: terms.issuer }
    }

    /// What the answer repeats.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Reads the code out of the URL that the browser came back to.
    ///
    /// # Errors
    /// [`NotACode`].
    pub fn code(&self, back: &Url) -> Result<Secret, NotACode> {
        let value = |name: &str| back.query_pairs().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.into_owned());
        if value("state").as_deref() != Some(self.state.as_str()) {
            return Err(NotACode::State);
        }
        if let (Some(said), Some(known)) = (value("iss"), &self.issuer)
            && said.trim_end_matches('/') != known.trim_end_matches('/')
        {
            return Err(NotACode::Issuer);
        }
        let short = |text: String| text.chars().filter(|c| !c.is_control()).take(160).collect::<String>();
        if let Some(code) = value("error") {
            return Err(NotACode::Refused { code: short(code), description: value("error_description").map(short) });
        }
        value("code").map(Secret::new).ok_or(NotACode::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(1);
        }
    }

    fn request() -> Request {
        let terms = Terms {
            endpoint: Url::parse("https://ehr.example.org/authorize?tenant=1").unwrap(),
            client_id: "app".to_owned(),
            redirect: Url::parse("http://127.0.0.1:8723/callback").unwrap(),
            scopes: vec!["openid".to_owned(), "offline_access".to_owned(), "user/Appointment.read".to_owned()],
            aud: Some("https://ehr.example.org/r4".to_owned()),
            issuer: Some("https://ehr.example.org/oauth".to_owned()),
            more: vec![("nonce", "n-1".to_owned())],
        };
        Request::new(terms, &Fixed)
    }

    #[test]
    fn a_request_has_all_that_smart_asks_for() {
        let request = request();
        let pairs: std::collections::BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        assert_eq!(pairs["tenant"], "1", "what the endpoint has of its own stays");
        assert_eq!((pairs["response_type"].as_str(), pairs["code_challenge_method"].as_str()), ("code", "S256"));
        assert_eq!((pairs["aud"].as_str(), pairs["nonce"].as_str()), ("https://ehr.example.org/r4", "n-1"));
        let digest = digest::digest(&digest::SHA256, request.verifier.expose().as_bytes());
        assert_eq!(pairs["code_challenge"], URL_SAFE_NO_PAD.encode(digest));
        assert!((43..=128).contains(&request.verifier.expose().len()) && pairs["state"].len() >= 22);
    }

    #[test]
    fn only_the_answer_to_this_request_has_its_code() {
        let request = request();
        let state = URL_SAFE_NO_PAD.encode([1_u8; 32]);
        let read = |query: &str| request.code(&Url::parse(&format!("http://127.0.0.1:8723/callback?{query}")).unwrap());
        assert_eq!(read(&format!("code=c1&state={state}")).unwrap().expose(), "c1");
        assert_eq!(read(&format!("code=c1&state={state}&iss=https://ehr.example.org/oauth/")).unwrap().expose(), "c1");
        assert_eq!(read(&format!("code=c1&state={state}&iss=https://evil.example.org")), Err(NotACode::Issuer));
        assert_eq!(read("code=c1&state=other"), Err(NotACode::State));
        assert_eq!(read("code=c1"), Err(NotACode::State));
        assert_eq!(read("error=access_denied"), Err(NotACode::State), "a forged refusal is none");
        assert_eq!(read(&format!("state={state}")), Err(NotACode::Missing));
        let refused = read(&format!("error=access_denied&error_description=no%0Away&state={state}")).unwrap_err();
        assert_eq!(refused.to_string(), "the EHR's authorization server refused with access_denied (noway)");
    }
}
