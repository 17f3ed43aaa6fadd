//! The JWT by which a client proves itself to a token endpoint (SMART client-confidential-asymmetric; RFC 7523).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use serde_json::json;

use super::{Signer, SigningFailed};
use crate::net::Secret;

/// `client_assertion_type` (RFC 7523, 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is valid, in seconds: half of the 300 that servers allow at most, so that it is taken where their clock is behind
/// ours, and where it is ahead, by less than that.
pub const LIFETIME: i64 = 150;

/// Makes an assertion. `audience` is the very URL that it is posted to, and `jti` is new each time: servers refuse a replay.
///
/// There is no `nbf` and no `iat`: SMART asks for neither, and a clock that runs a second ahead would break on them.
///
/// # Errors
/// [`SigningFailed`].
pub fn assertion(signer: &dyn Signer, client_id: &str, audience: &str, now: Timestamp, jti: &str) -> Result<Secret, SigningFailed> {
    let header = json!({ "alg": signer.algorithm().as_str(), "kid": signer.key_id(), "typ": "JWT" });
    let claims = json!({ "iss": client_id, "sub": client_id, "aud": audience, "exp": now.to_utc().timestamp() + LIFETIME, "jti": jti });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(signed.as_bytes())?);
    Ok(Secret::new(format!("{signed}.{signature}")))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use domain::Timestamp;
    use serde_json::{Value, json};

    use crate::ehr::auth::{Algorithm, Signer, SigningFailed};

    struct Fixed;

    impl Signer for Fixed {
        fn algorithm(&self) -> Algorithm {
            Algorithm::Es384
        }
        fn key_id(&self) -> &str {
            "k1"
        }
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
            Ok(message.iter().rev().copied().collect())
        }
    }

    #[test]
    fn holds_what_smart_asks_for_and_nothing_else() {
        let now = Timestamp::parse("2026-11-23T10:00:00.9Z").unwrap();
        let jwt = super::assertion(&Fixed, "app", "https://ehr.example.org/token", now, "once").unwrap();
        let parts: Vec<Vec<u8>> = jwt.expose().split('.').map(|p| URL_SAFE_NO_PAD.decode(p).unwrap()).collect();
        let [header, claims] = [0, 1].map(|i| serde_json::from_slice::<Value>(&parts[i]).unwrap());
        assert_eq!(header, json!({"alg": "ES384", "kid": "k1", "typ": "JWT"}));
        let exp = now.to_utc().timestamp() + 150;
        assert_eq!(claims, json!({"iss": "app", "sub": "app", "aud": "https://ehr.example.org/token", "exp": exp, "jti": "once"}));
        let signed = jwt.expose().rsplit_once('.').unwrap().0;
        assert_eq!(parts[2], Fixed.sign(signed.as_bytes()).unwrap());
    }
}
