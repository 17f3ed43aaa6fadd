//! Sign-in by the site's own provider (OpenID Connect Core 1.0, code flow with PKCE): for those who work in the dashboard and do not come from an EHR.
//! The provider's endpoints are those that its issuer publishes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Clock;
use serde_json::Value;
use url::Url;

use super::id_token::{self, Expected};
use super::launch::Ehrs;
use super::session::random;
use super::waiting::{Answer, Kept, Waiting, code};
use super::{Identity, NoEntry, Way};
use crate::ehr::auth::SecretMethod;
use crate::ehr::auth::authorize::{Request, Terms};
use crate::ehr::auth::exchange::{Exchange, Given, Proof};
use crate::ehr::{Entropy, Secret};
use crate::net::{Http, Origin, Peer, Request as Get};
use crate::store::Store;
use domain::model::Casting;

/// What the site says of its provider.
#[derive(Clone, Debug)]
pub struct Account {
    /// The issuer.
    pub issuer: Url,
    /// Our client id there.
    pub client_id: String,
    /// Our secret there; a public client where absent.
    pub secret: Option<Secret>,
    /// The scopes to ask for, `openid` among them.
    pub scopes: Vec<String>,
    /// Certificate authorities to trust beside the system's, PEM.
    pub extra_ca: Option<Vec<u8>>,
}

/// The site's provider.
#[derive(Clone)]
pub struct Provider {
    terms: Arc<Account>,
    waiting: Waiting,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ehrs: Arc<dyn Ehrs>,
    casting: Arc<Casting>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

/// What the provider publishes.
struct Published {
    issuer: String,
    authorize: Url,
    token: Url,
    keys: Url,
    posts: bool,
    http: Http,
}

impl Provider {
    /// The provider of these terms, with roles by these rules. `ehrs` holds the key that seals what waits.
    #[must_use]
    pub fn new(
        terms: Account,
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        ehrs: Arc<dyn Ehrs>,
        casting: Arc<Casting>,
    ) -> Self {
        Self { terms: Arc::new(terms), waiting: Waiting::new(store, Arc::clone(&clock)), clock, entropy, ehrs, casting }
    }

    /// Begins a sign-in: where the browser is sent. `back` is a path of ours, to go to afterwards.
    ///
    /// # Errors
    /// [`NoEntry`].
    pub async fn begin(&self, redirect: Url, browser: &str, back: Option<String>) -> Result<Url, NoEntry> {
        let published = self.published().await?;
        let nonce = random(self.entropy.as_ref());
        let terms = Terms {
            endpoint: published.authorize,
            client_id: self.terms.client_id.clone(),
            redirect,
            scopes: self.terms.scopes.clone(),
            aud: None,
            issuer: Some(published.issuer.clone()),
            more: vec![("nonce", nonce.clone())],
        };
        let request = Request::new(terms, self.entropy.as_ref());
        let kept = Kept { back, ..Kept::of(&request, nonce, Some(&published.issuer)) };
        let master = self.ehrs.master().map_err(NoEntry::Here)?;
        self.waiting.put(&master, &request, (Way::Oidc, None), browser, &kept).await?;
        Ok(request.url)
    }

