//! Who the person at the screen is, told to apps: id_tokens (OpenID Connect Core 1.0) signed with RS256 or ES256, and the keys that they are
//! signed with. Owns both keys, one of each kind for the whole process: an RSA key takes a while to make.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rsa::pkcs8::EncodePrivateKey as _;
use serde_json::{Value, json};

use crate::faults::Odd;
use crate::instant::SECOND;

/// A user of the EHR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As the authorization server names them for good.
    pub subject: String,
    /// A name for people.
    pub name: String,
    /// The resource that they are, such as `Practitioner/prac-01`.
    pub fhir_user: String,
}

impl Default for User {
    /// The first clinician of the synthetic population.
    fn default() -> Self {
        Self { subject: "user-1".to_owned(), name: "Dr. First".to_owned(), fhir_user: "Practitioner/prac-01".to_owned() }
    }
}

/// What an id_token is made of.
pub(crate) struct Telling<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) base: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) user: &'a User,
    pub(crate) nonce: Option<&'a str>,
    /// Whether `fhirUser` was granted.
    pub(crate) as_resource: bool,
    pub(crate) now: i64,
}

const RSA_KID: &str = "sandbox-rsa";
const EC_KID: &str = "sandbox-ec";
const LASTS: i64 = 300;

struct Keys {
    rsa: Option<RsaKeyPair>,
    ec: Option<EcdsaKeyPair>,
    other: Option<EcdsaKeyPair>,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys { rsa: rsa_key(), ec: ec_key(), other: ec_key() });

fn ec_key() -> Option<EcdsaKeyPair> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).ok()
}

fn rsa_key() -> Option<RsaKeyPair> {
    let key = rsa::RsaPrivateKey::new(&mut Rng, 2048).ok()?;
    RsaKeyPair::from_pkcs8(key.to_pkcs8_der().ok()?.as_bytes()).ok()
}

struct Rng;

impl rsa::rand_core::RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        // Where the system gives nothing the key is weak, and a pretend EHR's.
        drop(self.try_fill_bytes(dest));
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        use ring::rand::SecureRandom as _;
        SystemRandom::new().fill(dest).map_err(|_| rsa::rand_core::Error::new("the system gives no random bytes"))
    }
}

impl rsa::rand_core::CryptoRng for Rng {}

/// The public keys, as a JWK Set.
pub(crate) fn key_set() -> Value {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut keys = Vec::new();
    if let Some(pair) = &KEYS.rsa {
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
        keys.push(json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": RSA_KID, "n": encode(&public.n), "e": encode(&public.e) }));
    }
    if let Some((x, y)) = KEYS.ec.as_ref().and_then(|pair| pair.public_key().as_ref().get(1..)?.split_at_checked(32)) {
        keys.push(json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": EC_KID, "x": encode(x), "y": encode(y) }));
    }
    json!({ "keys": keys })
}

/// Makes an id_token, odd in one way where that is wanted. `None` where none is to be sent.
pub(crate) fn id_token(telling: &Telling<'_>, odd: Option<Odd>) -> Option<String> {
    let seconds = telling.now / SECOND;
    let is = |one: Odd| odd == Some(one);
    let mut claims = json!({
        "iss": telling.issuer,
        "sub": telling.user.subject,
        "aud": telling.client_id,
        "exp": seconds + LASTS,
        "iat": seconds,
        "name": telling.user.name,
    });
    let mut set = |name: &str, value: Value| {
        if let Some(members) = claims.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
    };
    if let Some(nonce) = telling.nonce {
        set("nonce", nonce.into());
    }
    if telling.as_resource && !is(Odd::NoFhirUser) {
        set("fhirUser", format!("{}/{}", telling.base, telling.user.fhir_user).into());
    }
    match odd? {
        Odd::NoIdToken => return None,
        Odd::OtherIssuer => set("iss", "https://login.example.org".into()),
        Odd::OtherAudience => set("aud", "another-app".into()),
        Odd::AudienceList => set("aud", json!([telling.client_id])),
        Odd::OtherNonce => set("nonce", "of-another-request".into()),
        Odd::Expired => set("exp", (seconds - 3600).into()),
        Odd::NotYet => set("iat", (seconds + 3600).into()),
        Odd::FractionalTimes => {
            set("exp", json!(f64_of(seconds + LASTS) + 0.25));
            set("iat", json!(f64_of(seconds) + 0.75));
        }
        Odd::PatientUser => set("fhirUser", format!("{}/Patient/p-1", telling.base).into()),
        Odd::ForeignUser => set("fhirUser", "https://other.example.org/fhir/Practitioner/prac-01".into()),
        _ => {}
    }
    sign(&claims, odd)
}

/// As [`id_token`], without oddities.
pub(crate) fn plain(telling: &Telling<'_>) -> Option<String> {
    id_token(telling, Some(Odd::Rs256))
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
const fn f64_of(n: i64) -> f64 {
    n as f64
}

fn sign(claims: &Value, odd: Option<Odd>) -> Option<String> {
    let elliptic = matches!(odd, Some(Odd::Es256 | Odd::OtherKey));
    let mut header = match odd {
        Some(Odd::Unsigned) => json!({ "alg": "none" }),
        Some(Odd::SharedSecret) => json!({ "alg": "HS256", "kid": RSA_KID }),
        _ if elliptic => json!({ "alg": "ES256", "kid": EC_KID, "typ": "JWT" }),
        _ => json!({ "alg": "RS256", "kid": RSA_KID, "typ": "JWT" }),
    };
    if odd == Some(Odd::NoKid)
        && let Some(members) = header.as_object_mut()
    {
        members.remove("kid");
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let random = SystemRandom::new();
    let by_curve = |pair: &Option<EcdsaKeyPair>| Some(pair.as_ref()?.sign(&random, signed.as_bytes()).ok()?.as_ref().to_vec());
    let signature = match odd {
        Some(Odd::Unsigned) => Vec::new(),
        // What the old attack on libraries signs with: the public key as a secret.
        Some(Odd::SharedSecret) => {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key_set().to_string().as_bytes()), signed.as_bytes()).as_ref().to_vec()
        }
        Some(Odd::OtherKey) => by_curve(&KEYS.other)?,
        Some(Odd::Es256) => by_curve(&KEYS.ec)?,
        _ => {
            let pair = KEYS.rsa.as_ref()?;
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).ok()?;
            signature
        }
    };
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
