//! Client assertions: reads a compact JWT and checks its signature against a client's JWKS (RS384 and ES384, RFC 7515, RFC 7518).
//! Owns the form and the signature. What the claims must say is the token endpoint's business (`authority`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA384, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

/// A JWT whose signature was not looked at yet.
pub(crate) struct Assertion<'a> {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Assertion<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self { header: part(header)?, claims: part(claims)?, signed, signature: URL_SAFE_NO_PAD.decode(signature).ok()? })
    }

    /// Checks the signature with the one key of the set that has the header's `kid` and the algorithm's key type. The text of an error says
    /// which rule was broken.
    pub(crate) fn verify(&self, jwks: &Value) -> Result<(), &'static str> {
        let key_type = match self.header.get("alg").and_then(Value::as_str) {
            Some("RS384") => "RSA",
            Some("ES384") => "EC",
            _ => return Err("alg must be RS384 or ES384"),
        };
        let kid = self.header.get("kid").and_then(Value::as_str).ok_or("the header has no kid")?;
        let keys = jwks.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut matching = keys.iter().filter(|key| member(key, "kid") == Some(kid) && member(key, "kty") == Some(key_type));
        let (Some(key), None) = (matching.next(), matching.next()) else {
            return Err("no single key of this kid and type is registered");
        };
        self.verify_with(key, key_type).ok_or("the signature does not verify")
    }

    fn verify_with(&self, key: &Value, key_type: &str) -> Option<()> {
        let number = |name| URL_SAFE_NO_PAD.decode(member(key, name)?).ok();
        if key_type == "RSA" {
            let key = RsaPublicKeyComponents { n: number("n")?, e: number("e")? };
            return key.verify(&RSA_PKCS1_2048_8192_SHA384, self.signed.as_bytes(), &self.signature).ok();
        }
        if member(key, "crv") != Some("P-384") {
            return None;
        }
        // An uncompressed point (SEC 1, 2.3.3).
        let point = [vec![4], number("x")?, number("y")?].concat();
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(self.signed.as_bytes(), &self.signature).ok()
    }
}

fn part(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    value.is_object().then_some(value)
}

fn member<'a>(key: &'a Value, name: &str) -> Option<&'a str> {
    key.get(name).and_then(Value::as_str)
}
