//! From an error to one sentence that says which fault it is, and what to do.
//!
//! Token endpoints answer `invalid_client` to a wrong key, an unknown client and a wrong clock alike. What tells them apart is the
//! server's `Date`, and where it has one, its description.

use chrono::TimeDelta;
use domain::model::ResourceType;

use crate::ehr::auth::{Need, TokenError};
use crate::ehr::connection::ConnectError;
use crate::ehr::error::EhrError;
use crate::net::failure::ProxyFault;
use crate::net::{Certificate, Failure, FailureKind};

/// What was found, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub says: String,
    pub remedy: String,
}

fn finding(says: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { says: says.into(), remedy: remedy.into() }
}

pub(super) fn connect(error: &ConnectError) -> Finding {
    match error {
        ConnectError::Statement(error) => ehr(error),
        ConnectError::NotFhir(what) => finding(
            format!("the base URL is not that of a FHIR R4 server: {what}"),
            "correct base_url; it is the URL to which /metadata is appended",
        ),
        ConnectError::Setup(source) => finding(format!("{error}: {source}"), "correct the connection's TLS settings"),
        ConnectError::ClientCertificate(_, source) => finding(format!("{error}: {source}"), "correct client_certificate"),
        ConnectError::ExtraCa(_, source) => finding(format!("{error}: {source}"), "correct extra_ca"),
        ConnectError::TokenElsewhere(_) => {
            finding(error.to_string(), "name it with `ehr add --token-url URL`, if the EHR's operator confirms that address")
        }
        ConnectError::Token(TokenError::NoTokenEndpoint) => no_token_endpoint(),
        ConnectError::Token(source) => token(source, None, true),
        ConnectError::Credential => finding(error.to_string(), "correct auth, or create a signing key"),
        ConnectError::FilesOnly => finding(error.to_string(), "nothing"),
    }
}

pub(super) fn empty_statement() -> Finding {
    finding(
        "its CapabilityStatement lists no resource type: nothing can be planned by it",
        "ask the EHR's operator for the whole statement; until then say how each type is read (`ehr add --strategy`)",
    )
}

pub(super) fn no_token_endpoint() -> Finding {
    finding("the EHR names no token endpoint", "name the one that the EHR's operator tells with `ehr add --token-url URL`")
}

pub(super) fn algorithm(ours: &str, theirs: &[String]) -> Finding {
    let theirs: Vec<&str> = theirs.iter().map(String::as_str).take(8).collect();
    finding(
        format!("the key signs with {ours}, and the EHR says that it takes {}", theirs.join(", ")),
        "register this EHR again with one of these (`ehr add --key-alg`), and its key with the EHR (`keys jwks`); RS384 is taken by most",
    )
}

pub(super) fn clock(ahead: TimeDelta) -> Finding {
    let minutes = (ahead.num_seconds().abs() + 30) / 60;
    let side = if ahead > TimeDelta::zero() { "behind" } else { "ahead of" };
    finding(
        format!("this machine's clock is {minutes} minutes {side} the EHR's"),
        "set this machine's clock (switch time synchronisation on); the EHR refuses signatures that are off by more than a few minutes",
    )
}

