//! Why somebody was not let in, in words for the person who looks at the page.

use super::id_token::Refused;
use crate::store::StoreError;

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum NoEntry {
    /// The launch does not name what SMART says it does.
    #[error("The EHR did not say which EHR it is and which launch this is (iss and launch). Start the app from inside the EHR.")]
    NotALaunch,
    /// Nobody registered the EHR.
    #[error(
        "This EHR is not registered here for launches. Who looks after this gateway can do that (fhir-engage ehr add, --launch-client-id)."
    )]
    UnknownEhr,
    /// The address of this gateway is not known.
    #[error("This gateway does not know its own address. Who looks after it sets web.external_url.")]
    NoAddress,
    /// The answer belongs to no sign-in of this browser.
    #[error(
        "This answer belongs to no sign-in that was begun in this browser, or to one that took too long or was used already. Start again. Where this \
         happens each time inside the EHR, the browser keeps this site's cookies out of frames: open the app in a tab of its own."
    )]
    Foreign,
    /// Another server answered.
    #[error("The answer came from another server than the one that was asked. Nothing was done with it; start again from inside the EHR.")]
    Mixed,
    /// The EHR or the provider said no.
    #[error("You were not let in ({0}). Start again, or ask who looks after your account.")]
    Refused(String),
    /// It says nothing usable.
    #[error(
        "The server that signs you in did not answer as it should ({0}). Start again; if it stays so, tell who looks after this gateway."
    )]
    Server(String),
    /// The id_token proves nothing.
    #[error("It could not be proven who you are: {0}.")]
    Identity(#[from] Refused),
    /// There is none.
    #[error("The server that signs you in did not say who you are (no id_token); the scopes openid and fhirUser must be allowed.")]
    NoIdentity,
    /// The EHR granted a patient and gave none.
    #[error("The EHR did not say which patient this is about. Open a patient in the EHR and start the app there.")]
    NoPatient,
    /// Reading the patient was not granted.
    #[error("The EHR does not let this app ask whether you may see a patient: reading Patient was not granted.")]
    NotGranted,
    /// The user has no role here.
    #[error("You are known, but have no role here. Who looks after this gateway can give you one.")]
    NoRole,
    /// Something is wrong with this gateway.
    #[error("This gateway is not set up as it has to be. Who looks after it finds the reason in the log.")]
    Here(String),
    /// The store.
    #[error("Something went wrong here. Try again; it is in the log.")]
    Store(#[from] StoreError),
}

impl NoEntry {
    /// What is logged of it: no word of the caller's.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Here(why) | Self::Server(why) => why.clone(),
            Self::Store(error) => error.to_string(),
            other => other.to_string(),
        }
    }

    /// Whether the fault is this gateway's.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Here(_) | Self::Store(_) | Self::NoAddress)
    }
}
