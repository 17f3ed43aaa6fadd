//! How an EHR lets this gateway in, and the way there: the options of `ehr add` for secrets and networks, and `ehr authorize`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use domain::model::EhrId;
use url::Url;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::{App, GrantError};
use crate::credentials::SecretRef;
use crate::ehr::auth::SecretMethod;
use crate::ehr::misread;
use crate::ehr::profile::{AudForm, Auth, ClientCertificate, ClientSecret, Profile, Proxy, PurposeScopes, TypeCredential, UserGrant};

/// Options for secrets and networks
#[derive(Debug, Args)]
pub(super) struct Access {
    /// Where the client's secret is, for an EHR that takes no signed assertion: env:NAME or file:PATH
    #[arg(long, value_name = "SECRET", requires = "client_id", help_heading = "Access")]
    client_secret: Option<String>,
    /// How the secret is shown [default: as the EHR says]
    #[arg(long, value_name = "METHOD", requires = "client_secret", help_heading = "Access")]
    client_auth: Option<Method>,
    /// A person grants access once, by `ehr authorize`; without --client-secret and --sign as a public client
    #[arg(long, requires = "client_id", help_heading = "Access")]
    user_grant: bool,
    /// With --user-grant: the client signs with this installation's key
    #[arg(long, requires = "user_grant", conflicts_with = "client_secret", help_heading = "Access")]
    sign: bool,
    /// Where the EHR sends the person back to, as registered there [default: http://127.0.0.1:8723/callback]
    #[arg(long, value_name = "URL", requires = "user_grant", help_heading = "Access")]
    redirect_url: Option<Url>,
    /// Other credentials for some types, TOML or JSON; see the examples
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    credentials: Option<PathBuf>,
    /// The day on which the secret or token ends, such as 2027-03-31
    #[arg(long, value_name = "DAY", help_heading = "Access")]
    secret_expires: Option<NaiveDate>,
    /// A scope to ask for when writing back, in place of those that are needed; may be repeated
    #[arg(long = "write-scope", value_name = "SCOPE", help_heading = "Access")]
    write_scopes: Vec<String>,
    /// A scope to ask for when reading, in place of those that are needed; may be repeated
    #[arg(long = "read-scope", value_name = "SCOPE", help_heading = "Access")]
    read_scopes: Vec<String>,
    /// The form of aud when a person grants access [default: as the vendor's preset says, else base]
    #[arg(long, value_name = "FORM", help_heading = "Access")]
    aud: Option<Aud>,
    /// The audience of signed assertions, where it is not the token endpoint
    #[arg(long, value_name = "TEXT", help_heading = "Access")]
    assertion_aud: Option<String>,
    /// A PEM file with the certificate to show to the EHR (mutual TLS)
    #[arg(long, value_name = "FILE", requires = "client_cert_key", help_heading = "Network")]
    client_cert: Option<PathBuf>,
    /// Where its private key is: env:NAME or file:PATH
    #[arg(long, value_name = "SECRET", requires = "client_cert", help_heading = "Network")]
    client_cert_key: Option<String>,
    /// The HTTP proxy through which the EHR is reached; variables of the environment play no part
    #[arg(long, value_name = "URL", help_heading = "Network")]
    proxy: Option<Url>,
    /// The name to log in at the proxy with
    #[arg(long, value_name = "NAME", requires_all = ["proxy", "proxy_password"], help_heading = "Network")]
    proxy_user: Option<String>,
    /// Where the proxy's password is: env:NAME or file:PATH
    #[arg(long, value_name = "SECRET", requires = "proxy_user", help_heading = "Network")]
    proxy_password: Option<String>,
    /// What is reached without the proxy: a host, .domain or network; may be repeated
    #[arg(long, value_name = "HOST", requires = "proxy", help_heading = "Network")]
    no_proxy: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    Basic,
    Post,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Aud {
    Base,
    NoSlash,
    Absent,
}

impl Access {
    /// Whether the client signs with a key of this installation.
    pub(super) const fn signs(&self) -> bool {
        self.sign || (self.client_secret.is_none() && !self.user_grant)
    }

