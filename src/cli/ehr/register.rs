//! `ehr register`: the sheet for a vendor's portal.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;
use crate::connect::{Sheet, sheet};
use crate::ehr::auth::Dialect;
use crate::ehr::vendor::{self, KeyForm, Said};

pub(super) async fn register(app: &App, common: &Common, vendor: &str, ehr: Option<&EhrId>) -> Result<Ended, Failure> {
    let preset = vendor::preset(vendor).ok_or_else(|| Failure::usage(format!("known vendors are {}", vendor::known())))?;
    let profile = match ehr {
        Some(id) => Some(app.profile(id).await?),
        None => None,
    };
    let sheet = sheet(preset, app.config.web.external_url.as_ref(), profile.as_ref());
    if common.json {
        print::json(&sheet);
    } else {
        tell(&sheet);
    }
    Ok(Ended::Well)
}

fn tell(sheet: &Sheet) {
    let field = |name: &str, value: &str| print::line(&format!("  {name:<18} {value}"));
    print::line(&format!("{}: what to enter where the client is registered", sheet.title));
    if let Some(portal) = &sheet.portal {
        field("portal", portal);
    }
    field("kind of client", "confidential, backend services (client_credentials with private_key_jwt)");
    sheet.redirect_urls.iter().for_each(|url| field("redirect URL", url));
    field("launch URL", &sheet.launch_url);
    match sheet.keys {
        KeyForm::Url => field("JWKS URL", &sheet.jwks_url),
        KeyForm::None => field("public key", "none: such servers know no keys of clients"),
        KeyForm::Either | KeyForm::Unknown => {
            field("JWKS URL", &sheet.jwks_url);
            field("", "or, where no URL can be given, the output of `fhir-engage keys jwks`");
        }
    }
    if !sheet.algorithms.is_empty() {
        field("signature", &sheet.algorithms.join(" or "));
    }
    for purpose in &sheet.scopes {
        let dialect = if purpose.dialect == Dialect::V1 { "v1" } else { "v2" };
        let (first, rest) = purpose.scopes.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        field(&format!("{} scopes {dialect}", purpose.purpose), first);
        rest.iter().for_each(|scope| field("", scope));
    }
    sheet.headers.iter().for_each(|(name, value)| field("sent header", &format!("{name}: {value}")));
    let list = |title: &str, all: &[Said]| {
        if !all.is_empty() {
            print::line(&format!("\n{title}"));
        }
        all.iter().for_each(|s| print::line(&format!("  - {} [{}]", s.says, s.source)));
    };
    list("ask for", &sheet.ask);
    list("cannot be", &sheet.cannot);
    list("mind", &sheet.mind);
    list("published limit", sheet.limit.as_slice());
    if sheet.placeholder {
        print::note("the gateway's own address is not configured: set external_url in [web], and the addresses above are filled in");
    }
}
