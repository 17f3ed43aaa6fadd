//! The id_token of OpenID Connect: who the user is, proven by a signature (OIDC Core 3.1.3.7; SMART scopes-and-launch-context, "Scopes for
//! requesting identity data"). Nothing of a token is read before its signature and its claims were checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

/// How far the clocks of the issuer and ours may be apart, in seconds.
const SKEW: f64 = 60.0;
/// An id_token is made when it is asked for: an older one is not the answer to our request, in seconds.
const OLDEST: f64 = 600.0;

/// What a token has to fit.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The issuer, as discovery names it.
    pub issuer: &'a str,
    /// Our client id.
    pub client_id: &'a str,
    /// What we sent to be repeated.
    pub nonce: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// The claims of a token that was verified.
#[derive(Clone, PartialEq)]
pub struct Claims(Value);

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claims")
    }
}

/// Why a token proves nothing. No value of the token is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no JWT.
    #[error("the id_token is not a signed JWT")]
    Form,
    /// Another algorithm: `none`, or one with a shared secret.
    #[error("the id_token is signed in a way that is not taken (RS256 and ES256 are)")]
    Algorithm,
    /// No key of the issuer's fits.
    #[error("the issuer publishes no key that the id_token could be signed with")]
    Key,
    /// The signature is wrong.
    #[error("the id_token's signature does not verify")]
    Signature,
    /// Another issuer.
    #[error("the id_token is of another issuer than discovery names")]
    Issuer,
    /// For somebody else.
    #[error("the id_token is for another client")]
    Audience,
    /// Too old.
    #[error("the id_token has expired, or tells no expiry")]
    Expired,
    /// Of the future, or stale.
    #[error("the id_token was not issued just now; compare the clocks")]
    IssuedAt,
    /// The answer to another request.
    #[error("the id_token belongs to another request (its nonce is another)")]
    Nonce,
    /// It names nobody.
    #[error("the id_token names no user")]
    Subject,
}

/// Verifies a token with the issuer's keys (a JWK Set, as fetched).
///
/// # Errors
/// [`Refused`], the first thing that does not fit.
pub fn verify(token: &str, keys: &[u8], expected: &Expected<'_>) -> Result<Claims, Refused> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Refused::Form);
    };
    let signed = token.rsplit_once('.').map_or("", |(signed, _)| signed);
    let header = object(header).ok_or(Refused::Form)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Form)?;
    let algorithm = match text(&header, "alg") {
        Some("RS256") => Algorithm::Rs256,
        Some("ES256") => Algorithm::Es256,
        _ => return Err(Refused::Algorithm),
    };
    // Extensions that must be understood are not (RFC 7515, 4.1.11).
    if header.get("crit").is_some() {
        return Err(Refused::Form);
    }
    let keys: Value = serde_json::from_slice(keys).map_err(|_| Refused::Key)?;
    let keys = keys.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let kid = text(&header, "kid");
    // Without a `kid`, on either side, each key of the kind is tried.
    let fits = |key: &&Value| algorithm.is_of(key) && (kid.is_none() || text(key, "kid").is_none_or(|own| Some(own) == kid));
    let mut any = false;
    let mut verified = false;
    for key in keys.iter().filter(fits) {
        any = true;
        verified = verified || algorithm.verifies(key, signed.as_bytes(), &signature).is_some();
    }
    if !verified {
        return Err(if any { Refused::Signature } else { Refused::Key });
    }
    let claims = object(claims).ok_or(Refused::Form)?;
    check(&claims, expected)?;
    Ok(Claims(claims))
}