    /// Ends a sign-in: who it is, and where to go.
    ///
    /// # Errors
    /// [`NoEntry`]; nobody was let in then.
    pub async fn finish(&self, answer: &Answer, browser: Option<&str>) -> Result<(Identity, Option<String>), NoEntry> {
        let master = self.ehrs.master().map_err(NoEntry::Here)?;
        let (kept, _) = self.waiting.take(&master, answer, Way::Oidc, browser).await?;
        let code = code(answer, &kept)?;
        let published = self.published().await?;
        let method = if published.posts { SecretMethod::Post } else { SecretMethod::Basic };
        let proof = self.terms.secret.as_ref().map_or(Proof::Public, |secret| Proof::Secret(secret, method));
        let exchange = Exchange { http: &published.http, token_url: &published.token, client_id: &self.terms.client_id, proof };
        let mut jti = [0_u8; 16];
        self.entropy.fill(&mut jti);
        let verifier = Secret::new(kept.verifier.clone());
        let asked = exchange.ask(Given::Code(&code, &kept.redirect, &verifier), self.clock.now(), &URL_SAFE_NO_PAD.encode(jti)).await;
        let grant = asked.result.map_err(|e| NoEntry::Server(e.to_string()))?;
        let token = grant.context.id_token.ok_or(NoEntry::NoIdentity)?;
        let keys = get(&published.http, published.keys).await?;
        let expected = Expected { issuer: &published.issuer, client_id: &self.terms.client_id, nonce: &kept.nonce, now: self.clock.now() };
        let claims = id_token::verify(token.expose(), &keys, &expected)?;
        let roles = self.casting.of_claims(|claim| claims.values(claim));
        if roles.is_empty() {
            tracing::info!("somebody signed in whom no rule of [staff] gives a role");
            return Err(NoEntry::NoRole);
        }
        let who = Identity {
            issuer: claims.issuer().to_owned(),
            subject: claims.subject().to_owned(),
            name: claims.name(),
            fhir_user: None,
            ehr: None,
            roles,
            way: Way::Oidc,
        };
        Ok((who, kept.back))
    }

    /// What the issuer publishes (OpenID Connect Discovery 1.0, 4). Asked for each time: sign-ins are few, and keys and endpoints move.
    async fn published(&self) -> Result<Published, NoEntry> {
        let issuer = &self.terms.issuer;
        let at = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
        let at = Url::parse(&at).map_err(|_| NoEntry::Here("staff.oidc.issuer is no URL".to_owned()))?;
        let first = self.http(std::slice::from_ref(issuer))?;
        let document: Value =
            serde_json::from_slice(&get(&first, at).await?).map_err(|_| NoEntry::Server("its configuration is not JSON".to_owned()))?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let said = text("issuer").unwrap_or_default();
        if said.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
            return Err(NoEntry::Server("its configuration is another issuer's".to_owned()));
        }
        let endpoint = |name: &'static str| {
            let url = text(name).and_then(|t| Url::parse(t).ok());
            let safe = url.filter(|u| Origin::of(u).is_some_and(|o| o.is_https() || o.is_loopback()));
            safe.ok_or_else(|| NoEntry::Server(format!("its configuration has no safe {name}")))
        };
        let (authorize, token, keys) = (endpoint("authorization_endpoint")?, endpoint("token_endpoint")?, endpoint("jwks_uri")?);
        let methods = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let offers = |name: &str| methods.is_some_and(|all| all.iter().any(|m| m.as_str() == Some(name)));
        let posts = offers("client_secret_post") && !offers("client_secret_basic");
        // The issuer is the operator's word, and its endpoints are the issuer's.
        let http = self.http(&[issuer.clone(), token.clone(), keys.clone()])?;
        Ok(Published { issuer: said.to_owned(), authorize, token, keys, posts, http })
    }

    fn http(&self, urls: &[Url]) -> Result<Http, NoEntry> {
        let mut peer = Peer::at(urls.iter().filter_map(Origin::of).collect());
        peer.extra_ca.clone_from(&self.terms.extra_ca);
        peer.timeout = std::time::Duration::from_secs(20);
        peer.body_limit = 1024 * 1024;
        Http::new(peer).map_err(|e| NoEntry::Here(e.to_string()))
    }
}

async fn get(http: &Http, url: Url) -> Result<Vec<u8>, NoEntry> {
    let answer = http.send(Get::get(url)).await.map_err(|e| NoEntry::Server(e.to_string()))?;
    let status = answer.status.as_u16();
    if answer.status.is_success() { Ok(answer.body) } else { Err(NoEntry::Server(format!("HTTP status {status}"))) }
}
