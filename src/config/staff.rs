//! Who of the staff may come in, what they are here, and for how long.

use chrono::TimeDelta;
use domain::model::casting::Rule;
use url::Url;

use super::reader::{Section, is_guarded};
use crate::credentials::SecretRef;

/// Staff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staff {
    /// A session that is not used for so long is over.
    pub idle: TimeDelta,
    /// A session is over after so long.
    pub lifetime: TimeDelta,
    /// Who has which roles.
    pub roles: Vec<Rule>,
    /// What a page says where the EHR does not let the user see the patient.
    pub denied: Option<String>,
    /// How much a launched page shows of the patient's other records, which the EHR was not asked for: one of [`OTHER_RECORDS`].
    pub other_records: String,
    /// The site's own provider, for those who do not come from an EHR.
    pub oidc: Option<Oidc>,
}

/// An OpenID Connect provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// The issuer.
    pub issuer: Url,
    /// Our client id there.
    pub client_id: String,
    /// Where our secret there is; a public client where absent.
    pub client_secret: Option<SecretRef>,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
    /// Certificate authorities to trust beside the machine's own, PEM.
    pub ca: Option<SecretRef>,
}

/// How much a launched page shows of a patient's other records.
pub const OTHER_RECORDS: [&str; 3] = ["hidden", "outreach", "shown"];

impl Staff {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        let (minute, day) = (TimeDelta::minutes(1), TimeDelta::days(1));
        let rule = "rules such as \"Practitioner = clinician\", \"main/Practitioner/7 = care-manager\" or \"groups:engage = engagement, operator\"";
        let roles = s.list("roles", rule, |t| Rule::parse(t).is_some()).unwrap_or_default();
        Self {
            idle: s.span("idle", minute, day).unwrap_or(minute * 30),
            lifetime: s.span("lifetime", minute, day * 7).unwrap_or(day / 2),
            roles: roles.iter().filter_map(|t| Rule::parse(t)).collect(),
            denied: s.text("denied"),
            other_records: s
                .parsed("other_records", "\"hidden\", \"outreach\" or \"shown\"", |t| OTHER_RECORDS.into_iter().find(|name| *name == t))
                .unwrap_or(OTHER_RECORDS[0])
                .to_owned(),
            oidc: Oidc::read(&mut s.section("oidc")),
        }
    }
}

impl Oidc {
    fn read(s: &mut Section<'_, '_>) -> Option<Self> {
        let issuer = s.parsed("issuer", "the issuer's https URL such as \"https://login.example.org/realm\"", |t| {
            Url::parse(t).ok().filter(|u| is_guarded(u) && u.query().is_none() && u.fragment().is_none())
        });
        let client_id = s.text("client_id");
        let (client_secret, ca) = (s.secret("client_secret"), s.secret("ca"));
        let word = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic());
        let scopes =
            s.list("scopes", "scopes such as \"openid\"", word).unwrap_or_else(|| ["openid", "profile"].map(str::to_owned).to_vec());
        if s.is_present() {
            for (key, missing) in [("issuer", issuer.is_none()), ("client_id", client_id.is_none())] {
                if missing && !s.has(key) {
                    s.wrong(key, "issuer and client_id are needed; leave [staff.oidc] out where there is no provider");
                }
            }
            if !scopes.iter().any(|scope| scope == "openid") {
                s.wrong("scopes", "\"openid\" must be among them: without it the provider does not say who somebody is");
            }
        }
        Some(Self { issuer: issuer?, client_id: client_id?, client_secret, scopes, ca })
    }
}