fn check(claims: &Value, expected: &Expected<'_>) -> Result<(), Refused> {
    let issuer = text(claims, "iss").ok_or(Refused::Issuer)?;
    // One slash at the end is written here and not there by servers of the field; nothing else may differ.
    if trimmed(issuer) != trimmed(expected.issuer) {
        return Err(Refused::Issuer);
    }
    let audience = claims.get("aud");
    let ours = |value: &Value| value.as_str() == Some(expected.client_id);
    let (is_ours, several) = match audience {
        Some(Value::Array(all)) => (all.iter().any(ours), all.len() > 1),
        Some(one) => (ours(one), false),
        None => (false, false),
    };
    let party = text(claims, "azp");
    if !is_ours || party.is_some_and(|p| p != expected.client_id) || (several && party.is_none()) {
        return Err(Refused::Audience);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    let now = expected.now.micros() as f64 / 1e6;
    let time = |name: &str| claims.get(name).and_then(Value::as_f64).filter(|t| t.is_finite());
    if time("exp").is_none_or(|exp| exp + SKEW <= now) {
        return Err(Refused::Expired);
    }
    if time("iat").is_none_or(|iat| iat - SKEW > now || iat + OLDEST < now) || time("nbf").is_some_and(|nbf| nbf - SKEW > now) {
        return Err(Refused::IssuedAt);
    }
    if text(claims, "nonce") != Some(expected.nonce) {
        return Err(Refused::Nonce);
    }
    if text(claims, "sub").is_none_or(str::is_empty) {
        return Err(Refused::Subject);
    }
    Ok(())
}

fn trimmed(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}

impl Claims {
    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        text(&self.0, "iss").map(trimmed).unwrap_or_default()
    }

    /// The user, as the issuer names them for good.
    #[must_use]
    pub fn subject(&self) -> &str {
        text(&self.0, "sub").unwrap_or_default()
    }

    /// The user as a resource of the EHR: `fhirUser`, or `profile` of SMART 1.0.
    #[must_use]
    pub fn fhir_user(&self) -> Option<&str> {
        text(&self.0, "fhirUser").or_else(|| text(&self.0, "profile")).filter(|t| !t.is_empty())
    }

    /// A name for people.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let named = ["name", "preferred_username"].iter().find_map(|n| text(&self.0, n).map(str::trim).filter(|t| !t.is_empty()));
        named.map(|t| t.chars().filter(|c| !c.is_control()).take(80).collect())
    }

    /// The values of a claim: a text, or a list of texts. A dot leads into an object (`realm_access.roles`).
    #[must_use]
    pub fn values(&self, claim: &str) -> Vec<&str> {
        // A claim's name may have dots in it itself (`https://example.org/roles`).
        let found = self.0.get(claim).or_else(|| claim.split('.').try_fold(&self.0, |value, part| value.get(part)));
        match found {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

#[derive(Clone, Copy)]
enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    /// Whether a key is of this kind and for signatures.
    fn is_of(self, key: &Value) -> bool {
        let kind = match self {
            Self::Rs256 => text(key, "kty") == Some("RSA"),
            Self::Es256 => text(key, "kty") == Some("EC") && text(key, "crv") == Some("P-256"),
        };
        let name = match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        };
        kind && text(key, "use").is_none_or(|u| u == "sig") && text(key, "alg").is_none_or(|a| a == name)
    }

    fn verifies(self, key: &Value, signed: &[u8], signature: &[u8]) -> Option<()> {
        let number = |name: &str| URL_SAFE_NO_PAD.decode(text(key, name)?.trim_end_matches('=')).ok();
        match self {
            Self::Rs256 => {
                // Leading zeros are not allowed in a modulus, and seen.
                let n: Vec<u8> = number("n")?.into_iter().skip_while(|b| *b == 0).collect();
                RsaPublicKeyComponents { n, e: number("e")? }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).ok()
            }
            Self::Es256 => {
                // An uncompressed point (SEC 1, 2.3.3).
                let point = [vec![4], number("x")?, number("y")?].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).ok()
            }
        }
    }
}

