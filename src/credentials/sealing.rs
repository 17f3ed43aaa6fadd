//! Sealing what must be stored but not readable: AES-256-GCM under a master key that the operator holds.
//!
//! A sealed value is `1 || nonce (12 bytes) || ciphertext and tag`. The label that it was sealed for is authenticated with it, so a
//! sealed value cannot be moved to another row.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::ehr::Secret;

const FORMAT: u8 = 1;
const KEY_BYTES: usize = 32;

/// The key that seals stored private keys. Lives in memory only.
pub struct MasterKey(LessSafeKey);

/// Why sealing or opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The master key is not 32 bytes in base64 or hex.
    #[error("the master key must be 32 random bytes in base64 or hex; make one with: openssl rand -base64 32")]
    NotAKey,
    /// Sealed under another master key, for another place, or damaged.
    #[error("cannot be opened: sealed with another master key, or damaged; give the master key that was in use when it was made")]
    WrongKey,
    /// Written by a later version of this program.
    #[error("is in a format that this version does not know")]
    UnknownFormat,
    /// The system gave no random bytes, or refused to encrypt.
    #[error("the system's cryptography failed")]
    System,
}

impl MasterKey {
    /// Reads a master key from the text of a secret: 32 bytes as base64 (either alphabet, padded or not) or as 64 hex digits.
    ///
    /// # Errors
    /// [`SealError::NotAKey`], without the text.
    pub fn parse(secret: &Secret) -> Result<Self, SealError> {
        let text = secret.expose().trim();
        let bytes = from_hex(text)
            .or_else(|| [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|alphabet| alphabet.decode(text).ok()))
            .filter(|bytes| bytes.len() == KEY_BYTES)
            .ok_or(SealError::NotAKey)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SealError::NotAKey)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// A new master key as the text that [`MasterKey::parse`] reads, for the operator's file.
    ///
    /// # Errors
    /// [`SealError::System`] where the system gives no random bytes.
    pub fn generate() -> Result<Secret, SealError> {
        let mut bytes = [0_u8; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::System)?;
        Ok(Secret::new(STANDARD.encode(bytes)))
    }

    /// Seals bytes for the place that `label` names.
    ///
    /// # Errors
    /// [`SealError::System`].
    pub fn seal(&self, label: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::System)?;
        let mut text = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(label.as_bytes()), &mut text)
            .map_err(|_| SealError::System)?;
        Ok([&[FORMAT][..], &nonce, &text].concat())
    }

    /// Opens what [`MasterKey::seal`] made for the same label.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] or [`SealError::UnknownFormat`].
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (format, rest) = sealed.split_first().ok_or(SealError::WrongKey)?;
        if *format != FORMAT {
            return Err(SealError::UnknownFormat);
        }
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::WrongKey)?;
        let mut text = text.to_vec();
        let plain = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(label.as_bytes()), &mut text)
            .map_err(|_| SealError::WrongKey)?;
        Ok(plain.to_vec())
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[master key]")
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if text.len() != 2 * KEY_BYTES || !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{MasterKey, SealError};
    use crate::ehr::Secret;

    fn key() -> MasterKey {
        MasterKey::parse(&MasterKey::generate().unwrap()).unwrap()
    }

    #[test]
    fn opens_only_with_the_same_key_label_and_bytes() {
        let (ours, other) = (key(), key());
        let sealed = ours.seal("kid-1", b"private").unwrap();
        assert_eq!(ours.open("kid-1", &sealed).unwrap(), b"private");
        assert_ne!(sealed, ours.seal("kid-1", b"private").unwrap(), "a nonce was used twice");
        assert!(!sealed.windows(7).any(|w| w == b"private"));
        assert_eq!(other.open("kid-1", &sealed), Err(SealError::WrongKey));
        assert_eq!(ours.open("kid-2", &sealed), Err(SealError::WrongKey));
        assert_eq!(ours.open("kid-1", &[]), Err(SealError::WrongKey));
        assert_eq!(ours.open("kid-1", &sealed[..9]), Err(SealError::WrongKey));
        for at in 1..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(ours.open("kid-1", &damaged), Err(SealError::WrongKey), "byte {at}");
        }
        let mut later = sealed;
        later[0] = 2;
        assert_eq!(ours.open("kid-1", &later), Err(SealError::UnknownFormat));
    }

    #[test]
    fn a_master_key_is_32_bytes_in_any_usual_spelling() {
        for text in ["00".repeat(32), "Ab".repeat(32), format!("{}=", "A".repeat(43)), "A".repeat(43), "_".repeat(42) + "8"] {
            assert!(MasterKey::parse(&Secret::new(text.clone())).is_ok(), "{text}");
        }
        for text in ["", "password", "00", "zz", &"00".repeat(31), &"A".repeat(22), &"é".repeat(32)] {
            assert_eq!(MasterKey::parse(&Secret::new(text)).unwrap_err(), SealError::NotAKey, "{text}");
        }
    }
}