/// What a refused or failed token request means, of a client that signs (`by_key`) or shows a secret.
pub(super) fn token(error: &TokenError, skew: Option<TimeDelta>, by_key: bool) -> Finding {
    match error {
        TokenError::Refused { code, description } if !by_key && matches!(code.as_str(), "invalid_client" | "invalid_grant") => {
            let said = description.as_ref().map(|d| format!(" (the EHR says: {d})")).unwrap_or_default();
            finding(
                format!("the EHR does not accept this client id with this secret{said}"),
                "compare both with the client's registration; a secret with other characters than letters, digits, '-', '.' and '_' is taken in \
                 the form only by some servers (`ehr add --client-auth post`)",
            )
        }
        TokenError::Refused { code, description } => refused(code, description.as_deref(), skew),
        TokenError::Unreachable(failure) => unreachable(failure, "the token endpoint"),
        TokenError::Unusable { status } => finding(
            format!("the token endpoint failed with HTTP status {status} and gave no token"),
            "try again later; if it stays so, check `ehr add --token-url` and ask the EHR's operator (some servers answer so to a key they cannot use)",
        ),
        TokenError::NoTokenEndpoint => no_token_endpoint(),
        TokenError::NotBearer => finding(error.to_string(), "ask the EHR's operator to issue bearer tokens to this client"),
        TokenError::NotAuthorised(_) | TokenError::GrantLost { .. } => {
            finding(error.to_string(), "let a person who may see these data grant it: `fhir-engage ehr authorize`")
        }
        TokenError::Awaited => finding(error.to_string(), "try again in a minute; another process of this installation is at it"),
        TokenError::Keeper(_) => finding(error.to_string(), "check the database and the master key: `fhir-engage check`"),
        TokenError::Paused(_) => finding(error.to_string(), "try again then"),
        TokenError::Signing(_) => finding("the signing key cannot sign", "create a new key and register it with the EHR"),
    }
}

fn refused(code: &str, description: Option<&str>, skew: Option<TimeDelta>) -> Finding {
    // An error that the clocks explain is explained by the clocks.
    if let Some(ahead) = skew.filter(|_| matches!(code, "invalid_client" | "invalid_grant" | "invalid_request")) {
        return clock(ahead);
    }
    let said = description.map(|d| format!(" (the EHR says: {d})")).unwrap_or_default();
    let words = description.unwrap_or_default().to_ascii_lowercase();
    let has = |any: &[&str]| any.iter().any(|w| words.contains(w));
    match code {
        "invalid_scope" => finding(
            format!("the EHR grants this client none of the scopes asked for{said}"),
            "have the scopes that the connection needs added to the client's registration",
        ),
        "unauthorized_client" | "unsupported_grant_type" => finding(
            format!("the client is not registered for backend services (client_credentials){said}"),
            "have the grant type client_credentials with private_key_jwt enabled for this client",
        ),
        "invalid_client" | "invalid_grant" | "invalid_request" if has(&["expired", "exp ", "future", "not yet valid", "clock"]) => finding(
            format!("the EHR refuses the time in our signature: the clocks of this machine and the EHR differ{said}"),
            "set this machine's clock (switch time synchronisation on)",
        ),
        "invalid_client" | "invalid_grant"
            if has(&["unknown client", "client not found", "unknown issuer", "not registered", "no such client"]) =>
        {
            finding(format!("the EHR does not know this client id{said}"), "correct auth.client_id, or register the client with the EHR")
        }
        "invalid_client" | "invalid_grant" | "invalid_request" if has(&["algorithm"]) => finding(
            format!("the EHR does not take the algorithm that this gateway signs with{said}"),
            "register this EHR again with another one (`ehr add --key-alg`), and its key with the EHR (`keys jwks`)",
        ),
        "invalid_client" | "invalid_grant" if has(&["aud"]) => finding(
            format!("the EHR refuses the audience of our signature{said}"),
            "name the exact token URL that the EHR's operator tells with `ehr add --token-url URL`",
        ),
        "invalid_client" | "invalid_grant" if has(&["signature", "verif", "key", "kid", "jwk"]) => finding(
            format!("the EHR does not accept this gateway's signing key{said}"),
            "register this gateway's public key (its JWKS) for this client; the key there is another one, or none",
        ),
        "invalid_client" | "invalid_grant" => finding(
            format!("the EHR does not accept this client: the client id is unknown to it, or the key registered there is another{said}"),
            "compare auth.client_id and the registered public key (JWKS) with those of this gateway",
        ),
        other => finding(
            format!("the token endpoint refused with {other}{said}"),
            "ask the EHR's operator what this client's registration lacks",
        ),
    }
}