    /// How a client of this id authorises, where it is not by Backend Services.
    pub(super) fn auth(&self, client_id: &str, token_url: Option<&Url>) -> Result<Option<Auth>, Failure> {
        let (secret, method) = (self.client_secret.clone(), self.client_auth.map(Method::given));
        if let Some(pointer) = &secret {
            SecretRef::parse(pointer).map_err(|e| Failure::usage(format!("--client-secret: {e}")))?;
        }
        let (client_id, token_url) = (client_id.to_owned(), token_url.cloned());
        if self.user_grant {
            let redirect_url = self.redirect_url.clone();
            let grant = UserGrant { client_id, secret, method, key: self.sign, token_url, redirect_url, ..UserGrant::default() };
            return Ok(Some(Auth::UserGrant(grant)));
        }
        Ok(secret.map(|secret| Auth::ClientSecret(ClientSecret { client_id, secret, method, token_url, dialect: None })))
    }

    /// Puts the rest into a profile.
    pub(super) fn apply(self, profile: &mut Profile) -> Result<(), Failure> {
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        profile.credentials = self.credentials.as_deref().map(credentials).transpose()?.unwrap_or_default();
        profile.credential_expires = self.secret_expires;
        profile.scopes = PurposeScopes { read: some(self.read_scopes), write: some(self.write_scopes), launch: None };
        profile.audience.authorize = self.aud.map(|form| match form {
            Aud::Base => AudForm::Base,
            Aud::NoSlash => AudForm::NoSlash,
            Aud::Absent => AudForm::Absent,
        });
        profile.audience.assertion = self.assertion_aud;
        profile.client_certificate =
            self.client_cert.zip(self.client_cert_key).map(|(certificate, key)| ClientCertificate { certificate, key });
        let (user, password, except) = (self.proxy_user, self.proxy_password, self.no_proxy);
        profile.proxy = self.proxy.map(|url| Proxy { url, user, password, except });
        Ok(())
    }
}

impl Method {
    const fn given(self) -> SecretMethod {
        match self {
            Self::Basic => SecretMethod::Basic,
            Self::Post => SecretMethod::Post,
        }
    }
}

fn credentials(path: &Path) -> Result<BTreeMap<String, TypeCredential>, Failure> {
    misread::read_value(&super::ehr::settings(path)?).map_err(|e| {
        Failure::usage(format!(
            "{} holds no credentials ({e}): each is a table [NAME] with `types`, and a table [NAME.auth] with `kind` and `client_id`",
            path.display()
        ))
    })
}

/// Let a person grant this gateway access, once
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage ehr authorize main
      prints an address to open in a browser on this machine, and waits
  fhir-engage ehr authorize main --credential desk
      for a credential beside the EHR's own
  fhir-engage ehr authorize main --paste
      for a browser on another machine: paste the address that it ended at

The EHR's answer is kept sealed and renewed by itself. Repeat it where `fhir-engage check` says that a grant was lost or ends.")]
pub(super) struct Authorize {
    /// The EHR's name
    #[arg(value_name = "ID")]
    id: String,
    /// The credential, where it is not the EHR's own
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    credential: String,
    /// Read the address that the browser ended at from standard input
    #[arg(long)]
    paste: bool,
    /// How many minutes to wait for the browser
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    minutes: u64,
}

impl Authorize {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let id: EhrId = super::ehr::ehr_id(&self.id)?;
        let inviting = app.invite(&id, &self.credential).await?;
        let back = if self.paste || !inviting.can_wait() {
            print::note("open this address in a browser, and let it end at the redirect URL (it may show an error there):");
            print::note(inviting.url().as_str());
            if std::io::stdin().is_terminal() {
                print::note("then paste the whole address here:");
            }
            let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next().and_then(Result::ok)).await.ok().flatten();
            let line = line.ok_or_else(|| Failure::usage("nothing was pasted".to_owned()))?;
            Url::parse(line.trim()).map_err(|_| Failure::usage("that is no address; paste all of it, from http on".to_owned()))?
        } else {
            let waiting = inviting.listen().await?;
            print::note("open this address in a browser on this machine:");
            print::note(inviting.url().as_str());
            print::note(&format!("waiting for it to come back to {} (Ctrl-C gives up) ...", inviting.redirect()));
            waiting.back(&inviting, Duration::from_secs(60 * self.minutes)).await?
        };
        let scope = app.accept(&inviting, &back).await?;
        if common.json {
            print::json(&serde_json::json!({ "ehr": id, "credential": self.credential, "scope": scope }));
        } else {
            print::line(&format!("Granted: {scope}"));
            print::line(&format!("Next: fhir-engage ehr check {id}"));
        }
        Ok(Ended::Well)
    }
}

impl From<GrantError> for Failure {
    fn from(error: GrantError) -> Self {
        Self::problem(error.to_string())
    }
}