fn object(part: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    value.is_object().then_some(value)
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    struct Issuer {
        pair: EcdsaKeyPair,
    }

    const NOW: f64 = 1_800_000_000.0;

    impl Issuer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            Self { pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap() }
        }

        fn key(&self, kid: Option<&str>) -> Value {
            let point = self.pair.public_key().as_ref();
            let mut key =
                json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])});
            if let Some(kid) = kid {
                key["kid"] = kid.into();
            }
            key
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
        }
    }

    fn expected() -> Expected<'static> {
        Expected {
            issuer: "https://ehr.example.org/oauth",
            client_id: "app",
            nonce: "n-1",
            now: Timestamp::from_micros(1_800_000_000_000_000),
        }
    }

    fn claims() -> Value {
        json!({"iss": "https://ehr.example.org/oauth", "aud": "app", "sub": "u1", "exp": NOW + 300.0, "iat": NOW, "nonce": "n-1"})
    }

    fn set(keys: &[Value]) -> Vec<u8> {
        json!({ "keys": keys }).to_string().into_bytes()
    }

    #[test]
    fn the_key_is_found_with_and_without_a_kid() {
        let (ours, other) = (Issuer::new(), Issuer::new());
        let with = |kid: Option<&str>| kid.map_or_else(|| json!({"alg": "ES256"}), |k| json!({"alg": "ES256", "kid": k}));
        for (header, keys, ends) in [
            (Some("k1"), vec![other.key(Some("k2")), ours.key(Some("k1"))], Ok(())),
            (None, vec![other.key(Some("k2")), ours.key(Some("k1"))], Ok(())),
            (Some("k1"), vec![ours.key(None)], Ok(())),
            (None, vec![other.key(None), ours.key(None)], Ok(())),
            (Some("k9"), vec![ours.key(Some("k1"))], Err(Refused::Key)),
            (Some("k1"), vec![other.key(Some("k1"))], Err(Refused::Signature)),
            (None, vec![], Err(Refused::Key)),
        ] {
            let token = ours.token(&with(header), &claims());
            assert_eq!(verify(&token, &set(&keys), &expected()).map(|_| ()), ends, "{header:?}");
        }
        let mut encrypting = ours.key(Some("k1"));
        encrypting["use"] = "enc".into();
        assert_eq!(verify(&ours.token(&with(Some("k1")), &claims()), &set(&[encrypting]), &expected()), Err(Refused::Key));
    }

    #[test]
    fn each_claim_is_checked() {
        let ours = Issuer::new();
        let keys = set(&[ours.key(None)]);
        let with = |name: &str, value: Value| {
            let mut all = claims();
            match value {
                Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
                value => all[name] = value,
            }
            verify(&ours.token(&json!({"alg": "ES256"}), &all), &keys, &expected()).map(|_| ())
        };
        for (name, value, ends) in [
            ("x", json!(1), Ok(())),
            ("iss", json!("https://ehr.example.org/oauth/"), Ok(())),
            ("iss", json!("https://evil.example.org"), Err(Refused::Issuer)),
            ("iss", Value::Null, Err(Refused::Issuer)),
            ("aud", json!(["app"]), Ok(())),
            ("aud", json!(["app", "other"]), Err(Refused::Audience)),
            ("aud", json!("other"), Err(Refused::Audience)),
            ("aud", Value::Null, Err(Refused::Audience)),
            ("azp", json!("other"), Err(Refused::Audience)),
            ("azp", json!("app"), Ok(())),
            ("exp", json!(NOW + 0.25), Ok(())),
            ("exp", json!(NOW - 59.5), Ok(())),
            ("exp", json!(NOW - 60.5), Err(Refused::Expired)),
            ("exp", json!("soon"), Err(Refused::Expired)),
            ("exp", Value::Null, Err(Refused::Expired)),
            ("iat", json!(NOW + 59.75), Ok(())),
            ("iat", json!(NOW + 61.0), Err(Refused::IssuedAt)),
            ("iat", json!(NOW - 601.0), Err(Refused::IssuedAt)),
            ("iat", Value::Null, Err(Refused::IssuedAt)),
            ("nbf", json!(NOW + 300.0), Err(Refused::IssuedAt)),
            ("nonce", json!("n-2"), Err(Refused::Nonce)),
            ("nonce", Value::Null, Err(Refused::Nonce)),
            ("sub", json!(""), Err(Refused::Subject)),
            ("sub", json!(7), Err(Refused::Subject)),
        ] {
            assert_eq!(with(name, value.clone()), ends, "{name} {value}");
        }
    }

    #[test]
    fn unsigned_and_shared_secrets_are_not_taken() {
        let ours = Issuer::new();
        let keys = set(&[ours.key(None)]);
        for alg in ["none", "HS256", "RS384", "es256", ""] {
            assert_eq!(verify(&ours.token(&json!({ "alg": alg }), &claims()), &keys, &expected()), Err(Refused::Algorithm), "{alg}");
        }
        let token = ours.token(&json!({"alg": "ES256"}), &claims());
        let (signed, _) = token.rsplit_once('.').unwrap();
        for broken in [format!("{signed}."), signed.to_owned(), format!("{token}.x"), format!("{signed}.AAAA"), String::new()] {
            assert!(matches!(verify(&broken, &keys, &expected()), Err(Refused::Form | Refused::Signature)), "{broken}");
        }
        let crit = ours.token(&json!({"alg": "ES256", "crit": ["b64"]}), &claims());
        assert_eq!(verify(&crit, &keys, &expected()), Err(Refused::Form));
        assert_eq!(verify(&token, b"<html>", &expected()), Err(Refused::Key));
    }

    #[test]
    fn claims_are_read_where_they_are() {
        let claims =
            Claims(json!({"groups": ["a", "b", 3], "realm_access": {"roles": ["c"]}, "https://e.org/r": "d", "profile": "Practitioner/1"}));
        assert_eq!(claims.values("groups"), ["a", "b"]);
        assert_eq!(claims.values("realm_access.roles"), ["c"]);
        assert_eq!(claims.values("https://e.org/r"), ["d"]);
        assert!(claims.values("nothing.there").is_empty());
        assert_eq!(claims.fhir_user(), Some("Practitioner/1"));
    }
}