pub(super) fn scopes(missing: &[Need]) -> Finding {
    let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
    finding(
        format!("not granted: {}", list.join(" ")),
        "have these scopes added to the client's registration; what they are for is skipped until then",
    )
}

/// A server's certificate that ends soon. The EHR goes dark at that moment, and renewing is somebody else's work.
pub(super) fn certificate(certificate: &Certificate, days: i64) -> Finding {
    finding(
        format!("the server's certificate ends in {days} days ({})", certificate.not_after),
        "tell the EHR's operator, who must renew it",
    )
}

/// A credential beside the EHR's own that gives no token.
pub(super) fn apart(name: &str, error: &TokenError, skew: Option<TimeDelta>) -> Finding {
    let found = token(error, skew, true);
    finding(format!("credential {name}: {}", found.says), found.remedy)
}

pub(super) fn auth_method(ours: &str, theirs: &[String]) -> Finding {
    let theirs: Vec<&str> = theirs.iter().map(String::as_str).take(8).collect();
    finding(
        format!("this client shows who it is by {ours}, and the EHR says that it takes {}", theirs.join(", ")),
        "have the client registered that way, or register this EHR again with another kind of credential (`ehr add --help`)",
    )
}

/// Scopes were asked for in one dialect, and nothing at all was granted.
pub(super) fn dialect() -> Finding {
    finding(
        "the EHR gives a token that allows nothing of what was asked for: it may write scopes the other way (v1 `.read`, v2 `.rs`)",
        "set auth.dialect to the other one, or have the scopes added to the client's registration",
    )
}

pub(super) fn unasked(resource_type: ResourceType) -> Finding {
    finding(
        format!("a search for {resource_type} also answers resources of other types"),
        "nothing: they are left out; tell the EHR's operator",
    )
}

pub(super) fn lacks(what: &str) -> Finding {
    finding(format!("it cannot be read yet: {what}"), "register the EHR again with it (`ehr add`); see `sync plan`")
}

pub(super) fn no_way(why: &str) -> Finding {
    finding(why, "switch the type off for this connection, or import it from files; see `sync plan`")
}

pub(super) fn search(resource_type: ResourceType, error: &EhrError) -> Finding {
    let what = ehr(error);
    finding(format!("{resource_type} cannot be searched: {}", what.says), what.remedy)
}

pub(super) fn ehr(error: &EhrError) -> Finding {
    match error {
        EhrError::Unreachable(failure) => unreachable(failure, "the EHR"),
        EhrError::Token(error) | EhrError::TokenApart(_, error) => token(error, None, true),
        EhrError::NotGranted(_) => finding(error.to_string(), "have the scope added, or switch the type off for this connection"),
        EhrError::Refused { status: 401, .. } => finding(
            "the EHR asks for authorisation (HTTP status 401)",
            "register its client (`ehr add --client-id`, `--client-secret` or `--token`), or check that its token is still valid",
        ),
        EhrError::Refused { status: 403, .. } => {
            finding(format!("{error}: this client may not do this"), "have the scope added, or switch the type off for this connection")
        }
        EhrError::Refused { status: 400 | 404 | 422, .. } => finding(
            format!("{error}: the EHR does not take this request as it is"),
            "the EHR may ask for search parameters that this gateway did not give; choose another strategy for the type, or switch it off",
        ),
        EhrError::Refused { .. } | EhrError::Busy { .. } | EhrError::Paused(_) => {
            finding(error.to_string(), "try again later; if it stays so, ask the EHR's operator")
        }
        EhrError::SearchSentOn { .. } => finding(error.to_string(), "register the base URL that the EHR's operator names"),
        EhrError::NotFhir { .. } => {
            finding(error.to_string(), "check the base URL (`ehr add --url`); a sign-in page or a proxy may answer in the EHR's place")
        }
        EhrError::PageExpired | EhrError::PagesCircle | EhrError::PagesBarren(_) | EhrError::NextLinkElsewhere | EhrError::BadRequest => {
            finding(error.to_string(), "tell the EHR's operator: its paging does not follow FHIR")
        }
    }
}

