//! What a certificate says of itself: for whom, and until when (RFC 5280, 4.1.2). Whether it may be trusted is TLS's business.

use std::time::Duration;

use domain::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate as X509;
use x509_cert::der::Decode as _;

/// A certificate, as far as people ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's distinguished name, as text.
    pub subject: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads one certificate; `None` where the bytes are none.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let parsed = X509::from_der(der).ok()?.tbs_certificate;
        Some(Self {
            subject: parsed.subject.to_string(),
            not_before: instant(parsed.validity.not_before.to_unix_duration())?,
            not_after: instant(parsed.validity.not_after.to_unix_duration())?,
        })
    }

    /// The certificates of a PEM text in their order; other things in it (keys) are passed over.
    #[must_use]
    pub fn all_from_pem(pem: &[u8]) -> Vec<Self> {
        CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).filter_map(|der| Self::from_der(&der)).collect()
    }
}

fn instant(since_1970: Duration) -> Option<Timestamp> {
    i64::try_from(since_1970.as_micros()).ok().map(Timestamp::from_micros)
}
