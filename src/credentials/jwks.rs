//! The public half of the signing keys, as EHRs fetch it (RFC 7517; SMART client-confidential-asymmetric, "Registering a client").

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The media type of a key set.
pub const MEDIA_TYPE: &str = "application/jwk-set+json";

/// How long an EHR may keep the set before it fetches it anew, as `web` says in `Cache-Control`. Rotations wait for longer than that.
pub const MAX_AGE: chrono::TimeDelta = chrono::TimeDelta::minutes(5);

/// Members that would give a private key away (RFC 7518, 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Renders stored public keys as a key set. A text that is no JSON object is left out, and so is any private member: a damaged row
/// must take neither the whole set down nor a secret out.
#[must_use]
pub fn render<'a>(public_jwks: impl IntoIterator<Item = &'a str>) -> String {
    let keys: Vec<BTreeMap<String, Value>> = public_jwks
        .into_iter()
        .filter_map(|text| serde_json::from_str::<BTreeMap<String, Value>>(text).ok())
        .map(|mut jwk| {
            jwk.retain(|member, _| !PRIVATE.contains(&member.as_str()));
            jwk
        })
        .collect();
    json!({ "keys": keys }).to_string()
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn a_set_holds_public_members_only_and_survives_a_damaged_row() {
        let set = render([r#"{"kty":"EC","kid":"a","x":"1","d":"secret"}"#, "damaged", r#"["x"]"#]);
        assert_eq!(set, r#"{"keys":[{"kid":"a","kty":"EC","x":"1"}]}"#);
        assert_eq!(render([]), r#"{"keys":[]}"#);
    }
}