fn unreachable(failure: &Failure, what: &str) -> Finding {
    let remedy = match &failure.kind {
        FailureKind::Certificate(_) => "see above; verification is never switched off",
        FailureKind::ClientCertificate => {
            "give the certificate that the EHR's operator issued for this gateway (`ehr add --client-cert`), or have the one in use accepted there"
        }
        FailureKind::Proxy(ProxyFault::Unreachable) => "correct proxy.url, or have the network path to the proxy opened",
        FailureKind::Proxy(ProxyFault::WantsLogin) => "give proxy.user and proxy.password (`ehr add --proxy-user`), or correct them",
        FailureKind::Proxy(ProxyFault::Refused) => {
            "have the proxy's operator allow this address; or name it in proxy.except, where it is reached directly"
        }
        FailureKind::Refused | FailureKind::Dns | FailureKind::ConnectTimeout => "correct base_url, or have the network path opened",
        FailureKind::Tls => "check the scheme and port of base_url",
        FailureKind::Timeout | FailureKind::Reset => "try again later; raise timeout_secs if the EHR is slow",
        FailureKind::BodyTooLarge { .. } => "ask for smaller pages (page_size)",
        FailureKind::OtherOrigin(_) | FailureKind::TooManyRedirects => "correct base_url to the address that the EHR redirects to",
        FailureKind::PlainText => "use https",
    };
    finding(format!("{what} did not answer: {failure}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str, description: &str) -> TokenError {
        TokenError::Refused { code: code.to_owned(), description: Some(description.to_owned()).filter(|d| !d.is_empty()) }
    }

    #[test]
    fn each_cause_of_a_refusal_has_its_own_sentence() {
        for (code, description, skew, says) in [
            ("invalid_client", "Unknown client_id 'x'", 0, "does not know this client id"),
            ("invalid_client", "unknown client", 0, "does not know this client id"),
            ("invalid_client", "client_assertion verification failed: Signature verification failed", 0, "signing key"),
            ("invalid_client", "no key with this kid", 0, "signing key"),
            ("invalid_client", "client_assertion verification failed: Signature has expired", 0, "clocks"),
            ("invalid_client", "exp must be no more than 5 minutes in the future", 0, "clocks"),
            ("invalid_client", "Audience doesn't match", 0, "audience"),
            ("invalid_client", "Algorithm of 'RS384' is not recommended", 0, "algorithm that this gateway signs with"),
            ("invalid_client", "", 0, "unknown to it, or the key"),
            ("invalid_client", "Unknown client_id 'x'", 600, "10 minutes behind"),
            ("invalid_client", "", -600, "10 minutes ahead of"),
            ("invalid_scope", "", 600, "none of the scopes"),
            ("unauthorized_client", "", 0, "client_credentials"),
            ("weird", "", 0, "weird"),
        ] {
            let skew = Some(TimeDelta::seconds(skew)).filter(|s| !s.is_zero());
            let found = token(&refusal(code, description), skew, true);
            assert!(found.says.contains(says), "{code} {description}: {found:?}");
            assert!(!found.remedy.is_empty());
        }
    }

    #[test]
    fn a_secret_that_is_refused_is_no_word_on_a_key() {
        for description in ["", "The client cannot authenticate with methods: ['private_key_jwt', 'client_secret_basic']", "bad signature"]
        {
            let found = token(&refusal("invalid_client", description), None, false);
            assert!(found.says.contains("with this secret") && !found.remedy.contains("key"), "{found:?}");
            assert!(found.remedy.contains("--client-auth post"), "{found:?}");
        }
        assert!(token(&refusal("invalid_scope", ""), None, false).says.contains("none of the scopes"));
    }
}
